//! What a gateway adds, and what it takes away.

use spooky_tests::raw::Message;
use spooky_tests::rig::Rig;

use crate::row::{self, List, get, headers, list, request};

/// What arrives at the backend of a head that the client sends.
fn arrival(config: &'static str, head: &[(String, String)]) -> (Rig, List) {
    let mut rig = row::rig(config);
    rig.client.put(0, &headers(head), true);
    rig.settle();
    let [(_, backend)] = &rig.connections[..] else {
        panic!("it did not arrive: {:?}", rig.records)
    };
    let message = Message::read(&backend.on(0).bytes);
    let head = Message::pairs(&message.heads[0]);
    (rig, head)
}

fn values<'a>(head: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let found = head.iter().filter(|field| field.0 == name);
    found.map(|(_, value)| value.as_str()).collect()
}

/// RFC 9110 section 7.6.3: a gateway "MUST send an appropriate Via header field in each
/// inbound request message and MAY send a Via header field in forwarded response messages".
#[test]
fn via_names_the_protocol_and_us_behind_who_was_there_before() {
    let (mut rig, head) = arrival("", &get(&[("via", "1.1 before")]));
    let all = values(&head, "via").join(", ");
    assert_eq!(all, "1.1 before, 3 spooky");
    let bytes = headers(&list(&[(":status", "200"), ("via", "1.1 behind")]));
    rig.connections[0].1.put(0, &bytes, true);
    rig.settle();
    let back = Message::pairs(&Message::read(&rig.client.on(0).bytes).heads[0]);
    assert_eq!(values(&back, "via"), ["1.1 behind"]);
}

#[test]
fn via_has_the_configured_name_or_is_off() {
    let (_, head) = arrival("forwarding: {via: edge-1}\n", &get(&[]));
    assert_eq!(values(&head, "via"), ["3 edge-1"]);
    let (_, head) = arrival("forwarding: {via: off}\n", &get(&[]));
    assert!(values(&head, "via").is_empty());
}

const CLAIMS: &[(&str, &str)] = &[
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "elsewhere.test"),
    ("forwarded", "for=192.0.2.1"),
];

#[test]
fn forwarding_fields_of_a_stranger_are_replaced() {
    let (_, head) = arrival("", &get(CLAIMS));
    assert_eq!(values(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&head, "x-forwarded-host"), ["localhost"]);
    assert!(
        values(&head, "forwarded").is_empty(),
        "it is off by default"
    );
}

#[test]
fn forwarding_fields_that_are_off_are_removed_all_the_same() {
    let (_, head) = arrival("forwarding: {x_forwarded: off}\n", &get(CLAIMS));
    for (name, _) in CLAIMS {
        assert!(values(&head, name).is_empty(), "{name}");
    }
}

#[test]
fn forwarding_fields_of_a_trusted_proxy_are_kept_and_added_to() {
    let config =
        "forwarding: {trusted_proxies: [\"127.0.0.0/8\"], x_forwarded: append, forwarded: on}\n";
    let (_, head) = arrival(config, &get(CLAIMS));
    let addresses = values(&head, "x-forwarded-for").join(", ");
    assert_eq!(addresses, "192.0.2.1, 127.0.0.1");
    let forwarded = values(&head, "forwarded").join(", ").to_ascii_lowercase();
    assert!(forwarded.starts_with("for=192.0.2.1, "), "{forwarded}");
    assert!(forwarded.contains("for=127.0.0.1"), "{forwarded}");
}

/// RFC 7239 section 4.
#[test]
fn forwarded_tells_whom_what_and_how() {
    let (_, head) = arrival("forwarding: {forwarded: on}\n", &get(&CLAIMS[3..]));
    let [forwarded] = values(&head, "forwarded")[..] else {
        panic!("one field: {head:?}")
    };
    let mut parts: Vec<String> = forwarded
        .split(';')
        .map(|p| p.trim().to_ascii_lowercase())
        .collect();
    parts.sort();
    assert!(parts.contains(&"for=127.0.0.1".to_owned()), "{forwarded}");
    assert!(parts.contains(&"proto=https".to_owned()), "{forwarded}");
    let host = ["host=localhost", "host=\"localhost\""];
    assert!(
        parts.iter().any(|part| host.contains(&part.as_str())),
        "{forwarded}"
    );
}

/// RFC 9440 section 2.4: a gateway removes them "before forwarding".
#[test]
fn client_certificates_that_a_client_claims_are_removed() {
    for config in ["", "forwarding: {trusted_proxies: [\"127.0.0.0/8\"]}\n"] {
        let claims = [
            ("client-cert", ":AAAA:"),
            ("client-cert-chain", ":AAAA:"),
            ("client-cert", ":BBBB:"),
        ];
        let (_, head) = arrival(config, &get(&claims));
        assert!(values(&head, "client-cert").is_empty());
        assert!(values(&head, "client-cert-chain").is_empty());
    }
}

/// RFC 9110 section 11.7.2: `proxy-authorization` "applies only to the next inbound proxy
/// that demanded authentication", and that is nobody behind a gateway.
#[test]
fn credentials_for_a_proxy_end_here_and_those_for_the_origin_do_not() {
    let credentials = [
        ("proxy-authorization", "Basic YTpi"),
        ("authorization", "Basic Yzpk"),
    ];
    for config in ["", "forwarding: {trusted_proxies: [\"127.0.0.0/8\"]}\n"] {
        let (_, head) = arrival(config, &get(&credentials));
        assert!(values(&head, "proxy-authorization").is_empty());
        assert_eq!(values(&head, "authorization"), ["Basic Yzpk"]);
    }
}

/// RFC 9110 section 7.6.2.
#[test]
fn max_forwards_counts_down_for_trace_and_options_alone() {
    for (method, sent, arrives) in [
        ("OPTIONS", "5", "4"),
        ("TRACE", "1", "0"),
        ("OPTIONS", "010", "9"),
        ("GET", "5", "5"),
        ("GET", "0", "0"),
    ] {
        let (_, head) = arrival("", &request(method, "/", &[("max-forwards", sent)]));
        assert_eq!(values(&head, "max-forwards"), [arrives], "{method} {sent}");
    }
}

#[test]
fn max_forwards_of_nothing_is_answered_here() {
    for method in ["TRACE", "OPTIONS"] {
        let mut rig = row::rig("");
        rig.client.put(
            0,
            &headers(&request(method, "/", &[("max-forwards", "0")])),
            true,
        );
        rig.settle();
        assert!(rig.connections.is_empty(), "{method} arrived at a backend");
        let came = rig.client.on(0);
        let statuses = Message::read(&came.bytes).statuses();
        assert!(came.fin && statuses.len() == 1, "{method}: {statuses:?}");
        assert!(
            matches!(&statuses[0][..], "200" | "204" | "405" | "501"),
            "{statuses:?}"
        );
        assert_eq!(rig.records.len(), 1);
    }
}

/// RFC 9110 section 6.6.1: "A recipient with a clock that receives a response message
/// without a Date header field MUST record the time it was received and append".
#[test]
fn a_date_is_added_where_there_is_none() {
    for (sent, theirs) in [
        (None, None),
        (
            Some("Tue, 15 Nov 1994 08:12:31 GMT"),
            Some("Tue, 15 Nov 1994 08:12:31 GMT"),
        ),
    ] {
        let (mut rig, _) = arrival("", &get(&[]));
        let mut head = list(&[(":status", "200")]);
        head.extend(sent.map(|date| ("date".to_owned(), date.to_owned())));
        rig.connections[0].1.put(0, &headers(&head), true);
        rig.settle();
        let back = Message::pairs(&Message::read(&rig.client.on(0).bytes).heads[0]);
        let [date] = values(&back, "date")[..] else {
            panic!("one date: {back:?}")
        };
        assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
        assert!(theirs.is_none_or(|theirs| theirs == date));
    }
}

#[test]
fn proxy_status_is_on_what_spooky_makes_and_not_on_what_it_passes_on() {
    let (mut rig, _) = arrival("", &get(&[]));
    let head = list(&[
        (":status", "500"),
        ("proxy-status", "behind; error=dns_error"),
    ]);
    rig.connections[0].1.put(0, &headers(&head), true);
    rig.client.put(4, &headers(&request("GET", "x", &[])), true);
    rig.settle();
    let back = Message::pairs(&Message::read(&rig.client.on(0).bytes).heads[0]);
    assert_eq!(values(&back, "proxy-status"), ["behind; error=dns_error"]);
    let made = Message::pairs(&Message::read(&rig.client.on(4).bytes).heads[0]);
    let [status] = values(&made, "proxy-status")[..] else {
        panic!("one proxy-status: {made:?}")
    };
    assert!(
        status.starts_with("spooky; error=http_request_error; details=\""),
        "{status}"
    );
    assert_eq!(values(&made, "date").len(), 1, "and a date: {made:?}");
}

/// RFC 9204 section 4.5.4: what came as a literal that must never be indexed "MUST
/// use a literal representation" on the next hop.
#[test]
fn a_field_that_must_never_be_indexed_goes_on_as_a_literal() {
    use spooky_tests::raw::{frame, kind, qpack};
    let mut rig = row::rig("");
    let mut section = row::section(&get(&[]));
    // This pair is an entry of the static table.
    section.extend(qpack::never_indexed(
        b"accept-encoding",
        b"gzip, deflate, br",
    ));
    rig.client.put(0, &frame(kind::HEADERS, &section), true);
    rig.settle();
    let message = Message::read(&rig.connections[0].1.on(0).bytes);
    let line = message.heads[0]
        .iter()
        .find(|line| line.name == b"accept-encoding");
    let line = line.expect("it arrives");
    assert!(line.literal, "{line:?}");
}
