//! Finishes a compiled function. Linkers give every module a page of linear memory, a stack pointer and a few exported addresses, wanted or not;
//! at 64 KiB a page that is most of what a small rule costs a gateway. [`pack`] drops the memory of a module that cannot touch any, globals that
//! nothing reads, and custom sections other than the manifest. Code is left as it is: making that small is the compiler's work.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tidemill_abi::{MANIFEST_SECTION, import};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CustomSection, ExportSection, GlobalSection, MemorySection, Module, RawSection,
};
use wasmparser::{ExternalKind, Parser, TypeRef, Validator};

type Result<T> = std::result::Result<T, Error<Infallible>>;

/// Why a module was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The bytes are not a valid module.
    #[error("not a valid module")]
    Invalid(#[from] wasmparser::Error),
    /// The module holds something that cannot be written again.
    #[error("module cannot be rewritten")]
    Rewrite(#[from] Error<Infallible>),
}

/// Drops from `wasm` what it carries and never uses. Fails for what is not a valid module.
pub fn pack(wasm: &[u8]) -> std::result::Result<Vec<u8>, PackError> {
    Validator::new().validate_all(wasm)?;
    let mut used = Used::default();
    used.parse_core_module(&mut Module::new(), Parser::new(0), wasm)?;
    let mut packed = Module::new();
    Trim { used }.parse_core_module(&mut packed, Parser::new(0), wasm)?;
    let packed = without_empty_sections(&packed.finish())?;
    Validator::new()
        .validate_all(&packed)
        .expect("dropping what is unused leaves a valid module valid");
    Ok(packed)
}

/// A section whose last entry was dropped is still there, with a count of 0.
fn without_empty_sections(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Some((id, range)) = payload?.as_section() else {
            continue;
        };
        let data = wasm
            .get(range.start as usize..range.end as usize)
            .expect("a section lies inside of its module");
        if data != [0] {
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

/// The first pass: notes what is used. What it encodes is thrown away.
#[derive(Default)]
struct Used {
    memory: bool,
    globals: BTreeSet<u32>,
    /// Imported globals come first in the index space and always stay.
    globals_imported: u32,
}

impl Reencode for Used {
    type Error = Infallible;

    fn memory_index(&mut self, memory: u32) -> Result<u32> {
        self.memory = true;
        Ok(memory)
    }

    fn global_index(&mut self, global: u32) -> Result<u32> {
        self.globals.insert(global);
        Ok(global)
    }

    fn parse_import_section(
        &mut self,
        _: &mut wasm_encoder::ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<()> {
        for import in section.into_imports() {
            let import = import?;
            match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                    self.memory |= import.module == import::MODULE
                        && import::WITH_POINTER.contains(&import.name);
                }
                TypeRef::Global(_) => self.globals_imported += 1,
                TypeRef::Memory(_) => self.memory = true,
                TypeRef::Table(_) | TypeRef::Tag(_) => {}
            }
        }
        Ok(())
    }

    /// To export a thing is not to use it: the ABI wants functions and, where it is used, the memory.
    fn parse_export_section(
        &mut self,
        _: &mut ExportSection,
        _: wasmparser::ExportSectionReader<'_>,
    ) -> Result<()> {
        Ok(())
    }
}

/// The second pass: writes the module without what the first found unused.
struct Trim {
    used: Used,
}

impl Trim {
    fn keeps_global(&self, global: u32) -> bool {
        global < self.used.globals_imported || self.used.globals.contains(&global)
    }
}

impl Reencode for Trim {
    type Error = Infallible;

    fn global_index(&mut self, global: u32) -> Result<u32> {
        let kept_before = (0..global).filter(|&index| self.keeps_global(index));
        let index = u32::try_from(kept_before.count());
        Ok(index.expect("fewer globals are kept than there were"))
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<()> {
        for (index, global) in (self.used.globals_imported..).zip(section) {
            let global = global?;
            if self.keeps_global(index) {
                self.parse_global(globals, global)?;
            }
        }
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<()> {
        match self.used.memory {
            true => utils::parse_memory_section(self, memories, section),
            false => Ok(()),
        }
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<()> {
        match export.kind {
            ExternalKind::Global => Ok(()),
            ExternalKind::Memory if !self.used.memory => Ok(()),
            _ => utils::parse_export(self, exports, export),
        }
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<()> {
        if section.name() == MANIFEST_SECTION {
            module.section(&CustomSection {
                name: section.name().into(),
                data: section.data().into(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(module: &str, expected: &str) {
        let packed = pack(&wat::parse_str(module).unwrap()).unwrap();
        assert_eq!(packed, wat::parse_str(expected).unwrap());
    }

    #[test]
    fn memory_that_nothing_touches_goes() {
        check(
            r#"(module (memory (export "memory") 1) (func (export "f") (param f64) (result i32) i32.const 1))"#,
            r#"(module (func (export "f") (param f64) (result i32) i32.const 1))"#,
        );
    }

    #[test]
    fn memory_stays_where_it_is_used() {
        for user in [
            r#"(func (result i32) (i32.load (i32.const 0)))"#,
            r#"(func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))"#,
            r#"(func (result i32) memory.size)"#,
            r#"(data (i32.const 0) "x")"#,
        ] {
            let module = format!(r#"(module (memory (export "memory") 1) {user})"#);
            check(&module, &module);
            assert!(exports_memory(&module));
        }
        let import = r#"(module (import "tidemill1" "emit" (func (param i32 i32 i32) (result i32))) (memory (export "memory") 1))"#;
        assert!(exports_memory(import));
        assert!(!exports_memory(&import.replace("\"emit\"", "\"other\"")));
    }

    fn exports_memory(module: &str) -> bool {
        let packed = pack(&wat::parse_str(module).unwrap()).unwrap();
        packed.windows(7).any(|name| name == b"\x06memory")
    }

    #[test]
    fn globals_that_nothing_reads_go_and_others_are_renumbered() {
        check(
            r#"(module (import "m" "g" (global i32)) (global (mut i32) (i32.const 1)) (global (export "__heap_base") i32 (i32.const 2))
                (global (mut i32) (i32.const 3)) (func (export "f") (result i32) global.get 3))"#,
            r#"(module (import "m" "g" (global i32)) (global (mut i32) (i32.const 3)) (func (export "f") (result i32) global.get 1))"#,
        );
    }

    #[test]
    fn of_custom_sections_only_the_manifest_stays() {
        check(
            r#"(module (@custom "producers" "x") (@custom "tidemill.manifest" "{}"))"#,
            r#"(module (@custom "tidemill.manifest" "{}"))"#,
        );
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x0a\x01"] {
            assert!(matches!(pack(bytes), Err(PackError::Invalid(_))));
        }
    }
}
