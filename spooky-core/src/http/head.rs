//! Heads that cannot be wrong: parsed once where they come in, before anybody
//! acts on them.

use super::Fields;

/// A request's head that keeps the rules of RFC 9114 sections 4.2 and 4.3.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    method: usize,
    path: usize,
    authority: usize,
    /// `:protocol`, of an extended CONNECT.
    protocol: Option<usize>,
    content_length: Option<u64>,
}

/// Why a head is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Larger than the limit.
    TooLarge,
    /// Breaks a rule; the text says which.
    Malformed(&'static str),
    /// CONNECT without `:protocol`, which this listener does not offer.
    Connect,
}

impl RequestHead {
    /// Checks the fields of a request that came as HTTP/3.
    pub(crate) fn parse(fields: Fields, limit: u64) -> Result<Self, HeadError> {
        let checked = check_fields(&fields, limit, RequestPseudo::default())?;
        let pseudo = checked.pseudo;
        // RFC 9114 section 4.3.1: "All HTTP/3 requests MUST include exactly one
        // value for the :method, :scheme, and :path pseudo-header fields, unless
        // the request is a CONNECT request".
        let method = pseudo.method.ok_or(HeadError::Malformed("no :method"))?;
        if !is_token(fields.get(method).1) {
            return Err(HeadError::Malformed(":method is not a token"));
        }
        // RFC 9220 section 3: an extended CONNECT has `:protocol`, and then also
        // `:scheme` and `:path`, as other requests do.
        match (pseudo.protocol, fields.get(method).1 == b"CONNECT") {
            (None, true) => return Err(HeadError::Connect),
            (Some(_), false) => return Err(HeadError::Malformed(":protocol without CONNECT")),
            (Some(protocol), true) if !is_token(fields.get(protocol).1) => {
                return Err(HeadError::Malformed(":protocol is not a token"));
            }
            (Some(_), true) | (None, false) => {}
        }
        let scheme = pseudo.scheme.ok_or(HeadError::Malformed("no :scheme"))?;
        if fields.get(scheme).1 != b"https" {
            return Err(HeadError::Malformed(":scheme is not https"));
        }
        let path = pseudo.path.ok_or(HeadError::Malformed("no :path"))?;
        check_path(fields.get(method).1, fields.get(path).1)?;
        let authority = find_authority(&fields, pseudo.authority, checked.host)?;
        Ok(RequestHead {
            method,
            path,
            authority,
            protocol: pseudo.protocol,
            content_length: checked.content_length,
            fields,
        })
    }

    /// The method, a token.
    pub fn method(&self) -> &[u8] {
        self.fields.get(self.method).1
    }

    /// Path and query, as sent.
    pub fn path(&self) -> &[u8] {
        self.fields.get(self.path).1
    }

    /// `:authority`, or else `host`. Never empty.
    pub fn authority(&self) -> &[u8] {
        self.fields.get(self.authority).1
    }

    /// What an extended CONNECT (RFC 9220) asks for, a token; `None` of any other request.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.map(|index| self.fields.get(index).1)
    }

    /// All fields in order, pseudo-header fields first.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }
}

/// A response's head that keeps the rules.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) fields: Fields,
    pub(crate) status: u16,
    content_length: Option<u64>,
}

impl ResponseHead {
    /// Checks the fields of a backend's response.
    pub(crate) fn parse(fields: Fields, limit: u64) -> Result<Self, HeadError> {
        let checked = check_fields(&fields, limit, ResponsePseudo::default())?;
        let status = checked
            .pseudo
            .status
            .ok_or(HeadError::Malformed("no :status"))?;
        let status = parse_status(fields.get(status).1)?;
        // RFC 9114 section 4.5: "HTTP/3 does not support the HTTP Upgrade
        // mechanism or the 101 (Switching Protocols) informational status code".
        if status == 101 {
            return Err(HeadError::Malformed("status 101"));
        }
        Ok(ResponseHead {
            fields,
            status,
            content_length: checked.content_length,
        })
    }

    /// The head of a tunnel that was accepted. RFC 9110 section 9.3.6: "A server MUST
    /// NOT send any Transfer-Encoding or Content-Length header fields in a 2xx
    /// (Successful) response to CONNECT. A client MUST ignore any Content-Length".
    pub(crate) fn of_tunnel(mut self) -> Self {
        if self.content_length.take().is_some() {
            let length = |name: &[u8]| name == b"content-length";
            self.fields = self.fields.iter().filter(|(n, _)| !length(n)).collect();
        }
        self
    }

    pub(crate) fn is_informational(&self) -> bool {
        self.status < 200
    }

    /// Length of the body that must follow, if it is known.
    ///
    /// RFC 9110 section 6.4.1: responses to HEAD, and 204 and 304 responses,
    /// have no content, whatever their content-length says.
    pub(crate) fn body_length(&self, to_head: bool) -> Option<u64> {
        if to_head || self.status == 204 || self.status == 304 {
            return Some(0);
        }
        self.content_length
    }
}

/// Checks a trailer section: no pseudo-header fields, and the rules of all fields.
pub(crate) fn check_trailers(fields: &Fields, limit: u64) -> Result<(), HeadError> {
    check_fields(fields, limit, NoPseudo).map(|_| ())
}

struct Checked<P> {
    pseudo: P,
    host: Option<usize>,
    content_length: Option<u64>,
}

/// What a kind of field section does with a pseudo-header field.
trait Pseudo {
    fn take(&mut self, name: &[u8], index: usize) -> Result<(), HeadError>;
}

#[derive(Default)]
struct RequestPseudo {
    method: Option<usize>,
    scheme: Option<usize>,
    authority: Option<usize>,
    path: Option<usize>,
    protocol: Option<usize>,
}

impl Pseudo for RequestPseudo {
    fn take(&mut self, name: &[u8], index: usize) -> Result<(), HeadError> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(HeadError::Malformed("unknown pseudo-header field")),
        };
        set_once(place, index)
    }
}

#[derive(Default)]
struct ResponsePseudo {
    status: Option<usize>,
}

impl Pseudo for ResponsePseudo {
    fn take(&mut self, name: &[u8], index: usize) -> Result<(), HeadError> {
        if name != b":status" {
            return Err(HeadError::Malformed("unknown pseudo-header field"));
        }
        set_once(&mut self.status, index)
    }
}

struct NoPseudo;

impl Pseudo for NoPseudo {
    fn take(&mut self, _name: &[u8], _index: usize) -> Result<(), HeadError> {
        Err(HeadError::Malformed("pseudo-header field in trailers"))
    }
}

fn set_once(place: &mut Option<usize>, index: usize) -> Result<(), HeadError> {
    match place.replace(index) {
        None => Ok(()),
        Some(_) => Err(HeadError::Malformed("repeated pseudo-header field")),
    }
}

fn check_fields<P: Pseudo>(
    fields: &Fields,
    limit: u64,
    mut pseudo: P,
) -> Result<Checked<P>, HeadError> {
    if fields.section_bytes() > limit {
        return Err(HeadError::TooLarge);
    }
    let (mut regular, mut host, mut content_length) = (false, None, None);
    for (index, (name, value)) in fields.iter().enumerate() {
        check_value(value)?;
        if name.first() == Some(&b':') {
            // RFC 9114 section 4.3: "All pseudo-header fields MUST appear in the
            // header section before regular header fields."
            if regular {
                return Err(HeadError::Malformed(
                    "pseudo-header field after other fields",
                ));
            }
            pseudo.take(name, index)?;
            continue;
        }
        regular = true;
        check_name(name)?;
        match name {
            // RFC 9114 section 4.2: "any message containing connection-specific
            // fields MUST be treated as malformed."
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => {
                return Err(HeadError::Malformed("connection-specific field"));
            }
            b"te" if value != b"trailers" => {
                return Err(HeadError::Malformed("te other than trailers"));
            }
            b"host" => {
                set_once(&mut host, index).map_err(|_| HeadError::Malformed("repeated host"))?
            }
            b"content-length" => {
                let length = parse_length(value)?;
                if content_length.replace(length).is_some() {
                    return Err(HeadError::Malformed("repeated content-length"));
                }
            }
            _ => {}
        }
    }
    Ok(Checked {
        pseudo,
        host,
        content_length,
    })
}

/// RFC 9114 section 4.2: names are tokens (RFC 9110 section 5.6.2) in lower case.
fn check_name(name: &[u8]) -> Result<(), HeadError> {
    if name.is_empty() || !all(name, NAME) {
        return Err(HeadError::Malformed(
            "field name is not a token in lower case",
        ));
    }
    Ok(())
}

/// RFC 9114 section 10.3 forbids CR, LF and NUL; RFC 9110 section 5.5 the other
/// controls but HTAB, and white space at either end.
fn check_value(value: &[u8]) -> Result<(), HeadError> {
    if !all(value, VALUE) {
        return Err(HeadError::Malformed("forbidden byte in a field value"));
    }
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return Err(HeadError::Malformed("white space around a field value"));
    }
    Ok(())
}

fn check_path(method: &[u8], path: &[u8]) -> Result<(), HeadError> {
    // RFC 9114 section 4.3.1: :path "MUST NOT be empty for http or https URIs";
    // "*" is for OPTIONS alone.
    let shape = path.first() == Some(&b'/') || (path == b"*" && method == b"OPTIONS");
    if !shape {
        return Err(HeadError::Malformed(":path does not begin with /"));
    }
    if path.iter().any(|&b| b <= 0x20 || b == b'#' || b == 0x7f) {
        return Err(HeadError::Malformed("forbidden byte in :path"));
    }
    Ok(())
}

fn find_authority(
    fields: &Fields,
    authority: Option<usize>,
    host: Option<usize>,
) -> Result<usize, HeadError> {
    // RFC 9114 section 4.3.1: "If both fields are present, they MUST contain the
    // same value", and neither may be empty for https.
    if let (Some(a), Some(h)) = (authority, host)
        && !fields.get(a).1.eq_ignore_ascii_case(fields.get(h).1)
    {
        return Err(HeadError::Malformed(":authority and host differ"));
    }
    let index = authority
        .or(host)
        .ok_or(HeadError::Malformed("neither :authority nor host"))?;
    let value = fields.get(index).1;
    if value.is_empty() {
        return Err(HeadError::Malformed("empty authority"));
    }
    // RFC 9114 section 4.3.1: ":authority MUST NOT include the deprecated userinfo".
    if value
        .iter()
        .any(|&b| b <= 0x20 || matches!(b, b'@' | b'/' | b'?' | b'#' | b'\\' | 0x7f))
    {
        return Err(HeadError::Malformed("forbidden byte in the authority"));
    }
    Ok(index)
}

fn parse_status(value: &[u8]) -> Result<u16, HeadError> {
    let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else {
        return Err(HeadError::Malformed(
            ":status is not a number from 100 to 599",
        ));
    };
    Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

/// RFC 9110 section 8.6: 1*DIGIT. A sign, a list or an overflow is malformed.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    let malformed = HeadError::Malformed("content-length is not a number");
    if value.is_empty() {
        return Err(malformed);
    }
    value.iter().try_fold(0_u64, |sum, &digit| match digit {
        b'0'..=b'9' => sum
            .checked_mul(10)
            .and_then(|s| s.checked_add(u64::from(digit - b'0')))
            .ok_or(malformed),
        _ => Err(malformed),
    })
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, NAME | UPPER)
}

/// What a byte may be part of, as bits.
const CLASS: [u8; 256] = classes();
const NAME: u8 = 1;
const UPPER: u8 = 2;
const VALUE: u8 = 4;

/// Every byte belongs to one of `classes`. A look-up a byte, and no branch: this
/// runs over all bytes of all heads.
fn all(bytes: &[u8], classes: u8) -> bool {
    bytes.iter().fold(true, |good, &b| {
        good & (CLASS[usize::from(b)] & classes != 0)
    })
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_uppercase() {
            class |= UPPER;
        }
        // RFC 9110 section 5.6.2: tchar.
        let sign = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || sign {
            class |= NAME;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        table[byte as usize] = class;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn malformed_requests_are_refused() {
        for extra in [
            ("Accept", "x"),
            ("a b", "x"),
            ("", "x"),
            ("x", "a\r\nb"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "a "),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            (":method", "GET"),
            (":status", "200"),
            (":x", "1"),
            ("host", "b.test"),
            ("content-length", "-1"),
            ("content-length", "1,1"),
            ("content-length", ""),
            ("content-length", "99999999999999999999"),
            ("content-length", "0x1"),
        ] {
            assert!(
                matches!(request(&[extra]), Err(HeadError::Malformed(_))),
                "{extra:?}"
            );
        }
        assert!(matches!(
            request(&[("content-length", "1"), ("content-length", "1")]),
            Err(HeadError::Malformed(_))
        ));
        assert!(matches!(
            request(&[("x", "1"), (":protocol", "x")]),
            Err(HeadError::Malformed(_))
        ));
    }

    #[test]
    fn each_pseudo_header_field_is_needed_and_checked() {
        for (index, bad) in [
            (0, "G T"),
            (1, "ftp"),
            (2, ""),
            (2, "u@a.test"),
            (2, "a b"),
            (3, ""),
            (3, "x"),
            (3, "/a b"),
            (3, "/#f"),
            (3, "*"),
        ] {
            let mut list = GET.to_vec();
            list[index].1 = bad;
            assert!(
                matches!(parse(&list), Err(HeadError::Malformed(_))),
                "{bad:?}"
            );
        }
        for missing in 0..4 {
            let mut list = GET.to_vec();
            list.remove(missing);
            assert!(
                matches!(parse(&list), Err(HeadError::Malformed(_))),
                "{missing}"
            );
        }
        let mut connect = GET.to_vec();
        connect[0].1 = "CONNECT";
        assert_eq!(parse(&connect).unwrap_err(), HeadError::Connect);
        let options = [
            (":method", "OPTIONS"),
            (":scheme", "https"),
            (":path", "*"),
            ("host", "a.test"),
        ];
        assert_eq!(
            parse(&options)
                .expect("host stands in for :authority")
                .authority(),
            b"a.test"
        );
    }

    #[test]
    fn an_extended_connect_says_what_it_asks_for() {
        let asks = |method: &'static str, protocol: &'static str| {
            let mut list = GET.to_vec();
            list[0].1 = method;
            list.insert(1, (":protocol", protocol));
            parse(&list)
        };
        let head = asks("CONNECT", "websocket").expect("legal");
        assert_eq!(head.protocol(), Some(&b"websocket"[..]));
        assert_eq!(head.path(), b"/x?y=1");
        let malformed = [
            asks("GET", "websocket"),
            asks("CONNECT", ""),
            asks("CONNECT", "a b"),
        ];
        for refused in malformed {
            assert!(matches!(refused, Err(HeadError::Malformed(_))));
        }
        assert_eq!(parse(GET).expect("legal").protocol(), None);
        for missing in 1..4 {
            let mut list = GET.to_vec();
            list[0].1 = "CONNECT";
            list[missing] = (":protocol", "websocket");
            assert!(
                matches!(parse(&list), Err(HeadError::Malformed(_))),
                "{missing}"
            );
        }
    }

    #[test]
    fn the_limit_counts_as_the_rfc_does() {
        let list = headers(GET);
        let size = list.section_bytes();
        assert_eq!(size, (7 + 3 + 7 + 5 + 10 + 6 + 5 + 6 + 4 * 32) as u64);
        assert!(RequestHead::parse(list.clone(), size).is_ok());
        assert_eq!(
            RequestHead::parse(list, size - 1).unwrap_err(),
            HeadError::TooLarge
        );
    }

    #[test]
    fn responses_and_trailers_follow_their_own_rules() {
        let response = |list: &[(&str, &str)]| ResponseHead::parse(headers(list), 32_768);
        let ok = response(&[(":status", "200"), ("content-length", "5")]).expect("legal");
        assert_eq!(
            (ok.status, ok.body_length(false), ok.body_length(true)),
            (200, Some(5), Some(0))
        );
        for bad in ["", "20", "2000", "099", "600", "abc", "+20", "101"] {
            assert!(response(&[(":status", bad)]).is_err(), "{bad:?}");
        }
        assert!(response(&[("server", "x")]).is_err());
        assert!(response(&[(":status", "200"), (":path", "/")]).is_err());
        assert!(check_trailers(&headers(&[("grpc-status", "0")]), 1024).is_ok());
        assert!(check_trailers(&headers(&[(":status", "200")]), 1024).is_err());
    }

    #[test]
    fn bytes_are_classed_as_the_rfcs_say() {
        for byte in 0..=u8::MAX {
            let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), tchar, "{byte:#x}");
            let name = tchar && !byte.is_ascii_uppercase();
            assert_eq!(check_name(&[byte]).is_ok(), name, "{byte:#x}");
            let value = !(byte < 0x20 && byte != b'\t') && byte != 0x7f;
            assert_eq!(check_value(&[b'a', byte, b'a']).is_ok(), value, "{byte:#x}");
        }
    }

    fn request(extra: &[(&str, &str)]) -> Result<RequestHead, HeadError> {
        parse(&[GET, extra].concat())
    }

    fn parse(list: &[(&str, &str)]) -> Result<RequestHead, HeadError> {
        RequestHead::parse(headers(list), 32_768)
    }

    fn headers(list: &[(&str, &str)]) -> Fields {
        list.iter().copied().collect()
    }
}
