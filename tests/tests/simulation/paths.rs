//! What paths carry: sizes that stop arriving, and each way to find the rate.

use spooky_tests::sim::{FaultKind, Link, Story, get, post};

use crate::{millis, secs};

/// Two clients that fetch and two that send, on a link that no longer takes more than
/// 1250 bytes after a while: in the middle of bodies.
fn on_a_path_that_narrows() -> Story {
    let narrow = Link {
        mtu: 1250,
        ..Link::clean()
    };
    Story::new()
        .clients(2, get(2_000_000).times(4).every(secs(1)))
        .also(2, get(1_000).times(20).every(millis(200)), |_| {})
        .at(
            millis(1_150),
            FaultKind::Links {
                clients: narrow,
                backends: Link::clean(),
            },
        )
}

#[test]
fn datagrams_get_small_where_large_ones_vanish_and_nothing_is_lost() {
    on_a_path_that_narrows().check(2, |told| {
        assert_eq!(told.answered(), 48, "{:?}", told.tally());
        let holes = told.counters().black_holes;
        assert!(holes >= 1, "noticed {holes} times");
    });
}

#[test]
fn sizes_that_were_never_probed_get_small_as_well() {
    let story = on_a_path_that_narrows().config("quic: { path_mtu_discovery: off }");
    story.check(1, |told| {
        assert_eq!(told.answered(), 48, "{:?}", told.tally());
        assert!(told.counters().black_holes >= 1);
    });
}

#[test]
fn every_congestion_control_brings_everything_over_a_bad_link() {
    for control in ["cubic", "bbr2", "reno"] {
        let story = Story::new()
            .link(Link::lossy())
            .backend_link(Link::lossy())
            .clients(3, get(300_000).times(4).every(millis(300)))
            .also(3, post(300_000).times(4).every(millis(300)), |_| {})
            .config(&format!("quic: {{ congestion_control: {control} }}"));
        story.check(2, |told| {
            assert_eq!(told.answered(), 24, "{control}: {:?}", told.tally());
        });
    }
}
