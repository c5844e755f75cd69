//! The static table of QPACK (RFC 9204 appendix A).

/// Names and values by index.
#[rustfmt::skip]
pub(crate) static ENTRIES: [(&[u8], &[u8]); 99] = [
    (b":authority", b""),
    (b":path", b"/"),
    (b"age", b"0"),
    (b"content-disposition", b""),
    (b"content-length", b"0"),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"referer", b""),
    (b"set-cookie", b""),
    (b":method", b"CONNECT"),
    (b":method", b"DELETE"),
    (b":method", b"GET"),
    (b":method", b"HEAD"),
    (b":method", b"OPTIONS"),
    (b":method", b"POST"),
    (b":method", b"PUT"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"103"),
    (b":status", b"200"),
    (b":status", b"304"),
    (b":status", b"404"),
    (b":status", b"503"),
    (b"accept", b"*/*"),
    (b"accept", b"application/dns-message"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-ranges", b"bytes"),
    (b"access-control-allow-headers", b"cache-control"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-allow-origin", b"*"),
    (b"cache-control", b"max-age=0"),
    (b"cache-control", b"max-age=2592000"),
    (b"cache-control", b"max-age=604800"),
    (b"cache-control", b"no-cache"),
    (b"cache-control", b"no-store"),
    (b"cache-control", b"public, max-age=31536000"),
    (b"content-encoding", b"br"),
    (b"content-encoding", b"gzip"),
    (b"content-type", b"application/dns-message"),
    (b"content-type", b"application/javascript"),
    (b"content-type", b"application/json"),
    (b"content-type", b"application/x-www-form-urlencoded"),
    (b"content-type", b"image/gif"),
    (b"content-type", b"image/jpeg"),
    (b"content-type", b"image/png"),
    (b"content-type", b"text/css"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"text/plain;charset=utf-8"),
    (b"range", b"bytes=0-"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains; preload"),
    (b"vary", b"accept-encoding"),
    (b"vary", b"origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1; mode=block"),
    (b":status", b"100"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"302"),
    (b":status", b"400"),
    (b":status", b"403"),
    (b":status", b"421"),
    (b":status", b"425"),
    (b":status", b"500"),
    (b"accept-language", b""),
    (b"access-control-allow-credentials", b"FALSE"),
    (b"access-control-allow-credentials", b"TRUE"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-methods", b"get"),
    (b"access-control-allow-methods", b"get, post, options"),
    (b"access-control-allow-methods", b"options"),
    (b"access-control-expose-headers", b"content-length"),
    (b"access-control-request-headers", b"content-type"),
    (b"access-control-request-method", b"get"),
    (b"access-control-request-method", b"post"),
    (b"alt-svc", b"clear"),
    (b"authorization", b""),
    (b"content-security-policy", b"script-src 'none'; object-src 'none'; base-uri 'none'"),
    (b"early-data", b"1"),
    (b"expect-ct", b""),
    (b"forwarded", b""),
    (b"if-range", b""),
    (b"origin", b""),
    (b"purpose", b"prefetch"),
    (b"server", b""),
    (b"timing-allow-origin", b"*"),
    (b"upgrade-insecure-requests", b"1"),
    (b"user-agent", b""),
    (b"x-forwarded-for", b""),
    (b"x-frame-options", b"deny"),
    (b"x-frame-options", b"sameorigin"),
];

/// The entries of a name, in order; none if the table has no such name.
///
/// By length first: a name is compared with at most five others, most with one.
#[rustfmt::skip]
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn entries_of(name: &[u8]) -> &'static [u8] {
    match name.len() {
        3 => match name {
            b"age" => &[2],
            _ => &[],
        },
        4 => match name {
            b"date" => &[6],
            b"etag" => &[7],
            b"link" => &[11],
            b"vary" => &[59, 60],
            _ => &[],
        },
        5 => match name {
            b":path" => &[1],
            b"range" => &[55],
            _ => &[],
        },
        6 => match name {
            b"cookie" => &[5],
            b"accept" => &[29, 30],
            b"origin" => &[90],
            b"server" => &[92],
            _ => &[],
        },
        7 => match name {
            b"referer" => &[13],
            b":method" => &[15, 16, 17, 18, 19, 20, 21],
            b":scheme" => &[22, 23],
            b":status" => &[24, 25, 26, 27, 28, 63, 64, 65, 66, 67, 68, 69, 70, 71],
            b"alt-svc" => &[83],
            b"purpose" => &[91],
            _ => &[],
        },
        8 => match name {
            b"location" => &[12],
            b"if-range" => &[89],
            _ => &[],
        },
        9 => match name {
            b"expect-ct" => &[87],
            b"forwarded" => &[88],
            _ => &[],
        },
        10 => match name {
            b":authority" => &[0],
            b"set-cookie" => &[14],
            b"early-data" => &[86],
            b"user-agent" => &[95],
            _ => &[],
        },
        12 => match name {
            b"content-type" => &[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54],
            _ => &[],
        },
        13 => match name {
            b"if-none-match" => &[9],
            b"last-modified" => &[10],
            b"accept-ranges" => &[32],
            b"cache-control" => &[36, 37, 38, 39, 40, 41],
            b"authorization" => &[84],
            _ => &[],
        },
        14 => match name {
            b"content-length" => &[4],
            _ => &[],
        },
        15 => match name {
            b"accept-encoding" => &[31],
            b"accept-language" => &[72],
            b"x-forwarded-for" => &[96],
            b"x-frame-options" => &[97, 98],
            _ => &[],
        },
        16 => match name {
            b"content-encoding" => &[42, 43],
            b"x-xss-protection" => &[62],
            _ => &[],
        },
        17 => match name {
            b"if-modified-since" => &[8],
            _ => &[],
        },
        19 => match name {
            b"content-disposition" => &[3],
            b"timing-allow-origin" => &[93],
            _ => &[],
        },
        22 => match name {
            b"x-content-type-options" => &[61],
            _ => &[],
        },
        23 => match name {
            b"content-security-policy" => &[85],
            _ => &[],
        },
        25 => match name {
            b"strict-transport-security" => &[56, 57, 58],
            b"upgrade-insecure-requests" => &[94],
            _ => &[],
        },
        27 => match name {
            b"access-control-allow-origin" => &[35],
            _ => &[],
        },
        28 => match name {
            b"access-control-allow-headers" => &[33, 34, 75],
            b"access-control-allow-methods" => &[76, 77, 78],
            _ => &[],
        },
        29 => match name {
            b"access-control-expose-headers" => &[79],
            b"access-control-request-method" => &[81, 82],
            _ => &[],
        },
        30 => match name {
            b"access-control-request-headers" => &[80],
            _ => &[],
        },
        32 => match name {
            b"access-control-allow-credentials" => &[73, 74],
            _ => &[],
        },
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_name_and_nothing_else_is() {
        for (index, (name, _)) in ENTRIES.iter().enumerate() {
            assert!(entries_of(name).contains(&(index as u8)), "{index}");
            let longer = [name, &b"x"[..]].concat();
            assert!(
                entries_of(&longer)
                    .iter()
                    .all(|&i| ENTRIES[usize::from(i)].0 == longer)
            );
        }
        for name in [&b""[..], b"x", b"hos", b"x-forwarded-foo"] {
            assert!(entries_of(name).is_empty());
        }
        let all: usize = {
            let mut names: Vec<_> = ENTRIES.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names.dedup();
            names.iter().map(|name| entries_of(name).len()).sum()
        };
        assert_eq!(all, ENTRIES.len(), "each stands under one name");
    }
}
