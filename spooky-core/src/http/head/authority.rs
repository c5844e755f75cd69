//! The authority of a request: a host, and perhaps a port.

use std::net::Ipv6Addr;

use super::bytes::is_host_byte;
use super::{HeadError, malformed};
use crate::limits;

/// RFC 9110 section 7.2: `uri-host [ ":" port ]`, and not empty.
///
/// Stricter than RFC 3986 in two points: no comma, which would make two of one in
/// the lists of `x-forwarded-host`, and no IPvFuture, which nobody has.
pub(super) fn check(authority: &[u8]) -> Result<(), HeadError> {
    // RFC 9114 section 4.3.1: "If these fields are present, they MUST NOT be empty."
    if authority.is_empty() {
        return malformed("the authority is empty");
    }
    if authority.len() > limits::AUTHORITY_BYTES {
        return malformed("the authority is too long");
    }
    // RFC 9114 section 4.3.1: it "MUST NOT include the deprecated userinfo subcomponent".
    if authority.contains(&b'@') {
        return malformed("the authority has user information");
    }
    let (host, rest) = split(authority);
    match host.strip_prefix(b"[") {
        Some(address) => check_ipv6(address)?,
        None => check_name(host)?,
    }
    check_port(rest)
}

/// The host, with its brackets if it has any, and what follows it.
fn split(authority: &[u8]) -> (&[u8], &[u8]) {
    let end = if authority.starts_with(b"[") {
        authority.iter().position(|&b| b == b']').map(|at| at + 1)
    } else {
        authority.iter().position(|&b| b == b':')
    };
    authority.split_at(end.unwrap_or(authority.len()))
}

/// RFC 3986 section 3.2.2: `IP-literal = "[" ( IPv6address / IPvFuture ) "]"`.
fn check_ipv6(address: &[u8]) -> Result<(), HeadError> {
    let address = address
        .strip_suffix(b"]")
        .and_then(|address| std::str::from_utf8(address).ok());
    if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Ok(());
    }
    malformed("the authority has brackets around what is no IPv6 address")
}

/// RFC 3986 section 3.2.2: `reg-name = *( unreserved / pct-encoded / sub-delims )`,
/// and RFC 9110 section 4.2.1: "A sender MUST NOT generate an "http" URI with an
/// empty host identifier" (4.2.2 for "https").
fn check_name(host: &[u8]) -> Result<(), HeadError> {
    if host.is_empty() {
        return malformed("the authority has no host");
    }
    let mut rest = host;
    loop {
        match rest {
            [] => return Ok(()),
            [b'%', a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                rest = after;
            }
            [byte, after @ ..] if is_host_byte(*byte) => rest = after,
            [_, ..] => return malformed("forbidden byte in the authority"),
        }
    }
}

/// RFC 3986 section 3.2.3: `port = *DIGIT`, so `a.test:` is legal. Numbers that no
/// port has are refused.
fn check_port(rest: &[u8]) -> Result<(), HeadError> {
    let Some(port) = rest.strip_prefix(b":") else {
        // What follows a bracket and is no port.
        return if rest.is_empty() {
            Ok(())
        } else {
            malformed("forbidden byte in the authority")
        };
    };
    let number = port.iter().try_fold(0_u32, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        Some(sum * 10 + digit).filter(|&sum| sum <= 65_535)
    });
    match number {
        Some(_) => Ok(()),
        None => malformed("the authority's port is no number up to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_follow_the_grammar_of_rfc_3986() {
        for (section, good) in [
            ("3.2.2", "a.test"),
            ("3.2.2", "A_b-c~.test."),
            ("3.2.2", "xn--bcher-kva.test"),
            ("3.2.2", "a%2Fb"),
            ("3.2.2", "a!$&'()*+;=b"),
            ("3.2.2", "192.0.2.1"),
            ("3.2.2", "[2001:db8::1]"),
            ("3.2.2", "[::ffff:192.0.2.1]:443"),
            ("3.2.3", "a.test:443"),
            ("3.2.3", "a.test:"),
            ("3.2.3", "a.test:0"),
            ("3.2.3", "a.test:65535"),
            ("3.2.3", "a.test:000443"),
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{section}: {good}");
        }
        for (section, bad, words) in [
            ("RFC 9114 4.3.1", "", "empty"),
            ("RFC 9114 4.3.1", "u@a.test", "user information"),
            ("RFC 9114 4.3.1", "u:p@a.test:1", "user information"),
            ("RFC 9110 4.2.2", ":443", "no host"),
            ("RFC 3986 3.2.2", "a b", "byte"),
            ("RFC 3986 3.2.2", "a\tb", "byte"),
            ("RFC 3986 3.2.2", "a\0", "byte"),
            ("RFC 3986 3.2.2", "a,b", "byte"),
            ("RFC 3986 3.2.2", "a/b", "byte"),
            ("RFC 3986 3.2.2", "a?b", "byte"),
            ("RFC 3986 3.2.2", "a#b", "byte"),
            ("RFC 3986 3.2.2", "a\\b", "byte"),
            ("RFC 3986 3.2.2", "a\"b", "byte"),
            ("RFC 3986 3.2.2", "a<b>", "byte"),
            ("RFC 3986 3.2.2", "bücher.test", "byte"),
            ("RFC 3986 3.2.2", "a]b", "byte"),
            ("RFC 3986 2.1", "a%2", "byte"),
            ("RFC 3986 2.1", "a%2g", "byte"),
            ("RFC 3986 3.2.2", "2001:db8::1", "port"),
            ("RFC 3986 3.2.2", "[2001:db8::1", "brackets"),
            ("RFC 3986 3.2.2", "[a.test]", "brackets"),
            ("RFC 3986 3.2.2", "[]", "brackets"),
            ("RFC 3986 3.2.2", "[v1.x]", "brackets"),
            (
                "RFC 6874 (a zone is the sender's own)",
                "[fe80::1%25eth0]",
                "brackets",
            ),
            ("RFC 3986 3.2.2", "[::1]x", "byte"),
            ("RFC 3986 3.2.3", "a.test:65536", "port"),
            ("RFC 3986 3.2.3", "a.test:99999999999999999999", "port"),
            ("RFC 3986 3.2.3", "a.test:4 3", "port"),
            ("RFC 3986 3.2.3", "a.test:+1", "port"),
            ("RFC 3986 3.2.3", "a.test:1:2", "port"),
        ] {
            match check(bad.as_bytes()) {
                Err(HeadError::Malformed(text)) => {
                    assert!(text.contains(words), "{section}: {bad:?}: {text}");
                }
                other => panic!("{section}: {bad:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_longest_name_of_dns_with_a_port_is_taken_and_no_more() {
        let longest = format!("{}:65535", "a".repeat(limits::AUTHORITY_BYTES - 6));
        assert_eq!(check(longest.as_bytes()), Ok(()));
        assert!(check(format!("a{longest}").as_bytes()).is_err());
    }
}
