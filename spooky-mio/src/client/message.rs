//! Requests and responses, as the client's user sees them.

use std::time::Duration;

use quiche::h3::{Header, NameValue};

use super::Target;
use crate::demo::pattern;

/// A request to one [`Target`].
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// What goes into `:authority`.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Fields besides the pseudo-header fields; names are sent in lower case.
    pub fields: Vec<(String, String)>,
    /// The body; `content-length` says its size unless a field does.
    pub body: Payload,
    /// Sent after the body.
    pub trailers: Vec<(String, String)>,
    /// Whether `content-length` tells the body's size.
    pub announced: bool,
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// None.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of the [pattern](crate::demo::pattern), without holding them.
    Pattern(u64),
}

impl Payload {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(len) => *len,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most `max` bytes from `offset` on.
    pub(super) fn slice(&self, offset: u64, max: usize) -> &[u8] {
        let rest = (self.len() - offset).min(max as u64) as usize;
        match self {
            Self::Empty => &[],
            Self::Bytes(bytes) => &bytes[offset as usize..offset as usize + rest],
            Self::Pattern(_) => pattern::slice(offset, rest),
        }
    }
}

impl Request {
    /// A GET of `target`.
    pub fn get(target: &Target) -> Self {
        Self {
            method: "GET".to_owned(),
            authority: target.authority.clone(),
            path: target.path.clone(),
            fields: Vec::new(),
            body: Payload::Empty,
            trailers: Vec::new(),
            announced: true,
        }
    }

    /// A POST of `body` to `target`.
    pub fn post(target: &Target, body: Payload) -> Self {
        Self {
            method: "POST".to_owned(),
            body,
            ..Self::get(target)
        }
    }

    /// The same request for another path of the server.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// The head as it goes out.
    pub fn head(&self) -> Vec<Header> {
        let mut head = vec![
            Header::new(b":method", self.method.as_bytes()),
            Header::new(b":scheme", b"https"),
            Header::new(b":authority", self.authority.as_bytes()),
            Header::new(b":path", self.path.as_bytes()),
        ];
        let given = |name: &str| {
            self.fields
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !given("user-agent") {
            let agent = concat!("spooky/", env!("CARGO_PKG_VERSION"));
            head.push(Header::new(b"user-agent", agent.as_bytes()));
        }
        if self.announced && !given("content-length") && !self.body.is_empty() {
            head.push(Header::new(
                b"content-length",
                self.body.len().to_string().as_bytes(),
            ));
        }
        head.extend(encode(&self.fields));
        head
    }
}

/// Fields as h3 takes them.
pub(super) fn encode(fields: &[(String, String)]) -> impl Iterator<Item = Header> {
    fields
        .iter()
        .map(|(name, value)| Header::new(name.to_ascii_lowercase().as_bytes(), value.as_bytes()))
}

/// Fields as the user sees them.
pub(super) fn decode(list: &[Header]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    list.iter()
        .map(|header| (text(header.name()), text(header.value())))
        .collect()
}

/// A complete response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Fields besides `:status`.
    pub fields: Vec<(String, String)>,
    /// The whole body, unless it went to a sink.
    pub body: Vec<u8>,
    /// Fields after the body.
    pub trailers: Vec<(String, String)>,
    /// Statuses of the interim (1xx) responses before it.
    pub interim: Vec<u16>,
    /// From asking to the head.
    pub first_byte: Duration,
    /// From asking to the end.
    pub total: Duration,
}

impl Response {
    /// The first field of that name, which is given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}
