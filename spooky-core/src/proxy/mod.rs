//! The proxy: the one place that knows all stages.
//!
//! | file | what of the proxy |
//! | --- | --- |
//! | `mod.rs` | its parts, its face |
//! | `receive.rs` | a datagram finds its connection, or starts one |
//! | `strangers.rs` | datagrams of no connection: Retry, version negotiation, resets |
//! | `refuse.rs` | clients that are one too many |
//! | `drive.rs` | what a connection has to say, and bodies in turns |
//! | `certificates.rs` | certificates that clients showed: checked, and told of |
//! | `early.rs` | which requests wait for the handshake |
//! | `request.rs` | from the client's head to the backend's stream |
//! | `headless.rs` | requests without a head that can be read |
//! | `places.rs` | which connection to a backend, when to open one, who waits |
//! | `priorities.rs` | how much a client wants each of its responses |
//! | `response.rs` | from the backend's head to the client's stream |
//! | `tunnels.rs` | what is different for extended CONNECT |
//! | `ending.rs` | how exchanges and connections end |
//! | `timeouts.rs` | deadlines, draining |
//! | `check.rs` | what must hold between calls |

mod certificates;
mod check;
mod drive;
mod early;
mod ending;
mod headless;
mod places;
mod priorities;
mod receive;
mod refuse;
mod request;
mod response;
mod strangers;
mod timeouts;
mod tunnels;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::assembly::Assembly;
use crate::exchange::Exchange;
use crate::http::Forwarder;
use crate::io::{Datagram, Event, Handle, Misrouted, SocketId, Sockets, Table, Transmit};
use crate::listener::stateless::Stateless;
use crate::listener::{ConnectionRef, Ids, ResetTokens, Routes, Tokens};
use crate::observe::{BackendSnapshot, Counters, Peer, Snapshot, Tap};
use crate::session::Session;
use crate::setup::Setup;
use crate::shared::Shared;
use crate::timers::{TimerId, Timers};
use crate::upstream::Upstream;
use crate::{backend, config, downstream, h3, limits};

/// What a [`Proxy`] is made from.
#[derive(Debug)]
pub struct Params {
    /// The configuration, built.
    pub setup: Arc<Setup>,
    /// Common to all workers of the process.
    pub shared: Arc<Shared>,
    /// Index of this worker, below [`Shared::workers`].
    pub worker: usize,
    /// 32 bytes of the operating system's randomness, another for each worker.
    pub seed: [u8; 32],
    /// Wall clock at `now` of [`Proxy::new`].
    pub wall: SystemTime,
    /// The worker's sockets.
    pub sockets: Sockets,
}

/// Whose timer it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Connection(ConnectionRef),
    Exchange(Handle),
    /// Looks after queues and connections that should be there without need.
    Tend,
    Drain,
}

/// One worker's whole data plane.
///
/// Feed it with `handle_*`, then drain it with [`Pump`](crate::pump::Pump) (or
/// `poll_transmit` and `poll_event` until both have nothing), and call
/// `handle_timeout` when `poll_timeout` is reached. `now` must not go back, and
/// must not be ahead of the operating system's clock, which quiche reads itself.
#[derive(Debug)]
pub struct Proxy {
    setup: Arc<Setup>,
    shared: Arc<Shared>,
    worker: usize,
    sockets: Sockets,
    rng: StdRng,
    ids: Ids,
    tokens: Tokens,
    reset_tokens: ResetTokens,
    server: QuicConfig,
    client: QuicConfig,
    routes: Routes,
    downstreams: Table<downstream::Connection>,
    backends: Table<backend::Connection>,
    exchanges: Table<Exchange>,
    upstream: Upstream,
    timers: Timers<Owner>,
    tend: TimerId,
    drain: Option<Drain>,
    /// Connections with something to read or to move.
    to_drive: VecDeque<ConnectionRef>,
    /// Connections that may have something to send.
    to_send: VecDeque<ConnectionRef>,
    assembly: Assembly,
    stateless: VecDeque<Stateless>,
    events: VecDeque<Event>,
    /// What is written for whoever debugs.
    tap: Tap,
    /// Bodies pass through here, one turn at a time.
    scratch: Box<[u8]>,
    /// Heads are put together here, one at a time.
    forwarder: Forwarder,
    counters: Counters,
    next_exchange: u64,
    next_socket: usize,
    /// Wall clock at an instant.
    clock: (SystemTime, Instant),
    /// Whether it runs evenly.
    steadiness: downstream::Steadiness,
}

#[derive(Debug)]
struct Drain {
    timer: TimerId,
    deadline: Instant,
    told: bool,
}

/// quiche's configuration of one side, and HTTP/3's.
struct QuicConfig {
    quic: quiche::Config,
    h3: h3::Config,
}

impl std::fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QuicConfig")
    }
}

impl QuicConfig {
    /// With `tunnels`, extended CONNECT is offered (RFC 9220); only a server does.
    fn new(quic: quiche::Config, max_streams: u64, limits: &config::Limits, tunnels: bool) -> Self {
        let h3 = h3::Config {
            max_streams,
            bounds: limits.into(),
            enable_connect_protocol: tunnels,
        };
        QuicConfig { quic, h3 }
    }
}

impl Proxy {
    /// A worker with nothing to do yet.
    ///
    /// # Panics
    /// If `params.worker` is not below the number of workers that share.
    pub fn new(params: Params, now: Instant) -> Self {
        let Params {
            setup,
            shared,
            worker,
            seed,
            wall,
            sockets,
        } = params;
        assert!(
            worker < shared.workers(),
            "worker {worker} of {}",
            shared.workers()
        );
        let limits = &setup.config().limits;
        shared.tickets.turn(wall);
        let built = "Setup::build made the same contexts already";
        let mut timers = Timers::new();
        let tend = timers.create(Owner::Tend, now);
        let mut proxy = Proxy {
            worker,
            rng: StdRng::from_seed(seed),
            ids: Ids::new(&shared.secrets.keys("connection ids")),
            tokens: Tokens::new(&shared.secrets.keys("retry tokens")),
            reset_tokens: ResetTokens::new(
                &shared.secrets.keys("stateless resets"),
                setup.config().instance.name(),
            ),
            server: QuicConfig::new(
                setup.server_config(&shared.tickets).expect(built),
                setup.config().quic.max_streams,
                limits,
                setup.config().websocket,
            ),
            client: QuicConfig::new(setup.client_config().expect(built), 0, limits, false),
            routes: Routes::default(),
            downstreams: Table::new(),
            backends: Table::new(),
            exchanges: Table::new(),
            upstream: Upstream::new(&setup.config().upstream),
            timers,
            tend,
            drain: None,
            to_drive: VecDeque::new(),
            to_send: VecDeque::new(),
            assembly: Assembly::default(),
            stateless: VecDeque::new(),
            events: VecDeque::new(),
            tap: Tap::new(&setup.config().log),
            scratch: vec![0; limits::DATA_OVERHEAD + limits::TURN_BYTES].into_boxed_slice(),
            forwarder: Forwarder::new(&setup.config().forwarding),
            counters: Counters::default(),
            next_exchange: (worker as u64) << 48,
            next_socket: worker,
            clock: (wall, now),
            steadiness: downstream::Steadiness::begin(now),
            setup,
            shared,
            sockets,
        };
        proxy.handle_tend(now);
        proxy
    }

    /// Takes in datagrams. Those that belong to other workers are named in
    /// `misrouted`, which is not cleared. Hostile bytes become counters.
    pub fn handle_datagram(
        &mut self,
        datagram: Datagram<'_>,
        misrouted: &mut Vec<Misrouted>,
        now: Instant,
    ) {
        self.receive(datagram, misrouted, now);
        self.debug_check();
    }

    /// The network says that `to`, to which `socket` sent, can't be reached.
    ///
    /// Anybody can forge that, so it only ends handshakes; an established
    /// connection takes no new request until it is heard again.
    pub fn handle_unreachable(&mut self, socket: SocketId, to: SocketAddr, now: Instant) {
        self.unreachable(socket, to, now);
        self.debug_check();
    }

    /// Does what is due at `now`; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.fire_timers(now);
        self.debug_check();
    }

    /// Tells the wall clock, about once a second. It stamps, and turns the keys of tickets.
    pub fn handle_clock(&mut self, wall: SystemTime, now: Instant) {
        let back = self.wall(now).duration_since(wall).unwrap_or_default();
        self.steadiness.stepped(back, now);
        self.shared.tickets.turn(wall);
        self.clock = (wall, now);
    }

    /// Accepts nothing new, and ends when what is in flight has ended, or at
    /// `deadline`. [`Event::Drained`] tells when. A second call can only move the
    /// deadline closer.
    pub fn drain(&mut self, deadline: Instant, now: Instant) {
        self.begin_drain(deadline, now);
        self.debug_check();
    }

    /// The next datagrams to send, written to the front of `buf`, which is grown
    /// as needed and never cleared. All inputs are worked off first.
    pub fn poll_transmit(
        &mut self,
        max_segments: usize,
        buf: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Transmit> {
        let transmit = self.next_transmit(max_segments, buf, now);
        if transmit.is_none() {
            self.debug_check();
        }
        transmit
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.tap.poll())
    }

    /// When `handle_timeout` is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The state of this worker.
    pub fn snapshot(&self) -> Snapshot {
        // One pass over all, however many backends there are.
        let mut requests = vec![0; self.upstream.backends.len()];
        for id in self.exchanges.handles() {
            if let Some(backend) = self.exchanges.get(id).and_then(|e| e.charged) {
                requests[backend] += 1;
            }
        }
        let row = |(backend, requests): (&crate::upstream::Backend, u64)| BackendSnapshot {
            id: backend.id.clone(),
            connections: backend.connections.len() as u64,
            requests,
            pending: backend.queue.len() as u64,
        };
        let backends = self.upstream.backends.iter().zip(requests);
        Snapshot {
            downstream_connections: self.downstreams.len() as u64,
            backend_connections: self.backends.len() as u64,
            exchanges: self.exchanges.len() as u64,
            backends: backends.map(row).collect(),
            counters: Counters {
                events_dropped: self.counters.events_dropped + self.tap.dropped(),
                ..self.counters
            },
        }
    }

    fn session_mut(&mut self, connection: ConnectionRef) -> Option<&mut Session> {
        match connection {
            ConnectionRef::Downstream(handle) => {
                self.downstreams.get_mut(handle).map(|c| &mut c.session)
            }
            ConnectionRef::Backend(handle) => self.backends.get_mut(handle).map(|c| &mut c.session),
        }
    }

    /// Queues a connection for reading and moving, and for sending what comes of it.
    fn want_drive(&mut self, connection: ConnectionRef) {
        let Some(session) = self.session_mut(connection) else {
            return;
        };
        if !std::mem::replace(&mut session.wants_drive, true) {
            self.to_drive.push_back(connection);
        }
    }

    /// Queues a connection for sending.
    fn want_send(&mut self, connection: ConnectionRef) {
        let Some(session) = self.session_mut(connection) else {
            return;
        };
        if !std::mem::replace(&mut session.wants_send, true) {
            self.to_send.push_back(connection);
        }
    }

    /// Has a connection that was made just now write down what the configuration asks for.
    fn attach_tap(&mut self, quic: &mut quiche::Connection, peer: Peer, now: Instant) {
        let wall = self.wall(now);
        if self.tap.attach(quic, peer, wall, &mut self.rng) {
            self.counters.connections_traced += 1;
        }
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() < limits::EVENTS {
            self.events.push_back(event);
        } else {
            self.counters.events_dropped += 1;
        }
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let (wall, instant) = self.clock;
        match at.checked_duration_since(instant) {
            Some(after) => wall + after,
            None => wall - instant.saturating_duration_since(at),
        }
    }
}
