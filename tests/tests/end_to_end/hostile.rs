//! Functions that mean no good, deployed beside one that does its work.

use tidemill_tests::Gateway;

use crate::support::{PASS, balanced, broker, ledger, listener, payloads, rule, sensor};

const TRAP: &str = r#"(module (func (export "on_event") (result i32) unreachable))"#;

const ENDLESS_LOOP: &str =
    r#"(module (func (export "on_event") (result i32) (loop (br 0)) (i32.const 0)))"#;

const GROW_LOOP: &str = r#"(module (memory (export "memory") 1)
  (func (export "on_event") (result i32)
    (loop (drop (memory.grow (i32.const 1))) (br 0)) (i32.const 0)))"#;

const RECURSION: &str = r#"(module
  (func $f (export "on_event") (result i32) (call $f)))"#;

/// Deploys a hostile function on the topics of a harmless one, and checks that after `events` events
/// only the hostile one has suffered.
#[track_caller]
fn check_contained(hostile: &str, reason: &str) {
    const EVENTS: usize = 20;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("hostile", hostile);
    gateway.module("pass", PASS);
    // Rules run in the order of their names: the hostile one first.
    gateway.rule(
        "a",
        &rule("\"sensors/+/env\"", "wasm = \"hostile.wasm\"", "bad/{key}"),
    );
    gateway.rule(
        "b",
        &rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}"),
    );
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    for number in 0..EVENTS {
        sensor.publish("sensors/d1/env", number.to_string().as_bytes(), 1, false);
    }
    let expected: Vec<_> = (0..EVENTS).map(|number| number.to_string()).collect();
    assert_eq!(payloads(out.receive_texts(EVENTS)), expected);
    let log = gateway.stop();
    let has = |text: &str| {
        log.iter()
            .any(|line| line.contains("rule=a") && line.contains(text))
    };
    assert!(has(&format!("dead letter: {reason}")), "{}", log.join("\n"));
    assert!(has("too many faults: the rule rests"), "{}", log.join("\n"));
    assert!(
        has("dead letter: rule is quarantined"),
        "{}",
        log.join("\n")
    );
    assert_eq!(ledger(&log, "a", "dead"), EVENTS as u64);
    assert_eq!(balanced(&log, "a"), EVENTS as u64);
    assert_eq!(ledger(&log, "b", "emitting"), EVENTS as u64);
}

#[test]
fn a_rule_that_traps_is_quarantined_and_its_neighbour_goes_on() {
    check_contained(TRAP, "trapped: wasm `unreachable` instruction executed");
}

#[test]
fn an_endless_loop_costs_its_own_events_only() {
    check_contained(ENDLESS_LOOP, "out of fuel after 10000");
}

#[test]
fn a_loop_of_memory_grow_costs_its_own_events_only() {
    check_contained(GROW_LOOP, "out of fuel after 10000");
}

#[test]
fn endless_recursion_costs_its_own_events_only() {
    check_contained(RECURSION, "");
}

#[test]
fn a_function_that_logs_without_end_is_cut_short() {
    let source = r#"(module
      (import "tidemill1" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "said in a loop")
      (func (export "on_event") (result i32) (local $n i32)
        (loop
          (call $log (i32.const 0) (i32.const 0) (i32.const 14))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000))))
        (i32.const 1)))"#;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("chatty", source);
    gateway.rule(
        "chatty",
        &rule("\"sensors/+/env\"", "wasm = \"chatty.wasm\"", "out/{key}"),
    );
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    for _ in 0..10 {
        sensor.publish("sensors/d1/env", b"x", 1, false);
    }
    out.receive_texts(10);
    let log = gateway.stop();
    let lines = log
        .iter()
        .filter(|line| line.contains("said in a loop"))
        .count();
    assert!((1..=40).contains(&lines), "{}", log.join("\n"));
    assert_eq!(ledger(&log, "chatty", "emitting"), 10);
}
