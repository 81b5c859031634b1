//! Operators. If one side is null, arithmetic gives null and a comparison is false; types that do
//! not fit each other are an error, not false. Whole numbers wrap around, as they do in compiled
//! code; a float beyond the largest one is null.

mod access;
mod compare;
mod like;
mod membership;
mod price;

use crate::Value;

pub(crate) use access::byte;
pub use access::{field, index, slice};
pub use compare::{case_equal, order, total_order};
pub use like::like;
pub use membership::{between, contains};
pub(crate) use price::rest_steps;
pub use price::{price_of_binary, price_of_field, price_of_in, price_of_like, price_of_slice};

use compare::compare;

/// Why an operator gives nothing at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OpError {
    /// The operator does not know these types.
    #[error("cannot work out {left} {op} {right}", op = .op.symbol())]
    Types {
        /// The left side, as messages show it.
        left: String,
        /// The operator.
        op: BinaryOp,
        /// The right side.
        right: String,
    },
    /// The operator does not know this type.
    #[error("cannot work out {op} {value}")]
    Type {
        /// The operator.
        op: &'static str,
        /// The value, as messages show it.
        value: String,
    },
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// An index or a bound of a slice that is no number.
    #[error("{0} is no index")]
    NotAnIndex(String),
    /// Something that has no elements.
    #[error("{0} has no elements")]
    NotAList(String),
    /// An index or a bound of a slice beyond the ends of a list.
    #[error("index {index} is outside a list of {len}")]
    OutOfRange {
        /// The index.
        index: i64,
        /// Length of the list.
        len: usize,
    },
    /// A place beyond the ends of bytes.
    #[error("there is no byte {index}, of {len} in all")]
    NoByte {
        /// The place.
        index: i64,
        /// Number of bytes.
        len: usize,
    },
    /// A slice whose end is before its start.
    #[error("a slice cannot go from {start} back to {end}")]
    Backwards {
        /// Start, counted from the front.
        start: usize,
        /// End, counted from the front.
        end: usize,
    },
}

/// An operator between two values. Its number is what compiled code passes, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "their names say what they are")]
pub enum BinaryOp {
    Add = 0,
    Sub = 1,
    Mul = 2,
    Div = 3,
    Rem = 4,
    BitAnd = 5,
    BitOr = 6,
    BitXor = 7,
    Eq = 8,
    Ne = 9,
    Lt = 10,
    Le = 11,
    Gt = 12,
    Ge = 13,
    And = 14,
    Or = 15,
}

impl BinaryOp {
    /// All, by number.
    pub const ALL: [Self; 16] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Rem,
        Self::BitAnd,
        Self::BitOr,
        Self::BitXor,
        Self::Eq,
        Self::Ne,
        Self::Lt,
        Self::Le,
        Self::Gt,
        Self::Ge,
        Self::And,
        Self::Or,
    ];

    /// The operator of this number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Spelling of the operator in SQL.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Rem => "%",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "^",
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::And => "AND",
            Self::Or => "OR",
        }
    }

    fn refuse(self, left: &Value, right: &Value) -> OpError {
        OpError::Types {
            left: left.shown(),
            op: self,
            right: right.shown(),
        }
    }
}

/// Applies an operator to two values that are already evaluated. A caller that wants `AND` and `OR`
/// to skip the right side if the left decides has to check the left one first.
///
/// # Errors
///
/// If the types do not fit the operator or each other, or on a division by zero.
pub fn binary(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, OpError> {
    match op {
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            compare(op, left, right).map(Value::Bool)
        }
        BinaryOp::And | BinaryOp::Or => logic(op, left, right).map(Value::Bool),
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => bits(op, left, right),
        _ => arithmetic(op, left, right),
    }
}

fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, OpError> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Int(left), Value::Int(right)) => whole(op, *left, *right),
        (left, right) => match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => fractional(op, a, b).ok_or_else(|| op.refuse(left, right))?,
            _ => Err(op.refuse(left, right)),
        },
    }
}

fn whole(op: BinaryOp, left: i64, right: i64) -> Result<Value, OpError> {
    Ok(Value::Int(match op {
        BinaryOp::Add => left.wrapping_add(right),
        BinaryOp::Sub => left.wrapping_sub(right),
        BinaryOp::Mul => left.wrapping_mul(right),
        BinaryOp::Div | BinaryOp::Rem if right == 0 => return Err(OpError::DivisionByZero),
        BinaryOp::Div => left.wrapping_div(right),
        BinaryOp::Rem => left.wrapping_rem(right),
        _ => return Err(op.refuse(&Value::Int(left), &Value::Int(right))),
    }))
}

fn fractional(op: BinaryOp, left: f64, right: f64) -> Option<Result<Value, OpError>> {
    Some(Ok(Value::float(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div | BinaryOp::Rem if right == 0.0 => return Some(Err(OpError::DivisionByZero)),
        BinaryOp::Div => left / right,
        BinaryOp::Rem => left % right,
        _ => return None,
    })))
}

/// Null counts as false.
fn logic(op: BinaryOp, left: &Value, right: &Value) -> Result<bool, OpError> {
    let side = |value: &Value| match value {
        Value::Null => Some(false),
        Value::Bool(value) => Some(*value),
        _ => None,
    };
    match (side(left), side(right), op) {
        (Some(a), Some(b), BinaryOp::And) => Ok(a && b),
        (Some(a), Some(b), _) => Ok(a || b),
        _ => Err(op.refuse(left, right)),
    }
}

fn bits(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, OpError> {
    Ok(match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Value::Null,
        (Value::Int(a), Value::Int(b)) => Value::Int(match op {
            BinaryOp::BitAnd => a & b,
            BinaryOp::BitOr => a | b,
            _ => a ^ b,
        }),
        (Value::Bool(a), Value::Bool(b)) => Value::Bool(match op {
            BinaryOp::BitAnd => a & b,
            BinaryOp::BitOr => a | b,
            _ => a ^ b,
        }),
        (left, right) => return Err(op.refuse(left, right)),
    })
}

/// The sign in front of a number.
///
/// # Errors
///
/// If it is no number.
pub fn negate(value: &Value) -> Result<Value, OpError> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
        Value::Wide(number) => Ok(match i64::try_from(-i128::from(*number)) {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Float(-(*number as f64)),
        }),
        Value::Float(number) => Ok(Value::float(-number)),
        other => Err(OpError::Type {
            op: "-",
            value: other.shown(),
        }),
    }
}

/// `NOT`; of nothing it is true, since nothing counts as false.
///
/// # Errors
///
/// If it is neither true, false nor nothing.
pub fn not(value: &Value) -> Result<Value, OpError> {
    match value {
        Value::Null => Ok(Value::Bool(true)),
        Value::Bool(value) => Ok(Value::Bool(!value)),
        other => Err(OpError::Type {
            op: "NOT",
            value: other.shown(),
        }),
    }
}

#[cfg(test)]
mod tests;
