//! A proxy, its clients, its backend, and the time, all in the hands of a script.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::io::{Datagram, SocketId, Sockets};
use spooky_core::pump::{Pump, Sent};
use spooky_core::{Params, Proxy, Shared};
use spooky_tests::sim::world;

use super::Played;
use super::backend::Backend;
use super::peer::Peer;
use super::requests;
use super::script::{Operation, Side, Switches};
use super::settings::{
    self, BACKEND, BACKEND_SOCKETS, CLIENT, LISTENER, NEIGHBOUR, OTHER_CLIENT, SILENT_BACKEND,
};
use super::witness::{Outgoing, Witness};

/// More than the deadlines of a request together: its place in a queue, two
/// handshakes, the response's head.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// Rounds in which a handshake on a network that loses nothing is surely done.
const HANDSHAKE: u8 = 8;

/// Times in a row that a timer may be due at one instant.
const FIRINGS: usize = 64;

/// Instants at which timers may be due in one step of time.
const TIMERS: usize = 5_000;

/// The time from one to the next of the three, and back.
const ROUND: Duration = Duration::from_millis(1);

/// Steps of time in milliseconds: around every deadline of the core.
const STEPS: [u64; 12] = [
    0, 1, 10, 25, 100, 500, 1_000, 5_000, 10_000, 30_000, 61_000, 90_000,
];

pub(crate) struct World {
    switches: Switches,
    proxy: Proxy,
    pump: Pump,
    witness: Witness,
    client: Peer,
    /// Connections that the client began.
    clients: u8,
    neighbour: Option<Peer>,
    backend: Backend,
    now: Instant,
}

impl World {
    pub(crate) fn new(switches: Switches) -> Self {
        let start = Instant::now();
        let segments = if switches.batched() { 10 } else { 1 };
        let mut world = World {
            switches,
            proxy: proxy(switches.tight(), start),
            pump: Pump::new(),
            witness: Witness::new(segments, start),
            client: Peer::client(CLIENT, 0, switches.slow_client()),
            clients: 1,
            neighbour: None,
            backend: Backend::new(switches.slow_backend()),
            now: start,
        };
        world.settle();
        if switches.connected() {
            world.relay(HANDSHAKE);
            assert!(
                world.client.is_established(),
                "a client of good will gets in"
            );
        }
        world
    }

    pub(crate) fn play(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::AtListener {
                other,
                stride,
                data,
            } => {
                let from = if other { OTHER_CLIENT } else { CLIENT };
                self.arrive(SocketId::LISTENER, from, LISTENER, stride, data);
            }
            Operation::AtBackendSocket { place, data } => {
                let (socket, _, to) = BACKEND_SOCKETS[usize::from(place & 1)];
                let from = if place & 2 == 0 {
                    BACKEND
                } else {
                    SILENT_BACKEND
                };
                self.arrive(socket, from, to, None, data);
            }
            Operation::Frames { side, place, data } => self.forge(side, place, data),
            Operation::Altered {
                side,
                astray,
                edits,
            } => self.alter(side, astray, edits),
            Operation::Stream {
                side,
                stream,
                fin,
                data,
            } => {
                if let Some(peer) = self.peer(side, 0) {
                    peer.write(u64::from(stream), data, fin);
                }
            }
            Operation::Shutdown {
                side,
                stream,
                how,
                code,
            } => {
                if let Some(peer) = self.peer(side, how >> 2) {
                    let code = 0x100 + u64::from(code);
                    peer.shutdown(u64::from(stream), how & 1 == 0, how & 2 == 0, code);
                }
            }
            Operation::Request { kind } => requests::send(&mut self.client, kind),
            Operation::Relay { rounds } => self.relay(rounds % 16),
            Operation::Lose { side, from } => self.lose(side, from),
            Operation::Advance { step } => {
                let step = STEPS[usize::from(step) % STEPS.len()];
                self.advance_to(self.now + Duration::from_millis(step));
            }
            Operation::NextTimer => {
                if let Some(timeout) = self.proxy.poll_timeout() {
                    self.advance_to(timeout);
                }
            }
            Operation::Unreachable { place } => {
                let (socket, ..) = BACKEND_SOCKETS[usize::from(place & 1)];
                let to = [BACKEND, SILENT_BACKEND, CLIENT, LISTENER][usize::from(place >> 1) % 4];
                self.proxy.handle_unreachable(socket, to, self.now);
            }
            Operation::Drain { seconds } => self.drain(Duration::from_secs(u64::from(seconds))),
            Operation::Leave { side, close } => self.leave(side, close),
            Operation::Return => {
                self.client = Peer::client(CLIENT, self.clients, self.switches.slow_client());
                self.clients = self.clients.wrapping_add(1);
                self.relay(HANDSHAKE);
            }
        }
        self.settle();
        if self.switches.relayed() {
            self.relay(4);
        }
    }

    /// Whatever the others did, a client of good will is answered: by the backend,
    /// or by Spooky with a reason, once its deadlines have passed.
    fn serve_neighbour(&mut self) {
        if self.witness.draining {
            return;
        }
        self.neighbour = Some(Peer::client(NEIGHBOUR, u8::MAX, false));
        self.relay(HANDSHAKE);
        let neighbour = self.neighbour.as_mut().expect("it has just come");
        assert!(neighbour.is_established(), "a neighbour gets in");
        requests::send(neighbour, 0);
        let patience = self.now + PATIENCE;
        loop {
            self.relay(HANDSHAKE);
            let neighbour = self.neighbour.as_mut().expect("it has just come");
            if !neighbour.take_heads().is_empty() {
                return;
            }
            let timeout = self.proxy.poll_timeout();
            assert!(timeout.is_some(), "a request that waits has a deadline");
            let then = self.next_timer().expect("there is that one").max(self.now);
            assert!(then <= patience, "a neighbour waits in vain");
            self.elapse(then);
        }
    }

    /// Drains, and looks whether everything was given back in time.
    pub(crate) fn end(mut self) -> Played {
        self.serve_neighbour();
        let left = Duration::from_secs(1);
        self.drain(left);
        self.settle();
        self.elapse(self.now + left);
        let snapshot = self.proxy.snapshot();
        assert_eq!(
            snapshot.exchanges, 0,
            "the drain's deadline ends every request"
        );
        assert!(self.witness.drained, "the drain ends at its deadline");
        for backend in &snapshot.backends {
            assert_eq!((backend.requests, backend.pending), (0, 0), "{backend:?}");
        }
        Played {
            counts: snapshot.counters.iter().collect(),
            digest: self.witness.digest(),
        }
    }

    fn drain(&mut self, left: Duration) {
        self.witness.draining = true;
        self.proxy.drain(self.now + left, self.now);
    }

    /// Takes everything out of the proxy, and looks whether all is well.
    fn settle(&mut self) {
        self.witness.begin_turn(self.now);
        let sent = self.pump.run(&mut self.proxy, &mut self.witness, self.now);
        assert_eq!(sent, Sent::Yes, "nothing is held for a sink that takes all");
        self.proxy.check_invariants();
        self.witness.check_counts(&self.proxy.snapshot());
    }

    /// Time passes; where datagrams travel by themselves, they do meanwhile.
    fn advance_to(&mut self, then: Instant) {
        if !self.switches.relayed() {
            self.elapse(then);
            return;
        }
        for _ in 0..TIMERS {
            let next = self.next_timer().map_or(then, |at| at.min(then));
            self.elapse(next);
            if self.now >= then {
                return;
            }
            self.relay(4);
        }
        panic!("timers without end");
    }

    /// Time passes, and every timer fires when it is due: ours and quiche's.
    fn elapse(&mut self, then: Instant) {
        for _ in 0..TIMERS {
            let next = self.next_timer().map_or(then, |at| at.min(then));
            let ahead = next.saturating_duration_since(self.now);
            world::set_now(world::now() + ahead.as_nanos() as u64);
            self.now = Instant::now();
            self.proxy.handle_clock(SystemTime::now(), self.now);
            self.fire();
            if self.now >= then {
                return;
            }
        }
        panic!("timers without end");
    }

    fn next_timer(&self) -> Option<Instant> {
        let neighbour = self.neighbour.as_ref().and_then(Peer::timeout);
        [
            self.proxy.poll_timeout(),
            self.client.timeout(),
            neighbour,
            self.backend.timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets every timer fire that is due. One that is due again at once, and
    /// again, would keep a worker busy for nothing.
    fn fire(&mut self) {
        self.client.fire(self.now);
        self.backend.fire(self.now);
        if let Some(neighbour) = self.neighbour.as_mut() {
            neighbour.fire(self.now);
        }
        for _ in 0..FIRINGS {
            self.settle();
            if self
                .proxy
                .poll_timeout()
                .is_none_or(|timeout| timeout > self.now)
            {
                return;
            }
            self.proxy.handle_timeout(self.now);
        }
        panic!("a timer that stays due");
    }

    fn arrive(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        to: SocketAddr,
        stride: Option<usize>,
        data: &[u8],
    ) {
        self.witness.note_arrival(socket, from);
        let mut data = data.to_vec();
        let stride = stride.unwrap_or(data.len());
        let mut misrouted = Vec::new();
        let data = &mut data[..];
        let datagram = Datagram {
            socket,
            from,
            to,
            stride,
            handed_over: false,
            data,
        };
        self.proxy
            .handle_datagram(datagram, &mut misrouted, self.now);
        assert!(
            misrouted.is_empty(),
            "there is no other worker: {misrouted:?}"
        );
    }

    /// Datagrams travel between all three, until there are none.
    fn relay(&mut self, rounds: u8) {
        for _ in 0..rounds {
            let mut moved = false;
            self.client.work();
            while let Some(data) = self.client.pending.pop_front() {
                self.arrive(SocketId::LISTENER, CLIENT, LISTENER, None, &data);
                moved = true;
            }
            moved |= self.bring_neighbour();
            self.backend.work();
            while let Some((data, to)) = self.backend.next() {
                self.arrive(socket_at(to), BACKEND, to, None, &data);
                moved = true;
            }
            self.settle();
            while let Some(outgoing) = self.witness.outgoing.pop_front() {
                self.carry(outgoing);
                moved = true;
            }
            self.elapse(self.now + ROUND);
            if !moved {
                return;
            }
        }
    }

    fn bring_neighbour(&mut self) -> bool {
        let Some(neighbour) = self.neighbour.as_mut() else {
            return false;
        };
        neighbour.work();
        let pending: Vec<Vec<u8>> = neighbour.pending.drain(..).collect();
        for data in &pending {
            self.arrive(SocketId::LISTENER, NEIGHBOUR, LISTENER, None, data);
        }
        !pending.is_empty()
    }

    fn carry(&mut self, mut outgoing: Outgoing) {
        if outgoing.to == NEIGHBOUR {
            if let Some(neighbour) = self.neighbour.as_mut() {
                neighbour.receive(&mut outgoing.data);
            }
        } else if outgoing.socket == SocketId::LISTENER {
            self.client.receive(&mut outgoing.data);
        } else if outgoing.to == BACKEND && !self.switches.no_backend() {
            let socket = BACKEND_SOCKETS
                .iter()
                .find(|(id, ..)| *id == outgoing.socket);
            let (.., seen) = socket.expect("the witness knows the sockets");
            self.backend.receive(&mut outgoing.data, *seen);
        }
    }

    fn peer(&mut self, side: Side, place: u8) -> Option<&mut Peer> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Backend => self.backend.peer(place),
        }
    }

    /// The next datagrams of a side reach the proxy.
    fn deliver(&mut self, side: Side, place: u8) {
        let Some(peer) = self.peer(side, place) else {
            return;
        };
        let (local, remote) = (peer.local, peer.remote);
        let pending: Vec<Vec<u8>> = peer.pending.drain(..).collect();
        for data in pending {
            self.arrive(socket_at(remote), local, remote, None, &data);
        }
    }

    fn forge(&mut self, side: Side, place: u8, frames: &[u8]) {
        if let Some(peer) = self.peer(side, place) {
            peer.forge(frames);
        }
        self.deliver(side, place);
    }

    /// `edits` are triples: two bytes of place, one of value.
    fn alter(&mut self, side: Side, astray: u8, edits: &[u8]) {
        let Some(peer) = self.peer(side, astray >> 4) else {
            return;
        };
        peer.work();
        let Some(mut data) = peer.pending.pop_front() else {
            return;
        };
        let (local, remote) = (peer.local, peer.remote);
        for edit in edits.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % data.len().max(1);
            if let Some(byte) = data.get_mut(place) {
                *byte = edit[2];
            }
        }
        let (socket, from, to) = match astray & 0xf {
            // It moved, or its NAT did.
            1 if side == Side::Client => (SocketId::LISTENER, OTHER_CLIENT, LISTENER),
            // At a socket that is not for it.
            2 => (BACKEND_SOCKETS[1].0, local, BACKEND_SOCKETS[1].2),
            3 => (SocketId::LISTENER, local, LISTENER),
            _ => (socket_at(remote), local, remote),
        };
        self.arrive(socket, from, to, None, &data);
    }

    fn lose(&mut self, side: Side, from: bool) {
        match (side, from) {
            (Side::Client, true) => {
                self.client.work();
                self.client.pending.clear();
            }
            (Side::Backend, true) => self.backend.lose(),
            (_, false) => {
                let lost =
                    |o: &Outgoing| (o.socket == SocketId::LISTENER) == (side == Side::Client);
                self.witness.outgoing.retain(|o| !lost(o));
            }
        }
    }

    fn leave(&mut self, side: Side, close: bool) {
        if let Some(peer) = self.peer(side, 0) {
            if close {
                peer.close();
            } else {
                peer.goaway(0);
            }
        }
    }
}

/// The socket of the proxy that a peer sees at `address`.
fn socket_at(address: SocketAddr) -> SocketId {
    let socket = BACKEND_SOCKETS.iter().find(|(.., seen)| *seen == address);
    socket.map_or(SocketId::LISTENER, |(id, ..)| *id)
}

fn proxy(tight: bool, now: Instant) -> Proxy {
    let setup = settings::proxy_setup(tight);
    let shared = Shared::new(&setup, 1, [1; 32]);
    let backends = BACKEND_SOCKETS
        .iter()
        .map(|(id, bound, _)| (*id, *bound))
        .collect();
    let sockets = Sockets {
        listener: LISTENER,
        backends,
    };
    let wall = SystemTime::now();
    Proxy::new(
        Params {
            setup,
            shared,
            worker: 0,
            seed: [2; 32],
            wall,
            sockets,
        },
        now,
    )
}
