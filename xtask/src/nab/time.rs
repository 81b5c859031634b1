//! Dates and times of the series. They name no time zone in the source and are read as UTC.

use anyhow::{Result, anyhow};

const DAY_MS: i64 = 86_400_000;

/// The moment that `YYYY-MM-DD HH:MM:SS` names, in milliseconds since 1970.
pub(super) fn parse(text: &str) -> Result<i64> {
    let numbers: Option<Vec<i64>> = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse().ok())
        .collect();
    match numbers.as_deref() {
        Some(
            &[
                year,
                month @ 1..=12,
                day @ 1..=31,
                hour @ 0..=23,
                minute @ 0..=59,
                second @ 0..=59,
            ],
        ) => {
            let seconds = hour * 3_600 + minute * 60 + second;
            Ok(days(year, month, day) * DAY_MS + seconds * 1_000)
        }
        _ => Err(anyhow!("{text:?} is no time such as 2013-12-02 21:15:00")),
    }
}

/// Days from 1970 to a date. Years begin in March here, so that the leap day comes last in its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (month * 153 + 2) / 5;
    before_year + before_month + day - 1 - 719_468
}

/// Year, month and day of a moment.
pub(super) fn date(ms: i64) -> (i64, i64, i64) {
    let wanted = ms.div_euclid(DAY_MS);
    // Never above the year that is looked for, and off by one at most.
    let mut year = 1970 + wanted.div_euclid(366);
    while days(year + 1, 1, 1) <= wanted {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= wanted {
        month += 1;
    }
    (year, month, wanted - days(year, month, 1) + 1)
}

/// `2013-12-02 21:15`.
pub(super) fn minute(ms: i64) -> String {
    let (year, month, day) = date(ms);
    let minutes = ms.rem_euclid(DAY_MS) / 60_000;
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// `18 h 35 min`, without a sign.
pub(super) fn span(ms: i64) -> String {
    let minutes = ms.abs() / 60_000;
    format!("{} h {:02} min", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let ms = parse("2013-12-02 21:15:00").unwrap();
        assert_eq!(ms, 1_386_018_900_000);
        assert_eq!(minute(ms), "2013-12-02 21:15");
        for wrong in ["2013-12-02", "2013-13-02 21:15:00", "2013-12-02 21:15:0x"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn every_day_is_followed_by_the_next() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..40_000 {
            assert_eq!(date(number * DAY_MS), (year, month, day));
            assert_eq!(days(year, month, day), number);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
