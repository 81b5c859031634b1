//! The agent as a service: what it tells systemd and the journal, and how it stops.

use std::os::unix::net::UnixDatagram;

use tidemill_tests::{Gateway, PATIENCE};

use crate::support::{
    COUNTER, balanced, broker, counted, listener, payloads, rule, sensor, threshold,
};

fn counter(gateway: &Gateway) {
    gateway.module("counter", COUNTER);
    let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("counter", &text);
}

#[test]
fn systemd_hears_of_readiness_life_and_end() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    let socket = UnixDatagram::bind(gateway.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    gateway.variable("NOTIFY_SOCKET", gateway.path("notify"));
    gateway.variable("WATCHDOG_USEC", "200000");
    gateway.start();
    let next = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec())
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(next(), "READY=1");
    // Nothing happens, and still it is heard of.
    for _ in 0..5 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    gateway.signal("TERM");
    let end = std::iter::repeat_with(next).find(|said| said != "WATCHDOG=1");
    assert_eq!(end.as_deref(), Some("STOPPING=1"));
    assert_eq!(gateway.ended().0, Some(0));
}

#[test]
fn json_logs_are_one_object_a_line() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("hot", &threshold("sensors/+/env", "out/{key}"));
    gateway.argument("--log-format=json");
    gateway.run();
    gateway.until_logged("\"subscribed\"");
    let mut sensor = sensor(&broker);
    sensor.publish("sensors/d1/env", b"\"\n\xff\x01\\", 1, false);
    gateway.until_logged("dead letter");
    gateway.signal("HUP");
    gateway.until_logged("deployed anew");
    let log = gateway.stop();
    let mut messages = Vec::new();
    for line in &log {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in ["timestamp", "level", "message"] {
            assert!(line[key].is_string(), "{line}");
        }
        messages.push(line["message"].as_str().unwrap().to_owned());
    }
    for said in ["deployed", "connected", "stopping", "stopped", "ledger"] {
        assert!(
            messages.iter().any(|message| message == said),
            "no {said:?} in {messages:?}"
        );
    }
}

#[test]
fn a_stop_in_a_flood_ends_in_time_and_loses_nothing() {
    // More than may wait for a destination: what a slow broker does not take holds the sensors back.
    const EVENTS: usize = 30_000;
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    counter(&gateway);
    gateway.start();
    let mut out = listener(&broker, "out/#");
    let mut flooding = sensor(&broker);
    let flood = std::thread::spawn(move || {
        flooding.publish_all((0..EVENTS).map(|_| ("sensors/d1/env".to_owned(), Vec::new())));
    });
    // Somewhere in the midst of it, twice.
    let mut seen = 0;
    for until in [100, 5_000] {
        let got = payloads(out.receive_texts(until - seen));
        assert_eq!(got, counted(until).split_off(seen));
        seen = until;
        assert!(balanced(&gateway.stop(), "counter") >= until as u64);
        gateway.start();
    }
    assert_eq!(
        payloads(out.receive_texts(EVENTS - seen)),
        counted(EVENTS).split_off(seen)
    );
    flood.join().unwrap();
    assert_eq!(balanced(&gateway.stop(), "counter"), EVENTS as u64);
}

#[test]
fn a_stop_does_not_wait_for_an_upstream_beyond_its_grace() {
    let broker = broker();
    let nobody = tidemill_tests::free_port();
    let lines = format!("[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{nobody}\"");
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.module("counter", COUNTER);
    let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("counter", &text.replace("\"local\"", "\"cloud\""));
    gateway.rule("here", &text);
    gateway.argument("--grace=200ms");
    gateway.start();
    let mut here = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    for _ in 0..7 {
        sensor.publish("sensors/d1/env", b"", 1, false);
    }
    here.receive_texts(7);
    let log = gateway.stop();
    let kept = "lane=cloud/normal made=7 acknowledged=0 waiting=7";
    assert!(log.iter().any(|line| line.contains(kept)), "{log:?}");
    assert_eq!(balanced(&log, "counter"), 7);
}
