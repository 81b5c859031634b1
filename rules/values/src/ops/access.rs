//! Access to parts of a value.

use super::OpError;
use crate::Value;
use crate::cast::int_of;

/// `value->name`: null if there is no such name, or no object.
pub fn field(value: &Value, name: &str) -> Value {
    value
        .as_map()
        .and_then(|map| map.get_column(name))
        .cloned()
        .unwrap_or_default()
}

/// `value[place]`: counted from 0, or with a negative number from the end. Nothing has nothing in it;
/// of bytes it is a number.
///
/// # Errors
///
/// If the value is neither list nor bytes, or the place is no number or outside of it.
pub fn index(value: &Value, place: &Value) -> Result<Value, OpError> {
    if let Value::Bytes(bytes) = value {
        return byte(bytes, place);
    }
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

/// The byte at a place, counted as [`index`] does.
///
/// # Errors
///
/// If the place is no number or outside of the bytes.
pub(crate) fn byte(bytes: &[u8], place: &Value) -> Result<Value, OpError> {
    let (index, len) = (bound(place)?, bytes.len());
    let place = from_front(index, len).ok();
    place
        .and_then(|place| bytes.get(place))
        .map(|byte| Value::Int((*byte).into()))
        .ok_or(OpError::NoByte { index, len })
}

/// `value[start:end]`, without the element at `end`; a bound that is left out is that end of the list
/// or of the bytes. Negative bounds count from the end.
///
/// # Errors
///
/// If the value is neither list nor bytes, a bound is no number or outside of it, or the end is before
/// the start.
pub fn slice(value: &Value, start: Option<&Value>, end: Option<&Value>) -> Result<Value, OpError> {
    if let Value::Bytes(bytes) = value {
        let (start, end) = bounds(bytes.len(), start, end)?;
        let part = bytes.get(start..end).map(Value::bytes);
        return part.ok_or(OpError::Backwards { start, end });
    }
    let Some(list) = list(value)? else {
        return Ok(Value::Null);
    };
    let (start, end) = bounds(list.len(), start, end)?;
    list.get(start..end)
        .map(|part| Value::list(part.to_vec()))
        .ok_or(OpError::Backwards { start, end })
}

/// Number of elements, or bytes, that a slice copies.
pub(super) fn slice_len(value: &Value, start: Option<&Value>, end: Option<&Value>) -> usize {
    let len = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        _ => 0,
    };
    bounds(len, start, end).map_or(0, |(start, end)| end.saturating_sub(start))
}

/// Start and end of a slice, both counted from the front.
fn bounds(
    len: usize,
    start: Option<&Value>,
    end: Option<&Value>,
) -> Result<(usize, usize), OpError> {
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
    Ok((start, end))
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
