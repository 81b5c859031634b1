//! What lies inside a value.

use super::OpError;
use crate::Value;
use crate::cast::int_of;

/// `value->name`: nothing where there is no such name, or no object to have names.
pub fn field(value: &Value, name: &str) -> Value {
    value
        .as_map()
        .and_then(|map| map.get_column(name))
        .cloned()
        .unwrap_or_default()
}

/// `value[place]`: counted from 0, or with a negative number from the end. Nothing has nothing in it.
///
/// # Errors
///
/// If the value is no list, or the place is no number or outside the list.
pub fn index(value: &Value, place: &Value) -> Result<Value, OpError> {
    let Some(list) = list(value)? else {
        return Ok(Value::Null);
    };
    let index = bound(place)?;
    let place = from_front(index, list.len())?;
    list.get(place).cloned().ok_or(OpError::OutOfRange {
        index,
        len: list.len(),
    })
}

/// `value[start:end]`, without the element at `end`; a bound that is left out is that end of the list.
/// Negative bounds count from the end.
///
/// # Errors
///
/// If the value is no list, a bound is no number or outside the list, or the end is before the start.
pub fn slice(value: &Value, start: Option<&Value>, end: Option<&Value>) -> Result<Value, OpError> {
    let Some(list) = list(value)? else {
        return Ok(Value::Null);
    };
    let len = list.len();
    let start = match start {
        Some(start) => from_front(bound(start)?, len)?,
        None => 0,
    };
    let end = match end {
        Some(end) => match bound(end)? {
            index if usize::try_from(index) == Ok(len) => len,
            index => from_front(index, len)?,
        },
        None => len,
    };
    list.get(start..end)
        .map(|part| Value::list(part.to_vec()))
        .ok_or(OpError::Backwards { start, end })
}

fn list(value: &Value) -> Result<Option<&[Value]>, OpError> {
    match value {
        Value::Null => Ok(None),
        Value::List(list) => Ok(Some(list)),
        other => Err(OpError::NotAList(other.shown())),
    }
}

fn bound(value: &Value) -> Result<i64, OpError> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Float(number) => int_of(*number),
        _ => None,
    }
    .ok_or_else(|| OpError::NotAnIndex(value.shown()))
}

fn from_front(index: i64, len: usize) -> Result<usize, OpError> {
    let end = len as i64; // No list is longer than memory.
    let place = if index < 0 {
        index.saturating_add(end)
    } else {
        index
    };
    usize::try_from(place)
        .ok()
        .filter(|place| *place < len)
        .ok_or(OpError::OutOfRange { index, len })
}
