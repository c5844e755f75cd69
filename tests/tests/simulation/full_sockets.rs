//! Sockets of the balancer that are full now and then.

use spooky_tests::sim::{Entry, Story, get, post};

use crate::millis;

/// The same load with a chance in a million that a socket is full.
fn busy(blocked: u32) -> Story {
    Story::new()
        .clients(3, get(100_000).times(4).every(millis(100)))
        .also(3, post(50_000).times(4).every(millis(100)), |_| {})
        .backends(2)
        .workers(2)
        .blocked(blocked)
}

#[test]
fn sockets_that_are_full_now_and_then_lose_nothing() {
    for blocked in [20_000, 500_000] {
        busy(blocked).check(2, |told| {
            assert_eq!(told.answered(), 24, "{:?}", told.tally());
            let longest = told.entries().filter_map(Entry::took).max();
            assert!(longest < Some(millis(1_000)), "{longest:?} at {blocked}");
        });
    }
}

#[test]
fn a_balancer_that_is_slow_to_its_turns_loses_nothing() {
    busy(0).turn(millis(5)).check(2, |told| {
        assert_eq!(told.answered(), 24, "{:?}", told.tally());
    });
}
