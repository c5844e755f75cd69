//! Inputs to begin with, and inputs that nobody wrote.

use super::forward::{STRANGER, TRUSTED};
use super::{FIRST_WORD, word};
use crate::Dice;

/// A section, sound in most respects.
pub(crate) fn generate(dice: &mut Dice) -> Vec<u8> {
    let first = dice.byte();
    let kind = first % 3;
    let limit = if dice.once_in(8) {
        [0, dice.byte()]
    } else {
        [dice.byte() | 2, 0]
    };
    let mut out = vec![first, limit[0], limit[1]];
    let pseudo: &[&[&str]] = match kind {
        0 => &[
            &[":method", "GET", "POST", "OPTIONS", "TRACE", "CONNECT"],
            &[":scheme", "https"],
            &[":authority", "a.test", "A.TEST", "[::1]:443"],
            &[":path", "/", "/a?b=c", "*"],
        ],
        1 => &[&[":status", "200", "204", "304", "103", "599"]],
        _ => &[],
    };
    for choices in pseudo {
        let value = *dice.pick(&choices[1..]);
        out.extend([word(choices[0]), word(value)]);
    }
    for _ in 0..dice.below(10) {
        match dice.below(8) {
            0 => out.extend([word("content-length"), word(dice.pick::<&str>(&["0", "5"]))]),
            1 => out.extend([word("host"), word(dice.pick::<&str>(&["a.test", "A.TEST"]))]),
            2 => out.extend([FIRST_WORD + dice.byte() % 64, FIRST_WORD + dice.byte() % 64]),
            3..6 => {
                let name = *dice.pick(&TOUCHED);
                out.extend([
                    word(name),
                    word(dice.pick::<&str>(&["1.1 a", "for=_a", "", "5"])),
                ]);
            }
            _ => {
                let (name, value) = (dice.below(5), dice.below(9));
                out.push(name as u8);
                out.extend((0..name).map(|_| b'a' + dice.byte() % 26));
                out.push(value as u8);
                out.extend((0..value).map(|_| dice.byte()));
            }
        }
    }
    if dice.once_in(3) {
        let at = 3 + dice.below(out.len() - 2);
        out.insert(at.min(out.len()), dice.byte());
    }
    out
}

/// Fields that a gateway has a hand in.
const TOUCHED: [&str; 12] = [
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x_forwarded_for",
    "x-real-ip",
    "forwarded",
    "client-cert",
    "max-forwards",
    "date",
    "authorization",
    "proxy-authorization",
];

type Seeds = Vec<(&'static str, Vec<u8>)>;

pub(crate) fn seeds() -> Seeds {
    [requests(), gateways(), others()].concat()
}

const GET: [&str; 8] = [
    ":method",
    "GET",
    ":scheme",
    "https",
    ":authority",
    "a.test",
    ":path",
    "/a?b=c",
];

fn requests() -> Seeds {
    let by_host = [
        ":method",
        "OPTIONS",
        ":scheme",
        "https",
        ":path",
        "*",
        "host",
        "b.test:8443",
    ];
    vec![
        ("get", section(0, &GET)),
        ("by-host", section(0, &by_host)),
        ("both", section(0, &with(&GET, &["host", "A.TEST"]))),
        (
            "post",
            section(0, &with(&GET, &["content-length", "5", "te", "trailers"])),
        ),
        (
            "longest",
            section(0, &with(&GET, &["content-length", "18446744073709551615"])),
        ),
        (
            "too-long",
            section(0, &with(&GET, &["content-length", "18446744073709551616"])),
        ),
        ("upgrade", section(0, &with(&GET, &["upgrade", "x-field"]))),
        (
            "late",
            section(0, &with(&GET, &["x-field", "5", ":protocol", "5"])),
        ),
        (
            "connect",
            section(0, &[":method", "CONNECT", ":authority", "a.test"]),
        ),
    ]
}

/// What a gateway has a hand in.
fn gateways() -> Seeds {
    let touched: Vec<&str> = TOUCHED[..7]
        .iter()
        .flat_map(|name| [*name, "for=_a"])
        .collect();
    vec![
        (
            "address",
            section(
                0,
                &with(&GET[..4], &[":authority", "[::1]:443", ":path", "/"]),
            ),
        ),
        (
            "trace",
            section(
                0,
                &with(
                    &[":method", "TRACE"],
                    &with(&GET[2..], &["max-forwards", "5"]),
                ),
            ),
        ),
        ("spoofed", section(3 * STRANGER, &with(&GET, &touched))),
        ("continued", section(3 * TRUSTED, &with(&GET, &touched))),
        (
            "empty-member",
            section(
                3 * TRUSTED,
                &with(&GET, &["via", "1.1 a", "via", "", "via", "5"]),
            ),
        ),
    ]
}

fn others() -> Seeds {
    vec![
        ("ok", section(1, &[":status", "200", "content-length", "5"])),
        (
            "no-content",
            section(1, &[":status", "204", "content-length", "5"]),
        ),
        ("early", section(1, &[":status", "103", "x-field", ""])),
        ("switching", section(1, &[":status", "101"])),
        ("trailers", section(2, &["x-field", "5"])),
        ("status-in-trailers", section(2, &[":status", "200"])),
        ("nothing", vec![2, 0, 0]),
        ("dated", section(1, &[":status", "200", "date", "5"])),
        (
            "credentials-in-trailers",
            section(2, &["authorization", "5", "x-field", "5"]),
        ),
        (
            "literal",
            [&section(2, &[])[..], b"\x04x-ab\x05a \tb\xff"].concat(),
        ),
    ]
}

fn with(head: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [head, more].concat()
}

fn section(kind: u8, words: &[&str]) -> Vec<u8> {
    let head = [kind, 0x10, 0];
    head.into_iter()
        .chain(words.iter().map(|text| word(text)))
        .collect()
}
