//! Dates as text, in the ways that they are written: `2024-05-01`, `2024/5/1 8:30`, `5/1/2024`,
//! `20240501`, `2024-05-01T08:30:00.5+02:00`, and those of mail headers.

use chrono::{DateTime, NaiveDate, NaiveTime};

use super::Moment;

/// No date is longer; what is need not be looked at.
const LENGTH_MAX: usize = 100;

/// The moment of a text; without an offset it is in UTC. `None` if it is no date.
pub(super) fn parse(text: &str) -> Option<Moment> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let text = text.trim();
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(place) => (text.get(..place)?, text.get(place + 1..)?.trim_start()),
        None => (text, ""),
    };
    match read_date(date) {
        Some(date) => {
            let (time, offset) = read_time(rest)?;
            at(date, time, offset)
        }
        None => {
            let moment = DateTime::parse_from_rfc2822(text).ok()?;
            Moment::at(moment.timestamp_millis(), moment.offset().local_minus_utc())
        }
    }
}

fn at(date: NaiveDate, time: NaiveTime, offset_s: i32) -> Option<Moment> {
    let wall_ms = date.and_time(time).and_utc().timestamp_millis();
    Moment::at(wall_ms - i64::from(offset_s) * 1_000, offset_s)
}

fn read_date(text: &str) -> Option<NaiveDate> {
    if text.len() == 8 && all_digits(text) {
        return date(text.get(..4)?, text.get(4..6)?, text.get(6..)?);
    }
    let separator = text.chars().find(|letter| !letter.is_ascii_digit());
    let Some(separator) = separator else {
        return date(text, "1", "1");
    };
    let parts: Vec<&str> = text.split(separator).collect();
    match (separator, parts.as_slice()) {
        ('-', [year, month]) => date(year, month, "1"),
        ('-' | '/' | '.', [year, month, day]) if year.len() == 4 => date(year, month, day),
        ('/', [month, day, year]) => date(year, month, day),
        _ => None,
    }
}

fn date(year: &str, month: &str, day: &str) -> Option<NaiveDate> {
    let sound = year.len() == 4 && month.len() <= 2 && day.len() <= 2;
    if !sound {
        return None;
    }
    NaiveDate::from_ymd_opt(number(year)?.try_into().ok()?, number(month)?, number(day)?)
}

/// Time of day and offset; nothing is midnight in UTC.
fn read_time(text: &str) -> Option<(NaiveTime, i32)> {
    if text.is_empty() {
        return Some((NaiveTime::MIN, 0));
    }
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, ':' | '.' | ','))
        .unwrap_or(text.len());
    let (clock, zone) = text.split_at_checked(end)?;
    let (clock, fraction) = match clock.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, milliseconds(fraction)?),
        None => (clock, 0),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour] => (*hour, "0", "0"),
        [hour, minute] => (*hour, *minute, "0"),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    if [hour, minute, second].iter().any(|part| part.len() > 2) {
        return None;
    }
    let time =
        NaiveTime::from_hms_milli_opt(number(hour)?, number(minute)?, number(second)?, fraction)?;
    Some((time, read_offset(zone.trim())?))
}

/// The first three digits of a fraction.
fn milliseconds(fraction: &str) -> Option<u32> {
    if !all_digits(fraction) {
        return None;
    }
    let three: String = fraction.chars().chain("00".chars()).take(3).collect();
    number(&three)
}

/// `Z`, `+02`, `+0200`, `+02:00`, with or without a zone's short name behind, which says no more.
fn read_offset(text: &str) -> Option<i32> {
    let (offset, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.chars().all(|letter| letter.is_ascii_alphabetic()) {
        return None;
    }
    if matches!(offset, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match offset.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "0"),
        4 => digits.split_at_checked(2)?,
        5 => digits
            .split_once(':')
            .filter(|(hours, _)| hours.len() == 2)?,
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let sound = hours < 24 && minutes < 60;
    sound.then(|| sign * (hours * 3_600 + minutes * 60) as i32)
}

fn number(digits: &str) -> Option<u32> {
    if all_digits(digits) {
        digits.parse().ok()
    } else {
        None
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
