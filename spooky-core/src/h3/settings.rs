//! SETTINGS: what an end can do, said once (RFC 9114 section 7.2.4).

use super::error::{self, Fault};
use super::{frame, varint};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
const QPACK_BLOCKED_STREAMS: u64 = 0x7;
/// RFC 9220 section 5.
const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
/// RFC 9297 section 2.1.1.
const H3_DATAGRAM: u64 = 0x33;
/// RFC 9114 section 7.2.4.1: settings "of the format 0x1f * N + 0x21 … have no
/// meaning" and exercise that unknown ones are ignored.
const GREASE: u64 = 0x1f * 7 + 0x21;

/// What the peer said of itself, as far as it concerns us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The largest field section it takes, if it said so.
    pub(crate) max_field_section_size: Option<u64>,
    /// It takes extended CONNECT.
    pub(crate) enable_connect_protocol: bool,
}

impl Settings {
    /// Reads the payload of a SETTINGS frame.
    pub(crate) fn parse(mut payload: &[u8]) -> Result<Settings, Fault> {
        let wrong = |text| Fault::new(error::SETTINGS_ERROR, text);
        let cut = Fault::new(error::FRAME_ERROR, "a SETTINGS frame is cut");
        let mut settings = Settings::default();
        // At most half as many as the payload has bytes, which is bounded.
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let (id, rest) = varint::split(payload).ok_or(cut)?;
            let (value, rest) = varint::split(rest).ok_or(cut)?;
            payload = rest;
            // RFC 9114 section 7.2.4: "The same setting identifier MUST NOT occur more
            // than once in the SETTINGS frame. A receiver MAY treat the presence of
            // duplicate setting identifiers as a connection error".
            if seen.contains(&id) {
                return Err(wrong("a setting occurs twice"));
            }
            seen.push(id);
            match id {
                MAX_FIELD_SECTION_SIZE => settings.max_field_section_size = Some(value),
                ENABLE_CONNECT_PROTOCOL | H3_DATAGRAM if value > 1 => {
                    return Err(wrong("a setting that is 0 or 1 is neither"));
                }
                ENABLE_CONNECT_PROTOCOL => settings.enable_connect_protocol = value == 1,
                // Section 7.2.4.1: those of HTTP/2 "MUST NOT be sent, and their receipt
                // MUST be treated as a connection error of type H3_SETTINGS_ERROR".
                0x0 | 0x2..=0x5 => return Err(wrong("a setting of HTTP/2")),
                _ => {}
            }
        }
        Ok(settings)
    }
}

/// What the control stream begins with: its type, and a SETTINGS frame of ours.
pub(crate) fn opening(max_field_section_size: u64, enable_connect_protocol: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut put = |id, value| {
        varint::put(&mut payload, id);
        varint::put(&mut payload, value);
    };
    put(MAX_FIELD_SECTION_SIZE, max_field_section_size);
    put(QPACK_MAX_TABLE_CAPACITY, 0);
    put(QPACK_BLOCKED_STREAMS, 0);
    if enable_connect_protocol {
        put(ENABLE_CONNECT_PROTOCOL, 1);
    }
    put(GREASE, 0);
    let mut out = vec![super::uni::CONTROL as u8];
    varint::put(&mut out, frame::SETTINGS);
    varint::put(&mut out, payload.len() as u64);
    out.extend_from_slice(&payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_is_read_back() {
        for connect in [false, true] {
            let bytes = opening(32 << 10, connect);
            assert_eq!(bytes[..3], [0, 4, bytes.len() as u8 - 3]);
            let settings = Settings::parse(&bytes[3..]).unwrap();
            assert_eq!(settings.max_field_section_size, Some(32 << 10));
            assert_eq!(settings.enable_connect_protocol, connect);
        }
        assert_eq!(Settings::parse(b""), Ok(Settings::default()));
    }

    #[test]
    fn wrong_settings_are_refused() {
        let code = |payload: &[u8]| Settings::parse(payload).map_err(|f| f.code);
        let wrong = Err(error::SETTINGS_ERROR);
        for id in [0, 2, 3, 4, 5] {
            assert_eq!(code(&[id, 0]), wrong, "{id}");
        }
        assert_eq!(code(&[6, 1, 0x21, 0, 6, 2]), wrong, "twice");
        assert_eq!(code(&[0x21, 0, 0x21, 0]), wrong, "twice, whatever it is");
        assert_eq!(code(&[8, 2]), wrong);
        assert_eq!(code(&[0x33, 2]), wrong);
        assert_eq!(code(&[6]), Err(error::FRAME_ERROR));
        assert_eq!(code(&[6, 0x40]), Err(error::FRAME_ERROR));
    }
}
