//! An upper bound of the fuel that an event handler needs, if its code allows one: it has no loop,
//! and its calls to the host have a known price. The bound is computed before the first event, and
//! is never below what a call needs.

use std::collections::HashMap;
use std::fmt;

use tidemill_abi::{export, import};
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::host::COPY_BYTES_PER_FUEL;
use super::imports::{BYTES_PER_FUEL, FORMAT_FUEL, VALUE_FUEL};

/// The most fuel that a call needs: a fixed amount, and an amount for each time that the payload is
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FuelBound {
    fixed: u64,
    /// `true` if the payload is read as a row, which happens once however often it is asked for.
    row: bool,
    /// Rows put into a window.
    kept: u64,
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
        code.function(handler, 0)
    }

    /// The same bound if the payload is read as a row before the call, whatever the code reads.
    #[must_use]
    pub fn with_row(self) -> Self {
        Self { row: true, ..self }
    }

    /// The most fuel that a call on a payload of this many bytes needs.
    pub fn on(self, payload_bytes: usize) -> u64 {
        let read = payload_bytes as u64 / BYTES_PER_FUEL;
        self.fixed.saturating_add(self.reads().saturating_mul(read))
    }

    fn reads(self) -> u64 {
        self.kept + u64::from(self.row)
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
            kept: self.kept.saturating_add(other.kept),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            fixed: self.fixed.max(other.fixed),
            row: self.row || other.row,
            kept: self.kept.max(other.kept),
        }
    }
}

impl fmt::Display for FuelBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fixed)?;
        match self.reads() {
            0 => Ok(()),
            reads => write!(
                f,
                " and {reads} for each {BYTES_PER_FUEL} bytes of the payload"
            ),
        }
    }
}

/// Calls of functions inside of each other that are followed.
const DEPTH_MAX: usize = 16;

#[derive(Default)]
struct Code<'a> {
    emission_bytes: u64,
    imports: Vec<&'a str>,
    bodies: Vec<FunctionBody<'a>>,
    handler: Option<u32>,
    /// Bounds of the functions examined; `None` while one is being examined.
    known: HashMap<u32, Option<FuelBound>>,
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
            _ => {}
        }
        Some(())
    }

    fn function(&mut self, index: u32, depth: usize) -> Option<FuelBound> {
        let number = usize::try_from(index).ok()?;
        if let Some(name) = self.imports.get(number) {
            return self.price(name);
        }
        if let Some(known) = self.known.get(&index) {
            return *known;
        }
        if depth > DEPTH_MAX {
            return None;
        }
        self.known.insert(index, None);
        let body = self.bodies.get(number - self.imports.len())?.clone();
        let bound = self.body(&body, depth)?;
        self.known.insert(index, Some(bound));
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
        while !operators.eof() {
            so_far = so_far.and(FuelBound::fixed(1));
            match operators.read().ok()? {
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
                    so_far = so_far.and(self.function(function_index, depth + 1)?);
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

    /// The highest price of an import, beside the call itself.
    fn price(&self, import: &str) -> Option<FuelBound> {
        let value = FuelBound::fixed(VALUE_FUEL);
        let row = FuelBound { row: true, ..value };
        Some(match import {
            import::IN_F64
            | import::IN_I64
            | import::EV_I64
            | import::REG_GET
            | import::REG_SET
            | import::CFG_F64
            | import::RAND
            | import::WIN => FuelBound::default(),
            import::EMIT => FuelBound::fixed(self.emission_bytes / COPY_BYTES_PER_FUEL),
            import::EMIT_F64 => FuelBound::fixed(FORMAT_FUEL),
            import::V_TRUE
            | import::V_F64
            | import::V_I64
            | import::V_ARG
            | import::V_SET
            | import::V_MERGE
            | import::V_EMIT
            | import::V_HITS
            | import::V_FITS
            | import::V_TOTAL
            | import::V_STEP => value,
            import::V_COL | import::V_ROW | import::V_META | import::V_STAR => row,
            import::V_KEEP => FuelBound { kept: 1, ..value },
            import::V_FLUSH => value.and(FuelBound::fixed(self.emission_bytes / BYTES_PER_FUEL)),
            // Reading by operators and functions has a price, but no bound that the code shows.
            _ => return None,
        })
    }
}
