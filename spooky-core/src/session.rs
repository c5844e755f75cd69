//! One QUIC connection with HTTP/3 on it, of either side.
//!
//! quiche moves the bytes of streams, [`crate::h3`] says what they mean. This keeps what
//! both forget or leave to their user: which flows may write, which streams are to be
//! forgotten, whether the peer fell silent.

use std::net::SocketAddr;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::acks::Acks;
use crate::assembly::{Assembly, Run, paced};
use crate::config::Quic;
use crate::downstream::{Budget, packets_to_handshake};
use crate::h3::{self, Found, Said};
use crate::heads::{self, Heads};
use crate::held::{Breach, Held};
use crate::http::{Fields, HeadError, LocalReply, Priority};
use crate::io::{Handle, SocketId, Transmit};
use crate::limits;
use crate::liveness::Liveness;
use crate::moves::Route;
use crate::paths::{Paths, Told};
use crate::resets::{Next, Resets};
use crate::timers::TimerId;
use crate::tls::{self, Flight};
use crate::turns::{Place, Turn, Turns};

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
    /// Streams we are done with, until quiche is, and whether the peer has to end its
    /// half of them yet; see [`Session::sweep`].
    buried: Vec<(u64, bool)>,
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
            buried: Vec::new(),
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

    /// All that HTTP/3 waits for is there, and it was not begun yet.
    pub(crate) fn may_start_http(&self) -> bool {
        let may = self.quic.is_established() || self.takes_early_data();
        self.h3.is_none() && may && !self.is_over()
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

    pub(crate) fn close(&mut self, code: u64, reason: &[u8]) {
        self.wrote();
        // `Done`: it was closed already.
        let _ = self.quic.close(true, code, reason);
    }

    /// The rule of QUIC that the peer broke, if that ended the connection.
    pub(crate) fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// See [`Held::bound_unread`].
    pub(crate) fn bound_unread(&mut self, bytes: u64) {
        self.held.bound_unread(bytes);
    }

    fn give_up(&mut self, breach: Breach) {
        self.breach = Some(breach);
        self.wrote();
        let fault = breach.fault();
        // `Done`: it was closed already.
        let _ = self
            .quic
            .close(breach.is_ours(), fault.code, fault.text.as_bytes());
    }

    /// Closes as TLS does when it refuses to go on (RFC 9001 section 4.8).
    pub(crate) fn close_with_alert(&mut self, alert: u8, reason: &[u8]) {
        const CRYPTO_ERROR: u64 = 0x100;
        self.wrote();
        let code = CRYPTO_ERROR + u64::from(alert);
        // `Done`: it was closed already.
        let _ = self.quic.close(false, code, reason);
    }

    /// The certificate that the peer has shown, and that was verified. With it, whether
    /// that was long ago, on a connection that this one resumes.
    pub(crate) fn peer_certificate(&self) -> Option<(&[u8], bool)> {
        let der = self.quic.peer_cert()?;
        Some((der, self.quic.is_resumed()))
    }

    /// The next HTTP/3 event. A fault of the peer has closed the connection already.
    pub(crate) fn poll(&mut self) -> Option<(u64, Event)> {
        let said = self
            .h3
            .as_mut()?
            .poll(&mut self.quic, &mut self.held, self.heard)?;
        Some(match said {
            Said::Stream(stream, found) => {
                let event = match found {
                    Found::Section(fields) => Event::Head(fields),
                    Found::TooLarge(error, fields) => Event::TooLarge(error, fields),
                    Found::Body => Event::Body,
                    Found::End => Event::End,
                    Found::Reset(code) => Event::Reset(code),
                };
                (stream, event)
            }
            Said::Settings => (0, Event::Settings),
            Said::Priority(stream, value) => (stream, Event::PriorityUpdate(value)),
            Said::GoAway(id) => (id, Event::GoAway),
        })
    }

    /// The next stream that may write again, or that the peer stopped.
    pub(crate) fn next_writable(&mut self) -> Option<u64> {
        self.quic.stream_writable_next()
    }

    /// Bytes `stream` may write now, frames and all.
    pub(crate) fn capacity(&mut self, stream: u64) -> Result<usize, StreamError> {
        Ok(self.quic.stream_capacity(stream)?)
    }

    /// Whose turn it is to write a part of a body. Nobody's while a head waits, nor
    /// while there is no room: who is first in line stays there.
    pub(crate) fn next_turn(&mut self) -> Option<Turn<Handle>> {
        if self.ready.len() == 0 || !self.heads.is_empty() || self.is_full() {
            return None;
        }
        self.ready.pop()
    }

    /// So much of a turn was used. If there is more to come, on a stream and with a
    /// priority, the same exchange waits again, at the place returned.
    pub(crate) fn end_turn(
        &mut self,
        turn: Turn<Handle>,
        written: usize,
        again: Option<(u64, Priority)>,
    ) -> Option<Place> {
        self.ready.spent(written);
        let (stream, priority) = again?;
        if written < turn.bytes {
            // Cut short: if it is the peer's credit that lacks, it is told (RFC 9000
            // section 4.1). Once, and not at every look whether there is some now.
            self.wait_writable(stream, limits::DATA_OVERHEAD + 1);
        }
        Some(self.ready.again(turn, written, stream, priority))
    }

    /// No stream may write now: the congestion window or the connection's flow control
    /// is used up.
    ///
    /// quiche tells the lesser of the connection's room and the stream's. Of our control
    /// stream the latter is known: it carries a few dozen bytes in its life, and where
    /// the peer grants it a kilobyte, as RFC 9114 section 6.2 asks, room that lacks there
    /// is the connection's. Of a peer that grants less nothing is claimed.
    fn is_full(&mut self) -> bool {
        let Some(control) = self.h3.as_ref().map(h3::Connection::control) else {
            return false;
        };
        let roomy = |p: &quiche::TransportParams| p.initial_max_stream_data_uni >= 1024;
        self.quic.peer_transport_params().is_some_and(roomy)
            && self
                .quic
                .stream_capacity(control)
                .is_ok_and(|room| room <= limits::DATA_OVERHEAD)
    }

    /// Asks to see `stream` in `next_writable` once it may write `bytes`.
    pub(crate) fn wait_writable(&mut self, stream: u64, bytes: usize) {
        // An error is a stream that is no more; its end comes as an event.
        let _ = self.quic.stream_writable(stream, bytes);
    }

    /// All bytes of `stream` were read, and the peer ended it: no trailers follow.
    pub(crate) fn is_read(&self, stream: u64) -> bool {
        self.h3.as_ref().is_some_and(|h3| h3.is_read(stream))
    }

    /// Reads body bytes. Fewer than `buf` holds means that nothing more of the body is
    /// here; what else is comes with [`Session::poll`].
    pub(crate) fn receive_body(
        &mut self,
        stream: u64,
        buf: &mut [u8],
    ) -> Result<usize, StreamError> {
        let h3 = self.h3.as_mut().ok_or(StreamError::Gone)?;
        let len = h3.read_body(&mut self.quic, &mut self.held, stream, buf);
        self.acks.read(len);
        if len == 0 {
            return Err(StreamError::Blocked);
        }
        Ok(len)
    }

    /// Writes the DATA frame whose payload stands in `frame` behind
    /// [`limits::DATA_OVERHEAD`] bytes of room; with `fin` it is the last. Nothing of it
    /// goes out unless all fits.
    pub(crate) fn send_body(
        &mut self,
        stream: u64,
        frame: &mut [u8],
        fin: bool,
    ) -> Result<(), StreamError> {
        let payload = frame.len() - limits::DATA_OVERHEAD;
        if payload == 0 {
            return if fin { self.send_end(stream) } else { Ok(()) };
        }
        self.wrote();
        let frame = h3::front_data(frame);
        let room = self.quic.stream_capacity(stream)?;
        if room < frame.len() {
            return Err(StreamError::Blocked);
        }
        self.quic.stream_send(stream, frame, fin)?;
        Ok(())
    }

    /// Ends our direction of `stream`.
    pub(crate) fn send_end(&mut self, stream: u64) -> Result<(), StreamError> {
        self.wrote();
        self.quic.stream_send(stream, b"", true)?;
        Ok(())
    }

    pub(crate) fn send_trailers(
        &mut self,
        stream: u64,
        fields: &Fields,
    ) -> Result<(), StreamError> {
        self.send_section(stream, fields, true)
    }

    /// Sends a response's head, informational or final.
    pub(crate) fn send_response(
        &mut self,
        stream: u64,
        fields: &Fields,
        fin: bool,
    ) -> Result<(), StreamError> {
        self.check_taken(fields)?;
        self.send_section(stream, fields, fin)
    }

    /// RFC 9114 section 4.2.2: who has heard of a bound on field sections "SHOULD NOT
    /// send an HTTP message header that exceeds the indicated size". Trailers are sent
    /// all the same: by then it is too late for a better answer.
    fn check_taken(&self, fields: &Fields) -> Result<(), StreamError> {
        let most = self.peer_settings().and_then(|s| s.max_field_section_size);
        match most {
            Some(most) if fields.section_bytes() > most => Err(StreamError::TooLarge),
            Some(_) | None => Ok(()),
        }
    }

    fn send_section(&mut self, stream: u64, fields: &Fields, fin: bool) -> Result<(), StreamError> {
        self.wrote();
        let h3 = self.h3.as_mut().ok_or(StreamError::Gone)?;
        Ok(h3.send_section(&mut self.quic, stream, fields, fin)?)
    }

    /// Sends a request's head and returns its stream.
    pub(crate) fn send_request(&mut self, fields: &Fields, fin: bool) -> Result<u64, StreamError> {
        self.check_taken(fields)?;
        self.wrote();
        let h3 = self.h3.as_mut().ok_or(StreamError::Gone)?;
        if h3.is_left() {
            return Err(StreamError::GoingAway);
        }
        Ok(h3.send_request(&mut self.quic, fields, fin)?)
    }

    /// Lets the bytes that quiche holds of the stream, to be sent or sent again, leave
    /// at this urgency, in turns with those of its equals.
    ///
    /// quiche's own order is strict: by default one stream after the other (RFC 9218
    /// section 4.2, `i` unset), and by urgency without an exception. And it holds more
    /// than the congestion window takes, because it does not count what packets need
    /// besides. So a turn in favour of the less urgent is theirs only if it leaves at
    /// the urgency of those whose turn it would have been, and among equals the order
    /// is the one in which [`Turns`] let them in.
    pub(crate) fn prioritise(&mut self, stream: u64, urgency: u8) {
        // quiche keeps what is below 124 for itself. An error is a stream that is over.
        let _ = self.quic.stream_priority(stream, 124 + urgency, true);
    }

    /// Sends a whole local reply, or nothing of it.
    pub(crate) fn send_reply(
        &mut self,
        stream: u64,
        reply: &LocalReply,
    ) -> Result<(), StreamError> {
        // QPACK without a dynamic table adds at most a few bytes a field, and never 32.
        let head = reply.fields.section_bytes() as usize;
        let bytes = head + reply.body.len() + 2 * limits::DATA_OVERHEAD;
        if self.capacity(stream)? < bytes {
            self.wait_writable(stream, bytes);
            return Err(StreamError::Blocked);
        }
        self.send_response(stream, &reply.fields, reply.body.is_empty())?;
        if !reply.body.is_empty() {
            let mut frame = vec![0; limits::DATA_OVERHEAD];
            frame.extend_from_slice(&reply.body);
            self.send_body(stream, &mut frame, true)?;
        }
        Ok(())
    }

    /// Notes that the head of `id` found too little room on `stream`.
    pub(crate) fn note_blocked(&mut self, id: Handle, stream: u64) {
        let room = self.capacity(stream).ok();
        self.heads.note_blocked(id, room);
    }

    /// The same where the head opens its stream.
    pub(crate) fn note_blocked_request(&mut self, id: Handle) {
        self.note_blocked(id, self.next_request());
    }

    /// The head of `id` found too little room on `stream`, and there is no more
    /// now, but there may be.
    ///
    /// Trying in vain is not free: where the peer's flow control is what lacks,
    /// quiche says DATA_BLOCKED each time, and the acknowledgement of that would
    /// lead to the next try, for as long as the peer grants nothing.
    pub(crate) fn is_still_blocked(&mut self, id: Handle, stream: u64) -> bool {
        let Some(before) = self.heads.blocked(id) else {
            return false;
        };
        self.capacity(stream).is_ok_and(|room| room <= before) && !self.is_response_hopeless(stream)
    }

    /// The same where the head opens its stream.
    pub(crate) fn is_request_still_blocked(&mut self, id: Handle) -> bool {
        self.is_still_blocked(id, self.next_request())
    }

    /// After a request's head was refused for want of room: true if no
    /// acknowledgement will ever make more.
    pub(crate) fn is_request_hopeless(&mut self) -> bool {
        let limit = self
            .quic
            .peer_transport_params()
            .map(|p| p.initial_max_stream_data_bidi_remote);
        let stream = self.next_request();
        heads::is_hopeless(&mut self.quic, stream, limit)
    }

    /// The same for a response's head on `stream`.
    pub(crate) fn is_response_hopeless(&mut self, stream: u64) -> bool {
        let limit = self
            .quic
            .peer_transport_params()
            .map(|p| p.initial_max_stream_data_bidi_local);
        heads::is_hopeless(&mut self.quic, stream, limit)
    }

    fn next_request(&self) -> u64 {
        self.h3.as_ref().map_or(0, h3::Connection::next_request)
    }

    /// Ends both directions of `stream` with `code`, as far as they are open.
    pub(crate) fn abort(&mut self, stream: u64, code: u64) {
        self.reset(stream, code);
        self.stop(stream, code);
    }

    /// Ends our direction of `stream` with `code`, if it is open, as soon as all that
    /// was written before has left; see [`Resets`].
    pub(crate) fn reset(&mut self, stream: u64, code: u64) {
        self.wrote();
        self.resets_due.push(stream, code);
    }

    /// Everything that could be sent was sent: tells the resets that wait for that.
    /// True if there is something to send again.
    pub(crate) fn tell_resets(&mut self, now: Instant) -> bool {
        // Asked after every flush: what is nearly always so comes first.
        if self.resets_due.is_empty() || self.is_over() || self.paced.is_some() {
            return false;
        }
        match self.resets_due.next(now) {
            Next::Nothing => false,
            Next::Ping => self.quic.send_ack_eliciting().is_ok(),
            Next::Tell(resets) => {
                for (stream, code) in resets {
                    self.shutdown(stream, quiche::Shutdown::Write, code);
                }
                true
            }
        }
    }

    /// Something was written, or changed in a way that the peer must be told.
    fn wrote(&mut self) {
        self.acks.wrote();
        self.resets_due.room_is_unknown();
    }

    /// Asks the peer to send no more on `stream`, and drops what comes.
    pub(crate) fn stop(&mut self, stream: u64, code: u64) {
        if let Some(h3) = self.h3.as_mut() {
            h3.ignore(stream);
        }
        self.shutdown(stream, quiche::Shutdown::Read, code);
        self.held.stop(&*self.quic, stream);
    }

    /// Nothing is said about streams once the connection is over. Nor may quiche
    /// be asked: after a RESET_STREAM whose final size breaks flow control, its
    /// count of that stream's bytes is negative, and shutting it down subtracts.
    fn shutdown(&mut self, stream: u64, direction: quiche::Shutdown, code: u64) {
        if !self.is_over() {
            self.wrote();
            let _ = self.quic.stream_shutdown(stream, direction, code);
        }
    }

    /// We are done with `stream`; it is forgotten when quiche is, too.
    pub(crate) fn bury(&mut self, stream: u64) {
        self.exchanges.remove(&stream);
        if let Some(h3) = self.h3.as_mut() {
            h3.ignore(stream);
        }
        let ends_last = !self.quic.stream_finished(stream) && !self.resets_due.contains(stream);
        self.buried.push((stream, ends_last));
    }

    /// Forgets the buried streams that are closed by now.
    ///
    /// quiche 0.30 notices that a stream is over when it is read, or when something that
    /// was sent on it is acknowledged. One that we ended, whose last acknowledgement came
    /// before the peer heeded our STOP_SENDING, it would keep for ever, and the peer's
    /// credit with it. So the end is said again when the peer's has come: the
    /// acknowledgement of that leads quiche there. (Not behind a reset, which it could
    /// overtake.)
    pub(crate) fn sweep(&mut self) {
        let Some(h3) = self.h3.as_mut() else { return };
        let (quic, mut said) = (&mut self.quic, false);
        self.buried.retain_mut(|(stream, ends_last)| {
            let stream = *stream;
            // Not `stream_closed`: that is true as soon as the last byte is
            // buffered, and a connection closed then would lose it. A stream
            // that quiche no longer has was acknowledged to its end. Asking also
            // collects a stream that the peer stopped, which nothing else would.
            let open =
                quic.stream_capacity(stream) != Err(quiche::Error::InvalidStreamState(stream));
            if !open {
                h3.forget(stream);
            } else if *ends_last && quic.stream_finished(stream) {
                *ends_last = false;
                said |= quic.stream_send(stream, b"", true).is_ok();
            }
            open
        });
        if said {
            self.wrote();
        }
    }

    /// The peer stopped reading some stream since this was last asked.
    ///
    /// quiche marks a stopped stream writable only if it was not so before, so a
    /// stream that waits for its answer with room to spare would hide it.
    pub(crate) fn was_stopped(&mut self) -> bool {
        let stops = self.quic.stats().stopped_stream_count_remote;
        std::mem::replace(&mut self.peer_stops, stops) != stops
    }

    /// Streams that were reset from here, for whatever reason; see
    /// [`limits::RESETS_TOLD`].
    pub(crate) fn resets_told(&self) -> u64 {
        self.quic.stats().reset_stream_count_local
    }

    fn note_resets(&mut self, resets: u64) {
        let more = std::mem::replace(&mut self.peer_resets, resets) != resets;
        if let Some(h3) = self.h3.as_mut().filter(|_| more) {
            h3.find_resets(&mut self.quic, &mut self.held);
        }
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
        let ours = crate::io::earliest(keepalive, self.resets_due.deadline());
        let ours = crate::io::earliest(ours, self.paced);
        crate::io::earliest(self.quic.timeout_instant(), ours)
    }

    fn is_needed(&self) -> bool {
        self.hold || !self.exchanges.is_empty()
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
