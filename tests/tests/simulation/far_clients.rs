//! Clients that are far away are served as fast as those nearby, and cannot have more of
//! a connection for that than their share.

use spooky_tests::sim::{FaultKind, Link, Load, Story, get, post};

use crate::{millis, secs};

const BODY: u64 = 25_000_000;

/// A round trip of 50 ms.
fn far() -> Link {
    Link {
        latency: millis(25),
        ..Link::clean()
    }
}

fn upload(bytes: u64) -> Load {
    post(bytes).with(|request| request.download = 10)
}

#[test]
fn one_upload_over_fifty_milliseconds_has_a_hundred_megabits_a_second() {
    one(upload(BODY), "upload");
}

#[test]
fn one_download_over_fifty_milliseconds_has_a_hundred_megabits_a_second() {
    one(get(BODY), "download");
}

fn one(load: Load, what: &str) {
    Story::new()
        .link(far())
        .clients(1, load)
        .client(|client| client.window = 4 << 20)
        .check(1, |told| {
            let took = told.last_answer().expect("it is answered").as_secs_f64();
            // With the handshake, and with all that it takes to become fast.
            let rate = BODY as f64 * 8.0 / took / 1e6;
            eprintln!("{what}: {rate:.0} Mbit/s");
            assert!(rate > 100.0, "{rate:.0} Mbit/s");
        });
}

#[test]
fn uploads_that_grew_and_then_stall_do_not_freeze_the_others() {
    // Six of eight requests stall at their 256 KiB, four times what they began with. The
    // connection gives no more credit once 2 MiB are unread.
    Story::new()
        .backends(2)
        .backend(1, |backend| backend.absent = true)
        .config("quic: { max_streams: 8, stream_window: 64KiB, connection_window: 4MiB }")
        .clients(
            1,
            upload(40_000_000)
                .times(6)
                .and(upload(3_000_000).after(secs(3)).times(2)),
        )
        .client(|client| client.resumes = true)
        .at(secs(1), FaultKind::Restart { backend: 1 })
        .at(secs(2), FaultKind::CutOffBackend { backend: 0 })
        .until(secs(12))
        .check(1, |told| {
            assert_eq!(told.answered(), 2, "{:?}", told.tally());
            assert!(told.report.most_bytes > 6 * (128 << 10), "they grew");
        });
}
