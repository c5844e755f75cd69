//! Stage 1: which connection does a datagram belong to, or does it start one?

mod discard;
mod ids;
mod refusal;
mod retired;
pub(crate) mod stateless;
mod tokens;
mod used;

use std::collections::HashMap;

use rustc_hash::FxHashMap;

pub(crate) use discard::must_be_discarded;
pub(crate) use ids::{Cid, Ids, LEN as CID_LEN, Origin};
pub(crate) use stateless::ResetTokens;
pub(crate) use tokens::{BadToken, Tokens};
pub(crate) use used::UsedTokens;

use retired::RetiredIds;

use crate::io::Handle;
use crate::limits;

/// A connection of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRef {
    Downstream(Handle),
    Backend(Handle),
}

/// Destination connection id → connection.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Ids that we issued. No peer can choose them, so a fast hash is safe.
    ours: FxHashMap<Cid, ConnectionRef>,
    /// Ids that clients chose for their first datagrams. Peers choose them, so the
    /// hash is keyed.
    chosen: HashMap<Vec<u8>, Handle>,
    retired: RetiredIds,
}

impl Routes {
    /// The connection that `dcid` names.
    pub(crate) fn find(&self, dcid: &[u8]) -> Option<ConnectionRef> {
        if let Ok(id) = <&Cid>::try_from(dcid)
            && let Some(found) = self.ours.get(id)
        {
            return Some(*found);
        }
        if self.chosen.is_empty() {
            return None;
        }
        self.chosen
            .get(dcid)
            .map(|&handle| ConnectionRef::Downstream(handle))
    }

    pub(crate) fn insert(&mut self, id: Cid, connection: ConnectionRef) {
        self.ours.insert(id, connection);
    }

    pub(crate) fn remove(&mut self, id: &[u8]) {
        if let Ok(id) = <&Cid>::try_from(id) {
            self.ours.remove(id);
            if self.ours.is_empty() && self.ours.capacity() > limits::EMPTY_TABLE {
                self.ours.shrink_to_fit();
            }
        }
    }

    /// The client gave up `id` of a connection that lives.
    pub(crate) fn retire(&mut self, id: &[u8]) {
        self.remove(id);
        if let Ok(id) = id.try_into() {
            self.retired.insert(id);
        }
    }

    /// Of an id that is not found: its client gave it up a short while ago.
    pub(crate) fn was_retired(&self, id: &Cid) -> bool {
        self.retired.contains(id)
    }

    /// Also finds the connection by the id its client began with.
    pub(crate) fn insert_chosen(&mut self, id: Vec<u8>, connection: Handle) {
        self.chosen.insert(id, connection);
    }

    pub(crate) fn remove_chosen(&mut self, id: &[u8]) {
        self.chosen.remove(id);
        if self.chosen.is_empty() && self.chosen.capacity() > limits::EMPTY_TABLE {
            self.chosen.shrink_to_fit();
        }
    }

    /// Ids of both kinds.
    pub(crate) fn len(&self) -> usize {
        self.ours.len() + self.chosen.len()
    }
}

/// The destination connection id of a datagram, without parsing the rest.
///
/// RFC 8999 section 5: a long header has its length after four bytes of version;
/// a short header's has the length we chose.
pub(crate) fn destination_id(data: &[u8]) -> Option<&[u8]> {
    let first = *data.first()?;
    if first & 0x80 == 0 {
        return data.get(1..1 + ids::LEN);
    }
    let len = usize::from(*data.get(5)?);
    if len > quiche::MAX_CONN_ID_LEN {
        return None;
    }
    data.get(6..6 + len)
}

/// A datagram with a long header may start a connection.
pub(crate) fn is_long(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x80 != 0)
}

/// What to do with a datagram that belongs to no connection.
pub(crate) enum Stranger {
    /// Starts a connection with this client-chosen id.
    Accept(quiche::Header<'static>),
    /// Speaks a version we don't: answer with ours.
    Negotiate(quiche::Header<'static>),
    /// Not worth an answer.
    Drop,
}

/// Looks closer at a datagram with an unknown id.
pub(crate) fn classify(data: &mut [u8]) -> Stranger {
    // RFC 9000 section 14.1: "A server MUST discard an Initial packet that is
    // carried in a UDP datagram with a payload that is smaller than the smallest
    // allowed maximum datagram size of 1200 bytes." The same bound keeps version
    // negotiation from amplifying (section 6.1).
    if !is_long(data) || data.len() < quiche::MIN_CLIENT_INITIAL_LEN {
        return Stranger::Drop;
    }
    let Ok(header) = quiche::Header::from_slice(data, ids::LEN) else {
        return Stranger::Drop;
    };
    if header.ty == quiche::Type::VersionNegotiation {
        return Stranger::Drop;
    }
    // RFC 9000 section 17.2: ids are at most 20 bytes in version 1; other versions
    // may have longer ones, which we don't carry.
    if header.dcid.len() > quiche::MAX_CONN_ID_LEN || header.scid.len() > quiche::MAX_CONN_ID_LEN {
        return Stranger::Drop;
    }
    if !quiche::version_is_supported(header.version) {
        return Stranger::Negotiate(header);
    }
    // RFC 9000 section 7.2: the id "MUST be at least 8 bytes in length".
    if header.ty != quiche::Type::Initial || header.dcid.len() < 8 {
        return Stranger::Drop;
    }
    Stranger::Accept(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_id_is_found_without_parsing() {
        let mut short = [0x40; 40];
        short[1..17].copy_from_slice(&[7; 16]);
        assert_eq!(destination_id(&short), Some(&[7; 16][..]));
        assert_eq!(destination_id(&short[..16]), None);
        let long = [&[0xc0, 0, 0, 0, 1, 3, 9, 9, 9][..], &[0; 8]].concat();
        assert_eq!(destination_id(&long), Some(&[9, 9, 9][..]));
        assert_eq!(destination_id(&[0xc0, 0, 0, 0, 1, 200, 0]), None);
        assert_eq!(destination_id(&[]), None);
    }

    #[test]
    fn small_or_garbled_strangers_are_dropped() {
        assert!(matches!(classify(&mut [0xc0; 1199]), Stranger::Drop));
        assert!(matches!(classify(&mut [0x40; 1350]), Stranger::Drop));
        assert!(matches!(classify(&mut [0xff; 1350]), Stranger::Drop));
        let mut unknown = [0_u8; 1200];
        unknown[..6].copy_from_slice(&[0xc0, 0xba, 0xba, 0xba, 0xba, 8]);
        let Stranger::Negotiate(header) = classify(&mut unknown) else {
            panic!("an unknown version")
        };
        let reply = stateless::negotiation(&header).expect("fits");
        assert!(reply.len() < 100, "never amplifies: {}", reply.len());
    }
    /// Two that answer each other's negotiation would never stop.
    #[test]
    fn an_offer_of_versions_is_never_answered() {
        // The versions fill it, four bytes each.
        let mut offer = [0_u8; 15 + 4 * 300];
        offer[..6].copy_from_slice(&[0xc0, 0, 0, 0, 0, 8]);
        assert!(matches!(classify(&mut offer), Stranger::Drop));
    }

    #[test]
    fn a_stranger_whose_token_ends_nowhere_is_dropped() {
        let mut initial = [0_u8; 1200];
        initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
        assert!(matches!(classify(&mut initial), Stranger::Accept(_)));
        // RFC 9000 section 17.2.2: the token's length follows the ids.
        initial[15..17].copy_from_slice(&[0x7f, 0xff]);
        assert!(matches!(classify(&mut initial), Stranger::Drop));
    }
}
