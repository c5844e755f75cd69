//! The bytes of `/bytes/N`: byte `i` is `i % 251`.
//!
//! 251 is prime, so a block that got lost, doubled or swapped never looks right.

use std::sync::LazyLock;

const PERIOD: u64 = 251;
/// The most bytes [`slice`] gives at once.
const MAX: usize = 64 << 10;

static TABLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..=250).cycle().take(MAX + PERIOD as usize).collect());

/// The bytes of the pattern at `offset`, `len` of them or as many as there are at once.
pub fn slice(offset: u64, len: usize) -> &'static [u8] {
    let start = (offset % PERIOD) as usize;
    &TABLE[start..start + len.min(MAX)]
}

/// Whether `bytes` are the pattern from `offset` on.
pub fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = slice(offset, bytes.len());
        if bytes[..expected.len()] != *expected {
            return false;
        }
        offset += expected.len() as u64;
        bytes = &bytes[expected.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_join_without_a_seam() {
        let mut joined = Vec::new();
        while joined.len() < 300_000 {
            joined.extend_from_slice(slice(joined.len() as u64, 16_384));
        }
        assert!(
            joined
                .iter()
                .enumerate()
                .all(|(i, byte)| *byte == (i % 251) as u8)
        );
        assert!(matches(0, &joined));
        assert!(matches(1000, &joined[1000..]));
    }

    #[test]
    fn a_missing_byte_is_noticed() {
        let mut bytes = slice(0, 1000).to_vec();
        bytes.remove(500);
        assert!(!matches(0, &bytes));
    }
}
