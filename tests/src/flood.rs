//! Datagrams from many addresses at once, as if somebody had made them up.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use spooky_core::io::{SocketId, Transmit};
use spooky_core::pump::Sent;
use spooky_os::{Batch, Buffers, IoCounters, Socket};

/// One socket that sends from any address of the loopback network, and hears what
/// comes back to each.
pub struct Flood {
    socket: Socket,
    batch: Batch,
    port: u16,
    to: SocketAddr,
    accounts: HashMap<IpAddr, Account>,
}

/// Bytes from an address and to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// What the server was sent.
    pub asked: usize,
    /// What it answered.
    pub answered: usize,
}

impl Flood {
    /// One that goes to `to`, on the loopback network.
    ///
    /// # Panics
    /// If the system gives no socket.
    pub fn to(to: SocketAddr) -> Self {
        let io = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        io.set_nonblocking(true).expect("it can be set");
        let port = io.local_addr().expect("a bound socket has one").port();
        let socket = Socket::new(SocketId(0), io).expect("a socket");
        // Answers that are lost here would not be counted.
        let room = Buffers {
            receive: 4 << 20,
            send: 4 << 20,
        };
        socket.resize_buffers(room).expect("it can be asked for");
        Flood {
            socket,
            batch: Batch::new(),
            port,
            to,
            accounts: HashMap::new(),
        }
    }

    /// Address `n` of sixteen million.
    pub fn address(&self, n: u32) -> SocketAddr {
        let [_, a, b, c] = n.to_be_bytes();
        SocketAddr::from(([127, 64 | a, b, c], self.port))
    }

    /// Sends one datagram from an address, and takes in what has come.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn send(&mut self, from: SocketAddr, datagram: &[u8]) {
        let transmit = Transmit {
            socket: SocketId(0),
            from,
            to: self.to,
            size: datagram.len(),
            segment_size: None,
        };
        let mut counters = IoCounters::default();
        while self.socket.send(&transmit, datagram, &mut counters) == Sent::Blocked {
            self.listen();
        }
        assert_eq!(counters.send_errors, 0, "from {from}");
        self.accounts.entry(from.ip()).or_default().asked += datagram.len();
        self.listen();
    }

    /// Takes in what has come.
    ///
    /// # Panics
    /// If the socket fails.
    pub fn listen(&mut self) {
        loop {
            match self.batch.receive(&self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the flood's socket: {error}"),
            }
            for received in self.batch.messages() {
                let account = self.accounts.entry(received.to.ip()).or_default();
                account.answered += received.data.len();
            }
        }
    }

    /// What went to and fro, by address.
    pub fn accounts(&self) -> impl Iterator<Item = (&IpAddr, &Account)> {
        self.accounts.iter()
    }
}
