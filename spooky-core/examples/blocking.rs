//! The smallest driver: one worker on blocking sockets, with std alone.
//!
//! ```text
//! cargo run --example blocking -- FILE
//! ```
//!
//! It runs a configuration until its standard input ends, then drains. One thread
//! waits at each socket and passes what it gets to the main thread, which owns the
//! `Proxy`. It lacks what the real drivers have: batches, segmentation offload,
//! more than one worker, the local address of a datagram (so a wildcard listener
//! answers from the address the system picks), news from ICMP, and the system's
//! trusted roots (name a `backend_tls.ca`).

// The core itself touches no clock, socket or file. A driver does nothing else.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a driver does what the core must not"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::config::{Config, Diagnostic};
use spooky_core::io::{Datagram, Event, SocketId, Sockets, Transmit};
use spooky_core::pump::{Io, Pump, Sent};
use spooky_core::{Material, Params, Proxy, Setup, Shared};

/// What the other threads tell the main thread.
enum Input {
    Datagram {
        socket: SocketId,
        from: SocketAddr,
        data: Vec<u8>,
    },
    /// Standard input has ended.
    Drain,
}

/// Inputs that may wait for the main thread; more wait in the system's buffers.
const WAITING: usize = 256;
/// How often the proxy is told the wall clock.
const CLOCK: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: blocking FILE")?;
    let setup = load(Path::new(&path))?;
    let drain_timeout = setup.config().drain_timeout;
    let listen = &setup.config().listen;
    let mut io = Wires {
        sockets: bind(SocketAddr::new(listen.address, listen.port))?,
        drained: false,
    };
    println!("listening on {}", io.sockets[0].local_addr()?);

    let (sender, inputs) = mpsc::sync_channel(WAITING);
    for (index, socket) in (0..).zip(&io.sockets) {
        let (socket, sender) = (socket.try_clone()?, sender.clone());
        thread::spawn(move || receive(SocketId(index), &socket, &sender));
    }
    thread::spawn(move || {
        let ended = io::copy(&mut io::stdin(), &mut io::sink());
        ended.map(|_| sender.send(Input::Drain))
    });

    let mut proxy = proxy(setup, &io.sockets)?;
    let mut pump = Pump::new();
    let mut clock = Instant::now() + CLOCK;
    loop {
        pump.run(&mut proxy, &mut io, Instant::now());
        if io.drained {
            println!("drained");
            return Ok(());
        }
        let deadline = proxy
            .poll_timeout()
            .map_or(clock, |timeout| timeout.min(clock));
        let input = inputs.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        match input {
            Ok(Input::Datagram {
                socket,
                from,
                mut data,
            }) => {
                let to = io.sockets[usize::from(socket.0)].local_addr()?;
                let stride = data.len();
                let datagram = Datagram {
                    socket,
                    from,
                    to,
                    stride,
                    handed_over: false,
                    data: &mut data,
                };
                // With one worker nothing can belong to another.
                proxy.handle_datagram(datagram, &mut Vec::new(), now);
            }
            Ok(Input::Drain) => proxy.drain(now + drain_timeout, now),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("every socket has failed".into()),
        }
        if proxy.poll_timeout().is_some_and(|timeout| timeout <= now) {
            proxy.handle_timeout(now);
        }
        if clock <= now {
            clock = now + CLOCK;
            proxy.handle_clock(SystemTime::now(), now);
        }
    }
}

/// The sockets, and what the pump drains into.
struct Wires {
    sockets: Vec<UdpSocket>,
    drained: bool,
}

impl Io for Wires {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let socket = &self.sockets[usize::from(transmit.socket.0)];
        // A dual-stack socket writes IPv4 in its own way.
        let to = match (transmit.to, socket.local_addr()) {
            (SocketAddr::V4(to), Ok(SocketAddr::V6(_))) => {
                SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
            }
            (to, _) => to,
        };
        // The sockets block, so they are never full; what fails is lost, and QUIC
        // repairs it.
        if let Err(error) = socket.send_to(bytes, to) {
            eprintln!("cannot send to {to}: {error}");
        }
        Sent::Yes
    }

    fn max_segments(&self) -> usize {
        1
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Exchange(record) => {
                let (status, backend) = (record.status, record.backend.as_deref());
                let outcome = record.outcome.as_str();
                println!(
                    "{outcome}: status {status:?} from {backend:?} in {:?}",
                    record.duration
                );
            }
            // Come only if the configuration asks for them; the daemon writes them to files.
            Event::KeyLog(_) | Event::Qlog(_) => {}
            Event::Drained => self.drained = true,
        }
    }
}

/// Waits at one socket until it fails or nobody wants its datagrams.
fn receive(id: SocketId, socket: &UdpSocket, inputs: &SyncSender<Input>) {
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((0, _)) => {}
            Ok((len, from)) => {
                let data = buffer[..len].to_vec();
                if inputs
                    .send(Input::Datagram {
                        socket: id,
                        from: canonical(from),
                        data,
                    })
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                eprintln!("cannot receive: {error}");
                return;
            }
        }
    }
}

/// The listener first, then one socket toward backends for each address family
/// that the system has.
fn bind(listen: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = vec![UdpSocket::bind(listen)?];
    sockets.extend(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    sockets.extend(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)));
    Ok(sockets)
}

fn proxy(setup: Setup, sockets: &[UdpSocket]) -> io::Result<Proxy> {
    let mut names = Vec::new();
    for (index, socket) in (0..).zip(sockets) {
        names.push((SocketId(index), socket.local_addr()?));
    }
    let (_, listener) = names.remove(0);
    let setup = Arc::new(setup);
    let shared = Shared::new(&setup, 1, seed()?);
    let sockets = Sockets {
        listener,
        backends: names,
    };
    let wall = SystemTime::now();
    Ok(Proxy::new(
        Params {
            setup,
            shared,
            worker: 0,
            seed: seed()?,
            wall,
            sockets,
        },
        Instant::now(),
    ))
}

/// Reads the configuration, and every file and environment variable it names.
fn load(path: &Path) -> Result<Setup, Box<dyn Error>> {
    let config =
        Config::parse(&path.to_string_lossy(), &fs::read_to_string(path)?).map_err(told)?;
    let read = |path| {
        let bytes = fs::read(&path).map_err(|error| error.to_string());
        (path, bytes)
    };
    let variable = |name: String| {
        let value = std::env::var_os(&name)?.into_encoded_bytes();
        Some((name, value))
    };
    let material = Material {
        files: config.files().into_iter().map(read).collect(),
        env: config.env_vars().into_iter().filter_map(variable).collect(),
        wall: Some(SystemTime::now()),
        ..Material::default()
    };
    let setup = Setup::build(config, &material).map_err(told)?;
    for warning in setup.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(setup)
}

/// Every diagnostic on a line of its own.
fn told(diagnostics: Vec<Diagnostic>) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The system's randomness. Without a crate, only as Unix offers it.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
