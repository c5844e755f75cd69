//! Clients that read slowly hold back their backends, not the balancer's memory.

use spooky_tests::sim::{Story, get};

use crate::secs;

/// The most bytes held for clients that read `rate` bytes a millisecond.
fn most_bytes(clients: u32, bytes: u64, rate: u64) -> i64 {
    let most = std::cell::Cell::new(0);
    Story::new()
        .clients(clients, get(bytes))
        .client(|client| {
            client.reads = Some(rate);
            client.window = 64 << 10;
        })
        .config("quic: { stream_window: 64KiB }")
        .until(secs(300))
        .check(1, |told| {
            assert_eq!(told.answered(), clients as usize, "{:?}", told.tally());
            most.set(told.report.most_bytes);
        });
    most.get()
}

#[test]
fn the_memory_for_a_slow_reader_does_not_grow_with_the_body() {
    let (small, large) = (most_bytes(2, 1 << 20, 200), most_bytes(2, 4 << 20, 200));
    assert!(
        large < small + small / 4,
        "{small} bytes for 1 MiB, {large} for 4 MiB"
    );
    assert!(large < 2 << 20, "{large}");
}

#[test]
fn one_that_reads_slowly_does_not_slow_down_the_others() {
    Story::new()
        .clients(1, get(1_000_000).times(2))
        .client(|client| client.reads = Some(20))
        .also(5, get(40_000).times(4), |client| client.reads = None)
        .until(secs(20))
        .check(2, |told| {
            assert_eq!(told.answered(), 20, "{:?}", told.tally());
            assert!(
                told.last_answer() < Some(secs(4)),
                "{:?}",
                told.last_answer()
            );
        });
}
