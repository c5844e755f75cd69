//! The small parsers and printers, each with its inverse or with a slower twin.
//!
//! The first byte of an input says which, the rest is its text.

mod line;
mod units;
mod web;

use crate::Dice;

/// Reads the rest of an input by what its first byte names.
pub fn parsers(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match which % KINDS {
        0 => units::check_text(&text),
        1 => units::check_number(rest),
        2 => web::check_url(&text),
        3 => web::check_field(&text),
        4 => web::check_answer(rest),
        5 => web::check_proxy_status(&text),
        6 => line::check_time(rest),
        _ => line::check_line(rest),
    }
}

const KINDS: u8 = 8;

pub(crate) fn generate(dice: &mut Dice) -> Vec<u8> {
    let kind = dice.byte() % KINDS;
    let words: &[&str] = match kind {
        0 => &[
            "0",
            "1",
            "60",
            "1000",
            "1024",
            "18446744073709551616",
            "ms",
            "s",
            "m",
            "h",
            "KiB",
            "MiB",
            "GiB",
            "-",
            " ",
        ],
        2 => &[
            "https://", "http://", "a", "a.test", "[::1]", "1.2.3.4", ":", ":443", ":65536", "/",
            "?b=c", "#d", "@", "%", "[", "]", " ",
        ],
        3 => &[
            "x-a",
            ":",
            ": ",
            "b",
            "Connection",
            " ",
            "\t",
            "\r\n",
            "ü",
            "te",
        ],
        4 => &[
            "/",
            "bytes",
            "reset",
            "cut",
            "headers",
            "status",
            "short",
            "5",
            "18446744073709551615",
            "204",
            "?",
            "echo",
        ],
        _ => &["\"", "\\", "a", " ", "\n", "\0", "ü", "/"],
    };
    let mut out = vec![kind];
    for _ in 0..dice.below(7) {
        if dice.once_in(6) {
            out.push(dice.byte());
        } else {
            out.extend(dice.pick(words).bytes());
        }
    }
    out
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let seeds: [(&str, u8, &[u8]); 24] = [
        ("milliseconds", 0, b"250ms"),
        ("hours", 0, b"24h"),
        ("size", 0, b"64KiB"),
        ("octal", 0, b"010"),
        ("too-large", 0, b"99999999999999999999GiB"),
        ("count", 1, &[0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0]),
        ("url", 2, b"https://example.com:8443/a/b?c=d"),
        ("url-v6", 2, b"https://[::1]"),
        ("url-query", 2, b"https://a?b"),
        ("url-brackets", 2, b"https://[::1O]/"),
        ("url-brackets-within", 2, b"https://&[O]N/"),
        ("url-user", 2, b"https://u:p@a/"),
        ("url-port", 2, b"https://a:99999/"),
        ("field", 3, b"x-a:  b: c "),
        ("field-connection", 3, b"Connection: close"),
        ("answer", 4, b"/bytes/16?x=1"),
        ("answer-most", 4, b"/reset/18446744073709551615"),
        ("answer-half", 4, b"/long/7"),
        ("answer-fields", 4, b"/headers/3000"),
        ("answer-status", 4, b"/status/204"),
        ("quoted", 5, b"a \"b\"\\\n"),
        ("leap-day", 6, &[0, 0, 0, 0, 0x38, 0xbb, 0x42, 0, 0, 7]),
        (
            "line",
            7,
            b"\x01\x02\x03\x04\x05\x06\x07\x08/a\"b\\\xff|a.test|one \"two\"\n",
        ),
        ("line-without-request", 7, b"\0\0\0\0\0\0\0\0 ||"),
    ];
    let seed = |(name, kind, text): (_, u8, &[u8])| (name, [&[kind], text].concat());
    seeds.into_iter().map(seed).collect()
}
