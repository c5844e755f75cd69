//! Random, by weight.
//!
//! Needs no state and no agreement between workers, and spreads evenly in the
//! long run. What it costs: in the short run some backend gets twice its share
//! by chance (with n requests over m backends the fullest has about
//! n/m + √(2 n/m · ln m)), and it is blind to load.

use rand::{Rng, RngExt};

use crate::limits;

/// Weights, summed up so that a number names a backend.
#[derive(Debug)]
pub(crate) struct Random {
    /// `sums[i]`: weights of backends 0 to i together.
    sums: Vec<u64>,
}

impl Random {
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let sums = weights.scan(0_u64, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Random {
            sums: sums.collect(),
        }
    }

    /// A backend with a weight that is `good`, by weight.
    ///
    /// A binary search a throw. Bad ones are thrown again; after a few throws
    /// most backends must be bad, and the first good one after the last throw is
    /// taken, by a scan that only an outage sees.
    pub(crate) fn pick(&self, rng: &mut impl Rng, good: impl Fn(usize) -> bool) -> Option<usize> {
        let total = self.sums.last().copied().filter(|&total| total > 0)?;
        let mut thrown = 0;
        for _ in 0..limits::BALANCER_TRIES {
            let number = rng.random_range(0..total);
            thrown = self.sums.partition_point(|&sum| sum <= number);
            if good(thrown) {
                return Some(thrown);
            }
        }
        let count = self.sums.len();
        (1..count)
            .map(|step| (thrown + step) % count)
            .find(|&i| self.weight(i) > 0 && good(i))
    }

    fn weight(&self, index: usize) -> u64 {
        self.sums[index] - index.checked_sub(1).map_or(0, |before| self.sums[before])
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn shares_follow_weights() {
        let mut rng = StdRng::seed_from_u64(3);
        let random = Random::new([100, 0, 50, 50].into_iter());
        let mut counts = [0_u32; 4];
        for _ in 0..40_000 {
            counts[random.pick(&mut rng, |_| true).expect("there are some")] += 1;
        }
        assert_eq!(counts[1], 0);
        // 20 000 ± 5 standard deviations of 100.
        assert!((19_500..20_500).contains(&counts[0]), "{counts:?}");
        assert!((9_500..10_500).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn the_one_good_backend_of_many_is_found() {
        let mut rng = StdRng::seed_from_u64(3);
        let random = Random::new((0..10_000).map(|_| 1));
        assert_eq!(random.pick(&mut rng, |i| i == 77), Some(77));
        assert_eq!(random.pick(&mut rng, |_| false), None);
        assert_eq!(
            Random::new([0, 0].into_iter()).pick(&mut rng, |_| true),
            None
        );
    }
}
