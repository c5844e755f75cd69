//! Connection ids that clients gave up a short while ago.
//!
//! A straggler to one of them must not be answered with a stateless reset: it would bear
//! a token of a connection that lives. A client should not heed it (RFC 9000 section
//! 10.3.1: it "MUST NOT check for any stateless reset tokens associated with connection
//! IDs … that have been retired"), but quiche 0.30 does, of the first id.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::ids::Cid;
use crate::limits;

/// The last ids that were retired; the oldest give way.
#[derive(Debug, Default)]
pub(super) struct RetiredIds {
    order: VecDeque<Cid>,
    /// No peer can choose them, so a fast hash is safe.
    ids: FxHashSet<Cid>,
}

impl RetiredIds {
    pub(super) fn insert(&mut self, id: Cid) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > limits::RETIRED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: &Cid) -> bool {
        self.ids.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known_and_no_more() {
        let mut retired = RetiredIds::default();
        let id = |n: usize| ((n as u128) << 64).to_be_bytes();
        for n in 0..2 * limits::RETIRED_IDS {
            retired.insert(id(n));
            retired.insert(id(n));
        }
        assert!(!retired.contains(&id(limits::RETIRED_IDS - 1)));
        assert!((limits::RETIRED_IDS..2 * limits::RETIRED_IDS).all(|n| retired.contains(&id(n))));
        assert_eq!(retired.order.len(), limits::RETIRED_IDS);
    }
}
