//! What may be sent to an address that anybody can have put on a datagram.
//!
//! RFC 9000 section 8.1: "Prior to validating the client address, servers MUST NOT send
//! more than three times as many bytes as the number of bytes they have received." quiche
//! 0.30 keeps this for what is in its packets, and then fills datagrams with an Initial
//! up to 1200 bytes without counting that: a client that falls silent after one datagram
//! of 1200 bytes is sent 6270 (measured). So datagrams are counted here, whole.
//!
//! quiche is never asked for a datagram while there is room for less than 1200 bytes:
//! it would make one with an Initial smaller than that, which a client must drop (RFC
//! 9000 section 14.1). Nor is it given more room than there is.
//!
//! A connection out of budget waits. Its timers back off as ever, and what they want
//! sent goes when the client is heard: a client that waits for a part of the handshake
//! sends probes (RFC 9002 section 6.2.2.1), of 1200 bytes as long as it has no keys to
//! prove its address with.
//!
//! Addresses that an established connection moves to are quiche's to count: nothing it
//! sends there has an Initial.

use std::net::SocketAddr;

/// How much more may be sent for each byte received.
const FACTOR: usize = 3;

/// Room left toward a client's address, until that is validated.
#[derive(Debug)]
pub(crate) enum Budget {
    /// Whoever is there answers: no bound.
    Validated,
    /// So many bytes may be sent.
    Unvalidated { address: SocketAddr, left: usize },
}

impl Budget {
    /// For a connection that begins with a datagram said to be from `address`.
    pub(crate) fn unvalidated(address: SocketAddr) -> Self {
        Budget::Unvalidated { address, left: 0 }
    }

    pub(crate) fn is_validated(&self) -> bool {
        matches!(self, Budget::Validated)
    }

    pub(crate) fn validate(&mut self) {
        *self = Budget::Validated;
    }

    /// So many bytes came from `from`, whatever they are.
    pub(crate) fn received(&mut self, len: usize, from: SocketAddr) {
        if let Budget::Unvalidated { address, left } = self
            && *address == from
        {
            *left += FACTOR * len;
        }
    }

    /// Bytes that the next datagram may have, `most` of them at most. `None` to make
    /// none.
    pub(crate) fn room(&self, most: usize) -> Option<usize> {
        match self {
            Budget::Validated => Some(most),
            Budget::Unvalidated { left, .. } => {
                (*left >= quiche::MIN_CLIENT_INITIAL_LEN).then(|| most.min(*left))
            }
        }
    }

    /// A datagram of so many bytes was made.
    pub(crate) fn sent(&mut self, len: usize) {
        if let Budget::Unvalidated { left, .. } = self {
            debug_assert!(len <= *left, "a datagram of {len} bytes with {left} left");
            *left = left.saturating_sub(len);
        }
    }
}

/// How many packets of a datagram, from its first, have been read when a Handshake
/// packet has: `None` if it has none.
///
/// RFC 9000 section 8.1: "receipt of a packet protected with Handshake keys confirms
/// that the peer successfully processed an Initial packet. Once an endpoint has
/// successfully processed a Handshake packet from the peer, it can consider the peer
/// address to have been validated." quiche does not tell of that, but how many packets
/// it took; it reads those of a datagram in order, and none after one that it did not
/// take.
pub(crate) fn packets_to_handshake(mut datagram: &[u8]) -> Option<usize> {
    let mut packets = 1;
    while let &[first, _, _, _, _, dcid_len, ref rest @ ..] = datagram {
        // RFC 9000 section 17.2: a long header, and its type.
        let kind = match (first & 0x80, first & 0x30) {
            (0x80, 0x20) => return Some(packets),
            (0x80, 0x00) => Kind::Initial,
            (0x80, 0x10) => Kind::ZeroRtt,
            // Short headers and Retry have no length: nothing follows.
            (_, _) => return None,
        };
        let rest = rest.get(usize::from(dcid_len)..)?;
        let (&scid_len, rest) = rest.split_first()?;
        let mut rest = rest.get(usize::from(scid_len)..)?;
        if kind == Kind::Initial {
            rest = skip(rest)?;
        }
        datagram = skip(rest)?;
        packets += 1;
    }
    None
}

#[derive(PartialEq)]
enum Kind {
    Initial,
    ZeroRtt,
}

/// What follows a length and that many bytes.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    // RFC 9000 section 16.
    let first = *bytes.first()?;
    let width = 1 << (first >> 6);
    let len = bytes
        .get(..width)?
        .iter()
        .skip(1)
        .fold(u64::from(first & 0x3f), |len, byte| {
            (len << 8) | u64::from(*byte)
        });
    bytes.get(width..)?.get(usize::try_from(len).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn three_times_what_came_may_go_and_never_less_than_a_whole_initial() {
        let client = at("192.0.2.1:1");
        let mut budget = Budget::unvalidated(client);
        assert_eq!(budget.room(1500), None);
        budget.received(1200, client);
        assert_eq!(budget.room(1500), Some(1500));
        budget.sent(1350);
        budget.sent(1000);
        assert_eq!(budget.room(1500), Some(1250), "what is left of 3600");
        budget.sent(51);
        assert_eq!(budget.room(1500), None, "1199");
        budget.received(1, client);
        assert_eq!(budget.room(1500), Some(1202));
    }

    #[test]
    fn what_comes_from_elsewhere_gives_nothing() {
        let mut budget = Budget::unvalidated(at("192.0.2.1:1"));
        budget.received(10_000, at("192.0.2.1:2"));
        budget.received(10_000, at("192.0.2.2:1"));
        assert_eq!(budget.room(1500), None);
        budget.validate();
        assert!(budget.is_validated());
        assert_eq!(budget.room(1500), Some(1500));
    }

    /// A packet with a long header: its first byte, then ids, a token if it is an
    /// Initial, and a payload.
    fn packet(first: u8, payload: usize) -> Vec<u8> {
        let mut packet = vec![first, 0, 0, 0, 1, 8];
        packet.extend([7; 8]);
        packet.push(3);
        packet.extend([9; 3]);
        if first & 0x30 == 0 {
            packet.extend([2, 0xaa, 0xbb]);
        }
        packet.extend((0x4000 | payload as u16).to_be_bytes());
        packet.resize(packet.len() + payload, 0x20);
        packet
    }

    #[test]
    fn a_handshake_packet_is_found_behind_others() {
        let [initial, early, handshake] = [0xc3, 0xd1, 0xe2].map(|first| packet(first, 100));
        assert_eq!(packets_to_handshake(&handshake), Some(1));
        assert_eq!(packets_to_handshake(&initial), None);
        let both = [initial.clone(), handshake.clone()].concat();
        assert_eq!(packets_to_handshake(&both), Some(2));
        let three = [initial.clone(), early, handshake].concat();
        assert_eq!(packets_to_handshake(&three), Some(3));
        let short = [initial, vec![0x60; 50]].concat();
        assert_eq!(packets_to_handshake(&short), None);
    }

    #[test]
    fn whatever_is_cut_short_proves_nothing() {
        let whole = [packet(0xc0, 100), packet(0xe0, 20)].concat();
        for len in 0..packet(0xc0, 100).len() + 6 {
            assert_eq!(packets_to_handshake(&whole[..len]), None, "{len}");
        }
        let mut lies = packet(0xc0, 100);
        lies[5] = 255;
        assert_eq!(packets_to_handshake(&lies), None);
    }
}
