//! The way of an event from a sensor's topic to where its rule sends it.

use std::path::Path;

use tidemill_tests::{Broker, Gateway, skipped};

use crate::support::{balanced, broker, listener, rule, sensor, threshold};

#[test]
fn a_reading_above_the_limit_arrives_on_the_rules_topic() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let text = rule("\"sensors/+/env\"", "stock = \"threshold\"", "out/{key}");
    let tables = "[inputs]\nvalue = \"/temperature\"\n[params]\nlimit = 50\nhysteresis = 2\n";
    gateway.rule("overheat", &format!("{text}{tables}"));
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    for (device, temperature) in [
        ("d1", "49.9"),
        ("d1", "61"),
        ("d2", "49"),
        ("d1", "48.5"),
        ("d1", "48"),
        ("d1", "50"),
        ("d2", "50.1"),
    ] {
        let payload = format!("{{\"temperature\": {temperature}}}");
        sensor.publish(
            &format!("sensors/{device}/env"),
            payload.as_bytes(),
            1,
            false,
        );
    }
    let expected = [
        ("out/d1", "{\"temperature\": 61}"),
        ("out/d1", "{\"temperature\": 48.5}"),
        ("out/d2", "{\"temperature\": 50.1}"),
    ];
    let expected = expected.map(|(topic, payload)| (topic.to_owned(), payload.to_owned()));
    assert_eq!(out.receive_texts(3), expected);
    assert_eq!(balanced(&gateway.stop(), "overheat"), 7);
}

#[test]
fn a_filter_written_by_hand_in_wat_sees_the_decoded_number() {
    let source = include_str!("../../../examples/wat-filter/filter.wat");
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("filter", source);
    check_filter(&broker, &mut gateway);
}

#[test]
fn the_example_in_c_runs_where_it_was_built() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/c-filter");
    let Ok(module) = std::fs::read(folder.join("filter.wasm")) else {
        skipped("examples/c-filter/filter.wasm is not there; `cargo xtask examples` builds it");
        return;
    };
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    std::fs::write(gateway.path("rules/filter.wasm"), module).unwrap();
    check_filter(&broker, &mut gateway);
}

/// `filter.wasm` passes temperatures above the rule's limit.
fn check_filter(broker: &Broker, gateway: &mut Gateway) {
    let text = rule("\"sensors/+/env\"", "wasm = \"filter.wasm\"", "out/{key}");
    gateway.rule("filter", &format!("{text}[params]\nlimit = 20\n"));
    gateway.start();
    let mut out = listener(broker, "out/#");
    let mut sensor = sensor(broker);
    for payload in [
        "{\"temperature\":20}",
        "{\"humidity\":99}",
        "{\"temperature\":20.5}",
    ] {
        sensor.publish("sensors/d7/env", payload.as_bytes(), 1, false);
    }
    let expected = ("out/d7".to_owned(), "{\"temperature\":20.5}".to_owned());
    assert_eq!(out.receive_texts(1), [expected]);
    assert_eq!(balanced(&gateway.stop(), "filter"), 3);
}

#[test]
fn a_destination_is_another_broker() {
    let (local, upstream) = (broker(), broker());
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"",
        upstream.port()
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    let text = threshold("sensors/+/env", "alerts/{key}").replace("\"local\"", "\"cloud\"");
    gateway.rule("hot", &text);
    gateway.start();
    let mut alerts = listener(&upstream, "#");
    let mut here = listener(&local, "alerts/#");
    let mut sensor = sensor(&local);
    sensor.publish("sensors/d1/env", b"51", 1, false);
    assert_eq!(
        alerts.receive_texts(1),
        [("alerts/d1".to_owned(), "51".to_owned())]
    );
    sensor.publish("alerts/end", b"end", 1, false);
    assert_eq!(here.receive_until("end"), []);
    gateway.stop();
}

#[test]
fn deadband_and_debounce_pass_what_has_changed() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let number = "[inputs]\nvalue = \"\"\n";
    let deadband = rule("\"sensors/+/env\"", "stock = \"deadband\"", "changes/{key}");
    gateway.rule(
        "changes",
        &format!("{deadband}{number}[params]\nband = 0.5\n"),
    );
    let debounce = rule("\"sensors/+/door\"", "stock = \"debounce\"", "doors/{key}");
    gateway.rule(
        "doors",
        &format!("{debounce}{number}[params]\nhold_ms = 500\n"),
    );
    gateway.start();
    let mut changes = listener(&broker, "changes/#");
    let mut doors = listener(&broker, "doors/#");
    let mut sensor = sensor(&broker);
    for value in ["20", "20.4", "20.5", "20.6", "21.1", "19.9"] {
        sensor.publish("sensors/d1/env", value.as_bytes(), 1, false);
    }
    let passed: Vec<_> = changes
        .receive_texts(3)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(passed, ["20", "20.6", "19.9"]);
    // All of a flicker is sent before the wait can be over; only where it ends comes out.
    for value in ["0", "1", "0", "1"] {
        sensor.publish("sensors/front/door", value.as_bytes(), 0, false);
    }
    assert_eq!(
        doors.receive_texts(1),
        [("doors/front".to_owned(), "1".to_owned())]
    );
    sensor.publish("sensors/front/door", b"1", 0, false);
    sensor.publish("sensors/front/door", b"0", 0, false);
    assert_eq!(
        doors.receive_texts(1),
        [("doors/front".to_owned(), "0".to_owned())]
    );
    gateway.stop();
}

#[test]
fn a_schedule_makes_events() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("counter", crate::support::COUNTER);
    gateway.rule(
        "beat",
        "[on]\nschedule = [\"every 1s\", \"* * * * * *\"]\nkey = \"all\"\n\
         [function]\nwasm = \"counter.wasm\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"beats\"\n",
    );
    let mut beats = listener(&broker, "beats");
    gateway.run();
    assert_eq!(
        crate::support::payloads(beats.receive_texts(4)),
        crate::support::counted(4)
    );
    gateway.stop();
}
