//! Whether the balancer keeps to three times what an address sent, until that is proved.
//!
//! RFC 9000 section 8.1. Counted on the wire, whole datagrams, by reading what stands in
//! the clear: this knows nothing of the balancer's own budget.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What went to and fro between the listener and each address.
#[derive(Debug)]
pub(crate) struct Amplification {
    listener: SocketAddr,
    addresses: BTreeMap<SocketAddr, Account>,
    /// Where Initial packets of the balancer's ids went.
    begun: BTreeMap<Vec<u8>, BTreeSet<SocketAddr>>,
}

#[derive(Debug, Default)]
struct Account {
    received: usize,
    sent: usize,
    proved: bool,
    /// What it had been sent when the first datagram of an established connection came:
    /// the address was moved to.
    moved: Option<usize>,
}

impl Amplification {
    pub(crate) fn of(listener: SocketAddr) -> Self {
        Amplification {
            listener,
            addresses: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// A datagram came to an address of the balancer.
    pub(crate) fn received(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to != self.listener {
            return;
        }
        let account = self.addresses.entry(from).or_default();
        let Some(first) = bytes.first() else { return };
        let short = first & 0x80 == 0;
        account.received += bytes.len();
        // The answer to a PATH_CHALLENGE is encrypted. A client that was sent one there
        // answers it before anything else.
        let answers = short && account.moved.is_some_and(|sent| account.sent > sent);
        if short {
            account.moved.get_or_insert(account.sent);
        }
        // Retry's token comes back only from where it was sent to.
        let returns = account.sent > 0 && has_token(bytes);
        account.proved |= answers || returns;
        let Some(id) = handshake_to(bytes) else {
            return;
        };
        account.proved = true;
        // Whoever has the keys was reached where they were sent to, and may have moved
        // since.
        for address in self.begun.get(id).into_iter().flatten() {
            if let Some(account) = self.addresses.get_mut(address) {
                account.proved = true;
            }
        }
    }

    /// A datagram leaves an address of the balancer.
    pub(crate) fn sent(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if from != self.listener {
            return;
        }
        if let Some(id) = initial_from(bytes) {
            self.begun.entry(id.to_vec()).or_default().insert(to);
        }
        let len = bytes.len();
        let account = self.addresses.entry(to).or_default();
        account.sent += len;
        assert!(
            account.proved || account.sent <= 3 * account.received,
            "{to} sent {} bytes, and is sent {}, before its address is proved",
            account.received,
            account.sent
        );
    }
}

/// The id that a Handshake packet among those of a datagram is sent to.
fn handshake_to(mut bytes: &[u8]) -> Option<&[u8]> {
    while bytes.first()? & 0x80 != 0 {
        if bytes[0] & 0x30 == 0x20 {
            return bytes.get(6..)?.get(..usize::from(bytes[5]));
        }
        bytes = bytes.get(packet_len(bytes)?..)?;
    }
    None
}

/// The id that a datagram which begins with an Initial packet comes from.
fn initial_from(bytes: &[u8]) -> Option<&[u8]> {
    // RFC 9000 section 17.2: the top bits, then the type.
    if bytes.first()? & 0xb0 != 0x80 {
        return None;
    }
    let rest = bytes.get(6 + usize::from(*bytes.get(5)?)..)?;
    let (&len, rest) = rest.split_first()?;
    rest.get(..usize::from(len))
}

fn has_token(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    let header = quiche::Header::from_slice(&mut bytes, super::quic::ID).ok();
    let token = header.and_then(|header| header.token);
    token.is_some_and(|token| !token.is_empty())
}

/// Bytes of the packet with a long header that a datagram begins with.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let mut octets = octets(bytes);
    octets.skip(5)?;
    for _ in 0..2 {
        let len = octets.skip(1)?;
        octets.skip(len.into())?;
    }
    if bytes[0] & 0x30 == 0 {
        let token = octets.varint()?;
        octets.skip(token)?;
    }
    let payload = octets.varint()?;
    Some(bytes.len() - octets.0.len() + payload)
}

struct Octets<'a>(&'a [u8]);

fn octets(bytes: &[u8]) -> Octets<'_> {
    Octets(bytes)
}

impl Octets<'_> {
    /// Goes over so many bytes, and returns the last.
    fn skip(&mut self, len: usize) -> Option<u8> {
        let last = if len == 0 { 0 } else { *self.0.get(len - 1)? };
        self.0 = &self.0[len..];
        Some(last)
    }

    fn varint(&mut self) -> Option<usize> {
        let width = 1 << (self.0.first()? >> 6);
        let mut value = usize::from(self.skip(1)? & 0x3f);
        for _ in 1..width {
            value = value << 8 | usize::from(self.skip(1)?);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str = "192.0.2.1:443";
    const CLIENT: &str = "198.51.100.1:1";

    /// A client sends that, and is sent so many bytes, one after the other.
    fn exchange(first: &[u8], answers: &[usize]) {
        let (listener, client) = (
            LISTENER.parse().expect("an address"),
            CLIENT.parse().expect("an address"),
        );
        let mut amplification = Amplification::of(listener);
        amplification.received(client, listener, first);
        for len in answers {
            amplification.sent(listener, client, &vec![0x40; *len]);
        }
    }

    #[test]
    #[should_panic(expected = "before its address is proved")]
    fn the_byte_too_many_is_seen() {
        let mut initial = vec![
            0xc0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x44, 0x9e,
        ];
        initial.resize(1200, 0);
        exchange(&initial, &[3600, 1]);
    }

    #[test]
    fn a_handshake_packet_behind_an_initial_is_a_proof() {
        let mut initial = vec![0xc0, 0, 0, 0, 1, 2, 7, 7, 1, 9, 0, 0x40, 100];
        initial.resize(13 + 100, 0xaa);
        assert_eq!(handshake_to(&initial), None);
        initial.extend([0xe0, 0, 0, 0, 1, 2, 7, 7, 1, 9]);
        assert_eq!(handshake_to(&initial), Some(&[7, 7][..]));
        exchange(&initial, &[100_000]);
    }

    #[test]
    fn a_handshake_packet_proves_where_its_keys_were_sent_to() {
        let [listener, client, elsewhere] =
            [LISTENER, CLIENT, "203.0.113.1:1"].map(|at| at.parse().expect("an address"));
        let moved = |id: u8| {
            let mut amplification = Amplification::of(listener);
            amplification.received(client, listener, &[0xc0; 1200]);
            let initial = [0xc3, 0, 0, 0, 1, 1, 9, 2, 7, 7, 0, 0x40, 100];
            amplification.sent(listener, client, &initial);
            let handshake = [0xe0, 0, 0, 0, 1, 2, 7, id, 1, 9];
            amplification.received(elsewhere, listener, &handshake);
            amplification.addresses[&client].proved
        };
        assert!(moved(7));
        assert!(!moved(8), "of another connection");
    }
}
