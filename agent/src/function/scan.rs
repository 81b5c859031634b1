//! A look at a module before anything is built from it: sections, limits, imports and exports. It
//! allocates little and takes time in proportion to the bytes, so that refusing a bomb costs nothing
//! worth having. Whether the code is valid is left to wasmi.

use std::collections::HashMap;

use tidemill_abi::{MANIFEST_SECTION, export, limit};
use wasmparser::{
    BinaryReaderError, Encoding, ExternalKind, FunctionBody, MemoryType, Operator, Parser, Payload,
    TableType, TypeRef,
};

use super::error::LoadError;
use super::signature::{IMPORTS, Signature, nearest, of_export};
use crate::config::limits::FunctionLimits;

/// Findings about a module.
#[derive(Debug, Default)]
pub(super) struct Outline<'a> {
    /// The content of the manifest's section.
    pub(super) manifest: Option<&'a [u8]>,
    /// The functions that it exports, by name.
    pub(super) exports: HashMap<&'a str, Signature>,
    /// Number of functions it imports.
    pub(super) imported: u32,
    /// Pages of memory it starts with.
    pub(super) pages: u64,
    /// `true` if it contains a `memory.grow`.
    pub(super) grows: bool,
    /// `true` if an instance can remember anything from one call to the next: it has a memory, a
    /// table, or a mutable global.
    pub(super) remembers: bool,
    signatures: Vec<Signature>,
    functions: Vec<u32>,
    uses_memory: Option<&'a str>,
    exports_memory: bool,
}

/// Types of a module: a compiler's output has some dozens, and each one costs a hundred bytes.
const TYPES_MAX: usize = 1_000;

/// Locals of a function. They are set to zero at every call, which costs time but no fuel.
const LOCALS_MAX: u64 = 1_000;

/// Looks at a module, and refuses what is beyond a limit or not part of the contract.
pub(super) fn scan<'a>(wasm: &'a [u8], limits: &FunctionLimits) -> Result<Outline<'a>, LoadError> {
    let mut outline = Outline::default();
    for payload in Parser::new(0).parse_all(wasm) {
        outline.visit(payload.map_err(invalid)?, limits)?;
    }
    match outline.uses_memory {
        Some(import) if !outline.exports_memory => Err(LoadError::NoMemory {
            import: import.into(),
        }),
        _ if outline.grows && !outline.exports_memory => Err(LoadError::Unsupported(
            "grows its memory and does not export it as `memory`",
        )),
        _ => Ok(outline),
    }
}

/// Wraps an error of the parser or the validator.
pub(super) fn invalid(error: BinaryReaderError) -> LoadError {
    LoadError::Invalid(format!("{} at byte {}", error.message(), error.offset()))
}

impl<'a> Outline<'a> {
    fn visit(&mut self, payload: Payload<'a>, limits: &FunctionLimits) -> Result<(), LoadError> {
        match payload {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } => {
                return Err(LoadError::Invalid("a component, not a module".to_owned()));
            }
            Payload::TypeSection(section) => {
                at_most("types", section.count().into(), TYPES_MAX as u64)?;
                for ty in section.into_iter_err_on_gc_types() {
                    self.signatures.push((&ty.map_err(invalid)?).into());
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    self.import(import.map_err(invalid)?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty.map_err(invalid)?);
                }
            }
            Payload::TableSection(section) => {
                at_most("tables", section.count().into(), limit::TABLES_MAX.into())?;
                for table in section {
                    self.remembers = true;
                    check_table(table.map_err(invalid)?.ty, limits)?;
                }
            }
            Payload::MemorySection(section) => {
                at_most(
                    "memories",
                    section.count().into(),
                    limit::MEMORIES_MAX.into(),
                )?;
                for memory in section {
                    self.remembers = true;
                    self.memory(memory.map_err(invalid)?, limits)?;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.remembers |= global.map_err(invalid)?.ty.mutable;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.export(export.map_err(invalid)?)?;
                }
            }
            Payload::StartSection { .. } => {
                return Err(LoadError::Unsupported(
                    "has a start section; use `_initialize` or `init` instead",
                ));
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                let twice = self.manifest.replace(section.data()).is_some();
                return if twice {
                    Err(LoadError::Unsupported(
                        "has two `tidemill.manifest` sections",
                    ))
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, found: wasmparser::Import<'a>) -> Result<(), LoadError> {
        let Some(known) = IMPORTS
            .iter()
            .find(|known| (known.module, known.name) == (found.module, found.name))
        else {
            return Err(LoadError::UnknownImport {
                module: found.module.into(),
                name: found.name.into(),
                nearest: nearest(found.module, found.name),
            });
        };
        let name = format!("{}.{}", known.module, known.name);
        let (index, ty) = match found.ty {
            TypeRef::Func(index) => (index, self.signature(index)?.clone()),
            other => return wrong_type(&name, kind_of(other), &known.signature()),
        };
        if ty != known.signature() {
            return wrong_type(&name, &ty.to_string(), &known.signature());
        }
        if known.uses_memory {
            self.uses_memory.get_or_insert(found.name);
        }
        self.functions.push(index);
        self.imported += 1;
        Ok(())
    }

    fn memory(&mut self, ty: MemoryType, limits: &FunctionLimits) -> Result<(), LoadError> {
        if ty.memory64 {
            return Err(LoadError::Unsupported("uses memory64"));
        }
        if ty.shared {
            return Err(LoadError::Unsupported("uses threads"));
        }
        self.pages = ty.initial;
        at_most("pages of memory", ty.initial, limits.memory_pages.into())
    }

    fn export(&mut self, found: wasmparser::Export<'a>) -> Result<(), LoadError> {
        if found.kind == ExternalKind::Memory && found.name == export::MEMORY {
            self.exports_memory = true;
        }
        let expected = of_export(found.name);
        if found.kind != ExternalKind::Func {
            return match expected {
                Some(expected) => wrong_type(found.name, &format!("{:?}", found.kind), &expected),
                None => Ok(()),
            };
        }
        let index = self.functions.get(found.index as usize).copied();
        let ty = self.signature(index.unwrap_or(u32::MAX))?.clone();
        match expected {
            Some(expected) if ty != expected => wrong_type(found.name, &ty.to_string(), &expected),
            None if found.name != export::TYPED => Ok(()),
            _ => {
                self.exports.insert(found.name, ty);
                Ok(())
            }
        }
    }

    fn body(&mut self, body: &FunctionBody<'a>) -> Result<(), LoadError> {
        let mut locals = 0;
        for local in body.get_locals_reader().map_err(invalid)? {
            locals += u64::from(local.map_err(invalid)?.0);
        }
        at_most("a function with locals", locals, LOCALS_MAX)?;
        let mut depth: u64 = 0;
        let mut deepest = 0;
        for operator in body.get_operators_reader().map_err(invalid)? {
            match operator.map_err(invalid)? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                Operator::MemoryGrow { .. } => self.grows = true,
                Operator::TableGrow { .. } => {
                    return Err(LoadError::Unsupported(
                        "uses `table.grow`; a table keeps its size",
                    ));
                }
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        at_most("nested blocks", deepest, limit::BLOCK_DEPTH_MAX.into())
    }

    fn signature(&self, ty: u32) -> Result<&Signature, LoadError> {
        self.signatures
            .get(ty as usize)
            .ok_or_else(|| LoadError::Invalid("a function without a type".to_owned()))
    }
}

fn check_table(ty: TableType, limits: &FunctionLimits) -> Result<(), LoadError> {
    if ty.table64 {
        return Err(LoadError::Unsupported("uses memory64"));
    }
    at_most("table elements", ty.initial, limits.table_elements.into())
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), LoadError> {
    if found <= limit {
        return Ok(());
    }
    Err(LoadError::Limit { what, found, limit })
}

fn wrong_type<T>(name: &str, found: &str, expected: &Signature) -> Result<T, LoadError> {
    Err(LoadError::WrongType {
        name: name.into(),
        found: found.into(),
        expected: expected.to_string().into(),
    })
}

fn kind_of(ty: TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}
