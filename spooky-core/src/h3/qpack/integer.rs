//! Integers with a prefix of some bits (RFC 9204 section 4.1.1, which is RFC 7541
//! section 5.1).

/// Reads an integer whose first byte carries `prefix` bits of it, and takes it off
/// the front of `bytes`. `None` if it is cut, or greater than anything that we could
/// use it for: RFC 9204 asks for 62 bits, and no length or index that is legal here
/// has more than 32.
pub(crate) fn take(bytes: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, mut rest) = bytes.split_first()?;
    let most = (1u64 << prefix) - 1;
    let mut value = u64::from(first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (&byte, next) = rest.split_first()?;
            rest = next;
            // Bounds what a chain of zero bytes may cost, too.
            if shift > 28 {
                return None;
            }
            value += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *bytes = rest;
    usize::try_from(value).ok()
}

/// Appends `value` behind the bits of `pattern` that stand above the prefix.
pub(crate) fn put(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let most = (1usize << prefix) - 1;
    if value < most {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most as u8);
    let mut left = value - most;
    while left >= 0x80 {
        out.push(0x80 | (left & 0x7f) as u8);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_rfc_are_read_and_written() {
        // RFC 7541 appendix C.1.
        for (value, prefix, bytes) in [
            (10, 5, &[0b01010][..]),
            (1337, 5, &[0b11111, 0b10011010, 0b00001010]),
            (42, 8, &[42]),
        ] {
            let mut out = Vec::new();
            put(&mut out, 0, prefix, value);
            assert_eq!(out, bytes);
            assert_eq!(take(&mut &out[..], prefix), Some(value));
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..cut], prefix), None);
            }
        }
    }

    #[test]
    fn an_integer_that_never_ends_or_is_too_great_is_refused() {
        assert_eq!(take(&mut &[0xff; 40][..], 7), None);
        let zeros = [&[0x7f][..], &[0x80; 40], &[0]].concat();
        assert_eq!(take(&mut &zeros[..], 7), None);
        let great = [0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(take(&mut &great[..], 7), Some(0xffff_ffff + 0x7f));
    }
}
