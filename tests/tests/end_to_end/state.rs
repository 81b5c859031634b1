//! State that lasts from one run of the agent to the next.

use tidemill_tests::Gateway;

use crate::support::{COUNTER, balanced, broker, counted, listener, payloads, rule, sensor};

fn counter(gateway: &Gateway) {
    gateway.module("counter", COUNTER);
    let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("counter", &text);
}

#[test]
fn a_counter_counts_on_after_an_orderly_restart() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    for run in 0..3 {
        gateway.start();
        for _ in 0..100 {
            sensor.publish("sensors/d1/env", b"", 1, false);
        }
        let expected = counted(100 * (run + 1)).split_off(100 * run);
        assert_eq!(payloads(out.receive_texts(100)), expected);
        let all = 100 * (run as u64 + 1);
        assert_eq!(balanced(&gateway.stop(), "counter"), all);
    }
}

#[test]
fn state_survives_a_change_of_the_rule_and_of_its_module() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    sensor.publish("sensors/d1/env", b"", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["1"]);
    gateway.module("counter", &COUNTER.replace("f64.const 1", "f64.const 10"));
    gateway.reload();
    sensor.publish("sensors/d1/env", b"", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["11"]);
    gateway.stop();
}

#[test]
fn an_agent_that_was_killed_starts_again_from_its_last_checkpoint() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    sensor.publish("sensors/d1/env", b"", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["1"]);
    gateway.stop();
    gateway.start();
    sensor.publish("sensors/d1/env", b"", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["2"]);
    gateway.kill();
    gateway.start();
    sensor.publish("sensors/d1/env", b"", 1, false);
    // Row 2 comes again: its acknowledgement was not committed before the kill.
    assert_eq!(payloads(out.receive_texts(1)), ["2"]);
    gateway.stop();
}

#[test]
fn a_second_agent_on_the_same_data_is_refused() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    gateway.start();
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("used by another agent"), "{log}");
    let mut out = listener(&broker, "out/#");
    sensor(&broker).publish("sensors/d1/env", b"", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["1"]);
    gateway.stop();
}
