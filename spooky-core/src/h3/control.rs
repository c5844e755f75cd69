//! The peer's control stream (RFC 9114 section 6.2.1).

use super::error::{self, Fault};
use super::frame::{self, Front, Role};
use super::settings::Settings;
use super::source::{Reset, Source};
use super::varint;
use crate::limits;

/// What was found there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Settings(Settings),
    /// The peer leaves; what comes from this id on is not served.
    GoAway(u64),
    /// The priority of a request changed, to this value of the field.
    Priority(u64, Vec<u8>),
}

#[derive(Debug)]
enum State {
    Front,
    /// In a frame that is collected; with so many bytes to come.
    Payload {
        kind: u64,
        left: usize,
    },
    Skip {
        left: u64,
    },
}

/// Reads the control stream.
#[derive(Debug)]
pub(crate) struct Control {
    state: State,
    front: Front,
    payload: Vec<u8>,
    /// SETTINGS have come.
    opened: bool,
    goaway: Option<u64>,
    max_push: u64,
}

impl Control {
    pub(crate) fn new() -> Self {
        Control {
            state: State::Front,
            front: Front::default(),
            payload: Vec::new(),
            opened: false,
            goaway: None,
            max_push: 0,
        }
    }

    /// Reads on to what is next. `None` if nothing is at present.
    pub(crate) fn next(
        &mut self,
        source: &mut impl Source,
        role: Role,
    ) -> Result<Option<Notice>, Fault> {
        loop {
            let (read, last) = match self.read(source, role) {
                Ok(read) => read,
                Err(End::Fault(fault)) => return Err(fault),
                Err(End::Reset) => return Err(CLOSED),
                Err(End::Notice(notice)) => return Ok(Some(notice)),
            };
            // RFC 9114 section 6.2.1: "If either control stream is closed at any point,
            // this MUST be treated as a connection error of type
            // H3_CLOSED_CRITICAL_STREAM."
            if last {
                return Err(CLOSED);
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }

    fn read(&mut self, source: &mut impl Source, role: Role) -> Result<(usize, bool), End> {
        match self.state {
            State::Front => {
                let (read, last) = source.read(self.front.missing())?;
                if let Some((kind, length)) = self.front.add(read) {
                    self.begin(kind, length, role)?;
                    if !last && length == 0 {
                        self.finish(role)?;
                    }
                }
                Ok((read, last))
            }
            State::Payload { kind, left } => {
                let have = self.payload.len();
                self.payload.resize(have + left, 0);
                let got = source.read(&mut self.payload[have..]);
                let read = got.map_or(0, |(read, _)| read);
                self.payload.truncate(have + read);
                let (read, last) = got?;
                self.state = State::Payload {
                    kind,
                    left: left - read,
                };
                if read == left {
                    self.finish(role)?;
                }
                Ok((read, last))
            }
            State::Skip { left } => {
                let (read, last) = source.skip(usize::try_from(left).unwrap_or(usize::MAX))?;
                self.state = match left - read as u64 {
                    0 => State::Front,
                    left => State::Skip { left },
                };
                Ok((read, last))
            }
        }
    }

    /// A frame begins: may it, and is it of interest?
    fn begin(&mut self, kind: u64, length: u64, role: Role) -> Result<(), Fault> {
        let unexpected = |text| Err(Fault::new(error::FRAME_UNEXPECTED, text));
        // RFC 9114 section 6.2.1: "If the first frame of the control stream is any other
        // frame type, this MUST be treated as a connection error of type
        // H3_MISSING_SETTINGS."
        if !self.opened && kind != frame::SETTINGS {
            return Err(Fault::new(
                error::MISSING_SETTINGS,
                "the control stream begins without SETTINGS",
            ));
        }
        let most = match kind {
            // Section 7.2.4: "If an endpoint receives a second SETTINGS frame on the
            // control stream, the endpoint MUST respond with a connection error of type
            // H3_FRAME_UNEXPECTED."
            frame::SETTINGS if self.opened => return unexpected("a second SETTINGS frame"),
            frame::SETTINGS => limits::SETTINGS_BYTES,
            frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
                return unexpected("a frame of a request's stream on the control stream");
            }
            frame::MAX_PUSH_ID if role == Role::Client => {
                return unexpected("a MAX_PUSH_ID frame from a server");
            }
            // RFC 9218 section 7.2: "Clients … receiving PRIORITY_UPDATE … H3_FRAME_UNEXPECTED".
            frame::PRIORITY_UPDATE | frame::PRIORITY_UPDATE_PUSH if role == Role::Client => {
                return unexpected("a PRIORITY_UPDATE frame from a server");
            }
            frame::GOAWAY | frame::CANCEL_PUSH | frame::MAX_PUSH_ID => 8,
            // What is longer is no priority that we could read; it changes nothing.
            frame::PRIORITY_UPDATE if length > limits::PRIORITY_BYTES as u64 => 0,
            frame::PRIORITY_UPDATE => limits::PRIORITY_BYTES,
            frame::PRIORITY_UPDATE_PUSH => return Err(NO_PUSH),
            _ if frame::is_of_http2(kind) => return unexpected("a frame type of HTTP/2"),
            _ => 0,
        };
        self.state = match most {
            0 if length == 0 => State::Front,
            0 => State::Skip { left: length },
            _ if length > most as u64 && kind == frame::SETTINGS => {
                return Err(Fault::new(
                    error::EXCESSIVE_LOAD,
                    "a SETTINGS frame is too long",
                ));
            }
            _ if length > most as u64 => return Err(LAYOUT),
            _ => State::Payload {
                kind,
                left: length as usize,
            },
        };
        Ok(())
    }

    /// A frame is whole, if it was one that is collected.
    fn finish(&mut self, role: Role) -> Result<(), End> {
        let State::Payload { kind, left: 0 } = self.state else {
            return Ok(());
        };
        self.state = State::Front;
        let payload = std::mem::take(&mut self.payload);
        let notice = match kind {
            frame::SETTINGS => {
                self.opened = true;
                Notice::Settings(Settings::parse(&payload)?)
            }
            frame::GOAWAY => Notice::GoAway(self.goaway(only(&payload)?, role)?),
            frame::MAX_PUSH_ID => {
                // Section 7.2.7: "A MAX_PUSH_ID frame cannot reduce the maximum push ID;
                // receipt of a MAX_PUSH_ID frame that contains a smaller value than
                // previously received MUST be treated as … H3_ID_ERROR."
                let most = only(&payload)?;
                if most < self.max_push {
                    return Err(
                        Fault::new(error::ID_ERROR, "a MAX_PUSH_ID smaller than before").into(),
                    );
                }
                self.max_push = most;
                return Ok(());
            }
            // Section 7.2.3: of a push beyond what is allowed, or that was not promised.
            // There is none: we allow none, and promise none.
            frame::CANCEL_PUSH => {
                only(&payload)?;
                return Err(NO_PUSH.into());
            }
            _ => {
                let (stream, value) = varint::split(&payload).ok_or(LAYOUT)?;
                // RFC 9218 section 7.2: the id must be one of a request's stream.
                if !stream.is_multiple_of(4) {
                    return Err(Fault::new(error::ID_ERROR, "the priority of no request").into());
                }
                Notice::Priority(stream, value.to_vec())
            }
        };
        Err(End::Notice(notice))
    }

    fn goaway(&mut self, id: u64, role: Role) -> Result<u64, Fault> {
        let wrong = |text| Err(Fault::new(error::ID_ERROR, text));
        // RFC 9114 section 7.2.6: "A client that receives a GOAWAY frame containing a
        // stream ID of any other type MUST treat this as a connection error of type
        // H3_ID_ERROR."
        if role == Role::Client && !id.is_multiple_of(4) {
            return wrong("a GOAWAY with an id that is no request's");
        }
        // Section 5.2: "Receiving a GOAWAY containing a larger identifier than previously
        // received MUST be treated as a connection error of type H3_ID_ERROR."
        if self.goaway.is_some_and(|before| id > before) {
            return wrong("a GOAWAY with a larger id than before");
        }
        self.goaway = Some(id);
        Ok(id)
    }
}

/// Why reading stopped.
enum End {
    Notice(Notice),
    Fault(Fault),
    Reset,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        End::Fault(fault)
    }
}

impl From<Reset> for End {
    fn from(_: Reset) -> Self {
        End::Reset
    }
}

const CLOSED: Fault = Fault::new(
    error::CLOSED_CRITICAL_STREAM,
    "the control stream was closed",
);
const LAYOUT: Fault = Fault::new(
    error::FRAME_ERROR,
    "a frame of the control stream has a wrong length",
);
const NO_PUSH: Fault = Fault::new(error::ID_ERROR, "a push that does not exist");

/// The integer that is all of a payload (section 7.1: more or less is an H3_FRAME_ERROR).
fn only(payload: &[u8]) -> Result<u64, Fault> {
    match varint::split(payload) {
        Some((value, [])) => Ok(value),
        Some(_) | None => Err(LAYOUT),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Lines;
    use super::*;

    const SETTINGS: [u8; 4] = [4, 2, 6, 9];

    #[test]
    fn settings_come_first_and_once() {
        let settings = Notice::Settings(Settings {
            max_field_section_size: Some(9),
            enable_connect_protocol: false,
        });
        assert_eq!(read(&SETTINGS, Role::Server), (vec![settings], None));
        assert_eq!(
            code(&[7, 1, 0], Role::Client),
            Some(error::MISSING_SETTINGS)
        );
        assert_eq!(
            code(&[0x21, 0], Role::Client),
            Some(error::MISSING_SETTINGS)
        );
        assert_eq!(
            after(&SETTINGS, Role::Server),
            Some(error::FRAME_UNEXPECTED)
        );
        assert_eq!(
            code(&[4, 0x7f, 0xff], Role::Server),
            Some(error::EXCESSIVE_LOAD)
        );
        assert_eq!(
            code(&[4, 0], Role::Server),
            None,
            "nothing to say is said, too"
        );
    }

    #[test]
    fn frames_that_have_no_place_here_are_refused() {
        for role in [Role::Server, Role::Client] {
            for kind in [0, 1, 2, 5, 6, 8, 9] {
                assert_eq!(
                    after(&[kind, 0], role),
                    Some(error::FRAME_UNEXPECTED),
                    "{kind}"
                );
            }
            assert_eq!(after(&[0x21, 3, 1, 2, 3], role), None, "unknown");
            assert_eq!(
                after(&[3, 1, 0], role),
                Some(error::ID_ERROR),
                "CANCEL_PUSH"
            );
        }
        assert_eq!(
            after(&[0xd, 1, 0], Role::Client),
            Some(error::FRAME_UNEXPECTED)
        );
        let priority = [0x80, 0xf, 7, 0, 1, 0];
        assert_eq!(
            after(&priority, Role::Client),
            Some(error::FRAME_UNEXPECTED)
        );
    }

    #[test]
    fn a_goaway_only_goes_down() {
        let (notices, fault) = read(
            &[&SETTINGS[..], &[7, 1, 8, 7, 1, 8, 7, 1, 4]].concat(),
            Role::Client,
        );
        assert_eq!(
            notices[1..],
            [Notice::GoAway(8), Notice::GoAway(8), Notice::GoAway(4)]
        );
        assert_eq!(fault, None);
        assert_eq!(
            after(&[7, 1, 4, 7, 1, 8], Role::Client),
            Some(error::ID_ERROR)
        );
        assert_eq!(
            after(&[7, 1, 5], Role::Client),
            Some(error::ID_ERROR),
            "no request"
        );
        assert_eq!(after(&[7, 1, 5], Role::Server), None, "a push");
        assert_eq!(after(&[7, 2, 4, 4], Role::Client), Some(error::FRAME_ERROR));
        assert_eq!(after(&[7, 0], Role::Client), Some(error::FRAME_ERROR));
        assert_eq!(after(&[7, 9], Role::Client), Some(error::FRAME_ERROR));
        assert_eq!(
            after(&[0xd, 1, 4, 0xd, 1, 3], Role::Server),
            Some(error::ID_ERROR)
        );
        assert_eq!(after(&[0xd, 1, 4, 0xd, 1, 4], Role::Server), None);
    }

    #[test]
    fn priorities_are_told_if_they_are_short() {
        let update = |id: u8, value: &[u8]| {
            let mut out = vec![0x80, 0xf, 7, 0];
            varint::put(&mut out, 1 + value.len() as u64);
            out.push(id);
            [&out[..], value].concat()
        };
        let (notices, fault) = read(&[&SETTINGS[..], &update(4, b"u=1")].concat(), Role::Server);
        assert_eq!(notices[1..], [Notice::Priority(4, b"u=1".to_vec())]);
        assert_eq!(fault, None);
        assert_eq!(
            after(&update(5, b"u=1"), Role::Server),
            Some(error::ID_ERROR)
        );
        let long = [update(4, &[b' '; 1000]), update(8, b"i")].concat();
        let (notices, fault) = read(&[&SETTINGS[..], &long].concat(), Role::Server);
        assert_eq!(notices[1..], [Notice::Priority(8, b"i".to_vec())]);
        assert_eq!(fault, None);
    }

    #[test]
    fn its_end_is_a_fault_wherever_it_comes() {
        for bytes in [&b""[..], &SETTINGS, &SETTINGS[..3]] {
            let mut source = Lines::new(bytes);
            source.ends();
            let fault = drain(&mut Control::new(), &mut source, Role::Server).1;
            assert_eq!(fault.map(|f| f.code), Some(error::CLOSED_CRITICAL_STREAM));
        }
    }

    fn after(bytes: &[u8], role: Role) -> Option<u64> {
        code(&[&SETTINGS, bytes].concat(), role)
    }

    fn code(bytes: &[u8], role: Role) -> Option<u64> {
        read(bytes, role).1.map(|fault| fault.code)
    }

    /// All at once, and byte by byte.
    fn read(bytes: &[u8], role: Role) -> (Vec<Notice>, Option<Fault>) {
        let whole = drain(&mut Control::new(), &mut Lines::new(bytes), role);
        let (mut control, mut source) = (Control::new(), Lines::new(b""));
        let mut pieces = (Vec::new(), None);
        for byte in bytes {
            source.add(&[*byte]);
            let (notices, fault) = drain(&mut control, &mut source, role);
            pieces.0.extend(notices);
            pieces.1 = fault;
            if fault.is_some() {
                break;
            }
        }
        assert_eq!(whole, pieces);
        whole
    }

    fn drain(
        control: &mut Control,
        source: &mut Lines,
        role: Role,
    ) -> (Vec<Notice>, Option<Fault>) {
        let mut notices = Vec::new();
        loop {
            match control.next(source, role) {
                Ok(Some(notice)) => notices.push(notice),
                Ok(None) => return (notices, None),
                Err(fault) => return (notices, Some(fault)),
            }
        }
    }
}
