//! Requests that wait for a place at a backend, in order of arrival.

use std::collections::VecDeque;

use crate::io::Handle;

/// A queue whose members may leave from the middle.
///
/// A member that leaves is only counted: its handle finds nothing in the table
/// of exchanges any more, or an exchange that is elsewhere, and is skipped when
/// its turn comes. When most entries are such, they are cleared away, so the
/// queue stays within twice its live members.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Handle>,
    live: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, exchange: Handle) {
        self.entries.push_back(exchange);
        self.live += 1;
    }

    /// A member left by itself. `waits` tells who still waits here.
    pub(crate) fn left(&mut self, waits: impl Fn(Handle) -> bool) {
        self.live -= 1;
        if self.entries.len() > 2 * self.live + 8 {
            self.entries.retain(|&exchange| waits(exchange));
        }
    }

    /// The one that waited longest. `waits` tells who still waits here.
    pub(crate) fn pop(&mut self, waits: impl Fn(Handle) -> bool) -> Option<Handle> {
        while let Some(exchange) = self.entries.pop_front() {
            if waits(exchange) {
                self.live -= 1;
                return Some(exchange);
            }
        }
        None
    }

    /// Members that wait.
    pub(crate) fn len(&self) -> usize {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn members_leave_from_the_middle_and_the_queue_stays_small() {
        let handle = |slot| Handle {
            slot,
            generation: 1,
        };
        let mut waiting: HashSet<Handle> = (0..1000).map(handle).collect();
        let mut queue = Queue::default();
        (0..1000).map(handle).for_each(|h| queue.push(h));
        for slot in (0..1000).filter(|slot| slot % 100 != 0) {
            waiting.remove(&handle(slot));
            queue.left(|h| waiting.contains(&h));
        }
        assert_eq!(queue.len(), 10);
        assert!(queue.entries.len() <= 2 * 10 + 8);
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop(|h| waiting.contains(&h)))
            .map(|h| h.slot)
            .collect();
        assert_eq!(order, (0..10).map(|n| n * 100).collect::<Vec<_>>());
    }
}
