//! A backend's process dies under load, and comes up again knowing nothing.

use std::time::Duration;

use spooky_core::observe::Reason;
use spooky_tests::sim::{Entry, FaultKind, Method, Story, Told, get, post};

use crate::{millis, secs};

/// Backend 1 of three dies in the middle of 20 seconds of requests, for five.
fn one_of_three_dies(refuses: bool) -> Story {
    Story::new()
        .clients(10, get(5_000).times(40).every(millis(500)))
        .backends(3)
        .config("timeouts: { connect: 1s, response_header: 2s }")
        .at(
            secs(5),
            FaultKind::Crash {
                backend: 1,
                refuses,
            },
        )
        .at(secs(10), FaultKind::Restart { backend: 1 })
}

fn came_to(told: &Told, backend: u32, from: Duration, until: Duration) -> usize {
    told.count(|entry| {
        entry.backends().contains(&backend) && entry.sent.is_some_and(|at| at >= from && at < until)
    })
}

#[test]
fn a_crashed_backend_whose_host_says_so_costs_little_and_comes_back() {
    one_of_three_dies(true).check(2, |told| {
        let lost = told.sent() - told.answered();
        // Those in flight, and those sent until the host's word has come.
        assert!(lost <= 4, "{lost} lost: {:?}", told.tally());
        assert_eq!(came_to(told, 1, millis(5_100), secs(10)), 0);
        assert!(came_to(told, 1, secs(15), secs(21)) > 20);
    });
}

#[test]
fn a_backend_that_is_gone_without_a_word_is_left_alone_after_its_probes() {
    one_of_three_dies(false).check(2, |told| {
        let late = |entry: &Entry| {
            entry.sent.is_some_and(|at| at > secs(6) && at < secs(10)) && !entry.is_answered()
        };
        let (lost, late) = (told.sent() - told.answered(), told.count(late));
        assert!(lost <= 20, "{lost} lost: {:?}", told.tally());
        // Who is sent to it meanwhile finds out that it can't be reached.
        assert!(late <= 6, "{late} lost although it was known to be dead");
        assert!(came_to(told, 1, secs(16), secs(21)) > 15);
    });
}

#[test]
fn no_post_is_asked_twice_when_the_only_backend_dies() {
    Story::new()
        .clients(10, post(40_000).times(6).every(millis(500)))
        .at(
            millis(2_020),
            FaultKind::Crash {
                backend: 0,
                refuses: true,
            },
        )
        .at(secs(3), FaultKind::Restart { backend: 0 })
        .check(3, |told| {
            let twice = told.count(|entry| entry.backends().len() > 1);
            assert_eq!(twice, 0, "{:?}", told.tally());
            assert!(told.count(|entry| entry.plan.method == Method::Post) == 60);
            assert!(told.answered() >= 40, "{:?}", told.tally());
            assert!(
                told.because(Reason::BackendGone) + told.because(Reason::ConnectionRefused) > 0
            );
        });
}

#[test]
fn a_backend_that_was_never_there_costs_no_request() {
    Story::new()
        .clients(5, get(5_000).times(10).every(millis(100)))
        .backends(2)
        .backend(0, |backend| backend.absent = true)
        .config("timeouts: { connect: 500ms }")
        .check(3, |told| {
            assert_eq!(told.answered(), 50, "{:?}", told.tally());
            let longest = told.entries().filter_map(Entry::took).max();
            // The handshake's time, and then somebody else.
            assert!(longest < Some(millis(600)), "{longest:?}");
            assert!(told.counters().backend_connections_failed > 0);
        });
}
