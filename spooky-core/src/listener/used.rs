//! Which Retry tokens were used, so that each begins one connection.
//!
//! RFC 9000 section 8.1.4: "servers MUST ensure that replay of tokens is prevented or
//! limited." A token is known by its Retry's source id, whose bits are as good as random
//! and which nobody can choose, because the token's MAC covers it.
//!
//! Memory is fixed: two tables, of which the older is cleared when its last token has
//! expired. A table has rows of a few places; a row that is full forgets one of its
//! tokens. Thus a flood of validated handshakes, which needs real addresses, may make
//! some tokens good a second time at the address that they were sent to; it never turns
//! anybody away.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::ids::Cid;
use crate::limits;

/// Places of a row: a cache line is two.
const ROW: usize = 8;
const ROWS: usize = limits::USED_TOKENS / ROW;

/// The register, one for all workers.
///
/// Behind a lock: it is asked once for a handshake that passed the MAC, held for a row or
/// two, and a handshake costs some thousand times that.
pub(crate) struct UsedTokens(Mutex<Tables>);

impl std::fmt::Debug for UsedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UsedTokens")
    }
}

struct Tables {
    /// Zero is an empty place.
    current: Vec<u32>,
    previous: Vec<u32>,
    /// When `current` became that.
    since: Duration,
}

impl Default for UsedTokens {
    fn default() -> Self {
        UsedTokens(Mutex::new(Tables {
            current: vec![0; ROWS * ROW],
            previous: vec![0; ROWS * ROW],
            since: Duration::ZERO,
        }))
    }
}

impl UsedTokens {
    /// Notes that the token of `retry_id` is used, `at` this time of day. False if it was
    /// before.
    pub(crate) fn take(&self, retry_id: &Cid, at: Duration) -> bool {
        // A worker that panicked holding it left at worst a token too many or too few.
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.turn(at);
        tables.take(retry_id)
    }
}

impl Tables {
    fn turn(&mut self, at: Duration) {
        // A clock that was set back makes tokens live longer, and tables as well.
        let age = at.saturating_sub(self.since);
        if age < limits::USED_TOKEN_MEMORY {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.fill(0);
        if age >= 2 * limits::USED_TOKEN_MEMORY {
            self.previous.fill(0);
        }
        self.since = at;
    }

    fn take(&mut self, retry_id: &Cid) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *retry_id;
        let row = u32::from_be_bytes([a, b, c, d]) as usize % ROWS * ROW;
        let token = u32::from_be_bytes([e, f, g, h]).max(1);
        let (current, previous) = (
            &mut self.current[row..row + ROW],
            &self.previous[row..row + ROW],
        );
        if current.contains(&token) || previous.contains(&token) {
            return false;
        }
        let free = current.iter().position(|&place| place == 0);
        current[free.unwrap_or(token as usize % ROW)] = token;
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn a_token_is_good_once_for_as_long_as_it_lives() {
        let mut rng = StdRng::seed_from_u64(1);
        let used = UsedTokens::default();
        // As many as come in a table's time, wherever in it they come.
        let step = limits::USED_TOKEN_MEMORY / 1000;
        let all: Vec<(Cid, Duration)> = (0..5000).map(|n| (rng.random(), NOW + step * n)).collect();
        for (n, (id, at)) in all.iter().enumerate() {
            assert!(used.take(id, *at), "the first time");
            assert!(!used.take(id, *at), "at once again");
            let Some((old, then)) = n.checked_sub(900).map(|n| all[n]) else {
                continue;
            };
            assert!(*at - then <= limits::USED_TOKEN_MEMORY);
            assert!(!used.take(&old, *at), "within its life");
        }
    }

    #[test]
    fn its_memory_is_fixed_and_what_it_forgets_is_little() {
        let mut rng = StdRng::seed_from_u64(1);
        let used = UsedTokens::default();
        let ids: Vec<Cid> = (0..limits::USED_TOKENS / 2).map(|_| rng.random()).collect();
        let new = ids.iter().filter(|id| used.take(id, NOW)).count();
        assert_eq!(new, ids.len(), "nobody is turned away");
        let again = ids.iter().filter(|id| used.take(id, NOW)).count();
        // Half full, a row of eight overflows now and then.
        assert!(again < ids.len() / 20, "{again} of {} forgotten", ids.len());
        let tables = used.0.lock().expect("nobody panicked");
        assert_eq!(tables.current.capacity(), limits::USED_TOKENS);
    }

    #[test]
    fn what_is_long_expired_makes_room() {
        let used = UsedTokens::default();
        assert!(used.take(&[9; 16], NOW));
        assert!(!used.take(&[9; 16], NOW + limits::USED_TOKEN_MEMORY));
        assert!(used.take(&[9; 16], NOW + 4 * limits::USED_TOKEN_MEMORY));
    }
}
