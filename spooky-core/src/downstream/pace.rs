//! So many a second, and no more.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a second's worth lasts.
const SECOND: u64 = 1_000_000_000;

/// A bound on how often something happens; a second's worth of it may come at once.
///
/// A leaky bucket in the form of GCRA (ITU-T I.371): one number, the time at which the
/// bucket is empty, in nanoseconds since some start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What each takes of it; zero if there is no bound.
    each: u64,
}

impl Pace {
    /// `count` a second; zero is no bound.
    pub(crate) fn per_second(count: u32) -> Self {
        let each = SECOND.checked_div(u64::from(count)).unwrap_or(0);
        Pace { each }
    }

    /// There is no bound.
    pub(crate) fn is_free(self) -> bool {
        self.each == 0
    }

    /// When the bucket that is empty at `empty` is so with one more in it, at `at`;
    /// `None` if that does not fit. An `at` that goes back finds the bucket fuller.
    pub(crate) fn add(self, empty: u64, at: u64) -> Option<u64> {
        let with = empty.max(at) + self.each;
        (with - at <= SECOND).then_some(with)
    }
}

/// A bucket that all workers fill.
#[derive(Debug, Default)]
pub(crate) struct SharedPace(AtomicU64);

impl SharedPace {
    /// One more would fit.
    pub(crate) fn has_room(&self, pace: Pace, at: u64) -> bool {
        pace.is_free() || pace.add(self.0.load(Ordering::Relaxed), at).is_some()
    }

    /// Adds one, if it fits.
    pub(crate) fn take(&self, pace: Pace, at: u64) -> bool {
        let add = |empty| pace.add(empty, at);
        pace.is_free()
            || self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(shared: &SharedPace, pace: Pace, at: u64, tries: u32) -> usize {
        (0..tries).filter(|_| shared.take(pace, at)).count()
    }

    #[test]
    fn a_seconds_worth_at_once_and_then_the_rate() {
        let (shared, pace) = (SharedPace::default(), Pace::per_second(100));
        assert_eq!(taken(&shared, pace, 0, 500), 100);
        assert!(!shared.has_room(pace, SECOND / 100 - 1));
        assert!(shared.has_room(pace, SECOND / 100));
        assert_eq!(taken(&shared, pace, SECOND / 2, 500), 50);
        assert_eq!(taken(&shared, pace, 60 * SECOND, 500), 100);
    }

    #[test]
    fn one_a_second_and_no_bound_at_all() {
        let (shared, pace) = (SharedPace::default(), Pace::per_second(1));
        assert_eq!(taken(&shared, pace, 5, 3), 1);
        assert_eq!(taken(&shared, pace, SECOND + 4, 3), 0);
        assert_eq!(taken(&shared, pace, SECOND + 5, 3), 1);
        assert_eq!(taken(&shared, Pace::per_second(0), 0, 1000), 1000);
    }

    #[test]
    fn workers_whose_clocks_differ_a_little_share_one_bucket() {
        let (shared, pace) = (SharedPace::default(), Pace::per_second(10));
        assert_eq!(taken(&shared, pace, 1_000_000, 10), 10);
        assert_eq!(taken(&shared, pace, 0, 10), 0, "one is behind");
    }
}
