//! URLs and fields of `spooky get`, paths of the demo, and `proxy-status`.

use quiche::h3::Header;
use spooky_core::config::Forwarding;
use spooky_core::fuzzing as core;
use spooky_core::limits::AUTHORITY_BYTES;
use spooky_core::observe::Reason;
use spooky_mio::client::Target;
use spooky_mio::fuzzing as mio;

/// A URL that is taken can be sent, and written anew it names the same.
pub(super) fn check_url(text: &str) {
    let target = match text.parse::<Target>() {
        Ok(target) => target,
        Err(error) => {
            let shown = format!("{text:?}");
            assert!(error.to_string().contains(&shown), "{error}: {shown}");
            return;
        }
    };
    let Target {
        host,
        authority,
        path,
        ..
    } = &target;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
    ];
    let taken = core::request(fields.into_iter().collect(), u64::MAX, usize::MAX);
    // Names that Spooky is stricter about than URLs are.
    let strange = authority.contains([',', '%']) || authority.len() > AUTHORITY_BYTES;
    assert!(taken.is_ok() || strange, "{taken:?}: {target:?}");
    assert!(
        !host.is_empty() && !host.contains(['[', ']', '/', '@']),
        "{target:?}"
    );
    // RFC 3986 section 3.2.2: a colon stands only in an address in brackets.
    if host.contains(':') {
        assert!(target.ip().is_some_and(|ip| ip.is_ipv6()), "{target:?}");
        assert!(authority.starts_with('['), "{target:?}");
    }
    let again = format!("https://{authority}{path}").parse::<Target>();
    assert_eq!(again.ok().as_ref(), Some(&target), "{text:?}");
}

/// A field that is taken is one for HTTP/3.
pub(super) fn check_field(line: &str) {
    let Ok((name, value)) = mio::field(line) else {
        return;
    };
    assert!(line.starts_with(&format!("{name}:")), "{line:?}");
    assert_eq!(line[name.len() + 1..].trim(), value);
    let lower = name.to_ascii_lowercase();
    let trailers = [(lower.as_bytes(), value)].into_iter().collect();
    let taken = core::trailers(trailers, u64::MAX, usize::MAX, &Forwarding::default());
    // Encodings are the user's to get right.
    let special = ["te"].contains(&&*lower);
    assert!(taken.is_ok() || special, "{taken:?}: {line:?}");
}

/// A backend of the demo has an answer to every path, and keeps its word unless it
/// is asked not to.
pub(super) fn check_answer(path: &[u8]) {
    for method in ["GET", "HEAD", "POST"] {
        let head = [
            Header::new(b":method", method.as_bytes()),
            Header::new(b":path", path),
            Header::new(b"content-type", path),
        ];
        let plan = mio::demo_answer(&head);
        assert!(
            plan.status == 0 || (200..=599).contains(&plan.status),
            "{plan:?}"
        );
        let bytes: usize = plan.fields.iter().map(|(n, v)| n.len() + v.len()).sum();
        assert!(
            bytes <= (2 << 20) + path.len() * 3,
            "{bytes} bytes of fields"
        );
        let text = String::from_utf8_lossy(path);
        let lies = ["reset", "close", "short", "long", "cut"];
        let honest = !lies
            .iter()
            .any(|lie| text.trim_start_matches('/').starts_with(lie));
        if honest && method == "GET" && plan.announced.is_some() && plan.length.is_some() {
            assert_eq!(plan.announced, plan.length, "{text}");
        }
    }
}

/// RFC 8941 section 3.3.3, read back: what was said stands there, but for what such
/// a string cannot hold.
pub(super) fn check_proxy_status(detail: &str) {
    let value = core::proxy_status(Reason::CertificateRefused, detail);
    let value = String::from_utf8(value).expect("structured fields are ASCII");
    let quoted = value
        .strip_prefix("spooky; error=tls_certificate_error; details=\"")
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or_else(|| panic!("another shape: {value:?}"));
    let mut read = String::new();
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let escaped = rest.next();
                assert!(matches!(escaped, Some('"' | '\\')), "{value:?}");
                read.extend(escaped);
            }
            '"' => panic!("the string ends early: {value:?}"),
            ' '..='~' => read.push(c),
            other => panic!("{other:?} cannot stand in {value:?}"),
        }
    }
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    assert_eq!(read, detail.chars().map(printable).collect::<String>());
}
