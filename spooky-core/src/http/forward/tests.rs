use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::config::Forwarding;
use crate::http::{Bounds, parse_trailers};

const BOUNDS: Bounds = Bounds {
    bytes: 32_768,
    fields: 100,
};
const STRANGER: &str = "192.0.2.7";
const TRUSTED: &str = "10.1.2.3";

#[test]
fn the_head_goes_on_with_ours_at_its_end() {
    let list = [
        (":path", "/x?y"),
        (":method", "GET"),
        (":authority", "a.test"),
        (":scheme", "HTTPS"),
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("host", "A.test"),
        ("early-data", "1"),
        ("x-request-id", "7"),
    ];
    let expected = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/x?y"),
        ("accept", "*/*"),
        // RFC 9114 section 4.2.1: to HTTP/3 they may stay apart.
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        // RFC 8470 section 5.1.
        ("early-data", "1"),
        ("x-request-id", "7"),
        ("via", "3 spooky"),
        ("x-forwarded-for", STRANGER),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.test"),
    ];
    assert_eq!(
        forward(&Forwarding::default(), &list, STRANGER),
        strings(&expected)
    );
}

#[test]
fn a_host_alone_goes_on_as_the_authority() {
    let list = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        ("host", "a.test:8443"),
    ];
    let sent = forward(&Forwarding::default(), &list, STRANGER);
    assert_eq!(
        values(&sent, ":authority"),
        ["a.test:8443"],
        "RFC 9114 4.3.1"
    );
    assert_eq!(values(&sent, "host"), [""; 0]);
}

#[test]
fn what_a_stranger_says_of_itself_is_removed() {
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-client-cert",
        "x_forwarded_for",
        "forwarded",
        "x-real-ip",
        "true-client-ip",
        "client-cert",
        "client-cert-chain",
        "client_cert",
        "proxy-authorization",
    ] {
        for x_forwarded in [XForwarded::Replace, XForwarded::Append, XForwarded::Off] {
            for forwarded in [true, false] {
                let config = Forwarding {
                    x_forwarded,
                    forwarded,
                    ..trusting()
                };
                let sent = get(&config, &[(name, "spoofed"), (name, "again")], STRANGER);
                let said = sent.iter().any(|(_, value)| value.contains("spoofed"));
                assert!(!said, "{name}: {x_forwarded:?}: {sent:?}");
            }
        }
    }
}

#[test]
fn a_trusted_peers_lists_are_continued_replaced_or_left_alone() {
    let theirs = [
        ("x-forwarded-for", "198.51.100.1, 10.9.9.9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "10.8.8.8"),
        ("x-forwarded-host", "b.test"),
        ("x-forwarded-port", "80"),
        ("x-real-ip", "198.51.100.1"),
    ];
    let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let of = |x_forwarded| {
        let config = Forwarding {
            x_forwarded,
            ..trusting()
        };
        let sent = get(&config, &theirs, TRUSTED);
        assert_eq!(values(&sent, "x-forwarded-port"), ["80"], "it is trusted");
        assert_eq!(values(&sent, "x-real-ip"), ["198.51.100.1"]);
        names.map(|name| values(&sent, name).join(" | "))
    };
    assert_eq!(
        of(XForwarded::Append),
        [
            "198.51.100.1, 10.9.9.9, 10.8.8.8, 10.1.2.3",
            "http, https",
            "b.test, a.test"
        ]
    );
    assert_eq!(of(XForwarded::Replace), [TRUSTED, "https", "a.test"]);
    assert_eq!(
        of(XForwarded::Off),
        ["198.51.100.1, 10.9.9.9 | 10.8.8.8", "http", "b.test"]
    );
    // Even a trusted peer says nothing of certificates (RFC 9440 section 4).
    let sent = get(&trusting(), &[("client-cert", ":AA==:")], TRUSTED);
    assert_eq!(values(&sent, "client-cert"), [""; 0]);
}

#[test]
fn append_from_a_stranger_begins_a_list() {
    let config = Forwarding {
        x_forwarded: XForwarded::Append,
        ..trusting()
    };
    let sent = get(&config, &[("x-forwarded-for", "198.51.100.1")], STRANGER);
    assert_eq!(values(&sent, "x-forwarded-for"), [STRANGER]);
}

#[test]
fn an_empty_list_is_not_continued_with_a_comma() {
    let config = Forwarding {
        x_forwarded: XForwarded::Append,
        forwarded: true,
        ..trusting()
    };
    let sent = get(
        &config,
        &[
            ("x-forwarded-for", ""),
            ("via", ""),
            ("via", "1.1 a"),
            ("via", ""),
            ("forwarded", ""),
        ],
        TRUSTED,
    );
    assert_eq!(values(&sent, "x-forwarded-for"), [TRUSTED]);
    assert_eq!(
        values(&sent, "via"),
        ["1.1 a, 3 spooky"],
        "RFC 9110 5.6.1.1"
    );
    assert_eq!(
        values(&sent, "forwarded"),
        ["for=10.1.2.3;host=a.test;proto=https"]
    );
}

#[test]
fn forwarded_quotes_what_is_no_token() {
    let config = Forwarding {
        forwarded: true,
        x_forwarded: XForwarded::Off,
        ..trusting()
    };
    for (authority, client, expected) in [
        ("a.test", STRANGER, "for=192.0.2.7;host=a.test;proto=https"),
        (
            "a.test:443",
            STRANGER,
            "for=192.0.2.7;host=\"a.test:443\";proto=https",
        ),
        (
            "[2001:db8::1]",
            "2001:db8:cafe::17",
            "for=\"[2001:db8:cafe::17]\";host=\"[2001:db8::1]\";proto=https",
        ),
        // An IPv4 client of a dual-stack listener.
        (
            "a.test",
            "::ffff:192.0.2.7",
            "for=192.0.2.7;host=a.test;proto=https",
        ),
    ] {
        let list = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", authority),
            (":path", "/"),
            ("forwarded", "for=unknown"),
        ];
        let sent = forward(&config, &list, client);
        assert_eq!(values(&sent, "forwarded"), [expected], "RFC 7239 6");
        assert_eq!(values(&sent, "x-forwarded-for"), [""; 0]);
    }
    let sent = get(
        &config,
        &[("forwarded", "for=_a"), ("forwarded", "for=_b")],
        TRUSTED,
    );
    let expected = "for=_a, for=_b, for=10.1.2.3;host=a.test;proto=https";
    assert_eq!(values(&sent, "forwarded"), [expected], "RFC 7239 4");
    let off = Forwarding {
        forwarded: false,
        ..trusting()
    };
    let sent = get(&off, &[("forwarded", "for=_a")], TRUSTED);
    assert_eq!(values(&sent, "forwarded"), ["for=_a"]);
}

#[test]
fn via_names_everybody_on_the_way() {
    let config = Forwarding {
        via: Some("edge-1".to_owned()),
        ..Forwarding::default()
    };
    let sent = get(&config, &[("via", "1.1 a"), ("via", "2 b (c)")], STRANGER);
    assert_eq!(
        values(&sent, "via"),
        ["1.1 a, 2 b (c), 3 edge-1"],
        "RFC 9110 7.6.3"
    );
    let off = Forwarding {
        via: None,
        ..Forwarding::default()
    };
    let sent = get(&off, &[("via", "1.1 a"), ("via", "2 b")], STRANGER);
    assert_eq!(values(&sent, "via"), ["1.1 a", "2 b"]);
}

#[test]
fn max_forwards_counts_down_where_it_counts() {
    for (method, before, after) in [
        ("OPTIONS", "5", "4"),
        ("TRACE", "1", "0"),
        ("TRACE", "99999999999999999999999", "18446744073709551614"),
        ("GET", "5", "5"),
        ("GET", "x", "x"),
    ] {
        let list = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/"),
            ("max-forwards", before),
        ];
        let sent = forward(&Forwarding::default(), &list, STRANGER);
        assert_eq!(
            values(&sent, "max-forwards"),
            [after],
            "RFC 9110 7.6.2: {method}"
        );
    }
}

#[test]
fn the_memory_of_one_head_does_not_show_in_the_next() {
    let config = Forwarding {
        x_forwarded: XForwarded::Append,
        forwarded: true,
        ..trusting()
    };
    let mut forwarder = Forwarder::new(&config);
    let theirs = [
        ("x-forwarded-for", "198.51.100.1"),
        ("via", "1.1 a"),
        ("forwarded", "for=_a"),
    ];
    let first = head(&[GET, &theirs].concat());
    let second = head(GET);
    let ip = TRUSTED.parse().expect("an address");
    forwarder.request(&first, uncertified(ip));
    let sent = forwarder.request(&second, uncertified(ip)).clone();
    assert_eq!(
        &sent,
        Forwarder::new(&config).request(&second, uncertified(ip))
    );
}

#[test]
fn a_date_is_added_when_there_is_none() {
    let without = respond(&[(":status", "200"), ("server", "x")]);
    let expected = [
        (":status", "200"),
        ("server", "x"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    assert_eq!(without, strings(&expected), "RFC 9110 6.6.1");
    let with = [
        (":status", "200"),
        ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
    ];
    assert_eq!(respond(&with), strings(&with));
}

#[test]
fn a_length_where_none_may_be_is_dropped_and_told_of() {
    let theirs = ("proxy-status", "origin; details=\"x\"");
    let sent = respond(&[
        (":status", "204"),
        ("content-length", "5"),
        theirs,
        ("date", "x"),
    ]);
    let ours = ("proxy-status", "spooky; details=\"content-length dropped\"");
    assert_eq!(
        sent,
        strings(&[(":status", "204"), theirs, ("date", "x"), ours]),
        "RFC 9110 8.6"
    );
    for status in ["304", "200"] {
        let sent = respond(&[(":status", status), ("content-length", "5"), ("date", "x")]);
        assert_eq!(
            values(&sent, "content-length"),
            ["5"],
            "RFC 9110 8.6: {status}"
        );
        assert_eq!(values(&sent, "proxy-status"), [""; 0]);
    }
}

#[test]
fn informational_heads_only_lose_a_length() {
    let list = [
        (":status", "103"),
        ("content-length", "0"),
        ("link", "</a>; rel=preload"),
    ];
    let mut early = ResponseHead::parse(list.into_iter().collect(), BOUNDS).expect("legal");
    Forwarder::new(&Forwarding::default()).informational(&mut early);
    assert_eq!(pairs(&early.fields), strings(&[list[0], list[2]]));
}

#[test]
fn trailers_that_lost_something_say_so() {
    let sent = |config: &Forwarding, list: &[(&str, &str)]| {
        let trailers = parse_trailers(list.iter().copied().collect(), BOUNDS).expect("legal");
        let fields = Forwarder::new(config).response_trailers(trailers);
        fields.as_ref().map(pairs)
    };
    let on = Forwarding::default();
    let off = Forwarding {
        proxy_status: false,
        ..Forwarding::default()
    };
    let told = ("proxy-status", "spooky; details=\"trailer fields dropped\"");
    let clean = [("grpc-status", "0")];
    assert_eq!(sent(&on, &clean), Some(strings(&clean)));
    let mixed = [("authorization", "x"), ("grpc-status", "0")];
    assert_eq!(sent(&on, &mixed), Some(strings(&[mixed[1], told])));
    assert_eq!(sent(&off, &mixed), Some(strings(&[mixed[1]])));
    assert_eq!(sent(&off, &mixed[..1]), None);
}

#[test]
fn replies_are_signed_with_the_pseudonym_or_not_at_all() {
    let mut config = Forwarding {
        via: Some("edge".to_owned()),
        ..Forwarding::default()
    };
    let signed = |config: &Forwarding| {
        let reply = Forwarder::new(config).reply(Reason::NoBackend, None, false, wall());
        assert!(reply.fields.find(b"date").is_some());
        let field = reply.fields.find(b"proxy-status");
        field.map(|field| String::from_utf8_lossy(field).into_owned())
    };
    let text = "; error=destination_unavailable; details=\"no_backend\"";
    assert_eq!(signed(&config), Some(format!("edge{text}")));
    config.via = None;
    assert_eq!(signed(&config), Some(format!("spooky{text}")));
    config.proxy_status = false;
    assert_eq!(signed(&config), None);
}

const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.test"),
    (":path", "/"),
];

type Pairs = Vec<(String, String)>;

fn trusting() -> Forwarding {
    Forwarding {
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        ..Forwarding::default()
    }
}

#[test]
fn a_verified_certificate_is_told_and_what_a_client_says_of_one_is_not() {
    let client = Client {
        ip: "192.0.2.1".parse().expect("an address"),
        certificate: Some(b":AAEC:"),
        early: false,
    };
    let claims = [("client-cert", ":BBBB:"), ("client-cert-chain", ":CCCC:")];
    let head = head(&[GET, &claims].concat());
    let mut forwarder = Forwarder::new(&Forwarding::default());
    let sent = pairs(forwarder.request(&head, client));
    assert_eq!(values(&sent, "client-cert"), [":AAEC:"]);
    assert_eq!(values(&sent, "client-cert-chain"), [""; 0]);
    let sent = pairs(forwarder.request(&head, uncertified(client.ip)));
    assert_eq!(
        values(&sent, "client-cert"),
        [""; 0],
        "the one before is forgotten"
    );
}

/// What a backend gets of a GET with `extra` fields.
fn get(config: &Forwarding, extra: &[(&str, &str)], client: &str) -> Pairs {
    forward(config, &[GET, extra].concat(), client)
}

fn forward(config: &Forwarding, list: &[(&str, &str)], client: &str) -> Pairs {
    let client = client.parse().expect("an address");
    pairs(Forwarder::new(config).request(&head(list), uncertified(client)))
}

/// RFC 8470 section 5.1: it is added "if not present in the request", and what is there
/// counts as 1, whatever it says.
#[test]
fn what_goes_on_before_its_client_is_proved_says_so() {
    let config = Forwarding::default();
    let client = Client {
        early: true,
        ..uncertified(TRUSTED.parse().expect("an address"))
    };
    for (extra, said) in [
        (vec![], vec!["1"]),
        (vec![("early-data", "1")], vec!["1"]),
        (vec![("early-data", "0")], vec!["0"]),
        (
            vec![("early-data", "1"), ("early-data", "1")],
            vec!["1", "1"],
        ),
    ] {
        let head = head(&[GET, &extra].concat());
        let mut forwarder = Forwarder::new(&config);
        let sent = forwarder.request(&head, client);
        let fields = sent.iter().filter(|(name, _)| *name == b"early-data");
        let values: Vec<_> = fields.map(|(_, value)| value).collect();
        let said: Vec<_> = said.iter().map(|said| said.as_bytes()).collect();
        assert_eq!(values, said, "{extra:?}");
    }
}

fn uncertified(ip: IpAddr) -> Client<'static> {
    Client {
        ip,
        certificate: None,
        early: false,
    }
}

fn head(list: &[(&str, &str)]) -> RequestHead {
    RequestHead::parse(list.iter().copied().collect(), BOUNDS).expect("legal")
}

fn respond(list: &[(&str, &str)]) -> Pairs {
    let head = ResponseHead::parse(list.iter().copied().collect(), BOUNDS);
    let mut head = head.expect("legal");
    Forwarder::new(&Forwarding::default()).response(&mut head, wall());
    pairs(&head.fields)
}

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

fn pairs(fields: &Fields) -> Pairs {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(n, v)| (text(n), text(v))).collect()
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
