//! State and ledgers after a restart: the same, to the bit.

use serde_json::Value;
use tidemill_tests::{Collector, Cut, Gateway, Link, Proxy};

use super::{NORMAL, broker, cloud, count, counts, events, json, topic, until_acknowledged};
use crate::support::sensor;

/// The hash over everything that is kept, and the commit it is of.
#[track_caller]
fn state_hash(gateway: &Gateway) -> (String, u64) {
    let answer = json(gateway, "inspect state-hash");
    let hash = answer["state_hash"].as_str().expect("a hash");
    (hash.to_owned(), answer["lsn"].as_u64().expect("a commit"))
}

/// Checks the ledger of rule or lane `name`; returns how many it was given.
#[track_caller]
fn check_balanced(ledgers: &Value, place: (&str, &str, &str), given: &str, parts: &[&str]) -> u64 {
    let (list, key, name) = place;
    let list = ledgers[list].as_array().expect("a list of ledgers");
    let ledger = list.iter().find(|ledger| ledger[key] == name);
    let ledger = ledger.unwrap_or_else(|| panic!("no ledger of {name} in {ledgers}"));
    let count = |value: &Value| match value {
        // By reason.
        Value::Object(reasons) => reasons.values().filter_map(Value::as_u64).sum(),
        other => other
            .as_u64()
            .unwrap_or_else(|| panic!("no number in {ledger}")),
    };
    let sum: u64 = parts.iter().map(|part| count(&ledger[*part])).sum();
    assert_eq!(
        count(&ledger[given]),
        sum,
        "the ledger of {name} does not balance: {ledger}"
    );
    sum
}

/// Checks both ledgers: of the rule `counter`, which makes a row of each event, and of the lane it
/// feeds. Returns how many events there were.
#[track_caller]
fn check_ledgers(gateway: &Gateway) -> u64 {
    let ledgers = json(gateway, "inspect ledger");
    assert_eq!(ledgers["balanced"], true, "{ledgers}");
    let columns = ["filtered", "absorbed", "emitting", "dead", "dropped"];
    let rule = ("rules", "rule", "counter");
    let received = check_balanced(&ledgers, rule, "received", &columns);
    let columns = ["acknowledged", "waiting", "dead", "dropped"];
    let made = check_balanced(&ledgers, ("lanes", "lane", NORMAL), "made", &columns);
    assert_eq!(made, received, "each event makes one row: {ledgers}");
    received
}

#[test]
fn state_after_a_kill_is_what_a_restart_makes_of_it() {
    let events = events(2_000);
    let (local, upstream) = (broker(), broker());
    let (intake, outlet) = (Proxy::to(local.port()), Proxy::to(upstream.port()));
    let mut gateway = Gateway::new(intake.port(), &cloud(outlet.port()));
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut flooding = sensor(&local);
    let flood = std::thread::spawn(move || {
        flooding.publish_all((0..events).map(|n| (topic(n), Vec::new())));
    });
    // In the midst of it; from then on neither events nor acknowledgements reach the agent.
    arrived.until(events as usize / 2);
    intake.set(Link::Refusing);
    outlet.set(Link::Refusing);
    intake.cut(Cut::Reset);
    outlet.cut(Cut::Reset);
    gateway.kill();
    let killed = state_hash(&gateway);
    let again = state_hash(&gateway);
    assert_eq!(killed, again, "looking at the state has changed it");
    gateway.run();
    // Now the agent is asked, which read the same files and works on.
    gateway.until_logged("no connection");
    let running = state_hash(&gateway);
    assert_eq!(killed, running, "LOST: the restart has changed the state");
    gateway.stop();
    let stopped = state_hash(&gateway);
    // A stop may make a commit of its own; what stands in it must not differ.
    assert_eq!(killed.0, stopped.0, "LOST: the stop has changed the state");

    intake.set(Link::Up);
    outlet.set(Link::Up);
    gateway.start();
    flood.join().unwrap();
    arrived.until(events as usize);
    gateway.stop();
    let ended = state_hash(&gateway);
    assert_ne!(ended.0, killed.0, "later events have not changed the state");
    arrived.received(|received| received.check_counted(NORMAL, &counts(events)));
}

#[test]
fn ledgers_balance_after_kills_and_count_every_event() {
    let events = events(1_000);
    let (local, upstream) = (broker(), broker());
    let outlet = Proxy::to(upstream.port());
    let mut gateway = Gateway::new(local.port(), &cloud(outlet.port()));
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    let halves = [0..events / 2, events / 2..events];
    for (half, upstream_is_there) in halves.into_iter().zip([true, false]) {
        let all = half.end;
        if !upstream_is_there {
            outlet.set(Link::Refusing);
            outlet.cut(Cut::Close);
        }
        sensor.publish_all(half.map(|n| (topic(n), Vec::new())));
        until_acknowledged(&local, all);
        gateway.kill();
        // Events that were not acknowledged yet may be in the journal as well, and come again.
        let received = check_ledgers(&gateway);
        assert!(received >= all, "LOST: {received} of {all} events");
        gateway.start();
    }
    outlet.set(Link::Up);
    arrived.until(events as usize);
    gateway.stop();
    let received = check_ledgers(&gateway);
    assert_eq!(received, events, "an event was lost or counted twice");
    arrived.received(|received| received.check_counted(NORMAL, &counts(events)));
}
