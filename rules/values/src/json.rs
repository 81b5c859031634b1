//! Values as JSON: whole numbers stay whole, 3.0 is a float and is written 3.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Map, Value};

/// Why a text is not a value.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// Reads one JSON value. Whole numbers beyond 64 bits become floats, and one that no float can hold is
/// an error; of a name that comes twice the
/// last value counts, in its place.
///
/// # Errors
///
/// If the bytes are not exactly one JSON value, or one nested more than 127 deep.
pub fn from_json(json: &[u8]) -> Result<Value, JsonError> {
    Ok(serde_json::from_slice(json)?)
}

/// Bytes of memory that the value of a JSON text may take, by what its punctuation says. No value
/// takes more; of a text with much punctuation in its strings it says too much.
pub fn json_weight(json: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b',' => 24,
        b':' => 112,
        b'[' => 192,
        b'{' => 320,
        b'"' => 24,
        _ => 1,
    };
    json.iter().map(of).sum::<usize>() + 64
}

/// Fuel of reading a JSON text, by what its punctuation says.
pub fn json_fuel(json: &[u8]) -> u64 {
    let of = |byte: &u8| match byte {
        b',' => 14,
        b':' => 200,
        b'[' => 90,
        b'{' => 160,
        b'"' => 30,
        _ => 3,
    };
    json.iter().map(of).sum::<u64>() + 100
}

/// Writes a value as JSON.
pub fn to_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

/// Writes a value as JSON behind what is in `out`: numbers in their shortest form, NaN and infinities
/// as `null`, moments as their milliseconds, bytes in base64.
pub fn write_json(value: &Value, out: &mut String) {
    write_up_to(value, usize::MAX, out);
}

/// Appends a value as JSON to `out`, and stops once `out` has more than `bytes`; returns `true` if
/// all of it was written.
pub fn write_json_within(value: &Value, bytes: usize, out: &mut String) -> bool {
    write_up_to(value, bytes, out);
    out.len() <= bytes
}

/// Writes at least `chars` characters of a value's JSON if there are as many, and hardly more, so
/// that a message need not walk through all of a long value.
pub(crate) fn write_start(value: &Value, chars: usize, out: &mut String) {
    // No character has more than four bytes.
    write_up_to(value, out.len() + chars * 4, out);
}

fn write_up_to(value: &Value, end: usize, out: &mut String) {
    if out.len() > end {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) | Value::Datetime(number) => write(out, format_args!("{number}")),
        Value::Wide(number) => write(out, format_args!("{number}")),
        Value::Float(number) if number.is_finite() => out.push_str(&number_text(*number)),
        Value::Float(_) => out.push_str("null"),
        Value::Text(text) => write_text(text, end, out),
        Value::Bytes(bytes) => {
            // A multiple of three, so that nothing but the end is padded.
            let some = bytes.get(..end.saturating_add(3) / 3 * 3).unwrap_or(bytes);
            write_text(&crate::cast::base64(some), end, out);
        }
        Value::List(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                if out.len() > end {
                    return;
                }
                write_up_to(value, end, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (place, (name, value)) in map.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                if out.len() > end {
                    return;
                }
                write_text(name, end, out);
                out.push(':');
                write_up_to(value, end, out);
            }
            out.push('}');
        }
    }
}

/// The shortest text that reads back as the same number, as functions emit numbers: `3` for 3.0,
/// `1e300`. Not JSON for NaN and infinities.
pub fn number_text(value: f64) -> String {
    if !value.is_finite() {
        return format!("{value}");
    }
    let mut text = serde_json::to_string(&value).unwrap_or_default();
    if text.ends_with(".0") {
        text.truncate(text.len() - 2);
    }
    if let Some(plus) = text.find('+') {
        text.remove(plus);
    }
    text
}

fn write_text(text: &str, end: usize, out: &mut String) {
    let some = if text.len() > end {
        text.get(..text.floor_char_boundary(end)).unwrap_or(text)
    } else {
        text
    };
    // A string always serializes.
    out.push_str(&serde_json::to_string(some).unwrap_or_default());
}

fn write(out: &mut String, what: fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = fmt::Write::write_fmt(out, what);
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

/// From this many elements on a list that was read gives back the room that it grew for.
const SHRUNK_FROM: usize = 64;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        if values.len() >= SHRUNK_FROM {
            values.shrink_to_fit();
        }
        Ok(Value::list(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        // Position of the last occurrence of each name, once one has come twice.
        let mut last: Vec<usize> = Vec::new();
        let mut read = 0;
        while let Some((name, value)) = entries.next_entry::<Name, Value>()? {
            let before = map.len();
            let place = map.set(name.0, value);
            if place < before && last.is_empty() {
                last.extend(0..before);
            }
            if let Some(last) = last.get_mut(place) {
                *last = read;
            } else if !last.is_empty() {
                last.push(read);
            }
            read += 1;
        }
        if !last.is_empty() {
            map.arrange(&last);
        }
        Ok(Value::map(map))
    }
}

/// A name, taken from the text without a detour.
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameReader)
    }
}

struct NameReader;

impl Visitor<'_> for NameReader {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
        Ok(Name(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, value: Value, written: &str) {
        let read = from_json(json.as_bytes()).unwrap();
        assert_eq!(read, value, "{json}");
        assert_eq!(to_json(&read), written);
    }

    #[test]
    fn whole_numbers_stay_whole() {
        check("3", Value::Int(3), "3");
        check("3.0", Value::Float(3.0), "3");
        check("-0.5e1", Value::Float(-5.0), "-5");
        check(
            "9223372036854775807",
            Value::Int(i64::MAX),
            "9223372036854775807",
        );
        check(
            "9223372036854775808",
            Value::Wide(9_223_372_036_854_775_808),
            "9223372036854775808",
        );
        check(
            "18446744073709551616",
            Value::Float(18446744073709551616.0),
            "1.8446744073709552e19",
        );
        check("1000000000000000000000000", Value::Float(1e24), "1e24");
        check("1e300", Value::Float(1e300), "1e300");
        check("0.1", Value::Float(0.1), "0.1");
    }

    #[test]
    fn what_is_nested_keeps_its_order() {
        let json = r#"{"b":[1,"\u00e9\n",null,true],"a":{},"c":[]}"#;
        let read = from_json(json.as_bytes()).unwrap();
        assert_eq!(to_json(&read), r#"{"b":[1,"é\n",null,true],"a":{},"c":[]}"#);
        for (twice, once) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2,"a":3}"#),
            (r#"{"a":1,"a":2,"b":3,"c":4}"#, r#"{"a":2,"b":3,"c":4}"#),
            (
                r#"{"a":{"x":1},"b":2,"a":{"y":3},"b":4}"#,
                r#"{"a":{"y":3},"b":4}"#,
            ),
        ] {
            assert_eq!(to_json(&from_json(twice.as_bytes()).unwrap()), once);
        }
    }

    #[test]
    fn what_json_does_not_know_is_written_as_it_does() {
        assert_eq!(to_json(&Value::Float(f64::NAN)), "null");
        assert_eq!(to_json(&Value::Float(f64::NEG_INFINITY)), "null");
        assert_eq!(to_json(&Value::Datetime(1_500)), "1500");
        assert_eq!(to_json(&Value::bytes(*b"hi")), "\"aGk=\"");
    }

    #[test]
    fn other_texts_are_refused() {
        for json in ["", "1 2", "{", "nul", "\"\\ud800\"", "[1,]", "\u{1f}"] {
            assert!(from_json(json.as_bytes()).is_err(), "{json}");
        }
        assert!(from_json("[".repeat(100_000).as_bytes()).is_err());
        assert!(from_json(b"\"\xff\"").is_err());
    }
}
