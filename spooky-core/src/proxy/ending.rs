//! How exchanges and connections end.
//!
//! Whatever happens, an exchange passes through [`Proxy::finish`] exactly once,
//! which leaves its one record.

use std::time::Instant;

use super::Proxy;
use crate::backend::{self, connect_failure};
use crate::downstream::Phase;
use crate::exchange::{Exchange, Head, State};
use crate::h3;
use crate::io::{Event, Handle};
use crate::limits;
use crate::listener::ConnectionRef;
use crate::observe::{Outcome, Reason, Record};
use crate::planted::{self, Bug};
use crate::session::code;

/// What the peer did that ended its connection, for the records of those on it.
fn broken_rule(fault: h3::Fault) -> Box<str> {
    format!("closed with code {:#x}: {}", fault.code, fault.text).into()
}

impl Proxy {
    /// The response is with the client's connection, whole.
    pub(super) fn response_finished(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if exchange.tunnel && !exchange.request.finished && !exchange.request.stopped {
            // The other way goes on, and ends by itself.
            return;
        }
        let outcome = exchange.natural_outcome();
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        if !exchange.request.finished
            && !exchange.request.stopped
            && !exchange.request.ended
            && let Some(conn) = self.downstreams.get_mut(downstream)
        {
            // RFC 9114 section 4.1: a server that answered without the rest of the
            // request "MAY abort reading the request stream" with H3_NO_ERROR.
            conn.session.stop(stream, code::NO_ERROR);
        }
        self.finish(id, outcome, now);
    }

    /// The client reset its stream, stopped reading, or is gone.
    pub(super) fn client_cancelled(&mut self, id: Handle, stream_code: u64, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.reason = Some(Reason::ClientCancelled);
        if ![0, h3::UNTOLD, code::REQUEST_CANCELLED].contains(&stream_code) {
            exchange.detail = Some(format!("code {stream_code:#x}").into());
        }
        let early = exchange.status.is_none();
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        if let Some(conn) = self.downstreams.get_mut(downstream) {
            conn.session.abort(stream, code::REQUEST_CANCELLED);
        }
        self.finish(id, Outcome::Cancelled, now);
        if early {
            self.count_cancel(downstream, now);
        }
    }

    /// A request was cancelled before its response began. Of a client that does little
    /// else the connection is closed.
    pub(super) fn count_cancel(&mut self, downstream: Handle, now: Instant) {
        let most = self.setup.config().limits.resets_per_connection;
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        if !conn.session.is_over() && conn.cancels.add(most, now) {
            self.send_away(downstream);
        }
    }

    /// Closes a client's connection because of what it cancels.
    pub(super) fn send_away(&mut self, downstream: Handle) {
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        conn.cancels.flood();
        self.counters.connections_reset_floods += 1;
        // RFC 9114 section 10.5: "An endpoint MAY treat activity that is suspicious as
        // a connection error of type H3_EXCESSIVE_LOAD".
        conn.session
            .close(code::EXCESSIVE_LOAD, b"too many requests were cancelled");
        self.want_drive(ConnectionRef::Downstream(downstream));
    }

    /// The backend reset its stream.
    pub(super) fn backend_reset(&mut self, id: Handle, stream_code: u64, now: Instant) {
        // RFC 9114 section 4.1.1: H3_REQUEST_REJECTED says that nothing was done.
        let detail = match stream_code {
            h3::UNTOLD => Some("after its last byte".into()),
            _ => Some(format!("code {stream_code:#x}").into()),
        };
        if stream_code == code::REQUEST_REJECTED {
            // The same backend may take it on another connection: backends reject
            // what comes after their GOAWAY, which may arrive later than the rejection.
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.avoid = exchange.state.connection();
            }
            self.restart_or_fail(id, Reason::BackendReset, detail, now);
        } else {
            self.fail(id, Reason::BackendReset, detail, now);
        }
    }

    /// The backend is not to be had, and surely did not act on the request: it
    /// goes to another one, if there is one.
    pub(super) fn retry_or_fail(
        &mut self,
        id: Handle,
        reason: Reason,
        detail: Option<Box<str>>,
        now: Instant,
    ) {
        let here = self.exchanges.get(id).and_then(|e| e.charged);
        let other = here.and_then(|b| self.upstream.pick_other(b, &mut self.rng, now));
        if other.is_some() {
            self.restart_or_fail(id, reason, detail, now);
        } else {
            self.fail(id, reason, detail, now);
        }
    }

    /// The backend surely did not act on the request, which begins anew, once:
    /// at another backend if one is there, else at the same one, which is alive
    /// and only wanted no more on this connection.
    pub(super) fn restart_or_fail(
        &mut self,
        id: Handle,
        reason: Reason,
        detail: Option<Box<str>>,
        now: Instant,
    ) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if exchange.attempts >= limits::ATTEMPTS || !exchange.can_restart() {
            self.fail(id, reason, detail, now);
            return;
        }
        let here = exchange.charged;
        exchange.request.finished = false;
        self.counters.requests_retried += 1;
        self.detach(id, now);
        self.choose(id, here, now);
    }

    /// Something went wrong: a local reply says so, if it still can; otherwise
    /// the client's stream is reset, so that a short body never ends clean.
    pub(super) fn fail(
        &mut self,
        id: Handle,
        reason: Reason,
        detail: Option<Box<str>>,
        now: Instant,
    ) {
        self.detach(id, now);
        let wall = self.wall(now);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.reason = Some(reason);
        exchange.detail = detail;
        if matches!(exchange.response_head, Head::Sent) || exchange.reply.is_some() {
            // RFC 9114 section 4.1.2: malformed requests "MUST be treated as a stream
            // error of type H3_MESSAGE_ERROR". RFC 9220 section 3: what would be a TCP
            // connection's reset is "a stream error of type H3_REQUEST_CANCELLED".
            let malformed = matches!(reason, Reason::BadRequest | Reason::RequestIncomplete);
            let stream_code = if malformed {
                code::MESSAGE_ERROR
            } else if exchange.tunnel {
                code::REQUEST_CANCELLED
            } else {
                code::INTERNAL_ERROR
            };
            self.reset_client(id, stream_code, now);
            return;
        }
        exchange.tunnel = false;
        let to_head = exchange.is_head_request();
        let detail = exchange.detail.as_deref();
        exchange.reply = Some(self.forwarder.reply(reason, detail, to_head, wall));
        exchange.state = State::Replying;
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        // What is held of the backend's response gives way to the reply.
        let waits = matches!(exchange.response_head, Head::Held(_));
        exchange.response_head = Head::Awaited;
        let stop =
            !std::mem::replace(&mut exchange.request.stopped, true) && !exchange.request.ended;
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        if stop {
            conn.session.stop(stream, code::NO_ERROR);
        }
        if waits && conn.session.heads.contains(&id) {
            conn.session.heads.forget_blocked();
            self.set_deadline(id, Some(now + limits::HEAD_BLOCKED));
            self.want_drive(ConnectionRef::Downstream(downstream));
            return;
        }
        self.send_or_hold(id, downstream, now);
    }

    /// The exchange has failed for what is not the backend's fault: a local reply says
    /// so, if it still can.
    ///
    /// RFC 9114 section 4.1.1: "When a server abandons a response after partial
    /// processing, it SHOULD abort its response stream with the error code
    /// H3_REQUEST_CANCELLED." What a backend breaks is H3_INTERNAL_ERROR; see `fail`.
    pub(super) fn give_up(
        &mut self,
        id: Handle,
        reason: Reason,
        detail: Option<Box<str>>,
        now: Instant,
    ) {
        let begun = |e: &Exchange| matches!(e.response_head, Head::Sent) || e.reply.is_some();
        if !self.exchanges.get(id).is_some_and(begun) {
            self.fail(id, reason, detail, now);
            return;
        }
        self.detach(id, now);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.reason = Some(reason);
            exchange.detail = detail;
        }
        self.reset_client(id, code::REQUEST_CANCELLED, now);
    }

    /// The response's head does not fit the client's congestion window, and
    /// nothing in flight will widen it.
    pub(super) fn response_stuck(&mut self, id: Handle, now: Instant) {
        self.detach(id, now);
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.reason.get_or_insert(Reason::HeadUnsendable);
        }
        self.reset_client(id, code::INTERNAL_ERROR, now);
    }

    pub(super) fn reset_client(&mut self, id: Handle, stream_code: u64, now: Instant) {
        self.end_client(id, stream_code, Outcome::Reset, now);
    }

    /// Ends the client's stream with a code, and the exchange with it.
    pub(super) fn end_client(
        &mut self,
        id: Handle,
        stream_code: u64,
        outcome: Outcome,
        now: Instant,
    ) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let (downstream, stream) = (exchange.downstream, exchange.stream);
        // What a tunnel's backend has sent is whole: it is not taken back because the
        // client's half goes nowhere.
        let whole = exchange.response.finished;
        if let Some(conn) = self.downstreams.get_mut(downstream) {
            if whole {
                conn.session.stop(stream, stream_code);
            } else if planted::is(Bug::EndsClean) && stream_code == code::INTERNAL_ERROR {
                // An error is a stream that is over.
                let _ = conn.session.send_end(stream);
            } else {
                conn.session.abort(stream, stream_code);
            }
        }
        self.finish(id, outcome, now);
    }

    /// Takes the exchange away from its backend, wherever it is with it.
    pub(super) fn detach(&mut self, id: Handle, now: Instant) {
        self.set_deadline(id, None);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let state = std::mem::replace(&mut exchange.state, State::New);
        let charged = exchange.charged.take();
        // It may wait for a turn on the connection that it leaves.
        let place = exchange.request.queued.take();
        let complete = exchange.request.finished && exchange.response.ended;
        match state {
            State::New | State::Held | State::Replying => {}
            State::Queued { backend } => {
                if !planted::is(Bug::KeepsPlace) {
                    self.shared.backends[backend].pending.sub();
                }
                let exchanges = &self.exchanges;
                let waits = |h| {
                    exchanges
                        .get(h)
                        .is_some_and(|e| e.state == State::Queued { backend })
                };
                self.upstream.backends[backend].queue.left(waits);
            }
            State::Connecting { connection } => {
                let exchanges = &self.exchanges;
                let waits = |h| {
                    exchanges
                        .get(h)
                        .is_some_and(|e| e.state == State::Connecting { connection })
                };
                if let Some(conn) = self.backends.get_mut(connection) {
                    match &mut conn.phase {
                        backend::Phase::Handshake { waiting, .. } => waiting.left(waits),
                        backend::Phase::Open | backend::Phase::Leaving => {
                            conn.settling.left(waits);
                        }
                    }
                }
            }
            State::Sending { connection } => {
                if let Some(conn) = self.backends.get_mut(connection) {
                    conn.session.heads.retain(|&h| h != id);
                }
                self.want_drive(ConnectionRef::Backend(connection));
            }
            State::Open { connection, stream } => {
                if let Some(conn) = self.backends.get_mut(connection) {
                    if let Some(place) = place {
                        conn.session.ready.remove(place);
                    }
                    if !complete {
                        conn.session.abort(stream, code::REQUEST_CANCELLED);
                    }
                    conn.session.bury(stream);
                }
                self.want_drive(ConnectionRef::Backend(connection));
            }
        }
        if let Some(backend) = charged {
            self.shared.backends[backend].requests.sub();
        }
        if let Some(connection) = state.connection() {
            self.left_connection(connection, now);
        }
    }

    pub(super) fn left_connection(&mut self, connection: Handle, now: Instant) {
        let Some(conn) = self.backends.get_mut(connection) else {
            return;
        };
        let open = matches!(conn.phase, backend::Phase::Open);
        if open && conn.session.resets_told() > limits::RESETS_TOLD {
            conn.phase = backend::Phase::Leaving;
        }
        if conn.is_idle() {
            conn.idle_since = now;
            self.want_send(ConnectionRef::Backend(connection));
            self.close_if_done(connection);
        }
    }

    /// The one end of every exchange.
    fn finish(&mut self, id: Handle, outcome: Outcome, now: Instant) {
        let unrecorded = planted::is(Bug::LosesRecord) && self.is_waiting(id);
        self.detach(id, now);
        let Some(exchange) = self.exchanges.remove(id) else {
            return;
        };
        self.timers.remove(exchange.timer);
        let (mut client, mut resumed) = (exchange.client, false);
        if let Some(conn) = self.downstreams.get_mut(exchange.downstream) {
            client = conn.client;
            resumed = conn.session.is_resumed();
            conn.session.heads.retain(|&h| h != id);
            if let Some(place) = exchange.response.queued {
                conn.session.ready.remove(place);
            }
            conn.session.bury(exchange.stream);
        }
        self.want_drive(ConnectionRef::Downstream(exchange.downstream));
        let counter = match outcome {
            Outcome::Complete => &mut self.counters.requests_complete,
            Outcome::LocalReply => &mut self.counters.requests_local_reply,
            Outcome::Reset => &mut self.counters.requests_reset,
            Outcome::Cancelled => &mut self.counters.requests_cancelled,
        };
        *counter += 1;
        let record = Record {
            id: exchange.id,
            started: self.wall(exchange.started),
            client,
            request: exchange.head,
            refused: exchange.refused,
            backend: exchange.backend,
            attempts: exchange.attempts,
            status: exchange.status,
            resumed,
            early: exchange.early,
            request_bytes: exchange.request.moved,
            response_bytes: exchange.response.moved,
            time_to_head: exchange
                .headed
                .map(|at| at.saturating_duration_since(exchange.started)),
            duration: now.saturating_duration_since(exchange.started),
            outcome,
            reason: exchange.reason,
            detail: exchange.detail,
        };
        if !unrecorded {
            self.emit(Event::Exchange(Box::new(record)));
        }
    }

    /// For [`Bug::LosesRecord`]: no backend has seen it yet.
    fn is_waiting(&self, id: Handle) -> bool {
        let state = self.exchanges.get(id).map(|exchange| exchange.state);
        matches!(state, Some(State::Queued { .. } | State::Connecting { .. }))
    }

    /// A client's connection has ended: so have its exchanges.
    pub(super) fn downstream_over(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        if std::mem::replace(&mut conn.session.over, true) {
            return;
        }
        self.counters.connections_broken_rules += u64::from(conn.session.breach().is_some());
        self.routes.remove_chosen(&conn.chosen);
        let mut proven = true;
        if let Phase::Handshake { .. } = std::mem::replace(&mut conn.phase, Phase::Open) {
            conn.permit.handshake_over();
            self.counters.handshakes_failed += 1;
            proven = conn.session.is_established();
        }
        let (reason, outcome) = if conn.cancels.are_too_many() {
            (Reason::TooManyResets, Outcome::Reset)
        } else if !proven {
            (Reason::HandshakeIncomplete, Outcome::Cancelled)
        } else {
            (Reason::ClientGone, Outcome::Cancelled)
        };
        let fault = conn.session.fault().map(broken_rule);
        let open = conn.session.open();
        for (_, id) in open {
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.reason = Some(reason);
                exchange.detail.clone_from(&fault);
                self.finish(id, outcome, now);
            }
        }
        self.want_send(ConnectionRef::Downstream(handle));
    }

    /// A connection to a backend has ended, or was never made.
    pub(super) fn backend_over(&mut self, handle: Handle, refused: bool, now: Instant) {
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        if std::mem::replace(&mut conn.session.over, true) {
            return;
        }
        self.counters.connections_broken_rules += u64::from(conn.session.breach().is_some());
        let backend = conn.backend;
        let timed_out = conn.session.is_timed_out();
        let fault = conn.session.fault().map(broken_rule);
        let failure = connect_failure(&mut conn.session, refused);
        let phase = std::mem::replace(&mut conn.phase, backend::Phase::Leaving);
        let open = conn.session.open();
        let heads: Vec<Handle> = conn.session.heads.drain(..).collect();
        let settling = std::mem::take(&mut conn.settling);
        self.shared.backends[backend].connections.sub();
        self.upstream.backends[backend].remove_connection(handle);
        if let backend::Phase::Handshake { waiting, .. } = phase {
            self.counters.backend_connections_failed += 1;
            self.upstream.backends[backend].backoff.fail(now);
            let (reason, detail) = if timed_out {
                (Reason::ConnectTimeout, None)
            } else {
                failure
            };
            self.connect_failed(handle, waiting, reason, detail, now);
        }
        for (_, id) in open {
            if self.has_more(id, handle) {
                continue;
            }
            let detail = if timed_out {
                Some("the backend fell silent".into())
            } else {
                fault.clone()
            };
            if planted::is(Bug::AsksTwice) {
                self.restart_or_fail(id, Reason::BackendGone, detail, now);
                continue;
            }
            self.fail(id, Reason::BackendGone, detail, now);
        }
        for id in heads {
            // Nothing of these was sent.
            self.restart_or_fail(id, Reason::BackendGone, None, now);
        }
        self.settling_over(handle, settling, now);
        self.serve_queue(backend, now);
        self.want_send(ConnectionRef::Backend(handle));
    }

    /// The backend's connection has ended, and there may be more of the response:
    /// bytes that came before, or an end that was not passed on.
    ///
    /// A backend that leaves in good order closes when all that it sent was
    /// acknowledged, which says nothing of a client that reads slowly.
    fn has_more(&self, id: Handle, connection: Handle) -> bool {
        let readable = self
            .backends
            .get(connection)
            .is_some_and(|c| c.session.quic().local_error().is_none());
        // (A tunnel's other way may still be open when this one is finished.)
        let more = |e: &Exchange| !e.response.finished && (e.response.readable || e.response.ended);
        readable && self.exchanges.get(id).is_some_and(more)
    }

    /// Ends what waits for more from a connection that has ended.
    pub(super) fn end_dry(&mut self, connection: Handle, now: Instant) {
        let Some(conn) = self.backends.get(connection) else {
            return;
        };
        for (_, id) in conn.session.open() {
            if !self.has_more(id, connection) {
                self.fail(id, Reason::BackendGone, None, now);
            }
        }
    }

    fn connect_failed(
        &mut self,
        connection: Handle,
        mut waiting: crate::upstream::Queue,
        reason: Reason,
        detail: Option<Box<str>>,
        now: Instant,
    ) {
        let state = State::Connecting { connection };
        loop {
            let exchanges = &self.exchanges;
            let Some(id) = waiting.pop(|h| exchanges.get(h).is_some_and(|e| e.state == state))
            else {
                return;
            };
            self.leave_line(id);
            self.retry_or_fail(id, reason, detail.clone(), now);
        }
    }

    /// quiche is done with a connection: its ids, timer and slot are free again.
    pub(super) fn free(&mut self, connection: ConnectionRef) {
        let session = match connection {
            ConnectionRef::Downstream(handle) => self.downstreams.remove(handle).map(|c| c.session),
            ConnectionRef::Backend(handle) => self.backends.remove(handle).map(|c| c.session),
        };
        let Some(mut session) = session else { return };
        self.timers.remove(session.timer);
        while let Some(id) = session.next_retired_id() {
            self.routes.remove(&id);
        }
        for id in session.quic().source_ids() {
            self.routes.remove(id);
        }
    }
}
