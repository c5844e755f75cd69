//! Datagrams of equal size, put together so that one system call sends them all.
//!
//! quiche puts the bytes of one stream into a packet, never of two, so many small
//! answers are many small datagrams of much the same size. With segmentation
//! offload (GSO) the kernel takes a run of equal ones, the last of which may be
//! shorter, as one. What quiche makes next is known only once it is made: a
//! datagram that turns out too large for the run is carried over to begin the
//! next one.

use std::net::SocketAddr;

use crate::downstream::Budget;
use crate::io::{SocketId, Transmit};
use crate::limits;

/// Puts the datagrams of one connection after the other together.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// The datagram that did not fit the last run. Its owner sends next.
    carried: Vec<u8>,
    carried_route: Option<Route>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    from: SocketAddr,
    to: SocketAddr,
}

impl Assembly {
    /// Something is carried over: the connection it came from must send next.
    pub(crate) fn carries(&self) -> bool {
        self.carried_route.is_some()
    }

    /// Forgets what was carried over; its connection is no more.
    pub(crate) fn drop_carried(&mut self) {
        self.carried_route = None;
    }

    /// Puts what is due into `buf`, up to `max_segments` datagrams. `None` when
    /// nothing is due.
    ///
    /// `buf` is grown once and never cleared; only `Transmit::size` bytes of it
    /// mean something.
    pub(crate) fn transmit(
        &mut self,
        quic: &mut quiche::Connection,
        budget: &mut Budget,
        socket: SocketId,
        max_segments: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let room = max_segments.max(1) * limits::SEGMENT_BUFFER;
        if buf.len() < room {
            buf.resize(room, 0);
        }
        let (segment, route) = self.first(quic, budget, buf)?;
        let (mut size, mut count) = (segment, 1);
        while count < max_segments && size + limits::SEGMENT_BUFFER <= buf.len() {
            let room = &mut buf[size..size + limits::SEGMENT_BUFFER];
            let Some((len, next)) = send(quic, budget, room) else {
                break;
            };
            if len > segment || next != route {
                self.carried.clear();
                self.carried.extend_from_slice(&buf[size..size + len]);
                self.carried_route = Some(next);
                break;
            }
            size += len;
            count += 1;
            if len < segment {
                break;
            }
        }
        Some(Transmit {
            socket,
            from: route.from,
            to: route.to,
            size,
            segment_size: (count > 1).then_some(segment),
        })
    }

    fn first(
        &mut self,
        quic: &mut quiche::Connection,
        budget: &mut Budget,
        buf: &mut [u8],
    ) -> Option<(usize, Route)> {
        if let Some(route) = self.carried_route.take() {
            let len = self.carried.len();
            buf[..len].copy_from_slice(&self.carried);
            return Some((len, route));
        }
        send(quic, budget, &mut buf[..limits::SEGMENT_BUFFER])
    }
}

/// What was carried over was counted when it was made.
fn send(
    quic: &mut quiche::Connection,
    budget: &mut Budget,
    out: &mut [u8],
) -> Option<(usize, Route)> {
    let room = budget.room(out.len())?;
    let out = &mut out[..room];
    let sent = match quic.send(out) {
        Err(quiche::Error::Done) => return None,
        Err(error) => {
            // quiche could not make a packet: the connection is of no use.
            log::debug!("{}: send failed: {error}", quic.trace_id());
            let _ = quic.close(false, INTERNAL_ERROR, b"");
            quic.send(out).ok()
        }
        Ok(sent) => Some(sent),
    };
    sent.map(|(len, info)| {
        budget.sent(len);
        let route = Route {
            from: info.from,
            to: info.to,
        };
        (len, route)
    })
}

/// QUIC's INTERNAL_ERROR, RFC 9000 section 20.1.
const INTERNAL_ERROR: u64 = 0x1;
