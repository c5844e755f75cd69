//! From bytes to fields, within bounds.

use super::{huffman, integer, table};
use crate::http::{Bounds, Fields, HeadError};

/// Why a section was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It crosses a bound. The fields up to there; the rest was not looked at.
    TooLarge(HeadError, Fields),
    /// It breaks a rule, and with it the connection (QPACK_DECOMPRESSION_FAILED).
    Failed(&'static str),
}

const CUT: &str = "a field section is cut";
const INTEGER: &str = "an integer of a field section is cut or too large";
const DYNAMIC: &str = "a field section refers to the dynamic table";

/// Reads a field section.
pub(crate) fn decode(mut block: &[u8], bounds: Bounds) -> Result<Fields, Refused> {
    // RFC 9204 section 4.5.1: Required Insert Count, then sign and Delta Base. Without
    // a dynamic table the count is 0; the base may be anything, but "The value of Base
    // MUST NOT be negative" (section 4.5.1.2), which with a count of 0 is a set sign.
    if integer::take(&mut block, 8).ok_or(Refused::Failed(INTEGER))? != 0 {
        return Err(Refused::Failed(DYNAMIC));
    }
    let negative = block.first().ok_or(Refused::Failed(CUT))? & 0x80 != 0;
    integer::take(&mut block, 7).ok_or(Refused::Failed(INTEGER))?;
    if negative {
        return Err(Refused::Failed("the base of a field section is negative"));
    }
    let room = block.len().min(bounds.bytes as usize);
    // A guess that fits most: a field of a head is encoded to some 16 bytes, and grows
    // by half where names come from the table and values from Huffman's code. Some ten
    // more are hardly anything, because the table has them whole.
    let mut section = Section {
        fields: Fields::with_capacity((room / 16 + 10).min(bounds.fields), room + room / 2 + 160),
        bounds,
    };
    while let Some(&first) = block.first() {
        match section.take_line(first, &mut block) {
            Ok(()) => {}
            Err(Stop::Bound(error)) => return Err(Refused::TooLarge(error, section.fields)),
            Err(Stop::Failed(text)) => return Err(Refused::Failed(text)),
        }
    }
    Ok(section.fields)
}

/// Why a section is not read on.
#[derive(Debug)]
enum Stop {
    Bound(HeadError),
    Failed(&'static str),
}

struct Section {
    fields: Fields,
    bounds: Bounds,
}

impl Section {
    /// One field line (RFC 9204 sections 4.5.2 to 4.5.6).
    fn take_line(&mut self, first: u8, block: &mut &[u8]) -> Result<(), Stop> {
        if self.fields.len() >= self.bounds.fields {
            return Err(Stop::Bound(HeadError::TooMany(self.bounds.fields)));
        }
        match first {
            // Indexed: 1, T, index.
            0xc0..=0xff => {
                let (name, value) = entry(integer::take(block, 6).ok_or(Stop::Failed(INTEGER))?)?;
                self.fields.push(name, value);
                self.check(0)
            }
            // Literal with name reference: 01, N, T, index.
            0x50..=0x5f | 0x70..=0x7f => {
                let (name, _) = entry(integer::take(block, 4).ok_or(Stop::Failed(INTEGER))?)?;
                self.fields.open().extend_from_slice(name);
                self.take_value(block, first & 0x20 != 0)
            }
            // Literal with literal name: 001, N, H, length.
            0x20..=0x3f => {
                self.take_string(block, 3)?;
                self.take_value(block, first & 0x10 != 0)
            }
            // T is 0, or relative to the base after it.
            0x80..=0xbf | 0x40..=0x4f | 0x60..=0x6f | 0x00..=0x1f => Err(Stop::Failed(DYNAMIC)),
        }
    }

    /// The value of the field whose name was just appended; `never` is its N.
    fn take_value(&mut self, block: &mut &[u8], never: bool) -> Result<(), Stop> {
        let name_end = self.fields.open().len();
        self.take_string(block, 7)?;
        self.fields.close(name_end);
        if never {
            self.fields.never_index_last();
        }
        Ok(())
    }

    /// A string with its Huffman bit above a prefix of so many bits (section 4.1.2).
    fn take_string(&mut self, block: &mut &[u8], prefix: u32) -> Result<(), Stop> {
        let huffman = block.first().ok_or(Stop::Failed(CUT))? & (1 << prefix) != 0;
        let length = integer::take(block, prefix).ok_or(Stop::Failed(INTEGER))?;
        let (string, rest) = block.split_at_checked(length).ok_or(Stop::Failed(CUT))?;
        *block = rest;
        if huffman {
            huffman::decode(string, self.fields.open()).map_err(|huffman::Invalid| {
                Stop::Failed("a string of a field section is not in Huffman's code")
            })?;
        } else {
            self.fields.open().extend_from_slice(string);
        }
        self.check(1)
    }

    /// `open` is 1 while a field is read, and 0 between fields.
    fn check(&mut self, open: u64) -> Result<(), Stop> {
        if self.fields.section_bytes() + 32 * open > self.bounds.bytes {
            return Err(Stop::Bound(HeadError::TooLarge(self.bounds.bytes)));
        }
        Ok(())
    }
}

fn entry(index: usize) -> Result<(&'static [u8], &'static [u8]), Stop> {
    let entry = table::ENTRIES.get(index).copied();
    entry.ok_or(Stop::Failed("no such entry in the static table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds {
        bytes: 1 << 20,
        fields: 1000,
    };

    #[test]
    fn each_form_of_a_field_line_is_read() {
        // RFC 9204 appendix B.1, then an indexed field, a literal name, and Huffman.
        let path = [&[0x51, 0x0b][..], b"/index.html"].concat();
        let literal = [&[0x23][..], b"x-y", &[0x02], b"ab"].concat();
        let never = [&[0x33][..], b"x-y", &[0x00]].concat();
        let coded = [
            &[0x51, 0x89][..],
            &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab],
        ]
        .concat();
        assert_eq!(
            read(&path),
            Ok(vec![(":path".into(), "/index.html".into())])
        );
        assert_eq!(read(&[0xd9]), Ok(vec![(":status".into(), "200".into())]));
        assert_eq!(read(&literal), Ok(vec![("x-y".into(), "ab".into())]));
        assert_eq!(read(&never), Ok(vec![("x-y".into(), String::new())]));
        assert!(read(&coded).is_err(), "cut within a code");
        let whole = [
            &[0x51, 0x8c][..],
            &[
                0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
            ],
        ]
        .concat();
        assert_eq!(
            read(&whole),
            Ok(vec![(":path".into(), "www.example.com".into())])
        );
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn whatever_refers_to_the_dynamic_table_fails() {
        for line in [0x80, 0xbf, 0x40, 0x4f, 0x60, 0x00, 0x10, 0x1f] {
            assert_eq!(
                read(&[line, 0, 0, 0]),
                Err(Refused::Failed(DYNAMIC)),
                "{line:#x}"
            );
        }
        assert_eq!(
            decode(&[1, 0, 0xd9], WIDE),
            Err(Refused::Failed(DYNAMIC)),
            "an insert count"
        );
        let negative = Refused::Failed("the base of a field section is negative");
        assert_eq!(decode(&[0, 0x80, 0xd9], WIDE), Err(negative));
        assert!(
            decode(&[0, 0x05, 0xd9], WIDE).is_ok(),
            "any base that is none"
        );
    }

    #[test]
    fn what_is_cut_fails() {
        let whole = [&[0, 0, 0x51, 0x0b][..], b"/index.html"].concat();
        for end in 0..whole.len() {
            let fails = matches!(decode(&whole[..end], WIDE), Err(Refused::Failed(_)));
            // Two bytes are a section without fields.
            assert_eq!(fails, end != 2, "{end}");
        }
        assert!(matches!(read(&[0xff, 0x24]), Err(Refused::Failed(_))), "99");
        assert!(matches!(read(&[0xff; 30]), Err(Refused::Failed(_))));
    }

    #[test]
    fn bounds_are_exact() {
        // Two fields of 3 + 2 + 32 bytes.
        let field = [&[0x23][..], b"x-y", &[0x02], b"ab"].concat();
        let block = [&[0, 0][..], &field, &field].concat();
        let bounds = |bytes, fields| Bounds { bytes, fields };
        let refused = |block: &[u8], bytes, fields| match decode(block, bounds(bytes, fields)) {
            Err(Refused::TooLarge(error, _)) => Some(error),
            Err(Refused::Failed(_)) | Ok(_) => None,
        };
        let (large, many) = (HeadError::TooLarge, HeadError::TooMany);
        assert!(decode(&block, bounds(74, 2)).is_ok());
        assert_eq!(refused(&block, 73, 2), Some(large(73)));
        assert_eq!(refused(&block, 74, 1), Some(many(1)));
        // Reads no further: what follows is wrong.
        let rest = [&block[..], &[0x80]].concat();
        assert_eq!(refused(&rest, 73, 9), Some(large(73)));
        let indexed = [0, 0, 0xd9, 0xd9];
        assert!(decode(&indexed, bounds(84, 9)).is_ok());
        assert_eq!(refused(&indexed, 83, 9), Some(large(83)));
    }

    fn read(lines: &[u8]) -> Result<Vec<(String, String)>, Refused> {
        let fields = decode(&[&[0, 0], lines].concat(), WIDE)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(fields.iter().map(|(n, v)| (text(n), text(v))).collect())
    }
}
