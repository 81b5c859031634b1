//! Which of two values is larger, if they can be compared at all.

use std::cmp::Ordering;

use super::{BinaryOp, OpError};
use crate::Value;
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

/// Which comes first in `ORDER BY … ASC`: nothing comes last, false before true, NaN after all numbers.
///
/// # Errors
///
/// If the types cannot be put in an order.
pub fn order(left: &Value, right: &Value) -> Result<Ordering, OpError> {
    match (left, right) {
        (Value::Null, Value::Null) => return Ok(Ordering::Equal),
        (Value::Null, _) => return Ok(Ordering::Greater),
        (_, Value::Null) => return Ok(Ordering::Less),
        (Value::Bool(a), Value::Bool(b)) => return Ok(a.cmp(b)),
        _ => {}
    }
    if !comparable(left, right) {
        return Err(BinaryOp::Lt.refuse(left, right));
    }
    let nan = |value: &Value| matches!(value, Value::Float(number) if number.is_nan());
    Ok(partial_order(left, right).unwrap_or_else(|| nan(left).cmp(&nan(right))))
}

/// Whether `CASE value WHEN other` applies: as `=`, so that nothing fits nothing.
///
/// # Errors
///
/// If the types cannot be compared.
pub fn case_equal(value: &Value, other: &Value) -> Result<bool, OpError> {
    compare(BinaryOp::Eq, value, other)
}
