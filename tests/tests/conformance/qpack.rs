//! Field sections by the byte: what cannot be decoded closes the connection, in
//! either direction, and every legal form reads the same.

use spooky_tests::raw::{code, frame, huffman, kind, qpack};

use crate::asking::{self, arrived};
use crate::row::{get, list, section};
use crate::telling::{self, passed};

/// What may stand behind the fields of a head, and is no field line.
fn undecodable() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let zeros = huffman::encode_symbols([usize::from(b'a')].into_iter(), false);
    let eos = huffman::encode_symbols([usize::from(b'a'), huffman::EOS].into_iter(), true);
    let long = [huffman::encode(b"0"), vec![0xff]].concat();
    let value = |coded: &[u8]| [&[0x21, b'x'][..], &qpack::huffman_string(coded)].concat();
    let integer = |bytes: &[u8]| [&[0x21, b'x'][..], bytes].concat();
    vec![
        (
            "a dynamic entry",
            "RFC 9204 2.2.3",
            qpack::indexed_dynamic(0),
        ),
        (
            "a dynamic entry far away",
            "RFC 9204 2.2.3",
            qpack::indexed_dynamic(1 << 40),
        ),
        (
            "an entry past the base",
            "RFC 9204 2.2.3",
            qpack::indexed_past_base(0),
        ),
        (
            "a dynamic name",
            "RFC 9204 2.2.3",
            qpack::named_dynamic(0, b"x"),
        ),
        (
            "a name past the base",
            "RFC 9204 2.2.3",
            qpack::named_past_base(0, b"x"),
        ),
        ("static entry 99", "RFC 9204 3.1", qpack::indexed(99)),
        ("static entry 2^50", "RFC 9204 3.1", qpack::indexed(1 << 50)),
        ("static name 99", "RFC 9204 3.1", qpack::named(99, b"x")),
        ("padding of zeros", "RFC 7541 5.2", value(&zeros)),
        ("EOS", "RFC 7541 5.2", value(&eos)),
        ("a byte of padding", "RFC 7541 5.2", value(&long)),
        ("a code that is cut", "RFC 7541 5.2", value(&[0xfe])),
        (
            "an integer without end",
            "RFC 9204 4.1.1",
            integer(&[&[0x7f][..], &[0x80; 12]].concat()),
        ),
        (
            "an integer above 2^62",
            "RFC 9204 4.1.1",
            integer(&[&[0x7f][..], &[0xff; 9], &[0x7f]].concat()),
        ),
        (
            "a value that is cut",
            "RFC 9204 4.1.2",
            integer(&[10, b'a']),
        ),
        (
            "a value of 2^40 bytes",
            "RFC 9204 4.1.2",
            integer(&qpack::integer(1 << 40, 7, 0)),
        ),
        ("a name that is cut", "RFC 9204 4.1.2", vec![0x27, 10, b'a']),
        ("a name without a value", "RFC 9204 4.5.6", vec![0x21, b'x']),
        ("a length that is cut", "RFC 9204 4.1.1", vec![0x27]),
    ]
}

/// Whole sections that cannot be decoded.
fn sections(fields: &[u8]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let lines = &fields[2..];
    let behind = |prefix: Vec<u8>| [&prefix[..], lines].concat();
    vec![
        ("no byte at all", "RFC 9204 4.5.1", vec![]),
        ("half a prefix", "RFC 9204 4.5.1", vec![0]),
        (
            "a required insert",
            "RFC 9204 4.5.1.1",
            behind(qpack::prefix(1, false, 0)),
        ),
        (
            "many required inserts",
            "RFC 9204 4.5.1.1",
            behind(qpack::prefix(1 << 40, false, 0)),
        ),
        (
            "a base below zero",
            "RFC 9204 4.5.1.2",
            behind(qpack::prefix(0, true, 0)),
        ),
    ]
}

/// The same fields in every form that is legal.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let plain = get(&[("accept", "*/*"), ("x-token", "secret")]);
    let literals = section(&plain);
    let pairs: Vec<_> = plain
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect();
    let mixed = [
        qpack::prefix(0, false, 0),
        qpack::indexed(17),
        qpack::indexed(23),
        qpack::named(0, b"localhost"),
        qpack::indexed(1),
        qpack::indexed(29),
        qpack::never_indexed(b"x-token", b"secret"),
    ];
    let base = [qpack::prefix(0, false, 9), literals[2..].to_vec()].concat();
    vec![
        ("literals", literals),
        ("Huffman code", qpack::huffman_section(&pairs)),
        ("the static table", mixed.concat()),
        ("any base", base),
    ]
}

#[test]
fn a_request_that_cannot_be_decoded_closes_the_connection() {
    let closed = || asking::Verdict::Closed(code::QPACK_DECOMPRESSION_FAILED);
    let fields = section(&get(&[]));
    let mut rows = Vec::new();
    for (name, rule, line) in undecodable() {
        let bytes = frame(kind::HEADERS, &[&fields[..], &line].concat());
        rows.push(asking::row(name, rule, bytes, closed()));
    }
    for (name, rule, bytes) in sections(&fields) {
        rows.push(asking::row(
            name,
            rule,
            frame(kind::HEADERS, &bytes),
            closed(),
        ));
    }
    let open: Vec<_> = rows.iter().cloned().map(asking::Row::open).collect();
    asking::check(&[rows, open].concat());
}

#[test]
fn a_response_that_cannot_be_decoded_closes_the_connection() {
    let closed = || telling::Verdict::Closed(code::QPACK_DECOMPRESSION_FAILED);
    let fields = section(&list(&[(":status", "200")]));
    let mut rows = Vec::new();
    for (name, rule, line) in undecodable() {
        let bytes = frame(kind::HEADERS, &[&fields[..], &line].concat());
        rows.push(telling::row(name, rule, bytes, closed()));
    }
    for (name, rule, bytes) in sections(&fields) {
        rows.push(telling::row(
            name,
            rule,
            frame(kind::HEADERS, &bytes),
            closed(),
        ));
    }
    telling::check(&rows);
}

#[test]
fn trailers_that_cannot_be_decoded_close_the_connection() {
    let head = crate::row::headers(&get(&[]));
    let rows: Vec<_> = undecodable()
        .into_iter()
        .map(|(name, rule, line)| {
            let trailers = [qpack::prefix(0, false, 0), line].concat();
            let bytes = [&head[..], &frame(kind::HEADERS, &trailers)].concat();
            let closed = asking::Verdict::Closed(code::QPACK_DECOMPRESSION_FAILED);
            asking::row(name, rule, bytes, closed)
        })
        .collect();
    asking::check(&rows);
}

#[test]
fn every_legal_form_of_a_head_is_the_same_head() {
    let head = get(&[("accept", "*/*"), ("x-token", "secret")]);
    let rows: Vec<_> = forms()
        .into_iter()
        .map(|(name, bytes)| {
            let verdict = arrived(head.clone(), b"", None);
            asking::row(name, "RFC 9204 4.5", frame(kind::HEADERS, &bytes), verdict)
        })
        .collect();
    asking::check(&rows);
}

#[test]
fn every_legal_form_of_a_response_is_the_same_response() {
    let head = list(&[(":status", "200"), ("x-token", "secret")]);
    let pairs = [("x-token", "secret")];
    let coded = qpack::huffman_section(&pairs)[2..].to_vec();
    let static_status = [qpack::prefix(0, false, 0), qpack::indexed(25), coded].concat();
    let named = [
        qpack::prefix(0, false, 0),
        qpack::named(24, b"200"),
        qpack::never_indexed(b"x-token", b"secret"),
    ];
    let rows: Vec<_> = [("indexed", static_status), ("named", named.concat())]
        .into_iter()
        .map(|(name, bytes)| {
            let verdict = passed(&head, b"", None);
            telling::row(name, "RFC 9204 4.5", frame(kind::HEADERS, &bytes), verdict)
        })
        .collect();
    telling::check(&rows);
}
