//! Days, weeks and months as people in a zone count them. Each has a number, from 1970 on, and begins at the
//! first moment that clocks there show it; so some days have 23 or 25 hours.

use chrono::{Datelike, Days, MappedLocalTime, NaiveDate, NaiveTime, TimeZone};

use crate::event::zone::Zone;
use crate::rule::manifest::{CalendarSpan, CalendarUnit};

const DAY_MS: i64 = 86_400_000;

/// The days that are told apart, either way from 1970: beyond, all is one. It is some 20,000 years.
const DAYS_MAX: i64 = 7_300_000;

/// A window's units of the calendar, and whose calendar it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Its lengths.
    pub span: CalendarSpan,
    /// The zone whose clocks tell when a day begins; none for UTC.
    pub zone: Option<&'static Zone>,
}

impl Calendar {
    /// The number of the unit that a moment belongs to.
    pub(super) fn number(&self, at_ms: i64) -> i64 {
        let mut number = self.number_of(self.local_day(at_ms));
        // If clocks go back over midnight, the times that they show are not in order.
        while self.start(number) > at_ms && number > self.number_of(-DAYS_MAX) {
            number -= 1;
        }
        while self.start(number + 1) <= at_ms && number < self.number_of(DAYS_MAX) {
            number += 1;
        }
        number
    }

    /// The first moment of a unit.
    pub(super) fn start(&self, number: i64) -> i64 {
        let day = match self.span.unit {
            CalendarUnit::Day => number,
            // The first of January 1970 was a Thursday.
            CalendarUnit::Week => number.saturating_mul(7).saturating_sub(3),
            CalendarUnit::Month => first_of(number),
        };
        self.midnight(day.clamp(-DAYS_MAX, DAYS_MAX))
    }

    fn number_of(&self, day: i64) -> i64 {
        match self.span.unit {
            CalendarUnit::Day => day,
            CalendarUnit::Week => (day + 3).div_euclid(7),
            CalendarUnit::Month => date(day).map_or(0, |date| {
                (i64::from(date.year()) - 1970) * 12 + i64::from(date.month0())
            }),
        }
    }

    /// The day that clocks show, counted from 1970.
    fn local_day(&self, at_ms: i64) -> i64 {
        let offset_s = self
            .zone
            .map_or(0, |zone| zone.offset_s(at_ms.div_euclid(1_000)));
        let local_ms = at_ms.saturating_add(offset_s * 1_000);
        local_ms.div_euclid(DAY_MS).clamp(-DAYS_MAX, DAYS_MAX)
    }

    /// The first moment of a day.
    fn midnight(&self, day: i64) -> i64 {
        let shown_ms = day * DAY_MS;
        let (Some(zone), Some(date)) = (self.zone, date(day)) else {
            return shown_ms;
        };
        match zone.from_local_datetime(&date.and_time(NaiveTime::MIN)) {
            MappedLocalTime::Single(first) | MappedLocalTime::Ambiguous(first, _) => {
                first.timestamp_millis()
            }
            // Clocks leave midnight out: the day begins when they are set.
            MappedLocalTime::None => {
                let near_s = shown_ms.div_euclid(1_000);
                let (from, to) = (near_s - DAY_MS / 1_000, near_s + DAY_MS / 1_000);
                let change = zone.change_between(from, to);
                change.map_or(shown_ms, |change| change * 1_000)
            }
        }
    }
}

/// The date of a day, counted from 1970.
fn date(day: i64) -> Option<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let days = Days::new(day.unsigned_abs());
    if day < 0 {
        first.checked_sub_days(days)
    } else {
        first.checked_add_days(days)
    }
}

/// The first day of a month, both counted from 1970.
fn first_of(month: i64) -> i64 {
    let beyond = if month < 0 { -DAYS_MAX } else { DAYS_MAX };
    let year = i32::try_from(month.div_euclid(12).saturating_add(1970));
    let first = year.ok().zip(u32::try_from(month.rem_euclid(12) + 1).ok());
    let first = first.and_then(|(year, month)| NaiveDate::from_ymd_opt(year, month, 1));
    let since = NaiveDate::from_ymd_opt(1970, 1, 1);
    first
        .zip(since)
        .map_or(beyond, |(first, since)| (first - since).num_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(unit: CalendarUnit, zone: &str) -> Calendar {
        Calendar {
            span: CalendarSpan {
                unit,
                length: 1,
                hop: 1,
            },
            zone: Some(Zone::interned(zone).unwrap()),
        }
    }

    fn at(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis()
    }

    /// Checks the start of the unit of a moment, and the minutes that it lasts.
    #[track_caller]
    fn check(unit: CalendarUnit, zone: &str, moment: &str, starts: &str, minutes: i64) {
        let calendar = calendar(unit, zone);
        let number = calendar.number(at(moment));
        let (start, end) = (calendar.start(number), calendar.start(number + 1));
        let case = format!("{zone} {moment}");
        assert_eq!(
            (start, (end - start) / 60_000),
            (at(starts), minutes),
            "{case}"
        );
        for inside in [start, end - 1] {
            assert_eq!(calendar.number(inside), number, "{case}");
        }
        assert_eq!(calendar.number(end), number + 1, "{case}");
        assert_eq!(calendar.number(start - 1), number - 1, "{case}");
    }

    #[test]
    fn days_of_the_nights_on_which_clocks_are_set_have_their_own_lengths() {
        let day = CalendarUnit::Day;
        let berlin = "Europe/Berlin";
        check(
            day,
            berlin,
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T00:00:00+01:00",
            23 * 60,
        );
        check(
            day,
            berlin,
            "2026-03-29T23:59:59+02:00",
            "2026-03-29T00:00:00+01:00",
            23 * 60,
        );
        check(
            day,
            berlin,
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T00:00:00+02:00",
            25 * 60,
        );
        check(
            day,
            berlin,
            "2026-07-01T00:00:00+02:00",
            "2026-07-01T00:00:00+02:00",
            24 * 60,
        );
        // A zone that sets no clocks.
        check(
            day,
            "Asia/Kolkata",
            "2026-03-29T02:30:00+05:30",
            "2026-03-29T00:00:00+05:30",
            24 * 60,
        );
        // Clocks that are set by half an hour.
        let lord_howe = "Australia/Lord_Howe";
        check(
            day,
            lord_howe,
            "2026-04-05T01:45:00+11:00",
            "2026-04-05T00:00:00+11:00",
            24 * 60 + 30,
        );
        check(
            day,
            lord_howe,
            "2026-10-04T12:00:00+11:00",
            "2026-10-04T00:00:00+10:30",
            23 * 60 + 30,
        );
        // Midnight is left out, or comes twice, or clocks go back over it.
        let santiago = "America/Santiago";
        check(
            day,
            santiago,
            "2026-09-06T12:00:00-03:00",
            "2026-09-06T01:00:00-03:00",
            23 * 60,
        );
        check(
            day,
            santiago,
            "2026-04-04T23:30:00-04:00",
            "2026-04-04T00:00:00-03:00",
            25 * 60,
        );
        check(
            day,
            "America/Havana",
            "2023-11-05T00:30:00-05:00",
            "2023-11-05T00:00:00-04:00",
            25 * 60,
        );
    }

    #[test]
    fn a_day_that_a_zone_left_out_lasts_no_time() {
        let apia = calendar(CalendarUnit::Day, "Pacific/Apia");
        let before = apia.number(at("2011-12-29T23:59:59-10:00"));
        let after = apia.number(at("2011-12-31T00:00:00+14:00"));
        assert_eq!(after, before + 2);
        assert_eq!(apia.start(before + 1), apia.start(after));
        assert_eq!(apia.start(after), at("2011-12-31T00:00:00+14:00"));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let (week, month) = (CalendarUnit::Week, CalendarUnit::Month);
        let berlin = "Europe/Berlin";
        check(
            week,
            berlin,
            "2026-03-29T12:00:00+02:00",
            "2026-03-23T00:00:00+01:00",
            7 * 24 * 60 - 60,
        );
        check(
            week,
            berlin,
            "2026-10-25T23:00:00+01:00",
            "2026-10-19T00:00:00+02:00",
            7 * 24 * 60 + 60,
        );
        check(
            week,
            "UTC",
            "1969-12-31T12:00:00Z",
            "1969-12-29T00:00:00Z",
            7 * 24 * 60,
        );
        check(
            month,
            berlin,
            "2026-03-01T00:00:00+01:00",
            "2026-03-01T00:00:00+01:00",
            31 * 24 * 60 - 60,
        );
        check(
            month,
            berlin,
            "2028-02-29T23:59:59+01:00",
            "2028-02-01T00:00:00+01:00",
            29 * 24 * 60,
        );
        check(
            month,
            "UTC",
            "1969-12-31T12:00:00Z",
            "1969-12-01T00:00:00Z",
            31 * 24 * 60,
        );
    }

    #[test]
    fn the_ends_of_time_are_units_as_well() {
        for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month] {
            for zone in ["UTC", "Pacific/Kiritimati", "America/Adak"] {
                let calendar = calendar(unit, zone);
                for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                    let number = calendar.number(at);
                    assert!(calendar.start(number - 400) <= calendar.start(number + 400));
                }
                calendar.start(i64::MAX);
                calendar.start(i64::MIN);
            }
        }
    }
}
