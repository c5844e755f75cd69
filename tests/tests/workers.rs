//! Several workers on one port, clients that move between them, and the address
//! that answers come from.

use spooky_mio::client::{Payload, Request};
use spooky_tests::{Driver, Relay, Stack, ask, ask_all, secs};

/// Ports that a client goes through, without a spare connection id for any.
const MOVES: usize = 12;

#[test]
fn a_client_whose_port_changes_keeps_its_connection_whichever_worker_the_kernel_picks() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).workers(2).start();
        let relay = Relay::to(stack.address());
        let mut client = stack.client_at(relay.address());
        for _ in 0..MOVES {
            let requests = (0..5).map(|_| stack.get("/bytes/20000")).collect();
            for answer in ask_all(&mut client, requests, secs(10)) {
                assert_eq!((answer.status(), answer.bytes), (200, 20_000), "{driver:?}");
            }
            relay.rebind();
        }
        let counters = stack.snapshot().counters;
        assert_eq!(
            counters.connections_accepted, 1,
            "{driver:?}: one connection all along"
        );
        // Twelve ports: that all fell to one worker is one chance in two thousand.
        assert!(
            counters.datagrams_misrouted > 0,
            "{driver:?}: nothing was handed over"
        );
        let records = stack.records(5 * MOVES);
        assert_ne!(
            records[0].client,
            records[5 * MOVES - 1].client,
            "the record has the client's new port"
        );
    }
}

#[test]
fn a_client_that_moves_in_the_middle_of_a_transfer_gets_it_whole() {
    let stack = Stack::new().workers(2).start();
    let relay = Relay::to(stack.address());
    let mut client = stack.client_at(relay.address());
    let bulk = 30 << 20;
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for _ in 0..5 {
                std::thread::sleep(spooky_tests::millis(150));
                relay.rebind();
            }
        });
        let down = ask(&mut client, stack.get(&format!("/bytes/{bulk}")), secs(40));
        assert_eq!(
            (down.status(), down.bytes, down.is_pattern),
            (200, bulk, true)
        );
        let upload = Request::post(&stack.target("/count"), Payload::Pattern(bulk));
        assert_eq!(ask(&mut client, upload, secs(40)).status(), 200);
        mover.join().expect("it moved");
    });
    assert_eq!(stack.snapshot().counters.connections_accepted, 1);
    stack.records(2);
}

#[test]
fn many_connections_spread_over_the_workers_and_all_are_served() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).workers(2).start();
        for mut client in stack.clients(50) {
            assert_eq!(stack.ask(&mut client, "/").status(), 200);
        }
        let records = stack.records(50);
        // The upper bits of an id are the worker's.
        let of_first = records.iter().filter(|record| record.id >> 48 == 0).count();
        assert!(
            of_first > 5 && of_first < 45,
            "{driver:?}: {of_first} of 50"
        );
    }
}

#[test]
fn a_wildcard_listener_answers_from_the_address_it_was_asked_at() {
    for driver in Driver::ALL {
        for wildcard in ["0.0.0.0", "::"] {
            let stack = Stack::new().on(driver).listen(wildcard).workers(2).start();
            let port = stack.address().port();
            for address in ["127.0.0.1", "127.0.0.2"] {
                // The client's socket is connected: it hears only from there.
                let at = format!("{address}:{port}").parse().expect("an address");
                let mut client = stack.client_at(at);
                let answer = ask(&mut client, stack.get("/bytes/100000"), secs(10));
                assert_eq!(
                    (answer.status(), answer.bytes),
                    (200, 100_000),
                    "{address} at {wildcard}"
                );
            }
        }
    }
}
