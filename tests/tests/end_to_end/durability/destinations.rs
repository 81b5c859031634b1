//! A destination that is taken out of the configuration while rows wait for it: nobody may lose
//! sight of them.

use std::fs;

use tidemill_tests::{Broker, Gateway, free_port};

use super::{broker, cloud, dead_letters, pass, topic, until_acknowledged};
use crate::support::sensor;

const EVENTS: u64 = 30;

/// A gateway that was killed with rows waiting for `cloud`, which is in its configuration no longer.
fn gateway(local: &Broker) -> Gateway {
    let lines = cloud(free_port());
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "cloud");
    gateway.start();
    let mut sensor = sensor(local);
    sensor.publish_all((0..EVENTS).map(|n| (topic(n), n.to_string().into_bytes())));
    until_acknowledged(local, EVENTS);
    gateway.kill();
    let path = gateway.path("agent.toml");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains(&lines));
    fs::write(path, config.replace(&lines, "")).unwrap();
    pass(&gateway, "local");
    gateway
}

#[test]
fn rows_for_a_destination_that_is_gone_hold_the_start() {
    let local = broker();
    let gateway = gateway(&local);
    let checked = gateway.tidemill("check");
    let (code, log) = gateway.run_another();
    for (what, code, said) in [
        ("tidemill check", checked.code, checked.err),
        ("tidemill run", code, log),
    ] {
        assert_eq!(code, Some(2), "LOST from sight by {what}: {said}");
        for text in ["cloud", &EVENTS.to_string(), "discard = [\"cloud\"]"] {
            assert!(said.contains(text), "{what}: no {text:?} in\n{said}");
        }
    }
}

#[test]
fn rows_that_the_owner_gives_up_become_dead_letters() {
    let local = broker();
    let mut gateway = gateway(&local);
    gateway.configure("[outbox]\ndiscard = [\"cloud\"]");
    let checked = gateway.tidemill("check");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    gateway.start();
    gateway.stop();
    assert_eq!(
        dead_letters(&gateway, "destination was taken out"),
        EVENTS,
        "LOST: rows are neither sent nor dead letters"
    );
    // Once given up, they are not asked about again.
    gateway.start();
    gateway.stop();
}
