//! Frames: what stands at their front, and where each may stand (RFC 9114 section 7).

use super::error::{self, Fault};
use super::varint;

/// Body bytes.
pub(crate) const DATA: u64 = 0x0;
/// A field section.
pub(crate) const HEADERS: u64 = 0x1;
/// A push is of no interest.
pub(crate) const CANCEL_PUSH: u64 = 0x3;
/// What the sender can do.
pub(crate) const SETTINGS: u64 = 0x4;
/// A push begins.
pub(crate) const PUSH_PROMISE: u64 = 0x5;
/// The sender leaves.
pub(crate) const GOAWAY: u64 = 0x7;
/// How many pushes the client takes.
pub(crate) const MAX_PUSH_ID: u64 = 0xd;
/// The priority of a request (RFC 9218 section 7.2).
pub(crate) const PRIORITY_UPDATE: u64 = 0xf0700;
/// The priority of a push.
pub(crate) const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;

/// RFC 9114 section 7.2.8: "Frame types that were used in HTTP/2 where there is no
/// corresponding HTTP/3 frame type have also been reserved … their receipt MUST be
/// treated as a connection error of type H3_FRAME_UNEXPECTED."
pub(crate) fn is_of_http2(kind: u64) -> bool {
    matches!(kind, 0x2 | 0x6 | 0x8 | 0x9)
}

/// Type and length of a frame, as far as their bytes have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Front {
    bytes: [u8; 16],
    len: u8,
}

impl Front {
    /// Nothing of the frame has come.
    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Room for the bytes that are missing for sure, never more: what follows them
    /// may be read by somebody else.
    pub(crate) fn missing(&mut self) -> &mut [u8] {
        let have = usize::from(self.len);
        let kind = match have {
            0 => 1,
            _ => varint::len(self.bytes[0]),
        };
        let whole = match have.checked_sub(kind) {
            None | Some(0) => kind + 1,
            Some(_) => kind + varint::len(self.bytes[kind]),
        };
        &mut self.bytes[have..whole]
    }

    /// So many of them have come. The type and the length once both are whole.
    pub(crate) fn add(&mut self, bytes: usize) -> Option<(u64, u64)> {
        self.len += bytes as u8;
        let (kind, rest) = varint::split(&self.bytes[..usize::from(self.len)])?;
        let (length, _) = varint::split(rest)?;
        self.len = 0;
        Some((kind, length))
    }
}

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// What may come next on a request's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A head; before a response's final head there may be informational ones.
    Head,
    /// Body and trailers.
    Body,
    /// Nothing that we know.
    Over,
}

/// What to do with a frame on a request's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    Data,
    Section,
    Skip,
}

/// RFC 9114 section 4.1: "Receipt of an invalid sequence of frames MUST be treated as
/// a connection error of type H3_FRAME_UNEXPECTED."
pub(crate) fn on_request_stream(kind: u64, phase: Phase, role: Role) -> Result<Treatment, Fault> {
    let unexpected = |text| Err(Fault::new(error::FRAME_UNEXPECTED, text));
    match (kind, phase) {
        (DATA, Phase::Body) => Ok(Treatment::Data),
        // "In particular, a DATA frame before any HEADERS frame, or a HEADERS or DATA
        // frame after the trailing HEADERS frame, is considered invalid."
        (DATA, Phase::Head) => unexpected("a DATA frame before the head"),
        (DATA, Phase::Over) => unexpected("a DATA frame after the trailers"),
        (HEADERS, Phase::Head | Phase::Body) => Ok(Treatment::Section),
        (HEADERS, Phase::Over) => unexpected("a HEADERS frame after the trailers"),
        // RFC 9114 section 7.2.5: a push id beyond what the client allows is an
        // H3_ID_ERROR, and we allow none; a client must not send the frame at all.
        (PUSH_PROMISE, _) => match role {
            Role::Client => Err(Fault::new(error::ID_ERROR, "a push, which was not allowed")),
            Role::Server => unexpected("a PUSH_PROMISE frame from a client"),
        },
        (
            SETTINGS | GOAWAY | CANCEL_PUSH | MAX_PUSH_ID | PRIORITY_UPDATE | PRIORITY_UPDATE_PUSH,
            _,
        ) => unexpected("a frame of the control stream on a request's stream"),
        _ if is_of_http2(kind) => unexpected("a frame type of HTTP/2"),
        // RFC 9114 section 9: "Implementations MUST discard data or abort reading on
        // unidirectional streams … and discard frames … that have unknown types".
        _ => Ok(Treatment::Skip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_asks_for_no_byte_that_may_not_be_its_own() {
        for (kind, length) in [
            (0, 0),
            (1, 63),
            (0, 64),
            (0x21, 16_384),
            (1 << 40, 5),
            (1 << 40, 1 << 40),
        ] {
            let mut bytes = Vec::new();
            varint::put(&mut bytes, kind);
            varint::put(&mut bytes, length);
            let (mut front, mut at) = (Front::default(), 0);
            loop {
                let room = front.missing();
                assert!(
                    !room.is_empty() && at + room.len() <= bytes.len(),
                    "{kind:#x} {length}"
                );
                room[0] = bytes[at];
                at += 1;
                if let Some(whole) = front.add(1) {
                    assert_eq!((whole, at), ((kind, length), bytes.len()));
                    assert!(front.is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn frames_stand_only_where_they_may() {
        use Phase::{Body, Head, Over};
        let code = |kind, phase, role| on_request_stream(kind, phase, role).map_err(|f| f.code);
        let unexpected = Err(error::FRAME_UNEXPECTED);
        for role in [Role::Server, Role::Client] {
            assert_eq!(code(HEADERS, Head, role), Ok(Treatment::Section));
            assert_eq!(code(DATA, Head, role), unexpected);
            assert_eq!(code(DATA, Body, role), Ok(Treatment::Data));
            assert_eq!(code(HEADERS, Body, role), Ok(Treatment::Section));
            assert_eq!(code(DATA, Over, role), unexpected);
            assert_eq!(code(HEADERS, Over, role), unexpected);
            for phase in [Head, Body, Over] {
                for kind in [0x2, 0x3, 0x4, 0x6, 0x7, 0x8, 0x9, 0xd, 0xf0700, 0xf0701] {
                    assert_eq!(code(kind, phase, role), unexpected, "{kind:#x}");
                }
                for kind in [0xa, 0x21, 0x40, varint::MOST] {
                    assert_eq!(code(kind, phase, role), Ok(Treatment::Skip), "{kind:#x}");
                }
            }
        }
        assert_eq!(code(PUSH_PROMISE, Body, Role::Server), unexpected);
        assert_eq!(code(PUSH_PROMISE, Body, Role::Client), Err(error::ID_ERROR));
    }
}
