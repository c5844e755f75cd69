//! A record as a line of JSON.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use spooky_core::observe::{Early, Reason, Record};

use super::rfc3339::rfc3339;

/// The fields of a line, in their order. Absent values are `null`, so that every
/// line has the same keys.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    /// Hexadecimal text: as a number it would not survive readers that know
    /// only doubles.
    id: String,
    client: SocketAddr,
    method: Option<Cow<'a, str>>,
    authority: Option<Cow<'a, str>>,
    path: Option<Cow<'a, str>>,
    backend: Option<&'a str>,
    attempts: u32,
    status: Option<u16>,
    resumed: bool,
    early_data: Option<&'static str>,
    request_bytes: u64,
    response_bytes: u64,
    time_to_head_ms: Option<f64>,
    duration_ms: f64,
    outcome: &'static str,
    reason: Option<&'static str>,
    detail: Option<&'a str>,
}

/// Appends the line and its line break. Whatever bytes a client sent, there is
/// no other line break in it, and it is valid JSON and UTF-8.
pub(crate) fn append(buffer: &mut Vec<u8>, record: &Record) {
    let line = Line {
        time: rfc3339(record.started),
        id: format!("{:016x}", record.id),
        client: record.client,
        method: record.method().map(String::from_utf8_lossy),
        authority: record.authority().map(String::from_utf8_lossy),
        path: record.path().map(String::from_utf8_lossy),
        backend: record.backend.as_deref(),
        attempts: record.attempts,
        status: record.status,
        resumed: record.resumed,
        early_data: record.early.map(Early::as_str),
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        time_to_head_ms: record.time_to_head.map(millis),
        duration_ms: millis(record.duration),
        outcome: record.outcome.as_str(),
        reason: record.reason.map(Reason::as_str),
        detail: record.detail.as_deref(),
    };
    serde_json::to_writer(&mut *buffer, &line).expect("a line has only text and numbers");
    buffer.push(b'\n');
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
