//! Heads and trailers, and the rules of HTTP read a second time.
//!
//! An input is a byte for the kind of section, two for the limit, and fields.
//! Each name and each value is a byte and what it says: a word that is often met
//! here, or the length of what follows.

mod oracle;

use spooky_core::Fields;
use spooky_core::fuzzing::{self, Refused, Taken};

use crate::Dice;
use crate::input::Input;
use oracle::{Section, Verdict};

/// What is accepted keeps the rules, what keeps them is accepted, and what is
/// sent on is accepted again.
pub fn request_heads(data: &[u8]) {
    let mut input = Input(data);
    let section = match input.byte() % 3 {
        0 => Section::Request,
        1 => Section::Response,
        _ => Section::Trailers,
    };
    let limit = u64::from(u16::from_be_bytes(input.array()));
    let mut fields = Fields::default();
    while !input.is_empty() {
        let (name, value) = (piece(&mut input), piece(&mut input));
        fields.push(name, value);
    }
    check(section, &fields, limit);
}

fn check(section: Section, fields: &Fields, limit: u64) {
    let pairs: Vec<(&[u8], &[u8])> = fields.iter().collect();
    let verdict = oracle::judge(section, &pairs, limit);
    let taken = match read(section, fields, limit) {
        Ok(taken) => taken,
        Err(refused) => {
            let agreed = match refused {
                Refused::TooLarge => verdict == Verdict::TooLarge,
                Refused::Malformed(why) => verdict == Verdict::Broken && !why.is_empty(),
                Refused::Connect => verdict == Verdict::Broken && section == Section::Request,
            };
            assert!(agreed, "{refused:?}, but {verdict:?}: {pairs:?}");
            return;
        }
    };
    assert_eq!(verdict, Verdict::Fine, "accepted: {pairs:?}");
    assert_eq!(
        taken.fields, *fields,
        "all fields are sent on, as they came"
    );
    check_meaning(section, &taken, &pairs);
    let again = read(section, &taken.fields, limit).expect("what is sent on is legal");
    assert_eq!(again.fields, taken.fields);
    assert_eq!(again.content_length, taken.content_length);
    // The bound is exact.
    let size = oracle::size(&pairs);
    assert!(read(section, fields, size).is_ok());
    let short = size
        .checked_sub(1)
        .map(|limit| read(section, fields, limit));
    assert!(short.is_none_or(|r| r.err() == Some(Refused::TooLarge)));
}

fn read(section: Section, fields: &Fields, limit: u64) -> Result<Taken, Refused> {
    let fields = fields.clone();
    match section {
        Section::Request => fuzzing::request(fields, limit),
        Section::Response => fuzzing::response(fields, limit),
        Section::Trailers => fuzzing::trailers(fields, limit),
    }
}

/// What was read out of the fields is what stands there.
fn check_meaning(section: Section, taken: &Taken, pairs: &[(&[u8], &[u8])]) {
    let value = |name: &str| {
        let found = pairs.iter().find(|(n, _)| *n == name.as_bytes());
        found.map(|(_, value)| *value)
    };
    let text = |name| value(name).map(|v| String::from_utf8_lossy(v).into_owned());
    let length = text("content-length").map(|v| v.parse().expect("digits"));
    match section {
        Section::Request => {
            let head = taken.request.as_ref().expect("a request has its head");
            assert_eq!(Some(head.method()), value(":method"));
            assert_eq!(Some(head.path()), value(":path"));
            let authority = value(":authority").or(value("host"));
            assert_eq!(Some(head.authority()), authority);
            assert_eq!(taken.content_length, length);
        }
        Section::Response => {
            let status = text(":status").map(|v| v.parse().expect("digits"));
            assert_eq!(taken.status, status);
            let bodiless = matches!(status, Some(204 | 304));
            let expected = if bodiless { Some(0) } else { length };
            assert_eq!(taken.content_length, expected);
        }
        Section::Trailers => {}
    }
}

/// Names and values that are often met; a byte from [`FIRST_WORD`] on stands for one.
const WORDS: [&str; 48] = [
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
];

/// Below, the byte is a length.
const FIRST_WORD: u8 = 0xc0;

fn piece<'a>(input: &mut Input<'a>) -> &'a [u8] {
    match input.byte() {
        len @ 0..FIRST_WORD => input.take(usize::from(len)),
        word => WORDS[usize::from(word - FIRST_WORD) % WORDS.len()].as_bytes(),
    }
}

fn word(text: &str) -> u8 {
    let index = WORDS.iter().position(|word| *word == text);
    FIRST_WORD + index.expect("it is one of the words") as u8
}

/// A section, sound in most respects.
pub(crate) fn generate(dice: &mut Dice) -> Vec<u8> {
    let kind = dice.byte() % 3;
    let limit = if dice.once_in(8) {
        [0, dice.byte()]
    } else {
        [dice.byte() | 2, 0]
    };
    let mut out = vec![kind, limit[0], limit[1]];
    let pseudo: &[&[&str]] = match kind {
        0 => &[
            &[":method", "GET", "GET", "POST", "OPTIONS", "CONNECT"],
            &[":scheme", "https"],
            &[":authority", "a.test", "A.TEST"],
            &[":path", "/", "/a?b=c", "*"],
        ],
        1 => &[&[":status", "200", "204", "304", "103", "599"]],
        _ => &[],
    };
    for choices in pseudo {
        let value = *dice.pick(&choices[1..]);
        out.extend([word(choices[0]), word(value)]);
    }
    for _ in 0..dice.below(6) {
        match dice.below(4) {
            0 => out.extend([word("content-length"), word(dice.pick::<&str>(&["0", "5"]))]),
            1 => out.extend([word("host"), word(dice.pick::<&str>(&["a.test", "A.TEST"]))]),
            2 => out.extend([FIRST_WORD + dice.byte() % 48, FIRST_WORD + dice.byte() % 48]),
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
