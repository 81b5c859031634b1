//! Texts with a date and time: in ISO 8601, or in a format that a rule names, by the letters of
//! strftime or by those of eKuiper's `TIMESTAMP_FORMAT`.

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems, parse};
use chrono::{NaiveDateTime, NaiveTime};

/// Bytes of a format.
const BYTES_MAX: usize = 100;

/// A format of date and time in text.
#[derive(Debug, Clone)]
pub struct Format {
    text: String,
    items: Vec<Item<'static>>,
}

/// Why a text is no format of moments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An unknown letter behind %, or an empty or overlong format.
    #[error(
        "{0:?} is no format; write one such as \"%Y-%m-%d %H:%M:%S\" or \"YYYY-MM-dd HH:mm:ss\""
    )]
    None(String),
    /// A format that does not determine the day.
    #[error("{0:?} tells no day: it needs year, month and day, or %s")]
    NoDay(String),
}

/// A point in time parsed from a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Milliseconds since 1970.
    Utc(i64),
    /// Local time of an unknown or configured zone.
    Local(NaiveDateTime),
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(text: &str) -> Result<Self, FormatError> {
        let none = || FormatError::None(text.to_owned());
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(none());
        }
        let strftime = if text.contains('%') {
            text.to_owned()
        } else {
            of_letters(text)
        };
        let items = StrftimeItems::new(&strftime).parse_to_owned();
        let items = items.map_err(|_| none())?;
        if !tells_a_day(&items) {
            return Err(FormatError::NoDay(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            items,
        })
    }

    /// The format as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parses a text; midnight if it gives only a day.
    pub(super) fn read(&self, text: &str) -> Option<Moment> {
        read(text, &self.items)
    }
}

fn read(text: &str, items: &[Item<'_>]) -> Option<Moment> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, items.iter()).ok()?;
    if let Ok(moment) = parsed.to_datetime() {
        return Some(Moment::Utc(moment.timestamp_millis()));
    }
    let local = match parsed.to_naive_datetime_with_offset(0) {
        Ok(local) => local,
        Err(_) => parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN),
    };
    Some(match parsed.timestamp() {
        Some(_) => Moment::Utc(local.and_utc().timestamp_millis()),
        None => Moment::Local(local),
    })
}

/// Parses a text in ISO 8601, with or without an offset.
pub(super) fn iso_8601(text: &str) -> Option<Moment> {
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(Moment::Utc(moment.timestamp_millis()));
    }
    const FORMS: [&str; 4] = [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
    ];
    FORMS.iter().find_map(|form| {
        let items: Vec<Item<'_>> = StrftimeItems::new(form).collect();
        read(text, &items)
    })
}

/// `true` if the items determine a date.
fn tells_a_day(items: &[Item<'_>]) -> bool {
    let numeric = |wanted: &[Numeric]| {
        items
            .iter()
            .any(|item| matches!(item, Item::Numeric(found, _) if wanted.contains(found)))
    };
    let fixed = |wanted: &[Fixed]| {
        items
            .iter()
            .any(|item| matches!(item, Item::Fixed(found) if wanted.contains(found)))
    };
    let month = numeric(&[Numeric::Month]) || fixed(&[Fixed::ShortMonthName, Fixed::LongMonthName]);
    let year = numeric(&[Numeric::Year, Numeric::YearMod100]);
    numeric(&[Numeric::Timestamp])
        || fixed(&[Fixed::RFC2822, Fixed::RFC3339])
        || year && (month && numeric(&[Numeric::Day]) || numeric(&[Numeric::Ordinal]))
}

/// The format in strftime's letters; letters that eKuiper does not define are literal.
fn of_letters(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = rest.trim_start_matches(letter);
        let run = rest.len() - after.len();
        let item = match (letter, run) {
            ('Y' | 'y', 4) => "%Y",
            ('Y' | 'y', 2) => "%y",
            ('M', 1 | 2) => "%m",
            ('M', 3) => "%b",
            ('M', 4) => "%B",
            ('d' | 'D', 1 | 2) => "%d",
            ('E', 3) => "%a",
            ('E', 4) => "%A",
            ('H', 1 | 2) => "%H",
            ('h', 1 | 2) => "%I",
            ('m', 1 | 2) => "%M",
            ('s', 1 | 2) => "%S",
            ('a' | 'A', 1) => "%p",
            ('X' | 'Z', 1..=3) => "%#z",
            ('S', _) => {
                // The point before a fraction belongs to it.
                if out.ends_with('.') {
                    out.pop();
                }
                "%.f"
            }
            ('\'', _) => {
                let inside = rest.get(1..).unwrap_or_default();
                let (literal, behind) = inside.split_once('\'').unwrap_or((inside, ""));
                out.push_str(literal);
                rest = behind;
                continue;
            }
            ('\\', _) => {
                let mut escaped = rest.chars();
                escaped.next();
                out.extend(escaped.next());
                rest = escaped.as_str();
                continue;
            }
            _ => {
                out.push_str(rest.get(..run).unwrap_or_default());
                rest = after;
                continue;
            }
        };
        out.push_str(item);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_those_of_strftime() {
        for (letters, expected) in [
            ("YYYY-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"),
            ("YYYY-MM-ddTHH:mm:ss.SSSXXX", "%Y-%m-%dT%H:%M:%S%.f%#z"),
            ("dd 'of' MMM YY", "%d of %b %y"),
            (r"YYYY\Y", "%YY"),
        ] {
            assert_eq!(of_letters(letters), expected);
        }
    }

    #[test]
    fn a_format_that_tells_no_day_is_none() {
        for text in ["", "HH:mm:ss", "%H:%M", "YYYY-MM", "%Q", "words"] {
            assert!(Format::new(text).is_err(), "{text}");
        }
        for text in ["%s", "%F", "%c", "%+", "%Y-%j", "YYYYMMdd"] {
            assert!(Format::new(text).is_ok(), "{text}");
        }
    }
}
