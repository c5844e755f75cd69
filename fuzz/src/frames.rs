//! HTTP/3's own bytes: frames however they are cut, and field sections.
//!
//! An input is a byte for what it is and how it ends, two for the pieces in which it
//! comes and is read, and the bytes.

use quiche::h3::NameValue;
use quiche::h3::qpack::Decoder;
use spooky_core::Fields;
use spooky_core::fuzzing::framing::{self, Heard, Undecoded, Ways};

use crate::Dice;
use crate::input::Input;

/// Bounds of a section: small, so that they are met.
const BYTES: u64 = 600;
const FIELDS: usize = 12;

/// Reads the bytes in different ways, and sections with a second reader.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let [kind, piece, room] = input.array();
    let bytes = input.0;
    match kind % 3 {
        0 => check_stream(bytes, kind, piece.into(), room.into()),
        1 => check_control(bytes, kind & 0x40 != 0, piece.into()),
        _ => check_section(bytes),
    }
}

/// The same is heard at once and in pieces.
fn check_stream(bytes: &[u8], kind: u8, piece: usize, room: usize) {
    let whole = Ways {
        to_client: kind & 0x40 != 0,
        ends: kind & 0x80 != 0,
        piece: bytes.len(),
        room: bytes.len(),
    };
    let at_once = framing::request_stream(bytes, whole, BYTES, FIELDS);
    let pieces = Ways {
        piece,
        room,
        ..whole
    };
    let mut in_pieces = framing::request_stream(bytes, pieces, BYTES, FIELDS);
    if at_once.fault.is_some() {
        // How much of a body was read before the fault was met is chance.
        let most = in_pieces.body.len().min(at_once.body.len());
        assert_eq!(in_pieces.body[..most], at_once.body[..most]);
        in_pieces.body.clone_from(&at_once.body);
    }
    assert_eq!(at_once, in_pieces, "{pieces:?}");
    check_heard(&at_once, bytes.len());
}

/// What is heard has come, and within the bounds.
fn check_heard(heard: &Heard, bytes: usize) {
    assert!(heard.body.len() <= bytes);
    assert!(!heard.ended || heard.fault.is_none());
    for fields in &heard.sections {
        assert!(fields.section_bytes() <= BYTES && fields.len() <= FIELDS);
    }
}

fn check_control(bytes: &[u8], to_client: bool, piece: usize) {
    let at_once = framing::control_stream(bytes, to_client, bytes.len());
    let in_pieces = framing::control_stream(bytes, to_client, piece);
    assert_eq!(at_once, in_pieces);
}

fn check_section(block: &[u8]) {
    let wide = framing::decode(block, u64::MAX, usize::MAX);
    let theirs = Decoder::new().decode(block, u64::MAX);
    match (&wide, &theirs) {
        (Ok(fields), Ok(list)) => {
            let list: Fields = list.iter().map(|f| (f.name(), f.value())).collect();
            assert_eq!(fields, &list, "quiche reads the same");
        }
        // quiche takes longer paddings and strings that end in a piece of a code, and
        // any base; we take integers of no more than 32 bits.
        (Err(Undecoded::Broken), _) => {}
        (Ok(_), Err(error)) => panic!("quiche does not read it: {error:?}"),
        (Err(Undecoded::TooLarge), _) => panic!("there was no bound"),
    }
    if let Ok(fields) = wide {
        let size = fields.section_bytes();
        let written = framing::encode(&fields);
        assert!(written.len() as u64 <= size + 2, "as small as it counts");
        let again = framing::decode(&written, size, fields.len());
        assert_eq!(again.as_ref(), Ok(&fields), "read as it was written");
        assert_eq!(framing::decode(block, size, fields.len()), Ok(fields));
        if size > 0 {
            let short = framing::decode(&written, size - 1, usize::MAX);
            assert_eq!(short, Err(Undecoded::TooLarge), "the bound is exact");
        }
    }
    let code = framing::huffman_encode(block);
    assert_eq!(framing::huffman_decode(&code).as_deref(), Some(block));
    if let Some(text) = framing::huffman_decode(block) {
        assert_eq!(
            framing::huffman_encode(&text),
            block,
            "one reading, one writing"
        );
    }
}

pub(crate) fn generate(dice: &mut Dice) -> Vec<u8> {
    let mut out = vec![dice.byte(), dice.byte() % 9, dice.byte() % 40];
    match out[0] % 3 {
        0 => (0..dice.below(8)).for_each(|_| frame(dice, &mut out)),
        1 => {
            out.extend([4, 2, 6, 9]);
            (0..dice.below(6)).for_each(|_| control_frame(dice, &mut out));
        }
        _ => section(dice, &mut out),
    }
    out
}

fn frame(dice: &mut Dice, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    let kind = *dice.pick(&[0, 0, 0, 1, 1, 1, 0x21, 0x21, 5, 4]);
    if kind == 1 {
        section(dice, &mut payload);
    } else {
        payload.resize(dice.below(80), b'b');
    }
    put(kind, &payload, dice, out);
}

fn control_frame(dice: &mut Dice, out: &mut Vec<u8>) {
    let kind = *dice.pick(&[7, 7, 0xd, 0x21, 0x3, 0x0]);
    let payload = vec![dice.byte() & 0x3c; dice.below(3)];
    put(kind, &payload, dice, out);
}

fn put(kind: u8, payload: &[u8], dice: &mut Dice, out: &mut Vec<u8>) {
    out.push(kind);
    let wrong = if dice.once_in(12) { dice.below(3) } else { 0 };
    let length = (payload.len() + wrong) as u16;
    if length < 64 && !dice.once_in(4) {
        out.push(length as u8);
    } else {
        out.extend((0x4000 | length).to_be_bytes());
    }
    out.extend(payload);
}

fn section(dice: &mut Dice, out: &mut Vec<u8>) {
    out.extend([0, 0]);
    for _ in 0..dice.below(8) {
        match dice.below(5) {
            0 => out.push(0xc0 | dice.byte() % 63),
            1 => {
                out.extend([0x50 | dice.byte() % 15, 0x03]);
                out.extend(b"abc");
            }
            2 => {
                out.extend([0x23, b'x', b'-', b'y']);
                let code = framing::huffman_encode(&vec![dice.byte(); dice.below(20)]);
                if code.len() < 127 {
                    out.push(0x80 | code.len() as u8);
                    out.extend(code);
                }
            }
            3 => out.extend([0x27, 0x01, b'n', 0x00]),
            _ => out.push(dice.byte()),
        }
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let message: &[u8] = &[
        1, 3, 0, 0, 0xd9, 0x21, 2, 9, 9, 0, 4, b'b', b'o', b'd', b'y', 1, 3, 0, 0, 0xd9,
    ];
    let early: &[u8] = &[1, 3, 0, 0, 0xd8, 1, 3, 0, 0, 0xd9, 0, 0, 0, 1, b'b'];
    let control: &[u8] = &[4, 2, 6, 9, 7, 1, 8, 0x21, 1, 0, 7, 1, 4];
    let priority: &[u8] = &[4, 0, 0x80, 0xf, 7, 0, 4, 0, b'u', b'=', b'1'];
    let lines: &[u8] = &[
        0, 0, 0xd9, 0x51, 3, b'/', b'a', b'b', 0x23, b'x', b'-', b'y', 0x82, 0x64, 0x02,
    ];
    let seed = |kind: u8, bytes: &[u8]| [&[kind, 1, 2], bytes].concat();
    vec![
        ("message", seed(0x84, message)),
        ("early-head", seed(0xc0, early)),
        ("cut", seed(0x81 + 3, &message[..12])),
        ("control", seed(1 | 0x42, control)),
        ("priority", seed(1, priority)),
        ("section", seed(2, lines)),
    ]
}
