//! Rules in SQL that once ended the agent, or filled its state for good, live: it stays up over ten kills,
//! everybody else's events count once, and what is at fault is a dead letter.

use std::process::Command;

use serde_json::{Value, json};
use tidemill_tests::Gateway;

use crate::support::{COUNTER, balanced, broker, ledger, listener, rule, sensor};

fn statement(filter: &str, sql: &str) -> String {
    format!(
        "[on]\nmqtt = [\"{filter}\"]\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"sent/{}\"\n",
        filter.split('/').next().unwrap()
    )
}

/// Values of every type, in an order that is none.
const MIXED: [&str; 12] = [
    "3",
    "\"err\"",
    "null",
    "2.5",
    "true",
    "[1,[2]]",
    "{\"a\":1}",
    "-0.0",
    "\"\"",
    "18446744073709551615",
    "false",
    "\"nan\"",
];

#[test]
fn what_ended_the_agent_is_a_row_or_a_dead_letter_over_ten_kills() {
    const KILLS: usize = 10;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let window = "TUMBLINGWINDOW(ss, 1)";
    gateway.rule(
        "order",
        &statement(
            "mixed/+",
            &format!("SELECT i FROM input GROUP BY {window} ORDER BY v"),
        ),
    );
    gateway.rule(
        "number",
        &statement(
            "mixed/#",
            &format!(
                "SELECT row_number() OVER (ORDER BY v DESC) AS n FROM input GROUP BY {window}"
            ),
        ),
    );
    gateway.rule(
        "groups",
        &statement(
            "mixed/+",
            &format!("SELECT v, count(*) AS n FROM input GROUP BY v, {window}"),
        ),
    );
    gateway.rule(
        "nested",
        &statement(
            "mixed/+",
            "SELECT array_create(array_create(v), v) AS l, to_json(v) AS j FROM input",
        ),
    );
    gateway.rule(
        "ends",
        &format!(
            "{}[streams.input]\ntimestamp = \"/ts\"\n",
            statement(
                "ends/+",
                "SELECT count(*) AS n FROM input GROUP BY HOPPINGWINDOW(ms, 146, 73)"
            )
        ),
    );
    gateway.rule(
        "texts",
        &statement(
            "mixed/+",
            "SELECT cast(v, \"float\") * 1e308 AS x FROM input",
        ),
    );
    gateway.module("counter", COUNTER);
    gateway.rule(
        "counter",
        &rule("\"count/+\"", "wasm = \"counter.wasm\"", "counted"),
    );
    gateway.start();
    let mut counts = listener(&broker, "counted");
    let mut sensor = sensor(&broker);
    let mut sent = 0_u64;
    for _ in 0..KILLS {
        for round in 0..10 {
            for (place, value) in (0..).zip(MIXED) {
                let i = round * 12 + place;
                let payload = format!("{{\"i\":{i},\"v\":{value}}}");
                sensor.publish("mixed/a", payload.as_bytes(), 1, false);
            }
            sensor.publish("count/d1", b"{}", 1, false);
            sent += 1;
        }
        for ts in [
            "9223372036854775807",
            "-1",
            "253402300800000",
            "1e300",
            "null",
        ] {
            sensor.publish("ends/a", format!("{{\"ts\":{ts}}}").as_bytes(), 1, false);
        }
        // Rows stand in windows that are open or due when it is killed. Results may come again after it.
        counts.receive_until(&sent.to_string());
        gateway.kill();
        gateway.start();
    }
    sensor.publish("count/d1", b"{}", 1, false);
    sent += 1;
    counts.receive_until(&sent.to_string());
    let log = gateway.stop();
    assert_eq!(balanced(&log, "counter"), sent);
    let mixed = (KILLS * 10 * MIXED.len()) as u64;
    for name in ["order", "number", "groups", "nested", "texts"] {
        assert_eq!(balanced(&log, name), mixed, "{name}");
    }
    // No event is dead by a window that fails, only by what cannot be converted: texts, a list, an object.
    assert_eq!(ledger(&log, "order", "dead"), 0);
    assert_eq!(ledger(&log, "number", "dead"), 0);
    assert_eq!(ledger(&log, "groups", "dead"), 0);
    assert_eq!(ledger(&log, "texts", "dead"), mixed * 5 / 12);
    assert!(!log.iter().any(|line| line.contains("panicked")));
}

#[test]
fn a_directory_of_before_opens_and_what_stood_under_the_empty_key_is_moved() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule(
        "rain",
        "[on]\nmqtt = [\"rtl/+/events\"]\n[streams.input]\ntimestamp = \"/ts\"\n[function]\n\
         sql = \"SELECT channel, count(*) AS n FROM input GROUP BY channel, TUMBLINGWINDOW(ss, 10)\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"rain\"\n",
    );
    gateway.rule(
        "level",
        "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n[function]\n\
         sql = \"SELECT max(t) AS hottest, count(*) AS n FROM input GROUP BY TUMBLINGWINDOW(ss, 2)\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"level\"\n",
    );
    // Written by the version before: in it stand two windows of the empty key that had closed without
    // firing, three rows of another one, and an event of 25 s that waited for the watermark.
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/data/empty-key.tar.gz");
    let unpacked = Command::new("tar")
        .args(["xzf", archive])
        .current_dir(gateway.path("."))
        .status()
        .unwrap();
    assert!(unpacked.success());
    gateway.start();
    let mut rows = listener(&broker, "rain");
    let mut levels = listener(&broker, "level");
    let mut sensor = sensor(&broker);
    let at = |s: i64| json!({ "ts": 1_764_500_000_000_i64 + s * 1_000 }).to_string();
    for s in [26, 41] {
        sensor.publish("rtl/pi/events", at(s).as_bytes(), 1, false);
    }
    let read = |messages: Vec<(String, String)>| -> Vec<Value> {
        let mut values = messages
            .iter()
            .map(|(_, payload)| serde_json::from_str(payload).unwrap());
        values.by_ref().collect()
    };
    // The event that waited and one of now, in their window; of the windows before there is nothing.
    assert_eq!(read(rows.receive_texts(1)), [json!({ "n": 2 })]);
    sensor.publish("sensors//env", b"{\"t\":7}", 1, false);
    assert_eq!(
        read(levels.receive_texts(1)),
        [json!({ "hottest": 7, "n": 1 })]
    );
    // Moved once, and found there again.
    gateway.kill();
    gateway.start();
    for s in [42, 55] {
        sensor.publish("rtl/pi/events", at(s).as_bytes(), 1, false);
    }
    assert_eq!(read(rows.receive_texts(1)), [json!({ "n": 2 })]);
    let log = gateway.stop();
    assert_eq!(ledger(&log, "rain", "dead"), 0);
    assert_eq!(balanced(&log, "level"), 8);
}
