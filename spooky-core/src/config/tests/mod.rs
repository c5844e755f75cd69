//! What is accepted, what is refused, and in which words.
//!
//! Messages are asserted whole: they are what an operator has to go by.

mod forwarding;
mod identities;
mod keys;
mod mutations;
mod paths;
mod rules;
mod shipped;
mod text;
mod units;
mod values;

use super::{Config, Diagnostic};

/// The least there must be, on four lines: what a test adds begins at line 5.
const LEAST: &str = "\
listen: { address: 0.0.0.0, port: 443 }
tls: { cert: a.pem, key: a.key }
backends:
  - { id: web1, address: 192.168.1.10:443 }
";

/// [`LEAST`] and `more`, which has to be legal.
fn accepted(more: &str) -> Config {
    parsed(&format!("{LEAST}{more}"))
}

/// `text`, which has to be legal.
fn parsed(text: &str) -> Config {
    Config::parse("spooky.yaml", text)
        .unwrap_or_else(|faults| panic!("refused: {:?}", lines(&faults)))
}

/// What is wrong with [`LEAST`] and `more`, without the file's name.
fn refused(more: &str) -> Vec<String> {
    faults(&format!("{LEAST}{more}"))
}

/// What is wrong with `text`, without the file's name.
fn faults(text: &str) -> Vec<String> {
    let faults = Config::parse("spooky.yaml", text).expect_err("accepted");
    lines(&faults)
}

fn lines(faults: &[Diagnostic]) -> Vec<String> {
    let line = |fault: &Diagnostic| {
        let line = fault.to_string();
        let rest = line.strip_prefix("spooky.yaml:");
        rest.expect("a message begins with the file").to_owned()
    };
    faults.iter().map(line).collect()
}

/// Everything a configuration says, without where it said it.
fn meaning(config: &Config) -> String {
    let mut config = config.clone();
    config.positions = super::Positions::default();
    format!("{config:?}")
}
