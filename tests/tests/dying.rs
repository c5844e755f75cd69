//! Backends that die: every request ends, the others carry on, and who comes
//! back is used again.

use std::net::UdpSocket;
use std::time::Instant;

use spooky_core::observe::{Outcome, Reason};
use spooky_tests::{Stack, ask_all, millis, pump, secs, wait_until};

#[test]
fn a_backend_that_vanishes_during_two_hundred_requests_leaves_none_hanging() {
    let mut stack = Stack::new()
        .backends(2)
        .config("quic: {idle_timeout: 2s}")
        .start();
    let target = stack.target("/");
    let mut clients = stack.clients(4);
    let path = |n: usize| match n % 3 {
        0 => "/slow/600",
        1 => "/bytes/3000000",
        _ => "/",
    };
    let asking: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            let requests: Vec<_> = (0..50)
                .map(|n| spooky_mio::client::Request::get(&target).path(path(n)))
                .collect();
            std::thread::spawn(move || ask_all(&mut client, requests, secs(15)))
        })
        .collect();
    wait_until("they are under way", secs(5), || {
        stack.backend(0).counts().requests > 20
    });
    stack.vanish(0);
    let (mut whole, mut cut, mut told) = (0, 0, 0);
    for asked in asking {
        for answer in asked.join().expect("the client lives") {
            assert!(!answer.hangs(), "{answer:?}");
            match (answer.end.is_ok(), answer.head) {
                (true, Some(200)) => whole += 1,
                (true, Some(502..=504)) => told += 1,
                (false, _) if answer.reset().is_some() => cut += 1,
                _ => panic!("neither whole, nor told, nor reset: {answer:?}"),
            }
        }
    }
    assert_eq!(whole + cut + told, 200);
    assert!(
        whole > 60 && cut + told > 0,
        "{whole} whole, {told} told, {cut} cut"
    );
    stack.records(200);
    // The next ones go to the other, all of them.
    let mut client = stack.client();
    for _ in 0..20 {
        let answer = stack.ask(&mut client, "/");
        assert_eq!((answer.status(), answer.backend()), (200, "web2"));
        assert!(answer.took < secs(1), "{:?}", answer.took);
    }
}

#[test]
fn a_backend_connection_that_falls_silent_takes_no_new_request() {
    let stack = Stack::new()
        .backends(2)
        .relayed()
        .config("timeouts: {connect: 500ms}")
        .start();
    let mut client = stack.client();
    let spread = (0..20).map(|_| stack.get("/")).collect();
    assert!(
        ask_all(&mut client, spread, secs(5))
            .iter()
            .all(|answer| answer.status() == 200)
    );
    stack.relay(0).lose(true);
    // Some fall into the hole: that is how the silence is noticed.
    let lost: Vec<_> = (0..10).map(|_| client.send(stack.get("/slow/1"))).collect();
    pump(&mut client, millis(600));
    let before = stack.relay(0).lost();
    let answers = ask_all(
        &mut client,
        (0..40).map(|_| stack.get("/")).collect(),
        secs(8),
    );
    for answer in &answers {
        assert_eq!((answer.status(), answer.backend()), (200, "web2"));
    }
    assert!(before > 0, "something was lost before");
    for id in lost {
        client.cancel(id);
    }
    // It speaks again, and is asked again.
    stack.relay(0).lose(false);
    wait_until("the backend is used again", secs(20), || {
        let again = ask_all(
            &mut client,
            (0..10).map(|_| stack.get("/")).collect(),
            secs(8),
        );
        again.iter().any(|answer| answer.backend() == "web1")
    });
}

#[test]
fn a_backend_that_fails_to_connect_is_left_alone_and_its_requests_go_to_the_other() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let stack = Stack::new()
        .backend_at(address)
        .config("timeouts: {connect: 300ms}")
        .start();
    let mut client = stack.client();
    let answers = ask_all(
        &mut client,
        (0..20).map(|_| stack.get("/")).collect(),
        secs(5),
    );
    // The handshake failed for those who waited for it: nothing was sent, so
    // they went to the other one.
    for answer in &answers {
        assert_eq!((answer.status(), answer.backend()), (200, "web1"));
    }
    assert!(answers.iter().any(|answer| answer.took >= millis(300)));
    assert!(answers.iter().all(|answer| answer.took < secs(3)));
    // Within the second that it is left alone nobody waits.
    let soon = ask_all(
        &mut client,
        (0..20).map(|_| stack.get("/")).collect(),
        secs(5),
    );
    assert!(
        soon.iter().all(|answer| answer.took < millis(250)),
        "{soon:?}"
    );
    let records = stack.records(40);
    assert!(
        records
            .iter()
            .all(|record| record.outcome == Outcome::Complete)
    );
    assert!(records.iter().any(|record| record.attempts == 2));
}

#[test]
fn a_backend_that_comes_back_is_used_again() {
    let mut stack = Stack::new()
        .backends(2)
        .config("quic: {idle_timeout: 1s}")
        .start();
    let address = stack.backend(0).address();
    stack.vanish(0);
    let mut client = stack.client();
    for _ in 0..10 {
        assert_eq!(stack.ask(&mut client, "/").backend(), "web2");
    }
    stack.restart(0, address);
    wait_until("it is used again", secs(10), || {
        stack.ask(&mut client, "/").backend() == "web1"
    });
}

#[test]
fn the_last_backend_is_asked_even_while_it_is_left_alone() {
    let mut stack = Stack::new().config("quic: {idle_timeout: 1s}").start();
    let address = stack.backend(0).address();
    stack.vanish(0);
    let mut client = stack.client();
    for _ in 0..3 {
        let answer = stack.ask(&mut client, "/");
        assert_eq!(answer.status(), 503, "refused: nobody listens");
    }
    stack.restart(0, address);
    let began = Instant::now();
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert!(
        began.elapsed() < secs(1),
        "a doubtful backend is better than none"
    );
    let records = stack.records(4);
    assert_eq!(records[0].reason, Some(Reason::ConnectionRefused));
}
