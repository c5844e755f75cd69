//! The datagrams of a connection: those that come, those that go, and when.

use std::net::SocketAddr;
use std::time::Instant;

use super::Session;
use crate::assembly::{Assembly, Run, paced};
use crate::downstream::packets_to_handshake;
use crate::io::{Transmit, earliest};
use crate::limits;
use crate::moves::Route;

impl Session {
    /// Takes in one datagram. What is wrong with it is between quiche and the peer.
    pub(crate) fn receive(
        &mut self,
        data: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        self.resets_due.room_is_unknown();
        self.heard = now;
        let route = Route { from: to, to: from };
        let had_failed = self.paths.has_failed(&self.quic, route);
        // An error closes the connection, which `is_over` tells.
        let taken = if self.budget.is_validated() {
            self.quic.recv(data, quiche::RecvInfo { from, to })
        } else {
            self.receive_unvalidated(data, from, to)
        };
        if had_failed {
            self.paths.revive(&mut self.quic, route);
        }
        self.acks.received();
        let elsewhere = std::mem::replace(&mut self.peer, from) != from;
        if self.paths.look(&mut self.quic, elsewhere) {
            // A path to be validated, or what was lost on one; never a lone acknowledgement.
            self.wrote();
        }
        let stats = self.quic.stats();
        let seen = if taken.is_ok() { &*data } else { &[] };
        if let Err(breach) = self.held.receive(&*self.quic, seen, stats.recv) {
            self.give_up(breach);
        }
        self.note_resets(stats.reset_stream_count_remote);
        self.liveness.received(stats.recv, now);
    }

    /// Takes in a datagram of a client that has not proved its address, which this one
    /// may do.
    fn receive_unvalidated(
        &mut self,
        data: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
    ) -> quiche::Result<usize> {
        self.budget.received(data.len(), from);
        // There are no Handshake keys before the ClientHello is whole. Looking only then
        // also keeps early data that waited for it out of the count.
        let hello = self.quic.peer_transport_params().is_some();
        let needed = packets_to_handshake(data).filter(|_| hello);
        let before = self.quic.stats().recv;
        let result = self.quic.recv(data, quiche::RecvInfo { from, to });
        let taken = self.quic.stats().recv - before;
        if self.quic.is_established() || needed.is_some_and(|needed| taken >= needed) {
            self.budget.validate();
        }
        result
    }

    /// `None` to send now, or until when that can wait.
    pub(crate) fn hold_send(&mut self, now: Instant) -> Option<Instant> {
        if self.h3.is_none() || !self.quic.is_established() || self.is_over() {
            return None;
        }
        self.acks.hold(self.quic.stats().lost, now)
    }

    /// Everything was sent.
    pub(crate) fn flushed(&mut self) {
        self.wants_send = false;
        self.acks.flushed();
    }

    /// What quiche wants done at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.quic.timeout_instant().is_some_and(|t| t <= now) {
            let before = self.probes();
            self.resets_due.room_is_unknown();
            self.quic.on_timeout();
            self.paths.timed_out(&mut self.quic);
            self.liveness.probed(self.probes().saturating_sub(before));
        }
        if self.paced.take_if(|at| *at <= now).is_some() {
            self.resets_due.room_is_unknown();
        }
        if self.liveness.wants_ping(&self.quic, now) && self.is_needed() {
            // RFC 9000 section 10.1.2: a PING defers the idle timeout of both ends.
            self.wrote();
            let _ = self.quic.send_ack_eliciting();
        }
    }

    /// When `handle_timeout` is due. Where an exchange is open, also keeps the
    /// connection from going idle while somebody waits for a slow answer.
    pub(crate) fn timeout(&mut self, now: Instant) -> Option<Instant> {
        let needed = self.is_needed() && !self.is_over();
        let keepalive = self.liveness.deadline(needed, &self.quic, now);
        let ours = earliest(keepalive, self.resets_due.deadline());
        let ours = earliest(ours, self.paced);
        earliest(self.quic.timeout_instant(), ours)
    }

    fn probes(&self) -> usize {
        self.quic.path_stats().map(|p| p.total_pto_count).sum()
    }

    /// The datagrams that are due, as [`Assembly::transmit`] puts them together; after
    /// it was closed from here only a few, see [`limits::FAREWELLS`].
    pub(crate) fn transmit(
        &mut self,
        assembly: &mut Assembly,
        max_segments: usize,
        buf: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Transmit> {
        let closing = self.quic.local_error().is_some();
        if closing && self.farewells > limits::FAREWELLS {
            return None;
        }
        if let Some((bytes, route)) = self.paths.revival() {
            buf.resize(buf.len().max(bytes.len()), 0);
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Some(self.one(bytes.len(), route));
        }
        let run = Run {
            socket: self.socket,
            path: None,
            segments: if closing { 1 } else { max_segments },
            bytes: self.paths.datagram_bytes(),
            now,
        };
        let mut transmit = assembly.transmit(&mut self.quic, &mut self.budget, run, buf);
        if transmit.is_none()
            && let Some(path) = self.paths.in_use_beside_others()
        {
            let run = Run {
                path: Some(path),
                ..run
            };
            transmit = assembly
                .transmit(&mut self.quic, &mut self.budget, run, buf)
                .or_else(|| self.ping_what_was_left(buf));
        }
        self.paced = match transmit {
            Some(_) => None,
            None => paced(&self.quic, now),
        };
        self.farewells += u32::from(closing && transmit.is_some());
        if transmit.is_some() {
            self.resets_due.sent();
        }
        transmit
    }

    fn ping_what_was_left(&mut self, buf: &mut [u8]) -> Option<Transmit> {
        let (size, route) = self.paths.ping(&mut self.quic, buf)?;
        Some(self.one(size, route))
    }

    fn one(&self, size: usize, route: Route) -> Transmit {
        Transmit {
            socket: self.socket,
            from: route.from,
            to: route.to,
            size,
            segment_size: None,
        }
    }
}
