//! The client against the demo backend, on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use boring::sha::{Sha256, sha256};
use spooky_mio::client::{
    Client, Error, Event, Options, Payload, Request, Response, Target, Trust,
};
use spooky_mio::demo::backend::{self, Backend};
use spooky_mio::demo::identity::Authority;
use spooky_mio::demo::pattern;

#[test]
fn bodies_of_all_sizes_arrive_whole() {
    let mut peers = Peers::start();
    for len in [0, 1, 16 << 10, 64 << 20] {
        let mut offset = 0;
        let request = peers.get(&format!("/bytes/{len}"));
        let response = peers
            .client
            .fetch_into(request, |bytes| {
                assert!(pattern::matches(offset, bytes), "at {offset} of {len}");
                offset += bytes.len() as u64;
            })
            .unwrap();
        assert_eq!((response.status, offset), (200, len));
    }
}

#[test]
fn uploads_arrive_whole() {
    let mut peers = Peers::start();
    for len in [0, 1, 16 << 10, 64 << 20] {
        let request = Request::post(&peers.target, Payload::Pattern(len)).path("/count");
        let text = String::from_utf8(peers.client.fetch(request).unwrap().body).unwrap();
        let (bytes, digest) = (format!("\"bytes\":{len},"), pattern_digest(len));
        assert!(text.contains(&bytes) && text.contains(&digest), "{text}");
    }
}

#[test]
fn echo_returns_body_and_trailers() {
    let mut peers = Peers::start();
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(i) >> 3) as u8)
        .collect();
    let mut request = Request::post(&peers.target, Payload::Bytes(body.clone())).path("/echo");
    request.trailers = vec![("x-sum".to_owned(), "42".to_owned())];
    let response = peers.client.fetch(request).unwrap();
    assert_eq!(sha256(&response.body), sha256(&body));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

#[test]
fn a_hundred_streams_at_once_are_all_answered() {
    let mut peers = Peers::start();
    let requests = (0..100).map(|i| peers.get(&format!("/bytes/{}", i * 10_000)));
    let answers = peers.client.fetch_all(requests.collect());
    for (i, answer) in answers.into_iter().enumerate() {
        let body = answer.unwrap().body;
        assert_eq!(body.len(), i * 10_000);
        assert!(pattern::matches(0, &body));
    }
    assert_eq!(peers.backend.counts().connections, 1);
}

#[test]
fn requests_beyond_the_limit_wait_their_turn() {
    let mut peers = Peers::start();
    let requests = (0..350).map(|_| peers.get("/bytes/100")).collect();
    let answers = peers.client.fetch_all(requests);
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().is_ok_and(|r| r.body.len() == 100))
    );
}

#[test]
fn heads_trailers_hints_and_delays_come_as_asked() {
    let mut peers = Peers::start();
    let root = peers.ask("/").unwrap();
    assert_eq!(root.body, b"hello from web1\n");
    assert_eq!(root.field("x-backend"), Some("web1"));
    assert_eq!(peers.ask("/status/503").unwrap().status, 503);
    assert_eq!(peers.ask("/trailers").unwrap().trailers.len(), 2);
    let hinted = peers.ask("/hints").unwrap();
    assert_eq!((hinted.interim, hinted.status), (vec![103], 200));
    assert!(peers.ask("/slow/80").unwrap().first_byte >= Duration::from_millis(80));
    let large = peers.ask("/headers/32768").unwrap();
    let size: usize = large.fields.iter().map(|(n, v)| n.len() + v.len()).sum();
    assert!(size > 32_000, "{size}");
    let mut head = peers.get("/bytes/77");
    head.method = "HEAD".to_owned();
    let head = peers.client.fetch(head).unwrap();
    assert_eq!(
        (head.field("content-length"), head.body.len()),
        (Some("77"), 0)
    );
}

#[test]
fn broken_answers_are_errors_that_say_how() {
    let mut peers = Peers::start();
    let Err(Error::Reset(0x102)) = peers.ask("/reset/5000") else {
        panic!("a reset is a reset")
    };
    let Err(Error::Truncated {
        got: 500,
        announced: 1000,
    }) = peers.ask("/short/1000")
    else {
        panic!("a short body is noticed")
    };
    // The connection outlives both, and not this:
    assert!(peers.ask("/").is_ok());
    let Err(Error::Closed {
        by_server: true,
        code: 0x102,
        ..
    }) = peers.ask("/close/10")
    else {
        panic!("a close is a close")
    };
}

#[test]
fn a_cancelled_request_is_noticed_by_the_backend() {
    let mut peers = Peers::start();
    for path in ["/stall", "/slow/60000", "/bytes/1000000000"] {
        let before = peers.backend.counts().cancelled;
        let request = peers.get(path);
        let id = peers.client.send(request);
        peers.settle(Duration::from_millis(50));
        peers.client.cancel(id);
        let until = Instant::now() + Duration::from_secs(5);
        while peers.backend.counts().cancelled == before {
            assert!(Instant::now() < until, "{path} goes on");
            peers.settle(Duration::from_millis(10));
        }
        assert_eq!(peers.backend.counts().last_cancel_code, 0x10c);
    }
}

#[test]
fn streams_nobody_reads_do_not_stop_the_others() {
    let mut peers = Peers::start();
    for _ in 0..99 {
        let request = peers.get("/bytes/1000000");
        let id = peers.client.send(request);
        peers.client.hold(id, true);
    }
    peers.settle(Duration::from_millis(300));
    let response = peers.ask("/bytes/40000000").unwrap();
    assert_eq!(response.body.len(), 40_000_000);
}

#[test]
fn an_upload_nobody_reads_is_held_back() {
    let mut peers = Peers::start();
    let request = Request::post(&peers.target, Payload::Pattern(1 << 30)).path("/stall");
    peers.client.send(request);
    peers.settle(Duration::from_millis(300));
    let request = Request::post(&peers.target, Payload::Pattern(40 << 20)).path("/count");
    let response = peers.client.fetch(request).unwrap();
    assert!(String::from_utf8_lossy(&response.body).contains("41943040"));
}

#[test]
fn a_backend_that_vanishes_is_silence() {
    let mut peers = Peers::start();
    let request = peers.get("/stall");
    peers.client.send(request);
    peers.settle(Duration::from_millis(50));
    peers.backend.vanish();
    let deadline = Instant::now() + Duration::from_millis(300);
    // Silence, or at most the kernel's word that the port is closed.
    match peers.client.next_event(deadline) {
        Ok(None) | Err(Error::Socket(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backend_that_is_dropped_says_goodbye() {
    let mut peers = Peers::start();
    let request = peers.get("/stall");
    peers.client.send(request);
    peers.settle(Duration::from_millis(50));
    drop(peers.backend);
    let deadline = Instant::now() + Duration::from_secs(2);
    let Ok(Some((
        _,
        Event::Failed(Error::Closed {
            by_server: true,
            code: 0x100,
            ..
        }),
    ))) = peers.client.next_event(deadline)
    else {
        panic!("the request fails with the connection")
    };
}

#[test]
fn strangers_are_not_trusted_and_the_error_says_what_to_give() {
    let peers = Peers::start();
    let stranger = Authority::new("stranger").unwrap();
    let trust = Trust::Authorities(stranger.pem().as_bytes().to_vec());
    let error = Client::connect(&peers.target, &trust, &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Untrusted(_)), "{error}");
    assert!(error.to_string().contains("--ca FILE"), "{error}");
}

#[test]
fn a_certificate_for_another_name_is_not_trusted() {
    let authority = Authority::new("ours").unwrap();
    let identity = authority.issue(&["example.com", "192.0.2.1"]).unwrap();
    let backend = Backend::start(&identity, backend::Options::named("web1")).unwrap();
    let port = backend.address().port();
    let trust = Trust::Authorities(authority.pem().as_bytes().to_vec());
    for host in ["127.0.0.1", "localhost"] {
        let target: Target = format!("https://{host}:{port}/").parse().unwrap();
        let options = Options {
            connect_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        let error = Client::connect(&target, &trust, &options).unwrap_err();
        assert!(matches!(error, Error::Untrusted(_)), "{host}: {error}");
    }
}

#[test]
fn a_closed_port_is_named() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let target: Target = format!("https://127.0.0.1:{port}/").parse().unwrap();
    let error = Client::connect(&target, &Trust::Nobody, &Options::default()).unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[test]
fn a_port_that_never_answers_is_named() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let target: Target = format!("https://127.0.0.1:{port}/").parse().unwrap();
    let options = Options {
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let began = Instant::now();
    let error = Client::connect(&target, &Trust::Nobody, &options).unwrap_err();
    assert!(matches!(error, Error::NoAnswer(..)), "{error}");
    assert!((200..2000).contains(&began.elapsed().as_millis()));
}

/// A backend, and a client connected to it.
struct Peers {
    backend: Backend,
    client: Client,
    target: Target,
}

impl Peers {
    fn start() -> Self {
        let authority = Authority::new("test authority").unwrap();
        let identity = authority.issue_local().unwrap();
        let backend = Backend::start(&identity, backend::Options::named("web1")).unwrap();
        let target: Target = format!("https://{}/", backend.address()).parse().unwrap();
        let trust = Trust::Authorities(authority.pem().as_bytes().to_vec());
        let client = Client::connect(&target, &trust, &Options::default()).unwrap();
        Self {
            backend,
            client,
            target,
        }
    }

    fn get(&self, path: &str) -> Request {
        Request::get(&self.target).path(path)
    }

    fn ask(&mut self, path: &str) -> Result<Response, Error> {
        let request = self.get(path);
        self.client.fetch(request)
    }

    /// Lets time pass while the client goes on; what happens in it is not looked at.
    fn settle(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(Some(_)) = self.client.next_event(until) {}
    }
}

fn pattern_digest(len: u64) -> String {
    let (mut digest, mut offset) = (Sha256::new(), 0);
    while offset < len {
        let bytes = pattern::slice(offset, (len - offset).min(1 << 20) as usize);
        digest.update(bytes);
        offset += bytes.len() as u64;
    }
    digest
        .finish()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
