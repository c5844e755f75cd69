//! A backend that takes a request and says nothing.

use spooky_core::observe::Reason;
use spooky_tests::sim::{Behaviour, Entry, Recorded, Story, get, post};

use crate::{millis, secs};

/// How long the balancer took for it.
fn recorded(entry: &Entry) -> &Recorded {
    entry
        .record
        .as_ref()
        .expect("a request that came left a record")
}

#[test]
fn a_silent_backend_is_a_504_at_its_time_to_the_millisecond() {
    Story::new()
        .clients(5, get(1_000).asks(Behaviour::Silent))
        .config("timeouts: { response_header: 1234ms }")
        .check(3, |told| {
            assert_eq!(told.local(504), 5, "{:?}", told.tally());
            assert_eq!(told.because(Reason::ResponseHeaderTimeout), 5);
            for entry in told.entries() {
                // The first waits for the handshake with the backend as well.
                let waited = recorded(entry).duration;
                assert!(
                    waited >= millis(1_234) && waited < millis(1_236),
                    "{waited:?}"
                );
                // … and 10 ms there and back.
                let took = entry.took().expect("it ended");
                assert!(
                    took >= waited + millis(20) && took < waited + millis(22),
                    "{took:?}"
                );
            }
        });
}

#[test]
fn a_body_that_still_moves_is_not_late() {
    // At 50 kB/s the upload takes six times as long as the backend may be silent.
    let mut slow = spooky_tests::sim::Link::clean();
    slow.bandwidth = Some(50_000);
    slow.queue = secs(2);
    Story::new()
        .clients(1, post(300_000).with(|request| request.download = 100))
        .link(slow)
        .config("timeouts: { response_header: 1s }")
        .check(3, |told| {
            assert_eq!(told.answered(), 1, "{:?}", told.tally());
            let took = recorded(told.entries().next().expect("there is one")).duration;
            assert!(took > secs(5), "{took:?}");
        });
}

#[test]
fn a_response_that_stalls_midway_holds_up_nobody_else() {
    let stalls = get(100_000).times(5).asks(Behaviour::StallMidway);
    Story::new()
        .clients(3, stalls)
        .also(3, get(20_000).times(10).every(millis(100)), |_| {})
        .until(secs(10))
        .check(2, |told| {
            assert_eq!(told.answered(), 30, "{:?}", told.tally());
            let longest = told
                .entries()
                .filter(|entry| entry.is_answered())
                .filter_map(Entry::took)
                .max();
            assert!(longest < Some(millis(500)), "{longest:?}");
        });
}
