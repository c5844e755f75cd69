//! Who waits for a slow answer is kept alive, however short the idle timeout.

use std::time::{Duration, Instant};

use spooky_mio::client::{Payload, Request};
use spooky_tests::{Stack, ask, millis, pump, secs, wait_until};

#[test]
fn an_answer_that_takes_three_idle_timeouts_arrives() {
    slow_answer(
        "quic: {idle_timeout: 2s}\ntimeouts: {response_header: 10s}",
        7,
    );
}

/// With the idle timeout's default of 30 s.
#[test]
#[ignore = "takes 75 s: run it with --ignored"]
fn an_answer_after_seventy_five_seconds_arrives() {
    slow_answer("timeouts: {response_header: 90s}", 75);
}

#[test]
fn an_upload_that_nobody_reads_for_a_while_is_kept_alive() {
    let config = "quic: {idle_timeout: 1s}\ntimeouts: {response_header: 4s}";
    let stack = Stack::new().config(config).start();
    let mut client = stack.client();
    let request = Request::post(&stack.target("/stall"), Payload::Pattern(10 << 20));
    let answer = ask(&mut client, request, secs(15));
    // Its connections lived until the header timeout: not a 502, not a lost client.
    assert_eq!(answer.status(), 504);
    assert!(answer.took >= secs(4));
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn a_client_that_waits_for_nothing_is_not_kept_alive() {
    let stack = Stack::new().config("quic: {idle_timeout: 1s}").start();
    let mut client = stack.client();
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.snapshot().downstream_connections, 1);
    let began = Instant::now();
    wait_until("it is given up", secs(6), || {
        pump(&mut client, millis(20));
        stack.snapshot().downstream_connections == 0
    });
    assert!(began.elapsed() > millis(800), "{:?}", began.elapsed());
}

fn slow_answer(config: &str, seconds: u64) {
    let stack = Stack::new().config(config).start();
    let mut client = stack.client();
    let path = format!("/slow/{}", seconds * 1000);
    let answer = ask(&mut client, stack.get(&path), secs(seconds + 10));
    assert_eq!(answer.status(), 200);
    assert!(answer.took >= Duration::from_secs(seconds));
    // Both connections are the same as before.
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.backend(0).counts().connections, 1);
    assert_eq!(stack.snapshot().counters.connections_accepted, 1);
    stack.records(2);
}
