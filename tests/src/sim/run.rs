//! One run of a scenario: the nodes, the loop, and what must hold at the end.
#![allow(
    clippy::result_large_err,
    reason = "a failure is made once, at the end of a run"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use spooky_core::observe::Snapshot;

use super::backend::Backend;
use super::balancer::Balancer;
use super::client::Client;
use super::failure::{self, Failure};
use super::ledger::Ledger;
use super::network::{Link, Network, PacketFault};
use super::plan::{FaultKind, Scenario};
use super::quic::Identity;
use super::rng::Rng;
use super::scheduler::{Cx, Event, Wires};
use super::trace::{Party, Trace, TraceHash, What};
use super::{memory, world};

/// Time for everything to come to an end after the clients left: idle timeouts of
/// connections and pools, and the drain.
const AFTERMATH: Duration = Duration::from_secs(600);
/// What the balancer may still hold when all is over, more than at its beginning, for
/// each client, backend and request there was, and each connection to a backend: tables
/// keep the room they grew to.
const KEPT_EACH: i64 = 512;
/// Steps in one moment of virtual time.
const MOMENT: u64 = 100_000;
/// Steps of a run: more is a storm.
const STEPS: u64 = 50_000_000;

/// What a run that kept every promise leaves behind.
#[derive(Debug)]
pub struct Report {
    /// Covers everything that happened.
    pub hash: TraceHash,
    /// Events handled.
    pub steps: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// The most bytes the balancer held, more than at its beginning.
    pub most_bytes: i64,
    /// The balancer at its end.
    pub snapshot: Snapshot,
    /// Every request.
    pub ledger: Ledger,
    /// Harm the network did.
    pub faults: Vec<PacketFault>,
    /// Clients that resumed a session.
    pub resumed: u32,
}

impl Scenario {
    /// Plays it, on a thread and in a world of its own.
    ///
    /// # Errors
    /// The first promise that was broken, and how it came to that.
    pub fn run(&self) -> Result<Report, Failure> {
        self.run_logged(None)
    }

    /// The same, with every action written to a file.
    ///
    /// # Errors
    /// See [`Scenario::run`].
    pub fn run_logged(&self, log: Option<&Path>) -> Result<Report, Failure> {
        failure::install_hook();
        world::isolated(self.seed, || {
            let trace = Trace::new(log);
            let mut network = Network::new(
                self.seed,
                self.client_link.clone(),
                self.backend_link.clone(),
            );
            network.only = self.kept.clone();
            let mut wires = Wires::new(network, trace, Ledger::new(self));
            let mut steps = 0;
            let played = catch_unwind(AssertUnwindSafe(|| {
                let mut run = Run::new(self, &mut wires);
                run.play(&mut steps);
                run.finish()
            }));
            match played {
                Ok(played) => Ok(Report {
                    hash: wires.trace.sum(),
                    steps,
                    datagrams: wires.arrived,
                    time: world::elapsed(),
                    most_bytes: played.most_bytes,
                    snapshot: played.snapshot,
                    resumed: played.resumed,
                    faults: wires.faults().to_vec(),
                    ledger: wires.ledger,
                }),
                Err(panic) => Err(Failure::new(self.seed, steps, &wires, &*panic)),
            }
        })
    }
}

struct Run<'a> {
    scenario: &'a Scenario,
    wires: &'a mut Wires,
    clients: Vec<Client>,
    backends: Vec<Backend>,
    balancer: Balancer,
    backend_addresses: Vec<SocketAddr>,
    /// Addresses that NATs gave, a client.
    rebound: BTreeMap<u32, u16>,
    /// Ports that somebody who repeats has used.
    replays: u16,
    most_live: i64,
}

struct Played {
    snapshot: Snapshot,
    most_bytes: i64,
    resumed: u32,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, wires: &'a mut Wires) -> Self {
        let identity = Identity::new(scenario.names);
        let listener = address(192, 0, 0, 443);
        let dice = |label: u64| Rng::new(scenario.seed, 0x100 + label);
        let backend_addresses: Vec<_> = (0..scenario.backends.len())
            .map(|index| address(172, 16, index as u32 + 1, 4433))
            .collect();
        let balancer = Balancer::new(scenario, listener, &identity, &backend_addresses);
        for address in balancer.addresses() {
            wires.bind(address, Party::Balancer);
        }
        let backends = (0..).zip(&scenario.backends).zip(&backend_addresses);
        let backends: Vec<_> = backends
            .map(|((index, plan), &address)| {
                let who = Party::Backend(index);
                wires.bind(address, who);
                if plan.absent {
                    wires.down.insert(who, true);
                }
                Backend::new(index, plan.clone(), address, &identity, dice(who.number()))
            })
            .collect();
        let clients = (0..).zip(&scenario.clients);
        let clients: Vec<_> = clients
            .map(|(index, plan)| {
                let who = Party::Client(index);
                let address = address(10, 0, index + 1, 50_000);
                wires.bind(address, who);
                wires.plan(plan.start.as_nanos() as u64, Event::Start(who));
                Client::new(index, plan.clone(), address, listener, dice(who.number()))
            })
            .collect();
        let own = |who, link: &Option<Link>| link.clone().map(|link| (who, link));
        let of_clients = (0..).zip(&scenario.clients);
        let of_clients = of_clients.filter_map(|(n, c)| own(Party::Client(n), &c.link));
        let of_backends = (0..).zip(&scenario.backends);
        let of_backends = of_backends.filter_map(|(n, b)| own(Party::Backend(n), &b.link));
        wires.network.own_links = of_clients.chain(of_backends).collect();
        wires.plan(0, Event::Start(Party::Balancer));
        for (index, fault) in scenario.faults.iter().enumerate() {
            wires.plan(fault.at.as_nanos() as u64, Event::Fault(index));
        }
        wires.plan(scenario.until.as_nanos() as u64, Event::End);
        Run {
            scenario,
            wires,
            clients,
            backends,
            balancer,
            backend_addresses,
            rebound: BTreeMap::new(),
            replays: 30_000,
            most_live: 0,
        }
    }

    /// Handles events until there are none, or until nothing should be left.
    fn play(&mut self, steps: &mut u64) {
        let limit = (self.scenario.until + AFTERMATH).as_nanos() as u64;
        let (mut moment, mut since) = (0, 0);
        while let Some(event) = self.wires.next(limit) {
            *steps += 1;
            assert!(*steps < STEPS, "the simulation does not come to an end");
            if world::now() != moment {
                (moment, since) = (world::now(), *steps);
            }
            assert!(*steps - since < MOMENT, "time stands still");
            self.handle(event);
            self.balancer.check();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Start(who) | Event::Timer(who) if self.is_down(who) => {}
            Event::Start(Party::Client(index)) => self.client(index, Client::start),
            Event::Start(Party::Balancer) => self.balancer(Balancer::start),
            Event::Start(Party::Backend(_) | Party::Nobody) => {}
            Event::Timer(Party::Client(index)) => self.client(index, Client::timer),
            Event::Timer(Party::Backend(index)) => self.backend(index, Backend::timer),
            Event::Timer(Party::Balancer) => self.balancer(Balancer::timer),
            Event::Timer(Party::Nobody) => {}
            Event::Leave(sender, from, to, bytes) => {
                self.wires.transmit(sender, from, to, bytes);
            }
            Event::Arrive(sender, from, to, bytes) => self.arrive(sender, from, to, bytes),
            Event::Unreachable(socket, to) => {
                self.balancer(|balancer, cx| balancer.unreachable(cx, socket, to));
            }
            Event::Fault(index) => self.fault(&self.scenario.faults[index].what),
            Event::End => self.end(),
        }
    }

    fn is_down(&self, who: Party) -> bool {
        self.wires.down.contains_key(&who)
    }

    fn arrive(&mut self, sender: Party, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        let (who, inside) = self.wires.receiver(to);
        self.wires
            .trace
            .datagram(What::Arrived, sender, who, &bytes);
        if let Some(&refuses) = self.wires.down.get(&who) {
            if refuses && sender == Party::Balancer {
                let back = self.wires.network.backend_link.latency.as_nanos() as u64;
                self.wires
                    .plan(world::now() + back, Event::Unreachable(from, to));
            }
            self.wires.recycle(bytes);
            return;
        }
        self.wires.arrived += 1;
        let data = &mut bytes[..];
        match who {
            Party::Client(index) => {
                self.client(index, |client, cx| client.datagram(cx, from, inside, data));
            }
            Party::Backend(index) => {
                self.backend(index, |backend, cx| {
                    backend.datagram(cx, from, inside, data)
                });
            }
            Party::Balancer => {
                self.balancer(|balancer, cx| balancer.datagram(cx, from, inside, data));
            }
            Party::Nobody => {}
        }
        self.wires.recycle(bytes);
    }

    fn fault(&mut self, what: &FaultKind) {
        self.wires
            .trace
            .say(What::Fault, Party::Nobody, format!("{what:?}"));
        match *what {
            FaultKind::Crash { backend, refuses } => {
                self.backend(backend, Backend::crash);
                self.wires.down.insert(Party::Backend(backend), refuses);
            }
            FaultKind::Restart { backend } => {
                self.wires.down.remove(&Party::Backend(backend));
            }
            FaultKind::Goaway { backend } => self.backend(backend, Backend::goaway),
            FaultKind::CutOffBackend { backend } => {
                self.wires.network.cut_off.insert(Party::Backend(backend));
            }
            FaultKind::CutOffClient { client } => {
                self.wires.network.cut_off.insert(Party::Client(client));
            }
            FaultKind::Heal => self.wires.network.cut_off.clear(),
            FaultKind::Rebind { client } => self.rebind(client),
            FaultKind::Migrate { client } => self.client(client, Client::migrate),
            FaultKind::Replay { client } => self.replay(client),
            FaultKind::Unreachable { backend } => {
                if let Some(&to) = self.backend_addresses.get(backend as usize) {
                    self.balancer(|balancer, cx| balancer.unreachable_everywhere(cx, to));
                }
            }
            FaultKind::Links {
                ref clients,
                ref backends,
            } => {
                self.wires.network.client_link = clients.clone();
                self.wires.network.backend_link = backends.clone();
            }
            FaultKind::RestartBalancer => self.balancer(Balancer::restart),
            FaultKind::Drain { within } => {
                self.balancer(|balancer, cx| balancer.drain(cx, within));
            }
        }
    }

    fn replay(&mut self, client: u32) {
        let Some(node) = self.clients.get(client as usize) else {
            return;
        };
        self.replays += 1;
        let from = address(REPEATER[0], REPEATER[1], client + 1, self.replays);
        for (to, bytes) in node.first_flight().to_vec() {
            self.wires.transmit(Party::Nobody, from, to, bytes);
        }
    }

    fn rebind(&mut self, client: u32) {
        let Some(node) = self.clients.get(client as usize) else {
            return;
        };
        let count = self.rebound.entry(client).or_insert(0);
        *count += 1;
        let outside = address(203, 0, client + 1, 20_000 + *count);
        self.wires
            .rebind(node.address(), outside, Party::Client(client));
    }

    /// Clients leave, networks heal, and the balancer is told to drain.
    fn end(&mut self) {
        self.most_live = memory::most() - self.balancer.began_with();
        self.wires.network.cut_off.clear();
        for index in 0..self.clients.len() as u32 {
            self.client(index, Client::leave);
        }
        self.balancer(|balancer, cx| balancer.drain(cx, Duration::from_secs(30)));
    }

    /// What must hold when everything is over.
    fn finish(self) -> Played {
        let snapshot = self.balancer.snapshot();
        assert!(
            self.balancer.is_empty(),
            "something is left when all is over: {snapshot:?}"
        );
        for backend in &snapshot.backends {
            let left = (backend.connections, backend.requests, backend.pending);
            assert_eq!(left, (0, 0, 0), "a backend keeps its places: {backend:?}");
        }
        assert!(self.balancer.is_drained(), "Drained was not told");
        let timeout = self.balancer.next_timeout();
        let late = Instant::now() + Duration::from_secs(3600);
        assert!(
            timeout.is_none_or(|at| at > late),
            "a timer is left when all is over"
        );
        self.wires.ledger.check_end(self.balancer.config());
        let peers = self.clients.len() + self.backends.len() + self.wires.ledger.entries().len();
        // Clients' connections are in `peers`; those to backends are as many as it took.
        let held = peers as u64 + self.balancer.most_backend_connections();
        let kept = self.balancer.buffers() + KEPT_EACH * held as i64;
        let grown = self.balancer.grown();
        assert!(
            grown <= kept,
            "{grown} bytes are still held when all is over, more than {kept}"
        );
        let resumed = self.clients.iter().filter(|c| c.resumed).count() as u32;
        Played {
            snapshot,
            most_bytes: self.most_live,
            resumed,
        }
    }

    fn client(&mut self, index: u32, f: impl FnOnce(&mut Client, &mut Cx<'_>)) {
        let who = Party::Client(index);
        let wires = &mut *self.wires;
        if let Some(node) = self.clients.get_mut(index as usize) {
            f(node, &mut Cx { who, wires });
        }
    }

    fn backend(&mut self, index: u32, f: impl FnOnce(&mut Backend, &mut Cx<'_>)) {
        let who = Party::Backend(index);
        let wires = &mut *self.wires;
        if let Some(node) = self.backends.get_mut(index as usize) {
            f(node, &mut Cx { who, wires });
        }
    }

    fn balancer(&mut self, f: impl FnOnce(&mut Balancer, &mut Cx<'_>)) {
        let who = Party::Balancer;
        let wires = &mut *self.wires;
        f(&mut self.balancer, &mut Cx { who, wires });
    }
}

/// Where those are who send again what they see.
const REPEATER: [u8; 2] = [198, 51];

pub(crate) fn is_repeater(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets().starts_with(&REPEATER))
}

/// An IPv4 address of number `n` in a network of two bytes.
fn address(a: u8, b: u8, n: u32, port: u16) -> SocketAddr {
    SocketAddr::from(([a, b, (n >> 8) as u8, n as u8], port))
}
