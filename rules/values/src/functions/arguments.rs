//! Arguments as the types that functions want, and results that are not too large.

use crate::cast::int_of;
use crate::{FnError, Map, VALUE_BYTES_MAX, Value};

/// A number.
pub(super) fn number(args: &[Value], place: usize) -> Result<f64, FnError> {
    args.get(place)
        .and_then(Value::as_number)
        .ok_or_else(|| FnError::argument(args, place, "a number"))
}

/// A whole number; a float without fraction is one.
pub(super) fn whole(args: &[Value], place: usize) -> Result<i64, FnError> {
    match args.get(place) {
        Some(Value::Int(number)) => Some(*number),
        Some(Value::Float(number)) if number.fract() == 0.0 => int_of(*number),
        _ => None,
    }
    .ok_or_else(|| FnError::argument(args, place, "a whole number"))
}

/// A count: a whole number that is not negative.
pub(super) fn count(args: &[Value], place: usize) -> Result<usize, FnError> {
    usize::try_from(whole(args, place)?)
        .map_err(|_| FnError::argument(args, place, "a whole number from 0 on"))
}

/// Text; of other values their text.
pub(super) fn text(args: &[Value], place: usize) -> std::sync::Arc<str> {
    args.get(place).map(Value::to_text).unwrap_or_default()
}

/// Text and nothing else.
pub(super) fn only_text(args: &[Value], place: usize) -> Result<&str, FnError> {
    args.get(place)
        .and_then(Value::as_text)
        .ok_or_else(|| FnError::argument(args, place, "a string"))
}

/// Bytes and nothing else.
pub(super) fn bytes(args: &[Value], place: usize) -> Result<&[u8], FnError> {
    match args.get(place) {
        Some(Value::Bytes(bytes)) => Ok(bytes),
        _ => {
            let wanted = "bytes, as decode(text, 'base64') gives them";
            Err(FnError::argument(args, place, wanted))
        }
    }
}

/// `true` or `false`.
pub(super) fn truth(args: &[Value], place: usize) -> Result<bool, FnError> {
    match args.get(place) {
        Some(Value::Bool(value)) => Ok(*value),
        _ => Err(FnError::argument(args, place, "true or false")),
    }
}

/// A list.
pub(super) fn list(args: &[Value], place: usize) -> Result<&[Value], FnError> {
    args.get(place)
        .and_then(Value::as_list)
        .ok_or_else(|| FnError::argument(args, place, "an array"))
}

/// An object.
pub(super) fn map(args: &[Value], place: usize) -> Result<&Map, FnError> {
    args.get(place)
        .and_then(Value::as_map)
        .ok_or_else(|| FnError::argument(args, place, "an object"))
}

/// A text as a result, if it is not too long.
pub(super) fn bounded(text: std::sync::Arc<str>) -> Result<Value, FnError> {
    room(text.len())?;
    Ok(Value::Text(text))
}

/// Checks that a result may have this many bytes.
pub(super) fn room(bytes: usize) -> Result<(), FnError> {
    if bytes > VALUE_BYTES_MAX {
        return Err(FnError::TooLarge);
    }
    Ok(())
}
