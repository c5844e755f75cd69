//! Random scenarios, each held to all promises. `SPOOKY_SIM_SEEDS=10000` plays more
//! of them, `SPOOKY_SIM_SEED=17` one; `./x sim` does the same faster.

use std::path::Path;
use std::time::Duration;

use spooky_tests::sim::sweep::{self, SEED, SEEDS, sweep};
use spooky_tests::sim::{Counting, Scenario, shrink};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Seeds of an ordinary run.
const ORDINARY: u64 = 300;
/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(30);

#[test]
fn random_scenarios_keep_every_promise() {
    let seeds = match sweep::variable(SEED) {
        Some(seed) => seed..seed + 1,
        None => 0..sweep::variable(SEEDS).unwrap_or(ORDINARY),
    };
    let count = seeds.end - seeds.start;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (sum, failed) = sweep(seeds, threads, 1, |_| {});
    if let Some((scenario, failure)) = failed.into_iter().next() {
        let seed = scenario.seed;
        eprintln!("{failure}to see it again: {SEED}={seed} ./x sim");
        let small = shrink(&scenario, failure, SHRINK);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{seed}.json"));
        small
            .scenario
            .write(&file)
            .expect("the folder can be written");
        eprintln!("\nmade smaller in {} runs:\n{}", small.runs, small.failure);
        eprintln!("to see that again: ./x sim --scenario {}", file.display());
        panic!("seed {seed}: {}", small.failure.what);
    }
    assert_eq!(sum.scenarios + sum.upstream, count);
    if count >= ORDINARY {
        // Scenarios in which nothing happens would keep every promise.
        let met = |end: &str| sum.ends.get(end).copied().unwrap_or(0);
        for end in [
            "answered",
            "reset",
            "cancelled",
            "gone",
            "local 502",
            "local 504",
            "local 503",
        ] {
            assert!(
                met(end) > 0,
                "no request ended so: {end}, of {:?}",
                sum.ends
            );
        }
        for counter in [
            "requests_retried",
            "datagrams_misrouted",
            "backend_connections_failed",
        ] {
            assert!(
                sum.counters.get(counter) > Some(&0),
                "{counter}: {:?}",
                sum.counters
            );
        }
        assert!(sum.resumed > 0 && sum.faults > 1_000, "{sum:?}");
    }
}

/// Failures that were found, kept as they were when they had been made small; two of
/// them are of mistakes that were planted.
#[test]
fn scenarios_that_failed_once_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    assert!(!files.is_empty(), "none is found");
    for file in files {
        let scenario = Scenario::read(&file).unwrap_or_else(|error| panic!("{error}"));
        if let Err(failure) = scenario.run() {
            panic!("{}: {failure}", file.display());
        }
    }
}
