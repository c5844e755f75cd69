//! What is different for extended CONNECT: WebSocket over HTTP/3 (RFC 9220).
//!
//! Until the backend has accepted, it is a request like others, but for one thing: it
//! goes only to a backend whose SETTINGS offer it. From then on it is a tunnel: bytes
//! go both ways as bodies do, with the flow control of both connections in between;
//! no length is known, and each way ends by itself. The exchange is over when both
//! have ended.
//!
//! RFC 9220 section 3: "the orderly TCP-level closures are represented as stream
//! closure using a FIN [...] RST exceptions are represented with a stream error of
//! type H3_REQUEST_CANCELLED": an end is passed on as an end, and a reset of either
//! side as that error on the other.

use std::time::Instant;

use super::Proxy;
use crate::exchange::State;
use crate::http::RequestHead;
use crate::io::Handle;
use crate::listener::ConnectionRef;
use crate::observe::Reason;
use crate::session::code;
use crate::upstream::Queue;

/// Why a tunnel is not even asked for.
pub(super) fn tunnel_refusal(head: &RequestHead, websocket: bool) -> Option<Box<str>> {
    let protocol = head.protocol()?;
    if !protocol.eq_ignore_ascii_case(b"websocket") {
        let protocol: String = String::from_utf8_lossy(protocol).chars().take(64).collect();
        return Some(format!("protocol {protocol}: only websocket is passed on").into());
    }
    // RFC 9220 section 3: a client must not ask for what our SETTINGS do not offer.
    (!websocket).then(|| "websocket is off".into())
}

impl Proxy {
    /// Bytes go both ways: nothing but DATA is allowed.
    pub(super) fn is_tunnel(&self, id: Handle) -> bool {
        self.exchanges.get(id).is_some_and(|e| e.tunnel)
    }

    /// Whether the request for a tunnel goes out on `connection` now. If not, it waits
    /// for the backend's SETTINGS, or went elsewhere, or was refused.
    pub(super) fn may_tunnel(&mut self, id: Handle, connection: Handle, now: Instant) -> bool {
        let Some(conn) = self.backends.get_mut(connection) else {
            return false;
        };
        let offers = conn.session.offers_tunnels();
        if offers.is_none() {
            conn.settling.push(id);
        }
        // It is with this connection now, whatever comes of it.
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.state = State::Connecting { connection };
        }
        match offers {
            Some(true) => true,
            Some(false) => {
                self.leave_line(id);
                let text = "the backend does not offer extended CONNECT";
                self.retry_or_fail(id, Reason::ConnectRefused, Some(text.into()), now);
                self.left_connection(connection, now);
                false
            }
            None => {
                let timeout = self.setup.config().upstream.timeouts.connect;
                self.set_deadline(id, Some(now + timeout));
                false
            }
        }
    }

    /// The backend's SETTINGS may have come: those who wait for them go on.
    pub(super) fn settle_tunnels(&mut self, connection: Handle, now: Instant) {
        while let Some(conn) = self.backends.get_mut(connection) {
            if conn.settling.len() == 0 || conn.session.offers_tunnels().is_none() {
                return;
            }
            let state = State::Connecting { connection };
            let exchanges = &self.exchanges;
            let waits = |h| exchanges.get(h).is_some_and(|e| e.state == state);
            let Some(id) = conn.settling.pop(waits) else {
                return;
            };
            self.leave_line(id);
            self.send_head(id, connection, now);
        }
    }

    /// It waits for no handshake nor SETTINGS any more: it was taken out of that line,
    /// and is not to be taken out again.
    pub(super) fn leave_line(&mut self, id: Handle) {
        self.set_deadline(id, None);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.state = State::New;
        }
    }

    /// The backend's SETTINGS have not come within `timeouts.connect`.
    pub(super) fn settling_timeout(&mut self, id: Handle, now: Instant) {
        let text = "the backend has sent no SETTINGS";
        self.retry_or_fail(id, Reason::ConnectTimeout, Some(text.into()), now);
    }

    /// The connection on which these waited has ended. Nothing of them was sent.
    pub(super) fn settling_over(&mut self, connection: Handle, mut settling: Queue, now: Instant) {
        let state = State::Connecting { connection };
        loop {
            let exchanges = &self.exchanges;
            let waits = |h| exchanges.get(h).is_some_and(|e| e.state == state);
            let Some(id) = settling.pop(waits) else {
                return;
            };
            self.leave_line(id);
            self.restart_or_fail(id, Reason::BackendGone, None, now);
        }
    }

    /// One way of a tunnel has ended; with the other the exchange does.
    pub(super) fn tunnel_way_ended(&mut self, id: Handle, now: Instant) {
        let ended = |e: &crate::exchange::Exchange| e.tunnel && e.response.finished;
        if self.exchanges.get(id).is_some_and(ended) {
            self.response_finished(id, now);
        }
    }

    /// HEADERS in a tunnel, of the client or else of the backend.
    ///
    /// RFC 9114 section 4.4: "Once the CONNECT method has completed, only DATA frames are
    /// permitted to be sent on the stream. [...] receipt of any other known frame type
    /// MUST be treated as a connection error of type H3_FRAME_UNEXPECTED."
    pub(super) fn fields_in_tunnel(&mut self, id: Handle, client: bool, now: Instant) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let text = "HEADERS in a tunnel";
        let connection = if client {
            Some(ConnectionRef::Downstream(exchange.downstream))
        } else {
            exchange.state.connection().map(ConnectionRef::Backend)
        };
        let reason = if client {
            Reason::BadRequest
        } else {
            Reason::BadResponse
        };
        self.fail(id, reason, Some(text.into()), now);
        let Some(connection) = connection else {
            return;
        };
        if let Some(session) = self.session_mut(connection) {
            session.close(code::FRAME_UNEXPECTED, text.as_bytes());
        }
        self.want_drive(connection);
    }
}
