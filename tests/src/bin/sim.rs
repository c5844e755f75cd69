//! `./x sim`: plays random scenarios of many seeds, one again, or one from a file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use nix::time::ClockId;
use spooky_tests::sim::sweep::{self, Sum};
use spooky_tests::sim::{Counting, Failure, FaultKind, Link, Scenario, Story, get, shrink};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Random scenarios, if nobody says how many.
const SEEDS: u64 = 2_000;
/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(120);

/// Plays random scenarios of many seeds, one seed again, or a scenario from a file.
///
/// SPOOKY_SIM_SEED and SPOOKY_SIM_SEEDS mean the same as --seed and --seeds,
/// SPOOKY_SIM_LOG=FILE writes every action of a run, and RUST_LOG=quiche=trace tells
/// all that quiche does, stamped with virtual time.
#[derive(Parser)]
#[command(name = "./x sim", bin_name = "./x sim")]
struct Options {
    /// Random scenarios to play [default: 2000]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Scenarios at once [default: one a processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Stop when so many have failed
    #[arg(long, value_name = "N", default_value_t = 1)]
    failures: usize,
    #[command(flatten)]
    one: One,
}

/// A single scenario, instead of many.
#[derive(Args)]
#[group(multiple = false)]
struct One {
    /// Play this seed again
    #[arg(long)]
    seed: Option<u64>,
    /// Play a scenario written as JSON
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Make the failure of this seed smaller
    #[arg(long, value_name = "SEED")]
    shrink: Option<u64>,
    /// Play 1,000 clients for a minute with 5 backends, one of which crashes
    #[arg(long)]
    crowd: bool,
}

fn main() -> ExitCode {
    env_logger::init();
    let options = Options::parse();
    let one_seed = options.one.seed.or_else(|| sweep::variable(sweep::SEED));
    if options.one.crowd {
        timed(&crowd())
    } else if let Some(file) = &options.one.scenario {
        from_file(file)
    } else if let Some(seed) = options.one.shrink {
        one_smaller(&sweep::scenario(seed))
    } else if let Some(seed) = one_seed {
        one(&sweep::scenario(seed))
    } else {
        many(&options)
    }
}

fn many(options: &Options) -> ExitCode {
    let wanted = options.seeds.or_else(|| sweep::variable(sweep::SEEDS));
    let count = wanted.unwrap_or(SEEDS);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores);
    let begun = Instant::now();
    let shown = Mutex::new(begun);
    let bar = std::io::stderr().is_terminal();
    let progress = |sum: &Sum| {
        let mut shown = shown.lock().expect("nobody panics here");
        let every = Duration::from_millis(if bar { 200 } else { 30_000 });
        if shown.elapsed() >= every {
            *shown = Instant::now();
            show(sum, count, begun.elapsed(), bar);
        }
    };
    let seeds = options.from..options.from.saturating_add(count);
    let (sum, failed) = sweep::sweep(seeds, threads, options.failures, progress);
    if bar {
        eprintln!();
    }
    summary(&sum, begun.elapsed());
    for (scenario, failure) in &failed {
        let first = failure.what.lines().next().unwrap_or("");
        println!("seed {} fails: {first} ({})", scenario.seed, failure.place);
    }
    match failed.into_iter().next() {
        None => ExitCode::SUCCESS,
        Some((scenario, failure)) => {
            tell(&scenario, failure);
            ExitCode::FAILURE
        }
    }
}

/// One line: how far it is.
fn show(sum: &Sum, all: u64, took: Duration, bar: bool) {
    let done = (sum.scenarios * 30 / all.max(1)) as usize;
    let rate = sum.scenarios as f64 / took.as_secs_f64();
    let line = format!(
        "[{}{}] {} of {all} scenarios, {rate:.0} a second",
        "#".repeat(done),
        "-".repeat(30 - done),
        sum.scenarios
    );
    if bar {
        eprint!("\r{line} ");
        // A terminal that is gone shows nothing; the sweep goes on.
        let _ = std::io::stderr().flush();
    } else {
        eprintln!("{line}");
    }
}

fn summary(sum: &Sum, took: Duration) {
    let seconds = took.as_secs_f64();
    println!("scenarios      {:>12}", sum.scenarios);
    println!("seeds a second {:>12.1}", sum.scenarios as f64 / seconds);
    println!("wall seconds   {seconds:>12.1}");
    println!("virtual hours  {:>12.1}", sum.time.as_secs_f64() / 3600.0);
    println!("datagrams      {:>12}", sum.datagrams);
    println!("harm to them   {:>12}", sum.faults);
    println!("resumptions    {:>12}", sum.resumed);
    println!("ended by quiche {:>11}", sum.upstream);
    println!("requests, by their end for the client:");
    for (end, count) in &sum.ends {
        println!("  {end:<30}{count:>10}");
    }
    println!("counted by the balancers:");
    for (name, count) in &sum.counters {
        println!("  {name:<30}{count:>10}");
    }
}

fn one(scenario: &Scenario) -> ExitCode {
    match scenario.run_logged(sweep::log_file().as_deref()) {
        Ok(report) => {
            println!(
                "seed {}: {} steps, {} datagrams, {:.3} virtual seconds, at most {} bytes",
                scenario.seed,
                report.steps,
                report.datagrams,
                report.time.as_secs_f64(),
                report.most_bytes
            );
            println!("requests: {:?}", report.ledger.tally());
            println!("trace hash {}", report.hash);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// A thousand clients that ask once a second over a poor network.
fn crowd() -> Scenario {
    let secs = Duration::from_secs;
    let (backend, refuses) = (2, true);
    Story::new()
        .clients(1_000, get(2_000).times(60).every(secs(1)))
        .backends(5)
        .link(Link::lossy())
        .at(secs(20), FaultKind::Crash { backend, refuses })
        .at(secs(35), FaultKind::Restart { backend })
        .until(secs(62))
        .scenario(1)
}

/// Plays it and tells what it cost.
fn timed(scenario: &Scenario) -> ExitCode {
    let begun = Instant::now();
    let code = one(scenario);
    let processor = ClockId::CLOCK_PROCESS_CPUTIME_ID.now();
    println!(
        "{:.1} s, {:.1} s of the processor",
        begun.elapsed().as_secs_f64(),
        processor
            .map_or(Duration::ZERO, Duration::from)
            .as_secs_f64()
    );
    code
}

fn one_smaller(scenario: &Scenario) -> ExitCode {
    match scenario.run() {
        Ok(_) => one(scenario),
        Err(failure) => {
            tell(scenario, failure);
            ExitCode::FAILURE
        }
    }
}

fn from_file(path: &Path) -> ExitCode {
    match Scenario::read(path) {
        Ok(scenario) => one(&scenario),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Tells of a failure, and makes it smaller.
fn tell(scenario: &Scenario, failure: Failure) {
    let seed = scenario.seed;
    eprintln!("\n{failure}");
    eprintln!("to see it again: SPOOKY_SIM_SEED={seed} ./x sim");
    eprintln!("making it smaller, for {} s at most", SHRINK.as_secs());
    let shrunk = shrink(scenario, failure, SHRINK);
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let file = PathBuf::from(folder).join(format!("sim/seed-{seed}.json"));
    eprintln!(
        "\nafter {} tries, with {} clients, {} faults, {} datagrams harmed:\n{}",
        shrunk.runs,
        shrunk.scenario.clients.len(),
        shrunk.scenario.faults.len(),
        shrunk.scenario.kept.as_ref().map_or(0, |k| k.len()),
        shrunk.failure
    );
    match shrunk.scenario.write(&file) {
        Ok(()) => eprintln!("to see it again: ./x sim --scenario {}", file.display()),
        Err(error) => eprintln!("{}: {error}", file.display()),
    }
}
