//! What is sent to addresses that nobody has proved to be at. That it is never more than
//! three times what came from there, the simulator checks in every run.

use spooky_tests::sim::{FaultKind, Link, Story, get};

use crate::{millis, secs};

/// About 10 kB of certificate.
const LONG: u32 = 230;

#[test]
fn a_client_that_falls_silent_is_sent_no_more_than_its_due_and_its_place_is_given_back() {
    for names in [0, LONG] {
        let story = (0..10).fold(Story::new().names(names), |story, client| {
            // Its first flight is on its way, and nothing else ever comes.
            story.at(millis(1), FaultKind::CutOffClient { client })
        });
        story
            .clients(10, get(100))
            .all_at_once()
            .until(secs(60))
            .check(2, |told| {
                assert_eq!(told.counters().connections_accepted, 10);
                assert_eq!(told.counters().handshakes_failed, 10);
                assert!(told.counters().datagrams_sent >= 20);
            });
    }
}

#[test]
fn a_long_chain_arrives_over_a_network_that_loses_one_datagram_in_ten() {
    let mut lossy = Link::lossy();
    lossy.loss = 100_000;
    Story::new()
        .names(LONG)
        .clients(30, get(1_000))
        .link(lossy)
        .check(5, |told| {
            assert_eq!(told.answered(), 30, "{:?}", told.tally());
            assert_eq!(told.counters().handshakes_failed, 0);
        });
}

#[test]
fn a_long_chain_takes_one_round_trip_more_and_no_timeout() {
    // The client's answer to the first three datagrams allows the rest.
    Story::new()
        .names(LONG)
        .clients(1, get(1_000))
        .check(2, |told| {
            // 10 ms each way: two round trips for the handshake, one for the request and
            // one for the one to the backend.
            let answered = told.last_answer().expect("it is answered");
            assert!(answered < millis(65), "{answered:?}");
        });
}

/// Three hundred that ask once and are never heard again, and one who means it.
#[test]
fn a_flood_of_clients_that_are_nowhere_holds_up_nobody() {
    const CROWD: u32 = 300;
    let story = (0..CROWD).fold(Story::new(), |story, client| {
        // Each has sent its first flight by then.
        story.at(millis(1), FaultKind::CutOffClient { client })
    });
    story
        .clients(CROWD, get(100))
        .all_at_once()
        .also(1, get(1_000).times(20).every(millis(500)), |client| {
            client.start = millis(5);
        })
        .workers(2)
        .config("quic: { retry_threshold: 50 }")
        .until(secs(60))
        .check(2, |told| {
            assert_eq!(told.answered(), 20, "{:?}", told.tally());
            for entry in told.entries().filter(|entry| entry.is_answered()) {
                let took = entry.took().expect("it ended");
                assert!(took < millis(100), "{took:?}");
            }
            let counters = told.counters();
            assert_eq!(counters.connections_accepted, 50 + 1);
            assert_eq!(counters.handshakes_failed, 50);
            assert!(counters.retries_sent > 250);
        });
}

/// RFC 9000 section 9.3: the bound holds for an address that a client moved to as well,
/// and a client's datagram can be sent again from another's address. This is quiche's.
#[test]
fn a_client_that_moves_and_falls_silent_is_sent_no_more_than_its_due_there() {
    let mut slow = Link::clean();
    slow.bandwidth = Some(200_000);
    for moves in [
        FaultKind::Rebind { client: 0 },
        FaultKind::Migrate { client: 0 },
    ] {
        Story::new()
            .clients(1, get(1_000_000))
            .link(slow.clone())
            .at(millis(500), moves)
            // Some of its acknowledgements came from there, and no answer to a challenge.
            .at(millis(512), FaultKind::CutOffClient { client: 0 })
            .until(secs(60))
            .check(5, |told| {
                assert_eq!(told.answered(), 0, "{:?}", told.tally());
            });
    }
}
