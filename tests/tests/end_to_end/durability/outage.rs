//! An upstream that is away for long: what waits for it lies in the journal, not in memory.

use std::collections::BTreeMap;

use tidemill_tests::{Collector, Cut, Gateway, Link, Proxy};

use super::{KEYS, NORMAL, broker, cloud, events, pass, topic, until_acknowledged};
use crate::support::sensor;

/// Most additional memory of an agent for rows that wait.
const GROWTH_MB: f64 = 20.0;

/// Event number `n`: 200 bytes, which are a number.
fn event(n: u64) -> (String, Vec<u8>) {
    let of_key = n / KEYS + 1;
    (topic(n), format!("{of_key:0>200}").into_bytes())
}

#[test]
fn a_long_outage_costs_little_memory_and_loses_no_order() {
    // Enough that the growth would show if all of it were kept; the whole measure is 50,000.
    let (warm_up, outage) = (1_000, events(15_000));
    let (local, upstream) = (broker(), broker());
    let outlet = Proxy::to(upstream.port());
    let mut gateway = Gateway::new(local.port(), &cloud(outlet.port()));
    pass(&gateway, "cloud");
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    sensor.publish_all((0..warm_up).map(event));
    arrived.until(warm_up as usize);
    let before = gateway.memory();

    outlet.set(Link::Refusing);
    outlet.cut(Cut::Reset);
    let all = warm_up + outage;
    sensor.publish_all((warm_up..all).map(event));
    until_acknowledged(&local, all);
    let growth = gateway.memory().peak - before.now;
    assert!(
        growth < GROWTH_MB,
        "{outage} waiting events of 200 bytes cost {growth:.1} MB of memory"
    );
    outlet.set(Link::Up);
    arrived.until(all as usize);
    let growth = gateway.memory().peak - before.now;
    assert!(
        growth < GROWTH_MB,
        "sending {outage} waiting events cost {growth:.1} MB of memory"
    );
    eprintln!("{before:?}, {growth:.1} MB more for {outage} waiting events");
    gateway.stop();
    arrived.settle(upstream.port());
    let expected: BTreeMap<_, _> = (0..KEYS)
        .map(|key| (format!("out/d{key}"), (all + KEYS - 1 - key) / KEYS))
        .collect();
    arrived.received(|received| received.check_counted(NORMAL, &expected));
}
