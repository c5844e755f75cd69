//! The paths of one connection: which is in use, what it carries, what was left behind.

use std::net::SocketAddr;

use crate::black_holes::BlackHoles;
use crate::config::Quic;
use crate::limits;
use crate::moves::{Moves, Route};

/// What quiche leaves to its user about paths.
#[derive(Debug)]
pub(crate) struct Paths {
    /// The one the connection began on. quiche searches the path MTU of this one alone.
    first: Route,
    moves: Moves,
    holes: BlackHoles,
    /// Sizes are raised only after a probe (`quic.path_mtu_discovery`).
    discovers: bool,
    /// Nothing larger than [`limits::LEAST_DATAGRAM`] any more.
    small: bool,
    told: Told,
}

/// What happened, to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Times the peer went on at another address, which was validated.
    pub(crate) moves: u64,
    /// Times datagrams became small because larger ones vanished.
    pub(crate) black_holes: u64,
}

impl Paths {
    pub(crate) fn new(from: SocketAddr, to: SocketAddr, settings: &Quic) -> Self {
        let first = Route { from, to };
        Paths {
            first,
            moves: Moves::new(first),
            holes: BlackHoles::default(),
            discovers: settings.path_mtu_discovery,
            small: false,
            told: Told::default(),
        }
    }

    /// Takes quiche's path events; see [`Moves::look`].
    pub(crate) fn look(&mut self, quic: &mut quiche::Connection, elsewhere: bool) -> bool {
        self.moves.look(quic, elsewhere)
    }

    /// Where the peer is, as far as its packets told.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.moves.active().to
    }

    /// The path in use, if there are others that quiche may prefer to it without having
    /// anything to send there.
    pub(crate) fn in_use_beside_others(&self) -> Option<Route> {
        self.moves.is_spread().then(|| self.moves.active())
    }

    /// Bytes of a datagram, at most.
    ///
    /// On a new path quiche 0.30 searches no MTU, and would begin with the greatest size
    /// of the configuration, unprobed, the packet that validates the path included. RFC
    /// 9000 section 14.2: "In the absence of these mechanisms, QUIC endpoints SHOULD NOT
    /// send datagrams larger than the smallest allowed maximum datagram size."
    pub(crate) fn datagram_bytes(&self) -> usize {
        let unprobed = self.moves.active() != self.first || self.moves.is_validating();
        if self.small || (self.discovers && unprobed) {
            limits::LEAST_DATAGRAM
        } else {
            limits::SEGMENT_BUFFER
        }
    }

    /// See [`Moves::has_failed`].
    pub(crate) fn has_failed(&self, quic: &quiche::Connection, route: Route) -> bool {
        self.moves.has_failed(quic, route)
    }

    /// See [`Moves::revive`].
    pub(crate) fn revive(&mut self, quic: &mut quiche::Connection, route: Route) {
        self.moves.revive(quic, route);
    }

    /// See [`Moves::revival`].
    pub(crate) fn revival(&mut self) -> Option<(Vec<u8>, Route)> {
        self.moves.revival()
    }

    /// See [`Moves::ping`].
    pub(crate) fn ping(
        &mut self,
        quic: &mut quiche::Connection,
        out: &mut [u8],
    ) -> Option<(usize, Route)> {
        self.moves.ping(quic, out)
    }

    /// After quiche's timers fired.
    pub(crate) fn timed_out(&mut self, quic: &mut quiche::Connection) {
        self.moves.look(quic, false);
        self.moves.timed_out(quic);
        let Some(path) = quic.path_stats().find(|path| path.active) else {
            return;
        };
        let stats = quic.stats();
        let vain = self
            .holes
            .timed_out(path.total_pto_count, stats.acked_bytes, stats.lost_bytes);
        let large = path.pmtu.min(self.datagram_bytes()) > limits::LEAST_DATAGRAM;
        if vain && large && quic.is_established() {
            self.fall_back(quic);
        }
    }

    fn fall_back(&mut self, quic: &mut quiche::Connection) {
        self.told.black_holes += 1;
        // Down at once, and the size is probed anew. quiche does so only where its
        // search has ended.
        quic.revalidate_pmtu();
        let mut paths = quic.path_stats();
        self.small = paths.any(|path| path.active && path.pmtu > limits::LEAST_DATAGRAM);
    }

    /// What happened since this was last asked.
    pub(crate) fn told(&mut self) -> Told {
        self.told.moves = std::mem::take(&mut self.moves.count);
        std::mem::take(&mut self.told)
    }
}
