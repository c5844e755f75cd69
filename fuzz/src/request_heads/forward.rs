//! What a gateway must make of a message, read from RFC 9110, 7239, 8470 and 9440 and
//! from the documentation of `forwarding:`.

use std::net::IpAddr;

use spooky_core::config::{Forwarding, XForwarded};
use spooky_core::{Fields, RequestHead, fuzzing};

use super::oracle::Section;

/// Who asks, and what is set.
pub(super) struct Way {
    pub(super) config: Forwarding,
    client: IpAddr,
    trusted: bool,
}

/// A way with everything on, for a client that is trusted …
pub(super) const TRUSTED: u8 = 1 + 2 + 12 + 24;
/// … and for one that is not.
pub(super) const STRANGER: u8 = TRUSTED - 1;

type Pairs<'a> = [(&'a [u8], &'a [u8])];

impl Way {
    /// Each number is a way.
    pub(super) fn new(number: u8) -> Self {
        let trusted = number & 1 == 1;
        let x_forwarded = match number / 2 % 3 {
            0 => XForwarded::Replace,
            1 => XForwarded::Append,
            _ => XForwarded::Off,
        };
        let rest = number / 6;
        let client = match (trusted, rest & 1) {
            (true, 0) => "10.1.2.3",
            (true, _) => "2001:db8::7",
            (false, 0) => "192.0.2.7",
            (false, _) => "2001:db9::7",
        };
        let networks = ["10.0.0.0/8", "2001:db8::/32"];
        Way {
            config: Forwarding {
                trusted_proxies: networks.map(|n| n.parse().expect("a network")).to_vec(),
                x_forwarded,
                forwarded: rest & 2 == 2,
                via: (rest & 4 == 4).then(|| "edge".to_owned()),
                proxy_status: rest & 8 == 0,
                // Nobody shows one here.
                client_cert: false,
            },
            client: client.parse().expect("an address"),
            trusted,
        }
    }

    pub(super) fn request(&self, head: &RequestHead) -> Fields {
        fuzzing::forward(head, self.client, &self.config)
    }

    /// `sent` is what must come of `came`.
    pub(super) fn check(&self, section: Section, came: &Pairs<'_>, sent: &Pairs<'_>) {
        match section {
            Section::Request => self.check_request(came, sent),
            Section::Response => self.check_response(came, sent),
            Section::Trailers => self.check_trailers(came, sent),
        }
    }

    fn check_request(&self, came: &Pairs<'_>, sent: &Pairs<'_>) {
        for name in [":method", ":path"] {
            assert_eq!(values(came, name), values(sent, name));
        }
        assert_eq!(values(sent, ":scheme"), [b"https"]);
        let authority = [values(came, ":authority"), values(came, "host")].concat();
        assert_eq!(values(sent, ":authority"), authority[..1]);
        assert!(values(sent, "host").is_empty());
        let untouched = |pairs: &Pairs<'_>| {
            let end_to_end = |(name, _): &&(&[u8], &[u8])| !is_touched(name);
            text(&pairs.iter().filter(end_to_end).copied().collect::<Vec<_>>())
        };
        assert_eq!(untouched(came), untouched(sent), "end to end, in order");
        self.check_claims(came, sent, authority[0]);
        self.check_count(came, sent);
        let via = self.config.via.as_ref().map(|name| format!("3 {name}"));
        expect(came, sent, "via", true, via);
    }

    /// What is said of the client.
    fn check_claims(&self, came: &Pairs<'_>, sent: &Pairs<'_>, authority: &[u8]) {
        let authority = String::from_utf8_lossy(authority).into_owned();
        let (on, theirs) = match self.config.x_forwarded {
            XForwarded::Replace => (true, false),
            XForwarded::Append => (true, self.trusted),
            XForwarded::Off => (false, self.trusted),
        };
        let ours = [
            ("x-forwarded-for", self.client.to_string()),
            ("x-forwarded-proto", "https".to_owned()),
            ("x-forwarded-host", authority.clone()),
        ];
        for (name, value) in ours {
            expect(came, sent, name, theirs, on.then_some(value));
        }
        let node = match self.client {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let host = if authority.chars().all(token) {
            authority
        } else {
            format!("\"{authority}\"")
        };
        let element = format!("for={node};host={host};proto=https");
        let ours = self.config.forwarded.then_some(element);
        expect(came, sent, "forwarded", self.trusted, ours);
        // All others come from those whom we trust, or not at all.
        for (name, value) in sent {
            let name = String::from_utf8_lossy(name);
            if is_claim(&name) {
                let known = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
                let theirs = self.trusted && came.contains(&(name.as_bytes(), value));
                assert!(known.contains(&&*name) || theirs, "{name}");
            }
            assert!(!is_secret(&name), "{name}");
        }
    }

    fn check_count(&self, came: &Pairs<'_>, sent: &Pairs<'_>) {
        let counted = [&b"TRACE"[..], b"OPTIONS"].contains(&values(came, ":method")[0]);
        let (before, after) = (values(came, "max-forwards"), values(sent, "max-forwards"));
        if !counted {
            assert_eq!(before, after);
            return;
        }
        let number = |v: &&[u8]| {
            let text = String::from_utf8_lossy(v).into_owned();
            // What no u64 holds is the largest.
            text.parse::<u64>().unwrap_or(u64::MAX)
        };
        let before: Vec<u64> = before.iter().map(number).collect();
        let after: Vec<u64> = after.iter().map(number).collect();
        let less: Vec<u64> = before.iter().map(|n| n.saturating_sub(1)).collect();
        assert_eq!(after, less);
    }

    fn check_response(&self, came: &Pairs<'_>, sent: &Pairs<'_>) {
        let status = values(came, ":status")[0];
        let (early, empty) = (status[0] == b'1', status == b"204");
        // RFC 9110 section 8.6.
        let keeps = |(name, _): &&(&[u8], &[u8])| *name != b"content-length" || !(early || empty);
        let mut expected: Vec<(&[u8], &[u8])> = came.iter().filter(keeps).copied().collect();
        let altered = expected.len() < came.len();
        // RFC 9110 section 6.6.1.
        if !early && values(came, "date").is_empty() {
            expected.push((b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"));
        }
        let member = self.member("content-length dropped");
        if !early && altered && self.config.proxy_status {
            expected.push((b"proxy-status", member.as_bytes()));
        }
        assert_eq!(text(&expected), text(sent));
    }

    fn check_trailers(&self, came: &Pairs<'_>, sent: &Pairs<'_>) {
        let keeps = |(name, _): &&(&[u8], &[u8])| !is_no_trailer(&String::from_utf8_lossy(name));
        let mut expected: Vec<(&[u8], &[u8])> = came.iter().filter(keeps).copied().collect();
        let member = self.member("trailer fields dropped");
        if expected.len() < came.len() && self.config.proxy_status {
            expected.push((b"proxy-status", member.as_bytes()));
        }
        assert_eq!(text(&expected), text(sent));
    }

    fn member(&self, details: &str) -> String {
        let name = self.config.via.as_deref().unwrap_or("spooky");
        format!("{name}; details=\"{details}\"")
    }
}

/// With something of ours, one line: theirs, if they count, and ours. Without, theirs
/// as they came, if they count.
fn expect(came: &Pairs<'_>, sent: &Pairs<'_>, name: &str, theirs: bool, ours: Option<String>) {
    let theirs = if theirs {
        values(came, name)
    } else {
        Vec::new()
    };
    let found = values(sent, name);
    let Some(ours) = ours else {
        assert_eq!(found, theirs, "{name}");
        return;
    };
    let said = theirs.iter().filter(|value| !value.is_empty());
    let lines: Vec<&[u8]> = said.copied().chain([ours.as_bytes()]).collect();
    assert_eq!(found, [lines.join(&b", "[..])], "{name}");
}

/// The name as a server sees it that makes `_` of `-`, or the other way round.
fn folded(name: &str) -> String {
    name.replace('_', "-")
}

fn is_claim(name: &str) -> bool {
    let known = [
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
    ];
    let name = folded(name);
    name.starts_with("x-forwarded") || known.contains(&&*name)
}

fn is_secret(name: &str) -> bool {
    let folded = folded(name);
    let known = ["client-cert", "client-cert-chain"].contains(&&*folded);
    known
        || name == "proxy-authorization"
        || (name.starts_with("x") && name.contains('_') && folded.starts_with("x-forwarded"))
}

/// A gateway has a hand in this field of a request.
fn is_touched(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    let own = ["host", "via", "forwarded", "max-forwards"];
    name.starts_with(':') || own.contains(&&*name) || is_claim(&name) || is_secret(&name)
}

/// RFC 9110 section 6.5.1, and the registry of fields for which of them are which.
fn is_no_trailer(name: &str) -> bool {
    let framing = ["content-length", "trailer"];
    let routing = ["host", "via", "max-forwards"];
    let modifiers = "expect cache-control pragma range if-match if-none-match \
                     if-modified-since if-unmodified-since if-range early-data";
    let authentication = "authorization proxy-authorization www-authenticate \
                          proxy-authenticate cookie set-cookie";
    let control = "age date expires location retry-after vary warning";
    let content = "content-type content-encoding content-range";
    let listed = [modifiers, authentication, control, content];
    let words = listed.iter().flat_map(|list| list.split_whitespace());
    let name = folded(name);
    let mut known = framing.into_iter().chain(routing).chain(words);
    known.any(|known| known == name) || is_claim(&name) || is_secret(&name) || name == "forwarded"
}

fn values<'a>(pairs: &Pairs<'a>, name: &str) -> Vec<&'a [u8]> {
    let same = pairs.iter().filter(|(n, _)| *n == name.as_bytes());
    same.map(|(_, value)| *value).collect()
}

/// For messages that can be read.
fn text(pairs: &Pairs<'_>) -> Vec<String> {
    let line = |(n, v): &(&[u8], &[u8])| format!("{}: {}", n.escape_ascii(), v.escape_ascii());
    pairs.iter().map(line).collect()
}
