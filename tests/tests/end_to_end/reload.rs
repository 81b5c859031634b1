//! SIGHUP: the rules are read again, and take effect whole or not at all.

use tidemill_tests::Gateway;

use crate::support::{PASS, balanced, broker, listener, payloads, rule, sensor, threshold};

#[test]
fn rules_are_added_changed_and_removed_while_the_agent_runs() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("hot", &threshold("sensors/+/env", "out/hot"));
    gateway.rule("old", &threshold("sensors/+/env", "out/old"));
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    sensor.publish("sensors/d1/env", b"60", 1, false);
    let first = out.receive_texts(2).into_iter().map(|(topic, _)| topic);
    assert_eq!(first.collect::<Vec<_>>(), ["out/hot", "out/old"]);

    let changed = threshold("sensors/+/env", "out/hot").replace("limit = 50", "limit = 70");
    gateway.rule("hot", &changed);
    gateway.remove_rule("old");
    gateway.rule("new", &threshold("news/+", "out/new"));
    gateway.reload();
    gateway.until_logged_times(" subscribed ", 2);
    for (topic, payload) in [
        ("sensors/d1/env", "60"),
        ("news/d1", "61"),
        ("sensors/d1/env", "80"),
        ("out/end", "end"),
    ] {
        sensor.publish(topic, payload.as_bytes(), 1, false);
        // Each answer is waited for, so that the order is that of the events.
        match payload {
            "61" => assert_eq!(
                out.receive_texts(1),
                [("out/new".to_owned(), "61".to_owned())]
            ),
            "80" => assert_eq!(
                out.receive_texts(1),
                [("out/hot".to_owned(), "80".to_owned())]
            ),
            "end" => assert_eq!(out.receive_until("end"), []),
            _ => {}
        }
    }
    gateway.stop();
}

#[test]
fn a_broken_rule_leaves_the_old_ones_running_and_is_named_with_its_line() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("hot", &threshold("sensors/+/env", "out/hot"));
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    gateway.rule("hot", &threshold("sensors/+/env", "out/changed"));
    let no_such_port = threshold("sensors/+/env", "a/{key}").replace("ports.out", "ports.uot");
    gateway.rule("wrong", &no_such_port);
    gateway.rule("typing", "[on]\nmqtt = \"sensors\n");
    gateway.reload();
    gateway.until_logged("rules/wrong.toml:7:");
    gateway.until_logged("rules/typing.toml:3:");
    sensor.publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(
        out.receive_texts(1),
        [("out/hot".to_owned(), "60".to_owned())]
    );

    gateway.remove_rule("wrong");
    gateway.remove_rule("typing");
    gateway.reload();
    sensor.publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(
        out.receive_texts(1),
        [("out/changed".to_owned(), "60".to_owned())]
    );
    gateway.stop();
}

#[test]
fn redeploying_in_a_flood_loses_and_repeats_nothing() {
    const EVENTS: usize = 2_000;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("pass", PASS);
    gateway.rule(
        "pass",
        &rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}"),
    );
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut flooding = sensor(&broker);
    let flood = std::thread::spawn(move || {
        let event = |n: usize| ("sensors/d1/env".to_owned(), n.to_string().into_bytes());
        flooding.publish_all((0..EVENTS).map(event));
        flooding.publish("sensors/d1/env", b"end", 1, false);
    });
    for number in 0..5 {
        gateway.rule(
            "other",
            &threshold("sensors/+/env", &format!("other/{number}/{{key}}")),
        );
        gateway.rule(
            &format!("new-{number}"),
            &threshold(&format!("news/{number}/+"), "out/new"),
        );
        gateway.reload();
    }
    let expected: Vec<_> = (0..EVENTS).map(|n| n.to_string()).collect();
    let got = payloads(out.receive_until("end"));
    flood.join().unwrap();
    let log = gateway.stop();
    assert_eq!(got, expected, "{}", log.join("\n"));
    assert_eq!(balanced(&log, "pass"), EVENTS as u64 + 1);
}
