//! Clients that change their mind.

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::sim::{Behaviour, End, Link, Story, get, post};

use crate::{millis, secs};

#[test]
fn a_cancelled_upload_never_ends_clean_at_its_backend() {
    let mut narrow = Link::clean();
    narrow.bandwidth = Some(200_000);
    Story::new()
        .clients(10, post(500_000).cancelled_after(millis(300)))
        .link(narrow)
        .check(5, |told| {
            assert_eq!(
                told.ended(|end| end == End::Cancelled),
                10,
                "{:?}",
                told.tally()
            );
            assert_eq!(told.because(Reason::ClientCancelled), 10);
            let whole = told.count(|entry| entry.is_uploaded());
            assert_eq!(whole, 0, "they were in the middle of it");
        });
}

#[test]
fn a_place_that_is_given_up_is_free_for_the_next() {
    let dropped = get(1_000)
        .asks(Behaviour::Silent)
        .cancelled_after(millis(200));
    Story::new()
        .clients(1, dropped.times(20).every(millis(300)))
        .also(1, get(1_000), |client| client.start = secs(7))
        .config("connections: { max: 1, max_requests: 1, max_pending: 0 }")
        .check(3, |told| {
            let cancelled = told.ended(|end| end == End::Cancelled);
            assert_eq!((cancelled, told.answered()), (20, 1), "{:?}", told.tally());
        });
}

#[test]
fn who_gives_up_in_the_queue_is_never_asked_for() {
    Story::new()
        .clients(1, get(1_000).asks(Behaviour::Slow(2_000)))
        .also(5, get(1_000).cancelled_after(millis(500)), |client| {
            client.start = millis(100)
        })
        .all_at_once()
        .config("connections: { max: 1, max_requests: 1, queue_timeout: 10s }")
        .check(3, |told| {
            assert_eq!(told.answered(), 1, "{:?}", told.tally());
            for entry in told.entries().skip(1) {
                let record = entry.record.as_ref().expect("it left a record");
                assert_eq!(record.outcome, Outcome::Cancelled);
                assert!(entry.backends().is_empty(), "it was still waiting");
            }
        });
}
