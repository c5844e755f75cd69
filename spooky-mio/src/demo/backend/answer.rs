//! What a request asks for: path in, plan of the answer out. No I/O.

use std::time::Duration;

use quiche::h3::{Header, NameValue};

/// The plan of one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// When the head may go out.
    pub(crate) when: When,
    /// What becomes of the request's body.
    pub(crate) reading: Reading,
    /// Whether a 103 goes before the head.
    pub(crate) early_hint: bool,
    pub(crate) status: u16,
    /// Fields of the head besides `:status`, `x-backend` and `content-length`.
    pub(crate) fields: Vec<(String, String)>,
    /// What `content-length` says, which need not be true.
    pub(crate) announced: Option<u64>,
    pub(crate) body: Body,
    pub(crate) ending: Ending,
    /// Whether GOAWAY goes out with it.
    pub(crate) leaving: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    After(Duration),
    RequestEnded,
    Never,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Discard,
    /// Counted and hashed; the answer's body is the result.
    Digest,
    /// Sent back as it comes.
    Echo,
    /// Left where it is, so that flow control stops the sender.
    Never,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Text(Vec<u8>),
    /// So many bytes of the pattern.
    Pattern(u64),
    /// The request's body.
    Echo,
    /// What [`Reading::Digest`] found.
    Digest,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Trailers(Vec<(String, String)>),
    /// The request's trailers come back.
    EchoTrailers,
    /// RESET_STREAM with this code.
    Reset(u64),
    /// CONNECTION_CLOSE with this code.
    Close(u64),
}

/// RFC 9114 section 8.1.
pub(crate) const H3_INTERNAL_ERROR: u64 = 0x102;

impl Answer {
    /// The plan for a request with this head, by the backend called `id`.
    pub(crate) fn to(head: &[Header], id: &str) -> Self {
        let method = field(head, b":method");
        let target = field(head, b":path");
        let path = target.split('?').next().unwrap_or_default();
        let mut words = path.trim_start_matches('/').split('/');
        let name = words.next().unwrap_or_default();
        let argument = words.next().unwrap_or_default();
        let number = argument.parse::<u64>().ok();

        let mut answer = match (name, number) {
            ("", _) => Self::text(200, format!("hello from {id}\n").into_bytes()),
            ("head", _) => Self::text(200, listing(head)),
            ("bytes", Some(len)) => Self::pattern(len),
            ("slow", Some(ms)) => Self {
                when: When::After(Duration::from_millis(ms)),
                ..Self::text(200, format!("{id} waited {ms} ms\n").into_bytes())
            },
            ("status", Some(code @ 200..=599)) => {
                Self::text(code as u16, format!("status {code} by {id}\n").into_bytes())
            }
            ("headers", Some(len)) => Self {
                fields: filler(len),
                ..Self::text(200, format!("a head of {len} bytes\n").into_bytes())
            },
            ("echo", _) => Self::echo(head),
            ("count" | "upload", _) => Self {
                when: When::RequestEnded,
                reading: Reading::Digest,
                body: Body::Digest,
                announced: None,
                ..Self::text(200, Vec::new())
            },
            ("trailers", _) => Self {
                ending: Ending::Trailers(vec![
                    ("x-checksum".into(), "0123456789abcdef".into()),
                    ("x-served-by".into(), id.into()),
                ]),
                ..Self::text(200, b"trailers follow\n".to_vec())
            },
            ("hints", _) => Self {
                early_hint: true,
                ..Self::text(200, b"after a 103\n".to_vec())
            },
            ("reset", _) => Self::cut(number, Ending::Reset(H3_INTERNAL_ERROR)),
            ("close", _) => Self::cut(number, Ending::Close(H3_INTERNAL_ERROR)),
            ("short", Some(len)) => Self {
                announced: Some(len),
                body: Body::Pattern(len / 2),
                ..Self::pattern(len)
            },
            ("stall", _) => Self {
                when: When::Never,
                reading: Reading::Never,
                ..Self::text(200, Vec::new())
            },
            ("long", Some(len)) => Self {
                announced: Some(len / 2),
                ..Self::pattern(len)
            },
            ("cut", Some(len)) => Self {
                announced: None,
                ..Self::cut(Some(len), Ending::Reset(H3_INTERNAL_ERROR))
            },
            ("broken", _) => Self::text(0, b"no status at all\n".to_vec()),
            ("goaway", _) => Self {
                leaving: true,
                ..Self::text(200, format!("{id} goes away\n").into_bytes())
            },
            _ => Self::text(404, format!("{id} knows no {path}\n{HELP}").into_bytes()),
        };
        let bodiless = method == "HEAD" || matches!(answer.status, 204 | 304);
        if bodiless {
            answer.body = Body::Text(Vec::new());
            answer.ending = Ending::Clean;
        }
        if matches!(answer.status, 204 | 304) {
            // RFC 9110 section 8.6: no Content-Length in a 204.
            answer.announced = None;
        }
        answer
    }

    fn text(status: u16, text: Vec<u8>) -> Self {
        Self {
            when: When::Now,
            reading: Reading::Discard,
            early_hint: false,
            status,
            fields: vec![("content-type".into(), "text/plain".into())],
            announced: Some(text.len() as u64),
            body: Body::Text(text),
            ending: Ending::Clean,
            leaving: false,
        }
    }

    fn pattern(len: u64) -> Self {
        Self {
            fields: vec![("content-type".into(), "application/octet-stream".into())],
            announced: Some(len),
            body: Body::Pattern(len),
            ..Self::text(200, Vec::new())
        }
    }

    fn echo(head: &[Header]) -> Self {
        let kind = field(head, b"content-type");
        let kind = if kind.is_empty() {
            "application/octet-stream".into()
        } else {
            kind
        };
        let length = field(head, b"content-length");
        Self {
            reading: Reading::Echo,
            fields: vec![("content-type".into(), kind)],
            announced: length.parse().ok(),
            body: Body::Echo,
            ending: Ending::EchoTrailers,
            ..Self::text(200, Vec::new())
        }
    }

    /// A body twice as long as what comes of it before `ending`.
    fn cut(number: Option<u64>, ending: Ending) -> Self {
        let len = number.unwrap_or(32 << 10);
        Self {
            announced: Some(len.max(1).saturating_mul(2)),
            body: Body::Pattern(len),
            ending,
            ..Self::pattern(len)
        }
    }

    /// Whether the head is the last that is sent.
    pub(crate) fn ends_with_head(&self) -> bool {
        let empty = match &self.body {
            Body::Text(text) => text.is_empty(),
            Body::Pattern(len) => *len == 0,
            Body::Echo | Body::Digest => false,
        };
        empty && self.ending == Ending::Clean
    }
}

const HELP: &str = "try / /head /bytes/N /slow/MS /status/CODE /headers/N /echo /count \
                    /trailers /hints /reset/N /close/N /short/N /long/N /cut/N /broken /stall /goaway\n";

fn field(head: &[Header], name: &[u8]) -> String {
    head.iter()
        .find(|header| header.name() == name)
        .map(|header| String::from_utf8_lossy(header.value()).into_owned())
        .unwrap_or_default()
}

/// The request's head as it arrived, a line a field.
fn listing(head: &[Header]) -> Vec<u8> {
    let mut text = Vec::new();
    for header in head {
        text.extend_from_slice(header.name());
        text.extend_from_slice(b": ");
        text.extend_from_slice(header.value());
        text.push(b'\n');
    }
    text
}

/// Fields of about `len` bytes together, none larger than a kilobyte.
fn filler(len: u64) -> Vec<(String, String)> {
    const FIELD: u64 = 1024;
    // Nobody accepts a head of more than this; it bounds our memory.
    let len = len.min(1 << 20);
    (0..len.div_ceil(FIELD))
        .map(|index| {
            let name = format!("x-fill-{index}");
            let room = FIELD.min(len - index * FIELD) as usize;
            // A letter whose Huffman code is eight bits long, so that the
            // encoder cannot make the head smaller than was asked for.
            let value = "X".repeat(room.saturating_sub(name.len()));
            (name, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_comes() {
        assert_eq!(plan("GET", "/bytes/16?x=1").body, Body::Pattern(16));
        assert_eq!(
            plan("GET", "/slow/20").when,
            When::After(Duration::from_millis(20))
        );
        assert_eq!(plan("GET", "/status/503").status, 503);
        assert_eq!(plan("GET", "/stall").reading, Reading::Never);
        assert_eq!(plan("GET", "/bytes/x").status, 404);
        assert_eq!(plan("GET", "/status/99").status, 404);
        assert_eq!(plan("POST", "/count").when, When::RequestEnded);
    }

    #[test]
    fn the_root_says_who_answers() {
        assert_eq!(
            plan("GET", "/").body,
            Body::Text(b"hello from web1\n".to_vec())
        );
    }

    #[test]
    fn head_and_204_have_no_body() {
        let head = plan("HEAD", "/bytes/16");
        assert!(head.ends_with_head());
        assert_eq!(head.announced, Some(16));
        let empty = plan("GET", "/status/204");
        assert!(empty.ends_with_head());
        assert_eq!(empty.announced, None);
    }

    #[test]
    fn cut_bodies_are_shorter_than_announced() {
        for path in ["/reset/1000", "/close/1000", "/short/1000"] {
            let Answer {
                announced, body, ..
            } = plan("GET", path);
            let Body::Pattern(len) = body else {
                panic!("{path} sends {body:?}")
            };
            assert!(announced.is_some_and(|announced| announced > len), "{path}");
        }
    }

    #[test]
    fn the_longest_body_is_announced_as_far_as_numbers_go() {
        let answer = plan("GET", "/reset/18446744073709551615");
        assert_eq!(answer.announced, Some(u64::MAX));
    }

    #[test]
    fn a_large_head_has_the_size_asked_for() {
        let size: usize = plan("GET", "/headers/30000")
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!((29_500..=30_500).contains(&size), "{size}");
    }

    fn plan(method: &str, path: &str) -> Answer {
        let head = [
            Header::new(b":method", method.as_bytes()),
            Header::new(b":path", path.as_bytes()),
        ];
        Answer::to(&head, "web1")
    }
}
