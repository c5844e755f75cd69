//! The balancer: the production [`Proxy`], one a worker, behind the same pump and
//! [`Io`] as under the drivers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::config::Config;
use spooky_core::io::{Datagram, Event, Misrouted, SocketId, Sockets, Transmit};
use spooky_core::limits;
use spooky_core::observe::Snapshot;
use spooky_core::pump::{Io, Pump, Sent};
use spooky_core::{Material, Params, Proxy, Setup, Shared};

use super::amplification::Amplification;
use super::memory;
use super::plan::Scenario;
use super::quic::{Identity, NAME};
use super::rng::Rng;
use super::scheduler::Cx;

/// The wall clock is told so often, when something happens.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// Sockets toward backends of a worker.
const SOCKETS: u16 = 2;
/// Datagrams sent in one turn: more is a loop.
const DATAGRAMS_A_TURN: usize = 100_000;
/// A full socket takes datagrams again after this.
const BLOCKED_FOR: Duration = Duration::from_micros(200);
/// Bytes a connection holds whatever it carries: quiche, TLS, our tables.
const CONNECTION_BYTES: u64 = 96 << 10;
/// Room that a connection or exchange takes in tables, and twice that when they double.
const SLOT_BYTES: u64 = 4 << 10;
/// Bytes that a worker's tables keep, whatever it carried.
const WORKER_BYTES: usize = 64 << 10;
/// Live connections and exchanges up to which everything is looked at after each step.
const CHECK_EACH: u64 = 100;

/// A node that passes requests on.
pub(crate) struct Balancer {
    setup: Arc<Setup>,
    workers: Vec<Worker>,
    listener: SocketAddr,
    bounds: Bounds,
    segments: usize,
    blocked: u32,
    turn: Duration,
    dice: Rng,
    steps: u64,
    next_check: u64,
    /// The most connections and exchanges there were at once.
    most_live: u64,
    /// The most connections to backends there were at once.
    most_backend_connections: u64,
    amplification: Amplification,
    /// Bytes it held when it had nothing to do yet.
    began_with: i64,
    /// What keys come from.
    secret: [u8; 32],
}

struct Worker {
    proxy: Proxy,
    pump: Pump,
    sockets: Vec<(SocketId, SocketAddr)>,
    /// The pump is due then.
    pump_at: Option<Instant>,
    /// A socket is full until then.
    blocked_until: Option<Instant>,
    clock_at: Instant,
    drained: bool,
    /// Requests that ended, as its records told.
    records: u64,
}

/// What is needed to say how much memory is too much.
struct Bounds {
    header_bytes: u64,
    stream_window: u64,
    grown_window: u64,
    /// The greatest window of any peer.
    peer_window: u64,
}

impl Balancer {
    pub(crate) fn new(
        scenario: &Scenario,
        listener: SocketAddr,
        identity: &Identity,
        backends: &[SocketAddr],
    ) -> Self {
        let setup = setup(scenario, listener, identity, backends);
        let mut dice = Rng::new(scenario.seed, 0xba1);
        let quic = &setup.config().quic;
        let peers = scenario.clients.iter().map(|c| c.window);
        let peers = peers.chain(scenario.backends.iter().map(|b| b.window));
        let bounds = Bounds {
            header_bytes: setup.config().limits.header_bytes,
            stream_window: quic.stream_window,
            grown_window: quic.grown_stream_window(),
            peer_window: peers.max().unwrap_or(0),
        };
        let setup = Arc::new(setup);
        let count = scenario.workers.max(1) as usize;
        let secret = seed(&mut dice);
        let (workers, began_with) = memory::charged(|| {
            let workers = process(&setup, count, secret, listener, &mut dice);
            (workers, memory::live())
        });
        assert!(
            began_with > 0,
            "a binary that simulates installs `sim::Counting` as its global allocator"
        );
        Balancer {
            workers,
            setup,
            listener,
            bounds,
            segments: scenario.segments.max(1),
            blocked: scenario.blocked,
            turn: scenario.turn,
            dice,
            steps: 0,
            next_check: 0,
            most_live: 0,
            most_backend_connections: 0,
            amplification: Amplification::of(listener),
            began_with,
            secret,
        }
    }

    /// Its process is killed, and another begins with the same secret, knowing nothing.
    pub(crate) fn restart(&mut self, cx: &mut Cx<'_>) {
        cx.ledger().forgotten();
        let count = self.workers.len();
        memory::charged(|| {
            self.workers.clear();
            let (setup, dice) = (&self.setup, &mut self.dice);
            self.workers = process(setup, count, self.secret, self.listener, dice);
        });
        self.turn_all(cx);
    }

    /// Every address it sends from.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let sockets = self.workers.iter().flat_map(|w| w.sockets.iter());
        let sockets = sockets.map(|(_, address)| *address);
        std::iter::once(self.listener).chain(sockets).collect()
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.turn_all(cx);
    }

    pub(crate) fn datagram(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &mut [u8],
    ) {
        let (index, socket) = self.place(from, to);
        self.amplification.received(from, to, bytes);
        let mut misrouted = Vec::new();
        let data = Datagram {
            socket,
            from,
            to,
            stride: bytes.len().max(1),
            handed_over: false,
            data: bytes,
        };
        self.workers[index].receive(data, &mut misrouted);
        self.workers[index].touch(self.turn);
        for Misrouted { worker, range } in misrouted {
            let data = Datagram {
                socket,
                from,
                to,
                stride: range.len().max(1),
                handed_over: true,
                data: &mut bytes[range],
            };
            let mut again = Vec::new();
            self.workers[worker].receive(data, &mut again);
            assert!(again.is_empty(), "what was handed over is not handed on");
            self.workers[worker].touch(self.turn);
        }
        self.turn_all(cx);
    }

    pub(crate) fn timer(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        for worker in &mut self.workers {
            let due = worker.proxy.poll_timeout();
            if due.is_some_and(|at| at <= now) {
                worker.pump_at = Some(now);
            }
        }
        self.turn_all(cx);
    }

    /// What was sent from `socket` to `to` did not reach anybody.
    pub(crate) fn unreachable(&mut self, cx: &mut Cx<'_>, socket: SocketAddr, to: SocketAddr) {
        let (index, id) = self.place(to, socket);
        let now = Instant::now();
        let worker = &mut self.workers[index];
        memory::charged(|| worker.proxy.handle_unreachable(id, to, now));
        worker.touch(self.turn);
        self.turn_all(cx);
    }

    /// The same for all sockets toward a backend.
    pub(crate) fn unreachable_everywhere(&mut self, cx: &mut Cx<'_>, to: SocketAddr) {
        let sockets: Vec<_> = self.addresses().split_off(1);
        for socket in sockets {
            self.unreachable(cx, socket, to);
        }
    }

    pub(crate) fn drain(&mut self, cx: &mut Cx<'_>, within: Duration) {
        let now = Instant::now();
        for worker in &mut self.workers {
            memory::charged(|| worker.proxy.drain(now + within, now));
            worker.touch(self.turn);
        }
        self.turn_all(cx);
    }

    /// All workers together.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for worker in &self.workers {
            sum.merge(&worker.proxy.snapshot());
        }
        sum
    }

    /// Nothing of anybody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.workers.iter().all(|w| w.proxy.is_empty())
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.workers.iter().all(|w| w.drained)
    }

    /// Bytes that buffers of its own may keep when all is over.
    pub(crate) fn buffers(&self) -> i64 {
        // A transmit's buffer grows by doubling.
        let transmit = 2 * self.segments * limits::SEGMENT_BUFFER;
        ((transmit + WORKER_BYTES) * self.workers.len()) as i64
    }

    /// The most connections to backends there were at once.
    pub(crate) fn most_backend_connections(&self) -> u64 {
        self.most_backend_connections
    }

    /// Bytes it held when it had nothing to do yet.
    pub(crate) fn began_with(&self) -> i64 {
        self.began_with
    }

    /// Bytes held, more than at the beginning.
    pub(crate) fn grown(&self) -> i64 {
        memory::live() - self.began_with
    }

    /// Whether any worker still waits for a time to come.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.workers
            .iter()
            .filter_map(|w| w.proxy.poll_timeout())
            .min()
    }

    /// The worker and the socket of an address of ours, for a peer's address.
    fn place(&self, from: SocketAddr, to: SocketAddr) -> (usize, SocketId) {
        if to == self.listener {
            // As the kernel does: by a hash of both ends.
            let ip = match from.ip() {
                std::net::IpAddr::V4(ip) => u64::from(u32::from(ip)),
                std::net::IpAddr::V6(ip) => u128::from(ip) as u64,
            };
            let mixed = Rng::new(ip ^ (u64::from(from.port()) << 32), 0x4e).bits();
            return (
                (mixed % self.workers.len() as u64) as usize,
                SocketId::LISTENER,
            );
        }
        let find = |worker: &Worker| worker.sockets.iter().find(|s| s.1 == to).map(|s| s.0);
        let place = self.workers.iter().map(find).position(|id| id.is_some());
        let index = place.expect("it is an address of ours");
        let id = find(&self.workers[index]).expect("it was just found");
        (index, id)
    }

    /// Lets every worker work that has something to do, and looks whether all is well.
    fn turn_all(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        for worker in &mut self.workers {
            if worker.pump_at.is_some_and(|at| at <= now) {
                let amplification = &mut self.amplification;
                worker.pump(
                    cx,
                    self.segments,
                    self.blocked,
                    amplification,
                    &mut self.dice,
                );
            }
        }
        self.steps += 1;
        let next = self.workers.iter().filter_map(Worker::next).min();
        cx.set_timer(next);
    }

    /// What must hold after every step.
    pub(crate) fn check(&mut self) {
        // The price of a look is in proportion to what is live.
        if self.steps < self.next_check {
            return;
        }
        for worker in &self.workers {
            worker.proxy.check_invariants();
        }
        let snapshot = self.snapshot();
        let live = snapshot.exchanges + snapshot.downstream_connections;
        self.most_live = self.most_live.max(live + snapshot.backend_connections);
        self.most_backend_connections = self
            .most_backend_connections
            .max(snapshot.backend_connections);
        self.next_check = self.steps + 1 + live / CHECK_EACH;
        let counters = &snapshot.counters;
        let records: u64 = self.workers.iter().map(|w| w.records).sum();
        let known = records + snapshot.exchanges + counters.events_dropped;
        let pending = self.workers.iter().any(|w| w.pump_at.is_some());
        assert!(
            pending || counters.requests == known,
            "of {} requests {} are in flight and {records} have left a record",
            counters.requests,
            snapshot.exchanges
        );
        self.check_memory(&snapshot);
    }

    /// What it runs with.
    pub(crate) fn config(&self) -> &Config {
        self.setup.config()
    }

    /// What tables may keep: they give their room back only when they are empty.
    fn kept(&self) -> u64 {
        self.most_live * SLOT_BYTES
    }

    /// Live bytes stay under 1.5 × the bounds of all that is live, and 1 MiB.
    fn check_memory(&self, snapshot: &Snapshot) {
        let connections = snapshot.downstream_connections + snapshot.backend_connections;
        let bounds = &self.bounds;
        // Either way: a head, what may lie unread, and what may lie unacknowledged.
        let windows = bounds.stream_window + bounds.grown_window + 2 * bounds.peer_window;
        let exchange = 2 * bounds.header_bytes + windows;
        // Streams that are over for us may have bytes that no one acknowledged yet.
        let connection = CONNECTION_BYTES + bounds.peer_window;
        let most = connections * connection + snapshot.exchanges * exchange;
        let most = self.kept() + self.buffers() as u64 + most + most / 2 + (1 << 20);
        let grown = self.grown();
        assert!(
            grown <= most as i64,
            "{grown} bytes are held for {connections} connections and {} exchanges: more than {most}",
            snapshot.exchanges
        );
    }
}

impl Worker {
    fn new(
        index: usize,
        setup: &Arc<Setup>,
        shared: &Arc<Shared>,
        listener: SocketAddr,
        seed: [u8; 32],
    ) -> Self {
        let now = Instant::now();
        let sockets: Vec<_> = (1..=SOCKETS)
            .map(|n| {
                let port = 40_000 + index as u16 * 16 + n;
                (SocketId(n), SocketAddr::new(listener.ip(), port))
            })
            .collect();
        let params = Params {
            setup: setup.clone(),
            shared: shared.clone(),
            worker: index,
            seed,
            wall: SystemTime::now(),
            sockets: Sockets {
                listener,
                backends: sockets.clone(),
            },
        };
        Worker {
            proxy: Proxy::new(params, now),
            pump: Pump::new(),
            sockets,
            pump_at: Some(now),
            blocked_until: None,
            clock_at: now + CLOCK_EVERY,
            drained: false,
            records: 0,
        }
    }

    fn receive(&mut self, datagram: Datagram<'_>, misrouted: &mut Vec<Misrouted>) {
        let now = Instant::now();
        memory::charged(|| self.proxy.handle_datagram(datagram, misrouted, now));
    }

    /// It has work: at once, or at its next turn.
    fn touch(&mut self, turn: Duration) {
        let at = Instant::now() + turn;
        self.pump_at = Some(self.pump_at.map_or(at, |planned| planned.min(at)));
    }

    fn pump(
        &mut self,
        cx: &mut Cx<'_>,
        segments: usize,
        blocked: u32,
        amplification: &mut Amplification,
        dice: &mut Rng,
    ) {
        let now = Instant::now();
        if now >= self.clock_at {
            self.clock_at = now + CLOCK_EVERY;
            self.proxy.handle_clock(SystemTime::now(), now);
        }
        if self.blocked_until.is_some_and(|until| until > now) {
            // A full socket stops no clock.
            memory::charged(|| self.proxy.handle_timeout(now));
            self.pump_at = self.blocked_until;
            return;
        }
        self.blocked_until = None;
        let mut wires = Sink {
            datagrams: Vec::new(),
            events: Vec::new(),
            segments,
            blocked,
            dice,
        };
        // As the drivers do: what is due first, then all there is to send.
        let sent = memory::charged(|| {
            self.proxy.handle_timeout(now);
            self.pump.run(&mut self.proxy, &mut wires, now)
        });
        let Sink {
            datagrams, events, ..
        } = wires;
        self.pump_at = None;
        if sent == Sent::Blocked {
            self.blocked_until = Some(now + BLOCKED_FOR);
            self.pump_at = self.blocked_until;
        } else {
            let due = self.proxy.poll_timeout();
            assert!(
                due.is_none_or(|at| at > now),
                "a timer stays due after the pump, a busy loop: {}",
                self.proxy.next_timer()
            );
        }
        for (from, to, bytes) in datagrams {
            amplification.sent(from, to, &bytes);
            cx.send(from, to, &bytes, now);
        }
        for event in events {
            match event {
                Event::Exchange(record) => {
                    self.records += 1;
                    cx.ledger().recorded(&record);
                }
                Event::KeyLog(_) | Event::Qlog(_) => panic!("nobody asked for secrets or traces"),
                Event::Drained => {
                    assert!(!self.drained, "Drained comes once");
                    self.drained = true;
                }
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let due = self.proxy.poll_timeout();
        // What became due while a socket is full waits for the pump.
        let due = due.map(|at| self.blocked_until.map_or(at, |until| at.max(until)));
        [due, self.pump_at].into_iter().flatten().min()
    }
}

/// Where a worker's pump pours into.
struct Sink<'a> {
    datagrams: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
    segments: usize,
    blocked: u32,
    dice: &'a mut Rng,
}

impl Io for Sink<'_> {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        if self.dice.chance(self.blocked) {
            return Sent::Blocked;
        }
        assert!(
            self.datagrams.len() < DATAGRAMS_A_TURN,
            "the pump does not come to an end"
        );
        let segment = transmit.segment_size.unwrap_or(bytes.len());
        let parts = bytes.chunks(segment);
        assert!(
            parts.len() <= self.segments,
            "no more segments than a call takes"
        );
        let datagram = |part: &[u8]| (transmit.from, transmit.to, part.to_vec());
        self.datagrams.extend(parts.map(datagram));
        Sent::Yes
    }

    fn max_segments(&self) -> usize {
        self.segments
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// The workers of a process.
fn process(
    setup: &Arc<Setup>,
    count: usize,
    secret: [u8; 32],
    listener: SocketAddr,
    dice: &mut Rng,
) -> Vec<Worker> {
    let shared = Shared::new(setup, count, secret);
    let worker = |index| Worker::new(index, setup, &shared, listener, seed(dice));
    (0..count).map(worker).collect()
}

fn seed(dice: &mut Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    dice.fill(&mut bytes);
    bytes
}

fn setup(
    scenario: &Scenario,
    listener: SocketAddr,
    identity: &Identity,
    backends: &[SocketAddr],
) -> Setup {
    let rows = (0..).zip(backends).zip(&scenario.backends);
    let rows: String = rows
        .map(|((index, address), plan): ((u32, _), _)| {
            let weight = plan.weight;
            format!("  - {{ id: b{index}, address: \"{address}\", weight: {weight} }}\n")
        })
        .collect();
    let text = format!(
        "listen: {{ address: \"{}\", port: {} }}\ntls: {{ cert: c.pem, key: k.pem }}\n\
         backend_tls: {{ ca: ca.pem, server_name: {NAME} }}\nbackends:\n{rows}{}",
        listener.ip(),
        listener.port(),
        scenario.config
    );
    let config = Config::parse("simulation.yaml", &text)
        .unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
    let files = config.files().into_iter().map(|path| {
        let is_key = path.ends_with("k.pem");
        let bytes = if is_key {
            &identity.key
        } else {
            &identity.cert
        };
        (path, Ok(bytes.clone()))
    });
    let material = Material {
        files: files.collect(),
        ..Material::default()
    };
    Setup::build(config, &material).unwrap_or_else(|found| panic!("{found:#?}"))
}
