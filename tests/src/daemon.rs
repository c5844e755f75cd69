//! The program itself, as a child process.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use spooky_mio::client::{Client, Error, Options, Request, Target, Trust};

use crate::Stack;
use crate::secs;
use crate::stack::Built;

/// The daemon before the backends of a [`Stack`]. It is killed when dropped.
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    built: Built,
}

impl Daemon {
    /// Starts the daemon before what `stack` describes.
    pub fn before(stack: &Stack) -> Self {
        let program = program();
        let address = free_address();
        let built = stack.build(address.port());
        let child = Command::new(&program)
            .arg("--config")
            .arg(&built.config)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self {
            child,
            address,
            built,
        }
    }

    /// A connection to it, made as soon as it listens.
    pub fn client(&self, options: &Options) -> Client {
        let trust = Trust::Authorities(self.built.ca.clone().into_bytes());
        let end = Instant::now() + secs(20);
        loop {
            match Client::connect(&self.target("/"), &trust, options) {
                Ok(client) => return client,
                Err(Error::Refused(_)) if Instant::now() < end => {
                    std::thread::sleep(crate::millis(20));
                }
                Err(error) => panic!("the daemon takes no connection: {error}"),
            }
        }
    }

    /// A GET of `path`.
    pub fn get(&self, path: &str) -> Request {
        Request::get(&self.target(path))
    }

    fn target(&self, path: &str) -> Target {
        let url = format!("https://{}{path}", self.address);
        url.parse().expect("an address and a path make a URL")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory in use now, and the most there was, in KiB.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the daemon runs");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.and_then(|text| text.parse().ok())
        };
        let known = field("VmRSS:").zip(field("VmHWM:"));
        known.expect("Linux tells both")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors say that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program: `SPOOKY_BIN`, or the one built beside this test.
fn program() -> PathBuf {
    if let Some(given) = env::var_os("SPOOKY_BIN") {
        return given.into();
    }
    let test = env::current_exe().expect("this test has a file");
    // target/PROFILE/deps/TEST-HASH
    let folder = test.parent().and_then(|deps| deps.parent());
    let program = folder.expect("it lies in a folder").join("spooky");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p spooky-mio` first, or name another with SPOOKY_BIN",
        program.display()
    );
    program
}

/// A port that is free now; the configuration needs one before the daemon runs.
fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("a bound socket has an address")
}
