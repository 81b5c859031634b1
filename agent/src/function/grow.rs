//! Replaces each `memory.grow` of a module by a call of the host, which grows the memory through
//! wasmi's interface. The instruction itself would leave a frame on the host's stack each time it
//! runs, and a guest that runs it in a loop would end the process: see
//! `docs/decisions/0001-memory-grow.md`.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    EntityType, ImportSection, Instruction, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{CustomSectionReader, ImportSectionReader, Operator, Parser, TypeSectionReader};

/// The module of the import that is put in; no guest can name it, because only the names of the
/// contract pass the scan.
pub(super) const MODULE: &str = "tidemill.host";
/// The name of the import that is put in.
pub(super) const NAME: &str = "memory_grow";

/// The module with all growing done by the host. Takes a module that validates.
pub(super) fn through_host(wasm: &[u8], imported: u32) -> Result<Vec<u8>, Error> {
    let mut module = Module::new();
    let mut rewriter = Rewriter {
        imported,
        type_index: 0,
        imports_written: false,
    };
    rewriter.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct Rewriter {
    /// Number of functions that the module imports, which is the index of the added import.
    imported: u32,
    /// The type of the new import.
    type_index: u32,
    imports_written: bool,
}

impl Rewriter {
    fn import(&mut self, imports: &mut ImportSection) {
        imports.import(MODULE, NAME, EntityType::Function(self.type_index));
        self.imports_written = true;
    }
}

impl Reencode for Rewriter {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> u32 {
        // Functions defined in the module move up by the import inserted before them.
        function + u32::from(function >= self.imported)
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error> {
        match operator {
            Operator::MemoryGrow { .. } => Ok(Instruction::Call(self.imported)),
            other => utils::instruction(self, other),
        }
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_type_section(self, types, section)?;
        self.type_index = types.len();
        types.ty().function([ValType::I32], [ValType::I32]);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_import_section(self, imports, section)?;
        self.import(imports);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        let no_imports = after == Some(SectionId::Type) && before != Some(SectionId::Import);
        if no_imports && !self.imports_written {
            let mut imports = ImportSection::new();
            self.import(&mut imports);
            module.section(&imports);
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        // Names and the manifest have been read already, or are for tools.
        Ok(())
    }
}
