//! Clients that change their address, probe paths and give ids up, as fast as they can;
//! and datagrams that leave when it is time.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use spooky_core::io::{Datagram, SocketId};
use spooky_tests::rig::{Options, Rig};
use spooky_tests::sim::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HOME: &str = "127.0.0.1:50000";

/// Takes what the client has to send, and gives it to the proxy as from `from`.
fn send_from(rig: &mut Rig, from: SocketAddr) -> usize {
    let datagrams = rig.client.datagrams();
    let count = datagrams.len();
    for mut data in datagrams {
        let datagram = Datagram {
            socket: SocketId::LISTENER,
            from,
            to: "127.0.0.1:443".parse().expect("an address"),
            stride: data.len(),
            handed_over: false,
            data: &mut data,
        };
        let now = rig.now();
        rig.proxy.handle_datagram(datagram, &mut Vec::new(), now);
    }
    rig.run();
    count
}

fn ping_from(rig: &mut Rig, from: SocketAddr) {
    rig.client.quic.send_ack_eliciting().expect("it lives");
    let sent = send_from(rig, from);
    assert!(
        sent > 0,
        "{from}: closed {:?} {:?}",
        rig.client.quic.peer_error(),
        rig.client.quic.local_error()
    );
}

#[test]
fn where_clients_may_not_move_another_ip_is_dropped_and_another_port_is_not() {
    let mut rig = Rig::new(Options {
        config: "quic: { active_migration: off }\n",
        ..Options::default()
    });
    let told = rig.client.quic.peer_transport_params();
    assert!(told.expect("it is connected").disable_active_migration);
    let before = rig.proxy.snapshot().counters;
    rig.get("/elsewhere");
    let strays = send_from(&mut rig, "127.0.0.2:50000".parse().expect("an address"));
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.client_moves_refused, strays as u64);
    assert_eq!(counters.requests, 0);
    assert_eq!(
        counters.datagrams_sent, before.datagrams_sent,
        "no word, nor a reset"
    );
    rig.get("/other-port");
    send_from(&mut rig, "127.0.0.1:50001".parse().expect("an address"));
    let counters = rig.proxy.snapshot().counters;
    assert_eq!(counters.client_moves_refused, strays as u64);
    assert_eq!(counters.requests, 1);
}

#[test]
fn where_clients_may_move_another_ip_is_followed() {
    let mut rig = Rig::new(Options::default());
    rig.get("/elsewhere");
    send_from(&mut rig, "127.0.0.2:50000".parse().expect("an address"));
    let counters = rig.proxy.snapshot().counters;
    assert_eq!((counters.client_moves_refused, counters.requests), (0, 1));
}

/// quiche keeps an event of each path until it is taken (CVE-2026-12707).
#[test]
fn paths_probed_and_abandoned_as_fast_as_a_client_can_hold_no_memory() {
    let mut rig = Rig::new(Options::default());
    let at: SocketAddr = HOME.parse().expect("an address");
    let roam = |rig: &mut Rig, ports: std::ops::Range<u16>| {
        for port in ports {
            ping_from(rig, SocketAddr::new(at.ip(), port));
            if port % 20 == 0 {
                // What is acknowledged makes room for more.
                ping_from(rig, at);
                rig.settle();
            }
        }
    };
    roam(&mut rig, 10_000..10_300);
    let before = rig.held();
    roam(&mut rig, 10_300..30_000);
    let grown = rig.held() - before;
    assert!(grown < 64 << 10, "{grown} bytes for 20,000 addresses");
    (0..10).for_each(|_| ping_from(&mut rig, at));
    rig.settle();
    rig.get("/");
    rig.settle();
    assert_eq!(rig.proxy.snapshot().counters.requests, 1, "it lives");
}

/// quiche keeps each retired id until it is taken (CVE-2024-1410).
#[test]
fn ids_given_up_as_fast_as_a_client_can_hold_no_memory() {
    let mut rig = Rig::new(Options::default());
    let retire = |rig: &mut Rig, sequences: std::ops::Range<u64>| {
        for sequence in sequences {
            rig.client.quic.retire_dcid(sequence).expect("it has it");
            rig.settle();
            assert!(rig.client.quic.available_dcids() > 0, "after {sequence}");
        }
    };
    retire(&mut rig, 1..50);
    let before = rig.held();
    retire(&mut rig, 50..3_000);
    let grown = rig.held() - before;
    assert!(grown < 64 << 10, "{grown} bytes for 3,000 ids");
}

/// Datagrams that leave at once, and those that leave a little later though nothing was
/// heard meanwhile, of a response that a round trip of 20 ms could carry.
fn bursts(config: &'static str) -> (usize, usize) {
    let mut rig = Rig::unconnected(Options {
        config,
        ..Options::default()
    });
    let round = |rig: &mut Rig| {
        sleep(Duration::from_millis(20));
        rig.from_client();
        rig.run();
        rig.from_backends();
        rig.run();
    };
    (0..8).for_each(|_| round(&mut rig));
    let stream = rig.get("/");
    (0..8).for_each(|_| round(&mut rig));
    let asked = rig.asked(0);
    assert_eq!(asked, stream);
    rig.answer(0, asked, &[], false);
    rig.connections[0].1.write(asked, &[7; 100_000], true);
    rig.from_backends();
    let first = rig.run();
    let (mut later, until) = (0, Instant::now() + Duration::from_millis(12));
    while Instant::now() < until {
        sleep(Duration::from_millis(1));
        let now = rig.now();
        rig.proxy.handle_timeout(now);
        later += rig.run();
    }
    (first, later)
}

#[test]
fn what_bbr2_paces_is_held_until_its_time_has_come() {
    let (cubic, _) = bursts("quic: { congestion_control: cubic }\n");
    assert!(cubic >= 35, "cubic sends its window: {cubic}");
    let (first, later) = bursts("quic: { congestion_control: bbr2 }\n");
    assert!(first < 30, "{first} of a window of forty at once");
    assert!(later >= 5, "{later} when they were due");
}
