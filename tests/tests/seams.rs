//! Where two rules of an exchange meet: each has its tests elsewhere; here is what one
//! makes of the other.

use std::time::Duration;

use quiche::Shutdown;
use quiche::h3::Header;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

const NO_ERROR: u64 = 0x100;
const FRAME_UNEXPECTED: u64 = 0x105;
const REQUEST_REJECTED: u64 = 0x10b;
const REQUEST_CANCELLED: u64 = 0x10c;

/// RFC 9110 section 9.3.2: "The HEAD method is identical to GET except that the server
/// MUST NOT send content in the response."
#[test]
fn a_head_request_that_is_refused_is_answered_without_content() {
    for extra in [&[("x", "a\u{1}b")][..], &[("te", "gzip")]] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("HEAD", "/", extra, true);
        rig.settle();
        assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
        assert_eq!(rig.client.read(stream, 100), b"");
        assert!(rig.client.is_finished(stream));
    }
}

/// The interim response finds no room, and with it the client's time to send begins,
/// which is the shorter one.
#[test]
fn an_interim_response_that_is_dropped_moves_the_deadline_all_the_same() {
    let mut rig = Rig::new(Options {
        config: "timeouts: { idle: 2s, response_header: 50s }\n",
        client: |c| c.set_initial_max_stream_data_bidi_local(0),
        ..Options::default()
    });
    let expect = [("expect", "100-continue")];
    rig.request("POST", "/", &expect, false);
    rig.settle();
    let asked = rig.asked(0);
    rig.inform(0, asked, "100");
    rig.settle();
    rig.skip(Duration::from_secs(3));
    assert_eq!(
        rig.connections[0].1.reset_code(asked),
        Some(REQUEST_CANCELLED)
    );
}

#[test]
fn trailers_that_are_too_large_behind_a_response_are_the_clients_fault() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    let many: Vec<Header> = (0..150)
        .map(|n| Header::new(format!("x{n}").as_bytes(), b"1"))
        .collect();
    let (h3, quic) = rig.client.http();
    h3.send_additional_headers(quic, stream, &many, true, true)
        .expect("trailers");
    rig.settle();
    assert_eq!(rig.client.reset_code(stream), Some(REQUEST_CANCELLED));
    assert_eq!(rig.records[0].reason, Some(Reason::RequestHeadTooLarge));
}

/// The words of a rejection may come one after the other.
#[test]
fn a_rejection_that_begins_with_stop_sending_is_retried_too() {
    let mut rig = Rig::new(Options {
        backends: 2,
        ..Options::default()
    });
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    let quic = &mut rig.connections[0].1.quic;
    quic.stream_shutdown(asked, Shutdown::Read, REQUEST_REJECTED)
        .expect("open");
    rig.settle();
    let _ = rig.connections[0]
        .1
        .quic
        .stream_shutdown(asked, Shutdown::Write, REQUEST_REJECTED);
    rig.settle();
    assert_eq!(rig.connections.len(), 2);
    rig.client.write(stream, b"body", true);
    rig.settle();
    let asked = rig.asked(1);
    assert_eq!(rig.connections[1].1.read(asked, 100), b"body");
    rig.answer(1, asked, &[], true);
    rig.settle();
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
}

/// Nothing of a head that waits for room was sent: when the backend leaves, it need not
/// wait for that room.
#[test]
fn heads_that_wait_for_room_leave_with_a_goaway() {
    let mut rig = Rig::new(Options {
        backend: |c| c.set_initial_max_data(2000),
        ..Options::default()
    });
    let upload = rig.request("POST", "/upload", &[], false);
    rig.client.write(upload, &[1; 10_000], false);
    rig.settle();
    let asked = rig.asked(0);
    let second = rig.get("/second");
    rig.settle();
    let waiting = rig.connections[0].1.heads();
    assert_eq!((waiting, rig.connections.len()), (1, 1), "the second waits");
    let (h3, quic) = rig.connections[0].1.http();
    h3.send_goaway(quic, asked + 4).expect("a GOAWAY");
    rig.settle();
    assert_eq!(rig.connections.len(), 2, "it went to another connection");
    let asked = rig.asked(1);
    rig.answer(1, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(second).as_deref(), Some("200"));
}

/// Before the backend accepts there is no tunnel, and the limit of bodies holds.
#[test]
fn bytes_for_a_tunnel_that_is_not_there_yet_are_a_body() {
    let mut rig = Rig::new(Options {
        config: "limits: { body_bytes: 10000 }\nwebsocket: true\n",
        tunnels: Some(true),
        ..Options::default()
    });
    let stream = rig.open_tunnel();
    rig.client.write(stream, &[1; 20_000], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("413"));
    assert_eq!(rig.records[0].reason, Some(Reason::BodyTooLarge));
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    rig.client.write(stream, &[1; 20_000], true);
    rig.settle();
    assert_eq!(rig.connections[0].1.read(asked, 30_000).len(), 20_000);
}

/// A request whose head is on its way was opened before the GOAWAY named a later one:
/// the client believes that it is served.
#[test]
fn a_partial_head_that_the_goaway_covers_is_waited_for() {
    let mut rig = Rig::new(Options {
        raw_client: Some(&[0, 4, 0]),
        ..Options::default()
    });
    let section = spooky_tests::raw::qpack::section(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/first"),
    ]);
    let head = spooky_tests::raw::frame(1, &section);
    rig.client.put(0, &head[..5], false);
    rig.client.put(4, &head, true);
    rig.settle();
    let asked = rig.asked(0);
    let deadline = rig.now() + Duration::from_secs(20);
    rig.proxy.drain(deadline, rig.now());
    rig.settle();
    rig.answer(0, asked, &[], true);
    rig.settle();
    rig.pass(Duration::from_millis(100));
    rig.skip(Duration::from_secs(2));
    assert_eq!(rig.client.close_code(), None, "the first may still come");
    rig.client.put(0, &head[5..], true);
    rig.settle();
    // (The backend's connection was idle, and is not kept while all is ending.)
    let asked = rig.asked(1);
    rig.answer(1, asked, &[], true);
    rig.settle();
    assert!(rig.client.on(0).fin);
    rig.pass(Duration::from_millis(100));
    rig.skip(Duration::from_secs(2));
    assert_eq!(rig.client.close_code(), Some(NO_ERROR));
    assert_eq!(rig.records.len(), 2);
}

#[test]
fn fields_beyond_a_limit_in_a_tunnel_are_no_better_than_others() {
    let mut rig = Rig::new(Options {
        tunnels: Some(true),
        config: "websocket: true\n",
        ..Options::default()
    });
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    let many: Vec<Header> = (0..150)
        .map(|n| Header::new(format!("x{n}").as_bytes(), b"1"))
        .collect();
    let (h3, quic) = rig.client.http();
    h3.send_additional_headers(quic, stream, &many, true, true)
        .expect("trailers");
    rig.settle();
    assert_eq!(rig.client.close_code(), Some(FRAME_UNEXPECTED));
}

#[test]
fn a_partial_head_holds_a_drain_up_until_its_own_deadline() {
    let mut rig = Rig::new(Options {
        raw_client: Some(&[0, 4, 0]),
        config: "limits: { request_header_timeout: 3s }\n",
        ..Options::default()
    });
    let section = spooky_tests::raw::qpack::section(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ]);
    let head = spooky_tests::raw::frame(1, &section);
    rig.client.put(0, &head[..5], false);
    rig.client.put(4, &head, true);
    rig.settle();
    let asked = rig.asked(0);
    rig.proxy
        .drain(rig.now() + Duration::from_secs(20), rig.now());
    rig.settle();
    rig.answer(0, asked, &[], true);
    rig.pass(Duration::from_millis(50));
    rig.skip(Duration::from_secs(2));
    assert_eq!(rig.client.close_code(), None);
    rig.skip(Duration::from_secs(2));
    rig.pass(Duration::from_millis(100));
    assert_eq!(rig.records.len(), 2);
    assert_eq!(rig.client.close_code(), Some(NO_ERROR));
}

#[test]
fn a_request_that_is_rejected_twice_is_not_tried_a_third_time() {
    let mut rig = Rig::new(Options {
        backends: 2,
        ..Options::default()
    });
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    for n in 0..2 {
        let asked = rig.asked(n);
        let quic = &mut rig.connections[n].1.quic;
        quic.stream_shutdown(asked, Shutdown::Read, REQUEST_REJECTED)
            .expect("open");
        rig.settle();
    }
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.records[0].attempts, 2);
}
