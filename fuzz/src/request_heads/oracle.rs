//! The rules of RFC 9114 sections 4.2 and 4.3 and of RFC 9110, said once more: one at
//! a time, each over all fields, and without a thought for speed.

/// What kind of field section it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Request,
    Response,
    Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    TooLarge,
    TooMany,
    Broken,
}

type Fields<'a> = [(&'a [u8], &'a [u8])];

/// RFC 9114 section 4.2.2: name, value and 32 for each field.
pub(super) fn size(fields: &Fields<'_>) -> u64 {
    let sizes = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32);
    sizes.sum::<usize>() as u64
}

pub(super) fn judge(section: Section, fields: &Fields<'_>, limit: u64, count: usize) -> Verdict {
    if size(fields) > limit {
        return Verdict::TooLarge;
    }
    if fields.len() > count {
        return Verdict::TooMany;
    }
    let of_its_kind = match section {
        Section::Request => is_request(fields),
        Section::Response => is_response(fields),
        Section::Trailers => pseudo(fields).is_empty(),
    };
    let fine = of_its_kind
        && fields.iter().all(|(_, value)| is_value(value))
        && regular(fields)
            .iter()
            .all(|(name, value)| is_field(section, name, value))
        && pseudo_come_first(fields)
        && (section == Section::Trailers || is_framed_once(section, fields));
    if fine { Verdict::Fine } else { Verdict::Broken }
}

/// 4.3.1.
fn is_request(fields: &Fields<'_>) -> bool {
    let known = [":method", ":scheme", ":authority", ":path"];
    let of = |name: &str| values(fields, name);
    let unknown = |(name, _): &&(&[u8], &[u8])| !known.iter().any(|k| k.as_bytes() == *name);
    if pseudo(fields).iter().any(|f| unknown(&f)) {
        return false;
    }
    let ([method], [scheme], [path]) = (&of(":method")[..], &of(":scheme")[..], &of(":path")[..])
    else {
        return false;
    };
    let (authority, host) = (of(":authority"), of("host"));
    if authority.len() > 1 || host.len() > 1 {
        return false;
    }
    let named: Vec<String> = authority.iter().chain(&host).map(|v| lower(v)).collect();
    let (Some(first), Some(last)) = (named.first(), named.last()) else {
        return false;
    };
    let starts = path.starts_with(b"/") || (*path == b"*" && *method == b"OPTIONS");
    let blank = |b: &u8| *b <= b' ' || *b == 0x7f;
    first == last
        && is_authority(first)
        && !method.is_empty()
        && method.iter().all(|b| is_tchar(*b))
        && *method != b"CONNECT"
        && scheme.eq_ignore_ascii_case(b"https")
        && starts
        && !path.iter().any(|b| blank(b) || *b == b'#')
        && has_no_trace_content(method, fields)
        && has_sound_count(method, fields)
}

/// RFC 9110 section 9.3.8.
fn has_no_trace_content(method: &[u8], fields: &Fields<'_>) -> bool {
    let none = |value: &&[u8]| value.iter().all(|b| *b == b'0');
    method != b"TRACE" || values(fields, "content-length").iter().all(none)
}

/// RFC 9110 section 7.6.2.
fn has_sound_count(method: &[u8], fields: &Fields<'_>) -> bool {
    let counts = values(fields, "max-forwards");
    let number = |v: &&[u8]| !v.is_empty() && v.iter().all(u8::is_ascii_digit);
    ![&b"TRACE"[..], b"OPTIONS"].contains(&method)
        || (counts.len() <= 1 && counts.iter().all(number))
}

/// RFC 9110 section 7.2 and RFC 3986 section 3.2, but no comma and no future address.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let port_fits = port.chars().all(|c| c.is_ascii_digit())
        && port.trim_start_matches('0').len() <= 5
        && port.trim_start_matches('0').parse::<u32>().unwrap_or(0) <= 65_535;
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_host = match inside {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && is_name(host),
    };
    port_fits && is_host && authority.len() <= 261
}

/// reg-name.
fn is_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c);
    let mut parts = host.split('%');
    let first = parts.next().unwrap_or_default();
    let mut encoded = parts.map(|part| (part.chars().take(2), part.chars().skip(2)));
    first.chars().all(plain)
        && encoded.all(|(digits, rest)| {
            let digits: Vec<char> = digits.collect();
            let mut rest = rest;
            digits.len() == 2 && digits.iter().all(char::is_ascii_hexdigit) && rest.all(plain)
        })
}

/// 4.3.2, and 4.5 for 101.
fn is_response(fields: &Fields<'_>) -> bool {
    let [(b":status", status)] = pseudo(fields)[..] else {
        return false;
    };
    let number = std::str::from_utf8(status).ok().and_then(|text| {
        let digits = text.len() == 3 && text.chars().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    });
    number.is_some_and(|n| (100..600).contains(&n) && n != 101)
}

/// 4.2: a name in lower case, none of a connection's own, and `te` for trailers, in
/// the head of a request alone.
fn is_field(section: Section, name: &[u8], value: &[u8]) -> bool {
    let own = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    !name.is_empty()
        && name.iter().all(|b| is_tchar(*b) && !b.is_ascii_uppercase())
        && !own.iter().any(|own| own.as_bytes() == name)
        && (name != b"te" || (section == Section::Request && value == b"trailers"))
}

/// RFC 9110 section 5.5, and RFC 9114 section 10.3.
fn is_value(value: &[u8]) -> bool {
    let control = |b: &u8| b.is_ascii_control() && *b != b'\t';
    let ends = [value.first(), value.last()];
    !value.iter().any(control) && !ends.iter().any(|b| matches!(b, Some(b' ' | b'\t')))
}

fn pseudo_come_first(fields: &Fields<'_>) -> bool {
    let mut order = fields.iter().map(|(name, _)| name.starts_with(b":"));
    let first_regular = order.position(|is_pseudo| !is_pseudo);
    first_regular.is_none() || !order.any(|is_pseudo| is_pseudo)
}

/// RFC 9110 sections 8.6 and 7.2: one length, in digits, and one host of a request.
fn is_framed_once(section: Section, fields: &Fields<'_>) -> bool {
    let lengths = values(fields, "content-length");
    let counts = lengths.iter().all(|value| {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = String::from_utf8_lossy(value);
        // Zeros before the number do not count.
        digits && text.trim_start_matches('0').len() <= 20 && {
            let number: u128 = text.trim_start_matches('0').parse().unwrap_or(0);
            number <= u128::from(u64::MAX)
        }
    });
    let hosts = values(fields, "host").len();
    counts && lengths.len() <= 1 && (section == Section::Response || hosts <= 1)
}

/// RFC 9110 section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn pseudo<'a>(fields: &Fields<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    fields
        .iter()
        .copied()
        .filter(|(name, _)| name.starts_with(b":"))
        .collect()
}

fn regular<'a>(fields: &Fields<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    fields
        .iter()
        .copied()
        .filter(|(name, _)| !name.starts_with(b":"))
        .collect()
}

fn values<'a>(fields: &Fields<'a>, name: &str) -> Vec<&'a [u8]> {
    let same = fields.iter().filter(|(n, _)| *n == name.as_bytes());
    same.map(|(_, value)| *value).collect()
}

/// Bytes as text of their own, lower case where ASCII has one.
fn lower(value: &[u8]) -> String {
    value
        .iter()
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect()
}
