//! The corpus, and inputs made from it, on stable Rust: no cargo-fuzz needed.
//!
//! `SPOOKY_FUZZ_SECONDS` makes the search longer, `SPOOKY_FUZZ_SEED` another.
//! The input being played lies in the target folder's `playing-*` until it is
//! done, so that a panic leaves it behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spooky_fuzz::{Dice, generate, mutate, run};

#[test]
fn the_corpus_plays() {
    for (path, input) in corpus() {
        println!("{}", path.display());
        run(&input);
    }
}

#[test]
fn inputs_made_from_the_corpus_play() {
    let seed = variable("SPOOKY_FUZZ_SEED").unwrap_or(1);
    let least = Duration::from_secs(variable("SPOOKY_FUZZ_SECONDS").unwrap_or(0));
    let corpus = corpus();
    let playing = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("playing-{seed}"));
    let mut dice = Dice::new(seed);
    let (begun, mut played) = (Instant::now(), 0);
    while played < 1_000 || begun.elapsed() < least {
        let (_, input) = dice.pick(&corpus);
        let (_, other) = dice.pick(&corpus);
        let input = match dice.below(4) {
            0 => mutate(input, other, &mut dice),
            1 => mutate(&generate(&mut dice), other, &mut dice),
            _ => generate(&mut dice),
        };
        fs::write(&playing, &input).expect("the target folder takes files");
        run(&input);
        played += 1;
    }
    println!("{played} inputs in {:?}, seed {seed}", begun.elapsed());
    fs::remove_file(&playing).expect("it was just written");
}

/// A fuzzer that gets nowhere finds nothing: every way for a request to end must
/// be within reach of what is made here.
#[test]
fn made_inputs_reach_every_ending() {
    let mut dice = Dice::new(2);
    let mut reached = BTreeMap::new();
    for _ in 0..400 {
        for (name, count) in run(&generate(&mut dice)).iter() {
            *reached.entry(name).or_insert(0) += count;
        }
    }
    println!("{reached:?}");
    // There is one worker, and no bound that a few operations could reach.
    let not_here = [
        "datagrams_misrouted",
        "connections_refused",
        "events_dropped",
    ];
    let missed: Vec<_> = reached.iter().filter(|(_, count)| **count == 0).collect();
    assert!(
        missed.iter().all(|(name, _)| not_here.contains(name)),
        "{missed:?}"
    );
    assert!(reached["requests_complete"] > 450, "{reached:?}");
}

/// First flights hold random numbers, so the corpus is made once and kept.
#[test]
#[ignore = "writes the corpus"]
fn write_the_corpus() {
    for (name, input) in spooky_fuzz::seeds() {
        fs::write(folder().join(name), input).expect("the corpus takes files");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/proxy_datagrams")
}

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder()).expect("the corpus is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus is there");
    let read = |path: PathBuf| {
        let input = fs::read(&path).expect("it can be read");
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")),
    )
}
