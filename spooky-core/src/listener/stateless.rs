//! Replies without a connection: version negotiation, Retry, refusal, stateless reset.
//!
//! Each is smaller than the datagram that it answers, whatever that was: nobody gets more
//! thrown at a third party than they throw themselves.

use std::net::SocketAddr;

use rand::Rng;
use ring::hmac;

use super::ids::{Cid, Origin};
use super::refusal;

/// A reply that belongs to no connection.
#[derive(Debug)]
pub(crate) struct Stateless {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// The longest packet with two ids and a token of ours.
const MOST: usize = 256;

/// Version negotiation in answer to `header` (RFC 9000 section 6).
pub(crate) fn negotiation(header: &quiche::Header<'_>) -> Option<Vec<u8>> {
    written(|out| quiche::negotiate_version(&header.scid, &header.dcid, out))
}

/// A Retry in answer to `header`, from `retry_id` (RFC 9000 section 17.2.5).
pub(crate) fn retry(header: &quiche::Header<'_>, retry_id: &Cid, token: &[u8]) -> Option<Vec<u8>> {
    let retry_id = quiche::ConnectionId::from_ref(retry_id);
    let (scid, dcid, version) = (&header.scid, &header.dcid, header.version);
    written(|out| quiche::retry(scid, dcid, &retry_id, token, version, out))
}

/// Why a connection does not begin, in codes of RFC 9000 section 20.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    ConnectionRefused = 0x02,
    InvalidToken = 0x0b,
}

/// A refusal in answer to `header` (RFC 9000 section 5.2.2).
pub(crate) fn refusal(header: &quiche::Header<'_>, code: Code) -> Option<Vec<u8>> {
    refusal::close(header, code as u8)
}

fn written(write: impl FnOnce(&mut [u8]) -> quiche::Result<usize>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; MOST];
    let len = write(&mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// Bytes of a stateless reset: those of a short packet whose id is as long as ids may
/// be, so that nobody but the client sees what it is. RFC 9000 section 10.3 asks the same
/// of other packets: to be "at least 22 bytes longer than the minimum connection ID
/// length".
const RESET: usize = 22 + quiche::MAX_CONN_ID_LEN;
/// RFC 9000 section 10.3: "Endpoints MUST discard packets that are too small to be valid
/// QUIC packets", which those below 21 bytes are.
const LEAST_RESET: usize = 21;
const TOKEN: usize = 16;

/// A stateless reset in answer to a datagram of `trigger` bytes; `None` if that was so
/// small that it may be one itself.
pub(crate) fn reset(trigger: usize, token: u128, rng: &mut impl Rng) -> Option<Vec<u8>> {
    // RFC 9000 section 10.3.3: "an endpoint MUST ensure that every Stateless Reset that it
    // sends is smaller than the packet that triggered it": two that answer each other's
    // come to an end.
    let len = RESET.min(trigger.saturating_sub(1));
    if len < LEAST_RESET {
        return None;
    }
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes[..len - TOKEN]);
    // RFC 9000 section 10.3: "Endpoints MUST send Stateless Resets formatted as a packet
    // with a short header."
    bytes[0] = 0x40 | (bytes[0] & 0x3f);
    bytes[len - TOKEN..].copy_from_slice(&token.to_be_bytes());
    Some(bytes)
}

/// Tokens of stateless resets: known of each id by whoever has the key, kept by nobody.
///
/// RFC 9000 section 21.11: servers "MUST NOT generate a stateless reset if a connection
/// with the corresponding connection ID could be active on any endpoint using the same
/// static key." Machines with one secret read one another's ids; so that none of them
/// tells an onlooker how to end a connection of another, each has tokens of its own, by
/// the name of its instance.
pub(crate) struct ResetTokens {
    /// In the order of the keys that ids are read with.
    keys: Vec<hmac::Key>,
    instance: String,
}

impl std::fmt::Debug for ResetTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetTokens")
    }
}

impl ResetTokens {
    pub(crate) fn new(keys: &[[u8; 32]], instance: &str) -> Self {
        let key = |key: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, key);
        ResetTokens {
            keys: keys.iter().map(key).collect(),
            instance: instance.to_owned(),
        }
    }

    /// The token of an id that was just issued.
    pub(crate) fn of_new(&self, id: &Cid) -> u128 {
        self.derive(0, id)
    }

    /// The token that was given with `id`, which was issued under an earlier secret, too.
    pub(crate) fn of(&self, id: &Cid, origin: Origin) -> u128 {
        self.derive(origin.key, id)
    }

    fn derive(&self, key: usize, id: &Cid) -> u128 {
        // RFC 9000 section 10.3.2: "a pseudorandom function that takes a static key and
        // the connection ID chosen by the endpoint".
        let mut context = hmac::Context::with_key(&self.keys[key]);
        // Ids are all of one length: where the name ends is clear.
        context.update(self.instance.as_bytes());
        context.update(id);
        let tag = context.sign();
        let (token, _) = tag
            .as_ref()
            .split_first_chunk()
            .expect("SHA-256 has 32 bytes");
        u128::from_be_bytes(*token)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::Ids;
    use super::*;

    #[test]
    fn a_reset_is_smaller_than_what_it_answers_and_ends_in_the_token() {
        let mut rng = StdRng::seed_from_u64(1);
        let token = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
        for trigger in 0..1500 {
            let reset = reset(trigger, token, &mut rng);
            let Some(reset) = reset else {
                assert!(trigger <= LEAST_RESET, "{trigger} bytes are answered");
                continue;
            };
            assert!(reset.len() < trigger && reset.len() >= LEAST_RESET);
            assert_eq!(reset[0] & 0xc0, 0x40, "a short header");
            assert!(reset.ends_with(&token.to_be_bytes()));
        }
        let [one, other] = [(); 2].map(|()| reset(1200, token, &mut rng).expect("one"));
        assert_ne!(one, other, "the rest is random");
    }

    #[test]
    fn reset_tokens_differ_by_id_and_key_and_outlive_a_change_of_secret() {
        let mut rng = StdRng::seed_from_u64(1);
        let old = (Ids::new(&[[1; 16]]), ResetTokens::new(&[[1; 32]], "a"));
        let new = (
            Ids::new(&[[2; 16], [1; 16]]),
            ResetTokens::new(&[[2; 32], [1; 32]], "a"),
        );
        let (id, other) = (old.0.issue(3, &mut rng), old.0.issue(3, &mut rng));
        let token = old.1.of_new(&id);
        assert_ne!(token, old.1.of_new(&other));
        let origin = new.0.origin(&id).expect("an id of the earlier secret");
        assert_eq!(new.1.of(&id, origin), token);
        let elsewhere = ResetTokens::new(&[[2; 32], [1; 32]], "b");
        assert_ne!(elsewhere.of(&id, origin), token, "of another machine");
        let id = new.0.issue(3, &mut rng);
        let origin = new.0.origin(&id).expect("an id of ours");
        assert_eq!(new.1.of(&id, origin), new.1.of_new(&id));
    }
}
