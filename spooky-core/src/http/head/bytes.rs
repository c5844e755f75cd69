//! What a byte may be part of.

/// RFC 9110 section 5.6.2: a token, which methods and field names are.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, NAME | UPPER)
}

/// A field name as HTTP/3 sends it: a token in lower case. RFC 9114 section 4.2: one that
/// contains "uppercase characters in field names MUST be treated as malformed".
pub(super) fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, NAME)
}

/// RFC 9110 section 5.5 without white space at the ends: VCHAR, SP, HTAB, obs-text.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE)
}

/// A path and query, as we pass them on; see [`super::request`].
pub(super) fn is_target(bytes: &[u8]) -> bool {
    all(bytes, TARGET)
}

/// RFC 3986 section 3.2.2: unreserved and sub-delims, which names of hosts are made
/// of besides `%` and two digits; but no comma.
pub(super) fn is_host_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HOST != 0
}

const CLASS: [u8; 256] = classes();
const NAME: u8 = 1;
const UPPER: u8 = 2;
const VALUE: u8 = 4;
const TARGET: u8 = 8;
const HOST: u8 = 16;

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
        if byte > 0x20 && byte != 0x7f && byte != b'#' {
            class |= TARGET;
        }
        let delimiter = matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
        );
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || delimiter {
            class |= HOST;
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

    #[test]
    fn bytes_are_classed_as_the_rfcs_say() {
        for byte in 0..=u8::MAX {
            let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), tchar, "{byte:#x}");
            let name = tchar && !byte.is_ascii_uppercase();
            assert_eq!(is_name(&[byte]), name, "{byte:#x}");
            let control = byte.is_ascii_control();
            assert_eq!(is_value(&[byte]), byte == b'\t' || !control, "{byte:#x}");
            let target = !control && byte != b' ' && byte != b'#';
            assert_eq!(is_target(&[byte]), target, "{byte:#x}");
            let host = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte);
            assert_eq!(is_host_byte(byte), host, "{byte:#x}");
        }
        assert!(!is_token(b"") && !is_name(b"") && is_value(b""));
    }
}
