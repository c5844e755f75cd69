//! What connections have to say, bodies in turns, and datagrams out.
//!
//! A connection touched in a call is queued once. `work` empties the queue:
//! events first, then heads that wait for room, then bodies, one turn each in
//! rotation. Nothing here visits a connection or exchange that nothing happened to.

use std::time::Instant;

use super::Proxy;
use crate::downstream::Phase;
use crate::exchange::{State, Turn, take_turn};
use crate::http::Priority;
use crate::io::{Event, Handle, Transmit};
use crate::listener::ConnectionRef;
use crate::observe::Reason;
use crate::session::{Event as StreamEvent, StreamError};
use crate::{backend, io, limits};

impl Proxy {
    pub(super) fn next_transmit(
        &mut self,
        max_segments: usize,
        buf: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Transmit> {
        if let Some(transmit) = self.next_stateless(buf) {
            return Some(transmit);
        }
        loop {
            self.work(now);
            let Some(&connection) = self.to_send.front() else {
                self.tell_drained();
                return None;
            };
            let mut assembly = std::mem::take(&mut self.assembly);
            let transmit = self
                .session_mut(connection)
                .and_then(|s| s.transmit(&mut assembly, max_segments, buf, now));
            self.assembly = assembly;
            if let Some(transmit) = transmit {
                // There may be more; the others have their turn first, unless what
                // is carried over is this connection's.
                if !self.assembly.carries() {
                    self.to_send.rotate_left(1);
                }
                let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
                self.counters.datagrams_sent += transmit.size.div_ceil(segment) as u64;
                return Some(transmit);
            }
            self.to_send.pop_front();
            // Without a session there is nobody to carry for.
            self.assembly.drop_carried();
            self.flushed(connection, now);
        }
    }

    /// A connection has sent all it may: note its next deadline, or its end.
    fn flushed(&mut self, connection: ConnectionRef, now: Instant) {
        let Some(session) = self.session_mut(connection) else {
            return;
        };
        session.flushed();
        if session.tell_resets(now) {
            self.want_send(connection);
            return;
        }
        if session.is_over() && !session.over {
            // It ended while sending; its exchanges must hear of it.
            self.want_drive(connection);
            return;
        }
        if session.is_closed() {
            // Responses may still be read from it.
            if session.exchanges.is_empty() {
                self.free(connection);
            }
            return;
        }
        let quic = session.timeout(now);
        let ours = match connection {
            ConnectionRef::Downstream(handle) => {
                let ours = self.downstreams.get(handle).and_then(|c| c.deadline());
                io::earliest(ours, self.head_deadline(handle))
            }
            ConnectionRef::Backend(handle) => self.backend_deadline(handle),
        };
        if let Some(deadline) = io::earliest(quic, ours) {
            self.wake(connection, deadline, now);
        }
    }

    /// Wakes a connection at `deadline`. One that has passed is met at once, once:
    /// quiche sets some that are due when they are set, as for a loss on a path of a
    /// few microseconds, and the driver may have been away for longer than another
    /// lasted. Each would cost it a turn, and one that stays due all of its time.
    fn wake(&mut self, connection: ConnectionRef, deadline: Instant, now: Instant) {
        let Some(session) = self.session_mut(connection) else {
            return;
        };
        let timer = session.timer;
        if deadline > now {
            self.timers.arm(timer, deadline);
        } else if session.met == Some(now) {
            self.timers.arm(timer, now + limits::TIMER_GRANULARITY);
        } else {
            session.met = Some(now);
            self.connection_timeout(connection, now);
        }
    }

    fn work(&mut self, now: Instant) {
        while let Some(connection) = self.to_drive.pop_front() {
            match connection {
                ConnectionRef::Downstream(handle) => self.drive_downstream(handle, now),
                ConnectionRef::Backend(handle) => self.drive_backend(handle, now),
            }
            self.settle(connection, now);
        }
    }

    /// After its work a connection sends, or waits a little if it has nothing to
    /// say but that it heard.
    fn settle(&mut self, connection: ConnectionRef, now: Instant) {
        let Some(session) = self.session_mut(connection) else {
            return;
        };
        if session.wants_send {
            return;
        }
        match session.hold_send(now) {
            None => self.want_send(connection),
            Some(until) => {
                let deadline = io::earliest(Some(until), session.timeout(now)).unwrap_or(until);
                self.wake(connection, deadline, now);
            }
        }
    }

    fn drive_downstream(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        conn.session.wants_drive = false;
        let ready = conn.session.may_start_http();
        if ready {
            self.note_flight(handle, now);
        }
        let welcome = !ready || self.look_at_certificate(handle, now);
        let Some(conn) = self.downstreams.get(handle) else {
            return;
        };
        let established = welcome && conn.session.is_established();
        if matches!(conn.phase, Phase::Handshake { .. }) && established {
            self.downstream_established(handle, now);
        }
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        if welcome && conn.session.start_http(self.server.h3) {
            while let Some((stream, event)) = self
                .downstreams
                .get_mut(handle)
                // Who was sent away asks for nothing more.
                .filter(|c| !c.cancels.are_too_many())
                .and_then(|c| c.session.poll())
            {
                self.downstream_event(handle, stream, event, now);
            }
            self.downstream_writable(handle, now);
            self.send_held_heads(handle, now);
            self.turn_responses(handle, now);
        }
        let most = self.most_streams();
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        conn.session.sweep();
        let resets = conn.session.resets_told();
        let had_all = conn.next_stream >= most;
        if conn.session.is_over() {
            self.downstream_over(handle, now);
        } else if resets > 2 * limits::RESETS_TOLD {
            self.send_away(handle);
        } else if self.drain.is_some() || resets > limits::RESETS_TOLD || had_all {
            self.drain_downstream(handle, now);
        }
    }

    fn downstream_established(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        if let Phase::Handshake { .. } = std::mem::replace(&mut conn.phase, Phase::Open) {
            conn.permit.handshake_over();
            self.counters.handshakes_resumed += u64::from(conn.session.is_resumed());
        }
        self.issue_spare_ids(handle);
        self.release_held(handle, now);
    }

    fn downstream_event(&mut self, handle: Handle, stream: u64, event: StreamEvent, now: Instant) {
        let known = self
            .downstreams
            .get(handle)
            .and_then(|c| c.session.exchanges.get(&stream))
            .copied();
        match (event, known) {
            (StreamEvent::Head(list), None) => self.begin(handle, stream, list, now),
            (StreamEvent::Head(list), Some(exchange)) => self.request_trailers(exchange, list, now),
            (StreamEvent::Body, Some(exchange)) => self.request_readable(exchange, now),
            (StreamEvent::End, Some(exchange)) => self.request_ended(exchange, now),
            (StreamEvent::Reset(code), Some(exchange)) => {
                self.client_cancelled(exchange, code, now)
            }
            (StreamEvent::TooLarge(error, seen), None) => {
                self.begin_too_large(handle, stream, error, &seen, now);
            }
            (StreamEvent::TooLarge(error, _), Some(exchange)) => {
                self.refuse_trailers(exchange, error, now);
            }
            (StreamEvent::End, None) => self.headless_end(handle, stream, now),
            (StreamEvent::Reset(code), None) => self.headless_reset(handle, stream, code, now),
            (StreamEvent::PriorityUpdate(value), _) => {
                self.priority_update(handle, stream, &value);
            }
            // Nobody's business any more.
            (StreamEvent::Body, None) => {}
            (StreamEvent::Settings | StreamEvent::GoAway, _) => {}
        }
    }

    /// Streams that may write again, or whose reader stopped.
    fn downstream_writable(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        if conn.session.was_stopped() {
            // Looks at all of the connection's streams, which are bounded, and
            // only when the client gave one up.
            for (stream, exchange) in conn.session.open() {
                self.wake_response(exchange, stream, now);
            }
        }
        while let Some(conn) = self.downstreams.get_mut(handle) {
            let Some(stream) = conn.session.next_writable() else {
                return;
            };
            if let Some(&exchange) = conn.session.exchanges.get(&stream) {
                self.wake_response(exchange, stream, now);
            }
        }
    }

    /// A client's stream may write again, or is stopped.
    fn wake_response(&mut self, id: Handle, stream: u64, now: Instant) {
        let downstream = self.exchanges.get(id).map(|e| e.downstream);
        let Some(conn) = downstream.and_then(|d| self.downstreams.get_mut(d)) else {
            return;
        };
        match conn.session.capacity(stream) {
            Ok(_) => self.queue_response(id),
            Err(StreamError::Stopped(code)) => self.client_cancelled(id, code, now),
            Err(_) => self.client_cancelled(id, 0, now),
        }
    }

    /// Moves response bodies, a turn each, until none has bytes or none has room.
    fn turn_responses(&mut self, handle: Handle, now: Instant) {
        loop {
            let Some(conn) = self.downstreams.get_mut(handle) else {
                return;
            };
            let Some(turn) = conn.session.next_turn() else {
                return;
            };
            let id = turn.who;
            self.leave_at(id, Some(turn.level));
            let Some(conn) = self.downstreams.get_mut(handle) else {
                return;
            };
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            exchange.response.queued = None;
            let State::Open { connection, stream } = exchange.state else {
                continue;
            };
            if !exchange.response.has_work() || exchange.status.is_none() {
                continue;
            }
            let Some(source) = self.backends.get_mut(connection) else {
                continue;
            };
            let moved = exchange.response.moved;
            let came = take_turn(
                &mut exchange.response,
                turn.bytes,
                (&mut source.session, stream),
                (&mut conn.session, exchange.stream),
                &mut self.scratch,
            );
            if exchange.response.moved != moved {
                exchange.progress = now;
            }
            let written = (exchange.response.moved - moved) as usize;
            let again = came == Turn::Again;
            let again = again.then_some((exchange.stream, exchange.priority));
            exchange.response.queued = conn.session.end_turn(turn, written, again);
            self.after_response_turn(id, connection, came, now);
        }
    }

    fn after_response_turn(&mut self, id: Handle, source: Handle, turn: Turn, now: Instant) {
        match turn {
            Turn::Again => self.want_send(ConnectionRef::Backend(source)),
            // What follows the last byte read comes with another poll.
            Turn::SourceDry => self.want_drive(ConnectionRef::Backend(source)),
            Turn::Blocked => {}
            Turn::Finished => {
                self.want_drive(ConnectionRef::Backend(source));
                self.response_finished(id, now);
            }
            Turn::SourceReset(code) => self.backend_reset(id, code, now),
            Turn::Stopped(code) => self.client_cancelled(id, code, now),
            // Responses have no bound: only their own word.
            Turn::WrongLength | Turn::TooLong => self.response_wrong_length(id, now),
            Turn::Gone => self.client_cancelled(id, 0, now),
        }
    }

    fn drive_backend(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        conn.session.wants_drive = false;
        if conn.session.start_http(self.client.h3) {
            if matches!(conn.phase, backend::Phase::Handshake { .. }) {
                self.backend_established(handle, now);
            }
            while let Some((stream, event)) =
                self.backends.get_mut(handle).and_then(|c| c.session.poll())
            {
                self.backend_event(handle, stream, event, now);
            }
            self.settle_tunnels(handle, now);
            self.backend_writable(handle, now);
            self.send_waiting_heads(handle, now);
            self.turn_requests(handle, now);
        }
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        conn.session.sweep();
        let backend = conn.backend;
        if conn.session.over {
            self.end_dry(handle, now);
        } else if conn.session.is_over() {
            self.backend_over(handle, false, now);
        } else if self.upstream.backends[backend].queue.len() > 0 {
            self.serve_queue(backend, now);
        }
    }

    fn backend_event(&mut self, handle: Handle, stream: u64, event: StreamEvent, now: Instant) {
        if matches!(event, StreamEvent::GoAway) {
            // The GOAWAY's id stands where other events have their stream.
            self.backend_leaving(handle, stream, now);
            return;
        }
        let known = self
            .backends
            .get(handle)
            .and_then(|c| c.session.exchanges.get(&stream))
            .copied();
        let Some(exchange) = known else { return };
        match event {
            StreamEvent::Head(list) => self.response_headers(exchange, list, now),
            StreamEvent::Body => self.response_readable(exchange, now),
            StreamEvent::End => self.response_ended(exchange, now),
            StreamEvent::Reset(code) => self.backend_reset(exchange, code, now),
            StreamEvent::TooLarge(..) if self.is_tunnel(exchange) => {
                self.fields_in_tunnel(exchange, false, now);
            }
            StreamEvent::TooLarge(error, _) => {
                self.fail(exchange, Reason::ResponseHeadTooLarge, error.detail(), now);
            }
            StreamEvent::PriorityUpdate(_) | StreamEvent::Settings | StreamEvent::GoAway => {}
        }
    }

    fn backend_writable(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        if conn.session.was_stopped() {
            for (stream, exchange) in conn.session.open() {
                let conn = self.backends.get_mut(handle);
                if let Some(Err(why)) = conn.map(|c| c.session.capacity(stream)) {
                    self.request_unwanted(exchange, why, now);
                }
            }
        }
        while let Some(conn) = self.backends.get_mut(handle) {
            let Some(stream) = conn.session.next_writable() else {
                return;
            };
            if let Some(&exchange) = conn.session.exchanges.get(&stream) {
                match conn.session.capacity(stream) {
                    Ok(_) => self.queue_request(exchange),
                    Err(why) => self.request_unwanted(exchange, why, now),
                }
            }
        }
    }

    /// Moves request bodies, a turn each, until none has bytes or none has room.
    fn turn_requests(&mut self, handle: Handle, now: Instant) {
        loop {
            let Some(conn) = self.backends.get_mut(handle) else {
                return;
            };
            let Some(turn) = conn.session.next_turn() else {
                return;
            };
            let id = turn.who;
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            exchange.request.queued = None;
            let State::Open { connection, stream } = exchange.state else {
                continue;
            };
            if connection != handle || !exchange.request.has_work() {
                continue;
            }
            let downstream = exchange.downstream;
            let Some(source) = self.downstreams.get_mut(downstream) else {
                continue;
            };
            let moved = exchange.request.moved;
            let came = take_turn(
                &mut exchange.request,
                turn.bytes,
                (&mut source.session, exchange.stream),
                (&mut conn.session, stream),
                &mut self.scratch,
            );
            if exchange.request.moved != moved {
                exchange.progress = now;
            }
            let written = (exchange.request.moved - moved) as usize;
            let again = (came == Turn::Again).then_some((stream, Priority::default()));
            exchange.request.queued = conn.session.end_turn(turn, written, again);
            self.after_request_turn(id, downstream, came, now);
        }
    }

    fn after_request_turn(&mut self, id: Handle, source: Handle, turn: Turn, now: Instant) {
        match turn {
            Turn::Again => self.want_send(ConnectionRef::Downstream(source)),
            Turn::SourceDry => {
                self.rearm(id);
                self.want_drive(ConnectionRef::Downstream(source));
            }
            Turn::Blocked => {}
            Turn::Finished => {
                self.want_drive(ConnectionRef::Downstream(source));
                self.request_finished(id, now);
            }
            Turn::SourceReset(code) => self.client_cancelled(id, code, now),
            Turn::Stopped(code) => self.request_unwanted(id, StreamError::Stopped(code), now),
            Turn::WrongLength => self.request_wrong_length(id, now),
            Turn::TooLong => self.request_too_large(id, now),
            // The backend's connection is over, or its stream is. Should bytes have
            // gone out, they must not look like the whole.
            Turn::Gone => self.request_broken(id, now),
        }
    }

    /// Tells once, when draining is done.
    fn tell_drained(&mut self) {
        let Some(drain) = &self.drain else { return };
        if drain.told {
            return;
        }
        let over = |handle: &Handle| self.downstreams.get(*handle).is_none_or(|c| c.session.over);
        let gone = |handle: &Handle| self.backends.get(*handle).is_none_or(|c| c.session.over);
        // Not the data path: runs while draining alone.
        let done =
            self.downstreams.handles().iter().all(over) && self.backends.handles().iter().all(gone);
        if done {
            if let Some(drain) = self.drain.as_mut() {
                drain.told = true;
            }
            self.emit(Event::Drained);
        }
    }
}
