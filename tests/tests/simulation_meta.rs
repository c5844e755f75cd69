//! The simulator itself: a seed decides everything, nothing leaves its world, and
//! a failure tells how to see it again.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use spooky_tests::sim::{
    Behaviour, Counting, FaultKind, Link, Report, Scenario, Story, get, post, sweep, world,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Where a test that starts itself again says that it is the child.
const CHILD: &str = "SPOOKY_SIM_META_CHILD";

// ---- a seed decides everything -------------------------------------------------

#[test]
fn the_same_seed_twice_is_the_same_run() {
    for seed in 1_000..1_006 {
        let scenario = sweep::scenario(seed);
        let (first, second) = (run(&scenario), run(&scenario));
        assert_eq!(first.hash, second.hash, "of seed {seed}");
        assert_eq!(first.steps, second.steps);
        assert_eq!(first.datagrams, second.datagrams);
        assert_eq!(first.ledger.tally(), second.ledger.tally());
        assert_eq!(first.faults, second.faults);
    }
}

#[test]
fn another_seed_is_another_run() {
    let story = Story::new().clients(2, get(3_000)).link(Link::lossy());
    let mut hashes: Vec<String> = (0..8).map(|seed| hash(&story.scenario(seed))).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 8);
}

#[test]
fn sixteen_at_once_do_not_disturb_each_other() {
    let scenario = rough().scenario(7);
    let alone = hash(&scenario);
    let together: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| hash(&scenario))).collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.map(|hash| hash.expect("a run ends")).collect()
    });
    assert!(together.iter().all(|hash| *hash == alone), "{together:?}");
}

#[test]
fn another_process_with_another_environment_plays_the_same() {
    const NAME: &str = "another_process_with_another_environment_plays_the_same";
    let here = [hash(&rough().scenario(3)), hash(&sweep::scenario(1_001))].join(" ");
    if is_child() {
        println!("hashes {here}");
        return;
    }
    // Addresses of a process depend on how large its environment is, among others.
    for padding in [0, 100, 5_000] {
        let mut child = child(NAME);
        child.env("PADDING", "x".repeat(padding));
        let output = child.output().expect("this program can be started");
        let text = printed(&output);
        assert!(
            text.contains(&format!("hashes {here}")),
            "not {here}:\n{text}"
        );
    }
}

#[test]
fn a_scenario_that_was_written_and_read_plays_the_same() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for seed in [1_002, 1_003] {
        let scenario = sweep::scenario(seed);
        let file = folder.join(format!("scenario-{seed}.json"));
        scenario.write(&file).expect("the folder can be written");
        let read = Scenario::read(&file).expect("it was just written");
        assert_eq!(read, scenario);
        assert_eq!(hash(&read), hash(&scenario));
    }
}

// ---- inside and outside --------------------------------------------------------

#[test]
fn time_is_virtual_inside_and_real_outside() {
    let begun = Instant::now();
    let report = run(&Story::new().until(Duration::from_secs(3_600)).scenario(1));
    assert!(
        report.time > Duration::from_secs(3_500),
        "{:?}",
        report.time
    );
    assert!(begun.elapsed() > Duration::ZERO, "time goes on outside");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "an hour took no hour"
    );

    let (before, after) = world::isolated(1, || {
        let before = Instant::now();
        world::set_now(world::now() + 5_000_000_000);
        (before, Instant::now())
    });
    assert_eq!(after - before, Duration::from_secs(5));
}

#[test]
fn entropy_is_the_seeds_inside_and_the_systems_outside() {
    let draw = || {
        let mut bytes = [0; 32];
        boring::rand::rand_bytes(&mut bytes).expect("BoringSSL has a generator");
        bytes
    };
    assert_eq!(world::isolated(5, draw), world::isolated(5, draw));
    assert_ne!(world::isolated(5, draw), world::isolated(6, draw));
    assert_ne!(draw(), draw());
}

#[test]
fn whoever_leaves_the_world_ends_the_process_with_a_word() {
    const NAME: &str = "whoever_leaves_the_world_ends_the_process_with_a_word";
    let escapes: [(&str, &str, fn()); 5] = [
        ("thread", "spawning a thread", || {
            drop(std::thread::spawn(|| {}))
        }),
        ("sleep", "sleeping", || {
            std::thread::sleep(Duration::from_millis(1))
        }),
        ("park", "waiting with a timeout", || {
            std::thread::park_timeout(Duration::from_millis(1));
        }),
        ("socket", "opening a socket", || {
            drop(std::net::UdpSocket::bind("127.0.0.1:0"));
        }),
        ("spin", "spinning on the clock", || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1) {}
        }),
    ];
    if let Ok(which) = std::env::var(CHILD) {
        let escape = escapes.iter().find(|escape| escape.0 == which);
        let (_, _, flee) = escape.expect("it is one of these");
        world::isolated(42, flee);
        return;
    }
    for (which, word, _) in escapes {
        let output = child(NAME).env(CHILD, which).output();
        let output = output.expect("this program can be started");
        let text = printed(&output);
        assert!(!output.status.success(), "{which} is allowed:\n{text}");
        let wanted = format!("forbidden in the simulation of seed 42: {word}");
        assert!(text.contains(&wanted), "{which}: no {wanted:?} in\n{text}");
    }
}

#[test]
fn the_balancers_memory_is_counted_and_given_back() {
    // Certificates, keys and connections are BoringSSL's, tables and buffers Rust's:
    // one client alone makes 90 kB of both. That all is given back, but for tables,
    // is a promise that every run checks.
    let one = run(&Story::new().scenario(1)).most_bytes;
    let forty = run(&Story::new().clients(40, get(1_000)).scenario(1)).most_bytes;
    assert!(one > 70_000, "{one}");
    // quiche and TLS take some 30 kB for each connection.
    assert!(
        forty - one > 39 * 20_000,
        "{one} for one client, {forty} for forty"
    );
}

// ---- failures --------------------------------------------------------------------

#[test]
fn a_check_that_panics_tells_how_to_see_it_again() {
    const NAME: &str = "a_check_that_panics_tells_how_to_see_it_again";
    if is_child() {
        Story::new().check(3, |told| assert_eq!(told.answered(), 2, "there is one"));
    }
    let text = failing_child(NAME);
    assert!(text.contains("there is one"), "{text}");
    assert!(text.contains("seed 0: {\"answered\": 1}"), "{text}");
    assert!(text.contains(&again(0, NAME)), "{text}");
}

#[test]
fn a_run_that_fails_tells_its_seed_its_step_and_the_last_actions() {
    const NAME: &str = "a_run_that_fails_tells_its_seed_its_step_and_the_last_actions";
    // A drain beyond the end of time: the balancer's driver panics in the middle of it.
    let within = Duration::MAX;
    let broken = Story::new()
        .clients(5, get(1_000))
        .at(Duration::from_secs(2), FaultKind::Drain { within });
    if is_child() {
        broken.check(3, |_| {});
    }
    let failure = broken.scenario(0).run().expect_err("it breaks a promise");
    assert_eq!((failure.seed, failure.actions.lines().count()), (0, 50));
    assert!(failure.step > 50, "{failure}");
    assert_eq!(failure.at, Duration::from_secs(2));
    assert!(!failure.place.is_empty(), "{failure}");

    let text = failing_child(NAME);
    assert!(
        text.contains(&format!("seed 0, step {}, ", failure.step)),
        "{text}"
    );
    assert!(
        text.contains(&failure.what) && text.contains(&failure.actions),
        "{text}"
    );
    assert!(text.contains(&again(0, NAME)), "{text}");
}

#[test]
fn one_seed_can_be_asked_for_and_logged() {
    const NAME: &str = "one_seed_can_be_asked_for_and_logged";
    if is_child() {
        Story::new().check(3, |told| panic!("played with {}", told.report.hash));
    }
    let log = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("one.log");
    let mut child = child(NAME);
    child.env(sweep::SEED, "77").env(sweep::LOG, &log);
    let text = printed(&child.output().expect("this program can be started"));
    let hash = hash(&Story::new().scenario(77));
    assert!(text.contains(&format!("played with {hash}")), "{text}");
    assert!(text.contains(&again(77, NAME)), "{text}");
    let log = std::fs::read_to_string(log).expect("the log was written");
    assert!(
        log.lines().count() > 20 && log.contains("client 0"),
        "{log}"
    );
}

// ---- the program --------------------------------------------------------------------

#[test]
fn the_program_plays_a_seed_the_same_in_each_process() {
    let play = || sim(&["--seed", "1004"]);
    let (first, second) = (play(), play());
    assert!(first.status.success(), "{}", printed(&first));
    assert_eq!(first.stdout, second.stdout);
    let wanted = format!("trace hash {}", hash(&sweep::scenario(1_004)));
    // The same source in another binary may differ by nothing that a peer sees.
    assert!(
        printed(&first).contains(&wanted),
        "no {wanted} in {}",
        printed(&first)
    );
}

#[test]
fn the_program_sweeps_and_sums_up() {
    let output = sim(&["--seeds", "3", "--from", "1000"]);
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("scenarios") && text.contains("requests_complete"),
        "{text}"
    );
}

#[test]
fn the_program_refuses_what_it_does_not_know() {
    for wrong in [&["--sede", "3"][..], &["--seed"], &["--seed", "x"], &["17"]] {
        let output = sim(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(printed(&output).contains("try '--help'"), "{wrong:?}");
    }
    let output = sim(&["--scenario", "/nowhere.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("/nowhere.json"));
}

fn sim(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sim"));
    program.args(arguments);
    for name in [sweep::SEED, sweep::SEEDS, sweep::LOG] {
        program.env_remove(name);
    }
    program.output().expect("the program can be started")
}

/// A bit of everything.
fn rough() -> Story {
    Story::new()
        .clients(4, get(20_000).times(3).every(Duration::from_millis(300)))
        .also(2, post(20_000).asks(Behaviour::Trailers), |client| {
            client.resumes = true
        })
        .backends(2)
        .link(Link::lossy())
        .workers(2)
        .at(
            Duration::from_millis(700),
            FaultKind::Crash {
                backend: 1,
                refuses: false,
            },
        )
        .at(Duration::from_millis(900), FaultKind::Migrate { client: 0 })
}

fn run(scenario: &Scenario) -> Report {
    scenario.run().unwrap_or_else(|failure| panic!("{failure}"))
}

fn hash(scenario: &Scenario) -> String {
    run(scenario).hash.to_string()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// This program again, for one test alone.
fn child(test: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("it has a path"));
    child
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "yes");
    for name in [sweep::SEED, sweep::SEEDS, sweep::LOG] {
        child.env_remove(name);
    }
    child
}

/// What a child says whose test is meant to fail.
fn failing_child(test: &str) -> String {
    let output = child(test).output().expect("this program can be started");
    let text = printed(&output);
    assert!(!output.status.success(), "it does not fail:\n{text}");
    text
}

/// The command that a failure of `test` in this file names.
fn again(seed: u64, test: &str) -> String {
    format!(
        "SPOOKY_SIM_SEED={seed} ./x test rust -p spooky-tests --test simulation_meta -- --exact {test}"
    )
}

fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}
