//! The wall clock as HTTP writes it.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// A `date` field's value, put together once a second.
#[derive(Debug, Default)]
pub(super) struct DateText {
    second: u64,
    text: String,
}

/// 9999-12-31 23:59:59: the form has four digits for the year.
const LAST: u64 = 253_402_300_799;

impl DateText {
    /// `wall` as RFC 9110 section 5.6.7 wants it: `Sun, 06 Nov 1994 08:49:37 GMT`. A clock
    /// that is out of its range shows the end of it: it is wrong anyway.
    pub(super) fn at(&mut self, wall: SystemTime) -> &[u8] {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs().min(LAST);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            write(&mut self.text, second);
        }
        self.text.as_bytes()
    }
}

fn write(text: &mut String, second: u64) {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, rest) = (second / 86_400, second % 86_400);
    let (year, month, day) = date(days);
    // 1970 began on a Thursday.
    let weekday = WEEKDAYS[(days % 7) as usize];
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    write!(
        text,
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
    )
    .expect("memory takes what is written");
}

/// Year, month and day, `days` after 1970-01-01, in a calendar of years that begin in
/// March: there the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01; 400 years have always the same number of days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_read_as_the_standard_says() {
        let mut text = DateText::default();
        for (second, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (LAST + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let wall = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_millis(999);
            assert_eq!(text.at(wall), expected.as_bytes());
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(text.at(before), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = date(0);
        assert_eq!(last, (1970, 1, 1));
        for day in 1..200_000 {
            let (year, month, day_of_month) = date(day);
            let follows = match last {
                (y, m, d) if (year, month) == (y, m) => day_of_month == d + 1,
                (y, 12, 31) => (year, month, day_of_month) == (y + 1, 1, 1),
                (y, m, d) => {
                    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
                    let length = match m {
                        2 if leap => 29,
                        2 => 28,
                        4 | 6 | 9 | 11 => 30,
                        _ => 31,
                    };
                    d == length && (year, month, day_of_month) == (y, m + 1, 1)
                }
            };
            assert!(follows, "{last:?}, then {:?}", date(day));
            last = date(day);
        }
    }
}
