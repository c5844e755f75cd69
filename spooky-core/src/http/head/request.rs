//! Requests, as clients send them.

use super::bytes::{is_target, is_token};
use super::section::{self, Section, parse_number, set_once, take_length};
use super::{Bounds, Fields, Glimpse, HeadError, authority, malformed};

/// A request's head that keeps the rules of RFC 9114 sections 4.2 and 4.3.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    places: Places,
}

/// A request's head that does not.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: HeadError,
    /// What can be told of it all the same.
    pub(crate) glimpse: Glimpse,
}

/// Where in the fields stands what a request must have.
#[derive(Clone, Copy, Debug)]
struct Places {
    method: usize,
    path: usize,
    authority: usize,
    /// `:protocol`, of an extended CONNECT.
    protocol: Option<usize>,
    content_length: Option<u64>,
    max_forwards: Option<u64>,
}

impl RequestHead {
    /// Checks the fields of a request that came as HTTP/3.
    pub(crate) fn parse(fields: Fields, bounds: Bounds) -> Result<Self, Refused> {
        match check(&fields, bounds) {
            Ok(places) => Ok(RequestHead { fields, places }),
            Err(error) => Err(Refused {
                error,
                glimpse: Glimpse::of(&fields),
            }),
        }
    }

    /// The method, a token.
    pub fn method(&self) -> &[u8] {
        self.fields.get(self.places.method).1
    }

    /// Path and query, as sent.
    pub fn path(&self) -> &[u8] {
        self.fields.get(self.places.path).1
    }

    /// `:authority`, or else `host`. Never empty.
    pub fn authority(&self) -> &[u8] {
        self.fields.get(self.places.authority).1
    }

    /// What an extended CONNECT (RFC 9220) asks for, a token; `None` of any other request.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.places.protocol.map(|index| self.fields.get(index).1)
    }

    /// All fields in order, pseudo-header fields first.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.places.content_length
    }

    /// How often a TRACE or OPTIONS request may still be forwarded, if it says so.
    pub(crate) fn max_forwards(&self) -> Option<u64> {
        self.places.max_forwards
    }

    /// RFC 9110 section 9.2.1: "the GET, HEAD, OPTIONS, and TRACE methods are defined to be
    /// safe".
    pub(crate) fn is_safe(&self) -> bool {
        matches!(self.method(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE")
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }
}

fn check(fields: &Fields, bounds: Bounds) -> Result<Places, HeadError> {
    let mut found = Found::default();
    section::check(fields, bounds, &mut found)?;
    // RFC 9114 section 4.3.1: "All HTTP/3 requests MUST include exactly one value
    // for the :method, :scheme, and :path pseudo-header fields, unless the request
    // is a CONNECT request".
    let Some(method) = found.method else {
        return malformed("no :method");
    };
    let name = fields.get(method).1;
    // RFC 9110 section 9.1: "method = token".
    if !is_token(name) {
        return malformed(":method is not a token");
    }
    check_protocol(name, found.protocol.map(|index| fields.get(index).1))?;
    check_scheme(found.scheme.map(|index| fields.get(index).1))?;
    let Some(path) = found.path else {
        return malformed("no :path");
    };
    check_path(name, fields.get(path).1)?;
    let authority = find_authority(fields, found.authority, found.host)?;
    // RFC 9110 section 9.3.8: "A client MUST NOT send content in a TRACE request."
    if name == b"TRACE" && found.content_length.is_some_and(|length| length > 0) {
        return malformed("TRACE with content");
    }
    Ok(Places {
        method,
        path,
        authority,
        protocol: found.protocol,
        content_length: found.content_length,
        max_forwards: max_forwards(name, fields, &found)?,
    })
}

/// What one pass over the fields finds.
#[derive(Default)]
struct Found {
    method: Option<usize>,
    scheme: Option<usize>,
    authority: Option<usize>,
    path: Option<usize>,
    protocol: Option<usize>,
    host: Option<usize>,
    content_length: Option<u64>,
    /// Number of `max-forwards` fields, and where the last one stands.
    max_forwards: (usize, usize),
}

impl Section for Found {
    fn pseudo(&mut self, name: &[u8], index: usize) -> Result<(), HeadError> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            // RFC 9114 section 4.3: "Endpoints MUST treat a request or response that
            // contains undefined or invalid pseudo-header fields as malformed."
            _ => return malformed("unknown pseudo-header field"),
        };
        set_once(place, index)
    }

    fn field(&mut self, name: &[u8], value: &[u8], index: usize) -> Result<(), HeadError> {
        match name {
            // RFC 9114 section 4.2: TE "MUST NOT contain any value other than "trailers"".
            b"te" if value != b"trailers" => malformed("te other than trailers"),
            b"host" => set_once(&mut self.host, index).or(malformed("repeated host")),
            b"content-length" => take_length(&mut self.content_length, value),
            b"max-forwards" => {
                self.max_forwards = (self.max_forwards.0 + 1, index);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// RFC 9220 section 3: an extended CONNECT has `:protocol`, and then also `:scheme` and
/// `:path`, as other requests do. RFC 8441 section 4: the new pseudo-header field is
/// of CONNECT alone.
fn check_protocol(method: &[u8], protocol: Option<&[u8]>) -> Result<(), HeadError> {
    match (protocol, method == b"CONNECT") {
        (None, true) => Err(HeadError::Connect),
        (Some(_), false) => malformed(":protocol without CONNECT"),
        (Some(protocol), true) if !is_token(protocol) => malformed(":protocol is not a token"),
        (Some(_), true) | (None, false) => Ok(()),
    }
}

/// Only `https` is served here: QUIC is always secured. RFC 9110 section 7.4: an
/// origin server "MUST reject a request if any scheme-specific requirements for the
/// target resource are not met", and so must a gateway that speaks for one.
///
/// That is a 400: a 421 (Misdirected Request) would invite the client to ask the
/// same again over another connection. RFC 3986 section 3.1 makes case no matter.
fn check_scheme(scheme: Option<&[u8]>) -> Result<(), HeadError> {
    match scheme {
        None => malformed("no :scheme"),
        Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => Ok(()),
        Some(_) => malformed(":scheme is not https"),
    }
}

/// Path and query go on byte for byte, so what is refused here is what could mean
/// another request further on: controls and spaces, which end a request line of
/// HTTP/1.1, and `#`, which some servers cut at and others don't.
///
/// Bytes that RFC 3986 does not allow but clients send (`"<>[]\^{|}`, a backtick, and
/// UTF-8 as it is) go on as they came: backends have always had to deal with them,
/// and Spooky reads nothing out of the path that they could contradict.
fn check_path(method: &[u8], path: &[u8]) -> Result<(), HeadError> {
    // RFC 9114 section 4.3.1: :path "MUST NOT be empty for "http" or "https" URIs";
    // without a path it is "/", but for OPTIONS "*".
    if path == b"*" {
        return if method == b"OPTIONS" {
            Ok(())
        } else {
            malformed(":path is * and the method is not OPTIONS")
        };
    }
    if path.first() != Some(&b'/') {
        return malformed(":path does not begin with /");
    }
    if !is_target(path) {
        return malformed("forbidden byte in :path");
    }
    Ok(())
}

/// RFC 9114 section 4.3.1: with a scheme that has an authority, "the request MUST
/// contain either an :authority pseudo-header field or a Host header field"; "If both
/// fields are present, they MUST contain the same value."
fn find_authority(
    fields: &Fields,
    authority: Option<usize>,
    host: Option<usize>,
) -> Result<usize, HeadError> {
    // RFC 3986 section 6.2.2.1: the host is the same whatever its case.
    if let (Some(a), Some(h)) = (authority, host)
        && !fields.get(a).1.eq_ignore_ascii_case(fields.get(h).1)
    {
        return malformed(":authority and host differ");
    }
    let Some(index) = authority.or(host) else {
        return malformed("neither :authority nor host");
    };
    authority::check(fields.get(index).1)?;
    Ok(index)
}

/// RFC 9110 section 7.6.2: `Max-Forwards = 1*DIGIT`, of TRACE and OPTIONS; elsewhere
/// "a recipient MAY ignore" it, and it goes on as it came.
fn max_forwards(method: &[u8], fields: &Fields, found: &Found) -> Result<Option<u64>, HeadError> {
    let (count, index) = found.max_forwards;
    if count == 0 || !matches!(method, b"TRACE" | b"OPTIONS") {
        return Ok(None);
    }
    if count > 1 {
        return malformed("repeated max-forwards");
    }
    let value = fields.get(index).1;
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return malformed("max-forwards is not a number");
    }
    // "the recipient's maximum supported value for Max-Forwards" bounds it.
    Ok(Some(parse_number(value).unwrap_or(u64::MAX)))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
