//! Datagrams of equal size, put together so that one system call sends them all.
//!
//! quiche puts the bytes of one stream into a packet, never of two, so many small
//! answers are many small datagrams of much the same size. With segmentation
//! offload (GSO) the kernel takes a run of equal ones, the last of which may be
//! shorter, as one. What quiche makes next is known only once it is made: a
//! datagram that turns out too large for the run is carried over to begin the
//! next one.

use std::time::Instant;

use crate::downstream::Budget;
use crate::io::{SocketId, Transmit};
use crate::limits;
use crate::moves::Route;

/// Puts the datagrams of one connection after the other together.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// The datagram that did not fit the last run. Its owner sends next.
    carried: Vec<u8>,
    carried_route: Option<Route>,
}

/// What a run may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) socket: SocketId,
    /// Only on this path; `None` leaves the choice to quiche.
    pub(crate) path: Option<Route>,
    /// Datagrams, at most.
    pub(crate) segments: usize,
    /// Bytes of each, at most.
    pub(crate) bytes: usize,
    pub(crate) now: Instant,
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

    /// Puts what is due into `buf`: datagrams of one path, which may all leave now.
    /// `None` when nothing is due; [`paced`] then says whether it is a matter of time.
    ///
    /// `buf` is grown once and never cleared; only `Transmit::size` bytes of it
    /// mean something.
    pub(crate) fn transmit(
        &mut self,
        quic: &mut quiche::Connection,
        budget: &mut Budget,
        run: Run,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let room = run.segments.max(1) * limits::SEGMENT_BUFFER;
        if buf.len() < room {
            buf.resize(room, 0);
        }
        let (segment, route) = self.first(quic, budget, run, buf)?;
        let (mut size, mut count) = (segment, 1);
        while count < run.segments && size + limits::SEGMENT_BUFFER <= buf.len() {
            let Some((len, next)) = send(quic, budget, run, &mut buf[size..]) else {
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
            socket: run.socket,
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
        run: Run,
        buf: &mut [u8],
    ) -> Option<(usize, Route)> {
        if let Some(route) = self.carried_route.take() {
            let len = self.carried.len();
            buf[..len].copy_from_slice(&self.carried);
            return Some((len, route));
        }
        send(quic, budget, run, buf)
    }
}

/// When the next datagram may leave, if not now. Only bbr2 paces in quiche 0.30, and
/// holding datagrams back is left to us.
///
/// What is due within [`limits::PACING_SLACK`] is due now: no driver wakes more often.
pub(crate) fn paced(quic: &quiche::Connection, now: Instant) -> Option<Instant> {
    let at = quic.get_next_release_time()?.time(now)?;
    // A farewell waits for nothing, nor does a handshake.
    let waits = quic.is_established() && quic.local_error().is_none();
    (waits && at.saturating_duration_since(now) > limits::PACING_SLACK).then_some(at)
}

/// What was carried over was counted when it was made.
fn send(
    quic: &mut quiche::Connection,
    budget: &mut Budget,
    run: Run,
    out: &mut [u8],
) -> Option<(usize, Route)> {
    if paced(quic, run.now).is_some() {
        return None;
    }
    let room = budget.room(run.bytes)?;
    let out = &mut out[..room];
    let (from, to) = run.path.map(|path| (path.from, path.to)).unzip();
    let sent = match quic.send_on_path(out, from, to) {
        Err(quiche::Error::Done) => return None,
        // That path is no more.
        Err(quiche::Error::InvalidState | quiche::Error::OutOfIdentifiers)
            if run.path.is_some() =>
        {
            return None;
        }
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
