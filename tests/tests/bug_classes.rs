//! Mistakes that other proxies made at the ends of messages, each with a test that
//! names it. Those that are about single bytes are among the conformance tests.

use std::time::Duration;

use quiche::Shutdown;
use quiche::h3::Header;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

const NO_ERROR: u64 = 0x100;
const INTERNAL_ERROR: u64 = 0x102;
const REQUEST_CANCELLED: u64 = 0x10c;

// ---- data in the same packet after a reset -----------------------------------------

/// quiche drops what is unsent when a stream is reset, and then sends the stream's end
/// all the same: a STREAM frame with FIN behind the RESET_STREAM of the same packet. A
/// proxy that looks at the frames one by one takes the message for whole.
#[test]
fn an_end_in_the_same_packet_as_a_reset_is_no_end_of_a_request() {
    for announced in [&[][..], &[("content-length", "2000")]] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/", announced, false);
        rig.client.write(stream, &[1; 1000], false);
        rig.settle();
        let asked = rig.asked(0);
        rig.client.write(stream, &[1; 1000], true);
        reset(&mut rig.client.quic, stream, REQUEST_CANCELLED);
        assert_eq!(rig.from_client(), 1, "it is one packet");
        rig.settle();
        let backend = &mut rig.connections[0].1;
        assert!(!backend.is_finished(asked));
        assert_eq!(backend.reset_code(asked), Some(REQUEST_CANCELLED));
        assert_eq!(rig.records.len(), 1);
        assert_eq!(rig.records[0].reason, Some(Reason::ClientCancelled));
    }
}

#[test]
fn an_end_in_the_same_packet_as_a_reset_is_no_end_of_a_response() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[1; 1000], false);
    rig.settle();
    rig.connections[0].1.write(asked, &[1; 1000], true);
    reset(&mut rig.connections[0].1.quic, asked, INTERNAL_ERROR);
    assert_eq!(rig.from_backends(), 1, "it is one packet");
    rig.settle();
    assert!(!rig.client.is_finished(stream));
    assert_eq!(rig.client.reset_code(stream), Some(INTERNAL_ERROR));
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.records[0].reason, Some(Reason::BackendReset));
}

/// A sender may take back what it has ended, while it is not all acknowledged. Where both
/// come before anybody looks, there is nothing left to read, and no word of the reset.
#[test]
fn a_reset_behind_the_end_that_it_takes_back_is_no_silence() {
    // What is met: the rest of a frame of which all that came was read, or the front of
    // the next.
    for cut in [4, 9] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/", &[], false);
        rig.settle();
        let asked = rig.asked(0);
        rig.client.put(stream, &b"\x00\x07request"[..cut], false);
        rig.settle();
        rig.client.put(stream, &b"\x00\x07request"[cut..], false);
        rig.client.put(stream, b"\x00\x03end", true);
        let whole = rig.client.datagrams();
        reset(&mut rig.client.quic, stream, REQUEST_CANCELLED);
        assert_eq!(rig.from_address(whole), 1);
        assert_eq!(rig.from_client(), 1);
        rig.settle();
        assert_eq!(
            rig.connections[0].1.reset_code(asked),
            Some(REQUEST_CANCELLED)
        );
        assert_eq!(
            rig.records[0].reason,
            Some(Reason::ClientCancelled),
            "{cut}"
        );

        let mut rig = Rig::new(Options::default());
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        rig.connections[0]
            .1
            .put(asked, &b"\x00\x07respond"[..cut], false);
        rig.settle();
        rig.connections[0]
            .1
            .put(asked, &b"\x00\x07respond"[cut..], false);
        rig.connections[0].1.put(asked, b"\x00\x03end", true);
        let whole = rig.connections[0].1.datagrams();
        reset(&mut rig.connections[0].1.quic, asked, INTERNAL_ERROR);
        assert_eq!(rig.from_backend(0, whole), 1);
        assert_eq!(rig.from_backends(), 1);
        rig.settle();
        assert!(!rig.client.is_finished(stream));
        assert_eq!(rig.client.reset_code(stream), Some(INTERNAL_ERROR));
        assert_eq!(rig.records[0].reason, Some(Reason::BackendReset), "{cut}");
        works(&mut rig);
    }
}

/// What comes for another stream behind a reset is served.
#[test]
fn a_request_in_the_same_packet_as_the_reset_of_another_is_served() {
    let mut rig = Rig::new(Options::default());
    let first = rig.request("POST", "/first", &[], false);
    rig.settle();
    cancel(&mut rig.client.quic, first);
    let second = rig.get("/second");
    assert_eq!(rig.from_client(), 1, "it is one packet");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(second));
    assert_eq!(rig.records.len(), 2);
}

// ---- state kept per closed stream ----------------------------------------------------

/// The client takes an early response, and its acknowledgement comes before its word that
/// it sends no more of the request: the stream is over with that word, and there is room
/// for another.
#[test]
fn a_stream_that_the_client_ends_last_gives_its_place_back() {
    let mut rig = Rig::new(Options {
        config: "quic: { max_streams: 4 }\n",
        ..Options::default()
    });
    for round in 0..12 {
        assert!(
            rig.client.quic.peer_streams_left_bidi() > 1,
            "round {round}"
        );
        let upload = rig.request("POST", "/", &[], false);
        let other = rig.get("/other");
        rig.settle();
        let asked = rig.connections[0].1.streams_with_heads();
        let [.., first, second] = asked[..] else {
            panic!("{asked:?}")
        };
        rig.answer(0, first, &[], true);
        rig.from_backends();
        rig.run();
        assert!(rig.client.is_finished(upload));
        drop(rig.client.datagrams());
        rig.answer(0, second, &[], true);
        rig.from_backends();
        rig.run();
        rig.from_client();
        rig.pass(Duration::from_millis(100));
        assert!(rig.client.is_finished(other));
    }
}

// ---- an answer that arrives when the client's stream is gone ----------------------

#[test]
fn an_answer_that_crosses_its_cancellation_goes_nowhere_and_breaks_nothing() {
    // The answer's head; its body; its end; all of it.
    for (head, body, fin) in [(0, 0, false), (1, 0, false), (0, 1, true), (1, 1, true)] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        if head == 0 {
            rig.answer(0, asked, &[], false);
            rig.settle();
        }
        let heads = rig.client.heads();
        cancel(&mut rig.client.quic, stream);
        if head == 1 {
            rig.answer(0, asked, &[], false);
        }
        rig.connections[0]
            .1
            .write(asked, &vec![7; body * 10_000], fin);
        // The proxy hears of both at once, and then of more of the answer.
        rig.from_client();
        rig.from_backends();
        rig.run();
        rig.connections[0].1.write(asked, &[7; 1000], true);
        rig.settle();
        assert_eq!(rig.client.heads(), heads);
        assert_eq!(rig.records.len(), 1, "{:?}", rig.records);
        let record = &rig.records[0];
        assert_eq!(record.outcome, Outcome::Cancelled, "{record:?}");
        works(&mut rig);
        assert_eq!(rig.connections.len(), 1);
    }
}

#[test]
fn an_answer_for_a_client_that_is_gone_goes_nowhere_and_breaks_nothing() {
    let mut rig = Rig::new(Options::default());
    (0..3).for_each(|_| {
        rig.get("/");
    });
    rig.settle();
    for asked in rig.connections[0].1.streams_with_heads() {
        rig.answer(0, asked, &[], false);
        rig.connections[0].1.write(asked, &[7; 1000], asked == 0);
    }
    let quic = &mut rig.client.quic;
    quic.close(true, NO_ERROR, b"").expect("it is open");
    rig.from_client();
    rig.from_backends();
    rig.settle();
    assert_eq!(rig.records.len(), 3);
    for record in &rig.records {
        assert_eq!(record.reason, Some(Reason::ClientGone), "{record:?}");
    }
    let snapshot = rig.proxy.snapshot();
    assert_eq!((snapshot.exchanges, snapshot.backends[0].requests), (0, 0));
    assert!(rig.connections[0].1.quic.peer_error().is_none());
}

// ---- an early final response during an upload ---------------------------------------

/// RFC 9114 section 4.1: "A server can send a complete response prior to the client
/// sending an entire request […]. Clients MUST NOT discard complete responses as a
/// result of having their request terminated abruptly". The response is delivered
/// whole, and the rest of the request is stopped with H3_NO_ERROR.
#[test]
fn an_early_response_is_delivered_whole_and_the_rest_of_the_request_is_stopped() {
    for size in [0, 10, 100_000] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/", &[("content-length", "1000000")], false);
        rig.client.write(stream, &[1; 20_000], false);
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], size == 0);
        let mut sent = rig.connections[0].1.write(asked, &vec![2; size], true);
        let mut read = 0;
        for _ in 0..50 {
            // The client goes on as long as it may.
            rig.client.write(stream, &[1; 5_000], false);
            rig.settle();
            read += rig.client.read(stream, size + 1).len();
            if sent < size {
                sent += rig.connections[0]
                    .1
                    .write(asked, &vec![2; size - sent], true);
            }
        }
        assert_eq!((read, rig.client.reset_code(stream)), (size, None));
        assert!(rig.client.is_finished(stream));
        let record = &rig.records[0];
        assert_eq!((record.outcome, record.reason), (Outcome::Complete, None));
        assert!(record.request_bytes < 1_000_000);
        let backend = &mut rig.connections[0].1;
        assert!(!backend.is_finished(asked), "the request is not whole");
        works(&mut rig);
    }
}

#[test]
fn a_client_with_an_early_response_is_told_to_send_no_more() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, b"no", true);
    rig.settle();
    let stopped = rig.client.quic.stream_capacity(stream);
    assert_eq!(stopped, Err(quiche::Error::StreamStopped(NO_ERROR)));
    assert_eq!(rig.client.read(stream, 10), b"no");
    assert_eq!(
        rig.connections[0].1.reset_code(asked),
        Some(REQUEST_CANCELLED)
    );
}

// ---- a lone FIN (CVE-2026-33555) ------------------------------------------------------

/// It made HAProxy pass on a request without the end of its body, and take the next
/// one for a part of it.
#[test]
fn a_lone_end_after_a_body_ends_it_once() {
    for announced in [&[][..], &[("content-length", "1000")]] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/first", announced, false);
        rig.client.write(stream, &[1; 1000], false);
        rig.settle();
        let asked = rig.asked(0);
        assert!(!rig.connections[0].1.is_finished(asked));
        rig.client
            .quic
            .stream_send(stream, b"", true)
            .expect("open");
        rig.settle();
        assert_eq!(rig.connections[0].1.read(asked, 2000).len(), 1000);
        assert!(rig.connections[0].1.is_finished(asked));
        rig.answer(0, asked, &[], true);
        rig.settle();
        assert_eq!(rig.records[0].outcome, Outcome::Complete);
        works(&mut rig);
    }
}

#[test]
fn a_lone_end_does_not_make_up_for_a_body_that_is_short() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/first", &[("content-length", "1001")], false);
    rig.client.write(stream, &[1; 1000], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.client
        .quic
        .stream_send(stream, b"", true)
        .expect("open");
    rig.settle();
    let backend = &rig.connections[0].1;
    assert!(!backend.is_finished(asked));
    assert_eq!(backend.reset_code(asked), Some(REQUEST_CANCELLED));
    assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
    works(&mut rig);
}

/// The stream is refused and given back, however many of them there are.
#[test]
fn a_lone_end_instead_of_a_request_is_refused_and_forgotten() {
    let mut rig = Rig::new(Options {
        config: "quic: { max_streams: 4 }\n",
        ..Options::default()
    });
    works(&mut rig);
    for n in 1..20 {
        assert!(rig.client.quic.peer_streams_left_bidi() > 0, "after {n}");
        let quic = &mut rig.client.quic;
        quic.stream_send(n * 4, b"", true).expect("there is credit");
        rig.settle();
        let mut byte = [0];
        let told = rig.client.quic.stream_recv(n * 4, &mut byte);
        // RFC 9114 section 4.1.2 and 8.1: H3_REQUEST_INCOMPLETE.
        let refused = told == Err(quiche::Error::StreamReset(0x10d))
            || rig.client.reset_code(n * 4) == Some(0x10d);
        assert!(refused, "{told:?}");
        rig.settle();
    }
    let heads = rig.records.iter().filter(|r| r.request.is_some());
    assert_eq!(heads.count(), 1, "they are no requests");
    assert_eq!(rig.connections[0].1.heads(), 1);
    assert!(rig.client.quic.peer_error().is_none());
}

#[test]
fn a_lone_end_instead_of_a_response_is_502() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    let quic = &mut rig.connections[0].1.quic;
    quic.stream_send(asked, b"", true).expect("open");
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    assert_eq!(rig.records[0].reason, Some(Reason::BadResponse));
    works(&mut rig);
}

// ---- a length without a body (CVE-2026-48743) ------------------------------------------

/// RFC 9114 section 4.1.2: "A request or response that is defined as having content
/// when it contains a Content-Length header field is malformed if the value of the
/// Content-Length header field does not equal the sum of the DATA frame lengths
/// received." Envoy passed such a message on, as one whose body was still to come.
#[test]
fn a_request_of_only_a_head_that_announces_a_body_reaches_no_backend() {
    // The end comes with the head, and on its own.
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[("content-length", "5")], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
    assert!(rig.connections.is_empty(), "no backend hears of it");
    assert_eq!(rig.records[0].reason, Some(Reason::RequestIncomplete));
    let stream = rig.request("POST", "/", &[("content-length", "5")], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.client
        .quic
        .stream_send(stream, b"", true)
        .expect("open");
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("400"));
    assert!(!rig.connections[0].1.is_finished(asked));
    assert_eq!(
        rig.connections[0].1.reset_code(asked),
        Some(REQUEST_CANCELLED)
    );
    works(&mut rig);
}

#[test]
fn a_response_of_only_a_head_that_announces_a_body_is_never_passed_on() {
    for together in [true, false] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[("content-length", "5")], together);
        rig.settle();
        if !together {
            let quic = &mut rig.connections[0].1.quic;
            quic.stream_send(asked, b"", true).expect("open");
            rig.settle();
        }
        rig.client.read(stream, 100);
        if together {
            assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
        } else {
            assert!(!rig.client.is_finished(stream));
            assert_eq!(rig.client.reset_code(stream), Some(INTERNAL_ERROR));
        }
        assert_eq!(rig.records[0].reason, Some(Reason::ResponseIncomplete));
        works(&mut rig);
    }
}

/// RFC 9110 section 8.6: to HEAD, and with 304, it says what would have been.
#[test]
fn a_length_without_a_body_is_right_where_there_is_never_a_body() {
    for (method, status) in [("HEAD", "200"), ("GET", "304"), ("HEAD", "404")] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request(method, "/", &[], true);
        rig.settle();
        let asked = rig.asked(0);
        let fields = [
            Header::new(b":status", status.as_bytes()),
            Header::new(b"content-length", b"5"),
        ];
        let (h3, quic) = rig.connections[0].1.http();
        h3.send_response(quic, asked, &fields, true).expect("open");
        rig.settle();
        assert_eq!(rig.client.status(stream).as_deref(), Some(status));
        assert!(rig.client.is_finished(stream), "{method} {status}");
        assert_eq!(rig.records[0].outcome, Outcome::Complete);
    }
}

// ---- a short body delivered as a complete 200 -----------------------------------------

#[test]
fn a_body_shorter_than_announced_is_never_a_complete_200() {
    for (announced, sent) in [("1000", 999), ("100000", 50_000), ("1", 0)] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[("content-length", announced)], false);
        rig.connections[0].1.write(asked, &vec![1; sent], true);
        rig.settle();
        rig.client.read(stream, 200_000);
        rig.pass(Duration::from_millis(20));
        assert!(!rig.client.is_finished(stream), "{sent} of {announced}");
        assert_ne!(rig.records[0].outcome, Outcome::Complete);
        works(&mut rig);
    }
}

/// An ordinary request is served, over whatever there is.
fn works(rig: &mut Rig) {
    let ended = rig.records.len();
    let stream = rig.get("/works");
    rig.settle();
    let newest = rig.connections.len() - 1;
    let asked = rig.asked(newest);
    rig.answer(newest, asked, &[("content-length", "2")], false);
    rig.connections[newest].1.write(asked, b"ok", true);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"ok");
    assert!(rig.client.is_finished(stream));
    let record = &rig.records[ended];
    assert_eq!((record.outcome, record.reason), (Outcome::Complete, None));
}

/// Ends what is written on a stream with a code.
fn reset(quic: &mut quiche::Connection, stream: u64, code: u64) {
    quic.stream_shutdown(stream, Shutdown::Write, code)
        .expect("it is open");
}

/// Gives a request up, as browsers do.
fn cancel(quic: &mut quiche::Connection, stream: u64) {
    for direction in [Shutdown::Write, Shutdown::Read] {
        // `Done`: that half is over.
        let _ = quic.stream_shutdown(stream, direction, REQUEST_CANCELLED);
    }
}
