//! What we write: field sections, the fronts of DATA frames, the control stream.

use super::inbound::Inbound;
use super::{Connection, frame, qpack, varint};
use crate::http::Fields;
use crate::limits;

impl Connection {
    /// Writes a field section, whole or not at all. The stream is ours, or the request's
    /// that is answered.
    pub(crate) fn send_section(
        &mut self,
        quic: &mut quiche::Connection,
        stream: u64,
        fields: &Fields,
        fin: bool,
    ) -> quiche::Result<()> {
        let room = quic.stream_capacity(stream)?;
        let out = &mut self.scratch;
        out.clear();
        // The front, as long as it will be: the type, and a length of two bytes or four.
        let most = qpack::most_bytes(fields);
        let front = if most < 1 << 14 { 3 } else { 5 };
        out.resize(front, 0);
        qpack::encode(fields, out);
        let length = (out.len() - front) as u64;
        out[0] = frame::HEADERS as u8;
        varint::write_padded(&mut out[1..front], length);
        if room < out.len() {
            // Asks to be told, and tells the peer if it is its window that lacks.
            quic.stream_writable(stream, out.len())?;
            return Err(quiche::Error::Done);
        }
        let sent = quic.stream_send(stream, out, fin)?;
        debug_assert_eq!(sent, out.len(), "the room was measured");
        if out.capacity() > limits::SCRATCH_BYTES {
            *out = Vec::new();
        }
        Ok(())
    }

    /// Sends the head of a request and returns its stream.
    pub(crate) fn send_request(
        &mut self,
        quic: &mut quiche::Connection,
        fields: &Fields,
        fin: bool,
    ) -> quiche::Result<u64> {
        let stream = self.next_request;
        // Opens it, if it is not open from an earlier try. Urgency 3 is the default of
        // RFC 9218, which quiche has as 127.
        quic.stream_priority(stream, 127, true)?;
        self.send_section(quic, stream, fields, fin)?;
        self.next_request += 4;
        self.streams.insert(stream, Inbound::new());
        Ok(stream)
    }

    /// Our control stream.
    pub(crate) fn control(&self) -> u64 {
        self.control
    }

    /// The stream of the next request of ours.
    pub(crate) fn next_request(&self) -> u64 {
        self.next_request
    }

    /// RFC 9114 section 5.2: after a GOAWAY, a client sends no new requests.
    pub(crate) fn is_left(&self) -> bool {
        self.goaway.is_some()
    }

    /// Tells the peer that requests from stream `id` on are not served here. Section 5.2:
    /// the id "MUST NOT be greater than any identifier previously sent".
    pub(crate) fn send_goaway(&mut self, quic: &mut quiche::Connection, id: u64) {
        if self.leaving.is_some_and(|before| id >= before) {
            return;
        }
        self.leaving = Some(id);
        let (bytes, len) = varint::encode(id);
        varint::put(&mut self.unsent, frame::GOAWAY);
        varint::put(&mut self.unsent, len as u64);
        self.unsent.extend_from_slice(&bytes[..len]);
        self.flush(quic);
    }

    /// Sends what waits for our control stream, if there is room. That it waits is rare:
    /// RFC 9114 section 6.2 asks for room for at least 1024 bytes, and we say little.
    ///
    /// Without room nothing is tried: where the connection's flow control is what lacks,
    /// quiche says DATA_BLOCKED each time, whose acknowledgement would lead to the next
    /// try, and so on for as long as the peer grants nothing.
    pub(super) fn flush_waiting(&mut self, quic: &mut quiche::Connection) {
        if self.unsent.is_empty() {
            return;
        }
        match quic.stream_capacity(self.control) {
            Ok(0) => {}
            Ok(_) => self.flush(quic),
            // The peer stopped it: there is nobody to tell.
            Err(_) => self.unsent = Vec::new(),
        }
    }

    /// Sends what was just put there, or says what room it lacks.
    pub(super) fn flush(&mut self, quic: &mut quiche::Connection) {
        if let Ok(sent) = quic.stream_send(self.control, &self.unsent, false) {
            self.unsent.drain(..sent);
        }
        // An error is a peer that stopped the stream, or has no room now: see above.
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
    }
}

/// Writes the front of a DATA frame right before its payload, which stands in `frame`
/// behind [`limits::DATA_OVERHEAD`] bytes of room and is not empty. The frame.
pub(crate) fn front_data(frame: &mut [u8]) -> &mut [u8] {
    let length = (frame.len() - limits::DATA_OVERHEAD) as u64;
    let (bytes, len) = varint::encode(length);
    let start = limits::DATA_OVERHEAD - 1 - len;
    frame[start] = frame::DATA as u8;
    frame[start + 1..limits::DATA_OVERHEAD].copy_from_slice(&bytes[..len]);
    &mut frame[start..]
}
