//! The flood: rules each of which asks for more than a limit may allow, receivers that take nothing for a
//! while, and what the ledgers have to show of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_tests::{Broker, Endpoint, Gateway, Link, Peer5, Proxy, wait_until};

use super::super::{broker, count, topic};
use crate::fleet::Operator;

use super::{BROKER, CLOUD, CLOUD_OUTBOX, LIMITS, LOCAL_OUTBOX, Values, WEB_OUTBOX};
use crate::support::{PASS, rule, sensor};

/// Bytes that are published in one go, at least.
const ROUND_BYTES: usize = 2 << 20;

/// Events for each of the rules that ask for too much.
const GREEDY_EVENTS: u64 = 20;

/// Topics of the rule that has a key for each, and names of events that are no numbers.
const KEYS: u64 = 400;
const NAMES: u64 = 400;

/// Demands of each of those rules; a rule that is not given that fails.
const EMISSIONS: u64 = 20;
const EMISSION_BYTES: u64 = 5_000;
const STATE_ENTRIES: u64 = 100;
const STATE_BYTES: u64 = 1_000;
const PAGES: u64 = 20;
const TURNS: u64 = 100_000;

/// Limits that a flood can pass in a few seconds, if they are small.
pub(super) const ALL: [&str; 20] = [
    "packet_bytes_max",
    "event_ids_remembered",
    "commit_events",
    "module_bytes",
    "memory_pages",
    "fuel",
    "emissions",
    "emission_bytes",
    "state_bytes",
    "keys",
    "local bytes",
    "local age",
    "local count",
    "cloud bytes",
    "cloud age",
    "cloud count",
    "cloud packet_bytes_max",
    "web bytes",
    "web age",
    "web count",
];

/// Bytes of events around what a packet may have, and far from it.
fn sizes(packet_bytes_max: u64) -> [usize; 6] {
    let max = usize::try_from(packet_bytes_max).unwrap();
    [1, 200, 70_000.min(max), max / 2, max - 100, max + 100]
}

/// A function that repeats something, and fails where it is refused.
fn repeats(imports: &str, times: u64, what: &str, memory: u64) -> String {
    format!(
        r#"(module {imports} (memory (export "memory") {memory})
          (func (export "on_event") (result i32) (local $n i32)
            (loop $again
              {what}
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $n) (i32.const {times}))))
            (i32.const 0)))"#
    )
}

/// The rules that ask for too much, by name.
fn greedy() -> [(&'static str, String); 4] {
    let emits = format!(
        "(if (call $emit (i32.const 0) (i32.const 0) (i32.const {EMISSION_BYTES})) (then unreachable))"
    );
    let puts = format!(
        "(i32.store (i32.const 0) (local.get $n)) \
         (if (call $put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const {STATE_BYTES})) (then unreachable))"
    );
    let grows = format!(
        "(if (i32.lt_s (memory.grow (i32.const {PAGES})) (i32.const 0)) (then unreachable))"
    );
    let emit = r#"(import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))"#;
    let put = r#"(import "tidemill1" "st_put" (func $put (param i32 i32 i32 i32) (result i32)))"#;
    [
        ("emits", repeats(emit, EMISSIONS, &emits, 1)),
        ("hoards", repeats(put, STATE_ENTRIES, &puts, 1)),
        ("grows", repeats("", 1, &grows, 1)),
        ("burns", repeats("", TURNS, "", 1)),
    ]
}

/// A broker at which nobody may publish to `denied`.
fn local_broker() -> Broker {
    let mut local =
        Broker::stopped("max_queued_messages 0\nmax_inflight_messages 1000\npersistence true");
    let list = local.path("acl");
    std::fs::write(&list, "topic deny denied/#\ntopic readwrite #\n").unwrap();
    local.add(&format!("acl_file {}", list.display()));
    local.run();
    local
}

/// A column of a rule.
fn of_rule(ledger: &Value, name: &str, column: &str) -> u64 {
    let rules = ledger["rules"].as_array().unwrap().iter();
    let mut rules = rules.filter(|rule| rule["rule"] == name);
    rules
        .next()
        .map_or(0, |rule| rule[column].as_u64().unwrap())
}

/// A column of a lane.
fn of_lane(ledger: &Value, name: &str, column: &str) -> u64 {
    let lanes = ledger["lanes"].as_array().unwrap().iter();
    let mut lanes = lanes.filter(|lane| lane["lane"] == name);
    lanes
        .next()
        .map_or(0, |lane| lane[column].as_u64().unwrap())
}

/// A gateway under test, and what it is held against.
struct Flood<'a> {
    gateway: Gateway,
    values: &'a Values,
    lines: String,
    /// Limits that were passed.
    passed: Vec<&'static str>,
    /// Bytes of events that are not too long.
    bytes: u64,
}

impl Flood<'_> {
    fn of(&self, table: &str, key: &str) -> u64 {
        self.values.of(table, key)
    }

    fn rules(&self) {
        count(&self.gateway);
        self.gateway.module("pass", PASS);
        let pass = |filters: &str, name: &str, to: &str, topic: &str| {
            let text = rule(filters, "wasm = \"pass.wasm\"", topic);
            self.gateway
                .rule(name, &text.replace("\"local\"", &format!("{to:?}")));
        };
        pass("\"sensors/+/env\"", "pass", "cloud", "passed/{key}");
        pass("\"sensors/+/env\"", "denied", "local", "denied/{key}");
        pass("\"sensors/+/env\"", "posted", "web", "posted/{key}");
        let keys = rule("\"keys/+\"", "wasm = \"counter.wasm\"", "keys");
        self.gateway.rule("keys", &keys);
        for (name, module) in greedy() {
            self.gateway.module(name, &module);
            let function = format!("wasm = \"{name}.wasm\"");
            let text = rule("\"greedy/+\"", &function, "greedy");
            self.gateway.rule(name, &text);
        }
    }

    /// A module that is too long is refused, and nothing else is wrong with the rules.
    fn try_long_module(&mut self) {
        let limit = self.of(LIMITS, "module_bytes");
        let long = format!(
            r#"(module (memory 1) (data (i32.const 0) "{}") (func (export "on_event") (result i32) (i32.const 1)))"#,
            "x".repeat(3_000)
        );
        self.gateway.module("long", &long);
        let text = rule("\"long\"", "wasm = \"long.wasm\"", "passed/long");
        self.gateway.rule("long", &text);
        let checked = self.gateway.tidemill("check");
        let is_refused = limit < 3_000;
        assert_eq!(
            checked.code,
            Some(i32::from(is_refused) * 2),
            "{}{checked:?}",
            self.lines
        );
        if is_refused {
            self.passed.push("module_bytes");
        }
        self.gateway.remove_rule("long");
        let checked = self.gateway.tidemill("check");
        assert_eq!(checked.code, Some(0), "{}{checked:?}", self.lines);
    }

    /// Publishes until the time is up.
    fn pour(&mut self, local: &Broker, time: Duration) {
        let mut named = Peer5::connect(local.port(), "named");
        for n in 0..NAMES {
            named.publish(&topic(n), b"1", &[("eid", &format!("name-{n}"))]);
        }
        let mut sensor = sensor(local);
        let of = |n: u64, topic: &str| (format!("{topic}/{n}"), vec![b'1']);
        sensor.publish_all((0..KEYS).map(|n| of(n, "keys")));
        sensor.publish_all((0..GREEDY_EVENTS).map(|n| of(n, "greedy")));
        let packet_bytes_max = self.of(BROKER, "packet_bytes_max");
        let (end, mut n) = (Instant::now() + time, 0);
        while Instant::now() < end {
            for bytes in sizes(packet_bytes_max) {
                let times = (ROUND_BYTES / 6 / bytes).clamp(1, 500) as u64;
                sensor.publish_all((n..n + times).map(|n| (topic(n), vec![b'1'; bytes])));
                n += times;
                if bytes as u64 <= packet_bytes_max - 100 {
                    self.bytes += times * bytes as u64;
                }
            }
            self.alive();
        }
    }

    fn alive(&mut self) {
        assert!(self.gateway.is_running(), "it ended under\n{}", self.lines);
    }

    /// The agent's answer. Amidst a flood, with a commit for each event, it may take its time.
    fn ask(&self, question: &str) -> Value {
        let mut answer = None;
        wait_until(
            || {
                let ran = self.gateway.tidemill(&format!("{question} --json"));
                answer = serde_json::from_str(&ran.out).ok();
                ran.code == Some(0)
            },
            || format!("{question} is not answered under\n{}", self.lines),
        );
        answer.expect("an answer is JSON")
    }

    fn ledger(&self) -> Value {
        let ledger = self.ask("inspect ledger");
        assert_eq!(ledger["balanced"], true, "{ledger} under\n{}", self.lines);
        ledger
    }

    /// The ledger has to show sooner or later that a limit was passed, where it `is_small`.
    fn shows(&mut self, limit: &'static str, is_small: bool, shown: impl Fn(&Value) -> bool) {
        if is_small {
            self.until(limit, shown);
            self.passed.push(limit);
        }
    }

    fn until(&mut self, what: &str, shown: impl Fn(&Value) -> bool) {
        wait_until(
            || shown(&self.ledger()),
            || format!("{what}: {} under\n{}", self.ledger(), self.lines),
        );
        self.alive();
    }

    /// Checks that the ledger shows the rules that went beyond their limits.
    fn rules_show(&mut self) {
        // Enough for all of it, whatever else is small.
        let is_fuelled = self.of(LIMITS, "fuel") >= 4_000_000;
        let failed = |rule: &'static str| {
            move |ledger: &Value| of_rule(ledger, rule, "dead") == GREEDY_EVENTS
        };
        let emissions = self.of(LIMITS, "emissions") < EMISSIONS;
        self.shows("emissions", is_fuelled && emissions, failed("emits"));
        let bytes = self.of(LIMITS, "emission_bytes") < EMISSIONS * EMISSION_BYTES;
        self.shows("emission_bytes", is_fuelled && bytes, failed("emits"));
        let state = self.of(LIMITS, "state_bytes") < STATE_ENTRIES * STATE_BYTES;
        self.shows("state_bytes", is_fuelled && state, failed("hoards"));
        let pages = self.of(LIMITS, "memory_pages") <= PAGES;
        self.shows("memory_pages", is_fuelled && pages, failed("grows"));
        let fuel = self.of(LIMITS, "fuel") < TURNS;
        self.shows("fuel", fuel, failed("burns"));
        let keys = self.of(LIMITS, "keys") < KEYS;
        let is_evicted = |ledger: &Value| of_rule(ledger, "keys", "keys_evicted") > 0;
        self.shows("keys", is_fuelled && keys, is_evicted);
        if is_fuelled && !emissions && !bytes {
            let sent = |ledger: &Value| of_rule(ledger, "emits", "emitting") == GREEDY_EVENTS;
            self.until("what is allowed was not sent", sent);
        }
    }

    /// Checks that the ledger shows outboxes which receivers that take nothing have filled.
    fn lanes_show(&mut self) {
        let lanes = [
            (
                LOCAL_OUTBOX,
                "local/normal",
                ["local bytes", "local age", "local count"],
            ),
            (
                CLOUD_OUTBOX,
                "cloud/normal",
                ["cloud bytes", "cloud age", "cloud count"],
            ),
            (
                WEB_OUTBOX,
                "web/normal",
                ["web bytes", "web age", "web count"],
            ),
        ];
        // Without fuel no rule sends anything, and one key of a state may be all there is.
        let is_sending = self.of(LIMITS, "fuel") >= 4_000_000;
        for (table, lane, [bytes, age, count]) in lanes {
            let dropped = |ledger: &Value| of_lane(ledger, lane, "dropped") > 0;
            let few = self.of(table, "bytes") < self.bytes / 4;
            self.shows(bytes, is_sending && few, dropped);
            let soon = self.of(table, "age") <= 3;
            self.shows(age, is_sending && soon, dropped);
            let most = self.of(table, "count");
            self.shows(count, is_sending && most < 300, dropped);
        }
    }
}

/// Runs a gateway with these values under a flood; returns the limits that it has passed.
pub(super) fn run(values: &Values, time: Duration) -> Vec<&'static str> {
    let (local, upstream) = (local_broker(), broker());
    let outlet = Proxy::to(upstream.port());
    let takes = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&takes);
    let endpoint = Endpoint::start(move |_| {
        if answers.load(Ordering::Acquire) {
            200
        } else {
            503
        }
    });
    let lines = values.lines(outlet.port(), &endpoint.url());
    eprintln!("{lines}");
    let mut flood = Flood {
        gateway: Gateway::new(local.port(), &lines),
        values,
        lines,
        passed: Vec::new(),
        bytes: 0,
    };
    Operator::new().trusted_by(&flood.gateway);
    flood.rules();
    flood.try_long_module();
    outlet.set(Link::Refusing);
    flood.gateway.start();
    flood.pour(&local, time);
    let is_kept = flood.of(BROKER, "qos") == 1;
    let dead = |ledger: &Value| ledger["intake"]["dead"].as_u64() > Some(0);
    // At QoS 0 the broker may drop any of it, and who is too slow is not told.
    if is_kept {
        flood.shows("packet_bytes_max", true, dead);
        flood.rules_show();
        flood.lanes_show();
        let remembered = flood.of(BROKER, "event_ids_remembered");
        let known = || flood.ask("event-ids list")["opaque"].as_u64().unwrap();
        let most = remembered.min(NAMES);
        wait_until(
            || known() >= most,
            || format!("{} names are known", known()),
        );
        assert!(known() <= remembered, "under\n{}", flood.lines);
        if remembered < NAMES {
            flood.passed.push("event_ids_remembered");
        }
        let ledger = flood.ledger();
        let (routed, commits) = (ledger["intake"]["routed"].as_u64(), ledger["lsn"].as_u64());
        let (routed, commits) = (routed.unwrap(), commits.unwrap());
        let most = flood.of(BROKER, "commit_events");
        assert!(
            routed <= (commits + 1) * most,
            "{commits} commits under\n{}",
            flood.lines
        );
        if most < 1_000 {
            flood.passed.push("commit_events");
        }
    }
    // Rows that waited leave, and those that are too long for the receiver become dead letters.
    outlet.set(Link::Up);
    takes.store(true, Ordering::Release);
    let is_waiting = flood.of(CLOUD_OUTBOX, "bytes") > 1 << 30
        && flood.of(CLOUD_OUTBOX, "age") > 3_600
        && flood.of(CLOUD_OUTBOX, "count") > 1 << 20
        && flood.of(LIMITS, "fuel") >= 4_000_000;
    let is_too_long =
        flood.of(CLOUD, "packet_bytes_max") < flood.of(BROKER, "packet_bytes_max") / 2;
    let refused = |ledger: &Value| of_lane(ledger, "cloud/normal", "dead") > 0;
    let is_shown = is_kept && is_waiting && is_too_long;
    flood.shows("cloud packet_bytes_max", is_shown, refused);
    flood.ledger();
    flood.alive();
    // The data directory is no obstacle to the next start.
    flood.gateway.kill();
    flood.gateway.run();
    flood.gateway.until_logged("deployed");
    flood.alive();
    flood.gateway.kill();
    flood.passed
}
