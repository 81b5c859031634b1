//! Conditions, as 1 or 0 on the stack. AND and OR leave out the right side where the left decides.

use tidemill_abi::{import, value::op};
use wasm_encoder::{Instruction, ValType};

use super::number::Number;
use super::{Compiler, Scope};
use crate::ast::{Expr, Literal, Node, Op};
use crate::error::SqlError;
use crate::module::{Body, InputKind};

/// Kind of hits that are counted: conditions on rows.
pub(super) const ROWS: i32 = 0;
/// Conditions on groups.
pub(super) const GROUPS: i32 = 1;

impl<'a> Compiler<'a> {
    pub(super) fn condition(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        self.written(expr, |compiler| compiler.holds(scope, expr))
    }

    fn holds(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        match &expr.node {
            Node::Literal(Literal::Bool(value)) => scope.body.i32(i32::from(*value)),
            Node::Binary(Op::And, a, b) => {
                self.condition(scope, a)?;
                scope.body.begin_if(Some(ValType::I32));
                self.sometimes(scope, b)?;
                scope.body.begin_else();
                scope.body.i32(0);
                scope.body.end();
            }
            Node::Binary(Op::Or, a, b) => {
                self.condition(scope, a)?;
                scope.body.begin_if(Some(ValType::I32));
                scope.body.i32(1);
                scope.body.begin_else();
                self.sometimes(scope, b)?;
                scope.body.end();
            }
            Node::Not(inner) if !has_own_negation(&inner.node) => {
                self.condition(scope, inner)?;
                scope.body.push(Instruction::I32Eqz);
            }
            Node::Binary(compare @ (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge), a, b) => {
                self.comparison(scope, *compare, a, b, expr)?;
            }
            _ => self.general(scope, expr)?,
        }
        Ok(())
    }

    /// A condition that is worked out for some events only.
    fn sometimes(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        let always = std::mem::replace(&mut scope.always, false);
        let result = self.condition(scope, expr);
        scope.always = always;
        result
    }

    /// By way of a value.
    fn general(&mut self, scope: &mut Scope, expr: &'a Expr) -> Result<(), SqlError> {
        self.expression(scope, expr)?;
        self.module.call(&mut scope.body, import::V_TRUE);
        Ok(())
    }

    fn comparison(
        &mut self,
        scope: &mut Scope,
        compare: Op,
        a: &'a Expr,
        b: &'a Expr,
        expr: &'a Expr,
    ) -> Result<(), SqlError> {
        if !scope.typed {
            return self.general(scope, expr);
        }
        let inputs = self.module.inputs.clone();
        let (left, right) = (
            self.number(scope, a, scope.always),
            self.number(scope, b, scope.always),
        );
        let numbers = left.zip(right);
        let numbers = numbers.and_then(|(left, right)| {
            let max = Number::inputs_max(&left, &right)?;
            Some((left, right, max))
        });
        let Some((left, right, max)) = numbers else {
            self.module.inputs = inputs;
            return self.general(scope, expr);
        };
        let mut params = [left.inputs(), right.inputs()].concat();
        params.sort_unstable();
        params.dedup();
        params.retain(|param| max.is_finite() || self.is_loose(*param));
        for (place, param) in params.iter().enumerate() {
            self.is_for_floats(&mut scope.body, *param, max);
            if place > 0 {
                scope.body.push(Instruction::I32And);
            }
        }
        if params.is_empty() {
            self.compare_numbers(scope, compare, &left, &right);
            return Ok(());
        }
        scope.body.begin_if(Some(ValType::I32));
        self.compare_numbers(scope, compare, &left, &right);
        scope.body.begin_else();
        self.general(scope, expr)?;
        scope.body.end();
        Ok(())
    }

    /// Checks that a parameter may be compared as a float: it is not so large that a float would
    /// change the result, and it is not NaN for a type that the comparison may refuse.
    fn is_for_floats(&self, body: &mut Body, param: u32, max: f64) {
        body.param(param);
        body.push(Instruction::F64Abs);
        body.push(Instruction::F64Const(max));
        if self.is_loose(param) {
            body.push(Instruction::F64Lt);
        } else {
            // NaN is a missing number here: with it, no comparison holds.
            body.push(Instruction::F64Ge);
            body.push(Instruction::I32Eqz);
        }
    }

    /// Returns `true` if a parameter may be NaN because of a wrong type.
    fn is_loose(&self, param: u32) -> bool {
        let input = self.module.inputs.get(param as usize);
        input.is_some_and(|input| input.kind == InputKind::Number)
    }

    fn compare_numbers(&mut self, scope: &mut Scope, compare: Op, a: &Number, b: &Number) {
        let body = &mut scope.body;
        self.number_code(body, a);
        self.number_code(body, b);
        match compare {
            Op::Eq => body.push(Instruction::F64Eq),
            Op::Lt => body.push(Instruction::F64Lt),
            Op::Le => body.push(Instruction::F64Le),
            Op::Gt => body.push(Instruction::F64Gt),
            Op::Ge => body.push(Instruction::F64Ge),
            _ => {
                // A missing number differs from nothing: with it, no comparison holds.
                body.push(Instruction::F64Lt);
                self.number_code(body, a);
                self.number_code(body, b);
                body.push(Instruction::F64Gt);
                body.push(Instruction::I32Or);
            }
        }
    }

    /// Counts that the condition on the stack was met, where it asks for that.
    pub(super) fn count_hits(&mut self, scope: &mut Scope, expr: &'a Expr) {
        if !self.asks_for_hits(Some(expr), ROWS) {
            return;
        }
        let met = self.keep(scope);
        scope.body.get(met);
        scope.body.begin_if(None);
        self.count_hit(&mut scope.body, ROWS);
        scope.body.end();
        scope.body.get(met);
    }

    /// Counts that the condition on rows or on groups was met.
    pub(super) fn count_hit(&mut self, body: &mut Body, which: i32) {
        body.i32(which);
        self.module.call(body, import::V_HITS);
    }

    /// Returns `true` if the condition or a selected expression asks how often it was met.
    pub(super) fn asks_for_hits(&self, condition: Option<&'a Expr>, which: i32) -> bool {
        let wanted = match which {
            ROWS => "last_hit_",
            _ => "last_agg_hit_",
        };
        let mut all = self.outputs().chain(condition);
        all.any(|expr| {
            expr.any(&|node| matches!(node, Node::Call(call) if call.name.starts_with(wanted)))
        })
    }
}

/// Tests whose negation is not just the opposite, because of what nothing does to them.
pub(super) fn has_own_negation(node: &Node) -> bool {
    negated_op(node).is_some()
}

/// The operator of a test with NOT in front of it.
pub(super) fn negated_op(node: &Node) -> Option<i32> {
    match node {
        Node::InList(..) | Node::InValue(..) => Some(op::NOT_IN),
        Node::Between(..) => Some(op::NOT_BETWEEN),
        Node::Like(..) => Some(op::NOT_LIKE),
        _ => None,
    }
}
