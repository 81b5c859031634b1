//! A value on its way into the slots of its column: counted, added up, compared with the smallest and the
//! largest so far.

use tidemill_abi::{import, value, value::kind, value::op};
use wasm_encoder::{Instruction, ValType};

use super::EXACT_STEP;
use super::plan::{Column, ColumnKind, Extreme};
use crate::compile::Compiler;
use crate::compile::path::Path;
use crate::module::{Body, InputKind};

use tidemill_values::extreme::{FLOAT_MARK, NO_VALUE, WHOLE_MARK};

/// Below it a float holds every whole number, and nothing else rounds to it.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The sign that a count of values gets: below 0 once one was a float.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Whole,
    Float,
    /// As the parameter tells that holds the type.
    OfKind(u32),
}

impl Compiler<'_> {
    pub(super) fn fold_column(&mut self, body: &mut Body, column: &Column) {
        match column.kind {
            ColumnKind::Float => return self.fold_declared(body, column),
            ColumnKind::Whole => return self.fold_whole(body, column),
            ColumnKind::Any => {}
        }
        let Some(kind_of) = self.module.input(&column.path, InputKind::Kind) else {
            return;
        };
        body.param(kind_of);
        body.begin_if(None);
        if column.is_worked_out() {
            let input = self.module.input(&column.path, InputKind::Number);
            let input = input.unwrap_or_default();
            if let (Some(sum), Some(high)) = (column.sum, column.high) {
                self.sum_exactly(body, column, (sum, high), (input, kind_of));
            }
            for (extreme, less) in [(column.min, true), (column.max, false)] {
                if let Some(extreme) = extreme {
                    self.extreme_exactly(body, column, extreme, less, (input, kind_of));
                }
            }
        }
        self.count_one(body, column, Sign::OfKind(kind_of));
        body.end();
    }

    /// A column that is declared a whole number: the host reads it, as it is declared, and adds and compares.
    fn fold_whole(&mut self, body: &mut Body, column: &Column) {
        let value = body.local(ValType::I32);
        self.path_value(body, &column.path);
        body.set(value);
        body.get(value);
        body.begin_if(None);
        if let (Some(sum), Some(high)) = (column.sum, column.high) {
            body.get(value);
            body.i32(sum);
            body.i32(high);
            self.module.call(body, import::V_TOTAL);
        }
        for (extreme, op) in [(column.min, op::LEAST), (column.max, op::GREATEST)] {
            if let Some(extreme) = extreme {
                body.i32(op);
                body.get(value);
                self.extreme_by_host(body, extreme);
            }
        }
        self.count_one(body, column, Sign::Whole);
        body.end();
    }

    /// The value at a place, as a handle on the stack.
    fn path_value(&mut self, body: &mut Body, path: &Path) {
        let (name, inner) = path.split();
        inner.iter().for_each(|_| body.i32(op::FIELD));
        body.i32(value::ANY_STREAM);
        let name = self.module.text(name);
        body.i32(name);
        self.module.call(body, import::V_COL);
        for name in inner {
            let name = self.module.text(name);
            body.i32(name);
            body.i32(value::NULL);
            self.module.call(body, import::V_OP);
        }
    }

    /// A column that is declared a float: what is none has not come this far.
    fn fold_declared(&mut self, body: &mut Body, column: &Column) {
        let Some(input) = self.module.input(&column.path, InputKind::Declared) else {
            return;
        };
        body.param(input);
        body.param(input);
        body.push(Instruction::F64Eq);
        body.begin_if(None);
        if let Some(sum) = column.sum {
            self.slot_sum(body, sum, |body| body.param(input));
        }
        for (extreme, keep) in [
            (column.min, Instruction::F64Min),
            (column.max, Instruction::F64Max),
        ] {
            if let Some(extreme) = extreme {
                self.slot_extreme(body, column.count, extreme.value, input, keep);
            }
        }
        self.count_one(body, column, Sign::Float);
        body.end();
    }

    /// Keeps the smaller or larger of an extreme and a number, with its type; where whole numbers outgrow
    /// what a float holds, the host does.
    fn extreme_exactly(
        &mut self,
        body: &mut Body,
        column: &Column,
        extreme: Extreme,
        less: bool,
        (input, kind_of): (u32, u32),
    ) {
        let Some(mark) = extreme.mark else {
            return;
        };
        body.param(input);
        body.push(Instruction::F64Abs);
        body.push(Instruction::F64Const(EXACT_MAX));
        body.push(Instruction::F64Lt);
        body.begin_if(None);
        body.param(input);
        self.slot_get(body, extreme.value);
        body.push(if less {
            Instruction::F64Lt
        } else {
            Instruction::F64Gt
        });
        self.slot_get(body, mark);
        body.push(Instruction::F64Const(NO_VALUE));
        body.push(Instruction::F64Eq);
        body.push(Instruction::I32Or);
        body.begin_if(None);
        body.i32(extreme.value);
        body.param(input);
        self.module.call(body, import::REG_SET);
        body.i32(mark);
        body.push(Instruction::F64Const(WHOLE_MARK));
        body.push(Instruction::F64Const(FLOAT_MARK));
        body.param(kind_of);
        body.i32(kind::WHOLE);
        body.push(Instruction::I32Eq);
        body.push(Instruction::Select);
        self.module.call(body, import::REG_SET);
        body.end();
        body.begin_else();
        body.i32(if less { op::LEAST } else { op::GREATEST });
        self.path_value(body, &column.path);
        self.extreme_by_host(body, extreme);
        body.end();
    }

    /// Lets the host compare the value whose handle and operator are on the stack.
    fn extreme_by_host(&mut self, body: &mut Body, extreme: Extreme) {
        body.i32(extreme.value);
        body.i32(extreme.mark.unwrap_or_default());
        self.module.call(body, import::V_OP);
        body.push(Instruction::Drop);
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
        self.path_value(body, &column.path);
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
    fn count_one(&mut self, body: &mut Body, column: &Column, sign: Sign) {
        let count = body.local(ValType::F64);
        self.slot_get(body, column.count);
        body.set(count);
        body.i32(column.count);
        body.get(count);
        body.push(Instruction::F64Abs);
        body.push(Instruction::F64Const(1.0));
        body.push(Instruction::F64Add);
        body.push(Instruction::F64Const(match sign {
            Sign::Whole => 1.0,
            Sign::Float | Sign::OfKind(_) => -1.0,
        }));
        if let Sign::OfKind(kind_of) = sign {
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
}
