//! Connections of both sides, and what they hold on to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use spooky_core::io::{Datagram, SocketId};
use spooky_core::limits;
use spooky_tests::rig::{Options, Rig};

#[test]
fn connections_that_go_idle_together_leave_those_that_are_kept() {
    let config = "quic: { max_streams: 100 }\nconnections: { min_idle: 1 }\n";
    let mut rig = Rig::new(Options {
        config,
        backend: |c| c.set_initial_max_streams_bidi(1),
        ..Options::default()
    });
    (0..3).for_each(|_| {
        rig.get("/");
    });
    rig.settle();
    assert_eq!(rig.connections.len(), 3);
    for connection in 0..3 {
        let asked = rig.asked(connection);
        rig.answer(connection, asked, &[], true);
    }
    rig.settle();
    assert_eq!(rig.records.len(), 3);
    rig.skip(Duration::from_secs(61));
    assert_eq!(rig.proxy.snapshot().backends[0].connections, 1);
    rig.skip(Duration::from_secs(2));
    assert_eq!(rig.connections.len(), 3, "no new one is needed");
}

#[test]
fn a_client_that_moves_often_never_runs_out_of_ids() {
    let mut rig = Rig::new(Options::default());
    for sequence in 1..10 {
        assert!(
            rig.client.quic.available_dcids() > 0,
            "before it gives up {sequence}"
        );
        rig.client
            .quic
            .retire_dcid(sequence)
            .expect("it has this one");
        rig.settle();
    }
}

#[test]
#[ignore = "quiche 0.30 collects a stream that it stopped reading only on an acknowledgement: an end that comes later leaves it open"]
fn a_refused_upload_gives_its_stream_back_whatever_was_lost() {
    let mut rig = Rig::new(Options {
        config: "quic: { max_streams: 4 }\n",
        ..Options::default()
    });
    for round in 0..6 {
        assert!(
            rig.client.quic.peer_streams_left_bidi() > 0,
            "round {round}"
        );
        let stream = rig.request("POST", "/", &[], false);
        rig.settle();
        let asked = rig.asked(0);
        rig.answer(0, asked, &[], true);
        rig.from_backends();
        rig.run();
        // The client has the answer, and was told to stop. Its reset is lost, and
        // an acknowledgement overtakes the repetition.
        rig.client.datagrams();
        std::thread::sleep(Duration::from_millis(150));
        rig.proxy.handle_timeout(Instant::now());
        rig.run();
        rig.from_client();
        rig.pass(Duration::from_millis(300));
        assert!(rig.client.quic.stream_finished(stream));
    }
}

/// How often a driver would wake up for the proxy in so long.
fn wakeups(rig: &mut Rig, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut count = 0;
    while let Some(due) = rig.proxy.poll_timeout().filter(|due| *due < end) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        rig.proxy.handle_timeout(Instant::now());
        rig.run();
        count += 1;
    }
    count
}

#[test]
fn silence_costs_no_time() {
    let mut rig = Rig::new(Options::default());
    rig.get("/");
    rig.pass(Duration::from_millis(50));
    // A backend that falls silent with a request, and new ones that go nowhere.
    rig.deaf = true;
    rig.request("POST", "/", &[], false);
    for _ in 0..3 {
        rig.from_client();
        rig.run();
        rig.get("/");
    }
    let count = wakeups(&mut rig, Duration::from_millis(500));
    assert!(count < 40, "{count}");
}

#[test]
fn a_drained_client_hears_of_it_and_what_crossed_that_is_refused() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    let now = Instant::now();
    rig.proxy.drain(now + Duration::from_secs(5), now);
    rig.settle();
    let told = |(_, event): &(u64, quiche::h3::Event)| matches!(event, quiche::h3::Event::GoAway);
    assert!(rig.client.events.iter().any(told));
    assert_eq!(
        rig.client.reset_code(stream),
        Some(0x10b),
        "H3_REQUEST_REJECTED"
    );
    assert!(!rig.drained && !rig.client.quic.is_draining());
    rig.pass(Duration::from_millis(250));
    assert!(rig.drained && rig.client.quic.is_draining());
    assert_eq!(
        rig.client.quic.peer_error().map(|e| e.error_code),
        Some(0x100)
    );
}

#[test]
fn a_first_datagram_that_comes_late_again_starts_nothing() {
    let mut rig = Rig::unconnected(Options::default());
    let first = rig.client.datagrams();
    rig.from_address(first.clone());
    rig.settle();
    assert!(rig.client.quic.is_established());
    rig.from_address(first);
    rig.settle();
    let snapshot = rig.proxy.snapshot();
    assert_eq!(snapshot.counters.connections_accepted, 1);
}

#[test]
fn strangers_are_asked_for_their_address_as_far_as_there_is_room() {
    let mut rig = Rig::unconnected(Options {
        config: "quic: { retry: always }\n",
        ..Options::default()
    });
    let mut hello = vec![0; 1200];
    // RFC 9000 section 17.2: long header, version, and two ids with their lengths.
    hello[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
    hello[14] = 8;
    rig.from_address(vec![hello.clone(); 2 * limits::STATELESS]);
    assert_eq!(rig.run(), limits::STATELESS, "the rest is forgotten");
    rig.from_address(vec![hello]);
    assert_eq!(rig.run(), 1, "and there is room again");
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.connections_accepted, 0);
    assert_eq!(counters.stateless_dropped as usize, limits::STATELESS);
    assert_eq!(
        counters.datagrams_dropped as usize,
        2 * limits::STATELESS + 1
    );
}

/// Who knows our other sockets must not draw a connection over to one.
#[test]
fn a_datagram_on_a_socket_that_is_not_its_connections_is_dropped() {
    let mut rig = Rig::new(Options::default());
    let before = rig.proxy.snapshot().counters.datagrams_dropped;
    rig.get("/");
    let (client, listener) = (address(50_000), address(443));
    let datagrams = rig.client.datagrams();
    let strays = datagrams.len() as u64;
    for mut data in datagrams {
        let datagram = Datagram {
            socket: SocketId(1),
            from: client,
            to: listener,
            stride: data.len(),
            handed_over: false,
            data: &mut data,
        };
        let now = rig.now();
        rig.proxy.handle_datagram(datagram, &mut Vec::new(), now);
    }
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.datagrams_dropped, before + strays);
    assert_eq!(counters.requests, 0);
    // It was lost, and no more than that.
    rig.pass(Duration::from_millis(1_500));
    assert_eq!(rig.proxy.snapshot().counters.requests, 1);
}

#[test]
fn a_client_with_no_idle_timeout_of_its_own_is_kept_by_a_few_pings() {
    let mut rig = Rig::new(Options {
        config: "quic: { idle_timeout: 1s }\n",
        client: |c| c.set_max_idle_timeout(0),
        ..Options::default()
    });
    let stream = rig.get("/");
    rig.settle();
    let before = rig.proxy.snapshot().counters.datagrams_sent;
    rig.pass(Duration::from_millis(1_500));
    let sent = rig.proxy.snapshot().counters.datagrams_sent - before;
    assert!(sent < 25, "{sent} datagrams to both sides");
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(stream));
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
