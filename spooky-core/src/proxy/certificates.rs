//! The certificate that a client has shown.

use std::time::Instant;

use super::Proxy;
use crate::io::Handle;
use crate::tls;

impl Proxy {
    /// To be called once, before anything of HTTP/3 is read from the connection.
    ///
    /// Whatever certificate is there was verified, now or on the connection that this one
    /// resumes. In between it may have run out, and BoringSSL does not ask again.
    pub(super) fn look_at_certificate(&mut self, handle: Handle, now: Instant) {
        let wall = self.wall(now);
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        let Some((der, resumed)) = conn.session.peer_certificate() else {
            return;
        };
        if resumed && tls::is_expired(der, wall) {
            let reason = b"the certificate has expired since";
            conn.session
                .close_with_alert(tls::CERTIFICATE_EXPIRED, reason);
            return;
        }
        if self.setup.config().forwarding.client_cert {
            conn.certificate = Some(tls::client_cert(der));
        }
    }
}
