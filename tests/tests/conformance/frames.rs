//! Frames on request streams: their order, their lengths, and those nobody knows.

use spooky_tests::raw::{code, frame, kind, lying, varint, wide_varint};

use crate::asking::{self, LARGE, arrived};
use crate::row::{data, get, headers, list, request, section};
use crate::telling::{self, passed};

fn trailers() -> Vec<u8> {
    headers(&list(&[("x-checksum", "1")]))
}

/// Frames that may not stand on a request stream at all.
fn strangers() -> Vec<(String, &'static str, Vec<u8>)> {
    let known = [
        ("SETTINGS", "RFC 9114 7.2.4", frame(kind::SETTINGS, &[])),
        ("GOAWAY", "RFC 9114 7.2.6", frame(kind::GOAWAY, &[0])),
        (
            "CANCEL_PUSH",
            "RFC 9114 7.2.3",
            frame(kind::CANCEL_PUSH, &[0]),
        ),
        (
            "MAX_PUSH_ID",
            "RFC 9114 7.2.7",
            frame(kind::MAX_PUSH_ID, &[0]),
        ),
        (
            "PRIORITY_UPDATE",
            "RFC 9218 7.2",
            frame(kind::PRIORITY_UPDATE, b"\0u=1"),
        ),
        (
            "PRIORITY_UPDATE of a push",
            "RFC 9218 7.2",
            frame(kind::PUSH_PRIORITY_UPDATE, b"\0u=1"),
        ),
    ];
    let own = |(name, rule, bytes): (&str, _, _)| (name.to_owned(), rule, bytes);
    let mut frames: Vec<_> = known.into_iter().map(own).collect();
    for reserved in kind::RESERVED {
        let name = format!("type {reserved:#x} of HTTP/2");
        frames.push((name, "RFC 9114 7.2.8", frame(reserved, &[0])));
    }
    frames
}

#[test]
fn frames_of_a_request_come_in_order() {
    let head = headers(&request("POST", "/", &[]));
    let closed = || asking::Verdict::Closed(code::FRAME_UNEXPECTED);
    let rule = "RFC 9114 4.1";
    let case = |name, parts: &[&[u8]]| asking::row(name, rule, parts.concat(), closed());
    let mut rows = vec![
        case("DATA before HEADERS", &[&data(b"x")]),
        case("an empty DATA before HEADERS", &[&data(b"")]),
        case("DATA before HEADERS that follow", &[&data(b"x"), &head]),
        case(
            "DATA after trailers",
            &[&head, &data(b"x"), &trailers(), &data(b"y")],
        ),
        case(
            "an empty DATA after trailers",
            &[&head, &data(b"x"), &trailers(), &data(b"")],
        ),
        case(
            "HEADERS after trailers",
            &[&head, &data(b"x"), &trailers(), &trailers()],
        ),
        case(
            "three HEADERS without DATA",
            &[&head, &trailers(), &trailers()],
        ),
        case(
            "PUSH_PROMISE of a client",
            &[&head, &frame(kind::PUSH_PROMISE, &[0, 0, 0])],
        ),
    ];
    for (name, rule, bytes) in strangers() {
        rows.push(asking::row(&name, rule, bytes.clone(), closed()));
        let behind = [&head[..], &bytes].concat();
        rows.push(asking::row(
            &format!("{name} behind HEADERS"),
            rule,
            behind,
            closed(),
        ));
        let between = [&head[..], &data(b"a"), &bytes, &data(b"b")].concat();
        rows.push(asking::row(
            &format!("{name} between DATA"),
            rule,
            between,
            closed(),
        ));
    }
    let open: Vec<_> = rows.iter().cloned().map(asking::Row::open).collect();
    asking::check(&[rows, open].concat());
}

#[test]
fn frames_of_a_response_come_in_order() {
    let head = headers(&list(&[(":status", "200")]));
    let early = headers(&list(&[(":status", "103")]));
    let closed = || telling::Verdict::Closed(code::FRAME_UNEXPECTED);
    let rule = "RFC 9114 4.1";
    let case = |name, parts: &[&[u8]]| telling::row(name, rule, parts.concat(), closed());
    let mut rows = vec![
        case("DATA before HEADERS", &[&data(b"x")]),
        case("an empty DATA before HEADERS", &[&data(b""), &head]),
        case("DATA behind an informational head", &[&early, &data(b"x")]),
        case(
            "DATA after trailers",
            &[&head, &data(b"x"), &trailers(), &data(b"y")],
        ),
        case(
            "HEADERS after trailers",
            &[&head, &data(b"x"), &trailers(), &trailers()],
        ),
    ];
    for (name, rule, bytes) in strangers() {
        rows.push(telling::row(&name, rule, bytes.clone(), closed()));
        let behind = [&head[..], &bytes].concat();
        rows.push(telling::row(
            &format!("{name} behind HEADERS"),
            rule,
            behind,
            closed(),
        ));
    }
    // RFC 9114 section 7.2.5: larger than any push ID that we allowed, as we allow none.
    let promise = frame(
        kind::PUSH_PROMISE,
        &[&[0][..], &section(&get(&[]))].concat(),
    );
    let pushed = telling::Verdict::Closed(code::ID_ERROR);
    rows.push(telling::row(
        "PUSH_PROMISE",
        "RFC 9114 7.2.5",
        [&promise[..], &head].concat(),
        pushed,
    ));
    telling::check(&rows);
}

/// A FIN that cuts a frame of a message, wherever it cuts.
#[test]
fn a_request_whose_end_cuts_a_frame_closes_the_connection() {
    let head = headers(&request("POST", "/", &[]));
    let sized = headers(&request("POST", "/", &[("content-length", "10")]));
    let closed = || asking::Verdict::Closed(code::FRAME_ERROR);
    let rule = "RFC 9114 7.1";
    let mut rows = Vec::new();
    for cut in [1, 2, 3, 10, head.len() - 1] {
        let name = format!("HEADERS cut after {cut}");
        rows.push(asking::row(&name, rule, head[..cut].to_vec(), closed()));
    }
    for (name, head) in [("", &head), (" of known length", &sized)] {
        for cut in 1..7 {
            let body = &data(b"hello")[..cut];
            let name = format!("DATA{name} cut after {cut}");
            rows.push(asking::row(&name, rule, [head, body].concat(), closed()));
        }
        let two = [&head[..], &data(b"hello"), &data(b"world")[..4]].concat();
        rows.push(asking::row(
            &format!("the second DATA{name} cut"),
            rule,
            two,
            closed(),
        ));
    }
    let whole = [&sized[..], &lying(kind::DATA, 20, b"0123456789")].concat();
    rows.push(asking::row(
        "DATA cut where the content-length ends",
        rule,
        whole,
        closed(),
    ));
    let trailed = [&head[..], &data(b"x"), &trailers()[..5]].concat();
    rows.push(asking::row("trailers cut", rule, trailed, closed()));
    let unknown = lying(kind::GREASE, 100, b"only this");
    rows.push(asking::row(
        "an unknown frame cut",
        rule,
        unknown.clone(),
        closed(),
    ));
    rows.push(asking::row(
        "an unknown frame cut behind HEADERS",
        rule,
        [&head[..], &unknown].concat(),
        closed(),
    ));
    rows.push(asking::row(
        "half a type",
        rule,
        [&head[..], &[0x40]].concat(),
        closed(),
    ));
    asking::check(&rows);
}

/// Bug of others: a short body delivered as a complete 200.
#[test]
fn a_response_whose_end_cuts_a_frame_never_ends_clean() {
    let head = headers(&list(&[(":status", "200")]));
    let sized = headers(&list(&[(":status", "200"), ("content-length", "10")]));
    let closed = || telling::Verdict::Closed(code::FRAME_ERROR);
    let rule = "RFC 9114 7.1";
    let mut rows = Vec::new();
    for cut in [1, 2, 3, head.len() - 1] {
        let name = format!("HEADERS cut after {cut}");
        rows.push(telling::row(&name, rule, head[..cut].to_vec(), closed()));
    }
    for (name, head) in [("", &head), (" of known length", &sized)] {
        for cut in 1..7 {
            let bytes = [&head[..], &data(b"hello")[..cut]].concat();
            rows.push(telling::row(
                &format!("DATA{name} cut after {cut}"),
                rule,
                bytes,
                closed(),
            ));
        }
        let two = [&head[..], &data(b"hello"), &data(b"world")[..4]].concat();
        rows.push(telling::row(
            &format!("the second DATA{name} cut"),
            rule,
            two,
            closed(),
        ));
    }
    let whole = [&sized[..], &lying(kind::DATA, 20, b"0123456789")].concat();
    rows.push(telling::row(
        "DATA cut where the content-length ends",
        rule,
        whole,
        closed(),
    ));
    let trailed = [&head[..], &data(b"x"), &trailers()[..5]].concat();
    rows.push(telling::row("trailers cut", rule, trailed, closed()));
    rows.push(telling::row(
        "an unknown frame cut",
        rule,
        [&head[..], &lying(kind::GREASE, 100, b"x")].concat(),
        closed(),
    ));
    telling::check(&rows);
}

/// A length is a claim: nothing is kept for it, and nothing goes on before its bytes.
#[test]
fn a_length_is_not_believed_before_the_bytes_are_there() {
    let head = headers(&request("POST", "/", &[]));
    let most = (1 << 62) - 1;
    let waits = || asking::Verdict::Waits;
    let rule = "RFC 9114 7.1";
    let mut rows = vec![
        asking::row(
            "HEADERS of which some are there",
            rule,
            head[..20].to_vec(),
            waits(),
        )
        .open(),
        asking::row(
            "HEADERS of which none are there",
            rule,
            varint(kind::HEADERS),
            waits(),
        )
        .open(),
        asking::row(
            "an unknown frame of 2^62 bytes",
            rule,
            lying(kind::GREASE, most, b"abc"),
            waits(),
        )
        .open(),
    ];
    for claimed in [1 << 20, 1 << 40, most] {
        let section = section(&get(&[]));
        let bytes = lying(kind::HEADERS, claimed, &section);
        let verdict = asking::Verdict::Refused(431, LARGE);
        rows.push(asking::row(&format!("HEADERS of {claimed} bytes"), rule, bytes, verdict).open());
        let bytes = [&head[..], &lying(kind::DATA, claimed, b"there")].concat();
        let verdict = arrived(request("POST", "/", &[]), b"there", None);
        rows.push(asking::row(&format!("DATA of {claimed} bytes"), rule, bytes, verdict).open());
    }
    asking::check(&rows);
}

#[test]
fn a_request_stream_without_a_request_is_reset() {
    let reset = || asking::Verdict::Reset(code::REQUEST_INCOMPLETE);
    let rule = "RFC 9114 4.1";
    let grease = frame(kind::GREASE, b"x");
    let rows = [
        asking::row("an end and nothing else", rule, vec![], reset()),
        asking::row("an unknown frame and an end", rule, grease.clone(), reset()),
        asking::row(
            "two unknown frames and an end",
            rule,
            [&grease[..], &frame(kind::GREASE, b"")].concat(),
            reset(),
        ),
    ];
    asking::check(&rows);
}

#[test]
fn a_response_stream_without_a_response_is_a_502() {
    let rule = "RFC 9114 4.1";
    let bad = || telling::Verdict::BadGateway(telling::BAD);
    let early = headers(&list(&[(":status", "103")]));
    let rows = [
        telling::row("an end and nothing else", rule, vec![], bad()),
        telling::row(
            "an unknown frame and an end",
            rule,
            frame(kind::GREASE, b"x"),
            bad(),
        ),
        telling::row("an informational head and an end", rule, early, bad()),
    ];
    telling::check(&rows);
}

/// RFC 9114 section 9: "Implementations MUST ignore unknown or unsupported values in
/// all extensible protocol elements."
#[test]
fn unknown_frames_are_skipped_wherever_they_stand() {
    let rule = "RFC 9114 9, 7.2.8";
    let head = request("POST", "/", &[]);
    let answer = list(&[(":status", "200")]);
    let last = list(&[("x-checksum", "1")]);
    for grease in [
        frame(kind::GREASE, b""),
        frame(kind::GREASE, b"some"),
        frame(kind::GREASE, &[0; 3000]),
        frame((1 << 62) - 1, b"far"),
        frame(0xf, b"near"),
    ] {
        let around = |head: &[u8]| {
            let parts = [
                &grease,
                head,
                &grease,
                &data(b"a"),
                &grease,
                &data(b"b"),
                &grease,
            ];
            [&parts.concat()[..], &headers(&last), &grease].concat()
        };
        let verdict = arrived(head.clone(), b"ab", Some(last.clone()));
        asking::check(&[asking::row(
            "around all",
            rule,
            around(&headers(&head)),
            verdict,
        )]);
        let verdict = passed(&answer, b"ab", Some(last.clone()));
        telling::check(&[telling::row(
            "around all",
            rule,
            around(&headers(&answer)),
            verdict,
        )]);
    }
}

#[test]
fn frames_of_any_size_are_one_body() {
    let rule = "RFC 9114 7.2.1";
    let head = request("POST", "/", &[]);
    let answer = list(&[(":status", "200")]);
    let wide = |kind: u64, payload: &[u8], width: usize| {
        [
            wide_varint(kind, 8),
            wide_varint(payload.len() as u64, width),
            payload.to_vec(),
        ]
        .concat()
    };
    let large: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
    for (name, body, frames) in [
        ("an empty one", vec![], data(b"")),
        ("only empty ones", vec![], data(b"").repeat(50)),
        (
            "one byte each",
            b"abc".to_vec(),
            [data(b"a"), data(b"b"), data(b"c")].concat(),
        ),
        (
            "empty ones between",
            b"ab".to_vec(),
            [data(b""), data(b"a"), data(b""), data(b"b"), data(b"")].concat(),
        ),
        ("a large one", large.clone(), data(&large)),
        (
            "lengths of more bytes than they need",
            b"abc".to_vec(),
            wide(kind::DATA, b"abc", 8),
        ),
        ("many", vec![b'x'; 300], data(b"x").repeat(300)),
    ] {
        let bytes = [&headers(&head)[..], &frames].concat();
        asking::check(&[asking::row(
            name,
            rule,
            bytes,
            arrived(head.clone(), &body, None),
        )]);
        let bytes = [&headers(&answer)[..], &frames].concat();
        telling::check(&[telling::row(
            name,
            rule,
            bytes,
            passed(&answer, &body, None),
        )]);
    }
    let bytes = wide(kind::HEADERS, &section(&head), 4);
    let wide_head = asking::row(
        "a head in wide integers",
        "RFC 9000 16",
        bytes,
        arrived(head, b"", None),
    );
    asking::check(&[wide_head]);
}
