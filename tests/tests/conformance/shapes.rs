//! Every shape that an exchange can have, and the classes of bugs that bit others.

use spooky_core::limits;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::raw::{Message, code, frame, kind};
use spooky_tests::rig::Rig;

use crate::row::{self, List, data, get, headers, list, request};
use crate::telling::{LENGTH, Verdict, check, passed, passed_all, refused, row};

fn status(code: &str, extra: &[(&str, &str)]) -> List {
    list(&[&[(":status", code)][..], extra].concat())
}

/// A rig with a whole request at its backend, both on stream 0.
fn asking(head: &[(String, String)], fin: bool) -> Rig {
    let mut rig = row::rig("");
    rig.client.put(0, &headers(head), fin);
    rig.settle();
    assert_eq!(rig.connections.len(), 1, "it arrived: {:?}", rig.records);
    rig
}

fn answer(rig: &mut Rig, bytes: &[u8], fin: bool) {
    row::pour(rig, row::backend, 0, bytes, fin);
}

#[test]
fn responses_without_bodies_keep_the_length_they_would_have() {
    let sized = status("200", &[("content-length", "1234567"), ("etag", "\"x\"")]);
    let unchanged = status("304", &[("content-length", "500"), ("etag", "\"x\"")]);
    let empty = status("204", &[("x", "y")]);
    let nothing = status("200", &[("content-length", "0")]);
    let zero = status("205", &[]);
    let whole = |head: &List| passed(head, b"", None);
    check(&[
        row(
            "HEAD",
            "RFC 9110 9.3.2, 8.6",
            headers(&sized),
            whole(&sized),
        )
        .to("HEAD"),
        row(
            "HEAD and an empty frame",
            "RFC 9110 9.3.2",
            [headers(&sized), data(b"")].concat(),
            whole(&sized),
        )
        .to("HEAD"),
        row(
            "304",
            "RFC 9110 15.4.5, 8.6",
            headers(&unchanged),
            whole(&unchanged),
        ),
        row("204", "RFC 9110 15.3.5", headers(&empty), whole(&empty)),
        row(
            "no length at all",
            "RFC 9114 4.1",
            headers(&zero),
            whole(&zero),
        ),
        row(
            "a length of 0",
            "RFC 9110 8.6",
            headers(&nothing),
            whole(&nothing),
        ),
    ]);
}

#[test]
fn responses_that_cannot_have_a_body_never_bring_one() {
    let rule = "RFC 9110 6.4.1";
    let case = |name: &str, head: List| {
        let bytes = [headers(&head), data(b"body")].concat();
        row(name, rule, bytes, Verdict::Cut(LENGTH))
    };
    check(&[
        case("HEAD", status("200", &[("content-length", "4")])).to("HEAD"),
        case("HEAD without a length", status("200", &[])).to("HEAD"),
        case("204", status("204", &[])),
        case("304", status("304", &[("content-length", "4")])),
    ]);
}

#[test]
fn bodies_of_unknown_length_and_none_pass() {
    let head = status("200", &[]);
    let rule = "RFC 9114 4.1";
    let large: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    check(&[
        row(
            "unknown",
            rule,
            [headers(&head), data(b"body")].concat(),
            passed(&head, b"body", None),
        ),
        row(
            "unknown and large",
            rule,
            [headers(&head), data(&large)].concat(),
            passed(&head, &large, None),
        ),
        row(
            "zero",
            rule,
            [headers(&head), data(b"")].concat(),
            passed(&head, b"", None),
        ),
        row(
            "not ended",
            rule,
            [headers(&head), data(b"so far")].concat(),
            passed(&head, b"so far", None),
        )
        .open(),
    ]);
}

#[test]
fn ranges_pass_untouched() {
    let part = status(
        "206",
        &[
            ("content-range", "bytes 0-3/100"),
            ("content-length", "4"),
            ("accept-ranges", "bytes"),
        ],
    );
    let parts = status(
        "206",
        &[("content-type", "multipart/byteranges; boundary=x")],
    );
    let none = status("416", &[("content-range", "bytes */100")]);
    let rule = "RFC 9110 14.4, 15.3.7";
    let whole = |head: &List, body: &[u8]| {
        row(
            &head[0].1.clone(),
            rule,
            [headers(head), data(body)].concat(),
            passed(head, body, None),
        )
    };
    check(&[
        whole(&part, b"body"),
        whole(&parts, b"--x"),
        whole(&none, b"no"),
    ]);
}

#[test]
fn informational_heads_pass_before_the_response() {
    let hints = status(
        "103",
        &[
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.js>; rel=preload"),
        ],
    );
    let go_on = status("100", &[]);
    let working = status("102", &[]);
    let head = status("200", &[]);
    let all = [&hints, &go_on, &working, &hints, &head].map(Clone::clone);
    let bytes = [
        all.iter().flat_map(|head| headers(head)).collect(),
        data(b"body"),
    ]
    .concat();
    let most = usize::try_from(limits::INFORMATIONAL).expect("a small number");
    let at_most: Vec<List> = std::iter::repeat_n(hints.clone(), most)
        .chain([head.clone()])
        .collect();
    let rule = "RFC 9110 15.2, RFC 8297 2";
    check(&[
        row("several", rule, bytes, passed_all(&all, b"body", None)),
        row(
            "as many as there may be",
            rule,
            at_most.iter().flat_map(|h| headers(h)).collect(),
            passed_all(&at_most, b"", None),
        ),
        row(
            "one more",
            "a bound of ours",
            std::iter::repeat_n(headers(&hints), most + 1)
                .collect::<Vec<_>>()
                .concat(),
            Verdict::BadGateway(crate::telling::BAD),
        )
        .open(),
    ]);
}

/// RFC 8297: hints help only if they come before the response does.
#[test]
fn an_informational_head_passes_at_once() {
    let mut rig = asking(&get(&[]), true);
    answer(
        &mut rig,
        &headers(&status("103", &[("link", "</a>")])),
        false,
    );
    let came = rig.client.on(0);
    assert_eq!(Message::read(&came.bytes).statuses(), ["103"]);
    assert!(!came.fin && rig.records.is_empty());
}

/// RFC 9110 section 10.1.1: a proxy forwards the expectation, and the 100 that answers it.
#[test]
fn a_client_that_waits_for_100_gets_it_and_then_sends() {
    let post = request(
        "POST",
        "/",
        &[("expect", "100-continue"), ("content-length", "4")],
    );
    let mut rig = asking(&post, false);
    let head = Message::pairs(&Message::read(&rig.connections[0].1.on(0).bytes).heads[0]);
    assert!(head.contains(&("expect".into(), "100-continue".into())));
    answer(&mut rig, &headers(&status("100", &[])), false);
    assert_eq!(Message::read(&rig.client.on(0).bytes).statuses(), ["100"]);
    rig.client.put(0, &data(b"body"), true);
    rig.settle();
    let came = rig.connections[0].1.on(0);
    assert!(came.fin && Message::read(&came.bytes).body == b"body");
    answer(&mut rig, &headers(&status("200", &[])), true);
    let came = rig.client.on(0);
    assert_eq!(Message::read(&came.bytes).statuses(), ["100", "200"]);
    assert!(came.fin);
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

/// RFC 9114 section 4.1: a server that needs no more of the request sends its whole
/// response, and stops the rest with H3_NO_ERROR.
#[test]
fn a_response_before_the_end_of_the_request_is_whole_and_the_rest_is_stopped() {
    let mut rig = asking(&request("POST", "/", &[]), false);
    rig.client.put(0, &data(&[b'x'; 5000]), false);
    rig.settle();
    let response = [headers(&status("413", &[])), data(b"too much")].concat();
    let backend = &mut rig.connections[0].1;
    backend.put(0, &response, true);
    let stopped = backend
        .quic
        .stream_shutdown(0, quiche::Shutdown::Read, code::NO_ERROR);
    assert_eq!(stopped, Ok(()));
    rig.settle();
    let came = rig.client.on(0);
    let message = Message::read(&came.bytes);
    assert_eq!(
        (message.statuses(), &message.body[..]),
        (vec!["413".to_owned()], &b"too much"[..])
    );
    assert!(came.fin && came.reset.is_none());
    assert_eq!(rig.client.stop_code(0), Some(code::NO_ERROR));
    crate::asking::lives_on(&mut rig).expect("the connection lives on");
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

/// The same where the backend only answers, and goes on reading.
#[test]
fn a_response_before_the_end_of_the_request_lets_both_end() {
    let mut rig = asking(&request("POST", "/", &[]), false);
    answer(
        &mut rig,
        &[headers(&status("200", &[])), data(b"early")].concat(),
        true,
    );
    let came = rig.client.on(0);
    assert!(came.fin && Message::read(&came.bytes).body == b"early");
    assert_eq!(rig.client.on(0).reset, None);
    rig.client.put(0, &data(b"late"), true);
    rig.settle();
    crate::asking::lives_on(&mut rig).expect("the connection lives on");
}

/// Bug of others: what follows a reset in the same packet.
#[test]
fn data_in_the_same_packet_after_a_reset_does_no_harm() {
    let mut rig = asking(&request("POST", "/", &[]), false);
    rig.client.put(0, &data(b"before"), false);
    rig.client
        .quic
        .stream_shutdown(0, quiche::Shutdown::Write, code::REQUEST_CANCELLED)
        .expect("it is open");
    // The next request travels with the reset.
    rig.client.put(4, &headers(&get(&[])), true);
    rig.settle();
    let backend = &rig.connections[0].1;
    assert_eq!(backend.on(0).reset, Some(code::REQUEST_CANCELLED));
    assert!(!backend.on(0).fin);
    assert!(backend.on(4).fin, "the other request is whole");
    assert_eq!(rig.records[0].outcome, Outcome::Cancelled);
    rig.connections[0]
        .1
        .put(4, &headers(&status("204", &[])), true);
    rig.settle();
    assert_eq!(Message::read(&rig.client.on(4).bytes).statuses(), ["204"]);
}

/// The same of a backend: the reset, and the next answer.
#[test]
fn an_answer_in_the_same_packet_as_a_reset_is_delivered() {
    let mut rig = asking(&get(&[]), true);
    rig.client.put(4, &headers(&get(&[])), true);
    rig.settle();
    let backend = &mut rig.connections[0].1;
    backend.put(
        0,
        &[headers(&status("200", &[])), data(b"half")].concat(),
        false,
    );
    backend
        .quic
        .stream_shutdown(0, quiche::Shutdown::Write, code::INTERNAL_ERROR)
        .expect("it is open");
    backend.put(
        4,
        &[headers(&status("200", &[])), data(b"whole")].concat(),
        true,
    );
    rig.settle();
    let first = rig.client.on(0);
    let statuses = Message::read(&first.bytes).statuses();
    assert!(first.reset.is_some() || statuses == ["502"], "{first:?}");
    let second = rig.client.on(4);
    assert!(second.fin && Message::read(&second.bytes).body == b"whole");
}

/// Bug of others: an answer for somebody who left.
#[test]
fn an_answer_that_comes_when_the_client_is_gone_does_no_harm() {
    let mut rig = asking(&get(&[]), true);
    let quic = &mut rig.client.quic;
    quic.stream_shutdown(0, quiche::Shutdown::Read, code::REQUEST_CANCELLED)
        .expect("it is open");
    // The answer is on its way before the news arrives.
    rig.connections[0].1.put(
        0,
        &[headers(&status("200", &[])), data(b"for nobody")].concat(),
        true,
    );
    rig.settle();
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.records[0].outcome, Outcome::Cancelled);
    crate::asking::lives_on(&mut rig).expect("the connection lives on");
    assert_eq!(rig.records.len(), 2);
}

/// Bug of others (HAProxy, CVE-2026-33555): a FIN by itself.
#[test]
fn a_lone_fin_is_the_end_of_its_own_message_and_of_no_other() {
    let mut rig = asking(
        &request("POST", "/first", &[("content-length", "4")]),
        false,
    );
    rig.client.put(0, &data(b"body"), false);
    rig.client.put(4, &headers(&get(&[])), false);
    rig.settle();
    assert!(!rig.connections[0].1.on(0).fin && !rig.connections[0].1.on(4).fin);
    rig.client.put(0, b"", true);
    rig.settle();
    assert!(rig.connections[0].1.on(0).fin && !rig.connections[0].1.on(4).fin);
    rig.client.put(4, b"", true);
    rig.settle();
    assert!(rig.connections[0].1.on(4).fin);
}

/// Bug of others: a status that is none, relayed.
#[test]
fn odd_statuses_of_a_backend_are_not_relayed() {
    let mut rows = Vec::new();
    for odd in ["20", "99999", "101"] {
        rows.extend(refused(odd, "RFC 9110 15, RFC 9114 4.5", status(odd, &[])));
    }
    rows.extend(refused(
        "a name with a space",
        "RFC 9114 4.2",
        status("200", &[("a b", "x")]),
    ));
    check(&rows);
}

/// Bug of others: state kept for each stream that was closed, and queues that grow. The
/// proxy stays usable, and its answers come in time, after more of them than any limit.
#[test]
fn thousands_of_refused_streams_leave_the_connection_as_it_was() {
    let mut rig = row::rig("");
    let bad = headers(&get(&[("Upper", "x")]));
    for n in 0..2000 {
        rig.client.put(4 * n, &bad, true);
        rig.settle();
    }
    assert_eq!(rig.records.len(), 2000);
    let all = rig
        .records
        .iter()
        .all(|record| record.reason == Some(Reason::BadRequest));
    assert!(all && rig.connections.is_empty());
    rig.client.put(8000, &headers(&get(&[])), true);
    rig.settle();
    assert!(rig.connections[0].1.on(0).fin);
}

/// Frames that say nothing cost a look each: some hold nobody up, and who sends them
/// without end may be sent away (RFC 9114 section 10.5), with nothing half done.
#[test]
fn empty_frames_hold_nobody_up_and_may_end_the_connection() {
    let nothing = |count: usize| [data(b""), frame(kind::GREASE, b"")].concat().repeat(count);
    let mut rig = asking(&request("POST", "/", &[]), false);
    row::pour(&mut rig, row::client, 0, &nothing(300), false);
    rig.client.put(4, &headers(&get(&[])), true);
    rig.settle();
    assert!(rig.connections[0].1.on(4).fin, "another request passes");
    let came = Message::read(&rig.connections[0].1.on(0).bytes);
    assert!(came.body.is_empty() && came.heads.len() == 1);
    row::pour(&mut rig, row::client, 0, &nothing(10_000), false);
    row::pour(&mut rig, row::client, 0, &data(b"at last"), true);
    let came = rig.connections[0].1.on(0);
    match rig.client.close_code() {
        None => assert!(came.fin && Message::read(&came.bytes).body == b"at last"),
        Some(closed) => {
            assert_eq!(closed, code::EXCESSIVE_LOAD);
            assert!(!came.fin && came.reset == Some(code::REQUEST_CANCELLED));
            assert_eq!(rig.records.len(), 2);
        }
    }
}

/// RFC 9114 section 4.1.2: what is malformed after the response has begun is an error of
/// its stream.
#[test]
fn what_shows_to_be_malformed_after_the_response_began_is_a_message_error() {
    let sized = request("POST", "/", &[("content-length", "4")]);
    let plain = request("POST", "/", &[]);
    let trailers = |name: &str| headers(&list(&[(name, "x")]));
    for (name, head, rest, fin) in [
        ("a pseudo-header field", &plain, trailers(":path"), true),
        ("upper case", &plain, trailers("Upper"), false),
        ("a long body", &sized, data(b"sixsix"), false),
        ("a short body", &sized, data(b"x"), true),
    ] {
        let mut rig = asking(head, false);
        answer(&mut rig, &headers(&status("200", &[])), false);
        assert_eq!(Message::read(&rig.client.on(0).bytes).statuses(), ["200"]);
        rig.client.put(0, &rest, fin);
        rig.settle();
        let (came, backend) = (rig.client.on(0), rig.connections[0].1.on(0));
        assert_eq!(came.reset, Some(code::MESSAGE_ERROR), "{name}");
        assert_eq!(backend.reset, Some(code::REQUEST_CANCELLED), "{name}");
        assert!(!came.fin && !backend.fin, "{name}");
        assert_eq!(rig.records.len(), 1, "{name}");
        assert_eq!(rig.records[0].outcome, Outcome::Reset, "{name}");
        crate::asking::lives_on(&mut rig).expect(name);
    }
}

/// RFC 9114 section 8.1: codes that nobody knows mean what H3_NO_ERROR does.
#[test]
fn a_reset_of_any_code_is_a_cancellation_for_the_backend() {
    for code_of_client in [0, 0x1f * 9 + 0x21, code::MESSAGE_ERROR, (1 << 62) - 1] {
        let mut rig = asking(&request("POST", "/", &[]), false);
        let quic = &mut rig.client.quic;
        quic.stream_shutdown(0, quiche::Shutdown::Write, code_of_client)
            .expect("it is open");
        rig.settle();
        let backend = rig.connections[0].1.on(0);
        assert_eq!(backend.reset, Some(code::REQUEST_CANCELLED));
        assert_eq!(rig.records[0].outcome, Outcome::Cancelled);
        crate::asking::lives_on(&mut rig).expect("the connection lives on");
    }
}
