//! The corpora, and inputs made from them, on stable Rust: no cargo-fuzz needed.
//!
//! `SPOOKY_FUZZ_SECONDS` makes the search longer, `SPOOKY_FUZZ_SEED` another,
//! `SPOOKY_FUZZ_TARGET` looks at one target alone. The input being played lies in
//! the target folder's `playing-*` until it is done, so that a panic leaves it
//! behind.

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spooky_fuzz::{Dice, TARGETS, Target, mutate};

/// Of one target, unless more was asked for.
const SEARCH: Duration = Duration::from_secs(2);

#[test]
fn the_corpora_play() {
    for target in TARGETS {
        for (path, input) in corpus(target) {
            play(target, &input, &path);
        }
    }
}

#[test]
fn inputs_made_from_the_corpora_play() {
    let seed = number("SPOOKY_FUZZ_SEED").unwrap_or(1);
    let long = number("SPOOKY_FUZZ_SECONDS").map_or(SEARCH, Duration::from_secs);
    let only = std::env::var("SPOOKY_FUZZ_TARGET").ok();
    let wanted = |target: &&Target| only.as_deref().is_none_or(|name| name == target.name);
    for target in TARGETS.iter().filter(wanted) {
        search(target, seed, long);
    }
}

fn search(target: &Target, seed: u64, long: Duration) {
    let corpus = corpus(target);
    let playing = format!("playing-{}-{seed}", target.name);
    let playing = Path::new(env!("CARGO_TARGET_TMPDIR")).join(playing);
    let mut dice = Dice::new(seed);
    let (begun, mut played) = (Instant::now(), 0);
    while begun.elapsed() < long {
        let (_, input) = dice.pick(&corpus);
        let (_, other) = dice.pick(&corpus);
        let input = match (target.make, dice.below(4)) {
            (None, _) | (Some(_), 0) => mutate(input, other, &mut dice),
            (Some(make), 1) => mutate(&make(&mut dice), other, &mut dice),
            (Some(make), _) => make(&mut dice),
        };
        fs::write(&playing, &input).expect("the target folder takes files");
        play(target, &input, &playing);
        played += 1;
    }
    println!("{}: {played} inputs, seed {seed}", target.name);
    fs::remove_file(&playing).expect("it was just written");
}

/// A simulation keeps the words of its panics, so this says where to look.
fn play(target: &Target, input: &[u8], path: &Path) {
    let played = catch_unwind(|| (target.play)(input));
    if let Err(panic) = played {
        eprintln!("a finding of {}: {}", target.name, path.display());
        resume_unwind(panic);
    }
}

/// Every target has its corpus, its program, and its line in the README.
#[test]
fn every_target_is_whole() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(here.join("README.md")).expect("there is one");
    let manifest = fs::read_to_string(here.join("Cargo.toml")).expect("there is one");
    for Target { name, .. } in TARGETS {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "{name}");
    }
    let programs = fs::read_dir(here.join("fuzz_targets")).expect("it can be listed");
    assert_eq!(programs.count(), TARGETS.len(), "a program has its target");
}

/// A committed corpus is small: what a search found beyond it stays outside.
#[test]
fn corpora_are_small() {
    for target in TARGETS {
        let corpus = corpus(target);
        let bytes: usize = corpus.iter().map(|(_, input)| input.len()).sum();
        assert!(corpus.len() <= 40, "{}: {}", target.name, corpus.len());
        assert!(bytes <= 100_000, "{}: {bytes} bytes", target.name);
    }
}

#[test]
#[ignore = "writes the corpora"]
fn write_the_corpora() {
    for target in TARGETS {
        fs::create_dir_all(folder(target)).expect("it can be made");
        for (name, input) in (target.seeds)() {
            fs::write(folder(target).join(name), input).expect("the corpus takes files");
        }
    }
}

fn folder(target: &Target) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("corpus").join(target.name)
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).expect("the corpus is there");
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

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}
