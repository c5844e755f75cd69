//! Nothing waits for ever: `timeouts.idle` and `timeouts.request`, on each side and at
//! each stage, and the record says who was waited for.

use std::time::Duration;

use spooky_core::observe::{Outcome, Reason, Record};
use spooky_tests::rig::{Options, Rig};

const REQUEST_CANCELLED: u64 = 0x10c;
const INTERNAL_ERROR: u64 = 0x102;
const NO_ERROR: u64 = 0x100;
const CONFIG: &str = "timeouts: { idle: 20s, response_header: 5s }\n";

#[test]
fn a_client_that_stops_sending_its_upload_gets_408_and_the_backend_a_cancellation() {
    let mut rig = rig(CONFIG);
    let stream = rig.request("POST", "/", &[("content-length", "100")], false);
    rig.client.write(stream, &[1; 50], false);
    rig.settle();
    let asked = rig.asked(0);
    assert_eq!(rig.connections[0].1.read(asked, 100).len(), 50);
    rig.settle();
    // The backend is not late: it has nothing to answer yet.
    rig.skip(secs(19));
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(secs(2));
    assert_eq!(rig.client.status(stream).as_deref(), Some("408"));
    let stopped = rig.client.quic.stream_capacity(stream);
    assert_eq!(stopped, Err(quiche::Error::StreamStopped(NO_ERROR)));
    assert_eq!(rig.client.read(stream, 100), b"408 idle_timeout\n");
    assert!(rig.client.is_finished(stream));
    idle(
        &rig.records[0],
        Outcome::LocalReply,
        "the client sends nothing",
    );
    assert_eq!(
        (rig.records[0].status, rig.records[0].request_bytes),
        (Some(408), 50)
    );
    assert_eq!(
        rig.connections[0].1.reset_code(asked),
        Some(REQUEST_CANCELLED)
    );
}

#[test]
fn an_upload_that_comes_in_drops_is_not_idle_and_then_the_backend_has_its_time() {
    let mut rig = rig(CONFIG);
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    for _ in 0..10 {
        rig.skip(secs(15));
        rig.client.write(stream, &[1], false);
        rig.settle();
        rig.connections[0].1.read(asked, 10);
    }
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    // Its end begins the backend's time, which is shorter.
    rig.client.write(stream, &[], true);
    rig.settle();
    rig.skip(secs(4));
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(secs(2));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.records[0].reason, Some(Reason::ResponseHeaderTimeout));
}

#[test]
fn a_backend_that_does_not_read_an_upload_is_late_not_the_client() {
    let mut rig = Rig::new(Options {
        config: CONFIG,
        backend: |c| c.set_initial_max_stream_data_bidi_remote(1000),
        ..Options::default()
    });
    let stream = rig.request("POST", "/", &[], false);
    rig.client.write(stream, &[1; 5000], false);
    rig.settle();
    rig.skip(secs(6));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.records[0].reason, Some(Reason::ResponseHeaderTimeout));
}

#[test]
fn a_client_that_waits_for_100_continue_is_not_the_slow_one() {
    let mut rig = rig(CONFIG);
    let expects = [("expect", "100-continue")];
    let stream = rig.request("POST", "/", &expects, false);
    rig.settle();
    rig.skip(secs(6));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.records[0].reason, Some(Reason::ResponseHeaderTimeout));
    // Once it was told to go on it is.
    let stream = rig.request("POST", "/", &expects, false);
    rig.settle();
    rig.skip(secs(4));
    let asked = rig.asked(0);
    rig.inform(0, asked, "100");
    rig.settle();
    rig.skip(secs(19));
    assert_eq!(rig.records.len(), 1, "{:?}", rig.records);
    rig.skip(secs(2));
    assert_eq!(rig.client.status(stream).as_deref(), Some("408"));
    idle(
        &rig.records[1],
        Outcome::LocalReply,
        "the client sends nothing",
    );
}

#[test]
fn a_backend_that_stops_in_the_middle_of_a_body_is_a_reset_after_the_idle_timeout() {
    let mut rig = rig(CONFIG);
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("content-length", "1000")], false);
    rig.connections[0].1.write(asked, &[1; 400], false);
    rig.settle();
    rig.client.read(stream, 1000);
    rig.skip(secs(19));
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(secs(2));
    assert_eq!(rig.client.reset_code(stream), Some(INTERNAL_ERROR));
    idle(&rig.records[0], Outcome::Reset, "the backend sends nothing");
    assert_eq!(rig.records[0].response_bytes, 400);
    let stopped = rig.connections[0].1.quic.stream_capacity(asked);
    assert_eq!(
        stopped,
        Err(quiche::Error::StreamStopped(REQUEST_CANCELLED))
    );
}

#[test]
fn a_client_that_does_not_read_is_given_up_after_the_idle_timeout() {
    let mut rig = Rig::new(Options {
        config: CONFIG,
        client: |c| c.set_initial_max_stream_data_bidi_local(10_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    let other = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.answer(0, asked - 4, &[], false);
    rig.connections[0].1.write(asked - 4, &[1; 100_000], false);
    rig.settle();
    rig.skip(secs(10));
    // The other one goes on meanwhile.
    rig.connections[0].1.write(asked, &[1; 100], false);
    rig.settle();
    assert_eq!(rig.client.read(other, 1000).len(), 100);
    rig.skip(secs(11));
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.records.len(), 1, "{:?}", rig.records);
    idle(&rig.records[0], Outcome::Reset, "the client reads nothing");
    let stopped = rig.connections[0].1.quic.stream_capacity(asked - 4);
    assert_eq!(
        stopped,
        Err(quiche::Error::StreamStopped(REQUEST_CANCELLED))
    );
    rig.client.read(stream, 100_000);
    rig.pass(Duration::from_millis(50));
    rig.client.read(stream, 100_000);
    assert_eq!(rig.client.reset_code(stream), Some(REQUEST_CANCELLED));
    assert!(!rig.client.is_finished(stream));
}

#[test]
fn a_reader_that_takes_a_little_now_and_then_is_served_to_the_end() {
    let mut rig = Rig::new(Options {
        config: CONFIG,
        client: |c| {
            c.set_initial_max_stream_data_bidi_local(1_000);
            c.set_max_stream_window(1_000);
        },
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("content-length", "20000")], false);
    rig.connections[0].1.write(asked, &[1; 20_000], true);
    let mut read = 0;
    for _ in 0..100 {
        rig.settle();
        rig.skip(secs(15));
        read += rig.client.read(stream, 1_000).len();
    }
    assert_eq!(read, 20_000);
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

#[test]
fn trailers_that_find_no_room_do_not_wait_for_ever() {
    let mut rig = Rig::new(Options {
        config: CONFIG,
        client: |c| c.set_initial_max_stream_data_bidi_local(3_000),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[1; 2_000], false);
    rig.settle();
    let long = "x".repeat(4_000);
    let trailers = [quiche::h3::Header::new(b"x-long", long.as_bytes())];
    let (h3, quic) = rig.connections[0].1.http();
    h3.send_additional_headers(quic, asked, &trailers, true, true)
        .expect("there is room toward us");
    rig.settle();
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(secs(21));
    idle(&rig.records[0], Outcome::Reset, "the client reads nothing");
    rig.client.read(stream, 10_000);
    rig.pass(Duration::from_millis(50));
    rig.client.read(stream, 10_000);
    assert!(!rig.client.is_finished(stream));
}

#[test]
fn two_sides_that_both_wait_are_both_told() {
    let mut rig = rig(CONFIG);
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    rig.skip(secs(21));
    assert_eq!(rig.client.reset_code(stream), Some(REQUEST_CANCELLED));
    assert_eq!(
        rig.connections[0].1.reset_code(asked),
        Some(REQUEST_CANCELLED)
    );
    idle(
        &rig.records[0],
        Outcome::Reset,
        "neither side sends anything",
    );
}

#[test]
fn bytes_in_one_direction_keep_the_other_alive() {
    let mut rig = rig(CONFIG);
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    for n in 0..20 {
        rig.skip(secs(15));
        if n % 2 == 0 {
            rig.client.write(stream, &[1], false);
        } else {
            rig.connections[0].1.write(asked, &[1], false);
        }
        rig.settle();
        rig.client.read(stream, 10);
        rig.connections[0].1.read(asked, 10);
    }
    assert!(rig.records.is_empty(), "{:?}", rig.records);
}

#[test]
fn a_request_that_takes_too_long_is_504_wherever_it_waits() {
    // With a backend that does not answer, and in the queue.
    let mut rig = rig(
        "timeouts: { request: 3s }\nconnections: { max: 1, max_requests: 1, queue_timeout: 60s }\n",
    );
    let (first, second) = (rig.get("/"), rig.get("/"));
    rig.settle();
    let asked = rig.asked(0);
    rig.skip(Duration::from_millis(2900));
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(Duration::from_millis(200));
    for stream in [first, second] {
        assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
        assert_eq!(rig.client.read(stream, 100), b"504 request_timeout\n");
        assert!(rig.client.is_finished(stream));
    }
    for record in &rig.records {
        assert_eq!(record.reason, Some(Reason::RequestTimeout));
        assert_eq!(record.outcome, Outcome::LocalReply);
    }
    let stopped = rig.connections[0].1.quic.stream_capacity(asked);
    assert_eq!(
        stopped,
        Err(quiche::Error::StreamStopped(REQUEST_CANCELLED))
    );
    // While the handshake with a backend goes on.
    let mut rig = Rig::new(Options {
        config: "timeouts: { request: 3s, connect: 60s }\n",
        ..Options::default()
    });
    rig.deaf = true;
    let stream = rig.get("/");
    rig.settle();
    rig.skip(secs(4));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.records[0].reason, Some(Reason::RequestTimeout));
}

#[test]
fn a_response_that_takes_too_long_is_reset_however_it_moves() {
    let mut rig = rig("timeouts: { request: 30s }\n");
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    for _ in 0..29 {
        rig.connections[0].1.write(asked, &[1; 100], false);
        rig.settle();
        rig.client.read(stream, 1000);
        rig.skip(secs(1));
    }
    assert!(rig.records.is_empty(), "{:?}", rig.records);
    rig.skip(secs(1));
    assert_eq!(rig.records[0].reason, Some(Reason::RequestTimeout));
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
    assert_eq!(rig.client.reset_code(stream), Some(REQUEST_CANCELLED));
    assert!(!rig.client.is_finished(stream));
    // None by default.
    let mut rig = self::rig("timeouts: { idle: 24h, response_header: 24h }\n");
    rig.get("/");
    rig.settle();
    rig.skip(secs(23 * 3600));
    assert!(rig.records.is_empty(), "{:?}", rig.records);
}

fn idle(record: &Record, outcome: Outcome, detail: &str) {
    assert_eq!(record.reason, Some(Reason::IdleTimeout), "{record:?}");
    assert_eq!(
        (record.outcome, record.detail.as_deref()),
        (outcome, Some(detail))
    );
}

fn rig(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        ..Options::default()
    })
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
