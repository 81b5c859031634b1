//! Windows that keep numbers instead of rows: each event is folded into slots of its group, and at a
//! firing the aggregates are worked out of them. It is taken where the statement has one stream, at most
//! one column to group by, and no aggregate but `count`, `sum`, `avg`, and of numbers `min` and `max`.
//! Everything else keeps rows.

mod column;
mod firing;
mod judge;
mod plan;

use serde_json::Value as Json;
use tidemill_abi::{EvI64, import, value::kind};
use wasm_encoder::{Instruction, ValType};

use super::path::Path;
use super::{Compiler, Level, Scope, leave_unless, pointer, window_json};
use crate::ast::Window;
use crate::error::SqlError;
use crate::module::{Body, InputKind};

pub(super) use plan::Folding;

/// Value of one step of a sum's second slot; see `tidemill_values::Total`.
const EXACT_STEP: f64 = (1_u64 << 51) as f64;

impl<'a> Compiler<'a> {
    /// Compiles both handlers of a window that folds its events, if the statement can be worked out
    /// like that. Returns the manifest's part on the window, and the key.
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
        if let Some(kind_of) = self.module.input(&Path::column(key), InputKind::Kind) {
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
        let number = self.module.input(&Path::column(key), InputKind::Number);
        if let Some(number) = number.filter(|_| !folding.text_key) {
            self.sign_of_zero(body, number);
        }
        self.module.call(body, import::REG_SET);
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
}
