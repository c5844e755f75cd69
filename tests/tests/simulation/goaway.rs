//! Backends that leave in good order lose nothing.

use spooky_tests::sim::{FaultKind, Method, Story, get, post};

use crate::{millis, secs};

#[test]
fn a_backend_that_says_goaway_loses_no_request() {
    Story::new()
        .clients(10, get(10_000).times(12).every(millis(150)))
        .backends(2)
        .at(millis(700), FaultKind::Goaway { backend: 0 })
        .at(millis(1_400), FaultKind::Goaway { backend: 1 })
        .at(millis(1_401), FaultKind::Goaway { backend: 0 })
        .check(3, |told| {
            assert_eq!(told.answered(), 120, "{:?}", told.tally())
        });
}

#[test]
fn connections_that_end_after_three_requests_lose_no_request_and_no_post() {
    Story::new()
        .clients(5, get(2_000).times(12).every(millis(30)))
        .also(
            5,
            post(0)
                .times(12)
                .every(millis(30))
                .with(|post| post.download = 2_000),
            |_| {},
        )
        .backends(2)
        .backend(0, |backend| backend.leaves_after = Some(3))
        .check(3, |told| {
            assert_eq!(told.answered(), 120, "{:?}", told.tally());
            assert!(told.counters().backend_connections_opened > 10);
        });
}

#[test]
fn a_post_that_crosses_a_goaway_is_done_once_or_refused() {
    Story::new()
        .clients(5, post(20_000).times(12).every(millis(20)))
        .backends(2)
        .backend(0, |backend| backend.leaves_after = Some(4))
        .backend(1, |backend| backend.leaves_after = Some(4))
        .backend_link(spooky_tests::sim::Link::clean())
        .until(secs(20))
        .check(3, |told| {
            assert_eq!(told.answered() + told.local(502), 60, "{:?}", told.tally());
            // What was read of a body is gone: the refusal says so.
            let whole =
                told.count(|entry| entry.plan.method == Method::Post && entry.is_uploaded());
            assert_eq!(whole, told.answered());
            assert!(told.answered() > 20, "{:?}", told.tally());
        });
}
