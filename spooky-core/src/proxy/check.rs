//! What must hold between calls. Checked after each in debug builds.

use super::Proxy;
use crate::backend::Phase;
use crate::downstream;
use crate::exchange::State;
use crate::io::Handle;
use crate::listener::ConnectionRef;

impl Proxy {
    /// Asserts everything that ties the tables together.
    ///
    /// Costs time in proportion to all that is live; tests and simulations call
    /// it, and debug builds do so themselves while there is little.
    ///
    /// # Panics
    /// If something does not hold. That is a bug of this crate, whatever a peer sent.
    pub fn check_invariants(&self) {
        self.check_exchanges();
        self.check_downstreams();
        self.check_backends();
        self.check_waiting();
        self.check_loads();
        let timers = 1 + usize::from(self.drain.is_some());
        let owners = self.downstreams.len() + self.backends.len() + self.exchanges.len() + timers;
        assert_eq!(self.timers.len(), owners, "a timer for each that may wait");
    }

    fn check_exchanges(&self) {
        for id in self.exchanges.handles() {
            let exchange = self.exchanges.get(id).expect("it was just listed");
            let conn = self
                .downstreams
                .get(exchange.downstream)
                .expect("an exchange has its client's connection");
            let known = conn.session.exchanges.get(&exchange.stream);
            assert_eq!(known, Some(&id), "the connection knows its exchange");
            assert!(
                !conn.session.over,
                "a connection that is over has no exchange"
            );
            let due = exchange.due(&self.setup.config().upstream.timeouts);
            let armed = self.timers.deadline(exchange.timer);
            assert!(
                due.is_none_or(|due| armed.is_some_and(|at| at <= due)),
                "the timer fires no later than something is due"
            );
            match exchange.state {
                State::Open { connection, stream } => {
                    let backend = self
                        .backends
                        .get(connection)
                        .expect("an open exchange has a backend connection");
                    let known = backend.session.exchanges.get(&stream);
                    assert_eq!(known, Some(&id), "both ends agree");
                    assert_eq!(
                        exchange.charged,
                        Some(backend.backend),
                        "in flight is counted"
                    );
                }
                State::Connecting { connection } | State::Sending { connection } => {
                    let there = self.backends.get(connection).is_some();
                    assert!(there, "the connection it waits for exists");
                    assert!(
                        exchange.charged.is_some(),
                        "a request with a place is counted"
                    );
                }
                State::Queued { .. } => {
                    assert_eq!(exchange.charged, None, "a waiting request is not in flight");
                }
                State::Replying => assert!(exchange.reply.is_some(), "a local reply is there"),
                State::Held => assert!(
                    matches!(conn.phase, downstream::Phase::Handshake { .. }),
                    "who has proved that it is no replay need not wait"
                ),
                State::New => panic!("an exchange goes somewhere"),
            }
        }
    }

    fn check_downstreams(&self) {
        let (mut carried, mut half_open) = (0, 0);
        for handle in self.downstreams.handles() {
            let conn = self.downstreams.get(handle).expect("it was just listed");
            carried += conn.session.exchanges.len();
            half_open += usize::from(matches!(conn.phase, downstream::Phase::Handshake { .. }));
            let queued = self.to_send.contains(&ConnectionRef::Downstream(handle));
            assert!(
                !conn.session.wants_send || queued,
                "what wants to send is queued"
            );
        }
        assert_eq!(
            carried,
            self.exchanges.len(),
            "each exchange is on one client's connection"
        );
        let admission = &self.shared.admission;
        for (held, counted, what) in [
            (half_open, admission.half_open(), "half-open"),
            (self.downstreams.len(), admission.connections(), "all"),
        ] {
            // Other workers have some too.
            let counted = counted as usize;
            assert!(
                held == counted || (held < counted && self.shared.workers() > 1),
                "{what} connections: {held} held, {counted} counted"
            );
        }
    }

    fn check_backends(&self) {
        for (index, backend) in self.upstream.backends.iter().enumerate() {
            for &handle in &backend.connections {
                let conn = self
                    .backends
                    .get(handle)
                    .expect("a listed connection exists");
                let alive = conn.backend == index && !conn.session.over;
                assert!(alive, "a listed connection is alive");
            }
        }
    }

    /// Whoever waits stands where somebody will look; else it waits for ever.
    fn check_waiting(&self) {
        for id in self.exchanges.handles() {
            let exchange = self.exchanges.get(id).expect("it was just listed");
            let client = self.downstreams.get(exchange.downstream);
            let client = &client
                .expect("an exchange has its client's connection")
                .session;
            let held = exchange.response_head.is_held() || exchange.state == State::Replying;
            assert_eq!(
                client.heads.contains(&id),
                held,
                "a held head stands in line"
            );
            if let Some(place) = exchange.response.queued {
                assert!(
                    client.ready.has(place, id),
                    "a response that is queued has a turn"
                );
            }
            let place = match exchange.state {
                State::Sending { connection } | State::Open { connection, .. } => Some(connection),
                State::New
                | State::Held
                | State::Queued { .. }
                | State::Connecting { .. }
                | State::Replying => None,
            };
            let backend = place.and_then(|handle| self.backends.get(handle));
            let sending = matches!(exchange.state, State::Sending { .. });
            let in_line = backend.is_some_and(|c| c.session.heads.contains(&id));
            assert_eq!(in_line, sending, "a request's head stands in line");
            if let Some(place) = exchange.request.queued {
                let has_turn = backend.is_some_and(|c| c.session.ready.has(place, id));
                assert!(has_turn, "a request that is queued has a turn");
            }
        }
        for handle in self.backends.handles() {
            let conn = self.backends.get(handle).expect("it was just listed");
            let sending = State::Sending { connection: handle };
            let sends = |h: &Handle| self.exchanges.get(*h).is_some_and(|e| e.state == sending);
            assert!(
                conn.session.heads.iter().all(sends),
                "who left stands in no line"
            );
            let waiting = match &conn.phase {
                Phase::Handshake { waiting, .. } => waiting,
                // For SETTINGS.
                Phase::Open | Phase::Leaving => &conn.settling,
            };
            let state = State::Connecting { connection: handle };
            let waits = |h: &&Handle| self.exchanges.get(**h).is_some_and(|e| e.state == state);
            let count = self.exchanges.handles().iter().filter(waits).count();
            assert_eq!(
                waiting.len(),
                count,
                "the connection knows who waits for it"
            );
        }
    }

    /// What this worker holds of the bounds it shares. Other workers hold some too,
    /// at any moment; a worker alone accounts for all of it.
    fn check_loads(&self) {
        let rows = self.snapshot().backends;
        for (index, backend) in self.upstream.backends.iter().enumerate() {
            let queued = State::Queued { backend: index };
            let is_queued =
                |h: &&Handle| self.exchanges.get(**h).is_some_and(|e| e.state == queued);
            let pending = self.exchanges.handles().iter().filter(is_queued).count();
            assert_eq!(backend.queue.len(), pending, "the queue knows who waits");
            let load = &self.shared.backends[index];
            for (name, shared, held) in [
                ("requests", &load.requests, rows[index].requests),
                ("pending", &load.pending, pending as u64),
                (
                    "connections",
                    &load.connections,
                    backend.connections.len() as u64,
                ),
            ] {
                let shared = u64::from(shared.get());
                let fits = if self.shared.workers() == 1 {
                    held == shared
                } else {
                    held <= shared
                };
                assert!(
                    fits,
                    "{name} of {}: {held} held, {shared} counted",
                    backend.id
                );
            }
        }
    }

    /// Whose timer is next, in words, for a test that finds it due too soon.
    pub fn next_timer(&self) -> String {
        self.timers
            .next_owner()
            .map_or_else(|| "nobody's".to_owned(), |owner| format!("{owner:?}"))
    }

    /// Everything was given back: nothing of any client or request is left.
    pub fn is_empty(&self) -> bool {
        self.downstreams.len() == 0
            && self.backends.len() == 0
            && self.exchanges.len() == 0
            && self.routes.len() == 0
    }

    pub(super) fn debug_check(&self) {
        // With thousands of connections a check a call would be most of the time.
        if cfg!(debug_assertions) && self.downstreams.len() + self.exchanges.len() < 200 {
            self.check_invariants();
        }
    }
}
