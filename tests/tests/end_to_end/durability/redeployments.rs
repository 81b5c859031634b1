//! Overlapping filters, a retained topic, and rules that are deployed anew while connections break
//! and events come in: each message still counts once.

use std::collections::BTreeMap;

use tidemill_tests::{Collector, Cut, Gateway, Proxy, Random, setting};

use super::{NORMAL, PROTOCOLS, broker, cloud, seed};
use crate::support::{COUNTER, sensor};

/// Events of each round.
const EVENTS: u64 = 400;

/// Counts all events of its filters under one key.
fn counter(filters: &str, topic: &str) -> String {
    format!(
        "[on]\nmqtt = [{filters}]\nretained = true\nkey = \"all\"\n\
         [function]\nwasm = \"counter.wasm\"\n\
         [ports.out]\nto = \"cloud\"\ntopic = \"{topic}\"\n"
    )
}

#[test]
fn redeployments_and_reconnects_under_load_count_each_message_once() {
    let rounds = setting("TIDEMILL_TEST_ROUNDS", 15);
    for protocol in PROTOCOLS {
        let (local, upstream) = (broker(), broker());
        let intake = Proxy::to(local.port());
        let lines = format!("{protocol}\n{}", cloud(upstream.port()));
        let mut gateway = Gateway::new(intake.port(), &lines);
        gateway.module("counter", COUNTER);
        let narrow = counter("\"a/+/c\", \"a/b/+\", \"a/#\"", "out/all");
        let wide = counter("\"a/+/c\", \"a/b/+\", \"a/#\", \"+/b/c\"", "out/all");
        gateway.rule("counter", &narrow);
        let arrived = Collector::start(upstream.port(), "out/#");
        sensor(&local).publish("a/b/c", b"kept", 1, true);
        gateway.start();
        arrived.until(1);

        let mut flooding = sensor(&local);
        let flood = std::thread::spawn(move || {
            let event = |_| ("a/b/c".to_owned(), Vec::new());
            flooding.publish_all((0..rounds * EVENTS).map(event));
        });
        let mut random = Random::new(seed());
        for round in 0..rounds {
            // In the midst of this round's events.
            let seen = 1 + round * EVENTS + random.within(0..EVENTS);
            arrived.until(seen as usize);
            match random.within(0..3) {
                0 => _ = intake.cut(Cut::Reset),
                1 => _ = intake.cut(Cut::Close),
                _ => {}
            }
            gateway.rule("counter", if round % 2 == 0 { &wide } else { &narrow });
            if round % 2 == 0 {
                let passing = counter("\"a/b/#\", \"+/+/c\"", "other");
                gateway.rule("passing", &passing.replace("\"cloud\"", "\"local\""));
            } else {
                gateway.remove_rule("passing");
            }
            gateway.reload();
        }
        flood.join().unwrap();
        let all = 1 + rounds * EVENTS;
        arrived.until(all as usize);
        gateway.stop();
        arrived.settle(upstream.port());
        let expected = BTreeMap::from([("out/all".to_owned(), all)]);
        arrived.received(|received| received.check_counted(NORMAL, &expected));
    }
}
