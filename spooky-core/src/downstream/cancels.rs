//! Requests that a client asks and cancels at once.
//!
//! A cancelled stream is free for the next one, so no bound on streams holds a client
//! back that cancels all it asks for ("rapid reset", CVE-2023-44487, which HTTP/3
//! shares with HTTP/2), while each request costs work here and at a backend. People
//! who browse cancel as well, but not by the thousand; so those are counted whose
//! responses had not begun. RFC 9114 section 10.5: "An endpoint MAY treat activity that is
//! suspicious as a connection error of type H3_EXCESSIVE_LOAD".
//!
//! One window at a time: it begins with the first cancellation that is counted, and
//! the next one with the first after its end. That is a counter and an instant a
//! connection, whatever comes; in a window of another beginning there may be twice as
//! many as the limit says.

use std::time::Instant;

use crate::limits;

/// The cancelled requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    /// When the window began.
    since: Option<Instant>,
    /// Cancellations in it.
    count: u32,
    /// There were too many at some time.
    flooded: bool,
}

impl Cancels {
    /// Counts one. True if it is the first beyond `most` in a window.
    pub(crate) fn add(&mut self, most: u32, now: Instant) -> bool {
        let window = limits::CANCEL_WINDOW;
        if self.since.is_none_or(|since| since + window <= now) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count > most && !std::mem::replace(&mut self.flooded, true)
    }

    /// There are too many, by another count.
    pub(crate) fn flood(&mut self) {
        self.flooded = true;
    }

    /// The connection was given up because of them.
    pub(crate) fn are_too_many(&self) -> bool {
        self.flooded
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_one_beyond_the_limit_is_told_once() {
        let (mut cancels, now) = (Cancels::default(), Instant::now());
        let told: Vec<bool> = (0..5).map(|_| cancels.add(3, now)).collect();
        assert_eq!(told, [false, false, false, true, false]);
        assert!(cancels.are_too_many());
    }

    #[test]
    fn what_is_longer_ago_than_a_window_does_not_count() {
        let (mut cancels, begin) = (Cancels::default(), Instant::now());
        // Three a window, for an hour.
        for n in 0..360 {
            assert!(!cancels.add(3, begin + Duration::from_secs(10) * n));
        }
        assert!(!cancels.are_too_many());
        // Four.
        let last = begin + Duration::from_secs(4000);
        let told = (0..4).any(|n| cancels.add(3, last + Duration::from_secs(9) * n));
        assert!(told);
    }
}
