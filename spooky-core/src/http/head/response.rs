//! Responses, as backends send them.

use super::section::{self, Section, set_once, take_length};
use super::{Bounds, Fields, HeadError, malformed};

/// A response's head that keeps the rules.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) fields: Fields,
    pub(crate) status: u16,
    content_length: Option<u64>,
    has_date: bool,
}

impl ResponseHead {
    /// Checks the fields of a backend's response.
    pub(crate) fn parse(fields: Fields, bounds: Bounds) -> Result<Self, HeadError> {
        let mut found = Found::default();
        section::check(&fields, bounds, &mut found)?;
        // RFC 9114 section 4.3.2: ":status [...] MUST be included in all responses".
        let Some(status) = found.status else {
            return malformed("no :status");
        };
        let status = parse_status(fields.get(status).1)?;
        // RFC 9114 section 4.5: "HTTP/3 does not support the HTTP Upgrade
        // mechanism or the 101 (Switching Protocols) informational status code".
        if status == 101 {
            return malformed("status 101");
        }
        Ok(ResponseHead {
            fields,
            status,
            content_length: found.content_length,
            has_date: found.has_date,
        })
    }

    /// The head of a tunnel that was accepted. RFC 9110 section 9.3.6: "A server MUST
    /// NOT send any Transfer-Encoding or Content-Length header fields in a 2xx
    /// (Successful) response to CONNECT. A client MUST ignore any Content-Length".
    pub(crate) fn of_tunnel(mut self) -> Self {
        if self.content_length.take().is_some() {
            self.fields.retain(|name, _| name != b"content-length");
        }
        self
    }

    pub(crate) fn is_informational(&self) -> bool {
        self.status < 200
    }

    pub(crate) fn has_date(&self) -> bool {
        self.has_date
    }

    /// RFC 9110 section 8.6: "A server MUST NOT send a Content-Length header field in
    /// any response with a status code of 1xx (Informational) or 204 (No Content)."
    pub(crate) fn has_forbidden_length(&self) -> bool {
        self.content_length.is_some() && (self.is_informational() || self.status == 204)
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

#[derive(Default)]
struct Found {
    status: Option<usize>,
    content_length: Option<u64>,
    has_date: bool,
}

impl Section for Found {
    fn pseudo(&mut self, name: &[u8], index: usize) -> Result<(), HeadError> {
        if name != b":status" {
            return malformed("unknown pseudo-header field");
        }
        set_once(&mut self.status, index)
    }

    fn field(&mut self, name: &[u8], value: &[u8], _index: usize) -> Result<(), HeadError> {
        match name {
            // RFC 9114 section 4.2: "The only exception to this is the TE header field,
            // which MAY be present in an HTTP/3 request header".
            b"te" => malformed("connection-specific field"),
            b"content-length" => take_length(&mut self.content_length, value),
            b"date" => {
                self.has_date = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// RFC 9110 section 15: "All valid status codes are within the range of 100 to 599,
/// inclusive."
fn parse_status(value: &[u8]) -> Result<u16, HeadError> {
    let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else {
        return malformed(":status is not a number from 100 to 599");
    };
    Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_three_digits_from_100_to_599_and_not_101() {
        for (good, number) in [
            ("100", 100),
            ("103", 103),
            ("200", 200),
            ("299", 299),
            ("599", 599),
        ] {
            let head = parse(&[(":status", good)]).expect(good);
            assert_eq!(head.status, number);
            assert_eq!(head.is_informational(), number < 200);
        }
        for bad in [
            "", "20", "2000", "099", "600", "999", "abc", "+20", "101", "2 0", "99999",
        ] {
            assert!(parse(&[(":status", bad)]).is_err(), "RFC 9110 15: {bad:?}");
        }
    }

    #[test]
    fn malformed_responses_are_refused() {
        for (section, list, words) in [
            ("RFC 9114 4.3.2", &[("server", "x")][..], "no :status"),
            (
                "RFC 9114 4.3",
                &[(":status", "200"), (":path", "/")],
                "unknown",
            ),
            (
                "RFC 9114 4.3",
                &[(":status", "200"), (":status", "200")],
                "repeated",
            ),
            ("RFC 9114 4.3", &[("a", "1"), (":status", "200")], "after"),
            (
                "RFC 9114 4.2",
                &[(":status", "200"), ("te", "trailers")],
                "connection",
            ),
            (
                "RFC 9114 4.2",
                &[(":status", "200"), ("transfer-encoding", "chunked")],
                "connection",
            ),
            (
                "RFC 9114 4.2",
                &[(":status", "200"), ("connection", "close")],
                "connection",
            ),
            (
                "RFC 9114 4.2",
                &[(":status", "200"), ("Server", "x")],
                "lower case",
            ),
            ("RFC 9110 5.1", &[(":status", "200"), ("x y", "x")], "token"),
            (
                "RFC 9114 10.3",
                &[(":status", "200"), ("x", "a\r\nb")],
                "byte",
            ),
            (
                "RFC 9110 8.6",
                &[(":status", "200"), ("content-length", "x")],
                "number",
            ),
            (
                "RFC 9110 8.6",
                &[
                    (":status", "200"),
                    ("content-length", "5"),
                    ("content-length", "5"),
                ],
                "repeated",
            ),
        ] {
            match parse(list) {
                Err(HeadError::Malformed(text)) => {
                    assert!(text.contains(words), "{section}: {list:?}: {text}");
                }
                other => panic!("{section}: {list:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_must_follow_depends_on_status_and_method() {
        let length = |status, length: &str| {
            let head = parse(&[(":status", status), ("content-length", length)]).expect("legal");
            let lengths = (head.body_length(false), head.body_length(true));
            (lengths, head.has_forbidden_length())
        };
        assert_eq!(length("200", "5"), ((Some(5), Some(0)), false));
        assert_eq!(length("304", "5"), ((Some(0), Some(0)), false));
        assert_eq!(length("204", "5"), ((Some(0), Some(0)), true));
        assert_eq!(length("204", "0"), ((Some(0), Some(0)), true));
        assert!(length("103", "0").1);
        let unknown = parse(&[(":status", "200")]).expect("legal");
        assert_eq!(unknown.body_length(false), None);
    }

    fn parse(list: &[(&str, &str)]) -> Result<ResponseHead, HeadError> {
        let bounds = Bounds {
            bytes: 32_768,
            fields: 100,
        };
        ResponseHead::parse(list.iter().copied().collect(), bounds)
    }
}
