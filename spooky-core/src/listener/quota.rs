//! How often something is done at most: so many a second, and so many at once.
//!
//! The virtual form of the leaky bucket (GCRA, ITU-T I.371): what is kept is the time at
//! which the bucket would be empty.

use std::time::{Duration, Instant};

/// A bucket of one worker.
#[derive(Debug)]
pub(crate) struct Quota {
    interval: Duration,
    depth: Duration,
    empty_at: Instant,
}

impl Quota {
    /// `rate` a second and as many at once.
    pub(crate) fn per_second(rate: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / rate;
        Quota {
            interval,
            depth: interval * (rate - 1),
            empty_at: now,
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let empty_at = self.empty_at.max(now);
        if empty_at - now > self.depth {
            return false;
        }
        self.empty_at = empty_at + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_allows_its_rate_and_a_second_of_it_at_once() {
        let mut now = Instant::now();
        let mut quota = Quota::per_second(100, now);
        let taken = |quota: &mut Quota, now| (0..1000).filter(|_| quota.take(now)).count();
        assert_eq!(taken(&mut quota, now), 100);
        now += Duration::from_millis(50);
        assert_eq!(taken(&mut quota, now), 5);
        now += Duration::from_secs(60);
        assert_eq!(taken(&mut quota, now), 100, "never more at once");
    }
}
