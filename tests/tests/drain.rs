//! Draining: what is in flight ends whole, nothing new begins, and the deadline
//! cuts what is left.

use std::time::Instant;

use spooky_core::observe::{Outcome, Reason};
use spooky_mio::client::{Client, Error, Event, ExchangeId, Options, Payload, Request, Trust};
use spooky_tests::{Driver, Stack, millis, pump, secs, wait_until};

const REQUEST_REJECTED: u64 = 0x10b;

#[test]
fn what_is_in_flight_ends_whole_and_then_it_is_drained() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).workers(2).start();
        let mut client = stack.client();
        let slow = client.send(stack.get("/slow/900"));
        let large = client.send(stack.get("/bytes/30000000"));
        let upload = Request::post(&stack.target("/count"), Payload::Pattern(30_000_000));
        let upload = client.send(upload);
        let idle = stack.client();
        pump(&mut client, millis(50));
        assert_eq!(stack.backend(0).counts().requests, 3);
        stack.drain(secs(20));
        pump(&mut client, millis(50));
        let late = client.send(stack.get("/"));
        let mut left = vec![slow, large, upload, late];
        let mut rejected = false;
        while !left.is_empty() {
            let (id, end) = next_end(&mut client);
            left.retain(|&known| known != id);
            match end {
                Ok(()) => assert_ne!(id, late, "{driver:?}: nothing new begins"),
                // Refused in a way that says that it may go elsewhere.
                Err(Error::Reset(REQUEST_REJECTED) | Error::GoingAway) if id == late => {
                    rejected = true;
                }
                Err(why) => panic!("{driver:?}: {why}"),
            }
        }
        assert!(rejected);
        // The idle client acknowledges nothing and still holds nothing up.
        drop(idle);
        wait_until("both workers are drained", secs(10), || {
            pump(&mut client, millis(5));
            stack.drained() == 2
        });
        let records = stack.records_so_far();
        assert_eq!(records.len(), 3, "the late one never began: {records:#?}");
        assert!(
            records
                .iter()
                .all(|record| record.outcome == Outcome::Complete)
        );
        assert_eq!(stack.backend(0).counts().requests, 3);
    }
}

#[test]
fn a_drain_with_nothing_in_flight_is_over_at_once_and_closes_connections_politely() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).start();
        let mut client = stack.client();
        assert_eq!(stack.ask(&mut client, "/").status(), 200);
        stack.drain(secs(20));
        let began = Instant::now();
        let why = loop {
            match client.next_event(began + secs(5)) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{driver:?}: the client was not told"),
                Err(why) => break why,
            }
        };
        let polite = matches!(
            why,
            Error::Closed {
                by_server: true,
                application: true,
                code: 0x100,
                ..
            }
        );
        assert!(polite, "{driver:?}: {why}");
        wait_until("it is drained", secs(5), || stack.drained() == 1);
        assert!(began.elapsed() < secs(3), "{:?}", began.elapsed());
    }
}

#[test]
fn the_deadline_cuts_what_is_left_with_one_record_each() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    client.send(stack.get("/stall"));
    client.send(stack.get("/bytes/1000000000000"));
    pump(&mut client, millis(100));
    stack.drain(millis(500));
    let began = Instant::now();
    let ends = [next_end(&mut client), next_end(&mut client)];
    assert!(ends.iter().all(|(_, end)| end.is_err()), "{ends:?}");
    assert!(began.elapsed() >= millis(300) && began.elapsed() < secs(4));
    wait_until("it is drained", secs(5), || {
        pump(&mut client, millis(5));
        stack.drained() == 1
    });
    let records = stack.records_so_far();
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!(
            (record.outcome, record.reason),
            (Outcome::Reset, Some(Reason::Draining))
        );
    }
}

#[test]
fn no_new_connection_is_taken_while_draining() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let slow = client.send(stack.get("/slow/2500"));
    pump(&mut client, millis(100));
    stack.drain(secs(20));
    pump(&mut client, millis(50));
    let options = Options {
        connect_timeout: millis(500),
        ..Options::default()
    };
    let refused = Client::connect(&stack.target("/"), &Trust::Nobody, &options);
    assert!(refused.is_err(), "{refused:?}");
    let (id, end) = next_end(&mut client);
    assert_eq!(id, slow);
    end.expect("what was in flight ends whole");
}

#[test]
fn neither_kept_connections_nor_clients_that_vanished_hold_the_drain_up_past_its_deadline() {
    let stack = Stack::new()
        .workers(2)
        .config("connections: {min_idle: 3}")
        .start();
    let mut client = stack.client();
    client.send(stack.get("/stall"));
    pump(&mut client, millis(100));
    // Without a CONNECTION_CLOSE, which dropping would send.
    std::mem::forget(client);
    std::mem::forget(stack.client());
    stack.drain(secs(1));
    wait_until("both workers are drained", secs(4), || stack.drained() == 2);
}

#[test]
fn requests_that_wait_for_a_place_are_served_while_draining() {
    let stack = Stack::new()
        .config("connections: {max_requests: 1, queue_timeout: 20s}")
        .start();
    let mut client = stack.client();
    let mut left: Vec<ExchangeId> = (0..4)
        .map(|_| client.send(stack.get("/slow/200")))
        .collect();
    pump(&mut client, millis(100));
    stack.drain(secs(20));
    while !left.is_empty() {
        let (id, end) = next_end(&mut client);
        end.expect("it was taken before the drain");
        left.retain(|&known| known != id);
    }
    wait_until("it is drained", secs(5), || {
        pump(&mut client, millis(5));
        stack.drained() == 1
    });
    assert_eq!(stack.records_so_far().len(), 4);
}

/// Waits for the next request to end.
fn next_end(client: &mut Client) -> (ExchangeId, Result<(), Error>) {
    let end = Instant::now() + secs(15);
    loop {
        let next = client.next_event(end).expect("its requests end first");
        match next.expect("it ends in time") {
            (id, Event::End) => return (id, Ok(())),
            (id, Event::Failed(why)) => return (id, Err(why)),
            _ => {}
        }
    }
}
