//! Dead letters that are worked on once more after the ports of their rule were changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tidemill_tests::{Endpoint, Gateway, wait_until};

use crate::support::{PASS, broker, rule, sensor};

fn letters(gateway: &Gateway) -> Vec<Value> {
    let ran = gateway.tidemill("dead-letters list --json");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).unwrap()
}

/// The rows that an endpoint has taken, a row that it refused before among it.
fn payloads(endpoint: &Endpoint) -> Vec<String> {
    let requests = endpoint.requests();
    let taken = requests.iter().filter(|request| request.status < 300);
    let rows = taken.flat_map(|request| request.rows().unwrap());
    let mut all: Vec<String> = rows
        .map(|(_, topic, payload)| format!("{topic} {payload}"))
        .collect();
    all.sort();
    all
}

#[test]
fn a_row_goes_where_it_was_made_for_and_holds_up_no_other() {
    let broker = broker();
    let cured = Arc::new(AtomicBool::new(false));
    let refusing = || {
        let cured = Arc::clone(&cured);
        Endpoint::start(move |request| {
            let rows = request.rows().unwrap();
            let is_bad = rows.iter().any(|(_, _, payload)| payload.contains("bad"));
            if is_bad && !cured.load(Ordering::Acquire) {
                400
            } else {
                200
            }
        })
    };
    let (old, gone, new) = (refusing(), refusing(), Endpoint::start(|_| 200));
    let destination = |name: &str, endpoint: &Endpoint| {
        format!("[destinations.{name}]\nurl = \"{}\"\n", endpoint.url())
    };
    let of_gone = destination("gone", &gone);
    let lines = destination("old", &old) + &destination("new", &new) + &of_gone;
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.module("pass", PASS);
    let to = |name: &str, topic: &str| {
        let text = rule("\"in/#\"", "wasm = \"pass.wasm\"", topic);
        text.replace("\"local\"", &format!("{name:?}"))
    };
    // The letters of the one that will be gone come first.
    gateway.rule("a", &to("gone", "before"));
    gateway.rule("b", &to("old", "before"));
    gateway.start();
    let mut sensor = sensor(&broker);
    for payload in ["\"bad\"", "\"good\""] {
        sensor.publish("in/a", payload.as_bytes(), 1, false);
    }
    wait_until(
        || letters(&gateway).len() == 2,
        || format!("{:?}", letters(&gateway)),
    );
    // Both ports lead elsewhere now, and one destination is taken out.
    gateway.rule("a", &to("new", "after"));
    gateway.rule("b", &to("new", "after"));
    gateway.stop();
    gateway.reconfigure(&of_gone, "");
    gateway.start();
    cured.store(true, Ordering::Release);
    let ran = gateway.tidemill("dead-letters redrive all");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.out
            .contains("1 redriven; 1 wait for their destination again"),
        "{ran:?}"
    );
    let why = "it was for the destination \"gone\", which is not configured any more";
    assert!(ran.err.contains(why), "{ran:?}");
    let expected = ["before bad", "before good"];
    wait_until(
        || payloads(&old) == expected,
        || format!("{:?}", payloads(&old)),
    );
    let left = letters(&gateway);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["rule"], "a");
    assert_eq!(payloads(&gone), ["before good"]);
    assert!(new.requests().is_empty(), "nothing was made for it");
    let ran = gateway.tidemill("dead-letters drop all");
    assert_eq!((ran.code, &*ran.out), (Some(0), "1 dropped\n"), "{ran:?}");
    let ran = gateway.tidemill("dead-letters redrive all");
    assert_eq!((ran.code, &*ran.out), (Some(0), "0 redriven\n"), "{ran:?}");
    gateway.stop();
}

/// An event is no row yet: the rule as it is now works on it.
#[test]
fn an_event_is_worked_on_by_its_rule_as_it_is() {
    const TRAP: &str = r#"(module (func (export "on_event") (result i32) unreachable))"#;
    let broker = broker();
    let new = Endpoint::start(|_| 200);
    let lines = format!("[destinations.new]\nurl = \"{}\"\n", new.url());
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.module("trap", TRAP);
    gateway.module("pass", PASS);
    gateway.rule("a", &rule("\"in/#\"", "wasm = \"trap.wasm\"", "before"));
    gateway.start();
    sensor(&broker).publish("in/a", b"7", 1, false);
    wait_until(|| letters(&gateway).len() == 1, || "no letter".to_owned());
    let mended = rule("\"in/#\"", "wasm = \"pass.wasm\"", "after");
    gateway.rule("a", &mended.replace("\"local\"", "\"new\""));
    gateway.reload();
    let ran = gateway.tidemill("dead-letters redrive all");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    wait_until(
        || payloads(&new) == ["after 7"],
        || format!("{:?}", payloads(&new)),
    );
    // One that fails again is another dead letter, which is said.
    gateway.rule("a", &rule("\"in/#\"", "wasm = \"trap.wasm\"", "before"));
    gateway.reload();
    sensor(&broker).publish("in/a", b"8", 1, false);
    wait_until(|| letters(&gateway).len() == 1, || "no letter".to_owned());
    let seq = letters(&gateway)[0]["seq"].as_u64().unwrap();
    let ran = gateway.tidemill(&format!("dead-letters redrive {seq}"));
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(1), "0 redriven; 1 failed again\n"),
        "{ran:?}"
    );
    let now = letters(&gateway);
    let (count, next) = (now.len(), now[0]["seq"].as_u64().unwrap());
    assert!(count == 1 && next > seq, "{now:?}");
    let why = format!("dead letter {seq}: it failed again, and is dead letter {next} now: ");
    assert!(
        ran.err.contains(&why) && ran.err.contains("unreachable"),
        "{ran:?}"
    );
    let ran = gateway.tidemill("dead-letters redrive all --json");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["redriven"], serde_json::json!([]), "{ran:?}");
    assert_eq!(told["again"][0]["seq"], next, "{ran:?}");
    // A rule at rest works on none, and nothing is lost by asking.
    for _ in 0..5 {
        sensor(&broker).publish("in/a", b"8", 1, false);
    }
    gateway.until_logged("quarantine");
    wait_until(
        || letters(&gateway).len() == 6,
        || format!("{:?}", letters(&gateway)),
    );
    let ran = gateway.tidemill("dead-letters redrive all");
    assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{ran:?}");
    assert!(
        ran.err
            .contains("rule \"a\" is in quarantine and works on nothing"),
        "{ran:?}"
    );
    assert_eq!(letters(&gateway).len(), 6);
    // Without its rule nobody works on it.
    gateway.remove_rule("a");
    gateway.reload();
    let ran = gateway.tidemill("dead-letters redrive all");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("rule \"a\", which could not digest it"),
        "{ran:?}"
    );
    gateway.stop();
}
