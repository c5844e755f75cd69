//! Extended CONNECT (RFC 9220): WebSocket passes through, or is refused.

use std::time::Duration;

use quiche::h3::{Header, NameValue};
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Peer, Rig};

const CANCELLED: u64 = 0x10c;
const FRAME_UNEXPECTED: u64 = 0x105;

fn offering() -> Options {
    Options {
        tunnels: Some(true),
        ..Options::default()
    }
}

/// A tunnel that the backend accepted: its stream at the client, and at the backend.
fn tunnel(options: Options) -> (Rig, u64, u64) {
    let mut rig = Rig::new(options);
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    (rig, stream, asked)
}

fn field(peer: &Peer, stream: u64, name: &str) -> Option<String> {
    peer.events.iter().find_map(|(s, event)| {
        let quiche::h3::Event::Headers { list, .. } = event else {
            return None;
        };
        let field = list.iter().find(|f| f.name() == name.as_bytes())?;
        (*s == stream).then(|| String::from_utf8_lossy(field.value()).into_owned())
    })
}

/// Nothing is left of it, and the connections live on.
fn is_clean(rig: &mut Rig) {
    let stream = rig.get("/");
    rig.settle();
    let last = rig.connections.len() - 1;
    let asked = rig.asked(last);
    rig.answer(last, asked, &[], true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("200"));
    assert_eq!(rig.proxy.snapshot().exchanges, 0);
}

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let (mut rig, stream, asked) = tunnel(offering());
    assert_eq!(
        field(&rig.connections[0].1, asked, ":protocol").as_deref(),
        Some("websocket")
    );
    for round in 0..5_u8 {
        rig.client.write(stream, &[round; 1000], false);
        rig.settle();
        assert_eq!(rig.connections[0].1.read(asked, 9999), [round; 1000]);
        rig.connections[0].1.write(asked, &[round; 3000], false);
        rig.settle();
        assert_eq!(rig.client.read(stream, 9999), [round; 3000]);
    }
    rig.client.write(stream, b"last", true);
    rig.settle();
    assert_eq!(rig.connections[0].1.read(asked, 100), b"last");
    assert!(rig.connections[0].1.is_finished(asked));
    // The other way goes on.
    assert!(rig.records.is_empty());
    rig.connections[0].1.write(asked, b"more", false);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"more");
    rig.connections[0].1.write(asked, b"", true);
    rig.settle();
    assert!(rig.client.is_finished(stream));
    let record = &rig.records[0];
    assert_eq!((record.outcome, record.reason), (Outcome::Complete, None));
    assert_eq!(
        (record.request_bytes, record.response_bytes),
        (5004, 15_004)
    );
    is_clean(&mut rig);
}

#[test]
fn the_backend_may_end_first() {
    let (mut rig, stream, asked) = tunnel(offering());
    rig.connections[0].1.write(asked, b"bye", true);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"bye");
    rig.settle();
    assert!(rig.client.is_finished(stream));
    // An ordinary response would be over, and the rest of the request stopped.
    for _ in 0..3 {
        assert_eq!(rig.client.write(stream, &[1; 9000], false), 9000);
        rig.settle();
        assert_eq!(rig.connections[0].1.read(asked, 20_000).len(), 9000);
    }
    assert!(rig.records.is_empty());
    rig.client.write(stream, b"", true);
    rig.settle();
    assert!(rig.connections[0].1.is_finished(asked));
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
    assert_eq!(rig.records[0].request_bytes, 27_000);
    is_clean(&mut rig);
}

#[test]
fn a_backend_that_accepts_and_ends_at_once_leaves_the_other_way_open() {
    let mut rig = Rig::new(offering());
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[], true);
    rig.settle();
    assert!(rig.client.is_finished(stream));
    assert!(rig.records.is_empty());
    rig.client.write(stream, b"still here", true);
    rig.settle();
    assert_eq!(rig.connections[0].1.read(asked, 100), b"still here");
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
    is_clean(&mut rig);
}

#[test]
fn a_tunnel_has_no_length() {
    let mut rig = Rig::new(offering());
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("content-length", "3"), ("x", "y")], false);
    rig.connections[0].1.write(asked, b"more than three", false);
    rig.settle();
    assert_eq!(field(&rig.client, stream, "content-length"), None);
    assert_eq!(field(&rig.client, stream, "x").as_deref(), Some("y"));
    assert_eq!(rig.client.read(stream, 100), b"more than three");
}

#[test]
fn a_refusal_is_an_ordinary_response() {
    let mut rig = Rig::new(offering());
    let stream = rig.open_tunnel();
    rig.settle();
    let asked = rig.asked(0);
    let (h3, quic) = rig.connections[0].1.http();
    let fields = [(":status", "403"), ("content-length", "3")];
    let fields = fields.map(|(n, v)| Header::new(n.as_bytes(), v.as_bytes()));
    h3.send_response(quic, asked, &fields, false).expect("room");
    rig.connections[0].1.write(asked, b"no\n", true);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("403"));
    assert_eq!(rig.client.read(stream, 100), b"no\n");
    rig.settle();
    assert!(rig.client.is_finished(stream));
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
    assert!(
        rig.client.quic.stream_capacity(stream).is_err(),
        "the rest of the request is not wanted"
    );
    is_clean(&mut rig);
}

/// Asks for `protocol` and expects a 501 that says `why`; no backend hears of it.
fn is_refused(options: Options, protocol: &str, why: &str) {
    let mut rig = Rig::new(options);
    let stream = rig.request("CONNECT", "/", &[(":protocol", protocol)], false);
    rig.settle();
    assert_eq!(rig.client.status(stream).as_deref(), Some("501"));
    let status = field(&rig.client, stream, "proxy-status").expect("it says why");
    assert!(status.contains(why), "{status}");
    assert_eq!(rig.records[0].reason, Some(Reason::ConnectRefused));
    assert_eq!(rig.records[0].outcome, Outcome::LocalReply);
    let head = rig.records[0].request.as_ref().expect("it is readable");
    assert_eq!(head.protocol(), Some(protocol.as_bytes()));
    for (_, peer) in &rig.connections {
        assert_eq!(peer.heads(), 0);
    }
    is_clean(&mut rig);
}

#[test]
fn what_cannot_be_passed_on_is_refused_with_the_reason() {
    is_refused(offering(), "connect-udp", "protocol connect-udp");
    let off = Options {
        config: "websocket: off\n",
        ..offering()
    };
    is_refused(off, "websocket", "websocket is off");
    is_refused(Options::default(), "websocket", "does not offer");
}

#[test]
fn clients_are_told_whether_it_is_offered() {
    for (config, offered) in [
        ("", true),
        ("websocket: on\n", true),
        ("websocket: off\n", false),
    ] {
        let mut rig = Rig::new(Options {
            config,
            ..offering()
        });
        let (h3, _) = rig.client.http();
        assert_eq!(h3.extended_connect_enabled_by_peer(), offered, "{config}");
        // Toward backends we are a client, and offer nothing.
        rig.get("/");
        rig.settle();
        let (h3, _) = rig.connections[0].1.http();
        assert!(h3.peer_settings_raw().is_some());
        assert!(!h3.extended_connect_enabled_by_peer());
    }
}

fn without_settings() -> Options {
    Options {
        tunnels: None,
        ..Options::default()
    }
}

#[test]
fn it_waits_for_the_backends_settings() {
    for offered in [true, false] {
        let mut rig = Rig::new(without_settings());
        let streams = [rig.open_tunnel(), rig.open_tunnel()];
        rig.settle();
        assert_eq!(rig.connections.len(), 1);
        assert_eq!(rig.proxy.snapshot().exchanges, 2);
        rig.connections[0].1.begin_http(offered);
        rig.settle();
        assert_eq!(rig.connections[0].1.heads(), if offered { 2 } else { 0 });
        for stream in streams {
            let status = rig.client.status(stream);
            assert_eq!(status.as_deref(), if offered { None } else { Some("501") });
        }
    }
}

#[test]
fn settings_that_never_come_are_not_waited_for_for_ever() {
    let mut rig = Rig::new(without_settings());
    let stream = rig.open_tunnel();
    rig.settle();
    rig.skip(Duration::from_secs(4));
    assert_eq!(rig.client.status(stream), None);
    rig.skip(Duration::from_secs(1));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    assert_eq!(rig.records[0].reason, Some(Reason::ConnectTimeout));
}

#[test]
fn who_waits_for_settings_may_leave_and_its_connection_may_end() {
    let mut rig = Rig::new(without_settings());
    let leaves = rig.open_tunnel();
    let stays = rig.open_tunnel();
    rig.settle();
    let quic = &mut rig.client.quic;
    quic.stream_shutdown(leaves, quiche::Shutdown::Write, CANCELLED)
        .expect("open");
    rig.settle();
    assert_eq!(rig.records[0].outcome, Outcome::Cancelled);
    rig.connections[0]
        .1
        .quic
        .close(true, 0x100, b"")
        .expect("open");
    rig.settle();
    // Nothing of it was sent: it goes over another connection.
    assert_eq!(rig.connections.len(), 2);
    rig.connections[1].1.begin_http(true);
    rig.settle();
    let asked = rig.asked(1);
    rig.answer(1, asked, &[], false);
    rig.settle();
    assert_eq!(rig.client.status(stays).as_deref(), Some("200"));
}

#[test]
fn a_reset_of_the_client_resets_the_backend() {
    let (mut rig, stream, asked) = tunnel(offering());
    rig.client.write(stream, b"begun", false);
    rig.settle();
    rig.client
        .quic
        .stream_shutdown(stream, quiche::Shutdown::Write, CANCELLED)
        .expect("open");
    rig.settle();
    rig.connections[0].1.read(asked, 100);
    assert_eq!(rig.connections[0].1.reset_code(asked), Some(CANCELLED));
    let stats = rig.connections[0].1.quic.stats();
    assert_eq!(stats.stopped_stream_count_remote, 1, "both ways end");
    assert_eq!(rig.records[0].outcome, Outcome::Cancelled);
    is_clean(&mut rig);
}

#[test]
fn a_reset_of_the_backend_resets_the_client() {
    let (mut rig, stream, asked) = tunnel(offering());
    rig.connections[0]
        .1
        .quic
        .stream_shutdown(asked, quiche::Shutdown::Write, 0x102)
        .expect("open");
    rig.settle();
    rig.client.read(stream, 100);
    assert_eq!(rig.client.reset_code(stream), Some(CANCELLED));
    let stats = rig.client.quic.stats();
    assert_eq!(stats.stopped_stream_count_remote, 1, "both ways end");
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
    assert_eq!(rig.records[0].reason, Some(Reason::BackendReset));
    is_clean(&mut rig);
}

#[test]
fn a_backend_that_is_gone_resets_the_client_whichever_way_had_ended() {
    for ended in [None, Some(true), Some(false)] {
        let (mut rig, stream, asked) = tunnel(offering());
        match ended {
            None => {}
            Some(true) => assert_eq!(rig.client.write(stream, b"x", true), 1),
            Some(false) => assert_eq!(rig.connections[0].1.write(asked, b"x", true), 1),
        }
        rig.settle();
        rig.client.read(stream, 100);
        rig.connections[0]
            .1
            .quic
            .close(true, 0x100, b"")
            .expect("open");
        rig.settle();
        rig.pass(Duration::from_millis(20));
        assert_eq!(rig.records.len(), 1, "{ended:?}");
        assert_eq!(rig.records[0].outcome, Outcome::Reset);
        assert_eq!(rig.records[0].reason, Some(Reason::BackendGone));
        if ended != Some(false) {
            assert_eq!(rig.client.reset_code(stream), Some(CANCELLED));
        }
    }
}

#[test]
fn a_backend_that_reads_no_more_is_not_the_end_of_what_it_says() {
    let (mut rig, stream, asked) = tunnel(offering());
    rig.connections[0]
        .1
        .quic
        .stream_shutdown(asked, quiche::Shutdown::Read, 0x100)
        .expect("open");
    rig.client.write(stream, b"unread", false);
    rig.settle();
    assert_eq!(
        rig.client.quic.stream_capacity(stream),
        Err(quiche::Error::StreamStopped(CANCELLED))
    );
    rig.connections[0].1.write(asked, b"said", true);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"said");
    rig.settle();
    assert!(rig.client.is_finished(stream));
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

#[test]
fn headers_in_a_tunnel_end_the_connection_they_came_on() {
    for of_client in [true, false] {
        let (mut rig, stream, asked) = tunnel(offering());
        let (peer, id) = if of_client {
            (&mut rig.client, stream)
        } else {
            (&mut rig.connections[0].1, asked)
        };
        let (h3, quic) = peer.http();
        let fields = [Header::new(b"x", b"y")];
        h3.send_additional_headers(quic, id, &fields, true, true)
            .expect("room");
        rig.settle();
        let peer = if of_client {
            &rig.client
        } else {
            &rig.connections[0].1
        };
        let error = peer.quic.peer_error().expect("it was closed");
        assert_eq!(error.error_code, FRAME_UNEXPECTED);
        assert_eq!(rig.records.len(), 1);
        assert_eq!(rig.records[0].outcome, Outcome::Reset);
    }
}

#[test]
fn who_does_not_read_holds_the_other_side_back() {
    let (mut rig, stream, asked) = tunnel(offering());
    let mut sent = [0, 0];
    for _ in 0..200 {
        sent[0] += rig.client.write(stream, &[1; 16_384], false);
        sent[1] += rig.connections[0].1.write(asked, &[2; 16_384], false);
        rig.settle();
    }
    // The window of the one who does not read, and the proxy's own of 256 KiB.
    for sent in sent {
        assert!((1 << 20..(1 << 20) + (512 << 10)).contains(&sent), "{sent}");
    }
    let mut got = [0, 0];
    for _ in 0..20 {
        got[0] += rig.connections[0].1.read(asked, 1 << 20).len();
        got[1] += rig.client.read(stream, 1 << 20).len();
        rig.settle();
    }
    assert_eq!(got, sent);
}

#[test]
fn a_tunnel_lives_until_the_end_of_the_drain() {
    let (mut rig, stream, asked) = tunnel(offering());
    let now = rig.now();
    rig.proxy.drain(now + Duration::from_secs(30), now);
    rig.settle();
    rig.skip(Duration::from_secs(29));
    rig.client.write(stream, b"still here", false);
    rig.settle();
    assert_eq!(rig.connections[0].1.read(asked, 100), b"still here");
    assert!(rig.records.is_empty());
    rig.skip(Duration::from_secs(2));
    assert_eq!(rig.records[0].outcome, Outcome::Reset);
    assert_eq!(rig.records[0].reason, Some(Reason::Draining));
}

#[test]
fn no_head_of_a_response_is_waited_for_too_long() {
    let mut rig = Rig::new(offering());
    let stream = rig.open_tunnel();
    rig.settle();
    rig.skip(Duration::from_secs(31));
    assert_eq!(rig.client.status(stream).as_deref(), Some("504"));
    // An open tunnel may be silent for as long as it likes.
    let (mut rig, stream, asked) = tunnel(offering());
    rig.skip(Duration::from_secs(31));
    rig.connections[0].1.write(asked, b"late", false);
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"late");
}
