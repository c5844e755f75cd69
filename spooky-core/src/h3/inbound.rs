//! What the peer sends on a request's stream: frames, as their bytes come.
//!
//! Field sections are collected up to a bound and decoded; body bytes go straight to
//! whoever reads them; the rest is skipped. No length is trusted before its bytes are
//! there, so what a stream costs is what came on it, and at most the bound. An end
//! within a frame is told from an end between frames, and both from a reset.

use super::error::{self, Fault};
use super::frame::{self, Front, Phase, Role, Treatment};
use super::qpack::{self, Refused};
use super::source::{Reset, Source};
use crate::http::{Bounds, Fields, HeadError};
use crate::limits;

/// What was found on a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A field section: a head, or trailers.
    Section(Fields),
    /// A field section beyond the bounds, and the fields of it that were read. The rest
    /// is skipped.
    TooLarge(HeadError, Fields),
    /// Body bytes. Told once, until a read found none.
    Body,
    /// The end, between frames.
    End,
    /// The peer reset the stream, with its code.
    Reset(u64),
}

/// Bytes of a section that are read at once.
const PIECE: usize = 4096;

#[derive(Debug)]
enum State {
    /// Between frames, or in the front of one.
    Front,
    /// In a HEADERS frame, with so many bytes to come.
    Section { left: usize },
    /// In a HEADERS frame that is too long, which was not told yet.
    TooLarge { left: u64 },
    /// In the payload of a DATA frame.
    Data { left: u64 },
    /// In a frame that nobody wants.
    Skip { left: u64 },
    /// The end was met, and told or not.
    Ended { told: bool },
    /// Reset, which was not told yet.
    Cut { code: u64 },
    /// Nobody listens any more.
    Ignored,
}

/// One request's stream, in the direction toward us.
#[derive(Debug)]
pub(crate) struct Inbound {
    state: State,
    phase: Phase,
    front: Front,
    /// What came of a section that did not come at once.
    section: Vec<u8>,
    /// Frames in a row that carried nothing.
    idle: u16,
    /// No byte follows those that were read.
    last: bool,
    /// Somebody knows that there are body bytes.
    told: bool,
}

/// What all streams of a connection have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) role: Role,
    pub(crate) bounds: Bounds,
}

/// Nothing more at present, or a breach of the rules.
enum Stop {
    Dry,
    Reset(u64),
    Fault(Fault),
}

impl From<Reset> for Stop {
    fn from(Reset(code): Reset) -> Self {
        Stop::Reset(code)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Inbound {
            state: State::Front,
            phase: Phase::Head,
            front: Front::default(),
            section: Vec::new(),
            idle: 0,
            last: false,
            told: false,
        }
    }

    /// Reads on to what is next. `None` if nothing is at present.
    pub(crate) fn next(
        &mut self,
        source: &mut impl Source,
        rules: Rules,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Found>, Fault> {
        match self.advance(source, rules, scratch) {
            Ok(found) => Ok(Some(found)),
            Err(Stop::Dry) => Ok(None),
            Err(Stop::Reset(code)) => {
                self.ignore();
                Ok(Some(Found::Reset(code)))
            }
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Reads body bytes, over as many frames as there are. What else is met on the way
    /// is left for [`Inbound::next`]; less than `buf` holds means that nothing more of
    /// the body is here.
    pub(crate) fn read_body(
        &mut self,
        source: &mut impl Source,
        rules: Rules,
        buf: &mut [u8],
    ) -> Result<usize, Fault> {
        let mut len = 0;
        let stop = loop {
            if len == buf.len() {
                return Ok(len);
            }
            match self.read_some(source, rules, &mut buf[len..]) {
                Ok(read) => len += read,
                Err(stop) => break stop,
            }
        };
        self.told = false;
        match stop {
            Stop::Dry => {}
            Stop::Reset(code) => self.state = State::Cut { code },
            Stop::Fault(fault) => return Err(fault),
        }
        Ok(len)
    }

    /// What was told of is told again if it is still there: for who reads a part.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn untell(&mut self) {
        self.told = false;
    }

    /// There may be something for [`Inbound::next`] that nobody will announce.
    pub(crate) fn has_rest(&self) -> bool {
        match self.state {
            State::Section { .. }
            | State::TooLarge { .. }
            | State::Ended { told: false }
            | State::Cut { .. } => true,
            State::Front | State::Skip { .. } | State::Data { .. } => false,
            State::Ended { told: true } | State::Ignored => false,
        }
    }

    /// The peer ended the stream between frames, and all of it was read but for
    /// nothing: no trailers follow.
    pub(crate) fn is_read(&self) -> bool {
        let between = matches!(self.state, State::Front) && self.front.is_empty();
        matches!(self.state, State::Ended { .. }) || (self.last && between)
    }

    /// A head has begun and is not whole.
    pub(crate) fn awaits_head(&self) -> bool {
        let over = match self.state {
            State::Ended { .. } | State::Cut { .. } | State::Ignored => true,
            State::Front
            | State::Section { .. }
            | State::TooLarge { .. }
            | State::Data { .. }
            | State::Skip { .. } => false,
        };
        self.phase == Phase::Head && !over
    }

    /// Somebody knows of body bytes and did not fetch them: quiche told of them as
    /// well, and does not tell of a reset then.
    pub(crate) fn is_unread(&self) -> bool {
        self.told && !self.last
    }

    /// Looks whether a reset took the bytes away that were told of; [`Inbound::next`]
    /// tells.
    pub(crate) fn meets_reset(&mut self, source: &mut impl Source) -> bool {
        let Err(Reset(code)) = source.read(&mut []) else {
            return false;
        };
        self.state = State::Cut { code };
        // quiche says the code once: nobody asks again before it was told.
        self.told = false;
        true
    }

    /// What comes is nobody's business any more.
    pub(crate) fn ignore(&mut self) {
        self.state = State::Ignored;
        self.section = Vec::new();
        self.told = false;
    }

    fn advance(
        &mut self,
        source: &mut impl Source,
        rules: Rules,
        scratch: &mut Vec<u8>,
    ) -> Result<Found, Stop> {
        loop {
            match self.state {
                State::Front => self.read_front(source, rules)?,
                State::TooLarge { left } => {
                    self.state = State::Skip { left };
                    let error = HeadError::TooLarge(rules.bounds.bytes);
                    return Ok(Found::TooLarge(error, Fields::default()));
                }
                State::Section { left } => {
                    if let Some(found) = self.read_section(left, source, rules, scratch)? {
                        return Ok(found);
                    }
                }
                State::Skip { left } => self.skip(left, source)?,
                State::Data { .. } if self.told || !source.has_more() => return Err(Stop::Dry),
                State::Data { .. } => {
                    self.told = true;
                    return Ok(Found::Body);
                }
                State::Ended { told: false } => {
                    self.state = State::Ended { told: true };
                    return Ok(Found::End);
                }
                State::Cut { code } => return Err(Stop::Reset(code)),
                State::Ended { told: true } | State::Ignored => return Err(Stop::Dry),
            }
        }
    }

    /// Reads body bytes of at most one frame, or on to the next frame.
    fn read_some(
        &mut self,
        source: &mut impl Source,
        rules: Rules,
        buf: &mut [u8],
    ) -> Result<usize, Stop> {
        match self.state {
            State::Front => self.read_front(source, rules).map(|()| 0),
            State::Skip { left } => self.skip(left, source).map(|()| 0),
            State::Data { left } => {
                let want = (buf.len() as u64).min(left) as usize;
                let (read, last) = source.read(&mut buf[..want])?;
                let left = left - read as u64;
                self.after(left, last, |left| State::Data { left })?;
                if read == 0 && left > 0 {
                    return Err(Stop::Dry);
                }
                Ok(read)
            }
            State::Section { .. }
            | State::TooLarge { .. }
            | State::Ended { .. }
            | State::Cut { .. }
            | State::Ignored => Err(Stop::Dry),
        }
    }

    /// Reads the front of the next frame, or finds that there is none.
    fn read_front(&mut self, source: &mut impl Source, rules: Rules) -> Result<(), Stop> {
        loop {
            if self.last {
                if !self.front.is_empty() {
                    return Err(CUT_FRAME.into());
                }
                self.state = State::Ended { told: false };
                return Ok(());
            }
            let (read, last) = source.read(self.front.missing())?;
            self.last |= last;
            if let Some((kind, length)) = self.front.add(read) {
                return Ok(self.begin(kind, length, rules)?);
            }
            if read == 0 && !last {
                return Err(Stop::Dry);
            }
        }
    }

    fn begin(&mut self, kind: u64, length: u64, rules: Rules) -> Result<(), Fault> {
        if self.last && length > 0 {
            return Err(CUT_FRAME);
        }
        let treatment = frame::on_request_stream(kind, self.phase, rules.role)?;
        if length == 0 || treatment == Treatment::Skip {
            self.idle += 1;
            // RFC 9114 section 10.5: "An endpoint that does not monitor use of these
            // features exposes itself to a risk of denial of service".
            if self.idle > limits::IDLE_FRAMES {
                return Err(IDLE);
            }
        } else {
            self.idle = 0;
        }
        self.state = match treatment {
            // No field is encoded to more than its size (32 a field is more than all
            // lengths), unless Huffman's code makes it longer, which nobody needs.
            Treatment::Section if length > rules.bounds.bytes => {
                self.next_phase(None, rules.role);
                State::TooLarge { left: length }
            }
            Treatment::Section => State::Section {
                left: length as usize,
            },
            // Empty frames, of which there may be any number, lead nowhere.
            Treatment::Data | Treatment::Skip if length == 0 => State::Front,
            Treatment::Data => State::Data { left: length },
            Treatment::Skip => State::Skip { left: length },
        };
        Ok(())
    }

    fn read_section(
        &mut self,
        left: usize,
        source: &mut impl Source,
        rules: Rules,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<Found>, Stop> {
        let want = left.min(PIECE);
        scratch.resize(want, 0);
        // An empty one asks for nothing: after the end, there is nobody to ask.
        let (read, last) = match want {
            0 => (0, self.last),
            _ => source.read(&mut scratch[..want])?,
        };
        self.last |= last;
        // Nearly all sections are short and come at once: those need no memory of
        // their own.
        let at_once = self.section.is_empty() && read == left;
        if !at_once {
            self.section.extend_from_slice(&scratch[..read]);
        }
        if read < left {
            self.state = State::Section { left: left - read };
            if last {
                return Err(CUT_FRAME.into());
            }
            if read < want {
                return Err(Stop::Dry);
            }
            return Ok(None);
        }
        let section = std::mem::take(&mut self.section);
        let block = if at_once {
            &scratch[..read]
        } else {
            &section[..]
        };
        self.state = State::Front;
        match qpack::decode(block, rules.bounds) {
            Ok(fields) => {
                self.next_phase(Some(&fields), rules.role);
                Ok(Some(Found::Section(fields)))
            }
            Err(Refused::TooLarge(error, fields)) => {
                self.next_phase(Some(&fields), rules.role);
                Ok(Some(Found::TooLarge(error, fields)))
            }
            Err(Refused::Failed(text)) => {
                Err(Fault::new(error::QPACK_DECOMPRESSION_FAILED, text).into())
            }
        }
    }

    fn skip(&mut self, left: u64, source: &mut impl Source) -> Result<(), Stop> {
        let (read, last) = source.skip(usize::try_from(left).unwrap_or(usize::MAX))?;
        let left = left - read as u64;
        self.after(left, last, |left| State::Skip { left })?;
        if read == 0 && left > 0 {
            return Err(Stop::Dry);
        }
        Ok(())
    }

    /// A part of a payload was read, and so much of it is left.
    fn after(
        &mut self,
        left: u64,
        last: bool,
        more: impl FnOnce(u64) -> State,
    ) -> Result<(), Fault> {
        self.last |= last;
        if left == 0 {
            self.state = State::Front;
            return Ok(());
        }
        if last {
            return Err(CUT_FRAME);
        }
        self.state = more(left);
        Ok(())
    }

    /// A section has come: what may follow it?
    fn next_phase(&mut self, fields: Option<&Fields>, role: Role) {
        self.phase = match self.phase {
            // RFC 9114 section 4.1: "an HTTP response MUST … consist of zero or more
            // interim responses followed by a single final response". Only its status
            // tells them apart. What has none is malformed, and ends there.
            Phase::Head if role == Role::Client && fields.is_some_and(is_informational) => {
                Phase::Head
            }
            Phase::Head => Phase::Body,
            Phase::Body | Phase::Over => Phase::Over,
        };
    }
}

/// RFC 9114 section 7.1: "When a stream terminates cleanly, if the last frame on the
/// stream was truncated, this MUST be treated as a connection error of type
/// H3_FRAME_ERROR."
const CUT_FRAME: Fault = Fault::new(error::FRAME_ERROR, "a stream ended within a frame");

const IDLE: Fault = Fault::new(
    error::EXCESSIVE_LOAD,
    "a stream of frames that carry nothing",
);

fn is_informational(fields: &Fields) -> bool {
    let status = fields.find(b":status");
    status.is_some_and(|status| status.len() == 3 && status[0] == b'1')
}

#[cfg(test)]
mod tests;
