//! A network that loses, repeats, delays and alters.

use spooky_tests::sim::{Harm, Link, Story, get, post};

use crate::{millis, secs};

fn rough() -> Link {
    let mut link = Link::lossy();
    link.loss = 50_000;
    link.duplicates = 50_000;
    link.reorders = 200_000;
    link.corrupts = 20_000;
    link
}

#[test]
fn everything_is_answered_and_intact_over_a_rough_network() {
    Story::new()
        .clients(3, get(40_000).times(6).every(millis(200)))
        .also(3, post(40_000).times(6).every(millis(200)), |_| {})
        .backends(3)
        .link(rough())
        .backend_link(rough())
        .until(secs(120))
        .check(2, |told| {
            assert_eq!(told.answered(), 36, "{:?}", told.tally());
            for harm in [Harm::Lost, Harm::Twice, Harm::Late, Harm::Altered] {
                let done = told.report.faults.iter().filter(|fault| fault.harm == harm);
                assert!(done.count() > 20, "{harm:?} hardly ever happened");
            }
        });
}

#[test]
fn a_path_of_1200_bytes_carries_what_the_balancer_sends() {
    let mut narrow = Link::clean();
    narrow.mtu = 1200;
    Story::new()
        .clients(3, get(50_000).times(5))
        .link(narrow)
        .until(secs(120))
        .check(3, |told| {
            assert_eq!(told.answered(), 15, "{:?}", told.tally());
        });
}
