//! Clients show their address before they have a connection, and are told when it is no
//! more.

use spooky_tests::sim::{Entry, FaultKind, Link, Story, get, post};

use crate::{millis, secs};

fn rough() -> Link {
    let mut link = Link::lossy();
    link.loss = 50_000;
    link.duplicates = 100_000;
    link.reorders = 200_000;
    link
}

#[test]
fn everybody_is_served_who_shows_its_address_over_a_rough_network() {
    Story::new()
        .clients(20, get(20_000).and(post(5_000)))
        .workers(4)
        .config("quic: { retry: always }")
        .link(rough())
        .until(secs(120))
        .check(3, |told| {
            assert_eq!(told.answered(), 40, "{:?}", told.tally());
            let counters = told.counters();
            assert_eq!(counters.tokens_accepted, counters.connections_accepted);
            assert!(counters.tokens_accepted >= 20, "{counters:?}");
            // What was lost or came twice was asked for again.
            assert!(counters.retries_sent > 20, "{counters:?}");
        });
}

#[test]
fn a_crowd_is_asked_for_its_address_and_who_comes_later_is_not() {
    Story::new()
        .clients(200, get(2_000))
        .all_at_once()
        .also(15, get(2_000), |client| client.start = secs(20))
        .workers(2)
        .config("quic: { retry_threshold: 20 }")
        .check(2, |told| {
            assert_eq!(told.answered(), 215, "{:?}", told.tally());
            let counters = told.counters();
            let asked = counters.tokens_accepted;
            let unasked = counters.connections_accepted - asked;
            assert!(asked >= 150, "{asked} were asked");
            // As many as the threshold, some whose handshakes made room, and all of the late.
            assert!((35..=60).contains(&unasked), "{unasked} were not asked");
        });
}

#[test]
fn after_a_restart_clients_know_at_once_and_come_again() {
    let restart = millis(5_050);
    Story::new()
        .clients(20, get(5_000).times(20).every(millis(500)))
        .workers(4)
        .at(restart, FaultKind::RestartBalancer)
        .check(3, |told| {
            let late = |entry: &&Entry| entry.sent.is_some_and(|at| at > restart);
            let lost = told.entries().filter(late).filter(|e| !e.is_answered());
            // The one of each client that finds out.
            assert!(lost.count() <= 20, "{:?}", told.tally());
            let counters = told.counters();
            assert!(counters.stateless_resets_sent >= 20, "{counters:?}");
            assert_eq!(counters.connections_accepted, 20, "they came again");
            // Nobody waits for its idle timeout, which is half a minute.
            let ended = |entry: &Entry| entry.end.is_some_and(|(_, at)| at < secs(13));
            assert!(told.entries().all(ended), "{:?}", told.tally());
        });
}

#[test]
fn after_a_restart_clients_know_soon_over_a_rough_network_too() {
    Story::new()
        .clients(10, get(5_000).times(20).every(millis(500)))
        .workers(4)
        .link(rough())
        .at(millis(5_050), FaultKind::RestartBalancer)
        .check(3, |told| {
            let counters = told.counters();
            assert!(counters.stateless_resets_sent >= 10, "{counters:?}");
            let ended = |entry: &Entry| entry.end.is_some_and(|(_, at)| at < secs(20));
            assert!(told.entries().all(ended), "{:?}", told.tally());
        });
}
