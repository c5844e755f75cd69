//! What a datagram held, read once more after quiche took it.
//!
//! quiche opens packets where they stand (`packet::decrypt_hdr` and `decrypt_pkt` write
//! into the buffer that `recv` was given), and says nothing of their frames: neither how
//! many there were, nor what it kept of them. So they are looked at here, in the same
//! buffer. This trusts nothing but that a packet which quiche took is legal; should a
//! coming quiche open packets elsewhere, nothing sensible is found here, and the tests of
//! `tests/tests/hoards.rs` fail.
//!
//! What it costs: a packet of one frame is a dozen bytes to look at.

use crate::h3::varint;
use crate::listener::CID_LEN;

/// A frame that leaves something behind, or that nobody else looks at (RFC 9000
/// section 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// STREAM: bytes of a stream from an offset on.
    Stream { stream: u64, start: u64, len: u64 },
    /// CRYPTO: so many bytes of the handshake.
    Crypto { len: u64 },
    /// RESET_STREAM.
    Reset { stream: u64 },
    /// STREAM_DATA_BLOCKED, which leaves nothing, but may come for a wrong stream.
    Blocked { stream: u64 },
}

/// The packets of a datagram, opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packets<'a>(&'a [u8]);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    first: u8,
    payload: &'a [u8],
}

/// Of every cipher suite of QUIC (RFC 9001 section 5.3: "These cipher suites have a
/// 16-byte authentication tag").
const TAG: usize = 16;

impl<'a> Packets<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Packets(datagram)
    }

    /// Cuts the packet off whose number begins at `number`, with its end. What is too
    /// short for one ends it all.
    fn cut(&mut self, number: usize, end: usize) -> Option<Packet<'a>> {
        let (data, rest) = self.0.split_at_checked(end)?;
        let first = *data.first()?;
        let start = number + usize::from(first & 3) + 1;
        let payload = data.get(start..end.checked_sub(TAG)?)?;
        self.0 = rest;
        Some(Packet { first, payload })
    }

    /// RFC 9000 section 17.2: where the number of a packet with a long header begins,
    /// and where the packet ends.
    fn long(&self) -> Option<(usize, usize)> {
        let whole = self.0.len();
        let version = self.0.get(1..5)?;
        let kind = self.0[0] >> 4 & 3;
        // Neither version negotiation nor Retry has a packet number.
        if version == [0; 4] || kind == 3 {
            return None;
        }
        let mut rest = &self.0[5..];
        for _ in 0..2 {
            let (&len, ids) = rest.split_first()?;
            rest = ids.get(usize::from(len)..)?;
        }
        if kind == 0 {
            rest = skip_block(rest)?;
        }
        let (len, rest) = varint::split(rest)?;
        let number = whole - rest.len();
        Some((number, number.checked_add(usize::try_from(len).ok()?)?))
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        if self.0.first()? & 0x80 == 0 {
            // Section 17.3.1: it has no length, and is the last of its datagram.
            return self.cut(1 + CID_LEN, self.0.len());
        }
        let (number, end) = self.long()?;
        self.cut(number, end)
    }
}

impl Packet<'_> {
    /// RFC 9000 sections 17.2 and 17.3.1: "The value included prior to protection MUST be
    /// set to 0." False for a packet that breaks this.
    pub(crate) fn has_clear_bits(&self) -> bool {
        let reserved = if self.first & 0x80 == 0 { 0x18 } else { 0x0c };
        self.first & reserved == 0
    }

    /// Tells of each frame that leaves something behind.
    pub(crate) fn frames(&self, mut see: impl FnMut(Frame)) {
        let mut rest = self.payload;
        while !rest.is_empty() {
            match one(rest, &mut see) {
                Some(next) => rest = next,
                None => return,
            }
        }
    }
}

/// Reads the frame at the front, and returns what follows it.
fn one<'a>(bytes: &'a [u8], see: &mut impl FnMut(Frame)) -> Option<&'a [u8]> {
    let (kind, rest) = varint::split(bytes)?;
    match kind {
        // PADDING, often a lot of it.
        0x00 => Some(&rest[rest.iter().take_while(|&&byte| byte == 0).count()..]),
        // PING, HANDSHAKE_DONE.
        0x01 | 0x1e => Some(rest),
        0x02 | 0x03 => skip_ack(kind, rest),
        0x04 => {
            let (stream, rest) = varint::split(rest)?;
            see(Frame::Reset { stream });
            skip(rest, 2)
        }
        0x06 => {
            let (_, rest) = varint::split(rest)?;
            let (len, rest) = varint::split(rest)?;
            let rest = rest.get(usize::try_from(len).ok()?..)?;
            see(Frame::Crypto { len });
            Some(rest)
        }
        0x07 => skip_block(rest),
        0x08..=0x0f => stream(kind, rest, see),
        // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID.
        0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => skip(rest, 1),
        // STOP_SENDING, MAX_STREAM_DATA.
        0x05 | 0x11 => skip(rest, 2),
        0x15 => {
            let (stream, rest) = varint::split(rest)?;
            see(Frame::Blocked { stream });
            skip(rest, 1)
        }
        // NEW_CONNECTION_ID: its id has one byte of length, a reset token follows.
        0x18 => {
            let (&len, rest) = skip(rest, 2)?.split_first()?;
            rest.get(usize::from(len) + 16..)
        }
        // PATH_CHALLENGE, PATH_RESPONSE.
        0x1a | 0x1b => rest.get(8..),
        // CONNECTION_CLOSE, of QUIC and of the application.
        0x1c => skip_block(skip(rest, 2)?),
        0x1d => skip_block(skip(rest, 1)?),
        0x31 => skip_block(rest),
        // DATAGRAM to the end of the packet, and what quiche does not know.
        _ => None,
    }
}

/// Section 19.8.
fn stream<'a>(kind: u64, rest: &'a [u8], see: &mut impl FnMut(Frame)) -> Option<&'a [u8]> {
    let (stream, rest) = varint::split(rest)?;
    let (start, rest) = if kind & 0x04 == 0 {
        (0, rest)
    } else {
        varint::split(rest)?
    };
    let (len, rest) = if kind & 0x02 == 0 {
        (rest.len() as u64, rest)
    } else {
        varint::split(rest)?
    };
    let rest = rest.get(usize::try_from(len).ok()?..)?;
    see(Frame::Stream { stream, start, len });
    Some(rest)
}

/// Section 19.3.
fn skip_ack(kind: u64, rest: &[u8]) -> Option<&[u8]> {
    let rest = skip(rest, 2)?;
    let (ranges, rest) = varint::split(rest)?;
    // Two integers a range; more than there are bytes cannot be.
    let ranges = usize::try_from(ranges).ok()?.min(rest.len());
    let counts = if kind == 0x03 { 3 } else { 0 };
    skip(rest, 1 + 2 * ranges + counts)
}

fn skip(mut rest: &[u8], integers: usize) -> Option<&[u8]> {
    for _ in 0..integers {
        rest = varint::split(rest)?.1;
    }
    Some(rest)
}

/// What has its length before it.
fn skip_block(rest: &[u8]) -> Option<&[u8]> {
    let (len, rest) = varint::split(rest)?;
    rest.get(usize::try_from(len).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Frame = Frame::Stream {
        stream: 4,
        start: 9,
        len: 2,
    };

    #[test]
    fn frames_are_found_behind_any_other() {
        let others: [&[u8]; 20] = [
            &[0],
            &[0; 900],
            &[1],
            &[0x1e],
            &[2, 9, 1, 0, 3],
            &[3, 9, 1, 2, 3, 1, 1, 1, 1, 7, 8, 9],
            &[5, 4, 1],
            &[7, 3, 1, 2, 3],
            &[0x10, 0x40, 1],
            &[0x11, 4, 1],
            &[0x12, 1],
            &[0x13, 1],
            &[0x14, 1],
            &[0x16, 1],
            &[0x17, 1],
            &[0x19, 1],
            &[0x1a, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1d, 1, 2, b'n', b'o'],
            &[0x31, 2, 1, 2],
        ];
        let new_id = [&[0x18, 1, 0, 8][..], &[7; 24]].concat();
        let close = [0x1c, 1, 0, 1, b'x'];
        for other in others.into_iter().chain([&new_id[..], &close]) {
            let payload = [other, &[0x0e, 4, 9, 2, b'a', b'b'], other].concat();
            assert_eq!(seen(&payload), [STREAM], "{other:x?}");
        }
    }

    #[test]
    fn what_a_frame_leaves_behind_is_told() {
        assert_eq!(seen(&[0x0c, 4, 9, b'a', b'b']), [STREAM], "to the end");
        assert_eq!(seen(&[0x40, 0x0c, 4, 9, b'a', b'b']), [STREAM], "at length");
        let start = Frame::Stream {
            stream: 4,
            start: 0,
            len: 1,
        };
        assert_eq!(seen(&[0x09, 4, b'a']), [start]);
        assert_eq!(seen(&[6, 0, 2, 1, 1, 6, 2, 0]).len(), 2);
        assert_eq!(seen(&[0x15, 7, 9]), [Frame::Blocked { stream: 7 }]);
        assert_eq!(seen(&[0x0e, 4, 9, 3, b'a', b'b']), [], "cut");
        assert_eq!(seen(&[6, 0, 3, b'a', b'b']), [], "cut");
        let both = [Frame::Reset { stream: 4 }, STREAM];
        assert_eq!(seen(&[4, 4, 0, 11, 0x0c, 4, 9, b'a', b'b']), both);
    }

    #[test]
    fn what_is_cut_anywhere_is_no_reason_to_panic() {
        let mut datagram = coalesced();
        for cut in 0..datagram.len() {
            for packet in Packets::new(&datagram[..cut]) {
                packet.frames(|_| {});
            }
        }
        for at in 0..datagram.len() {
            for byte in [0, 0x3f, 0xbf, 0xff] {
                let before = std::mem::replace(&mut datagram[at], byte);
                for packet in Packets::new(&datagram) {
                    packet.frames(|_| {});
                }
                datagram[at] = before;
            }
        }
    }

    #[test]
    fn packets_that_share_a_datagram_are_told_apart() {
        let datagram = coalesced();
        let mut seen = Vec::new();
        for packet in Packets::new(&datagram) {
            assert!(packet.has_clear_bits());
            packet.frames(|frame| seen.push(frame));
        }
        let crypto = Frame::Crypto { len: 2 };
        assert_eq!(seen, [crypto, crypto, STREAM]);
        assert_eq!(Packets::new(&datagram).count(), 3);
    }

    #[test]
    fn reserved_bits_are_noticed() {
        let mut datagram = short(&[1]);
        datagram[0] |= 0x08;
        assert!(!Packets::new(&datagram).next().unwrap().has_clear_bits());
        let mut datagram = coalesced();
        datagram[0] |= 0x04;
        assert!(!Packets::new(&datagram).next().unwrap().has_clear_bits());
    }

    fn seen(payload: &[u8]) -> Vec<Frame> {
        let datagram = short(payload);
        let mut seen = Vec::new();
        for packet in Packets::new(&datagram) {
            packet.frames(|frame| seen.push(frame));
        }
        seen
    }

    /// An Initial, a Handshake and a 1-RTT packet.
    fn coalesced() -> Vec<u8> {
        let crypto = [6, 0, 2, 1, 1];
        let body = |number: &[u8]| [number, &crypto, &[0; TAG]].concat();
        let ids = [&[8][..], &[3; 8], &[0]].concat();
        let (initial, handshake) = (body(&[0, 0]), body(&[0]));
        [
            &[0xc1, 0, 0, 0, 1][..],
            &ids,
            &[2, 9, 9],
            &[initial.len() as u8],
            &initial,
            &[0xe0, 0, 0, 0, 1],
            &ids,
            &[0x40, handshake.len() as u8],
            &handshake,
            &short(&[0x0e, 4, 9, 2, b'a', b'b']),
        ]
        .concat()
    }

    fn short(payload: &[u8]) -> Vec<u8> {
        [&[0x43][..], &[5; CID_LEN], &[0; 4], payload, &[0; TAG]].concat()
    }
}
