//! What stands on a request stream, read back.

use super::qpack::{self, Line};
use super::wire::{self, kind};

/// Frames of a message, as far as they came.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Field sections that came before any DATA frame: informational heads, the
    /// head, and trailers where there was no body.
    pub heads: Vec<Vec<Line>>,
    pub body: Vec<u8>,
    /// The section behind the body.
    pub trailers: Option<Vec<Line>>,
    /// Frames of other types.
    pub others: Vec<u64>,
    /// Bytes behind the last whole frame.
    pub rest: Vec<u8>,
}

impl Message {
    /// Reads what came on a stream.
    ///
    /// # Panics
    /// If a field section is not legal QPACK, or follows the trailers: the proxy
    /// made it.
    pub fn read(bytes: &[u8]) -> Message {
        let (frames, rest) = wire::frames(bytes);
        let mut message = Message {
            rest: rest.to_vec(),
            ..Message::default()
        };
        let mut in_body = false;
        for (frame, payload) in frames {
            match frame {
                kind::DATA => {
                    assert!(message.trailers.is_none(), "a body behind trailers");
                    in_body = true;
                    message.body.extend(payload);
                }
                kind::HEADERS => {
                    let lines = qpack::read(payload).expect("a legal field section");
                    if in_body {
                        let before = message.trailers.replace(lines);
                        assert!(before.is_none(), "two sections behind the body");
                    } else {
                        message.heads.push(lines);
                    }
                }
                other => message.others.push(other),
            }
        }
        message
    }

    /// The fields of a section by name and value.
    pub fn pairs(lines: &[Line]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect();
        let pair = |line: &Line| (text(&line.name), text(&line.value));
        lines.iter().map(pair).collect()
    }

    /// `:status` of each head of a response, in order.
    pub fn statuses(&self) -> Vec<String> {
        let pairs = self.heads.iter().flat_map(|head| Message::pairs(head));
        let status = pairs.filter(|(name, _)| name == ":status");
        status.map(|(_, value)| value).collect()
    }
}
