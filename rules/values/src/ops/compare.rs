//! Which of two values is larger, if they can be compared at all.

use std::cmp::Ordering;

use super::{BinaryOp, OpError};
use crate::Value;
use crate::cast::int_of;
use crate::functions::moment;

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
    let order = partial_order(left, right);
    // NaN is neither equal to anything nor larger nor smaller.
    Ok(match op {
        BinaryOp::Eq => order == Some(Ordering::Equal),
        BinaryOp::Ne => order != Some(Ordering::Equal),
        BinaryOp::Lt => order == Some(Ordering::Less),
        BinaryOp::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        BinaryOp::Gt => order == Some(Ordering::Greater),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn comparable(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(_), Value::Text(_)) | (Value::Bytes(_), Value::Bytes(_)) => true,
        (Value::Datetime(_), other) | (other, Value::Datetime(_)) => moment(other).is_some(),
        (left, right) => left.as_number().is_some() && right.as_number().is_some(),
    }
}

fn partial_order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Datetime(_), _) | (_, Value::Datetime(_)) => {
            Some(moment(left)?.cmp(&moment(right)?))
        }
        (left, right) => left.as_number()?.partial_cmp(&right.as_number()?),
    }
}

/// Which comes first in `ORDER BY … ASC`: nothing comes last, false before true, NaN after all
/// numbers. To sort, look with this whether all fit the first one, then use [`total_order`], which
/// never fails.
///
/// # Errors
///
/// If the types cannot be put in an order.
pub fn order(left: &Value, right: &Value) -> Result<Ordering, OpError> {
    let fits = match (left, right) {
        (Value::Null, _) | (_, Value::Null) | (Value::Bool(_), Value::Bool(_)) => true,
        (left, right) => comparable(left, right),
    };
    if !fits {
        return Err(BinaryOp::Lt.refuse(left, right));
    }
    if matches!(left, Value::Datetime(_)) || matches!(right, Value::Datetime(_)) {
        let (left_ms, right_ms) = (moment(left), moment(right));
        if left_ms.is_some() && right_ms.is_some() {
            return Ok(left_ms.cmp(&right_ms));
        }
    }
    Ok(total_order(left, right))
}

/// An order of all values whatever their types: false, true, numbers, datetimes, texts, bytes, lists,
/// objects, nothing. Numbers are compared exactly, also where a float cannot tell whole numbers
/// apart.
pub fn total_order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => floats(*a, *b),
        (Value::Int(a), Value::Float(b)) => exact(*a, *b),
        (Value::Float(a), Value::Int(b)) => exact(*b, *a).reverse(),
        (Value::Datetime(a), Value::Datetime(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (left, right) => rank(left).cmp(&rank(right)).then_with(|| {
            // Lists and objects: any order will do as long as it is one.
            let (mut a, mut b) = (Vec::new(), Vec::new());
            left.identity(&mut a);
            right.identity(&mut b);
            a.cmp(&b)
        }),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) | Value::Float(_) => 1,
        Value::Datetime(_) => 2,
        Value::Text(_) => 3,
        Value::Bytes(_) => 4,
        Value::List(_) => 5,
        Value::Map(_) => 6,
        Value::Null => 7,
    }
}

/// -0 and 0 are equal, NaN comes last.
fn floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn exact(whole: i64, float: f64) -> Ordering {
    match int_of(float) {
        Some(cut) => whole.cmp(&cut).then_with(|| floats(0.0, float.fract())),
        None => floats(0.0, float),
    }
}

/// Whether `CASE value WHEN other` applies: as `=`, so that nothing fits nothing.
///
/// # Errors
///
/// If the types cannot be compared.
pub fn case_equal(value: &Value, other: &Value) -> Result<bool, OpError> {
    compare(BinaryOp::Eq, value, other)
}
