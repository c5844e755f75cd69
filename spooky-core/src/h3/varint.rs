//! Integers of variable length (RFC 9000 section 16).

/// The greatest value: 62 bits.
pub(crate) const MOST: u64 = (1 << 62) - 1;

/// Bytes of an integer that begins with `first`.
pub(crate) fn len(first: u8) -> usize {
    1 << (first >> 6)
}

/// The integer at the front of `bytes`, and what follows it; `None` if it is cut.
pub(crate) fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (whole, rest) = bytes.split_at_checked(len(*bytes.first()?))?;
    let value = whole.iter().fold(0, |value, &b| value << 8 | u64::from(b));
    // All bits but the two of the length.
    Some((value & (u64::MAX >> (66 - 8 * whole.len())), rest))
}

/// Appends `value` in the shortest form.
///
/// # Panics
/// If it has more than 62 bits.
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    let (bytes, len) = encode(value);
    out.extend_from_slice(&bytes[..len]);
}

/// `value` in the shortest form, and how many bytes that are.
///
/// # Panics
/// If it has more than 62 bits.
pub(crate) fn encode(value: u64) -> ([u8; 8], usize) {
    assert!(value <= MOST, "a varint has 62 bits");
    let log = match value {
        0..0x40 => 0u64,
        0x40..0x4000 => 1,
        0x4000..0x4000_0000 => 2,
        _ => 3,
    };
    let bits = 8 << log;
    let mut bytes = (value << (64 - bits)).to_be_bytes();
    bytes[0] |= (log << 6) as u8;
    (bytes, 1 << log)
}

/// Writes `value` to all of `out`, which is two bytes or four, whether it needs them or
/// not: for a length whose room must be left before it is known. RFC 9000 section 16:
/// values "need not be encoded on the minimum number of bytes necessary".
///
/// # Panics
/// If it does not fit.
pub(crate) fn write_padded(out: &mut [u8], value: u64) {
    let log = out.len().trailing_zeros() as u64;
    assert!(value < 1 << (8 * out.len() - 2), "{value} fits");
    out.copy_from_slice(&(value as u32).to_be_bytes()[4 - out.len()..]);
    out[0] |= (log << 6) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_rfc_are_read_and_written() {
        // RFC 9000 appendix A.1.
        let long = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        for (bytes, value) in [
            (&long[..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(split(bytes), Some((value, &[][..])));
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
        }
        assert_eq!(split(&[0x40, 0x25]), Some((37, &[][..])), "a longer form");
    }

    #[test]
    fn every_length_has_its_borders() {
        for (value, len) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            (MOST, 8),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), len, "{value}");
            assert_eq!(split(&out), Some((value, &[][..])));
            assert_eq!(split(&out[..len - 1]), None, "{value} is cut");
        }
    }

    #[test]
    fn a_padded_length_is_read_as_what_it_is() {
        for (value, len) in [(0, 2), (5, 2), (16_383, 2), (5, 4), ((1 << 30) - 1, 4)] {
            let mut out = vec![0; len];
            write_padded(&mut out, value);
            assert_eq!(split(&out), Some((value, &[][..])));
        }
    }
}
