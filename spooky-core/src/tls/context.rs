//! What a session must have been made under to be resumed here.
//!
//! A resumed handshake asks for no certificate, and early data is sent under the limits
//! of the connection before. So a ticket is bound to all that decides who may connect
//! and how much may be sent: BoringSSL keeps 32 bytes with a session, the session id
//! context, and resumes it only where they are the same. Elsewhere the handshake is
//! done in full, as if there were no ticket.

use boring::sha::Sha256;

use super::Clients;
use crate::config::{ClientAuthMode, Config};
use crate::limits;

/// The session id context: a digest of what a resumption takes over.
pub(crate) fn session_context(
    config: &Config,
    clients: &Clients,
) -> Result<[u8; 32], super::TlsError> {
    let mut digest = Sha256::new();
    digest.update(b"spooky sessions 1");
    digest.update(&[match clients.mode {
        ClientAuthMode::None => 0,
        ClientAuthMode::Request => 1,
        ClientAuthMode::Require => 2,
    }]);
    // What nobody is verified against decides nothing.
    if clients.mode != ClientAuthMode::None {
        let ders = clients.roots.iter().map(|root| root.to_der());
        let mut ders = ders.collect::<Result<Vec<_>, _>>()?;
        ders.sort_unstable();
        ders.dedup();
        number(&mut digest, ders.len() as u64);
        for der in ders {
            number(&mut digest, der.len() as u64);
            digest.update(&der);
        }
    }
    for limit in remembered(config) {
        number(&mut digest, limit);
    }
    Ok(digest.finish())
}

/// What a client may take for granted in early data.
///
/// RFC 9000 section 7.4.1: "a server that accepts 0-RTT data MUST NOT set values for the
/// following parameters that are smaller than the remembered values of the parameters":
/// the first six. RFC 9114 section 7.2.4.2, of a server that does: "its SETTINGS frame
/// MUST NOT reduce any limits or alter any values that might be violated by the client
/// with its 0-RTT data": the others. Larger ones would do no harm, but a digest can't
/// tell.
fn remembered(config: &Config) -> [u64; 8] {
    let quic = &config.quic;
    [
        limits::CLIENT_PATHS,
        quic.connection_window,
        quic.stream_window,
        limits::UNI_WINDOW,
        quic.max_streams,
        limits::UNI_STREAMS,
        config.limits.header_bytes,
        u64::from(config.websocket),
    ]
}

fn number(digest: &mut Sha256, number: u64) {
    digest.update(&number.to_be_bytes());
}
