//! Endings are exact: what breaks is never a clean end, says why, and leaves one
//! record.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use spooky_core::observe::{Outcome, Reason, Record};
use spooky_mio::client::{Client, Error, Payload, Request};
use spooky_tests::{Answer, Crowd, Running, Stack, ask, ask_all, millis, pump, secs, wait_until};

const REQUEST_CANCELLED: u64 = 0x10c;
/// For what should happen at once.
const SOON: Duration = secs(2);

#[test]
fn a_record_says_what_was_asked_and_what_came_of_it() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let mut request = Request::post(&stack.target("/echo?x=1"), Payload::Pattern(70_000));
    request.fields.push(("x-any".into(), "thing".into()));
    assert_eq!(ask(&mut client, request, secs(10)).status(), 200);
    assert_eq!(stack.ask(&mut client, "/status/404").status(), 404);
    assert_eq!(stack.ask(&mut stack.client(), "/slow/150").status(), 200);
    let records = stack.records(3);
    let echo = &records[0];
    let head = echo.request.as_ref().expect("the head was readable");
    assert_eq!(
        (head.method(), head.path()),
        (&b"POST"[..], &b"/echo?x=1"[..])
    );
    assert_eq!(head.authority(), stack.address().to_string().as_bytes());
    assert_eq!((echo.backend.as_deref(), echo.attempts), (Some("web1"), 1));
    assert_eq!((echo.request_bytes, echo.response_bytes), (70_000, 70_000));
    assert_eq!((echo.outcome, echo.reason), (Outcome::Complete, None));
    assert_eq!((echo.status, records[1].status), (Some(200), Some(404)));
    assert!(echo.client.ip().is_loopback());
    assert_eq!(
        echo.client, records[1].client,
        "one connection, one address"
    );
    assert_ne!(
        echo.client, records[2].client,
        "another connection, another one"
    );
    let slow = &records[2];
    assert!(slow.duration >= millis(150) && slow.duration < secs(5));
    assert!(
        slow.time_to_head
            .is_some_and(|t| t >= millis(150) && t <= slow.duration)
    );
}

#[test]
fn a_client_that_cancels_cancels_at_the_backend_wherever_its_request_is() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let get = |path: &str| stack.get(path);
    let post = |path: &str| Request::post(&stack.target(path), Payload::Pattern(1 << 30));
    let all = [
        ("waits for the head", get("/stall")),
        ("waits for a slow answer", get("/slow/60000")),
        ("downloads", get("/bytes/1000000000")),
        ("uploads", post("/count")),
        ("uploads to nobody", post("/stall")),
        ("does both", post("/echo")),
    ];
    let count = all.len();
    for (index, (what, request)) in all.into_iter().enumerate() {
        let id = client.send(request);
        pump(&mut client, millis(100));
        assert_eq!(
            stack.backend(0).counts().requests,
            index as u64 + 1,
            "{what}"
        );
        client.cancel(id);
        wait_for_cancel(&stack, &mut client, index as u64 + 1, what);
    }
    for record in stack.records(count) {
        ended(&record, Outcome::Cancelled, Reason::ClientCancelled);
    }
    assert_eq!(stack.backend(0).counts().ended, 3, "the three GETs");
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
    assert_eq!(stack.backend(0).counts().connections, 1);
}

#[test]
fn a_client_that_closes_its_connection_cancels_all_it_asked_for() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    for path in ["/stall", "/bytes/1000000000", "/slow/60000"] {
        client.send(stack.get(path));
    }
    pump(&mut client, millis(100));
    drop(client);
    let all = || stack.backend(0).counts().cancelled == 3;
    wait_until("the backend hears of it", SOON, all);
    assert_eq!(
        stack.backend(0).counts().last_cancel_code,
        REQUEST_CANCELLED
    );
    for record in stack.records(3) {
        ended(&record, Outcome::Cancelled, Reason::ClientGone);
    }
}

#[test]
fn a_client_that_vanishes_is_given_up_after_the_idle_timeout() {
    let stack = Stack::new().config("quic: {idle_timeout: 1s}").start();
    let mut client = stack.client();
    client.send(stack.get("/stall"));
    pump(&mut client, millis(100));
    // Without a CONNECTION_CLOSE, which dropping would send.
    std::mem::forget(client);
    let gone = || stack.backend(0).counts().cancelled == 1;
    wait_until("the backend hears of it", secs(8), gone);
    ended(&stack.record(), Outcome::Cancelled, Reason::ClientGone);
}

#[test]
fn a_backend_that_resets_or_cuts_a_body_short_is_a_reset_for_the_client() {
    for (path, reason) in [
        ("/reset/50000", Reason::BackendReset),
        ("/close/50000", Reason::BackendGone),
        ("/short/50000", Reason::ResponseIncomplete),
        ("/short/1", Reason::ResponseIncomplete),
        ("/long/50000", Reason::ResponseIncomplete),
        ("/long/2", Reason::ResponseIncomplete),
    ] {
        let stack = Stack::new().start();
        let mut client = stack.client();
        let answer = ask(&mut client, stack.get(path), secs(10));
        // Nothing of a body of half a byte may have come before the end was known.
        let broken = answer.reset().is_some() || answer.head == Some(502);
        assert!(broken, "{path}: {answer:?}");
        let record = stack.record();
        assert_eq!(record.reason, Some(reason), "{path}");
        match record.outcome {
            Outcome::Reset => assert!(answer.reset().is_some(), "{path}"),
            Outcome::LocalReply => assert_eq!(answer.status(), 502, "{path}"),
            Outcome::Complete | Outcome::Cancelled => panic!("{path}: {record:?}"),
        }
        // The client's connection is none the worse for it.
        assert_eq!(stack.ask(&mut client, "/").status(), 200, "{path}");
        stack.records(2);
    }
}

#[test]
fn a_backend_that_vanishes_in_the_middle_of_a_body_is_a_reset() {
    let mut stack = Stack::new().config("quic: {idle_timeout: 2s}").start();
    let mut client = stack.client();
    let id = client.send(stack.get("/bytes/1000000000000"));
    let waiting = client.send(stack.get("/stall"));
    pump(&mut client, millis(200));
    stack.vanish(0);
    let mut ends = Vec::new();
    let end = std::time::Instant::now() + secs(10);
    let mut status = None;
    while ends.len() < 2 {
        match client
            .next_event(end)
            .expect("the client's connection lives")
        {
            Some((of, spooky_mio::client::Event::Failed(why))) => ends.push((of, Err(why))),
            Some((of, spooky_mio::client::Event::End)) => ends.push((of, Ok(()))),
            Some((of, spooky_mio::client::Event::Head { status: s, .. })) if of == waiting => {
                status = Some(s);
            }
            Some(_) => {}
            None => panic!("it hangs: {ends:?}"),
        }
    }
    let of = |wanted| {
        ends.iter()
            .find(|(id, _)| *id == wanted)
            .map(|(_, end)| end)
    };
    assert!(matches!(of(id), Some(Err(Error::Reset(_)))), "{ends:?}");
    assert!(matches!(of(waiting), Some(Ok(()))), "{ends:?}");
    assert_eq!(
        status,
        Some(502),
        "no head had come: there is an answer that says why"
    );
    for record in stack.records(2) {
        assert_eq!(record.reason, Some(Reason::BackendGone));
    }
}

#[test]
fn a_port_where_nobody_listens_is_a_503_at_once() {
    let nobody = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let stack = Stack::new()
        .backends(0)
        .backend_at(nobody.expect("a free port"))
        .start();
    let answer = stack.ask(&mut stack.client(), "/");
    local(
        &stack,
        &answer,
        503,
        "connection_refused",
        Reason::ConnectionRefused,
    );
    assert!(answer.took < SOON, "{:?}", answer.took);
}

#[test]
fn an_address_that_is_silent_is_a_504_after_the_connect_timeout() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let stack = Stack::new().backends(0).backend_at(address);
    let stack = stack.config("timeouts: {connect: 400ms}").start();
    let answer = stack.ask(&mut stack.client(), "/");
    local(
        &stack,
        &answer,
        504,
        "connection_timeout",
        Reason::ConnectTimeout,
    );
    assert!(
        answer.took >= millis(400) && answer.took < SOON,
        "{:?}",
        answer.took
    );
}

#[test]
fn an_answer_that_does_not_come_is_a_504_after_the_header_timeout() {
    let stack = Stack::new()
        .config("timeouts: {response_header: 400ms}")
        .start();
    let mut client = stack.client();
    let answer = stack.ask(&mut client, "/stall");
    local(
        &stack,
        &answer,
        504,
        "http_response_timeout",
        Reason::ResponseHeaderTimeout,
    );
    assert!(
        answer.took >= millis(400) && answer.took < SOON,
        "{:?}",
        answer.took
    );
    wait_for_cancel(&stack, &mut client, 1, "the late request");
    // An upload that goes on is not late, however long it takes.
    let upload = Request::post(&stack.target("/count"), Payload::Pattern(64 << 20));
    assert_eq!(ask(&mut client, upload, secs(30)).status(), 200);
}

#[test]
fn an_untrusted_certificate_is_a_502_that_names_the_key_to_set() {
    let stack = Stack::new().untrusted_backends().start();
    let answer = stack.ask(&mut stack.client(), "/");
    local(
        &stack,
        &answer,
        502,
        "tls_certificate_error",
        Reason::CertificateRefused,
    );
    let why = answer.proxy_status();
    assert!(why.contains("set backend_tls.ca to"), "{why}");
}

#[test]
fn a_certificate_for_another_name_is_a_502_that_names_the_key_to_set() {
    let named = Stack::new().backends_named(&["web.test"]);
    let stack = named.clone().start();
    let answer = stack.ask(&mut stack.client(), "/");
    local(
        &stack,
        &answer,
        502,
        "tls_certificate_error",
        Reason::CertificateRefused,
    );
    let why = answer.proxy_status();
    assert!(why.contains("set backend_tls.server_name to"), "{why}");
    // And it helps to do so.
    for (server_name, status) in [("web.test", 200), ("other.test", 502)] {
        let section = format!("ca: ca.pem, server_name: {server_name}");
        let stack = named.clone().backend_tls(&section).start();
        assert_eq!(stack.ask(&mut stack.client(), "/").status(), status);
    }
    let stack = named.backend_tls("verify: off").start();
    assert_eq!(stack.ask(&mut stack.client(), "/").status(), 200);
}

#[test]
fn a_response_that_breaks_the_rules_is_a_502() {
    let stack = Stack::new().start();
    let answer = stack.ask(&mut stack.client(), "/broken");
    local(
        &stack,
        &answer,
        502,
        "http_protocol_error",
        Reason::BadResponse,
    );
}

#[test]
fn a_request_body_of_another_length_than_announced_never_ends_clean_at_the_backend() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let mut asked = 0;
    for path in ["/count", "/echo", "/stall"] {
        for (announced, sent) in [
            (100_u64, 0_u64),
            (100, 50),
            (50, 100),
            (1, 100_000),
            (1_000_000, 999_999),
            (999_999, 1_000_000),
        ] {
            let mut request = Request::post(&stack.target(path), Payload::Pattern(sent));
            request
                .fields
                .push(("content-length".into(), announced.to_string()));
            if path == "/stall" && sent > 200_000 {
                // Never read to the end, so the end is not known.
                continue;
            }
            let answer = ask(&mut client, request, secs(10));
            asked += 1;
            let what = format!("{sent} of {announced} bytes to {path}: {answer:?}");
            let refused = answer.end.is_ok() && answer.head == Some(400);
            assert!(refused || answer.reset().is_some(), "{what}");
            assert!(
                !refused || answer.proxy_status().contains("http_request_error"),
                "{what}"
            );
        }
    }
    for record in stack.records(asked) {
        assert_eq!(record.reason, Some(Reason::RequestIncomplete));
    }
    assert_eq!(stack.backend(0).counts().ended, 0);
    assert_eq!(stack.ask(&mut client, "/").status(), 200);
}

#[test]
fn a_body_of_no_announced_length_that_is_cut_by_a_reset_never_ends_clean() {
    let stack = Stack::new().start();
    let mut client = stack.client();
    let sizes = [0, 1, 1000, 16_000, 70_000, 300_000];
    let paths = (0..60).map(|n| format!("/cut/{}", sizes[n % sizes.len()]));
    let requests = paths.map(|path| stack.get(&path)).collect();
    for (n, answer) in ask_all(&mut client, requests, secs(20)).iter().enumerate() {
        let told = answer.reset().is_some() || answer.head == Some(502);
        assert!(told, "{} bytes: {answer:?}", sizes[n % sizes.len()]);
    }
    for record in stack.records(60) {
        assert_eq!(record.reason, Some(Reason::BackendReset), "{record:?}");
    }
}

#[test]
fn an_upload_of_no_announced_length_that_is_cancelled_never_ends_clean_at_the_backend() {
    const SIZE: u64 = 50_000;
    let stack = Stack::new().workers(2).start();
    let mut clients = stack.clients(4);
    for round in 0..100_u64 {
        let client = &mut clients[(round % 4) as usize];
        let upload = |n: u64| {
            let path = if n.is_multiple_of(2) {
                "/count"
            } else {
                "/echo"
            };
            let mut request = Request::post(&stack.target(path), Payload::Pattern(SIZE));
            request.announced = false;
            request
        };
        let ids: Vec<_> = (0..20).map(|n| client.send(upload(n))).collect();
        pump(client, millis(round * 7 % 20));
        for id in ids {
            client.cancel(id);
        }
        pump(client, millis(round % 5));
    }
    let _crowd = Crowd::of(clients);
    wait_until("nothing is in flight", secs(10), || {
        stack.snapshot().exchanges == 0
    });
    let records = stack.records_so_far();
    let whole = records.iter().filter(|r| r.request_bytes == SIZE).count() as u64;
    assert!(whole > 0 && whole < records.len() as u64, "{whole} whole");
    // One that had sent everything may have been answered before it cancelled.
    let other = |r: &&Arc<Record>| {
        !matches!(r.outcome, Outcome::Cancelled | Outcome::Complete)
            || (r.outcome == Outcome::Complete && r.request_bytes != SIZE)
    };
    let others: Vec<_> = records.iter().filter(other).collect();
    assert!(
        others.is_empty(),
        "{} such as {:?}",
        others.len(),
        others[0]
    );
    let ended = stack.backend(0).counts().ended;
    assert!(ended <= whole, "{ended} ends of {whole} whole bodies");
}

/// The record says it ended so, for this reason.
fn ended(record: &Arc<Record>, outcome: Outcome, reason: Reason) {
    assert_eq!(
        (record.outcome, record.reason),
        (outcome, Some(reason)),
        "{record:?}"
    );
}

/// The answer to the only request is Spooky's own, and says why.
fn local(stack: &Running, answer: &Answer, status: u16, error: &str, reason: Reason) {
    assert_eq!(answer.status(), status, "{answer:?}");
    let why = answer.proxy_status();
    assert!(
        why.starts_with(&format!("spooky; error={error}; details=\"")),
        "{why}"
    );
    let record = stack.record();
    ended(&record, Outcome::LocalReply, reason);
    assert_eq!(
        (record.status, record.response_bytes),
        (Some(status), answer.bytes)
    );
}

fn wait_for_cancel(stack: &Running, client: &mut Client, count: u64, what: &str) {
    wait_until(what, SOON, || {
        pump(client, millis(5));
        stack.backend(0).counts().cancelled == count
    });
    assert_eq!(
        stack.backend(0).counts().last_cancel_code,
        REQUEST_CANCELLED,
        "{what}"
    );
}
