//! A rule and its function, bound together: the rule's ports, inputs and parameters are checked
//! against those of the function.

mod fits;
mod naming;
mod params;
mod topics;
mod window;

use std::sync::Arc;

use crate::event::decode::Plan;
use crate::event::hash_bytes;
use crate::event::state::layout::Naming;
use crate::function::{Engine, Function, LoadError, Module, Settings};
use crate::mill::window::Window;
use crate::rule::manifest::{Input, ModuleManifest, WindowKind};
use crate::rule::{Durability, FunctionSource, KeySpec, Port, Rule, Stream, check_pointer};
use tidemill_base::text::{Errors, FileError, FileErrors, nearest};

use super::output::PortBinding;

pub(super) use naming::window_code;

/// A rule bound to its function, ready to be deployed.
pub struct BoundRule {
    pub(super) rule: Rule,
    pub(super) module: Arc<Module>,
    module_bytes: usize,
    pub(super) function: Function,
    pub(super) ports: Box<[Option<Arc<PortBinding>>]>,
    pub(super) inputs: Box<[Input]>,
    pub(super) key: KeySpec,
    pub(super) window: Option<Window>,
    /// Names by which the rule's state is found again after an edit.
    pub(super) naming: Naming,
    /// Port for events that come too late for a rule with event time.
    pub(super) late: Option<Arc<PortBinding>>,
    /// Tells rule and function from others.
    pub(super) fingerprint: u128,
}

impl BoundRule {
    /// Binds a rule to a module of `module_bytes`. `destinations` are the gateway's, in the order of their numbers.
    ///
    /// # Errors
    /// Whatever the rule names that the function does not have, or leaves out that it needs, with file and
    /// line; when the function cannot be started.
    pub fn new(
        rule: Rule,
        module: &Arc<Module>,
        module_bytes: usize,
        engine: &Engine,
        destinations: &[&str],
    ) -> Result<Self, FileErrors> {
        let errors = Errors::default();
        errors.take(check_triggers(&rule, module));
        let window = errors.take(window::resolve(&rule, module)).flatten();
        let key = errors.take(key(&rule, module)).unwrap_or(KeySpec::Topic);
        let ports = ports(&rule, module, window.as_ref(), &key, destinations, &errors);
        let config = params::config(&rule, module, &errors);
        topics::check_timers(&rule, module, &config, &errors);
        let inputs = inputs(&rule, module, &errors);
        errors.or(())?;
        let bound = (&*inputs, &*config);
        let naming = naming::resolve(&rule, module, &key, window.as_ref(), bound);
        let settings = Settings {
            rule: rule.name.clone(),
            config,
            fuel: rule.limits.fuel,
            memory_pages: rule.limits.memory_pages,
            emissions: rule.limits.emissions,
            emission_bytes: rule.limits.emission_bytes,
            value_bytes: rule.limits.value_bytes,
            bound_ports: ports
                .iter()
                .enumerate()
                .filter(|(_, port)| port.is_some())
                .fold(0, |bits, (number, _)| bits | 1 << number),
            window_slots: window.map_or(0, |window| window.slots),
            windowed: window.is_some(),
            rows: window.is_some_and(|window| window.rows),
        };
        let function =
            Function::new(engine, module, settings).map_err(|error| refusal(&rule, &error))?;
        Ok(Self {
            inputs,
            module: Arc::clone(module),
            module_bytes,
            function,
            ports,
            late: late(&rule, &key, destinations),
            naming,
            fingerprint: hash_bytes(&[rule.source.text.as_bytes()]),
            key,
            window,
            rule,
        })
    }

    /// Adds the rule's function to the fingerprint that tells the rule from others.
    pub fn set_function(&mut self, wasm_hash: u128) {
        let text = self.rule.source.text.as_bytes();
        self.fingerprint = hash_bytes(&[text, &wasm_hash.to_le_bytes()]);
    }

    /// A hash that tells rule and function from others.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// The rule's name.
    pub fn name(&self) -> &Arc<str> {
        &self.rule.name
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The way in which the key of an event is found.
    pub fn key(&self) -> &KeySpec {
        &self.key
    }

    /// The kind of its window and its time, as a record has it.
    pub(super) fn window_code(&self) -> u8 {
        window_code(self.window.as_ref(), self.rule.is_by_event_time())
    }

    /// Its module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Returns `true` if the function is called once for each pane that an event belongs to, which
    /// may be several.
    pub fn is_called_for_each_pane(&self) -> bool {
        self.window
            .is_some_and(|window| !window.rows && window.kind == WindowKind::Hopping)
    }

    /// Places of the payload that the function and the key read, as JSON pointers.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        let key = match &self.key {
            KeySpec::Pointer(pointer) | KeySpec::Column(pointer) => Some(pointer.as_str()),
            KeySpec::Topic | KeySpec::Levels(_) | KeySpec::Constant(_) => None,
        };
        let inputs = self.inputs.iter().filter(|input| input.default.is_none());
        inputs.map(|input| input.pointer.as_str()).chain(key)
    }

    /// A summary of the rule in half a line.
    pub fn summary(&self) -> String {
        let rule = &self.rule;
        let filters = rule.triggers.mqtt.iter().map(ToString::to_string);
        let schedules = rule
            .triggers
            .schedules
            .iter()
            .map(|s| format!("\"{}\"", s.text()));
        let triggers: Vec<_> = filters.chain(schedules).collect();
        let ports: Vec<_> = rule
            .ports
            .iter()
            .map(|(name, port)| format!("{name} to {}", port.value.to))
            .collect();
        format!("on {}; {}", triggers.join(", "), ports.join(", "))
    }

    /// The result of binding rule and function, as names and values for people.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let list = |items: Vec<String>| {
            if items.is_empty() {
                "none".to_owned()
            } else {
                items.join(", ")
            }
        };
        let input =
            |input: &Input| format!("{} = {} ({})", input.name, input.pointer, input.kind.name());
        let triggers = self.summary();
        let key = match &self.key {
            KeySpec::Topic => "the topic".to_owned(),
            KeySpec::Pointer(pointer) | KeySpec::Column(pointer) => {
                format!("{pointer} of the payload")
            }
            KeySpec::Constant(key) => format!("always {key}"),
            KeySpec::Levels(_) => "from the topic".to_owned(),
        };
        let window = self
            .window
            .map_or("none".to_owned(), |window| window.describe());
        let state = self.module.manifest.state;
        let time = |stream: &Stream| {
            let timestamp = stream.timestamp.as_ref()?;
            let pointer = &timestamp.pointer;
            let late = stream.lateness_ms;
            Some(format!("{pointer} of {}, {late} ms late", stream.name))
        };
        let times: Vec<_> = self.rule.streams.iter().filter_map(time).collect();
        let times = (!times.is_empty()).then(|| ("time", times.join(", ")));
        let rest = vec![
            ("function", format!("{} bytes", self.module_bytes)),
            ("works", triggers),
            ("inputs", list(self.inputs.iter().map(input).collect())),
            ("key", key),
            ("window", window),
            (
                "state",
                format!(
                    "schema {}, {} slots and at most {} bytes of entries a key",
                    state.schema, state.slots, state.bytes
                ),
            ),
            ("fits", self.fits()),
            ("memory", format!("{} pages of 64 KiB", self.module.pages())),
            (
                "tests",
                format!(
                    "{} in the function's manifest, passed",
                    self.module.manifest.tests.len()
                ),
            ),
        ];
        times.into_iter().chain(rest).collect()
    }
}

/// A refused module as an error of the rule that names it.
fn refusal(rule: &Rule, error: &LoadError) -> FileError {
    rule.source
        .error_at(&rule.function_span, format!("function: {error}"))
}

fn check_triggers(rule: &Rule, module: &Module) -> Result<(), FileError> {
    if module.handlers.event {
        return Ok(());
    }
    Err(rule.source.error_at(
        &rule.function_span,
        "function: it exports no handler of events (f or on_event), so its triggers would do nothing",
    ))
}

fn key(rule: &Rule, module: &Module) -> Result<KeySpec, FileError> {
    match (&rule.key, &module.manifest.key) {
        (Some(key), _) => Ok(key.clone()),
        (None, Some(pointer)) => match check_pointer(pointer) {
            Ok(()) if module.manifest.sql.is_some() => Ok(KeySpec::Column(pointer.clone())),
            Ok(()) => Ok(KeySpec::Pointer(pointer.clone())),
            Err(why) => Err(rule.source.error_at(
                &rule.function_span,
                format!("function: key of its manifest: {why}"),
            )),
        },
        // A statement itself says what it keeps apart.
        (None, None) if matches!(rule.function, FunctionSource::Sql(_)) => {
            Ok(KeySpec::Constant("all".into()))
        }
        (None, None) => Ok(KeySpec::Topic),
    }
}

fn ports(
    rule: &Rule,
    module: &Module,
    window: Option<&Window>,
    key: &KeySpec,
    destinations: &[&str],
    errors: &Errors,
) -> Box<[Option<Arc<PortBinding>>]> {
    let outputs = &module.manifest.outputs;
    for (name, port) in &rule.ports {
        let is_late = name == LATE && rule.is_by_event_time();
        if !outputs.contains(name) && !is_late {
            let message = unknown("ports", name, "port", outputs.iter().map(String::as_str));
            errors.push(rule.source.error_at(&port.span, message));
            continue;
        }
        if rule.knows_topics {
            errors.take(topics::check(rule, window, key, name, port));
        }
    }
    // A function that does not say what it sends may be there for its state or its log.
    let may_be_silent = rule.ports.is_empty() && module.manifest == ModuleManifest::default();
    let is_heard = outputs.iter().any(|name| rule.ports.contains_key(name));
    let misses_one = rule.is_whole && !may_be_silent && !is_heard;
    if let Some(main) = outputs.first().filter(|_| misses_one) {
        errors.push(rule.source.error_at(&rule.function_span, format!(
            "ports.{main} is missing: write [ports.{main}] with to = \"local\" and topic = \"…\""
        )));
    }
    let bind = |name: &String| {
        rule.ports
            .get(name)
            .map(|port| Arc::new(binding(rule, key, name, &port.value, destinations)))
    };
    outputs.iter().map(bind).collect()
}

/// The port for events that come too late; a function need not know it.
const LATE: &str = "late";

fn binding(
    rule: &Rule,
    key: &KeySpec,
    name: &str,
    port: &Port,
    destinations: &[&str],
) -> PortBinding {
    let mut plan = Plan::default();
    let places = port
        .topic
        .pointers()
        .map(|pointer| (pointer.into(), plan.add(pointer)));
    PortBinding {
        places: places.collect(),
        key_of_topic: is_of_topic(key),
        plan,
        rule: rule.name.clone(),
        name: name.to_owned(),
        destination: destinations.iter().position(|d| *d == port.to).unwrap_or(0),
        topic: port.topic.clone(),
        priority: port.priority,
        retain: port.retain,
        qos: port.qos,
        volatile: rule.durability == Durability::Volatile,
    }
}

fn late(rule: &Rule, key: &KeySpec, destinations: &[&str]) -> Option<Arc<PortBinding>> {
    let port = rule.ports.get(LATE).filter(|_| rule.is_by_event_time())?;
    Some(Arc::new(binding(
        rule,
        key,
        LATE,
        &port.value,
        destinations,
    )))
}

/// Returns `true` if a key holds nothing but what the rule and the topic of an event say.
fn is_of_topic(key: &KeySpec) -> bool {
    match key {
        KeySpec::Topic | KeySpec::Levels(_) | KeySpec::Constant(_) => true,
        KeySpec::Pointer(_) | KeySpec::Column(_) => false,
    }
}

fn inputs(rule: &Rule, module: &Module, errors: &Errors) -> Box<[Input]> {
    let mut inputs: Box<[Input]> = module.manifest.inputs.clone().into();
    for (name, pointer) in &rule.inputs {
        match inputs.iter_mut().find(|input| input.name == *name) {
            Some(input) => input.pointer.clone_from(&pointer.value),
            None => {
                let known = module
                    .manifest
                    .inputs
                    .iter()
                    .map(|input| input.name.as_str());
                let message = unknown("inputs", name, "input", known);
                errors.push(rule.source.error_at(&pointer.span, message));
            }
        }
    }
    inputs
}

fn unknown<'a>(
    table: &str,
    name: &str,
    noun: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let near = nearest(name, known.clone());
    let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    let all: Vec<_> = known.collect();
    let has = if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    };
    format!("{table}.{name}: the function has no {noun} {name:?}, it has {has}{hint}")
}
