//! Peers that make us keep more than flow control counts, and what becomes of them.

use spooky_tests::raw::packet::{self, ByHand};
use spooky_tests::raw::{self, Raw, kind, qpack};
use spooky_tests::rig::{Options, Rig};

/// Counts what the proxy holds.
#[global_allocator]
static ALLOCATOR: spooky_tests::sim::Counting = spooky_tests::sim::Counting;

const MIB: i64 = 1 << 20;
/// More than it takes: 200 bytes are reckoned for each, and 16 MiB are the bound.
const MANY: u64 = 90_000;
const EXCESSIVE_LOAD: Option<(bool, u64)> = Some((true, 0x107));

/// A client whose HTTP/3 and QUIC are the test's.
fn rig(config: &'static str) -> Rig {
    Rig::new(Options {
        config,
        raw_client: Some(Raw::PLAIN),
        // What reaches a backend stops there soon.
        backend: |config| config.set_initial_max_stream_data_bidi_remote(2000),
        ..Options::default()
    })
}

/// What an attack came to.
#[derive(Debug)]
struct Cost {
    /// The most that was held at a time, beyond what there was before.
    most: i64,
    closed: Option<(bool, u64)>,
}

/// Sends payloads from the client, each in a datagram, until the proxy had enough.
fn from_client(rig: &mut Rig, payloads: Vec<Vec<u8>>) -> Cost {
    let before = rig.held();
    let mut most = 0;
    for payload in payloads {
        let datagram = rig.client.by_hand().seal(&payload);
        rig.from_address(vec![datagram]);
        rig.run();
        most = most.max(rig.held() - before);
        if rig.client.by_hand().closed().is_some() {
            break;
        }
    }
    rig.settle();
    let closed = rig.client.by_hand().closed();
    eprintln!("most held: {most}, closed: {closed:?}");
    Cost { most, closed }
}

fn tiny(stream: u64, offsets: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    packet::payloads(
        offsets
            .into_iter()
            .map(|at| packet::stream(stream, at, b"x")),
    )
}

#[test]
fn frames_of_one_byte_behind_a_gap_cost_little_and_then_the_connection() {
    let mut rig = rig("");
    let cost = from_client(&mut rig, tiny(0, 1..MANY));
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most > 8 * MIB, "they were kept: {cost:?}");
    assert!(cost.most < 32 * MIB, "{cost:?}");
    assert_eq!(rig.proxy.snapshot().counters.connections_broken_rules, 1);
}

#[test]
fn it_makes_no_difference_on_how_many_streams_they_come() {
    let mut rig = rig("");
    let frames = (1..MANY / 100).flat_map(|at| (0..100).map(move |n| (4 * n, at)));
    let payloads = packet::payloads(frames.map(|(stream, at)| packet::stream(stream, at, b"x")));
    let cost = from_client(&mut rig, payloads);
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most < 32 * MIB, "{cost:?}");
}

#[test]
fn frames_of_one_byte_that_nobody_takes_on_cost_no_more() {
    let mut rig = rig("");
    let start = begin_post(&mut rig);
    let cost = from_client(&mut rig, tiny(0, start..start + MANY));
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most < 32 * MIB, "{cost:?}");
    let record = rig.records.last().expect("the request has ended");
    let detail = record.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("cost too much"), "{detail}");
}

#[test]
fn long_frames_with_one_new_byte_each_cost_no_more() {
    let mut rig = rig("");
    let frames = (1..MANY).map(|at| packet::stream(0, at, &[b'x'; 1200]));
    let cost = from_client(&mut rig, packet::payloads(frames));
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most < 32 * MIB, "{cost:?}");
}

#[test]
fn holes_that_are_filled_at_a_stroke_cost_no_more() {
    let mut rig = rig("");
    let bytes = 2 * 80_000;
    let holes = tiny(0, (1..bytes).step_by(2));
    let fill = (1..bytes)
        .step_by(1200)
        .map(|at| packet::stream(0, at, &[b'x'; 1200]));
    let payloads = [holes, packet::payloads(fill), tiny(4, 1..MANY)].concat();
    let cost = from_client(&mut rig, payloads);
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most > 16 * MIB, "holes were filled: {cost:?}");
    assert!(cost.most < 32 * MIB, "{cost:?}");
}

#[test]
fn unidirectional_streams_are_no_way_around() {
    let mut rig = rig("");
    let streams = [2, 6, 10, 14, 18, 22, 26, 30];
    let frames = (1..16_000).flat_map(|at| streams.map(|id| packet::stream(id, at, b"x")));
    let cost = from_client(&mut rig, packet::payloads(frames));
    assert_eq!(cost.closed, EXCESSIVE_LOAD);
    assert!(cost.most < 32 * MIB, "{cost:?}");
}

#[test]
fn handshake_frames_have_a_bound_of_their_own() {
    let mut rig = rig("");
    let frames = (1..60_000).map(|at| packet::crypto(at, b"x"));
    let cost = from_client(&mut rig, packet::payloads(frames));
    assert_eq!(cost.closed, Some((false, 0x0d)), "CRYPTO_BUFFER_EXCEEDED");
    assert!(cost.most < MIB, "{cost:?}");
}

#[test]
fn a_backend_is_held_to_the_same() {
    let mut rig = Rig::new(Options::default());
    rig.get("/");
    rig.settle();
    let stream = rig.asked(0);
    let before = rig.held();
    let mut most = 0;
    for payload in tiny(stream, 1..MANY) {
        let datagram = rig.connections[0].1.by_hand().seal(&payload);
        rig.from_backend(0, vec![datagram]);
        rig.run();
        most = most.max(rig.held() - before);
    }
    rig.settle();
    assert_eq!(rig.connections[0].1.by_hand().closed(), EXCESSIVE_LOAD);
    assert!(8 * MIB < most && most < 32 * MIB, "{most}");
    assert_eq!(rig.client.status(0).as_deref(), Some("502"));
    assert_eq!(rig.proxy.snapshot().counters.connections_broken_rules, 1);
    rig.get("/");
    rig.settle();
    assert_eq!(rig.connections.len(), 2, "the client goes on");
}

#[test]
fn frames_of_one_byte_that_are_read_cost_nothing() {
    let mut rig = Rig::new(Options {
        raw_client: Some(Raw::PLAIN),
        ..Options::default()
    });
    let start = begin_post(&mut rig);
    let before = rig.held();
    // Each comes twice, the second time after it was read.
    let mut read = 0;
    for payload in tiny(0, start..start + 2 * MANY) {
        for _ in 0..2 {
            let datagram = rig.client.by_hand().seal(&payload);
            rig.from_address(vec![datagram]);
            rig.settle();
        }
        read += rig.connections[0].1.read(0, 4096).len() as u64;
        assert!(rig.held() - before < MIB);
    }
    assert_eq!(read, 2 * MANY);
    assert_eq!(rig.client.by_hand().closed(), None);
}

#[test]
fn windows_full_of_frames_of_usual_size_are_in_order() {
    let mut rig = rig("");
    // All but the first byte of what a hundred streams may hold, a gap before it.
    let frames = (0..262).flat_map(|n| {
        let at = 1 + 1000 * n;
        (0..100).map(move |stream| packet::stream(4 * stream, at, &[b'x'; 1000]))
    });
    let cost = from_client(&mut rig, packet::payloads(frames));
    assert_eq!(cost.closed, None);
    assert!(cost.most > 25 * MIB, "they were kept: {cost:?}");
}

#[test]
fn reserved_bits_are_a_breach_of_the_protocol() {
    for bits in [0x08, 0x10] {
        let mut rig = rig("");
        let datagram = rig.client.by_hand().seal_with(bits, &[1, 0, 0, 0]);
        rig.from_address(vec![datagram]);
        rig.settle();
        assert_eq!(rig.client.by_hand().closed(), Some((false, 0x0a)));
    }
}

#[test]
fn nobody_is_held_back_where_only_we_send() {
    for (stream, code) in [(3, Some((false, 0x05))), (0, None), (2, None)] {
        let mut rig = rig("");
        let datagram = rig.client.by_hand().seal(&[0x15, stream, 9, 1]);
        rig.from_address(vec![datagram]);
        rig.settle();
        assert_eq!(rig.client.by_hand().closed(), code, "{stream}");
    }
}

#[test]
fn packets_that_quic_calls_invalid_are_dropped_unseen() {
    let mut rig = rig("");
    let close = packet::payloads([vec![0x1d, 0x41, 0, 0]]);
    let mut datagram = rig.client.by_hand().seal(&close[0]);
    datagram[0] &= !0x40;
    let before = rig.proxy.snapshot().counters.datagrams_dropped;
    rig.from_address(vec![datagram]);
    rig.settle();
    let snapshot = rig.proxy.snapshot();
    assert_eq!(snapshot.counters.datagrams_dropped, before + 1);
}

#[test]
fn what_was_not_sent_by_the_peer_is_no_breach() {
    let mut rig = rig("");
    let by_hand: &mut ByHand = rig.client.by_hand();
    let good = by_hand.seal(&[1, 0, 0, 0]);
    let mut forged = by_hand.seal_with(0x08, &[1, 0, 0, 0]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    rig.from_address(vec![good.clone(), forged, good]);
    rig.settle();
    assert_eq!(rig.client.by_hand().closed(), None);
}

/// Begins a request with a body of any length on stream 0, and returns where the body
/// goes on.
fn begin_post(rig: &mut Rig) -> u64 {
    let head = qpack::section(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ]);
    let bytes = [
        raw::frame(kind::HEADERS, &head),
        raw::lying(kind::DATA, 1 << 30, &[]),
    ]
    .concat();
    rig.client.put(0, &bytes, false);
    rig.settle();
    assert_eq!(rig.connections.len(), 1, "the backend was asked");
    bytes.len() as u64
}
