//! Patterns of letters that write a moment: `YYYY-MM-dd HH:mm:ssSSS`.

use std::fmt::Write;

use chrono::{Datelike, Timelike};

use super::Moment;
use crate::FnError;
use crate::functions::arguments::room;

/// RFC 3339 to the millisecond.
pub(super) const RFC_3339: &str = "YYYY-MM-ddTHH:mm:ssSSSXXX";

/// Formats a moment by the pattern. Undefined letters are literal, as is text behind a backslash or
/// between single quotes.
pub(super) fn write(moment: &Moment, pattern: &str) -> Result<String, FnError> {
    room(pattern.len())?;
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        let after = rest.trim_start_matches(letter);
        let run = rest.len() - after.len();
        let wrong = || {
            FnError::Failed(format!(
                "{pattern:?} is no pattern of a date: {letter} cannot stand {run} times in a row"
            ))
        };
        match letter {
            '\\' => {
                let mut escaped = rest.chars();
                escaped.next();
                let literal = escaped.next().ok_or_else(|| {
                    FnError::Failed(format!("{pattern:?} ends with a lone backslash"))
                })?;
                out.push(literal);
                rest = escaped.as_str();
                continue;
            }
            '\'' => {
                rest = quoted(rest.get(1..).unwrap_or_default(), &mut out);
                continue;
            }
            'Y' | 'y' | 'M' | 'd' | 'E' | 'H' | 'h' | 'm' | 's' | 'X' => {
                field(moment, letter, run, &mut out).ok_or_else(wrong)?;
            }
            'S' => fraction(moment, run, &mut out),
            _ => {
                for _ in 0..run / letter.len_utf8() {
                    single(moment, letter, &mut out);
                }
            }
        }
        rest = after;
    }
    room(out.len())?;
    Ok(out)
}

fn field(moment: &Moment, letter: char, run: usize, out: &mut String) -> Option<()> {
    let wall = moment.wall;
    let twelve = match wall.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    // Writing into a string cannot fail.
    let _ = match (letter, run) {
        ('Y' | 'y', 4) => write!(out, "{:04}", wall.year()),
        ('Y' | 'y', 2) => write!(out, "{:02}", wall.year().rem_euclid(100)),
        ('M', 1) => write!(out, "{}", wall.month()),
        ('M', 2) => write!(out, "{:02}", wall.month()),
        ('M', 3) => write!(out, "{}", wall.format("%b")),
        ('M', 4) => write!(out, "{}", wall.format("%B")),
        ('d', 1) => write!(out, "{}", wall.day()),
        ('d', 2) => write!(out, "{:02}", wall.day()),
        ('E', 3) => write!(out, "{}", wall.format("%a")),
        ('E', 4) => write!(out, "{}", wall.format("%A")),
        ('H', 2) => write!(out, "{:02}", wall.hour()),
        ('h', 1) => write!(out, "{twelve}"),
        ('h', 2) => write!(out, "{twelve:02}"),
        ('m', 1) => write!(out, "{}", wall.minute()),
        ('m', 2) => write!(out, "{:02}", wall.minute()),
        ('s', 1) => write!(out, "{}", wall.second()),
        ('s', 2) => write!(out, "{:02}", wall.second()),
        ('X', 1..=3) => {
            offset(moment.offset_s, run, out);
            Ok(())
        }
        _ => return None,
    };
    Some(())
}

fn single(moment: &Moment, letter: char, out: &mut String) {
    match letter {
        'G' => out.push_str("AD"),
        'a' => out.push_str(if moment.wall.hour() < 12 { "AM" } else { "PM" }),
        'z' if moment.offset_s == 0 => out.push_str("UTC"),
        'z' | 'Z' => offset(moment.offset_s, 2, out),
        other => out.push(other),
    }
}

/// A point and `digits` digits; no second point if the pattern brought one.
fn fraction(moment: &Moment, digits: usize, out: &mut String) {
    if !out.ends_with('.') {
        out.push('.');
    }
    let nanoseconds = format!("{:09}", moment.wall.nanosecond());
    out.extend(
        nanoseconds
            .chars()
            .chain(std::iter::repeat('0'))
            .take(digits),
    );
}

/// `+02`, `+0200` or `+02:00`.
fn offset(seconds: i32, style: usize, out: &mut String) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let _ = match style {
        1 => write!(out, "{sign}{hours:02}"),
        2 => write!(out, "{sign}{hours:02}{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    };
}

/// Takes the text up to the next quote; two quotes in a row are one. Returns the rest.
fn quoted<'a>(rest: &'a str, out: &mut String) -> &'a str {
    if let Some(after) = rest.strip_prefix('\'') {
        out.push('\'');
        return after;
    }
    match rest.split_once('\'') {
        Some((literal, after)) => {
            out.push_str(literal);
            after
        }
        None => {
            out.push_str(rest);
            ""
        }
    }
}
