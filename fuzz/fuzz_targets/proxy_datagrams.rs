//! Datagrams into a `Proxy`.
//!
//! Under cargo-fuzz this is the target. Built by plain Cargo it plays the files
//! it is given, so that a finding can be looked at on stable Rust.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    spooky_fuzz::run(data);
});

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        let counters = spooky_fuzz::run(&std::fs::read(&path)?);
        println!("{}: {counters:?}", path.display());
    }
    Ok(())
}
