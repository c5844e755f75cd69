//! Lines of the access log, read back.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use spooky_core::fuzzing as core;
use spooky_core::observe::{Early, Outcome, Reason, Record};
use spooky_mio::fuzzing as mio;

use crate::input::Input;

/// A printed time is that time, to the millisecond.
pub(super) fn check_time(bytes: &[u8]) {
    let mut input = Input(bytes);
    // Far beyond years of four digits.
    let seconds = u64::from_be_bytes(input.array()) % (1 << 50);
    let millis = u64::from(u16::from_be_bytes(input.array())) % 1000;
    let since = Duration::from_secs(seconds) + Duration::from_millis(millis);
    let Some(time) = UNIX_EPOCH.checked_add(since) else {
        return;
    };
    let text = mio::rfc3339(time);
    assert_eq!(read_time(&text), seconds * 1000 + millis, "{text}");
}

/// Milliseconds since 1970 of `YEAR-MM-DDTHH:MM:SS.mmmZ`.
fn read_time(text: &str) -> u64 {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let shape: String = text.chars().map(shape).collect();
    assert!(shape.ends_with("0000-00-00T00:00:00.000Z"), "{text}");
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second, milli] = numbers[..] else {
        panic!("other numbers: {text}");
    };
    assert!(
        (1..=12).contains(&month) && (1..=31).contains(&day),
        "{text}"
    );
    assert!(hour < 24 && minute < 60 && second < 60, "{text}");
    // Days before a year and month of a calendar that begins in March.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli
}

/// A line is one line and one JSON object, which says what the record says.
pub(super) fn check_line(bytes: &[u8]) {
    let mut input = Input(bytes);
    let id = u64::from_be_bytes(input.array());
    let mut parts = input.0.splitn(3, |b| *b == b'|');
    let mut part = || parts.next().unwrap_or_default();
    let (path, authority, detail) = (part(), part(), String::from_utf8_lossy(part()));
    let fields = [
        (&b":method"[..], &b"GET"[..]),
        (b":scheme", b"https"),
        (b":authority", authority),
        (b":path", path),
    ];
    let (request, refused) = core::head(fields.into_iter().collect());
    let mut record = record(id, request, &detail);
    record.refused = refused;
    let line = mio::access_log_line(&record);
    let text = std::str::from_utf8(&line).expect("a line is UTF-8");
    let one_line = text.find('\n') == Some(text.len() - 1) && !text.contains('\r');
    assert!(one_line, "{text:?}");
    let value: Value = serde_json::from_str(text).expect("a line is JSON");
    check_values(&value, &record);
}

fn record(id: u64, request: Option<spooky_core::RequestHead>, detail: &str) -> Record {
    Record {
        id,
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(id >> 16),
        client: SocketAddr::from(([192, 0, 2, 1], id as u16)),
        request,
        refused: None,
        backend: (!detail.is_empty()).then(|| detail.into()),
        attempts: id as u32,
        resumed: id & 8 == 8,
        early: (id & 16 == 16).then_some(Early::Forwarded),
        status: (id & 1 == 1).then_some(200 + (id % 300) as u16),
        request_bytes: id,
        response_bytes: !id,
        time_to_head: (id & 1 == 1).then(|| Duration::from_micros(id >> 20)),
        duration: Duration::from_micros(id >> 19),
        outcome: Outcome::LocalReply,
        reason: (id & 2 == 2).then_some(Reason::BadResponse),
        detail: (id & 4 == 4).then(|| detail.into()),
    }
}

fn check_values(value: &Value, record: &Record) {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(value.as_object().map(|o| o.len()), Some(18), "{value}");
    assert_eq!(text("id"), Some(format!("{:016x}", record.id)));
    assert_eq!(text("path"), record.path().map(lossy));
    assert_eq!(text("authority"), record.authority().map(lossy));
    assert_eq!(text("method"), record.method().map(lossy));
    assert_eq!(text("backend").as_deref(), record.backend.as_deref());
    assert_eq!(text("detail").as_deref(), record.detail.as_deref());
    assert_eq!(text("reason").as_deref(), record.reason.map(Reason::as_str));
    assert_eq!(value["resumed"].as_bool(), Some(record.resumed));
    let early = record.early.map(Early::as_str);
    assert_eq!(text("early_data").as_deref(), early);
    assert_eq!(text("client"), Some(record.client.to_string()));
    assert_eq!(value["status"].as_u64(), record.status.map(u64::from));
    assert_eq!(value["request_bytes"].as_u64(), Some(record.request_bytes));
    assert_eq!(
        value["response_bytes"].as_u64(),
        Some(record.response_bytes)
    );
    let time = text("time").map(|time| read_time(&time));
    assert_eq!(time, Some(record.id >> 16));
    let micros = |ms: &Value| ms.as_f64().map(|ms| (ms * 1000.0).round() as u128);
    let exact = record.duration.as_micros() < 1 << 50;
    if exact {
        assert_eq!(
            micros(&value["duration_ms"]),
            Some(record.duration.as_micros())
        );
        let head = record.time_to_head.map(|d| d.as_micros());
        assert_eq!(micros(&value["time_to_head_ms"]), head);
    }
}
