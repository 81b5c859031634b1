//! Cron expressions: second minute hour day month weekday [year]. Reads them, and finds the next
//! moment of a calendar without zones that one stands for; what nights of daylight saving make of it
//! is left to [`super::Schedule`].

use chrono::{Datelike, Days, NaiveDate};

/// What a field allows: a bit for each value, the lowest first.
type Bits = u64;

/// First and last year of a year field.
const YEARS: (u32, u32) = (1970, 2199);
/// How many years ahead a slot is looked for: the 29th of February is on a Monday each 28 years, or 40.
const AHEAD_YEARS: i32 = 41;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: Bits,
    minutes: Bits,
    hours: Bits,
    days: Bits,
    months: Bits,
    /// Sunday is 0.
    weekdays: Bits,
    /// `None` for all.
    years: Option<Vec<i32>>,
    /// Its hour or minute is `*` or a step: it follows elapsed time, not the clock.
    pub(super) is_steady: bool,
}

/// A kind of field.
struct Kind {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const SECOND: Kind = kind("second", 0, 59, &[]);
const MINUTE: Kind = kind("minute", 0, 59, &[]);
const HOUR: Kind = kind("hour", 0, 23, &[]);
const DAY: Kind = kind("day", 1, 31, &[]);
const MONTH: Kind = kind("month", 1, 12, &MONTHS);
/// Sunday is 0 and 7, as in crontab.
const WEEKDAY: Kind = kind("weekday", 0, 7, &WEEKDAYS);
const YEAR: Kind = kind("year", YEARS.0, YEARS.1, &[]);

const fn kind(name: &'static str, min: u32, max: u32, names: &'static [&'static str]) -> Kind {
    Kind {
        name,
        min,
        max,
        names,
    }
}

impl Cron {
    /// Reads six or seven fields, or a nickname.
    ///
    /// # Errors
    /// What is wrong, as half a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let spelled = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            other if other.starts_with('@') => {
                return Err(
                    "the nicknames are @yearly, @monthly, @weekly, @daily and @hourly".into(),
                );
            }
            other => other,
        };
        let fields: Vec<&str> = spelled.split_whitespace().collect();
        let (second, minute, hour, day, month, weekday, year) = match fields[..] {
            [s, m, h, d, mo, w] => (s, m, h, d, mo, w, None),
            [s, m, h, d, mo, w, y] => (s, m, h, d, mo, w, Some(y)),
            _ => return Err(format!("it has {} fields", fields.len())),
        };
        let bits = |kind: &Kind, text: &str| -> Result<Bits, String> {
            let values = kind.values(text)?;
            Ok(values.into_iter().fold(0, |bits, value| bits | 1 << value))
        };
        let weekdays = bits(&WEEKDAY, weekday)?;
        let years = match year {
            None | Some("*") => None,
            Some(year) => Some(YEAR.values(year)?),
        };
        Ok(Self {
            seconds: bits(&SECOND, second)?,
            minutes: bits(&MINUTE, minute)?,
            hours: bits(&HOUR, hour)?,
            days: bits(&DAY, day)?,
            months: bits(&MONTH, month)?,
            weekdays: weekdays & 0x7f | weekdays >> 7,
            years: years.map(|years| years.into_iter().map(u32::cast_signed).collect()),
            is_steady: [minute, hour]
                .iter()
                .any(|field| field.contains(['*', '/'])),
        })
    }

    /// The first moment at or after this one, in seconds of a calendar without zones.
    pub(super) fn next(&self, from_s: i64) -> Option<i64> {
        let from = chrono::DateTime::from_timestamp(from_s, 0)?.naive_utc();
        let (mut date, mut time) = (from.date(), Some(from.time()));
        let last_year = date.year().saturating_add(AHEAD_YEARS);
        while date.year() <= last_year {
            if !self.has_year(date.year()) {
                date = first_of(date.year() + 1, 1)?;
            } else if self.months & 1 << date.month() == 0 {
                date = match date.month() {
                    12 => first_of(date.year() + 1, 1)?,
                    month => first_of(date.year(), month + 1)?,
                };
            } else {
                let weekday = date.weekday().num_days_from_sunday();
                let fits = self.days & 1 << date.day() != 0 && self.weekdays & 1 << weekday != 0;
                let seconds =
                    time.map_or(0, |time| chrono::Timelike::num_seconds_from_midnight(&time));
                if let Some(found) = fits.then(|| self.next_of_day(seconds)).flatten() {
                    return Some(
                        date.and_hms_opt(0, 0, 0)?.and_utc().timestamp() + i64::from(found),
                    );
                }
                date = date.checked_add_days(Days::new(1))?;
            }
            time = None;
        }
        None
    }

    fn has_year(&self, year: i32) -> bool {
        self.years
            .as_ref()
            .is_none_or(|years| years.contains(&year))
    }

    /// The first second of a day at or after this one.
    fn next_of_day(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        let start = |hour: u32| {
            Some(hour * 3_600 + lowest(self.minutes, 0)? * 60 + lowest(self.seconds, 0)?)
        };
        let here = lowest(self.hours, hour)?;
        if here > hour {
            return start(here);
        }
        let next = lowest(self.minutes, minute)
            .filter(|found| *found == minute)
            .and_then(|_| lowest(self.seconds, second))
            .map(|second| hour * 3_600 + minute * 60 + second);
        let later = || {
            let minute = lowest(self.minutes, minute + 1)?;
            Some(hour * 3_600 + minute * 60 + lowest(self.seconds, 0)?)
        };
        next.or_else(later)
            .or_else(|| start(lowest(self.hours, hour + 1)?))
    }
}

/// The lowest value at or above `from` that is allowed.
fn lowest(bits: Bits, from: u32) -> Option<u32> {
    let left = bits.checked_shr(from)?;
    (left != 0).then(|| from + left.trailing_zeros())
}

fn first_of(year: i32, month: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, 1)
}

impl Kind {
    /// The values that a field stands for: a list of `*`, `a`, `a-b`, each perhaps with `/step`.
    fn values(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut all = Vec::new();
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                None => (part, None),
                Some((range, step)) => (range, Some(self.step(step)?)),
            };
            let (from, to) = match range {
                "*" => (self.min, self.max),
                "?" if ["day", "weekday"].contains(&self.name) => (self.min, self.max),
                _ => match range.split_once('-') {
                    Some((from, to)) => (self.value(from)?, self.value(to)?),
                    None => {
                        let from = self.value(range)?;
                        (from, if step.is_some() { self.max } else { from })
                    }
                },
            };
            if from > to {
                return Err(format!("{} {part:?} ends before it begins", self.name));
            }
            let step = step.unwrap_or(1);
            all.extend((from..=to).step_by(step));
        }
        Ok(all)
    }

    fn step(&self, text: &str) -> Result<usize, String> {
        match text.parse() {
            Ok(step @ 1..=3_000) => Ok(step),
            _ => Err(format!("{} has no step {text:?}", self.name)),
        }
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let wrong = || {
            let (name, min, max) = (self.name, self.min, self.max);
            format!("{text:?} is no {name}: they go from {min} to {max}")
        };
        if let Some(at) = self.named(text) {
            return Ok(at);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value: u32 = text.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        match (self.min..=self.max).contains(&value) {
            true => Ok(value),
            false => Err(wrong()),
        }
    }

    /// Names count from the field's first value; three letters are enough.
    fn named(&self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        let is = |name: &&str| **name == lower || (lower.len() == 3 && name.starts_with(&lower));
        let at = self.names.iter().position(is)?;
        u32::try_from(at).ok().map(|at| at + self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("0 60 * * * *", "\"60\" is no minute: they go from 0 to 59"),
            ("0 0 0 0 * *", "\"0\" is no day"),
            ("0 0 0 * foo *", "\"foo\" is no month"),
            (
                "0 0 0 * * Fri-Mon",
                "weekday \"Fri-Mon\" ends before it begins",
            ),
            ("0 /10 * * * *", "\"\" is no minute"),
            ("0 */0 * * * *", "minute has no step \"0\""),
            ("? * * * * *", "\"?\" is no second"),
            ("0 +5 * * * *", "\"+5\" is no minute"),
            ("0 0 0 * * * * *", "it has 8 fields"),
            ("@often", "the nicknames are"),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn names_may_be_long_or_short_and_sunday_is_zero_or_seven() {
        let same = |one, other| assert_eq!(Cron::parse(one), Cron::parse(other), "{one}");
        same("0 0 0 * jan sun", "0 0 0 * January 7");
        same("0 0 0 ? * 0-7", "0 0 0 * * *");
        same("0 0 0 * * Mon-Fri 2030", "0 0 0 ? * 1-5 2030-2030");
        same("@weekly", "0 0 0 * * Sun");
    }
}
