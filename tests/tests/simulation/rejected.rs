//! H3_REQUEST_REJECTED says that nothing was done, so even a POST may go elsewhere.

use spooky_core::observe::Reason;
use spooky_tests::sim::{Behaviour, Story, get, post};

use crate::millis;

#[test]
fn a_rejected_post_is_tried_at_another_backend() {
    let empty = post(0).with(|post| post.download = 3_000);
    Story::new()
        .clients(
            10,
            empty
                .times(5)
                .every(millis(100))
                .asks(Behaviour::RejectOnce),
        )
        .backends(2)
        .check(5, |told| {
            assert_eq!(told.answered(), 50, "{:?}", told.tally());
            for entry in told.entries() {
                let asked = entry.backends();
                assert!(asked == [0, 1] || asked == [1, 0], "{asked:?}");
                assert_eq!(entry.record.as_ref().map(|record| record.attempts), Some(2));
            }
        });
}

#[test]
fn one_backend_is_asked_again_on_another_connection() {
    Story::new()
        .clients(5, get(3_000).asks(Behaviour::RejectOnce))
        .check(5, |told| {
            assert_eq!(told.answered(), 5, "{:?}", told.tally());
            assert_eq!(told.counters().requests_retried, 5);
            assert!(told.counters().backend_connections_opened >= 2);
        });
}

#[test]
fn two_rejections_are_enough() {
    Story::new()
        .clients(10, get(3_000).times(3).asks(Behaviour::Reject))
        .backends(3)
        .check(5, |told| {
            assert_eq!(told.local(502), 30, "{:?}", told.tally());
            assert_eq!(told.because(Reason::BackendReset), 30);
            assert!(told.entries().all(|entry| entry.backends().len() == 2));
        });
}

#[test]
fn a_post_whose_bytes_were_read_is_not_tried_again() {
    Story::new()
        .clients(5, post(30_000).times(4).asks(Behaviour::RejectOnce))
        .backends(2)
        .check(5, |told| {
            // Some bodies had not begun to move when the rejection came.
            assert_eq!(told.answered() + told.local(502), 20, "{:?}", told.tally());
            assert!(told.local(502) >= 5, "{:?}", told.tally());
            for entry in told.entries() {
                let asked = if entry.is_answered() { 2 } else { 1 };
                assert_eq!(entry.backends().len(), asked, "{entry:?}");
            }
        });
}
