//! A client that nobody hears for a while.

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::sim::{FaultKind, Story, get};

use crate::{millis, secs};

/// One client of ten is cut off after a second, in the middle of 300 kB.
fn cut_off_for(seconds: u64) -> Story {
    Story::new()
        .clients(10, get(300_000))
        .client(|client| {
            client.reads = Some(100);
            client.window = 16_000;
        })
        .at(secs(1), FaultKind::CutOffClient { client: 2 })
        .at(secs(1 + seconds), FaultKind::Heal)
        .config("quic: { idle_timeout: 10s }")
        .until(secs(120))
}

#[test]
fn a_partition_shorter_than_the_idle_timeout_costs_only_time() {
    cut_off_for(5).check(3, |told| {
        assert_eq!(told.answered(), 10, "{:?}", told.tally());
        let mut took: Vec<_> = told.entries().filter_map(|entry| entry.took()).collect();
        took.sort();
        // Probe timeouts double, so the first after the healing may be late.
        assert!(
            took[8] < secs(5) && took[9] > secs(5) && took[9] < secs(15),
            "{took:?}"
        );
    });
}

#[test]
fn a_partition_longer_than_the_idle_timeout_ends_the_request_once() {
    cut_off_for(40).check(3, |told| {
        assert_eq!(told.answered(), 9, "{:?}", told.tally());
        let lost = told.entries().nth(2).expect("it was asked");
        let record = lost.record.as_ref().expect("it left a record");
        assert_eq!(record.outcome, Outcome::Cancelled);
        assert_eq!(record.reason, Some(Reason::ClientGone));
        // Ten seconds, or three probe timeouts if that is more (RFC 9000 section 10.1);
        // they have doubled meanwhile.
        assert!(
            record.duration > secs(10) && record.duration < secs(25),
            "{record:?}"
        );
    });
}

#[test]
fn a_client_that_comes_back_asks_on_a_new_connection() {
    Story::new()
        .clients(1, get(10_000).times(100).every(millis(500)))
        .client(|client| client.resumes = true)
        .at(secs(1), FaultKind::CutOffClient { client: 0 })
        .at(secs(15), FaultKind::Heal)
        .config("quic: { idle_timeout: 4s }")
        .until(secs(120))
        .check(3, |told| {
            assert_eq!(told.counters().connections_accepted, 2);
            assert_eq!(told.report.resumed, 1);
            assert!(told.answered() >= 90, "{:?}", told.tally());
        });
}
