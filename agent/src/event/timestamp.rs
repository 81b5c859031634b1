//! Timestamps: values of a payload as moments, by the unit, the format and the zone that a rule
//! names. The plausibility of a moment is decided by [`crate::mill::watermark`].

mod format;

use chrono::{MappedLocalTime, NaiveDateTime, TimeZone};

use crate::event::value::{Decoded, Scalar};
use crate::event::zone::Zone;
use tidemill_base::text::shown_within;

pub use format::{Format, FormatError};

/// The last millisecond of the year 9999: what is later is no moment of a sensor.
const LAST_MS: i64 = 253_402_300_799_999;
/// Bytes of a value that an explanation shows.
const SHOWN_BYTES: usize = 60;

/// The time of a stream's events in their payloads.
#[derive(Debug, Clone)]
pub struct Timestamp {
    /// JSON pointer of the timestamp.
    pub pointer: String,
    /// Unit of numbers.
    pub unit: Unit,
    /// Format of texts; by default ISO 8601, or digits.
    pub format: Option<Format>,
    /// Time zone of texts without an offset.
    pub zone: Option<Zone>,
}

/// Unit of a number that counts from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Seconds, with a fraction if they like.
    Seconds,
    /// Milliseconds.
    #[default]
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// The one of them by which the number is a moment between 1973 and 5138.
    Auto,
}

/// Why a value is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No value at the place.
    #[error("is missing")]
    Missing,
    /// A value of a type that cannot be a timestamp.
    #[error("is {0}, not a number or a text")]
    OfNoType(&'static str),
    /// A time without an offset, and no zone is named.
    #[error("is {0:?}, without an offset from UTC; write zone = \"UTC\", or that of its clock")]
    NoOffset(String),
    /// A text that is written otherwise.
    #[error("is {text:?}, which is not written as {wanted}")]
    NotInFormat {
        /// The text.
        text: String,
        /// The expected format.
        wanted: String,
    },
    /// A moment of no use.
    #[error("is {0}, beyond the year 9999")]
    TooFar(String),
}

impl Unit {
    /// The names of the units.
    pub const NAMES: [&'static str; 5] = ["s", "ms", "us", "ns", "auto"];

    /// The unit of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "us" => Self::Microseconds,
            "ns" => Self::Nanoseconds,
            "auto" => Self::Auto,
            _ => return None,
        })
    }

    /// Name of the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
            Self::Auto => "auto",
        }
    }

    /// The unit by which a number of this size is a moment of these days.
    fn of_size(size: u64) -> Self {
        match size {
            0..100_000_000_000 => Self::Seconds,
            100_000_000_000..100_000_000_000_000 => Self::Milliseconds,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Microseconds,
            _ => Self::Nanoseconds,
        }
    }

    fn whole(self, number: i64) -> Option<i64> {
        match self {
            Self::Seconds => number.checked_mul(1_000),
            Self::Milliseconds => Some(number),
            Self::Microseconds => Some(number.div_euclid(1_000)),
            Self::Nanoseconds => Some(number.div_euclid(1_000_000)),
            Self::Auto => Self::of_size(number.unsigned_abs()).whole(number),
        }
    }

    /// A number with a fraction, which is as exact as a float of it: microseconds.
    fn float(self, number: f64) -> Option<i64> {
        let factor = match self {
            Self::Seconds => 1e6,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1.0,
            Self::Nanoseconds => 1e-3,
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float beyond the range is the end of it, and counts the smallest unit"
            )]
            Self::Auto => return Self::of_size(number.abs() as u64).float(number),
        };
        let us = libm::round(number * factor);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the range is checked before"
        )]
        let us = (us.abs() < 9e18).then_some(us as i64)?;
        Some(us.div_euclid(1_000))
    }
}

impl Timestamp {
    /// A timestamp in milliseconds since 1970, with all other settings at their defaults.
    pub fn at(pointer: String) -> Self {
        Self {
            pointer,
            unit: Unit::default(),
            format: None,
            zone: None,
        }
    }

    /// The moment that a value is, in milliseconds since 1970.
    ///
    /// # Errors
    /// When it is none, in words that go on from the name of its place.
    pub fn read(&self, scalar: Scalar, decoded: &Decoded) -> Result<i64, Unreadable> {
        let ms = match scalar {
            Scalar::Missing | Scalar::Null => return Err(Unreadable::Missing),
            Scalar::Bool(_) => return Err(Unreadable::OfNoType("a truth value")),
            Scalar::Other => return Err(Unreadable::OfNoType("an array or an object")),
            Scalar::Int(number) => self.unit.whole(number),
            // In nanoseconds even that may be a moment.
            Scalar::Wide(number) => i64::try_from(number / 2).ok().and_then(|half| {
                let ms = self.unit.whole(half)?;
                ms.checked_mul(2)
            }),
            Scalar::Float(number) => self.unit.float(number),
            Scalar::Text(span) => {
                let text = std::str::from_utf8(decoded.bytes(span));
                self.read_text(text.map_err(|_| Unreadable::OfNoType("bytes"))?.trim())?
            }
        };
        ms.filter(|ms| *ms <= LAST_MS)
            .ok_or_else(|| Unreadable::TooFar(self.show(scalar, decoded)))
    }

    fn read_text(&self, text: &str) -> Result<Option<i64>, Unreadable> {
        let wrong = |wanted: &str| Unreadable::NotInFormat {
            text: shown_within(text, SHOWN_BYTES).to_string(),
            wanted: wanted.to_owned(),
        };
        if let Some(format) = &self.format {
            let moment = format.read(text).ok_or_else(|| wrong(format.text()))?;
            return Ok(match moment {
                format::Moment::Utc(ms) => Some(ms),
                // A text in a named format need not have an offset; without a zone it is UTC.
                format::Moment::Local(local) => Some(self.local(local)),
            });
        }
        if let Ok(number) = text.parse() {
            return Ok(self.unit.whole(number));
        }
        let is_decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
        if let (true, Ok(number)) = (text.chars().all(is_decimal), text.parse()) {
            return Ok(self.unit.float(number));
        }
        match format::iso_8601(text) {
            Some(format::Moment::Utc(ms)) => Ok(Some(ms)),
            Some(format::Moment::Local(local)) if self.zone.is_some() => {
                Ok(Some(self.local(local)))
            }
            Some(format::Moment::Local(_)) => {
                let text = shown_within(text, SHOWN_BYTES).to_string();
                Err(Unreadable::NoOffset(text))
            }
            None => Err(wrong(
                "ISO 8601 has it; write timestamp_format = \"%Y-%m-%d %H:%M:%S\", or as it is",
            )),
        }
    }

    /// Converts local time in the zone to milliseconds since 1970. Of an hour repeated in autumn,
    /// the first one counts; a time skipped in spring is taken as if the clocks had not been set.
    fn local(&self, local: NaiveDateTime) -> i64 {
        const DAY_S: i64 = 86_400;
        let ms = local.and_utc().timestamp_millis();
        let Some(zone) = &self.zone else {
            return ms;
        };
        match zone.from_local_datetime(&local) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => {
                moment.timestamp_millis()
            }
            MappedLocalTime::None => {
                let before = local.and_utc().timestamp() - DAY_S;
                ms - zone.offset_s(before) * 1_000
            }
        }
    }

    /// A value as written in the payload, cut if it is long.
    fn show(&self, scalar: Scalar, decoded: &Decoded) -> String {
        match scalar {
            Scalar::Int(number) => number.to_string(),
            Scalar::Wide(number) => number.to_string(),
            Scalar::Float(number) => tidemill_values::number_text(number),
            Scalar::Text(span) => {
                format!(
                    "{:?}",
                    shown_within(decoded.bytes(span), SHOWN_BYTES).to_string()
                )
            }
            _ => String::new(),
        }
    }

    /// Why a moment that was read is not believed, of which none is from before `floor_ms`; in words that go
    /// on from the name of its place.
    pub fn not_credible(
        &self,
        scalar: Scalar,
        decoded: &Decoded,
        ms: i64,
        floor_ms: i64,
    ) -> String {
        let value = self.show(scalar, decoded);
        let moment = chrono::DateTime::from_timestamp_millis(ms);
        let moment = moment.map_or_else(String::new, |moment| {
            moment.format(", which is %Y-%m-%dT%H:%M:%SZ").to_string()
        });
        let side = if ms < floor_ms {
            "too long ago"
        } else {
            "too far ahead of the clock"
        };
        let number = match scalar {
            Scalar::Int(number) => Some(number.unsigned_abs()),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is a guess at a unit"
            )]
            Scalar::Float(number) => Some(number.abs() as u64),
            Scalar::Text(span) => {
                let text = std::str::from_utf8(decoded.bytes(span)).unwrap_or_default();
                text.trim().parse().ok()
            }
            _ => None,
        };
        let likely = number.map(Unit::of_size).filter(|unit| {
            self.unit != *unit && self.unit != Unit::Auto && number.is_some_and(|n| n > 100_000_000)
        });
        let hint = likely.map_or_else(String::new, |unit| {
            format!(
                "; in another unit it may be right: timestamp_unit = {:?}",
                unit.name()
            )
        });
        format!("is {value}{moment}, {side}{hint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::value::Span;

    const MS: i64 = 1_700_000_000_123;
    const FLOOR_MS: i64 = 1_577_836_800_000;

    fn read(timestamp: &Timestamp, value: &str) -> Result<i64, String> {
        let mut decoded = Decoded::default();
        let scalar = match value.strip_prefix('"') {
            Some(text) => {
                let text = text.trim_end_matches('"');
                decoded.text = text.as_bytes().to_vec();
                let len = u32::try_from(text.len()).unwrap();
                Scalar::Text(Span { start: 0, len })
            }
            None if value == "null" => Scalar::Null,
            None => match value.parse() {
                Ok(whole) => Scalar::Int(whole),
                Err(_) => Scalar::Float(value.parse().unwrap()),
            },
        };
        timestamp
            .read(scalar, &decoded)
            .map_err(|error| error.to_string())
    }

    fn with(unit: &str, format: Option<&str>, zone: Option<&str>) -> Timestamp {
        Timestamp {
            pointer: "/ts".to_owned(),
            unit: Unit::named(unit).unwrap(),
            format: format.map(|format| Format::new(format).unwrap()),
            zone: zone.map(|zone| Zone::named(zone).unwrap()),
        }
    }

    #[test]
    fn numbers_are_moments_in_their_unit() {
        for (unit, value, expected) in [
            ("ms", "1700000000123", MS),
            ("ms", "\"1700000000123\"", MS),
            ("ms", "1700000000123.9", MS),
            ("s", "1700000000", MS - 123),
            ("s", "1700000000.123", MS),
            ("s", "\"1700000000.123\"", MS),
            ("us", "1700000000123456", MS),
            ("ns", "1700000000123456789", MS),
            ("ns", "1.700000000123456789e18", MS),
            ("s", "-1", -1_000),
            ("us", "-1", -1),
            ("s", "4294967296", 4_294_967_296_000),
        ] {
            assert_eq!(
                read(&with(unit, None, None), value),
                Ok(expected),
                "{unit} {value}"
            );
        }
        let auto = with("auto", None, None);
        for value in [
            "1700000000.123",
            "1700000000123",
            "1700000000123456",
            "1700000000123456789",
        ] {
            assert_eq!(read(&auto, value), Ok(MS), "{value}");
        }
    }

    #[test]
    fn texts_are_moments_of_their_format_and_zone() {
        for (format, zone, text, expected) in [
            (None, None, "2023-11-14T22:13:20.123Z", MS),
            (None, None, "2023-11-14 23:13:20.123+0100", MS),
            (None, Some("UTC"), "2023-11-14T22:13:20.123", MS),
            (None, Some("Europe/Berlin"), "2023-11-14T23:13:20.123", MS),
            (None, Some("Europe/Berlin"), "2023-11-14T22:13:20.123Z", MS),
            (
                Some("YYYY-MM-dd HH:mm:ssSSS"),
                None,
                "2023-11-14 22:13:20.123",
                MS,
            ),
            (
                Some("YYYY-MM-dd HH:mm:ss.SSS"),
                None,
                "2023-11-14 22:13:20.123",
                MS,
            ),
            (
                Some("%d.%m.%Y %H:%M:%S%.f"),
                Some("Europe/Berlin"),
                "14.11.2023 23:13:20.123",
                MS,
            ),
            (
                Some("YYYY-MM-ddTHH:mm:ssSSSXXX"),
                None,
                "2023-11-14T23:13:20.123+01:00",
                MS,
            ),
            (Some("%s"), None, "1700000000", MS - 123),
            (Some("YYYYMMdd"), None, "20231114", 1_699_920_000_000),
            (
                Some("dd/MM/YY hh:mm a"),
                None,
                "14/11/23 10:13 PM",
                1_699_999_980_000,
            ),
            // Autumn repeats this hour, spring leaves this one out.
            (
                None,
                Some("Europe/Berlin"),
                "2023-10-29T02:30:00",
                1_698_539_400_000,
            ),
            (
                None,
                Some("Europe/Berlin"),
                "2023-03-26T02:30:00",
                1_679_794_200_000,
            ),
        ] {
            let timestamp = with("ms", format, zone);
            let text = format!("\"{text}\"");
            assert_eq!(
                read(&timestamp, &text),
                Ok(expected),
                "{format:?} {zone:?} {text}"
            );
        }
    }

    #[test]
    fn what_is_no_moment_says_why() {
        let plain = with("ms", None, None);
        for (value, expected) in [
            ("null", "is missing"),
            (
                "\"2023-11-14 22:13:20\"",
                "without an offset from UTC; write zone",
            ),
            ("\"yesterday\"", "which is not written as ISO 8601 has it"),
            ("9223372036854775807", "beyond the year 9999"),
            ("1e300", "beyond the year 9999"),
        ] {
            let error = read(&plain, value).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
        assert!(read(&with("s", None, None), "9223372036854775807").is_err());
        let error = read(&with("ms", Some("%d.%m.%Y"), None), "\"2023-11-14\"").unwrap_err();
        assert!(
            error.ends_with("which is not written as %d.%m.%Y"),
            "{error}"
        );
    }

    #[test]
    fn a_moment_that_is_not_believed_hints_at_its_unit() {
        let scalar = Scalar::Int(1_700_000_000);
        let why = with("ms", None, None).not_credible(
            scalar,
            &Decoded::default(),
            1_700_000_000,
            FLOOR_MS,
        );
        let expected = "is 1700000000, which is 1970-01-20T16:13:20Z, too long ago; in another unit it may \
                        be right: timestamp_unit = \"s\"";
        assert_eq!(why, expected);
        let scalar = Scalar::Int(4_294_967_296_000);
        let why = with("ms", None, None).not_credible(
            scalar,
            &Decoded::default(),
            4_294_967_296_000,
            FLOOR_MS,
        );
        assert_eq!(
            why,
            "is 4294967296000, which is 2106-02-07T06:28:16Z, too far ahead of the clock"
        );
    }
}
