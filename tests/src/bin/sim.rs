//! `./x sim`: plays random scenarios of many seeds, one again, or one from a file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use spooky_tests::sim::sweep::{self, Sum};
use spooky_tests::sim::{Counting, Failure, FaultKind, Link, Scenario, Story, get, shrink};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long a failure is made smaller.
const SHRINK: Duration = Duration::from_secs(120);

const USAGE: &str = "\
usage: ./x sim [--seeds N] [--from SEED] [--threads N] [--failures N]
                                  N random scenarios, until so many have failed (1)
       ./x sim --seed SEED        one seed again; SPOOKY_SIM_LOG=FILE writes every action
       ./x sim --scenario FILE    a scenario written as JSON
       ./x sim --crowd            1,000 clients for a minute, 5 backends, one crashes
       ./x sim --shrink SEED      makes the failure of a seed smaller

SPOOKY_SIM_SEED and SPOOKY_SIM_SEEDS mean the same as --seed and --seeds.";

struct Options {
    from: u64,
    seeds: u64,
    threads: usize,
    failures: usize,
}

fn main() -> ExitCode {
    // `RUST_LOG=quiche=trace` tells all that quiche does, stamped with virtual time.
    env_logger::init();
    let mut options = Options {
        from: 0,
        seeds: sweep::variable(sweep::SEEDS).unwrap_or(2_000),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        failures: 1,
    };
    if let Some(seed) = sweep::variable(sweep::SEED) {
        return one(&sweep::scenario(seed));
    }
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--crowd" {
            return timed(&crowd());
        }
        let value = arguments.next();
        let number = value.as_deref().and_then(|text| text.parse().ok());
        match (argument.as_str(), number, value) {
            ("--seeds", Some(seeds), _) => options.seeds = seeds,
            ("--from", Some(seed), _) => options.from = seed,
            ("--failures", Some(count), _) => options.failures = count as usize,
            ("--threads", Some(count), _) => options.threads = count as usize,
            ("--seed", Some(seed), _) => return one(&sweep::scenario(seed)),
            ("--shrink", Some(seed), _) => return one_smaller(&sweep::scenario(seed)),
            ("--help" | "-h", _, _) => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            ("--scenario", _, Some(path)) => return from_file(Path::new(&path)),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    many(&options)
}

fn many(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let shown = Mutex::new(begun);
    let bar = std::io::stderr().is_terminal();
    let progress = |sum: &Sum| {
        let mut shown = shown.lock().expect("nobody panics here");
        let every = Duration::from_millis(if bar { 200 } else { 30_000 });
        if shown.elapsed() >= every {
            *shown = Instant::now();
            show(sum, options.seeds, begun.elapsed(), bar);
        }
    };
    let seeds = options.from..options.from + options.seeds;
    let (sum, failed) = sweep::sweep(seeds, options.threads, options.failures, progress);
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
    let clock = "/proc/self/stat";
    let stat = std::fs::read_to_string(clock).unwrap_or_default();
    // utime and stime, in hundredths of a second (proc(5)).
    let ticks = stat.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|t| t.parse::<u64>().ok()).sum();
    println!(
        "{:.1} s, {:.1} s of the processor",
        begun.elapsed().as_secs_f64(),
        ticks as f64 / 100.0
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
