//! How large requests say they are, how large they are, and how large they may be.

use crate::asking::{LARGE, LENGTH, Row, Verdict, arrived, check, forwarded, refused, row};
use crate::row::{self, data, get, headers, list, request};

#[test]
fn content_lengths_are_one_number() {
    let mut rows = Vec::new();
    for value in [
        "",
        "-1",
        "+1",
        "0x1",
        "1.0",
        "1e3",
        "one",
        "1,2",
        "1, 2",
        "99999999999999999999",
        "18446744073709551616",
        "1 1",
        "\u{b2}",
    ] {
        let head = request("POST", "/", &[("content-length", value)]);
        rows.extend(refused(
            &format!("content-length: {value:?}"),
            "RFC 9110 8.6",
            head,
        ));
    }
    let differ = [("content-length", "2"), ("content-length", "3")];
    rows.extend(refused(
        "two lengths",
        "RFC 9110 8.6",
        request("POST", "/", &differ),
    ));
    for (length, body) in [("0", ""), ("5", "hello"), ("00005", "hello")] {
        let head = request("POST", "/", &[("content-length", length)]);
        let bytes = [headers(&head), data(body.as_bytes())].concat();
        let verdict = arrived(head, body.as_bytes(), None);
        rows.push(row(
            &format!("content-length: {length}"),
            "RFC 9110 8.6",
            bytes,
            verdict,
        ));
    }
    // RFC 9110 section 9.3.8: "A client MUST NOT send content in a TRACE request."
    let trace = |length| request("TRACE", "/", &[("content-length", length)]);
    rows.extend(refused(
        "a TRACE that announces content",
        "RFC 9110 9.3.8",
        trace("4"),
    ));
    rows.push(forwarded("a TRACE of none", "RFC 9110 9.3.8", trace("0")));
    let get_body = get(&[("content-length", "4")]);
    let bytes = [headers(&get_body), data(b"body")].concat();
    rows.push(row(
        "a GET with a body",
        "RFC 9110 9.3.1",
        bytes,
        arrived(get_body, b"body", None),
    ));
    check(&rows);
}

#[test]
fn a_body_is_as_long_as_its_content_length() {
    let late = || Verdict::Late(400, LENGTH);
    let post = |length: &str| headers(&request("POST", "/", &[("content-length", length)]));
    let rule = "RFC 9114 4.1.2";
    let mut rows = vec![
        row("no body at all", rule, post("5"), late()),
        row("short", rule, [post("5"), data(b"four")].concat(), late()),
        row("long", rule, [post("5"), data(b"sixsix")].concat(), late()),
        row(
            "long, in two frames",
            rule,
            [post("5"), data(b"12345"), data(b"6")].concat(),
            late(),
        ),
        row(
            "a body where there is none",
            rule,
            [post("0"), data(b"x")].concat(),
            late(),
        ),
        row(
            "short before trailers",
            rule,
            [post("5"), data(b"four"), headers(&list(&[("x", "y")]))].concat(),
            late(),
        ),
    ];
    let long: Vec<Row> = rows[2..5].iter().cloned().map(Row::open).collect();
    rows.extend(long);
    check(&rows);
}

#[test]
fn more_fields_or_bytes_than_configured_are_a_431_and_the_connection_lives_on() {
    let many = |count: usize| -> Vec<(String, String)> {
        let fields = (0..count).map(|n| (format!("x-{n}"), "v".to_owned()));
        get(&[]).into_iter().chain(fields).collect()
    };
    let large = |bytes: usize| get(&[("x-fill", &"v".repeat(bytes))]);
    let rule = "RFC 6585 5, RFC 9114 4.2.2";
    let verdict = || Verdict::Refused(431, LARGE);
    let mut rows = vec![
        row("150 fields", rule, headers(&many(150)), verdict()),
        row("5000 fields", rule, headers(&many(5000)), verdict()),
        row("33 KiB", rule, headers(&large(33 << 10)), verdict()),
        row("50 KiB", rule, headers(&large(50 << 10)), verdict()),
        row("300 KiB", rule, headers(&large(300 << 10)), verdict()),
    ];
    rows.extend(rows.clone().into_iter().map(Row::open));
    rows.push(forwarded("90 fields", rule, many(86)));
    rows.push(forwarded("31 KiB", rule, large(31 << 10)));
    check(&rows);
}

/// As many as any limit can be raised to: a head must fit the first flight toward its
/// backend, so there is no configuration for more.
#[test]
fn more_than_a_thousand_small_fields_pass_within_raised_limits() {
    let fields = (0..1100).map(|n| (format!("{n:03x}"), String::new()));
    let head: row::List = get(&[]).into_iter().chain(fields).collect();
    let rows = [forwarded("1100 fields", "RFC 9114 4.2.2", head)
        .config("limits: {header_bytes: 40KiB, headers: 1280}\n")];
    check(&rows);
}
