//! What goes over a connection's streams: heads, bodies, and whose turn it is.

use super::{Event, Session, StreamError};
use crate::h3::{self, Found, Said};
use crate::http::{Fields, LocalReply, Priority};
use crate::io::Handle;
use crate::limits;
use crate::turns::{Place, Turn};

impl Session {
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
}
