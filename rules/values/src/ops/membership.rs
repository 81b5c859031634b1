//! `IN` and `BETWEEN`.

use super::BinaryOp;
use super::OpError;
use super::compare::compare;
use crate::Value;

/// `value IN set`, or with `negated` `value NOT IN set`. A set that is no list holds nothing: `IN` is
/// false and `NOT IN` true. If the value is nothing, both are false. Else the elements are compared
/// in order until one is equal.
///
/// # Errors
///
/// If an element before the first equal one has a type that cannot be compared with the value's.
pub fn contains(value: &Value, set: &Value, negated: bool) -> Result<bool, OpError> {
    let Some(set) = set.as_list() else {
        return Ok(negated);
    };
    if value.is_null() {
        return Ok(false);
    }
    for element in set {
        if compare(BinaryOp::Eq, value, element)? {
            return Ok(!negated);
        }
    }
    Ok(negated)
}

/// `value BETWEEN low AND high`, both ends included, or with `negated` `NOT BETWEEN`. With nothing
/// anywhere both are false.
///
/// # Errors
///
/// If the types cannot be compared.
pub fn between(value: &Value, low: &Value, high: &Value, negated: bool) -> Result<bool, OpError> {
    if value.is_null() || low.is_null() || high.is_null() {
        return Ok(false);
    }
    let above = compare(BinaryOp::Ge, value, low)?;
    let below = compare(BinaryOp::Le, value, high)?;
    Ok((above && below) != negated)
}
