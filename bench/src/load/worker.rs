//! One thread of the generator, with its share of the connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::{Events, Poll, Token};
use quiche::h3::{self, Header};
use spooky_mio::client::transport::Windows;
use spooky_mio::client::wire::Inbox;
use spooky_mio::client::{Request, Target, client_config, open};

use super::peer::{Bench, Peer, RECONNECT, wire_to};
use super::{Plan, Tally, Window};

/// Connections that are to be held are made so many at once: handshakes that wait for
/// thousands of others would take longer than they may.
const AT_ONCE: usize = 64;

pub(super) struct Worker {
    poll: Poll,
    /// `None` where a connection failed and the next is yet to be made.
    peers: Vec<Option<Peer>>,
    /// The first that was not begun yet.
    next: usize,
    /// Deadlines; those that no longer hold are noticed when they come up.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    target: Target,
    address: SocketAddr,
    config: quiche::Config,
    h3_config: h3::Config,
    head: Vec<Header>,
    streams: usize,
    only_handshakes: bool,
    window: Window,
    tally: Tally,
    inbox: Inbox,
    scratch: Vec<u8>,
}

impl Worker {
    pub(super) fn new(plan: &Plan, address: SocketAddr, window: Window) -> Result<Self, String> {
        let config = client_config(&plan.trust, &Windows::default()).map_err(|e| e.to_string())?;
        let worker = Self {
            poll: Poll::new().map_err(|error| error.to_string())?,
            peers: (0..plan.connections).map(|_| None).collect(),
            next: 0,
            timers: BinaryHeap::new(),
            target: plan.target.clone(),
            address,
            config,
            h3_config: h3::Config::new().map_err(|error| error.to_string())?,
            head: Request::get(&plan.target).head(),
            streams: plan.streams,
            only_handshakes: plan.only_handshakes,
            window,
            tally: Tally::default(),
            inbox: Inbox::new(),
            scratch: vec![0; 64 << 10],
        };
        Ok(worker)
    }

    /// Asks until the window is over.
    pub(super) fn run(mut self) -> Result<Tally, String> {
        let holds = self.streams == 0 && !self.only_handshakes;
        let first = if holds { AT_ONCE } else { self.peers.len() };
        for _ in 0..first {
            self.connect_next()?;
        }
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            if now >= self.window.to {
                break;
            }
            let until = self
                .timers
                .peek()
                .map_or(self.window.to, |Reverse((at, _))| *at);
            let wait = until.min(self.window.to).saturating_duration_since(now);
            match self.poll.poll(&mut events, Some(wait)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("poll: {error}")),
            }
            for event in &events {
                self.turn(event.token().0)?;
            }
            self.expire()?;
        }
        self.peers.iter_mut().flatten().for_each(Peer::close);
        Ok(self.tally)
    }

    fn connect_next(&mut self) -> Result<(), String> {
        let index = self.next;
        if index == self.peers.len() {
            return Ok(());
        }
        self.next += 1;
        self.connect(index)
    }

    fn connect(&mut self, index: usize) -> Result<(), String> {
        let mut wire = wire_to(self.address).map_err(|error| format!("no socket: {error}"))?;
        wire.register(self.poll.registry(), Token(index))
            .map_err(|error| format!("no poll: {error}"))?;
        let quic = open(
            &self.target,
            wire.local_addr(),
            self.address,
            &mut self.config,
        )
        .map_err(|error| error.to_string())?;
        self.peers[index] = Some(Peer::new(wire, quic, Instant::now()));
        self.turn(index)
    }

    fn turn(&mut self, index: usize) -> Result<(), String> {
        let Some(peer) = &mut self.peers[index] else {
            return Ok(());
        };
        let mut bench = Bench {
            head: &self.head,
            h3_config: &self.h3_config,
            streams: self.streams,
            only_handshakes: self.only_handshakes,
            window: self.window,
            tally: &mut self.tally,
            inbox: &mut self.inbox,
            scratch: &mut self.scratch,
        };
        if !peer.turn(&mut bench) {
            let now = Instant::now();
            let again = if peer.is_done(self.only_handshakes) {
                now
            } else {
                now + RECONNECT
            };
            self.peers[index] = None;
            self.timers.push(Reverse((again, index)));
            return Ok(());
        }
        let shook = peer.has_shaken();
        let deadline = peer.deadline();
        // A deadline that moved back is found when the old one comes up.
        let in_time = matches!((peer.armed, deadline), (Some(armed), Some(at)) if armed <= at);
        if let (Some(at), false) = (deadline, in_time) {
            peer.armed = Some(at);
            self.timers.push(Reverse((at, index)));
        }
        if shook {
            self.connect_next()?;
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            match &mut self.peers[index] {
                None => self.connect(index)?,
                Some(peer) if peer.armed == Some(at) => {
                    peer.armed = None;
                    self.turn(index)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
