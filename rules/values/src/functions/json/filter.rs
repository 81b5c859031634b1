//! The conditions in `[? …]`: comparisons of paths and literals, with `&&`, `||`, `!` and
//! arithmetic. A comparison of incomparable values does not hold.

use super::path::{Path, QueryError, Visits};
use crate::{BinaryOp, Value, binary};

/// Fuel of an operator.
const OPERATOR_FUEL: u64 = 30;

/// A condition, or a part of one.
#[derive(Debug)]
pub(super) enum Filter {
    /// A number, text, `true`, `false` or `null`.
    Literal(Value),
    /// `@…`
    Here(Path),
    /// `$…`
    Root(Path),
    /// `!…`
    Not(Box<Filter>),
    /// Two parts and what is between them.
    Binary(BinaryOp, Box<Filter>, Box<Filter>),
}

impl Filter {
    /// `true` if an element fulfils the condition; a path alone does if it leads to anything but
    /// `false` and `null`.
    pub(super) fn holds(
        &self,
        element: &Value,
        root: &Value,
        visits: &mut Visits<'_>,
    ) -> Result<bool, QueryError> {
        Ok(match self {
            Self::Not(inner) => !inner.holds(element, root, visits)?,
            Self::Binary(BinaryOp::And, left, right) => {
                left.holds(element, root, visits)? && right.holds(element, root, visits)?
            }
            Self::Binary(BinaryOp::Or, left, right) => {
                left.holds(element, root, visits)? || right.holds(element, root, visits)?
            }
            _ => {
                let value = self.value(element, root, visits)?;
                !matches!(value, None | Some(Value::Null | Value::Bool(false)))
            }
        })
    }

    fn value(
        &self,
        element: &Value,
        root: &Value,
        visits: &mut Visits<'_>,
    ) -> Result<Option<Value>, QueryError> {
        Ok(match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Here(path) => path.first(element, root, visits)?,
            Self::Root(path) => path.first(root, root, visits)?,
            Self::Binary(op, left, right) if !matches!(op, BinaryOp::And | BinaryOp::Or) => {
                let left = left.value(element, root, visits)?;
                let right = right.value(element, root, visits)?;
                let (Some(left), Some(right)) = (left, right) else {
                    return Ok(None);
                };
                let smaller = left.weight().min(right.weight()) as u64;
                visits.spend(OPERATOR_FUEL + smaller)?;
                apply(*op, &left, &right)
            }
            _ => Some(Value::Bool(self.holds(element, root, visits)?)),
        })
    }
}

/// In JSON `null` is a value like others: it equals itself.
fn apply(op: BinaryOp, left: &Value, right: &Value) -> Option<Value> {
    match op {
        BinaryOp::Eq => Some(Value::Bool(left.same(right))),
        BinaryOp::Ne => Some(Value::Bool(!left.same(right))),
        _ => binary(op, left, right).ok(),
    }
}
