//! Requests whose head never came whole, or was too large to read.
//!
//! Each leaves its record all the same, with no head in it.

use std::time::Instant;

use super::Proxy;
use crate::h3;
use crate::http::{Fields, Glimpse, HeadError, Refused};
use crate::io::Handle;
use crate::listener::ConnectionRef;
use crate::observe::{Outcome, Reason};
use crate::session::code;

impl Proxy {
    /// The head of a request crossed a limit; so much of it was seen.
    ///
    /// RFC 9114 section 4.2.2: "A server that receives a larger header section than it is
    /// willing to handle can send an HTTP 431 (Request Header Fields Too Large) status
    /// code" (RFC 6585 section 5).
    pub(super) fn begin_too_large(
        &mut self,
        downstream: Handle,
        stream: u64,
        error: HeadError,
        seen: &Fields,
        now: Instant,
    ) {
        let Some((id, late)) = self.open_exchange(downstream, stream, now) else {
            return;
        };
        let glimpse = Glimpse::of(seen);
        if late {
            self.reject(id, Err(Refused { error, glimpse }), now);
            return;
        }
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.refused = Some(glimpse);
        }
        self.fail(id, Reason::RequestHeadTooLarge, error.detail(), now);
    }

    /// The client ended a stream before a head was there.
    ///
    /// RFC 9114 section 8.1: H3_REQUEST_INCOMPLETE is for a client's stream that
    /// "terminated without containing a fully formed request".
    pub(super) fn headless_end(&mut self, downstream: Handle, stream: u64, now: Instant) {
        let text = "the stream ended without a head";
        self.end_headless(downstream, stream, Reason::RequestIncomplete, text, now);
    }

    /// The client reset a stream before its head was whole: a request that was
    /// cancelled early.
    pub(super) fn headless_reset(
        &mut self,
        downstream: Handle,
        stream: u64,
        stream_code: u64,
        now: Instant,
    ) {
        let Some((id, _)) = self.open_exchange(downstream, stream, now) else {
            return;
        };
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.reason = Some(Reason::RequestIncomplete);
            let code = match stream_code {
                h3::UNTOLD => String::new(),
                code => format!(", code {code:#x}"),
            };
            let text = format!("reset before its head was whole{code}");
            exchange.detail = Some(text.into());
        }
        // Our half would stay open, and the client would miss the stream in its count.
        self.end_client(id, code::REQUEST_CANCELLED, Outcome::Cancelled, now);
        self.count_cancel(downstream, now);
    }

    /// When the head that began first, and is not whole, must be.
    pub(super) fn head_deadline(&self, downstream: Handle) -> Option<Instant> {
        let session = &self.downstreams.get(downstream)?.session;
        if session.is_over() {
            return None;
        }
        let (_, since) = session.oldest_partial_head()?;
        Some(since + self.setup.config().limits.request_header_timeout)
    }

    /// Ends the requests whose head is overdue at `now`.
    pub(super) fn end_overdue_heads(&mut self, downstream: Handle, now: Instant) {
        while self
            .head_deadline(downstream)
            .is_some_and(|deadline| deadline <= now)
        {
            let conn = self.downstreams.get(downstream);
            let oldest = conn.and_then(|c| c.session.oldest_partial_head());
            let Some((stream, _)) = oldest else { return };
            let text = "the head was not whole in time";
            self.end_headless(downstream, stream, Reason::RequestHeaderTimeout, text, now);
        }
    }

    fn end_headless(
        &mut self,
        downstream: Handle,
        stream: u64,
        reason: Reason,
        text: &str,
        now: Instant,
    ) {
        let Some((id, _)) = self.open_exchange(downstream, stream, now) else {
            return;
        };
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.reason = Some(reason);
            exchange.detail = Some(text.into());
        }
        self.end_client(id, code::REQUEST_INCOMPLETE, Outcome::Reset, now);
        self.want_send(ConnectionRef::Downstream(downstream));
    }
}
