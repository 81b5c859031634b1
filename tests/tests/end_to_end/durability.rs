//! Nothing lost, nothing twice: the real agent killed at random, cut off, with its disk full or
//! damaged. What arrives is held against the counter rule (`Received`), or against the events one by one.
//!
//! `TIDEMILL_TEST_EVENTS`, `TIDEMILL_TEST_KILLS`, `TIDEMILL_TEST_ROUNDS` and `TIDEMILL_TEST_SEED`
//! make these tests larger than an ordinary run has time for, or other.

mod commits;
mod cuts;
mod damage;
mod databases;
mod destinations;
mod full_disk;
mod http;
mod kills;
mod large;
mod limits;
mod names;
mod outage;
mod power;
mod receiver;
mod redeployments;
mod restart;
mod stolen_id;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;
use tidemill_tests::{Broker, Collector, Gateway, Peer, setting, wait_until};

use crate::support::{COUNTER, PASS, rule, sensor};

/// Both MQTT versions to take events in.
const PROTOCOLS: [&str; 2] = ["protocol = \"5\"", "protocol = \"3.1.1\""];

/// The lane of what is sent to the destination `cloud` in turn.
const NORMAL: &str = "cloud/normal";

/// The lane of what may overtake it.
const HIGH: &str = "cloud/high";

/// Number of keys.
const KEYS: u64 = 20;

/// A broker that drops nothing and keeps its sessions.
fn broker() -> Broker {
    Broker::start("max_queued_messages 0\nmax_inflight_messages 1000\npersistence true")
}

/// A number from the environment, or else this one; and what the run's seed is.
fn events(default: u64) -> u64 {
    setting("TIDEMILL_TEST_EVENTS", default)
}

/// The seed of everything that is random.
fn seed() -> u64 {
    setting("TIDEMILL_TEST_SEED", 1)
}

/// The lines of configuration for a destination `cloud`.
fn cloud(port: u16) -> String {
    format!("[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{port}\"")
}

/// Gives the gateway a rule `counter` that sends each key's count to `cloud`.
fn count(gateway: &Gateway) {
    gateway.module("counter", COUNTER);
    let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("counter", &text.replace("\"local\"", "\"cloud\""));
}

/// Gives the gateway a rule `pass` that sends each event on to this destination.
fn pass(gateway: &Gateway, to: &str) {
    gateway.module("pass", PASS);
    let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}");
    gateway.rule("pass", &text.replace("\"local\"", &format!("{to:?}")));
}

/// Event number `n` in a row of events: its topic. The keys take turns.
fn topic(n: u64) -> String {
    format!("sensors/d{}/env", n % KEYS)
}

/// Sensors that send events in turn, of so many bytes, as far as they are allowed to.
fn sensors(local: &Broker, events: u64, bytes: usize, allowed: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (mut sensor, allowed) = (sensor(local), Arc::clone(allowed));
    std::thread::spawn(move || {
        let mut sent = 0;
        while sent < events {
            wait_until(
                || allowed.load(Ordering::Acquire) > sent,
                || "the sensors were not allowed to send".to_owned(),
            );
            let end = allowed.load(Ordering::Acquire).min(events);
            sensor.publish_all((sent..end).map(|n| (topic(n), vec![b'x'; bytes])));
            sent = end;
        }
    })
}

/// The topics on which counts of so many events arrive, and the count of each key.
fn counts(events: u64) -> BTreeMap<String, u64> {
    (0..KEYS)
        .map(|key| {
            let n = events / KEYS + u64::from(key < events % KEYS);
            (format!("out/d{key}"), n)
        })
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// Stops an agent that may just have been started: before it listens to signals, one would end it.
fn stop(gateway: &mut Gateway) {
    gateway.until_logged("connected broker=");
    gateway.stop();
}

/// The JSON that a command of the program prints.
#[track_caller]
fn json(gateway: &Gateway, command: &str) -> Value {
    let ran = gateway.tidemill(&format!("{command} --json"));
    // One that is not well says so with its exit code, too.
    let is_done = ran.code == Some(0) || (command == "inspect health" && ran.code == Some(1));
    assert!(is_done, "tidemill {command}: {ran:?}");
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("tidemill {command}: {ran:?}"))
}

/// Number of dead letters that have this in their reason.
#[track_caller]
fn dead_letters(gateway: &Gateway, reason: &str) -> u64 {
    let letters = json(gateway, "dead-letters list");
    let letters = letters.as_array().expect("a list of dead letters");
    let has_it = |letter: &&Value| {
        letter["reason"]
            .as_str()
            .is_some_and(|why| why.contains(reason))
    };
    letters.iter().filter(has_it).count() as u64
}

/// Publishes until something has arrived that was published after everything before: a session that
/// had to be given up may take a message or two with it. The rule is `pass`, the receiver upstream.
fn until_one_passes(sensor: &mut Peer, arrived: &Collector, key: &str) {
    let (topic, out) = (format!("sensors/{key}/env"), format!("out/{key}"));
    let mut looks = 0;
    wait_until(
        || {
            looks += 1;
            // Every so often, so that what the agent has to work on stays little.
            if looks % 100 == 1 {
                sensor.publish(&topic, b"probe", 1, false);
            }
            arrived.received(|received| received.of_lane(NORMAL).contains_key(out.as_str()))
        },
        || format!("nothing passes any more, not even {topic}"),
    );
}

/// Waits until the agent has acknowledged so many messages, which are in the journal then.
fn until_acknowledged(local: &Broker, count: u64) {
    local.until_logged_times("Received PUBACK from gw ", count as usize);
}
