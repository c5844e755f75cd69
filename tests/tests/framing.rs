//! HTTP/3's own rules on the wire: what ends short, comes in pieces, or is too much.

use std::time::Duration;

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

/// RFC 9114 section 7.1: a last frame that is truncated is an H3_FRAME_ERROR. With
/// `quiche::h3` such a body ended clean.
#[test]
fn a_request_whose_end_cuts_its_body_is_never_a_whole_one() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    raw(&mut rig, stream, b"\x00\x04body", false);
    rig.settle();
    raw(&mut rig, stream, b"\x00\x09five!", true);
    rig.settle();
    assert_eq!(closed_with(&rig), Some(0x106), "H3_FRAME_ERROR");
    let backend = &mut rig.connections[0].1;
    assert_eq!(backend.read(asked, 100), b"", "the reset took it away");
    assert!(!backend.is_finished(asked));
    assert_eq!(
        backend.reset_code(asked),
        Some(0x10c),
        "H3_REQUEST_CANCELLED"
    );
    let [record] = &rig.records[..] else {
        panic!("{:?}", rig.records)
    };
    assert_eq!(record.reason, Some(Reason::ClientGone));
    let detail = "closed with code 0x106: a stream ended within a frame";
    assert_eq!(record.detail.as_deref(), Some(detail));
}

#[test]
fn a_response_whose_end_cuts_its_body_is_never_a_whole_one() {
    for (cut, body) in [
        (&b"\x00\x09five!"[..], &b"five!"[..]),
        (b"\x00\x04body\x00", b"body"),
        (b"\x21\x05ab", b""),
    ] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        rig.settle();
        let quic = &mut rig.connections[0].1.quic;
        quic.stream_send(asked, cut, true).expect("there is room");
        rig.settle();
        let read = rig.client.read(stream, 100);
        assert!(body.starts_with(&read), "{read:?}");
        assert!(!rig.client.is_finished(stream));
        assert_eq!(
            rig.client.reset_code(stream),
            Some(0x102),
            "H3_INTERNAL_ERROR"
        );
        let record = rig.records.pop().expect("it ended");
        assert_eq!(record.reason, Some(Reason::BackendGone));
        let error = rig.connections[0].1.quic.peer_error();
        assert_eq!(error.map(|e| e.error_code), Some(0x106), "H3_FRAME_ERROR");
        // Nobody else suffers: the next request gets a connection of its own.
        let next = rig.get("/");
        rig.settle();
        let asked = rig.asked(1);
        rig.answer(1, asked, &[], true);
        rig.settle();
        assert!(rig.client.is_finished(next));
    }
}

/// A GOAWAY that the client's flow control leaves no room for waits for more of it, and
/// does not ask for it with every acknowledgement that comes.
#[test]
fn a_goaway_without_room_is_not_tried_again_and_again() {
    let mut rig = Rig::new(Options {
        client: |c| c.set_initial_max_data(20_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 40_000], true);
    rig.settle();
    let full = rig.client.quic.stats().recv_bytes;
    let deadline = rig.now() + Duration::from_secs(60);
    let now = rig.now();
    rig.proxy.drain(deadline, now);
    rig.settle();
    rig.pass(Duration::from_millis(200));
    let asked = rig.client.quic.stats().recv_bytes - full;
    assert!(asked < 300, "{asked} bytes to say that there is no room");
    assert!(!rig.drained);
    // Room comes when the client reads on, and with it the GOAWAY.
    while !rig.client.is_finished(stream) {
        rig.client.read(stream, 5000);
        rig.settle();
    }
    let goaway = |(_, event): &(u64, quiche::h3::Event)| *event == quiche::h3::Event::GoAway;
    assert!(rig.client.events.iter().any(goaway));
}

/// RFC 9114 section 8.1: H3_REQUEST_INCOMPLETE.
#[test]
fn a_stream_that_ends_without_a_head_is_refused_and_leaves_a_record() {
    for bytes in [&b""[..], b"\x21\x02ab"] {
        let mut rig = Rig::new(Options::default());
        raw(&mut rig, LONE, bytes, true);
        rig.settle();
        let record = rig.records.pop().expect("it ended");
        assert_eq!(record.reason, Some(Reason::RequestIncomplete));
        assert_eq!((record.outcome, record.status), (Outcome::Reset, None));
        assert_eq!(reset(&mut rig, LONE), Some(0x10d));
        lives(&mut rig);
    }
}

#[test]
fn a_stream_that_is_reset_before_its_head_is_whole_leaves_a_record() {
    let mut rig = Rig::new(Options::default());
    raw(&mut rig, LONE, b"\x01\x20\x00\x00", false);
    rig.settle();
    assert!(rig.records.is_empty());
    let quic = &mut rig.client.quic;
    quic.stream_shutdown(LONE, quiche::Shutdown::Write, 0x10c)
        .expect("it is open");
    rig.settle();
    let record = rig.records.pop().expect("it ended");
    assert_eq!(record.reason, Some(Reason::RequestIncomplete));
    assert_eq!(record.outcome, Outcome::Cancelled);
    lives(&mut rig);
}

/// They cost as little as requests that are cancelled whole, and count as such.
#[test]
fn streams_that_are_reset_before_their_heads_are_bounded_too() {
    let mut rig = Rig::new(Options {
        config: "limits: { resets_per_connection: 1 }\n",
        ..Options::default()
    });
    for n in 0..2 {
        assert_eq!(closed_with(&rig), None);
        raw(&mut rig, LONE + 4 * n, b"\x01", false);
        rig.settle();
        let quic = &mut rig.client.quic;
        quic.stream_shutdown(LONE + 4 * n, quiche::Shutdown::Write, 0x10c)
            .expect("it is open");
        rig.settle();
    }
    assert_eq!(closed_with(&rig), Some(0x107), "H3_EXCESSIVE_LOAD");
    assert_eq!(rig.proxy.snapshot().counters.connections_reset_floods, 1);
}

#[test]
fn a_head_that_comes_too_slowly_is_given_up_and_others_go_on() {
    let config = "limits: { request_header_timeout: 2s }\n";
    let mut rig = Rig::new(Options {
        config,
        ..Options::default()
    });
    // A piece of a type, a type, and most of a head.
    for (n, bytes) in [&b"\x40"[..], b"\x01", b"\x01\x08\x00\x00\xd1\xd7"]
        .iter()
        .enumerate()
    {
        raw(&mut rig, LONE + 4 * n as u64, bytes, false);
    }
    rig.settle();
    rig.skip(Duration::from_millis(1900));
    assert!(rig.records.is_empty());
    // What is still being sent does not make it younger.
    raw(&mut rig, LONE + 8, b"\x51", false);
    rig.settle();
    rig.skip(Duration::from_millis(200));
    let reasons: Vec<_> = rig
        .records
        .drain(..)
        .map(|r| (r.reason, r.outcome))
        .collect();
    let late = (Some(Reason::RequestHeaderTimeout), Outcome::Reset);
    assert_eq!(reasons, [late, late, late]);
    for n in 0..3 {
        assert_eq!(
            reset(&mut rig, LONE + 4 * n),
            Some(0x10d),
            "H3_REQUEST_INCOMPLETE"
        );
    }
    lives(&mut rig);
}

#[test]
fn a_head_in_pieces_that_comes_in_time_is_a_head() {
    let config = "limits: { request_header_timeout: 2s }\n";
    let mut rig = Rig::new(Options {
        config,
        ..Options::default()
    });
    // GET, https, a.test, /.
    let head = b"\x01\x0d\x00\x00\xd1\xd7\x50\x06a.test\xc1";
    for byte in head {
        raw(&mut rig, LONE, &[*byte], false);
        rig.settle();
    }
    raw(&mut rig, LONE, b"", true);
    rig.settle();
    rig.skip(Duration::from_secs(3));
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert_eq!(rig.records.pop().and_then(|r| r.status), Some(200));
}

/// Whatever the length says, and whatever comes of it.
#[test]
fn a_head_without_measure_costs_its_request_and_nothing_else() {
    let mut rig = Rig::new(Options::default());
    raw(&mut rig, LONE, b"\x01\xbf\xff\xff\xff", false);
    rig.settle();
    let record = rig.records.pop().expect("it ended at once");
    assert_eq!(record.reason, Some(Reason::RequestHeadTooLarge));
    assert_eq!(record.status, Some(431));
    for _ in 0..20 {
        let _ = rig.client.quic.stream_send(LONE, &[0; 10_000], false);
        rig.settle();
    }
    lives(&mut rig);
}

#[test]
fn frames_out_of_order_end_the_connection() {
    let head = b"\x01\x0d\x00\x00\xd1\xd7\x50\x06a.test\xc1";
    let with = |rest: &[u8]| [&head[..], rest].concat();
    let trailers = b"\x01\x06\x00\x00\x21x\x01y";
    for (bytes, code) in [
        (b"\x00\x01a".to_vec(), 0x105),
        (with(b"\x04\x00"), 0x105),
        (with(b"\x06\x00"), 0x105),
        (with(&[&trailers[..], b"\x00\x01a"].concat()), 0x105),
        (with(&[&trailers[..], trailers].concat()), 0x105),
        (b"\x01\x03\x00\x00\x80".to_vec(), 0x200),
    ] {
        let mut rig = Rig::new(Options::default());
        raw(&mut rig, LONE, &bytes, false);
        rig.settle();
        // What lies behind the head of a request is read when there is a backend for it.
        if !rig.connections.is_empty() {
            rig.settle();
        }
        assert_eq!(closed_with(&rig), Some(code), "{bytes:x?}");
    }
}

#[test]
fn a_control_stream_that_ends_ends_the_connection() {
    let mut rig = Rig::new(Options::default());
    // quiche opened it as the first of its unidirectional streams.
    raw(&mut rig, 2, b"", true);
    rig.settle();
    assert_eq!(closed_with(&rig), Some(0x104), "H3_CLOSED_CRITICAL_STREAM");
}

/// A stream that quiche's HTTP/3 does not use.
const LONE: u64 = 40;

fn raw(rig: &mut Rig, stream: u64, bytes: &[u8], fin: bool) {
    let sent = rig.client.quic.stream_send(stream, bytes, fin);
    assert_eq!(sent.expect("there is room"), bytes.len());
}

/// The code with which the proxy closed the client's connection.
fn closed_with(rig: &Rig) -> Option<u64> {
    let error = rig.client.quic.peer_error()?;
    assert!(error.is_app);
    Some(error.error_code)
}

/// The code with which the proxy reset a stream that the client opened.
fn reset(rig: &mut Rig, stream: u64) -> Option<u64> {
    if let Some(code) = rig.client.reset_code(stream) {
        return Some(code);
    }
    match rig.client.quic.stream_recv(stream, &mut [0; 9]) {
        Err(quiche::Error::StreamReset(code)) => Some(code),
        _ => None,
    }
}

/// The connection serves the next request.
fn lives(rig: &mut Rig) {
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(stream), "the connection lives on");
}
