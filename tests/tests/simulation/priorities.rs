//! A pipe that is full, and a client that says what it wants first.

use std::time::Duration;

use spooky_tests::sim::{Entry, Link, Load, Story, get};

use crate::{millis, secs};

/// 200 kB a second, with room for half a second in its queue.
fn narrow(loss: u32) -> Link {
    Link {
        bandwidth: Some(200_000),
        queue: millis(500),
        loss,
        ..Link::clean()
    }
}

fn took(entries: &[&Entry], priority: Option<&str>) -> Vec<Duration> {
    let of = entries
        .iter()
        .filter(|entry| entry.plan.priority.as_deref() == priority);
    of.map(|entry| entry.took().expect("it ended")).collect()
}

fn story(load: Load, loss: u32) -> Story {
    Story::new()
        .clients(1, load)
        .link(narrow(loss))
        .until(secs(120))
}

#[test]
fn urgent_answers_overtake_downloads_that_fill_the_pipe() {
    for loss in [0, 10_000] {
        let urgent = get(10_000).priority("u=1").times(8).every(millis(900));
        let load = get(800_000).times(4).and(urgent.after(secs(2)));
        story(load, loss).check(4, |told| {
            assert_eq!(told.answered(), 12, "{:?}", told.tally());
            let entries: Vec<&Entry> = told.entries().collect();
            let mut urgent = took(&entries, Some("u=1"));
            urgent.sort();
            // What is on its way before them is the queue's half a second; a fifth of
            // the pipe each would be worse than that, and a loss costs a round trip.
            assert!(urgent[4] < millis(900), "{urgent:?}");
            let bulk = took(&entries, None);
            assert!(bulk.iter().all(|t| *t > secs(14)), "{bulk:?}");
        });
    }
}

#[test]
fn equals_end_together_and_the_background_last_but_not_never() {
    let load = get(500_000)
        .times(3)
        .and(get(500_000).priority("u=7, i"))
        .and(get(500_000).priority("u=3, i"));
    story(load, 0).check(4, |told| {
        assert_eq!(told.answered(), 5, "{:?}", told.tally());
        let entries: Vec<&Entry> = told.entries().collect();
        let mut equals = took(&entries, None);
        equals.extend(took(&entries, Some("u=3, i")));
        equals.sort();
        let (first, last) = (equals[0].as_secs_f64(), equals[3].as_secs_f64());
        assert!(first > 0.8 * last, "{equals:?}");
        let background = took(&entries, Some("u=7, i"))[0];
        // Alone behind the others it would need all of its 2.5 s after them.
        assert!(background > equals[3], "{background:?}");
        assert!(
            background < equals[3] + millis(2_400),
            "{background:?} after {equals:?}"
        );
    });
}

#[test]
fn what_is_of_no_use_in_parts_comes_one_after_the_other() {
    let load = get(400_000).priority("i=?0").times(4);
    story(load, 5_000).check(4, |told| {
        assert_eq!(told.answered(), 4, "{:?}", told.tally());
        let entries: Vec<&Entry> = told.entries().collect();
        let took = took(&entries, Some("i=?0"));
        assert!(took.is_sorted(), "{took:?}");
        // In rotation the first would end with the last.
        assert!(took[0] < took[3] / 2, "{took:?}");
    });
}
