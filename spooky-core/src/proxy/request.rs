//! From the client's head to the backend's stream.

use std::time::Instant;

use super::tunnels::tunnel_refusal;
use super::{Owner, Proxy};
use crate::exchange::{Exchange, State};
use crate::http::{
    Bounds, Client, Fields, HeadError, Priority, Refused, RequestHead, parse_trailers,
};
use crate::io::Handle;
use crate::limits;
use crate::listener::ConnectionRef;
use crate::observe::{Early, Reason};
use crate::session::{StreamError, code};

impl Proxy {
    /// A request's head has come.
    pub(super) fn begin(&mut self, downstream: Handle, stream: u64, list: Fields, now: Instant) {
        let Some((id, refused)) = self.open_exchange(downstream, stream, now) else {
            return;
        };
        self.first_priority(id, &list);
        let parsed = RequestHead::parse(list, self.head_bounds());
        if refused {
            self.reject(id, parsed, now);
            return;
        }
        match parsed {
            Ok(head) => self.accept_request(id, head, now),
            Err(Refused { error, glimpse }) => {
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    exchange.refused = Some(glimpse);
                }
                self.fail(id, request_refusal(error), error.detail(), now);
            }
        }
    }

    /// Makes the exchange of a request's stream. True with it if it comes after our
    /// GOAWAY.
    pub(super) fn open_exchange(
        &mut self,
        downstream: Handle,
        stream: u64,
        now: Instant,
    ) -> Option<(Handle, bool)> {
        let most = self.most_streams();
        let conn = self.downstreams.get_mut(downstream)?;
        let refused = stream >= conn.goaway.unwrap_or(most).min(most);
        conn.next_stream = conn.next_stream.max(stream + 4);
        let ended = conn.session.is_read(stream);
        let client = conn.client;
        let timer = self.timers.create(Owner::Tend, now);
        self.next_exchange += 1;
        let mut exchange =
            Exchange::new(self.next_exchange, downstream, stream, client, timer, now);
        exchange.request.ended = ended;
        let whole = self.setup.config().upstream.timeouts.request;
        exchange.ends_by = (!whole.is_zero()).then(|| now + whole);
        let id = self.exchanges.insert(exchange);
        self.timers.set_owner(timer, Owner::Exchange(id));
        conn.session.exchanges.insert(stream, id);
        self.counters.requests += 1;
        Some((id, refused))
    }

    /// The first stream that is beyond `limits.requests_per_connection`.
    ///
    /// By its number, and not by a count: which requests are refused must not depend on
    /// the order in which they come, as a GOAWAY says from which on they are.
    pub(super) fn most_streams(&self) -> u64 {
        match self.setup.config().limits.requests_per_connection {
            0 => u64::MAX,
            // RFC 9000 section 2.1: a client's bidirectional streams are 0, 4, 8 …
            most => 4 * u64::from(most),
        }
    }

    pub(super) fn head_bounds(&self) -> Bounds {
        Bounds::from(&self.setup.config().limits)
    }

    /// RFC 9114 section 5.2: a request from the GOAWAY's id on is refused in a way
    /// that says that nothing was done, so the client may try elsewhere.
    pub(super) fn reject(
        &mut self,
        id: Handle,
        parsed: Result<RequestHead, Refused>,
        now: Instant,
    ) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        match parsed {
            Ok(head) => exchange.head = Some(head),
            Err(Refused { glimpse, .. }) => exchange.refused = Some(glimpse),
        }
        exchange.reason = Some(Reason::Draining);
        if self.drain.is_none() {
            exchange.detail = Some("after the connection's last request".into());
        }
        self.reset_client(id, code::REQUEST_REJECTED, now);
    }

    fn accept_request(&mut self, id: Handle, head: RequestHead, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let refusal = tunnel_refusal(&head, self.setup.config().websocket);
        let most = self.setup.config().limits.body_bytes;
        // Also for what comes before a tunnel is there, which it may never be.
        exchange.request.most = (most > 0).then_some(most);
        if head.protocol().is_none() {
            // What passes through a tunnel has no length.
            exchange.request.expected = head.content_length();
        }
        let expected = exchange.request.expected;
        let short = exchange.request.ended && expected.is_some_and(|length| length > 0);
        let large = most > 0 && expected.is_some_and(|length| length > most);
        let last = head.max_forwards() == Some(0);
        let is_trace = head.method() == b"TRACE";
        exchange.head = Some(head);
        if let Some(detail) = refusal {
            self.fail(id, Reason::ConnectRefused, Some(detail), now);
            return;
        }
        if short {
            self.request_wrong_length(id, now);
            return;
        }
        if large {
            self.request_too_large(id, now);
            return;
        }
        if last {
            // RFC 9110 section 7.6.2: with a Max-Forwards of zero "the recipient MUST NOT
            // forward the request; instead, [it] MUST respond as the final recipient".
            // We have no options to tell of. Section 9.3.8 would have TRACE reflected,
            // and with it credentials of the client to scripts that must not see them.
            let reason = if is_trace {
                Reason::TraceRefused
            } else {
                Reason::MaxForwards
            };
            self.fail(id, reason, None, now);
            return;
        }
        self.dispatch(id, now);
    }

    /// Chooses a backend, other than `except` if there is one, and goes there.
    pub(super) fn choose(&mut self, id: Handle, except: Option<usize>, now: Instant) {
        let Some(backend) = self.upstream.pick(except, &mut self.rng, now) else {
            self.fail(id, Reason::NoBackend, None, now);
            return;
        };
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.attempts += 1;
        exchange.backend = Some(self.upstream.backends[backend].id.clone());
        self.find_place(id, backend, now);
    }

    /// Sends the request's head on `connection`, or lets it wait for room there.
    pub(super) fn send_head(&mut self, id: Handle, connection: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if exchange.asks_tunnel() && !self.may_tunnel(id, connection, now) {
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.state = State::Sending { connection };
        let Some(conn) = self.backends.get_mut(connection) else {
            return;
        };
        if conn.session.heads.is_empty() {
            self.try_send_head(id, connection, now);
        } else {
            conn.session.heads.push_back(id);
            self.set_deadline(id, Some(now + limits::HEAD_BLOCKED));
        }
        self.want_drive(ConnectionRef::Backend(connection));
    }

    /// Sends heads that waited for room, in order, as far as it goes.
    pub(super) fn send_waiting_heads(&mut self, connection: Handle, now: Instant) {
        loop {
            let Some(conn) = self.backends.get_mut(connection) else {
                return;
            };
            let Some(&id) = conn.session.heads.front() else {
                return;
            };
            if conn.session.is_request_still_blocked(id) {
                return;
            }
            conn.session.heads.pop_front();
            if !self.try_send_head(id, connection, now) {
                return;
            }
        }
    }

    /// Tries once. False if the head waits, at the front of `heads`.
    fn try_send_head(&mut self, id: Handle, connection: Handle, now: Instant) -> bool {
        let (Some(exchange), Some(conn)) = (
            self.exchanges.get_mut(id),
            self.backends.get_mut(connection),
        ) else {
            return true;
        };
        let Some(head) = exchange
            .head
            .as_ref()
            .filter(|_| exchange.state == State::Sending { connection })
        else {
            return true;
        };
        let fin = exchange.request.ended && exchange.request.trailers.is_none();
        let asker = self.downstreams.get(exchange.downstream);
        let client = Client {
            ip: exchange.client.ip(),
            early: exchange.early == Some(Early::Forwarded),
            certificate: asker.and_then(|asker| asker.certificate.as_deref()),
        };
        let fields = self.forwarder.request(head, client);
        match conn.session.send_request(fields, fin) {
            Ok(stream) => {
                exchange.state = State::Open { connection, stream };
                exchange.request.finished = fin;
                exchange.progress = now;
                conn.session.exchanges.insert(stream, id);
                self.set_deadline(id, None);
                self.queue_request(id);
                true
            }
            Err(StreamError::Blocked) => {
                let stuck = conn.session.is_request_hopeless();
                if stuck {
                    self.head_stuck(id, connection, now);
                    return true;
                }
                conn.session.heads.push_front(id);
                conn.session.note_blocked_request(id);
                if exchange.deadline.is_none() {
                    self.set_deadline(id, Some(now + limits::HEAD_BLOCKED));
                }
                false
            }
            Err(StreamError::NoCredit) => {
                self.requeue(id, now);
                true
            }
            Err(StreamError::GoingAway) => {
                self.backend_leaving(connection, u64::MAX, now);
                self.requeue(id, now);
                true
            }
            Err(StreamError::TooLarge) => {
                let text = "larger than the backend's SETTINGS_MAX_FIELD_SECTION_SIZE";
                self.fail(id, Reason::HeadUnsendable, Some(text.into()), now);
                true
            }
            Err(StreamError::Stopped(_) | StreamError::Reset(_) | StreamError::Gone) => {
                self.fail(id, Reason::BackendGone, None, now);
                true
            }
        }
    }

    /// The head does not fit this connection's congestion window, and nothing in
    /// flight will widen it: one fresh connection is tried, with its full
    /// initial window.
    pub(super) fn head_stuck(&mut self, id: Handle, connection: Handle, now: Instant) {
        let Some(backend) = self.backends.get(connection).map(|c| c.backend) else {
            return;
        };
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut exchange.refreshed, true) {
            self.fail(id, Reason::HeadUnsendable, None, now);
            return;
        }
        exchange.state = State::New;
        self.set_deadline(id, None);
        // It must not be found there when that connection ends: it would be sent
        // again. And those behind it have their turn.
        if let Some(conn) = self.backends.get_mut(connection) {
            conn.session.heads.retain(|&h| h != id);
        }
        self.want_drive(ConnectionRef::Backend(connection));
        let fresh = self
            .handshake_with_room(backend)
            .or_else(|| self.open_connection(backend, now));
        match fresh {
            Some(fresh) => self.wait_for_handshake(id, fresh),
            None => self.fail(id, Reason::HeadUnsendable, None, now),
        }
        self.left_connection(connection, now);
    }

    pub(super) fn request_readable(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if !std::mem::replace(&mut exchange.request.readable, true) {
            exchange.progress = now;
            self.rearm(id);
        }
        self.queue_request(id);
    }

    pub(super) fn request_ended(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if !std::mem::replace(&mut exchange.request.ended, true) {
            exchange.progress = now;
        }
        let request = &exchange.request;
        if request.expected.is_some_and(|e| request.moved < e)
            && !request.finished
            && !request.stopped
        {
            self.request_wrong_length(id, now);
            return;
        }
        self.rearm(id);
        self.queue_request(id);
    }

    pub(super) fn request_trailers(&mut self, id: Handle, list: Fields, now: Instant) {
        if self.is_tunnel(id) {
            self.fields_in_tunnel(id, true, now);
            return;
        }
        match parse_trailers(list, self.head_bounds()) {
            Err(error) => self.refuse_trailers(id, error, now),
            Ok(trailers) => {
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    let some = Some(trailers.fields).filter(|fields| !fields.is_empty());
                    exchange.request.trailers = some;
                }
            }
        }
    }

    /// The request's trailers are not taken.
    pub(super) fn refuse_trailers(&mut self, id: Handle, error: HeadError, now: Instant) {
        if self.is_tunnel(id) {
            self.fields_in_tunnel(id, true, now);
            return;
        }
        let (reason, detail) = (request_refusal(error), error.of_trailers());
        match error {
            // They break a limit of ours and no rule.
            HeadError::TooLarge(_) | HeadError::TooMany(_) => {
                self.give_up(id, reason, detail, now);
            }
            HeadError::Malformed(_) | HeadError::Connect => self.fail(id, reason, detail, now),
        }
    }

    /// Lets the request's body have a turn into its backend's connection.
    pub(super) fn queue_request(&mut self, id: Handle) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let State::Open { connection, stream } = exchange.state else {
            return;
        };
        if exchange.request.queued.is_some() || !exchange.request.has_work() {
            return;
        }
        if let Some(conn) = self.backends.get_mut(connection) {
            // Whose request it is, is none of the backend's business: plain rotation.
            let place = conn.session.ready.push(id, stream, Priority::default());
            exchange.request.queued = Some(place);
        }
        self.want_drive(ConnectionRef::Backend(connection));
    }

    /// The whole request is with the backend's connection.
    pub(super) fn request_finished(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.progress = now;
        self.rearm(id);
        self.tunnel_way_ended(id, now);
    }

    /// The request's stream at the backend takes no more, for this reason.
    ///
    /// RFC 9114 section 8.1: H3_REQUEST_REJECTED: "A server rejected a request without
    /// performing any application processing." That this is so may be told here first,
    /// and only then, by a reset, where there would be a response.
    pub(super) fn request_unwanted(&mut self, id: Handle, why: StreamError, now: Instant) {
        let rejected = why == StreamError::Stopped(code::REQUEST_REJECTED);
        let exchange = self.exchanges.get(id);
        if rejected && exchange.is_some_and(Exchange::can_restart) {
            self.backend_reset(id, code::REQUEST_REJECTED, now);
        } else {
            self.request_stopped(id, now);
        }
    }

    /// The backend wants no more of the request (RFC 9114 section 4.1): the
    /// client need not send it, and the response is still to come.
    pub(super) fn request_stopped(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if exchange.request.finished || std::mem::replace(&mut exchange.request.stopped, true) {
            return;
        }
        exchange.progress = now;
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        let code = if exchange.tunnel {
            code::REQUEST_CANCELLED
        } else {
            code::NO_ERROR
        };
        if let Some(conn) = self.downstreams.get_mut(downstream) {
            conn.session.stop(stream, code);
        }
        self.rearm(id);
        self.want_send(ConnectionRef::Downstream(downstream));
        self.tunnel_way_ended(id, now);
    }

    /// The request's stream at the backend is of no more use; the response's end
    /// of it may still be.
    pub(super) fn request_broken(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        if let State::Open { connection, stream } = exchange.state
            && let Some(conn) = self.backends.get_mut(connection)
        {
            conn.session.reset(stream, code::REQUEST_CANCELLED);
        }
        self.request_stopped(id, now);
    }

    /// RFC 9114 section 4.1.2: a message is malformed "if the value of the Content-Length
    /// header field does not equal the sum of the DATA frame lengths received".
    pub(super) fn request_wrong_length(&mut self, id: Handle, now: Instant) {
        let text = "the body is not as long as its content-length";
        self.fail(id, Reason::RequestIncomplete, Some(text.into()), now);
    }

    /// The request's body is, or is announced to be, longer than the configuration allows:
    /// 413 (RFC 9110 section 15.5.14), "larger than the server is willing or able to process".
    pub(super) fn request_too_large(&mut self, id: Handle, now: Instant) {
        let most = self.setup.config().limits.body_bytes;
        let text = format!("more than {most} bytes (limits.body_bytes)");
        self.give_up(id, Reason::BodyTooLarge, Some(text.into()), now);
    }
}

/// Why a request with such a head or such trailers is not taken.
fn request_refusal(error: HeadError) -> Reason {
    match error {
        HeadError::TooLarge(_) | HeadError::TooMany(_) => Reason::RequestHeadTooLarge,
        HeadError::Malformed(_) => Reason::BadRequest,
        HeadError::Connect => Reason::ConnectRefused,
    }
}
