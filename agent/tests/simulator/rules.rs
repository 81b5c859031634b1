//! The rules of the simulated gateway and their functions, loaded once and bound at every start.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill::commit::outbox::{Destination, Outlet};
use tidemill::config::limits::FunctionLimits;
use tidemill::config::{OutboxLimits, WhenFull};
use tidemill::function::{Engine, Module};
use tidemill::install::subscriptions;
use tidemill::mill::{BoundRule, Deployment};
use tidemill::rule::{Gateway, Rule};
use tidemill_base::text::Source;
use tidemill_transport::topic::Subscription;

/// Destinations in the order of their numbers.
pub(crate) const DESTINATIONS: [&str; 4] = ["local", "cloud", "hub", "thin"];
pub(crate) const HUB: usize = 2;
pub(crate) const THIN: usize = 3;

/// Rows that the thin destination's lanes may keep.
const THIN_ROWS: u64 = 24;

/// Longest age of rows there, in milliseconds.
const THIN_AGE_MS: u64 = 86_400_000;

/// The counter rule: emits state + 1.
const COUNTER: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "f") (result f64)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (call $get (i32.const 0)))
    (@custom "tidemill.manifest" "{\"abi\": 1}"))"#;

/// Lets everything through.
const PASS: &str = r#"(module
    (func (export "f") (result i32) (i32.const 1))
    (@custom "tidemill.manifest" "{\"abi\": 1}"))"#;

/// Lets through what has an odd `v`.
const ODD: &str = r#"(module
    (func (export "f") (param i64) (result i32)
        (i32.wrap_i64 (i64.and (local.get 0) (i64.const 1))))
    (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/v\",\"type\":\"i64\"}]}"))"#;

/// Traps on a negative `t` after it changed its state; counts everything else silently.
const FRAGILE: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "f") (param f64) (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (if (f64.lt (local.get 0) (f64.const 0)) (then (unreachable)))
        (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/t\",\"type\":\"f64\"}]}"))"#;

/// Counts events and arms a timer; the timer emits how many there were and begins again.
const TIMER: &str = r#"(module
    (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (drop (call $timer (i32.const 5) (i64.const 300))) (i32.const 0))
    (func (export "on_timer") (param i32) (result i32)
        (drop (call $emit (i32.const 0) (call $get (i32.const 0))))
        (call $set (i32.const 0) (f64.const 0)) (i32.const 0)))"#;

/// Emits the number of events of each window.
const PANES: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))
    (func (export "on_window") (result i32)
        (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":700,\"slots\":1}}"))"#;

/// Emits the number of rows of each session; each row has a few bytes that mean nothing.
const SESSIONS: &str = r#"(module
    (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
    (import "tidemill1" "rows" (func $rows (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (memory (export "memory") 1)
    (func (export "on_event") (result i32) (call $put (i32.const 0) (i32.const 9)))
    (func (export "on_window") (result i32)
        (call $emit (i32.const 0) (f64.convert_i32_s (call $rows))))
    (@custom "tidemill.manifest"
        "{\"abi\":1,\"window\":{\"kind\":\"session\",\"length_ms\":900,\"gap_ms\":300,\"rows\":true}}"))"#;

/// The counter rule with its number in an entry; a second entry comes and goes.
const ENTRIES: &str = r#"(module
    (import "tidemill1" "st_get" (func $get (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "st_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "st_del" (func $del (param i32 i32) (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "nm")
    (func (export "on_event") (result i32)
        (f64.store (i32.const 8) (f64.const 0))
        (drop (call $get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))
        (f64.store (i32.const 8) (f64.add (f64.load (i32.const 8)) (f64.const 1)))
        (drop (call $put (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 8)))
        (if (i32.and (i32.trunc_f64_s (f64.load (i32.const 8))) (i32.const 1))
            (then (drop (call $put (i32.const 1) (i32.const 1) (i32.const 8) (i32.const 8))))
            (else (drop (call $del (i32.const 1) (i32.const 1)))))
        (drop (call $emit (i32.const 0) (f64.load (i32.const 8)))) (i32.const 0)))"#;

/// A rule: name, function, filters, destination, lines for the port, lines for the rest.
struct Sketch {
    name: &'static str,
    wat: &'static str,
    filters: &'static str,
    to: &'static str,
    port: &'static str,
    on: &'static str,
    head: &'static str,
    tail: &'static str,
}

const PLAIN: Sketch = Sketch {
    name: "",
    wat: COUNTER,
    filters: "\"s/+\"",
    to: "cloud",
    port: "",
    on: "",
    head: "",
    tail: "",
};

/// The rules; `truth.rs` tells the values that each of them should give.
#[rustfmt::skip]
const RULES: &[Sketch] = &[
    Sketch { name: "seen", wat: PASS, to: "local", ..PLAIN },
    Sketch { name: "buzz", wat: PASS, filters: "\"a/+\"", to: "hub", port: "priority = \"high\"\n", ..PLAIN },
    Sketch { name: "count", ..PLAIN },
    Sketch { name: "total", to: "hub", ..PLAIN },
    Sketch { name: "alarm", filters: "\"a/+\"", port: "priority = \"high\"\n", ..PLAIN },
    Sketch { name: "odd", wat: ODD, to: "local", port: "priority = \"high\"\n", ..PLAIN },
    Sketch { name: "fragile", wat: FRAGILE, to: "local", ..PLAIN },
    Sketch { name: "timer", wat: TIMER, to: "local", ..PLAIN },
    Sketch { name: "panes", wat: PANES, ..PLAIN },
    Sketch { name: "sessions", wat: SESSIONS, ..PLAIN },
    Sketch { name: "entries", wat: ENTRIES, to: "hub", ..PLAIN },
    Sketch { name: "vol", to: "local", head: "durability = \"volatile\"\n", ..PLAIN },
    Sketch { name: "quick", wat: PASS, filters: "\"q/+\"", to: "local", head: "durability = \"volatile\"\n", ..PLAIN },
    Sketch { name: "tally", filters: "\"q/+\"", to: "hub", ..PLAIN },
    Sketch { name: "lossy", to: "thin", ..PLAIN },
    Sketch { name: "few", to: "thin", port: "priority = \"high\"\n", tail: "[limits]\nkeys = 2\n", ..PLAIN },
    Sketch { name: "zero", filters: "\"z/+\"", ..PLAIN },
    Sketch { name: "keep", wat: PASS, filters: "\"r/+\"", to: "local", on: "retained = true\n", ..PLAIN },
    Sketch { name: "x-one", filters: "\"s/k1\"", ..PLAIN },
    Sketch { name: "x-all", filters: "\"s/#\"", to: "local", ..PLAIN },
    Sketch { name: "x-plus", filters: "\"+/k0\"", to: "hub", ..PLAIN },
    Sketch { name: "x-two", filters: "\"s/k1\", \"s/k2\", \"a/#\"", to: "hub", ..PLAIN },
];

struct Made {
    rule: Rule,
    module: Arc<Module>,
    bytes: usize,
}

/// Loads all functions once.
pub(crate) struct Workshop {
    engine: Engine,
    made: Vec<Made>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let limits = FunctionLimits::default();
        let engine = Engine::new(&limits);
        let gateway = Gateway {
            id: "gw",
            destinations: Some(&DESTINATIONS),
            limits: &limits,
        };
        let made = RULES.iter().map(|sketch| {
            let wasm = wat::parse_str(sketch.wat).unwrap();
            let source = Source {
                path: PathBuf::from(format!("{}.toml", sketch.name)),
                text: sketch.text(),
            };
            let rule = Rule::parse(source, &gateway);
            Made {
                rule: rule.unwrap_or_else(|error| panic!("{error}")),
                module: engine.load(&wasm).unwrap(),
                bytes: wasm.len(),
            }
        });
        Self {
            made: made.collect(),
            engine,
        }
    }

    /// The rules of these names, ready to be deployed where a session holds `held`.
    pub(crate) fn deployment(&self, names: &[&str], held: &[Subscription]) -> Deployment {
        let named = |made: &&Made| names.contains(&&*made.rule.name);
        let rules: Vec<BoundRule> = self
            .made
            .iter()
            .filter(named)
            .map(|made| {
                let (rule, module, engine) = (made.rule.clone(), &made.module, &self.engine);
                BoundRule::new(rule, module, made.bytes, engine, &DESTINATIONS).unwrap()
            })
            .collect();
        Deployment {
            subscriptions: subscriptions(&rules, held),
            rules,
        }
    }
}

impl Sketch {
    fn text(&self) -> String {
        let Self {
            name,
            filters,
            to,
            port,
            on,
            head,
            tail,
            ..
        } = self;
        format!(
            "name = \"{name}\"\n{head}[on]\nmqtt = [{filters}]\nkey = \"{{topic.1}}\"\n{on}\
             [function]\nwasm = \"{name}.wasm\"\n\
             [ports.out]\nto = \"{to}\"\ntopic = \"out/{name}/{{key}}\"\n{port}{tail}"
        )
    }
}

/// Destinations of rows. `block` holds sensors back when so many rows wait for the cloud.
pub(crate) fn destinations(block: Option<u64>, newest: bool) -> Vec<Destination> {
    let limits = |name: &str| match name {
        "thin" => OutboxLimits {
            count: Some(THIN_ROWS),
            age_ms: THIN_AGE_MS,
            when_full: if newest {
                WhenFull::DropNewest
            } else {
                WhenFull::DropOldest
            },
            ..OutboxLimits::DESTINATION
        },
        "cloud" if block.is_some() => OutboxLimits {
            count: block,
            when_full: WhenFull::Block,
            ..OutboxLimits::DESTINATION
        },
        _ => OutboxLimits::DESTINATION,
    };
    let outlet = |name: &str| match name {
        "hub" => Outlet::Requests,
        _ => Outlet::Messages,
    };
    DESTINATIONS
        .iter()
        .map(|name| Destination {
            name: (*name).into(),
            outlet: outlet(name),
            limits: limits(name),
        })
        .collect()
}
