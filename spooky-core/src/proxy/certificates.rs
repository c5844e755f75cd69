//! The certificate that a client has shown.

use std::time::Instant;

use super::Proxy;
use crate::io::Handle;
use crate::tls;

impl Proxy {
    /// Whether HTTP/3 may begin; to be asked until it has.
    ///
    /// Whatever certificate is there was verified, now or on the connection that this one
    /// resumes. In between it may have run out, and BoringSSL does not ask again.
    pub(super) fn look_at_certificate(&mut self, handle: Handle, now: Instant) -> bool {
        let wall = self.wall(now);
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return false;
        };
        let Some((der, resumed)) = conn.session.peer_certificate() else {
            return true;
        };
        if resumed && tls::is_expired(der, wall) {
            // Of a handshake that is not complete, quiche tells the end with keys that the
            // client does not have: early data waits, unread, until it is.
            if conn.session.is_established() {
                let reason = b"the certificate has expired since";
                conn.session
                    .close_with_alert(tls::CERTIFICATE_EXPIRED, reason);
            }
            return false;
        }
        if self.setup.config().forwarding.client_cert {
            conn.certificate = Some(tls::client_cert(der));
        }
        true
    }
}
