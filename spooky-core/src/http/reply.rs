//! Responses that Spooky makes itself.

use super::Fields;
use crate::observe::Reason;

/// A whole response, small enough to go out at once.
#[derive(Debug)]
pub(crate) struct LocalReply {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

/// How Spooky signs its responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature<'a> {
    /// When, as `date` has it.
    pub(crate) date: &'a [u8],
    /// Who, in `proxy-status`; `None` if there is to be none.
    pub(crate) name: Option<&'a str>,
}

impl LocalReply {
    /// The reply for `reason`, with what only this case knows in `detail`.
    pub(crate) fn new(
        reason: Reason,
        detail: Option<&str>,
        to_head: bool,
        signature: Signature<'_>,
    ) -> Self {
        let status = reason.status();
        let mut fields = Fields::default();
        fields.push(b":status", status.to_string().as_bytes());
        fields.push(b"date", signature.date);
        let mut body = String::new();
        // RFC 9110 section 15.3.5: a 204 has no content, and nothing that tells of it.
        if status != 204 {
            body = format!("{} {}\n", status, reason.as_str());
            fields.push(b"content-type", b"text/plain; charset=utf-8");
            fields.push(b"content-length", body.len().to_string().as_bytes());
        }
        if let Some(name) = signature.name {
            let details = detail.unwrap_or(reason.as_str());
            let member = proxy_status(name, reason.proxy_error(), details);
            fields.push(b"proxy-status", member.as_bytes());
        }
        if to_head {
            body.clear();
        }
        LocalReply {
            status,
            fields,
            body: body.into_bytes(),
        }
    }
}

/// RFC 9209 section 2: a list member that names the intermediary, with the
/// registered error type if something failed, and details for people.
pub(super) fn proxy_status(name: &str, error: Option<&str>, details: &str) -> String {
    let mut member = name.to_owned();
    if let Some(error) = error {
        member.push_str("; error=");
        member.push_str(error);
    }
    member.push_str("; details=");
    push_quoted(&mut member, details);
    member
}

/// RFC 8941 section 3.3.3: a string is printable ASCII; quote and backslash are escaped.
fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn a_reply_says_why_in_a_structured_field() {
        let reply = reply(Reason::ConnectTimeout, Some("a \"b\"\\\n"), false);
        assert_eq!(reply.status, 504);
        let field = reply.fields.find(b"proxy-status").expect("there");
        assert_eq!(
            String::from_utf8_lossy(field),
            r#"edge; error=connection_timeout; details="a \"b\"\\?""#
        );
        assert_eq!(reply.body, b"504 connect_timeout\n");
        assert_eq!(reply.fields.find(b"date"), Some(DATE));
    }

    #[test]
    fn a_reply_to_head_has_the_fields_and_no_body() {
        let [get, head] = [false, true].map(|head| reply(Reason::NoBackend, None, head));
        assert_eq!(get.fields, head.fields);
        assert!(head.body.is_empty() && !get.body.is_empty());
    }

    #[test]
    fn a_reply_without_content_tells_of_none_and_of_no_error() {
        let reply = reply(Reason::MaxForwards, None, false);
        assert_eq!((reply.status, reply.body), (204, Vec::new()));
        let expected = [
            (&b":status"[..], &b"204"[..]),
            (b"date", DATE),
            (b"proxy-status", b"edge; details=\"max_forwards\""),
        ];
        assert_eq!(reply.fields, expected.into_iter().collect());
    }

    #[test]
    fn a_reply_without_a_signature_keeps_the_reason_in_its_body() {
        let unsigned = Signature {
            date: DATE,
            name: None,
        };
        let reply = LocalReply::new(Reason::BadResponse, Some("secret"), false, unsigned);
        assert_eq!(reply.fields.find(b"proxy-status"), None);
        assert_eq!(reply.body, b"502 bad_response\n");
    }

    fn reply(reason: Reason, detail: Option<&str>, to_head: bool) -> LocalReply {
        let signature = Signature {
            date: DATE,
            name: Some("edge"),
        };
        LocalReply::new(reason, detail, to_head, signature)
    }
}
