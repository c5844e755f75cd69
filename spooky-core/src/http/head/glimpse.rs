//! What a record tells of a request whose head was refused.

use super::{Fields, authority, bytes};
use crate::limits;

/// Method, path and authority of a refused head, each if it is sound by itself, is
/// there once, and is short. Copied out of the head, so that a record of a flood of
/// refused heads is small.
#[derive(Clone, Debug, Default)]
pub struct Glimpse(Fields);

impl Glimpse {
    pub(crate) fn of(fields: &Fields) -> Self {
        let mut seen = Fields::default();
        for (name, sound) in SHOWN {
            let mut values = fields.iter().filter(|(n, _)| *n == name);
            if let (Some((_, value)), None) = (values.next(), values.next())
                && value.len() <= limits::GLIMPSE_BYTES
                && sound(value)
            {
                seen.push(name, value);
            }
        }
        Glimpse(seen)
    }

    /// The method, a token.
    pub fn method(&self) -> Option<&[u8]> {
        self.0.find(b":method")
    }

    /// Path and query, without controls and spaces.
    pub fn path(&self) -> Option<&[u8]> {
        self.0.find(b":path")
    }

    /// `:authority`; never empty.
    pub fn authority(&self) -> Option<&[u8]> {
        self.0.find(b":authority")
    }
}

/// A field that is shown, and when.
type Shown = (&'static [u8], fn(&[u8]) -> bool);

const SHOWN: [Shown; 3] = [
    (b":method", bytes::is_token),
    (b":path", |path| !path.is_empty() && bytes::is_target(path)),
    (b":authority", |host| authority::check(host).is_ok()),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glimpse_has_what_is_sound_by_itself() {
        let long = "/".repeat(limits::GLIMPSE_BYTES + 1);
        for (list, method, path, authority) in [
            (
                &[(":method", "GET"), (":path", "/x")][..],
                Some("GET"),
                Some("/x"),
                None,
            ),
            (&[(":method", "G T"), (":path", "x")], None, Some("x"), None),
            (&[(":method", "A"), (":method", "B")], None, None, None),
            (
                &[(":path", "/a b"), (":authority", "a.test:1")],
                None,
                None,
                Some("a.test:1"),
            ),
            (
                &[(":path", ""), (":authority", "u@a.test")],
                None,
                None,
                None,
            ),
            (&[(":path", &long)], None, None, None),
            (&[], None, None, None),
        ] {
            let glimpse = Glimpse::of(&list.iter().copied().collect());
            let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
            assert_eq!(glimpse.method(), bytes(method), "{list:?}");
            assert_eq!(glimpse.path(), bytes(path), "{list:?}");
            assert_eq!(glimpse.authority(), bytes(authority), "{list:?}");
        }
    }
}
