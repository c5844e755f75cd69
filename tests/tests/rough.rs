//! Rough weather: losses on both sides, and clients that change their minds.

use std::sync::Arc;
use std::time::Instant;

use spooky_core::observe::{Outcome, Record};
use spooky_mio::client::{Client, ExchangeId, Payload, Request};
use spooky_tests::{Relay, Running, Stack, ask_all, millis, pump, secs, wait_until};

#[test]
fn everything_arrives_whole_though_one_datagram_in_twenty_is_lost_on_either_side() {
    let stack = Stack::new().backends(2).relayed().start();
    let relay = Relay::to(stack.address());
    let mut client = stack.client_at(relay.address());
    for relay in [&relay, stack.relay(0), stack.relay(1)] {
        relay.lose_there(20);
        relay.lose_back(20);
    }
    let requests = (0..90).map(|n| mixed(&stack, n)).collect();
    let answers = ask_all(&mut client, requests, secs(60));
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status(), 200, "request {n}: {answer:?}");
        match n % 3 {
            0 => assert_eq!((answer.bytes, answer.is_pattern), (100_000, true)),
            1 => assert!(String::from_utf8_lossy(&answer.text).contains("\"bytes\":100000,")),
            _ => assert_eq!((answer.bytes, answer.is_pattern), (50_000, true)),
        }
    }
    assert!(relay.lost() > 0 && stack.relay(0).lost() > 0);
    for record in stack.records(90) {
        assert_eq!(record.outcome, Outcome::Complete);
    }
}

#[test]
fn a_storm_of_cancelled_requests_leaves_one_record_each_and_nothing_else() {
    // A CONNECTION_CLOSE may be lost, or not fit the client's window.
    let stack = Stack::new()
        .backends(2)
        .workers(2)
        .config("quic: {idle_timeout: 2s}")
        .start();
    let mut clients = stack.clients(4);
    let mut asked = 0;
    let began = Instant::now();
    let mut dice = 12_345_u32;
    for _ in 0..25 {
        for client in &mut clients {
            let ids: Vec<ExchangeId> = (0..20).map(|n| client.send(mixed(&stack, n))).collect();
            pump(client, millis(u64::from(roll(&mut dice) % 20)));
            asked += ids.len();
            // Some are over by now; the others end here, wherever they are.
            give_up(client, &ids, &mut dice);
            // What was given up before it went out was never a request.
            pump(client, millis(u64::from(roll(&mut dice) % 5)));
        }
    }
    assert!(began.elapsed() < secs(30));
    // Each client closes with requests in flight.
    for mut client in clients {
        for n in 0..20 {
            client.send(mixed(&stack, n));
        }
        asked += 20;
        pump(&mut client, millis(2));
    }
    wait_until("nothing is in flight", secs(10), || {
        stack.snapshot().exchanges == 0
    });
    let snapshot = stack.snapshot();
    let counters = snapshot.counters;
    assert!(
        counters.requests > 500 && counters.requests <= asked as u64,
        "{counters:?}"
    );
    let records = stack.records(counters.requests as usize);
    let cancelled = records
        .iter()
        .filter(|r| r.outcome == Outcome::Cancelled)
        .count();
    assert!(cancelled > 100, "{cancelled} of {}", records.len());
    // Nothing went wrong but that clients changed their minds.
    let blamed = |r: &&Arc<Record>| !matches!(r.outcome, Outcome::Cancelled | Outcome::Complete);
    let blamed: Vec<_> = records.iter().filter(blamed).collect();
    assert!(
        blamed.is_empty(),
        "{} such as {:?}",
        blamed.len(),
        blamed[0]
    );
    let ended = counters.requests_complete
        + counters.requests_local_reply
        + counters.requests_reset
        + counters.requests_cancelled;
    assert_eq!(ended, counters.requests);
    for backend in &snapshot.backends {
        assert_eq!(
            (backend.requests, backend.pending),
            (0, 0),
            "{}",
            backend.id
        );
    }
    // And it is as good as new.
    let requests = (0..100).map(|n| mixed(&stack, n)).collect();
    let answers = ask_all(&mut stack.client(), requests, secs(20));
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

/// A download, an upload, or both at once.
fn mixed(stack: &Running, n: usize) -> Request {
    match n % 3 {
        0 => stack.get("/bytes/100000"),
        1 => Request::post(&stack.target("/count"), Payload::Pattern(100_000)),
        _ => Request::post(&stack.target("/echo"), Payload::Pattern(50_000)),
    }
}

/// Cancels all of them, in an order that the dice say.
fn give_up(client: &mut Client, ids: &[ExchangeId], dice: &mut u32) {
    let mut ids = ids.to_vec();
    while !ids.is_empty() {
        let index = roll(dice) as usize % ids.len();
        client.cancel(ids.swap_remove(index));
    }
}

/// A small generator: the same storm each time, as far as clocks allow.
fn roll(dice: &mut u32) -> u32 {
    *dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    *dice >> 16
}
