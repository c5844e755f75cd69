//! Field sections behind the body, both ways.

use spooky_core::observe::Reason;
use spooky_tests::raw::Message;

use crate::asking::{self, arrived};
use crate::row::{self, List, data, headers, list, request};
use crate::telling::{self, passed};

/// RFC 9110 section 6.5.1: fields "that are necessary for message framing, routing,
/// authentication, request modifiers, response controls, or determining how to process
/// content" are not for trailers.
const FORBIDDEN: &[(&str, &str)] = &[
    ("content-length", "1"),
    ("host", "other.test"),
    ("authorization", "Basic YTpi"),
    ("proxy-authorization", "Basic YTpi"),
    ("www-authenticate", "Basic"),
    ("cookie", "a=b"),
    ("set-cookie", "a=b"),
    ("content-encoding", "gzip"),
    ("content-type", "text/html"),
    ("content-range", "bytes 0-1/2"),
    ("trailer", "x"),
    ("cache-control", "no-store"),
    ("expect", "100-continue"),
    ("max-forwards", "1"),
    ("range", "bytes=0-1"),
    ("if-match", "*"),
    ("location", "/"),
    ("x-forwarded-for", "192.0.2.1"),
    ("forwarded", "for=192.0.2.1"),
    ("client-cert", ":AAAA:"),
];

/// Trailers that make their message malformed.
const MALFORMED: &[(&str, &str, &str)] = &[
    (":path", "/", "RFC 9114 4.3"),
    (":method", "GET", "RFC 9114 4.3"),
    (":status", "200", "RFC 9114 4.3"),
    (":x", "y", "RFC 9114 4.3"),
    ("connection", "close", "RFC 9114 4.2"),
    ("transfer-encoding", "chunked", "RFC 9114 4.2"),
    ("upgrade", "h2c", "RFC 9114 4.2"),
    ("keep-alive", "1", "RFC 9114 4.2"),
    ("proxy-connection", "close", "RFC 9114 4.2"),
    ("X-Upper", "x", "RFC 9114 4.2"),
    ("a b", "x", "RFC 9110 5.1"),
    ("", "x", "RFC 9110 5.1"),
    ("x", "a\r\nb", "RFC 9114 10.3"),
    ("x", "a\0", "RFC 9114 10.3"),
    ("x", " a", "RFC 9110 5.5"),
];

const KEPT: &[(&str, &str)] = &[
    ("grpc-status", "0"),
    ("x-checksum", "abc"),
    ("x-checksum", ""),
];

fn message(head: &List, body: &[u8], trailers: &List) -> Vec<u8> {
    let body = if body.is_empty() { vec![] } else { data(body) };
    [headers(head), body, headers(trailers)].concat()
}

#[test]
fn trailers_of_a_request_arrive_behind_any_body() {
    let head = request("POST", "/", &[]);
    let sized = request("POST", "/", &[("content-length", "4"), ("te", "trailers")]);
    let mut rows = Vec::new();
    for (name, head, body) in [
        ("a body", &head, &b"body"[..]),
        ("no body", &head, b""),
        ("a body of known length", &sized, b"body"),
    ] {
        let kept = list(KEPT);
        let verdict = arrived(head.clone(), body, Some(kept.clone()));
        rows.push(asking::row(
            name,
            "RFC 9114 4.1",
            message(head, body, &kept),
            verdict,
        ));
    }
    asking::check(&rows);
}

#[test]
fn trailers_of_a_response_arrive_behind_any_body() {
    let head = list(&[(":status", "200")]);
    let sized = list(&[(":status", "200"), ("content-length", "4")]);
    let mut rows = Vec::new();
    for (name, head, body) in [
        ("a body", &head, &b"body"[..]),
        ("no body", &head, b""),
        ("a body of known length", &sized, b"body"),
    ] {
        let kept = list(KEPT);
        let verdict = passed(head, body, Some(kept.clone()));
        rows.push(telling::row(
            name,
            "RFC 9114 4.1",
            message(head, body, &kept),
            verdict,
        ));
    }
    telling::check(&rows);
}

/// Trailers without a FIN are not the end.
#[test]
fn trailers_do_not_end_a_message_by_themselves() {
    let mut rig = row::rig("");
    let bytes = message(&request("POST", "/", &[]), b"body", &list(KEPT));
    rig.client.put(0, &bytes, false);
    rig.settle();
    assert!(!rig.connections[0].1.on(0).fin);
    rig.client.put(0, b"", true);
    rig.settle();
    let came = rig.connections[0].1.on(0);
    let trailers = Message::read(&came.bytes).trailers.expect("they arrive");
    assert!(came.fin);
    assert_eq!(Message::pairs(&trailers), list(KEPT));
}

#[test]
fn fields_that_have_no_place_in_trailers_of_a_request_are_dropped() {
    let head = request("POST", "/", &[]);
    let mut rows = Vec::new();
    for &field in FORBIDDEN {
        let trailers = list(&[("x-before", "1"), field, ("x-after", "2")]);
        let left = list(&[("x-before", "1"), ("x-after", "2")]);
        let bytes = message(&head, b"body", &trailers);
        let verdict = arrived(head.clone(), b"body", Some(left));
        rows.push(asking::row(field.0, "RFC 9110 6.5.1", bytes, verdict));
    }
    asking::check(&rows);
}

#[test]
fn fields_that_have_no_place_in_trailers_of_a_response_are_dropped() {
    let head = list(&[(":status", "200")]);
    let mut rows = Vec::new();
    for &field in FORBIDDEN {
        let trailers = list(&[("x-before", "1"), field, ("x-after", "2")]);
        let left = list(&[("x-before", "1"), ("x-after", "2")]);
        let bytes = message(&head, b"body", &trailers);
        let verdict = passed(&head, b"body", Some(left));
        rows.push(telling::row(field.0, "RFC 9110 6.5.1", bytes, verdict));
    }
    telling::check(&rows);
}

#[test]
fn a_request_with_malformed_trailers_never_ends_clean_at_the_backend() {
    let head = request("POST", "/", &[]);
    let mut rows = Vec::new();
    for &(name, value, rule) in MALFORMED {
        for body in [&b"body"[..], b""] {
            let bytes = message(&head, body, &list(&[("x-before", "1"), (name, value)]));
            let named = format!("{name:?}: {value:?} behind {} bytes", body.len());
            let late = asking::Verdict::Late(400, asking::BAD);
            rows.push(asking::row(&named, rule, bytes, late));
        }
    }
    let open: Vec<_> = rows.iter().cloned().map(asking::Row::open).collect();
    asking::check(&[rows, open].concat());
}

#[test]
fn a_response_with_malformed_trailers_never_ends_clean_at_the_client() {
    let head = list(&[(":status", "200")]);
    let mut rows = Vec::new();
    for &(name, value, rule) in MALFORMED {
        for body in [&b"body"[..], b""] {
            let bytes = message(&head, body, &list(&[("x-before", "1"), (name, value)]));
            let named = format!("{name:?}: {value:?} behind {} bytes", body.len());
            rows.push(telling::row(
                &named,
                rule,
                bytes,
                telling::Verdict::Cut(telling::BAD),
            ));
        }
    }
    telling::check(&rows);
}

#[test]
fn trailers_above_the_limits_never_end_a_message_clean() {
    const LARGE: &[Reason] = &[Reason::RequestHeadTooLarge, Reason::BadRequest];
    const TOLD: &[Reason] = &[Reason::ResponseHeadTooLarge, Reason::BadResponse];
    let fill = "v".repeat(40 << 10);
    let trailers = list(&[("x-fill", &fill)]);
    let bytes = message(&request("POST", "/", &[]), b"body", &trailers);
    let verdict = asking::Verdict::Late(431, LARGE);
    asking::check(&[asking::row("of a request", "RFC 6585 5", bytes, verdict)]);
    let bytes = message(&list(&[(":status", "200")]), b"body", &trailers);
    let verdict = telling::Verdict::Cut(TOLD);
    telling::check(&[telling::row(
        "of a response",
        "RFC 9114 4.2.2",
        bytes,
        verdict,
    )]);
}
