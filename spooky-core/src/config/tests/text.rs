//! What of YAML a configuration may use.

use super::super::{Config, Diagnostic, Position, bounds};
use super::{LEAST, faults, lines, parsed, refused};

#[test]
fn a_text_without_content_says_what_there_must_be() {
    let message = " the file holds no configuration; the least there must be is \
                   listen (address, port), tls (cert, key) and backends";
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n",
        "\t",
        "\u{feff}",
        "~",
    ] {
        assert_eq!(faults(text), [message], "{text:?}");
    }
}

#[test]
fn a_tab_in_the_indentation_is_named_and_placed() {
    let message = " a tab in the indentation; YAML wants spaces there";
    assert_eq!(
        faults("listen:\n\taddress: 0.0.0.0\n"),
        [format!("2:1:{message}")]
    );
    assert_eq!(
        faults("listen:\n  address: 0.0.0.0\n  \tport: 443\n"),
        [format!("3:3:{message}")]
    );
}

#[test]
fn broken_yaml_has_a_line_and_a_column() {
    assert_eq!(
        faults("listen:\n  address: \"0.0.0.0\n"),
        ["2:12: not valid YAML: while scanning a quoted scalar, found unexpected end of stream"]
    );
    assert_eq!(
        faults("tls:\n    cert: a\n  key: b\n"),
        ["3:3: not valid YAML: while parsing a block mapping, did not find expected key"]
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{LEAST}").replace('\n', "\r\n");
    assert_eq!(
        super::meaning(&parsed(&text)),
        super::meaning(&parsed(LEAST))
    );
}

#[test]
fn json_is_yaml() {
    let config = parsed(
        r#"{"listen": {"address": "::1", "port": 4433}, "tls": {"cert": "a", "key": "b"},
            "backends": [{"id": "x", "address": "[::1]:1", "weight": 1}]}"#,
    );
    assert_eq!(config.listen.port, 4433);
}

#[test]
fn characters_that_would_end_the_text_unseen_are_refused() {
    assert_eq!(
        refused("workers: 1\nlog\u{0}: {}\n"),
        ["6:4: the character U+0000 cannot stand in a configuration"]
    );
}

#[test]
fn anchors_aliases_and_tags_are_refused_where_they_stand() {
    let anchor = "anchors (&name) are not supported: write the value out, \
                  or quote it if a '&' is meant";
    assert_eq!(
        refused("quic: &q\n  max_streams: &n 5\ntimeouts: *q\n"),
        [
            format!("5:7: quic: {anchor}"),
            format!("6:16: quic.max_streams: {anchor}"),
            "7:11: timeouts: aliases (*name) are not supported: write the value out".to_owned(),
        ]
    );
    assert_eq!(
        refused("quic: !quick\n  max_streams: !!int 5\n"),
        [
            "5:7: quic: tags are not supported: leave out '!quick'",
            "6:16: quic.max_streams: tags are not supported: leave out '!!int'",
        ]
    );
    assert_eq!(
        refused("log: { level: *info }\n"),
        [
            "5:15: not valid YAML: while parsing node, found unknown anchor \
             (quote the value if a '*' or '&' is meant)"
        ]
    );
}

#[test]
fn a_second_document_is_refused() {
    assert_eq!(
        refused("---\nworkers: 1\n"),
        ["5:1: a second document begins here; a configuration is one document"]
    );
    parsed(&format!("%YAML 1.2\n---\n{LEAST}...\n"));
}

#[test]
fn a_key_may_stand_once() {
    assert_eq!(
        refused("workers: 1\nworkers: 2\n"),
        ["6:1: workers: the key stands here twice; the first is at 5:1"]
    );
    assert_eq!(
        refused("log: { level: info, \"level\": warn }\n"),
        ["5:21: log.level: the key stands here twice; the first is at 5:8"]
    );
}

#[test]
fn a_key_is_a_word() {
    assert_eq!(
        refused("? [a, b]\n: 1\n"),
        ["5:3: a key is a single word, not a list or a section; \
             quote the value if a '[' or '{' is meant"]
    );
    assert_eq!(
        refused("quic:\n  : 1\n"),
        ["6:3: quic: a key is missing before the ':'"]
    );
}

#[test]
fn a_top_level_that_is_no_section_is_one_fault() {
    let keys = "expected keys (workers, secret, previous_secrets, instance, listen, tls, quic, early_data, backend_tls, load_balancing, backends, \
                connections, timeouts, forwarding, limits, websocket, log, drain_timeout)";
    assert_eq!(faults("- a\n- b\n"), [format!("1:1: {keys}, found a list")]);
    assert_eq!(faults("\nhello\n"), [format!("2:1: {keys}, found 'hello'")]);
}

#[test]
fn depth_is_bounded() {
    let text = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let deep = refused(&format!("routes: {}\n", text(bounds::DEPTH + 1)));
    assert_eq!(
        deep,
        [format!("5:{}: nested more than 32 deep", 9 + bounds::DEPTH)]
    );
    // Within the bound, the key is what is wrong.
    assert_eq!(
        refused(&format!("routes: {}\n", text(bounds::DEPTH))),
        ["5:1: routes: 'routes' is not available yet"]
    );
    // Far beyond it, nothing overflows; the scanner reads ahead and gives up first.
    let far = refused(&format!("routes: {}\n", text(100_000)));
    assert_eq!(far, ["5:264: not valid YAML: recursion limit exceeded"]);
    let blocks = format!("routes: \n  {}x\n", "- ".repeat(100_000));
    assert!(refused(&blocks)[0].ends_with("nested more than 32 deep"));
}

#[test]
fn the_number_of_values_and_the_size_of_the_text_are_bounded() {
    let many = refused(&format!("routes: [{}]\n", "a,".repeat(bounds::NODES)));
    assert_eq!(many.len(), 1);
    assert!(
        many[0].ends_with("more than 200000 values in one file"),
        "{many:?}"
    );

    let long = "#".repeat(bounds::TEXT_BYTES + 1);
    assert_eq!(
        faults(&long),
        [" the file has 4194305 bytes; a configuration has at most 4194304"]
    );
}

#[test]
fn ten_thousand_backends_fit() {
    use std::fmt::Write as _;
    let mut text = LEAST.to_owned();
    for index in 0..9999 {
        writeln!(
            text,
            "  - id: backend-{index}\n    address: 10.0.0.1:443\n    weight: 1"
        )
        .expect("writing to a string cannot fail");
    }
    assert_eq!(parsed(&text).upstream.backends.len(), 10_000);
}

#[test]
fn faults_beyond_a_hundred_are_counted() {
    let unknown: String = (0..150)
        .map(|index| format!("nonsense{index:03}: 1\n"))
        .collect();
    let faults = refused(&unknown);
    assert_eq!(faults.len(), bounds::DIAGNOSTICS + 1);
    assert_eq!(
        faults[bounds::DIAGNOSTICS],
        " and 50 more errors, not shown"
    );
}

#[test]
fn a_diagnostic_is_written_without_the_parts_it_lacks() {
    let mut diagnostic = Diagnostic {
        file: "conf/s.yaml".to_owned(),
        position: Some(Position { line: 3, column: 7 }),
        path: "tls.cert".to_owned(),
        message: "is wrong".to_owned(),
    };
    assert_eq!(
        diagnostic.to_string(),
        "conf/s.yaml:3:7: tls.cert: is wrong"
    );
    diagnostic.position = None;
    assert_eq!(diagnostic.to_string(), "conf/s.yaml: tls.cert: is wrong");
    diagnostic.path.clear();
    assert_eq!(diagnostic.to_string(), "conf/s.yaml: is wrong");
    diagnostic.file.clear();
    assert_eq!(diagnostic.to_string(), "configuration: is wrong");
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_text() {
    let faults = Config::parse(
        "spooky.yaml",
        "log: { levl: info }\nlisten:\n  address: here\nworkers: many\n",
    )
    .expect_err("accepted");
    assert_eq!(
        lines(&faults),
        [
            "1:1: tls: the required key 'tls' is missing",
            "1:1: backends: the required key 'backends' is missing",
            "1:8: log.levl: unknown key 'levl'; did you mean 'level'?",
            "2:1: listen.port: the required key 'port' is missing",
            "3:12: listen.address: expected an IP address such as 0.0.0.0 or ::, found 'here'",
            "4:10: workers: expected auto, or a whole number from 1 to 1024, found 'many'",
        ]
    );
}
