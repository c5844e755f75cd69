//! WebSocket over HTTP/3, on roads that lose packets.

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::sim::{Behaviour, End, FaultKind, Link, Story, get, tunnel};

use crate::{millis, secs};

#[test]
fn bytes_arrive_both_ways_and_each_way_ends_by_itself_under_loss() {
    // One way is over long before the other: up, and down.
    for (up, down) in [(300_000, 10_000), (10_000, 300_000), (100_000, 100_000)] {
        let load = tunnel(up, down).times(4).and(get(20_000).times(4));
        Story::new()
            .clients(3, load)
            .link(Link::lossy())
            .backend_link(Link::lossy())
            .check(3, |told| {
                assert_eq!(told.answered(), 24, "{:?}", told.tally());
                // The ledger has held all bytes against their pattern, both ways.
                assert_eq!(told.count(|entry| entry.is_uploaded()), 24);
                let complete = |entry: &spooky_tests::sim::Entry| {
                    let record = entry.record.as_ref();
                    record.is_some_and(|r| r.outcome == Outcome::Complete)
                };
                assert_eq!(told.count(complete), 24);
            });
    }
}

#[test]
fn a_tunnel_that_breaks_midway_never_ends_clean() {
    Story::new()
        .clients(4, tunnel(200_000, 200_000).asks(Behaviour::ResetMidway))
        .also(
            4,
            tunnel(500_000, 100_000).cancelled_after(millis(150)),
            |_| {},
        )
        .link(Link::lossy())
        .check(3, |told| {
            assert_eq!(told.reset(), 4, "{:?}", told.tally());
            assert_eq!(told.because(Reason::BackendReset), 4);
            // Whether or not the response was over: the upload never ends clean.
            let cancelled = |entry: &spooky_tests::sim::Entry| {
                entry.plan.cancelled.is_some() && !entry.is_uploaded()
            };
            assert_eq!(told.count(cancelled), 4);
        });
}

#[test]
fn a_drain_lets_tunnels_finish_and_cuts_off_those_that_do_not() {
    let endless = tunnel(1_000, 200_000).asks(Behaviour::StallMidway);
    Story::new()
        .clients(1, tunnel(1_000, 1_000_000).times(2).and(endless))
        .link(Link {
            bandwidth: Some(500_000),
            ..Link::clean()
        })
        .at(millis(500), FaultKind::Drain { within: secs(20) })
        .check(3, |told| {
            assert_eq!(told.answered(), 2, "{:?}", told.tally());
            let cut = told.ended(|end| matches!(end, End::Reset(_) | End::Gone));
            assert_eq!(cut, 1);
            assert_eq!(told.because(Reason::Draining), 1);
        });
}
