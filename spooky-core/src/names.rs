//! Which pattern of host names fits a name: one rule for certificates and for routes.
//!
//! A pattern is a name, or `*.` and a name. RFC 9525 section 6.3: a wildcard is
//! "the complete content of the left-most label" and stands for exactly one:
//! `*.example.com` fits `www.example.com`, and neither `example.com` nor
//! `a.b.example.com`. A name is compared without regard to case (RFC 4343), and a dot at
//! its end says nothing. The exact pattern wins over the wildcard; of two that are the
//! same, the first.

use rustc_hash::FxHashMap;

/// Bytes of a host name (RFC 1035 section 2.3.4, without the root's).
const NAME_BYTES: usize = 253;

/// Something for each of some patterns. To look one up costs the same however many
/// there are, and no allocation.
///
/// Only the operator chooses what is hashed into it, so the fast hash does.
#[derive(Debug)]
pub(crate) struct Names<T> {
    exact: FxHashMap<Box<str>, T>,
    /// By what follows `*.`.
    wildcards: FxHashMap<Box<str>, T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Names {
            exact: FxHashMap::default(),
            wildcards: FxHashMap::default(),
        }
    }
}

impl<T> Names<T> {
    /// Adds a pattern, unless it is there already or can't fit any name. True if it was
    /// added.
    pub(crate) fn add(&mut self, pattern: &str, value: T) -> bool {
        let (table, name) = match pattern.strip_prefix("*.") {
            Some(rest) => (&mut self.wildcards, rest),
            None => (&mut self.exact, pattern),
        };
        let mut room = [0; NAME_BYTES];
        let Some(name) = lower(name, &mut room).filter(|name| !name.contains('*')) else {
            return false;
        };
        if table.contains_key(name) {
            return false;
        }
        table.insert(name.into(), value);
        true
    }

    /// What stands for the pattern that fits `name` best.
    pub(crate) fn find(&self, name: &str) -> Option<&T> {
        let mut room = [0; NAME_BYTES];
        let name = lower(name, &mut room)?;
        self.exact.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            self.wildcards.get(rest).filter(|_| !first.is_empty())
        })
    }
}

/// `name` in lower case and without a dot at its end, if it can be a name.
fn lower<'r>(name: &str, room: &'r mut [u8; NAME_BYTES]) -> Option<&'r str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let room = room.get_mut(..name.len()).filter(|r| !r.is_empty())?;
    room.copy_from_slice(name.as_bytes());
    room.make_ascii_lowercase();
    std::str::from_utf8(room).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_wins_then_the_wildcard_of_one_label() {
        let names = names(&["example.com", "*.example.com", "WWW.Example.com"]);
        for (name, found) in [
            ("example.com", Some(0)),
            ("EXAMPLE.COM", Some(0)),
            ("example.com.", Some(0)),
            ("a.example.com", Some(1)),
            ("A.eXample.com.", Some(1)),
            ("www.example.com", Some(2)),
            ("www.EXAMPLE.com", Some(2)),
            ("a.b.example.com", None),
            (".example.com", None),
            ("xexample.com", None),
            ("com", None),
            ("", None),
            (".", None),
            ("*.example.com", Some(1)),
            ("example.com..", None),
        ] {
            assert_eq!(names.find(name).copied(), found, "{name}");
        }
        let long = format!("{}.example.com", "a".repeat(300));
        assert_eq!(names.find(&long), None);
    }

    #[test]
    fn the_first_of_two_that_are_the_same_stays() {
        let mut names = Names::default();
        assert!(names.add("a.test", 1) && names.add("*.a.test", 2));
        assert!(!names.add("A.TEST", 3) && !names.add("*.A.test.", 4));
        assert_eq!(names.find("a.test"), Some(&1));
        assert_eq!(names.find("b.a.test"), Some(&2));
    }

    #[test]
    fn a_wildcard_is_a_whole_label_and_the_first_one() {
        let mut names = Names::default();
        for odd in [
            "*",
            "*.",
            "w*.a.test",
            "a.*.test",
            "*.*.test",
            "**.test",
            "",
        ] {
            assert!(!names.add(odd, ()), "{odd}");
        }
    }

    #[test]
    fn the_longest_name_is_found() {
        let label = "a".repeat(60);
        let longest = format!("{label}.{label}.{label}.{label}.bcdefghi");
        assert_eq!(longest.len(), 252);
        let longest = longest + "j";
        let names = names(&[&longest]);
        assert_eq!(names.find(&longest), Some(&0));
        assert_eq!(names.find(&(longest + ".")), Some(&0));
    }

    fn names(patterns: &[&str]) -> Names<usize> {
        let mut names = Names::default();
        for (index, pattern) in patterns.iter().enumerate() {
            assert!(names.add(pattern, index), "{pattern}");
        }
        names
    }
}
