//! The Huffman code of field values and names (RFC 7541 appendix B).
//!
//! The code is canonical: among codes of one length they count up with the symbol,
//! and a longer code goes on where the shorter ones ended. So the lengths say it all,
//! and the tables are made from them when the crate is compiled.
//!
//! A look at the next twelve bits gives a symbol, or two: what heads are made of has
//! codes of five to eight bits. Longer codes are found by their length, which costs at
//! most eighteen comparisons for at least thirteen bits. Values of a browser's head,
//! 271 bytes of code, take 0.8 µs so, and took 1.5 µs with one symbol a look (measured).

/// Bits of each byte's code, and of the end of string.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,];

/// The symbol that no string may contain.
const END: u16 = 256;
/// Bits of the longest code.
const LONGEST: usize = 30;
/// Bits that are looked up at once.
const LOOK: usize = 12;

struct Code {
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// How many there are of each length …
    count: [u32; LONGEST + 1],
    /// … and where their symbols begin in `symbols`.
    start: [u32; LONGEST + 1],
    symbols: [u16; 257],
}

static CODE: Code = code();

/// By the next [`LOOK`] bits: what they begin with. See [`Look`].
static BY_PREFIX: [Look; 1 << LOOK] = by_prefix();

/// One symbol or two.
#[derive(Clone, Copy)]
struct Look {
    symbols: [u8; 2],
    /// Bits of the first one; 0 if its code is longer than the look.
    first: u8,
    /// Bits of both and how many they are, in the upper half and the lower: two if both
    /// are there whole.
    both: u8,
}

const fn code() -> Code {
    let mut code = Code {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut next, mut length, mut filled) = (0, 1, 0);
    while length <= LONGEST {
        code.first[length] = next;
        code.start[length] = filled;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[filled as usize] = symbol as u16;
                filled += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.count[length] = filled - code.start[length];
        next <<= 1;
        length += 1;
    }
    code
}

const fn by_prefix() -> [Look; 1 << LOOK] {
    let single = single();
    let mut table = [Look {
        symbols: [0; 2],
        first: 0,
        both: 0,
    }; 1 << LOOK];
    let mut prefix = 0;
    while prefix < table.len() {
        let (one, length) = single[prefix];
        let (two, more) = single[(prefix << length) & ((1 << LOOK) - 1)];
        let pair = length > 0 && more > 0 && (length + more) as usize <= LOOK;
        table[prefix] = Look {
            symbols: [one, two],
            first: length,
            both: match pair {
                true => (length + more) << 4 | 2,
                false => length << 4 | 1,
            },
        };
        prefix += 1;
    }
    table
}

/// By the next bits: the symbol and the length of its code, which is 0 if it is longer.
const fn single() -> [(u8, u8); 1 << LOOK] {
    let code = code();
    let mut table = [(0, 0); 1 << LOOK];
    let mut length = 1;
    while length <= LOOK {
        let mut index = 0;
        while index < code.count[length] {
            let symbol = code.symbols[(code.start[length] + index) as usize];
            let from = ((code.first[length] + index) as usize) << (LOOK - length);
            let mut entry = from;
            while entry < from + (1 << (LOOK - length)) {
                table[entry] = (symbol as u8, length as u8);
                entry += 1;
            }
            index += 1;
        }
        length += 1;
    }
    table
}

/// A string that breaks the rules of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Appends what `bytes` mean to `out`: at most 8/5 of their length.
pub(crate) fn decode(mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let mut at = out.len();
    // The shortest code has five bits; and two bytes are written where one counts.
    out.resize(at + bytes.len() * 8 / 5 + 2, 0);
    let mut bits = Bits { held: 0, count: 0 };
    loop {
        bits.fill(&mut bytes);
        if bits.count < LONGEST as u32 {
            break;
        }
        while bits.count >= LONGEST as u32 {
            let look = BY_PREFIX[bits.prefix()];
            if look.first == 0 {
                out[at] = bits.next_long()?.ok_or(Invalid)?;
                at += 1;
                continue;
            }
            out[at..at + 2].copy_from_slice(&look.symbols);
            at += usize::from(look.both & 0xf);
            bits.count -= u32::from(look.both >> 4);
        }
    }
    while let Some(byte) = bits.next()? {
        out[at] = byte;
        at += 1;
    }
    out.truncate(at);
    // RFC 7541 section 5.2: "A padding strictly longer than 7 bits MUST be treated as
    // a decoding error. A padding not corresponding to the most significant bits of
    // the code for the EOS symbol MUST be treated as a decoding error."
    let padding = (1 << bits.count.min(8)) - 1;
    if bits.count > 7 || bits.held & padding != padding {
        return Err(Invalid);
    }
    Ok(())
}

/// Bits that were taken from the input and not used yet: the lower `count` of `held`.
struct Bits {
    held: u64,
    count: u32,
}

impl Bits {
    fn fill(&mut self, bytes: &mut &[u8]) {
        if let Some((word, rest)) = bytes.split_first_chunk().filter(|_| self.count <= 32) {
            self.held = self.held << 32 | u64::from(u32::from_be_bytes(*word));
            self.count += 32;
            *bytes = rest;
            return;
        }
        while let Some((&byte, rest)) = bytes.split_first().filter(|_| self.count <= 56) {
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
            *bytes = rest;
        }
    }

    /// The next bits. Where there are fewer, ones stand in for the rest, as in a padding.
    fn prefix(&self) -> usize {
        let bits = match self.count.checked_sub(LOOK as u32) {
            Some(more) => self.held >> more,
            None => !(!self.held << (LOOK as u32 - self.count)),
        };
        bits as usize & ((1 << LOOK) - 1)
    }

    /// The next symbol, if the bits that are here hold one.
    fn next(&mut self) -> Result<Option<u8>, Invalid> {
        let look = BY_PREFIX[self.prefix()];
        let length = u32::from(look.first);
        if length == 0 {
            return self.next_long();
        }
        if length > self.count {
            return Ok(None);
        }
        self.count -= length;
        Ok(Some(look.symbols[0]))
    }

    fn next_long(&mut self) -> Result<Option<u8>, Invalid> {
        for length in LOOK + 1..=LONGEST {
            let Some(more) = self.count.checked_sub(length as u32) else {
                return Ok(None);
            };
            let code = (self.held >> more) as u32 & ((1 << length) - 1);
            let index = code.wrapping_sub(CODE.first[length]);
            if index >= CODE.count[length] {
                continue;
            }
            let symbol = CODE.symbols[(CODE.start[length] + index) as usize];
            // RFC 7541 section 5.2: "A Huffman-encoded string literal containing the
            // EOS symbol MUST be treated as a decoding error."
            if symbol == END {
                return Err(Invalid);
            }
            self.count = more;
            return Ok(Some(symbol as u8));
        }
        Err(Invalid)
    }
}

/// Appends the code of `bytes` to `out`. The encoder has no use for it, see
/// [`super::encode`]; tests have.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut held, mut count) = (0u64, 0);
    for &byte in bytes {
        let length = usize::from(LENGTHS[usize::from(byte)]);
        let range = CODE.start[length] as usize..;
        let index = CODE.symbols[range]
            .iter()
            .position(|&s| s == u16::from(byte));
        let code = CODE.first[length] as usize + index.unwrap_or_default();
        held = held << length | code as u64;
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((held >> count) as u8);
        }
    }
    if count > 0 {
        out.push((held << (8 - count)) as u8 | (0xff >> count) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_the_rfc_are_read_and_written() {
        // RFC 7541 appendices C.4 and C.6.
        for (text, hex) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                "d07abe941054d444a8200595040b8166e082a62d1bff",
            ),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
        ] {
            let bytes = unhex(hex);
            let mut out = Vec::new();
            assert_eq!(decode(&bytes, &mut out), Ok(()));
            assert_eq!(String::from_utf8_lossy(&out), text);
            let mut back = Vec::new();
            encode(text.as_bytes(), &mut back);
            assert_eq!(back, bytes, "{text}");
        }
    }

    #[test]
    fn every_byte_is_read_as_it_was_written_wherever_it_stands() {
        for byte in 0..=255 {
            for before in 0..9 {
                let text = [&vec![b'0'; before][..], &[byte, b'a', byte]].concat();
                let (mut code, mut back) = (Vec::new(), Vec::new());
                encode(&text, &mut code);
                assert_eq!(decode(&code, &mut back), Ok(()), "{byte} after {before}");
                assert_eq!(back, text);
            }
        }
    }

    #[test]
    fn a_wrong_padding_and_the_end_of_string_are_refused() {
        let refused = |bytes: &[u8]| decode(bytes, &mut Vec::new()) == Err(Invalid);
        assert!(!refused(&[0b0000_0111]), "0, and three ones");
        assert!(refused(&[0b0000_0110]), "a zero in the padding");
        assert!(refused(&[0b0000_0111, 0xff]), "eleven bits of padding");
        assert!(refused(&[0xff]) && refused(&[0xff, 0xff]));
        assert!(refused(&[0xff; 4]), "the end of string");
        assert!(refused(&[0xff; 100]));
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }
}
