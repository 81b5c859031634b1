//! Judging an event when it comes: what can be worked out of it alone and would fail once its window
//! fires stops the event now, so that it fails alone. Both plans judge by the same code, in the same
//! order.

use std::collections::BTreeSet;

use tidemill_abi::{import, value::op};
use tidemill_values::{FieldType, judges, lookup};
use wasm_encoder::Instruction;

use super::calls::is_aggregate;
use super::path::Path;
use super::{Compiler, Level, Scope};
use crate::ast::{Call, Expr, Node, Op};
use crate::error::SqlError;
use crate::module::InputKind;

impl<'a> Compiler<'a> {
    /// Stops an event that an aggregate could not use at the firing.
    pub(super) fn judge(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let before = (scope.level, scope.always, scope.typed, scope.plain);
        (scope.level, scope.always, scope.typed) = (Level::Fold, false, false);
        let lets = std::mem::take(&mut scope.lets);
        scope.plain = false;
        self.judge_aggregates(scope)?;
        scope.lets = lets;
        (scope.level, scope.always, scope.typed, scope.plain) = before;
        Ok(())
    }

    fn judge_aggregates(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let select = self.select;
        let of_where = select.filter.iter().filter(|_| select.window.is_some());
        let mut calls: Vec<&'a Call> = Vec::new();
        for expr in self.outputs().chain(of_where) {
            expr.walk(&mut |expr| match &expr.node {
                Node::Call(call) if is_aggregate(&expr.node) => calls.push(call),
                _ => {}
            });
        }
        let mut judged = BTreeSet::new();
        for call in calls {
            self.judge_call(scope, call, &mut judged)?;
        }
        Ok(())
    }

    fn judge_call(
        &mut self,
        scope: &mut Scope,
        call: &'a Call,
        judged: &mut BTreeSet<(i32, Path)>,
    ) -> Result<(), SqlError> {
        let Some(function) = lookup(&call.name) else {
            return Ok(());
        };
        let parts = call.args.iter().chain(&call.filter);
        let of_event = |compiler: &Self, expr| compiler.of_event(scope, expr, &mut Vec::new());
        if !parts.into_iter().all(|expr| of_event(self, expr)) {
            return Ok(());
        }
        let wanted =
            |place: usize, arg: &Expr| (place == 0 && judges(function.name)) || can_fail(&arg.node);
        let mut wanted = call
            .args
            .iter()
            .enumerate()
            .filter(|(place, arg)| wanted(*place, arg));
        let Some(first) = wanted.next() else {
            return match &call.filter {
                // The condition itself may fail.
                Some(filter) => {
                    self.condition(scope, filter)?;
                    scope.body.push(Instruction::Drop);
                    Ok(())
                }
                None => Ok(()),
            };
        };
        let mut number = i32::from(function.number);
        if self.is_worked_with(call) {
            number = -number;
        }
        if let ([arg], None) = (&*call.args, &call.filter)
            && let Some(path) = self.input_path(arg)
        {
            if self.is_float_input(&path) {
                self.module.input(&path, InputKind::Declared);
                return Ok(());
            }
            // Once is enough, unless another aggregate is content with less.
            if !judged.insert((number, path)) {
                return Ok(());
            }
        }
        if let Some(filter) = &call.filter {
            self.condition(scope, filter)?;
            scope.body.begin_if(None);
        }
        for (place, arg) in std::iter::once(first).chain(wanted) {
            let fits = place == 0 && judges(function.name);
            if fits {
                scope.body.i32(number);
            }
            self.expression(scope, arg)?;
            if fits {
                self.module.call(&mut scope.body, import::V_FITS)
            } else {
                scope.body.push(Instruction::Drop)
            }
        }
        if call.filter.is_some() {
            scope.body.end();
        }
        Ok(())
    }

    /// Returns `true` if the place is declared a float, so that a typed input stops any other
    /// value.
    fn is_float_input(&self, path: &Path) -> bool {
        if self.streams.len() != 1 || self.declared_at(path) != Some(FieldType::Float) {
            return false;
        }
        let pointer = path.pointer();
        let mut known = self.module.inputs.iter();
        known.any(|input| input.kind == InputKind::Declared && input.pointer == pointer)
            || self.module.inputs.len() < crate::module::INPUTS_MAX
    }

    /// Returns `true` if arithmetic is done with the smallest or largest value itself, so that it
    /// has to be a number.
    fn is_worked_with(&self, call: &Call) -> bool {
        let is_call = |expr: &Expr| {
            let span = &call.name_span;
            matches!(&expr.node, Node::Call(other) if other.name_span == *span)
        };
        let works = |node: &Node| match node {
            Node::Binary(Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem, a, b) => {
                is_call(a) || is_call(b)
            }
            Node::Negate(a) => is_call(a),
            _ => false,
        };
        is_extreme(call) && self.outputs().any(|expr| expr.any(&works))
    }

    /// Returns `true` if an event whose value at the place is no number is stopped before it joins
    /// its window.
    pub(super) fn is_judged_a_number(&self, path: &Path) -> bool {
        let judges = |node: &Node| match node {
            Node::Call(call) if call.filter.is_none() && is_aggregate(node) => {
                let of_numbers = matches!(call.name.as_str(), "sum" | "avg");
                let arg = call.args.first().and_then(|arg| self.input_path(arg));
                (of_numbers || self.is_worked_with(call)) && arg.as_ref() == Some(path)
            }
            _ => false,
        };
        self.outputs().any(|expr| expr.any(&judges))
    }

    /// Leaves the judging to rows that a late WHERE will let pass.
    pub(super) fn judge_late(
        &mut self,
        scope: &mut Scope,
        filter: &'a Expr,
    ) -> Result<(), SqlError> {
        if !self.select.joins.is_empty() || !self.of_event(scope, filter, &mut Vec::new()) {
            return self.judge(scope);
        }
        let start = scope.body.len();
        let before = (scope.always, scope.typed);
        (scope.always, scope.typed) = (false, false);
        scope.plain = true;
        self.condition(scope, filter)?;
        scope.plain = false;
        (scope.always, scope.typed) = before;
        scope.body.begin_if(None);
        let guarded = scope.body.len();
        self.judge(scope)?;
        if scope.body.len() == guarded {
            // There is nothing to judge, and so no need to know what WHERE says.
            scope.body.truncate(start);
        } else {
            scope.body.end();
        }
        Ok(())
    }

    /// Says that of rows that are alike only the first goes out, where the statement says so.
    pub(super) fn distinct(&mut self, scope: &mut Scope) {
        if self.select.distinct.is_none() {
            return;
        }
        scope.body.i32(op::DISTINCT);
        self.finish_op(scope, 0);
        scope.body.push(Instruction::Drop);
    }
}

fn is_extreme(call: &Call) -> bool {
    matches!(call.name.as_str(), "min" | "max")
}

/// Returns `true` if evaluation can fail: reading a column or a constant cannot.
fn can_fail(node: &Node) -> bool {
    !matches!(
        node,
        Node::Column { stream: None, .. } | Node::Literal(_) | Node::Param(_) | Node::Star(_)
    )
}
