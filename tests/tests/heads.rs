//! Heads travel whole or not at all, and never wait without end.

use std::sync::Arc;

use spooky_core::observe::{Reason, Record};
use spooky_mio::client::transport::Windows;
use spooky_mio::client::{Client, Payload, Request};
use spooky_tests::{Answer, Crowd, Relay, Running, Stack, ask, ask_all, millis, pump, secs};

/// `limits.header_bytes` by default.
const LIMIT: usize = 32 << 10;

#[test]
fn a_request_head_of_exactly_the_limit_passes_and_one_byte_more_is_a_431() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    assert_eq!(
        ask(&mut client, with_head_of(&stack, LIMIT), secs(10)).status(),
        200
    );
    for size in [LIMIT + 1, 50_000] {
        let answer = ask(&mut client, with_head_of(&stack, size), secs(10));
        assert_eq!(answer.status(), 431, "{size}");
        let why = answer.proxy_status();
        assert!(
            why.starts_with("spooky; error=http_request_denied"),
            "{why}"
        );
    }
    // The connection lives on.
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    let records = stack.records(4);
    assert_eq!(records[1].reason, Some(Reason::RequestHeadTooLarge));
    assert_eq!(records[0].client, records[3].client);
    assert_eq!(stack.backend(0).counts().requests, 2);
}

#[test]
fn a_request_head_above_the_limit_with_a_body_is_a_431_and_the_connection_lives_on() {
    let stack = Stack::new().config("limits: {header_bytes: 2KiB}").start();
    let mut client = stack.client();
    let mut request = Request::post(&stack.target("/count"), Payload::Pattern(10 << 20));
    request.fields.push(("x-fill".into(), "x".repeat(3000)));
    let answer = ask(&mut client, request, secs(10));
    assert_eq!(answer.status(), 431);
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    stack.records(2);
}

#[test]
fn a_response_head_near_the_limit_passes_and_one_above_it_is_a_502() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let near = stack.ask(&mut client, "/headers/31000");
    assert_eq!(near.status(), 200);
    assert!(size_of(&near) > 30_000, "{}", size_of(&near));
    let above = stack.ask(&mut client, "/headers/36000");
    assert_eq!(above.status(), 502);
    let why = above.proxy_status();
    assert!(
        why.contains("error=http_response_header_section_size"),
        "{why}"
    );
    assert!(why.contains("limits.header_bytes"), "{why}");
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(
        stack.records(3)[1].reason,
        Some(Reason::ResponseHeadTooLarge)
    );
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn sixty_large_heads_at_once_all_pass_both_ways() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let both = |n: usize| match n % 2 {
        0 => with_head_of(&stack, LIMIT),
        _ => stack.get("/headers/31000"),
    };
    let answers = ask_all(&mut client, (0..60).map(both).collect(), secs(20));
    assert!(answers.iter().all(|answer| answer.status() == 200));
    stack.records(60);
}

#[test]
fn large_heads_pass_beside_bodies_that_take_all_the_window_there_is() {
    let stack = Stack::new().config("connections: {max: 1}").start();
    let mut client = stack.client();
    for _ in 0..4 {
        let down = client.send(stack.get("/bytes/1000000000000"));
        let _ = down;
        client.send(Request::post(
            &stack.target("/count"),
            Payload::Pattern(1 << 40),
        ));
    }
    pump(&mut client, millis(200));
    let mut other = stack.client();
    let _crowd = Crowd::of(vec![client]);
    for _ in 0..5 {
        let answer = ask(&mut other, with_head_of(&stack, LIMIT), secs(10));
        assert_eq!(answer.status(), 200);
        let answer = ask(&mut other, stack.get("/headers/31000"), secs(10));
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn a_large_response_head_toward_a_client_whose_window_collapsed_comes_or_is_reset() {
    let stack = Stack::new().start();
    let relay = Relay::to(stack.address());
    let mut client = stack.client_at(relay.address());
    let mut stuck = 0;
    for round in 0..4 {
        let download = client.send(stack.get("/bytes/1000000000000"));
        pump(&mut client, millis(100));
        relay.lose_back(4);
        pump(&mut client, millis(1200));
        // In odd rounds the loss goes on for a while, and heads wait in vain.
        client.cancel(download);
        pump(&mut client, millis(300));
        if round % 2 == 0 {
            relay.lose_back(0);
            pump(&mut client, millis(300));
        }
        let answer = ask(&mut client, stack.get("/headers/31000"), secs(15));
        relay.lose_back(0);
        assert!(!answer.hangs(), "round {round}: {answer:?}");
        assert!(
            answer.end.is_ok() || answer.reset().is_some(),
            "round {round}: {answer:?}"
        );
        stuck += usize::from(answer.reset().is_some());
        // Either way the connection is of use, and heals.
        let bulk = ask(&mut client, stack.get("/bytes/3000000"), secs(15));
        assert_eq!(bulk.status(), 200);
    }
    assert!(stuck > 0, "the window never collapsed: this shows nothing");
    let records = stack.records(12);
    let hopeless = |record: &&Arc<Record>| record.reason == Some(Reason::HeadUnsendable);
    assert_eq!(records.iter().filter(hopeless).count(), stuck);
}

#[test]
fn a_large_request_head_toward_a_backend_whose_window_collapsed_takes_a_fresh_connection() {
    let stack = Stack::new().relayed().start();
    let mut client = stack.client();
    for round in 0..3 {
        collapse(&stack, &mut client);
        let answer = ask(&mut client, with_head_of(&stack, LIMIT), secs(15));
        assert!(!answer.hangs(), "round {round}: {answer:?}");
        // Nothing stands in the way of a fresh connection.
        assert_eq!(answer.status(), 200, "round {round}: {answer:?}");
    }
    let connections = stack.backend(0).counts().connections;
    assert!(
        connections > 1,
        "the window never collapsed: this shows nothing"
    );
    stack.records(6);
}

#[test]
fn a_large_request_head_that_finds_no_fresh_connection_is_a_502() {
    let stack = Stack::new()
        .relayed()
        .config("connections: {max: 1}")
        .start();
    let mut client = stack.client();
    collapse(&stack, &mut client);
    let answer = ask(&mut client, with_head_of(&stack, LIMIT), secs(15));
    assert!(!answer.hangs(), "{answer:?}");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(stack.records(2)[1].reason, Some(Reason::HeadUnsendable));
    // Small ones fit, all the same.
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn a_head_larger_than_a_backends_stream_window_is_a_502_and_holds_nobody_up() {
    let windows = Windows {
        stream: 8 << 10,
        ..Windows::default()
    };
    let stack = Stack::new()
        .backend_windows(windows)
        .config("connections: {max: 1}")
        .start();
    let mut client = stack.client();
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    let large = with_head_of(&stack, 20_000);
    let small = || Request::post(&stack.target("/count"), Payload::Pattern(100_000));
    let requests = vec![small(), large, small(), small()];
    let answers = ask_all(&mut client, requests, secs(15));
    for n in [0, 2, 3] {
        assert_eq!(answers[n].status(), 200);
        assert!(answers[n].took < secs(2), "{:?}", answers[n]);
    }
    assert_eq!(answers[1].status(), 502);
    assert!(answers[1].took < secs(2), "{:?}", answers[1]);
    assert_eq!(
        stack
            .records(5)
            .iter()
            .filter(|r| r.reason == Some(Reason::HeadUnsendable))
            .count(),
        1
    );
}

/// Lets an upload lose so many datagrams that the backend connection's window
/// collapses, and takes it back.
fn collapse(stack: &Running, client: &mut Client) {
    let upload = Request::post(&stack.target("/count"), Payload::Pattern(1 << 40));
    let id = client.send(upload);
    pump(client, millis(100));
    stack.relay(0).lose_there(4);
    pump(client, millis(1200));
    client.cancel(id);
    pump(client, millis(300));
    stack.relay(0).lose_there(0);
    // What is left of it is acknowledged, and nothing is in flight any more.
    pump(client, millis(500));
}

/// A GET whose head has this size, as RFC 9114 section 4.2.2 counts: names,
/// values, and 32 a field.
fn with_head_of(stack: &Running, size: usize) -> Request {
    const NAME: &str = "x-fill-00";
    let mut request = stack.get("/");
    let mut have: usize = {
        use quiche::h3::NameValue;
        let head = request.head();
        head.iter()
            .map(|h| h.name().len() + h.value().len() + 32)
            .sum()
    };
    for n in 0.. {
        let left = size - have;
        if left == 0 {
            break;
        }
        let most = 1000 + NAME.len() + 32;
        // What is left over must have room for a field's name.
        let take = if left > 2 * most {
            most
        } else if left > most {
            left / 2
        } else {
            left
        };
        let value = take - NAME.len() - 32;
        // Eight bits in QPACK's Huffman code, so that it does not shrink.
        request
            .fields
            .push((format!("x-fill-{n:02}"), "X".repeat(value)));
        have += take;
    }
    request
}

fn size_of(answer: &Answer) -> usize {
    answer
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum()
}
