//! Trailers, of either side.

use super::section::{self, Section};
use super::{Bounds, Fields, HeadError, malformed};
use crate::http::forward;

/// Trailers as they go on.
#[derive(Debug)]
pub(crate) struct Trailers {
    pub(crate) fields: Fields,
    /// Fields that may not stand in trailers were taken out.
    pub(crate) altered: bool,
}

/// Checks a trailer section, and takes out what no trailer may say.
///
/// RFC 9110 section 6.5.1: "A sender MUST NOT generate a trailer field unless the
/// sender knows the corresponding header field name's definition permits" it, and
/// who merges trailers into the head must not be told there what counts for routing,
/// framing or credentials.
pub(crate) fn parse_trailers(mut fields: Fields, bounds: Bounds) -> Result<Trailers, HeadError> {
    let mut found = Found { forbidden: false };
    section::check(&fields, bounds, &mut found)?;
    if !found.forbidden {
        return Ok(Trailers {
            fields,
            altered: false,
        });
    }
    fields.retain(|name, _| !is_forbidden(name));
    Ok(Trailers {
        fields,
        altered: true,
    })
}

struct Found {
    forbidden: bool,
}

impl Section for Found {
    fn pseudo(&mut self, _name: &[u8], _index: usize) -> Result<(), HeadError> {
        // RFC 9114 section 4.3: "Pseudo-header fields MUST NOT appear in trailer sections."
        malformed("pseudo-header field")
    }

    fn field(&mut self, name: &[u8], _value: &[u8], _index: usize) -> Result<(), HeadError> {
        // RFC 9114 section 4.2: it is for request headers alone.
        if name == b"te" {
            return malformed("connection-specific field");
        }
        self.forbidden |= is_forbidden(name);
        Ok(())
    }
}

/// Fields that RFC 9110 section 6.5.1 does not want in trailers: "message framing,
/// routing, authentication, request modifiers, response controls, or content format";
/// in order, in lower case, and with `-` where a name may as well have `_`.
const FORBIDDEN: [&[u8]; 31] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"early-data",
    b"expect",
    b"expires",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"trailer",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
];

/// The lengths that names in [`FORBIDDEN`] have, as bits.
const LENGTHS: u32 = lengths();
const LONGEST: usize = 31;

fn is_forbidden(name: &[u8]) -> bool {
    // Most names are done with here.
    let possible = name.len() <= LONGEST && LENGTHS & (1 << name.len()) != 0;
    (possible && is_listed(name)) || forward::is_of_a_gateway(name)
}

fn is_listed(name: &[u8]) -> bool {
    // Servers with the interface of CGI cannot tell `_` from `-`.
    let mut folded = [0; LONGEST];
    let folded = &mut folded[..name.len()];
    for (to, &from) in folded.iter_mut().zip(name) {
        *to = if from == b'_' { b'-' } else { from };
    }
    FORBIDDEN.binary_search(&&*folded).is_ok()
}

const fn lengths() -> u32 {
    let (mut bits, mut index) = (0, 0);
    while index < FORBIDDEN.len() {
        assert!(FORBIDDEN[index].len() <= LONGEST);
        bits |= 1 << FORBIDDEN[index].len();
        index += 1;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_every_name_on_it_is_found() {
        assert!(FORBIDDEN.is_sorted());
        for name in FORBIDDEN {
            assert!(is_forbidden(name), "{}", String::from_utf8_lossy(name));
        }
        for name in [
            &b"content_length"[..],
            b"x-forwarded-for",
            b"x_real_ip",
            b"forwarded",
            b"client-cert",
        ] {
            assert!(is_forbidden(name), "{}", String::from_utf8_lossy(name));
        }
        for name in [
            &b"grpc-status"[..],
            b"etag",
            b"server-timing",
            b"content-digest",
            b"x-checksum",
            b"authentication-info",
            b"a",
            b"",
        ] {
            assert!(!is_forbidden(name), "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn forbidden_fields_are_taken_out_and_the_rest_keeps_its_order() {
        let list = [
            ("grpc-status", "0"),
            ("authorization", "x"),
            ("host", "b.test"),
            ("a", "1"),
            ("content-length", "5"),
            ("a", "2"),
        ];
        let trailers = parse(&list).expect("legal");
        assert!(trailers.altered);
        let kept = [("grpc-status", "0"), ("a", "1"), ("a", "2")];
        assert_eq!(trailers.fields, kept.into_iter().collect());
        let clean = parse(&kept).expect("legal");
        assert!(!clean.altered && clean.fields == kept.into_iter().collect());
    }

    #[test]
    fn malformed_trailers_are_refused() {
        for (section, field) in [
            ("RFC 9114 4.3", (":status", "200")),
            ("RFC 9114 4.3", (":path", "/")),
            ("RFC 9114 4.2", ("te", "trailers")),
            ("RFC 9114 4.2", ("transfer-encoding", "chunked")),
            ("RFC 9114 4.2", ("X-Sum", "1")),
            ("RFC 9114 10.3", ("x", "a\nb")),
        ] {
            let found = parse(&[("a", "1"), field]);
            assert!(
                matches!(found, Err(HeadError::Malformed(_))),
                "{section}: {field:?}"
            );
        }
        assert_eq!(
            parse(&[("a", "1"); 9]).expect_err("too many"),
            HeadError::TooMany(8)
        );
        let large = "x".repeat(1024);
        assert_eq!(
            parse(&[("a", &large)]).expect_err("too large"),
            HeadError::TooLarge(1024)
        );
    }

    fn parse(list: &[(&str, &str)]) -> Result<Trailers, HeadError> {
        let bounds = Bounds {
            bytes: 1024,
            fields: 8,
        };
        parse_trailers(list.iter().copied().collect(), bounds)
    }
}
