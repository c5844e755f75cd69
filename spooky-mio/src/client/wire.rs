//! A UDP socket as QUIC wants it: batches in (GRO), batches out (GSO).
//!
//! The client, the demo backend and the load generator move their datagrams
//! through it. It belongs to these peers; the daemon has its own sockets.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

/// The largest payload of one system call: what UDP over IPv4 can carry.
const MAX_BATCH: usize = 65_507;
/// The kernel's own bound on segments of one GSO send.
const MAX_SEGMENTS: usize = 64;
/// Buffer space asked of the kernel; it may grant less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Room for what one system call can bring in; one serves many sockets of a thread.
#[derive(Debug)]
pub struct Inbox {
    buf: Vec<u8>,
    meta: Vec<RecvMeta>,
}

impl Inbox {
    /// Room for `BATCH_SIZE` GRO batches.
    pub fn new() -> Self {
        Self {
            buf: vec![0; BATCH_SIZE * (1 << 16)],
            meta: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Datagrams of one connection, ready to leave.
#[derive(Debug)]
pub struct Outbox {
    buf: Vec<u8>,
    held: Option<Held>,
}

/// A range of [`Outbox::buf`] that a full socket refused.
#[derive(Debug, Clone, Copy)]
struct Held {
    to: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
}

impl Outbox {
    /// An outbox with nothing in it.
    pub fn new() -> Self {
        Self {
            buf: vec![0; MAX_BATCH],
            held: None,
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The connection has nothing more to say now.
    All,
    /// The socket is full; flush again when it is writable.
    Blocked,
}

/// A UDP socket, bound, with what the kernel can do for it.
#[derive(Debug)]
pub struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl Wire {
    /// Binds `local`; with a `peer`, only its datagrams come in, and the
    /// kernel's news of an unreachable port come back as errors.
    pub fn bind(local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        if let Some(peer) = peer {
            socket.connect(peer)?;
        }
        let state = UdpSocketState::new((&socket).into())?;
        // Smaller buffers only cost speed, so a refusal is no failure.
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            state,
            local,
        })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Registers the socket with a poll, for reading and writing.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket
            .register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Hands one batch of waiting datagrams to `each`, with the sender's address.
    ///
    /// `Ok(false)` says that nothing waits any more. One call takes one batch, so
    /// that the caller can answer between batches.
    pub fn recv(
        &self,
        inbox: &mut Inbox,
        mut each: impl FnMut(&mut [u8], SocketAddr),
    ) -> io::Result<bool> {
        let mut slices: Vec<IoSliceMut<'_>> = inbox
            .buf
            .chunks_exact_mut(1 << 16)
            .map(IoSliceMut::new)
            .collect();
        let count = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut inbox.meta)
        {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        for (slice, meta) in slices.iter_mut().zip(&inbox.meta).take(count) {
            for datagram in slice[..meta.len].chunks_mut(meta.stride.max(1)) {
                each(datagram, meta.addr);
            }
        }
        Ok(true)
    }

    /// Sends all that `quic` has to say, in as few system calls as the kernel allows.
    ///
    /// `outbox` keeps what a full socket refused; pass the same one again.
    pub fn flush(&self, outbox: &mut Outbox, quic: &mut quiche::Connection) -> io::Result<Flushed> {
        loop {
            // Taken out before the attempt: what the network refuses is lost, and
            // must not stand in the way of what comes after it.
            if let Some(held) = outbox.held.take()
                && !self.send(&outbox.buf[held.start..held.end], held)?
            {
                outbox.held = Some(held);
                return Ok(Flushed::Blocked);
            }
            if !self.fill(outbox, quic)? {
                return Ok(Flushed::All);
            }
        }
    }

    /// Sends one datagram that belongs to no connection; losing it is no loss.
    pub fn send_one(&self, datagram: &[u8], to: SocketAddr) {
        let held = Held {
            to,
            start: 0,
            end: datagram.len(),
            segment: datagram.len(),
        };
        let _ = self.send(datagram, held);
    }

    /// Gathers one batch of equal datagrams into `outbox.held`; false when the
    /// connection has none.
    ///
    /// A datagram larger than the first, or to elsewhere, cannot join the batch:
    /// what came before it is sent at once, and it begins the next one in place.
    fn fill(&self, outbox: &mut Outbox, quic: &mut quiche::Connection) -> io::Result<bool> {
        // Asked each time: quinn-udp lowers it where the device cannot do GSO.
        let segments = self.state.max_gso_segments().clamp(1, MAX_SEGMENTS);
        let mut end = 0;
        let mut batch: Option<Held> = None;
        while end + quic.max_send_udp_payload_size() <= outbox.buf.len() {
            let (len, info) = match quic.send(&mut outbox.buf[end..]) {
                Ok(sent) => sent,
                Err(quiche::Error::Done) => break,
                Err(error) => {
                    // The connection closes itself on such an error; what it has
                    // to say about that comes with the next flush.
                    let _ = quic.close(false, 1, b"send failed");
                    log::debug!("cannot make a datagram: {error}");
                    break;
                }
            };
            let joins = batch.is_some_and(|held| len <= held.segment && info.to == held.to);
            let next = match batch {
                Some(held) if joins => Held {
                    end: end + len,
                    ..held
                },
                Some(_) | None => Held {
                    to: info.to,
                    start: end,
                    end: end + len,
                    segment: len,
                },
            };
            if let (Some(before), false) = (batch, joins)
                && !self.send(&outbox.buf[before.start..before.end], before)?
            {
                // Rare and harmless: the datagrams before this one count as lost.
                log::trace!("a full socket dropped {} bytes", before.end - before.start);
            }
            batch = Some(next);
            end += len;
            let count = (next.end - next.start).div_ceil(next.segment);
            // A shorter datagram can only be the last of its batch.
            if count >= segments || len < next.segment {
                break;
            }
        }
        outbox.held = batch;
        Ok(batch.is_some())
    }

    /// Sends a batch; false when the socket is full.
    fn send(&self, bytes: &[u8], held: Held) -> io::Result<bool> {
        let transmit = Transmit {
            destination: held.to,
            ecn: None,
            contents: bytes,
            segment_size: Some(held.segment),
            src_ip: None,
        };
        match self.state.try_send((&self.socket).into(), &transmit) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
