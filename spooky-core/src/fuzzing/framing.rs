//! HTTP/3's own bytes: field sections and the frames around them.

use crate::h3::fuzzing::{self as h3, Found, Inbound, Lines, Refused};
use crate::http::Fields;

/// What a request's stream said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Heads and trailers.
    pub sections: Vec<Fields>,
    /// Sections beyond the bounds.
    pub too_large: usize,
    /// All of the body.
    pub body: Vec<u8>,
    /// The stream ended between frames.
    pub ended: bool,
    /// The code with which the connection is closed.
    pub fault: Option<u64>,
}

/// How the bytes of a stream come and are read.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// On a client's stream at the server, or on a server's at the client.
    pub to_client: bool,
    /// Bytes that come at once.
    pub piece: usize,
    /// Bytes of the body that are read at once.
    pub room: usize,
    /// The stream ends after the bytes.
    pub ends: bool,
}

/// Reads a request's stream. Sections have the given bounds.
pub fn request_stream(bytes: &[u8], ways: Ways, most_bytes: u64, most_fields: usize) -> Heard {
    let rules = h3::rules(ways.to_client, most_bytes, most_fields);
    let (mut inbound, mut source) = (Inbound::new(), Lines::new(b""));
    let (mut heard, mut scratch) = (Heard::default(), Vec::new());
    let mut buf = vec![0; ways.room.max(1)];
    let mut pieces = bytes.chunks(ways.piece.max(1));
    loop {
        let piece = pieces.next();
        source.add(piece.unwrap_or_default());
        if ways.ends && pieces.len() == 0 {
            source.ends();
        }
        loop {
            let found = match inbound.next(&mut source, rules, &mut scratch) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(fault) => {
                    heard.fault = Some(fault.code);
                    return heard;
                }
            };
            match found {
                Found::Section(fields) => heard.sections.push(fields),
                Found::TooLarge(..) => heard.too_large += 1,
                Found::Body => match inbound.read_body(&mut source, rules, &mut buf) {
                    Ok(read) => {
                        heard.body.extend_from_slice(&buf[..read]);
                        inbound.untell();
                    }
                    Err(fault) => {
                        heard.fault = Some(fault.code);
                        return heard;
                    }
                },
                Found::End => heard.ended = true,
                Found::Reset(_) => unreachable!("nobody resets it"),
            }
        }
        if pieces.len() == 0 {
            return heard;
        }
    }
}

/// Reads a control stream: how many notices, and the code of the fault at its end.
pub fn control_stream(bytes: &[u8], to_client: bool, piece: usize) -> (usize, Option<u64>) {
    h3::control_stream(bytes, to_client, piece)
}

/// Why a field section was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// It crosses a bound.
    TooLarge,
    /// It breaks a rule.
    Broken,
}

/// Reads a field section.
///
/// # Errors
/// Why it is not read.
pub fn decode(block: &[u8], most_bytes: u64, most_fields: usize) -> Result<Fields, Undecoded> {
    let bounds = h3::rules(false, most_bytes, most_fields).bounds;
    h3::decode(block, bounds).map_err(|refused| match refused {
        Refused::TooLarge(..) => Undecoded::TooLarge,
        Refused::Failed(_) => Undecoded::Broken,
    })
}

/// Writes a field section.
pub fn encode(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    h3::encode(fields, &mut out);
    out
}

/// A string in Huffman's code.
pub fn huffman_encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    h3::huffman::encode(bytes, &mut out);
    out
}

/// What Huffman's code means.
pub fn huffman_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    h3::huffman::decode(bytes, &mut out).ok()?;
    Some(out)
}
