//! The backend's thread: one socket, all its connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use quiche::{ConnectionId, RecvInfo, h3};
use rand::Rng as _;
use slab::Slab;

use super::connection::{Connection, Site};
use super::{CID_LEN, Control, Order};
use crate::client::wire::{Flushed, Inbox, Outbox, Wire};

pub(super) const SOCKET: Token = Token(0);
pub(super) const WAKER: Token = Token(1);

/// RFC 9000 section 14.1: the least size of a datagram with an Initial.
const MIN_INITIAL: usize = 1200;
/// How many connections one backend serves; the rest are not answered.
const MAX_CONNECTIONS: usize = 10_000;
/// GRO batches taken in before the answers go out.
const BATCHES: usize = 4;

pub(super) struct Engine {
    pub(super) id: String,
    pub(super) poll: Poll,
    pub(super) wire: Wire,
    pub(super) quic_config: quiche::Config,
    pub(super) h3_config: h3::Config,
    pub(super) control: Arc<Control>,
    pub(super) table: Table,
    inbox: Inbox,
    outbox: Outbox,
    scratch: Vec<u8>,
}

/// The connections and the ways to find them.
#[derive(Default)]
pub(super) struct Table {
    connections: Slab<Connection>,
    by_cid: HashMap<ConnectionId<'static>, usize>,
    /// Connections that something happened to, each once.
    dirty: Vec<usize>,
    /// Deadlines; those that no longer hold are noticed when they come up.
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Engine {
    pub(super) fn new(
        id: String,
        poll: Poll,
        wire: Wire,
        quic_config: quiche::Config,
        h3_config: h3::Config,
        control: Arc<Control>,
    ) -> Self {
        Self {
            id,
            poll,
            wire,
            quic_config,
            h3_config,
            control,
            table: Table::default(),
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            scratch: vec![0; 64 << 10],
        }
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(8);
        let mut more = false;
        loop {
            let timeout = if more {
                Some(Duration::ZERO)
            } else {
                self.table.timeout()
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("backend {}: poll: {error}", self.id);
                    return;
                }
            }
            match self.control.order() {
                Order::Serve => {}
                Order::Close => return self.close_all(),
                Order::Vanish => return,
            }
            more = self.receive();
            self.table.expire(Instant::now());
            self.serve();
        }
    }

    /// Takes some of what waits at the socket; true if more may wait.
    fn receive(&mut self) -> bool {
        let local = self.wire.local_addr();
        let (table, config, wire) = (&mut self.table, &mut self.quic_config, &self.wire);
        for _ in 0..BATCHES {
            let got = wire.recv(&mut self.inbox, |datagram, from| {
                table.handle(datagram, from, local, config, wire);
            });
            match got {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    log::debug!("backend {}: receive: {error}", self.id);
                    return true;
                }
            }
        }
        true
    }

    /// Drives every dirty connection and sends what it has to say.
    fn serve(&mut self) {
        let mut site = Site {
            id: &self.id,
            h3_config: &self.h3_config,
            counters: &self.control.counters,
            scratch: &mut self.scratch,
        };
        let mut dirty = std::mem::take(&mut self.table.dirty);
        let mut full = false;
        dirty.retain(|&key| {
            if full {
                return true;
            }
            let connection = &mut self.table.connections[key];
            connection.drive(&mut site, Instant::now());
            match self.wire.flush(&mut self.outbox, &mut connection.quic) {
                Ok(Flushed::All) => {}
                Ok(Flushed::Blocked) => {
                    full = true;
                    return true;
                }
                // A network that refuses datagrams loses them; QUIC repairs that.
                Err(error) => log::debug!("backend {}: send: {error}", self.id),
            }
            self.table.settle(key);
            false
        });
        // Those left over stay dirty; the poll tells when the socket has room.
        self.table.dirty = dirty;
    }

    /// Tells every client that the backend goes away.
    fn close_all(&mut self) {
        for (_, connection) in &mut self.table.connections {
            let _ = connection
                .quic
                .close(true, super::H3_NO_ERROR, b"backend stops");
            let _ = self.wire.flush(&mut self.outbox, &mut connection.quic);
        }
    }
}

impl Table {
    fn timeout(&self) -> Option<Duration> {
        let Reverse((at, _)) = self.timers.peek()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Tells connections that their time has come.
    fn expire(&mut self, now: Instant) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if connection.armed != Some(at) {
                continue;
            }
            connection.armed = None;
            connection.quic.on_timeout();
            self.touch(key);
        }
    }

    fn touch(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// After a connection was served: new ids, its next deadline, or its end.
    fn settle(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        connection.dirty = false;
        if connection.quic.is_closed() {
            let connection = self.connections.remove(key);
            for cid in &connection.cids {
                self.by_cid.remove(cid);
            }
            return;
        }
        let deadline = connection.deadline();
        // A deadline that moved back is found when the old one comes up; that
        // spares the queue an entry a packet.
        let armed_in_time =
            matches!((connection.armed, deadline), (Some(armed), Some(at)) if armed <= at);
        if let (Some(at), false) = (deadline, armed_in_time) {
            connection.armed = Some(at);
            self.timers.push(Reverse((at, key)));
        }
    }

    /// One datagram from the network.
    fn handle(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        config: &mut quiche::Config,
        wire: &Wire,
    ) {
        let Some(key) = self.find(datagram, from, to, config, wire) else {
            return;
        };
        let connection = &mut self.connections[key];
        // An error closes the connection; what it has to say about it is sent
        // like everything else.
        if let Err(error) = connection.quic.recv(datagram, RecvInfo { from, to }) {
            log::debug!("from {from}: {error}");
        }
        while let Some(cid) = connection.quic.retired_scid_next() {
            self.by_cid.remove(&cid);
            connection.cids.retain(|known| *known != cid);
        }
        self.touch(key);
    }

    /// The connection a datagram belongs to, made if it is a first one.
    fn find(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        config: &mut quiche::Config,
        wire: &Wire,
    ) -> Option<usize> {
        let long = datagram.first()? & 0x80 != 0;
        if !long {
            let cid = ConnectionId::from_ref(datagram.get(1..=CID_LEN)?);
            return self.by_cid.get(&cid).copied();
        }
        let header = quiche::Header::from_slice(datagram, CID_LEN).ok()?;
        if let Some(&key) = self.by_cid.get(&header.dcid) {
            return Some(key);
        }
        if datagram.len() < MIN_INITIAL || self.connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        if !quiche::version_is_supported(header.version) {
            let mut out = [0; MIN_INITIAL];
            let len = quiche::negotiate_version(&header.scid, &header.dcid, &mut out).ok()?;
            wire.send_one(&out[..len], from);
            return None;
        }
        if header.ty != quiche::Type::Initial {
            return None;
        }
        let mut id = [0; CID_LEN];
        rand::rng().fill_bytes(&mut id);
        let scid = ConnectionId::from_vec(id.to_vec());
        let quic = quiche::accept(&scid, None, to, from, config).ok()?;
        let mut connection = Connection::new(quic);
        // A client's first flight may be several datagrams, all under the id it
        // chose for us.
        connection.cids = vec![scid.clone(), header.dcid.clone()];
        let key = self.connections.insert(connection);
        self.by_cid.insert(scid, key);
        self.by_cid.insert(header.dcid, key);
        Some(key)
    }
}
