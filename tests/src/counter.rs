//! A function that counts, for the counter rule.

/// For each event of a key sends how many there were: a gap is a loss, a repeat an event that
/// counted twice.
pub const COUNTER: &str = r#"(module
  (@custom "tidemill.manifest" "{\"abi\":1,\"state\":{\"slots\":1}}")
  (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
  (import "tidemill1" "reg_set" (func $set (param i32 f64)))
  (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
  (func (export "on_event") (result i32)
    (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
    (drop (call $emit (i32.const 0) (call $get (i32.const 0))))
    (i32.const 0)))"#;
