//! Cron expressions: second minute hour day month weekday [year]. The `cron` crate reads them and
//! finds the next moment of a calendar without zones; what nights of daylight saving make of it is
//! left to [`super::Schedule`], because the crate runs out of order in the hour that autumn repeats
//! and leaves out what falls into the gap of spring.

use std::str::FromStr;

use chrono::DateTime;

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
#[derive(Debug, Clone)]
pub(super) struct Cron {
    schedule: cron::Schedule,
    /// The hour or minute is `*` or a step: the schedule follows elapsed time, not the clock.
    pub(super) is_steady: bool,
}

impl Cron {
    /// Reads six or seven fields, or a nickname.
    ///
    /// # Errors
    /// The fault, as half a sentence.
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
        let mut fields: Vec<&str> = spelled.split_whitespace().collect();
        if !(6..=7).contains(&fields.len()) {
            return Err(format!("it has {} fields", fields.len()));
        }
        for field in &fields {
            check_steps(field)?;
        }
        check_ranges(&fields)?;
        check_quartz(fields.get(3).copied(), fields.get(5).copied())?;
        let is_steady = fields
            .get(1..=2)
            .is_some_and(|clock| clock.iter().any(|field| field.contains(['*', '/'])));
        let weekdays = match fields.get(5) {
            Some(field) => weekdays(field)?,
            None => String::new(),
        };
        if let Some(field) = fields.get_mut(5) {
            *field = &weekdays;
        }
        let schedule = cron::Schedule::from_str(&fields.join(" "))
            .map_err(|error| reason(&error.to_string()))?;
        Ok(Self {
            schedule,
            is_steady,
        })
    }

    /// The first moment at or after this one, in seconds of a calendar without zones.
    pub(super) fn next(&self, from_s: i64) -> Option<i64> {
        let before = DateTime::from_timestamp(from_s.checked_sub(1)?, 0)?;
        let slot = self.schedule.after(&before).next()?;
        Some(slot.timestamp())
    }
}

/// The reason in the crate's error text: it draws the expression and a caret, and gives a reason
/// for some mistakes only.
fn reason(text: &str) -> String {
    let line = text.lines().last().unwrap_or(text);
    let said = line.trim().trim_start_matches(['^', ' ']);
    match (said.trim_end_matches('.'), line.find('^')) {
        ("", Some(at)) => {
            let rest = text.lines().next().and_then(|drawn| drawn.get(at..));
            format!("{:?} is not understood", rest.unwrap_or_default())
        }
        (said, _) => said.to_owned(),
    }
}

/// Letters that Quartz defines for days, with the equivalent here.
fn check_quartz(day: Option<&str>, weekday: Option<&str>) -> Result<(), String> {
    let (day, weekday) = (day.unwrap_or_default(), weekday.unwrap_or_default());
    let upper = day.to_ascii_uppercase();
    if upper.contains('W') {
        return Err(format!(
            "{day:?}, a working day near another, is not understood; for the 15th write three schedules: \
             \"0 0 9 15 * Mon-Fri\", \"0 0 9 14 * Fri\" and \"0 0 9 16 * Mon\""
        ));
    }
    if upper.contains('L') {
        return Err(format!(
            "{day:?}, the last day of a month, is not understood; for its end write \"0 0 0 1 * *\", the \
             first moment of the next, else \"0 0 9 31 1,3,5,7,8,10,12 *\", \"0 0 9 30 4,6,9,11 *\" and \
             \"0 0 9 28 2 *\""
        ));
    }
    if let Some((name, place)) = weekday.split_once('#') {
        let days = match place {
            "1" => "1-7",
            "2" => "8-14",
            "3" => "15-21",
            "4" => "22-28",
            _ => "29-31",
        };
        return Err(format!(
            "{weekday:?} is not understood; write the days among which it is: \"0 0 9 {days} * {name}\""
        ));
    }
    let is_last = |name: &str| !name.is_empty() && weekdays(name).is_ok();
    match weekday
        .strip_suffix(['L', 'l'])
        .filter(|name| is_last(name))
    {
        None => Ok(()),
        Some(name) => Err(format!(
            "{weekday:?}, the last one of a month, is not understood; write \
             \"0 0 9 25-31 1,3,5,7,8,10,12 {name}\", \"0 0 9 24-30 4,6,9,11 {name}\" and \
             \"0 0 9 22-28 2 {name}\""
        )),
    }
}

/// Fields with the numbers that they may have, and a word about those beyond.
const RANGES: [(&str, i64, i64, &str); 5] = [
    ("second", 0, 59, ""),
    ("minute", 0, 59, ""),
    ("hour", 0, 23, "; midnight is 0"),
    ("day", 1, 31, ""),
    ("month", 1, 12, ""),
];

/// Refuses a number that no clock and no calendar has.
fn check_ranges(fields: &[&str]) -> Result<(), String> {
    for ((name, low, high, word), field) in RANGES.iter().zip(fields) {
        for part in field.split(',') {
            let range = part.split('/').next().unwrap_or_default();
            let numbers = range.split('-').filter_map(|text| text.parse::<i64>().ok());
            if let Some(wrong) = numbers
                .into_iter()
                .find(|number| number < low || number > high)
            {
                return Err(format!(
                    "{name} {wrong}: they go from {low} to {high}{word}"
                ));
            }
        }
    }
    Ok(())
}

/// The crate takes a step of nothing.
fn check_steps(field: &str) -> Result<(), String> {
    for part in field.split(',') {
        if let Some((range, step)) = part.split_once('/')
            && (range.is_empty() || step.parse().is_ok_and(|step: u32| step == 0))
        {
            return Err(format!("{part:?} has no beginning or no step"));
        }
    }
    Ok(())
}

/// The field of weekdays by name: in crontab Sunday is 0 and 7, for the crate it is 1.
fn weekdays(field: &str) -> Result<String, String> {
    if let "*" | "?" = field {
        return Ok("*".to_owned());
    }
    let mut names = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => {
                let step = step.parse::<usize>();
                (
                    range,
                    Some(step.map_err(|_| format!("weekday has no step in {part:?}"))?),
                )
            }
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (0, 6),
            (_, Some((from, to))) => (weekday(from)?, weekday(to)?),
            (_, None) if step.is_some() => (weekday(range)?, 6),
            (_, None) => (weekday(range)?, weekday(range)?),
        };
        if from > to {
            return Err(format!("weekday {part:?} ends before it begins"));
        }
        let days = (from..=to).step_by(step.unwrap_or(1));
        names.extend(days.filter_map(|day| WEEKDAYS.get(day % 7)?.get(..3)));
    }
    Ok(names.join(","))
}

fn weekday(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let is = |name: &&str| **name == lower || (lower.len() == 3 && name.starts_with(&lower));
    let digit = || {
        lower
            .parse()
            .ok()
            .filter(|day| *day <= 7 && lower.len() == 1)
    };
    let found = WEEKDAYS.iter().position(is).or_else(digit);
    found.ok_or_else(|| format!("{text:?} is no weekday: they go from 0 to 7, or Sun to Sat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (text, reason) in [
            ("0 60 * * * *", "60"),
            ("0 0 0 0 * *", "day 0: they go from 1 to 31"),
            (
                "0 0 24 * * *",
                "hour 24: they go from 0 to 23; midnight is 0",
            ),
            ("0 0 7-25 * * *", "hour 25: they go from 0 to 23"),
            ("0 0 0 1 13 *", "month 13: they go from 1 to 12"),
            ("0 0 0 * foo *", "foo"),
            (
                "0 0 0 * * Fri-Mon",
                "weekday \"Fri-Mon\" ends before it begins",
            ),
            ("0 0 0 * * 8", "\"8\" is no weekday"),
            ("0 /10 * * * *", "\"/10\" has no beginning"),
            ("0 */0 * * * *", "\"*/0\" has no beginning or no step"),
            ("0 +5 * * * *", "+5"),
            ("0 0 0 * * * * *", "it has 8 fields"),
            ("@often", "the nicknames are"),
            ("0 0 0 L * *", "for its end write \"0 0 0 1 * *\""),
            ("0 0 0 15W * *", "write three schedules"),
            ("0 0 0 * * FriL", "\"0 0 9 22-28 2 Fri\""),
            ("0 0 0 * * 5L", "\"0 0 9 24-30 4,6,9,11 5\""),
            ("0 0 0 * * Mon#2", "\"0 0 9 8-14 * Mon\""),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_to_be_written_instead_is_a_schedule() {
        let mut tried = 0;
        for text in [
            "0 0 0 L * *",
            "0 0 0 15W * *",
            "0 0 0 * * FriL",
            "0 0 0 * * Mon#2",
        ] {
            let error = Cron::parse(text).unwrap_err();
            let quoted = error.split('"').filter(|part| part.starts_with("0 0 "));
            let instead: Vec<Cron> = quoted.map(|text| Cron::parse(text).unwrap()).collect();
            tried += instead.len();
        }
        assert_eq!(tried, 4 + 3 + 3 + 1);
    }

    #[test]
    fn names_may_be_long_or_short_and_sunday_is_zero_or_seven() {
        let same = |one, other| {
            let [a, b] = [one, other].map(|text| Cron::parse(text).unwrap().schedule);
            assert!(a.timeunitspec_eq(&b), "{one}");
        };
        same("0 0 0 * jan sun", "0 0 0 * January 7");
        same("0 0 0 ? * 0-7", "0 0 0 * * *");
        same("0 0 0 * * Mon-Fri 2030", "0 0 0 ? * 1-5 2030-2030");
        same("@weekly", "0 0 0 * * Sun");
    }
}
