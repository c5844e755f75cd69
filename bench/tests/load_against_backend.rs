//! The generator against a demo backend, on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use spooky_bench::latency::{self, Start};
use spooky_bench::load::{self, Plan};
use spooky_mio::client::{Target, Trust};
use spooky_mio::demo::backend::{Backend, Options};
use spooky_mio::demo::identity::Authority;

#[test]
fn answers_are_counted_with_bytes_and_latencies() {
    let (backend, plan) = setting("/bytes/1000");
    let outcome = load::run(&plan).unwrap();
    let tally = outcome.tally;
    assert!(tally.answered > 100, "{}", tally.answered);
    assert_eq!(tally.failed(), 0, "{:?}", tally.errors);
    // Bytes of answers half-way through at either end of the window.
    let edge = 1000 * (plan.connections * plan.streams) as u64;
    assert!(tally.bytes.abs_diff(1000 * tally.answered) <= edge);
    assert!(tally.latency(0.5) <= tally.latency(0.99));
    assert!(outcome.cpu.is_some_and(|cpu| cpu > Duration::ZERO));
    assert_eq!(backend.counts().connections, plan.connections as u64);
}

#[test]
fn errors_are_counted_by_kind() {
    for (path, kind) in [
        ("/status/503", "status 503"),
        ("/reset/100", "reset 0x102"),
        ("/short/100", "body cut short"),
    ] {
        let (_backend, plan) = setting(path);
        let tally = load::run(&plan).unwrap().tally;
        assert_eq!(tally.answered, 0, "{path}");
        assert!(
            tally.errors.get(kind).is_some_and(|n| *n > 10),
            "{path}: {:?}",
            tally.errors
        );
    }
}

#[test]
fn lost_connections_are_made_anew() {
    let (_backend, plan) = setting("/close/100");
    let tally = load::run(&plan).unwrap().tally;
    // Each of four is lost, and back a tenth of a second later.
    let lost = tally.failed();
    assert!(lost > 4 * plan.streams as u64, "{:?}", tally.errors);
    assert!(
        tally.errors.keys().all(|kind| kind.contains("0x102")),
        "{:?}",
        tally.errors
    );
}

#[test]
fn handshakes_are_counted_one_after_the_other() {
    let (backend, mut plan) = setting("/");
    plan.streams = 0;
    plan.only_handshakes = true;
    let tally = load::run(&plan).unwrap().tally;
    assert!(tally.answered > 20, "{}", tally.answered);
    assert_eq!(tally.failed(), 0, "{:?}", tally.errors);
    // Before the window, too; but who leaves at once may be gone before a busy backend
    // has looked.
    let seen = backend.counts().connections;
    assert!(seen >= tally.answered / 2, "{seen} of {}", tally.answered);
}

#[test]
fn connections_that_ask_nothing_are_held() {
    let (backend, mut plan) = setting("/");
    plan.streams = 0;
    plan.warm_up = Duration::ZERO;
    let outcome = load::run(&plan).unwrap();
    assert_eq!(outcome.tally.answered, 4);
    assert_eq!(backend.counts().connections, 4);
    assert!(outcome.grown.is_some());
}

#[test]
fn a_client_that_comes_again_with_its_ticket_is_timed() {
    let (_backend, plan) = setting("/");
    for start in [Start::New, Start::Resumed] {
        let [handshakes, answers] = latency::run(&plan.target, &plan.trust, start, 3).unwrap();
        assert_eq!(
            (handshakes.tally.answered, answers.tally.answered),
            (3, 3),
            "{start:?}"
        );
        // The head of a response comes after the handshake, unless it was asked for before.
        assert!(handshakes.tally.latency(0.0) <= answers.tally.latency(0.0));
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_no_hang() {
    let (backend, plan) = setting("/");
    drop(backend);
    let tally = load::run(&plan).unwrap().tally;
    assert_eq!(tally.answered, 0);
    assert!(tally.failed() > 0);
}

fn setting(path: &str) -> (Backend, Plan) {
    let authority = Authority::new("bench").unwrap();
    let identity = authority.issue_local().unwrap();
    let backend = Backend::start(&identity, Options::named("web1")).unwrap();
    let target: Target = format!("https://{}{path}", backend.address())
        .parse()
        .unwrap();
    let plan = Plan {
        target,
        trust: Trust::Authorities(authority.pem().as_bytes().to_vec()),
        connections: 4,
        streams: 5,
        only_handshakes: false,
        warm_up: Duration::from_millis(300),
        duration: Duration::from_millis(700),
        threads: 2,
        pid: Some(std::process::id()),
    };
    (backend, plan)
}
