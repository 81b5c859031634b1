//! Moments and dates. A datetime has no zone and reads in UTC; a text keeps the offset it was written
//! with, so that `hour('2024-05-01T08:00:00+02:00')` is 8. Fractions of a millisecond are dropped.

mod duration;
mod parse;
mod pattern;
mod zone;

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Months, NaiveDateTime, Timelike, Utc};

use super::arguments::{text, whole};
use super::table::scalar;
use crate::cast::int_of;
use crate::{Context, FnError, Function, Price, Purity, Value};

pub(crate) use zone::Zone;

type Answer = Result<Value, FnError>;

/// Fuel of a letter of a pattern.
const LETTER_FUEL: u64 = 60;

const MS_IN_DAY: i64 = 86_400_000;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(201, "now", "[digits]", "the time of the event, `2024-05-01 08:30:00`, with up to 6 digits of the second's fraction", now).price(Price::flat(900))
        .purity(Purity::Event),
    scalar(202, "current_timestamp", "[digits]", "the same as `now`", now).price(Price::flat(900)).purity(Purity::Event),
    scalar(203, "local_time", "[digits]", "the same as `now`", now).price(Price::flat(900)).purity(Purity::Event),
    scalar(204, "local_timestamp", "[digits]", "the same as `now`", now).price(Price::flat(900)).purity(Purity::Event),
    scalar(205, "cur_date", "", "the day of the event, `2024-05-01`", today).price(Price::flat(900)).purity(Purity::Event),
    scalar(206, "current_date", "", "the same as `cur_date`", today).price(Price::flat(900)).purity(Purity::Event),
    scalar(207, "cur_time", "[digits]", "the time of day of the event, `08:30:00`", time_of_day).price(Price::flat(900))
        .purity(Purity::Event),
    scalar(208, "current_time", "[digits]", "the same as `cur_time`", time_of_day).price(Price::flat(900))
        .purity(Purity::Event),
    scalar(209, "format_time", "date, pattern", "the date as the pattern says: `YYYY-MM-dd HH:mm:ssSSS`", |context, args| {
        let moment = clock(args, 0)?;
        context.budget.spend(text(args, 1).len() as u64 * LETTER_FUEL)?;
        pattern::write(&moment, &text(args, 1)).map(Value::text)
    }).price(Price::flat(900)),
    scalar(210, "date_calc", "date, duration", "the date so much later, `1h30m`, or earlier, `-10s`", date_calc).price(Price::flat(900)),
    scalar(211, "date_diff", "from, to", "how many whole days `to` is after `from`", |_, args| {
        let span = clock(args, 1)?.ms.saturating_sub(clock(args, 0)?.ms);
        Ok(Value::Int(span / MS_IN_DAY))
    }).price(Price::flat(900)),
    scalar(212, "day_name", "date", "the day of the week, `Monday`", |_, args| {
        Ok(Value::text(clock(args, 0)?.wall.format("%A").to_string()))
    }).price(Price::flat(900)),
    scalar(213, "day_of_month", "date", "the day of the month, 1 to 31", day).price(Price::flat(900)),
    scalar(214, "day", "date", "the same as `day_of_month`", day).price(Price::flat(900)),
    scalar(215, "day_of_week", "date", "the day of the week, from 1 for Sunday to 7 for Saturday", |_, args| {
        part(args, |wall| wall.weekday().number_from_sunday())
    }).price(Price::flat(900)),
    scalar(216, "day_of_year", "date", "the day of the year, 1 to 366", |_, args| part(args, Datelike::ordinal)).price(Price::flat(900)),
    scalar(217, "from_days", "days", "the day `days` - 1 days after 1970-01-01; `NULL` for 0", from_days).price(Price::flat(900)),
    scalar(218, "from_unix_time", "seconds", "the moment so many seconds after 1970, `2024-05-01 08:30:00`", |_, args| {
        let moment = Moment::at(whole(args, 0)?.saturating_mul(1_000), 0);
        let moment = moment.ok_or_else(|| FnError::argument(args, 0, "seconds since 1970"))?;
        Ok(Value::text(moment.wall.format("%Y-%m-%d %H:%M:%S").to_string()))
    }).price(Price::flat(900)),
    scalar(219, "hour", "date", "the hour, 0 to 23", |_, args| part(args, Timelike::hour)).price(Price::flat(900)),
    scalar(220, "last_day", "date", "the last day of the date's month, `2024-02-29`", last_day).price(Price::flat(900)),
    scalar(221, "microsecond", "date", "the microseconds of the second", |_, args| {
        part(args, |wall| wall.nanosecond() / 1_000)
    }).price(Price::flat(900)),
    scalar(222, "minute", "date", "the minute, 0 to 59", |_, args| part(args, Timelike::minute)).price(Price::flat(900)),
    scalar(223, "month", "date", "the month, 1 to 12", |_, args| part(args, Datelike::month)).price(Price::flat(900)),
    scalar(224, "month_name", "date", "the month, `January`", |_, args| {
        Ok(Value::text(clock(args, 0)?.wall.format("%B").to_string()))
    }).price(Price::flat(900)),
    scalar(225, "second", "date", "the second, 0 to 59", |_, args| part(args, Timelike::second)).price(Price::flat(900)),
    scalar(226, "year", "date", "the year", |_, args| {
        Ok(Value::Int(clock(args, 0)?.wall.year().into()))
    }).price(Price::flat(900)),
    scalar(227, "to_seconds", "date", "the seconds since 1970", |_, args| {
        Ok(Value::Int(clock(args, 0)?.ms.div_euclid(1_000)))
    }).price(Price::flat(900)),
    scalar(228, "convert_tz", "date, zone", "the date as text with the offset of a zone such as `Europe/Berlin`", |context, args| {
        let moment = clock(args, 0)?;
        let zone = context.cache.zone(&text(args, 1), context.budget)?;
        let local = Moment::at(moment.ms, zone.offset_s(moment.ms.div_euclid(1_000)));
        let local = local.ok_or_else(|| not_a_date(args, 0))?;
        pattern::write(&local, pattern::RFC_3339).map(Value::text)
    }).price(Price::flat(900)),
    scalar(229, "tstamp", "", "the time of the event in milliseconds since 1970", |context, _| {
        Ok(Value::Int(context.now_ms))
    }).price(Price::flat(30))
    .purity(Purity::Event),
];

/// The moments that there are, in milliseconds since 1970: those of the years 1 to 9999.
pub const TIMES_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// A moment, and the local time where it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    ms: i64,
    offset_s: i32,
    wall: NaiveDateTime,
}

impl Moment {
    /// `None` before the year 1 and beyond 9999, in UTC: a calendar writes years with four digits.
    fn at(ms: i64, offset_s: i32) -> Option<Self> {
        if !TIMES_MS.contains(&ms) {
            return None;
        }
        let wall = ms.checked_add(i64::from(offset_s) * 1_000)?;
        Some(Self {
            ms,
            offset_s,
            wall: DateTime::from_timestamp_millis(wall)?.naive_utc(),
        })
    }

    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Datetime(ms) | Value::Int(ms) => Self::at(*ms, 0),
            Value::Float(ms) => Self::at(int_of(*ms)?, 0),
            Value::Text(text) => parse::parse(text),
            _ => None,
        }
    }
}

/// The moment of a value, in milliseconds since 1970: of a datetime, a number, or a text with a
/// date.
pub(crate) fn moment(value: &Value) -> Option<i64> {
    Moment::of(value).map(|moment| moment.ms)
}

/// A moment as RFC 3339 text in UTC.
pub(crate) fn rfc3339(ms: i64) -> String {
    Moment::at(ms, 0)
        .and_then(|moment| pattern::write(&moment, r"YYYY-MM-ddTHH:mm:ssSSS\Z").ok())
        // Before the year 1, or beyond 9999.
        .unwrap_or_else(|| ms.to_string())
}

fn clock(args: &[Value], place: usize) -> Result<Moment, FnError> {
    args.get(place)
        .and_then(Moment::of)
        .ok_or_else(|| not_a_date(args, place))
}

fn not_a_date(args: &[Value], place: usize) -> FnError {
    FnError::argument(args, place, "a date")
}

fn part(args: &[Value], of: fn(&NaiveDateTime) -> u32) -> Answer {
    Ok(Value::Int(of(&clock(args, 0)?.wall).into()))
}

fn event(context: &Context<'_>) -> Result<DateTime<Utc>, FnError> {
    DateTime::from_timestamp_millis(context.now_ms)
        .ok_or_else(|| FnError::Failed("the event's time is beyond the calendar".to_owned()))
}

fn with_fraction(context: &Context<'_>, args: &[Value], format: &str) -> Answer {
    let digits = match args.len() {
        0 => 0,
        _ => whole(args, 0)?.clamp(0, 6) as usize,
    };
    let moment = event(context)?;
    let mut text = moment.format(format).to_string();
    if digits > 0 {
        let fraction = format!("{:06}", moment.timestamp_subsec_micros());
        text.push('.');
        text.push_str(fraction.get(..digits).unwrap_or_default());
    }
    Ok(Value::text(text))
}

fn now(context: &mut Context<'_>, args: &[Value]) -> Answer {
    with_fraction(context, args, "%Y-%m-%d %H:%M:%S")
}

fn time_of_day(context: &mut Context<'_>, args: &[Value]) -> Answer {
    with_fraction(context, args, "%H:%M:%S")
}

fn today(context: &mut Context<'_>, _: &[Value]) -> Answer {
    Ok(Value::text(event(context)?.format("%Y-%m-%d").to_string()))
}

fn day(_: &mut Context<'_>, args: &[Value]) -> Answer {
    part(args, Datelike::day)
}

fn date_calc(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let moment = clock(args, 0)?;
    let later = duration::parse_ms(&text(args, 1))
        .ok_or_else(|| FnError::argument(args, 1, "a duration such as 1h30m or -10s"))?;
    let sum = moment
        .ms
        .checked_add(later)
        .and_then(|ms| Moment::at(ms, moment.offset_s))
        .ok_or(FnError::Failed(
            "the date is beyond the calendar".to_owned(),
        ))?;
    Ok(Value::text(
        sum.wall.format("%Y-%m-%d %H:%M:%S").to_string(),
    ))
}

fn from_days(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let days = whole(args, 0)?;
    if days == 0 {
        return Ok(Value::Null);
    }
    let ms = days.saturating_sub(1).checked_mul(MS_IN_DAY);
    let date = ms.and_then(|ms| Moment::at(ms, 0));
    date.map(|date| Value::text(date.wall.format("%Y-%m-%d").to_string()))
        .ok_or_else(|| FnError::argument(args, 0, "a number of days"))
}

fn last_day(_: &mut Context<'_>, args: &[Value]) -> Answer {
    clock(args, 0)?
        .wall
        .date()
        .with_day(1)
        .and_then(|first| first.checked_add_months(Months::new(1)))
        .and_then(|next| next.pred_opt())
        .map(|last| Value::text(last.format("%Y-%m-%d").to_string()))
        .ok_or_else(|| not_a_date(args, 0))
}

#[cfg(test)]
mod tests;
