//! Heads of requests: what is refused, and what goes on as it came.

use spooky_tests::raw::Message;

use crate::asking::{Verdict, becomes, check, forwarded, refused, row};
use crate::row::{self, get, headers, list, request, with, without};

#[test]
fn names_of_fields_are_tokens_in_lower_case() {
    let mut rows = Vec::new();
    for name in [
        "", "Accept", "x-Upper", "X", "a b", " a", "a ", "a:b", "a\r", "a\n", "a\0", "a\t", "a(b",
        "a,b", "a/b", "a;b", "a=b", "a@b", "a[b", "a\"b", "a{b", "a\x7f", "a\u{80}", "\u{ff}",
    ] {
        let head = get(&[(name, "x")]);
        rows.extend(refused(
            &format!("the name {name:?}"),
            "RFC 9114 4.2, RFC 9110 5.1",
            head,
        ));
    }
    for name in ["a", "0", "x_y", "a!#$%&'*+-.^_`|~z"] {
        let head = get(&[(name, "x")]);
        rows.push(forwarded(
            &format!("the name {name:?}"),
            "RFC 9110 5.6.2",
            head,
        ));
    }
    check(&rows);
}

/// Every byte in a name, and in a value, against the grammar of RFC 9110 sections
/// 5.1, 5.5 and 5.6.2.
#[test]
fn every_byte_in_a_name_or_a_value_is_what_the_grammar_says() {
    let mut rig = row::rig("");
    for byte in 0..=u8::MAX {
        let c = char::from(byte);
        let letter = c.is_ascii_lowercase() || c.is_ascii_digit();
        let in_name = letter || "!#$%&'*+-.^_`|~".contains(c);
        let in_value = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        for (name, value, legal) in [
            (format!("x{c}y"), "v".to_owned(), in_name),
            ("x".to_owned(), format!("a{c}b"), in_value),
        ] {
            // Streams come and go: credit for the next comes with the last.
            let stream = rig.client.raw.as_ref().expect("raw").requests().len() as u64 * 4;
            let arrived = arrivals(&rig);
            rig.client
                .put(stream, &headers(&get(&[(&name, &value)])), true);
            rig.settle();
            let back = Message::read(&rig.client.on(stream).bytes).statuses();
            if legal {
                assert_eq!(
                    arrivals(&rig),
                    arrived + 1,
                    "{byte:#x} in {name:?}: {back:?}"
                );
                let asked = (arrived as u64) * 4;
                let came = Message::read(&rig.connections[0].1.on(asked).bytes);
                let pair = (name, value);
                assert!(Message::pairs(&came.heads[0]).contains(&pair), "{pair:?}");
                let bytes = headers(&list(&[(":status", "204")]));
                rig.connections[0].1.put(asked, &bytes, true);
                rig.settle();
            } else {
                assert_eq!(back, ["400"], "{byte:#x} in {name:?}: {value:?}");
                assert_eq!(arrivals(&rig), arrived, "{byte:#x} in {name:?}: {value:?}");
            }
        }
    }
}

fn arrivals(rig: &spooky_tests::rig::Rig) -> usize {
    let backend = rig.connections.first();
    backend.map_or(0, |(_, b)| b.raw.as_ref().expect("raw").requests().len())
}

#[test]
fn values_of_fields_have_no_forbidden_bytes_and_no_white_space_around() {
    let mut rows = Vec::new();
    for value in [
        "a\r\nb", "\r", "a\nb", "\0", "a\0", "\x01", "\x7f", " a", "a ", "\ta", "a\t", " ",
    ] {
        let head = get(&[("x", value)]);
        rows.extend(refused(
            &format!("the value {value:?}"),
            "RFC 9114 10.3, RFC 9110 5.5",
            head,
        ));
    }
    for value in [
        "",
        "a b",
        "a\tb",
        "a, b",
        "\u{e4}\u{ff}\u{80}",
        "\"\\\"",
        "%0d%0a",
    ] {
        let head = get(&[("x", value)]);
        rows.push(forwarded(
            &format!("the value {value:?}"),
            "RFC 9110 5.5",
            head,
        ));
    }
    for name in [":method", ":authority", ":path"] {
        for value in ["a\r\nb", "a\0", "a\nb"] {
            let value = if name == ":path" {
                format!("/{value}")
            } else {
                value.to_owned()
            };
            let head = with(get(&[]), name, &value);
            rows.extend(refused(
                &format!("{name}: {value:?}"),
                "RFC 9114 10.3",
                head,
            ));
        }
    }
    check(&rows);
}

#[test]
fn pseudo_header_fields_are_there_once_known_and_first() {
    let mut rows = Vec::new();
    for name in [":method", ":scheme", ":path", ":authority"] {
        let head = without(get(&[]), name);
        rows.extend(refused(&format!("no {name}"), "RFC 9114 4.3.1", head));
        let mut head = get(&[]);
        let again = head.iter().find(|field| field.0 == name).cloned();
        head.insert(4, again.expect("it is there"));
        rows.extend(refused(&format!("{name} twice"), "RFC 9114 4.3.1", head));
        let mut head = get(&[("accept", "*/*")]);
        let at = head.iter().position(|field| field.0 == name);
        let late = head.remove(at.expect("it is there"));
        head.push(late);
        rows.extend(refused(
            &format!("{name} after fields"),
            "RFC 9114 4.3",
            head,
        ));
    }
    for (name, value) in [
        (":status", "200"),
        (":unknown", "x"),
        (":Path", "/"),
        (":", "x"),
        (":protocol", "websocket"),
    ] {
        let mut head = get(&[]);
        head.insert(4, (name.to_owned(), value.to_owned()));
        rows.extend(refused(
            &format!("{name} in a GET"),
            "RFC 9114 4.3, RFC 8441 4",
            head,
        ));
    }
    let shuffled = list(&[
        (":path", "/"),
        (":authority", "localhost"),
        (":method", "GET"),
        (":scheme", "https"),
    ]);
    rows.push(forwarded("in another order", "RFC 9114 4.3", shuffled));
    rows.extend(refused("no field at all", "RFC 9114 4.3.1", list(&[])));
    check(&rows);
}

#[test]
fn methods_schemes_and_paths_keep_their_grammar() {
    let mut rows = Vec::new();
    for method in ["", "G T", "GET ", "GET/", "GET\t", "G\u{e4}T", "(GET)"] {
        let head = request(method, "/", &[]);
        rows.extend(refused(
            &format!("the method {method:?}"),
            "RFC 9110 9.1",
            head,
        ));
    }
    for method in [
        "PURGE", "get", "M-SEARCH", "DELETE", "OPTIONS", "PATCH", "QUERY",
    ] {
        rows.push(forwarded(method, "RFC 9110 9.1", request(method, "/", &[])));
    }
    for scheme in ["", "ftp", "http", "h ttps", "https:"] {
        let head = with(get(&[]), ":scheme", scheme);
        rows.extend(refused(
            &format!("the scheme {scheme:?}"),
            "RFC 9114 4.3.1, RFC 9110 4.2.2",
            head,
        ));
    }
    for path in [
        "",
        "x",
        "*",
        "/a b",
        "/a#b",
        "#",
        "?q",
        "https://localhost/",
        "/\t",
        "/\x7f",
        "/a\0b",
    ] {
        let head = request("GET", path, &[]);
        rows.extend(refused(
            &format!("the path {path:?}"),
            "RFC 9114 4.3.1, RFC 3986 3.3",
            head,
        ));
    }
    rows.extend(refused(
        "* and more",
        "RFC 9110 7.1",
        request("OPTIONS", "*x", &[]),
    ));
    // RFC 9114 section 4.3.1, RFC 9110 section 7.7: "MUST NOT modify the
    // "absolute-path" and "query" parts".
    for path in [
        "/",
        "//",
        "/?",
        "/a/../b/./c",
        "/%2e%2E/%00%zz",
        "/?a=b?c&d=%20+",
        "/a;b,c:d@e!$'()*",
        "/~[x]",
    ] {
        rows.push(forwarded(
            &format!("the path {path:?}"),
            "RFC 9110 7.7",
            get_of(path),
        ));
    }
    rows.push(forwarded(
        "OPTIONS *",
        "RFC 9114 4.3.1, RFC 9110 7.1",
        request("OPTIONS", "*", &[]),
    ));
    check(&rows);
}

fn get_of(path: &str) -> row::List {
    request("GET", path, &[])
}

#[test]
fn the_authority_is_one_without_user_info() {
    let mut rows = Vec::new();
    for authority in [
        "",
        "user@localhost",
        "u:p@localhost",
        "local host",
        " localhost",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "@",
    ] {
        let named = format!("the authority {authority:?}");
        rows.extend(refused(
            &named,
            "RFC 9114 4.3.1",
            with(get(&[]), ":authority", authority),
        ));
        let mut head = without(get(&[]), ":authority");
        head.push(("host".into(), authority.into()));
        rows.extend(refused(
            &format!("{named} as host"),
            "RFC 9114 4.3.1, RFC 9110 7.2",
            head,
        ));
    }
    for authority in [
        "localhost:443",
        "a.test",
        "[::1]",
        "[::1]:8443",
        "127.0.0.1:1",
        "xn--e1afmkfd.test",
    ] {
        rows.push(forwarded(
            authority,
            "RFC 3986 3.2",
            with(get(&[]), ":authority", authority),
        ));
    }
    rows.extend(refused(
        "another host",
        "RFC 9114 4.3.1",
        get(&[("host", "other.test")]),
    ));
    rows.extend(refused(
        "another port",
        "RFC 9114 4.3.1",
        get(&[("host", "localhost:8443")]),
    ));
    rows.extend(refused(
        "an empty host",
        "RFC 9114 4.3.1",
        get(&[("host", "")]),
    ));
    let twice = [("host", "localhost"), ("host", "localhost")];
    rows.extend(refused("host twice", "RFC 9110 7.2", get(&twice)));
    let differ = [("host", "localhost"), ("host", "other.test")];
    rows.extend(refused("two hosts", "RFC 9110 7.2", get(&differ)));
    let mut empty = with(get(&[]), ":authority", "");
    empty.push(("host".into(), "localhost".into()));
    rows.extend(refused(
        "an empty authority and a host",
        "RFC 9114 4.3.1",
        empty,
    ));
    // Bug of others: the two joined into one value.
    rows.push(becomes(
        "equal authority and host",
        "RFC 9114 4.3.1",
        get(&[("host", "localhost")]),
        get(&[]),
    ));
    let mut host = without(get(&[]), ":authority");
    host.push(("host".into(), "localhost".into()));
    rows.push(becomes("host alone", "RFC 9114 4.3.1", host, get(&[])));
    check(&rows);
}

#[test]
fn connection_specific_fields_are_malformed() {
    let mut rows = Vec::new();
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-hop"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", "gzip, trailers"),
        ("te", ""),
    ] {
        let head = get(&[(name, value)]);
        rows.extend(refused(&format!("{name}: {value}"), "RFC 9114 4.2", head));
    }
    let te = get(&[("te", "trailers")]);
    rows.push(forwarded("te: trailers", "RFC 9114 4.2", te));
    check(&rows);
}

#[test]
fn cookies_stay_apart_and_fields_keep_their_order() {
    let rows = [
        forwarded(
            "cookies",
            "RFC 9114 4.2.1",
            get(&[
                ("cookie", "a=1"),
                ("accept", "*/*"),
                ("cookie", "b=2"),
                ("cookie", "c=3"),
            ]),
        ),
        forwarded(
            "repeated fields",
            "RFC 9110 5.3",
            get(&[("x", "1"), ("y", "2"), ("x", "3"), ("x", "")]),
        ),
        forwarded(
            "what nobody knows",
            "RFC 9110 5.1",
            get(&[("x-unknown-field", "a,b;c=\"d\"")]),
        ),
        forwarded(
            "expect",
            "RFC 9110 10.1.1",
            request("POST", "/", &[("expect", "100-continue")]),
        ),
        forwarded(
            "a range",
            "RFC 9110 14",
            get(&[("range", "bytes=0-99,200-"), ("if-range", "\"x\"")]),
        ),
        forwarded("priority", "RFC 9218 5", get(&[("priority", "u=1, i")])),
        forwarded(
            "credentials",
            "RFC 9110 11.6.2",
            get(&[("authorization", "Basic YTpi")]),
        ),
        forwarded("early-data", "RFC 8470 5.1", get(&[("early-data", "1")])),
    ];
    check(&rows);
}

#[test]
fn connect_is_refused_unless_it_is_a_known_kind() {
    use spooky_core::observe::Reason;
    const REFUSED: &[Reason] = &[Reason::ConnectRefused];
    let plain = list(&[(":method", "CONNECT"), (":authority", "localhost:443")]);
    let mut udp = request("CONNECT", "/", &[]);
    udp.insert(1, (":protocol".into(), "connect-udp".into()));
    let refused = || Verdict::Refused(501, REFUSED);
    let rows = [
        row(
            "plain",
            "RFC 9110 9.3.6, RFC 9114 4.4",
            headers(&plain),
            refused(),
        ),
        row(
            "plain",
            "RFC 9110 9.3.6, RFC 9114 4.4",
            headers(&plain),
            refused(),
        )
        .open(),
        row(
            "of an unknown protocol",
            "RFC 9220 3",
            headers(&udp),
            refused(),
        ),
        row(
            "of an unknown protocol",
            "RFC 9220 3",
            headers(&udp),
            refused(),
        )
        .open(),
    ];
    check(&rows);
}
