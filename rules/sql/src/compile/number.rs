//! The fast way: comparisons of numbers as plain instructions on typed inputs, without a call of the
//! host. It is taken only where a float cannot change the outcome: as long as all numbers are so small
//! that each step of the arithmetic is exact for whole ones ([`Number::inputs_max`]). Larger numbers,
//! divisions (which truncate for whole numbers) and everything that is no number go the other way.

use tidemill_values::{FieldType, Value};
use wasm_encoder::Instruction;

use super::names::Meaning;
use super::path::Path;
use super::{Compiler, Scope};
use crate::ast::{Expr, Literal, Node, Op};
use crate::module::{Body, InputKind};

/// Beyond this a float does not hold every whole number.
const EXACT_MAX: u64 = 1 << 53;
const EXACT: f64 = 9_007_199_254_740_992.0;

/// An expression of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Constant(f64),
    /// The parameter that holds a column.
    Input(u32),
    Negate(Box<Number>),
    Binary(Op, Box<Number>, Box<Number>),
}

impl<'a> Compiler<'a> {
    /// The expression as one of numbers, if it is one. `strict`: a wrong type stops the event.
    pub(super) fn number(&mut self, scope: &Scope, expr: &'a Expr, strict: bool) -> Option<Number> {
        match &expr.node {
            Node::Literal(Literal::Int(value)) => exact(*value).map(Number::Constant),
            Node::Literal(Literal::Float(value)) => Some(Number::Constant(*value)),
            Node::Param(name) => match self.param(name, expr).ok()? {
                Value::Int(value) => exact(value).map(Number::Constant),
                Value::Float(value) => Some(Number::Constant(value)),
                _ => None,
            },
            Node::Column { stream, name } => {
                match self.meaning(scope, stream.as_deref(), name) {
                    Meaning::Column(_) => {}
                    Meaning::Alias(_) | Meaning::FieldOf => return None,
                }
                let path = Path::column(name);
                let kind = self.input_kind(name, strict)?;
                self.module.input(&path, kind).map(Number::Input)
            }
            Node::Negate(inner) => {
                let inner = self.number(scope, inner, strict)?;
                Some(Number::Negate(Box::new(inner)))
            }
            Node::Binary(op @ (Op::Add | Op::Sub | Op::Mul), a, b) => {
                let a = self.number(scope, a, strict)?;
                let b = self.number(scope, b, strict)?;
                Some(Number::Binary(*op, Box::new(a), Box::new(b)))
            }
            Node::Binary(Op::Div, a, b) => {
                let divisor = match &b.node {
                    Node::Literal(Literal::Float(value)) if *value != 0.0 => *value,
                    _ => return None,
                };
                let a = self.number(scope, a, strict)?;
                Some(Number::Binary(
                    Op::Div,
                    Box::new(a),
                    Box::new(Number::Constant(divisor)),
                ))
            }
            _ => None,
        }
    }

    /// The typed input that can stand for the column: there is one stream, and what is declared of the
    /// column is a number.
    fn input_kind(&self, column: &str, strict: bool) -> Option<InputKind> {
        let [stream] = &*self.streams else {
            return None;
        };
        let mut fields = stream.fields.iter();
        let declared = fields.find(|(name, _)| name == column).map(|(_, ty)| *ty);
        // A type that one part of the condition insists on, the other has as well.
        let mut inputs = self.module.inputs.iter();
        let insists = inputs.any(|i| i.column == *column && i.kind == InputKind::Strict);
        match declared {
            Some(FieldType::Float) => Some(InputKind::Declared),
            Some(_) => None,
            // A type is declared for others: this one is found in whatever case.
            None if !stream.fields.is_empty() => None,
            None if strict || insists => Some(InputKind::Strict),
            None => Some(InputKind::Number),
        }
    }

    /// Writes the code of a number.
    pub(super) fn number_code(&self, body: &mut Body, number: &Number) {
        match number {
            Number::Constant(value) => body.push(Instruction::F64Const(*value)),
            Number::Input(param) => body.param(*param),
            Number::Negate(inner) => {
                self.number_code(body, inner);
                body.push(Instruction::F64Neg);
            }
            Number::Binary(op, a, b) => {
                self.number_code(body, a);
                self.number_code(body, b);
                body.push(match op {
                    Op::Add => Instruction::F64Add,
                    Op::Sub => Instruction::F64Sub,
                    Op::Mul => Instruction::F64Mul,
                    _ => Instruction::F64Div,
                });
            }
        }
    }
}

impl Number {
    /// Below it, either way, inputs of a comparison are so small that a float does not change what comes
    /// out: a power of two, or infinity; `None` if that cannot be said. An input of 2^53 itself may be
    /// what became of the next whole number.
    pub(super) fn inputs_max(left: &Self, right: &Self) -> Option<f64> {
        // Floats keep the order of whole numbers, so that one of less than 2^53, which they all tell from
        // its neighbours, is compared with any.
        let is_free = |a: &Self, b: &Self| {
            let is_input = matches!(a, Self::Input(_));
            is_input && matches!(b, Self::Constant(value) if value.abs() < EXACT)
        };
        if is_free(left, right) || is_free(right, left) {
            return Some(f64::INFINITY);
        }
        let powers = std::iter::successors(Some(EXACT), |max| Some(max / 2.0));
        let mut powers = powers.take_while(|max| *max >= 1.0);
        powers.find(|max| left.largest(*max).is_some() && right.largest(*max).is_some())
    }

    /// The largest that it can be with inputs up to `max`, if no step on the way is beyond what a float
    /// holds exactly.
    fn largest(&self, max: f64) -> Option<f64> {
        let largest = match self {
            Self::Constant(value) => value.abs(),
            Self::Input(_) => max,
            Self::Negate(inner) => inner.largest(max)?,
            Self::Binary(op, a, b) => {
                let (a, b) = (a.largest(max)?, b.largest(max)?);
                match op {
                    Op::Mul => a * b,
                    // A value that a float divides is a float from there on.
                    Op::Div if (a / b).is_finite() => a,
                    Op::Div => return None,
                    _ => a + b,
                }
            }
        };
        (largest <= EXACT).then_some(largest)
    }

    /// The inputs in it.
    pub(super) fn inputs(&self) -> Vec<u32> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Input(param) => vec![*param],
            Self::Negate(inner) => inner.inputs(),
            Self::Binary(_, a, b) => {
                let mut inputs = a.inputs();
                inputs.extend(b.inputs());
                inputs.sort_unstable();
                inputs.dedup();
                inputs
            }
        }
    }
}

fn exact(value: i64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "the range is checked")]
    (value.unsigned_abs() <= EXACT_MAX).then_some(value as f64)
}
