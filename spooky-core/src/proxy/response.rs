//! From the backend's head to the client's stream.

use std::time::Instant;

use super::Proxy;
use crate::exchange::{Head, State};
use crate::http::{Fields, HeadError, ResponseHead, parse_trailers};
use crate::io::Handle;
use crate::limits;
use crate::listener::ConnectionRef;
use crate::observe::Reason;
use crate::session::StreamError;

impl Proxy {
    /// A HEADERS frame of the backend: informational, final, or trailers.
    pub(super) fn response_headers(&mut self, id: Handle, list: Fields, now: Instant) {
        if self.is_tunnel(id) {
            self.fields_in_tunnel(id, false, now);
            return;
        }
        let bounds = self.head_bounds();
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let (error, detail) = match exchange.response_head {
            Head::Awaited => match ResponseHead::parse(list, bounds) {
                Ok(head) if head.is_informational() => return self.informational(id, head, now),
                Ok(head) => return self.final_head(id, head, now),
                Err(error) => (error, error.detail()),
            },
            Head::Held(_) | Head::Sent => match parse_trailers(list, bounds) {
                Ok(trailers) => {
                    exchange.response.trailers = self.forwarder.response_trailers(trailers);
                    return;
                }
                Err(error) => (error, error.of_trailers()),
            },
        };
        // RFC 9114 section 4.1.2: intermediaries "MUST NOT forward a malformed request or
        // response".
        let reason = match error {
            HeadError::TooLarge(_) | HeadError::TooMany(_) => Reason::ResponseHeadTooLarge,
            HeadError::Malformed(_) => Reason::BadResponse,
            HeadError::Connect => Reason::Internal,
        };
        self.fail(id, reason, detail, now);
    }

    /// Passes a 1xx response on at once, or drops it: it is a courtesy, and must
    /// not hold up the response.
    ///
    /// RFC 9110 section 15.2: "A proxy MUST forward 1xx responses unless the proxy itself
    /// requested the generation of the 1xx response." We do as far as there is room, and
    /// up to [`limits::INFORMATIONAL`], because nothing else bounds them.
    fn informational(&mut self, id: Handle, mut head: ResponseHead, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.informational += 1;
        if exchange.informational > limits::INFORMATIONAL {
            self.fail(
                id,
                Reason::BadResponse,
                Some("too many informational responses".into()),
                now,
            );
            return;
        }
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        // Whether it goes on or not: it may be the client's turn now.
        self.rearm(id);
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        if !conn.session.heads.is_empty() {
            return;
        }
        self.forwarder.informational(&mut head);
        match conn.session.send_response(stream, &head.fields, false) {
            Ok(()) => {
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    exchange.head_begun = true;
                    // What the client waited for before it sends its body, perhaps.
                    exchange.progress = now;
                }
                self.want_send(ConnectionRef::Downstream(downstream));
            }
            Err(StreamError::Stopped(code) | StreamError::Reset(code)) => {
                self.client_cancelled(id, code, now)
            }
            Err(
                StreamError::Blocked
                | StreamError::NoCredit
                | StreamError::GoingAway
                | StreamError::TooLarge
                | StreamError::Gone,
            ) => {}
        }
    }

    fn final_head(&mut self, id: Handle, head: ResponseHead, now: Instant) {
        let wall = self.wall(now);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let State::Open { connection, stream } = exchange.state else {
            return;
        };
        let mut head = if exchange.asks_tunnel() && (200..300).contains(&head.status) {
            exchange.tunnel = true;
            // What passes from here on is no body.
            exchange.request.most = None;
            head.of_tunnel()
        } else {
            exchange.response.expected = head.body_length(exchange.is_head_request());
            head
        };
        exchange.response.ended = self
            .backends
            .get(connection)
            .is_some_and(|c| c.session.is_read(stream));
        let short =
            exchange.response.ended && exchange.response.expected.is_some_and(|length| length > 0);
        self.forwarder.response(&mut head, wall);
        let downstream = exchange.downstream;
        self.backend_priority(id, &head.fields);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.response_head = Head::Held(head);
        self.set_deadline(id, None);
        if short {
            self.response_wrong_length(id, now);
            return;
        }
        self.send_or_hold(id, downstream, now);
    }

    /// Sends a head or a local reply, or lets it wait behind those that wait.
    pub(super) fn send_or_hold(&mut self, id: Handle, downstream: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        if conn.session.heads.is_empty() {
            self.try_send_response(id, now);
        } else {
            conn.session.heads.push_back(id);
            self.set_deadline(id, Some(now + limits::HEAD_BLOCKED));
        }
    }

    /// Sends heads and local replies that waited for room, as far as it goes.
    pub(super) fn send_held_heads(&mut self, downstream: Handle, now: Instant) {
        loop {
            let Some(conn) = self.downstreams.get_mut(downstream) else {
                return;
            };
            let Some(&id) = conn.session.heads.front() else {
                return;
            };
            let stream = self.exchanges.get(id).map(|e| e.stream);
            if stream.is_some_and(|stream| conn.session.is_still_blocked(id, stream)) {
                return;
            }
            conn.session.heads.pop_front();
            if !self.try_send_response(id, now) {
                return;
            }
        }
    }

    /// Tries once to send what the client waits for. False if it still waits, at
    /// the front of `heads`.
    pub(super) fn try_send_response(&mut self, id: Handle, now: Instant) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return true;
        };
        let downstream = exchange.downstream;
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return true;
        };
        let stream = exchange.stream;
        let sent = match (&exchange.reply, &exchange.response_head) {
            (Some(reply), _) => conn
                .session
                .send_reply(stream, reply)
                .map(|()| reply.status),
            (None, Head::Held(head)) => {
                let fin = exchange.response.ended && exchange.response.trailers.is_none();
                conn.session
                    .send_response(stream, &head.fields, fin)
                    .map(|()| {
                        exchange.response.finished = fin;
                        head.status
                    })
            }
            (None, Head::Awaited | Head::Sent) => return true,
        };
        match sent {
            Ok(status) => {
                self.response_sent(id, status, now);
                true
            }
            Err(StreamError::Blocked) => {
                if conn.session.is_response_hopeless(stream) {
                    self.response_stuck(id, now);
                    return true;
                }
                conn.session.heads.push_front(id);
                conn.session.note_blocked(id, stream);
                if exchange.deadline.is_none() {
                    self.set_deadline(id, Some(now + limits::HEAD_BLOCKED));
                }
                false
            }
            Err(StreamError::Stopped(code) | StreamError::Reset(code)) => {
                self.client_cancelled(id, code, now);
                true
            }
            Err(StreamError::TooLarge) => {
                self.response_not_taken(id, now);
                true
            }
            Err(StreamError::NoCredit | StreamError::GoingAway | StreamError::Gone) => {
                self.client_cancelled(id, 0, now);
                true
            }
        }
    }

    /// The client said that it takes no head of that size: a reply of our own may fit.
    fn response_not_taken(&mut self, id: Handle, now: Instant) {
        if self.exchanges.get(id).is_some_and(|e| e.reply.is_some()) {
            self.response_stuck(id, now);
        } else {
            let text = "larger than the client's SETTINGS_MAX_FIELD_SECTION_SIZE";
            self.fail(id, Reason::HeadUnsendable, Some(text.into()), now);
        }
    }

    fn response_sent(&mut self, id: Handle, status: u16, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.status = Some(status);
        exchange.headed = Some(now);
        exchange.progress = now;
        exchange.head_begun = true;
        exchange.response_head = Head::Sent;
        let downstream = exchange.downstream;
        self.leave_at(id, None);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let done = exchange.response.finished || exchange.reply.is_some();
        if let Some(reply) = &exchange.reply {
            exchange.response.moved = reply.body.len() as u64;
        }
        self.set_deadline(id, None);
        self.want_send(ConnectionRef::Downstream(downstream));
        if done {
            self.response_finished(id, now);
        } else {
            self.queue_response(id);
        }
    }

    pub(super) fn response_readable(&mut self, id: Handle, now: Instant) {
        if let Some(exchange) = self.exchanges.get_mut(id)
            && !std::mem::replace(&mut exchange.response.readable, true)
        {
            exchange.progress = now;
        }
        self.queue_response(id);
    }

    pub(super) fn response_ended(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if matches!(exchange.response_head, Head::Awaited) {
            self.fail(
                id,
                Reason::BadResponse,
                Some("the stream ended without a response".into()),
                now,
            );
            return;
        }
        exchange.response.ended = true;
        if exchange
            .response
            .expected
            .is_some_and(|e| exchange.response.moved < e)
            && !exchange.response.readable
        {
            self.response_wrong_length(id, now);
            return;
        }
        self.queue_response(id);
    }

    /// Lets the response's body have a turn into the client's connection.
    pub(super) fn queue_response(&mut self, id: Handle) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let waits = exchange.response.queued.is_some();
        if waits || !exchange.response.has_work() || exchange.status.is_none() {
            return;
        }
        let downstream = exchange.downstream;
        if let Some(conn) = self.downstreams.get_mut(downstream) {
            let ready = &mut conn.session.ready;
            let place = ready.push(id, exchange.stream, exchange.priority);
            exchange.response.queued = Some(place);
        }
        self.want_drive(ConnectionRef::Downstream(downstream));
    }

    pub(super) fn response_wrong_length(&mut self, id: Handle, now: Instant) {
        let text = "the body is not as long as its content-length";
        self.fail(id, Reason::ResponseIncomplete, Some(text.into()), now);
    }
}
