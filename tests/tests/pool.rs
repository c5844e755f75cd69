//! Requests of all clients share few connections to a backend.

use spooky_mio::client::transport::Windows;
use spooky_tests::{Crowd, Running, Stack, millis, pump, secs, wait_until};

#[test]
fn two_hundred_requests_of_twenty_clients_share_as_many_connections_as_their_streams_need() {
    for (streams, connections) in [(100, 2), (25, 8)] {
        let windows = Windows {
            streams,
            ..Windows::default()
        };
        let stack = Stack::new()
            .backend_windows(windows)
            .config("connections: {queue_timeout: 20s}")
            .start();
        let _crowd = two_hundred(&stack, "/stall");
        wait_until("all are at the backend", secs(10), || {
            stack.backend(0).counts().requests == 200
        });
        assert_eq!(stack.snapshot().backends[0].requests, 200);
        assert_eq!(
            stack.backend(0).counts().connections,
            connections,
            "of {streams} streams"
        );
    }
}

#[test]
fn requests_one_after_the_other_share_one_connection() {
    let stack = Stack::new().start();
    for mut client in stack.clients(10) {
        for _ in 0..5 {
            assert_eq!(stack.ask(&mut client, "/").status(), 200);
        }
    }
    assert_eq!(stack.backend(0).counts().connections, 1);
    stack.records(50);
}

#[test]
fn the_bound_of_connections_holds_and_all_requests_get_their_turn() {
    let windows = Windows {
        streams: 10,
        ..Windows::default()
    };
    for workers in [1, 2] {
        let stack = Stack::new()
            .backend_windows(windows.clone())
            .workers(workers)
            .config("connections: {max: 3, queue_timeout: 30s}")
            .start();
        let crowd = two_hundred(&stack, "/slow/50");
        let records = stack.records(200);
        assert!(records.iter().all(|record| record.status == Some(200)));
        let connections = stack.backend(0).counts().connections;
        assert!(connections <= 3, "{connections} with {workers} workers");
        drop(crowd);
    }
}

#[test]
fn a_connection_takes_no_more_requests_than_our_own_streams_limit() {
    let stack = Stack::new().config("quic: {max_streams: 5}").start();
    let mut clients = stack.clients(4);
    for client in &mut clients {
        for _ in 0..5 {
            client.send(stack.get("/stall"));
        }
        pump(client, millis(1));
    }
    let _crowd = Crowd::of(clients);
    wait_until("all are at the backend", secs(10), || {
        stack.backend(0).counts().requests == 20
    });
    assert_eq!(
        stack.backend(0).counts().connections,
        4,
        "though it grants a hundred"
    );
}

#[test]
fn a_connection_without_requests_is_closed_after_its_idle_timeout() {
    let stack = Stack::new()
        .config("connections: {idle_timeout: 300ms}")
        .start();
    let mut client = stack.client();
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.snapshot().backends[0].connections, 1);
    // One that has a request is not idle, however quiet it is.
    assert_eq!(stack.ask(&mut client, "/slow/900").status(), 200);
    assert_eq!(stack.backend(0).counts().connections, 1);
    wait_until("it is closed", secs(3), || {
        stack.snapshot().backends[0].connections == 0
    });
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.backend(0).counts().connections, 2);
}

#[test]
fn connections_kept_without_need_are_there_before_the_first_request_and_stay() {
    for workers in [1, 2] {
        let stack = Stack::new()
            .workers(workers)
            .config("connections: {min_idle: 3, idle_timeout: 200ms}")
            .config("quic: {idle_timeout: 1s}")
            .start();
        wait_until("they are made", secs(5), || {
            stack.backend(0).counts().connections == 3
        });
        assert_eq!(stack.ask(&mut stack.client(), "/").status(), 200);
        // Longer than both idle timeouts.
        std::thread::sleep(millis(2500));
        assert_eq!(stack.snapshot().backends[0].connections, 3);
        assert_eq!(stack.backend(0).counts().connections, 3, "the same three");
    }
}

#[test]
fn a_connection_kept_without_need_is_replaced_when_it_is_lost() {
    let stack = Stack::new().config("connections: {min_idle: 1}").start();
    wait_until("it is made", secs(5), || {
        stack.backend(0).counts().connections == 1
    });
    let mut client = stack.client();
    stack
        .ask(&mut client, "/close/10")
        .end
        .expect_err("the backend closes the connection");
    wait_until("another is made", secs(5), || {
        stack.backend(0).counts().connections == 2
    });
}

/// Ten requests of each of twenty clients, all at once.
fn two_hundred(stack: &Running, path: &str) -> Crowd {
    let mut clients = stack.clients(20);
    for client in &mut clients {
        for _ in 0..10 {
            client.send(stack.get(path));
        }
        pump(client, millis(1));
    }
    Crowd::of(clients)
}
