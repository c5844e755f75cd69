//! Stage 2: a client's connection.

mod admission;
mod budget;
mod cancels;
mod early;
mod flights;
mod pace;
mod places;

use std::net::SocketAddr;
use std::time::Instant;

pub(crate) use admission::{Admission, Answer, Permit, Refusal};
pub(crate) use budget::{Budget, packets_to_handshake};
pub(crate) use early::EarlyPriorities;
pub(crate) use flights::{Flights, Novelty, Steadiness};

use crate::session::Session;

pub(crate) use cancels::Cancels;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: Session,
    /// Where the client's datagrams come from, at present.
    pub(crate) client: SocketAddr,
    /// The id that the client began with. It names the connection to its end: a
    /// first datagram that comes late a second time must not begin another.
    pub(crate) chosen: Vec<u8>,
    pub(crate) phase: Phase,
    /// Its place among those that are admitted.
    pub(crate) permit: Permit,
    /// One more than the greatest request stream seen, in steps of four.
    pub(crate) next_stream: u64,
    /// What is known of the flight that it began with, if that was asked.
    pub(crate) novelty: Option<Novelty>,
    /// Requests from this stream on are refused: GOAWAY was sent.
    pub(crate) goaway: Option<u64>,
    /// Not closed before, so that the GOAWAY arrives, and what crossed it on the
    /// way is refused with a word that lets the client try elsewhere.
    pub(crate) lingers: Option<Instant>,
    /// What was said of requests that have not come yet.
    pub(crate) early: EarlyPriorities,
    /// Requests that the client gave up before their responses began.
    pub(crate) cancels: Cancels,
    /// The certificate that the client showed, as backends learn of it; `None` without
    /// `forwarding.client_cert`, too.
    pub(crate) certificate: Option<Box<[u8]>>,
}

/// How far a client's connection has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The handshake must be complete by `deadline`.
    Handshake { deadline: Instant },
    /// The handshake is complete.
    Open,
}

impl Connection {
    /// When something of ours (not QUIC's) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshake { deadline } => Some(deadline),
            // What is over needs no goodbye, and must not keep a timer due.
            Phase::Open => self.lingers.filter(|_| !self.session.over),
        }
    }
}
