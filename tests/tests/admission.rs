//! Who may begin a connection, and who is told that it may not; and requests beyond
//! `limits.requests_per_connection`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use spooky_core::io::{Datagram, SocketId};
use spooky_core::limits;
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};
use spooky_tests::sim::Counting;
use spooky_tests::stranger::{Strangers, flight};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LISTENER: ([u8; 4], u16) = ([127, 0, 0, 1], 443);

fn rig(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        ..Options::default()
    })
}

/// Client `n` of many, each at an address of its own.
fn stranger(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 4433))
}

/// Gives the proxy a stranger's datagrams, and takes all that it sends.
fn knock(rig: &mut Rig, from: SocketAddr, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let now = rig.now();
    for mut data in datagrams {
        let datagram = Datagram {
            socket: SocketId::LISTENER,
            from,
            to: LISTENER.into(),
            stride: data.len(),
            handed_over: false,
            data: &mut data,
        };
        rig.charged(|proxy| proxy.handle_datagram(datagram, &mut Vec::new(), now));
    }
    answers(rig, from)
}

fn answers(rig: &mut Rig, from: SocketAddr) -> Vec<Vec<u8>> {
    let now = rig.now();
    let (mut answers, mut buf) = (Vec::new(), Vec::new());
    while let Some(transmit) = rig.charged(|proxy| proxy.poll_transmit(1, &mut buf, now)) {
        if transmit.to == from {
            answers.push(buf[..transmit.size].to_vec());
        }
    }
    answers
}

#[test]
fn a_client_that_is_one_too_many_is_told_so_at_once() {
    let mut rig = rig("limits: { connections: 1 }\n");
    let from = stranger(1);
    let mut client = Strangers::new().client(from, LISTENER.into());
    let hello = flight(&mut client);
    assert_eq!(hello.len(), 2, "with ML-KEM");
    let asked: usize = hello.iter().map(Vec::len).sum();
    let answers = knock(&mut rig, from, hello);
    assert!(!answers.is_empty());
    assert!(answers.iter().map(Vec::len).sum::<usize>() * 10 < asked);
    for mut answer in answers {
        let info = quiche::RecvInfo {
            from: LISTENER.into(),
            to: from,
        };
        // The second one comes to a client that is gone.
        let _ = client.recv(&mut answer, info);
    }
    let error = client.peer_error().expect("it is told");
    // RFC 9000 section 20.1: CONNECTION_REFUSED.
    assert_eq!((error.is_app, error.error_code), (false, 0x2));
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_accepted, 1);
    assert_eq!(counters.connections_refused, 2);
    assert_eq!(counters.connections_refused_limit, 2);
}

#[test]
fn a_crowd_that_is_refused_leaves_nothing_behind_and_is_not_answered_without_end() {
    let mut rig = rig("limits: { connections: 1 }\n");
    let mut strangers = Strangers::small();
    let crowd = 3 * limits::REFUSALS_PER_SECOND;
    let hellos: Vec<_> = (0..crowd)
        .map(|n| strangers.first_flight(stranger(n), LISTENER.into()))
        .collect();
    // The buffers are there after the first.
    knock(&mut rig, stranger(0), hellos[0].clone());
    let before = rig.held();
    let mut answered = 0;
    for (n, hello) in (0..).zip(hellos) {
        answered += knock(&mut rig, stranger(n), hello).len();
    }
    assert_eq!(rig.held(), before, "bytes");
    let most = limits::REFUSALS_PER_SECOND as usize;
    assert!((most / 2..2 * most).contains(&answered), "{answered}");
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_refused_limit, u64::from(crowd) + 1);
}

#[test]
fn an_address_has_its_share_and_another_has_its_own() {
    let mut rig = rig("limits: { connections_per_ip: 3 }\n");
    let mut strangers = Strangers::small();
    for n in [1, 1, 1, 1, 1, 2] {
        let from = SocketAddr::from(([10, 0, 0, n], 4000 + u16::from(n)));
        let hello = strangers.first_flight(from, LISTENER.into());
        knock(&mut rig, from, hello);
    }
    let counters = rig.proxy.snapshot().counters;
    // The rig's own client is another one.
    assert_eq!(counters.connections_accepted, 1 + 3 + 1);
    assert_eq!(counters.connections_refused_per_ip, 2);
}

#[test]
fn connections_come_no_faster_than_is_allowed() {
    let mut rig = rig("limits: { new_connections_per_second: 10 }\n");
    let mut strangers = Strangers::small();
    let mut knock_all = |rig: &mut Rig, count| {
        for n in 0..count {
            let hello = strangers.first_flight(stranger(n), LISTENER.into());
            knock(rig, stranger(n), hello);
        }
        rig.proxy.snapshot().counters.connections_accepted
    };
    let first = knock_all(&mut rig, 100);
    assert!((10..15).contains(&first), "{first}");
    rig.skip(Duration::from_millis(500));
    let later = knock_all(&mut rig, 100) - first;
    assert!((5..8).contains(&later), "{later}");
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_refused_rate, 201 - first - later);
}

#[test]
fn one_address_comes_no_faster_than_is_allowed_and_does_not_hold_up_others() {
    let mut rig = rig("limits: { new_connections_per_ip_per_second: 2 }\n");
    let mut strangers = Strangers::small();
    for n in [1, 1, 1, 1, 2] {
        let hello = strangers.first_flight(stranger(n), LISTENER.into());
        knock(&mut rig, stranger(n), hello);
    }
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_accepted, 1 + 2 + 1);
    assert_eq!(counters.connections_refused_rate_per_ip, 2);
}

#[test]
fn a_handshake_has_its_time_and_then_its_place_is_free() {
    let mut rig = rig("limits: { handshake_timeout: 300ms, connections: 2 }\n");
    let mut strangers = Strangers::small();
    let hello = strangers.first_flight(stranger(1), LISTENER.into());
    assert!(!knock(&mut rig, stranger(1), hello).is_empty());
    assert_eq!(rig.proxy.snapshot().downstream_connections, 2);
    rig.skip(Duration::from_millis(299));
    answers(&mut rig, stranger(1));
    assert_eq!(rig.proxy.snapshot().counters.handshakes_failed, 0);
    rig.skip(Duration::from_millis(2));
    answers(&mut rig, stranger(1));
    assert_eq!(rig.proxy.snapshot().counters.handshakes_failed, 1);
}

#[test]
fn a_process_on_its_way_out_says_so_to_who_comes() {
    let mut rig = rig("");
    let now = Instant::now();
    rig.proxy.drain(now + Duration::from_secs(5), now);
    let hello = Strangers::small().first_flight(stranger(1), LISTENER.into());
    assert_eq!(knock(&mut rig, stranger(1), hello).len(), 1);
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_refused_draining, 1);
}

// ---- limits.requests_per_connection ------------------------------------------------

#[test]
fn after_its_last_request_a_client_is_asked_to_leave_and_what_is_in_flight_ends_whole() {
    let mut rig = rig("limits: { requests_per_connection: 3 }\n");
    let streams: Vec<u64> = (0..5).map(|_| rig.get("/")).collect();
    rig.settle();
    assert!(rig.client.events.contains(&(12, quiche::h3::Event::GoAway)));
    for stream in &streams[3..] {
        // H3_REQUEST_REJECTED.
        assert_eq!(rig.client.reset_code(*stream), Some(0x10b));
    }
    // Longer than it takes to say goodbye to one that has nothing in flight.
    rig.pass(2 * limits::GOODBYE);
    assert!(!rig.client.quic.is_draining(), "three are being served");
    for stream in [0, 4, 8] {
        rig.answer(0, stream, &[], true);
    }
    rig.settle();
    for stream in &streams[..3] {
        assert_eq!(rig.client.status(*stream).as_deref(), Some("200"));
        assert!(rig.client.is_finished(*stream));
    }
    rig.pass(2 * limits::GOODBYE);
    assert_eq!(rig.client.close_code(), Some(0x100), "H3_NO_ERROR");
    let complete = rig
        .records
        .iter()
        .filter(|r| r.outcome == Outcome::Complete);
    assert_eq!(complete.count(), 3);
    let rejected = rig.records.iter().filter(|r| {
        r.reason == Some(Reason::Draining)
            && r.detail.as_deref() == Some("after the connection's last request")
    });
    assert_eq!(rejected.count(), 2);
}

#[test]
fn one_after_the_other_are_as_many_and_a_new_connection_has_its_own() {
    let mut rig = rig("limits: { requests_per_connection: 2 }\n");
    for stream in [0, 4] {
        rig.get("/");
        rig.settle();
        rig.answer(0, stream, &[], true);
        rig.settle();
        assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    }
    assert!(rig.client.events.contains(&(8, quiche::h3::Event::GoAway)));
    rig.pass(2 * limits::GOODBYE);
    assert_eq!(rig.client.close_code(), Some(0x100), "H3_NO_ERROR");
    assert_eq!(rig.proxy.snapshot().counters.requests, 2);
}
