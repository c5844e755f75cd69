//! Sees everything that comes out of the proxy, and says what must hold of it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use spooky_core::io::{Event, SocketId, Transmit};
use spooky_core::observe::{Outcome, Record, Snapshot};
use spooky_core::pump::{Io, Sent};

use super::settings::{BACKEND, BACKEND_SOCKETS, LISTENER, SILENT_BACKEND};

/// Transmits of one turn: far beyond the windows of all connections together.
const TRANSMITS: usize = 20_000;

/// What nobody fetched is lost, as on a network.
const KEPT: usize = 4_096;

/// A datagram that the proxy sent.
pub(crate) struct Outgoing {
    pub(crate) socket: SocketId,
    pub(crate) to: SocketAddr,
    pub(crate) data: Vec<u8>,
}

/// The world's side of the pump.
pub(crate) struct Witness {
    pub(crate) outgoing: VecDeque<Outgoing>,
    pub(crate) drained: bool,
    pub(crate) draining: bool,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    segments: usize,
    transmits: usize,
    records: BTreeSet<u64>,
    /// Who ever sent something to the listener: anybody may be a client.
    callers: BTreeSet<SocketAddr>,
    digest: DefaultHasher,
}

impl Witness {
    pub(crate) fn new(segments: usize, now: Instant) -> Self {
        Witness {
            outgoing: VecDeque::new(),
            drained: false,
            draining: false,
            start: now,
            now,
            segments,
            transmits: 0,
            records: BTreeSet::new(),
            callers: BTreeSet::new(),
            digest: DefaultHasher::new(),
        }
    }

    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.transmits = 0;
    }

    /// Somebody sends something to this socket.
    pub(crate) fn note_arrival(&mut self, socket: SocketId, from: SocketAddr) {
        if socket == SocketId::LISTENER {
            self.callers.insert(from);
        }
    }

    /// Of everything that was sent.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Every request is in flight, or has left its one record.
    pub(crate) fn check_counts(&self, snapshot: &Snapshot) {
        let counters = &snapshot.counters;
        let ended = counters.requests_complete
            + counters.requests_local_reply
            + counters.requests_reset
            + counters.requests_cancelled;
        assert_eq!(counters.events_dropped, 0, "the ring holds a turn's events");
        assert_eq!(ended, self.records.len() as u64, "a record for every end");
        assert_eq!(
            counters.requests,
            ended + snapshot.exchanges,
            "no request is lost"
        );
    }

    fn check_record(&mut self, record: &Record) {
        assert!(
            self.records.insert(record.id),
            "a second record of {record:?}"
        );
        assert!(
            self.callers.contains(&record.client),
            "from nowhere: {record:?}"
        );
        let age = self.now - self.start + Duration::from_secs(1);
        assert!(record.duration <= age, "older than the world: {record:?}");
        assert!(
            record.time_to_head <= Some(record.duration),
            "late: {record:?}"
        );
        assert_eq!(
            record.status.is_some(),
            record.time_to_head.is_some(),
            "{record:?}"
        );
        assert!(
            record.status.is_none_or(|s| (200..=599).contains(&s)),
            "{record:?}"
        );
        assert_eq!(record.attempts > 0, record.backend.is_some(), "{record:?}");
        match record.outcome {
            Outcome::Complete => {
                assert!(
                    record.status.is_some() && record.backend.is_some(),
                    "{record:?}"
                );
                assert!(
                    record.request.is_some() && record.reason.is_none(),
                    "{record:?}"
                );
            }
            Outcome::LocalReply => {
                let reason = record.reason.expect("a local reply has its reason");
                assert_eq!(record.status, Some(reason.status()), "{record:?}");
            }
            Outcome::Reset | Outcome::Cancelled => {
                assert!(record.reason.is_some(), "{record:?}");
            }
        }
    }

    /// The listener talks to clients, the other sockets to backends, each as itself.
    fn check_way(&self, transmit: &Transmit) {
        if transmit.socket == SocketId::LISTENER {
            assert!(
                self.callers.contains(&transmit.to),
                "the listener talks to a stranger: {transmit:?}"
            );
            assert_eq!(transmit.from, LISTENER, "{transmit:?}");
            return;
        }
        let socket = BACKEND_SOCKETS
            .iter()
            .find(|(id, ..)| *id == transmit.socket);
        let (_, bound, _) = socket.expect("a socket that there is");
        assert_eq!(transmit.from, *bound, "{transmit:?}");
        assert!(
            [BACKEND, SILENT_BACKEND].contains(&transmit.to),
            "to a stranger: {transmit:?}"
        );
    }
}

impl Io for Witness {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        self.transmits += 1;
        assert!(
            self.transmits < TRANSMITS,
            "sends without end: {transmit:?}"
        );
        assert_eq!(transmit.size, bytes.len());
        assert!(!bytes.is_empty(), "an empty transmit");
        self.check_way(transmit);
        (self.now - self.start).hash(&mut self.digest);
        (
            transmit.socket.0,
            transmit.from,
            transmit.to,
            transmit.segment_size,
        )
            .hash(&mut self.digest);
        bytes.hash(&mut self.digest);
        let segment = transmit.segment_size.unwrap_or(transmit.size);
        assert!(segment > 0 && segment <= transmit.size, "{transmit:?}");
        let count = transmit.size.div_ceil(segment);
        assert!(count <= self.segments, "{count} segments: {transmit:?}");
        for data in bytes.chunks(segment) {
            assert!(
                data.len() <= 1500,
                "longer than Ethernet carries: {transmit:?}"
            );
            if self.outgoing.len() == KEPT {
                self.outgoing.pop_front();
            }
            let (socket, to) = (transmit.socket, transmit.to);
            self.outgoing.push_back(Outgoing {
                socket,
                to,
                data: data.to_vec(),
            });
        }
        Sent::Yes
    }

    fn max_segments(&self) -> usize {
        self.segments
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Exchange(record) => self.check_record(&record),
            Event::KeyLog(_) | Event::Qlog(_) => panic!("nobody asked for secrets or traces"),
            Event::Drained => {
                assert!(self.draining, "drained without a drain");
                assert!(!std::mem::replace(&mut self.drained, true), "drained twice");
            }
        }
    }
}
