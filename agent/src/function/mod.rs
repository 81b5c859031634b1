//! Functions: a module is checked, compiled once and shared; a function is an instance of it with
//! the settings of one rule, called with a frame and bounded in fuel, memory and output. Routing
//! events to functions and carrying out their effects are left to the mill.

pub mod effects;
mod error;
pub mod frame;
mod fuel;
mod grow;
mod guest;
mod host;
mod imports;
mod instance;
mod number;
mod price;
mod scan;
mod signature;
#[cfg(test)]
mod tests;
mod values;

use std::sync::{Arc, Mutex, PoisonError};

use tidemill_abi::{export, limit};
use wasmi::{CompilationMode, Config, EnforcedLimits};
use wasmparser::ValType;

pub use error::{CallFault, LoadError};
pub use fuel::FuelBound;
pub use guest::GuestFault;
pub use imports::kept_value;
pub use signature::Signature;
pub use values::{kept_event, moved_row};

use host::{Host, Terms};
use instance::Instance;
use scan::Outline;

use crate::config::limits::FunctionLimits;
use crate::function::frame::Frame;
use crate::rule::manifest::{ConfigValue, Input, InputKind, ModuleManifest};

/// Compiles modules within a gateway's limits.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    engine: wasmi::Engine,
    linker: wasmi::Linker<Host>,
    limits: FunctionLimits,
}

/// A module that was checked and compiled: shared by all rules that use it.
pub struct Module {
    /// The module's manifest.
    pub manifest: ModuleManifest,
    /// The handlers it exports.
    pub handlers: Handlers,
    bytes: usize,
    pages: u64,
    typed: bool,
    code: wasmi::Module,
    /// The one instance of a module whose instances cannot remember anything: all rules share it,
    /// which keeps it in the processor's cache.
    stateless: Option<Mutex<Option<Box<Instance>>>>,
}

/// The handlers that a module exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handlers {
    /// `f` or `on_event`.
    pub event: bool,
    /// `on_timer`.
    pub timer: bool,
    /// `on_window`.
    pub window: bool,
    /// `migrate`.
    pub migrate: bool,
}

/// Settings of a module in one rule.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The rule's name; with the event it seeds `rand`.
    pub rule: Arc<str>,
    /// One value for each entry of the manifest's `config`.
    pub config: Box<[ConfigValue]>,
    /// Fuel of one call.
    pub fuel: u64,
    /// Pages of memory that an instance may have, at most the gateway's.
    pub memory_pages: u32,
    /// Messages of one call.
    pub emissions: usize,
    /// Bytes of all messages of one call.
    pub emission_bytes: usize,
    /// Memory that the values of one call may take.
    pub value_bytes: usize,
    /// A bit for each port that the rule binds, port 0 the lowest.
    pub bound_ports: u64,
    /// Slots below this number belong to the pane.
    pub window_slots: u8,
    /// The host keeps a window, so that no event is passed on.
    pub windowed: bool,
    /// The window keeps rows.
    pub rows: bool,
}

/// The handler to call, with its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// `f` or `on_event`, with the inputs of the frame.
    Event,
    /// `on_timer`, with the timer's id.
    Timer(u32),
    /// `on_window`.
    Window,
    /// `migrate`, with the schema that the state has.
    Migrate(i32),
}

/// Result of a call that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The input goes on through this port, unchanged.
    Pass(u8),
    /// No output beyond the effects, which include a number that a typed handler returned.
    Done,
}

/// An instance of a module under the settings of one rule.
pub struct Function {
    shared: Arc<Shared>,
    module: Arc<Module>,
    terms: Arc<Terms>,
    /// `None` after a fault, when the next call starts a fresh one, and if the module keeps the
    /// instance for all rules.
    instance: Option<Box<Instance>>,
    fuel_used: u64,
}

impl Engine {
    /// An engine whose modules keep within `limits`.
    pub fn new(limits: &FunctionLimits) -> Self {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            // Lazy translation would charge the first event for it and hide errors until then.
            .compilation_mode(CompilationMode::Eager)
            .enforced_limits(EnforcedLimits::strict())
            .ignore_custom_sections(true)
            .allow_start_fn(false)
            .set_max_recursion_depth(limit::CALL_DEPTH_MAX as usize)
            .wasm_multi_memory(false)
            .wasm_tail_call(false)
            .wasm_extended_const(false)
            .wasm_custom_page_sizes(false)
            .wasm_wide_arithmetic(false);
        let engine = wasmi::Engine::new(&config);
        let linker = imports::linker(&engine).expect("no import is defined twice");
        Self {
            shared: Arc::new(Shared {
                engine,
                linker,
                limits: *limits,
            }),
        }
    }

    /// Checks and compiles a module. Fails with the reason, by name, on everything that could not
    /// be run later; only what depends on a rule is left to [`Function::new`].
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Module>, LoadError> {
        let limits = &self.shared.limits;
        if wasm.len() > limits.module_bytes {
            return Err(LoadError::TooBig {
                bytes: wasm.len(),
                limit: limits.module_bytes,
            });
        }
        let outline = scan::scan(wasm, limits)?;
        let manifest = match outline.manifest {
            Some(json) => ModuleManifest::parse(json)?,
            None => ModuleManifest::default(),
        };
        let handlers = check_handlers(&outline, &manifest)?;
        Ok(Arc::new(Module {
            code: self.compile(wasm, &outline)?,
            bytes: wasm.len(),
            pages: outline.pages,
            stateless: (!outline.remembers).then(Mutex::default),
            typed: outline.exports.contains_key(export::TYPED),
            manifest,
            handlers,
        }))
    }

    fn compile(&self, wasm: &[u8], outline: &Outline<'_>) -> Result<wasmi::Module, LoadError> {
        let engine = &self.shared.engine;
        let invalid = |error: wasmi::Error| LoadError::Invalid(error.to_string());
        if !outline.grows {
            return wasmi::Module::new(engine, wasm).map_err(invalid);
        }
        // Validated as it came, so that positions in messages are those of the owner's file.
        wasmi::Module::validate(engine, wasm).map_err(invalid)?;
        let rewritten = grow::through_host(wasm, outline.imported)
            .map_err(|error| LoadError::Invalid(error.to_string()))?;
        wasmi::Module::new(engine, rewritten).map_err(invalid)
    }
}

fn check_handlers(outline: &Outline<'_>, manifest: &ModuleManifest) -> Result<Handlers, LoadError> {
    let has = |name| outline.exports.contains_key(name);
    let typed = outline.exports.get(export::TYPED);
    if let Some(signature) = typed {
        check_typed(signature, outline, manifest)?;
        if has(export::ON_EVENT) {
            return Err(LoadError::TwoHandlers);
        }
    }
    let handlers = Handlers {
        event: typed.is_some() || has(export::ON_EVENT),
        timer: has(export::ON_TIMER),
        window: has(export::ON_WINDOW),
        migrate: has(export::MIGRATE),
    };
    if !(handlers.event || handlers.timer || handlers.window) {
        return Err(LoadError::NoHandler);
    }
    Ok(handlers)
}

fn check_typed(
    signature: &Signature,
    outline: &Outline<'_>,
    manifest: &ModuleManifest,
) -> Result<(), LoadError> {
    if outline.manifest.is_none() {
        return Err(LoadError::NoManifest);
    }
    let params = signature.params.len();
    if params > limit::TYPED_PARAMS_MAX {
        return Err(LoadError::Limit {
            what: "parameters of `f`",
            found: params as u64,
            limit: limit::TYPED_PARAMS_MAX as u64,
        });
    }
    if !matches!(
        *signature.results,
        [ValType::I32 | ValType::I64 | ValType::F64]
    ) {
        return Err(LoadError::WrongType {
            name: export::TYPED.into(),
            found: signature.to_string().into(),
            expected: "one result, i32, i64 or f64".into(),
        });
    }
    let wanted = |input: &Input| match input.kind {
        InputKind::F64 | InputKind::Float | InputKind::Num => ValType::F64,
        InputKind::I64 => ValType::I64,
        InputKind::I32 | InputKind::Bytes | InputKind::Kind => ValType::I32,
    };
    if !manifest
        .inputs
        .iter()
        .map(wanted)
        .eq(signature.params.iter().copied())
    {
        let inputs: Vec<String> = manifest
            .inputs
            .iter()
            .map(|input| format!("{}: {}", input.name, input.kind.name()))
            .collect();
        return Err(LoadError::Inputs {
            params: signature.clone(),
            inputs: format!("({})", inputs.join(", ")).into(),
        });
    }
    Ok(())
}

impl Module {
    /// Bytes of it, as it came.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pages of linear memory that it starts with.
    pub fn pages(&self) -> u64 {
        self.pages
    }
}

impl Function {
    /// Makes an instance and lets it start. Fails when the settings do not fit the module, or when
    /// the module's own start fails.
    ///
    /// # Panics
    ///
    /// If another engine loaded the module.
    pub fn new(
        engine: &Engine,
        module: &Arc<Module>,
        settings: Settings,
    ) -> Result<Self, LoadError> {
        let expected = module.manifest.config.len();
        if settings.config.len() != expected {
            let found = settings.config.len();
            return Err(LoadError::Config { expected, found });
        }
        if module.pages > settings.memory_pages.into() {
            return Err(LoadError::Memory {
                pages: module.pages,
                limit: settings.memory_pages,
            });
        }
        let terms = Arc::new(Terms::new(settings));
        let mut function = Self {
            shared: Arc::clone(&engine.shared),
            module: Arc::clone(module),
            terms,
            instance: None,
            fuel_used: 0,
        };
        let started = Box::new(Instance::start(&function.shared, module, &function.terms)?);
        function.fuel_used = started.fuel_start();
        match &module.stateless {
            Some(home) => *home.lock().unwrap_or_else(PoisonError::into_inner) = Some(started),
            None => function.instance = Some(started),
        }
        Ok(function)
    }

    /// Calls a handler. Its effects are in the frame afterwards; after a fault they are void. If
    /// the guest was stopped half-way, the next call starts a fresh instance.
    pub fn call(&mut self, handler: Handler, frame: &mut Box<Frame>) -> Result<Verdict, CallFault> {
        let Self {
            shared,
            module,
            terms,
            instance,
            fuel_used,
        } = self;
        let mut home = module
            .stateless
            .as_ref()
            .map(|home| home.lock().unwrap_or_else(PoisonError::into_inner));
        let place = home.as_deref_mut().unwrap_or(instance);
        let mut start = 0;
        let instance = match place.as_mut() {
            Some(instance) => instance,
            None => {
                let fresh = Instance::start(shared, module, terms)
                    .map_err(|error| CallFault::Restart(Box::new(error)))?;
                start = fresh.fuel_start();
                place.insert(Box::new(fresh))
            }
        };
        let outcome = instance.call(handler, frame, terms);
        *fuel_used = match outcome {
            // The fuel left did not cover the next step.
            Err(CallFault::OutOfFuel { .. }) => instance.granted(),
            _ => instance.fuel_used(),
        };
        // A module that starts anew for each event costs what its start does.
        *fuel_used += start;
        if let Err(fault) = &outcome
            && fault.spoils_instance(module.stateless.is_none())
        {
            *place = None;
        }
        outcome
    }

    /// The fuel that the last call used, with that of a start before it; before the first call that of the start.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Makes the next call start a fresh instance, also of a module whose instance is shared among rules.
    pub fn chill(&mut self) {
        self.instance = None;
        if let Some(home) = &self.module.stateless {
            *home.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl CallFault {
    /// `true` if the guest was stopped half-way, so that its memory may be half written.
    fn spoils_instance(&self, remembers: bool) -> bool {
        match self {
            Self::Data { .. } => remembers,
            Self::OutOfFuel { .. } | Self::Trap { .. } | Self::Abi(_) => true,
            Self::Rule { .. }
            | Self::BadResult { .. }
            | Self::NoHandler { .. }
            | Self::Inputs
            | Self::Restart(_) => false,
        }
    }
}
