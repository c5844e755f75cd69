//! Hostile input against Spooky: each target takes any bytes at all, and panics
//! if something does not hold that must hold.
//!
//! A target is a function here, with a file of the same name in `fuzz_targets` for
//! cargo-fuzz and a folder of that name in `corpus`. [`TARGETS`] lists them all:
//! the replay on stable Rust goes through that list.

mod config_text;
mod connection_ids;
mod dice;
mod frames;
mod input;
mod parsers;
pub mod proxy_datagrams;
mod request_heads;
mod scenarios;
mod tokens;

pub use config_text::config_text;
pub use connection_ids::connection_ids;
pub use dice::{Dice, mutate};
pub use frames::frames;
pub use parsers::parsers;
pub use proxy_datagrams::proxy_datagrams;
pub use request_heads::request_heads;
pub use scenarios::scenarios;
pub use tokens::tokens;

/// One way in.
pub struct Target {
    /// Its name, everywhere.
    pub name: &'static str,
    /// Plays one input.
    pub play: fn(&[u8]),
    /// Inputs to begin with, each with its name.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
    /// Makes an input that nobody wrote, if something here knows how.
    pub make: Option<fn(&mut Dice) -> Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "proxy_datagrams",
        play: proxy_datagrams,
        seeds: proxy_datagrams::seeds,
        make: Some(proxy_datagrams::generate),
    },
    Target {
        name: "config_text",
        play: config_text,
        seeds: config_text::seeds,
        make: None,
    },
    Target {
        name: "request_heads",
        play: request_heads,
        seeds: request_heads::seeds,
        make: Some(request_heads::generate),
    },
    Target {
        name: "frames",
        play: frames,
        seeds: frames::seeds,
        make: Some(frames::generate),
    },
    Target {
        name: "connection_ids",
        play: connection_ids,
        seeds: connection_ids::seeds,
        make: None,
    },
    Target {
        name: "tokens",
        play: tokens,
        seeds: tokens::seeds,
        make: None,
    },
    Target {
        name: "parsers",
        play: parsers,
        seeds: parsers::seeds,
        make: Some(parsers::generate),
    },
    Target {
        name: "scenarios",
        play: scenarios,
        seeds: scenarios::seeds,
        make: Some(scenarios::generate),
    },
];

/// The program of a target. Under cargo-fuzz it searches; built by plain Cargo it
/// plays the files it is given, so that a finding can be looked at on stable Rust.
#[macro_export]
macro_rules! target {
    ($play:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $play(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $play(&std::fs::read(&path)?);
                println!("{}: all held", path.display());
            }
            Ok(())
        }
    };
}
