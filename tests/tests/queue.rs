//! At the bound of connections a request waits for a place, within bounds.

use std::time::Duration;

use spooky_core::observe::{Outcome, Reason};
use spooky_mio::client::transport::Windows;
use spooky_mio::client::{Client, ExchangeId};
use spooky_tests::{Answer, Running, Stack, ask_all, millis, pump, secs, wait_until};

#[test]
fn a_request_that_finds_no_place_in_time_is_a_503_that_says_so() {
    let stack = full("max_requests: 2, queue_timeout: 500ms");
    let mut holder = stack.client();
    occupy(&stack, &mut holder, 2);
    let answer = stack.ask(&mut stack.client(), "/");
    refused(&answer);
    assert!(
        answer.took >= millis(500) && answer.took < secs(3),
        "{:?}",
        answer.took
    );
    let record = stack.first_record();
    assert_eq!(record.reason, Some(Reason::QueueTimeout));
    assert_eq!(record.outcome, Outcome::LocalReply);
    assert_eq!(stack.backend(0).counts().requests, 2, "it never went out");
}

#[test]
fn a_request_that_finds_the_queue_full_is_a_503_at_once() {
    let stack = full("max_requests: 2, max_pending: 3, queue_timeout: 20s");
    let mut holder = stack.client();
    occupy(&stack, &mut holder, 2);
    wait_in_queue(&stack, &mut holder, 3);
    let answer = stack.ask(&mut stack.client(), "/");
    refused(&answer);
    assert!(answer.took < secs(2), "{:?}", answer.took);
    assert_eq!(stack.first_record().reason, Some(Reason::QueueFull));
}

#[test]
fn a_queue_of_no_length_refuses_at_the_bound() {
    let stack = full("max_requests: 1, max_pending: 0, queue_timeout: 20s");
    let mut holder = stack.client();
    occupy(&stack, &mut holder, 1);
    let answer = stack.ask(&mut stack.client(), "/");
    refused(&answer);
    assert!(answer.took < secs(2), "{:?}", answer.took);
}

#[test]
fn those_who_wait_go_on_when_places_free_in_the_order_they_came() {
    let stack = full("max_requests: 1, queue_timeout: 20s");
    let requests = (0..6).map(|n| stack.get(&format!("/slow/{}", 60 + n)));
    let answers = ask_all(&mut stack.client(), requests.collect(), secs(20));
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let records = stack.records(6);
    let paths: Vec<String> = records
        .iter()
        .filter_map(|r| r.request.as_ref())
        .map(|head| String::from_utf8_lossy(head.path()).into_owned())
        .collect();
    let expected: Vec<String> = (0..6).map(|n| format!("/slow/{}", 60 + n)).collect();
    assert_eq!(paths, expected, "one at a time, first come, first served");
    assert!(answers[5].took >= millis(6 * 60));
}

#[test]
fn a_client_that_left_leaves_the_queue_to_another() {
    let stack = full("max_requests: 1, max_pending: 1, queue_timeout: 20s");
    let mut holder = stack.client();
    let held = occupy(&stack, &mut holder, 1);
    // One that cancels, and one that closes its connection.
    let mut first = stack.client();
    let waiting = wait_in_queue(&stack, &mut first, 1);
    first.cancel(waiting[0]);
    pump(&mut first, millis(20));
    let mut second = stack.client();
    wait_until_pending(&stack, &mut second, 0);
    wait_in_queue(&stack, &mut second, 1);
    drop(second);
    wait_until_pending(&stack, &mut first, 0);
    // The place they left is taken, and leads on when the holder goes.
    let mut third = stack.client();
    let id = third.send(stack.get("/"));
    wait_until_pending(&stack, &mut third, 1);
    holder.cancel(held[0]);
    pump(&mut holder, millis(20));
    let end = std::time::Instant::now() + secs(10);
    loop {
        let next = third.next_event(end).expect("the connection lives");
        match next.expect("it goes on in time") {
            (of, spooky_mio::client::Event::End) if of == id => break,
            (of, spooky_mio::client::Event::Failed(why)) if of == id => panic!("{why}"),
            _ => {}
        }
    }
    let outcomes: Vec<Outcome> = stack.records(4).iter().map(|r| r.outcome).collect();
    let cancelled = outcomes
        .iter()
        .filter(|o| **o == Outcome::Cancelled)
        .count();
    assert_eq!((cancelled, outcomes[3]), (3, Outcome::Complete));
    assert_eq!(
        stack.backend(0).counts().requests,
        2,
        "who left never went out"
    );
}

#[test]
fn requests_beyond_the_streams_a_backend_grants_wait_and_go_on() {
    let windows = Windows {
        streams: 3,
        ..Windows::default()
    };
    let stack = Stack::new()
        .backend_windows(windows)
        .config("connections: {max: 1, queue_timeout: 20s}")
        .start();
    let requests = (0..30).map(|_| stack.get("/slow/30")).collect();
    let answers = ask_all(&mut stack.client(), requests, secs(20));
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(stack.backend(0).counts().connections, 1);
    stack.records(30);
}

#[test]
fn a_place_freed_at_one_worker_is_taken_at_another() {
    let stack = Stack::new()
        .workers(2)
        .config("connections: {max: 2, max_requests: 1, queue_timeout: 20s}")
        .start();
    let mut clients = stack.clients(8);
    for client in &mut clients {
        client.send(stack.get("/slow/50"));
        pump(client, Duration::ZERO);
    }
    let crowd = spooky_tests::Crowd::of(clients);
    for record in stack.records(8) {
        assert_eq!(record.outcome, Outcome::Complete, "{record:?}");
    }
    drop(crowd);
}

/// One connection, and these bounds besides.
fn full(bounds: &str) -> Running {
    Stack::new()
        .config(&format!("connections: {{max: 1, {bounds}}}"))
        .start()
}

/// Takes `count` places for good.
fn occupy(stack: &Running, client: &mut Client, count: u64) -> Vec<ExchangeId> {
    let ids = (0..count)
        .map(|_| client.send(stack.get("/stall")))
        .collect();
    wait_until("the places are taken", secs(5), || {
        pump(client, millis(5));
        stack.backend(0).counts().requests == count
    });
    ids
}

/// Lets `count` requests wait for a place.
fn wait_in_queue(stack: &Running, client: &mut Client, count: u64) -> Vec<ExchangeId> {
    let ids = (0..count)
        .map(|_| client.send(stack.get("/stall")))
        .collect();
    wait_until_pending(stack, client, count);
    ids
}

fn wait_until_pending(stack: &Running, client: &mut Client, count: u64) {
    wait_until("so many wait", secs(5), || {
        pump(client, millis(5));
        stack.snapshot().backends[0].pending == count
    });
}

fn refused(answer: &Answer) {
    assert_eq!(answer.status(), 503);
    let why = answer.proxy_status();
    assert!(
        why.starts_with("spooky; error=connection_limit_reached"),
        "{why}"
    );
}
