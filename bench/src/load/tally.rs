//! What is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart, in microseconds; more counts as this.
const LONGEST: u64 = 600_000_000;

/// Counts of one window.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Complete answers with a status below 400.
    pub answered: u64,
    /// Bytes of their bodies, and of bodies still under way.
    pub bytes: u64,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
    /// From asking to the end of the answer, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answered: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, LONGEST, 3)
                .expect("bounds 1 < 2 × 1 < LONGEST and 3 digits are legal"),
        }
    }
}

impl Tally {
    pub(crate) fn answer(&mut self, took: Duration) {
        self.answered += 1;
        let us = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        self.latency.saturating_record(us);
    }

    pub(super) fn error(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.bytes += other.bytes;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.latency
            .add(&other.latency)
            .expect("histograms with the same bounds add up");
    }

    /// Errors of all kinds.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The latency that this share of answers did not exceed; 1.0 is the longest.
    pub fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        (1..=99).for_each(|ms| one.answer(Duration::from_millis(ms)));
        other.answer(Duration::from_secs(5));
        other.error("reset".to_owned());
        other.error("reset".to_owned());
        one.add(&other);
        assert_eq!(
            (one.answered, one.failed(), one.errors["reset"]),
            (100, 2, 2)
        );
        let (half, most) = (
            one.latency(0.5).as_secs_f64(),
            one.latency(1.0).as_secs_f64(),
        );
        assert!(
            (half - 0.050).abs() < 0.001 && (most - 5.0).abs() < 0.01,
            "{half} {most}"
        );
    }

    #[test]
    fn an_endless_latency_is_counted_as_the_longest() {
        let mut tally = Tally::default();
        tally.answer(Duration::from_secs(1 << 40));
        assert!(tally.latency(1.0) >= Duration::from_secs(600));
    }
}
