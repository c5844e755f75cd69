//! How long the balancer waits, and for whom.

use std::cell::RefCell;
use std::collections::BTreeSet;

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::sim::{Behaviour, Entry, Link, Recorded, Story, get, post};

use crate::{millis, secs};

fn recorded(entry: &Entry) -> &Recorded {
    entry
        .record
        .as_ref()
        .expect("a request that came left a record")
}

#[test]
fn a_client_that_stops_in_its_upload_is_a_408_at_its_time() {
    Story::new()
        .clients(5, post(40_000).stalls())
        .config("timeouts: { idle: 2s, response_header: 500ms }")
        .check(3, |told| {
            assert_eq!(told.local(408), 5, "{:?}", told.tally());
            assert_eq!(told.because(Reason::IdleTimeout), 5);
            for entry in told.entries() {
                let waited = recorded(entry).duration;
                // The last bytes came a little after the head.
                assert!(waited >= secs(2) && waited < millis(2_100), "{waited:?}");
                assert_eq!(entry.backends(), [0], "it was asked");
                assert!(!entry.is_uploaded());
            }
        });
}

#[test]
fn a_backend_that_stops_in_its_answer_is_a_reset_at_its_time() {
    Story::new()
        .clients(5, get(40_000).asks(Behaviour::StallMidway))
        .config("timeouts: { idle: 2s }")
        .check(3, |told| {
            assert_eq!(told.reset(), 5, "{:?}", told.tally());
            assert_eq!(told.because(Reason::IdleTimeout), 5);
            for entry in told.entries() {
                let waited = recorded(entry).duration;
                assert!(waited >= secs(2) && waited < millis(2_100), "{waited:?}");
            }
        });
}

#[test]
fn a_client_that_reads_nothing_is_given_up_and_its_neighbours_are_not() {
    Story::new()
        .clients(2, get(1_000_000))
        .client(|client| {
            client.reads = Some(0);
            client.window = 16_000;
        })
        .also(3, get(20_000).times(20).every(millis(200)), |client| {
            client.reads = None;
            client.window = 256_000;
        })
        .config("timeouts: { idle: 2s }")
        .until(secs(20))
        .check(3, |told| {
            assert_eq!(told.answered(), 60, "{:?}", told.tally());
            assert_eq!(told.because(Reason::IdleTimeout), 2);
            for entry in told.entries().take(2) {
                assert_eq!(recorded(entry).outcome, Outcome::Reset);
                assert!(recorded(entry).duration < millis(2_500));
            }
        });
}

#[test]
fn nobody_who_moves_is_idle_on_a_bad_road() {
    // Half a minute of drops and losses, with never more than a second of nothing.
    let mut rough = Link::lossy();
    rough.bandwidth = Some(20_000);
    rough.queue = secs(2);
    Story::new()
        .clients(2, post(200_000))
        .link(rough)
        .config("timeouts: { idle: 8s, response_header: 8s }")
        .until(secs(120))
        .check(3, |told| {
            assert_eq!(told.answered(), 2, "{:?}", told.tally());
            let longest = told.entries().map(|entry| recorded(entry).duration).max();
            assert!(longest > Some(secs(8)), "{longest:?}");
        });
}

#[test]
fn a_request_has_its_time_and_no_more_whatever_it_waits_for() {
    // In the queue, for a silent backend, in the middle of an answer, for a client.
    Story::new()
        .clients(1, get(1_000).asks(Behaviour::Silent))
        .also(1, get(1_000), |client| client.start = millis(200))
        .config("connections: { max: 1, max_requests: 1, queue_timeout: 60s }")
        .config("timeouts: { request: 3s }")
        .check(2, |told| {
            assert_eq!(told.local(504) + told.answered(), 2, "{:?}", told.tally());
            assert!(told.because(Reason::RequestTimeout) >= 1);
        });
    let cases = [
        (get(1_000).asks(Behaviour::Silent), true),
        (get(50_000).asks(Behaviour::StallMidway), false),
        (post(50_000).stalls(), true),
    ];
    for (load, answered) in cases {
        Story::new()
            .clients(3, load)
            .config("timeouts: { request: 3s }")
            .check(2, |told| {
                let ends = if answered {
                    told.local(504)
                } else {
                    told.reset()
                };
                assert_eq!(ends, 3, "{:?}", told.tally());
                assert_eq!(told.because(Reason::RequestTimeout), 3);
                for entry in told.entries() {
                    let took = recorded(entry).duration;
                    assert!(took >= secs(3) && took < millis(3_005), "{took:?}");
                }
            });
    }
}

#[test]
fn a_response_is_whole_or_reset_when_its_time_comes_in_the_middle_of_it() {
    let mut narrow = Link::clean();
    narrow.bandwidth = Some(50_000);
    Story::new()
        .clients(1, get(10_000))
        .also(1, get(1_000_000), |client| client.start = secs(2))
        .link(narrow)
        .config("timeouts: { request: 3s }")
        .check(3, |told| {
            assert_eq!(
                (told.answered(), told.reset()),
                (1, 1),
                "{:?}",
                told.tally()
            );
            assert_eq!(told.because(Reason::RequestTimeout), 1);
        });
}

#[test]
fn trailers_come_through_whatever_is_lost() {
    Story::new()
        .clients(
            4,
            get(30_000)
                .times(5)
                .every(millis(100))
                .asks(Behaviour::Trailers),
        )
        .link(Link::lossy())
        .backend_link(Link::lossy())
        .config("timeouts: { idle: 10s }")
        .check(5, |told| {
            assert_eq!(told.answered(), 20, "{:?}", told.tally());
        });
}

#[test]
fn early_answers_are_whole_while_the_upload_still_comes() {
    let mut narrow = Link::lossy();
    narrow.bandwidth = Some(100_000);
    let early = post(300_000).asks(Behaviour::Early);
    Story::new()
        .clients(4, early.with(|request| request.download = 20_000))
        .link(narrow)
        .check(5, |told| {
            assert_eq!(told.answered(), 4, "{:?}", told.tally());
            let whole = told.count(Entry::is_uploaded);
            assert_eq!(whole, 0, "the rest of each was stopped");
        });
}

/// Queued, connecting, sending, before the head, in the answer, after its last byte.
#[test]
fn a_request_can_be_cancelled_whenever() {
    let waits = [0, 5, 12, 20, 25, 30, 35, 40, 45, 50, 60, 80, 120, 200, 400];
    let phases = RefCell::new(BTreeSet::new());
    for after in waits {
        Story::new()
            .clients(3, post(20_000).times(3).cancelled_after(millis(after)))
            .also(1, get(5_000).times(4), |client| client.start = secs(3))
            .all_at_once()
            .config("connections: { max: 2, max_requests: 4, queue_timeout: 10s }")
            .backend_link(Link::clean())
            .backend(0, |backend| backend.thinks = millis(15))
            .check(1, |told| {
                let early = told.count(|entry| entry.client < 3 && entry.end.is_some());
                assert_eq!(early, 9, "{:?}", told.tally());
                let early = told.entries().filter(|entry| entry.client < 3);
                phases.borrow_mut().extend(early.map(phase));
                let served = told.count(|entry| entry.client == 3 && entry.is_answered());
                assert_eq!(served, 4, "after {after} ms: {:?}", told.tally());
            });
    }
    let phases = phases.into_inner();
    let all = [UNASKED, UPLOADING, WAITING, ANSWERING, ANSWERED];
    assert_eq!(phases, BTreeSet::from(all), "all of them were met");
}

const UNASKED: &str = "before a backend heard of it";
const UPLOADING: &str = "in its upload";
const WAITING: &str = "before the head of its answer";
const ANSWERING: &str = "in its answer";
const ANSWERED: &str = "not at all";

/// Where a request was when it was cancelled.
fn phase(entry: &Entry) -> &'static str {
    match &entry.record {
        _ if entry.is_answered() => ANSWERED,
        _ if entry.backends().is_empty() => UNASKED,
        Some(record) if record.status.is_some() => ANSWERING,
        _ if entry.is_uploaded() => WAITING,
        _ => UPLOADING,
    }
}

#[test]
fn a_body_that_is_too_large_comes_to_no_backend_or_never_whole() {
    let large = post(50_000).times(2);
    let unannounced = large.clone().with(|request| request.announced = false);
    Story::new()
        .clients(2, large)
        .also(2, unannounced, |_| {})
        .also(2, post(10_000).times(2), |_| {})
        .config("limits: { body_bytes: 10000 }")
        .check(3, |told| {
            assert_eq!(
                (told.local(413), told.answered()),
                (8, 4),
                "{:?}",
                told.tally()
            );
            assert_eq!(told.because(Reason::BodyTooLarge), 8);
            for entry in told.entries().take(4) {
                assert!(entry.backends().is_empty(), "it was announced");
            }
        });
}

/// CVE-2023-44487, over HTTP/3: one client cancels all that it asks for.
#[test]
fn a_client_that_only_cancels_is_sent_away_and_nobody_else_notices() {
    let flood = get(1_000)
        .asks(Behaviour::Silent)
        .times(300)
        .every(millis(10))
        .cancelled_after(millis(5));
    Story::new()
        .clients(1, flood)
        .also(5, get(5_000).times(30).every(millis(100)), |_| {})
        .config("limits: { resets_per_connection: 50 }")
        .check(3, |told| {
            assert!(
                told.counters().connections_reset_floods >= 1,
                "{:?}",
                told.tally()
            );
            assert_eq!(told.answered(), 150, "{:?}", told.tally());
            // It connects a few times, and each time it may cancel so many.
            let cancelled = told.because(Reason::ClientCancelled);
            assert!(cancelled <= 5 * 51, "{cancelled}");
        });
}
