//! Functions as a rule meets them: what is refused, what a call sees and does, and what hostile
//! guests come to. Modules are written as WAT; bombs are built byte by byte.

mod calls;
#[cfg(feature = "sql")]
mod fuel;
mod hostile;
mod limits;
mod prices;
mod refusals;
mod shared;
mod values;

use std::sync::Arc;

use super::{CallFault, Engine, Function, Handler, LoadError, Module, Settings, Verdict};
use crate::config::limits::FunctionLimits;
use crate::event::value::Value;
use crate::function::frame::Frame;

fn engine() -> Engine {
    Engine::new(&FunctionLimits::default())
}

fn load(wat: &str) -> Result<Arc<Module>, LoadError> {
    engine().load(&wat::parse_str(wat).unwrap())
}

fn settings() -> Settings {
    Settings {
        rule: "rule".into(),
        config: Box::default(),
        fuel: 1_000_000,
        memory_pages: 16,
        emissions: 16,
        emission_bytes: 64 * 1024,
        value_bytes: 4 << 20,
        bound_ports: u64::MAX,
        window_slots: 0,
        windowed: false,
        rows: false,
    }
}

fn function(wat: &str) -> Function {
    function_with(wat, settings())
}

fn function_with(wat: &str, settings: Settings) -> Function {
    let engine = engine();
    let module = engine.load(&wat::parse_str(wat).unwrap()).unwrap();
    Function::new(&engine, &module, settings).unwrap()
}

/// A module with a memory of one page, all imports by their names, and a pull handler whose body
/// is given. It has two ports.
fn pull(body: &str) -> String {
    pull_with("", body)
}

fn pull_with(items: &str, body: &str) -> String {
    format!(
        r#"(module
        (@custom "tidemill.manifest" "{{\"abi\":1,\"outputs\":[\"out\",\"other\"]}}")
        (import "tidemill1" "in_f64" (func $in_f64 (param i32) (result f64)))
        (import "tidemill1" "in_i64" (func $in_i64 (param i32) (result i64)))
        (import "tidemill1" "in_bytes" (func $in_bytes (param i32 i32 i32) (result i32)))
        (import "tidemill1" "ev_bytes" (func $ev_bytes (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "ev_i64" (func $ev_i64 (param i32) (result i64)))
        (import "tidemill1" "reg_get" (func $reg_get (param i32) (result f64)))
        (import "tidemill1" "reg_set" (func $reg_set (param i32 f64)))
        (import "tidemill1" "st_get" (func $st_get (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "st_put" (func $st_put (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "st_del" (func $st_del (param i32 i32) (result i32)))
        (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (import "tidemill1" "emit_f64" (func $emit_f64 (param i32 f64) (result i32)))
        (import "tidemill1" "fmt_f64" (func $fmt_f64 (param f64 i32 i32) (result i32)))
        (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
        (import "tidemill1" "cfg_f64" (func $cfg_f64 (param i32) (result f64)))
        (import "tidemill1" "cfg_bytes" (func $cfg_bytes (param i32 i32 i32) (result i32)))
        (import "tidemill1" "log" (func $log (param i32 i32 i32)))
        (import "tidemill1" "rand" (func $rand (result i64)))
        (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
        (memory (export "memory") 1) {items}
        (func (export "on_event") (result i32) (local $i i32) (local $n i32) {body}))"#
    )
}

/// A typed handler over inputs of the given types.
fn typed(inputs: &[&str], function: &str) -> String {
    let inputs: Vec<String> = inputs
        .iter()
        .enumerate()
        .map(|(n, ty)| format!(r#"{{\"pointer\":\"/p{n}\",\"type\":\"{ty}\"}}"#))
        .collect();
    format!(
        r#"(module (@custom "tidemill.manifest" "{{\"abi\":1,\"inputs\":[{}]}}") {function})"#,
        inputs.join(",")
    )
}

fn frame(inputs: &[Value]) -> Box<Frame> {
    Box::new(Frame {
        inputs: inputs.to_vec(),
        state_bytes_free: 1024 * 1024,
        log_lines_free: 10,
        ..Frame::default()
    })
}

/// Calls the event handler once, in a frame without inputs.
fn call(wat: &str) -> (Result<Verdict, CallFault>, Box<Frame>) {
    let mut frame = frame(&[]);
    let outcome = function(wat).call(Handler::Event, &mut frame);
    (outcome, frame)
}

/// The payloads of all emissions, as text.
fn emitted(frame: &Frame) -> Vec<String> {
    let emissions = frame.effects.emissions.iter();
    emissions
        .map(|emission| String::from_utf8_lossy(&emission.payload).into_owned())
        .collect()
}
