//! What a ClientHello with 0-RTT tells about itself.
//!
//! TLS can't tell a replayed flight from the first, but a flight has a name: the binder
//! of its pre-shared key is a MAC over the whole ClientHello (RFC 8446 section 4.2.11.2),
//! and no two ClientHellos have the same. It is taken down before BoringSSL verifies it,
//! and means something only once early data was accepted, which it never is otherwise.
//!
//! Where early requests are forwarded, it counts who made the ticket. Only that process
//! can know whether a copy of the flight was forwarded before, so another one does not
//! even resume: early data is refused, and the client's QUIC sends it again when the
//! handshake is complete (RFC 9001 section 4.6.2), without its user noticing.

use std::sync::LazyLock;

use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{ClientHello, ExtensionType, Ssl, SslRef};

use super::tickets::{Name, Tickets};

/// The ClientHello of a connection that offers early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// Its ticket was made by this very process.
    pub(crate) ours: bool,
    /// The front of its binder.
    pub(crate) binder: u128,
}

/// Takes down what [`flight`] tells later, on the connection itself. To be called when
/// the ClientHello has come.
pub(crate) fn note(hello: &mut ClientHello<'_>, tickets: &Tickets) {
    let offers = hello.get_extension(ExtensionType::EARLY_DATA).is_some();
    let keys = hello
        .get_extension(ExtensionType::PRE_SHARED_KEY)
        .filter(|_| offers);
    let found = keys.and_then(first).map(|(name, binder)| Flight {
        ours: tickets.is_ours(&name),
        binder,
    });
    if let (Some(flight), Ok(index)) = (found, *INDEX) {
        hello.ssl_mut().set_ex_data(index, flight);
    }
}

/// What the connection's ClientHello was, if it offered early data.
pub(crate) fn flight(ssl: &SslRef) -> Option<Flight> {
    let index = (*INDEX).ok()?;
    ssl.ex_data(index).copied()
}

/// Where connections keep it. BoringSSL fails to give a place only without memory; then
/// every flight is unknown.
static INDEX: LazyLock<Result<Index<Ssl, Flight>, ()>> =
    LazyLock::new(|| Ssl::new_ex_index().map_err(|_: ErrorStack| ()));

/// The key name of the first ticket in a pre_shared_key extension, and the front of its
/// binder. BoringSSL looks at no other.
///
/// RFC 8446 section 4.2.11: `struct { opaque identity<1..2^16-1>; uint32
/// obfuscated_ticket_age; } PskIdentity; opaque PskBinderEntry<32..255>; struct {
/// PskIdentity identities<7..2^16-1>; PskBinderEntry binders<33..2^16-1>; } OfferedPsks`.
fn first(extension: &[u8]) -> Option<(Name, u128)> {
    let (identities, binders) = vector(extension)?;
    let (identity, _) = vector(identities)?;
    let name = identity.first_chunk::<16>()?;
    let (binders, rest) = vector(binders)?;
    let (&length, binder) = binders.split_first()?;
    let binder = binder.get(..usize::from(length))?;
    let front = binder.first_chunk::<16>()?;
    rest.is_empty()
        .then(|| (*name, u128::from_be_bytes(*front)))
}

/// A vector with a length of two bytes, and what follows it.
fn vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ticket_and_its_binder_are_found() {
        let whole = offered(&[(b"0123456789abcdefrest", 1), (b"another, too, is here", 2)]);
        let binder = u128::from_be_bytes([1; 16]);
        assert_eq!(first(&whole), Some((*b"0123456789abcdef", binder)));
    }

    #[test]
    fn whatever_is_cut_off_or_short_is_none() {
        let whole = offered(&[(b"0123456789abcdefrest", 1)]);
        for len in 0..whole.len() {
            assert_eq!(first(&whole[..len]), None, "{len}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert_eq!(first(&longer), None);
        assert_eq!(first(&offered(&[(b"short", 1)])), None);
        assert_eq!(first(&[0; 300]), None);
        assert_eq!(first(&[0xff; 300]), None);
    }

    fn offered(keys: &[(&[u8], u8)]) -> Vec<u8> {
        let identity = |(id, _): &(&[u8], u8)| [prefixed(id), vec![0; 4]].concat();
        let identities: Vec<u8> = keys.iter().flat_map(identity).collect();
        let binders: Vec<u8> = keys
            .iter()
            .flat_map(|(_, fill)| [vec![32], vec![*fill; 32]].concat())
            .collect();
        [prefixed(&identities), prefixed(&binders)].concat()
    }

    fn prefixed(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).expect("short");
        [&length.to_be_bytes()[..], bytes].concat()
    }
}
