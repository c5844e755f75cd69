//! For the fuzz workspace alone, see [`crate::fuzzing`].

use super::control::Control;
use super::frame::Role;
pub(crate) use super::inbound::{Found, Inbound, Rules};
pub(crate) use super::qpack::{Refused, decode, encode, huffman};
pub(crate) use super::source::Lines;
use crate::http::Bounds;

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

pub(crate) fn control_stream(bytes: &[u8], to_client: bool, piece: usize) -> (usize, Option<u64>) {
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
