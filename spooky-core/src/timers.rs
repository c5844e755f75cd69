//! One deadline queue for everything in a worker that waits.
//!
//! A binary heap of timers that knows where each one stands, so that moving a
//! deadline is O(log n) and the queue never holds more entries than timers.
//! Deadlines that move later, as idle timers do with every packet, are left
//! where they stand: the timer fires early, its owner sees that nothing is due
//! and arms it again. That makes the hot path a comparison.

use std::time::Instant;

use slab::Slab;

/// Names a timer in [`Timers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(usize);

#[derive(Debug)]
struct Slot<O> {
    owner: O,
    deadline: Instant,
    /// Index in the heap, or `IDLE`.
    place: usize,
}

const IDLE: usize = usize::MAX;

/// Timers, each with an owner that is told when it fires.
#[derive(Debug)]
pub(crate) struct Timers<O> {
    slots: Slab<Slot<O>>,
    /// Slot indices, ordered as a binary heap by deadline.
    heap: Vec<usize>,
}

impl<O: Copy> Timers<O> {
    pub(crate) fn new() -> Self {
        Timers {
            slots: Slab::new(),
            heap: Vec::new(),
        }
    }

    /// A timer for `owner` that is not armed. `now` is any instant.
    pub(crate) fn create(&mut self, owner: O, now: Instant) -> TimerId {
        TimerId(self.slots.insert(Slot {
            owner,
            deadline: now,
            place: IDLE,
        }))
    }

    /// Names another owner: for what needs its timer to be made, and its handle to own it.
    pub(crate) fn set_owner(&mut self, id: TimerId, owner: O) {
        self.slots[id.0].owner = owner;
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        self.disarm(id);
        self.slots.remove(id.0);
    }

    /// Makes sure that the timer fires at `deadline` or earlier.
    pub(crate) fn arm(&mut self, id: TimerId, deadline: Instant) {
        let slot = &mut self.slots[id.0];
        if slot.place == IDLE {
            slot.deadline = deadline;
            slot.place = self.heap.len();
            self.heap.push(id.0);
            self.rise(self.heap.len() - 1);
        } else if deadline < slot.deadline {
            slot.deadline = deadline;
            self.rise(self.slots[id.0].place);
        }
    }

    /// The timer fires no more until it is armed again.
    pub(crate) fn disarm(&mut self, id: TimerId) {
        let place = self.slots[id.0].place;
        if place == IDLE {
            return;
        }
        self.slots[id.0].place = IDLE;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.slots[self.heap[place]].place = place;
            self.rise(place);
            self.sink(self.slots[self.heap[place]].place);
        }
    }

    /// When a timer fires, if it is armed.
    pub(crate) fn deadline(&self, id: TimerId) -> Option<Instant> {
        let slot = &self.slots[id.0];
        (slot.place != IDLE).then_some(slot.deadline)
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&slot| self.slots[slot].deadline)
    }

    /// Whose deadline is next.
    pub(crate) fn next_owner(&self) -> Option<&O> {
        self.heap.first().map(|&slot| &self.slots[slot].owner)
    }

    /// Disarms one timer that is due at `now` and returns its owner.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<O> {
        let slot = *self.heap.first()?;
        if self.slots[slot].deadline > now {
            return None;
        }
        self.disarm(TimerId(slot));
        Some(self.slots[slot].owner)
    }

    /// Timers that exist, armed or not.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.at(parent) <= self.at(place) {
                return;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            if left < self.heap.len() && self.at(left) < self.at(least) {
                least = left;
            }
            if right < self.heap.len() && self.at(right) < self.at(least) {
                least = right;
            }
            if least == place {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }

    fn at(&self, place: usize) -> Instant {
        self.slots[self.heap[place]].deadline
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.slots[self.heap[a]].place = a;
        self.slots[self.heap[b]].place = b;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn fires_in_order_of_deadline_whatever_was_armed_and_removed() {
        let base = Instant::now();
        let mut rng = StdRng::seed_from_u64(7);
        let mut timers = Timers::new();
        let mut expected = Vec::new();
        let ids: Vec<TimerId> = (0..500).map(|owner| timers.create(owner, base)).collect();
        for (owner, id) in ids.iter().enumerate() {
            let deadline = base + Duration::from_millis(rng.random_range(1..10_000));
            timers.arm(*id, deadline + Duration::from_secs(60));
            timers.arm(*id, deadline);
            match owner % 5 {
                0 => timers.remove(*id),
                1 => timers.disarm(*id),
                _ => expected.push(deadline),
            }
        }
        expected.sort();
        let mut fired = Vec::new();
        while let Some(deadline) = timers.next() {
            assert_eq!(timers.pop_due(deadline - Duration::from_nanos(1)), None);
            timers.pop_due(deadline).expect("due");
            fired.push(deadline);
        }
        assert_eq!(fired, expected);
        assert_eq!(timers.len(), 400);
    }

    #[test]
    fn a_later_deadline_leaves_the_timer_where_it_is() {
        let base = Instant::now();
        let mut timers = Timers::new();
        let id = timers.create((), base);
        timers.arm(id, base + Duration::from_secs(1));
        timers.arm(id, base + Duration::from_secs(2));
        assert_eq!(timers.next(), Some(base + Duration::from_secs(1)));
    }
}
