//! A stretch of network between two peers, with switches for what goes wrong.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread of the relay waits before it looks at its switches.
const TICK: Duration = Duration::from_millis(20);

/// Passes datagrams between whoever sends to [`Relay::address`] and one target.
///
/// Each sender gets a socket of its own toward the target, as behind a NAT.
pub struct Relay {
    address: SocketAddr,
    switches: Arc<Switches>,
    flows: Arc<Mutex<Flows>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Switches {
    stop: AtomicBool,
    /// Of so many datagrams one is lost; with 0, none.
    lose_there: AtomicU64,
    lose_back: AtomicU64,
    seen: AtomicU64,
    lost: AtomicU64,
}

/// Sender → its socket toward the target.
type Flows = HashMap<SocketAddr, Arc<UdpSocket>>;

impl Relay {
    /// A relay to `target` on a free port of 127.0.0.1.
    pub fn to(target: SocketAddr) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port for the relay");
        front.set_read_timeout(Some(TICK)).expect("a timeout");
        let address = front.local_addr().expect("a bound socket has an address");
        let switches = Arc::new(Switches::default());
        let flows = Arc::new(Mutex::new(Flows::new()));
        let there = There {
            front: Arc::new(front),
            target,
            switches: Arc::clone(&switches),
            flows: Arc::clone(&flows),
        };
        let thread = std::thread::spawn(move || there.run());
        Self {
            address,
            switches,
            flows,
            thread: Some(thread),
        }
    }

    /// Where to send what is meant for the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses one of every `of` datagrams to the target: 1 for all, 0 for none.
    pub fn lose_there(&self, of: u64) {
        self.switches.lose_there.store(of, Relaxed);
    }

    /// Loses one of every `of` datagrams from the target: 1 for all, 0 for none.
    pub fn lose_back(&self, of: u64) {
        self.switches.lose_back.store(of, Relaxed);
    }

    /// Loses (`true`) or passes everything, without a word to anybody.
    pub fn lose(&self, lose: bool) {
        self.lose_there(u64::from(lose));
        self.lose_back(u64::from(lose));
    }

    /// Datagrams lost so far, in both directions.
    pub fn lost(&self) -> u64 {
        self.switches.lost.load(Relaxed)
    }

    /// Gives every sender another port toward the target, as a NAT that forgot.
    /// What still comes to the old one arrives.
    pub fn rebind(&self) {
        self.flows.lock().expect("no thread panicked").clear();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.switches.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed, and cannot be told better here.
            let _ = thread.join();
        }
    }
}

/// The direction from the senders to the target.
struct There {
    front: Arc<UdpSocket>,
    target: SocketAddr,
    switches: Arc<Switches>,
    flows: Arc<Mutex<Flows>>,
}

impl There {
    fn run(self) {
        let mut buf = vec![0; 1 << 16];
        while !self.switches.stop.load(Relaxed) {
            let Ok((len, sender)) = self.front.recv_from(&mut buf) else {
                continue;
            };
            if count(&self.switches, &self.switches.lose_there) {
                continue;
            }
            // What the network refuses is lost, as on any network.
            if let Ok(socket) = self.socket_of(sender) {
                let _ = socket.send(&buf[..len]);
            }
        }
    }

    fn socket_of(&self, sender: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let mut flows = self.flows.lock().expect("no thread panicked");
        if let Some(socket) = flows.get(&sender) {
            return Ok(Arc::clone(socket));
        }
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(self.target)?;
        socket.set_read_timeout(Some(TICK))?;
        let socket = Arc::new(socket);
        let back = Back {
            socket: Arc::clone(&socket),
            front: Arc::clone(&self.front),
            sender,
            switches: Arc::clone(&self.switches),
        };
        // Ends with the relay.
        std::thread::spawn(move || back.run());
        flows.insert(sender, Arc::clone(&socket));
        Ok(socket)
    }
}

/// The direction from the target to one sender.
struct Back {
    socket: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    sender: SocketAddr,
    switches: Arc<Switches>,
}

impl Back {
    fn run(self) {
        let mut buf = vec![0; 1 << 16];
        while !self.switches.stop.load(Relaxed) {
            // An error is the timeout, or word that nobody listens there.
            let Ok(len) = self.socket.recv(&mut buf) else {
                continue;
            };
            if !count(&self.switches, &self.switches.lose_back) {
                let _ = self.front.send_to(&buf[..len], self.sender);
            }
        }
    }
}

/// Counts a datagram; true if it is to be lost.
fn count(switches: &Switches, lose: &AtomicU64) -> bool {
    let one_of = lose.load(Relaxed);
    let seen = switches.seen.fetch_add(1, Relaxed);
    let lost = one_of > 0 && seen.is_multiple_of(one_of);
    if lost {
        switches.lost.fetch_add(1, Relaxed);
    }
    lost
}
