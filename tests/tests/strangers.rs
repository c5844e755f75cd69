//! Nobody waits for a stranger: who shares a connection with readers that stall
//! goes on at full speed, and large bodies and small ones take turns.

use std::time::{Duration, Instant};

use spooky_mio::client::{Client, Event, Payload, Request};
use spooky_tests::{Answer, Crowd, Running, Stack, ask, millis, pump, secs, wait_until};

const BULK: u64 = 40 << 20;
/// Far more than it takes on two busy cores without optimisation, far less than
/// the timeouts that would end a standstill.
const BOUND: Duration = secs(20);

#[test]
fn ninety_nine_clients_that_stop_reading_do_not_slow_the_hundredth_on_their_connection() {
    let stack = one_connection();
    let mut stalled = stack.clients(99);
    for client in &mut stalled {
        stall(&stack, client);
    }
    let stalled = Crowd::of(stalled);
    wait_until("the stalled requests are with the backend", BOUND, || {
        stack.backend(0).counts().requests == 99
    });
    // Let their windows fill, on both sides of Spooky.
    std::thread::sleep(millis(500));
    let answer = ask(
        &mut stack.client(),
        stack.get(&format!("/bytes/{BULK}")),
        BOUND,
    );
    whole(&answer);
    assert_eq!(stack.backend(0).counts().connections, 1);
    drop(stalled);
    stack.records(100);
}

#[test]
fn ninety_nine_streams_that_stop_reading_do_not_slow_the_hundredth_of_their_client() {
    let stack = one_connection();
    let mut client = stack.client();
    for _ in 0..99 {
        stall(&stack, &mut client);
    }
    pump(&mut client, millis(500));
    let answer = ask(&mut client, stack.get(&format!("/bytes/{BULK}")), BOUND);
    whole(&answer);
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn ninety_nine_uploads_that_nobody_reads_do_not_slow_the_hundredth_of_their_client() {
    let stack = one_connection();
    let mut client = stack.client();
    for _ in 0..99 {
        client.send(Request::post(
            &stack.target("/stall"),
            Payload::Pattern(2 << 20),
        ));
    }
    pump(&mut client, millis(800));
    upload(&stack, &mut client);
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn uploads_of_many_clients_that_nobody_reads_do_not_slow_the_last_one() {
    let stack = one_connection();
    let mut stalled = stack.clients(99);
    for client in &mut stalled {
        client.send(Request::post(
            &stack.target("/stall"),
            Payload::Pattern(2 << 20),
        ));
        pump(client, millis(1));
    }
    let _stalled = Crowd::of(stalled);
    wait_until("the stalled requests are with the backend", BOUND, || {
        stack.backend(0).counts().requests == 99
    });
    std::thread::sleep(millis(500));
    upload(&stack, &mut stack.client());
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn fifty_small_requests_do_not_wait_for_a_large_download_beside_them() {
    let stack = one_connection();
    let mut client = stack.client();
    let began = Instant::now();
    let large = client.send(stack.get(&format!("/bytes/{}", 64 << 20)));
    let mut small = Vec::new();
    let mut gone = 0;
    let mut slowest = Duration::ZERO;
    let mut received = 0_u64;
    let total = loop {
        let next = client
            .next_event(began + BOUND)
            .expect("the connection lives");
        let (id, event) = next.expect("the download is not so slow");
        match event {
            Event::Body(bytes) if id == large => received += bytes.len() as u64,
            Event::End if id == large => break began.elapsed(),
            Event::End => {
                let asked = small
                    .iter()
                    .position(|(known, _)| *known == id)
                    .expect("one of ours");
                let (_, at): (_, Instant) = small.swap_remove(asked);
                slowest = slowest.max(at.elapsed());
            }
            Event::Failed(why) => panic!("failed: {why}"),
            Event::Interim { .. } | Event::Head { .. } | Event::Body(_) | Event::Trailers(_) => {}
        }
        // One at a time, spread over the download.
        if gone < 50 && small.is_empty() && received > (gone + 1) << 20 {
            small.push((client.send(stack.get("/bytes/100")), Instant::now()));
            gone += 1;
        }
    };
    assert_eq!((received, gone), (64 << 20, 50));
    assert!(small.is_empty(), "the download was over before a small one");
    // If one had waited for the download it would have taken most of its time.
    assert!(
        slowest < total / 4,
        "{slowest:?} beside a download of {total:?}"
    );
    stack.records(51);
}

#[test]
fn fifty_small_requests_at_once_do_not_wait_for_a_large_download_of_another_client() {
    let stack = one_connection();
    let mut other = stack.client();
    let large = other.send(stack.get(&format!("/bytes/{}", 1_u64 << 40)));
    pump(&mut other, millis(50));
    let _downloading = Crowd::of(vec![other]);
    let _ = large;
    let requests = (0..50).map(|_| stack.get("/bytes/100")).collect();
    let answers = spooky_tests::ask_all(&mut stack.client(), requests, BOUND);
    let slowest = answers
        .iter()
        .map(|a| a.took)
        .max()
        .expect("there are fifty");
    assert!(answers.iter().all(|a| a.status() == 200));
    assert!(slowest < secs(2), "{slowest:?}");
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn equal_downloads_on_one_connection_advance_side_by_side() {
    let stack = one_connection();
    let mut client = stack.client();
    let size = 16_u64 << 20;
    let path = format!("/bytes/{size}");
    let ids: Vec<_> = (0..4).map(|_| client.send(stack.get(&path))).collect();
    let mut received = [0_u64; 4];
    let end = Instant::now() + BOUND;
    loop {
        let next = client.next_event(end).expect("the connection lives");
        let (of, event) = next.expect("in time");
        let index = ids.iter().position(|&id| id == of).expect("one of ours");
        match event {
            Event::Body(bytes) => received[index] += bytes.len() as u64,
            Event::End => break,
            Event::Failed(why) => panic!("{why}"),
            Event::Interim { .. } | Event::Head { .. } | Event::Trailers(_) => {}
        }
    }
    // The first is complete: served one after the other, the last has nothing.
    let least = received.iter().min().expect("there are four");
    assert!(*least > size / 2, "{received:?} of {size} each");
}

/// All requests share one connection to the backend.
fn one_connection() -> Running {
    Stack::new().config("connections: {max: 1}").start()
}

/// Asks for more than any window holds, and never reads it.
fn stall(stack: &Running, client: &mut Client) {
    let id = client.send(stack.get("/bytes/2000000"));
    client.hold(id, true);
    pump(client, millis(1));
}

fn upload(stack: &Running, client: &mut Client) {
    let request = Request::post(&stack.target("/count"), Payload::Pattern(BULK));
    let answer = ask(client, request, BOUND);
    let text = String::from_utf8_lossy(&answer.text).into_owned();
    assert_eq!(answer.status(), 200);
    assert!(text.contains(&format!("\"bytes\":{BULK},")), "{text}");
}

fn whole(answer: &Answer) {
    assert_eq!(
        (answer.status(), answer.bytes),
        (200, BULK),
        "{:?}",
        answer.end
    );
    assert!(answer.is_pattern);
}
