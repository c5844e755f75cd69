//! What goes in and out of a [`Proxy`](crate::Proxy): datagrams, events, handles.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use crate::limits;
use crate::observe::{KeyLines, QlogPiece, Record};

/// One of the worker's UDP sockets, numbered by the driver.
///
/// The listener is always [`SocketId::LISTENER`]; the others carry connections
/// to backends and are named in [`Sockets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The socket that clients send to.
    pub const LISTENER: SocketId = SocketId(0);
}

/// The sockets a worker has, as the driver bound them.
#[derive(Clone, Debug)]
pub struct Sockets {
    /// Local address of the listener; the port is the one really bound.
    pub listener: SocketAddr,
    /// Sockets for connections to backends, with their bound local addresses.
    /// A backend is reached through one of its own address family.
    pub backends: Vec<(SocketId, SocketAddr)>,
}

/// One or more datagrams of equal size from one peer, as received (a GRO batch).
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The socket it arrived on.
    pub socket: SocketId,
    /// Who sent it. Canonical: no IPv4 address in IPv6 clothes.
    pub from: SocketAddr,
    /// The local address it was sent to, with the bound port.
    pub to: SocketAddr,
    /// Bytes a datagram; the last of `data` may be shorter. At least 1.
    pub stride: usize,
    /// True if another worker passed it here: it is never passed on again.
    pub handed_over: bool,
    /// The bytes. QUIC decrypts in place, so they are scribbled over.
    pub data: &'a mut [u8],
}

/// A part of a [`Datagram`] batch that belongs to another worker.
///
/// The bytes of the range are untouched. The driver hands them to that worker's
/// `Proxy` with `handed_over` set, through a bounded queue that counts what it drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misrouted {
    /// Index of the worker, always less than the number of workers.
    pub worker: usize,
    /// Bytes of `Datagram::data`: one datagram.
    pub range: Range<usize>,
}

/// One or more datagrams to send now, in the buffer given to `poll_transmit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send from.
    pub socket: SocketId,
    /// The local address to send from (a wildcard listener answers from where it
    /// was asked). An unspecified address leaves the choice to the system.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// Bytes in the buffer, all segments together.
    pub size: usize,
    /// Size of every datagram but the last, which may be shorter; `None` if
    /// there is only one.
    pub segment_size: Option<usize>,
}

/// Something an operator or a test may want to know.
#[derive(Debug)]
pub enum Event {
    /// A request ended, exactly once.
    Exchange(Box<Record>),
    /// Secrets of a connection, for `log.tls_keys`: whoever has them and the datagrams
    /// reads everything.
    KeyLog(KeyLines),
    /// A piece of a connection's trace, for `log.qlog`.
    Qlog(Box<QlogPiece>),
    /// Draining is done: no connection is left. Comes once after `drain`.
    Drained,
}

/// A key into one of the worker's tables that notices when its slot was reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Slots with generations: a handle to something that was removed finds nothing.
///
/// What they hold is boxed: a table keeps its slots for as long as anything is left in
/// it, and after a flood that is one connection among tens of thousands of empty ones.
/// One allocation is nothing beside what a connection or a request makes anyway.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: slab::Slab<(u32, Box<T>)>,
    generation: u32,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Table {
            slots: slab::Slab::new(),
            generation: 0,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slots.insert((self.generation, Box::new(value)));
        Handle {
            slot: u32::try_from(slot).expect("tables are bounded far below 2^32"),
            generation: self.generation,
        }
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        match self.slots.get(handle.slot as usize) {
            Some((generation, value)) if *generation == handle.generation => Some(value),
            Some(_) | None => None,
        }
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        match self.slots.get_mut(handle.slot as usize) {
            Some((generation, value)) if *generation == handle.generation => Some(value),
            Some(_) | None => None,
        }
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        self.get(handle)?;
        let removed = *self.slots.remove(handle.slot as usize).1;
        if self.slots.is_empty() && self.slots.capacity() > limits::EMPTY_TABLE {
            // A crowd that has left leaves no memory behind.
            self.slots = slab::Slab::new();
        }
        Some(removed)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Every live handle. For commands and checks, never for the data path.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        let handle = |(slot, (generation, _)): (usize, &(u32, Box<T>))| Handle {
            slot: slot as u32,
            generation: *generation,
        };
        self.slots.iter().map(handle).collect()
    }
}

/// The earlier of two deadlines, where `None` is never.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_empties_gives_its_room_back() {
        let mut table = Table::new();
        let handles: Vec<Handle> = (0..1000).map(|n| table.insert(n)).collect();
        for handle in &handles {
            assert!(table.remove(*handle).is_some());
        }
        assert_eq!(table.slots.capacity(), 0);
        let next = table.insert(1);
        assert_eq!(table.get(handles[0]), None, "old handles stay dead");
        assert_eq!(table.get(next), Some(&1));
    }

    #[test]
    fn an_empty_slot_costs_next_to_nothing() {
        let mut table = Table::new();
        table.insert([0u8; 2000]);
        assert!(size_of_val(&table.slots[0]) <= 16);
    }

    #[test]
    fn a_handle_to_a_reused_slot_finds_nothing() {
        let mut table = Table::new();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
    }
}
