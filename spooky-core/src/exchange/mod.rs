//! One request in flight: where it is, what has passed, how it ends.
//!
//! ```text
//!            Connecting ──▶ Sending ──▶ Open ──▶ (record)
//!               ▲   │          │          │
//! request ──▶ Queued └──────────┴──────────┴──▶ Replying ──▶ (record)
//! ```
//!
//! An exchange belongs to one downstream connection and, while it is with a
//! backend, to one place there; whatever happens to either side leads to exactly
//! one record.

mod patience;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::http::{Fields, Glimpse, LocalReply, Priority, RequestHead, ResponseHead};
use crate::io::Handle;
use crate::observe::{Early, Outcome, Reason};
use crate::timers::TimerId;
use crate::turns::Place;

pub(crate) use patience::Awaits;
pub(crate) use relay::{Turn, take_turn};

/// Where an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Just made: no backend chosen.
    New,
    /// It came in early data, and waits for its client's handshake.
    Held,
    /// Every connection to this backend is full: waiting in its queue.
    Queued { backend: usize },
    /// Waiting for this connection's handshake; an extended CONNECT also for the SETTINGS.
    Connecting { connection: Handle },
    /// The request's head waits for room in this connection's congestion window.
    Sending { connection: Handle },
    /// The request is with a backend, on this stream.
    Open { connection: Handle, stream: u64 },
    /// Spooky answers itself.
    Replying,
}

impl State {
    /// The connection to a backend, if the exchange is with one.
    pub(crate) fn connection(self) -> Option<Handle> {
        match self {
            State::New | State::Held | State::Queued { .. } | State::Replying => None,
            State::Connecting { connection }
            | State::Sending { connection }
            | State::Open { connection, .. } => Some(connection),
        }
    }
}

/// One direction of an exchange's body.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Body bytes there must be, if a head said so.
    pub(crate) expected: Option<u64>,
    /// Body bytes there may be.
    pub(crate) most: Option<u64>,
    /// Body bytes moved so far.
    pub(crate) moved: u64,
    /// The source may have bytes that were not read. Data events come once, so
    /// this is remembered until a read finds nothing.
    pub(crate) readable: bool,
    /// The source has ended, and everything of it was read.
    pub(crate) ended: bool,
    /// Trailers, to be sent after the last byte.
    pub(crate) trailers: Option<Fields>,
    /// The end was handed to the destination.
    pub(crate) finished: bool,
    /// The destination wants no more; the rest is not read.
    pub(crate) stopped: bool,
    /// Where it stands among its destination's `ready`, if it does.
    pub(crate) queued: Option<Place>,
}

impl Flow {
    /// Something can be moved, or an end passed on.
    pub(crate) fn has_work(&self) -> bool {
        !self.finished && !self.stopped && (self.readable || self.ended)
    }
}

/// The response's head on its way to the client.
#[derive(Debug, Default)]
pub(crate) enum Head {
    /// The backend has not sent one.
    #[default]
    Awaited,
    /// Here, but not sent: the client's congestion window has no room.
    Held(ResponseHead),
    /// Sent.
    Sent,
}

impl Head {
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Head::Sent)
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Head::Held(_))
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: u64,
    /// The client's connection, and the request's stream on it.
    pub(crate) downstream: Handle,
    pub(crate) stream: u64,
    pub(crate) client: SocketAddr,
    /// How much the client wants the response.
    pub(crate) priority: Priority,
    /// The urgency at which quiche sends what it holds of the response.
    pub(crate) leaves_at: u8,
    pub(crate) state: State,
    /// `None` if the head was refused.
    pub(crate) head: Option<RequestHead>,
    /// What the record tells of a head that was.
    pub(crate) refused: Option<Glimpse>,
    pub(crate) request: Flow,
    pub(crate) response: Flow,
    pub(crate) response_head: Head,
    /// A head (informational or final) went to the client on this stream.
    pub(crate) head_begun: bool,
    pub(crate) informational: u32,
    pub(crate) reply: Option<LocalReply>,
    /// The backend accepted an extended CONNECT: bytes go both ways, and each way ends
    /// by itself.
    pub(crate) tunnel: bool,
    /// It came before its client's handshake was complete, and what was done then.
    pub(crate) early: Option<Early>,
    /// Index of the backend that counts this exchange as in flight.
    pub(crate) charged: Option<usize>,
    pub(crate) backend: Option<Arc<str>>,
    pub(crate) attempts: u32,
    /// The connection that rejected it.
    pub(crate) avoid: Option<Handle>,
    /// A fresh backend connection was tried because the head did not fit.
    pub(crate) refreshed: bool,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<Reason>,
    pub(crate) detail: Option<Box<str>>,
    pub(crate) started: Instant,
    pub(crate) headed: Option<Instant>,
    /// When either side last did what the exchange waited for: sent a head, or bytes
    /// of a body, or took some.
    pub(crate) progress: Instant,
    pub(crate) timer: TimerId,
    /// Until when it may stay where it is, before it is with a backend and while a
    /// head waits for room. [`Exchange::due`] is what the timer is for; it may fire early.
    pub(crate) deadline: Option<Instant>,
    /// Until when it must have ended, if there is a bound.
    pub(crate) ends_by: Option<Instant>,
}

impl Exchange {
    pub(crate) fn new(
        id: u64,
        downstream: Handle,
        stream: u64,
        client: SocketAddr,
        timer: TimerId,
        now: Instant,
    ) -> Self {
        Exchange {
            id,
            downstream,
            stream,
            client,
            priority: Priority::default(),
            leaves_at: Priority::default().urgency(),
            state: State::New,
            head: None,
            refused: None,
            request: Flow::default(),
            response: Flow::default(),
            response_head: Head::Awaited,
            head_begun: false,
            informational: 0,
            reply: None,
            tunnel: false,
            early: None,
            charged: None,
            backend: None,
            attempts: 0,
            avoid: None,
            refreshed: false,
            status: None,
            reason: None,
            detail: None,
            started: now,
            headed: None,
            progress: now,
            timer,
            deadline: None,
            ends_by: None,
        }
    }

    /// It is HEAD, also if it was refused and that much of it was sound.
    pub(crate) fn is_head_request(&self) -> bool {
        let refused = || self.refused.as_ref().and_then(Glimpse::method) == Some(b"HEAD");
        let head = self.head.as_ref();
        head.map_or_else(refused, RequestHead::is_head)
    }

    /// It is an extended CONNECT, whatever came of it.
    pub(crate) fn asks_tunnel(&self) -> bool {
        self.head.as_ref().is_some_and(|h| h.protocol().is_some())
    }

    /// The whole request could be sent again: nothing of its body was read.
    pub(crate) fn can_restart(&self) -> bool {
        self.request.moved == 0
            && !self.request.stopped
            && !self.head_begun
            && matches!(self.response_head, Head::Awaited)
    }

    /// How it ended, if nothing went wrong on the way.
    pub(crate) fn natural_outcome(&self) -> Outcome {
        match self.state {
            State::Replying => Outcome::LocalReply,
            State::New
            | State::Held
            | State::Queued { .. }
            | State::Connecting { .. }
            | State::Sending { .. }
            | State::Open { .. } => Outcome::Complete,
        }
    }
}
