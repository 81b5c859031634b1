//! Facts that a rule knows of a message beside its payload, and the topics that it sends to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidemill_tests::{Gateway, Peer, Peer5};

use crate::support::{balanced, broker, ledger, listener, payloads, sensor};

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

const SEES: &str = "SELECT v, meta(topic) AS topic, mqtt(topic) AS packet, meta(TOPIC) AS loud, \
                    meta(user.topic) AS claimed, meta(site) AS site, meta(*) AS others FROM s";

#[test]
fn what_the_packet_says_comes_before_user_properties_over_both_protocols_and_a_restart() {
    for protocol in ["5", "3.1.1"] {
        let broker = broker();
        let mut gateway = Gateway::new(broker.port(), &format!("protocol = \"{protocol}\""));
        let rule = |streams: &str, topic: &str| {
            format!(
                "[function]\nsql = '{SEES}'\n[streams.s]\nmqtt = [\"sensors/+/env\"]\n{streams}\
                 [ports.out]\nto = \"local\"\ntopic = \"{topic}\"\n"
            )
        };
        gateway.rule("at-once", &rule("", "at-once"));
        let waits = "timestamp = \"/ts\"\nlateness = \"1m\"\n";
        gateway.rule("waits", &rule(waits, "waited"));
        gateway.start();
        let mut at_once = listener(&broker, "at-once");
        let mut waited = listener(&broker, "waited");
        let mut sensor = Peer5::connect(broker.port(), "sensor");
        let claims = [
            ("topic", "sensors/d9/env"),
            ("Topic", "sensors/d8/env"),
            ("user", "someone"),
            ("site", "north"),
        ];
        let payload = |v: i64, before_ms: i64| json!({"v": v, "ts": now_ms() - before_ms});
        let first = payload(1, 180_000).to_string();
        sensor.publish("sensors/d1/env", first.as_bytes(), &claims);
        let expected = |v: i64| {
            let mut row = json!({
                "v": v, "topic": "sensors/d1/env", "packet": "sensors/d1/env", "loud": "sensors/d1/env",
                "others": {},
            });
            if protocol == "5" {
                row["claimed"] = "sensors/d9/env".into();
                row["site"] = "north".into();
                row["others"] = json!({"site": "north"});
            }
            row
        };
        let read = |texts: Vec<(String, String)>| -> Vec<Value> {
            let rows = payloads(texts);
            rows.iter()
                .map(|row| serde_json::from_str(row).unwrap())
                .collect()
        };
        assert_eq!(read(at_once.receive_texts(1)), [expected(1)], "{protocol}");
        // It waits in the journal for a later one, which comes after the restart.
        gateway.stop();
        gateway.start();
        let second = payload(2, 0).to_string();
        sensor.publish("sensors/d1/env", second.as_bytes(), &claims);
        assert_eq!(read(at_once.receive_texts(1)), [expected(2)], "{protocol}");
        assert_eq!(read(waited.receive_texts(1)), [expected(1)], "{protocol}");
        gateway.stop();
    }
}

#[test]
fn topics_are_made_of_the_topic_and_of_what_is_sent() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    for (name, key, topic) in [
        ("mirror", "{topic}", "filtered/{key}"),
        ("copy", "all", "copy/{topic}"),
        ("parts", "all", "alerts/{topic.1}/{topic.3}"),
        ("rest", "all", "rest/{topic.2+}"),
        ("payload", "all", "room/{payload:/room}"),
    ] {
        gateway.rule(
            name,
            &format!(
                "[on]\nmqtt = [\"plant/#\"]\nkey = \"{key}\"\n[function]\nsql = \"SELECT room, v FROM input\"\n\
                 [ports.out]\nto = \"local\"\ntopic = \"{topic}\"\n"
            ),
        );
    }
    gateway.start();
    let mut outs = ["filtered/#", "copy/#", "alerts/#", "rest/#", "room/#"]
        .map(|filter| listener(&broker, filter));
    let mut sensor = sensor(&broker);
    sensor.publish("plant/site1/x/d7", b"{\"room\":\"hall\",\"v\":1}", 1, false);
    let topics: Vec<String> = outs.iter_mut().map(one_topic).collect();
    assert_eq!(
        topics,
        [
            "filtered/plant/site1/x/d7",
            "copy/plant/site1/x/d7",
            "alerts/site1/d7",
            "rest/x/d7",
            "room/hall"
        ]
    );
    // A value that cannot be part of a topic is one dead letter, which names the event; others go
    // on.
    sensor.publish("plant/a", b"{\"room\":\"a/b\",\"v\":2}", 1, false);
    sensor.publish("plant/b/x/d7", b"{\"room\":\"+\",\"v\":3}", 1, false);
    let [mirror, _, parts, ..] = &mut outs;
    assert_eq!(
        [one_topic(mirror), one_topic(mirror)],
        ["filtered/plant/a", "filtered/plant/b/x/d7"]
    );
    assert_eq!(one_topic(parts), "alerts/b/d7");
    let log = gateway.stop();
    let letters = gateway.tidemill("dead-letters list").out;
    for expected in [
        "topic \"plant/a\" has no level 3",
        "{payload:/room} \"a/b\" cannot be part of a topic",
        "{payload:/room} \"+\" cannot be part of a topic",
    ] {
        assert!(
            letters.contains(expected),
            "{expected} is not in\n{letters}"
        );
    }
    for (rule, dead) in [
        ("mirror", 0),
        ("copy", 0),
        ("parts", 1),
        ("rest", 1),
        ("payload", 2),
    ] {
        assert_eq!(balanced(&log, rule), 3, "{rule}");
        assert_eq!(ledger(&log, rule, "dead"), dead, "{rule}");
    }
}

fn one_topic(peer: &mut Peer) -> String {
    let mut texts = peer.receive_texts(1);
    texts.remove(0).0
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_gateway_which_counts_it_once() {
    const EVENTS: usize = 200;
    for protocol in ["5", "3.1.1"] {
        let broker = broker();
        let mut gateways = ["a", "b"].map(|id| {
            let gateway = Gateway::new(broker.port(), &format!("protocol = \"{protocol}\""));
            gateway.reconfigure("id = \"gw\"", &format!("id = \"gw-{id}\""));
            gateway.rule(
                "pool",
                "[on]\nmqtt = [\"$share/pool/jobs/+\"]\n[function]\nsql = \"SELECT n FROM input\"\n\
                 [ports.out]\nto = \"local\"\ntopic = \"done/{gateway}\"\n",
            );
            gateway
        });
        gateways.iter_mut().for_each(Gateway::start);
        let mut done = listener(&broker, "done/+");
        let mut sensor = sensor(&broker);
        let publish = |sensor: &mut Peer, numbers: std::ops::Range<usize>| {
            for n in numbers {
                let payload = format!("{{\"n\":{n}}}");
                sensor.publish(&format!("jobs/j{n}"), payload.as_bytes(), 1, false);
            }
        };
        publish(&mut sensor, 0..EVENTS / 2);
        // One of them falls over while messages are on their way to it.
        gateways[0].kill();
        publish(&mut sensor, EVENTS / 2..EVENTS);
        gateways[0].start();
        let mut by: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        while by.values().map(BTreeSet::len).sum::<usize>() < EVENTS {
            let (topic, payload) = done.receive_texts(1).remove(0);
            let row: Value = serde_json::from_str(&payload).unwrap();
            // The same row may come twice from the gateway that was killed; it has one number.
            by.entry(topic)
                .or_default()
                .insert(row["n"].as_u64().unwrap());
        }
        let all: Vec<u64> = by.values().flatten().copied().collect();
        let once: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!(
            (all.len(), once.len(), by.len()),
            (EVENTS, EVENTS, 2),
            "{protocol}"
        );
        let received = gateways
            .iter_mut()
            .map(|gateway| gateway.tidemill("inspect ledger --json").out)
            .map(|ledger| {
                let ledger: Value = serde_json::from_str(&ledger).unwrap();
                let rules = ledger["rules"].as_array().unwrap().clone();
                rules[0]["received"].as_u64().unwrap()
            });
        assert_eq!(received.sum::<u64>(), EVENTS as u64, "{protocol}");
        gateways.iter_mut().for_each(|gateway| drop(gateway.stop()));
    }
}

#[test]
fn a_shared_filter_beside_another_one_is_refused() {
    let gateway = Gateway::new(1, "");
    for (name, filter) in [("one", "$share/pool/jobs/+"), ("two", "jobs/#")] {
        gateway.rule(
            name,
            &format!(
                "[on]\nmqtt = [\"{filter}\"]\n[function]\nsql = \"SELECT n FROM input\"\n\
                 [ports.out]\nto = \"local\"\ntopic = \"done\"\n"
            ),
        );
    }
    let checked = gateway.tidemill("check");
    assert_eq!(checked.code, Some(2), "{checked:?}");
    let expected = "$share/pool/jobs/+ and jobs/# match some of the same topics";
    assert!(checked.err.contains(expected), "{checked:?}");
}
