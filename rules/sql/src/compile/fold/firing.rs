//! The firing of a folded window: aggregates out of the slots of the pane.

use tidemill_abi::{export, import, value, value::op};
use wasm_encoder::{Instruction, ValType};

use super::EXACT_STEP;
use super::plan::{Extreme, Folding};
use crate::ast::Call;
use crate::compile::{Compiler, Level, Scope, leave_unless};
use crate::error::SqlError;
use crate::module::{Body, Local};

impl<'a> Compiler<'a> {
    /// The handler at a firing: HAVING, then the row of the group.
    pub(super) fn fold_window(&mut self, folding: &Folding) -> Result<(), SqlError> {
        let mut scope = Scope::new(Level::Group, false);
        if let Some(rows) = folding.rows {
            self.slot_get(&mut scope.body, rows);
            scope.body.push(Instruction::F64Const(0.0));
            scope.body.push(Instruction::F64Ne);
            leave_unless(&mut scope.body);
        }
        if let Some(having) = &self.select.having {
            self.lets(&mut scope, &[having])?;
            self.condition(&mut scope, having)?;
            leave_unless(&mut scope.body);
        }
        self.row_out(&mut scope)?;
        self.flush(&mut scope.body, None);
        scope.body.i32(0);
        self.module.handler(export::ON_WINDOW, scope.body);
        Ok(())
    }

    /// The key of the group, if the column is the one that is grouped by.
    pub(in crate::compile) fn folded_key(&mut self, scope: &mut Scope, name: &str) -> bool {
        let is_key = |folding: &Folding| folding.key.as_deref() == Some(name);
        if scope.level != Level::Group || !self.folding.as_ref().is_some_and(is_key) {
            return false;
        }
        scope.body.i32(op::KEY);
        self.slot_get(&mut scope.body, 0);
        scope.body.push(Instruction::I32TruncSatF64S);
        self.finish_op(scope, 1);
        true
    }

    /// An aggregate out of the slots, if the window is folded.
    pub(in crate::compile) fn folded(&mut self, scope: &mut Scope, call: &Call) -> bool {
        let Some(folding) = self.folding.clone() else {
            return false;
        };
        let Some(path) = call.args.first().and_then(|arg| self.input_path(arg)) else {
            self.folded_rows(scope, &folding);
            return true;
        };
        let Some(column) = folding.columns.iter().find(|column| column.path == path) else {
            return false;
        };
        let count = scope.body.local(ValType::F64);
        self.slot_get(&mut scope.body, column.count);
        scope.body.set(count);
        if call.name == "count" {
            scope.body.get(count);
            scope.body.push(Instruction::F64Abs);
            scope.body.push(Instruction::I64TruncSatF64S);
            self.module.call(&mut scope.body, import::V_I64);
            return true;
        }
        let body = &mut scope.body;
        body.get(count);
        body.push(Instruction::F64Const(0.0));
        body.push(Instruction::F64Ne);
        body.begin_if(Some(ValType::I32));
        match (call.name.as_str(), column.sum) {
            ("sum", Some(sum)) => self.folded_sum(body, (sum, column.high), count, false),
            ("avg", Some(sum)) => self.folded_sum(body, (sum, column.high), count, true),
            ("min", _) => self.folded_extreme(body, column.min),
            _ => self.folded_extreme(body, column.max),
        }
        body.begin_else();
        body.i32(value::NULL);
        body.end();
        true
    }

    /// Puts the number of the group's rows on the stack.
    fn folded_rows(&mut self, scope: &mut Scope, folding: &Folding) {
        match folding.rows {
            Some(rows) => {
                self.slot_get(&mut scope.body, rows);
                scope.body.push(Instruction::I64TruncSatF64S);
            }
            None => {
                scope.body.i32(tidemill_abi::EvI64::Folded as i32);
                self.module.call(&mut scope.body, import::EV_I64);
            }
        }
        self.module.call(&mut scope.body, import::V_I64);
    }

    fn folded_extreme(&mut self, body: &mut Body, extreme: Option<Extreme>) {
        match extreme {
            Some(Extreme {
                value,
                mark: Some(mark),
            }) => {
                body.i32(op::EXTREME);
                body.i32(value);
                body.i32(mark);
                body.i32(value::NULL);
                self.module.call(body, import::V_OP);
            }
            extreme => {
                self.slot_get(body, extreme.map_or(0, |extreme| extreme.value));
                self.module.call(body, import::V_F64);
            }
        }
    }

    /// A sum or a mean: whole where all values were.
    fn folded_sum(
        &mut self,
        body: &mut Body,
        (sum, high): (i32, Option<i32>),
        count: Local,
        mean: bool,
    ) {
        let Some(high) = high else {
            return self.folded_floats(body, (sum, None), count, mean);
        };
        body.get(count);
        body.push(Instruction::F64Const(0.0));
        body.push(Instruction::F64Gt);
        body.begin_if(Some(ValType::I32));
        self.slot_get(body, high);
        body.push(Instruction::I64TruncSatF64S);
        body.push(Instruction::I64Const(EXACT_STEP as i64));
        body.push(Instruction::I64Mul);
        self.slot_get(body, sum);
        body.push(Instruction::I64TruncSatF64S);
        body.push(Instruction::I64Add);
        if mean {
            body.get(count);
            body.push(Instruction::I64TruncSatF64S);
            body.push(Instruction::I64DivS);
        }
        self.module.call(body, import::V_I64);
        body.begin_else();
        self.folded_floats(body, (sum, Some(high)), count, mean);
        body.end();
    }

    fn folded_floats(
        &mut self,
        body: &mut Body,
        (sum, high): (i32, Option<i32>),
        count: Local,
        mean: bool,
    ) {
        self.slot_get(body, sum);
        if let Some(high) = high {
            self.slot_get(body, high);
            body.push(Instruction::F64Const(EXACT_STEP));
            body.push(Instruction::F64Mul);
            body.push(Instruction::F64Add);
        }
        if mean {
            body.get(count);
            body.push(Instruction::F64Abs);
            body.push(Instruction::F64Div);
        }
        self.module.call(body, import::V_F64);
    }
}
