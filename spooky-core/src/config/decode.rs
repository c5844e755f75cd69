//! Walks the tree and collects every fault, not only the first.

use std::path::Path;

use super::diagnostic::{Diagnostic, Position, Positions, Report};
use super::node::{self, Entry, Node, Value};
use super::scalar::{self, Parsed};
use super::schema::Section;

/// What decoding carries along.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    /// The folder that relative paths begin at.
    pub(super) base: &'a Path,
    pub(super) positions: Positions,
    report: Report,
}

/// A section of the text whose keys were checked.
///
/// A fault in one value does not stop the others from being read: it is
/// reported, and a default stands in until the end, where any report at all
/// means that there is no configuration.
#[derive(Debug)]
pub(super) struct View<'n> {
    path: String,
    position: Position,
    entries: &'n [Entry],
    /// It was no section at all; what it lacks needs no mention.
    broken: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(base: &'a Path, positions: Positions, report: Report) -> Self {
        Decoder {
            base,
            positions,
            report,
        }
    }

    /// The whole text as a section.
    pub(super) fn root<'n>(&mut self, root: &'n Node, section: &'static Section) -> View<'n> {
        self.view(String::new(), root.position, root, section)
    }

    /// The section under `key`, or an empty one at the place it is missing from.
    pub(super) fn section<'n>(
        &mut self,
        parent: &View<'n>,
        key: &'static str,
        section: &'static Section,
    ) -> View<'n> {
        self.optional_section(parent, key, section)
            .unwrap_or_else(|| View {
                path: node::join(&parent.path, key),
                position: parent.position,
                entries: &[],
                broken: false,
            })
    }

    /// The section under `key`, which has to be there.
    pub(super) fn required_section<'n>(
        &mut self,
        parent: &View<'n>,
        key: &'static str,
        section: &'static Section,
    ) -> Option<View<'n>> {
        let view = self.optional_section(parent, key, section);
        if view.is_none() {
            self.missing(parent, key);
        }
        view
    }

    /// The section under `key`, if there is one.
    pub(super) fn optional_section<'n>(
        &mut self,
        parent: &View<'n>,
        key: &'static str,
        section: &'static Section,
    ) -> Option<View<'n>> {
        let entry = parent.entry(key)?;
        let path = node::join(&parent.path, key);
        Some(self.view(path, entry.position, &entry.node, section))
    }

    /// The list under `key`, which has to be there and hold something, each item
    /// a section.
    pub(super) fn required_list<'n>(
        &mut self,
        parent: &View<'n>,
        key: &'static str,
        section: &'static Section,
    ) -> Vec<View<'n>> {
        let Some(entry) = parent.entry(key) else {
            self.missing(parent, key);
            return Vec::new();
        };
        let path = parent.path_of(key);
        let Some(items) = self.sections(entry, &path, section) else {
            return Vec::new();
        };
        if items.is_empty() {
            self.fault(
                entry.position,
                &path,
                "the list is empty; at least one is needed",
            );
        }
        items
    }

    /// The list under `key`, each item a section; it may be empty or left out.
    pub(super) fn optional_list<'n>(
        &mut self,
        parent: &View<'n>,
        key: &'static str,
        most: usize,
        section: &'static Section,
    ) -> Vec<View<'n>> {
        let Some(entry) = parent.entry(key) else {
            return Vec::new();
        };
        let path = parent.path_of(key);
        if let Value::List(items) = &entry.node.value
            && items.len() > most
        {
            let message = format!("the list has {} items; {most} at most", items.len());
            self.fault(entry.position, &path, message);
            return Vec::new();
        }
        self.sections(entry, &path, section).unwrap_or_default()
    }

    /// A list of sections, unless it is no list.
    fn sections<'n>(
        &mut self,
        entry: &'n Entry,
        path: &str,
        section: &'static Section,
    ) -> Option<Vec<View<'n>>> {
        let items: &[Node] = match &entry.node.value {
            Value::List(items) => items,
            Value::Refused => return None,
            Value::Nothing => &[],
            Value::Scalar { .. } | Value::Section(_) => {
                let keys = section.accepted.join(", ");
                let what = format!("a list, each item beginning with '-' and having {keys}");
                let message = scalar::expected(&what, &entry.node);
                self.fault(entry.node.position, path, message);
                return None;
            }
        };
        let views = items.iter().enumerate().map(|(index, item)| {
            self.view(format!("{path}[{index}]"), item.position, item, section)
        });
        Some(views.collect())
    }

    /// The values under `key`, a list that may be empty or left out.
    pub(super) fn list<T>(
        &mut self,
        view: &View<'_>,
        key: &'static str,
        most: usize,
        parse: impl Fn(&Node) -> Parsed<T>,
    ) -> Vec<T> {
        let Some(entry) = view.entry(key) else {
            return Vec::new();
        };
        let path = view.path_of(key);
        let items: &[Node] = match &entry.node.value {
            Value::List(items) => items,
            Value::Refused => return Vec::new(),
            Value::Nothing | Value::Scalar { .. } | Value::Section(_) => {
                let message = scalar::expected("a list such as [A, B]", &entry.node);
                self.fault(entry.node.position, &path, message);
                return Vec::new();
            }
        };
        if items.len() > most {
            let message = format!("the list has {} items; {most} at most", items.len());
            self.fault(entry.position, &path, message);
            return Vec::new();
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match parse(item) {
                Ok(value) => values.push(value),
                Err(_) if matches!(item.value, Value::Refused) => {}
                Err(message) => self.fault(item.position, &format!("{path}[{index}]"), message),
            }
        }
        values
    }

    /// The value of `key`, which has to be there.
    pub(super) fn required<T>(
        &mut self,
        view: &View<'_>,
        key: &'static str,
        parse: impl FnOnce(&Node) -> Parsed<T>,
    ) -> Option<T> {
        if view.entry(key).is_none() {
            self.missing(view, key);
        }
        self.read(view, key, "", parse)
    }

    /// The value of `key`, or its default.
    pub(super) fn value<T>(
        &mut self,
        view: &View<'_>,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Node) -> Parsed<T>,
    ) -> T {
        self.optional(view, key, parse).unwrap_or(default)
    }

    /// The value of `key`, if there is one.
    pub(super) fn optional<T>(
        &mut self,
        view: &View<'_>,
        key: &'static str,
        parse: impl FnOnce(&Node) -> Parsed<T>,
    ) -> Option<T> {
        let hint = "; leave the key out if the default is meant";
        self.read(view, key, hint, parse)
    }

    /// `if_nothing` is added to the message about a key without a value.
    fn read<T>(
        &mut self,
        view: &View<'_>,
        key: &'static str,
        if_nothing: &str,
        parse: impl FnOnce(&Node) -> Parsed<T>,
    ) -> Option<T> {
        let entry = view.entry(key)?;
        if matches!(entry.node.value, Value::Refused) {
            return None;
        }
        match parse(&entry.node) {
            Ok(value) => Some(value),
            Err(mut message) => {
                if matches!(entry.node.value, Value::Nothing) {
                    message += if_nothing;
                }
                self.fault(entry.node.position, &view.path_of(key), message);
                None
            }
        }
    }

    /// A fault of a combination, shown at the first of `keys` that was written.
    pub(super) fn combination(&mut self, view: &View<'_>, keys: &[&'static str], message: String) {
        let written = keys.iter().find_map(|&key| view.entry(key));
        match written {
            Some(entry) => self.fault(entry.place(), &view.path_of(&entry.key), message),
            None => self.fault(view.position, &view.path, message),
        }
    }

    /// Whether nothing was reported since `count` was taken by [`Self::count`].
    pub(super) fn clean_since(&self, count: usize) -> bool {
        self.report.count() == count
    }

    pub(super) fn count(&self) -> usize {
        self.report.count()
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.report.into_diagnostics()
    }

    fn view<'n>(
        &mut self,
        path: String,
        position: Position,
        node: &'n Node,
        section: &'static Section,
    ) -> View<'n> {
        self.positions.insert(path.clone(), position);
        let mut view = View {
            path,
            position,
            entries: &[],
            broken: false,
        };
        match &node.value {
            Value::Section(entries) => view.entries = entries,
            // A section whose keys are all commented out is one of defaults.
            Value::Nothing => {}
            Value::Refused => view.broken = true,
            Value::Scalar { .. } | Value::List(_) => {
                view.broken = true;
                let what = format!("keys ({})", section.accepted.join(", "));
                let message = scalar::expected(&what, node);
                self.fault(node.position, &view.path, message);
            }
        }
        for entry in view.entries {
            let path = view.path_of(&entry.key);
            if section.accepted.contains(&entry.key.as_str()) {
                self.positions.insert(path, entry.place());
            } else {
                self.fault(entry.position, &path, section.refusal(&entry.key));
            }
        }
        view
    }

    fn missing(&mut self, view: &View<'_>, key: &'static str) {
        if !view.broken {
            let message = format!("the required key '{key}' is missing");
            self.fault(view.position, &view.path_of(key), message);
        }
    }

    fn fault(&mut self, position: Position, path: &str, message: impl Into<String>) {
        self.report.add(Some(position), path, message);
    }
}

impl<'n> View<'n> {
    /// The key was written, whatever stands there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn path_of(&self, key: &str) -> String {
        node::join(&self.path, key)
    }
}
