//! The program `bench`; see the library.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use spooky_bench::demo::{self, Case, Setting};
use spooky_bench::load::{self, Plan};
use spooky_bench::report::Table;
use spooky_bench::{pin, time};
use spooky_mio::client::{Error, Trust};

/// Load on HTTP/3 servers, and what it costs them.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask one URL, over many connections and streams at once
    Load(LoadArgs),
    /// Measure a daemon between this load and two backends
    Demo(DemoArgs),
    /// A backend of `bench demo`
    #[command(hide = true)]
    Backend {
        #[arg(long)]
        id: String,
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Args, Debug)]
struct LoadArgs {
    /// What to ask for
    #[arg(long)]
    url: String,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests at once on each connection; 0 counts handshakes, and holds connections
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// With --streams 0: close each connection after its handshake, and make another
    #[arg(long)]
    handshakes: bool,
    /// The measured window
    #[arg(long, default_value = "10s", value_parser = time::parse)]
    duration: Duration,
    /// What comes before it, uncounted
    #[arg(long, default_value = "1s", value_parser = time::parse)]
    warm_up: Duration,
    /// Also show the processor time of this process
    #[arg(long)]
    pid: Option<u32>,
    /// Believe servers that the authorities in this PEM file vouch for
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Believe any server
    #[arg(long)]
    insecure: bool,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Run on these processors only, as in 0,2-3
    #[arg(long, value_name = "LIST")]
    cpu: Option<String>,
}

#[derive(Args, Debug)]
struct DemoArgs {
    /// The daemon's program [default: `spooky` beside this one]
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// Connections of the case with large bodies
    #[arg(long, default_value_t = 4)]
    bulk_connections: usize,
    #[arg(long, default_value_t = 2)]
    bulk_streams: usize,
    /// Connections of the case that holds them and asks nothing
    #[arg(long, default_value_t = 10_000)]
    idle_connections: usize,
    #[arg(long, default_value = "10s", value_parser = time::parse)]
    duration: Duration,
    /// The daemon's processor
    #[arg(long, value_name = "LIST", default_value = "1")]
    daemon_cpu: String,
    /// The processors of the backends and the generator
    #[arg(long, value_name = "LIST", default_value = "0")]
    peer_cpu: String,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Also ask a backend without the daemon
    #[arg(long)]
    direct: bool,
}

fn main() -> ExitCode {
    env_logger::init();
    let done = match Cli::parse().command {
        Command::Load(args) => run_load(&args),
        Command::Demo(args) => run_demo(args),
        Command::Backend { id, dir } => demo::serve_backend(&id, &dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_load(args: &LoadArgs) -> Result<(), String> {
    if let Some(cpus) = &args.cpu {
        pin::this_process(cpus)?;
    }
    let plan = Plan {
        target: args.url.parse().map_err(|error: Error| error.to_string())?,
        trust: Trust::from_flags(args.ca.as_deref(), args.insecure).map_err(|e| e.to_string())?,
        connections: args.connections,
        streams: args.streams,
        only_handshakes: args.handshakes,
        warm_up: args.warm_up,
        duration: args.duration,
        threads: args.threads,
        pid: args.pid,
    };
    let (connections, streams) = (args.connections, args.streams);
    eprintln!(
        "{}: {connections} connections × {streams} streams, {:?} after {:?} of warm-up",
        args.url, args.duration, args.warm_up
    );
    if args.handshakes && args.streams > 0 {
        return Err("--handshakes goes with --streams 0".to_owned());
    }
    let outcome = load::run(&plan)?;
    let mut table = Table::new();
    table.row(&format!("{connections} × {streams}"), &outcome);
    print!("{}", table.as_str());
    if let Some(grown) = outcome.grown {
        println!("grown by {} KiB", grown / 1024);
    }
    if outcome.tally.answered == 0 {
        return Err("nothing was answered".to_owned());
    }
    Ok(())
}

fn run_demo(args: DemoArgs) -> Result<(), String> {
    let daemon = match args.daemon {
        Some(daemon) => daemon,
        None => std::env::current_exe()
            .map_err(|error| error.to_string())?
            .with_file_name("spooky"),
    };
    if !daemon.is_file() {
        return Err(format!(
            "{} is not there: build it with `cargo build --release -p spooky-mio`, or name \
             the daemon with --daemon FILE",
            daemon.display()
        ));
    }
    let setting = Setting {
        daemon,
        daemon_cpu: args.daemon_cpu,
        peer_cpus: args.peer_cpu,
        small: Case {
            connections: args.connections,
            streams: args.streams,
            bytes: 16,
        },
        bulk: Case {
            connections: args.bulk_connections,
            streams: args.bulk_streams,
            bytes: 10 << 20,
        },
        idle: args.idle_connections,
        duration: args.duration,
        threads: args.threads,
        direct: args.direct,
    };
    print!("{}", demo::run(&setting)?);
    Ok(())
}
