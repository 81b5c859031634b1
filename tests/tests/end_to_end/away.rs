//! Brokers and agents that are away for a while.

use tidemill_tests::{Broker, Gateway, Peer};

use crate::support::{COUNTER, PASS, balanced, broker, counted, listener, payloads, rule, sensor};

fn pass(gateway: &Gateway) {
    gateway.module("pass", PASS);
    let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}");
    gateway.rule("pass", &text);
}

#[test]
fn the_agent_waits_for_a_broker_that_is_away_at_start() {
    let mut broker = Broker::stopped("");
    let mut gateway = Gateway::new(broker.port(), "");
    pass(&gateway);
    gateway.run();
    gateway.until_logged(&format!("broker=\"127.0.0.1:{}\"", broker.port()));
    gateway.until_logged("no connection");
    broker.run();
    gateway.until_logged(" subscribed ");
    let mut out = listener(&broker, "out/#");
    sensor(&broker).publish("sensors/d1/env", b"here", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["here"]);
    gateway.stop();
}

#[test]
fn a_name_that_cannot_be_looked_up_is_called_that() {
    let mut gateway = Gateway::new(1_883, "");
    gateway.reconfigure("127.0.0.1", "no-such-host.invalid");
    pass(&gateway);
    gateway.run();
    gateway.until_logged("no connection: the name no-such-host.invalid ");
    gateway.until_logged("(DNS");
    gateway.stop();
}

#[test]
fn an_agent_without_a_broker_can_be_stopped() {
    let broker = Broker::stopped("");
    let mut gateway = Gateway::new(broker.port(), "");
    pass(&gateway);
    gateway.run();
    gateway.until_logged("no connection");
    gateway.stop();
}

#[test]
fn what_is_published_while_the_agent_is_away_arrives() {
    for protocol in ["protocol = \"5\"", "protocol = \"3.1.1\""] {
        let broker = broker();
        let mut gateway = Gateway::new(broker.port(), protocol);
        gateway.module("counter", COUNTER);
        let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
        gateway.rule("counter", &text);
        gateway.start();
        let mut out = listener(&broker, "out/#");
        gateway.stop();
        let events = (0..1_500).map(|_| ("sensors/d1/env".to_owned(), Vec::new()));
        sensor(&broker).publish_all(events);
        gateway.start();
        assert_eq!(
            payloads(out.receive_texts(1_500)),
            counted(1_500),
            "{protocol}"
        );
        assert_eq!(balanced(&gateway.stop(), "counter"), 1_500);
    }
}

#[test]
fn a_broker_that_restarts_is_found_again() {
    let mut broker = Broker::start("persistence true\nautosave_interval 1");
    let mut gateway = Gateway::new(broker.port(), "");
    pass(&gateway);
    gateway.start();
    for number in 1..=2 {
        broker.stop();
        gateway.until_logged_times("no connection", number);
        broker.run();
        gateway.until_logged_times("session_present=true", number);
        let mut out = listener(&broker, "out/#");
        sensor(&broker).publish("sensors/d1/env", b"again", 1, false);
        assert_eq!(payloads(out.receive_texts(1)), ["again"]);
    }
    gateway.stop();
}

#[test]
fn a_session_that_the_broker_lost_is_set_up_anew_and_told() {
    let mut broker = Broker::start("");
    let mut gateway = Gateway::new(broker.port(), "");
    pass(&gateway);
    gateway.start();
    broker.kill();
    gateway.until_logged("no connection");
    broker.run();
    gateway.until_logged("the broker has lost this gateway's session");
    gateway.until_logged_times(" subscribed ", 2);
    let mut out = listener(&broker, "out/#");
    sensor(&broker).publish("sensors/d1/env", b"again", 1, false);
    assert_eq!(payloads(out.receive_texts(1)), ["again"]);
    gateway.stop();
}

#[test]
fn messages_wait_for_an_upstream_that_is_away() {
    let local = broker();
    let mut upstream = Broker::stopped("persistence true");
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"",
        upstream.port()
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    gateway.module("pass", PASS);
    let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "up/{key}");
    gateway.rule("pass", &text.replace("\"local\"", "\"cloud\""));
    gateway.start();
    let mut sensor = sensor(&local);
    let numbers = |range: std::ops::Range<u32>| {
        range.map(|n| ("sensors/d1/env".to_owned(), n.to_string().into_bytes()))
    };
    sensor.publish_all(numbers(0..200));
    gateway.until_logged("no connection: ");
    // A listener that subscribes before the agent can have come back: it knocks until it is let in.
    upstream.run();
    let mut peer = Peer::connect(upstream.port(), "cloud");
    peer.subscribe("up/#");
    sensor.publish_all(numbers(200..300));
    let got: u32 = payloads(peer.receive_texts(1)).remove(0).parse().unwrap();
    // Messages that the agent sent before the listener was there are not the listener's.
    let expected: Vec<_> = (got + 1..300).map(|n| n.to_string()).collect();
    assert_eq!(payloads(peer.receive_texts(expected.len())), expected);
    gateway.stop();
}
