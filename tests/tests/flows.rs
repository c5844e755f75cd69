//! Bodies keep moving, whatever order their parts arrive in.

use std::time::Duration;

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

#[test]
fn a_request_travels_and_its_answer_comes_back() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("content-length", "5")], false);
    assert_eq!(rig.connections[0].1.write(asked, b"hello", true), 5);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"hello");
    rig.settle();
    assert!(rig.client.is_finished(stream));
    assert_eq!(rig.records.len(), 1);
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

#[test]
fn an_end_that_comes_alone_is_passed_on() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    rig.client.write(stream, b"body", false);
    rig.settle();
    // quiche ends a stream with an empty DATA frame.
    rig.client.write(stream, b"", true);
    rig.settle();
    let asked = rig.asked(0);
    assert_eq!(rig.connections[0].1.read(asked, 100), b"body");
    assert!(
        rig.connections[0].1.is_finished(asked),
        "the request ends at the backend"
    );
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, b"answer", false);
    rig.settle();
    rig.connections[0].1.write(asked, b"", true);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"answer");
    rig.settle();
    assert!(
        rig.client.is_finished(stream),
        "the response ends at the client"
    );
}

/// Body bytes that fit a client's window of 10 000 bytes behind the head.
fn fitting(rig: &mut Rig) -> usize {
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 100_000], false);
    rig.settle();
    rig.client.read(stream, 10_000).len()
}

#[test]
fn an_end_that_comes_while_the_reader_is_full_is_passed_on() {
    let small = || Options {
        client: |c| c.set_initial_max_stream_data_bidi_local(10_000),
        ..Options::default()
    };
    let len = fitting(&mut Rig::new(small()));
    assert!((9_000..10_000).contains(&len), "{len}");

    let mut rig = Rig::new(small());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &vec![7; len], false);
    rig.settle();
    rig.connections[0]
        .1
        .quic
        .stream_send(asked, b"", true)
        .expect("room for an end");
    rig.settle();
    assert_eq!(rig.client.read(stream, 20_000).len(), len);
    rig.settle();
    assert!(
        rig.client.is_finished(stream),
        "the response ends at the client"
    );
    assert_eq!(rig.records.len(), 1);
}

#[test]
fn a_body_that_is_reset_after_its_last_byte_does_not_end_clean() {
    let mut rig = Rig::new(Options {
        client: |c| c.set_initial_max_stream_data_bidi_local(10_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    // Without a length nothing but the end says how long it is.
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 9_900], false);
    rig.settle();
    // More than the client takes, with the end, and not acknowledged yet …
    assert_eq!(rig.connections[0].1.write(asked, &[7; 5_000], true), 5_000);
    rig.from_backends();
    // … when the backend thinks better of it.
    rig.connections[0]
        .1
        .quic
        .stream_shutdown(asked, quiche::Shutdown::Write, 0x102)
        .expect("open");
    rig.from_backends();
    rig.settle();
    rig.client.read(stream, 20_000);
    rig.settle();
    assert!(!rig.client.is_finished(stream), "a short body ends clean");
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
}

#[test]
fn windows_do_not_grow_beyond_what_is_configured_however_fast_bytes_go() {
    const WINDOW: usize = 64 << 10;
    let mut rig = Rig::new(Options {
        client: |c| {
            c.set_initial_max_stream_data_bidi_local(WINDOW as u64);
            c.set_max_stream_window(WINDOW as u64);
        },
        ..Options::default()
    });
    // A long way to the backend, as far as the proxy can tell.
    for round in 0..8 {
        rig.get("/");
        if round == 0 {
            rig.settle();
        }
        rig.from_client();
        rig.run();
        std::thread::sleep(Duration::from_millis(20));
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], true);
        rig.settle();
    }
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    let (mut written, mut read) = (0, 0);
    // Credit that is used up within a round trip makes quiche double a window.
    for _ in 0..100 {
        written += rig.connections[0].1.write(asked, &[7; WINDOW], false);
        rig.settle();
        read += rig.client.read(stream, WINDOW).len();
        rig.settle();
    }
    assert!(read > 2 << 20, "{read} bytes are no fast transfer");
    // The client reads no more: all windows fill up.
    for _ in 0..100 {
        written += rig.connections[0].1.write(asked, &[7; WINDOW], false);
        rig.settle();
    }
    let held = written - read;
    // The client's window, and the proxy's stream_window of 256 KiB.
    let most = WINDOW + (256 << 10);
    assert!(held <= most, "{held} of {most} bytes");
    assert!(held > most / 2, "{held} of {most} bytes: nothing was full");
}

#[test]
fn an_answer_survives_a_backend_that_wants_no_body() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.request("POST", "/", &[], false);
    rig.client.write(stream, &[1; 1000], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.connections[0]
        .1
        .quic
        .stream_shutdown(asked, quiche::Shutdown::Read, 0x100)
        .expect("open");
    rig.settle();
    assert!(
        rig.client.quic.stream_capacity(stream).is_err(),
        "the client is told to stop"
    );
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(stream));
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

/// A rig with an open connection to each of two backends.
fn two_backends() -> Rig {
    let mut rig = Rig::new(Options {
        backends: 2,
        ..Options::default()
    });
    while rig.connections.len() < 2 {
        rig.get("/");
        rig.settle();
    }
    rig
}

/// The connection on which the newest request of the client came.
fn receiver(rig: &mut Rig, before: [Option<u64>; 2]) -> usize {
    (0..2)
        .find(|&c| Some(rig.asked(c)) != before[c])
        .expect("a backend is asked")
}

#[test]
fn a_body_follows_its_request_to_another_connection() {
    let mut rig = two_backends();
    let before = [Some(rig.asked(0)), Some(rig.asked(1))];
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let first = receiver(&mut rig, before);
    let asked = rig.asked(first);
    // The backend refuses the request in the moment its body begins to come.
    rig.client.write(stream, b"body", true);
    let (h3, quic) = rig.connections[first].1.http();
    h3.send_goaway(quic, asked).expect("a GOAWAY");
    rig.from_client();
    rig.from_backends();
    rig.settle();
    let other = 1 - first;
    let again = rig.asked(other);
    assert_ne!(
        Some(again),
        before[other],
        "the request went to the other backend"
    );
    assert_eq!(rig.connections[other].1.read(again, 100), b"body");
    assert!(rig.connections[other].1.is_finished(again));
    rig.answer(other, again, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
}

#[test]
fn a_request_whose_body_was_stopped_is_not_tried_again() {
    let mut rig = two_backends();
    let before = [Some(rig.asked(0)), Some(rig.asked(1))];
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let first = receiver(&mut rig, before);
    let asked = rig.asked(first);
    // Only what ends the response says that nothing was done.
    let end = |rig: &mut Rig, direction, code| {
        let quic = &mut rig.connections[first].1.quic;
        quic.stream_shutdown(asked, direction, code).expect("open");
    };
    end(&mut rig, quiche::Shutdown::Read, 0x100);
    rig.settle();
    end(&mut rig, quiche::Shutdown::Write, 0x10b);
    rig.settle();
    let other = 1 - first;
    assert_eq!(
        Some(rig.asked(other)),
        before[other],
        "what is left of the request would be no request"
    );
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
}

/// A rig whose backend's connection is full of a body that nobody reads.
fn full_backend() -> Rig {
    let mut rig = Rig::new(Options {
        backend: |c| c.set_initial_max_data(5000),
        ..Options::default()
    });
    let stream = rig.request("POST", "/", &[], false);
    rig.client.write(stream, &[1; 10_000], false);
    rig.settle();
    rig
}

#[test]
fn a_head_that_gave_up_waiting_is_not_ended_by_the_connection_it_left() {
    let mut rig = full_backend();
    let waits = rig.get("/");
    rig.settle();
    rig.skip(Duration::from_secs(10));
    assert_eq!(rig.connections.len(), 2, "it goes over a fresh connection");
    // The old connection ends while the new one has the request.
    rig.connections[0]
        .1
        .quic
        .close(true, 0x100, b"")
        .expect("open");
    rig.settle();
    assert_eq!(rig.connections[1].1.heads(), 1, "it was asked once");
    let asked = rig.asked(1);
    rig.answer(1, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(waits).as_deref(), Some("200"));
}

#[test]
fn heads_that_gave_up_together_share_a_fresh_connection() {
    let mut rig = full_backend();
    (0..4).for_each(|_| {
        rig.get("/");
    });
    rig.settle();
    rig.skip(Duration::from_secs(10));
    assert_eq!(rig.connections.len(), 2);
    assert_eq!(rig.connections[1].1.heads(), 4);
}

#[test]
fn heads_that_wait_on_a_connection_that_ends_begin_anew() {
    let mut rig = full_backend();
    let waits = [rig.get("/"), rig.get("/")];
    rig.settle();
    assert_eq!(rig.connections[0].1.heads(), 1, "they wait");
    rig.connections[0]
        .1
        .quic
        .close(true, 0x100, b"")
        .expect("open");
    rig.settle();
    assert_eq!(rig.records.len(), 1, "only the upload was asked there");
    assert_eq!(rig.records[0].reason, Some(Reason::BackendGone));
    for asked in rig.connections[1].1.streams_with_heads() {
        rig.answer(1, asked, &[], true);
    }
    rig.settle();
    for stream in waits {
        assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    }
}

#[test]
fn a_head_that_the_backend_has_no_credit_for_waits_in_silence() {
    let mut rig = full_backend();
    rig.get("/");
    // Not a loop of DATA_BLOCKED, its acknowledgement, and another try.
    rig.settle();
    let before = rig.proxy.snapshot().counters.datagrams_sent;
    rig.pass(Duration::from_millis(100));
    let sent = rig.proxy.snapshot().counters.datagrams_sent - before;
    assert!(sent < 10, "{sent} datagrams");
}

#[test]
fn what_a_leaving_backend_delivered_whole_reaches_a_slow_client() {
    let mut rig = Rig::new(Options {
        client: |c| c.set_initial_max_stream_data_bidi_local(10_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("content-length", "50000")], false);
    assert_eq!(
        rig.connections[0].1.write(asked, &[7; 50_000], true),
        50_000
    );
    rig.settle();
    rig.connections[0]
        .1
        .quic
        .close(true, 0x100, b"")
        .expect("open");
    rig.settle();
    let mut len = 0;
    for _ in 0..20 {
        len += rig.client.read(stream, 100_000).len();
        rig.settle();
    }
    assert_eq!((len, rig.client.reset_code(stream)), (50_000, None));
    rig.pass(Duration::from_millis(10));
    assert!(rig.client.is_finished(stream));
}

#[test]
fn what_a_dead_backend_left_unfinished_ends_in_a_reset() {
    let mut rig = Rig::new(Options {
        client: |c| c.set_initial_max_stream_data_bidi_local(10_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 50_000], false);
    rig.settle();
    rig.connections[0]
        .1
        .quic
        .close(true, 0x100, b"")
        .expect("open");
    rig.settle();
    for _ in 0..20 {
        rig.client.read(stream, 100_000);
        rig.settle();
    }
    assert_eq!(rig.client.reset_code(stream), Some(0x102));
    assert!(!rig.client.is_finished(stream));
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
    // The connection is let go with its last response.
    rig.pass(Duration::from_millis(500));
    rig.client.quic.close(true, 0x100, b"").expect("open");
    rig.pass(Duration::from_millis(500));
    assert!(rig.proxy.is_empty());
}

#[test]
fn a_reply_takes_the_place_of_a_head_that_did_not_fit() {
    let mut rig = Rig::new(Options {
        client: |c| c.set_initial_max_data(1500),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    let long = "x".repeat(3000);
    rig.answer(0, asked, &[("x-long", &long)], false);
    rig.settle();
    assert_eq!(rig.client.status(stream), None, "it waits for credit");
    let quic = &mut rig.connections[0].1.quic;
    quic.stream_shutdown(asked, quiche::Shutdown::Write, 0x102)
        .expect("open");
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    assert_eq!(rig.records[0].outcome, Outcome::LocalReply);
}
