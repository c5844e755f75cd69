//! The order of things: one queue of events by (time, sequence), the wires
//! between nodes, and what a node may do while it handles an event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::ledger::Ledger;
use super::network::{Network, PacketFault};
use super::trace::{Party, Trace, What};
use super::world;

/// Something that happens at a time.
pub(crate) enum Event {
    /// A node begins.
    Start(Party),
    /// A datagram arrives, from an address at an address.
    Arrive(Party, SocketAddr, SocketAddr, Vec<u8>),
    /// A datagram leaves that its sender held back.
    Leave(Party, SocketAddr, SocketAddr, Vec<u8>),
    /// A node's timer.
    Timer(Party),
    /// The fault of this index.
    Fault(usize),
    /// The balancer hears that nobody listens at an address it sent to from its own.
    Unreachable(SocketAddr, SocketAddr),
    /// Clients leave.
    End,
}

/// When an event comes: its time and, among equals, its order.
pub(crate) type Key = (u64, u64);

/// Everything of a simulation but its nodes.
pub(crate) struct Wires {
    queue: BTreeMap<Key, Event>,
    sequence: u64,
    timers: BTreeMap<Party, Key>,
    /// Who is behind an address that the network knows.
    addresses: BTreeMap<SocketAddr, Party>,
    /// The addresses that a NAT gave, outside → inside, and the other way.
    inside: BTreeMap<SocketAddr, SocketAddr>,
    outside: BTreeMap<SocketAddr, SocketAddr>,
    /// Backends that are down, and whether their host says so.
    pub(crate) down: BTreeMap<Party, bool>,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
    pub(crate) ledger: Ledger,
    /// Datagrams that arrived.
    pub(crate) arrived: u64,
    buffers: Vec<Vec<u8>>,
}

impl Wires {
    pub(crate) fn new(network: Network, trace: Trace, ledger: Ledger) -> Self {
        Wires {
            queue: BTreeMap::new(),
            sequence: 0,
            timers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
            down: BTreeMap::new(),
            network,
            trace,
            ledger,
            arrived: 0,
            buffers: Vec::new(),
        }
    }

    /// Lets `event` happen at `at`, after all that was planned for then.
    pub(crate) fn plan(&mut self, at: u64, event: Event) -> Key {
        self.sequence += 1;
        let key = (at, self.sequence);
        self.queue.insert(key, event);
        key
    }

    /// The next event up to `limit`; the clock moves to its time.
    pub(crate) fn next(&mut self, limit: u64) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        let (at, _) = *entry.key();
        if at > limit {
            return None;
        }
        let event = entry.remove();
        world::set_now(at);
        if let Event::Timer(who) = event {
            self.timers.remove(&who);
            self.trace.timer(who);
        }
        Some(event)
    }

    /// `address` belongs to `who` from now on.
    pub(crate) fn bind(&mut self, address: SocketAddr, who: Party) {
        self.addresses.insert(address, who);
    }

    /// Puts a NAT before `inside` that shows `outside`, and forgets what it showed before.
    pub(crate) fn rebind(&mut self, inside: SocketAddr, outside: SocketAddr, who: Party) {
        let before = self.outside.insert(inside, outside).unwrap_or(inside);
        self.inside.remove(&before);
        self.addresses.remove(&before);
        self.inside.insert(outside, inside);
        self.addresses.insert(outside, who);
    }

    /// Replaces the one timer of `who`.
    fn set_timer(&mut self, who: Party, at: Option<u64>) {
        let at = at.map(|at| at.max(world::now()));
        if let Some(key) = self.timers.get(&who) {
            if Some(key.0) == at {
                return;
            }
            self.queue.remove(key);
            self.timers.remove(&who);
        }
        if let Some(at) = at {
            let key = self.plan(at, Event::Timer(who));
            self.timers.insert(who, key);
        }
    }

    /// Puts a datagram on the wire, now.
    pub(crate) fn transmit(
        &mut self,
        sender: Party,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) {
        let now = world::now();
        let from = self.outside.get(&from).copied().unwrap_or(from);
        let receiver = self.addresses.get(&to).copied();
        let receiver = receiver.unwrap_or(Party::Nobody);
        self.trace.datagram(What::Sent, sender, receiver, &bytes);
        let fate = self.network.fate(sender, receiver, bytes.len(), now);
        if fate.arrivals == [None, None] {
            self.trace.datagram(What::Lost, sender, receiver, &[]);
        }
        let mut original = bytes;
        if let Some(places) = fate.altered {
            for place in places {
                let len = original.len() as u64;
                if let Some(byte) = original.get_mut((place % len.max(1)) as usize) {
                    *byte ^= ((place >> 32) as u8) | 1;
                }
            }
        }
        for at in fate.arrivals.into_iter().flatten() {
            let mut copy = self.buffer();
            copy.extend_from_slice(&original);
            // Whose address it is, is known when it arrives.
            self.plan(at, Event::Arrive(sender, from, to, copy));
        }
        self.buffers.push(original);
    }

    /// Who receives what is sent to `to`, and the address it has there.
    pub(crate) fn receiver(&self, to: SocketAddr) -> (Party, SocketAddr) {
        let party = self.addresses.get(&to).copied();
        let inside = self.inside.get(&to).copied();
        (party.unwrap_or(Party::Nobody), inside.unwrap_or(to))
    }

    /// An empty buffer, used before.
    fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.buffers.push(buffer);
    }

    /// What the network did so far.
    pub(crate) fn faults(&self) -> &[PacketFault] {
        &self.network.faults
    }
}

/// What a node may do.
pub(crate) struct Cx<'a> {
    pub(crate) who: Party,
    pub(crate) wires: &'a mut Wires,
}

impl Cx<'_> {
    /// Sends a datagram at `at`, or now if that is past.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], at: Instant) {
        let mut copy = self.wires.buffer();
        copy.extend_from_slice(bytes);
        let at = world::nanoseconds(at);
        if at <= world::now() {
            self.wires.transmit(self.who, from, to, copy);
        } else {
            self.wires.plan(at, Event::Leave(self.who, from, to, copy));
        }
    }

    /// Replaces this node's timer.
    pub(crate) fn set_timer(&mut self, at: Option<Instant>) {
        let at = at.map(world::nanoseconds);
        self.wires.set_timer(self.who, at);
    }

    /// Writes into the trace.
    pub(crate) fn note(&mut self, text: String) {
        self.wires.trace.say(What::Note, self.who, text);
    }

    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.wires.ledger
    }
}
