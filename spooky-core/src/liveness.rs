//! Is the peer still there, and is the connection kept from going idle?
//!
//! On UDP a dead peer is silence. quiche sends probes when acknowledgements stay
//! out; two of them in a row, with nothing heard since, are a peer that takes no
//! new request. And while somebody waits for a slow answer, PINGs keep the
//! connection from going idle at either end.

use std::time::{Duration, Instant};

use crate::limits;

/// What is known of a peer's life.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// Packets of the peer that decrypted.
    packets: usize,
    /// When one last arrived.
    heard: Instant,
    /// Probe timeouts since then.
    silent_probes: u32,
    keepalive: Option<Instant>,
    /// The idle timeout we announced.
    idle: Duration,
}

impl Liveness {
    pub(crate) fn new(idle: Duration, now: Instant) -> Self {
        Liveness {
            packets: 0,
            heard: now,
            silent_probes: 0,
            keepalive: None,
            idle,
        }
    }

    /// Takes quiche's count of packets that decrypted. Not whether it took a
    /// datagram: it takes most junk without complaint.
    pub(crate) fn received(&mut self, packets: usize, now: Instant) {
        if std::mem::replace(&mut self.packets, packets) != packets {
            self.heard = now;
            self.silent_probes = 0;
        }
    }

    /// So many probe timeouts fired.
    pub(crate) fn probed(&mut self, fired: usize) {
        let fired = u32::try_from(fired).unwrap_or(u32::MAX);
        self.silent_probes = self.silent_probes.saturating_add(fired);
    }

    /// The peer may be dead: probes went unanswered since it was last heard.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent_probes >= limits::SILENT_PROBES
    }

    /// Takes a hint (ICMP) that the peer is gone: silent until it is heard again.
    pub(crate) fn suspect(&mut self) {
        self.silent_probes = limits::SILENT_PROBES;
    }

    /// When [`Liveness::wants_ping`] is to be asked; never while `needed` is false.
    pub(crate) fn deadline(
        &mut self,
        needed: bool,
        peer: &quiche::Connection,
        now: Instant,
    ) -> Option<Instant> {
        if !needed {
            self.keepalive = None;
        } else if self.keepalive.is_none() {
            self.keepalive = self.interval(peer).map(|interval| now + interval);
        }
        self.keepalive
    }

    /// The deadline has come, and nothing was heard for so long that a PING is due.
    pub(crate) fn wants_ping(&mut self, peer: &quiche::Connection, now: Instant) -> bool {
        if self.keepalive.is_none_or(|at| at > now) {
            return false;
        }
        let interval = self.interval(peer);
        self.keepalive = interval.map(|interval| now + interval);
        interval.is_some_and(|interval| now.saturating_duration_since(self.heard) >= interval)
    }

    /// A third of the idle timeout in force, which is the smaller of both ends'
    /// (RFC 9000 section 10.1): two PINGs may get lost.
    fn interval(&self, peer: &quiche::Connection) -> Option<Duration> {
        let theirs = Duration::from_millis(peer.peer_transport_params()?.max_idle_timeout);
        let idle = match theirs {
            Duration::ZERO => self.idle,
            theirs => theirs.min(self.idle),
        };
        Some((idle / 3).max(Duration::from_millis(50)))
    }
}
