//! Fuel of the operators whose work depends on their operands. All others cost no more than the call itself.

use super::access::slice_len;
use super::{BinaryOp, like};
use crate::{SLOT_BYTES, Value};

/// Bytes of two texts that one unit of fuel compares.
const COMPARED_BYTES: u64 = 8;
/// Fuel of a name that is looked at because none is spelt exactly so.
const NAME_FUEL: u64 = 6;
/// Fuel of an element of the set of `IN`.
const ELEMENT_FUEL: u64 = 16;

/// Fuel of a text that is read as a moment.
const DATE_FUEL: u64 = 400;

/// Fuel of an operator on two values, beside that of a bare one: a comparison ends where the shorter side does, and the rest of a
/// division of floats takes as long as their exponents are apart.
pub fn price_of_binary(op: BinaryOp, left: &Value, right: &Value) -> u64 {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => a.len().min(b.len()) as u64 / COMPARED_BYTES,
        (Value::Bytes(a), Value::Bytes(b)) => a.len().min(b.len()) as u64 / COMPARED_BYTES,
        (Value::Datetime(_), Value::Text(_)) | (Value::Text(_), Value::Datetime(_)) => DATE_FUEL,
        (a, b) if op == BinaryOp::Rem => match (a.as_number(), b.as_number()) {
            (Some(a), Some(b)) => rest_steps(a, b) * 2,
            _ => 0,
        },
        _ => 0,
    }
}

/// Steps of the rest of a division: one for each bit that is divided.
pub(crate) fn rest_steps(a: f64, b: f64) -> u64 {
    let exponent = |number: f64| number.to_bits() >> 52 & 0x7ff;
    exponent(a).saturating_sub(exponent(b))
}

/// Fuel of a slice, beside its elements.
const SLICE_FUEL: u64 = 300;
/// Fuel of an element that a slice copies.
const COPIED_FUEL: u64 = 8;

/// Fuel and bytes of `value[start:end]`.
pub fn price_of_slice(value: &Value, start: Option<&Value>, end: Option<&Value>) -> (u64, usize) {
    let len = slice_len(value, start, end);
    match value {
        Value::Bytes(_) => (len as u64 / 8, len),
        _ => (
            SLICE_FUEL + len as u64 * COPIED_FUEL,
            len.saturating_mul(SLOT_BYTES),
        ),
    }
}

/// Fuel of `value IN set`.
pub fn price_of_in(value: &Value, set: &Value) -> u64 {
    let Some(list) = set.as_list() else {
        return 0;
    };
    let elements = list.len() as u64;
    let bytes = elements
        .saturating_mul(value.weight() as u64)
        .min(set.weight() as u64);
    elements * ELEMENT_FUEL + bytes / COMPARED_BYTES
}

/// Fuel of `text LIKE pattern`: one walk through both.
pub fn price_of_like(text: &Value, pattern: &Value) -> u64 {
    let (Value::Text(text), Value::Text(pattern)) = (text, pattern) else {
        return 0;
    };
    let walk = (text.len() as u64).saturating_mul(LIKE_TEXT_FUEL)
        + pattern.len() as u64 * LIKE_PATTERN_FUEL;
    // Reading the pattern is part of the walk, and says whether there is more to do.
    walk.saturating_add(like::extra_steps(text, pattern))
}

/// Fuel of a byte of the text of `LIKE`.
const LIKE_TEXT_FUEL: u64 = 4;
/// Fuel of a byte of its pattern.
const LIKE_PATTERN_FUEL: u64 = 8;

/// Fuel of a name of an object: of one that is not there all names are looked at, in whatever case.
pub fn price_of_field(value: &Value, name: &str) -> u64 {
    match value.as_map() {
        Some(map) if map.get(name).is_none() => {
            let compared = map.len().saturating_mul(name.len()).min(map.size());
            map.len() as u64 * NAME_FUEL + compared as u64 / COMPARED_BYTES
        }
        _ => 0,
    }
}
