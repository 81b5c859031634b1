//! Type conversions: the function `cast`, which converts what it can, and declared field types,
//! which convert only if nothing is lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Value;
use crate::json::number_text;

/// A type as `cast`, `CREATE STREAM` and a rule's `fields` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Whole numbers.
    Bigint,
    /// Numbers.
    Float,
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// Moments.
    Datetime,
    /// Bytes.
    Bytea,
    /// Lists.
    Array,
    /// Objects.
    Struct,
}

impl FieldType {
    /// All types, for messages.
    pub const ALL: [Self; 8] = [
        Self::Bigint,
        Self::Float,
        Self::String,
        Self::Boolean,
        Self::Datetime,
        Self::Bytea,
        Self::Array,
        Self::Struct,
    ];

    /// The type of this name, in whatever case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bigint => "bigint",
            Self::Float => "float",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Datetime => "datetime",
            Self::Bytea => "bytea",
            Self::Array => "array",
            Self::Struct => "struct",
        }
    }
}

/// A value that has no counterpart in a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value} is no {wanted}", wanted = .wanted.name())]
pub struct CastError {
    /// The value, as messages show it.
    pub value: String,
    /// The type that was asked for.
    pub wanted: FieldType,
}

impl CastError {
    fn new(value: &Value, wanted: FieldType) -> Self {
        Self {
            value: value.shown(),
            wanted,
        }
    }
}

/// Converts anything that has a counterpart: floats are cut to whole numbers, texts are read,
/// numbers other than 0 are true. Null stays null.
///
/// # Errors
///
/// If the value has no counterpart, such as `"x"` as a number.
pub fn cast(value: &Value, wanted: FieldType) -> Result<Value, CastError> {
    let converted = match (wanted, value) {
        (_, Value::Null) => Some(Value::Null),
        (FieldType::Bigint, value) => to_int(value).map(Value::Int),
        (FieldType::Float, value) => to_float(value).map(Value::float),
        (FieldType::String, Value::Bytes(bytes)) => {
            std::str::from_utf8(bytes).ok().map(Value::text)
        }
        (FieldType::String, value) => Some(Value::text(value.to_text())),
        (FieldType::Boolean, value) => to_bool(value).map(Value::Bool),
        (FieldType::Datetime, value) => crate::functions::moment(value).map(Value::Datetime),
        (FieldType::Bytea, Value::Bytes(_)) => Some(value.clone()),
        (FieldType::Bytea, Value::Text(text)) => Some(Value::bytes(
            from_base64(text).unwrap_or_else(|| text.as_bytes().to_vec()),
        )),
        (FieldType::Array, Value::List(_)) | (FieldType::Struct, Value::Map(_)) => {
            Some(value.clone())
        }
        _ => None,
    };
    converted.ok_or_else(|| CastError::new(value, wanted))
}

/// Converts a field to its declared type if nothing is lost: 3.0 and `"3"` become the whole number
/// 3, 3.5 does not.
///
/// # Errors
///
/// If something would be lost.
pub fn convert(value: &Value, wanted: FieldType) -> Result<Value, CastError> {
    let lossless = match (wanted, value) {
        (FieldType::Bigint | FieldType::Datetime, Value::Float(number)) => {
            number.fract() == 0.0 && int_of(*number).is_some()
        }
        (FieldType::Bigint | FieldType::Float, Value::Bool(_)) => false,
        (FieldType::Float, Value::Int(number)) => int_of(*number as f64) == Some(*number),
        (FieldType::Float, Value::Wide(number)) => Value::Float(*number as f64).same(value),
        (FieldType::Boolean, Value::Wide(_)) => false,
        (FieldType::String, Value::List(_) | Value::Map(_) | Value::Datetime(_)) => false,
        (FieldType::Boolean, Value::Int(number)) => matches!(number, 0 | 1),
        (FieldType::Boolean, Value::Float(_)) => false,
        (FieldType::Bytea, Value::Text(text)) => from_base64(text).is_some(),
        _ => true,
    };
    if lossless {
        cast(value, wanted)
    } else {
        Err(CastError::new(value, wanted))
    }
}

/// A number without its fraction, if it fits.
pub(crate) fn int_of(number: f64) -> Option<i64> {
    // 2^63 itself is the first that does not fit; -2^63 does.
    const END: f64 = 9_223_372_036_854_775_808.0;
    (-END..END).contains(&number).then_some(number as i64)
}

fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) | Value::Datetime(number) => Some(*number),
        Value::Float(number) => int_of(*number),
        Value::Bool(value) => Some((*value).into()),
        Value::Text(text) => read_int(text),
        _ => None,
    }
}

/// Decimal, or with `0x`, `0o` or `0b` in front.
fn read_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let radix = match digits.get(..2) {
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        _ => 10,
    };
    let digits = if radix == 10 {
        digits
    } else {
        digits.get(2..)?
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

fn to_float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) | Value::Datetime(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Wide(number) => Some(*number as f64),
        Value::Bool(value) => Some((*value).into()),
        // `nan`, `inf` and what is beyond the largest float are texts, not numbers.
        Value::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn to_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Int(number) => Some(*number != 0),
        Value::Wide(_) => Some(true),
        Value::Float(number) => Some(*number != 0.0),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Bytes in base64, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes a text in base64.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A number as text for people: without an exponent unless one is needed.
pub(crate) fn float_text(number: f64) -> String {
    let plain = number == 0.0 || (1e-6..1e21).contains(&number.abs());
    if plain {
        format!("{number}")
    } else {
        number_text(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_json, to_json};

    #[test]
    fn declared_fields_lose_nothing() {
        let check = |json: &str, wanted: &str, expected: &str| {
            let value = from_json(json.as_bytes()).unwrap();
            let given = convert(&value, FieldType::named(wanted).unwrap());
            let shown = given.map_or_else(
                |error| error.to_string(),
                |value| format!("{} {}", value.type_name(), to_json(&value)),
            );
            assert_eq!(shown, expected, "{json} as {wanted}");
        };
        check("3", "bigint", "bigint 3");
        check("3.0", "bigint", "bigint 3");
        check("\"3\"", "bigint", "bigint 3");
        check("3.5", "bigint", "float 3.5 is no bigint");
        check("\"red\"", "bigint", "string \"red\" is no bigint");
        check("true", "bigint", "boolean true is no bigint");
        check("null", "bigint", "null null");
        check("3", "float", "float 3");
        check(
            "9007199254740993",
            "float",
            "bigint 9007199254740993 is no float",
        );
        check("\"2.5\"", "float", "float 2.5");
        for none in ["nan", "NaN", "inf", "-Infinity", "1e400"] {
            let refused = format!("string \"{none}\" is no float");
            check(&format!("\"{none}\""), "float", &refused);
        }
        check(
            "18446744073709551615",
            "float",
            "bigint 18446744073709551615 is no float",
        );
        check(
            "18446744073709551615",
            "string",
            "string \"18446744073709551615\"",
        );
        check("7", "string", "string \"7\"");
        check("[1]", "string", "array [1] is no string");
        check("1", "boolean", "boolean true");
        check("2", "boolean", "bigint 2 is no boolean");
        check("\"true\"", "BOOLEAN", "boolean true");
        check("1500", "datetime", "datetime 1500");
        check("1500.5", "datetime", "float 1500.5 is no datetime");
        check("\"1970-01-01\"", "datetime", "datetime 0");
        check("\"aGk=\"", "bytea", "bytea \"aGk=\"");
        check("\"hi!\"", "bytea", "string \"hi!\" is no bytea");
        check("[1]", "array", "array [1]");
        check("{}", "array", "struct {} is no array");
        check("{}", "struct", "struct {}");
        assert_eq!(FieldType::named("number"), None);
    }

    #[test]
    fn whole_numbers_end_where_64_bits_do() {
        assert_eq!(int_of(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        assert_eq!(int_of(9_223_372_036_854_775_808.0), None);
        assert_eq!(int_of(f64::NAN), None);
        assert_eq!(int_of(-1.9), Some(-1));
    }
}
