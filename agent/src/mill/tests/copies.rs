//! Copies of one event with a name, for subscriptions that overlap: each rule is given one of them.

use super::durable::Gateway;
use super::*;
use crate::event::{Delivery, Fingerprint, Origin, SubscriptionIds, hash_bytes};

const NAMED: &str = r#"{"id":"sensor:7"}"#;

fn volatile(name: &str, on: &str) -> (String, &'static str) {
    let manifest = rule(name, on).replace("[on]", "durability = \"volatile\"\n[on]");
    (manifest, COUNTER)
}

/// Copies of an event to `s/a`, for one subscription each.
fn copies(payload: &'static str, ids: &[u32]) -> Vec<Event> {
    let copy = |(packet, id): (u16, &u32)| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), payload, 0);
        event.subscriptions = SubscriptionIds::One(*id);
        event.origin = Origin::Mqtt(Some(Delivery {
            epoch: 1,
            packet,
            dup: false,
            fingerprint: Fingerprint {
                hash: hash_bytes(&[payload.as_bytes(), &id.to_le_bytes()]),
                content: 0,
            },
        }));
        event
    };
    (1..).zip(ids).map(copy).collect()
}

/// The rules that were given the event, one name a call.
fn called(rules: &[(String, &'static str)], payload: &'static str) -> Vec<&'static str> {
    let ids: Vec<u32> = subscriptions(&bind(rules), &[])
        .iter()
        .map(|subscription| subscription.id)
        .collect();
    let mut gateway = Gateway::new(rules);
    gateway.sync().said.clear();
    gateway.step(Input::Events(copies(payload, &ids)));
    let ledgers = gateway.mill.ledgers();
    let received = |name: &str| {
        let mut all = gateway.mill.ledgers();
        all.find(|(rule, _)| &***rule == name)
            .map_or(0, |(_, ledger)| ledger.received)
    };
    assert_eq!(ledgers.count(), rules.len());
    ["fast", "quick", "kept"]
        .into_iter()
        .flat_map(|name| (0..received(name)).map(move |_| name))
        .collect()
}

#[test]
fn volatile_rules_on_filters_that_overlap_are_each_given_a_named_event_once() {
    let rules = [
        volatile("fast", "mqtt = [\"s/+\"]"),
        volatile("quick", "mqtt = [\"+/a\"]"),
    ];
    for payload in [NAMED, "{}"] {
        assert_eq!(called(&rules, payload), ["fast", "quick"], "{payload}");
    }
}

#[test]
fn a_named_event_reaches_volatile_rules_once_beside_one_that_is_kept() {
    let rules = [
        volatile("fast", "mqtt = [\"s/+\"]"),
        volatile("quick", "mqtt = [\"+/a\"]"),
        (rule("kept", "mqtt = [\"s/a\"]"), COUNTER),
    ];
    for payload in [NAMED, "{}"] {
        assert_eq!(
            called(&rules, payload),
            ["fast", "quick", "kept"],
            "{payload}"
        );
    }
}

#[test]
fn a_volatile_rule_whose_own_filters_overlap_is_given_a_named_event_once() {
    let rules = [volatile("fast", "mqtt = [\"s/+\", \"+/a\", \"s/a\"]")];
    assert_eq!(called(&rules, NAMED), ["fast"]);
}
