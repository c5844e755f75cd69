//! The peer's unidirectional streams (RFC 9114 section 6.2, RFC 9204 section 4.2).

use super::control::{Control, Notice};
use super::error::{self, Fault};
use super::frame::Role;
use super::source::{Reset, Source};
use super::varint;

/// Types of streams.
pub(crate) const CONTROL: u64 = 0x0;
const PUSH: u64 = 0x1;
const ENCODER: u64 = 0x2;
const DECODER: u64 = 0x3;

/// One of them.
#[derive(Debug)]
pub(crate) enum Uni {
    /// Its type, as far as it has come.
    New {
        bytes: [u8; 8],
        len: usize,
    },
    Control(Box<Control>),
    Encoder,
    /// In the middle of an integer, or not.
    Decoder {
        inside: bool,
    },
    /// Of a type that we don't know: read and thrown away, so that its end gives the
    /// peer a stream back.
    Unknown,
    /// Nothing follows.
    Over,
}

/// Which of those that there may be once were opened.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    control: bool,
    encoder: bool,
    decoder: bool,
}

impl Uni {
    pub(crate) fn new() -> Self {
        Uni::New {
            bytes: [0; 8],
            len: 0,
        }
    }

    /// Reads on to what is next. `None` if nothing is at present.
    pub(crate) fn next(
        &mut self,
        source: &mut impl Source,
        role: Role,
        opened: &mut Opened,
    ) -> Result<Option<Notice>, Fault> {
        loop {
            match self {
                Uni::New { bytes, len } => {
                    let whole = if *len == 0 { 1 } else { varint::len(bytes[0]) };
                    match source.read(&mut bytes[*len..whole]) {
                        Ok((0, false)) => return Ok(None),
                        Ok((read, last)) => {
                            *len += read;
                            let kind = varint::split(&bytes[..*len]).map(|(kind, _)| kind);
                            if let Some(kind) = kind {
                                *self = begin(kind, role, opened)?;
                            }
                            if last {
                                self.close()?;
                            }
                        }
                        Err(Reset(_)) => self.close()?,
                    }
                }
                Uni::Control(control) => return control.next(source, role),
                Uni::Encoder | Uni::Decoder { .. } => {
                    let mut buf = [0; 64];
                    match source.read(&mut buf) {
                        Ok((0, false)) => return Ok(None),
                        Ok((read, last)) => {
                            self.instructions(&buf[..read])?;
                            if last {
                                self.close()?;
                            }
                        }
                        Err(Reset(_)) => self.close()?,
                    }
                }
                Uni::Unknown => match source.skip(usize::MAX) {
                    Ok((0, false)) => return Ok(None),
                    Ok((_, false)) => {}
                    Ok((_, true)) | Err(Reset(_)) => self.close()?,
                },
                Uni::Over => return Ok(None),
            }
        }
    }

    /// Nothing more will come: it can be forgotten.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Uni::Over)
    }

    /// RFC 9114 section 6.2: "A receiver MUST tolerate unidirectional streams being
    /// closed or reset prior to the reception of the unidirectional stream header."
    /// Section 6.2.1 and RFC 9204 section 4.2: those that are critical MUST NOT be closed.
    fn close(&mut self) -> Result<(), Fault> {
        match self {
            Uni::New { .. } | Uni::Unknown | Uni::Over => {
                *self = Uni::Over;
                Ok(())
            }
            Uni::Control(_) | Uni::Encoder | Uni::Decoder { .. } => {
                let text = "a control or QPACK stream was closed";
                Err(Fault::new(error::CLOSED_CRITICAL_STREAM, text))
            }
        }
    }

    /// Instructions of QPACK. There is no dynamic table in either direction, so few are
    /// legal, and none means anything.
    fn instructions(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Uni::Decoder { inside } = self else {
            // RFC 9204 section 4.3.1: "The decoder MUST treat a new dynamic table capacity
            // value that exceeds this limit as a connection error of type
            // QPACK_ENCODER_STREAM_ERROR." What is inserted has no room, either.
            if bytes.iter().any(|&byte| byte != SET_CAPACITY_0) {
                let text = "an instruction for the dynamic table, which has no room";
                return Err(Fault::new(error::QPACK_ENCODER_STREAM_ERROR, text));
            }
            return Ok(());
        };
        for &byte in bytes {
            if *inside {
                *inside = byte & 0x80 != 0;
                continue;
            }
            // Section 4.4.2: Stream Cancellation, 01 and a stream. Section 4.4.1 and
            // 4.4.3: an acknowledgment of what we did not send is a
            // QPACK_DECODER_STREAM_ERROR.
            if byte & 0xc0 != 0x40 {
                let text = "an acknowledgment of dynamic table entries that were not sent";
                return Err(Fault::new(error::QPACK_DECODER_STREAM_ERROR, text));
            }
            *inside = byte & 0x3f == 0x3f;
        }
        Ok(())
    }
}

/// Section 4.3.1: 001 and the capacity.
const SET_CAPACITY_0: u8 = 0x20;

fn begin(kind: u64, role: Role, opened: &mut Opened) -> Result<Uni, Fault> {
    let (place, uni) = match (kind, role) {
        (CONTROL, _) => (&mut opened.control, Uni::Control(Box::new(Control::new()))),
        (ENCODER, _) => (&mut opened.encoder, Uni::Encoder),
        (DECODER, _) => (&mut opened.decoder, Uni::Decoder { inside: false }),
        // RFC 9114 section 6.2.2: "Only servers can push; if a server receives a
        // client-initiated push stream, this MUST be treated as a connection error of
        // type H3_STREAM_CREATION_ERROR." And a client that allowed none gets an id that
        // it did not allow (section 4.6).
        (PUSH, Role::Server) => {
            let text = "a push stream from a client";
            return Err(Fault::new(error::STREAM_CREATION_ERROR, text));
        }
        (PUSH, Role::Client) => {
            return Err(Fault::new(error::ID_ERROR, "a push, which was not allowed"));
        }
        _ => return Ok(Uni::Unknown),
    };
    // Section 6.2.1: "receipt of a second stream claiming to be a control stream MUST be
    // treated as a connection error of type H3_STREAM_CREATION_ERROR"; RFC 9204 section
    // 4.2 says the same of its two.
    if std::mem::replace(place, true) {
        let text = "a second control or QPACK stream";
        return Err(Fault::new(error::STREAM_CREATION_ERROR, text));
    }
    Ok(uni)
}

#[cfg(test)]
mod tests {
    use super::super::source::Lines;
    use super::*;

    #[test]
    fn each_kind_may_be_opened_once_and_pushes_never() {
        let mut opened = Opened::default();
        let mut open = |kind, role| {
            let mut source = Lines::new(&[kind]);
            let next = Uni::new().next(&mut source, role, &mut opened);
            next.map_err(|fault| fault.code)
        };
        for kind in [0, 2, 3] {
            assert_eq!(open(kind, Role::Server), Ok(None));
            assert_eq!(open(kind, Role::Server), Err(error::STREAM_CREATION_ERROR));
        }
        assert_eq!(open(0x21, Role::Server), Ok(None));
        assert_eq!(
            open(0x21, Role::Server),
            Ok(None),
            "unknown ones as they like"
        );
        assert_eq!(open(1, Role::Server), Err(error::STREAM_CREATION_ERROR));
        assert_eq!(open(1, Role::Client), Err(error::ID_ERROR));
    }

    #[test]
    fn instructions_that_need_a_dynamic_table_are_refused() {
        assert_eq!(play(&[2, 0x20, 0x20]), None);
        for byte in [0x21, 0x3f, 0x80, 0xc0, 0x40, 0x00] {
            assert_eq!(play(&[2, byte]), Some(error::QPACK_ENCODER_STREAM_ERROR));
        }
        assert_eq!(
            play(&[3, 0x44, 0x7f, 0x80, 0xff, 0x00, 0x40]),
            None,
            "cancellations"
        );
        for byte in [0x80, 0x84, 0x00, 0x01, 0x3f] {
            assert_eq!(play(&[3, byte]), Some(error::QPACK_DECODER_STREAM_ERROR));
        }
    }

    #[test]
    fn only_critical_streams_may_not_end() {
        for (bytes, fault) in [
            (&b""[..], None),
            (&[0x40], None),
            (&[0x21, 1, 2, 3], None),
            (&[0], Some(error::CLOSED_CRITICAL_STREAM)),
            (&[2], Some(error::CLOSED_CRITICAL_STREAM)),
            (&[3, 0x40], Some(error::CLOSED_CRITICAL_STREAM)),
        ] {
            for reset in [false, true] {
                let mut source = Lines::new(bytes);
                let (mut uni, mut opened) = (Uni::new(), Opened::default());
                let first = uni.next(&mut source, Role::Server, &mut opened);
                assert_eq!(first, Ok(None));
                if reset {
                    source.resets(7)
                } else {
                    source.ends()
                }
                let next = uni.next(&mut source, Role::Server, &mut opened);
                assert_eq!(next.err().map(|f| f.code), fault, "{bytes:?}");
                assert!(
                    fault.is_some() || uni.is_over(),
                    "{bytes:?} {reset} {uni:?}"
                );
            }
        }
    }

    fn play(bytes: &[u8]) -> Option<u64> {
        let (mut uni, mut opened) = (Uni::new(), Opened::default());
        let next = uni.next(&mut Lines::new(bytes), Role::Server, &mut opened);
        next.err().map(|fault| fault.code)
    }
}
