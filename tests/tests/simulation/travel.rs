//! Clients whose address changes under load: by a NAT, or by their own will.

use std::time::Duration;

use spooky_tests::sim::{FaultKind, Story, get, post};

use crate::millis;

const CLIENTS: u32 = 8;
/// All clients ask so often, together.
const EVERY: Duration = millis(250);

/// Half of the clients download, half upload; four move each time, `after` they asked.
fn on_the_road(after: Duration, moves: fn(u32) -> FaultKind) -> Story {
    let story = Story::new()
        .clients(CLIENTS / 2, get(20_000).times(12).every(EVERY))
        .also(CLIENTS / 2, post(20_000).times(12).every(EVERY), |_| {})
        .backends(2);
    // All have shaken hands by then: before that nobody may move (RFC 9000 section 9).
    (0..CLIENTS * 3).fold(story, |story, n| {
        story.at(EVERY * (4 + n / 4) + after, moves(n % CLIENTS))
    })
}

fn rebind(client: u32) -> FaultKind {
    FaultKind::Rebind { client }
}

fn migrate(client: u32) -> FaultKind {
    FaultKind::Migrate { client }
}

#[test]
fn a_nat_that_rebinds_between_two_answers_loses_nothing() {
    on_the_road(millis(100), rebind).check(2, |told| {
        assert_eq!(told.answered(), 96, "{:?}", told.tally());
        assert_eq!(told.counters().connections_accepted, u64::from(CLIENTS));
    });
}

#[test]

fn a_nat_that_rebinds_during_an_answer_loses_nothing() {
    on_the_road(millis(15), rebind).check(2, |told| {
        assert_eq!(told.answered(), 96, "{:?}", told.tally());
    });
}

#[test]
fn a_client_that_migrates_loses_nothing() {
    for after in [0, 5, 15, 100] {
        on_the_road(millis(after), migrate).check(1, |told| {
            assert_eq!(told.answered(), 96, "{:?}", told.tally());
            assert_eq!(told.counters().connections_accepted, u64::from(CLIENTS));
        });
    }
}

#[test]
fn datagrams_of_clients_that_moved_are_handed_to_their_worker() {
    for moves in [rebind, migrate] {
        on_the_road(millis(100), moves).workers(4).check(1, |told| {
            assert_eq!(told.answered(), 96, "{:?}", told.tally());
            let misrouted = told.counters().datagrams_misrouted;
            assert!(
                misrouted > 100,
                "{misrouted} datagrams came to the wrong worker"
            );
            assert_eq!(told.counters().connections_accepted, u64::from(CLIENTS));
        });
    }
}
