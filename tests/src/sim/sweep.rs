//! Many seeds: a random scenario of each, on as many threads as there are cores.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::failure::Failure;
use super::generate::generate;
use super::plan::Scenario;
use super::rng::Rng;
use super::run::Report;

/// The variable with the one seed to play.
pub const SEED: &str = "SPOOKY_SIM_SEED";
/// The variable with the number of seeds to play.
pub const SEEDS: &str = "SPOOKY_SIM_SEEDS";
/// The variable with the file that gets every action of a run.
pub const LOG: &str = "SPOOKY_SIM_LOG";

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Sum {
    /// Scenarios played.
    pub scenarios: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Virtual time of all together.
    pub time: Duration,
    /// How requests ended.
    pub ends: BTreeMap<String, u64>,
    /// What the balancers counted.
    pub counters: BTreeMap<&'static str, u64>,
    /// Harm that networks did.
    pub faults: u64,
    /// Clients that resumed a session.
    pub resumed: u64,
    /// Runs that a known mistake of quiche ended.
    pub upstream: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.scenarios += 1;
        self.datagrams += report.datagrams;
        self.time += report.time;
        self.faults += report.faults.len() as u64;
        self.resumed += u64::from(report.resumed);
        for (end, count) in report.ledger.tally() {
            *self.ends.entry(end).or_insert(0) += count;
        }
        for (name, count) in report.snapshot.counters.iter() {
            *self.counters.entry(name).or_insert(0) += count;
        }
    }
}

/// The random scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    generate(seed, &mut Rng::new(seed, 0x5ce))
}

/// Plays the random scenarios of `seeds` on `threads` threads, until `enough` have
/// failed. `progress` is told what was played so far, after each.
///
/// Returns what all came to, and the failures, lowest seed first.
pub fn sweep(
    seeds: Range<u64>,
    threads: usize,
    enough: usize,
    progress: impl Fn(&Sum) + Sync,
) -> (Sum, Vec<(Scenario, Failure)>) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let failed = Mutex::new(Vec::new());
    let play = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return;
            }
            let scenario = scenario(seed);
            match scenario.run() {
                Ok(report) => {
                    let mut sum = sum.lock().expect("nobody panics here");
                    sum.add(&report);
                    progress(&sum);
                }
                Err(failure) if failure.upstream().is_some() => {
                    sum.lock().expect("nobody panics here").upstream += 1;
                }
                Err(failure) => {
                    let mut failed = failed.lock().expect("nobody panics here");
                    failed.push((scenario, failure));
                    stop.store(failed.len() >= enough, Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(play);
        }
    });
    let mut failed: Vec<(Scenario, Failure)> = failed.into_inner().expect("nobody panics here");
    failed.sort_by_key(|(scenario, _)| scenario.seed);
    (sum.into_inner().expect("nobody panics here"), failed)
}

/// A number in an environment variable.
///
/// # Panics
/// If it is there and no number.
pub fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// The file that [`LOG`] names.
pub fn log_file() -> Option<PathBuf> {
    std::env::var_os(LOG).map(PathBuf::from)
}

impl Scenario {
    /// Reads a scenario from JSON.
    ///
    /// # Errors
    /// What is wrong with the file, with its name.
    pub fn read(path: &Path) -> Result<Scenario, String> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// Why the file can't be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        std::fs::write(path, text + "\n")
    }
}
