//! What is wrong, and where.

use std::collections::BTreeMap;
use std::fmt;

/// A place in the text, as editors count: both begin at 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where each key of a configuration stood in its text.
///
/// Paths are written as `backends[1].address`. A scalar's position is that of
/// its value, a section's or a list's that of its key. Keys that were left to
/// their defaults have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    file: String,
    places: BTreeMap<String, Position>,
}

impl Positions {
    pub(super) fn new(file: &str) -> Self {
        Positions {
            file: file.to_owned(),
            places: BTreeMap::new(),
        }
    }

    pub(super) fn insert(&mut self, path: String, position: Position) {
        self.places.insert(path, position);
    }

    /// The configuration file, as the user named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where `path` stands; absent if it was left to its default.
    pub fn exact(&self, path: &str) -> Option<Position> {
        self.places.get(path).copied()
    }

    /// Where `path` stands, or else the nearest section around it.
    pub fn nearest(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(position) = self.exact(path) {
                return Some(position);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }
}

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The configuration file, as the user named it.
    pub file: String,
    /// Where, if the text has such a place.
    pub position: Option<Position>,
    /// The YAML path, as `backends[1].address`; empty: the file as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    /// `FILE:LINE:COLUMN: PATH: MESSAGE`, without the parts that are missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file.is_empty() {
            "configuration"
        } else {
            &self.file
        };
        write!(f, "{file}:")?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// Diagnostics as they are found, up to a bound.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    found: Vec<Diagnostic>,
    /// How many did not fit.
    shed: usize,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Report {
            file: file.to_owned(),
            found: Vec::new(),
            shed: 0,
        }
    }

    pub(super) fn add(
        &mut self,
        position: Option<Position>,
        path: &str,
        message: impl Into<String>,
    ) {
        if self.found.len() == super::bounds::DIAGNOSTICS {
            self.shed += 1;
            return;
        }
        self.found.push(Diagnostic {
            file: self.file.clone(),
            position,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// How many were found so far; equal before and after a step that found none.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.shed
    }

    /// What was found, in the order of the text.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| diagnostic.position);
        if self.shed > 0 {
            self.found.push(Diagnostic {
                file: self.file,
                position: None,
                path: String::new(),
                message: format!("and {} more errors, not shown", self.shed),
            });
        }
        self.found
    }
}
