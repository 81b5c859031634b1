//! Conversion of a payload's values to a function's inputs: the types, defaults and missing values
//! of a manifest's inputs. A wrong type is a dead letter, never a guess.

use tidemill_abi::value::kind;
use tidemill_values::{CastError, FieldType, convert};

use crate::event::value::{Decoded, Scalar, Span, Value};
use crate::rule::manifest::{Input, InputDefault, InputKind};

/// Why an event cannot be handed to a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// An integer has no value for "missing".
    #[error("input {name} ({pointer}) is missing")]
    Missing {
        /// Name of the input.
        name: String,
        /// JSON pointer at which it was expected.
        pointer: String,
    },
    /// A value of another type was found.
    #[error("input {name} ({pointer}) is {found}, not {wanted}")]
    WrongType {
        /// Name of the input.
        name: String,
        /// JSON pointer of the value.
        pointer: String,
        /// Type of the value found.
        found: &'static str,
        /// Type that the function expects.
        wanted: &'static str,
    },
    /// The value cannot be converted to its declared type without a loss.
    #[error("{name}: {why}")]
    Declared {
        /// Name of the input.
        name: String,
        /// The value found, and the type that it should have.
        why: CastError,
    },
}

/// The typed value of an input, where the payload has a value of that type.
#[inline]
pub fn present(kind: InputKind, scalar: Scalar) -> Option<Value> {
    match (kind, scalar) {
        (InputKind::F64, Scalar::Float(value)) => Some(Value::F64(value)),
        (InputKind::F64, Scalar::Int(value)) => Some(Value::F64(as_float(value))),
        (InputKind::F64 | InputKind::Num, Scalar::Wide(value)) => Some(Value::F64(wide(value))),
        (InputKind::I64, Scalar::Int(value)) => Some(Value::I64(value)),
        (InputKind::I64, Scalar::Float(value)) => whole(value).map(Value::I64),
        (InputKind::I64, Scalar::Bool(value)) => Some(Value::I64(i64::from(value))),
        (InputKind::I32, Scalar::Int(value)) => i32::try_from(value).ok().map(Value::I32),
        (InputKind::I32, Scalar::Float(value)) => whole(value)
            .and_then(|value| i32::try_from(value).ok())
            .map(Value::I32),
        (InputKind::I32, Scalar::Bool(value)) => Some(Value::I32(i32::from(value))),
        (InputKind::Bytes, Scalar::Text(span)) => Some(Value::Bytes(Some(span))),
        (InputKind::Float, Scalar::Float(value)) => Some(Value::F64(value)),
        (InputKind::Float, Scalar::Int(value)) if value.unsigned_abs() <= EXACT_MAX => {
            Some(Value::F64(as_float(value)))
        }
        (InputKind::Num, Scalar::Float(value)) => Some(Value::F64(value)),
        (InputKind::Num, Scalar::Int(value)) => Some(Value::F64(as_float(value))),
        (InputKind::Num, _) => Some(Value::F64(f64::NAN)),
        (InputKind::Kind, scalar) => Some(Value::I32(kind_of(scalar))),
        _ => None,
    }
}

/// The typed value of an input, where [`present`] has none.
///
/// # Errors
/// When the payload has a value of another type there, or none and the input cannot be without.
pub fn absent_or_wrong(
    input: &Input,
    scalar: Scalar,
    decoded: &mut Decoded,
) -> Result<Value, InputError> {
    match scalar {
        Scalar::Missing | Scalar::Null => absent(input, decoded),
        found if input.kind == InputKind::Float => declared(input, found, decoded),
        found => Err(InputError::WrongType {
            name: input.name.clone(),
            pointer: input.pointer.clone(),
            found: found_name(found),
            wanted: wanted_name(input.kind),
        }),
    }
}

/// The value for a field that is declared a float: texts are read, and a conversion that would lose
/// something is refused.
fn declared(input: &Input, scalar: Scalar, decoded: &Decoded) -> Result<Value, InputError> {
    let found = match scalar {
        Scalar::Bool(value) => tidemill_values::Value::Bool(value),
        Scalar::Int(value) => tidemill_values::Value::Int(value),
        Scalar::Wide(value) => tidemill_values::Value::Wide(value),
        Scalar::Text(span) => {
            tidemill_values::Value::text(String::from_utf8_lossy(decoded.bytes(span)))
        }
        other => {
            return Err(InputError::WrongType {
                name: input.name.clone(),
                pointer: input.pointer.clone(),
                found: found_name(other),
                wanted: wanted_name(input.kind),
            });
        }
    };
    match convert(&found, FieldType::Float) {
        Ok(value) => Ok(Value::F64(value.as_number().unwrap_or(f64::NAN))),
        Err(why) => Err(InputError::Declared {
            name: input.name.clone(),
            why,
        }),
    }
}

/// The typed value of an input.
///
/// # Errors
/// As for [`absent_or_wrong`].
pub fn typed(input: &Input, scalar: Scalar, decoded: &mut Decoded) -> Result<Value, InputError> {
    match present(input.kind, scalar) {
        Some(value) => Ok(value),
        None => absent_or_wrong(input, scalar, decoded),
    }
}

fn absent(input: &Input, decoded: &mut Decoded) -> Result<Value, InputError> {
    match (&input.default, input.kind) {
        (Some(InputDefault::Number(value)), _) => Ok(*value),
        (Some(InputDefault::Bytes(bytes)), _) => {
            let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let span = Span {
                start: at(decoded.text.len()),
                len: at(bytes.len()),
            };
            decoded.text.extend_from_slice(bytes);
            Ok(Value::Bytes(Some(span)))
        }
        (None, InputKind::F64 | InputKind::Float | InputKind::Num | InputKind::Kind) => {
            Ok(Value::F64(f64::NAN))
        }
        (None, InputKind::Bytes) => Ok(Value::Bytes(None)),
        (None, InputKind::I64 | InputKind::I32) => Err(InputError::Missing {
            name: input.name.clone(),
            pointer: input.pointer.clone(),
        }),
    }
}

/// Beyond this a float does not hold every whole number.
const EXACT_MAX: u64 = 1 << 53;

#[allow(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 the nearest float is what f64 asks for"
)]
fn as_float(value: i64) -> f64 {
    value as f64
}

#[allow(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 the nearest float is what f64 asks for"
)]
fn wide(value: u64) -> f64 {
    value as f64
}

/// The integer that a float is, where nothing is lost.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the range is checked before"
)]
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.abs() <= EXACT && libm::trunc(value) == value).then_some(value as i64)
}

fn wanted_name(kind: InputKind) -> &'static str {
    match kind {
        InputKind::F64 | InputKind::Float | InputKind::Num => "a number",
        InputKind::Kind => "anything",
        InputKind::I64 => "a whole number or a truth value",
        InputKind::I32 => "a whole number of 32 bits or a truth value",
        InputKind::Bytes => "a string",
    }
}

/// The kind that an input of type `kind` is given for a value.
fn kind_of(scalar: Scalar) -> i32 {
    match scalar {
        Scalar::Missing | Scalar::Null => kind::MISSING,
        Scalar::Int(_) => kind::WHOLE,
        // Arithmetic takes it for a float.
        Scalar::Float(_) | Scalar::Wide(_) => kind::FLOAT,
        Scalar::Text(_) => kind::TEXT,
        Scalar::Bool(_) => kind::TRUTH,
        Scalar::Other => kind::OTHER,
    }
}

fn found_name(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Missing => "missing",
        Scalar::Null => "null",
        Scalar::Bool(_) => "a truth value",
        Scalar::Int(_) | Scalar::Wide(_) => "a whole number",
        Scalar::Float(_) => "a number",
        Scalar::Text(_) => "a string",
        Scalar::Other => "an array or an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: InputKind, scalar: Scalar, expected: Result<Value, &str>) {
        let input = Input {
            name: "x".into(),
            pointer: "/x".into(),
            kind,
            default: None,
            any_case: false,
        };
        let found = typed(&input, scalar, &mut Decoded::default()).map_err(|e| e.to_string());
        assert_eq!(found, expected.map_err(|e| format!("input x (/x) is {e}")));
    }

    #[test]
    fn each_type_takes_what_loses_nothing() {
        use InputKind::{Bytes, F64, I32, I64};
        let span = Span { start: 0, len: 1 };
        check(F64, Scalar::Int(3), Ok(Value::F64(3.0)));
        check(F64, Scalar::Float(0.5), Ok(Value::F64(0.5)));
        check(F64, Scalar::Text(span), Err("a string, not a number"));
        check(F64, Scalar::Bool(true), Err("a truth value, not a number"));
        check(I64, Scalar::Float(3.0), Ok(Value::I64(3)));
        check(
            I64,
            Scalar::Float(3.5),
            Err("a number, not a whole number or a truth value"),
        );
        check(
            I64,
            Scalar::Float(1e300),
            Err("a number, not a whole number or a truth value"),
        );
        check(I64, Scalar::Missing, Err("missing"));
        check(I64, Scalar::Bool(true), Ok(Value::I64(1)));
        check(I32, Scalar::Bool(true), Ok(Value::I32(1)));
        check(I32, Scalar::Float(-3.0), Ok(Value::I32(-3)));
        check(
            I32,
            Scalar::Float(1e10),
            Err("a number, not a whole number of 32 bits or a truth value"),
        );
        check(
            I32,
            Scalar::Int(1 << 40),
            Err("a whole number, not a whole number of 32 bits or a truth value"),
        );
        check(I32, Scalar::Null, Err("missing"));
        check(Bytes, Scalar::Text(span), Ok(Value::Bytes(Some(span))));
        check(Bytes, Scalar::Missing, Ok(Value::Bytes(None)));
        check(
            Bytes,
            Scalar::Other,
            Err("an array or an object, not a string"),
        );
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing_or_null() {
        let mut input = Input {
            name: "x".into(),
            pointer: "/x".into(),
            kind: InputKind::I64,
            default: None,
            any_case: false,
        };
        input.default = Some(InputDefault::Number(Value::I64(7)));
        let mut decoded = Decoded::default();
        assert_eq!(typed(&input, Scalar::Null, &mut decoded), Ok(Value::I64(7)));
        input.kind = InputKind::Bytes;
        input.default = Some(InputDefault::Bytes((*b"none").into()));
        let Ok(Value::Bytes(Some(span))) = typed(&input, Scalar::Missing, &mut decoded) else {
            panic!("a default is a value")
        };
        assert_eq!(decoded.bytes(span), b"none");
    }
}
