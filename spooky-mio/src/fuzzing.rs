//! Entrances to what is private, for the fuzz workspace alone: behind the feature
//! `fuzzing`, which a test keeps out of every program of this workspace.

use std::time::SystemTime;

use quiche::h3::Header;
use spooky_core::observe::Record;

use crate::access_log::{line, rfc3339};
use crate::client::get;
use crate::demo::backend::answer::{Answer, Body};

/// A record as the access log writes it, with its line break.
pub fn access_log_line(record: &Record) -> Vec<u8> {
    let mut buffer = Vec::new();
    line::append(&mut buffer, record);
    buffer
}

/// A time as the access log writes it.
pub fn rfc3339(time: SystemTime) -> String {
    rfc3339::rfc3339(time)
}

/// The name and the value of a field, as `spooky get -H` is given them.
///
/// # Errors
/// What is wrong with it.
pub fn field(line: &str) -> Result<(&str, &str), String> {
    get::field(line)
}

/// What a backend of the demo means to answer.
#[derive(Debug)]
pub struct Plan {
    /// 0 for a head without a status.
    pub status: u16,
    /// What `content-length` says.
    pub announced: Option<u64>,
    /// Bytes of the body, if that is known before.
    pub length: Option<u64>,
    /// The other fields.
    pub fields: Vec<(String, String)>,
}

/// The plan for a request with this head.
pub fn demo_answer(head: &[Header]) -> Plan {
    let answer = Answer::to(head, "fuzz");
    let length = match &answer.body {
        Body::Text(text) => Some(text.len() as u64),
        Body::Pattern(len) => Some(*len),
        Body::Echo | Body::Digest => None,
    };
    Plan {
        status: answer.status,
        announced: answer.announced,
        length,
        fields: answer.fields,
    }
}
