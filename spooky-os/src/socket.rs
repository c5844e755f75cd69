//! One UDP socket with everything a QUIC server wants of it.

use std::io::{self, IoSliceMut};
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use quinn_udp::{RecvMeta, UdpSocketState};
use spooky_core::io::{SocketId, Transmit};
use spooky_core::pump::Sent;

use crate::IoCounters;
use crate::icmp::{self, Notice};

/// Largest UDP payload that fits an IPv4 packet with its headers: GSO hands the
/// kernel one packet of at most this size.
const MAX_PAYLOAD: usize = 65_507;
/// The largest datagram QUIC sends on Ethernet; bounds segments by [`MAX_PAYLOAD`].
const MAX_DATAGRAM: usize = 1472;
/// Entries read from the error queue at once: a flood of ICMP must not hold a worker.
const MAX_NOTICES: usize = 64;

/// A non-blocking UDP socket: GSO, GRO, local addresses, ICMP errors.
///
/// Addresses are canonical on the outside: IPv4 on a dual-stack socket looks like
/// IPv4, both ways.
pub struct Socket {
    id: SocketId,
    io: Arc<UdpSocket>,
    state: UdpSocketState,
    local: SocketAddr,
    /// What `local` was before it was made canonical: how peers must be written.
    is_ipv6: bool,
    segments: usize,
    gso: Gso,
    /// A send failed since somebody asked.
    failed: bool,
}

/// Whether the network card is known to refuse segmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gso {
    Trusted,
    Convicted,
}

/// Sizes of a socket's buffers in bytes, as the kernel accounts them to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Bytes that may wait to be received.
    pub receive: usize,
    /// Bytes that may wait to be sent.
    pub send: usize,
}

impl Socket {
    /// Takes over a bound socket and switches on everything.
    pub fn new(id: SocketId, io: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&io).into())?;
        state.enable_transport_errors((&io).into())?;
        let bound = io.local_addr()?;
        Ok(Socket {
            id,
            local: canonical(bound),
            is_ipv6: bound.is_ipv6(),
            segments: state.max_gso_segments(),
            gso: Gso::Trusted,
            failed: false,
            state,
            io: Arc::new(io),
        })
    }

    /// The name the core knows it by.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// The address it is bound to, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket itself, for a driver that must own what it waits for.
    pub fn shared(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.io)
    }

    /// How many datagrams one send may hold. Falls to 1 if the system refuses more.
    pub fn max_segments(&self) -> usize {
        self.state
            .max_gso_segments()
            .min(MAX_PAYLOAD / MAX_DATAGRAM)
    }

    /// Sends without waiting. An error that waiting does not mend is counted and
    /// forgotten: QUIC repairs what gets lost.
    pub fn send(&mut self, transmit: &Transmit, bytes: &[u8], counters: &mut IoCounters) -> Sent {
        let Some(route) = self.route(transmit) else {
            counters.send_errors += 1;
            return Sent::Yes;
        };
        let result = match transmit.segment_size {
            Some(segment) if (1..bytes.len()).contains(&segment) => {
                self.send_many(&route, bytes, segment)
            }
            Some(_) | None => self.send_one(&route, bytes),
        };
        match result {
            Ok(()) => Sent::Yes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                counters.sends_blocked += 1;
                Sent::Blocked
            }
            Err(error) => {
                counters.send_errors += 1;
                log::debug!(
                    "cannot send from {} to {}: {error}",
                    self.local,
                    transmit.to
                );
                Sent::Yes
            }
        }
    }

    /// Whether a send failed since the last call, so that the error queue may have news.
    pub(crate) fn take_failed(&mut self) -> bool {
        mem::take(&mut self.failed)
    }

    /// Receives into `slices`; see [`crate::Batch::receive`].
    pub(crate) fn receive(
        &self,
        slices: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv((&*self.io).into(), slices, meta)
    }

    /// Reads the error queue, and tells of every destination that was not reached.
    /// True if there may be more.
    pub fn unreachable(&self, mut each: impl FnMut(SocketAddr)) -> bool {
        for _ in 0..MAX_NOTICES {
            match icmp::take(self.io.as_fd()) {
                Ok(Some(Notice::Unreachable(to))) => each(to),
                Ok(Some(Notice::Other)) => {}
                Ok(None) => return false,
                Err(error) => {
                    log::debug!("cannot read the error queue of {}: {error}", self.local);
                    return false;
                }
            }
        }
        true
    }

    /// Asks for buffers of these sizes and tells what was granted.
    pub fn resize_buffers(&self, asked: Buffers) -> io::Result<Buffers> {
        use nix::sys::socket::{setsockopt, sockopt};
        // The privileged options go beyond net.core.rmem_max and wmem_max.
        if setsockopt(&self.io, sockopt::RcvBufForce, &asked.receive).is_err() {
            self.state
                .set_recv_buffer_size((&*self.io).into(), asked.receive)?;
        }
        if setsockopt(&self.io, sockopt::SndBufForce, &asked.send).is_err() {
            self.state
                .set_send_buffer_size((&*self.io).into(), asked.send)?;
        }
        self.buffers()
    }

    /// The sizes in force.
    ///
    /// socket(7): "the kernel doubles this value (to allow space for bookkeeping
    /// overhead) [...] and this doubled value is returned by getsockopt(2)".
    pub fn buffers(&self) -> io::Result<Buffers> {
        Ok(Buffers {
            receive: self.state.recv_buffer_size((&*self.io).into())? / 2,
            send: self.state.send_buffer_size((&*self.io).into())? / 2,
        })
    }

    /// How `transmit` is written for this socket; `None` if it can go nowhere.
    fn route(&self, transmit: &Transmit) -> Option<Route> {
        let to = match (transmit.to, self.is_ipv6) {
            // The kernel refuses port 0 with the very error by which quinn-udp
            // learns that segmentation does not work.
            (to, _) if to.port() == 0 => return None,
            (SocketAddr::V4(to), true) => {
                SocketAddr::new(IpAddr::V6(to.ip().to_ipv6_mapped()), to.port())
            }
            (to, _) => to,
        };
        let from = transmit.from.ip();
        Some(Route {
            to,
            from: (!from.is_unspecified()).then_some(from),
        })
    }

    fn send_one(&mut self, route: &Route, datagram: &[u8]) -> io::Result<()> {
        let result = self.offer(route, datagram, None);
        // One datagram needs no segmentation, so whatever went wrong, it was not
        // that. Without this, one question sent to a broadcast address, from which
        // nothing can be answered, would slow every peer for good.
        let shrunk = self.state.max_gso_segments() < self.segments;
        if result.is_err() && shrunk && self.gso == Gso::Trusted {
            self.state = UdpSocketState::new((&*self.io).into())?;
        }
        result
    }

    fn send_many(&mut self, route: &Route, datagrams: &[u8], segment: usize) -> io::Result<()> {
        let whole = segment * self.max_segments().min(MAX_PAYLOAD / segment).max(1);
        let mut failed = Ok(());
        for part in datagrams.chunks(whole) {
            if self.state.max_gso_segments() > 1 {
                let result = self.offer(route, part, Some(segment));
                if self.state.max_gso_segments() > 1 {
                    // What blocks is offered again from its start: a datagram
                    // sent twice is harmless to QUIC.
                    result?;
                    continue;
                }
            }
            let mut went = false;
            for datagram in part.chunks(segment) {
                match self.send_one(route, datagram) {
                    Ok(()) => went = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                    Err(error) => failed = Err(error),
                }
            }
            if went && self.gso == Gso::Trusted && self.segments > 1 {
                log::warn!(
                    "{}: the system refuses segmentation offload; sending one datagram at a time",
                    self.local
                );
                self.gso = Gso::Convicted;
            }
        }
        failed
    }

    fn offer(
        &mut self,
        route: &Route,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let message = quinn_udp::Transmit {
            destination: route.to,
            ecn: None,
            contents,
            segment_size,
            src_ip: route.from,
        };
        match self.state.try_send((&*self.io).into(), &message) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // Mostly the late echo of an earlier datagram that reached nobody,
            // reported once and in place of this send.
            Err(_) => {
                self.failed = true;
                self.state.try_send((&*self.io).into(), &message)
            }
        }
    }
}

/// Where a datagram goes and from which address, as this socket's family writes it.
struct Route {
    to: SocketAddr,
    from: Option<IpAddr>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }
}

/// Takes an IPv4 address out of its IPv6 clothes. The scope of a link-local
/// address is kept: an answer needs it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => address,
        },
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
