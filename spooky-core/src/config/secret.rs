//! Where a secret is kept. The configuration never holds one: it is printed, copied
//! and shown to others.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::node::{Entry, Node, Value};
use super::scalar::{self, Parsed};

const FORM: &str = "{ file: PATH } or { env: NAME }";

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, already resolved against the configuration's folder. One line break at
    /// its end is not part of the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => path.display().fmt(f),
            SecretSource::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl Serialize for SecretSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SecretSource::File(path) => serializer.collect_map([("file", path.to_string_lossy())]),
            SecretSource::Env(name) => serializer.collect_map([("env", name)]),
        }
    }
}

/// Reads the section that says where a secret is kept; files are found from `base`.
pub(super) fn secret(node: &Node, base: &Path) -> Parsed<SecretSource> {
    let entries = match &node.value {
        Value::Section(entries) => entries,
        // What stands there may be the secret: it is not repeated.
        Value::Scalar { .. } => {
            return Err(format!(
                "expected {FORM}, found text: a secret does not stand in the configuration, \
                 which is printed and passed around"
            ));
        }
        Value::Nothing | Value::List(_) | Value::Refused => {
            return Err(scalar::expected(FORM, node));
        }
    };
    let [Entry { key, node, .. }] = entries.as_slice() else {
        return Err(format!("expected {FORM}, found {} keys", entries.len()));
    };
    match key.as_str() {
        "file" => scalar::path(node, base)
            .map(SecretSource::File)
            .map_err(|message| format!("file: {message}")),
        "env" => variable(node).map(SecretSource::Env),
        other => Err(format!(
            "expected {FORM}, found the key {}",
            scalar::shown(other)
        )),
    }
}

/// A name as shells can set it (POSIX.1-2024, Base Definitions 3.216).
fn variable(node: &Node) -> Parsed<String> {
    let what = "the name of an environment variable such as SPOOKY_SECRET";
    match &node.value {
        Value::Scalar { text } if named(text) => Ok(text.clone()),
        // A secret may stand where its variable's name was meant.
        Value::Scalar { .. } => Err(format!("env: expected {what}, found other text")),
        Value::Nothing | Value::List(_) | Value::Section(_) | Value::Refused => {
            Err(format!("env: {}", scalar::expected(what, node)))
        }
    }
}

fn named(text: &str) -> bool {
    let character = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.len() <= super::bounds::VARIABLE_BYTES
        && text.bytes().all(character)
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Report;
    use super::super::node;
    use super::*;

    #[test]
    fn a_secret_is_in_a_file_or_in_the_environment() {
        let kept = SecretSource::File("conf/spooky.secret".into());
        assert_eq!(read("{ file: spooky.secret }"), Ok(kept.clone()));
        assert_eq!(kept.to_string(), "conf/spooky.secret");
        let set = SecretSource::Env("SPOOKY_SECRET".into());
        assert_eq!(read("{ env: SPOOKY_SECRET }"), Ok(set.clone()));
        assert_eq!(set.to_string(), "the environment variable SPOOKY_SECRET");
        for source in [kept, set] {
            let printed = serde_yaml::to_string(&source).unwrap();
            let printed = format!("\n  {}", printed.replace("conf/", ""));
            let again = read(&printed);
            assert_eq!(again, Ok(source), "{printed}");
        }
    }

    #[test]
    fn a_secret_that_stands_there_itself_is_refused_and_not_repeated() {
        assert_eq!(
            read("hunter2"),
            Err(format!(
                "expected {FORM}, found text: a secret does not stand in the configuration, \
                 which is printed and passed around"
            ))
        );
        assert_eq!(
            read("{ env: 'hunter 2' }"),
            Err(
                "env: expected the name of an environment variable such as SPOOKY_SECRET, \
                 found other text"
                    .into()
            )
        );
    }

    #[test]
    fn what_says_no_place_is_refused() {
        for (text, found) in [
            ("[a]", "a list"),
            ("~", "nothing"),
            ("{}", "0 keys"),
            ("{ file: a, env: B }", "2 keys"),
            ("{ path: a }", "the key 'path'"),
        ] {
            assert_eq!(read(text), Err(format!("expected {FORM}, found {found}")));
        }
        assert_eq!(
            read("{ file: '' }"),
            Err("file: expected the path of a file, found ''".into())
        );
        let long = format!("{{ env: {} }}", "A".repeat(129));
        for wrong in [
            "{ env: 1A }",
            "{ env: A-B }",
            "{ env: '' }",
            "{ env: ~ }",
            &long,
        ] {
            assert!(
                read(wrong).unwrap_err().starts_with("env: expected"),
                "{wrong}"
            );
        }
    }

    fn read(text: &str) -> Parsed<SecretSource> {
        let mut report = Report::new("");
        let node = node::read(&format!("secret: {text}"), &mut report);
        let node = node.expect("a section with one key");
        let Value::Section(entries) = &node.value else {
            panic!("{text}");
        };
        secret(&entries[0].node, Path::new("conf"))
    }
}
