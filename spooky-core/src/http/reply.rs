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

impl LocalReply {
    /// The reply for `reason`, with what only this case knows in `detail`.
    pub(crate) fn new(reason: Reason, detail: Option<&str>, to_head: bool) -> Self {
        let status = reason.status();
        let body = format!("{} {}\n", status, reason.as_str());
        // RFC 9209 section 2: a list member that names the intermediary, with the
        // registered error type, and details for people.
        let mut proxy_status = format!("spooky; error={}; details=", reason.proxy_error());
        push_quoted(&mut proxy_status, detail.unwrap_or(reason.as_str()));
        let mut fields = Fields::default();
        fields.push(b":status", status.to_string().as_bytes());
        fields.push(b"content-type", b"text/plain; charset=utf-8");
        fields.push(b"content-length", body.len().to_string().as_bytes());
        fields.push(b"proxy-status", proxy_status.as_bytes());
        let body = if to_head {
            Vec::new()
        } else {
            body.into_bytes()
        };
        LocalReply {
            status,
            fields,
            body,
        }
    }
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

    #[test]
    fn a_reply_says_why_in_a_structured_field() {
        let reply = LocalReply::new(Reason::ConnectTimeout, Some("a \"b\"\\\n"), false);
        assert_eq!(reply.status, 504);
        let field = reply.fields.find(b"proxy-status").expect("there");
        assert_eq!(
            String::from_utf8_lossy(field),
            r#"spooky; error=connection_timeout; details="a \"b\"\\?""#
        );
        assert_eq!(reply.body, b"504 connect_timeout\n");
        assert!(
            LocalReply::new(Reason::ConnectTimeout, None, true)
                .body
                .is_empty()
        );
    }
}
