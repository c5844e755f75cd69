//! Which connection to a backend, when to open one, and who waits for a place.

use std::sync::Arc;
use std::time::Instant;

use super::{Owner, Proxy};
use crate::backend::{Connection, Phase};
use crate::exchange::State;
use crate::io::{Handle, SocketId};
use crate::limits;
use crate::listener::ConnectionRef;
use crate::observe::{Peer, Reason};
use crate::session::Session;
use crate::upstream::{Queue, TEND, share};

/// Where a request can go.
enum Place {
    /// An open connection with room.
    Open(Handle),
    /// A connection whose handshake goes on.
    Handshake(Handle),
}

impl Proxy {
    /// Finds a place at `backend`, or waits for one.
    pub(super) fn find_place(&mut self, id: Handle, backend: usize, now: Instant) {
        let avoid = self.exchanges.get(id).and_then(|e| e.avoid);
        // Those who wait already come first.
        let place = match self.upstream.backends[backend].queue.len() {
            0 => self.take_place(backend, avoid, now),
            _ => None,
        };
        match place {
            Some(place) => self.go(id, backend, place, now),
            None => self.enqueue(id, backend, now),
        }
    }

    fn go(&mut self, id: Handle, backend: usize, place: Place, now: Instant) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            self.shared.backends[backend].requests.sub();
            return;
        };
        exchange.charged = Some(backend);
        self.set_deadline(id, None);
        match place {
            Place::Open(connection) => self.send_head(id, connection, now),
            Place::Handshake(connection) => self.wait_for_handshake(id, connection),
        }
    }

    /// A place at `backend`, with the request counted in, or `None` at a bound.
    ///
    /// Connections are filled one after the other, oldest first, so that a few
    /// carry everything and the rest go idle; the search ends at the first with
    /// room. Only when each is full it has looked at all, 64 by default.
    fn take_place(&mut self, backend: usize, avoid: Option<Handle>, now: Instant) -> Option<Place> {
        let bounds = &self.setup.config().upstream.connections;
        if !self.shared.backends[backend]
            .requests
            .try_add(bounds.max_requests)
        {
            return None;
        }
        let most = self.setup.config().upstream.quic.max_streams;
        let mut crowded = None;
        for &handle in &self.upstream.backends[backend].connections {
            let Some(conn) = self.backends.get(handle) else {
                continue;
            };
            if conn.room(most) == 0 || Some(handle) == avoid {
                continue;
            }
            match conn.phase {
                Phase::Open if conn.session.heads.is_empty() => return Some(Place::Open(handle)),
                // Behind a head that waits, and may wait for the backend to read
                // what others sent.
                Phase::Open => crowded = crowded.or(Some(Place::Open(handle))),
                Phase::Handshake { .. } | Phase::Leaving => {}
            }
        }
        let place = self
            .handshake_with_room(backend)
            .map(Place::Handshake)
            .or(crowded)
            .or_else(|| self.open_connection(backend, now).map(Place::Handshake));
        if place.is_none() {
            self.shared.backends[backend].requests.sub();
        }
        place
    }

    /// The oldest connection to `backend` that is being made and has room.
    pub(super) fn handshake_with_room(&self, backend: usize) -> Option<Handle> {
        let most = self.setup.config().upstream.quic.max_streams;
        let fits = |handle: &Handle| {
            self.backends
                .get(*handle)
                .is_some_and(|c| matches!(c.phase, Phase::Handshake { .. }) && c.room(most) > 0)
        };
        let connections = &self.upstream.backends[backend].connections;
        connections.iter().copied().find(fits)
    }

    fn enqueue(&mut self, id: Handle, backend: usize, now: Instant) {
        let bounds = &self.setup.config().upstream.connections;
        let queue_timeout = bounds.queue_timeout;
        if !self.shared.backends[backend]
            .pending
            .try_add(bounds.max_pending)
        {
            self.fail(id, Reason::QueueFull, None, now);
            return;
        }
        let Some(exchange) = self.exchanges.get_mut(id) else {
            self.shared.backends[backend].pending.sub();
            return;
        };
        exchange.state = State::Queued { backend };
        self.upstream.backends[backend].queue.push(id);
        self.set_deadline(id, Some(now + queue_timeout));
        self.timers.arm(self.tend, now + limits::PENDING_RECHECK);
    }

    /// Gives up the place that an exchange has, and finds it another at the same backend.
    pub(super) fn requeue(&mut self, id: Handle, now: Instant) {
        let Some(backend) = self.exchanges.get(id).and_then(|e| e.charged) else {
            return;
        };
        self.detach(id, now);
        self.find_place(id, backend, now);
    }

    /// Lets those who wait at `backend` go on, as far as there is room.
    pub(super) fn serve_queue(&mut self, backend: usize, now: Instant) {
        while self.upstream.backends[backend].queue.len() > 0 {
            let Some(place) = self.take_place(backend, None, now) else {
                return;
            };
            let exchanges = &self.exchanges;
            let waits = |h| {
                exchanges
                    .get(h)
                    .is_some_and(|e| e.state == State::Queued { backend })
            };
            let Some(id) = self.upstream.backends[backend].queue.pop(waits) else {
                self.shared.backends[backend].requests.sub();
                return;
            };
            self.shared.backends[backend].pending.sub();
            self.go(id, backend, place, now);
        }
    }

    pub(super) fn wait_for_handshake(&mut self, id: Handle, connection: Handle) {
        let Some(conn) = self.backends.get_mut(connection) else {
            return;
        };
        if let Phase::Handshake { waiting, .. } = &mut conn.phase {
            waiting.push(id);
        }
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.state = State::Connecting { connection };
        }
    }

    /// Begins a connection to `backend`, within the bound of the process.
    ///
    /// Connections belong to a worker, and one that has taken what there is would
    /// leave the others' requests waiting while its own connections are idle. So
    /// each worker has its share of the bound, and at least one.
    pub(super) fn open_connection(&mut self, backend: usize, now: Instant) -> Option<Handle> {
        let workers = self.shared.workers();
        let max = self.setup.config().upstream.connections.max;
        let share = share(max, self.worker, workers).max(1);
        if self.upstream.backends[backend].connections.len() >= share {
            return None;
        }
        let most = max.max(u32::try_from(workers).unwrap_or(u32::MAX));
        if !self.shared.backends[backend].connections.try_add(most) {
            return None;
        }
        let connection = self.connect(backend, now);
        if connection.is_none() {
            self.shared.backends[backend].connections.sub();
            self.counters.backend_connections_failed += 1;
        }
        connection
    }

    fn connect(&mut self, backend: usize, now: Instant) -> Option<Handle> {
        let setup = Arc::clone(&self.setup);
        let upstream = &setup.config().upstream;
        let peer = self.upstream.backends[backend].address;
        let (socket, local) = self.next_socket(peer.is_ipv6())?;
        let id = self.issue_id();
        let scid = quiche::ConnectionId::from_ref(&id);
        let name = upstream.backend_tls.server_name.as_deref();
        let mut quic = quiche::connect(name, &scid, local, peer, &mut self.client.quic).ok()?;
        self.attach_tap(&mut quic, Peer::Backend, now);
        if name.is_none() {
            // No SNI for an address (RFC 6066 section 3); the certificate is
            // checked against it all the same.
            quic.as_mut().param_mut().set_ip(peer.ip()).ok()?;
        }
        let timer = self.timers.create(Owner::Tend, now);
        let mut session = Session::new(quic, socket, local, timer, &upstream.quic, now);
        session.hold = true;
        let deadline = now + upstream.timeouts.connect;
        let phase = Phase::Handshake {
            waiting: Queue::default(),
            deadline,
        };
        let handle = self.backends.insert(Connection {
            session,
            backend,
            phase,
            idle_since: now,
            settling: Queue::default(),
        });
        let connection = ConnectionRef::Backend(handle);
        self.timers.set_owner(timer, Owner::Connection(connection));
        self.routes.insert(id, connection);
        self.upstream.backends[backend].connections.push(handle);
        self.counters.backend_connections_opened += 1;
        self.want_send(connection);
        Some(handle)
    }

    /// Sockets in rotation: a peer that spreads its load by address and port
    /// must not see us as one.
    fn next_socket(&mut self, v6: bool) -> Option<(SocketId, std::net::SocketAddr)> {
        let count = self.sockets.backends.len();
        for _ in 0..count {
            self.next_socket = (self.next_socket + 1) % count;
            let (socket, local) = self.sockets.backends[self.next_socket];
            if local.is_ipv6() == v6 {
                return Some((socket, local));
            }
        }
        None
    }

    /// The handshake is complete and HTTP/3 runs: those who waited go on.
    pub(super) fn backend_established(&mut self, handle: Handle, now: Instant) {
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        conn.idle_since = now;
        let backend = conn.backend;
        let Phase::Handshake { mut waiting, .. } = std::mem::replace(&mut conn.phase, Phase::Open)
        else {
            return;
        };
        self.upstream.backends[backend].backoff.succeed();
        let most = self.setup.config().upstream.quic.max_streams;
        let state = State::Connecting { connection: handle };
        loop {
            let exchanges = &self.exchanges;
            let Some(id) = waiting.pop(|h| exchanges.get(h).is_some_and(|e| e.state == state))
            else {
                break;
            };
            self.leave_line(id);
            if self.backends.get(handle).is_some_and(|c| c.room(most) > 0) {
                self.send_head(id, handle, now);
            } else {
                // The backend grants fewer streams than we hoped for.
                self.requeue(id, now);
            }
        }
    }

    /// The backend said GOAWAY: requests from stream `id` on were not and will
    /// not be processed (RFC 9114 section 5.2), so they go elsewhere.
    pub(super) fn backend_leaving(&mut self, handle: Handle, id: u64, now: Instant) {
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        conn.phase = Phase::Leaving;
        // Nothing of these was sent, and nothing will be here.
        let heads: Vec<Handle> = conn.session.heads.drain(..).collect();
        let open = conn.session.open().into_iter();
        let refused = open.filter(|(stream, _)| *stream >= id);
        for exchange in refused.map(|(_, exchange)| exchange).chain(heads) {
            self.restart_or_fail(exchange, Reason::BackendGone, Some("GOAWAY".into()), now);
        }
        self.close_if_done(handle);
    }

    /// A connection that takes nothing new and carries nothing is closed.
    pub(super) fn close_if_done(&mut self, handle: Handle) {
        let draining = self.drain.is_some();
        let Some(conn) = self.backends.get_mut(handle) else {
            return;
        };
        let done = match conn.phase {
            Phase::Leaving => true,
            Phase::Open | Phase::Handshake { .. } => draining,
        };
        if done && conn.is_idle() && !conn.session.is_over() {
            conn.session.close(crate::session::code::NO_ERROR, b"");
            self.want_drive(ConnectionRef::Backend(handle));
        }
    }

    /// When a connection to a backend wants attention of ours.
    pub(super) fn backend_deadline(&self, handle: Handle) -> Option<Instant> {
        let conn = self.backends.get(handle)?;
        match conn.phase {
            Phase::Handshake { deadline, .. } => Some(deadline),
            Phase::Open | Phase::Leaving if conn.is_idle() && !conn.session.over => {
                Some(conn.idle_since + self.setup.config().upstream.connections.idle_timeout)
            }
            Phase::Open | Phase::Leaving => None,
        }
    }

    /// The share of `min_idle` that this worker keeps to each backend.
    pub(super) fn kept(&self) -> usize {
        share(
            self.setup.config().upstream.connections.min_idle,
            self.worker,
            self.shared.workers(),
        )
    }

    /// Looks after queues, whose places other workers may have freed, and after
    /// connections that are kept without need.
    pub(super) fn handle_tend(&mut self, now: Instant) {
        let kept = if self.drain.is_some() { 0 } else { self.kept() };
        let mut waiting = false;
        for backend in 0..self.upstream.backends.len() {
            self.serve_queue(backend, now);
            waiting |= self.upstream.backends[backend].queue.len() > 0;
            while self.upstream.backends[backend].connections.len() < kept
                && !self.upstream.backends[backend].backoff.is_active(now)
            {
                if self.open_connection(backend, now).is_none() {
                    break;
                }
            }
        }
        if waiting {
            self.timers.arm(self.tend, now + limits::PENDING_RECHECK);
        } else if kept > 0 {
            self.timers.arm(self.tend, now + TEND);
        }
    }
}
