//! A module in the making: constants, imports and inputs as code asks for them, and the bytes in the
//! end. What the code does is left to whoever writes it.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};
use tidemill_abi::limit::MANIFEST_BYTES_MAX;
use tidemill_abi::{MANIFEST_SECTION, export, import, value};
use tidemill_values::Value;
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, Instruction, TypeSection, ValType,
};

use crate::compile::Path;

/// Parameters of a typed handler, by the ABI.
pub(crate) const INPUTS_MAX: usize = tidemill_abi::limit::TYPED_PARAMS_MAX;

/// Locals of a handler, for a host that takes no more.
const LOCALS_MAX: usize = 1_000;

const I: ValType = ValType::I32;
const L: ValType = ValType::I64;
const F: ValType = ValType::F64;

/// An import with its type.
type Import = (&'static str, &'static [ValType], &'static [ValType]);

/// The imports that compiled code uses.
const IMPORTS: [Import; 31] = [
    (import::EV_I64, &[I], &[L]),
    (import::REG_GET, &[I], &[F]),
    (import::REG_SET, &[I, F], &[]),
    (import::WIN, &[I], &[I]),
    (import::V_COL, &[I, I], &[I]),
    (import::V_ROW, &[I], &[I]),
    (import::V_META, &[I, I], &[I]),
    (import::V_OP, &[I, I, I, I], &[I]),
    (import::V_ARG, &[I], &[]),
    (import::V_CALL, &[I, I], &[I]),
    (import::V_STEP, &[I, I, I, I, I], &[I]),
    (import::V_TRUE, &[I], &[I]),
    (import::V_F64, &[F], &[I]),
    (import::V_I64, &[L], &[I]),
    (import::V_SET, &[I, I], &[]),
    (import::V_STAR, &[I, I], &[]),
    (import::V_MERGE, &[I, I], &[]),
    (import::V_ORDER, &[I, I], &[]),
    (import::V_EMIT, &[], &[]),
    (import::V_FLUSH, &[I, I], &[]),
    (import::V_KEEP, &[I], &[]),
    (import::V_LOAD, &[], &[I]),
    (import::V_OPEN, &[I, I], &[]),
    (import::V_NEXT, &[], &[I]),
    (import::V_HIT, &[], &[]),
    (import::V_GROUP, &[I], &[]),
    (import::V_GATHER, &[I], &[]),
    (import::V_FOLD, &[I, I], &[I]),
    (import::V_HITS, &[I], &[]),
    (import::V_FITS, &[I, I], &[]),
    (import::V_TOTAL, &[I, I, I], &[]),
];

/// An input of the typed handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// Its name for people, with points where it lies inside of a column.
    pub(crate) column: String,
    /// The JSON pointer of the place.
    pub(crate) pointer: String,
    pub(crate) kind: InputKind,
}

/// The form in which the host hands a value over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputKind {
    /// A number; NaN when missing, and a dead letter where it is no number.
    Strict,
    /// A declared number: texts are read, and any other type is a dead letter; NaN when missing.
    Declared,
    /// A number; NaN when missing or no number.
    Number,
    /// The kind of the value there, as a number; see the ABI.
    Kind,
}

/// The part of a module that all handlers share.
#[derive(Debug, Default)]
pub(crate) struct Module {
    constants: Vec<Value>,
    imports: Vec<&'static Import>,
    pub(crate) inputs: Vec<Input>,
    bodies: Vec<(&'static str, Body)>,
}

/// The code of one handler.
#[derive(Debug, Default)]
pub(crate) struct Body {
    code: Vec<Instruction<'static>>,
    /// Types of the locals behind the parameters, in order of their making.
    locals: Vec<ValType>,
}

/// A local, whose number is only known once all inputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Local(u32);

/// Stands in front of a local's number until the parameters are counted.
const LOCAL_MARK: u32 = 1 << 20;

impl Module {
    /// The handle of a constant.
    pub(crate) fn constant(&mut self, value: Value) -> i32 {
        match value {
            Value::Null => return value::NULL,
            Value::Bool(false) => return value::FALSE,
            Value::Bool(true) => return value::TRUE,
            _ => {}
        }
        let place = self.constants.iter().position(|known| *known == value);
        let place = place.unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        });
        value::FIRST_CONSTANT + i32::try_from(place).unwrap_or(i32::MAX / 2)
    }

    /// The handle of a text.
    pub(crate) fn text(&mut self, text: &str) -> i32 {
        self.constant(Value::text(text))
    }

    /// Returns `true` if the name is that of a column that is looked at.
    pub(crate) fn names(&self, column: &str) -> bool {
        let mut inputs = self.inputs.iter().map(|input| input.column.as_str());
        let mut texts = self.constants.iter().filter_map(Value::as_text);
        inputs.any(|name| name.eq_ignore_ascii_case(column))
            || texts.any(|name| name.eq_ignore_ascii_case(column))
    }

    /// The parameter of an input, if there is room for it.
    pub(crate) fn input(&mut self, path: &Path, kind: InputKind) -> Option<u32> {
        let pointer = path.pointer();
        // If a column is asked for in both ways, the first serves: an input that takes anything
        // does, and so does one that has stopped the event before.
        let serves = |found: InputKind| (found == InputKind::Kind) == (kind == InputKind::Kind);
        let known = |input: &Input| input.pointer == pointer && serves(input.kind);
        let place = match self.inputs.iter().position(known) {
            Some(place) => place,
            None if self.inputs.len() >= INPUTS_MAX => return None,
            None => {
                self.inputs.push(Input {
                    column: path.dotted(),
                    pointer,
                    kind,
                });
                self.inputs.len() - 1
            }
        };
        u32::try_from(place).ok()
    }

    /// Adds a call of an import to a body.
    pub(crate) fn call(&mut self, body: &mut Body, name: &'static str) {
        let place = match self.imports.iter().position(|known| known.0 == name) {
            Some(place) => place,
            None => {
                let import = IMPORTS.iter().find(|known| known.0 == name);
                self.imports.extend(import);
                self.imports.len() - 1
            }
        };
        body.push(Instruction::Call(u32::try_from(place).unwrap_or(u32::MAX)));
    }

    /// Returns `true` if a body calls an import.
    pub(crate) fn calls(&self, body: &Body, name: &str) -> bool {
        let place = self.imports.iter().position(|known| known.0 == name);
        let place = place.and_then(|place| u32::try_from(place).ok());
        place.is_some_and(|place| {
            let mut code = body.code.iter();
            code.any(|instruction| matches!(instruction, Instruction::Call(at) if *at == place))
        })
    }

    /// Adds a handler.
    pub(crate) fn handler(&mut self, export: &'static str, body: Body) {
        self.bodies.push((export, body));
    }

    /// The bytes, or what is too much. `manifest` is what the section holds besides inputs and constants.
    pub(crate) fn finish(
        self,
        mut manifest: Map<String, Json>,
        mut sql: Map<String, Json>,
    ) -> Result<Vec<u8>, String> {
        if !self.inputs.is_empty() {
            let inputs: Vec<Json> = self.inputs.iter().map(Input::json).collect();
            manifest.insert("inputs".to_owned(), inputs.into());
        }
        if !self.constants.is_empty() {
            let values: Vec<Json> = self.constants.iter().map(json_of).collect();
            sql.insert("values".to_owned(), values.into());
        }
        if !sql.is_empty() {
            manifest.insert("sql".to_owned(), sql.into());
        }
        let manifest = Json::Object(manifest).to_string();
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(format!(
                "its names, texts and numbers have {} bytes, and may have {MANIFEST_BYTES_MAX}",
                manifest.len()
            ));
        }
        let mut bodies = self.bodies.iter();
        if let Some((_, body)) = bodies.find(|(_, body)| body.locals.len() > LOCALS_MAX) {
            return Err(format!(
                "its aliases and conditions take {} places, of which there are {LOCALS_MAX}",
                body.locals.len()
            ));
        }

        let mut types = TypeSection::new();
        let mut known: Vec<(Vec<ValType>, Vec<ValType>)> = Vec::new();
        let mut ty = |params: &[ValType], results: &[ValType]| {
            let wanted = (params.to_vec(), results.to_vec());
            let place = known
                .iter()
                .position(|ty| *ty == wanted)
                .unwrap_or_else(|| {
                    types.ty().function(params.to_vec(), results.to_vec());
                    known.push(wanted);
                    known.len() - 1
                });
            u32::try_from(place).unwrap_or(u32::MAX)
        };
        let mut imports = ImportSection::new();
        for (name, params, results) in &self.imports {
            imports.import(
                import::MODULE,
                name,
                EntityType::Function(ty(params, results)),
            );
        }
        let (mut functions, mut exports, mut code) = (
            FunctionSection::new(),
            ExportSection::new(),
            CodeSection::new(),
        );
        let params: Vec<ValType> = self.inputs.iter().map(|input| input.kind.ty()).collect();
        for (number, (name, body)) in (0..).zip(&self.bodies) {
            let params = if *name == export::TYPED {
                &*params
            } else {
                &[]
            };
            functions.function(ty(params, &[I]));
            let index = u32::try_from(self.imports.len()).unwrap_or(u32::MAX) + number;
            exports.export(name, ExportKind::Func, index);
            code.function(&body.function(u32::try_from(params.len()).unwrap_or(u32::MAX)));
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&types);
        if !self.imports.is_empty() {
            module.section(&imports);
        }
        module.section(&functions).section(&exports).section(&code);
        module.section(&CustomSection {
            name: Cow::Borrowed(MANIFEST_SECTION),
            data: Cow::Borrowed(manifest.as_bytes()),
        });
        Ok(module.finish())
    }
}

impl InputKind {
    fn ty(self) -> ValType {
        match self {
            Self::Strict | Self::Declared | Self::Number => F,
            Self::Kind => I,
        }
    }
}

impl Input {
    fn json(&self) -> Json {
        let name = match self.kind {
            InputKind::Kind => format!("kind of {}", self.column),
            InputKind::Strict | InputKind::Declared | InputKind::Number => self.column.clone(),
        };
        let ty = match self.kind {
            InputKind::Strict => "f64",
            InputKind::Declared => "float",
            InputKind::Number => "num",
            InputKind::Kind => "kind",
        };
        json!({"name": name, "pointer": self.pointer, "type": ty, "any_case": true})
    }
}

/// A constant as JSON: a float keeps its point, so that it is one again when it is read.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Wide(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Datetime(ms) => (*ms).into(),
        Value::Text(text) => (**text).into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::List(values) => values.iter().map(json_of).collect::<Vec<_>>().into(),
        Value::Map(map) => {
            let pairs = map.iter();
            let pairs = pairs.map(|(name, value)| (name.to_string(), json_of(value)));
            Json::Object(pairs.collect())
        }
    }
}

impl Body {
    /// Number of instructions so far.
    pub(crate) fn len(&self) -> usize {
        self.code.len()
    }

    /// Forgets the instructions behind the first so many.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.code.truncate(len);
    }

    pub(crate) fn push(&mut self, instruction: Instruction<'static>) {
        self.code.push(instruction);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.push(Instruction::I32Const(value));
    }

    /// A new local for a handle.
    pub(crate) fn local(&mut self, ty: ValType) -> Local {
        self.locals.push(ty);
        Local(u32::try_from(self.locals.len()).unwrap_or(u32::MAX) - 1)
    }

    pub(crate) fn get(&mut self, local: Local) {
        self.push(Instruction::LocalGet(LOCAL_MARK + local.0));
    }

    pub(crate) fn set(&mut self, local: Local) {
        self.push(Instruction::LocalSet(LOCAL_MARK + local.0));
    }

    pub(crate) fn param(&mut self, param: u32) {
        self.push(Instruction::LocalGet(param));
    }

    /// `if` over what is on the stack.
    pub(crate) fn begin_if(&mut self, result: Option<ValType>) {
        self.push(Instruction::If(block(result)));
    }

    pub(crate) fn begin_else(&mut self) {
        self.push(Instruction::Else);
    }

    pub(crate) fn end(&mut self) {
        self.push(Instruction::End);
    }

    fn function(&self, params: u32) -> Function {
        // Locals of one type stand together, which takes the fewest bytes.
        let mut order: Vec<usize> = Vec::new();
        let mut groups: Vec<(u32, ValType)> = Vec::new();
        let mut numbers = vec![0_u32; self.locals.len()];
        for ty in [I, L, F] {
            let these = self.locals.iter().enumerate();
            let these: Vec<usize> = these.filter(|(_, t)| **t == ty).map(|(at, _)| at).collect();
            if !these.is_empty() {
                groups.push((u32::try_from(these.len()).unwrap_or(u32::MAX), ty));
            }
            order.extend(these);
        }
        for (number, place) in (params..).zip(&order) {
            if let Some(slot) = numbers.get_mut(*place) {
                *slot = number;
            }
        }
        let number = |local: u32| match local.checked_sub(LOCAL_MARK) {
            None => local,
            Some(place) => numbers.get(place as usize).copied().unwrap_or(u32::MAX),
        };
        let mut function = Function::new(groups);
        for instruction in &self.code {
            function.instruction(&match instruction {
                Instruction::LocalGet(local) => Instruction::LocalGet(number(*local)),
                Instruction::LocalSet(local) => Instruction::LocalSet(number(*local)),
                Instruction::LocalTee(local) => Instruction::LocalTee(number(*local)),
                other => other.clone(),
            });
        }
        function.instruction(&Instruction::End);
        function
    }
}

pub(crate) fn block(result: Option<ValType>) -> BlockType {
    result.map_or(BlockType::Empty, BlockType::Result)
}
