//! Huffman code of RFC 7541 appendix B, which QPACK uses as it is.

/// Bits of each symbol's code; the last is that of EOS. The code is canonical: within
/// one length codes count up with the symbol, so the lengths say everything.
#[rustfmt::skip]
const BITS: [u8; 257] = [
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
    30, // EOS
];

/// The symbol that may not occur.
pub const EOS: usize = 256;

/// The code of `symbol` and its length in bits.
pub fn code(symbol: usize) -> (u32, u8) {
    codes()[symbol]
}

/// `bytes` in the code, padded with ones as section 5.2 says.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    encode_symbols(bytes.iter().map(|&b| usize::from(b)), true)
}

/// Any symbols, EOS too, padded with ones or, against the rule, with zeros.
pub fn encode_symbols(symbols: impl Iterator<Item = usize>, ones: bool) -> Vec<u8> {
    let codes = codes();
    let mut bits = Vec::new();
    for symbol in symbols {
        let (code, len) = codes[symbol];
        bits.extend((0..len).rev().map(|at| code >> at & 1 == 1));
    }
    while bits.len() % 8 != 0 {
        bits.push(ones);
    }
    let byte = |bits: &[bool]| bits.iter().fold(0, |sum, &bit| sum << 1 | u8::from(bit));
    bits.chunks(8).map(byte).collect()
}

/// What the code says, or nothing if it breaks a rule of section 5.2.
pub fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let codes = codes();
    let (mut out, mut code, mut len) = (Vec::new(), 0_u32, 0_u8);
    for byte in bytes {
        for at in (0..8).rev() {
            code = code << 1 | u32::from(byte >> at & 1);
            len += 1;
            if let Some(symbol) = codes.iter().position(|&known| known == (code, len)) {
                out.push(u8::try_from(symbol).ok()?);
                (code, len) = (0, 0);
            } else if len > 30 {
                return None;
            }
        }
    }
    // The padding is the beginning of EOS, all ones, and shorter than a byte.
    (len < 8 && code == (1 << len) - 1).then_some(out)
}

fn codes() -> [(u32, u8); 257] {
    let mut order: Vec<usize> = (0..BITS.len()).collect();
    order.sort_by_key(|&symbol| BITS[symbol]);
    let mut codes = [(0, 0); 257];
    let (mut code, mut before) = (0_u32, BITS[order[0]]);
    for (place, &symbol) in order.iter().enumerate() {
        let len = BITS[symbol];
        if place > 0 {
            code = (code + 1) << (len - before);
        }
        codes[symbol] = (code, len);
        before = len;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendix C.4.1.
    #[test]
    fn the_example_of_the_rfc_reads_as_it_says() {
        let coded = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(encode(b"www.example.com"), coded);
        assert_eq!(decode(&coded).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(code(EOS), (0x3fff_ffff, 30));
    }

    #[test]
    fn every_byte_comes_back_and_bad_ends_do_not() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        let zeros = encode_symbols([usize::from(b'a')].into_iter(), false);
        assert_eq!(decode(&zeros), None);
        assert_eq!(decode(&[0xff]), None, "a whole byte of padding");
        assert_eq!(decode(&encode_symbols([EOS].into_iter(), true)), None);
    }
}
