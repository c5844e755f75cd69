//! How much the client wants a response: RFC 9218's urgency and incremental.
//!
//! The value is a structured field dictionary (RFC 9651), read by the crate `sfv`
//! through its visitor: browsers send the field with every request, and this way
//! neither a tree nor a copy is made of it. (Its default feature, which makes trees,
//! is off; what is left depends on `base64` and `ref-cast` alone.)

use std::convert::Infallible;

use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::Fields;

/// The name of the field, in requests and responses.
const FIELD: &[u8] = b"priority";

/// What RFC 9218 section 4 defines, as far as it was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Priority {
    /// `u`: 0 to 7, the lower the sooner; `None` is 3.
    urgency: Option<u8>,
    /// `i`: of use in parts; `None` is false, but see [`Priority::is_alone`].
    incremental: Option<bool>,
}

impl Priority {
    /// Urgencies there are.
    pub(crate) const LEVELS: u8 = 8;

    /// The `priority` field of a head; nothing said if it has none.
    pub(crate) fn of(fields: &Fields) -> Self {
        let lines = fields.iter().filter(|(name, _)| *name == FIELD);
        Self::parse(lines.map(|(_, value)| value))
    }

    /// Reads a value that came as these lines (RFC 9651 section 4.2: one list); a
    /// PRIORITY_UPDATE frame has one.
    ///
    /// RFC 9218 section 4: "an unknown priority parameter, priority parameters with
    /// out-of-range values, or values of unexpected types MUST be ignored"; and a
    /// value that cannot be parsed at all is as if it were not there (RFC 9651
    /// section 4.2).
    pub(crate) fn parse<'v>(lines: impl IntoIterator<Item = &'v [u8]>) -> Self {
        let mut said = Priority::default();
        for line in lines {
            if Parser::new(line)
                .parse_dictionary_with_visitor(&mut said)
                .is_err()
            {
                return Priority::default();
            }
        }
        said
    }

    /// From 0, the most urgent, to 7.
    pub(crate) fn urgency(self) -> u8 {
        // RFC 9218 section 4.1: "The default is 3."
        self.urgency.unwrap_or(3)
    }

    /// The client said that parts are of no use to it, so that it is served best if
    /// one such response comes after the other.
    ///
    /// RFC 9218 section 4.2 takes that for the default, too. We don't: hardly a
    /// client that says nothing has thought of it, and one long download would hold
    /// up all that is asked for later.
    pub(crate) fn is_alone(self) -> bool {
        self.incremental == Some(false)
    }

    /// With what a backend says of its response: the parameters it names count
    /// instead of the client's, and the others stay (RFC 9218 section 8).
    pub(crate) fn overridden_by(self, backend: Priority) -> Self {
        Priority {
            urgency: backend.urgency.or(self.urgency),
            incremental: backend.incremental.or(self.incremental),
        }
    }
}

/// Which parameter a value is for.
struct Member<'p> {
    said: &'p mut Priority,
    is_urgency: bool,
}

impl<'de> DictionaryVisitor<'de> for &mut Priority {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        // RFC 9651 section 4.2.2: of members with the same key the last one counts,
        // even if it is none of ours in kind.
        let is_urgency = match key.as_str() {
            "u" => {
                self.urgency = None;
                true
            }
            "i" => {
                self.incremental = None;
                false
            }
            _ => return Ok(None),
        };
        Ok(Some(Member {
            said: self,
            is_urgency,
        }))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl sfv::visitor::ParameterVisitor<'de, Out = ()>, Infallible> {
        if self.is_urgency {
            self.said.urgency = item
                .as_integer()
                .and_then(|urgency| u8::try_from(urgency).ok())
                .filter(|urgency| *urgency < Priority::LEVELS);
        } else {
            self.said.incremental = item.as_boolean();
        }
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        for (text, urgency, incremental) in [
            ("", None, None),
            ("u=0", Some(0), None),
            ("u=7, i", Some(7), Some(true)),
            ("i=?0,u=1", Some(1), Some(false)),
            ("i=?1", None, Some(true)),
            ("  u=5\t ,\ti  ", Some(5), Some(true)),
            ("u=2;why=not;i, i;x", Some(2), Some(true)),
            ("u=2, u=4", Some(4), None),
            // Unknown members are none of our business.
            ("x, y=(1 2);z, u=1, *a=\"u=7\", b=:aGk=:", Some(1), None),
            // Out of range, or of another type.
            ("u=8", None, None),
            ("u=-1, i", None, Some(true)),
            ("u=256", None, None),
            ("u=999999999999999", None, None),
            ("u=1.0", None, None),
            ("u=one", None, None),
            ("u", None, None),
            ("u=(1)", None, None),
            ("u=\"1\"", None, None),
            ("i=1, u=1", Some(1), None),
            ("i=yes", None, None),
            // The last one counts, whatever it is.
            ("u=1, u=x", None, None),
            ("u=1, u=(1)", None, None),
            ("i, i=1", None, None),
        ] {
            let wanted = Priority {
                urgency,
                incremental,
            };
            assert_eq!(one(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_was_not_said() {
        for text in [
            "u=1,",
            "u=1;",
            ",u=1",
            "u=1 i",
            "u=",
            "U=1",
            "u==1",
            "u=1, i=?2",
            "u=1, é",
            "u=1, x=\"",
            "u=1, x=(",
            "u=0\0",
            "u=1, x=9999999999999999",
        ] {
            assert_eq!(one(text), Priority::default(), "{text:?}");
        }
        assert_eq!(Priority::parse([&[0xff, 0x80][..]]), Priority::default());
    }

    #[test]
    fn lines_are_one_list() {
        let lines = |lines: &[(&str, &str)]| Priority::of(&lines.iter().copied().collect());
        let both = lines(&[("priority", "u=1"), ("accept", "u=2"), ("priority", "i")]);
        assert_eq!(both, one("u=1, i"));
        let last = lines(&[("priority", "u=1, i"), ("priority", "u=6")]);
        assert_eq!(last, one("u=6, i"));
        let broken = lines(&[("priority", "u=1"), ("priority", ";")]);
        assert_eq!(broken, Priority::default());
        assert_eq!(lines(&[("prioritY", "u=1")]), Priority::default());
    }

    #[test]
    fn nothing_said_is_neither_the_one_nor_the_other() {
        assert_eq!(one("").urgency(), 3);
        assert_eq!(one("u=9").urgency(), 3);
        assert!(!one("").is_alone() && !one("u=1").is_alone() && !one("i").is_alone());
        assert!(one("i=?0").is_alone());
    }

    #[test]
    fn a_backend_overrides_what_it_names() {
        // The example of RFC 9218 section 8.
        assert_eq!(one("u=5, i").overridden_by(one("u=1")), one("u=1, i"));
        assert_eq!(one("u=5, i").overridden_by(one("i=?0")), one("u=5, i=?0"));
        assert_eq!(one("u=5").overridden_by(one("")), one("u=5"));
        assert_eq!(one("u=5").overridden_by(one("u=9")), one("u=5"));
    }

    fn one(text: &str) -> Priority {
        Priority::parse([text.as_bytes()])
    }
}
