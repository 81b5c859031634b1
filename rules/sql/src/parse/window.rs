//! Windows: `TUMBLINGWINDOW(ss, 10)` and its like, among what a query groups by.

use super::Parser;
use crate::ast::{CalendarUnit, MONTH_MS, Window, WindowKind};
use crate::error::SqlError;
use crate::lex::{Kind, unit_meant, window_meant};

/// Longest window, a year.
const LENGTH_MS_MAX: u64 = 366 * 86_400_000;
/// Shortest window: below it the firing costs more than the events.
const LENGTH_MS_MIN: u64 = 10;

impl Parser {
    /// The window that stands here, if one does.
    pub(super) fn window(&mut self) -> Result<Option<Window>, SqlError> {
        let Kind::Word(word) = self.peek().clone() else {
            return Ok(None);
        };
        if !matches!(self.peek_after(1), Kind::Symbol("(")) {
            return Ok(None);
        }
        let name = word.to_ascii_lowercase();
        let known = [
            "tumblingwindow",
            "hoppingwindow",
            "slidingwindow",
            "sessionwindow",
            "countwindow",
            "statewindow",
        ];
        if !known.contains(&name.as_str()) {
            return Ok(None);
        }
        let start = self.span().start;
        self.advance();
        self.expect("(")?;
        let kind = self.window_kind(&name)?;
        self.expect(")")?;
        let (mut filter, mut over) = (None, None);
        loop {
            if filter.is_none() && self.is_word("filter") {
                filter = Some(self.filter()?);
            } else if over.is_none() && self.is_word("over") {
                over = Some(self.over()?);
            } else {
                break;
            }
        }
        Ok(Some(Window {
            kind,
            filter,
            over,
            span: self.since(start),
        }))
    }

    fn window_kind(&mut self, name: &str) -> Result<WindowKind, SqlError> {
        match name {
            "countwindow" => {
                let span = self.span();
                let count = self.whole("how many events")?;
                let every = if self.eat(",") {
                    self.whole("after how many events it fires")?
                } else {
                    count
                };
                if count == 0 || every == 0 || every > count {
                    let message = "a count window has at least one event, and fires every 1 up to \
                                   as many events; write COUNTWINDOW(10, 5)";
                    return Err(SqlError::new(&span, message));
                }
                Ok(WindowKind::Count { count, every })
            }
            "statewindow" => {
                let begin = Box::new(self.expr()?);
                let emit = if self.eat(",") {
                    Some(Box::new(self.expr()?))
                } else {
                    None
                };
                Ok(WindowKind::State { begin, emit })
            }
            _ => self.timed(name),
        }
    }

    fn timed(&mut self, name: &str) -> Result<WindowKind, SqlError> {
        let place = self.span();
        let unit = self.unit(name)?;
        let on_grid = matches!(name, "tumblingwindow" | "hoppingwindow");
        if unit.calendar.is_some_and(|unit| unit != CalendarUnit::Day) && !on_grid {
            let message = "weeks and months are for tumbling and hopping windows; write days, dd";
            return Err(SqlError::new(&place, message));
        }
        self.expect(",")?;
        // A sliding window of length 0 holds what comes from its trigger to the end of its delay.
        let can_be_0 = name == "slidingwindow" && matches!(self.peek_after(1), Kind::Symbol(","));
        let place = self.span();
        let length = if can_be_0 && matches!(self.peek(), Kind::Int(0)) {
            self.time(unit.ms, 0)?
        } else {
            self.time(unit.ms, LENGTH_MS_MIN)?
        };
        let has_second = self.eat(",");
        if !has_second && matches!(name, "hoppingwindow" | "sessionwindow") {
            return Err(self.unexpected(match name {
                "hoppingwindow" => "how far it hops: HOPPINGWINDOW(ss, 10, 5)",
                _ => "the gap that ends it: SESSIONWINDOW(ss, 60, 5)",
            }));
        }
        Ok(match name {
            "hoppingwindow" => WindowKind::Hopping {
                length,
                hop: self.time(unit.ms, LENGTH_MS_MIN)?,
                calendar: unit.calendar,
            },
            "sessionwindow" => WindowKind::Session {
                length,
                gap: self.time(unit.ms, LENGTH_MS_MIN)?,
            },
            "slidingwindow" => WindowKind::Sliding {
                length,
                delay: if has_second {
                    self.time(unit.ms, 0)?
                } else {
                    0
                },
            }
            .checked(&place)?,
            _ if has_second => {
                return Err(self.unexpected("\")\"; a tumbling window has one length"));
            }
            _ => WindowKind::Tumbling {
                length,
                calendar: unit.calendar,
            },
        })
    }

    fn unit(&mut self, window: &str) -> Result<Unit, SqlError> {
        let (Kind::Word(word) | Kind::Text(word)) = self.peek().clone() else {
            return Err(self.no_unit(window));
        };
        let known =
            |(name, _, _): &&(&str, u64, Option<CalendarUnit>)| word.eq_ignore_ascii_case(name);
        match UNITS.iter().find(known) {
            Some((_, ms, calendar)) => {
                self.advance();
                Ok(Unit {
                    ms: *ms,
                    calendar: *calendar,
                })
            }
            None => Err(self.no_unit(window)),
        }
    }

    /// Refuses something else in the place of a unit, with what was meant as far as it tells.
    fn no_unit(&self, window: &str) -> SqlError {
        let name = window.to_ascii_uppercase();
        let meant = match (self.peek(), self.peek_after(1), self.peek_after(2)) {
            (Kind::Int(length), Kind::Symbol(","), Kind::Word(unit)) => {
                window_meant(window, &length.to_string(), unit)
            }
            (Kind::Int(length), _, _) => Some(format!("{name}(ss, {length})")),
            (Kind::Word(unit), _, _) => unit_meant(unit).map(str::to_owned),
            (Kind::Text(text), _, _) => {
                let at = text.find(|c: char| !c.is_ascii_digit());
                let (length, unit) = text.split_at(at.unwrap_or(text.len()));
                window_meant(window, length, unit.trim()).filter(|_| !length.is_empty())
            }
            _ => None,
        };
        let mut error = self.unexpected("a unit: mo, wk, dd, hh, mi, ss or ms");
        if let Some(meant) = meant {
            error.message.push_str("; write ");
            error.message.push_str(&meant);
        }
        error
    }

    fn time(&mut self, unit: u64, least: u64) -> Result<u64, SqlError> {
        let span = self.span();
        let length = self.whole("a length")?.checked_mul(unit);
        match length {
            Some(length) if (least..=LENGTH_MS_MAX).contains(&length) => Ok(length),
            _ => Err(SqlError::new(&span, "a window lasts from 10ms to 366 days")),
        }
    }
}

/// A unit of lengths.
#[derive(Clone, Copy)]
struct Unit {
    /// Length in milliseconds; for a unit of varying length, the usual one.
    ms: u64,
    calendar: Option<CalendarUnit>,
}

const DAY_MS: u64 = 86_400_000;

/// All units, with their lengths: that of a month is one that twelve fit into a year with.
const UNITS: [(&str, u64, Option<CalendarUnit>); 7] = [
    ("mo", MONTH_MS, Some(CalendarUnit::Month)),
    ("wk", 7 * DAY_MS, Some(CalendarUnit::Week)),
    ("dd", DAY_MS, Some(CalendarUnit::Day)),
    ("hh", 3_600_000, None),
    ("mi", 60_000, None),
    ("ss", 1_000, None),
    ("ms", 1, None),
];

impl WindowKind {
    /// A sliding window without a length and without a delay would hold one moment.
    fn checked(self, place: &std::ops::Range<usize>) -> Result<Self, SqlError> {
        match self {
            Self::Sliding { length, delay } if length + delay < LENGTH_MS_MIN => {
                let message =
                    "a sliding window of length 0 needs a delay; write SLIDINGWINDOW(ss, 0, 10)";
                Err(SqlError::new(place, message))
            }
            kind => Ok(kind),
        }
    }
}
