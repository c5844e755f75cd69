//! 0-RTT in a house that lives, and somebody who sends again what he sees.

use std::time::Duration;

use spooky_tests::sim::{End, FaultKind, Link, Story, get, post};

use crate::{millis, secs};

const CLIENTS: u32 = 4;

/// Clients whose connections end after two requests, and who come again with 0-RTT;
/// their first flights are repeated all the time.
fn regulars(start: Duration, link: Link) -> Story {
    let every = secs(4);
    let story = Story::new()
        .clients(
            CLIENTS,
            get(1_000)
                .times(5)
                .every(every)
                .and(post(1_000).times(5).every(every)),
        )
        .client(|client| {
            client.start = start;
            client.resumes = true;
            client.early = true;
        })
        .backends(2)
        .link(link)
        .until(start + secs(60))
        .config("limits: { requests_per_connection: 2 }");
    // Not before all have tickets: who repeats an Initial before its client is heard takes
    // the place of its connection, which is another matter.
    (20..250).fold(story, |story, n| {
        let client = n % CLIENTS;
        story.at(start + millis(97) * n, FaultKind::Replay { client })
    })
}

fn rough() -> Link {
    let mut link = Link::lossy();
    link.loss = 30_000;
    link.duplicates = 50_000;
    link.reorders = 200_000;
    link
}

const ASKED: usize = CLIENTS as usize * 10;

#[test]
fn early_requests_are_held_and_served_once_and_their_replays_never() {
    for (link, workers) in [(Link::clean(), 1), (rough(), 1), (rough(), 4)] {
        regulars(secs(0), link).workers(workers).check(2, |told| {
            assert_eq!(told.answered(), ASKED, "{:?}", told.tally());
            assert_eq!(told.count(|e| e.backends().len() == 1), ASKED);
            let counters = told.counters();
            assert_eq!(counters.handshakes_resumed, 16);
            // Of ClientHellos that got lost nobody knows that data came with them.
            assert!(counters.requests_early_held >= 32, "{counters:?}");
            assert_eq!(counters.requests_early_forwarded, 0);
            let replayed = told.count(|e| e.unproven > 0);
            assert!(replayed > 8, "only {replayed} were replayed");
        });
    }
}

#[test]
fn early_requests_that_are_forwarded_come_to_a_backend_once() {
    // Where datagrams get lost or come late, early data often comes after the handshake,
    // and is no longer early.
    for (link, workers, least) in [(Link::clean(), 1, 16), (rough(), 1, 4), (rough(), 4, 4)] {
        // The process is old enough when they come.
        let story = regulars(secs(140), link).workers(workers);
        story.config("early_data: forward").check(2, |told| {
            // Where the copy was first, the client is refused.
            let gone = told.ended(|end| end == End::Gone);
            assert_eq!(told.answered() + gone, ASKED, "{:?}", told.tally());
            assert!(told.entries().all(|e| e.backends().len() <= 1));
            let counters = told.counters();
            assert!(counters.requests_early_forwarded >= least, "{counters:?}");
            assert!(counters.requests_early_held >= least, "{counters:?}");
            assert!(counters.early_flights_copied > 0, "{counters:?}");
        });
    }
}

/// The new process has the secret of the old one, and here even its randomness.
#[test]
fn a_restart_brings_no_request_twice() {
    for config in ["early_data: hold", "early_data: forward"] {
        let story = regulars(secs(140), rough())
            .workers(2)
            .config(config)
            .at(secs(140) + millis(5_010), FaultKind::RestartBalancer)
            .at(secs(140) + millis(13_330), FaultKind::RestartBalancer);
        story.check(3, |told| {
            assert!(told.entries().all(|e| e.backends().len() <= 1));
            assert!(told.answered() > 8, "{:?}", told.tally());
            assert!(told.counters().handshakes_resumed > 0);
        });
    }
}
