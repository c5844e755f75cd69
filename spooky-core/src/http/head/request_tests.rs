use super::*;

const GET: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "a.test"),
    (":path", "/x?y=1"),
];

#[test]
fn a_plain_request_is_taken_as_it_is() {
    let head = request(&[
        ("accept", "*/*"),
        ("content-length", "12"),
        ("te", "trailers"),
    ])
    .expect("legal");
    assert_eq!(
        (head.method(), head.path(), head.authority()),
        (&b"GET"[..], &b"/x?y=1"[..], &b"a.test"[..])
    );
    assert_eq!(head.content_length(), Some(12));
    assert_eq!(head.fields().len(), 7);
}

#[test]
fn fields_that_break_a_rule_are_refused() {
    for (section, extra, words) in [
        ("RFC 9114 4.2", &[("Accept", "x")][..], "lower case"),
        ("RFC 9110 5.1", &[("a b", "x")], "token"),
        ("RFC 9110 5.1", &[("", "x")], "token"),
        ("RFC 9110 5.1", &[("a:", "x")], "token"),
        ("RFC 9114 10.3", &[("x", "a\r\nb")], "forbidden byte"),
        ("RFC 9114 10.3", &[("x", "a\rb")], "forbidden byte"),
        ("RFC 9114 10.3", &[("x", "a\0")], "forbidden byte"),
        ("RFC 9110 5.5", &[("x", "a\x7f")], "forbidden byte"),
        ("RFC 9110 5.5", &[("x", " a")], "white space"),
        ("RFC 9110 5.5", &[("x", "a\t")], "white space"),
        (
            "RFC 9114 4.2",
            &[("connection", "close")],
            "connection-specific",
        ),
        (
            "RFC 9114 4.2",
            &[("transfer-encoding", "chunked")],
            "connection-specific",
        ),
        ("RFC 9114 4.2", &[("upgrade", "h2c")], "connection-specific"),
        (
            "RFC 9114 4.2",
            &[("keep-alive", "1")],
            "connection-specific",
        ),
        (
            "RFC 9114 4.2",
            &[("proxy-connection", "x")],
            "connection-specific",
        ),
        ("RFC 9114 4.2", &[("te", "gzip")], "te other"),
        ("RFC 9114 4.2", &[("te", "trailers, gzip")], "te other"),
        ("RFC 9114 4.3", &[(":method", "GET")], "repeated pseudo"),
        ("RFC 9114 4.3", &[(":status", "200")], "unknown pseudo"),
        ("RFC 9114 4.3", &[(":x", "1")], "unknown pseudo"),
        ("RFC 9114 4.3", &[(":", "1")], "unknown pseudo"),
        ("RFC 9114 4.3", &[("x", "1"), (":path", "/")], "after other"),
        ("RFC 9114 4.3.1", &[("host", "b.test")], "differ"),
        ("RFC 9114 4.3.1", &[("host", "a.test:443")], "differ"),
        ("RFC 9114 4.3.1", &[("host", "")], "differ"),
        (
            "RFC 9110 7.2",
            &[("host", "a.test"), ("host", "a.test")],
            "repeated host",
        ),
        ("RFC 9110 8.6", &[("content-length", "-1")], "number"),
        ("RFC 9110 8.6", &[("content-length", "+1")], "number"),
        ("RFC 9110 8.6", &[("content-length", "5, 5")], "number"),
        ("RFC 9110 8.6", &[("content-length", "")], "number"),
        ("RFC 9110 8.6", &[("content-length", "0x1")], "number"),
        (
            "RFC 9110 8.6",
            &[("content-length", "99999999999999999999")],
            "number",
        ),
        (
            "RFC 9110 8.6",
            &[("content-length", "1"), ("content-length", "1")],
            "repeated",
        ),
        (
            "RFC 9110 8.6",
            &[("content-length", "1"), ("content-length", "2")],
            "repeated",
        ),
    ] {
        refused(section, &[GET, extra].concat(), words);
    }
}

#[test]
fn each_pseudo_header_field_is_needed() {
    for (missing, words) in [
        (0, "no :method"),
        (1, "no :scheme"),
        (2, "neither :authority nor host"),
        (3, "no :path"),
    ] {
        let mut list = GET.to_vec();
        list.remove(missing);
        refused("RFC 9114 4.3.1", &list, words);
    }
}

#[test]
fn each_pseudo_header_field_is_checked() {
    for (section, index, bad, words) in [
        ("RFC 9110 9.1", 0, "G T", "token"),
        ("RFC 9110 9.1", 0, "", "token"),
        ("RFC 9110 9.1", 0, "GET/", "token"),
        ("RFC 9110 7.4", 1, "http", "not https"),
        ("RFC 9110 7.4", 1, "ftp", "not https"),
        ("RFC 9110 7.4", 1, "", "not https"),
        ("RFC 9114 4.3.1", 2, "", "empty"),
        ("RFC 9114 4.3.1", 2, "u@a.test", "user information"),
        ("RFC 9110 7.2", 2, "a b", "forbidden byte"),
        ("RFC 9114 4.3.1", 3, "", "begin with /"),
        ("RFC 9114 4.3.1", 3, "x", "begin with /"),
        ("RFC 9114 4.3.1", 3, "https://a.test/", "begin with /"),
        ("RFC 9114 4.3.1", 3, "*", "OPTIONS"),
        ("RFC 9114 4.3.1", 3, "/a b", "forbidden byte"),
        ("RFC 9114 4.3.1", 3, "/a\tb", "forbidden byte"),
        ("RFC 9114 4.3.1", 3, "/a\x7f", "forbidden byte"),
        ("RFC 9114 4.3.1", 3, "/#f", "forbidden byte"),
    ] {
        let mut list = GET.to_vec();
        list[index].1 = bad;
        refused(section, &list, words);
    }
}

#[test]
fn paths_go_on_byte_for_byte() {
    for path in [
        "/",
        "//",
        "/../a/./b",
        "/%2e%2E/%00%zz?a=b?c&d",
        "/a;b=c,d",
        "/\"<>[]\\^`{|}",
        "/ü",
    ] {
        let mut list = GET.to_vec();
        list[3].1 = path;
        assert_eq!(parse(&list).expect(path).path(), path.as_bytes());
    }
}

#[test]
fn a_host_stands_in_for_the_authority() {
    let options = [
        (":method", "OPTIONS"),
        (":scheme", "HTTPS"),
        (":path", "*"),
        ("host", "a.test"),
    ];
    let head = parse(&options).expect("RFC 9114 4.3.1: either will do");
    assert_eq!(head.authority(), b"a.test");
    let both = request(&[("host", "A.Test")]).expect("RFC 3986 6.2.2.1: case is no matter");
    assert_eq!(both.authority(), b"a.test");
}

#[test]
fn connect_is_told_apart() {
    let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
    assert_eq!(
        parse(&connect).expect_err("refused").error,
        HeadError::Connect
    );
}

#[test]
fn trace_has_no_content() {
    let trace = |length| {
        let mut list = GET.to_vec();
        list[0].1 = "TRACE";
        list.push(("content-length", length));
        parse(&list)
    };
    assert!(trace("0").is_ok());
    let error = trace("1").expect_err("RFC 9110 9.3.8").error;
    assert_eq!(error, HeadError::Malformed("TRACE with content"));
}

#[test]
fn max_forwards_counts_for_trace_and_options_alone() {
    let with = |method, values: &[&'static str]| {
        let mut list = GET.to_vec();
        list[0].1 = method;
        list.extend(values.iter().map(|value| ("max-forwards", *value)));
        parse(&list).map(|head| head.max_forwards())
    };
    for method in ["TRACE", "OPTIONS"] {
        assert_eq!(with(method, &[]).expect("legal"), None);
        assert_eq!(with(method, &["0"]).expect("legal"), Some(0));
        assert_eq!(with(method, &["010"]).expect("legal"), Some(10));
        let huge = with(method, &["99999999999999999999999"]).expect("legal");
        assert_eq!(huge, Some(u64::MAX), "RFC 9110 7.6.2: our greatest");
        for bad in [&[""][..], &["x"], &["-1"], &["1, 1"], &["1", "1"]] {
            let error = with(method, bad).expect_err("RFC 9110 7.6.2").error;
            assert!(matches!(error, HeadError::Malformed(_)), "{bad:?}");
        }
    }
    assert_eq!(
        with("GET", &["x", "0"]).expect("RFC 9110 7.6.2: ignored"),
        None
    );
}

#[test]
fn the_limit_counts_as_the_rfc_does() {
    let list: Fields = GET.iter().copied().collect();
    let size = list.section_bytes();
    assert_eq!(size, (7 + 3 + 7 + 5 + 10 + 6 + 5 + 6 + 4 * 32) as u64);
    let with = |bytes, fields| RequestHead::parse(list.clone(), Bounds { bytes, fields });
    assert!(with(size, 4).is_ok());
    let error = with(size - 1, 4).expect_err("RFC 9114 4.2.2").error;
    assert_eq!(error, HeadError::TooLarge(size - 1));
    let error = with(size, 3).expect_err("limits.headers").error;
    assert_eq!(error, HeadError::TooMany(3));
}

#[test]
fn what_is_refused_can_be_told_of() {
    let refused = request(&[("upgrade", "h2c")]).expect_err("connection-specific");
    let glimpse = refused.glimpse;
    assert_eq!(glimpse.method(), Some(&b"GET"[..]));
    assert_eq!(glimpse.path(), Some(&b"/x?y=1"[..]));
    assert_eq!(glimpse.authority(), Some(&b"a.test"[..]));
}

fn refused(section: &str, list: &[(&str, &str)], words: &str) {
    match parse(list).map_err(|refused| refused.error) {
        Err(HeadError::Malformed(text)) => {
            assert!(text.contains(words), "{section}: {list:?}: {text}");
        }
        other => panic!("{section}: {list:?}: {other:?}"),
    }
}

fn request(extra: &[(&str, &str)]) -> Result<RequestHead, Refused> {
    parse(&[GET, extra].concat())
}

fn parse(list: &[(&str, &str)]) -> Result<RequestHead, Refused> {
    let bounds = Bounds {
        bytes: 32_768,
        fields: 100,
    };
    RequestHead::parse(list.iter().copied().collect(), bounds)
}
