//! Requests whose head has begun and is not whole, in the order in which they began.

use std::collections::VecDeque;
use std::time::Instant;

use rustc_hash::FxHashSet;

/// Those of one connection.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// Who waits. Most requests never do: their head comes at once.
    waiting: FxHashSet<u64>,
    /// In order; some wait no longer.
    order: VecDeque<(u64, Instant)>,
}

impl Partial {
    /// A stream was looked at: does it wait for the rest of its head?
    pub(crate) fn note(&mut self, stream: u64, waits: bool, now: Instant) {
        if !waits {
            self.leave(stream);
        } else if self.waiting.insert(stream) {
            self.order.push_back((stream, now));
        }
    }

    /// A stream waits no longer.
    pub(crate) fn leave(&mut self, stream: u64) {
        if self.waiting.is_empty() || !self.waiting.remove(&stream) {
            return;
        }
        while self
            .order
            .front()
            .is_some_and(|(s, _)| !self.waiting.contains(s))
        {
            self.order.pop_front();
        }
        // One that waits for long must not keep those that came after it.
        if self.order.len() > 2 * self.waiting.len() + 8 {
            self.order
                .retain(|(stream, _)| self.waiting.contains(stream));
        }
    }

    /// One before `stream` waits. Looks at all, which are no more than there may be
    /// streams: for a connection that is about to be closed.
    pub(crate) fn has_below(&self, stream: u64) -> bool {
        self.waiting.iter().any(|&waits| waits < stream)
    }

    /// Who has waited longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(u64, Instant)> {
        self.order.front().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_is_the_one_that_began_first_and_still_waits() {
        let (mut partial, start) = (Partial::default(), Instant::now());
        let at = |n: u64| start + Duration::from_secs(n);
        for n in 0..4 {
            partial.note(n * 4, true, at(n));
            partial.note(n * 4, true, at(9));
        }
        assert_eq!(partial.oldest(), Some((0, at(0))), "the first look counts");
        partial.note(4, false, at(9));
        assert_eq!(partial.oldest(), Some((0, at(0))));
        partial.leave(0);
        assert_eq!(partial.oldest(), Some((8, at(2))));
        partial.leave(8);
        partial.leave(12);
        assert_eq!(partial.oldest(), None);
    }

    #[test]
    fn one_that_waits_for_ever_does_not_make_it_grow() {
        let (mut partial, now) = (Partial::default(), Instant::now());
        partial.note(0, true, now);
        for n in 1..10_000 {
            partial.note(n * 4, true, now);
            partial.note(n * 4, false, now);
        }
        assert!(partial.order.len() < 12);
        assert_eq!(partial.oldest(), Some((0, now)));
    }
}
