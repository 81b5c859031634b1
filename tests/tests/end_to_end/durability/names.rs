//! Events that bear numbers: a broker that goes back repeats none, and a counter that starts anew is let
//! count on.
//!
//! `TIDEMILL_TEST_PRODUCERS` and `TIDEMILL_TEST_NUMBERS` make the first one larger: 100 and 3,000 for all of it.

use serde_json::Value;
use tidemill_tests::{Broker, Gateway, Peer5, setting, wait_until};

use super::{broker, count, json};

/// Numbers of each producer: more than a window of them.
const NUMBERS: u64 = 300;

/// Publishes these numbers of a producer for each key, one after the other.
fn publish(local: &Broker, numbers: impl IntoIterator<Item = u64>, keys: u64) {
    let mut sensor = Peer5::connect(local.port(), "sensor");
    for n in numbers {
        for key in 0..keys {
            let name = format!("sensor{key}:{n}");
            let properties = [("eid", name.as_str()), ("eid-kind", "number")];
            sensor.publish(&format!("sensors/d{key}/env"), b"x", &properties);
        }
    }
}

/// A figure of the ledger of what was taken in.
fn taken_in(gateway: &Gateway, column: &str) -> u64 {
    let ledgers = json(gateway, "inspect ledger");
    assert_eq!(ledgers["balanced"], true, "{ledgers}");
    ledgers["intake"][column].as_u64().unwrap()
}

#[track_caller]
fn until_taken_in(gateway: &Gateway, columns: &[&str], count: u64) {
    let sum = || -> u64 { columns.iter().map(|of| taken_in(gateway, of)).sum() };
    wait_until(|| sum() >= count, || format!("{columns:?}: {}", sum()));
    assert_eq!(sum(), count, "{columns:?}");
}

/// A gateway whose rule counts, and sends to its own broker.
fn gateway(local: &Broker) -> Gateway {
    let gateway = Gateway::new(local.port(), "");
    count(&gateway);
    let rule = std::fs::read_to_string(gateway.path("rules/counter.toml")).unwrap();
    let rule = rule.replace("\"cloud\"", "\"local\"");
    std::fs::write(gateway.path("rules/counter.toml"), rule).unwrap();
    gateway
}

#[test]
fn a_broker_that_goes_back_repeats_no_number() {
    let producers = setting("TIDEMILL_TEST_PRODUCERS", 20);
    let numbers = setting("TIDEMILL_TEST_NUMBERS", NUMBERS);
    let mut local = broker();
    // The state that it saved last is put back below: its interval is one that a person would set.
    local.add("autosave_interval 60");
    local.stop();
    local.run();
    let mut gateway = gateway(&local);
    gateway.start();
    gateway.stop();
    publish(&local, 1..=numbers, producers);
    local.stop();
    let kept = std::fs::read(local.path("mosquitto.db")).unwrap();
    local.run();
    gateway.start();
    let all = numbers * producers;
    until_taken_in(&gateway, &["routed"], all);
    local.kill();
    std::fs::write(local.path("mosquitto.db"), kept).unwrap();
    local.run();
    until_taken_in(&gateway, &["repeated", "too_old"], all);
    assert!(taken_in(&gateway, "too_old") > 0);
    assert_eq!(taken_in(&gateway, "routed"), all);
    publish(&local, [numbers + 1], producers);
    until_taken_in(&gateway, &["routed"], all + producers);
    gateway.stop();
}

#[test]
fn a_counter_that_starts_anew_counts_on_once_its_producer_is_forgotten() {
    let local = broker();
    let mut gateway = gateway(&local);
    gateway.start();
    publish(&local, 1..=NUMBERS, 1);
    until_taken_in(&gateway, &["routed"], NUMBERS);
    publish(&local, 1..=20, 1);
    until_taken_in(&gateway, &["too_old"], 20);
    gateway.until_logged("its events are not applied, their numbers are old");
    let listed = json(&gateway, "event-ids list");
    let producer = &listed["producers"][0];
    let told = [
        &producer["producer"],
        &producer["mark"],
        &producer["too_old"],
    ];
    assert_eq!(told, [&Value::from("sensor0"), &NUMBERS.into(), &20.into()]);

    let unknown = gateway.tidemill("event-ids forget sensor");
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    let forgotten = gateway.tidemill("event-ids forget sensor0");
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    publish(&local, 21..=50, 1);
    until_taken_in(&gateway, &["routed"], NUMBERS + 30);
    gateway.stop();
    let listed = json(&gateway, "event-ids list");
    assert_eq!(listed["producers"][0]["mark"], 50, "{listed}");
}
