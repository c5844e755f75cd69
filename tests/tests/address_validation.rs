//! Who begins a connection is where it says it is; who has none any more is told.

use std::net::SocketAddr;

use spooky_core::limits;
use spooky_tests::edge::{Client, Edge, Reply};
use spooky_tests::{millis, secs};

const ALWAYS: &str = "quic: { retry: always }\n";
const NEVER: &str = "quic: { retry: never }\n";
/// RFC 9000 section 20.1.
const INVALID_TOKEN: u64 = 0x0b;

#[test]
fn every_client_shows_its_address_first_where_that_is_asked() {
    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1000);
    // X25519MLKEM768: the ClientHello takes two datagrams, and each is answered alone.
    let hello = client.datagrams();
    assert_eq!(hello.len(), 2);
    for bytes in &hello {
        let replies = edge.give(0, client.address, bytes);
        let [retry] = &replies[..] else {
            panic!("{replies:?}")
        };
        assert!(3 * retry.bytes.len() < bytes.len(), "it does not amplify");
        client.receive(retry.clone());
    }
    assert_eq!(edge.counters().connections_accepted, 0, "nothing is kept");
    edge.settle(0, &mut client);
    assert!(client.quic.is_established());
    let counters = edge.counters();
    assert_eq!((counters.retries_sent, counters.tokens_accepted), (2, 1));
    assert_eq!(counters.connections_accepted, 1);
}

#[test]
fn the_second_half_of_a_hello_may_bring_the_token_first() {
    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1000);
    let mut hello = after_retry(&mut edge, &mut client);
    assert_eq!(hello.len(), 2);
    hello.reverse();
    for bytes in hello {
        let replies = edge.give(0, client.address, &bytes);
        replies.into_iter().for_each(|reply| client.receive(reply));
    }
    edge.settle(0, &mut client);
    assert!(client.quic.is_established());
    assert_eq!(edge.counters().connections_accepted, 1);
}

#[test]
fn a_token_works_whichever_worker_it_comes_to() {
    let mut edge = Edge::new(ALWAYS, 4);
    for worker in 0..4 {
        let mut client = edge.client(1000 + worker as u16);
        for bytes in after_retry(&mut edge, &mut client) {
            let replies = edge.give(worker, client.address, &bytes);
            replies.into_iter().for_each(|reply| client.receive(reply));
        }
        edge.settle(worker, &mut client);
        assert!(client.quic.is_established(), "worker {worker}");
    }
    let counters = edge.counters();
    assert!(counters.datagrams_misrouted > 0, "some were handed over");
    assert_eq!(counters.connections_accepted, 4);
}

#[test]
fn a_token_of_a_process_that_had_more_workers_works() {
    let mut edge = Edge::new(ALWAYS, 4);
    let mut client = edge.client(1000);
    let hello = client.datagrams();
    let retry = edge.give(3, client.address, &hello[0]);
    retry.into_iter().for_each(|reply| client.receive(reply));
    edge.start([1; 32], 1);
    edge.settle(0, &mut client);
    assert!(client.quic.is_established());
}

#[test]
fn a_token_is_refused_at_another_address() {
    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1000);
    let hello = after_retry(&mut edge, &mut client);
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1001));
    let replies = edge.give(0, elsewhere, &hello[0]);
    assert_refused(&mut client, replies, elsewhere);
    assert_eq!(edge.counters().tokens_elsewhere, 1);
    assert_eq!(edge.counters().connections_accepted, 0);
}

#[test]
fn a_token_is_refused_when_its_seconds_are_over() {
    let mut edge = Edge::new(ALWAYS, 1);
    let (mut early, mut late) = (edge.client(1000), edge.client(1001));
    let hellos = [&mut early, &mut late].map(|client| after_retry(&mut edge, client));
    // The test takes a little, too.
    edge.pass(limits::RETRY_TOKEN_LIFE - secs(2));
    for bytes in &hellos[0] {
        let replies = edge.give(0, early.address, bytes);
        replies.into_iter().for_each(|reply| early.receive(reply));
    }
    edge.settle(0, &mut early);
    assert!(early.quic.is_established());
    edge.pass(secs(2) + millis(1));
    let replies = edge.give(0, late.address, &hellos[1][0]);
    let address = late.address;
    assert_refused(&mut late, replies, address);
    assert_eq!(edge.counters().tokens_expired, 1);
}

#[test]
fn a_token_is_good_once() {
    let mut edge = Edge::new(ALWAYS, 2);
    let mut client = edge.client(1000);
    let hello = after_retry(&mut edge, &mut client);
    for bytes in &hello {
        let replies = edge.give(0, client.address, bytes);
        replies.into_iter().for_each(|reply| client.receive(reply));
    }
    edge.settle(0, &mut client);
    // While the connection lives they are its own, late; then they are a replay.
    assert_eq!(edge.give(0, client.address, &hello[0]), []);
    client.quic.close(true, 0x100, b"").expect("it is open");
    edge.settle(0, &mut client);
    let mut replayed = 0;
    while edge.counters().tokens_used_again == 0 {
        std::thread::sleep(millis(10));
        edge.timeout();
        edge.give(1, client.address, &hello[0]);
        replayed += 1;
        assert!(replayed < 1000, "the connection never ends");
    }
    assert_eq!(edge.counters().connections_accepted, 1);
}

#[test]
fn an_altered_token_of_ours_is_refused_and_one_of_others_is_none() {
    let mut edge = Edge::new(NEVER, 1);
    let mut ours = edge.client(1000);
    let bytes = with_token(&mut ours, &[7; 80]);
    // The client's first id is none of ours: what it brings may be of another server.
    edge.give(0, ours.address, &bytes);
    assert_eq!(edge.counters().tokens_foreign, 1);
    assert_eq!(edge.counters().retries_sent, 0);
    assert_eq!(edge.counters().connections_accepted, 1);

    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1001);
    let mut hello = after_retry(&mut edge, &mut client);
    // Behind the ids of sixteen bytes each and the token's length of two.
    hello[0][1 + 4 + 17 + 17 + 2 + 30] ^= 1;
    let replies = edge.give(0, client.address, &hello[0]);
    let address = client.address;
    assert_refused(&mut client, replies, address);
    assert_eq!(edge.counters().tokens_forged, 1);
    // In the mode that asks for it, one of others is no excuse.
    let mut other = edge.client(1002);
    let bytes = with_token(&mut other, &[7; 80]);
    edge.give(0, other.address, &bytes);
    assert_eq!(edge.counters().tokens_foreign, 1);
    assert_eq!(edge.counters().retries_sent, 3);
    assert_eq!(edge.counters().connections_accepted, 0);
}

#[test]
fn auto_begins_at_its_threshold_and_ends_below_it() {
    let mut edge = Edge::new("quic: { retry_threshold: 3 }\n", 2);
    let mut clients: Vec<Client> = (0..5).map(|n| edge.client(1000 + n)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let hello = client.datagrams();
        // The first datagram alone: the handshake stays half-open. Workers count together.
        let replies = edge.give(n % 2, client.address, &hello[0]);
        replies.into_iter().for_each(|reply| client.receive(reply));
    }
    let counters = edge.counters();
    assert_eq!(
        (counters.connections_accepted, counters.retries_sent),
        (3, 2)
    );
    // They are as welcome as the others.
    edge.settle(1, &mut clients[3]);
    assert!(clients[3].quic.is_established());
    // Others give up, and handshakes are few again.
    for client in &mut clients[..3] {
        let _ = client.quic.close(false, 0, b"");
    }
    edge.settle(0, &mut clients[0]);
    let before = edge.counters().retries_sent;
    let mut next = edge.client(2000);
    edge.settle(0, &mut next);
    assert!(next.quic.is_established());
    assert_eq!(edge.counters().retries_sent, before);
}

#[test]
fn a_datagram_of_a_handshake_that_is_over_begins_no_other() {
    let mut edge = Edge::new(NEVER, 1);
    let mut client = edge.client(1000);
    edge.settle(0, &mut client);
    let id = client.quic.destination_id().into_owned();
    edge.restart();
    // A long header, an id of ours, no token: what a client sends late.
    let mut initial = vec![0xc0, 0, 0, 0, 1, 16];
    initial.extend_from_slice(&id);
    initial.resize(1200, 0);
    assert_eq!(edge.give(0, client.address, &initial), []);
    assert_eq!(edge.counters().connections_accepted, 0);
    assert_eq!(edge.counters().datagrams_dropped, 1);
}

#[test]
fn a_restart_with_the_same_secret_tells_clients_at_whichever_worker() {
    let mut edge = Edge::new(NEVER, 4);
    for worker in 0..4 {
        let mut client = edge.client(1000 + worker as u16);
        edge.settle(worker, &mut client);
        assert!(client.quic.is_established());
        edge.restart();
        // It moved meanwhile, for all that anybody knows.
        let packet = ping(&mut client);
        let replies = edge.give((worker + 1) % 4, client.address, &packet);
        let [reset] = &replies[..] else {
            panic!("{replies:?}")
        };
        assert!(reset.bytes.len() < packet.len());
        client.receive(reset.clone());
        assert!(client.quic.is_closed(), "worker {worker}");
        assert_eq!(edge.counters().stateless_resets_sent, 1);
        assert_eq!(edge.counters().datagrams_misrouted, 1);
    }
}

#[test]
fn fewer_workers_after_a_restart_tell_clients_all_the_same() {
    let mut edge = Edge::new(NEVER, 4);
    let mut client = edge.client(1000);
    edge.settle(3, &mut client);
    edge.start([1; 32], 1);
    let packet = ping(&mut client);
    let replies = edge.give(0, client.address, &packet);
    replies.into_iter().for_each(|reply| client.receive(reply));
    assert!(client.quic.is_closed());
}

#[test]
fn nobody_is_told_with_a_secret_that_is_not_the_same() {
    let mut edge = Edge::new(NEVER, 1);
    let mut client = edge.client(1000);
    edge.settle(0, &mut client);
    edge.start([2; 32], 1);
    let packet = ping(&mut client);
    assert_eq!(edge.give(0, client.address, &packet), []);
    assert_eq!(edge.counters().datagrams_dropped, 1);
}

#[test]
fn resets_shrink_stop_and_answer_no_long_header() {
    let mut edge = Edge::new(NEVER, 1);
    let mut client = edge.client(1000);
    edge.settle(0, &mut client);
    let id = client.quic.destination_id().into_owned();
    edge.restart();
    let mut packet = [&[0x41][..], &id, &[0; 100]].concat();
    // Whoever sends each back with the id that was in the first gets ever less, and then
    // nothing.
    let mut rounds = 0;
    loop {
        let replies = edge.give(0, client.address, &packet);
        let [reset] = &replies[..] else { break };
        assert!(reset.bytes.len() < packet.len() && reset.bytes.len() >= 21);
        let len = reset.bytes.len();
        packet.truncate(len);
        rounds += 1;
    }
    assert_eq!((rounds, packet.len()), (1 + 42 - 21, 21));
    let sent = edge.counters().stateless_resets_sent;
    // 0-RTT, Handshake and the rest of version 1, small and large.
    for first in [0xd0, 0xe0, 0xf0] {
        for len in [40, 1200] {
            let mut long = vec![first, 0, 0, 0, 1, 16];
            long.extend_from_slice(&id);
            long.resize(len, 0);
            assert_eq!(edge.give(0, client.address, &long), []);
        }
    }
    assert_eq!(edge.counters().stateless_resets_sent, sent);
}

#[test]
fn a_straggler_to_a_retired_id_does_not_reset_a_connection_that_lives() {
    let mut edge = Edge::new(NEVER, 1);
    let mut client = edge.client(1000);
    edge.settle(0, &mut client);
    let first = client.quic.destination_id().into_owned();
    let straggler = [&[0x41][..], &first, &[0; 100]].concat();
    client.quic.retire_dcid(0).expect("it has others");
    edge.settle(0, &mut client);
    assert_eq!(edge.give(0, client.address, &straggler), []);
    assert_eq!(edge.counters().stateless_resets_sent, 0);
    assert!(!client.quic.is_closed());
}

#[test]
fn replies_without_a_connection_have_a_rate() {
    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1000);
    edge.settle(0, &mut client);
    let id = client.quic.destination_id().into_owned();
    edge.restart();
    let at = client.address;
    let reset = [&[0x41][..], &id, &[0; 100]].concat();
    let mut unknown = vec![0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    unknown.resize(1200, 0);
    // Ids of ours and a token that is none: a refusal.
    let mut forged = [&[0xc0, 0, 0, 0, 1, 16][..], &id, &[0, 8], &[7; 8]].concat();
    forged.resize(1200, 0);
    for (bytes, rate) in [
        (&reset, limits::RESETS_PER_SECOND),
        (&unknown, limits::VERSION_NEGOTIATIONS_PER_SECOND),
        (&forged, limits::REFUSALS_PER_SECOND),
    ] {
        let (rate, flood) = (rate as usize, 3 * rate as usize);
        let began = std::time::Instant::now();
        let mut sent = 0;
        for _ in 0..flood {
            for reply in edge.give(0, at, bytes) {
                assert!(
                    reply.bytes.len() < bytes.len(),
                    "never more than it answers"
                );
                sent += 1;
            }
        }
        let most = rate + (began.elapsed().as_secs_f64() * rate as f64) as usize + 1;
        assert!(
            sent >= rate && sent <= most,
            "{sent} of {flood}, {most} at most"
        );
    }
    let counters = edge.counters();
    assert!(counters.stateless_resets_suppressed > 0);
    assert!(counters.version_negotiations_suppressed > 0);
    assert!(counters.token_refusals_suppressed > 0);
    assert!(counters.version_negotiations_sent > 0 && counters.stateless_resets_sent > 0);
    assert_eq!(
        counters.tokens_forged,
        3 * u64::from(limits::REFUSALS_PER_SECOND)
    );
    assert_eq!(counters.stateless_dropped, 0);
}

#[test]
fn small_initials_are_ignored_and_so_is_an_unknown_version_in_a_small_datagram() {
    let mut edge = Edge::new(ALWAYS, 1);
    let mut client = edge.client(1000);
    let hello = client.datagrams();
    assert_eq!(edge.give(0, client.address, &hello[0][..1199]), []);
    let mut unknown = vec![0xc0, 0xba, 0xba, 0xba, 0xba, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    unknown.resize(1199, 0);
    assert_eq!(edge.give(0, client.address, &unknown), []);
    assert_eq!(edge.counters().datagrams_dropped, 2);
    unknown.resize(1200, 0);
    let replies = edge.give(0, client.address, &unknown);
    let [negotiation] = &replies[..] else {
        panic!("{replies:?}")
    };
    // RFC 8999 section 6: version 0, the ids changed about, what we speak.
    let bytes = &negotiation.bytes;
    assert!(bytes[0] & 0x80 != 0 && bytes[1..5] == [0; 4]);
    assert_eq!(bytes[5..], [0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]);
}

/// What a client sends after it was asked to show its address.
fn after_retry(edge: &mut Edge, client: &mut Client) -> Vec<Vec<u8>> {
    let before = edge.counters().connections_accepted;
    for bytes in client.datagrams() {
        let replies = edge.give(0, client.address, &bytes);
        replies.into_iter().for_each(|reply| client.receive(reply));
    }
    assert_eq!(edge.counters().connections_accepted, before);
    client.datagrams()
}

/// A client's first datagram, with a token; what is encrypted is none of its business.
fn with_token(client: &mut Client, token: &[u8]) -> Vec<u8> {
    let hello = client.datagrams().swap_remove(0);
    let ids = 6 + usize::from(hello[5]);
    let ids = ids + 1 + usize::from(hello[ids]);
    assert_eq!(hello[ids], 0, "it had none");
    let len = u8::try_from(token.len()).expect("a short one");
    [&hello[..ids], &[0x40, len], token, &hello[ids + 1..]].concat()
}

fn ping(client: &mut Client) -> Vec<u8> {
    client.quic.send_ack_eliciting().expect("it is open");
    client.datagrams().pop().expect("a packet")
}

/// It was closed with INVALID_TOKEN, which was sent to `to`, and smaller than its cause.
fn assert_refused(client: &mut Client, replies: Vec<Reply>, to: SocketAddr) {
    let [reply] = &replies[..] else {
        panic!("{replies:?}")
    };
    assert_eq!(reply.to, to);
    assert!(reply.bytes.len() < 100, "{}", reply.bytes.len());
    let to = client.address;
    client.receive(Reply {
        to,
        ..reply.clone()
    });
    assert_eq!(client.close_code(), Some(INVALID_TOKEN));
}
