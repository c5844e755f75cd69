//! Retry tokens: what a client brings back to show that it is where it says it is.
//!
//! A token says when, to which address and for which ids a Retry was sent, under a MAC.
//! Nothing in it is a secret of anybody's: the client knows its address and the id that
//! it chose. So it is not encrypted, and needs no nonce that must never come twice. The
//! Retry's source id is not in it, but under the MAC: it comes back as the destination id.
//!
//! ```text
//! form (1) | sent, ms since 1970 (8) | address (16) | port (2) | original id (8 to 20) | MAC (32)
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring::hmac;

use super::ids::Cid;
use crate::limits;

/// Tells our tokens of this form from those of a later one.
const FORM: u8 = 1;
/// Everything before the original id.
const HEAD: usize = 1 + 8 + 16 + 2;
const MAC: usize = 32;
/// RFC 9000 section 7.2: an id that a client chooses has at least 8 bytes.
const SHORTEST_ID: usize = 8;

/// Issues and reads Retry tokens.
pub(crate) struct Tokens {
    /// The current key, then those that are still honoured.
    keys: Vec<hmac::Key>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// Why a token is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// It is none of ours, or was altered, or came with another id than it was sent with.
    Forged,
    /// It was sent to another address.
    Elsewhere,
    /// Its time is over.
    Expired,
    /// A connection began with it.
    Used,
}

impl Tokens {
    /// Tokens are made with the first of `keys` and read with any.
    pub(crate) fn new(keys: &[[u8; 32]]) -> Self {
        assert!(!keys.is_empty(), "tokens are made with some key");
        let key = |key: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, key);
        Tokens {
            keys: keys.iter().map(key).collect(),
        }
    }

    /// The token of a Retry from `retry_id` to a client whose first id was `original`.
    pub(crate) fn issue(
        &self,
        original: &[u8],
        retry_id: &Cid,
        client: SocketAddr,
        at: Duration,
    ) -> Vec<u8> {
        debug_assert!(original.len() >= SHORTEST_ID);
        let mut token = Vec::with_capacity(HEAD + original.len() + MAC);
        token.push(FORM);
        token.extend_from_slice(&millis(at).to_be_bytes());
        token.extend_from_slice(&place(client));
        token.extend_from_slice(original);
        let mac = hmac::sign(&self.keys[0], Signed::new(&token, retry_id).as_bytes());
        token.extend_from_slice(mac.as_ref());
        token
    }

    /// The original id of a token that came from `client` with destination id `dcid`.
    ///
    /// # Errors
    /// Why it shows nothing.
    pub(crate) fn open<'t>(
        &self,
        token: &'t [u8],
        dcid: &[u8],
        client: SocketAddr,
        at: Duration,
    ) -> Result<&'t [u8], BadToken> {
        let sound = HEAD + SHORTEST_ID + MAC..=HEAD + quiche::MAX_CONN_ID_LEN + MAC;
        if !sound.contains(&token.len()) || token[0] != FORM {
            return Err(BadToken::Forged);
        }
        let (body, mac) = token.split_at(token.len() - MAC);
        // `verify` takes the same time whatever it finds.
        let signed = Signed::new(body, dcid);
        let is_ours = |key: &hmac::Key| hmac::verify(key, signed.as_bytes(), mac).is_ok();
        if !self.keys.iter().any(is_ours) {
            return Err(BadToken::Forged);
        }
        let (head, original) = body.split_at(HEAD);
        let (sent, whom) = head[1..].split_at(8);
        // RFC 9000 section 8.1.4: "Tokens sent in Retry packets SHOULD include
        // information that allows the server to verify that the source IP address and
        // port in client packets remain constant."
        if whom != place(client) {
            return Err(BadToken::Elsewhere);
        }
        let sent = u64::from_be_bytes(sent.try_into().expect("eight bytes were split off"));
        let (sent, now) = (Duration::from_millis(sent), at);
        // Machines with one secret read one another's, and their clocks may differ.
        let late = now.saturating_sub(sent) > limits::RETRY_TOKEN_LIFE;
        let early = sent.saturating_sub(now) > limits::RETRY_TOKEN_SKEW;
        if late || early {
            return Err(BadToken::Expired);
        }
        Ok(original)
    }
}

/// What the MAC covers. On the stack: it is made for every first datagram of a flood.
struct Signed {
    bytes: [u8; Signed::MOST],
    len: usize,
}

impl Signed {
    const MOST: usize = 1 + quiche::MAX_CONN_ID_LEN + HEAD + quiche::MAX_CONN_ID_LEN;

    fn new(body: &[u8], retry_id: &[u8]) -> Self {
        let mut bytes = [0; Self::MOST];
        let (start, len) = (1 + retry_id.len(), 1 + retry_id.len() + body.len());
        // The length of the one makes clear where the other begins.
        bytes[0] = u8::try_from(retry_id.len()).expect("ids have at most 20 bytes");
        bytes[1..start].copy_from_slice(retry_id);
        bytes[start..len].copy_from_slice(body);
        Signed { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

fn place(client: SocketAddr) -> [u8; 18] {
    let ip = match client.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut place = [0; 18];
    place[..16].copy_from_slice(&ip.octets());
    place[16..].copy_from_slice(&client.port().to_be_bytes());
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: [u8; 8] = [3; 8];
    const RETRY_ID: Cid = [7; 16];
    const AT: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn a_token_is_good_where_it_was_sent_to_and_for_seconds() {
        let tokens = Tokens::new(&[[1; 32]]);
        let token = tokens.issue(&ORIGINAL, &RETRY_ID, client(1), AT);
        let open = |from, at| tokens.open(&token, &RETRY_ID, from, at);
        assert_eq!(open(client(1), AT), Ok(&ORIGINAL[..]));
        assert_eq!(open(client(2), AT), Err(BadToken::Elsewhere));
        let other_host = SocketAddr::from(([192, 0, 2, 2], 1));
        assert_eq!(open(other_host, AT), Err(BadToken::Elsewhere));

        let last = AT + limits::RETRY_TOKEN_LIFE;
        assert_eq!(open(client(1), last), Ok(&ORIGINAL[..]));
        let late = last + Duration::from_millis(1);
        assert_eq!(open(client(1), late), Err(BadToken::Expired));
        let first = AT - limits::RETRY_TOKEN_SKEW;
        assert_eq!(open(client(1), first), Ok(&ORIGINAL[..]));
        let early = first - Duration::from_millis(1);
        assert_eq!(open(client(1), early), Err(BadToken::Expired));
    }

    #[test]
    fn no_bit_of_a_token_or_its_id_may_change() {
        let tokens = Tokens::new(&[[1; 32]]);
        let token = tokens.issue(&ORIGINAL, &RETRY_ID, client(1), AT);
        let refused = Err(BadToken::Forged);
        for bit in 0..token.len() * 8 {
            let mut forged = token.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let open = tokens.open(&forged, &RETRY_ID, client(1), AT);
            assert_eq!(open, refused, "bit {bit}");
        }
        for len in 0..token.len() {
            let open = tokens.open(&token[..len], &RETRY_ID, client(1), AT);
            assert_eq!(open, refused, "{len} bytes");
        }
        let longer = [&token[..], &[0]].concat();
        assert_eq!(tokens.open(&longer, &RETRY_ID, client(1), AT), refused);
        assert_eq!(tokens.open(&token, &[8; 16], client(1), AT), refused);
        assert_eq!(tokens.open(&token, &[], client(1), AT), refused);
        // A byte that moved from the one to the other is no disguise.
        let moved = tokens.open(&token, &RETRY_ID[..15], client(1), AT);
        assert_eq!(moved, refused);
    }

    #[test]
    fn every_length_of_id_and_both_families_come_back() {
        let tokens = Tokens::new(&[[1; 32]]);
        let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 443));
        for len in SHORTEST_ID..=quiche::MAX_CONN_ID_LEN {
            let original = vec![5; len];
            let token = tokens.issue(&original, &RETRY_ID, v6, AT);
            assert_eq!(tokens.open(&token, &RETRY_ID, v6, AT), Ok(&original[..]));
        }
    }

    #[test]
    fn tokens_of_an_earlier_secret_are_still_good() {
        let (old, new) = (Tokens::new(&[[1; 32]]), Tokens::new(&[[2; 32], [1; 32]]));
        let token = old.issue(&ORIGINAL, &RETRY_ID, client(1), AT);
        assert!(new.open(&token, &RETRY_ID, client(1), AT).is_ok());
        let token = new.issue(&ORIGINAL, &RETRY_ID, client(1), AT);
        let refused = old.open(&token, &RETRY_ID, client(1), AT);
        assert_eq!(refused, Err(BadToken::Forged));
    }

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }
}
