//! Does the simulator find mistakes? Here are some, made on purpose: each is found
//! by the random scenarios, and made small.
#![cfg(feature = "planted")]

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spooky_core::planted::{Bug, plant};
use spooky_tests::sim::sweep::sweep;
use spooky_tests::sim::{Counting, Scenario, shrink};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Random scenarios in which a mistake must show.
const SEEDS: u64 = 200;
/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(20);

#[test]
fn a_post_that_is_asked_twice_is_found_and_made_small() {
    is_found_and_made_small(Bug::AsksTwice);
}

#[test]
fn a_place_that_is_not_given_back_is_found_and_made_small() {
    is_found_and_made_small(Bug::KeepsPlace);
}

#[test]
fn a_cut_off_response_that_ends_clean_is_found_and_made_small() {
    is_found_and_made_small(Bug::EndsClean);
}

#[test]
fn a_lost_record_is_found_and_made_small() {
    is_found_and_made_small(Bug::LosesRecord);
}

fn is_found_and_made_small(bug: Bug) {
    let planted = Planted::new(bug);
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (_, failed) = sweep(0..SEEDS, threads, 1, |_| {});
    let (found, failure) = failed.into_iter().next().expect("the mistake shows");
    let searched = begun.elapsed();
    println!(
        "{bug:?}: seed {}, {searched:.1?}: {}",
        found.seed, failure.what
    );

    let place = failure.place.clone();
    let small = shrink(&found, failure, SHRINK);
    println!(
        "{bug:?}: {:?} became {:?} in {} runs, {:.1?}: {}",
        Size::of(&found),
        Size::of(&small.scenario),
        small.runs,
        begun.elapsed() - searched,
        small.failure.what
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("planted-{bug:?}.json"));
    small
        .scenario
        .write(&file)
        .expect("the folder can be written");
    assert!(Size::of(&small.scenario).sum() < Size::of(&found).sum());
    assert!(
        Size::of(&small.scenario).sum() <= 8,
        "{:?}",
        Size::of(&small.scenario)
    );

    let again = small
        .scenario
        .run()
        .expect_err("the small one fails as well");
    assert_eq!((again.place, again.step), (place, small.failure.step));
    let text = again.actions.lines().count();
    assert!(text > 0, "a failure tells what happened before it");

    planted.take_away();
    for scenario in [&found, &small.scenario] {
        if let Err(failure) = scenario.run() {
            panic!("it fails without the mistake as well: {failure}");
        }
    }
}

/// A mistake that is made in the whole process as long as this lives, so there is
/// one at a time.
struct Planted {
    _alone: MutexGuard<'static, ()>,
}

impl Planted {
    fn new(bug: Bug) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        // A test that failed has taken its mistake away all the same.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        plant(Some(bug));
        Planted { _alone: alone }
    }

    /// Goes on without it, and nobody plants another meanwhile.
    fn take_away(&self) {
        plant(None);
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// How much there is in a scenario.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Size {
    clients: usize,
    requests: usize,
    faults: usize,
}

impl Size {
    fn of(scenario: &Scenario) -> Self {
        Size {
            clients: scenario.clients.len(),
            requests: scenario.clients.iter().map(|c| c.requests.len()).sum(),
            faults: scenario.faults.len(),
        }
    }

    fn sum(&self) -> usize {
        self.clients + self.requests + self.faults
    }
}
