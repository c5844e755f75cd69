//! Heads and trailers, and the rules of HTTP read a second time.
//!
//! An input is a byte for the kind of section and what is forwarded how, two for the
//! limit, and fields.
//! Each name and each value is a byte and what it says: a word that is often met
//! here, or the length of what follows.

mod forward;
mod oracle;
mod seeds;

use std::time::UNIX_EPOCH;

use spooky_core::Fields;
use spooky_core::fuzzing::{self, Refused, Taken};

use crate::input::Input;
use forward::Way;
use oracle::{Section, Verdict};
pub(crate) use seeds::{generate, seeds};

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
