//! When a schedule is next due. Cron expressions have their seconds first; `every 5m` follows
//! monotonic time. Which slot ran last is the mill's to remember.

use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};

use crate::text::duration_ms;
use crate::zone::Zone;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Five fields, as in crontab.
    #[error("{0:?} has five fields; seconds come first here: write \"0 {0}\"")]
    FiveFields(String),
    /// Not understood.
    #[error(
        "{0:?} is no schedule: write six fields (second minute hour day month weekday; \
         weekdays as Mon..Sun), @hourly, @daily, @weekly, @monthly, @yearly, or \"every 5m\""
    )]
    Syntax(String),
    /// A date that does not exist, or a year gone by.
    #[error("{0:?} never comes due")]
    Never(String),
    /// `every 0s`.
    #[error("{0:?} is shorter than a second")]
    TooOften(String),
    /// Not in the time zone database.
    #[error("{0:?} is no time zone; write a name such as \"Europe/Berlin\", or \"UTC\"")]
    Zone(String),
}

/// A checked schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    rhythm: Rhythm,
}

#[derive(Debug, Clone)]
enum Rhythm {
    Cron(Box<cron::Schedule>, Zone),
    Every { ms: u64 },
}

impl Schedule {
    /// Reads an expression, whose clock times are meant in `zone` (default UTC).
    ///
    /// # Errors
    /// When the expression or the zone is not understood, or never comes due after 2020.
    pub fn new(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let trimmed = text.trim();
        let rhythm = if let Some(period) = trimmed.strip_prefix("every ") {
            let ms = duration_ms(period).map_err(|_| ScheduleError::Syntax(text.to_owned()))?;
            if ms < 1_000 {
                return Err(ScheduleError::TooOften(text.to_owned()));
            }
            Rhythm::Every { ms }
        } else {
            let zone = zone.unwrap_or("UTC");
            let zone = Zone::named(zone).ok_or_else(|| ScheduleError::Zone(zone.to_owned()))?;
            Rhythm::Cron(Box::new(parse_cron(trimmed)?), zone)
        };
        let schedule = Self {
            text: trimmed.to_owned(),
            rhythm,
        };
        const START_OF_2020_MS: i64 = 1_577_836_800_000;
        match schedule.next_after(START_OF_2020_MS) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(text.to_owned())),
        }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it follows monotonic time, which no step of the wall clock moves.
    pub fn period_ms(&self) -> Option<u64> {
        match self.rhythm {
            Rhythm::Every { ms } => Some(ms),
            Rhythm::Cron(..) => None,
        }
    }

    /// The first slot strictly after a moment, both in milliseconds since 1970.
    pub fn next_after(&self, wall_ms: i64) -> Option<i64> {
        match &self.rhythm {
            Rhythm::Every { ms } => wall_ms.checked_add(i64::try_from(*ms).ok()?),
            Rhythm::Cron(cron, zone) => {
                let after: DateTime<Utc> = Utc.timestamp_millis_opt(wall_ms).single()?;
                // In the hour that autumn repeats the library runs out of order.
                cron.after(&after.with_timezone(zone))
                    .map(|slot| slot.timestamp_millis())
                    .take(8)
                    .find(|slot| *slot > wall_ms)
            }
        }
    }
}

fn parse_cron(text: &str) -> Result<cron::Schedule, ScheduleError> {
    if !text.starts_with('@') && text.split_whitespace().count() == 5 {
        return Err(ScheduleError::FiveFields(text.to_owned()));
    }
    cron::Schedule::from_str(text).map_err(|_| ScheduleError::Syntax(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(rfc3339: &str) -> i64 {
        DateTime::parse_from_rfc3339(rfc3339)
            .unwrap()
            .timestamp_millis()
    }

    #[track_caller]
    fn check(text: &str, zone: Option<&str>, after: &str, expected: &str) {
        let schedule = Schedule::new(text, zone).unwrap();
        assert_eq!(schedule.next_after(ms(after)), Some(ms(expected)), "{text}");
    }

    #[test]
    fn slots_lie_strictly_after_the_moment() {
        check(
            "0 */5 * * * *",
            None,
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:05:00Z",
        );
        check(
            "0 0 7 * * Mon",
            None,
            "2026-11-23T06:59:59Z",
            "2026-11-23T07:00:00Z",
        );
        check(
            "@hourly",
            None,
            "2026-01-01T00:30:00Z",
            "2026-01-01T01:00:00Z",
        );
        check(
            "every 90s",
            None,
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:01:30Z",
        );
    }

    #[test]
    fn clock_times_are_meant_in_the_zone() {
        let zone = Some("Europe/Berlin");
        check(
            "0 0 7 * * *",
            zone,
            "2026-07-01T00:00:00Z",
            "2026-07-01T05:00:00Z",
        );
        check(
            "0 0 7 * * *",
            zone,
            "2026-12-01T00:00:00Z",
            "2026-12-01T06:00:00Z",
        );
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_way_out() {
        let error = |text, zone| Schedule::new(text, zone).unwrap_err().to_string();
        assert!(error("*/5 * * * *", None).contains("write \"0 */5 * * * *\""));
        assert!(error("soon", None).contains("six fields"));
        assert!(error("0 0 0 30 2 *", None).contains("never comes due"));
        assert!(error("every 10ms", None).contains("shorter than a second"));
        assert!(error("@daily", Some("Berlin")).contains("no time zone"));
    }
}
