//! CONNECT in its extended form (RFC 9220, RFC 8441), by the byte.

use spooky_core::observe::Outcome;
use spooky_tests::raw::{Message, Raw, code, frame, frames, kind, lying, read_varint};
use spooky_tests::rig::{Options, Rig};

use crate::row::{self, List, comparable, data, headers, list, with, without};

/// SETTINGS_ENABLE_CONNECT_PROTOCOL.
const ENABLE: u64 = 0x8;
/// A control stream whose SETTINGS offer extended CONNECT.
const OFFERS: &[u8] = &[0x00, 0x04, 0x02, 0x08, 0x01];

/// A rig whose backend offers it, or not.
fn rig(offers: bool) -> Rig {
    Rig::new(Options {
        raw_client: Some(Raw::PLAIN),
        raw_backend: Some(if offers { OFFERS } else { Raw::PLAIN }),
        ..Options::default()
    })
}

fn websocket() -> List {
    list(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/chat?room=1"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "https://localhost"),
    ])
}

/// A rig with an accepted tunnel on stream 0 of both sides.
fn tunnel() -> Rig {
    let mut rig = rig(true);
    rig.client.put(0, &headers(&websocket()), false);
    rig.settle();
    rig.connections[0]
        .1
        .put(0, &headers(&list(&[(":status", "200")])), false);
    rig.settle();
    let came = rig.client.on(0);
    assert_eq!(Message::read(&came.bytes).statuses(), ["200"]);
    assert!(!came.fin);
    rig
}

#[test]
fn a_websocket_goes_on_with_its_protocol_and_all_its_fields() {
    let mut rig = rig(true);
    rig.client.put(0, &headers(&websocket()), false);
    rig.settle();
    let came = rig.connections[0].1.on(0);
    assert!(!came.fin);
    let head = Message::pairs(&Message::read(&came.bytes).heads[0]);
    let added = [
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    assert_eq!(comparable(head, &added), comparable(websocket(), &[]));
}

#[test]
fn bytes_pass_both_ways_and_each_way_has_its_own_end() {
    let mut rig = tunnel();
    rig.client.put(0, &data(b"there"), false);
    rig.connections[0].1.put(0, &data(b"back"), false);
    rig.settle();
    assert_eq!(
        Message::read(&rig.connections[0].1.on(0).bytes).body,
        b"there"
    );
    assert_eq!(Message::read(&rig.client.on(0).bytes).body, b"back");
    rig.client.put(0, b"", true);
    rig.settle();
    assert!(rig.connections[0].1.on(0).fin && !rig.client.on(0).fin);
    rig.connections[0].1.put(0, &data(b"!"), true);
    rig.settle();
    let came = rig.client.on(0);
    assert!(came.fin && Message::read(&came.bytes).body == b"back!");
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

/// RFC 8441 section 4: `:scheme` and `:path` "MUST also be included".
#[test]
fn an_extended_connect_has_all_the_fields_of_a_request() {
    for missing in [":scheme", ":path", ":authority"] {
        let mut rig = rig(true);
        rig.client
            .put(0, &headers(&without(websocket(), missing)), false);
        rig.settle();
        let statuses = Message::read(&rig.client.on(0).bytes).statuses();
        assert_eq!(statuses, ["400"], "without {missing}");
        assert!(rig.connections.is_empty(), "without {missing}");
    }
}

#[test]
fn what_nobody_offers_is_a_501_and_no_request_arrives() {
    for (offers, protocol) in [
        (false, "websocket"),
        (true, "connect-udp"),
        (true, "WebSocket2"),
    ] {
        let mut rig = rig(offers);
        let head = with(websocket(), ":protocol", protocol);
        rig.client.put(0, &headers(&head), false);
        rig.settle();
        let statuses = Message::read(&rig.client.on(0).bytes).statuses();
        assert_eq!(statuses, ["501"], "{protocol}");
        for (_, backend) in &rig.connections {
            assert!(backend.raw.as_ref().expect("raw").requests().is_empty());
        }
    }
}

/// RFC 9220 section 3: the setting is what a server says; off means that it is not said.
#[test]
fn clients_are_told_that_it_is_offered_unless_it_is_off() {
    for (config, told) in [("", Some(1)), ("websocket: off\n", None)] {
        let rig = row::rig(config);
        let raw = rig.client.raw.as_ref().expect("raw");
        let opened = raw.others().into_iter().map(|id| raw.on(id).bytes);
        let control = opened.into_iter().find(|bytes| bytes.first() == Some(&0));
        let control = control.expect("a control stream");
        let mut settings = frames(&control[1..]).0[0].1;
        let mut said = None;
        while let Some((id, rest)) = read_varint(settings) {
            let (value, rest) = read_varint(rest).expect("pairs");
            settings = rest;
            said = said.or((id == ENABLE && value != 0).then_some(value));
        }
        assert_eq!(said, told, "{config}");
    }
}

/// RFC 9114 section 4.4: "frames of any type other than DATA MUST be treated as a
/// connection error of type H3_FRAME_UNEXPECTED", but for unknown ones.
#[test]
fn a_tunnel_carries_data_and_nothing_else() {
    let mut rig = tunnel();
    rig.client.put(0, &frame(kind::GREASE, b"x"), false);
    rig.client.put(0, &data(b"on"), false);
    rig.settle();
    assert_eq!(Message::read(&rig.connections[0].1.on(0).bytes).body, b"on");
    rig.client.put(0, &headers(&list(&[("x", "y")])), false);
    rig.settle();
    assert_eq!(rig.client.close_code(), Some(code::FRAME_UNEXPECTED));
    let backend = rig.connections[0].1.on(0);
    assert!(!backend.fin && backend.reset.is_some(), "{backend:?}");
}

#[test]
fn an_abrupt_end_of_either_side_is_one_for_the_other() {
    let mut rig = tunnel();
    rig.client.put(0, &data(b"a"), false);
    rig.settle();
    let quic = &mut rig.client.quic;
    quic.stream_shutdown(0, quiche::Shutdown::Write, code::REQUEST_CANCELLED)
        .expect("it is open");
    rig.settle();
    let backend = rig.connections[0].1.on(0);
    assert!(!backend.fin && backend.reset.is_some(), "{backend:?}");

    let mut rig = tunnel();
    let quic = &mut rig.connections[0].1.quic;
    quic.stream_shutdown(0, quiche::Shutdown::Write, code::INTERNAL_ERROR)
        .expect("it is open");
    rig.settle();
    let client = rig.client.on(0);
    assert!(!client.fin && client.reset.is_some(), "{client:?}");
}

#[test]
fn a_tunnel_whose_end_cuts_a_frame_never_ends_clean() {
    let mut rig = tunnel();
    rig.client.put(0, &lying(kind::DATA, 10, b"half"), true);
    rig.settle();
    assert_eq!(rig.client.close_code(), Some(code::FRAME_ERROR));
    assert!(!rig.connections[0].1.on(0).fin);

    let mut rig = tunnel();
    rig.connections[0]
        .1
        .put(0, &lying(kind::DATA, 10, b"half"), true);
    rig.settle();
    assert_eq!(rig.connections[0].1.close_code(), Some(code::FRAME_ERROR));
    let client = rig.client.on(0);
    assert!(!client.fin && client.reset.is_some(), "{client:?}");
}
