//! Stage 7: a connection to a backend.

mod failure;

use std::time::Instant;

pub(crate) use failure::connect_failure;

use crate::session::Session;
use crate::upstream::Queue;

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: Session,
    /// Index of the backend in the upstream.
    pub(crate) backend: usize,
    pub(crate) phase: Phase,
    /// Since when it carries no request.
    pub(crate) idle_since: Instant,
    /// Requests for tunnels, until the backend's SETTINGS tell whether it offers them.
    pub(crate) settling: Queue,
}

/// How far a connection to a backend has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The handshake must be complete by `deadline`; these wait for it.
    Handshake { waiting: Queue, deadline: Instant },
    /// Takes requests.
    Open,
    /// The backend said GOAWAY: what is in flight ends, nothing new begins.
    Leaving,
}

impl Connection {
    /// Requests it may still take, of `most` at a time. A connection whose peer
    /// fell silent takes none.
    pub(crate) fn room(&self, most: u64) -> u64 {
        if self.session.over || self.session.is_over() {
            return 0;
        }
        match &self.phase {
            Phase::Handshake { waiting, .. } => most.saturating_sub(waiting.len() as u64),
            Phase::Open if self.session.is_silent() || !self.session.has_http() => 0,
            Phase::Open => {
                let waiting = self.session.heads.len() + self.settling.len();
                let open = (self.session.exchanges.len() + waiting) as u64;
                // A head that waits has taken its stream's credit when it was first tried.
                let credit = self.session.quic().peer_streams_left_bidi();
                most.saturating_sub(open).min(credit)
            }
            Phase::Leaving => 0,
        }
    }

    /// It carries nothing, and nothing waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = match &self.phase {
            Phase::Handshake { waiting, .. } => waiting.len(),
            Phase::Open | Phase::Leaving => self.settling.len(),
        };
        waiting == 0 && self.session.exchanges.is_empty() && self.session.heads.is_empty()
    }
}
