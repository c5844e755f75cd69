//! Limits hold: `limits.body_bytes`, `limits.resets_per_connection`, and what a
//! connection that lives long holds on to.

use std::time::Duration;

use quiche::h3::Event;
use spooky_core::limits;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};
use spooky_tests::sim::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUEST_CANCELLED: u64 = 0x10c;
const EXCESSIVE_LOAD: u64 = 0x107;
const NO_ERROR: u64 = 0x100;

// ---- limits.body_bytes -----------------------------------------------------------

#[test]
fn a_body_that_is_announced_to_be_too_large_reaches_no_backend() {
    let mut rig = rig("limits: { body_bytes: 1000 }\n");
    let stream = rig.request("POST", "/", &[("content-length", "1001")], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("413"));
    let stopped = rig.client.quic.stream_capacity(stream);
    assert_eq!(stopped, Err(quiche::Error::StreamStopped(NO_ERROR)));
    assert!(rig.connections.is_empty(), "no backend hears of it");
    let record = &rig.records[0];
    assert_eq!(record.reason, Some(Reason::BodyTooLarge));
    assert_eq!(record.outcome, Outcome::LocalReply);
    assert_eq!((record.attempts, record.request_bytes), (0, 0));
    let why = rig.field(stream, "proxy-status");
    let told =
        "spooky; error=http_request_denied; details=\"more than 1000 bytes (limits.body_bytes)\"";
    assert_eq!(why.as_deref(), Some(told));
}

#[test]
fn a_body_as_large_as_the_limit_passes() {
    let mut rig = rig("limits: { body_bytes: 1000 }\n");
    for announced in [&[("content-length", "1000")][..], &[]] {
        let stream = rig.request("POST", "/", announced, false);
        rig.client.write(stream, &[7; 1000], true);
        rig.settle();
        let asked = rig.asked(0);
        assert_eq!(rig.connections[0].1.read(asked, 2000).len(), 1000);
        rig.answer(0, asked, &[], true);
        rig.settle();
        let record = rig.records.pop().expect("it ended");
        assert_eq!(
            (record.outcome, record.request_bytes),
            (Outcome::Complete, 1000)
        );
    }
}

#[test]
fn a_body_of_unknown_length_that_crosses_the_limit_is_413_and_cancelled_at_the_backend() {
    let mut rig = rig("limits: { body_bytes: 1000 }\n");
    let stream = rig.request("POST", "/", &[], false);
    rig.client.write(stream, &[7; 600], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.client.write(stream, &[7; 600], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("413"));
    let stopped = rig.client.quic.stream_capacity(stream);
    assert_eq!(stopped, Err(quiche::Error::StreamStopped(NO_ERROR)));
    let backend = &mut rig.connections[0].1;
    assert!(!backend.is_finished(asked));
    assert_eq!(backend.reset_code(asked), Some(REQUEST_CANCELLED));
    let record = &rig.records[0];
    assert_eq!(record.reason, Some(Reason::BodyTooLarge));
    assert_eq!(
        (record.outcome, record.request_bytes),
        (Outcome::LocalReply, 1200)
    );
}

#[test]
fn a_body_that_crosses_the_limit_after_the_response_began_is_a_reset() {
    let mut rig = rig("limits: { body_bytes: 1000 }\n");
    let stream = rig.request("POST", "/", &[], false);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    rig.client.write(stream, &[7; 1001], true);
    rig.settle();
    assert_eq!(rig.client.reset_code(stream), Some(REQUEST_CANCELLED));
    assert!(!rig.client.is_finished(stream));
    let backend = &mut rig.connections[0].1;
    assert!(!backend.is_finished(asked));
    assert_eq!(backend.reset_code(asked), Some(REQUEST_CANCELLED));
    assert_eq!(rig.records[0].reason, Some(Reason::BodyTooLarge));
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
}

#[test]
fn responses_have_no_such_limit() {
    let mut rig = rig("limits: { body_bytes: 1000 }\n");
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 50_000], true);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100_000).len(), 50_000);
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

// ---- limits.resets_per_connection --------------------------------------------------

/// CVE-2023-44487 ("rapid reset"), over HTTP/3.
#[test]
fn a_client_that_cancels_all_it_asks_for_is_sent_away_with_all_it_has_open() {
    let mut rig = rig("limits: { resets_per_connection: 20 }\n");
    let (stays, begun) = (rig.get("/"), rig.get("/"));
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    for _ in 0..20 {
        let stream = rig.get("/");
        rig.settle();
        give_up(&mut rig, stream);
    }
    assert!(!rig.client.quic.is_closed() && rig.client.quic.peer_error().is_none());
    assert_eq!(rig.records.len(), 20);
    let stream = rig.get("/");
    rig.settle();
    give_up(&mut rig, stream);
    let error = rig.client.quic.peer_error().expect("it is closed");
    assert!(error.is_app);
    assert_eq!(error.error_code, EXCESSIVE_LOAD);
    assert_eq!(rig.proxy.snapshot().counters.connections_reset_floods, 1);
    assert_eq!(rig.records.len(), 23, "{stays} and {begun} as well");
    for record in &rig.records[..21] {
        assert_eq!(record.reason, Some(Reason::ClientCancelled));
    }
    for record in &rig.records[21..] {
        assert_eq!(record.reason, Some(Reason::TooManyResets));
        assert_eq!(record.outcome, Outcome::Reset);
    }
    // The backend hears that nobody waits for any of them, and is none the worse.
    assert_eq!(rig.proxy.snapshot().exchanges, 0);
    assert_eq!(rig.proxy.snapshot().backends[0].requests, 0);
    let backend = &mut rig.connections[0].1.quic;
    assert!(backend.peer_error().is_none());
    assert!(backend.stream_capacity(asked).is_err(), "nobody reads it");
}

#[test]
fn requests_that_come_with_the_last_reset_are_not_begun() {
    let mut rig = rig("limits: { resets_per_connection: 1 }\n");
    let streams: Vec<u64> = (0..10).map(|_| rig.get("/")).collect();
    rig.settle();
    assert_eq!(rig.proxy.snapshot().counters.requests, 10);
    for &stream in &streams[..2] {
        abandon(&mut rig, stream);
    }
    let resets = rig.client.datagrams();
    (0..10).for_each(|_| {
        rig.get("/");
    });
    let late = rig.client.datagrams();
    rig.from_address(resets);
    rig.run();
    rig.from_address(late);
    rig.settle();
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(
        (counters.connections_reset_floods, counters.requests),
        (1, 10)
    );
    assert_eq!(rig.records.len() as u64, counters.requests);
    assert_eq!(rig.proxy.snapshot().exchanges, 0);
}

#[test]
fn a_stream_that_is_only_stopped_counts_as_well() {
    let mut rig = rig("limits: { resets_per_connection: 3 }\n");
    for _ in 0..4 {
        assert!(rig.client.quic.peer_error().is_none());
        let stream = rig.get("/");
        rig.settle();
        let quic = &mut rig.client.quic;
        quic.stream_shutdown(stream, quiche::Shutdown::Read, REQUEST_CANCELLED)
            .expect("open");
        rig.settle();
    }
    let error = rig.client.quic.peer_error().expect("it is closed");
    assert_eq!(error.error_code, EXCESSIVE_LOAD);
}

#[test]
fn a_stream_whose_head_never_came_whole_counts_and_is_given_back() {
    let mut rig = rig("limits: { resets_per_connection: 8 }\nquic: { max_streams: 4 }\n");
    let mut stream = rig.get("/");
    rig.settle();
    for _ in 0..9 {
        assert!(rig.client.quic.peer_error().is_none());
        assert!(rig.client.quic.peer_streams_left_bidi() > 0, "{stream}");
        stream += 4;
        let quic = &mut rig.client.quic;
        // A HEADERS frame of 100 bytes, of which one comes.
        quic.stream_send(stream, &[1, 0x40, 100, 0], false)
            .expect("there is credit");
        rig.settle();
        give_up(&mut rig, stream);
    }
    let error = rig.client.quic.peer_error().expect("it is closed");
    assert_eq!(error.error_code, EXCESSIVE_LOAD);
    assert_eq!(rig.connections[0].1.heads(), 1, "no backend hears of them");
}

#[test]
fn who_cancels_what_is_on_its_way_is_not_sent_away() {
    let mut rig = rig("limits: { resets_per_connection: 3 }\n");
    for _ in 0..20 {
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        rig.settle();
        give_up(&mut rig, stream);
    }
    assert!(rig.client.quic.peer_error().is_none());
    assert_eq!(rig.proxy.snapshot().counters.connections_reset_floods, 0);
}

#[test]
fn cancellations_that_are_long_ago_do_not_count() {
    let mut rig = rig("limits: { resets_per_connection: 3 }\n");
    for _ in 0..10 {
        for _ in 0..3 {
            let stream = rig.get("/");
            rig.settle();
            give_up(&mut rig, stream);
        }
        rig.skip(Duration::from_secs(31));
    }
    assert!(rig.client.quic.peer_error().is_none());
    assert_eq!(rig.records.len(), 30);
}

// ---- what a long life leaves behind --------------------------------------------------

// ---- slow bodies and slow readers ----------------------------------------------------

#[test]
fn bodies_that_come_in_drops_hold_up_nobody_and_cost_no_more_than_what_has_come() {
    let mut rig = rig("");
    let slow: Vec<u64> = (0..60)
        .map(|_| rig.request("POST", "/", &[], false))
        .collect();
    rig.settle();
    let began_with = rig.held();
    for _ in 0..20 {
        for &stream in &slow {
            assert_eq!(rig.client.write(stream, &[1; 10], false), 10);
        }
        // One in a hurry between each two drops.
        let stream = rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        rig.connections[0].1.write(asked, &[2; 50_000], true);
        rig.settle();
        assert_eq!(rig.client.read(stream, 100_000).len(), 50_000);
        assert!(rig.client.is_finished(stream));
    }
    assert_eq!(rig.records.len(), 20, "{:?}", rig.records);
    rig.records.clear();
    let grown = rig.held() - began_with;
    assert!(grown < 60 * 4_000, "{grown} bytes for 60 uploads of 200");
}

#[test]
fn readers_that_stop_hold_up_nobody_and_cost_their_windows() {
    const WINDOW: u64 = 20_000;
    let mut rig = Rig::new(Options {
        config: "quic: { stream_window: 32KiB }\n",
        client: |c| {
            c.set_initial_max_stream_data_bidi_local(WINDOW);
            c.set_max_stream_window(WINDOW);
        },
        ..Options::default()
    });
    let began_with = rig.held();
    for _ in 0..60 {
        rig.get("/");
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], false);
        for _ in 0..5 {
            rig.connections[0].1.write(asked, &[2; 50_000], false);
            rig.settle();
        }
        let held = rig.held() - began_with;
        let open = rig.client.streams_with_heads().len() as i64;
        // What lies unread toward us, a quarter more for what quiche adds, and what the
        // client was sent.
        let most = 100_000 + open * (WINDOW as i64 + (32 << 10) * 5 / 4);
        assert!(held < most, "{held} bytes for {open} that do not read");
    }
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    let mut sent = 0;
    let mut read = 0;
    for _ in 0..200 {
        sent += rig.connections[0]
            .1
            .write(asked, &vec![2; 100_000 - sent], true);
        rig.settle();
        read += rig.client.read(stream, 100_000).len();
    }
    assert_eq!((sent, read), (100_000, 100_000));
}

/// quiche keeps a RESET_STREAM until it is acknowledged, although it has forgotten the
/// stream: a peer that acknowledges all but those would make us keep them all. So their
/// number is bounded.
#[test]
fn who_made_us_reset_very_many_streams_is_asked_to_go_and_then_sent_away() {
    let mut rig = rig("limits: { resets_per_connection: 1000000 }\n");
    let most = limits::RESETS_TOLD as usize;
    let mut goaway = None;
    // With nothing open it would be let go in peace.
    rig.get("/");
    for n in 0..3 * most {
        if rig.client.quic.peer_error().is_some() {
            break;
        }
        // It does not go when it is asked to.
        let stream = n as u64 * 4 + 4;
        let quic = &mut rig.client.quic;
        quic.stream_send(stream, &[1, 0x40, 100, 0], false)
            .expect("there is credit");
        rig.settle();
        give_up(&mut rig, stream);
        let told = |(_, event): &(u64, Event)| matches!(event, Event::GoAway);
        if goaway.is_none() && rig.client.events.iter().any(told) {
            goaway = Some(n);
        }
        rig.client.events.clear();
    }
    let asked = goaway.expect("it is asked to go");
    assert!((most..most + 10).contains(&asked), "{asked}");
    let error = rig.client.quic.peer_error().expect("it is closed");
    assert_eq!(error.error_code, EXCESSIVE_LOAD);
    let resets = rig.client.quic.stats().reset_stream_count_remote as usize;
    assert!((2 * most..2 * most + 10).contains(&resets), "{resets}");
}

#[test]
fn a_backends_connection_on_which_very_many_were_cancelled_gets_no_more() {
    let mut rig = rig("limits: { resets_per_connection: 1000000 }\n");
    for _ in 0..limits::RESETS_TOLD + 2 {
        let stream = rig.request("POST", "/", &[], false);
        rig.settle();
        let asked = rig.asked(0);
        // What is left of the request is cancelled there, and stopped here.
        rig.answer(0, asked, &[], true);
        rig.settle();
        rig.client.read(stream, 10);
        let _ = rig.client.quic.stream_capacity(stream);
        let quic = &mut rig.connections[0].1.quic;
        let _ = quic.stream_shutdown(asked, quiche::Shutdown::Read, NO_ERROR);
        rig.client.events.clear();
        rig.connections[0].1.events.clear();
    }
    rig.get("/");
    rig.settle();
    assert_eq!(rig.connections.len(), 2, "it goes over a fresh one");
}

/// Requests on one connection after a tenth of which nothing may grow any more.
/// `SPOOKY_LONG_REQUESTS=100000` is the long version; less than [`limits::RESETS_TOLD`]
/// where each ends in a reset.
fn long() -> usize {
    match std::env::var("SPOOKY_LONG_REQUESTS") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => 4_000,
    }
}

#[test]
fn a_connection_keeps_nothing_of_the_requests_that_are_over() {
    grows_no_more(|rig, stream, asked| {
        rig.answer(0, asked, &[("content-length", "10")], false);
        rig.connections[0].1.write(asked, &[1; 10], true);
        rig.settle();
        assert_eq!(rig.client.read(stream, 100).len(), 10);
    });
}

#[test]
fn a_connection_keeps_nothing_of_the_requests_that_were_cancelled() {
    grows_no_more(|rig, stream, asked| {
        give_up(rig, stream);
        // quiche collects a stream that was stopped when it is asked for it.
        let _ = rig.connections[0].1.quic.stream_capacity(asked);
    });
}

#[test]
fn a_connection_keeps_nothing_of_the_requests_that_a_backend_reset() {
    grows_no_more(|rig, stream, asked| {
        let quic = &mut rig.connections[0].1.quic;
        for direction in [quiche::Shutdown::Write, quiche::Shutdown::Read] {
            // `Done`: that half is over.
            let _ = quic.stream_shutdown(asked, direction, 0x102);
        }
        rig.settle();
        rig.client.read(stream, 100);
        assert_eq!(rig.client.status(stream).as_deref(), Some("502"));
    });
}

#[test]
fn a_connection_keeps_nothing_of_the_uploads_that_were_answered_early() {
    grows_no_more_of("POST", |rig, stream, asked| {
        rig.answer(0, asked, &[], true);
        rig.settle();
        rig.client.read(stream, 100);
        // What quiche needs to be told to learn that it was stopped.
        let _ = rig.client.quic.stream_capacity(stream);
        let quic = &mut rig.connections[0].1.quic;
        let _ = quic.stream_shutdown(asked, quiche::Shutdown::Read, NO_ERROR);
    });
}

fn grows_no_more(end: impl Fn(&mut Rig, u64, u64)) {
    grows_no_more_of("GET", end);
}

/// Asks for a long time, but not so long that connections are given up, ends each request by `end`, and looks at what is held.
fn grows_no_more_of(method: &str, end: impl Fn(&mut Rig, u64, u64)) {
    let mut rig = rig("limits: { resets_per_connection: 1000000 }\n");
    let (mut begin, most) = (0, long());
    for n in 0..most {
        let stream = rig.request(method, "/", &[], method == "GET");
        rig.settle();
        let asked = rig.asked(0);
        end(&mut rig, stream, asked);
        rig.settle();
        // Records are on the proxy's account until they are dropped.
        rig.records.clear();
        rig.client.events.clear();
        rig.connections[0].1.events.clear();
        if n == most / 10 {
            begin = rig.held();
        }
    }
    assert!(begin > 0, "the allocator counts");
    let grown = rig.held() - begin;
    // Less than a byte a request.
    assert!(
        grown < 3_000,
        "{grown} bytes more than the {begin} at first"
    );
    assert!(rig.client.quic.peer_error().is_none());
}

/// The client gives a request up, as browsers do.
fn give_up(rig: &mut Rig, stream: u64) {
    abandon(rig, stream);
    rig.settle();
}

/// The same, and nothing is moved yet.
fn abandon(rig: &mut Rig, stream: u64) {
    for direction in [quiche::Shutdown::Write, quiche::Shutdown::Read] {
        // `Done`: that half is over.
        let _ = rig
            .client
            .quic
            .stream_shutdown(stream, direction, REQUEST_CANCELLED);
    }
}

fn rig(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        ..Options::default()
    })
}
