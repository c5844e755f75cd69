//! The requests of one connection: heads, bodies and ends, without I/O.

use std::collections::VecDeque;

use quiche::h3::{self, Header, NameValue};
use rustc_hash::FxHashMap;

use super::message::{decode, encode};
use super::{Error, Request};

/// The most bytes one exchange reads, or writes, before the next has its turn.
const TURN: usize = 16 << 10;

/// RFC 9114 section 8.1.
pub(super) const H3_NO_ERROR: u64 = 0x100;
const H3_REQUEST_CANCELLED: u64 = 0x10c;

/// Names a request of a [`Client`](super::Client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(u64);

/// What happened to a request.
#[derive(Debug)]
pub enum Event {
    /// A 1xx response.
    Interim {
        /// 100 to 199.
        status: u16,
    },
    /// The head of the response.
    Head {
        /// 200 to 599.
        status: u16,
        /// Fields besides `:status`.
        fields: Vec<(String, String)>,
    },
    /// Some of its body.
    Body(Vec<u8>),
    /// Its trailers.
    Trailers(Vec<(String, String)>),
    /// It is complete.
    End,
    /// It will never be complete.
    Failed(Error),
}

struct Exchange {
    request: Request,
    stream: Option<u64>,
    /// Bytes of the request's body that went out.
    sent: u64,
    request_done: bool,
    head_seen: bool,
    /// The stream may have data: quiche says so once, and we remember.
    readable: bool,
    /// The user does not want to read now.
    held: bool,
    received: u64,
    announced: Option<u64>,
}

/// The exchanges of one connection.
pub(super) struct Session {
    h3: h3::Connection,
    exchanges: FxHashMap<ExchangeId, Exchange>,
    by_stream: FxHashMap<u64, ExchangeId>,
    /// Not on a stream yet, in order.
    unsent: VecDeque<ExchangeId>,
    /// May have something to write.
    writing: VecDeque<ExchangeId>,
    /// May have something to read.
    reading: VecDeque<ExchangeId>,
    events: VecDeque<(ExchangeId, Event)>,
    /// Streams left early, whose entries in h3 we must drop by hand.
    left: Vec<u64>,
    next_id: u64,
    scratch: Vec<u8>,
}

impl Session {
    /// Begins HTTP/3 on a connection whose handshake is done.
    pub(super) fn begin(quic: &mut quiche::Connection) -> Result<Self, Error> {
        let mut config = h3::Config::new().map_err(|error| Error::Setup(error.to_string()))?;
        // More would close the connection; large heads are for the user to judge.
        config.set_max_field_section_size(1 << 20);
        let h3 = h3::Connection::with_transport(quic, &config)
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Self {
            h3,
            exchanges: FxHashMap::default(),
            by_stream: FxHashMap::default(),
            unsent: VecDeque::new(),
            writing: VecDeque::new(),
            reading: VecDeque::new(),
            events: VecDeque::new(),
            left: Vec::new(),
            next_id: 0,
            scratch: vec![0; TURN],
        })
    }

    /// Takes a request; it goes out as soon as the server allows.
    pub(super) fn submit(&mut self, request: Request) -> ExchangeId {
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        let exchange = Exchange {
            request,
            stream: None,
            sent: 0,
            request_done: false,
            head_seen: false,
            readable: false,
            held: false,
            received: 0,
            announced: None,
        };
        self.exchanges.insert(id, exchange);
        self.unsent.push_back(id);
        id
    }

    /// Stops or resumes reading a response.
    pub(super) fn hold(&mut self, id: ExchangeId, held: bool) {
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            exchange.held = held;
            self.reading.push_back(id);
        }
    }

    /// Gives a request up, in both directions.
    pub(super) fn cancel(&mut self, quic: &mut quiche::Connection, id: ExchangeId) {
        let Some(exchange) = self.exchanges.remove(&id) else {
            return;
        };
        self.unsent.retain(|&unsent| unsent != id);
        if let Some(stream) = exchange.stream {
            self.leave(quic, stream);
        }
    }

    pub(super) fn next_event(&mut self) -> Option<(ExchangeId, Event)> {
        self.events.pop_front()
    }

    /// Whether any request is without an end.
    pub(super) fn is_busy(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// Ends every request with an error, because the connection did.
    pub(super) fn fail_all(&mut self, mut why: impl FnMut() -> Error) {
        let mut ids: Vec<ExchangeId> = self.exchanges.drain().map(|(id, _)| id).collect();
        ids.sort_unstable();
        for id in ids {
            self.events.push_back((id, Event::Failed(why())));
        }
    }

    /// Does one round of all that can be done now.
    ///
    /// Each exchange reads at most one turn a round, so that the events waiting
    /// for the user are bounded by the streams the connection may have.
    pub(super) fn drive(&mut self, quic: &mut quiche::Connection) {
        self.send_heads(quic);
        while let Some(stream) = quic.stream_writable_next() {
            if let Some(&id) = self.by_stream.get(&stream) {
                self.writing.push_back(id);
            }
        }
        self.write(quic);
        self.poll(quic);
        self.read(quic);
        // `Finished` comes only from a poll after the last byte was read.
        self.poll(quic);
        self.forget(quic);
    }

    /// Whether there are events to take, or another round would make some,
    /// though nothing arrives.
    pub(super) fn is_ready(&self) -> bool {
        !self.events.is_empty()
            || self.reading.iter().any(|id| {
                self.exchanges
                    .get(id)
                    .is_some_and(|exchange| exchange.readable && !exchange.held)
            })
    }

    fn send_heads(&mut self, quic: &mut quiche::Connection) {
        while let Some(id) = self.unsent.front().copied() {
            let Some(exchange) = self.exchanges.get_mut(&id) else {
                self.unsent.pop_front();
                continue;
            };
            let request = &exchange.request;
            let fin = request.body.is_empty() && request.trailers.is_empty();
            match self.h3.send_request(quic, &request.head(), fin) {
                Ok(stream) => {
                    exchange.stream = Some(stream);
                    exchange.request_done = fin;
                    self.by_stream.insert(stream, id);
                    self.writing.push_back(id);
                    self.unsent.pop_front();
                }
                // Credit comes back when other requests end.
                Err(
                    h3::Error::StreamBlocked
                    | h3::Error::TransportError(quiche::Error::StreamLimit),
                ) => return,
                Err(error) => {
                    self.unsent.pop_front();
                    self.exchanges.remove(&id);
                    // quiche's word for a request after GOAWAY.
                    let why = if error == h3::Error::FrameUnexpected {
                        Error::GoingAway
                    } else {
                        Error::Malformed(error.to_string())
                    };
                    self.events.push_back((id, Event::Failed(why)));
                }
            }
        }
    }

    fn write(&mut self, quic: &mut quiche::Connection) {
        while let Some(id) = self.writing.pop_front() {
            let Some(exchange) = self.exchanges.get_mut(&id) else {
                continue;
            };
            match exchange.write(quic, &mut self.h3) {
                Ok(true) => self.writing.push_back(id),
                Ok(false) => {}
                // The server wants no more of the body; its answer still counts.
                Err(quiche::Error::StreamStopped(_)) => exchange.request_done = true,
                Err(error) => self.fail(quic, id, Error::Malformed(error.to_string())),
            }
        }
    }

    fn poll(&mut self, quic: &mut quiche::Connection) {
        while let Ok((stream, event)) = self.h3.poll(quic) {
            let Some(&id) = self.by_stream.get(&stream) else {
                continue;
            };
            match event {
                h3::Event::Headers { list, .. } => self.headers(quic, id, &list),
                h3::Event::Data => {
                    if let Some(exchange) = self.exchanges.get_mut(&id) {
                        exchange.readable = true;
                        self.reading.push_back(id);
                    }
                }
                // quiche says so of a stream that was reset, too.
                h3::Event::Finished => match quic.stream_recv(stream, &mut [0]) {
                    Err(quiche::Error::StreamReset(code)) => {
                        self.fail(quic, id, Error::Reset(code));
                    }
                    Ok(_) | Err(_) => self.finished(quic, id),
                },
                h3::Event::Reset(code) => self.fail(quic, id, Error::Reset(code)),
                h3::Event::PriorityUpdate | h3::Event::GoAway => {}
            }
        }
    }

    fn headers(&mut self, quic: &mut quiche::Connection, id: ExchangeId, list: &[Header]) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        if exchange.head_seen {
            self.events.push_back((id, Event::Trailers(decode(list))));
            return;
        }
        let value = |name: &[u8]| {
            list.iter()
                .find(|header| header.name() == name)
                .and_then(|header| std::str::from_utf8(header.value()).ok())
        };
        let status = value(b":status").and_then(|text| text.parse::<u16>().ok());
        let event = match status {
            Some(status @ 100..=199) => Event::Interim { status },
            Some(status @ 200..=599) => {
                exchange.head_seen = true;
                let bodiless = exchange.request.method == "HEAD" || matches!(status, 204 | 304);
                exchange.announced = match (bodiless, value(b"content-length")) {
                    (false, Some(text)) => text.parse().ok(),
                    (true, _) | (false, None) => None,
                };
                let mut fields = decode(list);
                fields.retain(|(name, _)| name != ":status");
                Event::Head { status, fields }
            }
            Some(_) | None => {
                let why = Error::Malformed("a head without a :status of 100 to 599".to_owned());
                return self.fail(quic, id, why);
            }
        };
        self.events.push_back((id, event));
    }

    fn read(&mut self, quic: &mut quiche::Connection) {
        for _ in 0..self.reading.len() {
            let Some(id) = self.reading.pop_front() else {
                return;
            };
            let Some(exchange) = self.exchanges.get_mut(&id) else {
                continue;
            };
            let (Some(stream), true, false) = (exchange.stream, exchange.readable, exchange.held)
            else {
                continue;
            };
            match self.h3.recv_body(quic, stream, &mut self.scratch) {
                Ok(len) => {
                    exchange.received += len as u64;
                    self.reading.push_back(id);
                    let bytes = self.scratch[..len].to_vec();
                    self.events.push_back((id, Event::Body(bytes)));
                }
                Err(h3::Error::Done) => exchange.readable = false,
                // Then no event says so.
                Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => {
                    self.fail(quic, id, Error::Reset(code));
                }
                Err(error) => self.fail(quic, id, Error::Malformed(error.to_string())),
            }
        }
    }

    fn finished(&mut self, quic: &mut quiche::Connection, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(&id) else {
            return;
        };
        let got = exchange.received;
        let event = match exchange.announced {
            _ if !exchange.head_seen => Event::Failed(Error::NoHead),
            Some(announced) if announced != got => {
                Event::Failed(Error::Truncated { got, announced })
            }
            Some(_) | None => Event::End,
        };
        let request_done = exchange.request_done;
        self.events.push_back((id, event));
        let stream = self.exchanges.remove(&id).and_then(|gone| gone.stream);
        if let Some(stream) = stream {
            self.by_stream.remove(&stream);
            if !request_done {
                // An early answer: the rest of the request is not wanted.
                self.leave(quic, stream);
            }
        }
    }

    fn fail(&mut self, quic: &mut quiche::Connection, id: ExchangeId, why: Error) {
        if let Some(exchange) = self.exchanges.remove(&id) {
            self.events.push_back((id, Event::Failed(why)));
            if let Some(stream) = exchange.stream {
                self.leave(quic, stream);
            }
        }
    }

    /// Leaves a stream in both directions.
    ///
    /// Errors say that a direction is closed already, which is what we want.
    fn leave(&mut self, quic: &mut quiche::Connection, stream: u64) {
        self.by_stream.remove(&stream);
        let _ = quic.stream_shutdown(stream, quiche::Shutdown::Write, H3_REQUEST_CANCELLED);
        let _ = quic.stream_shutdown(stream, quiche::Shutdown::Read, H3_REQUEST_CANCELLED);
        // quiche collects a stream when it is next touched.
        let _ = quic.stream_capacity(stream);
        self.left.push(stream);
    }

    /// Drops h3's entries of streams that were left early (quiche issue 2524).
    fn forget(&mut self, quic: &mut quiche::Connection) {
        let h3 = &mut self.h3;
        self.left.retain(|&stream| {
            if !quic.stream_closed(stream) {
                return true;
            }
            let _ = h3.send_body(quic, stream, b"", true);
            false
        });
    }
}

impl Exchange {
    /// Writes one turn of the request's body; true if it could write more.
    fn write(
        &mut self,
        quic: &mut quiche::Connection,
        h3: &mut h3::Connection,
    ) -> quiche::Result<bool> {
        let (Some(stream), false) = (self.stream, self.request_done) else {
            return Ok(false);
        };
        let (body, trailers) = (&self.request.body, &self.request.trailers);
        let left = body.len() - self.sent;
        if left == 0 {
            let list: Vec<Header> = encode(trailers).collect();
            return match h3.send_additional_headers(quic, stream, &list, true, true) {
                Ok(()) => {
                    self.request_done = true;
                    Ok(false)
                }
                Err(error) => blocked_or(error),
            };
        }
        let chunk = body.slice(self.sent, TURN);
        let last = left == chunk.len() as u64;
        let fin = last && trailers.is_empty();
        match h3.send_body(quic, stream, chunk, fin) {
            Ok(wrote) => {
                self.sent += wrote as u64;
                let all = wrote == chunk.len();
                self.request_done = all && fin;
                Ok(all && !fin)
            }
            Err(error) => blocked_or(error),
        }
    }
}

/// Being blocked is no error: quiche tells when there is room again.
fn blocked_or(error: h3::Error) -> quiche::Result<bool> {
    if matches!(error, h3::Error::Done | h3::Error::StreamBlocked) {
        return Ok(false);
    }
    if let h3::Error::TransportError(error) = error {
        return Err(error);
    }
    log::debug!("h3: {error}");
    Err(quiche::Error::InvalidState)
}
