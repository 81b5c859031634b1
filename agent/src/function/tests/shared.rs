//! Rules that share the instance of a module: none of them can tell another anything, by any import.

use super::*;
use crate::event::Event;
use tidemill_transport::topic::Topic;

/// A module without memory, table or global, which two rules share: below 0 it leaves something, else it looks around and
/// sends what it sees.
fn module(leave: &str, look: &str) -> String {
    let manifest = r#"{\"abi\":1,\"sql\":{\"values\":[\"a\",1,[1,2]]}}"#;
    format!(
        r#"(module
        (@custom "tidemill.manifest" "{manifest}")
        (import "tidemill1" "in_f64" (func $in (param i32) (result f64)))
        (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
        (import "tidemill1" "rand" (func $rand (result i64)))
        (import "tidemill1" "reg_get" (func $reg_get (param i32) (result f64)))
        (import "tidemill1" "reg_set" (func $reg_set (param i32 f64)))
        (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
        (import "tidemill1" "emit_f64" (func $emit_f64 (param i32 f64) (result i32)))
        (import "tidemill1" "v_col" (func $col (param i32 i32) (result i32)))
        (import "tidemill1" "v_row" (func $row (param i32) (result i32)))
        (import "tidemill1" "v_meta" (func $meta (param i32 i32) (result i32)))
        (import "tidemill1" "v_op" (func $op (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "v_arg" (func $arg (param i32)))
        (import "tidemill1" "v_call" (func $call (param i32 i32) (result i32)))
        (import "tidemill1" "v_step" (func $step (param i32 i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "v_f64" (func $f64 (param f64) (result i32)))
        (import "tidemill1" "v_set" (func $set (param i32 i32)))
        (import "tidemill1" "v_star" (func $star (param i32 i32)))
        (import "tidemill1" "v_merge" (func $merge (param i32 i32)))
        (import "tidemill1" "v_order" (func $order (param i32 i32)))
        (import "tidemill1" "v_emit" (func $emit))
        (import "tidemill1" "v_flush" (func $flush (param i32 i32)))
        (import "tidemill1" "v_open" (func $open (param i32 i32)))
        (import "tidemill1" "v_next" (func $next (result i32)))
        (import "tidemill1" "v_hit" (func $hit))
        (import "tidemill1" "v_group" (func $group (param i32)))
        (import "tidemill1" "v_gather" (func $gather (param i32)))
        (import "tidemill1" "v_fold" (func $fold (param i32 i32) (result i32)))
        (import "tidemill1" "v_hits" (func $hits (param i32)))
        (import "tidemill1" "v_total" (func $total (param i32 i32 i32)))
        (func (export "on_event") (result i32)
          (if (f64.lt (call $in (i32.const 0)) (f64.const 0))
            (then {leave})
            (else {look} (call $emit) (call $flush (i32.const 0) (i32.const -1))))
          (i32.const 0)))"#
    )
}

const A: &str = "(i32.const 3)";
const ONE: &str = "(i32.const 4)";

/// Ways to leave something: each import that changes anything, and ends that are none.
fn leaves() -> Vec<String> {
    [
        "(call $arg A)",
        "(call $open (i32.const 0) (i32.const 0)) (drop (call $next))",
        "(call $open (i32.const 2) (i32.const 0)) (drop (call $next)) (call $hit)",
        "(call $open (i32.const 3) (i32.const 5)) (drop (call $next))",
        "(call $open (i32.const 7) (i32.const 0)) (drop (call $next))",
        "(call $arg A) (call $group (i32.const 1))",
        "(call $arg A) (call $group (i32.const 1)) (call $open (i32.const 1) (i32.const 0)) (drop (call $next))",
        "(call $open (i32.const 0) (i32.const 0)) (drop (call $next)) (call $arg A) (call $gather (i32.const 1)) (drop (call $next))",
        "(call $open (i32.const 0) (i32.const 0)) (drop (call $next)) (call $arg A) (call $gather (i32.const 1))",
        "(call $set A ONE)",
        "(call $set A ONE) (call $emit)",
        "(call $star (i32.const -1) (i32.const 0))",
        "(call $merge A A)",
        "(call $order ONE (i32.const 1))",
        "(drop (call $op (i32.const 42) ONE (i32.const 0) (i32.const 0)))",
        "(call $arg ONE) (drop (call $op (i32.const 44) A (i32.const 0) (i32.const 1)))",
        "(drop (call $op (i32.const 45) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(drop (call $f64 (f64.const 5)))",
        "(drop (call $row (i32.const -1)))",
        "(call $emit) (call $flush (i32.const 0) (i32.const -1))",
        "(call $reg_set (i32.const 0) (f64.const 5))",
        "(drop (call $timer (i32.const 1) (i64.const 5)))",
        "(call $hits (i32.const 0))",
        "(call $total ONE (i32.const 0) (i32.const 1))",
        "(call $arg ONE) (drop (call $step (i32.const 1002) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))",
        "(drop (call $rand))",
        "(call $arg A) (drop (call $op (i32.const 0) A ONE (i32.const 0)))",
        "(call $arg A) (unreachable)",
        "(call $arg A) (loop $l (br $l))",
    ]
    .map(|text| text.replace('A', A).replace("ONE", ONE))
    .into()
}

/// Ways to see something.
fn looks() -> Vec<String> {
    [
        "(call $set A (call $call (i32.const 602) (i32.const 1)))",
        "(call $set A (call $op (i32.const 28) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "(call $set A (call $f64 (f64.convert_i32_s (call $next))))",
        "(call $set A (call $fold (i32.const 906) (i32.const 1)))",
        "(call $open (i32.const 1) (i32.const 0)) (call $set A (call $f64 (f64.convert_i32_s (call $next))))",
        "(call $open (i32.const 0) (i32.const 0)) (call $set A (call $f64 (f64.convert_i32_s (call $next))))",
        "(call $set A (call $op (i32.const 32) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(call $set A (call $op (i32.const 35) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(call $set A (call $op (i32.const 43) (i32.const 0) (i32.const -1) (i32.const 0)))",
        "(call $set A (call $op (i32.const 33) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(call $set A (call $f64 (call $reg_get (i32.const 0))))",
        "(call $set A (call $f64 (f64.convert_i64_s (call $rand))))",
        "(call $set A (call $col (i32.const -1) A))",
        "(call $set A (i32.const 6))",
        "(call $set A (call $meta (i32.const -1) A))",
        "(call $arg ONE) (call $set A (call $step (i32.const 1002) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "",
    ]
    .map(|text| text.replace('A', A).replace("ONE", ONE))
    .into()
}

fn event(input: f64, payload: &str) -> Box<Frame> {
    let mut frame = frame(&[Value::F64(input)]);
    frame.event = Event::new(Topic::new("t").unwrap(), payload.as_bytes().to_vec(), 0);
    frame
}

/// Log lines and emissions of the second rule when it looks around.
fn seen(function: &mut Function) -> String {
    let mut frame = event(1.0, r#"{"b":2}"#);
    let outcome = function.call(Handler::Event, &mut frame);
    let outcome = outcome.map_err(|fault| fault.to_string());
    format!(
        "{outcome:?} {:?} {}",
        emitted(&frame),
        frame.effects.timers.len()
    )
}

#[test]
fn two_rules_of_one_module_cannot_tell_each_other_anything() {
    let engine = engine();
    for look in looks() {
        let mut alone = String::new();
        for leave in leaves() {
            let wasm = wat::parse_str(module(&leave, &look)).unwrap();
            let module = engine.load(&wasm).unwrap();
            assert!(module.stateless.is_some(), "{leave}");
            let rule = |name: &str| {
                let rule = name.into();
                Function::new(&engine, &module, Settings { rule, ..settings() }).unwrap()
            };
            let (mut tells, mut looks) = (rule("tells"), rule("looks"));
            if alone.is_empty() {
                alone = seen(&mut looks);
            }
            let _ = tells.call(Handler::Event, &mut event(-1.0, r#"{"a":7}"#));
            assert_eq!(seen(&mut looks), alone, "{leave} and then {look}");
            // Nor does a rule tell itself anything, from one key or event to the next.
            let _ = looks.call(Handler::Event, &mut event(-1.0, r#"{"a":7}"#));
            assert_eq!(
                seen(&mut looks),
                alone,
                "{leave} and then, of the same rule, {look}"
            );
            assert_eq!(looks.fuel_used(), {
                looks.chill();
                let _ = seen(&mut looks);
                looks.fuel_used()
            });
        }
    }
}
