//! Varints, frames and stream types, right and wrong.

/// Frame types of RFC 9114 section 7.2 and RFC 9218 section 7.
pub mod kind {
    pub const DATA: u64 = 0x0;
    pub const HEADERS: u64 = 0x1;
    pub const CANCEL_PUSH: u64 = 0x3;
    pub const SETTINGS: u64 = 0x4;
    pub const PUSH_PROMISE: u64 = 0x5;
    pub const GOAWAY: u64 = 0x7;
    pub const MAX_PUSH_ID: u64 = 0xd;
    pub const PRIORITY_UPDATE: u64 = 0xf0700;
    pub const PUSH_PRIORITY_UPDATE: u64 = 0xf0701;
    /// Of HTTP/2, reserved by RFC 9114 section 7.2.8: PRIORITY, PING, WINDOW_UPDATE,
    /// CONTINUATION.
    pub const RESERVED: [u64; 4] = [0x2, 0x6, 0x8, 0x9];
    /// One of those that section 7.2.8 keeps for greasing: 0x1f * N + 0x21.
    pub const GREASE: u64 = 0x1f * 7 + 0x21;
}

/// Types of unidirectional streams, RFC 9114 section 6.2 and RFC 9204 section 4.2.
pub mod uni {
    pub const CONTROL: u64 = 0x0;
    pub const PUSH: u64 = 0x1;
    pub const ENCODER: u64 = 0x2;
    pub const DECODER: u64 = 0x3;
    pub const GREASE: u64 = 0x1f * 5 + 0x21;
}

/// Error codes of RFC 9114 section 8.1 and RFC 9204 section 6.
pub mod code {
    pub const NO_ERROR: u64 = 0x100;
    pub const INTERNAL_ERROR: u64 = 0x102;
    pub const STREAM_CREATION_ERROR: u64 = 0x103;
    pub const CLOSED_CRITICAL_STREAM: u64 = 0x104;
    pub const FRAME_UNEXPECTED: u64 = 0x105;
    pub const FRAME_ERROR: u64 = 0x106;
    pub const EXCESSIVE_LOAD: u64 = 0x107;
    pub const ID_ERROR: u64 = 0x108;
    pub const SETTINGS_ERROR: u64 = 0x109;
    pub const MISSING_SETTINGS: u64 = 0x10a;
    pub const REQUEST_CANCELLED: u64 = 0x10c;
    pub const REQUEST_INCOMPLETE: u64 = 0x10d;
    pub const MESSAGE_ERROR: u64 = 0x10e;
    pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
    pub const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
    pub const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;
}

/// A varint in its shortest form, RFC 9000 section 16.
pub fn varint(value: u64) -> Vec<u8> {
    let width = match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    };
    wide_varint(value, width)
}

/// A varint of so many bytes, which may be more than it needs.
///
/// # Panics
/// If `width` is not 1, 2, 4 or 8, or too small.
pub fn wide_varint(value: u64, width: usize) -> Vec<u8> {
    let tag: u64 = match width {
        1 => 0,
        2 => 1,
        4 => 2,
        8 => 3,
        _ => panic!("no varint has {width} bytes"),
    };
    let bits = 8 * width - 2;
    assert!(value < 1 << bits, "{value} does not fit");
    (value | tag << bits).to_be_bytes()[8 - width..].to_vec()
}

/// The varint at the front of `bytes` and what follows; nothing if it is cut.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let width = 1 << (bytes.first()? >> 6);
    let (front, rest) = bytes.split_at_checked(width)?;
    let value = front.iter().fold(0, |sum, &b| sum << 8 | u64::from(b));
    let mask = u64::MAX >> (66 - 8 * width);
    Some((value & mask, rest))
}

/// A frame.
pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    lying(kind, payload.len() as u64, payload)
}

/// A frame that claims a length, whatever it carries.
pub fn lying(kind: u64, claimed: u64, payload: &[u8]) -> Vec<u8> {
    [&varint(kind)[..], &varint(claimed), payload].concat()
}

/// A SETTINGS frame.
pub fn settings(pairs: &[(u64, u64)]) -> Vec<u8> {
    let both = |&(id, value): &(u64, u64)| [varint(id), varint(value)].concat();
    frame(
        kind::SETTINGS,
        &pairs.iter().flat_map(both).collect::<Vec<u8>>(),
    )
}

/// Cuts `bytes` into frames; the last part is what is not one, because it is cut.
pub fn frames(mut bytes: &[u8]) -> (Vec<(u64, &[u8])>, &[u8]) {
    let mut found = Vec::new();
    while let Some((kind, len, rest)) = read_varint(bytes)
        .and_then(|(kind, rest)| read_varint(rest).map(|(len, rest)| (kind, len, rest)))
    {
        let Some((payload, after)) = usize::try_from(len)
            .ok()
            .and_then(|l| rest.split_at_checked(l))
        else {
            break;
        };
        found.push((kind, payload));
        bytes = after;
    }
    (found, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 appendix A.1.
    #[test]
    fn varints_are_those_of_the_rfc() {
        for (value, bytes) in [
            (
                151_288_809_941_952_652,
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..],
            ),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ] {
            assert_eq!(varint(value), bytes);
            assert_eq!(read_varint(bytes), Some((value, &[][..])));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read_varint(&wide_varint(37, 8)), Some((37, &[][..])));
    }

    #[test]
    fn frames_come_back_and_a_cut_one_is_left_over() {
        let bytes = [frame(0, b"ab"), frame(0x21, b""), lying(1, 9, b"xy")].concat();
        let (found, rest) = frames(&bytes);
        assert_eq!(found, [(0, &b"ab"[..]), (0x21, b"")]);
        assert_eq!(rest, lying(1, 9, b"xy"));
    }
}
