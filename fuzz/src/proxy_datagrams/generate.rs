//! Inputs made of whole operations and well-formed frames, most of the time.

use super::script::{CODES, Switches};
use crate::dice::Dice;

/// A whole input that nobody wrote.
pub fn generate(dice: &mut Dice) -> Vec<u8> {
    let mut switches = dice.byte() & !Switches::NO_BACKEND | Switches::CONNECTED;
    // Without these most operations come to nothing.
    if dice.once_in(8) {
        switches &= !Switches::CONNECTED;
    }
    if dice.once_in(8) {
        switches |= Switches::NO_BACKEND;
    }
    let mut out = vec![switches];
    for _ in 0..dice.below(4) {
        out.extend([12, dice.byte(), 14, dice.byte()]);
    }
    for _ in 0..=dice.below(40) {
        operation(&mut out, dice);
    }
    out
}

fn operation(out: &mut Vec<u8>, dice: &mut Dice) {
    // Requests and relays, on which all else depends, come more often.
    let mut code = if dice.once_in(2) {
        *dice.pick(&[12, 12, 14, 14, 18, 19])
    } else {
        dice.byte() % CODES
    };
    // After a drain or a close there is little to do.
    if (21..=23).contains(&code) && !dice.once_in(6) {
        code = 12;
    }
    out.push(code);
    match code {
        19 | 24 => {}
        0 | 1 => data(out, &datagram(dice)),
        2 => {
            out.push(dice.byte());
            data(out, &datagram(dice));
        }
        3 => {
            out.push(dice.byte());
            data(out, &datagram(dice));
        }
        4 | 5 => {
            out.push(dice.byte() & 3);
            let mut frames = Vec::new();
            for _ in 0..=dice.below(4) {
                frame(&mut frames, dice);
            }
            data(out, &frames);
        }
        6 | 7 => {
            out.push(dice.byte() & 0x37);
            let edits: Vec<u8> = (0..3 * dice.below(4)).map(|_| dice.byte()).collect();
            data(out, &edits);
        }
        8 | 9 => {
            let fin = if dice.once_in(3) { 0x80 } else { 0 };
            out.push(stream(dice) | fin);
            data(out, &message(dice));
        }
        10 | 11 => out.extend([stream(dice), dice.byte() & 7, dice.byte() & 0x1f]),
        _ => out.push(dice.byte()),
    }
}

/// Low numbers, where the streams are.
fn stream(dice: &mut Dice) -> u8 {
    if dice.once_in(4) {
        dice.byte() & 0x3f
    } else {
        4 * (dice.byte() & 3)
    }
}

fn data(out: &mut Vec<u8>, data: &[u8]) {
    let len = u16::try_from(data.len()).expect("what is made here is short");
    out.extend(len.to_be_bytes());
    out.extend(data);
}

/// RFC 9000 section 16.
fn varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((value & 0x3fff_ffff_ffff_ffff | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// A number of the size that edges of windows and ids have.
fn number(dice: &mut Dice) -> u64 {
    let byte = u64::from(dice.byte());
    match dice.below(8) {
        0..4 => byte & 0xf,
        4 => byte,
        5 => byte << 8,
        6 => byte << 16,
        _ => (1 << 62) - 1 - byte,
    }
}

/// One frame of RFC 9000 section 19, whole but seldom sensible.
fn frame(out: &mut Vec<u8>, dice: &mut Dice) {
    let kind = dice.below(0x20) as u8;
    out.push(kind);
    match kind {
        // PADDING, PING, HANDSHAKE_DONE.
        0x00 | 0x01 | 0x1e => {}
        // ACK: one range below the largest.
        0x02 | 0x03 => (0..4).for_each(|i| varint(out, if i == 2 { 0 } else { number(dice) })),
        0x04 => {
            varint(out, u64::from(stream(dice)));
            varint(out, 0x100 + (number(dice) & 0x1f));
            varint(out, number(dice));
        }
        0x05 => {
            varint(out, u64::from(stream(dice)));
            varint(out, 0x100 + (number(dice) & 0x1f));
        }
        0x08..=0x0f => {
            varint(out, u64::from(stream(dice)));
            if kind & 4 != 0 {
                varint(out, number(dice));
            }
            let message = message(dice);
            if kind & 2 != 0 {
                varint(out, message.len() as u64);
            }
            out.extend(message);
        }
        0x06 | 0x11 | 0x15 => {
            varint(out, number(dice));
            varint(out, number(dice) & 0xff);
        }
        // NEW_CONNECTION_ID: 16 bytes of id, 16 of token.
        0x18 => {
            varint(out, number(dice));
            varint(out, number(dice));
            out.push(16);
            out.extend([dice.byte(); 32]);
        }
        // PATH_CHALLENGE, PATH_RESPONSE.
        0x1a | 0x1b => out.extend([dice.byte(); 8]),
        0x1c => (0..3).for_each(|_| varint(out, 0)),
        0x1d => (0..2).for_each(|_| varint(out, 0)),
        _ => varint(out, number(dice)),
    }
}

/// HTTP/3 frames, sometimes cut short.
fn message(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..=dice.below(3) {
        let payload = match dice.below(3) {
            0 | 1 => fields(dice),
            _ => vec![b'b'; dice.below(300)],
        };
        let kind = *dice.pick(&[0, 0, 1, 1, 1, 1, 3, 4, 5, 7, 0x0d, 0x21, 0x06]);
        varint(&mut out, kind);
        let wrong = if dice.once_in(8) { dice.below(5) } else { 0 };
        varint(&mut out, (payload.len() + wrong) as u64);
        out.extend(payload);
    }
    if dice.once_in(6) {
        out.truncate(dice.below(out.len() + 1));
    }
    out
}

/// A field section of RFC 9204: indices of the static table, and literals.
fn fields(dice: &mut Dice) -> Vec<u8> {
    const GET_ROOT: [u8; 5] = [0xd1, 0xd7, 0xc1, 0x50, 0x01];
    const STATUSES: [u8; 6] = [24, 25, 26, 27, 28, 63];
    let mut out = vec![0, 0];
    match dice.below(4) {
        0 | 1 => {
            out.extend(GET_ROOT);
            out.push(b'a');
        }
        2 => out.push(0xc0 | *dice.pick(&STATUSES)),
        _ => {}
    }
    for _ in 0..dice.below(4) {
        if dice.once_in(2) {
            out.push(0xc0 | dice.byte() & 0x3f);
        } else {
            // content-length and others, by the name's index, with a short value.
            let value: Vec<u8> = (0..dice.below(6))
                .map(|_| b'0' + dice.byte() % 10)
                .collect();
            out.push(0x50 | *dice.pick(&[0, 4, 4, 4, 1, 5]));
            out.push(value.len() as u8);
            out.extend(value);
        }
    }
    out
}

/// A datagram of nobody: a header of either form, and noise.
fn datagram(dice: &mut Dice) -> Vec<u8> {
    let len = *dice.pick(&[0, 1, 16, 17, 40, 1199, 1200, 1350]);
    let mut out = vec![*dice.pick(&[0x40, 0x43, 0xc0, 0xc3, 0xd0, 0xe0, 0xf0, 0x80])];
    out.extend([0, 0, 0, *dice.pick(&[0, 1, 1, 1, 9])]);
    out.extend([8, 1, 2, 3, 4, 5, 6, 7, dice.byte() & 3, 4, 9, 9, 9, 9]);
    out.extend([0, 0x44]);
    out.resize_with(len, || dice.byte());
    out
}
