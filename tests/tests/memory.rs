//! A slow reader costs the daemon its windows, not the body's size.

use std::env;
use std::time::{Duration, Instant};

use spooky_mio::client::transport::Windows;
use spooky_mio::client::{Client, Event, ExchangeId, Options, Payload, Request};
use spooky_tests::{Daemon, Stack, ask, millis, pump, secs};

/// The bound on the growth of the daemon's resident memory, in KiB.
const BOUND: u64 = 8 << 10;

/// `SPOOKY_SLOW_MIB=1024 SPOOKY_SLOW_RATE=1` is the long version: a gibibyte to a
/// reader that takes a mebibyte a second.
#[test]
fn a_slow_reader_of_a_large_body_grows_the_daemon_by_less_than_eight_mebibytes() {
    let size = number("SPOOKY_SLOW_MIB", 64) << 20;
    let rate = number("SPOOKY_SLOW_RATE", 4) << 20;
    let daemon = Daemon::before(&Stack::new());
    let mut client = daemon.client(&patient());
    // What every connection needs is there before the measurement.
    assert_eq!(
        ask(&mut client, daemon.get("/bytes/100"), secs(10)).status(),
        200
    );
    let (before, _) = daemon.memory();
    let began = Instant::now();
    let received = read_slowly(&mut client, daemon.get(&format!("/bytes/{size}")), rate);
    let took = began.elapsed();
    let (_, most) = daemon.memory();
    let growth = most.saturating_sub(before);
    eprintln!(
        "{} MiB in {took:?}: grown by {growth} KiB from {before} KiB",
        size >> 20
    );
    assert_eq!(received, size);
    let expected = Duration::from_secs_f64(size as f64 / rate as f64);
    assert!(
        took > expected.mul_f64(0.8),
        "it was no slow reader: {took:?}"
    );
    assert!(growth < BOUND, "grown by {growth} KiB from {before} KiB");
}

#[test]
fn a_fast_sender_to_a_backend_that_does_not_read_is_held_back() {
    let daemon = Daemon::before(&Stack::new());
    let mut client = daemon.client(&patient());
    assert_eq!(
        ask(&mut client, daemon.get("/bytes/3000000"), secs(10)).status(),
        200
    );
    let (before, _) = daemon.memory();
    for _ in 0..20 {
        client.send(Request {
            method: "POST".into(),
            body: Payload::Pattern(1 << 30),
            ..daemon.get("/stall")
        });
    }
    pump(&mut client, secs(2));
    let (_, most) = daemon.memory();
    let growth = most.saturating_sub(before);
    // Twenty requests hold a window each toward us, and one toward the backend:
    // 256 KiB, times 1.24 for what quiche adds, and twice.
    let bound = 20 * 2 * 256 * 5 / 4 + BOUND;
    assert!(growth < bound, "grown by {growth} KiB from {before} KiB");
}

/// Reads the response at `rate` bytes a second: holds it whenever it is ahead.
fn read_slowly(client: &mut Client, request: Request, rate: u64) -> u64 {
    let began = Instant::now();
    let id = client.send(request);
    let mut received = 0_u64;
    let mut heard = Instant::now();
    loop {
        let due = Duration::from_secs_f64(received as f64 / rate as f64);
        let ahead = due.saturating_sub(began.elapsed());
        if ahead > millis(5) {
            client.hold(id, true);
            if pump_until(client, Instant::now() + ahead, id, &mut received) {
                return received;
            }
            client.hold(id, false);
        }
        match client.next_event(Instant::now() + millis(50)) {
            Ok(Some((_, Event::Body(bytes)))) => {
                received += bytes.len() as u64;
                heard = Instant::now();
            }
            Ok(Some((_, Event::End))) => return received,
            Ok(Some((_, Event::Failed(why)))) => panic!("after {received} bytes: {why}"),
            Ok(_) => assert!(
                heard.elapsed() < secs(10),
                "stands still at {received} bytes"
            ),
            Err(why) => panic!("after {received} bytes: {why}"),
        }
    }
}

/// Acknowledges and reads nothing new; what was read already is counted. True if
/// the response ended.
fn pump_until(client: &mut Client, end: Instant, id: ExchangeId, received: &mut u64) -> bool {
    while let Ok(Some((of, event))) = client.next_event(end) {
        match event {
            Event::Body(bytes) if of == id => *received += bytes.len() as u64,
            Event::End if of == id => return true,
            Event::Failed(why) => panic!("after {received} bytes: {why}"),
            Event::Interim { .. }
            | Event::Head { .. }
            | Event::Body(_)
            | Event::Trailers(_)
            | Event::End => {}
        }
    }
    false
}

/// A client with windows of the usual size, for transfers that take long.
fn patient() -> Options {
    Options {
        connect_timeout: secs(5),
        timeout: secs(3600),
        windows: Windows::default(),
    }
}

fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}
