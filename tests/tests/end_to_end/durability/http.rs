//! Rows to an HTTP endpoint: batches that keep their names, endpoints that refuse for ever, and kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidemill_tests::{Broker, Endpoint, Gateway, Random, Request, setting, wait_until};

use super::{broker, counts, dead_letters, events, json, pass, seed, topic};
use crate::support::{COUNTER, rule, sensor};

/// The lane of what is sent to the destination `web` in turn.
const WEB: &str = "web/normal";

fn gateway(local: &Broker, endpoint: &Endpoint) -> Gateway {
    let lines = format!("[destinations.web]\nurl = \"{}\"", endpoint.url());
    Gateway::new(local.port(), &lines)
}

fn has_bad_row(request: &Request) -> bool {
    let rows = request.rows().unwrap();
    rows.iter().any(|(_, _, payload)| payload.contains("bad"))
}

#[test]
fn an_endpoint_that_refuses_everything_costs_no_row() {
    const EVENTS: u64 = 2_000;
    for status in [400, 405, 413, 422, 410, 302] {
        let local = broker();
        let refuses = Arc::new(AtomicBool::new(true));
        let switch = Arc::clone(&refuses);
        let endpoint = Endpoint::start(move |_| {
            if switch.load(Ordering::Acquire) {
                status
            } else {
                200
            }
        });
        let mut gateway = gateway(&local, &endpoint);
        pass(&gateway, "web");
        gateway.start();
        let mut sensor = sensor(&local);
        let event = |n: u64| (topic(n), n.to_string().into_bytes());
        sensor.publish_all((0..EVENTS).map(event));
        endpoint.until(|requests| !requests.is_empty(), "was a batch sent");
        let stalled = || {
            let health = json(&gateway, "inspect health");
            health["destinations"]["web"]["stalled"].to_string()
        };
        let why = format!("HTTP {status}");
        wait_until(|| stalled().contains(&why), stalled);
        assert_eq!(json(&gateway, "inspect health")["well"], false);
        refuses.store(false, Ordering::Release);
        endpoint.until(
            |requests| all_rows(requests) >= EVENTS,
            "did the lane go on after the cure",
        );
        gateway.stop();
        assert_eq!(endpoint.received().count() as u64, EVENTS, "{status}");
        assert_eq!(dead_letters(&gateway, "HTTP"), 0, "{status}");
    }
}

#[test]
fn one_bad_row_costs_no_other() {
    let local = broker();
    let endpoint = Endpoint::start(|request| if has_bad_row(request) { 422 } else { 200 });
    let mut gateway = gateway(&local, &endpoint);
    pass(&gateway, "web");
    gateway.start();
    let events = (0..200).map(|n| {
        let payload = if n == 77 {
            "\"bad\"".to_owned()
        } else {
            n.to_string()
        };
        (topic(n), payload.into_bytes())
    });
    sensor(&local).publish_all(events);
    let count = |requests: &[Request]| {
        let taken = requests.iter().filter(|request| request.status == 200);
        taken
            .map(|request| request.rows().unwrap().len())
            .sum::<usize>()
    };
    endpoint.until(
        |requests| count(requests) == 199,
        "did all good rows arrive",
    );
    gateway.stop();
    assert_eq!(dead_letters(&gateway, "422"), 1);
}

#[test]
fn kills_change_no_batch_and_lose_no_row() {
    let (events, kills) = (events(2_000), setting("TIDEMILL_TEST_KILLS", 6));
    let local = broker();
    // Some answers say "later": what is sent again must be the same.
    let busy = std::sync::atomic::AtomicU64::new(seed());
    let endpoint = Endpoint::start(move |_| {
        let mut random = Random::new(busy.fetch_add(1, Ordering::Relaxed));
        if random.one_in(4) { 503 } else { 200 }
    });
    let mut gateway = gateway(&local, &endpoint);
    gateway.module("counter", COUNTER);
    let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("counter", &text.replace("\"local\"", "\"web\""));
    gateway.start();
    let mut flooding = sensor(&local);
    let flood = std::thread::spawn(move || {
        flooding.publish_all((0..events).map(|n| (topic(n), Vec::new())));
    });
    let mut random = Random::new(seed());
    let mut requests = 0;
    for _ in 0..kills {
        requests += random.within(1..4) as usize;
        let all = |endpoint: &Endpoint| endpoint.received().count() as u64 == events;
        endpoint.until(
            |got| got.len() >= requests || all_rows(got) >= events,
            "did requests come",
        );
        gateway.kill();
        gateway.run();
        if all(&endpoint) {
            break;
        }
    }
    endpoint.until(|got| all_rows(got) >= events, "did all rows arrive");
    flood.join().unwrap();
    super::stop(&mut gateway);
    endpoint.received().check_counted(WEB, &counts(events));
    // A key stands for one body, for ever.
    let requests = endpoint.requests();
    let mut bodies = std::collections::BTreeMap::new();
    for request in &requests {
        let key = &request.idempotency_key;
        assert!(!key.is_empty(), "a request without Idempotency-Key");
        let first = bodies.entry(key).or_insert(&request.bytes);
        assert!(
            *first == &request.bytes,
            "CHANGED: {key} was sent again with another body"
        );
    }
}

/// The highest row that was taken: rows come in order.
fn all_rows(requests: &[Request]) -> u64 {
    let taken = requests.iter().filter(|request| request.status == 200);
    let last = taken.filter_map(|request| request.body["last"].as_u64());
    last.max().unwrap_or(0)
}
