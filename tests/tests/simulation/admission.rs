//! Limits on who may begin a connection, and on requests on it, in a house that lives.

use spooky_tests::sim::{FaultKind, Link, Story, get};

use crate::{millis, secs};

#[test]
fn a_crowd_beyond_the_bound_is_refused_over_all_workers_and_the_others_are_served() {
    for workers in [1, 4] {
        Story::new()
            .clients(20, get(1_000))
            .all_at_once()
            .workers(workers)
            .config("limits: { connections: 10 }")
            .check(3, |told| {
                assert_eq!(told.answered(), 10, "{:?}", told.tally());
                let counters = told.counters();
                assert_eq!(counters.connections_accepted, 10);
                // Each is told at once, and asks five times.
                assert_eq!(counters.connections_refused_limit, 50);
                assert_eq!(counters.connections_refused, 50);
            });
    }
}

#[test]
fn clients_that_are_too_many_for_a_second_are_served_in_the_next() {
    Story::new()
        .clients(30, get(1_000))
        .all_at_once()
        .config("limits: { new_connections_per_second: 20 }")
        .check(3, |told| {
            assert_eq!(told.answered(), 30, "{:?}", told.tally());
            assert!(told.counters().connections_refused_rate >= 10);
        });
}

/// A client that moves counts where it began, and its place is free when it has left.
#[test]
fn a_client_that_moves_takes_no_second_place() {
    let story = (1..10).fold(Story::new(), |story, n| {
        let client = n % 3;
        story
            .at(millis(400 * u64::from(n)), FaultKind::Migrate { client })
            .at(
                millis(400 * u64::from(n) + 200),
                FaultKind::Rebind { client },
            )
    });
    story
        .clients(3, get(1_000).times(20).every(millis(200)))
        .workers(2)
        .config("limits: { connections_per_ip: 1 }")
        .check(3, |told| {
            assert_eq!(told.counters().connections_accepted, 3);
            assert_eq!(told.counters().connections_refused, 0);
        });
}

#[test]
fn a_connection_that_had_its_requests_is_followed_by_another_whatever_gets_lost() {
    for link in [Link::clean(), Link::lossy()] {
        Story::new()
            .clients(5, get(1_000).times(12).every(secs(2)))
            .link(link)
            .config("limits: { requests_per_connection: 4 }")
            .check(3, |told| {
                assert_eq!(told.answered(), 60, "{:?}", told.tally());
                assert_eq!(told.counters().connections_accepted, 15);
            });
    }
}
