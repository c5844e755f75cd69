//! The rules that all field sections have in common, kept in one pass.

use super::bytes::{is_name, is_value};
use super::{Bounds, Fields, HeadError, malformed};

/// What one kind of field section makes of its fields.
pub(super) trait Section {
    /// A pseudo-header field.
    fn pseudo(&mut self, name: &[u8], index: usize) -> Result<(), HeadError>;

    /// Any other, whose name and value are legal.
    fn field(&mut self, name: &[u8], value: &[u8], index: usize) -> Result<(), HeadError>;
}

/// Checks all fields, and shows each to `section`.
pub(super) fn check<S: Section>(
    fields: &Fields,
    bounds: Bounds,
    section: &mut S,
) -> Result<(), HeadError> {
    if fields.section_bytes() > bounds.bytes {
        return Err(HeadError::TooLarge(bounds.bytes));
    }
    if fields.len() > bounds.fields {
        return Err(HeadError::TooMany(bounds.fields));
    }
    let mut regular = false;
    for (index, (name, value)) in fields.iter().enumerate() {
        check_value(value)?;
        if name.first() == Some(&b':') {
            // RFC 9114 section 4.3: "All pseudo-header fields MUST appear in the
            // header section before regular header fields."
            if regular {
                return malformed("pseudo-header field after other fields");
            }
            section.pseudo(name, index)?;
            continue;
        }
        regular = true;
        // RFC 9114 section 4.2: "Characters in field names MUST be converted to
        // lowercase prior to their encoding"; RFC 9110 section 5.1: they are tokens.
        if !is_name(name) {
            return malformed("field name is not a token in lower case");
        }
        match name {
            // RFC 9114 section 4.2: "any message containing connection-specific
            // fields MUST be treated as malformed."
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => return malformed("connection-specific field"),
            _ => section.field(name, value, index)?,
        }
    }
    Ok(())
}

/// RFC 9114 section 10.3 forbids CR, LF and NUL; RFC 9110 section 5.5 the other
/// controls but HTAB, and white space at either end.
fn check_value(value: &[u8]) -> Result<(), HeadError> {
    if !is_value(value) {
        return malformed("forbidden byte in a field value");
    }
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return malformed("white space around a field value");
    }
    Ok(())
}

/// RFC 9114 section 4.3.1: "exactly one value" of each; two may mean one thing to us
/// and another to a backend.
pub(super) fn set_once(place: &mut Option<usize>, index: usize) -> Result<(), HeadError> {
    match place.replace(index) {
        None => Ok(()),
        Some(_) => malformed("repeated pseudo-header field"),
    }
}

/// Takes a `content-length`.
///
/// RFC 9110 section 8.6: 1*DIGIT; of a list of equal numbers the recipient "MUST
/// either reject the message as invalid or replace the duplicated field values".
/// Whoever sends one has two minds about the length: it is rejected.
pub(super) fn take_length(place: &mut Option<u64>, value: &[u8]) -> Result<(), HeadError> {
    let Some(length) = parse_number(value) else {
        return malformed("content-length is not a number");
    };
    match place.replace(length) {
        None => Ok(()),
        Some(_) => malformed("repeated content-length"),
    }
}

/// 1*DIGIT, if it can be counted.
pub(super) fn parse_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
