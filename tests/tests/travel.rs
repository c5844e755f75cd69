//! Requests travel, on either driver: heads, bodies and trailers, both ways.

use std::time::Instant;

use spooky_core::observe::Outcome;
use spooky_mio::client::{Event, Payload, Request};
use spooky_tests::{Driver, Stack, ask, ask_all, secs};

#[test]
fn bodies_of_all_sizes_arrive_whole_both_ways() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).start();
        let mut client = stack.client();
        for len in [0, 1, 16 << 10, (1 << 20) + 1, 64 << 20] {
            let down = stack.ask(&mut client, &format!("/bytes/{len}"));
            assert_eq!((down.status(), down.bytes), (200, len), "{driver:?}");
            assert!(down.is_pattern, "{driver:?}: {len} bytes came damaged");
            let upload = Request::post(&stack.target("/count"), Payload::Pattern(len));
            let up = ask(&mut client, upload, secs(60));
            let text = String::from_utf8_lossy(&up.text).into_owned();
            assert_eq!(up.status(), 200);
            assert!(text.contains(&format!("\"bytes\":{len},")), "{text}");
        }
        for record in stack.records(10) {
            assert_eq!(record.outcome, Outcome::Complete);
            assert_eq!((record.attempts, record.reason), (1, None));
        }
    }
}

#[test]
fn an_echo_returns_the_body_and_the_trailers_as_they_come() {
    for driver in Driver::ALL {
        let stack = Stack::new().on(driver).start();
        let mut client = stack.client();
        let mut request = Request::post(&stack.target("/echo"), Payload::Pattern(5_000_000));
        request.trailers = vec![("x-sum".to_owned(), "42".to_owned())];
        let answer = ask(&mut client, request, secs(30));
        assert_eq!((answer.status(), answer.bytes), (200, 5_000_000));
        assert!(answer.is_pattern);
        assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
        let hinted = stack.ask(&mut client, "/hints");
        assert_eq!(
            (hinted.interim.as_slice(), hinted.status()),
            (&[103][..], 200)
        );
        stack.records(2);
    }
}

#[test]
fn many_streams_of_many_clients_are_all_answered_by_the_backends_weights() {
    for driver in Driver::ALL {
        let stack = Stack::new()
            .on(driver)
            .backends(2)
            .weights(&[300, 100])
            .workers(2)
            .start();
        let mut from_first = 0;
        for mut client in stack.clients(8) {
            let requests = (0..100).map(|n| stack.get(&format!("/bytes/{}", n * 100)));
            let answers = ask_all(&mut client, requests.collect(), secs(30));
            for (n, answer) in answers.iter().enumerate() {
                assert_eq!((answer.status(), answer.bytes), (200, n as u64 * 100));
                from_first += usize::from(answer.backend() == "web1");
            }
        }
        // 600 expected; further than eight standard deviations is no chance.
        assert!(
            (500..700).contains(&from_first),
            "{from_first} of 800 at three quarters"
        );
        stack.records(800);
    }
}

#[test]
fn answers_without_a_body_are_whole_whatever_length_they_announce() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let mut head = stack.get("/bytes/77");
    head.method = "HEAD".to_owned();
    let answer = ask(&mut client, head, secs(5));
    assert_eq!((answer.status(), answer.bytes), (200, 0));
    assert_eq!(answer.field("content-length"), "77");
    for status in [204, 304] {
        let answer = stack.ask(&mut client, &format!("/status/{status}"));
        assert_eq!((answer.status(), answer.bytes), (status, 0));
    }
    let records = stack.records(3);
    assert!(
        records
            .iter()
            .all(|record| record.outcome == Outcome::Complete)
    );
}

#[test]
fn bodies_are_passed_on_as_they_come_not_when_they_are_whole() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let id = client.send(Request::post(
        &stack.target("/echo"),
        Payload::Pattern(1 << 40),
    ));
    let end = Instant::now() + secs(20);
    let mut echoed = 0;
    while echoed < 20 << 20 {
        let next = client.next_event(end).expect("the connection lives");
        let (of, event) = next.expect("an echo, long before the upload's end");
        match event {
            Event::Body(bytes) => echoed += bytes.len(),
            Event::Failed(why) => panic!("{why}"),
            Event::End => panic!("the end of an endless body"),
            Event::Interim { .. } | Event::Head { .. } | Event::Trailers(_) => {}
        }
        assert_eq!(of, id);
    }
}
