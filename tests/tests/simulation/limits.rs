//! Bounds of the pool hold, and are used.

use spooky_tests::sim::{Behaviour, Story, get};

use crate::{millis, secs};

#[test]
fn no_more_connections_are_opened_than_the_bound_says() {
    // 60 at once, for backends that take four on a connection.
    Story::new()
        .clients(20, get(1_000).times(3).asks(Behaviour::Slow(200)))
        .all_at_once()
        .backend(0, |backend| backend.streams = 4)
        .config("connections: { max: 5, queue_timeout: 10s }")
        .check(3, |told| {
            assert_eq!(told.answered(), 60, "{:?}", told.tally());
            assert_eq!(told.counters().backend_connections_opened, 5);
            // Three rounds of twenty.
            let last = told.last_answer().expect("all are answered");
            assert!(last > millis(600) && last < millis(900), "{last:?}");
        });
}

#[test]
fn one_connection_is_enough_for_few_requests() {
    Story::new()
        .clients(20, get(1_000).times(10).every(millis(100)))
        .check(3, |told| {
            assert_eq!(told.answered(), 200, "{:?}", told.tally());
            assert_eq!(told.counters().backend_connections_opened, 1);
        });
}

#[test]
fn a_connection_that_went_idle_is_closed_and_opened_again() {
    Story::new()
        .clients(1, get(1_000).times(3).every(secs(5)))
        .config("connections: { idle_timeout: 1s }")
        .check(3, |told| {
            assert_eq!(told.answered(), 3, "{:?}", told.tally());
            assert_eq!(told.counters().backend_connections_opened, 3);
        });
}

#[test]
fn weights_are_shares() {
    Story::new()
        .clients(20, get(100).times(15).every(millis(20)))
        .backends(3)
        .backend(1, |backend| backend.weight = 300)
        .backend(2, |backend| backend.weight = 0)
        .check(3, |told| {
            let share = |backend| told.count(|entry| entry.backends() == [backend]);
            assert_eq!(share(0) + share(1), 300);
            assert!((200..250).contains(&share(1)), "{} of 300", share(1));
        });
}
