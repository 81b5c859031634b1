//! `tidemill invoke`: a rule run by hand, whose answer is as durable as its effects.

use serde_json::Value;
use tidemill_tests::Gateway;

use crate::support::{COUNTER, broker, listener, rule};

/// Traps on everything.
const TRAP: &str = r#"(module (func (export "on_event") (result i32) unreachable))"#;

fn invoked(gateway: &Gateway, command: &str) -> Value {
    let ran = gateway.tidemill(&format!("invoke {command} --json"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn what_an_invocation_told_outlives_a_kill() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("counter", COUNTER);
    let by_hand = rule("", "wasm = \"counter.wasm\"", "out/{key}");
    let by_hand = by_hand.replace("mqtt = []", "invoke = true");
    gateway.rule("count", &by_hand);
    // A start is over when the broker has granted a subscription.
    gateway.rule(
        "other",
        &rule("\"in/#\"", "wasm = \"counter.wasm\"", "other"),
    );
    gateway.start();
    let mut hears = listener(&broker, "out/#");
    for n in 1..=4 {
        let answer = invoked(&gateway, "count --topic a/k");
        assert_eq!(answer["fate"], "emitting");
        let emission = &answer["emissions"][0];
        assert_eq!(emission["payload"], n.to_string(), "{answer}");
        assert_eq!(
            (&emission["to"], &emission["topic"]),
            (&"local".into(), &"out/k".into())
        );
        assert!(answer["commit"].as_u64().unwrap() > 0);
        // Whatever was told must have been written.
        gateway.kill();
        gateway.start();
    }
    // A row whose acknowledgement the kill took is sent again under its name.
    let heard = std::iter::from_fn(|| hears.receive());
    let mut heard: Vec<_> = heard
        .map(|(_, payload)| payload)
        .take_while(|n| n != b"4")
        .collect();
    heard.dedup();
    assert_eq!(heard, [b"1", b"2", b"3"]);
    let other = invoked(&gateway, "count --key other");
    assert_eq!(other["emissions"][0]["payload"], "1");
    let ran = gateway.tidemill("invoke count --key other");
    assert!(
        ran.out
            .starts_with("out  local  out/other  2\nemitting; durable with commit "),
        "{ran:?}"
    );
    gateway.stop();
    let ran = gateway.tidemill("invoke count");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("no agent runs"), "{ran:?}");
}

#[test]
fn what_a_rule_cannot_do_is_told_with_its_reason() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("trap", TRAP);
    gateway.rule("trap", &rule("\"in/#\"", "wasm = \"trap.wasm\"", "out"));
    gateway.start();
    let ran = gateway.tidemill("invoke trap --topic in/a --payload x");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("dead: ") && ran.err.contains("unreachable"),
        "{ran:?}"
    );
    for (command, says) in [
        ("invoke none", "no rule none runs"),
        ("invoke trap --payload @/dev/null/none", "/dev/null/none: "),
    ] {
        let ran = gateway.tidemill(command);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
    let ran = gateway.tidemill("invoke trap --topic in/+");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("topic"), "{ran:?}");
    gateway.stop();
}
