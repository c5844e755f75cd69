//! Durations, sizes and numbers of configurations.

use std::time::Duration;

use spooky_core::fuzzing as core;

use crate::input::Input;

/// What is read is what arithmetic without bounds says, up to the largest there is.
pub(super) fn check_text(text: &str) {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = &text[digits.len()..];
    let legal = digits == "0" || (!digits.is_empty() && !digits.starts_with('0'));
    let count = legal.then(|| digits.parse::<u128>().unwrap_or(u128::MAX));
    let most = u128::from(u64::MAX);
    let times = |scale: u128| count.map(|n| n.saturating_mul(scale).min(most) as u64);

    let number = if unit.is_empty() { times(1) } else { None };
    assert_eq!(core::parse_number(text), number, "{text:?}");

    let size = match unit {
        "" => times(1),
        "KiB" => times(1024),
        "MiB" => times(1024 * 1024),
        "GiB" => times(1024 * 1024 * 1024),
        _ => None,
    };
    assert_eq!(core::parse_size(text), size, "{text:?}");
    size.iter().for_each(|size| check_size(*size));

    let duration = match unit {
        "" if count == Some(0) => Some(Duration::ZERO),
        "ms" => times(1).map(Duration::from_millis),
        "s" => times(1).map(Duration::from_secs),
        "m" => times(60).map(Duration::from_secs),
        "h" => times(3600).map(Duration::from_secs),
        _ => None,
    };
    assert_eq!(core::parse_duration(text), duration, "{text:?}");
    duration
        .iter()
        .for_each(|duration| check_duration(*duration));
}

/// What is printed is read again, and is as short as it can be.
pub(super) fn check_number(bytes: &[u8]) {
    let number = u64::from_be_bytes(Input(bytes).array());
    check_size(number);
    check_duration(Duration::from_millis(number));
    check_duration(Duration::from_secs(number));
}

fn check_size(size: u64) {
    let text = core::format_size(size);
    assert_eq!(core::parse_size(&text), Some(size), "{text}");
    let bare = size.to_string();
    assert!(text.len() <= bare.len(), "{text} is longer than {bare}");
}

fn check_duration(duration: Duration) {
    let text = core::format_duration(duration);
    assert_eq!(core::parse_duration(&text), Some(duration), "{text}");
}
