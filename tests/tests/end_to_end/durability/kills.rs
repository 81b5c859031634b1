//! The agent killed with -9 at random, again and again, while events come in and go out: every event
//! counts once. Also with links that break, with an upstream that is away, and with alarms that
//! overtake a backlog.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tidemill_tests::{Broker, Collector, Cut, Gateway, Link, Proxy, Random, setting, wait_until};

use super::{HIGH, KEYS, NORMAL, PROTOCOLS, broker, cloud, count, counts, seed};

/// Counts as `COUNTER` does, and sends every tenth count through the port `alarm` as well.
const COUNTER_WITH_ALARMS: &str = r#"(module
  (@custom "tidemill.manifest"
    "{\"abi\":1,\"outputs\":[\"out\",\"alarm\"],\"state\":{\"slots\":1}}")
  (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
  (import "tidemill1" "reg_set" (func $set (param i32 f64)))
  (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
  (func (export "on_event") (result i32) (local $n f64)
    (local.set $n (f64.add (call $get (i32.const 0)) (f64.const 1)))
    (call $set (i32.const 0) (local.get $n))
    (drop (call $emit (i32.const 0) (local.get $n)))
    (if (f64.eq (local.get $n)
          (f64.mul (f64.const 10) (f64.floor (f64.div (local.get $n) (f64.const 10)))))
      (then (drop (call $emit (i32.const 1) (local.get $n)))))
    (i32.const 0)))"#;

/// Bytes after which a link breaks: more than the thousand messages that a broker sends before it has
/// any acknowledgement, or connection after connection would break with nothing gained.
const BREAKS: std::ops::Range<u64> = 40_000..200_000;

/// A gateway between two brokers, with a link to each that can fail, and all that arrives upstream.
struct Plant {
    local: Broker,
    upstream: Broker,
    intake: Proxy,
    outlet: Proxy,
    gateway: Gateway,
    arrived: Collector,
    random: Random,
    events: u64,
    /// Number of events that the sensors may have sent by now.
    allowed: Arc<AtomicU64>,
    /// Rows that will come of each event on average: one, and what else the rule sends.
    rows: u64,
}

impl Plant {
    fn new(protocol: &str, events: u64, seed: u64) -> Self {
        let (local, upstream) = (broker(), broker());
        let (intake, outlet) = (Proxy::to(local.port()), Proxy::to(upstream.port()));
        let lines = format!("{protocol}\n{}", cloud(outlet.port()));
        let gateway = Gateway::new(intake.port(), &lines);
        count(&gateway);
        Self {
            arrived: Collector::start(upstream.port(), "#"),
            random: Random::new(seed),
            allowed: Arc::default(),
            rows: events,
            local,
            upstream,
            intake,
            outlet,
            gateway,
            events,
        }
    }

    /// Sensors that send in turn, as far as they are allowed to.
    fn sensors(&self) -> JoinHandle<()> {
        super::sensors(&self.local, self.events, 0, &self.allowed)
    }

    /// Lets the sensors send their part of round `round` of `rounds`.
    fn allow(&self, round: u64, rounds: u64) {
        let part = self.events * (round + 1) / rounds;
        self.allowed.store(part, Ordering::Release);
    }

    /// Kills the agent at a random moment of the round, and starts it again: after some rows have
    /// arrived, after some bytes went over a link, or while it starts.
    fn kill(&mut self, round: u64, rounds: u64) {
        let arrived = self.arrived.count() as u64;
        let all = self.rows * (round + 1) / rounds;
        let rows = arrived + self.random.within(0..(all - arrived.min(all)) / 2 + 1);
        let carried = |plant: &Self| plant.intake.bytes_down() + plant.outlet.bytes_up();
        let bytes = carried(self) + self.random.within(1..100 * self.events / rounds + 2);
        let lines = self.random.within(1..6) as usize;
        let moment = self.random.within(0..3);
        wait_until(
            || {
                let reached = match moment {
                    0 => self.arrived.count() as u64 >= rows,
                    1 => carried(self) >= bytes,
                    _ => self.gateway.log().len() >= lines,
                };
                // If nothing more is to come in this round, waiting would have no end.
                reached || self.arrived.count() as u64 >= all
            },
            || format!("round {round}: neither rows nor bytes come any more"),
        );
        self.gateway.kill();
        self.gateway.run();
    }

    /// Waits for the rest, stops everything in order, and checks that nothing more has come.
    fn end(&mut self, sensors: JoinHandle<()>) {
        self.intake.heal();
        self.outlet.heal();
        sensors.join().unwrap();
        self.arrived.until(self.rows as usize);
        super::stop(&mut self.gateway);
        self.arrived.settle(self.upstream.port());
        let got = self.arrived.count() as u64;
        assert_eq!(got, self.rows, "COUNTED TWICE: more rows came than events");
    }

    fn check_counted(&self) {
        let expected = counts(self.events);
        self.arrived
            .received(|received| received.check_counted(NORMAL, &expected));
    }
}

fn kills(default: u64) -> u64 {
    setting("TIDEMILL_TEST_KILLS", default).max(1)
}

fn events(default: u64) -> u64 {
    super::events(default).max(KEYS)
}

#[test]
fn kills_at_random_lose_nothing_and_count_nothing_twice() {
    let (events, kills) = (events(4_000), kills(10));
    for protocol in PROTOCOLS {
        let mut plant = Plant::new(protocol, events, seed());
        plant.gateway.start();
        let sensors = plant.sensors();
        for round in 0..kills {
            plant.allow(round, kills);
            plant.kill(round, kills);
        }
        plant.end(sensors);
        plant.check_counted();
    }
}

#[test]
fn kills_while_both_links_break_lose_nothing_and_count_nothing_twice() {
    let (events, kills) = (events(3_000), kills(8));
    for protocol in PROTOCOLS {
        let mut plant = Plant::new(protocol, events, seed() + 1);
        plant.gateway.start();
        plant.intake.cut_at_random(seed() + 2, BREAKS);
        plant.outlet.cut_at_random(seed() + 3, BREAKS);
        let sensors = plant.sensors();
        for round in 0..kills {
            plant.allow(round, kills);
            match plant.random.within(0..4) {
                0 => _ = plant.intake.cut(Cut::Reset),
                1 => _ = plant.intake.cut(Cut::Close),
                2 => _ = plant.outlet.cut(Cut::Reset),
                _ => _ = plant.outlet.cut(Cut::Close),
            }
            plant.kill(round, kills);
        }
        plant.end(sensors);
        let cuts = plant.intake.cuts() + plant.outlet.cuts();
        assert!(cuts > 0, "no connection was cut");
        plant.check_counted();
    }
}

#[test]
fn kills_while_upstream_is_away_at_first_lose_nothing() {
    let (events, kills) = (events(3_000), kills(6));
    let mut plant = Plant::new("", events, seed() + 4);
    plant.outlet.set(Link::Refusing);
    plant.gateway.start();
    let sensors = plant.sensors();
    for round in 0..kills {
        plant.allow(round, kills);
        // Two thirds of it wait in the journal before anything can leave.
        if round == kills * 2 / 3 {
            super::until_acknowledged(&plant.local, plant.events * round / kills);
            plant.outlet.set(Link::Up);
        }
        if round < kills * 2 / 3 {
            super::until_acknowledged(&plant.local, plant.events * round / kills + 1);
            plant.gateway.kill();
            plant.gateway.run();
        } else {
            plant.kill(round, kills);
        }
    }
    plant.end(sensors);
    plant.check_counted();
}

#[test]
fn alarms_overtake_a_backlog_and_both_lanes_stay_exact() {
    let (events, kills) = (events(3_000), kills(4));
    let mut plant = Plant::new("", events, seed() + 5);
    plant.gateway.module("counter", COUNTER_WITH_ALARMS);
    let rule = std::fs::read_to_string(plant.gateway.path("rules/counter.toml")).unwrap();
    let (_, rule) = rule.split_once('\n').unwrap();
    let alarm = "[ports.alarm]\nto = \"cloud\"\ntopic = \"alarm/{key}\"\npriority = \"high\"\n";
    plant.gateway.rule("counter", &format!("{rule}{alarm}"));
    let alarms: BTreeMap<_, Vec<_>> = counts(events)
        .into_iter()
        .map(|(topic, n)| {
            let tens = (1..=n).filter(|number| number % 10 == 0);
            (topic.replace("out/", "alarm/"), tens.collect())
        })
        .filter(|(_, tens): &(String, Vec<u64>)| !tens.is_empty())
        .collect();
    let alarm_rows: usize = alarms.values().map(Vec::len).sum();
    plant.rows += alarm_rows as u64;

    plant.outlet.set(Link::Refusing);
    plant.gateway.start();
    let sensors = plant.sensors();
    // Two thirds are a backlog; the rest comes in while it is sent.
    plant.allow(1, 3);
    let backlog = plant.allowed.load(Ordering::Acquire);
    super::until_acknowledged(&plant.local, backlog);
    plant.gateway.kill();
    plant.gateway.run();
    plant.outlet.set(Link::Up);
    for round in 0..kills {
        plant.allow(2 * kills + round, 3 * kills);
        plant.kill(2 * kills + round, 3 * kills);
    }
    plant.end(sensors);
    plant.check_counted();
    plant.arrived.received(|received| {
        received.check(HIGH, &alarms);
        let of_backlog = counts(backlog).values().map(|n| n / 10).sum::<u64>();
        let waited_for = received.overtaken(HIGH, of_backlog as usize, NORMAL) as u64;
        assert!(
            waited_for < backlog / 2,
            "the alarms of the backlog came after {waited_for} of its {backlog} ordinary rows"
        );
    });
}
