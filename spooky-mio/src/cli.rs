//! The command line.
//!
//! Exit codes: 0 done, 1 failed while running, 2 bad usage or configuration.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use spooky_core::Setup;
use spooky_core::config::{Config, Diagnostic};

use crate::client::GetArgs;
use crate::demo::{DemoArgs, Front};
use crate::{Server, client, daemon, demo, traces};

/// Bad usage or configuration.
const BAD: u8 = 2;

/// A load balancer for HTTP/3.
#[derive(Debug, Parser)]
#[command(name = "spooky", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    /// Run with this configuration.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Signals: TERM and INT drain (up to drain_timeout), then end; a second one ends at once.
Exit codes: 0 done, 1 failed while running (also: ended by a second signal), 2 bad usage or configuration.
RUST_LOG overrides log.level, for example RUST_LOG=debug.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration and everything it names, without running it.
    Check(Check),
    Get(GetArgs),
    Demo(DemoArgs),
}

#[derive(Args, Debug)]
struct Check {
    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print the configuration in full, with every default, as YAML.
    #[arg(long)]
    effective: bool,
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match (cli.config, cli.command) {
        (None, Some(Command::Check(check))) => run_check(&check),
        (None, Some(Command::Get(get))) => client::run(get),
        (None, Some(Command::Demo(demo))) => demo::run(demo, start_front),
        (Some(config), None) => run_daemon(&config),
        (Some(_), Some(_)) | (None, None) => {
            let kind = clap::error::ErrorKind::MissingRequiredArgument;
            explain(&Cli::command().error(kind, "say which configuration to run: --config FILE"))
        }
    }
}

/// Prints what clap has to say: help and version are no errors.
fn explain(error: &clap::Error) -> ExitCode {
    // If nobody can read it, the exit code still tells.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(BAD)
    } else {
        ExitCode::SUCCESS
    }
}

fn run_daemon(path: &Path) -> ExitCode {
    match load(path) {
        Ok(setup) => {
            for warning in setup.warnings() {
                log::warn!("{warning}");
            }
            daemon::run(setup)
        }
        Err(diagnostics) => refuse(&diagnostics),
    }
}

/// The Spooky of the demo: the same as the daemon's, without its log and signals.
fn start_front(path: &Path) -> Result<Box<dyn Front>, String> {
    let explain = |found: Vec<Diagnostic>| {
        found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let setup = spooky_os::read_config(path)
        .and_then(spooky_os::setup)
        .map_err(explain)?;
    let server = Server::start(setup, drop).map_err(|error| error.to_string())?;
    Ok(Box::new(server))
}

impl Front for Server {
    fn local_addr(&self) -> SocketAddr {
        Server::local_addr(self)
    }
}

fn run_check(check: &Check) -> ExitCode {
    match load(&check.config) {
        Ok(setup) => {
            for warning in setup.warnings() {
                eprintln!("warning: {warning}");
            }
            approve(check, setup.config())
        }
        Err(diagnostics) => refuse(&diagnostics),
    }
}

/// Everything that can be wrong with a configuration is found here.
fn load(path: &Path) -> Result<Setup, Vec<Diagnostic>> {
    let config = spooky_os::read_config(path)?;
    daemon::start_log(&config);
    spooky_os::setup(config)
}

fn approve(check: &Check, config: &Config) -> ExitCode {
    let objections = traces::objections(config);
    if !objections.is_empty() {
        return refuse(&objections);
    }
    let mut stdout = io::stdout().lock();
    let printed = if check.effective {
        stdout.write_all(config.to_yaml().as_bytes())
    } else {
        writeln!(stdout, "{}: valid", check.config.display())
    };
    match printed.and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spooky: cannot print: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(diagnostics: &[Diagnostic]) -> ExitCode {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}");
    }
    ExitCode::from(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_configuration_runs_and_check_only_looks() {
        let cli = parse(&["--config", "a.yaml"]).expect("valid");
        assert_eq!(cli.config.as_deref(), Some(Path::new("a.yaml")));
        assert!(cli.command.is_none());
        let cli = parse(&["check", "-c", "a.yaml", "--effective"]).expect("valid");
        let Some(Command::Check(check)) = cli.command else {
            panic!("not check: {:?}", cli.command)
        };
        assert!(check.effective && check.config == Path::new("a.yaml"));
    }

    #[test]
    fn bad_usage_is_told_on_standard_error() {
        for args in [
            &["--confg", "a"][..],
            &["check"],
            &["--config", "a", "check", "--config", "b"],
            &["run"],
        ] {
            let error = parse(args).expect_err("bad usage");
            assert!(error.use_stderr(), "{args:?}");
        }
        for args in [&["--help"][..], &["--version"], &["check", "--help"]] {
            assert!(
                !parse(args).expect_err("not to be run").use_stderr(),
                "{args:?}"
            );
        }
    }

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["spooky"].iter().chain(args))
    }
}
