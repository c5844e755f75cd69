//! Wall clock times as text.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// `time` in UTC as RFC 3339 has it, with milliseconds: `2026-01-02T03:04:05.006Z`.
///
/// A clock before 1970 shows 1970: it is wrong anyway.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / DAY);
    let second = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a day since 1970-01-01, Gregorian.
///
/// Counts from 1 March 2000 backwards by 400, 100, 4 and 1 years: with the leap
/// day at the end of the year, each of these spans has the same length but the
/// last of its kind.
fn date(days: u64) -> (u64, u64, u64) {
    const YEARS_400: u64 = 146_097;
    const YEARS_100: u64 = 36_524;
    const YEARS_4: u64 = 1_461;
    // 1 March 1600 lies this many days before 1970; a whole cycle before 2000.
    let days = days + 135_080;
    let cycles = days / YEARS_400;
    let rest = days % YEARS_400;
    let centuries = (rest / YEARS_100).min(3);
    let rest = rest - centuries * YEARS_100;
    let fours = rest / YEARS_4;
    let rest = rest % YEARS_4;
    let years = (rest / 365).min(3);
    let mut day = rest - years * 365;
    let mut year = 1600 + 400 * cycles + 100 * centuries + 4 * fours + years;
    let mut month = 3;
    for length in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    if month > 12 {
        month -= 12;
        year += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_read_as_the_standard_says() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_000, "2025-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(0);
        for day in 1..200_000 {
            let next = date(day);
            let (year, month, date) = next;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let longest = [
                31,
                if leap { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ];
            let length = |month: u64| longest[month as usize - 1];
            assert!(date <= length(month));
            let follows = match last {
                (y, m, d) if d < length(m) => (y, m, d + 1),
                (y, 12, _) => (y + 1, 1, 1),
                (y, m, _) => (y, m + 1, 1),
            };
            assert_eq!(next, follows);
            last = next;
        }
    }
}
