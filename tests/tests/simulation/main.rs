//! Stories in the simulator.

use spooky_tests::sim::*;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn first() {
    let request = |n: u64| RequestPlan {
        at: Duration::from_millis(n * 100),
        method: if n % 3 == 0 {
            Method::Post
        } else {
            Method::Get
        },
        upload: if n % 3 == 0 { 30_000 } else { 0 },
        announced: true,
        padding: 0,
        cancelled: None,
        download: 20_000,
        asks: Behaviour::Answer,
    };
    let client = ClientPlan {
        start: Duration::ZERO,
        requests: (0..10).map(request).collect(),
        window: 1 << 20,
        reads: None,
        resumes: false,
        vanishes: false,
    };
    let backend = BackendPlan {
        weight: 100,
        thinks: Duration::ZERO,
        streams: 100,
        window: 1 << 20,
        leaves_after: None,
        absent: false,
    };
    let scenario = Scenario {
        seed: 1,
        config: String::new(),
        workers: 1,
        segments: 8,
        turn: Duration::ZERO,
        blocked: 0,
        clients: vec![client; 5],
        backends: vec![backend; 2],
        client_link: Link::lossy(),
        backend_link: Link::clean(),
        faults: vec![],
        until: Duration::from_secs(20),
        kept: None,
    };
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        match scenario.run() {
            Ok(report) => println!(
                "{} {} steps {} datagrams {:?} most {} tally {:?} took {:?} {:?}",
                report.hash,
                report.steps,
                report.datagrams,
                report.time,
                report.most_bytes,
                report.ledger.tally(),
                begun.elapsed(),
                report.snapshot
            ),
            Err(failure) => panic!("{failure}"),
        }
    }
}
