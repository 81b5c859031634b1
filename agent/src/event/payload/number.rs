//! A number in digits, as sensors publish that have a topic for each value.

use tidemill_values::Value;

use super::{PayloadError, text};

/// Characters of a payload that an error shows.
const SHOWN_MAX: usize = 40;

/// The number: whole if it is written so. `nan` and `inf` are not accepted.
pub(super) fn value(payload: &[u8]) -> Result<Value, PayloadError> {
    let text = text::read(payload)?;
    read(text.trim()).ok_or_else(|| {
        let mut shown: String = text.trim().chars().take(SHOWN_MAX).collect();
        if shown.len() < text.trim().len() {
            shown.push('…');
        }
        PayloadError::NotNumber(shown)
    })
}

/// The number that a text is.
pub(super) fn read(text: &str) -> Option<Value> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.chars().all(is_number) {
        return None;
    }
    if let Ok(whole) = text.parse() {
        return Some(Value::Int(whole));
    }
    let number: f64 = text.parse().ok()?;
    number.is_finite().then(|| Value::float(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_the_ways_in_which_they_are_written() {
        for (text, expected) in [
            ("21.5", Some(Value::Float(21.5))),
            ("21", Some(Value::Int(21))),
            ("-0.5e1", Some(Value::Float(-5.0))),
            ("+3", Some(Value::Int(3))),
            ("9223372036854775807", Some(Value::Int(i64::MAX))),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
            ("21,5", None),
            ("0x10", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_shown_in_part() {
        let error = value("x".repeat(1_000).as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("payload \"xxx") && error.len() < 80,
            "{error}"
        );
    }
}
