//! Payloads and topics that nobody wishes for: each is worked on or becomes a dead letter, and the
//! agent goes on.

use tidemill_tests::Gateway;

use crate::support::{PASS, balanced, broker, ledger, listener, payloads, rule, sensor, threshold};

#[test]
fn payloads_that_are_wrong_become_dead_letters() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let text = threshold("sensors/+/env", "out/{key}");
    gateway.rule("hot", &text.replace("value = \"\"", "value = \"/t\""));
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    let deep = "[".repeat(100_000);
    let wrong: [(&[u8], &str); 6] = [
        (b"{\"t\": 6", "dead letter: payload"),
        (b"\xff\xfe{}", "dead letter: payload"),
        (b"{\"t\": \"61\"}", "dead letter: "),
        (b"{\"t\": [61]}", "dead letter: "),
        (b"{\"t\": 61} and more", "dead letter: payload"),
        (deep.as_bytes(), "dead letter: payload"),
    ];
    for (number, (payload, expected)) in (1..).zip(wrong) {
        sensor.publish("sensors/d1/env", payload, 1, false);
        gateway.until_logged_times("dead letter: ", number);
        let line = gateway
            .log()
            .into_iter()
            .rfind(|line| line.contains("dead letter"));
        assert!(line.as_ref().unwrap().contains(expected), "{line:?}");
        assert!(line.unwrap().len() < 1_000);
    }
    // Missing is not wrong, nor is a payload that is none: the event is filtered.
    for payload in ["", "{}", "{\"t\": null}", "[]", "3", "{\"t\": 61}"] {
        sensor.publish("sensors/d1/env", payload.as_bytes(), 1, false);
    }
    assert_eq!(payloads(out.receive_texts(1)), ["{\"t\": 61}"]);
    let log = gateway.stop();
    assert_eq!(balanced(&log, "hot"), 12);
    let columns = ["dead", "filtered", "emitting"].map(|column| ledger(&log, "hot", column));
    assert_eq!(columns, [6, 5, 1]);
}

#[test]
fn large_payloads_pass_up_to_the_limit_and_are_dropped_with_a_line_beyond() {
    for protocol in ["protocol = \"5\"", "protocol = \"3.1.1\""] {
        let broker = broker();
        let mut gateway = Gateway::new(broker.port(), protocol);
        gateway.module("pass", PASS);
        gateway.rule(
            "pass",
            &rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}"),
        );
        gateway.start();
        let mut out = listener(&broker, "out/#");
        let mut sensor = sensor(&broker);
        let almost = vec![b'x'; (1 << 20) - 64];
        sensor.publish("sensors/d1/env", &almost, 1, false);
        assert_eq!(out.receive().unwrap().1.len(), almost.len(), "{protocol}");
        for length in [1 << 20, 2 << 20] {
            sensor.publish("sensors/d1/env", &vec![b'x'; length], 1, false);
            sensor.publish("sensors/d1/env", b"next", 1, false);
            let next = payloads(out.receive_texts(1));
            assert_eq!(next, ["next"], "{protocol} {length}");
        }
        gateway.stop();
    }
}

#[test]
fn topics_with_strange_characters_are_topics() {
    let (broker, upstream) = (broker(), broker());
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"",
        upstream.port()
    );
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.module("pass", PASS);
    gateway.rule(
        "pass",
        "[on]\nmqtt = [\"#\"]\n[function]\nwasm = \"pass.wasm\"\n\
         [ports.out]\nto = \"cloud\"\ntopic = \"out\"\n",
    );
    gateway.start();
    let mut out = listener(&upstream, "#");
    let mut sensor = sensor(&broker);
    let long = format!("long/{}", "l".repeat(200));
    let topics = [
        "/",
        "//",
        "a//b",
        "/a",
        "a/",
        " ",
        "a b/ c",
        "größe/温度/🌡",
        "a/$b",
        "a\"b\\c",
        "{topic.1}",
        "%s/../..",
        &long,
    ];
    for topic in topics {
        sensor.publish(topic, topic.as_bytes(), 1, false);
    }
    sensor.publish("$private/x", b"private", 1, false);
    sensor.publish("tidemill/v1/x", b"ours", 1, false);
    sensor.publish("end", b"end", 1, false);
    let got = payloads(out.receive_until("end"));
    assert_eq!(got, topics);
    gateway.stop();
}

#[test]
fn a_flood_of_dead_letters_writes_few_lines() {
    const EVENTS: usize = 10_000;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let text = threshold("sensors/+/env", "out/{key}");
    gateway.rule("hot", &text);
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let wrong = (0..EVENTS).map(|_| ("sensors/d1/env".to_owned(), b"{".to_vec()));
    let mut sensor = sensor(&broker);
    sensor.publish_all(wrong);
    sensor.publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["60"]);
    let log = gateway.stop();
    assert_eq!(ledger(&log, "hot", "dead"), EVENTS as u64);
    assert_eq!(balanced(&log, "hot"), EVENTS as u64 + 1);
    // Ten lines in ten seconds, and a sum.
    assert!(log.len() < 100, "{}", log.join("\n"));
    assert!(
        log.iter().any(|line| line.contains("were not shown")),
        "{}",
        log.join("\n")
    );
}
