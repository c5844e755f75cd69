//! Heads and trailers, and the rules of HTTP read a second time.
//!
//! An input is a byte for the kind of section and what is forwarded how, two for the
//! limit, and fields.
//! Each name and each value is a byte and what it says: a word that is often met
//! here, or the length of what follows.

mod forward;
mod oracle;

use std::time::UNIX_EPOCH;

use spooky_core::Fields;
use spooky_core::fuzzing::{self, Refused, Taken};

use crate::Dice;
use crate::input::Input;
use forward::{STRANGER, TRUSTED, Way};
use oracle::{Section, Verdict};

/// Fields that a section may have.
const COUNT: usize = 12;

/// What is accepted keeps the rules, what keeps them is accepted, and what is
/// sent on keeps them too, and says what came and who we are.
pub fn request_heads(data: &[u8]) {
    let mut input = Input(data);
    let first = input.byte();
    let section = match first % 3 {
        0 => Section::Request,
        1 => Section::Response,
        _ => Section::Trailers,
    };
    let way = Way::new(first / 3);
    let limit = u64::from(u16::from_be_bytes(input.array()));
    let mut fields = Fields::default();
    while !input.is_empty() {
        let (name, value) = (piece(&mut input), piece(&mut input));
        fields.push(name, value);
    }
    check(section, &way, &fields, limit);
}

fn check(section: Section, way: &Way, fields: &Fields, limit: u64) {
    let pairs: Vec<(&[u8], &[u8])> = fields.iter().collect();
    let verdict = oracle::judge(section, &pairs, limit, COUNT);
    let taken = match read(section, way, fields, limit, COUNT) {
        Ok(taken) => taken,
        Err(refused) => {
            let agreed = match refused {
                Refused::TooLarge => verdict == Verdict::TooLarge,
                Refused::TooMany => verdict == Verdict::TooMany,
                Refused::Malformed(why) => verdict == Verdict::Broken && !why.is_empty(),
                Refused::Connect => verdict == Verdict::Broken && section == Section::Request,
            };
            assert!(agreed, "{refused:?}, but {verdict:?}: {pairs:?}");
            return;
        }
    };
    assert_eq!(verdict, Verdict::Fine, "accepted: {pairs:?}");
    check_meaning(section, &taken, &pairs);
    let sent = match &taken.request {
        Some(head) => {
            assert_eq!(taken.fields, *fields, "a record has all as it came");
            way.request(head)
        }
        None => taken.fields.clone(),
    };
    let sent_pairs: Vec<(&[u8], &[u8])> = sent.iter().collect();
    let verdict = oracle::judge(section, &sent_pairs, u64::MAX, usize::MAX);
    assert_eq!(verdict, Verdict::Fine, "sent on: {sent_pairs:?}");
    way.check(section, &pairs, &sent_pairs);
    // The bounds are exact.
    let (size, count) = (oracle::size(&pairs), pairs.len());
    assert!(read(section, way, fields, size, count).is_ok());
    let short = size
        .checked_sub(1)
        .map(|size| read(section, way, fields, size, count));
    assert!(short.is_none_or(|r| r.err() == Some(Refused::TooLarge)));
    let few = count
        .checked_sub(1)
        .map(|count| read(section, way, fields, size, count));
    assert!(few.is_none_or(|r| r.err() == Some(Refused::TooMany)));
}

fn read(
    section: Section,
    way: &Way,
    fields: &Fields,
    limit: u64,
    count: usize,
) -> Result<Taken, Refused> {
    let fields = fields.clone();
    match section {
        Section::Request => fuzzing::request(fields, limit, count),
        Section::Response => fuzzing::response(fields, limit, count, &way.config, UNIX_EPOCH),
        Section::Trailers => fuzzing::trailers(fields, limit, count, &way.config),
    }
}

/// What was read out of the fields is what stands there.
fn check_meaning(section: Section, taken: &Taken, pairs: &[(&[u8], &[u8])]) {
    let value = |name: &str| {
        let found = pairs.iter().find(|(n, _)| *n == name.as_bytes());
        found.map(|(_, value)| *value)
    };
    let text = |name| value(name).map(|v| String::from_utf8_lossy(v).into_owned());
    let length = || text("content-length").map(|v| v.parse().expect("digits"));
    match section {
        Section::Request => {
            let head = taken.request.as_ref().expect("a request has its head");
            assert_eq!(Some(head.method()), value(":method"));
            assert_eq!(Some(head.path()), value(":path"));
            let authority = value(":authority").or(value("host"));
            assert_eq!(Some(head.authority()), authority);
            assert_eq!(taken.content_length, length());
        }
        Section::Response => {
            let status = text(":status").map(|v| v.parse().expect("digits"));
            assert_eq!(taken.status, status);
            let bodiless = matches!(status, Some(204 | 304));
            let expected = if bodiless { Some(0) } else { length() };
            assert_eq!(taken.content_length, expected);
        }
        Section::Trailers => {}
    }
}

/// Names and values that are often met; a byte from [`FIRST_WORD`] on stands for one.
const WORDS: [&str; 64] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    ":status",
    ":protocol",
    "host",
    "te",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "cookie",
    "x-field",
    "GET",
    "HEAD",
    "POST",
    "OPTIONS",
    "CONNECT",
    "https",
    "http",
    "a.test",
    "A.TEST",
    "b.test:8443",
    "/",
    "/a?b=c",
    "*",
    "200",
    "204",
    "304",
    "100",
    "101",
    "103",
    "599",
    "600",
    "99",
    "trailers",
    "trailers, gzip",
    "0",
    "5",
    "18446744073709551615",
    "18446744073709551616",
    "",
    "/a#b",
    "user@a.test",
    "Host",
    "TRACE",
    "via",
    "1.1 a",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x_forwarded_for",
    "x-real-ip",
    "forwarded",
    "for=_a",
    "client-cert",
    "max-forwards",
    "date",
    "authorization",
    "proxy-authorization",
    "[::1]:443",
];

/// Below, the byte is a length.
const FIRST_WORD: u8 = 0xc0;

fn piece<'a>(input: &mut Input<'a>) -> &'a [u8] {
    match input.byte() {
        len @ 0..FIRST_WORD => input.take(usize::from(len)),
        word => WORDS[usize::from(word - FIRST_WORD)].as_bytes(),
    }
}

fn word(text: &str) -> u8 {
    let index = WORDS.iter().position(|word| *word == text);
    FIRST_WORD + index.expect("it is one of the words") as u8
}

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

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let get = [
        ":method",
        "GET",
        ":scheme",
        "https",
        ":authority",
        "a.test",
        ":path",
        "/a?b=c",
    ];
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
    let touched: Vec<&str> = TOUCHED[..7]
        .iter()
        .flat_map(|name| [*name, "for=_a"])
        .collect();
    let with = |head: &[&'static str], more: &[&'static str]| [head, more].concat();
    vec![
        ("get", section(0, &get)),
        ("by-host", section(0, &by_host)),
        ("both", section(0, &with(&get, &["host", "A.TEST"]))),
        (
            "post",
            section(0, &with(&get, &["content-length", "5", "te", "trailers"])),
        ),
        (
            "longest",
            section(0, &with(&get, &["content-length", "18446744073709551615"])),
        ),
        (
            "too-long",
            section(0, &with(&get, &["content-length", "18446744073709551616"])),
        ),
        ("upgrade", section(0, &with(&get, &["upgrade", "x-field"]))),
        (
            "late",
            section(0, &with(&get, &["x-field", "5", ":protocol", "5"])),
        ),
        (
            "connect",
            section(0, &[":method", "CONNECT", ":authority", "a.test"]),
        ),
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
        (
            "address",
            section(
                0,
                &with(&get[..4], &[":authority", "[::1]:443", ":path", "/"]),
            ),
        ),
        (
            "trace",
            section(
                0,
                &with(
                    &[":method", "TRACE"],
                    &with(&get[2..], &["max-forwards", "5"]),
                ),
            ),
        ),
        ("spoofed", section(3 * STRANGER, &with(&get, &touched))),
        ("continued", section(3 * TRUSTED, &with(&get, &touched))),
        (
            "empty-member",
            section(
                3 * TRUSTED,
                &with(&get, &["via", "1.1 a", "via", "", "via", "5"]),
            ),
        ),
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

fn section(kind: u8, words: &[&str]) -> Vec<u8> {
    let head = [kind, 0x10, 0];
    head.into_iter()
        .chain(words.iter().map(|text| word(text)))
        .collect()
}
