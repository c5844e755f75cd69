//! One QUIC connection with HTTP/3 on it, of either side.
//!
//! quiche moves the bytes of streams, [`crate::h3`] says what they mean. This keeps what
//! both forget or leave to their user: which flows may write, which streams are to be
//! forgotten, whether the peer fell silent.
//!
//! | file | what of it |
//! | --- | --- |
//! | `mod.rs` | the connection: how it begins, what is known of it, how it is closed |
//! | `datagrams.rs` | what comes, what goes, and when |
//! | `streams.rs` | heads, bodies and turns |
//! | `blocked.rs` | heads that found no room |
//! | `ends.rs` | streams that are ended early, and forgotten |

mod blocked;
mod datagrams;
mod ends;
mod streams;

use std::net::SocketAddr;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::acks::Acks;
use crate::config::Quic;
use crate::downstream::Budget;
use crate::h3;
use crate::heads::Heads;
use crate::held::{Breach, Held};
use crate::http::{Fields, HeadError};
use crate::io::{Handle, SocketId};
use crate::limits;
use crate::liveness::Liveness;
use crate::paths::{Paths, Told};
use crate::resets::Resets;
use crate::timers::TimerId;
use crate::tls::{self, Flight};
use crate::turns::Turns;

use ends::Buried;

pub(crate) use crate::h3::error as code;

/// Why a stream could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// Not now: no window. The stream shows up in `next_writable` when it may go on.
    Blocked,
    /// The peer grants no further stream on this connection at present.
    NoCredit,
    /// The peer wants no more bytes on this stream, with its code.
    Stopped(u64),
    /// The peer reset this stream, with its code.
    Reset(u64),
    /// The peer is leaving (GOAWAY): new requests go elsewhere.
    GoingAway,
    /// The head is larger than the peer said that it takes.
    TooLarge,
    /// The stream or the connection is no more.
    Gone,
}

impl From<quiche::Error> for StreamError {
    fn from(error: quiche::Error) -> Self {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "not our enum: whatever quiche adds ends the stream"
        )]
        match error {
            quiche::Error::Done => StreamError::Blocked,
            quiche::Error::StreamLimit => StreamError::NoCredit,
            quiche::Error::StreamStopped(code) => StreamError::Stopped(code),
            quiche::Error::StreamReset(code) => StreamError::Reset(code),
            _ => StreamError::Gone,
        }
    }
}

/// What a stream has to say.
#[derive(Debug)]
pub(crate) enum Event {
    /// A field section: a head, or trailers.
    Head(Fields),
    /// A head or trailers beyond a limit, with the fields that were read. The rest is
    /// skipped.
    TooLarge(HeadError, Fields),
    /// There are body bytes to read. Told once, until a read found none.
    Body,
    /// The peer has ended the stream, between frames; before any head, too.
    End,
    /// The peer reset the stream, with its code or [`h3::UNTOLD`]; before any head, too.
    Reset(u64),
    /// The client says what priority a request has; the value is a `priority` field's.
    PriorityUpdate(Vec<u8>),
    /// The peer's SETTINGS have come; the stream means nothing.
    Settings,
    /// The peer leaves; in place of the stream stands the id of its GOAWAY.
    GoAway,
}

/// A QUIC connection, HTTP/3 on it, and the exchanges it carries.
pub(crate) struct Session {
    /// Boxed: it is 8 kB in itself, and a table keeps the room of every slot it ever
    /// had, so that a flood of connections would hold memory long after it is over.
    quic: Box<quiche::Connection>,
    h3: Option<h3::Connection>,
    /// What quiche keeps of the peer's frames.
    held: Held,
    /// The rule of QUIC that the peer broke and quiche let pass.
    breach: Option<Breach>,
    /// Request stream → its exchange.
    pub(crate) exchanges: FxHashMap<u64, Handle>,
    /// Exchanges that may have bytes to move into this connection.
    pub(crate) ready: Turns<Handle>,
    /// Exchanges whose head waits for room here. While one does, no body is written.
    pub(crate) heads: Heads,
    buried: Buried,
    pub(crate) socket: SocketId,
    local: SocketAddr,
    pub(crate) timer: TimerId,
    acks: Acks,
    /// Queued for reading its events and moving bodies.
    pub(crate) wants_drive: bool,
    /// Queued for transmission.
    pub(crate) wants_send: bool,
    /// We gave it up because it took too long.
    pub(crate) timed_out: bool,
    /// Its end was noticed and its exchanges were told.
    pub(crate) over: bool,
    /// Where the last datagram came from.
    peer: SocketAddr,
    paths: Paths,
    /// When the pacer lets the next datagram go.
    paced: Option<Instant>,
    /// How much may be sent to a client that has not proved its address.
    pub(crate) budget: Budget,
    liveness: Liveness,
    /// When the last datagram arrived.
    heard: Instant,
    /// Streams the peer stopped reading, as far as that was looked at.
    peer_stops: u64,
    /// Streams the peer reset, as far as that was looked at.
    peer_resets: u64,
    /// Our resets that wait.
    resets_due: Resets,
    /// Times that something was sent after it was closed from here.
    farewells: u32,
    /// Kept from going idle even without an exchange.
    pub(crate) hold: bool,
    /// When a deadline that had passed was met last without waiting for the driver.
    pub(crate) met: Option<Instant>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.quic.trace_id())
            .field("exchanges", &self.exchanges.len())
            .finish()
    }
}

impl Session {
    pub(crate) fn new(
        quic: quiche::Connection,
        socket: SocketId,
        local: SocketAddr,
        timer: TimerId,
        settings: &Quic,
        now: Instant,
    ) -> Self {
        let peer = quic
            .path_stats()
            .next()
            .map_or(local, |path| path.peer_addr);
        Session {
            peer,
            paths: Paths::new(local, peer, settings),
            paced: None,
            budget: Budget::Validated,
            liveness: Liveness::new(settings.idle_timeout, now),
            quic: Box::new(quic),
            h3: None,
            held: Held::new(),
            breach: None,
            exchanges: FxHashMap::default(),
            ready: Turns::default(),
            heads: Heads::default(),
            buried: Buried::default(),
            socket,
            local,
            timer,
            acks: Acks::new(),
            wants_drive: false,
            wants_send: false,
            timed_out: false,
            over: false,
            heard: now,
            peer_stops: 0,
            peer_resets: 0,
            resets_due: Resets::default(),
            farewells: 0,
            hold: false,
            met: None,
        }
    }

    /// All that HTTP/3 waits for is there, and it was not begun yet.
    pub(crate) fn may_start_http(&self) -> bool {
        let may = self.quic.is_established() || self.takes_early_data();
        self.h3.is_none() && may && !self.is_over()
    }

    /// Begins HTTP/3 once the handshake is complete, or a client's early data is accepted.
    /// True if it is running.
    pub(crate) fn start_http(&mut self, config: h3::Config) -> bool {
        if self.may_start_http() {
            self.wrote();
            match h3::Connection::new(&mut self.quic, config) {
                Ok(h3) => self.h3 = Some(h3),
                // The peer grants no control stream: there is no HTTP/3 with it.
                Err(error) => {
                    self.close(code::STREAM_CREATION_ERROR, error.to_string().as_bytes());
                }
            }
        }
        self.h3.is_some()
    }

    /// What the peer said that it can do, once it has.
    pub(crate) fn peer_settings(&self) -> Option<h3::Settings> {
        self.h3.as_ref()?.settings()
    }

    /// The rule of HTTP/3 that the peer broke, if that ended the connection.
    pub(crate) fn fault(&self) -> Option<h3::Fault> {
        let broken = self.breach.map(Breach::fault);
        broken.or_else(|| self.h3.as_ref()?.fault())
    }

    /// The stream whose head began first and is not whole, and when it did.
    pub(crate) fn oldest_partial_head(&self) -> Option<(u64, Instant)> {
        self.h3.as_ref()?.oldest_partial()
    }

    /// The head of a request before stream `id` has begun and is not whole.
    pub(crate) fn has_partial_head_below(&self, id: u64) -> bool {
        let h3 = self.h3.as_ref();
        h3.is_some_and(|h3| h3.has_partial_below(id))
    }

    pub(crate) fn has_http(&self) -> bool {
        self.h3.is_some()
    }

    pub(crate) fn is_established(&self) -> bool {
        self.quic.is_established()
    }

    /// A client's requests come in before its handshake is complete.
    pub(crate) fn takes_early_data(&self) -> bool {
        self.quic.is_server() && self.quic.is_in_early_data() && !self.quic.is_established()
    }

    /// It began with a ticket.
    pub(crate) fn is_resumed(&self) -> bool {
        self.quic.is_resumed()
    }

    /// What a client's connection began with, if it offered early data.
    pub(crate) fn flight(&mut self) -> Option<Flight> {
        let ssl: &mut boring::ssl::SslRef = (*self.quic).as_mut();
        tls::flight(ssl)
    }

    /// The connection carries nothing any more, whoever ended it.
    pub(crate) fn is_over(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining() || self.quic.local_error().is_some()
    }

    /// quiche is done with it: the slot may be freed.
    pub(crate) fn is_closed(&self) -> bool {
        self.quic.is_closed() || self.farewells > limits::FAREWELLS || self.is_forgettable()
    }

    /// Closed from here, before the client's address was proved, and that was said, or
    /// may not be.
    ///
    /// RFC 9000 section 10.2 would have it kept for three probe timeouts, some seconds
    /// here, to know late datagrams for what they are. That is a favour which a flood of
    /// unfinished handshakes does not get: whoever comes late begins anew.
    fn is_forgettable(&self) -> bool {
        let said = self.farewells > 0 || self.budget.room(1).is_none();
        !self.budget.is_validated() && said && self.quic.local_error().is_some()
    }

    /// It ended because nothing was heard for too long.
    pub(crate) fn is_timed_out(&self) -> bool {
        self.timed_out || self.quic.is_timed_out()
    }

    pub(crate) fn quic(&self) -> &quiche::Connection {
        &self.quic
    }

    /// For whatever changes it in a way that the peer must be told.
    pub(crate) fn quic_mut(&mut self) -> &mut quiche::Connection {
        self.wrote();
        &mut self.quic
    }

    /// The next of our ids that the peer gave up.
    pub(crate) fn next_retired_id(&mut self) -> Option<quiche::ConnectionId<'static>> {
        self.quic.retired_scid_next()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Where the peer is, as far as its packets told.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.paths.peer()
    }

    /// What became of its paths since this was last asked.
    pub(crate) fn paths_told(&mut self) -> Told {
        self.paths.told()
    }

    /// Closes with a code of HTTP/3's.
    pub(crate) fn close(&mut self, code: u64, reason: &[u8]) {
        self.end(true, code, reason);
    }

    /// Closes as TLS does when it refuses to go on (RFC 9001 section 4.8).
    pub(crate) fn close_with_alert(&mut self, alert: u8, reason: &[u8]) {
        const CRYPTO_ERROR: u64 = 0x100;
        self.end(false, CRYPTO_ERROR + u64::from(alert), reason);
    }

    fn give_up(&mut self, breach: Breach) {
        self.breach = Some(breach);
        let fault = breach.fault();
        self.end(breach.is_ours(), fault.code, fault.text.as_bytes());
    }

    /// `ours`: the code is of HTTP/3, and not of QUIC.
    fn end(&mut self, ours: bool, code: u64, reason: &[u8]) {
        self.wrote();
        // `Done`: it was closed already.
        let _ = self.quic.close(ours, code, reason);
    }

    /// The rule of QUIC that the peer broke, if that ended the connection.
    pub(crate) fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// See [`Held::bound_unread`].
    pub(crate) fn bound_unread(&mut self, bytes: u64) {
        self.held.bound_unread(bytes);
    }

    /// The certificate that the peer has shown, and that was verified. With it, whether
    /// that was long ago, on a connection that this one resumes.
    pub(crate) fn peer_certificate(&self) -> Option<(&[u8], bool)> {
        let der = self.quic.peer_cert()?;
        Some((der, self.quic.is_resumed()))
    }

    /// Something was written, or changed in a way that the peer must be told.
    fn wrote(&mut self) {
        self.acks.wrote();
        self.resets_due.room_is_unknown();
    }

    /// Open streams with their exchanges, in order. For rare occasions.
    pub(crate) fn open(&self) -> Vec<(u64, Handle)> {
        let mut open: Vec<(u64, Handle)> = self.exchanges.iter().map(|(s, e)| (*s, *e)).collect();
        open.sort_unstable();
        open
    }

    /// No request is open, and all that was answered has arrived.
    pub(crate) fn is_quiet(&self) -> bool {
        self.exchanges.is_empty() && self.buried.is_empty()
    }

    /// Whether the peer takes extended CONNECT (RFC 9220 section 3: "the
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL setting"); `None` until its SETTINGS have come.
    pub(crate) fn offers_tunnels(&self) -> Option<bool> {
        Some(self.peer_settings()?.enable_connect_protocol)
    }

    /// Tells the peer that requests from stream `id` on are not served here.
    pub(crate) fn send_goaway(&mut self, id: u64) -> bool {
        self.wrote();
        let Some(h3) = self.h3.as_mut() else {
            return false;
        };
        h3.send_goaway(&mut self.quic, id);
        true
    }

    /// See [`Liveness::is_silent`].
    pub(crate) fn is_silent(&self) -> bool {
        self.liveness.is_silent()
    }

    /// See [`Liveness::suspect`].
    pub(crate) fn suspect(&mut self) {
        self.liveness.suspect();
    }

    fn is_needed(&self) -> bool {
        self.hold || !self.exchanges.is_empty()
    }
}
