//! A balancer that is told to leave.

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::sim::{Behaviour, End, FaultKind, Story, get};

use crate::{millis, secs};

/// H3_REQUEST_REJECTED, RFC 9114 section 8.1.
const REJECTED: u64 = 0x10b;

#[test]
fn a_drain_finishes_what_is_in_flight_and_refuses_what_comes_after() {
    Story::new()
        .clients(
            10,
            get(30_000)
                .times(20)
                .every(millis(100))
                .asks(Behaviour::Slow(400)),
        )
        .all_at_once()
        .at(secs(1), FaultKind::Drain { within: secs(20) })
        .until(secs(5))
        .check(3, |told| {
            let refused = told.ended(|end| end == End::Reset(REJECTED));
            // Whoever has heard the GOAWAY asks no more; who has not is told.
            assert_eq!(told.answered() + refused, told.sent(), "{:?}", told.tally());
            assert_eq!(told.because(Reason::Draining), refused);
            assert!(told.answered() >= 90, "{:?}", told.tally());
            let asked = told.count(|entry| entry.sent > Some(millis(1_050)));
            assert_eq!(asked, 0, "nobody asks who was told");
            let last = told.last_answer().expect("some are answered");
            assert!(last > millis(1_300) && last < secs(2), "{last:?}");
        });
}

#[test]
fn what_is_not_done_by_the_deadline_is_cut_off() {
    Story::new()
        .clients(4, get(10_000).asks(Behaviour::Slow(5_000)))
        .all_at_once()
        .at(secs(1), FaultKind::Drain { within: secs(2) })
        .check(3, |told| {
            // The connection is closed with it, so that is what clients hear.
            assert_eq!(told.ended(|end| end == End::Gone), 4, "{:?}", told.tally());
            for entry in told.entries() {
                let record = entry.record.as_ref().expect("it left a record");
                assert_eq!(
                    (record.outcome, record.reason),
                    (Outcome::Reset, Some(Reason::Draining))
                );
                let end = entry.sent.expect("it was sent") + record.duration;
                assert!(end > millis(2_980) && end <= secs(3), "{end:?}");
            }
        });
}

#[test]
fn who_connects_after_the_drain_began_is_not_taken_in() {
    Story::new()
        .clients(1, get(1_000).asks(Behaviour::Slow(3_000)))
        .also(5, get(1_000), |client| client.start = secs(1))
        .at(millis(500), FaultKind::Drain { within: secs(10) })
        .until(secs(20))
        .check(3, |told| {
            assert_eq!((told.sent(), told.answered()), (1, 1), "{:?}", told.tally());
            assert_eq!(told.counters().connections_accepted, 1);
            assert!(told.counters().connections_refused >= 5);
        });
}
