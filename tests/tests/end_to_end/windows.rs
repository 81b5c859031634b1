//! Windows under load, and over a restart.

use serde_json::Value;
use tidemill_tests::Gateway;

use crate::support::{PASS, balanced, broker, ledger, listener, rule, sensor};

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
    // If the machine was slow, the pane may have closed in between: then there are two.
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

/// A rule in SQL over all sensors, which sends to `topic`.
fn sql(statement: &str, topic: &str) -> String {
    format!(
        "[on]\nmqtt = [\"sensors/+/env\"]\n[function]\nsql = \"{statement}\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"{topic}\"\n"
    )
}

#[test]
fn a_filter_in_sql_passes_what_where_lets_through() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let statement = "SELECT device, temperature * 2 AS twice FROM input WHERE temperature > :limit";
    let rule = sql(statement, "hot") + "[params]\nlimit = 50\n";
    gateway.rule("hot", &rule);
    gateway.start();
    let mut hot = listener(&broker, "hot");
    let mut sensor = sensor(&broker);
    for temperature in 46..56 {
        let event = format!("{{\"device\":\"d1\",\"temperature\":{temperature}}}");
        sensor.publish("sensors/d1/env", event.as_bytes(), 1, false);
    }
    let rows: Vec<_> = hot
        .receive_texts(5)
        .into_iter()
        .map(|(_, row)| row)
        .collect();
    let expected: Vec<_> = (51..56)
        .map(|t| format!("{{\"device\":\"d1\",\"twice\":{}}}", t * 2))
        .collect();
    assert_eq!(rows, expected);
    let log = gateway.stop();
    assert_eq!(balanced(&log, "hot"), 10);
    assert_eq!(ledger(&log, "hot", "filtered"), 5);
}

/// Sends events in four parts with a kill between each two, and reads the one window that comes:
/// `statement` tells `n`, `total`, `start` and `finish` of 20 seconds.
fn a_window_over_kills(statement: &str) {
    const LENGTH_MS: u64 = 20_000;
    // In a window that is about to end anyway, two would be right.
    let passed = || {
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64
            % LENGTH_MS
    };
    while passed() > LENGTH_MS / 2 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("sums", &sql(statement, "windows"));
    gateway.module("pass", PASS);
    let pass = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "taken");
    gateway.rule("pass", &pass);
    gateway.start();
    let mut windows = listener(&broker, "windows");
    let mut taken = listener(&broker, "taken");
    let mut sensor = sensor(&broker);
    for kill in 0..4 {
        for number in 0..10 {
            let event = format!("{{\"device\":\"d1\",\"v\":{}}}", 10 * kill + number);
            sensor.publish("sensors/d1/env", event.as_bytes(), 1, false);
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
    let window = read(windows.receive_texts(1)).remove(0);
    assert_eq!(
        (&window["n"], &window["total"]),
        (&40.into(), &780.into()),
        "{window}"
    );
    let edge = |name: &str| window[name].as_u64().unwrap();
    assert_eq!(edge("finish") - edge("start"), LENGTH_MS, "{window}");
    // The next window has nothing of this one, and nothing came in between.
    sensor.publish("sensors/d1/env", b"{\"device\":\"d1\",\"v\":5}", 1, false);
    let next = read(windows.receive_texts(1)).remove(0);
    assert_eq!(
        (&next["n"], &next["total"]),
        (&1.into(), &5.into()),
        "{next}"
    );
    assert_eq!(balanced(&gateway.stop(), "sums"), 41);
}

#[test]
fn a_folded_tumbling_window_in_sql_fires_once_over_kill_9() {
    a_window_over_kills(
        "SELECT device, count(*) AS n, sum(v) AS total, window_start() AS start, window_end() AS finish \
         FROM input GROUP BY device, TUMBLINGWINDOW(ss, 20)",
    );
}

#[test]
fn a_tumbling_window_of_rows_in_sql_fires_once_over_kill_9() {
    a_window_over_kills(
        "SELECT device, count(*) AS n, sum(v) AS total, median(v) AS middle, window_start() AS start, \
         window_end() AS finish FROM input GROUP BY device, TUMBLINGWINDOW(ss, 20)",
    );
}
