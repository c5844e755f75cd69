//! Heads of responses: what never reaches a client, and what does as it came.

use spooky_core::observe::Reason;
use spooky_tests::raw::Message;

use crate::row::{self, List, Pieces, data, get, headers, list};
use crate::telling::{BAD, LENGTH, Verdict, check, passed, refused, row};

fn response(status: &str, extra: &[(&str, &str)]) -> List {
    list(&[&[(":status", status)][..], extra].concat())
}

#[test]
fn a_status_is_a_number_of_three_digits_below_600() {
    let mut rows = Vec::new();
    for status in [
        "", "20", "2", "99999", "0200", "2000", "099", "000", "600", "999", "abc", "2x0", "+20",
        "-20", "200 OK", " 200", "200 ", "2.0", "0x1", "\u{b2}00",
    ] {
        rows.extend(refused(
            &format!("{status:?}"),
            "RFC 9110 15, RFC 9114 4.3.2",
            response(status, &[]),
        ));
    }
    rows.extend(refused("101", "RFC 9114 4.5", response("101", &[])));
    rows.extend(refused(
        "101 that upgrades",
        "RFC 9114 4.5",
        response("101", &[("upgrade", "x")]),
    ));
    for status in [
        "200", "201", "299", "300", "404", "418", "425", "499", "500", "599",
    ] {
        let head = response(status, &[]);
        rows.push(row(
            status,
            "RFC 9110 15",
            headers(&head),
            passed(&head, b"", None),
        ));
    }
    check(&rows);
}

#[test]
fn pseudo_header_fields_are_one_status_and_first() {
    let mut rows = Vec::new();
    let rule = "RFC 9114 4.3.2";
    rows.extend(refused("no status", rule, list(&[("server", "x")])));
    rows.extend(refused("nothing", rule, list(&[])));
    rows.extend(refused(
        "two statuses",
        rule,
        list(&[(":status", "200"), (":status", "200")]),
    ));
    rows.extend(refused(
        "a status behind fields",
        "RFC 9114 4.3",
        list(&[("server", "x"), (":status", "200")]),
    ));
    for name in [
        ":method",
        ":path",
        ":scheme",
        ":authority",
        ":protocol",
        ":unknown",
        ":Status",
        ":",
    ] {
        let head = list(&[(":status", "200"), (name, "x")]);
        rows.extend(refused(name, "RFC 9114 4.3", head));
    }
    check(&rows);
}

#[test]
fn malformed_fields_of_a_backend_are_never_passed_on() {
    let mut rows = Vec::new();
    for name in [
        "", "Server", "a b", "a ", " a", "a:", "a\r\nb", "a\0", "\u{e4}", "a\x7f",
    ] {
        let head = response("200", &[(name, "x")]);
        rows.extend(refused(
            &format!("the name {name:?}"),
            "RFC 9114 4.2, RFC 9110 5.1",
            head,
        ));
    }
    for value in [
        "a\r\nset-cookie: b",
        "a\nb",
        "\r",
        "\0",
        "\x1b",
        "\x7f",
        " a",
        "a ",
        "\t",
    ] {
        let head = response("200", &[("x", value)]);
        rows.extend(refused(
            &format!("the value {value:?}"),
            "RFC 9114 10.3, RFC 9110 5.5",
            head,
        ));
    }
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h3"),
    ] {
        let head = response("200", &[(name, value)]);
        rows.extend(refused(name, "RFC 9114 4.2", head));
    }
    for value in [
        "",
        "-1",
        "+1",
        "1,2",
        "0x10",
        "1.5",
        "ten",
        "99999999999999999999",
    ] {
        let head = response("200", &[("content-length", value)]);
        rows.extend(refused(
            &format!("content-length: {value:?}"),
            "RFC 9110 8.6",
            head,
        ));
    }
    let differ = [("content-length", "1"), ("content-length", "2")];
    rows.extend(refused(
        "two lengths",
        "RFC 9110 8.6",
        response("200", &differ),
    ));
    check(&rows);
}

/// An informational head is a head.
#[test]
fn malformed_informational_heads_are_never_passed_on() {
    let mut rows = Vec::new();
    for extra in [
        ("A", "x"),
        ("a b", "x"),
        ("x", "a\r\nb"),
        ("connection", "close"),
        (":path", "/"),
    ] {
        let early = response("103", &[extra]);
        let bytes = [headers(&early), headers(&response("200", &[]))].concat();
        rows.push(row(
            &format!("{extra:?}"),
            "RFC 9114 4.1.2",
            bytes,
            Verdict::BadGateway(BAD),
        ));
    }
    check(&rows);
}

#[test]
fn a_body_is_as_long_as_its_content_length() {
    let sized = |length: &str| headers(&response("200", &[("content-length", length)]));
    let rule = "RFC 9114 4.1.2";
    let cut = || Verdict::Cut(LENGTH);
    let last = headers(&list(&[("x", "y")]));
    let mut rows = vec![
        row("no body at all", rule, sized("5"), cut()),
        row("short", rule, [sized("5"), data(b"four")].concat(), cut()),
        row("long", rule, [sized("5"), data(b"sixsix")].concat(), cut()),
        row(
            "long, in two frames",
            rule,
            [sized("5"), data(b"12345"), data(b"6")].concat(),
            cut(),
        ),
        row(
            "a body where there is none",
            rule,
            [sized("0"), data(b"x")].concat(),
            cut(),
        ),
        row(
            "short before trailers",
            rule,
            [sized("5"), data(b"four"), last].concat(),
            cut(),
        ),
    ];
    let long: Vec<_> = rows[2..5]
        .iter()
        .cloned()
        .map(crate::telling::Row::open)
        .collect();
    rows.extend(long);
    for (length, body) in [("0", ""), ("5", "hello")] {
        let head = response("200", &[("content-length", length)]);
        let bytes = [headers(&head), data(body.as_bytes())].concat();
        rows.push(row(
            length,
            rule,
            bytes,
            passed(&head, body.as_bytes(), None),
        ));
    }
    check(&rows);
}

/// Bug of others (Envoy, CVE-2026-48743): a length, and a stream that ends with the head.
#[test]
fn a_length_on_a_message_that_is_only_a_head_is_not_believed() {
    let mut rig = row::rig("");
    let post = row::request("POST", "/", &[("content-length", "5")]);
    rig.client.put(0, &headers(&post), true);
    rig.settle();
    assert!(rig.connections.is_empty(), "no backend hears of it");
    let statuses = Message::read(&rig.client.on(0).bytes).statuses();
    assert_eq!(statuses, ["400"]);
    rig.client.put(4, &headers(&get(&[])), true);
    rig.settle();
    let head = response("200", &[("content-length", "5")]);
    rig.connections[0].1.put(0, &headers(&head), true);
    rig.settle();
    let statuses = Message::read(&rig.client.on(4).bytes).statuses();
    assert_eq!(statuses, ["502"], "it is known at once");
}

#[test]
fn heads_above_the_limits_are_a_502_and_the_connection_lives_on() {
    const LARGE: &[Reason] = &[Reason::ResponseHeadTooLarge, Reason::BadResponse];
    let fill = |bytes: usize| response("200", &[("x-fill", &"v".repeat(bytes))]);
    let many: List = (0..150)
        .map(|n| (format!("x-{n}"), String::new()))
        .collect();
    let many = [response("200", &[]), many].concat();
    let bad = || Verdict::BadGateway(LARGE);
    let rule = "RFC 9114 4.2.2";
    let near = fill(31 << 10);
    check(&[
        row("33 KiB", rule, headers(&fill(33 << 10)), bad()),
        row("100 KiB", rule, headers(&fill(100 << 10)), bad()).open(),
        row("150 fields", rule, headers(&many), bad()),
        row("31 KiB", rule, headers(&near), passed(&near, b"", None)),
    ]);
}

#[test]
fn fields_of_a_response_are_passed_on_in_order_and_untouched() {
    let rule = "RFC 9110 5.3, 7.7";
    let mut rows = Vec::new();
    for head in [
        response(
            "200",
            &[
                ("set-cookie", "a=1; Path=/"),
                ("server", "x"),
                ("set-cookie", "b=2"),
            ],
        ),
        response("302", &[("location", "http://elsewhere.test/?a=b#c")]),
        response("401", &[("www-authenticate", "Basic realm=\"a\"")]),
        response(
            "200",
            &[
                ("content-encoding", "gzip"),
                ("vary", "accept-encoding"),
                ("x", ""),
            ],
        ),
        response(
            "200",
            &[
                ("x-latin", "\u{e4}\u{ff}"),
                ("cache-control", "no-transform"),
            ],
        ),
        response("429", &[("retry-after", "120")]),
        response("200", &[("age", "5"), ("etag", "W/\"x\""), ("vary", "*")]),
    ] {
        let bytes = [headers(&head), data(b"body")].concat();
        rows.push(row(
            &head[1].0.clone(),
            rule,
            bytes,
            passed(&head, b"body", None),
        ));
    }
    check(&rows);
}

/// What fails is never half of the backend's response in front of a 502.
#[test]
fn a_refused_response_leaves_nothing_of_it_at_the_client() {
    let rows = refused(
        "a secret",
        "RFC 9114 10.3",
        response("200", &[("x-secret", "1"), ("bad name", "x")]),
    );
    crate::row::all(
        &rows,
        |row| row.name.clone(),
        |row| row.stream.ways(),
        |row, pieces: Pieces| {
            let mut rig = row::rig("");
            rig.client.put(0, &headers(&get(&[])), true);
            rig.settle();
            for (part, fin) in row.stream.cut(pieces) {
                rig.connections[0].1.put(0, part, fin);
                rig.settle();
            }
            let message = Message::read(&rig.client.on(0).bytes);
            let heads: Vec<List> = message
                .heads
                .iter()
                .map(|head| Message::pairs(head))
                .collect();
            row::same("heads", &heads.len(), &1)?;
            row::holds(
                "the secret",
                !heads[0].iter().any(|field| field.0 == "x-secret"),
            )
        },
    );
}
