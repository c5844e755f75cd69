//! Durations and sizes come back as they went out.

use std::time::Duration;

use super::super::units::{format_duration, format_size, parse_duration, parse_size};

#[test]
fn durations_are_written_in_the_largest_exact_unit() {
    for (millis, text) in [
        (0, "0s"),
        (1, "1ms"),
        (1500, "1500ms"),
        (90_000, "90s"),
        (60_000, "1m"),
        (3_600_000, "1h"),
        (5_400_000, "90m"),
    ] {
        let duration = Duration::from_millis(millis);
        assert_eq!(format_duration(duration), text);
        assert_eq!(parse_duration(text), Some(duration));
    }
}

#[test]
fn sizes_are_written_in_the_largest_exact_unit() {
    for (bytes, text) in [
        (0, "0"),
        (1023, "1023"),
        (1 << 10, "1KiB"),
        (1025, "1025"),
        (10 << 20, "10MiB"),
        (3 << 30, "3GiB"),
        ((1 << 20) + 1024, "1025KiB"),
    ] {
        assert_eq!(format_size(bytes), text);
        assert_eq!(parse_size(text), Some(bytes));
    }
}

#[test]
fn what_cannot_be_counted_is_the_largest() {
    assert_eq!(parse_size("99999999999999999999"), Some(u64::MAX));
    assert_eq!(parse_size("18446744073709551615GiB"), Some(u64::MAX));
    assert_eq!(
        parse_duration("18446744073709551615h"),
        Some(Duration::from_secs(u64::MAX))
    );
}
