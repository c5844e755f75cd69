//! Flights of 0-RTT whose requests went on before their handshake was complete: so that
//! none does twice.
//!
//! RFC 8446 section 8.2: "record a unique value derived from the ClientHello (generally
//! either the random value or the PSK binder) and reject duplicates", for as long as a
//! ClientHello is fresh. How long that is, BoringSSL says: it takes early data only if
//! the age that the client tells of its ticket is at most a minute off. So a flight is
//! of no use [`limits::FLIGHT_MEMORY`] after it was seen first, and may be forgotten.
//!
//! The register takes a fixed amount of memory, whatever comes, and is the same for all
//! workers. Where it is full, or anything else is not sure, a flight is not new, and
//! waits for its handshake, which costs a round trip and nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// Parts of the register, each with a lock of its own. One is held for as long as it
/// takes to look at [`SET`] entries, once for a connection that offers early data, and a
/// connection costs ten thousand times that. So there is next to no waiting, and unlike
/// with atomics it is plain to see that of two flights at two workers at once one is
/// second.
const SHARDS: usize = 64;
/// Places that one flight may take.
const SET: usize = 16;
const SETS: usize = limits::FLIGHTS / SHARDS / SET;

/// What is known of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It is the first of its kind: its requests may go on.
    New,
    /// It came before: one of the two is a copy.
    Copy,
    /// That is not known.
    Unknown,
}

/// The register.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: Vec<Mutex<Vec<Set>>>,
}

#[derive(Clone, Debug, Default)]
struct Set {
    entries: [Entry; SET],
    /// Until then a flight may come again for which there was no place.
    full: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    binder: u128,
    /// Free from then on.
    until: Option<Instant>,
}

impl Flights {
    /// A register that has room, or one that knows nothing and takes no memory.
    pub(crate) fn new(needed: bool) -> Self {
        let shard = || Mutex::new(vec![Set::default(); SETS]);
        let shards = if needed { SHARDS } else { 0 };
        Flights {
            shards: (0..shards).map(|_| shard()).collect(),
        }
    }

    /// Takes down a flight, whose binder was verified.
    pub(crate) fn enter(&self, binder: u128, now: Instant) -> Novelty {
        // A binder is the output of a MAC: its bits are as good as any hash of them.
        let [shard, set, ..] = binder.to_be_bytes();
        let Some(shard) = self.shards.get(usize::from(shard) % SHARDS) else {
            return Novelty::Unknown;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let set = &mut shard[usize::from(set) % SETS];
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| until > now);
        let mut entries = set.entries.iter();
        if entries.any(|e| is_ahead(e.until) && e.binder == binder) {
            return Novelty::Copy;
        }
        let until = Some(now + limits::FLIGHT_MEMORY);
        let entry = Entry { binder, until };
        match set.entries.iter_mut().find(|e| !is_ahead(e.until)) {
            Some(free) => *free = entry,
            None => set.full = until,
        }
        if is_ahead(set.full) {
            Novelty::Unknown
        } else {
            Novelty::New
        }
    }
}

/// Whether the wall clock, by which BoringSSL takes the age of tickets, has run evenly
/// for so long that no flight is fresh a second time.
#[derive(Debug)]
pub(crate) struct Steadiness {
    since: Instant,
}

impl Steadiness {
    /// A process that has just begun has forgotten what another one saw. Its tickets are
    /// told apart, too; this holds even where two have the same randomness.
    pub(crate) fn begin(now: Instant) -> Self {
        Steadiness { since: now }
    }

    /// The wall clock was set back by so much.
    pub(crate) fn stepped(&mut self, back: Duration, now: Instant) {
        if back > limits::CLOCK_STEP {
            self.since = self.since.max(now + back);
        }
    }

    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.since + limits::FLIGHT_MEMORY <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_is_new_once_until_it_is_of_no_use() {
        let (flights, now) = (Flights::new(true), Instant::now());
        assert_eq!(flights.enter(7, now), Novelty::New);
        assert_eq!(flights.enter(8, now), Novelty::New);
        let last = now + limits::FLIGHT_MEMORY - Duration::from_nanos(1);
        assert_eq!(flights.enter(7, last), Novelty::Copy);
        assert_eq!(flights.enter(7, now + limits::FLIGHT_MEMORY), Novelty::New);
    }

    #[test]
    fn a_full_register_knows_nothing_and_forgets_nothing() {
        let (flights, now) = (Flights::new(true), Instant::now());
        // All of one set: the two bytes in front are the same.
        for n in 0..SET as u128 {
            assert_eq!(flights.enter(n, now), Novelty::New);
        }
        let full = now + limits::FLIGHT_MEMORY / 2;
        assert_eq!(flights.enter(1000, full), Novelty::Unknown);
        assert_eq!(flights.enter(0, full), Novelty::Copy);
        // There are places again, but that one was not taken down.
        let later = now + limits::FLIGHT_MEMORY;
        assert_eq!(flights.enter(1000, later), Novelty::Unknown);
        assert_eq!(flights.enter(1001, later), Novelty::Unknown);
        let last = full + limits::FLIGHT_MEMORY;
        assert_eq!(flights.enter(1002, last), Novelty::New);
    }

    #[test]
    fn it_has_room_for_what_its_limit_says() {
        let (flights, now) = (Flights::new(true), Instant::now());
        let sets: usize = flights.shards.iter().map(|s| s.lock().unwrap().len()).sum();
        assert_eq!(sets * SET, limits::FLIGHTS);
        // Spread as binders are, half of that meets no full set.
        let mut state = 1_u128;
        for _ in 0..limits::FLIGHTS / 2 {
            state = state.wrapping_mul(0x2d99_787a_6c1c_6c93_7545_3f1b_9d5b_3a4d) ^ (state >> 61);
            state |= 1;
            assert_ne!(flights.enter(state, now), Novelty::Copy);
        }
    }

    #[test]
    fn of_two_at_once_one_is_second() {
        let (flights, now) = (Flights::new(true), Instant::now());
        for binder in 0..200_u128 {
            let binder = binder << 112 | binder;
            let news: usize = std::thread::scope(|scope| {
                let enter = || usize::from(flights.enter(binder, now) == Novelty::New);
                let workers: Vec<_> = (0..4).map(|_| scope.spawn(enter)).collect();
                workers.into_iter().map(|w| w.join().unwrap()).sum()
            });
            assert_eq!(news, 1);
        }
    }

    #[test]
    fn who_forwards_nothing_keeps_nothing() {
        let flights = Flights::new(false);
        assert!(flights.shards.is_empty());
        assert_eq!(flights.enter(7, Instant::now()), Novelty::Unknown);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_old_flights_fresh_for_a_while() {
        let now = Instant::now();
        let mut steady = Steadiness::begin(now);
        assert!(!steady.holds(now));
        let later = now + limits::FLIGHT_MEMORY;
        assert!(steady.holds(later));
        steady.stepped(limits::CLOCK_STEP, later);
        assert!(steady.holds(later), "it always runs a little unevenly");
        let hour = Duration::from_secs(3600);
        steady.stepped(hour, later);
        assert!(!steady.holds(later + hour));
        assert!(steady.holds(later + hour + limits::FLIGHT_MEMORY));
    }
}
