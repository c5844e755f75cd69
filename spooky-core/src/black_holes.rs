//! A path that swallows large datagrams after it once let them through.
//!
//! quiche's path MTU discovery raises the size of packets when a probe of that size was
//! acknowledged, and never looks back (pmtud.rs). Where the path changes beneath a
//! connection, all that is large vanishes from then on, what is small arrives, and what
//! was lost is sent again as large as before. RFC 8899 section 4.3 has signs by which to
//! tell that, excessive loss of what is large among them: "When the method detects that
//! the current PLPMTU is not supported, DPLPMTUD sets a lower PLPMTU". Here that is
//! BASE_PLPMTU, which QUIC has at 1200 bytes (RFC 9000 section 14.3).
//!
//! The sign: probe timeouts one after the other between which hardly anything was
//! acknowledged. A peer that is merely away for a while shows the same; then it costs
//! smaller datagrams for as long as it takes to probe the size again.

use crate::limits;

/// Watches for it on one connection.
#[derive(Debug, Default)]
pub(crate) struct BlackHoles {
    timeouts: usize,
    acked: u64,
    lost: u64,
    /// Timeouts in a row without progress.
    vain: u32,
}

impl BlackHoles {
    /// After quiche's timers fired: the path's probe timeouts and the connection's bytes
    /// acknowledged and lost, so far. True if large datagrams seem to vanish.
    pub(crate) fn timed_out(&mut self, timeouts: usize, acked: u64, lost: u64) -> bool {
        if std::mem::replace(&mut self.timeouts, timeouts) == timeouts {
            return false;
        }
        let acked_since = acked - std::mem::replace(&mut self.acked, acked);
        let lost_since = lost - std::mem::replace(&mut self.lost, lost);
        // Answers that are small all the same may go on arriving beside it.
        let progress = acked_since >= (limits::LEAST_DATAGRAM as u64).max(lost_since / 4);
        self.vain = if progress { 0 } else { self.vain + 1 };
        if self.vain < limits::VAIN_TIMEOUTS {
            return false;
        }
        self.vain = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_without_progress_are_a_black_hole() {
        let mut holes = BlackHoles::default();
        assert!(!holes.timed_out(1, 50_000, 0), "there was progress before");
        assert!(!holes.timed_out(2, 50_000, 0));
        assert!(!holes.timed_out(2, 50_000, 0), "another path's timer");
        assert!(
            holes.timed_out(3, 50_040, 0),
            "an acknowledged PING is none"
        );
        assert!(!holes.timed_out(4, 50_040, 0), "it begins anew");
    }

    #[test]
    fn progress_between_timeouts_is_none() {
        let mut holes = BlackHoles::default();
        let acked = |n: u64| n * 5_000;
        assert!((1..100).all(|n| !holes.timed_out(n as usize, acked(n), acked(n) / 2)));
    }

    #[test]
    fn small_answers_that_arrive_beside_large_losses_hide_nothing() {
        let mut holes = BlackHoles::default();
        holes.timed_out(1, 50_000, 0);
        assert!(!holes.timed_out(2, 52_000, 40_000));
        assert!(holes.timed_out(3, 54_000, 80_000));
    }
}
