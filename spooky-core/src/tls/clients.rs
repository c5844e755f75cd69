//! Who clients have to be.

use std::time::SystemTime;

use boring::base64;
use boring::ssl::{SslContextBuilder, SslVerifyMode};
use boring::x509::X509;
use boring::x509::store::X509StoreBuilder;

use super::{TlsError, encoding, identity};
use crate::config::ClientAuthMode;

/// Whether clients show certificates, and whose are good.
///
/// A certificate that is shown has to be good, whether it has to be shown or not: one
/// that fails ends the handshake. So whatever certificate a connection has was verified,
/// and nothing further needs to be known of it. (nginx lets a request through with the
/// failure in a variable that the next one has to look at.)
pub(crate) struct Clients {
    pub(crate) mode: ClientAuthMode,
    pub(crate) roots: Vec<X509>,
}

/// The alert of RFC 8446 section 6.2.
pub(crate) const CERTIFICATE_EXPIRED: u8 = 45;

/// The certificate's time is over at `wall`. One that can't be read is good for nothing.
pub(crate) fn is_expired(der: &[u8], wall: SystemTime) -> bool {
    let (Ok(certificate), Some(now)) = (X509::from_der(der), identity::at(wall)) else {
        return true;
    };
    *certificate.not_after() < now
}

/// The certificate as a field tells of it: a Byte Sequence of its DER (RFC 9440 section
/// 2.1), which is base64 between colons (RFC 9651 section 4.1.8).
pub(crate) fn client_cert(der: &[u8]) -> Box<[u8]> {
    format!(":{}:", base64::encode_block(der))
        .into_bytes()
        .into()
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients")
            .field("mode", &self.mode)
            .field("roots", &self.roots.len())
            .finish()
    }
}

impl Clients {
    /// Reads the roots, PEM or DER; absent, there are none.
    pub(crate) fn new(mode: ClientAuthMode, ca: Option<&[u8]>) -> Result<Self, String> {
        let roots = ca.map_or(Ok(Vec::new()), encoding::certificates)?;
        Ok(Clients { mode, roots })
    }

    pub(crate) fn install(&self, builder: &mut SslContextBuilder) -> Result<(), TlsError> {
        let mode = match self.mode {
            ClientAuthMode::None => return Ok(()),
            // RFC 8446 section 4.4.2.4: without a certificate "the server MAY at its
            // discretion either continue the handshake without client authentication or
            // abort the handshake with a "certificate_required" alert".
            ClientAuthMode::Request => SslVerifyMode::PEER,
            ClientAuthMode::Require => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        };
        let mut store = X509StoreBuilder::new()?;
        for root in &self.roots {
            store.add_cert(root)?;
            // The names help clients that have several certificates to choose.
            builder.add_client_ca(root)?;
        }
        builder.set_verify_cert_store(store.build())?;
        builder.set_verify(mode);
        Ok(())
    }
}
