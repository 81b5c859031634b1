//! Order of two values, if they can be compared at all.

use std::cmp::Ordering;

use super::{BinaryOp, OpError};
use crate::functions::moment;
use crate::{Map, Value};

/// Compares two values. With nothing on a side it is false, whatever the operator.
pub(super) fn compare(op: BinaryOp, left: &Value, right: &Value) -> Result<bool, OpError> {
    if left.is_null() || right.is_null() {
        return Ok(false);
    }
    if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
        return match op {
            BinaryOp::Eq => Ok(a == b),
            BinaryOp::Ne => Ok(a != b),
            _ => Err(op.refuse(left, right)),
        };
    }
    let comparable = comparable(left, right);
    if !comparable {
        return Err(op.refuse(left, right));
    }
    let order = order_of_comparable(left, right);
    Ok(match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::Ne => order.is_ne(),
        BinaryOp::Lt => order.is_lt(),
        BinaryOp::Le => order.is_le(),
        BinaryOp::Gt => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn comparable(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(_), Value::Text(_)) | (Value::Bytes(_), Value::Bytes(_)) => true,
        (Value::Datetime(_), other) | (other, Value::Datetime(_)) => moment(other).is_some(),
        (left, right) => left.as_number().is_some() && right.as_number().is_some(),
    }
}

/// Order of two [`comparable`] values: datetimes by the moment they stand for.
fn order_of_comparable(left: &Value, right: &Value) -> Ordering {
    if matches!(left, Value::Datetime(_)) || matches!(right, Value::Datetime(_)) {
        return moment(left).cmp(&moment(right));
    }
    total_order(left, right)
}

/// Order of two values for `min` and `max`, null last. Meant for a scan of values; to sort, use
/// [`total_order`], which never fails.
///
/// # Errors
///
/// If the types cannot be compared.
pub fn order(left: &Value, right: &Value) -> Result<Ordering, OpError> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) | (Value::Bool(_), Value::Bool(_)) => {
            Ok(total_order(left, right))
        }
        (left, right) if comparable(left, right) => Ok(order_of_comparable(left, right)),
        (left, right) => Err(BinaryOp::Lt.refuse(left, right)),
    }
}

/// A total order of all values whatever their types: false, true, numbers, datetimes, texts, bytes,
/// lists, objects, null. Numbers are compared exactly, even if a float cannot represent them; lists
/// element by element, objects name by name in the order of the names, and one that is the
/// beginning of another comes before it. Values are equal exactly if they are [`Value::same`].
pub fn total_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Wide(a), Value::Wide(b)) => a.cmp(b),
        (Value::Int(_), Value::Wide(_)) => Ordering::Less,
        (Value::Wide(_), Value::Int(_)) => Ordering::Greater,
        (Value::Float(a), Value::Float(b)) => floats(*a, *b),
        (Value::Int(a), Value::Float(b)) => exact((*a).into(), *b),
        (Value::Wide(a), Value::Float(b)) => exact((*a).into(), *b),
        (Value::Float(a), Value::Int(b)) => exact((*b).into(), *a).reverse(),
        (Value::Float(a), Value::Wide(b)) => exact((*b).into(), *a).reverse(),
        (Value::Datetime(a), Value::Datetime(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::List(a), Value::List(b)) => {
            let elements = a.iter().zip(b.iter());
            let mut orders = elements.map(|(a, b)| total_order(a, b));
            let differs = orders.find(|order| order.is_ne());
            differs.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Map(a), Value::Map(b)) => maps(a, b),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

fn maps(a: &Map, b: &Map) -> Ordering {
    let sorted = |map: &Map| {
        let mut entries: Vec<_> = map.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        entries.sort_by_key(|(name, _)| name.clone());
        entries
    };
    let (a, b) = (sorted(a), sorted(b));
    let mut orders = a.iter().zip(&b).map(|((a_name, a), (b_name, b))| {
        let names = a_name.cmp(b_name);
        names.then_with(|| total_order(a, b))
    });
    let differs = orders.find(|order| order.is_ne());
    differs.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) | Value::Wide(_) | Value::Float(_) => 1,
        Value::Datetime(_) => 2,
        Value::Text(_) => 3,
        Value::Bytes(_) => 4,
        Value::List(_) => 5,
        Value::Map(_) => 6,
        Value::Null => 7,
    }
}

/// -0 and 0 are equal; NaN, which no value is, would come last.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// A whole number of at most 64 bits beside a float, digit by digit.
fn exact(whole: i128, float: f64) -> Ordering {
    // 2^64: whatever is beyond it is beyond every whole number.
    const END: f64 = 18_446_744_073_709_551_616.0;
    if float.abs() >= END || float.is_nan() {
        return floats(0.0, float);
    }
    let cut = whole.cmp(&(float.trunc() as i128));
    cut.then_with(|| floats(0.0, float.fract()))
}

/// `true` if `CASE value WHEN other` applies: as `=`, so that nothing equals null.
///
/// # Errors
///
/// If the types cannot be compared.
pub fn case_equal(value: &Value, other: &Value) -> Result<bool, OpError> {
    compare(BinaryOp::Eq, value, other)
}
