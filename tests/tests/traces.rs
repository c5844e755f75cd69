//! Secrets and traces of connections, which come as events where they are asked for.

use std::time::Duration;

use spooky_core::observe::Peer;
use spooky_tests::rig::{Options, Rig};

#[test]
fn nobody_hears_of_secrets_or_traces_unless_they_ask() {
    let mut rig = Rig::new(Options::default());
    exchange(&mut rig);
    assert!(rig.keys.is_empty() && rig.pieces.is_empty());
    assert_eq!(rig.proxy.snapshot().counters.connections_traced, 0);
}

#[test]
fn secrets_of_both_sides_come_as_lines_of_a_key_log() {
    let mut rig = Rig::new(Options {
        config: "log: { tls_keys: keys.log }\n",
        ..Options::default()
    });
    exchange(&mut rig);
    assert!(rig.pieces.is_empty(), "traces are another matter");
    let text = String::from_utf8(rig.keys.clone()).expect("text");
    assert!(text.ends_with('\n'));
    let mut randoms: Vec<&str> = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [label, random, secret] = parts[..] else {
            panic!("{line}");
        };
        assert!(LABELS.contains(&label), "{line}");
        assert_eq!(random.len(), 64, "{line}");
        assert!(secret.len() >= 64, "{line}");
        if !randoms.contains(&random) {
            randoms.push(random);
        }
    }
    // The client's connection and the backend's, each with all that Wireshark asks for.
    assert_eq!(randoms.len(), 2, "{text}");
    for label in &LABELS[..4] {
        assert_eq!(text.matches(&format!("{label} ")).count(), 2, "{text}");
    }
}

#[test]
fn a_trace_tells_of_both_connections_from_their_first_packet_to_their_end() {
    let mut rig = Rig::new(Options {
        config: "log: { qlog: { dir: traces, sample: 1 } }\n",
        ..Options::default()
    });
    exchange(&mut rig);
    assert!(rig.keys.is_empty(), "secrets are another matter");
    assert_eq!(rig.proxy.snapshot().counters.connections_traced, 2);
    // The client goes; the proxy ends when it hears of it.
    rig.client.quic.close(true, 0x100, b"").expect("open");
    rig.settle();
    rig.proxy.drain(rig.now(), rig.now());
    // RFC 9000 section 10.2: a connection is forgotten three probe timeouts later.
    rig.pass(Duration::from_millis(300));
    for peer in [Peer::Client, Peer::Backend] {
        let trace = trace(&rig, peer);
        let mut records = trace.split_terminator('\n');
        let head = records.next().expect("a head");
        assert!(head.contains("JSON-SEQ"), "{head}");
        let vantage = match peer {
            Peer::Client => "\"type\":\"server\"",
            Peer::Backend => "\"type\":\"client\"",
        };
        assert!(head.contains(vantage), "{head}");
        // RFC 7464: each text begins with a record separator.
        assert!(
            trace
                .split_terminator('\n')
                .all(|r| r.starts_with("\u{1e}{") && r.ends_with('}'))
        );
        for event in [
            "parameters_set",
            "packet_received",
            "packet_sent",
            "connection_closed",
        ] {
            assert!(
                trace.contains(&format!(":{event}\"")),
                "{peer:?} {event}: {trace}"
            );
        }
    }
}

#[test]
fn what_is_not_in_the_sample_is_not_traced() {
    let mut rig = Rig::new(Options {
        config: "log: { qlog: { dir: traces, sample: 0.000001 } }\n",
        ..Options::default()
    });
    exchange(&mut rig);
    assert_eq!(rig.proxy.snapshot().counters.connections_traced, 0);
    assert!(rig.pieces.is_empty());
}

/// The labels of TLS 1.3; the first four are those that protect a connection.
const LABELS: [&str; 6] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
    "CLIENT_EARLY_TRAFFIC_SECRET",
];

fn exchange(rig: &mut Rig) {
    rig.get("/");
    rig.settle();
    let stream = rig.asked(0);
    rig.answer(0, stream, &[], true);
    rig.settle();
    assert_eq!(rig.records.len(), 1);
}

/// All that came of the only trace of one side, in order and without a gap.
fn trace(rig: &Rig, peer: Peer) -> String {
    let mut bytes = Vec::new();
    let pieces = rig.pieces.iter().filter(|piece| piece.trace.peer == peer);
    for piece in pieces {
        assert_eq!(piece.offset, bytes.len() as u64, "{peer:?}");
        bytes.extend_from_slice(&piece.records);
    }
    String::from_utf8(bytes).expect("text")
}
