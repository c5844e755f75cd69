//! YAML text → a tree whose every node knows where it stood.
//!
//! Only what a configuration needs of YAML: scalars, lists and sections of one
//! document. Anchors, aliases and tags are refused, because each is a way for a
//! text to mean something else than it shows; so are duplicate keys, of which
//! YAML parsers commonly keep the last in silence.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::bounds;
use super::diagnostic::{Position, Report};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar {
        text: String,
    },
    /// `null`, `~`, or nothing at all.
    Nothing,
    List(Vec<Node>),
    Section(Vec<Entry>),
    /// Already reported; whoever meets it says nothing more.
    Refused,
}

/// A key of a section, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) position: Position,
    pub(super) node: Node,
}

impl Entry {
    /// Where a reader looks for what it says: at a scalar itself, at the key of
    /// a section or a list.
    pub(super) fn place(&self) -> Position {
        match self.node.value {
            Value::Scalar { .. } => self.node.position,
            Value::Nothing | Value::List(_) | Value::Section(_) | Value::Refused => self.position,
        }
    }
}

/// The tree of `text`, or `None` when its structure cannot be known; then the
/// report says why.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > bounds::TEXT_BYTES {
        let message = format!(
            "the file has {} bytes; a configuration has at most {}",
            text.len(),
            bounds::TEXT_BYTES
        );
        report.add(None, "", message);
        return None;
    }
    // Editors on some systems begin a file with this mark; it means nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((position, character)) = forbidden_character(text) {
        // The scanner takes a NUL for the end, and would ignore what follows.
        let message = format!(
            "the character U+{:04X} cannot stand in a configuration",
            u32::from(character)
        );
        report.add(Some(position), "", message);
        return None;
    }
    let mut reader = Reader {
        text,
        parser: Parser::new_from_str(text),
        report,
        nodes: 0,
    };
    reader.document().ok()
}

struct Reader<'t, 'r> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    report: &'r mut Report,
    nodes: usize,
}

/// The structure is lost. The reason was reported.
struct Stop;

impl<'t> Reader<'t, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let root = loop {
            let (event, position) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Err(self.empty()),
                node @ (Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::MappingStart(..)) => break self.node(node, position, "", 0)?,
                Event::DocumentEnd | Event::SequenceEnd | Event::MappingEnd => {
                    return Err(self.stop(position, "unexpected end"));
                }
            }
        };
        if matches!(root.value, Value::Nothing) {
            return Err(self.empty());
        }
        loop {
            let (event, position) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_)
                | Event::StreamStart
                | Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    let message = "a second document begins here; a configuration is one document";
                    return Err(self.stop(position, message));
                }
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'t>,
        position: Position,
        path: &str,
        depth: usize,
    ) -> Result<Node, Stop> {
        self.nodes += 1;
        if self.nodes > bounds::NODES {
            let message = format!("more than {} values in one file", bounds::NODES);
            return Err(self.stop(position, &message));
        }
        if depth > bounds::DEPTH {
            let message = format!("nested more than {} deep", bounds::DEPTH);
            return Err(self.stop(position, &message));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(anchor, tag.as_deref(), position, path);
                scalar(&text, style)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(anchor, tag.as_deref(), position, path);
                self.list(path, depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(anchor, tag.as_deref(), position, path);
                self.section(path, depth)?
            }
            Event::Alias(_) => {
                let message = "aliases (*name) are not supported: write the value out";
                self.report.add(Some(position), path, message);
                Value::Refused
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(self.stop(position, "a value is missing")),
        };
        Ok(Node { position, value })
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, position) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            let path = format!("{path}[{}]", items.len());
            items.push(self.node(event, position, &path, depth + 1)?);
        }
    }

    fn section(&mut self, path: &str, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        loop {
            let (event, position) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Section(entries));
            }
            let key_node = self.node(event, position, path, depth + 1)?;
            let key = match key_node.value {
                Value::Scalar { text } => Some(text),
                Value::Nothing => {
                    self.report
                        .add(Some(position), path, "a key is missing before the ':'");
                    None
                }
                Value::List(_) | Value::Section(_) => {
                    let message = "a key is a single word, not a list or a section; \
                                   quote the value if a '[' or '{' is meant";
                    self.report.add(Some(position), path, message);
                    None
                }
                Value::Refused => None,
            };
            let child = join(path, key.as_deref().unwrap_or("?"));
            let (event, value_position) = self.next()?;
            let mut node = self.node(event, value_position, &child, depth + 1)?;
            if matches!(node.value, Value::Nothing) {
                // The parser places nothing wherever it noticed; the reader of
                // the message looks for the key.
                node.position = position;
            }
            let Some(key) = key else { continue };
            if let Some(&first) = seen.get(&key) {
                let Position { line, column } = first;
                let message = format!("the key stands here twice; the first is at {line}:{column}");
                self.report.add(Some(position), &child, message);
                continue;
            }
            seen.insert(key.clone(), position);
            entries.push(Entry {
                key,
                position,
                node,
            });
        }
    }

    /// Anchors and tags. The value itself is read on: it may have faults too.
    fn refuse_decoration(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        position: Position,
        path: &str,
    ) {
        if anchor != 0 {
            let message = "anchors (&name) are not supported: write the value out, \
                           or quote it if a '&' is meant";
            self.report.add(Some(position), path, message);
        }
        if let Some(tag) = tag {
            // The parser has spelled `!!str` out.
            let written = if tag.is_yaml_core_schema() {
                format!("!!{}", tag.suffix)
            } else {
                tag.to_string()
            };
            let tag = super::scalar::shown(&written);
            let message = format!("tags are not supported: leave out {tag}");
            self.report.add(Some(position), path, message);
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Position), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(span.start))),
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => {
                self.report.add(None, "", "the text ends too early");
                Err(Stop)
            }
        }
    }

    fn syntax_error(&mut self, error: &ScanError) -> Stop {
        let at = position(*error.marker());
        // A tab confuses the scanner at what follows it, often in words that name
        // no tab: look on this line and the one before. Within a text of several
        // lines it names the tab, but places it where the text began.
        let after = usize::from(error.info().contains("tab"));
        let tab = self
            .text
            .lines()
            .enumerate()
            .take(at.line + after)
            .skip(at.line.saturating_sub(2))
            .find_map(|(index, line)| {
                let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
                let column = line[..indent].find('\t')? + 1;
                Some(Position {
                    line: index + 1,
                    column,
                })
            });
        if let Some(tab) = tab {
            return self.stop(tab, "a tab in the indentation; YAML wants spaces there");
        }
        let info = error.info();
        let line = self.text.lines().nth(at.line - 1).unwrap_or_default();
        let hint = if info.contains("anchor") {
            " (quote the value if a '*' or '&' is meant)"
        } else if line.contains("::") {
            // `::` is a key without a name to YAML, `[::1]` a list.
            " (an IPv6 address has to stand in quotes here)"
        } else {
            ""
        };
        self.stop(at, &format!("not valid YAML: {info}{hint}"))
    }

    fn empty(&mut self) -> Stop {
        self.report.add(
            None,
            "",
            "the file holds no configuration; the least there must be is \
             listen (address, port), tls (cert, key) and backends",
        );
        Stop
    }

    fn stop(&mut self, position: Position, message: &str) -> Stop {
        self.report.add(Some(position), "", message);
        Stop
    }
}

/// The path of `key` under `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if key.chars().all(plain) && key.len() <= 64 {
        key.to_owned()
    } else {
        super::scalar::shown(key)
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Nothing;
    }
    Value::Scalar {
        text: text.to_owned(),
    }
}

/// The first character that YAML does not allow in a text (YAML 1.2.2, 5.1).
fn forbidden_character(text: &str) -> Option<(Position, char)> {
    let mut position = Position { line: 1, column: 1 };
    for character in text.chars() {
        let control = character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{85}');
        if control || matches!(character, '\u{fffe}' | '\u{ffff}') {
            return Some((position, character));
        }
        position.column += 1;
        if character == '\n' {
            position.line += 1;
            position.column = 1;
        }
    }
    None
}

/// The parser's lines begin at 1, its columns at 0.
fn position(marker: Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}
