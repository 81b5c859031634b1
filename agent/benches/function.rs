//! Cost of a call by its kind, and of loading a module. Everything around a call, such as decoding
//! and routing, is left to other benches.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidemill::config::limits::FunctionLimits;
use tidemill::event::value::Value;
use tidemill::function::frame::Frame;
use tidemill::function::{Engine, Function, Handler, Settings};

const TYPED: &str = r#"(module
  (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/t\",\"type\":\"f64\"}]}")
  (func (export "f") (param f64) (result i32) (f64.gt (local.get 0) (f64.const 50))))"#;

const TYPED_FOUR: &str = r#"(module
  (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/a\",\"type\":\"f64\"},{\"pointer\":\"/b\",\"type\":\"f64\"},{\"pointer\":\"/c\",\"type\":\"f64\"},{\"pointer\":\"/d\",\"type\":\"i64\"}]}")
  (func (export "f") (param f64 f64 f64 i64) (result i32) (f64.gt (local.get 0) (local.get 2))))"#;

const PULL: &str = r#"(module
  (import "tidemill1" "in_f64" (func $in_f64 (param i32) (result f64)))
  (func (export "on_event") (result i32) (f64.gt (call $in_f64 (i32.const 0)) (f64.const 50))))"#;

const BYTES: &str = r#"(module
  (import "tidemill1" "ev_bytes" (func $ev_bytes (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "on_event") (result i32)
    (i32.eq (call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 128)) (i32.const 100))))"#;

const SLOTS: &str = r#"(module
  (import "tidemill1" "in_f64" (func $in_f64 (param i32) (result f64)))
  (import "tidemill1" "reg_get" (func $reg_get (param i32) (result f64)))
  (import "tidemill1" "reg_set" (func $reg_set (param i32 f64)))
  (import "tidemill1" "emit_f64" (func $emit_f64 (param i32 f64) (result i32)))
  (func (export "on_event") (result i32)
    (call $reg_set (i32.const 0) (f64.add (call $reg_get (i32.const 0)) (call $in_f64 (i32.const 0))))
    (call $reg_set (i32.const 1) (f64.add (call $reg_get (i32.const 1)) (f64.const 1)))
    (call $emit_f64 (i32.const 0) (f64.const 21.5))))"#;

fn function(wat: &str) -> Function {
    let wasm = if wat.starts_with("SELECT") {
        let compiled = tidemill_sql::compile(wat, &tidemill_sql::Options::default());
        compiled.expect("the statement is one").wasm
    } else {
        wat::parse_str(wat).expect("the module is well formed")
    };
    let engine = Engine::new(&FunctionLimits::default());
    let module = engine.load(&wasm).expect("the module keeps the contract");
    let settings = Settings {
        rule: "bench".into(),
        config: Box::default(),
        fuel: 1_000_000,
        memory_pages: 16,
        emissions: 16,
        emission_bytes: 64 * 1024,
        value_bytes: 4 << 20,
        bound_ports: 1,
        window_slots: 0,
        windowed: false,
        rows: false,
    };
    Function::new(&engine, &module, settings).expect("the module starts")
}

fn calls(c: &mut Criterion) {
    let one = vec![Value::F64(61.0)];
    let four = vec![
        Value::F64(61.0),
        Value::F64(1.0),
        Value::F64(2.0),
        Value::I64(3),
    ];
    for (name, wat, inputs) in [
        ("typed (f64) -> i32", TYPED, &one),
        ("SQL, the same filter", "SELECT * FROM x WHERE t > 50", &one),
        (
            "SQL, the same filter and a row",
            "SELECT t FROM x WHERE t > 50",
            &one,
        ),
        ("typed (f64, f64, f64, i64) -> i32", TYPED_FOUR, &four),
        ("pull, in_f64", PULL, &one),
        ("pull, 100 bytes copied", BYTES, &one),
        ("pull, two slots and an emission", SLOTS, &one),
    ] {
        let mut function = function(wat);
        let mut frame = Box::new(Frame {
            inputs: inputs.clone(),
            ..Frame::default()
        });
        frame.event.payload = if wat.starts_with("SELECT") {
            br#"{"device": "d-17", "t": 61.0, "hum": 40.5}"#[..].into()
        } else {
            vec![7; 100].into()
        };
        c.bench_function(name, |b| {
            b.iter(|| {
                frame.effects.clear();
                black_box(function.call(Handler::Event, &mut frame)).is_ok()
            });
        });
    }
}

fn loading(c: &mut Criterion) {
    let engine = Engine::new(&FunctionLimits::default());
    for (name, wat) in [("load, typed", TYPED), ("load, slots", SLOTS)] {
        let wasm = wat::parse_str(wat).expect("the module is well formed");
        c.bench_function(name, |b| b.iter(|| engine.load(black_box(&wasm)).is_ok()));
    }
}

criterion_group!(benches, calls, loading);
criterion_main!(benches);
