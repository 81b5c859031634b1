//! Checks of an event before it is folded: a value that an aggregate cannot use stops it, and so
//! does one that is not of the type that its field is declared to have.

use tidemill_abi::value::kind;
use tidemill_values::FieldType;
use wasm_encoder::Instruction;

use super::Folding;
use super::plan::ColumnKind;
use crate::compile::path::Path;
use crate::compile::{Compiler, Scope};
use crate::error::SqlError;
use crate::module::{Body, InputKind};

impl Compiler<'_> {
    /// Stops an event of which a column that is worked out is no number.
    pub(super) fn judge_folded(
        &mut self,
        scope: &mut Scope,
        folding: &Folding,
    ) -> Result<(), SqlError> {
        let mut asked = 0;
        for column in &folding.columns {
            if column.kind != ColumnKind::Any || !column.is_worked_out() {
                continue;
            }
            let kind_of = self.module.input(&column.path, InputKind::Kind);
            let input = self.module.input(&column.path, InputKind::Number);
            let (Some(kind_of), Some(input)) = (kind_of, input) else {
                continue;
            };
            let body = &mut scope.body;
            body.param(kind_of);
            body.i32(kind::MISSING);
            body.push(Instruction::I32Ne);
            body.param(input);
            body.param(input);
            body.push(Instruction::F64Ne);
            body.push(Instruction::I32And);
            if asked > 0 {
                body.push(Instruction::I32Or);
            }
            asked += 1;
        }
        if asked > 0 {
            scope.body.begin_if(None);
            self.judge(scope)?;
            scope.body.end();
        }
        Ok(())
    }

    /// Stops an event of which a declared field has no value of its type. Where the kind of what stands there
    /// tells that it has one, the payload need not be read as a row for it.
    pub(super) fn judge_declared(&mut self, body: &mut Body) {
        let fields = self.fields_read(0).into_iter();
        let fields: Vec<(String, FieldType)> =
            fields.map(|(name, ty)| (name.to_owned(), ty)).collect();
        for (name, ty) in fields {
            let mut inputs = self.module.inputs.iter();
            let is_judged = inputs.any(|i| i.column == name && i.kind == InputKind::Declared);
            if ty == FieldType::Float && is_judged {
                continue;
            }
            let fits: &[i32] = match ty {
                FieldType::Bigint => &[kind::WHOLE],
                FieldType::String => &[kind::TEXT, kind::TRUTH, kind::WHOLE, kind::FLOAT],
                FieldType::Boolean => &[kind::TRUTH],
                // Of these the kind tells too little.
                FieldType::Float
                | FieldType::Datetime
                | FieldType::Bytea
                | FieldType::Array
                | FieldType::Struct => &[],
            };
            let fits = fits
                .iter()
                .fold(1 << kind::MISSING, |bits, kind| bits | 1 << kind);
            let path = Path::declared(&name);
            let Some(kind_of) = self.module.input(&path, InputKind::Kind) else {
                self.read_row(body);
                return;
            };
            body.i32(1);
            body.param(kind_of);
            body.push(Instruction::I32Shl);
            body.i32(fits);
            body.push(Instruction::I32And);
            body.push(Instruction::I32Eqz);
            body.begin_if(None);
            self.read_row(body);
            body.end();
        }
    }
}
