//! Brokers and endpoints that are there and say nothing, and names that cannot be resolved: nothing
//! spins meanwhile, everything comes back soon after the cure, and what happened counts once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidemill_tests::{
    Broker, Collector, Cut, Endpoint, Gateway, Link, NameServer, PATIENCE, Proxy, skipped,
    wait_until,
};

use crate::support::{COUNTER, broker, rule, sensor};

/// Longer than any time limit of a connection is from becoming due.
const QUIET: Duration = Duration::from_secs(12);

/// Most of a core that a thread may use while nothing happens, in percent.
const IDLE: f64 = 2.0;

/// Time after the cure by which all has to be through, with some more for a machine that is busy
/// with other tests.
const BACK_WITHIN: Duration = Duration::from_secs(15 + 5);

/// A gateway between brokers and an endpoint, each behind a link that can fail.
struct Plant {
    near: Broker,
    far: Broker,
    web: Endpoint,
    links: [Proxy; 3],
    gateway: Gateway,
    cloud: Collector,
    sent: usize,
}

impl Plant {
    fn new() -> Self {
        let (near, far) = (broker(), broker());
        let web = Endpoint::start(|_| 204);
        let links = [near.port(), far.port(), web.port()].map(Proxy::to);
        let [_, to_far, to_web] = &links;
        let lines = format!(
            "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\n\
             [destinations.web]\nurl = \"http://127.0.0.1:{}/rows\"",
            to_far.port(),
            to_web.port()
        );
        let gateway = Gateway::new(links[0].port(), &lines);
        gateway.module("counter", COUNTER);
        for name in ["cloud", "web"] {
            let text = rule("\"sensors/+/env\"", "wasm = \"counter.wasm\"", "out/{key}");
            gateway.rule(name, &text.replace("\"local\"", &format!("{name:?}")));
        }
        let cloud = Collector::start(far.port(), "out/#");
        Self {
            near,
            far,
            web,
            links,
            gateway,
            cloud,
            sent: 0,
        }
    }

    fn send(&mut self, count: usize) {
        let mut sensor = sensor(&self.near);
        sensor.publish_all((0..count).map(|_| ("sensors/d1/env".to_owned(), Vec::new())));
        self.sent += count;
    }

    /// Waits until every event has come out at both ends, and checks that each counted once.
    fn expect_all(&self) {
        let cured = Instant::now();
        let sent = self.sent;
        self.cloud.until(sent);
        self.web.until(
            |requests| {
                let rows = requests.iter().filter_map(|request| request.rows().ok());
                rows.map(|rows| rows.len()).sum::<usize>() >= sent
            },
            "rows are missing",
        );
        let took = cured.elapsed();
        let expected = BTreeMap::from([("out/d1".to_owned(), sent as u64)]);
        self.cloud
            .received(|rows| rows.check_counted("cloud/normal", &expected));
        self.web.received().check_counted("web/normal", &expected);
        assert!(took <= BACK_WITHIN, "all came, but only after {took:?}");
    }

    fn assert_nothing_spins(&self) {
        let busy = self.gateway.busy_threads(QUIET, IDLE);
        assert!(
            busy.is_empty(),
            "{busy:?}: {}",
            self.gateway.log().join("\n")
        );
    }

    fn health(&self) -> serde_json::Value {
        let ran = self.gateway.tidemill("inspect health --json");
        serde_json::from_str(&ran.out).expect(&ran.err)
    }

    /// The gateway is well, and ends so. An attempt that was given up during the outage may be read only
    /// now, and end the connection that stands: the broker takes both for one client.
    fn end(mut self) {
        let is_well = || self.health()["well"] == true;
        wait_until(is_well, || self.health().to_string());
        let health = self.health();
        for thread in ["agent", "mqtt-in", "out", "out/cloud", "journal", "pond"] {
            assert_eq!(health["threads"][thread]["turns"], true, "{health}");
        }
        self.gateway.stop();
    }
}

#[test]
fn links_that_accept_and_swallow_pin_nothing_and_cost_nothing() {
    let mut plant = Plant::new();
    plant.gateway.start();
    plant.send(5);
    plant.expect_all();
    // New connections are accepted too, and hear nothing.
    plant
        .links
        .iter()
        .for_each(|link| link.set(Link::BlackHole));
    plant.send(5);
    plant.links.iter().for_each(|link| {
        link.cut(Cut::Reset);
    });
    plant.assert_nothing_spins();
    plant.links.iter().for_each(Proxy::heal);
    plant.expect_all();
    plant.end();
}

#[test]
fn links_that_swallow_what_is_on_its_way_cost_nothing() {
    let mut plant = Plant::new();
    plant.gateway.start();
    plant.send(5);
    plant.expect_all();
    plant
        .links
        .iter()
        .for_each(|link| link.set(Link::BlackHole));
    plant.send(5);
    plant.assert_nothing_spins();
    plant.links.iter().for_each(Proxy::heal);
    plant.expect_all();
    plant.end();
}

#[test]
fn brokers_that_hang_and_go_on_are_found_again() {
    let mut plant = Plant::new();
    plant.gateway.start();
    plant.send(5);
    plant.expect_all();
    plant.far.signal("STOP");
    plant.send(5);
    plant.near.signal("STOP");
    plant.assert_nothing_spins();
    plant.near.signal("CONT");
    plant.far.signal("CONT");
    plant.expect_all();
    plant.end();
}

#[test]
fn a_name_without_address_spins_nothing_holds_no_stop_up_and_is_found_when_it_has_one() {
    let Some(names) = NameServer::start() else {
        return skipped("no name server can be put in place of the system's");
    };
    let mut plant = Plant::new();
    // Only the addresses of the configuration: the rules name none.
    plant.gateway.reconfigure("127.0.0.1", "broker.test");
    let wrapper = names.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    plant.gateway.wrap(&wrapper);
    plant.gateway.argument("--grace=1s");
    plant.gateway.run();
    wait_until(|| names.asked() > 0, || "nobody asks".to_owned());
    // Nothing is there to send, or to wait for.
    let began = Instant::now();
    let log = plant.gateway.stop();
    let took = began.elapsed();
    assert!(took < PATIENCE / 3, "{took:?}: {}", log.join("\n"));
    let wrote = |line: &String| line.contains("before the last checkpoint");
    assert!(!log.iter().any(wrote), "{}", log.join("\n"));
    plant.gateway.run();
    plant.assert_nothing_spins();
    names.answer();
    plant.gateway.until_logged(" subscribed ");
    plant.send(5);
    plant.expect_all();
    plant.end();
}
