//! What a backend really gets of a request, and a client of a response.

use std::time::{Duration, SystemTime};

use quiche::h3::{self, Header, NameValue};
use spooky_core::observe::{Outcome, Reason};
use spooky_tests::rig::{Options, Rig};

/// Whoever calls is trusted: the rig's client calls from 127.0.0.1.
const TRUSTING: &str = "forwarding: { trusted_proxies: [127.0.0.0/8], x_forwarded: append, \
                        forwarded: on, via: edge }\n";

#[test]
fn a_backend_gets_the_head_in_order_with_ours_at_its_end() {
    let got = received(
        "",
        &[
            ("accept", "*/*"),
            ("cookie", "a=1"),
            ("host", "LOCALHOST"),
            ("te", "trailers"),
            ("cookie", "b=2"),
            ("range", "bytes=0-9"),
            ("priority", "u=1"),
        ],
    );
    let expected = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/a/../%2e?b=\"c"),
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("range", "bytes=0-9"),
        ("priority", "u=1"),
        ("via", "3 spooky"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
    ];
    assert_eq!(got, strings(&expected));
}

#[test]
fn what_an_untrusted_client_says_of_itself_never_reaches_a_backend() {
    let got = received(
        "forwarding: { trusted_proxies: [192.0.2.0/24], x_forwarded: append, forwarded: on }\n",
        &[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-port", "80"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("client-cert", ":AA==:"),
            ("client-cert-chain", ":AA==:"),
        ],
    );
    let all = format!("{got:?}");
    assert!(
        !all.contains("10.0.0.1") && !all.contains("client-cert"),
        "{all}"
    );
    assert_eq!(values(&got, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&got, "x-forwarded-port"), [""; 0]);
    assert_eq!(
        values(&got, "forwarded"),
        ["for=127.0.0.1;host=localhost;proto=https"]
    );
}

#[test]
fn a_trusted_clients_fields_are_continued() {
    let got = received(
        TRUSTING,
        &[
            ("x-forwarded-for", "2001:db8::1"),
            ("x-forwarded-host", "b.test"),
            ("forwarded", "for=\"[2001:db8::1]\""),
            ("via", "1.1 a"),
            ("via", "2 b"),
            ("client-cert", ":AA==:"),
        ],
    );
    assert_eq!(values(&got, "x-forwarded-for"), ["2001:db8::1, 127.0.0.1"]);
    assert_eq!(values(&got, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&got, "x-forwarded-host"), ["b.test, localhost"]);
    assert_eq!(
        values(&got, "forwarded"),
        ["for=\"[2001:db8::1]\", for=127.0.0.1;host=localhost;proto=https"]
    );
    assert_eq!(values(&got, "via"), ["1.1 a, 2 b, 3 edge"]);
    assert_eq!(values(&got, "client-cert"), [""; 0]);
}

#[test]
fn max_forwards_counts_down_on_its_way() {
    for method in ["OPTIONS", "TRACE"] {
        let mut rig = Rig::new(Options::default());
        rig.request(method, "/", &[("max-forwards", "5")], true);
        rig.settle();
        let got = backends_head(&mut rig);
        assert_eq!(values(&got, "max-forwards"), ["4"], "{method}");
    }
}

#[test]
fn max_forwards_of_zero_is_answered_here() {
    let mut rig = Rig::new(Options::default());
    for (method, status, reason) in [
        ("OPTIONS", "204", Reason::MaxForwards),
        ("TRACE", "501", Reason::TraceRefused),
    ] {
        for fin in [true, false] {
            let secret = [("max-forwards", "0"), ("cookie", "secret")];
            let stream = rig.request(method, "/", &secret, fin);
            rig.settle();
            assert_eq!(rig.client.status(stream).as_deref(), Some(status));
            let body = String::from_utf8(rig.client.read(stream, 1000)).expect("text");
            assert_eq!(body.is_empty(), status == "204", "{body}");
            assert!(rig.client.is_finished(stream));
            assert!(!body.contains("secret"));
            let record = rig.records.pop().expect("it ended");
            assert_eq!(record.outcome, Outcome::LocalReply);
            assert_eq!(record.reason, Some(reason));
            assert_eq!(record.method(), Some(method.as_bytes()));
        }
    }
    assert!(rig.connections.is_empty(), "no backend hears of it");
}

#[test]
fn a_date_is_added_when_there_is_none_and_kept_when_there_is() {
    let got = answered(&[("server", "x")], &[]);
    assert_eq!(
        got.heads[0][..2],
        strings(&[(":status", "200"), ("server", "x")])
    );
    let date = values(&got.heads[0], "date");
    assert_eq!(date.len(), 1);
    assert!(is_about_now(date[0]), "{date:?}");
    let theirs = "Sun, 06 Nov 1994 08:49:37 GMT";
    let got = answered(&[("date", theirs)], &[]);
    assert_eq!(values(&got.heads[0], "date"), [theirs]);
    assert_eq!(values(&got.heads[0], "via"), [""; 0]);
    assert_eq!(values(&got.heads[0], "proxy-status"), [""; 0]);
}

#[test]
fn trailers_of_a_response_lose_what_no_trailer_may_say() {
    let sent = [
        ("grpc-status", "0"),
        ("authorization", "x"),
        ("content-length", "5"),
        ("host", "b.test"),
        ("x-sum", "1"),
    ];
    let got = answered(&[], &sent);
    let told = ("proxy-status", "spooky; details=\"trailer fields dropped\"");
    assert_eq!(got.heads[1], strings(&[sent[0], sent[4], told]));
    assert!(got.finished);
    let got = answered(&[], &sent[..1]);
    assert_eq!(got.heads[1], strings(&sent[..1]));
}

#[test]
fn trailers_of_a_request_lose_what_no_trailer_may_say() {
    let sent = [
        ("x-sum", "1"),
        ("authorization", "x"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    for (trailers, expected) in [(&sent[..], Some(&sent[..1])), (&sent[1..], None)] {
        let mut rig = Rig::new(Options::default());
        let stream = rig.request("POST", "/", &[], false);
        rig.client.write(stream, b"body", false);
        let (h3, quic) = rig.client.http();
        h3.send_additional_headers(quic, stream, &headers(trailers), true, true)
            .expect("the client may send trailers");
        rig.settle();
        let asked = rig.asked(0);
        let backend = &mut rig.connections[0].1;
        assert_eq!(backend.read(asked, 100), b"body");
        assert!(backend.is_finished(asked), "the rest of it goes on");
        let heads = heads(backend.events.iter(), asked);
        assert_eq!(heads.get(1).cloned(), expected.map(strings));
    }
}

#[test]
fn early_hints_go_on_as_they_came_and_the_final_head_behind_them() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    let hint = [(":status", "103"), ("link", "</a.css>; rel=preload")];
    let (h3, quic) = rig.connections[0].1.http();
    h3.send_response(quic, asked, &headers(&hint), false)
        .expect("the backend may answer");
    rig.settle();
    let (h3, quic) = rig.connections[0].1.http();
    let last = [(":status", "200"), ("date", "x")];
    h3.send_additional_headers(quic, asked, &headers(&last), false, true)
        .expect("the backend may answer");
    rig.settle();
    let got = heads(rig.client.events.iter(), stream);
    assert_eq!(got, [strings(&hint), strings(&last)]);
}

#[test]
fn a_204_with_a_length_goes_on_without_it() {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    let (h3, quic) = rig.connections[0].1.http();
    let head = [(":status", "204"), ("content-length", "5"), ("date", "x")];
    h3.send_response(quic, asked, &headers(&head), true)
        .expect("the backend may answer");
    rig.settle();
    let told = ("proxy-status", "spooky; details=\"content-length dropped\"");
    let got = heads(rig.client.events.iter(), stream);
    assert_eq!(got, [strings(&[head[0], head[2], told])]);
    assert!(rig.client.is_finished(stream));
    assert_eq!(rig.records[0].outcome, Outcome::Complete);
}

#[test]
fn local_replies_are_dated_and_signed_with_the_pseudonym() {
    for (config, member) in [
        (
            TRUSTING,
            Some("edge; error=http_request_error; details=\"connection-specific field\""),
        ),
        ("forwarding: { proxy_status: off }\n", None),
    ] {
        let mut rig = Rig::new(Options {
            config,
            ..Options::default()
        });
        let stream = rig.request("GET", "/", &[("upgrade", "h2c")], true);
        rig.settle();
        let got = heads(rig.client.events.iter(), stream);
        assert!(is_about_now(values(&got[0], "date")[0]), "{got:?}");
        assert_eq!(values(&got[0], "proxy-status").first().copied(), member);
    }
}

#[test]
fn more_fields_than_the_limit_are_a_431_and_the_connection_lives_on() {
    let mut rig = Rig::new(Options {
        config: "limits: { headers: 10 }\n",
        ..Options::default()
    });
    let fields = [("x-a", "1"); 7];
    let refused = rig.request("GET", "/", &fields, true);
    rig.settle();
    assert_eq!(rig.client.status(refused).as_deref(), Some("431"));
    let record = rig.records.pop().expect("it ended");
    assert_eq!(record.reason, Some(Reason::RequestHeadTooLarge));
    assert_eq!(
        record.detail.as_deref(),
        Some("more than 10 fields (limits.headers)")
    );
    assert!(rig.connections.is_empty());
    let taken = rig.request("GET", "/", &fields[1..], true);
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, &[("x-b", "1"); 10], true);
    rig.settle();
    assert_eq!(rig.client.status(taken).as_deref(), Some("502"));
    let record = rig.records.pop().expect("it ended");
    assert_eq!(record.reason, Some(Reason::ResponseHeadTooLarge));
}

/// What the client got on one stream.
struct Got {
    heads: Vec<Pairs>,
    finished: bool,
}

/// A backend answers with a head of 200 and `extra`, a body, and `trailers`.
fn answered(extra: &[(&str, &str)], trailers: &[(&str, &str)]) -> Got {
    let mut rig = Rig::new(Options::default());
    let stream = rig.get("/");
    rig.settle();
    let asked = rig.asked(0);
    rig.answer(0, asked, extra, false);
    let backend = &mut rig.connections[0].1;
    backend.write(asked, b"body", trailers.is_empty());
    if !trailers.is_empty() {
        let (h3, quic) = backend.http();
        h3.send_additional_headers(quic, asked, &headers(trailers), true, true)
            .expect("the backend may send trailers");
    }
    rig.settle();
    assert_eq!(rig.client.read(stream, 100), b"body");
    Got {
        heads: heads(rig.client.events.iter(), stream),
        finished: rig.client.is_finished(stream),
    }
}

/// What a backend gets of a GET with `extra` fields.
fn received(config: &'static str, extra: &[(&str, &str)]) -> Pairs {
    let mut rig = Rig::new(Options {
        config,
        ..Options::default()
    });
    rig.request("GET", "/a/../%2e?b=\"c", extra, true);
    rig.settle();
    backends_head(&mut rig)
}

fn backends_head(rig: &mut Rig) -> Pairs {
    let asked = rig.asked(0);
    let mut heads = heads(rig.connections[0].1.events.iter(), asked);
    assert_eq!(heads.len(), 1);
    heads.remove(0)
}

type Pairs = Vec<(String, String)>;

fn heads<'a>(events: impl Iterator<Item = &'a (u64, h3::Event)>, stream: u64) -> Vec<Pairs> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lists = events.filter_map(|(on, event)| {
        let h3::Event::Headers { list, .. } = event else {
            return None;
        };
        (*on == stream).then_some(list)
    });
    let pairs = |list: &Vec<Header>| {
        list.iter()
            .map(|f| (text(f.name()), text(f.value())))
            .collect()
    };
    lists.map(pairs).collect()
}

fn headers(list: &[(&str, &str)]) -> Vec<Header> {
    let field = |(n, v): &(&str, &str)| Header::new(n.as_bytes(), v.as_bytes());
    list.iter().map(field).collect()
}

fn strings(list: &[(&str, &str)]) -> Pairs {
    list.iter()
        .map(|(n, v)| ((*n).into(), (*v).into()))
        .collect()
}

fn values<'a>(pairs: &'a Pairs, name: &str) -> Vec<&'a str> {
    let same = pairs.iter().filter(|(n, _)| n == name);
    same.map(|(_, value)| value.as_str()).collect()
}

/// Within a minute of the present, by its day, hour and minute.
fn is_about_now(date: &str) -> bool {
    let now = SystemTime::now();
    let minute = |at: SystemTime| {
        let second = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        format!(" {:02}:{:02}:", second / 3600 % 24, second / 60 % 60)
    };
    let near = [now, now - Duration::from_secs(60)].map(minute);
    date.len() == 29 && date.ends_with(" GMT") && near.iter().any(|near| date.contains(near))
}
