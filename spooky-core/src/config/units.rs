//! Durations and sizes, read and written in the units people write.

use std::path::Path;
use std::time::Duration;

use serde::Serializer;

/// `250ms`, `5s`, `2m`, `1h`, or plain `0`. One that is too large to count is
/// the largest there is: bounds refuse it with a better message.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = split(text)?;
    let count = saturating_number(digits);
    match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_secs(count.saturating_mul(60))),
        "h" => Some(Duration::from_secs(count.saturating_mul(60 * 60))),
        "" if count == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

/// `64KiB`, `10MiB`, `1GiB`, or plain bytes. Too large ones as for durations.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = split(text)?;
    let count = saturating_number(digits);
    let scale = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    Some(count.saturating_mul(scale))
}

/// A whole number. Too large ones as for durations.
///
/// A leading zero is refused: YAML 1.1 read it as octal, YAML 1.2 does not.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    match split(text)? {
        (digits, "") => Some(saturating_number(digits)),
        _ => None,
    }
}

/// The duration in the largest unit that holds it exactly.
pub(crate) fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (count, unit) = match millis {
        0 => (0, "s"),
        _ if millis.is_multiple_of(3_600_000) => (millis / 3_600_000, "h"),
        _ if millis.is_multiple_of(60_000) => (millis / 60_000, "m"),
        _ if millis.is_multiple_of(1000) => (millis / 1000, "s"),
        _ => (millis, "ms"),
    };
    format!("{count}{unit}")
}

/// The size in the largest unit that holds it exactly.
pub(crate) fn format_size(bytes: u64) -> String {
    let (count, unit) = match bytes {
        0 => (0, ""),
        _ if bytes.is_multiple_of(1 << 30) => (bytes >> 30, "GiB"),
        _ if bytes.is_multiple_of(1 << 20) => (bytes >> 20, "MiB"),
        _ if bytes.is_multiple_of(1 << 10) => (bytes >> 10, "KiB"),
        _ => (bytes, ""),
    };
    format!("{count}{unit}")
}

pub(super) fn serialize_duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

pub(super) fn serialize_size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_size(*bytes))
}

/// Text, or `off`.
pub(super) fn serialize_or_off<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().unwrap_or("off"))
}

pub(super) fn serialize_level<S: Serializer>(
    level: &log::LevelFilter,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&level.as_str().to_ascii_lowercase())
}

/// A path, losing what is no Unicode; a path that was parsed has none of that.
pub(super) fn serialize_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

pub(super) fn serialize_optional_path<S: Serializer>(
    path: &Option<std::path::PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serialize_path(path, serializer),
        None => serializer.serialize_none(),
    }
}

/// Digits without a leading zero, and what follows them.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let plain = digits == "0" || !digits.starts_with('0');
    (!digits.is_empty() && plain).then_some((digits, unit))
}

fn saturating_number(digits: &str) -> u64 {
    // Only digits arrive here, so overflow is all that can go wrong.
    digits.parse().unwrap_or(u64::MAX)
}
