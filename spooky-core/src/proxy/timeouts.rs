//! Deadlines, and draining.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Drain, Owner, Proxy};
use crate::backend;
use crate::downstream::Phase;
use crate::exchange::{Awaits, State};
use crate::io::{Handle, SocketId};
use crate::limits;
use crate::listener::ConnectionRef;
use crate::observe::Reason;
use crate::session::code;

impl Proxy {
    pub(super) fn fire_timers(&mut self, now: Instant) {
        while let Some(owner) = self.timers.pop_due(now) {
            match owner {
                Owner::Connection(connection) => self.connection_timeout(connection, now),
                Owner::Exchange(id) => self.exchange_timeout(id, now),
                Owner::Tend => self.handle_tend(now),
                Owner::Drain => self.end_drain(now),
            }
        }
    }

    pub(super) fn connection_timeout(&mut self, connection: ConnectionRef, now: Instant) {
        if let Some(session) = self.session_mut(connection) {
            session.handle_timeout(now);
            let told = session.paths_told();
            self.counters.client_moves += told.moves;
            self.counters.black_holes += told.black_holes;
        }
        match connection {
            ConnectionRef::Downstream(handle) => {
                if let Some(conn) = self.downstreams.get_mut(handle)
                    && matches!(conn.phase, Phase::Handshake { deadline } if deadline <= now)
                {
                    conn.session.close(code::NO_ERROR, b"handshake timeout");
                }
                self.end_overdue_heads(handle, now);
            }
            ConnectionRef::Backend(handle) => self.backend_timeout(handle, now),
        }
        self.want_drive(connection);
        self.want_send(connection);
    }

    fn backend_timeout(&mut self, handle: Handle, now: Instant) {
        if self
            .backend_deadline(handle)
            .is_none_or(|deadline| deadline > now)
        {
            return;
        }
        let kept = self.kept();
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        let backend = conn.backend;
        match conn.phase {
            backend::Phase::Handshake { .. } => {
                conn.session.close(code::NO_ERROR, b"");
                conn.session.timed_out = true;
                self.backend_over(handle, false, now);
            }
            backend::Phase::Open | backend::Phase::Leaving => {
                // Idle for long enough, unless it is one of those kept anyway.
                if self.upstream.backends[backend].connections.len() > kept || self.drain.is_some()
                {
                    conn.session.close(code::NO_ERROR, b"");
                    // At once: others that went idle with it must not count it.
                    self.backend_over(handle, false, now);
                } else {
                    conn.idle_since = now;
                }
            }
        }
    }

    /// Sets what the exchange waits for, and until when.
    pub(super) fn set_deadline(&mut self, id: Handle, deadline: Option<Instant>) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.deadline = deadline;
        self.rearm(id);
    }

    /// Sees to it that the exchange's timer fires when something is due, or before.
    /// To be called where that may have come closer; most often it is a comparison.
    pub(super) fn rearm(&mut self, id: Handle) {
        let timeouts = &self.setup.config().upstream.timeouts;
        if let Some(exchange) = self.exchanges.get(id)
            && let Some(due) = exchange.due(timeouts)
        {
            self.timers.arm(exchange.timer, due);
        }
    }

    fn exchange_timeout(&mut self, id: Handle, now: Instant) {
        let timeouts = &self.setup.config().upstream.timeouts;
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        // The timer may be from an earlier, shorter wait, or something has moved since.
        let Some(due) = exchange.due(timeouts) else {
            return;
        };
        if due > now {
            self.timers.arm(exchange.timer, due);
            return;
        }
        if exchange.is_late(now) {
            self.give_up(id, Reason::RequestTimeout, None, now);
            return;
        }
        match exchange.state {
            State::Queued { .. } => self.fail(id, Reason::QueueTimeout, None, now),
            State::Sending { connection } => self.head_stuck(id, connection, now),
            State::Replying => self.response_stuck(id, now),
            State::Open { .. } if exchange.response_head.is_held() => self.response_stuck(id, now),
            State::Open { .. } => {
                let awaits = exchange.awaits();
                let who = Some(awaits.detail().into());
                if awaits == Awaits::Head {
                    self.fail(id, Reason::ResponseHeaderTimeout, None, now);
                } else if awaits.is_backends_turn() {
                    self.fail(id, Reason::IdleTimeout, who, now);
                } else {
                    self.give_up(id, Reason::IdleTimeout, who, now);
                }
            }
            State::Connecting { .. } => self.settling_timeout(id, now),
            // The connection has a deadline for its handshake.
            State::New | State::Held => {}
        }
    }

    pub(super) fn unreachable(&mut self, socket: SocketId, to: SocketAddr, now: Instant) {
        // Rare, and bounded by the backends' connections: not the data path.
        let there = self.upstream.backends.iter().filter(|b| b.address == to);
        let connections: Vec<Handle> = there.flat_map(|b| b.connections.iter().copied()).collect();
        for handle in connections {
            let Some(conn) = self.backends.get_mut(handle) else {
                continue;
            };
            if conn.session.socket != socket {
                continue;
            }
            match conn.phase {
                backend::Phase::Handshake { .. } if !conn.session.is_established() => {
                    conn.session.close(code::NO_ERROR, b"");
                    self.backend_over(handle, true, now);
                }
                backend::Phase::Handshake { .. }
                | backend::Phase::Open
                | backend::Phase::Leaving => {
                    conn.session.suspect();
                }
            }
        }
    }

    pub(super) fn begin_drain(&mut self, deadline: Instant, now: Instant) {
        match &mut self.drain {
            Some(drain) => {
                drain.deadline = drain.deadline.min(deadline);
                self.timers.arm(drain.timer, drain.deadline);
            }
            None => {
                let timer = self.timers.create(Owner::Drain, now);
                self.timers.arm(timer, deadline);
                self.drain = Some(Drain {
                    timer,
                    deadline,
                    told: false,
                });
                // Commands may visit everything; the data path may not.
                for handle in self.downstreams.handles() {
                    self.drain_downstream(handle, now);
                }
                for handle in self.backends.handles() {
                    self.close_if_done(handle);
                }
            }
        }
    }

    /// Says GOAWAY once, and closes a connection that has nothing left to do.
    pub(super) fn drain_downstream(&mut self, handle: Handle, now: Instant) {
        let most = self.most_streams();
        let Some(conn) = self.downstreams.get_mut(handle) else {
            return;
        };
        if conn.session.is_over() {
            return;
        }
        // Those beyond were refused already.
        let id = conn.next_stream.min(most);
        if conn.goaway.is_none() && conn.session.send_goaway(id) {
            conn.goaway = Some(id);
            conn.lingers = Some(now + limits::GOODBYE);
        }
        conn.lingers = conn.lingers.filter(|until| *until > now);
        // RFC 9114 section 5.2: the client takes requests below the GOAWAY's id for
        // served. Heads of such that are on their way have a deadline of their own.
        let served = conn.goaway.unwrap_or(0);
        let done = conn.session.is_quiet() && !conn.session.has_partial_head_below(served);
        if done && conn.lingers.is_none() {
            conn.session.close(code::NO_ERROR, b"");
            self.want_drive(ConnectionRef::Downstream(handle));
        } else {
            self.want_send(ConnectionRef::Downstream(handle));
        }
    }

    /// The drain's deadline: what is still in flight is cut off.
    fn end_drain(&mut self, now: Instant) {
        for id in self.exchanges.handles() {
            if let Some(exchange) = self.exchanges.get_mut(id) {
                exchange.reason = Some(Reason::Draining);
                self.reset_client(id, code::INTERNAL_ERROR, now);
            }
        }
        for handle in self.downstreams.handles() {
            if let Some(conn) = self.downstreams.get_mut(handle) {
                conn.session.close(code::NO_ERROR, b"");
            }
            self.want_drive(ConnectionRef::Downstream(handle));
        }
        for handle in self.backends.handles() {
            if let Some(conn) = self.backends.get_mut(handle) {
                conn.session.close(code::NO_ERROR, b"");
            }
            self.want_drive(ConnectionRef::Backend(handle));
        }
    }
}
