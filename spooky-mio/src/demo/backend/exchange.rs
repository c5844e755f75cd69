//! One request at the backend: reads its body, writes its answer, in turns.

use std::time::Instant;

use boring::sha::Sha256;
use quiche::h3::{self, Header};

use super::answer::{Answer, Body, Ending, Reading, When};
use crate::demo::pattern;

/// The most bytes one exchange reads, or writes, before the next has its turn.
///
/// Capacity is the congestion window's and goes to whoever writes first, so that
/// turns are what makes it fair.
const TURN: usize = 16 << 10;
/// How long a body is left to travel before `/reset` cuts it: a reset throws
/// away what was not sent.
const CUT_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

/// The connection an exchange lives on.
pub(super) struct Link<'a> {
    pub(super) quic: &'a mut quiche::Connection,
    pub(super) h3: &'a mut h3::Connection,
    /// At least [`TURN`] bytes, whose content means nothing between calls.
    pub(super) scratch: &'a mut [u8],
    /// The backend's name.
    pub(super) id: &'a str,
}

/// What an exchange wants after its turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another turn: it could go on at once.
    Again,
    /// News of its stream: data, room to write, an end.
    News,
    /// The time.
    At(Instant),
    /// Nothing: it is over.
    Over,
    /// It was cancelled by the peer with this code.
    Cancelled(u64),
    /// The connection closed, with this code.
    Close(u64),
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Hint,
    Head,
    /// So many bytes of the body are written.
    Body(u64),
    Ending,
    /// `/reset` and `/close` wait until what they wrote has left.
    Cutting(Instant),
    /// All is written; what is left of the request is thrown away.
    Written,
}

pub(super) struct Exchange {
    stream: u64,
    answer: Answer,
    began: Instant,
    stage: Stage,
    /// The stream may have data: quiche says so once, and we remember.
    readable: bool,
    request_ended: bool,
    trailers: Vec<Header>,
    digest: Sha256,
    received: u64,
    /// Body on its way back: at most one turn of it.
    echo: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(stream: u64, answer: Answer, now: Instant) -> Self {
        let stage = if answer.early_hint {
            Stage::Hint
        } else {
            Stage::Head
        };
        Self {
            stream,
            answer,
            began: now,
            stage,
            readable: false,
            request_ended: false,
            trailers: Vec::new(),
            digest: Sha256::new(),
            received: 0,
            echo: Vec::new(),
        }
    }

    pub(super) fn handle_data(&mut self) {
        self.readable = true;
    }

    pub(super) fn handle_trailers(&mut self, list: Vec<Header>) {
        self.trailers = list;
    }

    pub(super) fn handle_finished(&mut self) {
        self.request_ended = true;
    }

    /// Takes a turn.
    pub(super) fn step(&mut self, link: &mut Link<'_>, now: Instant) -> Next {
        let read = match self.read(link) {
            Ok(read) => read,
            Err(next) => return next,
        };
        let wrote = match self.write(link, now) {
            Ok(wrote) => wrote,
            Err(next) => return next,
        };
        if self.stage == Stage::Written && self.request_ended {
            return Next::Over;
        }
        if read || wrote {
            Next::Again
        } else {
            self.waits_for()
        }
    }

    fn waits_for(&self) -> Next {
        match (self.stage, &self.answer.when) {
            (Stage::Cutting(at), _) => Next::At(at),
            (Stage::Head, When::After(delay)) => Next::At(self.began + *delay),
            _ => Next::News,
        }
    }

    /// Reads one turn of the request's body; true if there may be more.
    fn read(&mut self, link: &mut Link<'_>) -> Result<bool, Next> {
        let room = match self.answer.reading {
            // Once the answer is complete nobody needs the rest.
            Reading::Echo if self.stage != Stage::Written && !self.echo.is_empty() => false,
            Reading::Never => false,
            Reading::Echo | Reading::Discard | Reading::Digest => true,
        };
        if !self.readable || !room {
            return Ok(false);
        }
        let scratch = &mut link.scratch[..TURN];
        let taken = match link.h3.recv_body(link.quic, self.stream, scratch) {
            Ok(taken) => taken,
            Err(h3::Error::Done) => {
                self.readable = false;
                return Ok(false);
            }
            Err(error) => return Err(self.failed(&error)),
        };
        self.received += taken as u64;
        match self.answer.reading {
            Reading::Digest => self.digest.update(&scratch[..taken]),
            Reading::Echo if self.stage != Stage::Written => {
                self.echo.extend_from_slice(&scratch[..taken]);
            }
            Reading::Echo | Reading::Discard | Reading::Never => {}
        }
        Ok(true)
    }

    /// Writes one turn of the answer; true if it could write more.
    fn write(&mut self, link: &mut Link<'_>, now: Instant) -> Result<bool, Next> {
        match self.stage {
            Stage::Hint => {
                let hint = [(":status", "103"), ("link", "</style.css>; rel=preload")];
                let sent = link.h3.send_response(link.quic, self.stream, &hint, false);
                self.went_out(sent, Stage::Head)
            }
            Stage::Head if self.due(now) => self.write_head(link),
            Stage::Head | Stage::Written => Ok(false),
            Stage::Body(sent) => self.write_body(sent, link),
            Stage::Ending => self.write_ending(link, now),
            Stage::Cutting(at) if now >= at => self.cut(link),
            Stage::Cutting(_) => Ok(false),
        }
    }

    fn due(&self, now: Instant) -> bool {
        match &self.answer.when {
            When::Now => true,
            When::After(delay) => now >= self.began + *delay,
            When::RequestEnded => self.request_ended && !self.readable,
            When::Never => false,
        }
    }

    fn write_head(&mut self, link: &mut Link<'_>) -> Result<bool, Next> {
        if self.answer.body == Body::Digest {
            let text = self.result();
            self.answer.announced = Some(text.len() as u64);
            self.answer.body = Body::Text(text);
        }
        let mut head = vec![
            Header::new(b":status", self.answer.status.to_string().as_bytes()),
            Header::new(b"x-backend", link.id.as_bytes()),
        ];
        if let Some(len) = self.answer.announced {
            head.push(Header::new(b"content-length", len.to_string().as_bytes()));
        }
        for (name, value) in &self.answer.fields {
            head.push(Header::new(name.as_bytes(), value.as_bytes()));
        }
        let fin = self.answer.ends_with_head();
        let next = if fin { Stage::Written } else { Stage::Body(0) };
        let sent = if self.answer.early_hint {
            link.h3
                .send_additional_headers(link.quic, self.stream, &head, false, fin)
        } else {
            link.h3.send_response(link.quic, self.stream, &head, fin)
        };
        self.went_out(sent, next)
    }

    /// What `/count` found, as JSON.
    fn result(&mut self) -> Vec<u8> {
        let digest = std::mem::take(&mut self.digest).finish();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let (bytes, trailers) = (self.received, self.trailers.len());
        format!("{{\"bytes\":{bytes},\"sha256\":\"{hex}\",\"trailers\":{trailers}}}\n").into_bytes()
    }

    fn write_body(&mut self, sent: u64, link: &mut Link<'_>) -> Result<bool, Next> {
        let (chunk, last): (&[u8], bool) = match &self.answer.body {
            Body::Text(text) => {
                let rest = &text[(sent as usize).min(text.len())..];
                (&rest[..rest.len().min(TURN)], rest.len() <= TURN)
            }
            Body::Pattern(len) => {
                let rest = len - sent;
                (
                    pattern::slice(sent, rest.min(TURN as u64) as usize),
                    rest <= TURN as u64,
                )
            }
            Body::Echo => (&self.echo, self.request_ended && !self.readable),
            Body::Digest => (&[], true),
        };
        let fin = last && self.answer.ending == Ending::Clean;
        if chunk.is_empty() && !fin {
            if last {
                self.stage = Stage::Ending;
            }
            return Ok(last);
        }
        let wrote = match link.h3.send_body(link.quic, self.stream, chunk, fin) {
            Ok(wrote) => wrote,
            Err(h3::Error::Done) => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        };
        let all = wrote == chunk.len();
        if self.answer.body == Body::Echo {
            self.echo.drain(..wrote);
        }
        self.stage = match (all && last, fin) {
            (true, true) => Stage::Written,
            (true, false) => Stage::Ending,
            (false, _) => Stage::Body(sent + wrote as u64),
        };
        // A partial write means the stream or the connection is full: quiche
        // tells when there is room again.
        Ok(all)
    }

    fn write_ending(&mut self, link: &mut Link<'_>, now: Instant) -> Result<bool, Next> {
        let list: Vec<Header> = match &self.answer.ending {
            Ending::Trailers(list) => list
                .iter()
                .map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()))
                .collect(),
            Ending::EchoTrailers => self.trailers.clone(),
            Ending::Clean => Vec::new(),
            Ending::Reset(_) | Ending::Close(_) => {
                self.stage = Stage::Cutting(now + CUT_DELAY);
                return Ok(false);
            }
        };
        let sent = if list.is_empty() {
            link.h3
                .send_body(link.quic, self.stream, b"", true)
                .map(|_| ())
        } else {
            link.h3
                .send_additional_headers(link.quic, self.stream, &list, true, true)
        };
        self.went_out(sent, Stage::Written)
    }

    fn cut(&self, link: &mut Link<'_>) -> Result<bool, Next> {
        match self.answer.ending {
            Ending::Close(code) => Err(Next::Close(code)),
            Ending::Reset(code) => {
                abandon(link.quic, self.stream, code);
                Err(Next::Over)
            }
            Ending::Clean | Ending::Trailers(_) | Ending::EchoTrailers => Err(Next::Over),
        }
    }

    /// Moves on to `next` if what was sent went out.
    fn went_out(&mut self, sent: h3::Result<()>, next: Stage) -> Result<bool, Next> {
        match sent {
            Ok(()) => {
                self.stage = next;
                Ok(true)
            }
            // A header block goes out whole or not at all.
            Err(h3::Error::StreamBlocked | h3::Error::Done) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &h3::Error) -> Next {
        if let h3::Error::TransportError(
            quiche::Error::StreamStopped(code) | quiche::Error::StreamReset(code),
        ) = error
        {
            return Next::Cancelled(*code);
        }
        // Stopped and then reset by the client, it was collected meanwhile.
        if let h3::Error::TransportError(quiche::Error::InvalidStreamState(_))
        | h3::Error::FrameUnexpected = error
        {
            return Next::Cancelled(super::H3_REQUEST_CANCELLED);
        }
        log::debug!("stream {}: {error}", self.stream);
        Next::Close(super::answer::H3_INTERNAL_ERROR)
    }
}

/// Leaves a stream in both directions.
///
/// Errors say that a direction is closed already, which is what we want.
pub(super) fn abandon(quic: &mut quiche::Connection, stream: u64, code: u64) {
    let _ = quic.stream_shutdown(stream, quiche::Shutdown::Write, code);
    let _ = quic.stream_shutdown(stream, quiche::Shutdown::Read, code);
    // quiche collects a stream when it is next touched.
    let _ = quic.stream_capacity(stream);
}
