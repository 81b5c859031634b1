//! Limits that the configuration allows, at their bounds and between them, under a flood that passes them:
//! the agent stays alive, its books balance, and it starts again from what it left.
//!
//! `TIDEMILL_TEST_CONFIGURATIONS` and `TIDEMILL_TEST_FLOOD_SECONDS` make it larger: 100 and 60 for all of it.

use std::time::{Duration, Instant};

use tidemill_tests::{Collector, Gateway, Random, setting, wait_until};

use super::{broker, count, json, seed, topic};
use crate::support::{PASS, rule, sensor};

/// A numeric key with its table, its least and its greatest value, and what is written behind the number.
type Key = (&'static str, &'static str, u64, u64, &'static str);

/// As `docs/configuration.md` has them.
const KEYS: [Key; 23] = [
    ("[broker]", "qos", 0, 1, ""),
    ("[broker]", "packet_bytes_max", 1_024, 8 << 20, ""),
    ("[broker]", "coalesce", 0, 1_000, "ms"),
    ("[broker]", "commit_interval", 0, 10_000, "ms"),
    ("[broker]", "commit_events", 1, 4_096, ""),
    ("[broker]", "in_flight", 1, 4_096, ""),
    ("[broker.outbox]", "bytes", 64 << 10, 1 << 40, ""),
    ("[broker.outbox]", "age", 1, 3_660 * 86_400, "s"),
    ("[broker.outbox]", "count", 1, 1 << 40, ""),
    (
        "[destinations.cloud]",
        "packet_bytes_max",
        1_024,
        8 << 20,
        "",
    ),
    ("[destinations.cloud]", "in_flight", 1, 4_096, ""),
    (
        "[destinations.cloud.outbox]",
        "bytes",
        64 << 10,
        1 << 40,
        "",
    ),
    ("[destinations.cloud.outbox]", "age", 1, 3_660 * 86_400, "s"),
    ("[destinations.cloud.outbox]", "count", 1, 1 << 40, ""),
    ("[journal]", "segment_bytes", 1 << 20, 64 << 20, ""),
    ("[recorder]", "bytes", 0, 256 << 20, ""),
    ("[limits]", "module_bytes", 1_024, 16 << 20, ""),
    ("[limits]", "memory_pages", 1, 1_024, ""),
    ("[limits]", "fuel", 1, 100_000_000, ""),
    ("[limits]", "emissions", 1, 4_096, ""),
    ("[limits]", "emission_bytes", 1, 4 << 20, ""),
    ("[limits]", "state_bytes", 1_024, 64 << 20, ""),
    ("[limits]", "keys", 1, 1_000_000, ""),
];

/// Where the keys are written down for those who set them.
const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// Bytes that are published in one go, at least.
const ROUND_BYTES: usize = 2 << 20;

/// A value for each key: its least, its greatest, or one between.
fn values(random: &mut Random) -> Vec<u64> {
    let value = |(_, _, least, greatest, _): &Key| match random.within(0..3) {
        0 => *least,
        1 => *greatest,
        // Each length of a number is as likely as any other.
        _ => {
            let bits = u64::BITS - (greatest - least).leading_zeros();
            let below = 1 << random.within(0..u64::from(bits) + 1);
            (least + random.within(0..below)).min(*greatest)
        }
    };
    KEYS.iter().map(value).collect()
}

/// The lines that set them. Those of `[broker]` come first: they go on in its table.
fn lines(values: &[u64], port: u16) -> String {
    let (mut table, mut lines) = ("[broker]", String::new());
    for ((of, key, _, _, unit), value) in KEYS.iter().zip(values) {
        if *of != table {
            lines.push_str(&format!("{of}\n"));
            table = of;
        }
        if *of == "[destinations.cloud]" && !lines.contains("url") {
            lines.push_str(&format!("url = \"mqtt://127.0.0.1:{port}\"\n"));
        }
        match unit.is_empty() {
            true => lines.push_str(&format!("{key} = {value}\n")),
            false => lines.push_str(&format!("{key} = \"{value}{unit}\"\n")),
        }
    }
    lines
}

/// Bytes of events around what a packet may have, and far from it.
fn sizes(packet_bytes_max: u64) -> [usize; 6] {
    let max = usize::try_from(packet_bytes_max).unwrap();
    [1, 200, 70_000.min(max), max / 2, max - 100, max + 100]
}

#[test]
fn limits_at_their_bounds_hold_under_a_flood_that_passes_them() {
    for (table, key, ..) in KEYS {
        assert!(
            PAGE.contains(&format!("{key}`")),
            "{table} {key} is not documented"
        );
    }
    let configurations = setting("TIDEMILL_TEST_CONFIGURATIONS", 5);
    let flood = Duration::from_secs(setting("TIDEMILL_TEST_FLOOD_SECONDS", 5));
    let mut random = Random::new(seed());
    let mut at_bounds = [(0, 0); KEYS.len()];
    for number in 0..configurations {
        let values = values(&mut random);
        for ((bounds, key), value) in at_bounds.iter_mut().zip(KEYS).zip(&values) {
            bounds.0 += u64::from(*value == key.2);
            bounds.1 += u64::from(*value == key.3);
        }
        let (local, upstream) = (broker(), broker());
        let lines = lines(&values, upstream.port());
        eprintln!("seed {}, configuration {number}:\n{lines}", seed());
        run_flooded(&local, &upstream, &lines, (values[0], values[1]), flood);
    }
    if configurations >= 100 {
        for ((least, greatest), (table, key, ..)) in at_bounds.iter().zip(KEYS) {
            assert!(
                *least >= 5 && *greatest >= 5,
                "{table} {key}: {least}, {greatest}"
            );
        }
    }
}

fn run_flooded(
    local: &tidemill_tests::Broker,
    upstream: &tidemill_tests::Broker,
    lines: &str,
    (qos, packet_bytes_max): (u64, u64),
    flood: Duration,
) {
    let mut gateway = Gateway::new(local.port(), lines);
    count(&gateway);
    gateway.module("pass", PASS);
    let pass = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "passed/{key}");
    gateway.rule("pass", &pass.replace("\"local\"", "\"cloud\""));
    let checked = gateway.tidemill("check");
    assert_eq!(checked.code, Some(0), "{lines}{checked:?}");
    let _arrived = Collector::start(upstream.port(), "nothing");
    gateway.start();
    let mut sensor = sensor(local);
    let (end, mut n) = (Instant::now() + flood, 0);
    while Instant::now() < end {
        for bytes in sizes(packet_bytes_max) {
            let times = (ROUND_BYTES / 6 / bytes).clamp(1, 500) as u64;
            sensor.publish_all((n..n + times).map(|n| (topic(n), vec![b'1'; bytes])));
            n += times;
        }
        assert!(gateway.is_running(), "it ended under\n{lines}");
    }
    let received = || json(&gateway, "inspect ledger")["intake"]["received"].as_u64();
    wait_until(
        || received() > Some(0),
        || format!("nothing was taken in under\n{lines}"),
    );
    let ledger = json(&gateway, "inspect ledger");
    for lane in ledger["lanes"].as_array().unwrap() {
        assert_eq!(lane["balanced"], true, "{lane} under\n{lines}");
    }
    // Messages that are longer than a packet may be were among them, and each is a dead letter.
    wait_until(
        || qos == 0 || json(&gateway, "inspect ledger")["intake"]["dead"].as_u64() > Some(0),
        || format!("no message was too long under\n{lines}"),
    );
    assert!(gateway.is_running(), "it ended under\n{lines}");
    // What it left is no obstacle to the next start.
    gateway.kill();
    gateway.run();
    gateway.until_logged("deployed");
    assert!(
        gateway.is_running(),
        "it does not start again under\n{lines}"
    );
    gateway.kill();
}
