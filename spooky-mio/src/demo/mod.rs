//! `spooky demo`, and the parts of it that tests and the bench stand on.
//!
//! Two [backends](backend), an authority of our own and the leaves it signed, a
//! Spooky in front of them, and a few requests through it with what came back.
//! The Spooky comes from the caller, as a [`Front`], so that this module and the
//! client stay apart from what they show.

pub mod backend;
pub mod identity;
pub mod pattern;
pub mod scratch;
mod show;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use backend::{Backend, Options};
use identity::Authority;
use scratch::ScratchDir;

/// See Spooky work: two backends, a Spooky before them, a few requests.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {
    /// End after the requests; 0 says that all were answered
    #[arg(long)]
    pub once: bool,
    /// The UDP port Spooky listens on, at 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

/// A running Spooky; it stops when dropped.
pub trait Front {
    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;
}

/// Runs `spooky demo`; `start` makes a Spooky from a configuration file.
pub fn run(
    args: DemoArgs,
    start: impl FnOnce(&Path) -> Result<Box<dyn Front>, String>,
) -> ExitCode {
    match demonstrate(&args, start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("spooky demo: not all requests were answered as they should be");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("spooky demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every request was answered.
fn demonstrate(
    args: &DemoArgs,
    start: impl FnOnce(&Path) -> Result<Box<dyn Front>, String>,
) -> Result<bool, String> {
    let stop = Arc::new(AtomicBool::new(false));
    if !args.once {
        // Before anything is made: an impatient Ctrl-C must not leave files behind.
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))
                .map_err(|error| format!("cannot listen for signals: {error}"))?;
        }
    }
    let dir = ScratchDir::new("spooky-demo").map_err(|e| format!("no temporary directory: {e}"))?;
    let authority = Authority::new("spooky demo").map_err(|e| format!("no certificates: {e}"))?;
    let backends = start_backends(&authority)?;
    for (backend, id) in backends.iter().zip(BACKENDS) {
        println!("backend {id} listens on {}", backend.address());
    }
    let port = match args.port {
        Some(port) => port,
        None => free_port().map_err(|error| format!("no free UDP port: {error}"))?,
    };
    write_identities(&authority, dir.path())
        .map_err(|e| format!("{}: {e}", dir.path().display()))?;
    let config = dir.path().join("spooky.yaml");
    fs::write(&config, configuration(port, &backends))
        .map_err(|error| format!("{}: {error}", config.display()))?;
    let front = start(&config)?;
    println!(
        "spooky listens on {} (configuration: {})",
        front.local_addr(),
        config.display()
    );
    println!();

    let answered = show::requests(front.local_addr(), authority.pem())?;
    if args.once {
        return Ok(answered);
    }
    invite(front.local_addr(), &dir.path().join("ca.pem"));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("stopping");
    Ok(answered)
}

const BACKENDS: [&str; 2] = ["web1", "web2"];

fn start_backends(authority: &Authority) -> Result<Vec<Backend>, String> {
    let identity = authority
        .issue_local()
        .map_err(|error| format!("no certificate for the backends: {error}"))?;
    BACKENDS
        .iter()
        .map(|id| {
            Backend::start(&identity, Options::named(id))
                .map_err(|error| format!("backend {id} does not start: {error}"))
        })
        .collect()
}

fn write_identities(authority: &Authority, dir: &Path) -> io::Result<()> {
    let identity = authority.issue_local().map_err(io::Error::other)?;
    identity.write(dir, "spooky")?;
    fs::write(dir.join("ca.pem"), authority.pem())
}

/// A port that is free now; with `SO_REUSEPORT` in play, asking for port 0 would
/// not do for several workers.
fn free_port() -> io::Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(socket.local_addr()?.port())
}

/// What the demo's Spooky runs with: the smallest configuration, and whom to
/// trust among the backends.
fn configuration(port: u16, backends: &[Backend]) -> String {
    let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
    let list: String = BACKENDS
        .iter()
        .zip(addresses)
        .map(|(id, at)| format!("  - id: \"{id}\"\n    address: \"{at}\"\n    weight: 100\n"))
        .collect();
    format!(
        "listen:\n  address: \"127.0.0.1\"\n  port: {port}\n\n\
         tls:\n  cert: \"spooky.pem\"\n  key: \"spooky.key\"\n\n\
         load_balancing:\n  lb_type: \"random\"\n\n\
         backend_tls:\n  ca: \"ca.pem\"\n\n\
         backends:\n{list}"
    )
}

fn invite(at: SocketAddr, ca: &Path) {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "spooky".to_owned());
    let ca = ca.display();
    println!();
    println!("It keeps running until Ctrl-C. Try from another terminal:");
    println!("  {program} get https://{at}/ --ca {ca}");
    println!("  {program} get https://{at}/head --ca {ca} -v -H 'x-hello: world'");
    println!("  {program} get https://{at}/echo --ca {ca} -d 'say it again'");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_answers_through_its_front() {
        // A backend in Spooky's place: what matters here is the demo around it.
        let args = DemoArgs {
            once: true,
            port: None,
        };
        let answered = demonstrate(&args, |config| {
            let dir = config.parent().ok_or("no directory")?;
            let read = |name: &str| fs::read_to_string(dir.join(name)).map_err(|e| e.to_string());
            let identity = identity::Identity {
                cert: read("spooky.pem")?,
                key: read("spooky.key")?,
            };
            assert!(read("spooky.yaml")?.contains("ca: \"ca.pem\""));
            let front = Backend::start(&identity, Options::named("web1"));
            Ok(Box::new(front.map_err(|e| e.to_string())?))
        });
        assert_eq!(answered, Ok(true));
    }

    #[test]
    fn a_front_that_does_not_start_is_the_error() {
        let args = DemoArgs {
            once: true,
            port: None,
        };
        let ended = demonstrate(&args, |_| Err("no socket".to_owned()));
        assert_eq!(ended, Err("no socket".to_owned()));
    }

    impl Front for Backend {
        fn local_addr(&self) -> SocketAddr {
            self.address()
        }
    }
}
