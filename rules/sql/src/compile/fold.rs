//! Windows that keep numbers instead of rows: each event is folded into slots of its group, and at a
//! firing the aggregates are worked out of them. It is taken where the statement has one stream, at most
//! one column to group by, and no aggregate but `count`, `sum`, `avg`, and of declared floats `min` and
//! `max`. Everything else keeps rows.

mod judge;
mod plan;

use serde_json::Value as Json;
use tidemill_abi::{EvI64, export, import, value, value::kind, value::op};
use wasm_encoder::{Instruction, ValType};

use super::{Compiler, Level, Scope, leave_unless, pointer, window_json};
use crate::ast::{Call, Node, Window};
use crate::error::SqlError;
use crate::module::{Body, InputKind, Local};

use plan::Column;
pub(super) use plan::Folding;

/// What one step of a sum's second slot stands for; see `tidemill_values::Total`.
const EXACT_STEP: f64 = (1_u64 << 51) as f64;

impl<'a> Compiler<'a> {
    /// Both handlers of a window that folds its events, if the statement can be worked out like that:
    /// what the manifest says of the window, and the key.
    pub(super) fn fold(
        &mut self,
        window: &'a Window,
    ) -> Result<Option<(Json, Option<String>)>, SqlError> {
        let Some(folding) = self.folding(window) else {
            return Ok(None);
        };
        self.folding = Some(folding.clone());
        self.fold_event(&folding)?;
        self.fold_window(&folding)?;
        let mut json = window_json(window);
        json.insert("slots".to_owned(), folding.slots.into());
        let key = folding.key.as_deref().map(pointer);
        Ok(Some((json.into(), key)))
    }

    /// The handler of events: WHERE, then each column into its slots.
    fn fold_event(&mut self, folding: &Folding) -> Result<(), SqlError> {
        let mut scope = Scope::new(Level::Row, true);
        self.read_strictly(&mut scope);
        if let Some(filter) = &self.select.filter {
            self.step_plainly(&mut scope, filter)?;
            self.where_holds(&mut scope, filter)?;
            leave_unless(&mut scope.body);
        }
        self.judge_folded(&mut scope, folding)?;
        self.judge_declared(&mut scope.body);
        let body = &mut scope.body;
        if folding.columns.is_empty() && folding.key.is_none() && folding.rows.is_none() {
            // Nothing else looks at the payload, which has to be a row even so.
            self.read_row(body);
        }
        if let Some(key) = &folding.key {
            self.fold_key(body, folding, key);
        }
        if let Some(rows) = folding.rows {
            self.slot_sum(body, rows, |body| body.push(Instruction::F64Const(1.0)));
        }
        for column in &folding.columns {
            self.fold_column(body, column);
        }
        body.i32(0);
        let name = self.event_export();
        self.module.handler(name, scope.body);
        Ok(())
    }

    /// The type of the group's value: that of the first row, which the key does not tell.
    fn fold_key(&mut self, body: &mut Body, folding: &Folding, key: &str) {
        match folding.rows {
            Some(rows) => {
                self.slot_get(body, rows);
                body.push(Instruction::F64Const(0.0));
                body.push(Instruction::F64Eq);
            }
            None => {
                body.i32(EvI64::Folded as i32);
                self.module.call(body, import::EV_I64);
                body.push(Instruction::I64Eqz);
            }
        }
        body.begin_if(None);
        body.i32(0);
        if let Some(kind_of) = self.module.input(key, InputKind::Kind) {
            if folding.text_key {
                body.i32(kind::TEXT);
                body.i32(kind::MISSING);
                body.param(kind_of);
                body.push(Instruction::Select);
            } else {
                body.param(kind_of);
            }
        }
        body.push(Instruction::F64ConvertI32S);
        let number = self.module.input(key, InputKind::Number);
        if let Some(number) = number.filter(|_| !folding.text_key) {
            self.sign_of_zero(body, number);
        }
        self.module.call(body, import::REG_SET);
        body.end();
    }

    fn fold_column(&mut self, body: &mut Body, column: &Column) {
        if column.high.is_none() {
            return self.fold_declared(body, column);
        }
        let Some(kind_of) = self.module.input(&column.name, InputKind::Kind) else {
            return;
        };
        body.param(kind_of);
        body.begin_if(None);
        if column.is_worked_out() {
            let input = self.module.input(&column.name, InputKind::Number);
            self.fold_number(body, column, input.unwrap_or_default(), Some(kind_of));
        }
        self.count_one(body, column, Some(kind_of));
        body.end();
    }

    /// The kind on the stack gets the sign of a zero, which the key does not tell.
    fn sign_of_zero(&mut self, body: &mut Body, number: u32) {
        let kind = body.local(ValType::F64);
        body.set(kind);
        body.get(kind);
        body.param(number);
        body.push(Instruction::F64Copysign);
        body.get(kind);
        body.param(number);
        body.push(Instruction::F64Const(0.0));
        body.push(Instruction::F64Eq);
        body.push(Instruction::Select);
    }

    /// A column that is declared a float: what is none has not come this far.
    fn fold_declared(&mut self, body: &mut Body, column: &Column) {
        let Some(input) = self.module.input(&column.name, InputKind::Declared) else {
            return;
        };
        body.param(input);
        body.param(input);
        body.push(Instruction::F64Eq);
        body.begin_if(None);
        self.fold_number(body, column, input, None);
        self.count_one(body, column, None);
        body.end();
    }

    fn fold_number(&mut self, body: &mut Body, column: &Column, input: u32, kind_of: Option<u32>) {
        match (column.sum, column.high, kind_of) {
            (Some(sum), Some(high), Some(kind_of)) => {
                self.sum_exactly(body, column, (sum, high), (input, kind_of));
            }
            (Some(sum), ..) => self.slot_sum(body, sum, |body| body.param(input)),
            (None, ..) => {}
        }
        for (slot, keep) in [
            (column.min, Instruction::F64Min),
            (column.max, Instruction::F64Max),
        ] {
            if let Some(slot) = slot {
                self.slot_extreme(body, column.count, slot, input, keep);
            }
        }
    }

    /// Adds a number to a sum; where whole numbers may outgrow what a float holds, the host does.
    fn sum_exactly(
        &mut self,
        body: &mut Body,
        column: &Column,
        (sum, high): (i32, i32),
        (input, kind_of): (u32, u32),
    ) {
        let new = body.local(ValType::F64);
        self.slot_get(body, sum);
        body.param(input);
        body.push(Instruction::F64Add);
        body.set(new);
        body.get(new);
        body.push(Instruction::F64Abs);
        body.push(Instruction::F64Const(EXACT_STEP));
        body.push(Instruction::F64Gt);
        body.begin_if(Some(ValType::I32));
        body.param(kind_of);
        body.i32(kind::WHOLE);
        body.push(Instruction::I32Eq);
        self.slot_get(body, column.count);
        body.push(Instruction::F64Const(0.0));
        body.push(Instruction::F64Ge);
        body.push(Instruction::I32And);
        body.begin_else();
        body.i32(0);
        body.end();
        body.begin_if(None);
        body.i32(value::ANY_STREAM);
        let name = self.module.text(&column.name);
        body.i32(name);
        self.module.call(body, import::V_COL);
        body.i32(sum);
        body.i32(high);
        self.module.call(body, import::V_TOTAL);
        body.begin_else();
        body.i32(sum);
        body.get(new);
        self.module.call(body, import::REG_SET);
        body.end();
    }

    /// One more value: the count grows away from 0, and stays below it once a float was among them, or
    /// from the start where all are declared to be.
    fn count_one(&mut self, body: &mut Body, column: &Column, kind_of: Option<u32>) {
        let count = body.local(ValType::F64);
        self.slot_get(body, column.count);
        body.set(count);
        body.i32(column.count);
        body.get(count);
        body.push(Instruction::F64Abs);
        body.push(Instruction::F64Const(1.0));
        body.push(Instruction::F64Add);
        body.push(Instruction::F64Const(-1.0));
        if let Some(kind_of) = kind_of {
            body.push(Instruction::F64Const(1.0));
            body.get(count);
            body.push(Instruction::F64Const(0.0));
            body.push(Instruction::F64Lt);
            body.param(kind_of);
            body.i32(kind::FLOAT);
            body.push(Instruction::I32Eq);
            body.push(Instruction::I32Or);
            body.push(Instruction::Select);
        }
        body.push(Instruction::F64Copysign);
        self.module.call(body, import::REG_SET);
    }

    fn slot_get(&mut self, body: &mut Body, slot: i32) {
        body.i32(slot);
        self.module.call(body, import::REG_GET);
    }

    /// Adds something to a slot.
    fn slot_sum(&mut self, body: &mut Body, slot: i32, something: impl Fn(&mut Body)) {
        body.i32(slot);
        self.slot_get(body, slot);
        something(body);
        body.push(Instruction::F64Add);
        self.module.call(body, import::REG_SET);
    }

    /// The smaller or larger of a slot and a value; the first value counts whatever the slot holds.
    fn slot_extreme(
        &mut self,
        body: &mut Body,
        count: i32,
        slot: i32,
        input: u32,
        keep: Instruction<'static>,
    ) {
        body.i32(slot);
        body.param(input);
        self.slot_get(body, slot);
        body.param(input);
        self.slot_get(body, count);
        body.push(Instruction::F64Const(0.0));
        body.push(Instruction::F64Ne);
        body.push(Instruction::Select);
        body.push(keep);
        self.module.call(body, import::REG_SET);
    }

    /// The handler at a firing: HAVING, then the row of the group.
    fn fold_window(&mut self, folding: &Folding) -> Result<(), SqlError> {
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
    pub(super) fn folded_key(&mut self, scope: &mut Scope, name: &str) -> bool {
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
    pub(super) fn folded(&mut self, scope: &mut Scope, call: &Call) -> bool {
        let Some(folding) = self.folding.clone() else {
            return false;
        };
        let name = match call.args.first().map(|arg| &arg.node) {
            Some(Node::Column { name, .. }) => name.as_str(),
            _ => {
                self.folded_rows(scope, &folding);
                return true;
            }
        };
        let Some(column) = folding.columns.iter().find(|column| column.name == name) else {
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
            ("min", _) => self.folded_float(body, column.min),
            _ => self.folded_float(body, column.max),
        }
        body.begin_else();
        body.i32(value::NULL);
        body.end();
        true
    }

    /// How many rows the group has.
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

    fn folded_float(&mut self, body: &mut Body, slot: Option<i32>) {
        self.slot_get(body, slot.unwrap_or_default());
        self.module.call(body, import::V_F64);
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
