//! Connections of each address, and how fast they came.
//!
//! Asked once for each connection that is to begin and once for each that ended, and
//! only if there is a limit by address; a datagram of a connection never comes here. So
//! locks will do, one for each of a few parts, that are held for a look into a table.
//!
//! What is kept is bounded. Connections are counted while they are open, which
//! `limits.connections` bounds. How fast an address was means nothing after a second, as
//! that is what a bucket holds: two tables are kept for what was told in this second and
//! in the one before, and what is older goes as a whole. Nothing of it is thrown out
//! sooner, which whoever comes from many addresses could use to be forgotten: if there
//! are more than the bound, the newest addresses are not held back by theirs alone, but
//! by what holds for all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::admission::{Address, Refusal};
use super::pace::Pace;
use crate::limits;

const PARTS: usize = 16;

/// The addresses that clients have connections from.
#[derive(Debug, Default)]
pub(crate) struct Places([Mutex<Part>; PARTS]);

/// Peers choose addresses, so the hash is keyed.
#[derive(Debug, Default)]
struct Part {
    open: HashMap<Address, u32>,
    /// The second that `recent` is of.
    second: u64,
    recent: HashMap<Address, u64>,
    before: HashMap<Address, u64>,
}

impl Places {
    /// A place for one more connection of `address`, if there is: it is returned where
    /// it has to be given back.
    pub(crate) fn take(
        &self,
        address: Address,
        most: u32,
        pace: Pace,
        at: u64,
    ) -> Result<Option<Address>, Refusal> {
        let mut part = self.part(address);
        let open = part.open.get(&address).copied().unwrap_or(0);
        if most > 0 && open >= most {
            return Err(Refusal::PerIp);
        }
        if !pace.is_free() && !part.pass(address, pace, at) {
            return Err(Refusal::RatePerIp);
        }
        if most == 0 {
            return Ok(None);
        }
        part.open.insert(address, open + 1);
        Ok(Some(address))
    }

    /// A connection that had a place has ended.
    pub(crate) fn give_back(&self, address: Address) {
        let mut part = self.part(address);
        let Some(open) = part.open.get_mut(&address) else {
            debug_assert!(false, "nothing is given back that was not taken");
            return;
        };
        *open -= 1;
        if *open == 0 {
            part.open.remove(&address);
            if part.open.is_empty() && part.open.capacity() > limits::EMPTY_TABLE {
                // A crowd that has left leaves no memory behind.
                part.open = HashMap::default();
            }
        }
    }

    fn part(&self, address: Address) -> MutexGuard<'_, Part> {
        // Whoever picks addresses to meet in one part makes them wait for each other as
        // if there were one part only.
        let mixed = address.bits().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let part = &self.0[(mixed >> 60) as usize % PARTS];
        // Each change is whole when the lock is given up.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Whether one more of `address` keeps the pace; then it is counted.
    fn pass(&mut self, address: Address, pace: Pace, at: u64) -> bool {
        self.turn(at / 1_000_000_000);
        let known = self.recent.get(&address);
        let known = known.or_else(|| self.before.get(&address));
        let Some(empty) = pace.add(known.copied().unwrap_or(0), at) else {
            return false;
        };
        if known.is_some() || self.recent.len() < limits::PACED_ADDRESSES / PARTS {
            self.recent.insert(address, empty);
        }
        true
    }

    /// It is this second now.
    fn turn(&mut self, second: u64) {
        if second <= self.second {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        self.before = if second == self.second + 1 {
            recent
        } else {
            HashMap::default()
        };
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn kept(places: &Places) -> usize {
        let kept = |part: &Mutex<Part>| {
            let part = part.lock().expect("nobody panicked");
            part.open.len() + part.recent.len() + part.before.len()
        };
        places.0.iter().map(kept).sum()
    }

    #[test]
    fn nothing_is_kept_of_addresses_without_a_connection() {
        let places = Places::default();
        for n in 0..1000 {
            let address = Address::V4(n);
            let place = places.take(address, 1, Pace::per_second(0), 0);
            assert_eq!(place, Ok(Some(address)));
        }
        assert_eq!(kept(&places), 1000);
        (0..1000).for_each(|n| places.give_back(Address::V4(n)));
        assert_eq!(kept(&places), 0);
        let part = places.0[3].lock().expect("nobody panicked");
        assert_eq!(part.open.capacity(), 0);
    }

    #[test]
    fn an_address_is_remembered_for_as_long_as_it_matters() {
        let (places, pace) = (Places::default(), Pace::per_second(2));
        let ask = |at| places.take(Address::V4(7), 0, pace, at).is_ok();
        let late = SECOND - 1;
        assert!(ask(late) && ask(late) && !ask(late));
        assert!(!ask(SECOND + 1), "another second, the same bucket");
        assert!(ask(SECOND + SECOND / 2));
        assert!(!ask(SECOND + SECOND / 2 + 1));
        assert!(ask(9 * SECOND) && ask(9 * SECOND) && !ask(9 * SECOND));
    }

    #[test]
    fn a_crowd_of_addresses_costs_a_bounded_table_and_throws_nobody_out() {
        let (places, pace) = (Places::default(), Pace::per_second(1));
        let ask = |n| places.take(Address::V4(n), 0, pace, 5).is_ok();
        assert!(ask(0));
        let crowd = 3 * limits::PACED_ADDRESSES as u32;
        assert!((1..crowd).all(ask));
        assert!(!ask(0), "who was there first is held to its pace");
        assert!(kept(&places) <= limits::PACED_ADDRESSES);
        // One second later they are still known, two later nobody is.
        assert!(places.take(Address::V4(0), 0, pace, 3 * SECOND).is_ok());
        let rest = |n: u64| places.take(Address::V6Prefix(n << 40), 0, pace, 3 * SECOND);
        (0..1000).for_each(|n| assert!(rest(n).is_ok()));
        assert!(kept(&places) < 1100, "{}", kept(&places));
    }
}
