//! Floods of first datagrams from made-up addresses, against the daemon itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use spooky_mio::client::Options;
use spooky_tests::stranger::Strangers;
use spooky_tests::{Daemon, Flood, Stack, ask, millis, secs};

/// Addresses that ask, once each.
const CROWD: u32 = 20_000;
/// … a second. A build without optimisation does not get through more, and a server
/// whose socket overflows is another story.
const PACE: u32 = 2_000;
/// How long an unfinished handshake lives in these tests.
const HANDSHAKE: Duration = secs(2);
/// The bound on the daemon's growth by a flood, once it is over.
const GROWTH: u64 = 16 << 10;

/// What one address of the crowd sends.
fn hello(strangers: &mut Strangers, n: u32, from: SocketAddr, to: SocketAddr) -> Vec<Vec<u8>> {
    match n % 2 {
        0 => strangers.first_flight(from, to),
        _ => vec![garbage(n)],
    }
}

/// An Initial packet, as far as can be told without its keys.
fn garbage(n: u32) -> Vec<u8> {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8, 0, 0, 0, 0];
    packet.extend(n.to_be_bytes());
    packet.extend([0, 0, 0x44, 0x9e]);
    packet.resize(1200, n as u8);
    packet
}

/// Sends all, and takes in what comes back until the last handshake was given up.
fn flood(to: SocketAddr) -> Flood {
    let mut flood = Flood::to(to);
    let mut strangers = Strangers::small();
    let hellos: Vec<_> = (0..CROWD)
        .map(|n| {
            let from = flood.address(n);
            (from, hello(&mut strangers, n, from, to))
        })
        .collect();
    let began = Instant::now();
    for (n, (from, datagrams)) in (0..).zip(hellos) {
        for datagram in datagrams {
            flood.send(from, &datagram);
        }
        let due = began + Duration::from_secs(1) * n / PACE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    eprintln!("{CROWD} in {:?}", began.elapsed());
    let end = Instant::now() + HANDSHAKE + secs(4);
    while Instant::now() < end {
        flood.listen();
        thread::sleep(millis(1));
    }
    flood
}

/// The longest that a client which knew nothing waited for its first answer.
fn longest_wait(daemon: &Daemon, over: &AtomicBool) -> (u32, Duration) {
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Acquire) {
        let began = Instant::now();
        let mut client = daemon.client(&Options::default());
        let answer = ask(&mut client, daemon.get("/bytes/1000"), secs(10));
        assert_eq!((answer.status(), answer.bytes), (200, 1000));
        longest = longest.max(began.elapsed());
        count += 1;
        thread::sleep(millis(50));
    }
    (count, longest)
}

#[test]
fn a_flood_of_made_up_clients_holds_up_nobody_amplifies_nothing_and_leaves_no_memory() {
    let limits = format!("limits: {{ handshake_timeout: {}s }}", HANDSHAKE.as_secs());
    let daemon = Daemon::before(&Stack::new().config(&limits));
    let mut first = daemon.client(&Options::default());
    assert_eq!(ask(&mut first, daemon.get("/"), secs(10)).status(), 200);
    let (before, _) = daemon.memory();
    let over = AtomicBool::new(false);
    let (flood, (served, longest)) = thread::scope(|scope| {
        let good = scope.spawn(|| longest_wait(&daemon, &over));
        let flood = flood(daemon.address());
        over.store(true, Ordering::Release);
        (flood, good.join().expect("everybody was served"))
    });
    let (after, most) = daemon.memory();
    eprintln!("{served} served, the slowest in {longest:?}");
    eprintln!("{before} KiB before, {most} at most, {after} after");
    assert!(longest < secs(1), "{longest:?}");
    assert!(served > 20, "{served}");
    let (mut answered, mut worst) = (0, 0.0_f64);
    for (address, account) in flood.accounts() {
        let factor = account.answered as f64 / account.asked as f64;
        assert!(factor <= 3.0, "{address}: {account:?}");
        worst = worst.max(factor);
        answered += u32::from(account.answered > 0);
    }
    eprintln!("{answered} addresses were answered, with {worst:.2} times at most");
    assert!(answered > CROWD / 4, "{answered}");
    let growth = after.saturating_sub(before);
    assert!(growth < GROWTH, "grown by {growth} KiB");
}
