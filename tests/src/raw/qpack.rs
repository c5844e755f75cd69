//! Field sections in QPACK (RFC 9204) without a dynamic table, right and wrong.

use super::huffman;
use super::table::STATIC;

/// A field as it stands in a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    /// It came as a literal: its value stood there in full (section 4.5.4, 4.5.6).
    pub literal: bool,
    /// Whoever passes it on must write a literal as well (the N bit).
    pub never_indexed: bool,
}

/// Fields as literals behind the plain prefix: legal whatever the names and values
/// are, as far as QPACK goes.
pub fn section<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = prefix(0, false, 0);
    for (name, value) in fields {
        bytes.extend(literal(name.as_ref(), value.as_ref()));
    }
    bytes
}

/// The same with all strings in the Huffman code.
pub fn huffman_section<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = prefix(0, false, 0);
    for (name, value) in fields {
        let name = huffman::encode(name.as_ref());
        bytes.extend(integer(name.len() as u64, 3, 0b0010_1000));
        bytes.extend(name);
        bytes.extend(huffman_string(&huffman::encode(value.as_ref())));
    }
    bytes
}

/// Required Insert Count as it is encoded, and the base's distance from it
/// (section 4.5.1).
pub fn prefix(required: u64, below: bool, distance: u64) -> Vec<u8> {
    let sign = if below { 0x80 } else { 0 };
    [integer(required, 8, 0), integer(distance, 7, sign)].concat()
}

/// A whole static entry (section 4.5.2).
pub fn indexed(index: u64) -> Vec<u8> {
    integer(index, 6, 0b1100_0000)
}

/// A whole dynamic entry, which nobody has (section 4.5.2).
pub fn indexed_dynamic(index: u64) -> Vec<u8> {
    integer(index, 6, 0b1000_0000)
}

/// A dynamic entry past the base (section 4.5.3).
pub fn indexed_past_base(index: u64) -> Vec<u8> {
    integer(index, 4, 0b0001_0000)
}

/// A value behind the name of a static entry (section 4.5.4).
pub fn named(index: u64, value: &[u8]) -> Vec<u8> {
    [integer(index, 4, 0b0101_0000), string(value)].concat()
}

/// A value behind the name of a dynamic entry (section 4.5.4).
pub fn named_dynamic(index: u64, value: &[u8]) -> Vec<u8> {
    [integer(index, 4, 0b0100_0000), string(value)].concat()
}

/// A value behind the name of a dynamic entry past the base (section 4.5.5).
pub fn named_past_base(index: u64, value: &[u8]) -> Vec<u8> {
    [integer(index, 3, 0), string(value)].concat()
}

/// A name and a value (section 4.5.6).
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let len = integer(name.len() as u64, 3, 0b0010_0000);
    [&len[..], name, &string(value)].concat()
}

/// The same with the bit that forbids an index to everybody on the way.
pub fn never_indexed(name: &[u8], value: &[u8]) -> Vec<u8> {
    let len = integer(name.len() as u64, 3, 0b0011_0000);
    [&len[..], name, &string(value)].concat()
}

/// A string as it is.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&integer(bytes.len() as u64, 7, 0)[..], bytes].concat()
}

/// A string that says it is in the Huffman code, whatever it is.
pub fn huffman_string(coded: &[u8]) -> Vec<u8> {
    [&integer(coded.len() as u64, 7, 0x80)[..], coded].concat()
}

/// An integer behind `flags`, with so many bits in the first byte (RFC 7541
/// section 5.1).
pub fn integer(value: u64, bits: u32, flags: u8) -> Vec<u8> {
    let most = (1_u64 << bits) - 1;
    if value < most {
        return vec![flags | value as u8];
    }
    let mut bytes = vec![flags | most as u8];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Reads a section that refers to no dynamic table.
pub fn read(section: &[u8]) -> Result<Vec<Line>, String> {
    let mut reader = Reader(section);
    let (required, _) = (reader.integer(8)?, reader.integer(7)?);
    if required != 0 {
        return Err("it refers to the dynamic table".to_owned());
    }
    let mut lines = Vec::new();
    while let Some(&first) = reader.0.first() {
        lines.push(reader.line(first)?);
    }
    Ok(lines)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn line(&mut self, first: u8) -> Result<Line, String> {
        if first & 0xc0 == 0xc0 {
            let (name, value) = entry(self.integer(6)?)?;
            return Ok(Line {
                name: name.into(),
                value: value.into(),
                literal: false,
                never_indexed: false,
            });
        }
        if first & 0xd0 == 0x50 {
            let (name, _) = entry(self.integer(4)?)?;
            return Ok(Line {
                name: name.into(),
                value: self.string(7)?,
                literal: true,
                never_indexed: first & 0x20 != 0,
            });
        }
        if first & 0xe0 == 0x20 {
            return Ok(Line {
                name: self.string(3)?,
                value: self.string(7)?,
                literal: true,
                never_indexed: first & 0x10 != 0,
            });
        }
        Err(format!("{first:#x} refers to the dynamic table"))
    }

    fn string(&mut self, bits: u32) -> Result<Vec<u8>, String> {
        let coded = self.0.first().ok_or("a string is cut")? & 1 << bits != 0;
        let len = usize::try_from(self.integer(bits)?).map_err(|e| e.to_string())?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("a string is cut")?;
        self.0 = rest;
        if coded {
            return huffman::decode(bytes).ok_or_else(|| "bad Huffman code".to_owned());
        }
        Ok(bytes.to_vec())
    }

    fn integer(&mut self, bits: u32) -> Result<u64, String> {
        let most = (1_u64 << bits) - 1;
        let mut value = u64::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in (0..56).step_by(7) {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an integer has no end".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (&byte, rest) = self.0.split_first().ok_or("it is cut")?;
        self.0 = rest;
        Ok(byte)
    }
}

fn entry(index: u64) -> Result<(&'static str, &'static str), String> {
    let found = usize::try_from(index).ok().and_then(|i| STATIC.get(i));
    found.copied().ok_or(format!("no static entry {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9204 appendix B.1.
    #[test]
    fn the_example_of_the_rfc_reads_as_it_says() {
        let bytes = b"\x00\x00\x51\x0b/index.html";
        assert_eq!(
            [prefix(0, false, 0), named(1, b"/index.html")].concat(),
            bytes
        );
        let [line] = &read(bytes).expect("legal")[..] else {
            panic!("one field")
        };
        assert_eq!(
            (&line.name[..], &line.value[..]),
            (&b":path"[..], &b"/index.html"[..])
        );
    }

    /// RFC 7541 appendix C.1.2.
    #[test]
    fn an_integer_is_that_of_the_rfc() {
        assert_eq!(integer(1337, 5, 0), [31, 154, 10]);
        assert_eq!(Reader(&[31, 154, 10]).integer(5), Ok(1337));
    }

    #[test]
    fn what_is_written_reads_back_in_any_form() {
        let fields = [("x-name", "value"), ("y", "")];
        for bytes in [section(&fields), huffman_section(&fields)] {
            let lines = read(&bytes).expect("legal");
            assert_eq!(lines.len(), 2);
            for (line, (name, value)) in lines.iter().zip(fields) {
                assert_eq!(
                    (&line.name[..], &line.value[..]),
                    (name.as_bytes(), value.as_bytes())
                );
                assert!(line.literal && !line.never_indexed);
            }
        }
        let line =
            &read(&[prefix(0, false, 0), never_indexed(b"a", b"b")].concat()).expect("legal")[0];
        assert!(line.never_indexed);
        for bad in [
            prefix(1, false, 0),
            [prefix(0, false, 0), indexed_dynamic(0)].concat(),
        ] {
            assert!(read(&bad).is_err());
        }
    }
}
