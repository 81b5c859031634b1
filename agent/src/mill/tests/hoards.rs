//! Rules that hoard: keys, timers, long names and topics, each bounded by what the limits say.

use super::*;

/// Arms 32 timers for each event and counts events in a slot.
const TIMERS: &str = r#"(module
    (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "on_event") (result i32) (local $n i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (loop $again
            (drop (call $timer (local.get $n) (i64.const 3600000)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 32))))
        (i32.const 0))
    (func (export "on_timer") (param i32) (result i32) (i32.const 0)))"#;

const STATE: usize = 1 << 20;

#[test]
fn timers_of_many_keys_are_bounded_by_the_state_of_the_rule() {
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), TIMERS)]);
    for key in 0..3_000 {
        bench.event(&format!("s/{key}"), "");
        assert!(bench.mill.rules[0].keys.bytes() <= STATE);
    }
    // Each takes some hundred bytes among what is due.
    assert!(
        bench.mill.due.len() <= STATE / 90,
        "{}",
        bench.mill.due.len()
    );
    let ledger = bench.ledger("w");
    let keys = bench.mill.rules[0].keys.len() as u64;
    assert_eq!(
        (ledger.absorbed, ledger.keys_evicted),
        (3_000, 3_000 - keys)
    );
    assert_eq!(bench.mill.due.len() as u64, 32 * keys);
    let loss = bench.mill.losses().next().unwrap().to_string();
    assert!(
        loss.contains("limits.state_bytes is 1048576: raise it"),
        "{loss}"
    );
}

#[test]
fn names_of_keys_count_as_state() {
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), COUNTER)]);
    for key in 0..6_000 {
        bench.event(&format!("s/{key:0250}"), "");
        assert!(bench.mill.rules[0].keys.bytes() <= STATE);
    }
    let names: usize = bench.mill.rules[0]
        .keys
        .iter()
        .map(|(key, _)| key.len())
        .sum();
    assert!(names < STATE + STATE / 4, "{names}");
    assert!(bench.ledger("w").keys_evicted > 1_000);
}

#[test]
fn ten_thousand_ordinary_keys_are_kept_with_a_pane_and_a_timer_each() {
    let mut bench = Bench::new(&[
        (rule("panes", "mqtt = [\"s/+\"]"), PANES),
        (rule("timer", "mqtt = [\"s/+\"]"), TIMER),
    ]);
    for key in 0..10_000 {
        bench.event(&format!("s/building-7/{key:05}").replace("7/", "7-"), "");
    }
    for name in ["panes", "timer"] {
        assert_eq!(bench.ledger(name).keys_evicted, 0, "{name}");
    }
}

#[test]
fn sources_of_event_time_have_room_of_their_own_and_the_oldest_go() {
    let stream = "[streams.input]\ntimestamp = \"/ts\"\nlateness = \"0s\"\n";
    let manifest = rule("w", "mqtt = [\"s/+\"]").replace("{topic.1}", "all") + stream;
    let mut bench = Bench::new(&[(manifest, COUNTER)]);
    let (mut now, topics) = (bench.now.wall_ms, 100);
    for number in 0..topics {
        now += 1;
        let topic = format!("s/{}{number}", "t".repeat(60_000));
        bench.event(&topic, &format!("{{\"ts\":{now}}}"));
    }
    bench
        .at(120_000)
        .event("s/a", &format!("{{\"ts\":{}}}", now + 120_000))
        .at(240_000);
    // All were worked on: state of keys has the room that it had.
    let ledger = bench.ledger("w");
    assert_eq!((ledger.received, ledger.emitting), (topics + 1, topics + 1));
    let active = &bench.mill.rules[0];
    let own = active
        .keys
        .find(crate::event::state::time::RULE_KEY)
        .unwrap();
    assert!(active.keys.state_at(own).unwrap().bytes() < STATE);
    assert!(active.keys.bytes() < 1_000 && ledger.keys_evicted > topics - 10);
    let loss = bench.mill.losses().next().unwrap().to_string();
    assert!(loss.contains("let it listen to fewer topics"), "{loss}");
}

#[test]
fn limits_below_what_is_kept_cost_the_surplus_and_say_so() {
    let manifest = rule("w", "mqtt = [\"s/+\"]");
    let mut bench = Bench::new(&[(manifest.clone(), COUNTER)]);
    for key in 0..100 {
        bench.event(&format!("s/{key}"), "");
    }
    bench.deploy(&[(manifest.clone() + "[limits]\nkeys = 30\n", COUNTER)]);
    assert_eq!(bench.ledger("w").keys_evicted, 70);
    let loss = bench.mill.losses().next().unwrap().to_string();
    assert!(loss.contains("limits.keys is 30"), "{loss}");
    bench.deploy(&[(manifest + "[limits]\nstate_bytes = \"1KiB\"\n", COUNTER)]);
    assert_eq!(
        bench.ledger("w").keys_evicted,
        70,
        "30 keys of a slot are less than that"
    );
}
