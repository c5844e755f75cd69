//! A backend with one place, a short line before it, and too many who come.

use spooky_core::observe::Reason;
use spooky_tests::sim::{Behaviour, Entry, Story, Told, get};

use crate::{millis, secs};

/// Ten ask at once for one place that is taken for a second; three may wait.
fn ten_for_one_place(wait: &str) -> Story {
    Story::new()
        .clients(10, get(1_000).asks(Behaviour::Slow(1_000)))
        .all_at_once()
        .config(&format!(
            "connections: {{ max: 1, max_requests: 1, max_pending: 3, queue_timeout: {wait} }}"
        ))
}

/// How long those waited at the balancer of whom this is true, shortest first.
fn durations(told: &Told, is: impl Fn(&Entry) -> bool) -> Vec<std::time::Duration> {
    let records = told.entries().filter(|entry| is(entry));
    let records = records.filter_map(|entry| entry.record.as_ref());
    let mut durations: Vec<_> = records.map(|record| record.duration).collect();
    durations.sort();
    durations
}

#[test]
fn a_full_queue_sheds_at_once_and_serves_the_others_in_turn() {
    ten_for_one_place("10s").check(5, |told| {
        assert_eq!(
            (told.answered(), told.local(503)),
            (4, 6),
            "{:?}",
            told.tally()
        );
        assert_eq!(told.because(Reason::QueueFull), 6);
        let shed = durations(told, |entry| !entry.is_answered());
        assert!(shed.iter().all(|waited| waited.is_zero()), "{shed:?}");
        let served = durations(told, Entry::is_answered);
        for (n, waited) in (1..).zip(&served) {
            let turn = secs(n);
            assert!(*waited >= turn && *waited < turn + millis(10), "{served:?}");
        }
    });
}

#[test]
fn who_waits_too_long_is_shed_at_that_time() {
    ten_for_one_place("1500ms").check(5, |told| {
        assert_eq!(
            (told.answered(), told.local(503)),
            (2, 8),
            "{:?}",
            told.tally()
        );
        assert_eq!(told.because(Reason::QueueTimeout), 2);
        let shed = durations(told, |entry| !entry.is_answered());
        assert_eq!(shed[6..], [millis(1_500); 2], "{shed:?}");
    });
}

#[test]
fn without_a_queue_only_as_many_as_there_are_places_are_served() {
    Story::new()
        .clients(12, get(1_000).asks(Behaviour::Slow(500)))
        .all_at_once()
        .backends(2)
        .config("connections: { max_requests: 3, max_pending: 0 }")
        .check(5, |told| {
            assert!(told.answered() <= 6, "{:?}", told.tally());
            assert_eq!(told.answered() + told.because(Reason::QueueFull), 12);
        });
}
