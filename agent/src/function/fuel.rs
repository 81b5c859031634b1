//! An upper bound of the fuel that an event handler needs, if its code allows one: it has no loop,
//! and its calls to the host have a known price. The bound is computed before the first event, and
//! is never below what a call needs.

use std::collections::HashMap;
use std::fmt;

use tidemill_abi::{MANIFEST_SECTION, export, import, value::NULL};
use tidemill_values::Value;
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::price::{
    BARE_FUEL, COPY_BYTES_PER_FUEL, COPY_FUEL, EMIT_FUEL, FORMAT_FUEL, NAME_FUEL, SEND_FUEL,
    TIMER_FUEL, VALUE_FUEL, WRITE_FUEL,
};
use crate::rule::manifest::{Kept, ModuleManifest};

/// The most fuel that a call needs: a fixed amount, and an amount for each time that the payload is
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FuelBound {
    fixed: u64,
    /// `true` if the payload is read as a row, which happens once however often it is asked for.
    row: bool,
    /// Columns with declared types, which are converted then.
    row_fields: u64,
    /// Fuel of each byte of the payload beside that.
    byte: u64,
}

impl FuelBound {
    /// The bound of the event handler of a valid module that may send `emission_bytes` bytes a
    /// call; `None` if its code does not allow one.
    pub fn of(wasm: &[u8], emission_bytes: usize) -> Option<Self> {
        let mut code = Code {
            emission_bytes: emission_bytes as u64,
            ..Code::default()
        };
        for payload in Parser::new(0).parse_all(wasm) {
            code.visit(payload.ok()?)?;
        }
        let handler = code.handler?;
        code.function(handler, 0, None)
    }

    /// The same bound if the payload is read as a row before the call, whatever the code reads.
    #[must_use]
    pub fn with_row(self) -> Self {
        Self { row: true, ..self }
    }

    /// The most fuel that a call on a payload of this many bytes needs.
    pub fn on(self, payload_bytes: usize) -> u64 {
        let read = self.per_byte().saturating_mul(payload_bytes as u64);
        self.at_least().saturating_add(read)
    }

    /// Fuel without a payload.
    fn at_least(self) -> u64 {
        self.fixed.saturating_add(self.row_fields * FIELD_FUEL)
    }

    fn per_byte(self) -> u64 {
        let row = if self.row { ROW_BYTE_FUEL } else { 0 };
        self.byte + row + self.row_fields * COLUMN_BYTE_FUEL
    }

    fn fixed(fixed: u64) -> Self {
        Self {
            fixed,
            ..Self::default()
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.saturating_add(other.fixed),
            row: self.row || other.row,
            row_fields: self.row_fields.max(other.row_fields),
            byte: self.byte.saturating_add(other.byte),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.max(other.fixed),
            row: self.row || other.row,
            row_fields: self.row_fields.max(other.row_fields),
            byte: self.byte.max(other.byte),
        }
    }
}

impl fmt::Display for FuelBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at_least())?;
        match self.per_byte() {
            0 => Ok(()),
            fuel => write!(f, " and {fuel} for each byte of the payload"),
        }
    }
}

/// Calls of functions inside of each other that are followed.
const DEPTH_MAX: usize = 16;

#[derive(Default)]
struct Code<'a> {
    emission_bytes: u64,
    known: Known,
    imports: Vec<&'a str>,
    bodies: Vec<FunctionBody<'a>>,
    handler: Option<u32>,
    /// Bounds of the functions examined; `None` while one is being examined.
    bounds: HashMap<u32, Option<FuelBound>>,
}

impl<'a> Code<'a> {
    fn visit(&mut self, payload: Payload<'a>) -> Option<()> {
        match payload {
            Payload::ImportSection(section) => {
                for found in section {
                    let found = found.ok()?;
                    if matches!(found.ty, TypeRef::Func(_)) {
                        let own = found.module == import::MODULE;
                        self.imports.push(if own { found.name } else { "" });
                    }
                }
            }
            Payload::ExportSection(section) => {
                for found in section {
                    let found = found.ok()?;
                    let handles = [export::TYPED, export::ON_EVENT].contains(&found.name);
                    if handles && found.kind == ExternalKind::Func {
                        self.handler = Some(found.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                self.known = Known::of(section.data()).unwrap_or_default();
            }
            _ => {}
        }
        Some(())
    }

    fn function(&mut self, index: u32, depth: usize, pushed: Option<i32>) -> Option<FuelBound> {
        let number = usize::try_from(index).ok()?;
        if let Some(name) = self.imports.get(number) {
            return self.price(name, pushed);
        }
        if let Some(known) = self.bounds.get(&index) {
            return *known;
        }
        if depth > DEPTH_MAX {
            return None;
        }
        self.bounds.insert(index, None);
        let body = self.bodies.get(number - self.imports.len())?.clone();
        let bound = self.body(&body, depth)?;
        self.bounds.insert(index, Some(bound));
        Some(bound)
    }

    /// Each operator costs at most one unit and so does each branch, as wasmi counts; of two branches the
    /// dearer counts.
    fn body(&mut self, body: &FunctionBody<'a>, depth: usize) -> Option<FuelBound> {
        /// The bound before a block, and that of an `if`'s first branch.
        enum Open {
            Block,
            Branch(FuelBound, FuelBound),
        }
        let mut so_far = FuelBound::fixed(1);
        let mut open = Vec::new();
        let mut operators = body.get_operators_reader().ok()?;
        let mut pushed = None;
        while !operators.eof() {
            so_far = so_far.and(FuelBound::fixed(1));
            let operator = operators.read().ok()?;
            let on_top = pushed.take();
            match operator {
                Operator::I32Const { value } => pushed = Some(value),
                Operator::Block { .. } => open.push(Open::Block),
                Operator::If { .. } => {
                    open.push(Open::Branch(so_far, FuelBound::default()));
                    so_far = FuelBound::fixed(1);
                }
                Operator::Else => {
                    let Some(Open::Branch(_, first)) = open.last_mut() else {
                        return None;
                    };
                    *first = so_far;
                    so_far = FuelBound::fixed(1);
                }
                Operator::End => {
                    if let Some(Open::Branch(before, first)) = open.pop() {
                        so_far = before.and(first.or(so_far));
                    }
                }
                Operator::Call { function_index } => {
                    so_far = so_far.and(self.function(function_index, depth + 1, on_top)?);
                }
                Operator::Loop { .. }
                | Operator::CallIndirect { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::MemoryGrow { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryFill { .. }
                | Operator::MemoryInit { .. }
                | Operator::TableCopy { .. }
                | Operator::TableFill { .. }
                | Operator::TableInit { .. }
                | Operator::TableGrow { .. } => return None,
                _ => {}
            }
        }
        Some(so_far)
    }

    /// The highest price of an import, beside the call itself. `pushed` is the constant on top of its arguments,
    /// if it is one.
    fn price(&self, import: &str, pushed: Option<i32>) -> Option<FuelBound> {
        let fixed = FuelBound::fixed;
        let value = fixed(VALUE_FUEL);
        let emission = self.emission_bytes;
        Some(match import {
            import::IN_F64
            | import::IN_I64
            | import::EV_I64
            | import::REG_GET
            | import::REG_SET
            | import::CFG_F64
            | import::RAND
            | import::WIN => fixed(BARE_FUEL),
            import::TIMER => fixed(TIMER_FUEL),
            import::EMIT => fixed(EMIT_FUEL + emission / COPY_BYTES_PER_FUEL),
            import::EMIT_F64 => fixed(EMIT_FUEL + FORMAT_FUEL),
            import::FMT_F64 => fixed(COPY_FUEL + FORMAT_FUEL),
            import::V_TRUE
            | import::V_F64
            | import::V_I64
            | import::V_ARG
            | import::V_FITS
            | import::V_TOTAL => value,
            import::V_SET => value.and(fixed(2 * NAME_FUEL)),
            import::V_EMIT => value.and(fixed(SEND_FUEL)),
            import::V_ROW => value.and(self.row()),
            import::V_COL => value.and(self.row()).and(self.name(COLUMN_BYTE_FUEL)),
            import::V_META => value.and(self.row()).and(self.name(NAME_BYTE_FUEL)),
            // Without a list of names that are left out.
            import::V_STAR if pushed == Some(NULL) => FuelBound {
                byte: 2 * NAME_BYTE_FUEL,
                ..value.and(self.row())
            },
            import::V_KEEP => value.and(self.kept()),
            import::V_FLUSH => value.and(fixed(emission * WRITE_FUEL)),
            // Reading by operators and functions has a price, but no bound that the code shows.
            _ => return None,
        })
    }

    /// Reading the payload as a row, with the types that are declared.
    fn row(&self) -> FuelBound {
        FuelBound {
            row: true,
            row_fields: self.known.fields,
            ..FuelBound::default()
        }
    }

    /// Looking for a name, which is a constant or a part of the payload.
    fn name(&self, byte: u64) -> FuelBound {
        FuelBound {
            fixed: self.known.longest / 8,
            byte: byte + 1,
            ..FuelBound::default()
        }
    }

    /// Reading a row and writing it down.
    fn kept(&self) -> FuelBound {
        let kept = self.known.kept;
        FuelBound {
            fixed: kept * NAME_FUEL + self.known.fields * FIELD_FUEL,
            byte: ROW_BYTE_FUEL + KEPT_BYTE_FUEL + (kept + self.known.fields) * COLUMN_BYTE_FUEL,
            ..FuelBound::default()
        }
    }
}

/// Fuel of a byte of the payload when it is read, whatever it is.
const ROW_BYTE_FUEL: u64 = 90;
/// Fuel of a byte of the payload when all columns are looked at: the shortest has five bytes.
const COLUMN_BYTE_FUEL: u64 = 3;
/// Fuel of such a byte when each column is set in another object.
const NAME_BYTE_FUEL: u64 = NAME_FUEL / 5;
/// Fuel of such a byte when the row is written down: what it makes takes at most 120 bytes of memory.
const KEPT_BYTE_FUEL: u64 = 60;
/// Fuel of a column with a declared type, beside looking for it and reading its text.
const FIELD_FUEL: u64 = 200;

/// Facts about a statement that its manifest tells.
#[derive(Debug, Default)]
struct Known {
    /// Bytes of the longest constant.
    longest: u64,
    /// Columns with a declared type, each counted for every step that leads to it.
    fields: u64,
    /// Places that a window keeps of a row.
    kept: u64,
}

impl Known {
    fn of(manifest: &[u8]) -> Option<Self> {
        let sql = ModuleManifest::parse(manifest).ok()?.sql?;
        let texts = sql.constants.iter().filter_map(Value::as_text);
        let fields = sql.streams.iter().flat_map(|stream| &stream.fields);
        let kept = sql.keeps.streams.iter().flatten().map(places);
        Some(Self {
            longest: texts.map(str::len).max().unwrap_or(0) as u64,
            fields: fields.map(|field| field.path.len() as u64 + 1).sum(),
            kept: kept.max().unwrap_or(0),
        })
    }
}

fn places(kept: &Kept) -> u64 {
    let inner = kept.0.iter().filter_map(|(_, inner)| inner.as_ref());
    kept.0.len() as u64 + inner.map(places).sum::<u64>()
}
