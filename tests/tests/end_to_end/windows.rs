//! Windows under load, and over a restart.

use serde_json::Value;
use tidemill_tests::Gateway;

use crate::support::{PASS, balanced, broker, listener, rule, sensor};

fn average(tumbling: &str) -> String {
    let text = rule("\"sensors/+/env\"", "stock = \"average\"", "averages/{key}");
    format!("{text}[inputs]\nvalue = \"/temperature\"\n[window]\ntumbling = \"{tumbling}\"\n")
}

fn read(messages: Vec<(String, String)>) -> Vec<Value> {
    let read = |(_, payload): (String, String)| serde_json::from_str(&payload).unwrap();
    messages.into_iter().map(read).collect()
}

#[test]
fn one_second_windows_of_a_hundred_devices_lose_no_event() {
    const DEVICES: usize = 100;
    const EVENTS: usize = 50;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("average", &average("1s"));
    gateway.start();
    let mut averages = listener(&broker, "averages/#");
    let events = (0..DEVICES * EVENTS).map(|number| {
        let topic = format!("sensors/d{}/env", number % DEVICES);
        (
            topic,
            format!("{{\"temperature\":{}}}", number / DEVICES).into_bytes(),
        )
    });
    sensor(&broker).publish_all(events);

    let mut counts = vec![0; DEVICES];
    let mut sums = vec![0.0; DEVICES];
    while counts.iter().sum::<usize>() < DEVICES * EVENTS {
        for pane in read(averages.receive_texts(1)) {
            let device: usize = pane["key"].as_str().unwrap()[1..].parse().unwrap();
            let count = pane["count"].as_u64().unwrap() as usize;
            counts[device] += count;
            sums[device] += pane["average"].as_f64().unwrap() * count as f64;
            let (start, end) = (
                pane["start"].as_i64().unwrap(),
                pane["end"].as_i64().unwrap(),
            );
            assert_eq!((start % 1_000, end - start), (0, 1_000), "{pane}");
        }
    }
    let log = gateway.stop();
    assert_eq!(balanced(&log, "average"), (DEVICES * EVENTS) as u64);
    assert!(counts.iter().all(|count| *count == EVENTS), "{counts:?}");
    let sum = (EVENTS * (EVENTS - 1) / 2) as f64;
    assert!(sums.iter().all(|got| (got - sum).abs() < 1e-6), "{sums:?}");
}

#[test]
fn a_window_stays_open_over_an_orderly_restart() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("average", &average("3s"));
    gateway.module("pass", PASS);
    gateway.rule(
        "pass",
        &rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "taken"),
    );
    gateway.start();
    let mut taken = listener(&broker, "taken");
    let mut averages = listener(&broker, "averages/#");
    let mut sensor = sensor(&broker);
    for _ in 0..10 {
        sensor.publish("sensors/d1/env", b"{\"temperature\":20}", 1, false);
    }
    taken.receive_texts(10);
    assert_eq!(balanced(&gateway.stop(), "average"), 10);
    gateway.start();
    for _ in 0..10 {
        sensor.publish("sensors/d1/env", b"{\"temperature\":30}", 1, false);
    }
    // Where the machine was slow the pane may have closed in between: then there are two.
    let mut panes = Vec::new();
    let count = |panes: &[Value]| -> u64 { panes.iter().filter_map(|p| p["count"].as_u64()).sum() };
    while count(&panes) < 20 {
        panes.extend(read(averages.receive_texts(1)));
    }
    let weight = |pane: &Value| pane["average"].as_f64().unwrap() * pane["count"].as_f64().unwrap();
    assert_eq!(panes.iter().map(weight).sum::<f64>(), 500.0, "{panes:?}");
    assert_eq!(count(&panes), 20);
    gateway.stop();
}

/// Puts each payload as a row; `on_window` emits them, parted by blanks.
const ROWS: &str = r#"(module
    (import "tidemill1" "ev_bytes" (func $bytes (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
    (import "tidemill1" "rows" (func $rows (result i32)))
    (import "tidemill1" "row_get" (func $get (param i32 i32 i32) (result i32)))
    (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "on_event") (result i32)
        (call $put (i32.const 0)
            (call $bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))))
    (func (export "on_window") (result i32)
        (local $i i32) (local $to i32)
        (loop $next
            (local.set $to (i32.add (local.get $to)
                (call $get (local.get $i) (local.get $to) (i32.const 64))))
            (i32.store8 (local.get $to) (i32.const 32))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_s (local.get $i) (call $rows))))
        (call $emit (i32.const 0) (i32.const 0) (i32.sub (local.get $to) (i32.const 1))))
    (@custom "tidemill.manifest"
        "{\"abi\":1,\"window\":{\"kind\":\"session\",\"length_ms\":600000,\"gap_ms\":4000,\"rows\":true}}"))"#;

#[test]
fn a_window_fires_once_with_all_its_events_over_kill_9() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("rows", ROWS);
    let rule = rule("\"sensors/+/env\"", "wasm = \"rows.wasm\"", "windows/{key}");
    gateway.rule("rows", &rule);
    gateway.module("pass", PASS);
    let pass = self::rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "taken");
    gateway.rule("pass", &pass);
    gateway.start();
    let mut windows = listener(&broker, "windows/#");
    let mut taken = listener(&broker, "taken");
    let mut sensor = sensor(&broker);
    let mut sent = Vec::new();
    for kill in 0..4 {
        for number in 0..10 {
            let row = format!("{kill}.{number}");
            sensor.publish("sensors/d1/env", row.as_bytes(), 1, false);
            sent.push(row);
        }
        if kill < 3 {
            if kill == 1 {
                // All are committed; else some are, some are acknowledged, some neither.
                taken.receive_texts(10);
            }
            gateway.kill();
            gateway.start();
        }
    }
    let [(topic, rows)] = &windows.receive_texts(1)[..] else {
        panic!("one window was asked for");
    };
    assert!(topic.ends_with("windows/d1"), "{topic}");
    assert_eq!(rows.split(' ').collect::<Vec<_>>(), sent);
    // The next window is another one, and nothing came in between.
    sensor.publish("sensors/d1/env", b"next", 1, false);
    let [(_, rows)] = &windows.receive_texts(1)[..] else {
        panic!("one window was asked for");
    };
    assert_eq!(rows, "next");
    assert_eq!(balanced(&gateway.stop(), "rows"), 41);
}
