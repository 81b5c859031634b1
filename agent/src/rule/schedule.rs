//! When a schedule is next due. Cron expressions have their seconds first; `every 5m` follows
//! monotonic time. Which slot ran last is the mill's to remember.

mod cron;

use cron::Cron;

use crate::event::zone::Zone;
use tidemill_base::text::duration_ms;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Five fields, as in crontab.
    #[error("{0:?} has five fields; seconds come first here: write \"0 {0}\"")]
    FiveFields(String),
    /// Not understood.
    #[error(
        "{text:?} is no schedule: {why}; write six fields (second minute hour day month weekday) or \
         seven (and a year), @hourly, @daily, @weekly, @monthly, @yearly, or \"every 5m\""
    )]
    Syntax {
        /// The text as written.
        text: String,
        /// The fault.
        why: String,
    },
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
    Cron(Box<Cron>, Zone),
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
            let ms = duration_ms(period).map_err(|why| ScheduleError::Syntax {
                text: text.to_owned(),
                why,
            })?;
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

    /// The period if the schedule follows monotonic time, which no step of the wall clock moves.
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
                let slot = next_in_zone(cron, zone, wall_ms.div_euclid(1_000))?;
                slot.checked_mul(1_000)
            }
        }
    }
}

/// The first slot after a moment in seconds. A clock time that spring leaves out comes due at the first
/// instant after the gap; one that autumn repeats comes due the first time only. Expressions that
/// follow elapsed time do neither: each instant whose clock time fits is a slot.
fn next_in_zone(cron: &Cron, zone: &Zone, after_s: i64) -> Option<i64> {
    let (mut at, mut from) = (after_s, after_s + 1);
    loop {
        let offset = zone.offset_s(at);
        let mut local = from + offset;
        if !cron.is_steady
            && let Some(change) = zone.change_between(at - REPEATED_MAX_S, at)
        {
            // Local times shown before the clocks were changed are not repeated.
            local = local.max(change + zone.offset_s(change - 1));
        }
        let slot = cron.next(local)? - offset;
        let Some(change) = zone.change_between(at, slot) else {
            return Some(slot);
        };
        let gap = change + offset..change + zone.offset_s(change);
        if !cron.is_steady
            && cron
                .next(gap.start)
                .is_some_and(|left_out| gap.contains(&left_out))
        {
            return Some(change);
        }
        (at, from) = (change, change);
    }
}

/// No clock is ever set back by more.
const REPEATED_MAX_S: i64 = 6 * 3_600;

fn parse_cron(text: &str) -> Result<Cron, ScheduleError> {
    if !text.starts_with('@') && text.split_whitespace().count() == 5 {
        return Err(ScheduleError::FiveFields(text.to_owned()));
    }
    Cron::parse(text).map_err(|why| ScheduleError::Syntax {
        text: text.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

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

    #[track_caller]
    fn slots(text: &str, zone: &str, after: &str, expected: &[&str]) {
        let schedule = Schedule::new(text, Some(zone)).unwrap();
        let mut at = ms(after);
        for expected in expected {
            at = schedule.next_after(at).unwrap();
            assert_eq!(at, ms(expected), "{text} after {after}");
        }
    }

    #[test]
    fn a_clock_time_that_spring_leaves_out_comes_due_after_the_gap() {
        let berlin = "Europe/Berlin";
        let night = "2026-03-29T00:59:00+01:00";
        slots(
            "0 30 2 * * *",
            berlin,
            night,
            &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        );
        // Several that are left out come due once, together with one that is not.
        slots(
            "0 0,15,45 2,3 * * *",
            berlin,
            night,
            &["2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"],
        );
        slots(
            "0 */30 * * * *",
            berlin,
            "2026-03-29T01:20:00+01:00",
            &[
                "2026-03-29T01:30:00+01:00",
                "2026-03-29T03:00:00+02:00",
                "2026-03-29T03:30:00+02:00",
            ],
        );
        slots(
            "0 15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-04T01:00:00+10:30",
            &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
        );
    }

    #[test]
    fn a_clock_time_that_autumn_repeats_comes_due_once() {
        let berlin = "Europe/Berlin";
        let next = "2026-10-26T02:30:00+01:00";
        let first = "2026-10-25T02:30:00+02:00";
        slots(
            "0 30 2 * * *",
            berlin,
            "2026-10-25T02:00:00+02:00",
            &[first, next],
        );
        // Asked in the repeated hour: it was due already.
        slots("0 30 2 * * *", berlin, "2026-10-25T02:10:00+01:00", &[next]);
        slots("0 30 2 * * *", berlin, "2026-10-25T02:45:00+02:00", &[next]);
        slots("0 0 3 * * *", berlin, first, &["2026-10-25T03:00:00+01:00"]);
        slots(
            "0 30 * * * *",
            berlin,
            "2026-10-25T01:45:00+02:00",
            &[
                first,
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
            ],
        );
    }

    #[test]
    fn what_is_rare_is_found_and_what_never_comes_is_not() {
        slots(
            "0 0 0 29 2 Mon",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z"],
        );
        let schedule = Schedule::new("0 0 12 1 1 ? 2030", None).unwrap();
        assert_eq!(schedule.next_after(ms("2030-01-01T12:00:00Z")), None);
        assert!(matches!(
            Schedule::new("0 0 0 31 4 *", None),
            Err(ScheduleError::Never(_))
        ));
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
