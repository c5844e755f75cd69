//! HTTP/3 over quiche's streams (RFC 9114, RFC 9204): frames, field sections, and the
//! streams that are not requests'. It knows nothing of what a proxy wants.
//!
//! | file | what of it |
//! | --- | --- |
//! | `mod.rs` | one connection: whose turn it is, and what is written |
//! | `inbound.rs` | what comes on a request's stream |
//! | `frame.rs`, `varint.rs` | the front of a frame, and where frames may stand |
//! | `qpack/` | field sections |
//! | `uni.rs`, `control.rs`, `settings.rs` | the peer's unidirectional streams |
//! | `partial.rs` | requests whose head has begun and is not whole |
//! | `error.rs` | codes, and what ends a connection |
//!
//! Why not `quiche::h3`: there a body that is cut within a frame ends like a whole one,
//! frames may come in any order on streams that we opened, a head that comes in pieces
//! is not to be seen, one that is too large costs the connection, and a stream that
//! ended badly leaves an entry behind for as long as the connection lasts.
//!
//! Of our own unidirectional streams there is only the control stream. RFC 9204 section
//! 4.2: an endpoint "MAY avoid creating an encoder stream if it will not be used …" and
//! "MAY avoid creating a decoder stream if its decoder sets the maximum capacity of the
//! dynamic table to zero".

mod control;
pub(crate) mod error;
mod frame;
mod inbound;
mod partial;
mod qpack;
mod settings;
mod uni;
mod varint;

use std::collections::VecDeque;
use std::time::Instant;

use rustc_hash::FxHashMap;

use control::Notice;
pub(crate) use error::Fault;
pub(crate) use frame::Role;
pub(crate) use inbound::Found;
use inbound::{Inbound, Reset, Rules, Source};
use partial::Partial;
pub(crate) use qpack::Bounds;
pub(crate) use settings::Settings;
use uni::{Opened, Uni};

use crate::http::Fields;
use crate::limits;

/// What a connection tells the peer of us, and holds it to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Bounds of a field section that the peer sends. It is told the size.
    pub(crate) bounds: Bounds,
    /// We take extended CONNECT (RFC 9220).
    pub(crate) enable_connect_protocol: bool,
}

/// The code of a reset that took away what was unread of a stream that had already
/// ended: quiche keeps the code to itself. No code on the wire is that great.
pub(crate) const UNTOLD: u64 = u64::MAX;

/// What the peer has to say.
#[derive(Debug)]
pub(crate) enum Said {
    /// Something of a request's stream.
    Stream(u64, Found),
    /// Its SETTINGS have come.
    Settings,
    /// The priority of this request changed, to this value of the field.
    Priority(u64, Vec<u8>),
    /// It leaves; requests from this id on are not served.
    GoAway(u64),
}

/// HTTP/3 on one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    rules: Rules,
    /// Requests' streams until they are forgotten.
    streams: FxHashMap<u64, Inbound>,
    /// The peer's unidirectional streams: few, see [`limits::UNI_STREAMS`].
    uni: Vec<(u64, Uni)>,
    opened: Opened,
    settings: Option<Settings>,
    /// The least id of the peer's GOAWAYs.
    goaway: Option<u64>,
    /// Streams to look at before quiche is asked for the next.
    again: VecDeque<u64>,
    partial: Partial,
    /// Our control stream, and what did not fit there yet.
    control: u64,
    unsent: Vec<u8>,
    /// The id of our last GOAWAY.
    leaving: Option<u64>,
    /// The stream of the next request of ours.
    next_request: u64,
    /// Field sections are read from here and written here.
    scratch: Vec<u8>,
    /// Why we gave the connection up.
    fault: Option<Fault>,
}

impl Connection {
    /// Begins HTTP/3: opens our control stream and says what we can do.
    ///
    /// # Errors
    /// If the peer grants no stream for that.
    pub(crate) fn new(quic: &mut quiche::Connection, config: Config) -> quiche::Result<Self> {
        let role = if quic.is_server() {
            Role::Server
        } else {
            Role::Client
        };
        // RFC 9000 section 2.1: the first unidirectional stream of either side.
        let control = match role {
            Role::Client => 2,
            Role::Server => 3,
        };
        // Before anything else, so that a full pipe does not hold up a GOAWAY.
        quic.stream_priority(control, 0, true)?;
        let mut connection = Connection {
            rules: Rules {
                role,
                bounds: config.bounds,
            },
            streams: FxHashMap::default(),
            uni: Vec::new(),
            opened: Opened::default(),
            settings: None,
            goaway: None,
            again: VecDeque::new(),
            partial: Partial::default(),
            control,
            unsent: settings::opening(config.bounds.bytes, config.enable_connect_protocol),
            leaving: None,
            next_request: 0,
            scratch: Vec::new(),
            fault: None,
        };
        connection.flush(quic);
        Ok(connection)
    }

    /// What the peer said of itself, once it has.
    pub(crate) fn settings(&self) -> Option<Settings> {
        self.settings
    }

    /// Why this connection was given up, if the peer broke a rule of HTTP/3.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The next thing that the peer said. `heard` is when the last of it arrived.
    ///
    /// A breach of the rules closes the connection; nothing more is told then.
    pub(crate) fn poll(&mut self, quic: &mut quiche::Connection, heard: Instant) -> Option<Said> {
        if self.fault.is_some() {
            return None;
        }
        self.flush(quic);
        loop {
            let stream = match self.again.front() {
                Some(&stream) => stream,
                None => self.next_readable(quic)?,
            };
            let said = if stream & 2 == 0 {
                self.poll_request(quic, stream, heard)
            } else {
                self.poll_uni(quic, stream)
            };
            match said {
                Ok(Some(said)) => return Some(said),
                Ok(None) => {
                    self.again.pop_front();
                }
                Err(fault) => {
                    self.give_up(quic, fault);
                    return None;
                }
            }
        }
    }

    /// The next stream on which something came. quiche tells of it once, where its
    /// `readable()` lists all that nobody has read, each time it is asked.
    fn next_readable(&mut self, quic: &mut quiche::Connection) -> Option<u64> {
        let stream = quic.stream_readable_next()?;
        self.again.push_back(stream);
        if stream & 2 == 0 && self.rules.role == Role::Server {
            self.streams.entry(stream).or_insert_with(Inbound::new);
        }
        Some(stream)
    }

    fn poll_request(
        &mut self,
        quic: &mut quiche::Connection,
        stream: u64,
        heard: Instant,
    ) -> Result<Option<Said>, Fault> {
        let rules = self.rules;
        let Some(inbound) = self.streams.get_mut(&stream) else {
            return match rules.role {
                // It was forgotten since it came here.
                Role::Server => Ok(None),
                // RFC 9114 section 6.1: "Clients MUST treat receipt of a server-initiated
                // bidirectional stream as a connection error of type
                // H3_STREAM_CREATION_ERROR".
                Role::Client if stream & 1 == 1 => {
                    let text = "a request's stream from a server";
                    Err(Fault::new(error::STREAM_CREATION_ERROR, text))
                }
                Role::Client if stream >= self.next_request => {
                    let text = "an answer before the request";
                    Err(Fault::new(error::GENERAL_PROTOCOL_ERROR, text))
                }
                Role::Client => Ok(None),
            };
        };
        let found = inbound.next(&mut OnStream { quic, stream }, rules, &mut self.scratch)?;
        if rules.role == Role::Server {
            self.partial.note(stream, inbound.awaits_head(), heard);
        }
        Ok(found.map(|found| Said::Stream(stream, found)))
    }

    fn poll_uni(
        &mut self,
        quic: &mut quiche::Connection,
        stream: u64,
    ) -> Result<Option<Said>, Fault> {
        let index = match self.uni.iter().position(|(id, _)| *id == stream) {
            Some(index) => index,
            None => {
                self.uni.push((stream, Uni::new()));
                self.uni.len() - 1
            }
        };
        let uni = &mut self.uni[index].1;
        let source = &mut OnStream { quic, stream };
        let notice = uni.next(source, self.rules.role, &mut self.opened)?;
        if uni.is_over() {
            self.uni.swap_remove(index);
        }
        Ok(notice.map(|notice| match notice {
            Notice::Settings(settings) => {
                self.settings = Some(settings);
                Said::Settings
            }
            Notice::GoAway(id) => {
                self.goaway = Some(id);
                Said::GoAway(id)
            }
            Notice::Priority(stream, value) => Said::Priority(stream, value),
        }))
    }

    /// Some streams were reset. quiche tells of that only where it had not told of bytes
    /// before that nobody fetched: those streams are looked at.
    pub(crate) fn find_resets(&mut self, quic: &mut quiche::Connection) {
        let unread = self
            .streams
            .iter()
            .filter(|(_, inbound)| inbound.is_unread());
        let mut unread: Vec<u64> = unread.map(|(&stream, _)| stream).collect();
        // A table has no order of its own that could be replayed.
        unread.sort_unstable();
        for stream in unread {
            if let Some(inbound) = self.streams.get_mut(&stream)
                && inbound.meets_reset(&mut OnStream { quic, stream })
            {
                self.again.push_back(stream);
            }
        }
    }

    /// Reads body bytes: fewer than `buf` holds means that nothing more is here, and
    /// [`Connection::poll`] says what follows.
    pub(crate) fn read_body(
        &mut self,
        quic: &mut quiche::Connection,
        stream: u64,
        buf: &mut [u8],
    ) -> usize {
        let Some(inbound) = self.streams.get_mut(&stream) else {
            return 0;
        };
        match inbound.read_body(&mut OnStream { quic, stream }, self.rules, buf) {
            Ok(len) => {
                if inbound.has_rest() {
                    self.again.push_back(stream);
                }
                len
            }
            Err(fault) => {
                self.give_up(quic, fault);
                0
            }
        }
    }

    /// The peer ended the stream, in good order, and all of it was read.
    pub(crate) fn is_read(&self, stream: u64) -> bool {
        self.streams.get(&stream).is_some_and(Inbound::is_read)
    }

    /// What comes on `stream` is nobody's business any more.
    pub(crate) fn ignore(&mut self, stream: u64) {
        if let Some(inbound) = self.streams.get_mut(&stream) {
            inbound.ignore();
            self.partial.leave(stream);
        }
    }

    /// quiche has no such stream any more.
    pub(crate) fn forget(&mut self, stream: u64) {
        self.streams.remove(&stream);
    }

    /// The request's stream that has waited longest for the rest of its head, and since
    /// when.
    pub(crate) fn oldest_partial(&self) -> Option<(u64, Instant)> {
        self.partial.oldest()
    }

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

    /// Sends what waits for our control stream. That it does is rare: RFC 9114 section
    /// 6.2 asks for room for at least 1024 bytes, and we say little.
    fn flush(&mut self, quic: &mut quiche::Connection) {
        if self.unsent.is_empty() {
            return;
        }
        if let Ok(sent) = quic.stream_send(self.control, &self.unsent, false) {
            self.unsent.drain(..sent);
        }
        // An error is a peer that stopped the stream, or has no room now.
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
    }

    fn give_up(&mut self, quic: &mut quiche::Connection, fault: Fault) {
        self.fault = Some(fault);
        // `Done`: it was closed already.
        let _ = quic.close(true, fault.code, fault.text.as_bytes());
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

/// quiche's end of a stream.
struct OnStream<'a> {
    quic: &'a mut quiche::Connection,
    stream: u64,
}

impl OnStream<'_> {
    /// quiche has no bytes where we have not seen an end yet. If it says that the stream
    /// is over all the same, a reset came after the end, and took away what was unread.
    fn read(&self, result: quiche::Result<(usize, bool)>) -> Result<(usize, bool), Reset> {
        match result {
            Ok(read) => Ok(read),
            Err(quiche::Error::StreamReset(code)) => Err(Reset(code)),
            Err(quiche::Error::Done) if !self.quic.stream_finished(self.stream) => Ok((0, false)),
            Err(_) => Err(Reset(UNTOLD)),
        }
    }
}

impl Source for OnStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<(usize, bool), Reset> {
        let result = self.quic.stream_recv(self.stream, buf);
        OnStream::read(self, result)
    }

    fn skip(&mut self, most: usize) -> Result<(usize, bool), Reset> {
        let result = self.quic.stream_discard(self.stream, most);
        OnStream::read(self, result)
    }

    fn has_more(&self) -> bool {
        self.quic.stream_readable(self.stream)
    }
}

/// For the fuzz workspace alone, see [`crate::fuzzing`].
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing {
    use super::control::Control;
    use super::frame::Role;
    pub(crate) use super::inbound::{Found, Inbound, Lines, Rules};
    use super::qpack::Bounds;
    pub(crate) use super::qpack::{Refused, decode, encode, huffman};

    pub(crate) fn rules(to_client: bool, bytes: u64, fields: usize) -> Rules {
        Rules {
            role: role(to_client),
            bounds: Bounds { bytes, fields },
        }
    }

    fn role(to_client: bool) -> Role {
        if to_client {
            Role::Client
        } else {
            Role::Server
        }
    }

    pub(crate) fn control_stream(
        bytes: &[u8],
        to_client: bool,
        piece: usize,
    ) -> (usize, Option<u64>) {
        let (mut control, mut source) = (Control::new(), Lines::new(b""));
        let mut notices = 0;
        for piece in bytes.chunks(piece.max(1)) {
            source.add(piece);
            loop {
                match control.next(&mut source, role(to_client)) {
                    Ok(Some(_)) => notices += 1,
                    Ok(None) => break,
                    Err(fault) => return (notices, Some(fault.code)),
                }
            }
        }
        (notices, None)
    }
}
