//! The mill as timelines: what comes in when, what goes out when.

mod ages;
mod answers;
mod births;
mod copies;
mod dormant;
mod durable;
mod edits;
mod event_time;
mod firings;
mod hoards;
mod late;
mod many_keys;
mod memory;
mod neighbours;
mod nights;
mod readings;
mod reboot;
mod redrive;
mod room;
mod sizes;
mod statements;
mod topics;
mod turns;
mod windows;

use std::fmt::Write as _;

use super::*;
use crate::config::limits::FunctionLimits;
use crate::event::SubscriptionIds;
use crate::install::{Installer, subscriptions};
use crate::rule::{Gateway, Rule};
use tidemill_base::text::{FileErrors, Source};

const COUNTER: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "f") (result f64)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (call $get (i32.const 0)))
    (@custom "tidemill.manifest" "{\"abi\": 1}"))"#;

/// Fails on a negative temperature, loops for ever on 666, else passes.
const FRAGILE: &str = r#"(module
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (func (export "f") (param f64) (result i32)
        (call $set (i32.const 0) (f64.const 7))
        (if (f64.eq (local.get 0) (f64.const 666)) (then (loop $l (br $l))))
        (if (f64.lt (local.get 0) (f64.const 0)) (then (unreachable)))
        (i32.const 1))
    (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/t\",\"type\":\"f64\"}]}"))"#;

/// Arms timer 5 for 100 ms after each event; the timer emits how often it went off for the key.
const TIMER: &str = r#"(module
    (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (drop (call $timer (i32.const 5) (i64.const 100))) (i32.const 0))
    (func (export "on_timer") (param i32) (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0)))"#;

/// Counts events in a pane and, in a slot of the key, panes; emits 100 x panes + events.
const PANES: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))
    (func (export "on_window") (result i32)
        (call $set (i32.const 1) (f64.add (call $get (i32.const 1)) (f64.const 1)))
        (drop (call $emit (i32.const 0)
            (f64.add (f64.mul (f64.const 100) (call $get (i32.const 1))) (call $get (i32.const 0)))))
        (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"slots\":1}}"))"#;

fn rule(name: &str, on: &str) -> String {
    format!(
        "name = \"{name}\"\n[on]\n{on}\nkey = \"{{topic.1}}\"\n[function]\nwasm = \"{name}.wasm\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out/{name}/{{key}}\"\n"
    )
}

fn bind(rules: &[(String, &str)]) -> Vec<BoundRule> {
    try_bind(rules).unwrap()
}

fn try_bind(rules: &[(String, &str)]) -> Result<Vec<BoundRule>, FileErrors> {
    bind_within(&FunctionLimits::default(), rules)
}

fn bind_within(
    limits: &FunctionLimits,
    rules: &[(String, &str)],
) -> Result<Vec<BoundRule>, FileErrors> {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits,
    };
    let mut installer = Installer::new(limits);
    let mut bind = |(manifest, wat): &(String, &str)| {
        let source = Source {
            path: dir.path().join("rule.toml"),
            text: manifest.clone(),
        };
        let rule = Rule::parse(source, &gateway)?;
        std::fs::write(
            dir.path().join(format!("{}.wasm", rule.name)),
            wat::parse_str(wat).unwrap(),
        )
        .unwrap();
        installer.install(rule, &["local"])
    };
    rules.iter().map(&mut bind).collect()
}

/// A mill with its clock, and what it said as lines.
struct Bench {
    mill: Mill,
    now: Now,
    said: String,
    limits: FunctionLimits,
}

impl Bench {
    fn new(rules: &[(String, &str)]) -> Self {
        Self::within(FunctionLimits::default(), rules)
    }

    /// One on a gateway that grants so much.
    fn within(limits: FunctionLimits, rules: &[(String, &str)]) -> Self {
        let mut bench = Self {
            mill: Mill::new(),
            now: Now::default(),
            said: String::new(),
            limits,
        };
        bench.now = Now {
            mono_ms: 10_000,
            wall_ms: 1_700_000_000_000,
            ..Now::default()
        };
        bench.deploy(rules);
        bench
    }

    fn deploy(&mut self, rules: &[(String, &str)]) {
        let rules = bind_within(&self.limits, rules).unwrap();
        let subscriptions = subscriptions(&rules, &[]);
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        let deployed = self.mill.deploy(self.now, deployment, &mut Vec::new());
        deployed.unwrap();
    }

    /// Moves both clocks to `ms` after the start, stopping wherever something is due.
    fn at(&mut self, ms: u64) -> &mut Self {
        let target = 10_000 + ms;
        while let Some(due) = self.mill.next_due_mono_ms().filter(|due| *due <= target) {
            self.go(due.max(self.now.mono_ms));
            self.step(Input::Tick);
        }
        self.go(target);
        self
    }

    fn go(&mut self, mono_ms: u64) {
        self.now = Now {
            mono_ms,
            wall_ms: self.now.wall_at(mono_ms),
            ..self.now
        };
    }

    /// Turns the mill, again while a step has no share for all of it.
    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.mill.step(self.now, input, &mut out);
        while self.mill.is_busy() {
            self.mill.step(self.now, Input::Tick, &mut out);
        }
        let ms = self.now.mono_ms - 10_000;
        for output in out {
            match output {
                Output::Emission(sent) => {
                    let payload = String::from_utf8_lossy(&sent.payload);
                    writeln!(self.said, "{ms} {} {payload}", sent.topic)
                }
                Output::DeadLetter(dead) => {
                    writeln!(self.said, "{ms} {} dead: {}", dead.rule, dead.reason)
                }
                Output::Logs { rule, lines, .. } => {
                    writeln!(self.said, "{ms} {rule} {} lines", lines.len())
                }
                Output::Quarantined { rule, .. } => writeln!(self.said, "{ms} {rule} quarantined"),
                // Tests that care look at the ledger's count.
                Output::BadTime { .. } => Ok(()),
                other => panic!("a mill that keeps nothing says {other:?}"),
            }
            .unwrap();
        }
    }

    fn event(&mut self, topic: &str, payload: &str) -> &mut Self {
        let event = Event::new(
            Topic::new(topic).unwrap(),
            payload.to_owned(),
            self.now.wall_ms,
        );
        self.step(Input::Events(vec![event]));
        self
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) -> &mut Self {
        let said = std::mem::take(&mut self.said);
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
        for (rule, ledger) in self.mill.ledgers() {
            assert!(ledger.balances(), "{rule}: {ledger:?}");
        }
        self
    }

    fn ledger(&self, name: &str) -> Ledger {
        self.mill
            .ledgers()
            .find(|(rule, _)| ***rule == *name)
            .unwrap()
            .1
            .clone()
    }
}

#[test]
fn each_key_has_a_state_of_its_own() {
    let mut bench = Bench::new(&[(rule("count", "mqtt = [\"s/+\"]"), COUNTER)]);
    bench
        .event("s/a", "")
        .event("s/b", "")
        .event("s/a", "not json")
        .event("elsewhere", "");
    bench.expect(&["0 out/count/a 1", "0 out/count/b 1", "0 out/count/a 2"]);
    assert_eq!(
        (bench.ledger("count").received, bench.mill.unrouted()),
        (3, 1)
    );
}

#[test]
fn a_fault_leaves_no_trace_and_the_next_event_is_worked_on() {
    let mut bench = Bench::new(&[(rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE)]);
    bench.event("s/a", r#"{"t":-1}"#);
    let active = &bench.mill.rules[0];
    assert!(active.keys.sorted().is_empty() && !active.keys.is_changed());
    bench
        .event("s/a", r#"{"t":666}"#)
        .event("s/a", r#"{"t":"x"}"#)
        .event("s/a", "{")
        .event("s/a", r#"{"t":1}"#);
    bench.expect(&[
        "0 fragile dead: trapped: wasm `unreachable` instruction executed",
        "0 fragile dead: out of fuel after 1000144 units",
        "0 fragile dead: input t (/t) is a string, not a number",
        "0 fragile dead: payload is not valid JSON: EOF while parsing an object at line 1 column 1",
        "0 out/fragile/a {\"t\":1}",
    ]);
    assert_eq!(
        (
            bench.ledger("fragile").dead,
            bench.ledger("fragile").emitting
        ),
        (4, 1)
    );
}

#[test]
fn five_faults_in_a_minute_quarantine_a_rule_and_not_its_neighbours() {
    let mut bench = Bench::new(&[
        (rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE),
        (rule("count", "mqtt = [\"s/+\"]"), COUNTER),
    ]);
    for _ in 0..5 {
        bench.event("s/a", r#"{"t":-1}"#);
    }
    assert!(
        bench.said.ends_with("fragile quarantined\n"),
        "{}",
        bench.said
    );
    bench.said.clear();
    bench.at(1_000).event("s/a", r#"{"t":1}"#);
    bench.expect(&[
        "1000 out/count/a 6",
        "1000 fragile dead: rule is quarantined",
    ]);
    bench.at(300_000).event("s/a", r#"{"t":1}"#);
    bench.expect(&["300000 out/count/a 7", "300000 out/fragile/a {\"t\":1}"]);
}

#[test]
fn a_quarantine_makes_a_hundred_dead_letters_and_counts_what_comes_after() {
    let mut bench = Bench::new(&[(rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE)]);
    for _ in 0..5 {
        bench.event("s/a", r#"{"t":-1}"#);
    }
    bench.said.clear();
    for _ in 0..150 {
        bench.event("s/a", r#"{"t":1}"#);
    }
    assert_eq!(bench.said.lines().count(), 100, "{}", bench.said);
    bench.said.clear();
    let ledger = bench.ledger("fragile");
    assert_eq!((ledger.dead, ledger.received), (105, 155));
    assert_eq!(ledger.dropped.get("quarantined"), Some(&50));
    assert!(ledger.balances());
    // The next quarantine tells again.
    bench.at(300_000);
    for _ in 0..6 {
        bench.event("s/a", r#"{"t":-1}"#);
    }
    assert!(
        bench
            .said
            .ends_with("fragile quarantined\n300000 fragile dead: rule is quarantined\n"),
        "{}",
        bench.said
    );
}

#[test]
fn timers_and_windows_wait_for_the_end_of_a_quarantine() {
    // The second event of a pane is a fault, so that one key has the rule at rest with a pane and a timer open.
    let fragile = r#"(module
        (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
        (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
        (import "tidemill1" "reg_set" (func $set (param i32 f64)))
        (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
        (func (export "on_event") (result i32)
            (if (f64.gt (call $get (i32.const 0)) (f64.const 0)) (then (unreachable)))
            (call $set (i32.const 0) (f64.const 1))
            (drop (call $timer (i32.const 5) (i64.const 100)))
            (i32.const 0))
        (func (export "on_timer") (param i32) (result i32)
            (drop (call $emit (i32.const 0) (f64.const 5))) (i32.const 0))
        (func (export "on_window") (result i32)
            (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0))
        (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"slots\":1}}"))"#;
    let mut bench = Bench::new(&[(rule("fragile", "mqtt = [\"s/+\"]"), fragile)]);
    for _ in 0..6 {
        bench.event("s/a", "");
    }
    assert!(
        bench.said.ends_with("fragile quarantined\n"),
        "{}",
        bench.said
    );
    bench.said.clear();
    bench.at(299_999).expect(&[]);
    bench
        .at(300_000)
        .expect(&["300000 out/fragile/a 5", "300000 out/fragile/a 1"]);
}

#[test]
fn an_event_that_is_too_big_for_a_function_does_not_quarantine_it() {
    let refuses = r#"(module
        (func (export "on_event") (result i32) (i32.const -3))
        (@custom "tidemill.manifest" "{\"abi\":1}"))"#;
    let mut bench = Bench::new(&[(rule("narrow", "mqtt = [\"s/+\"]"), refuses)]);
    for _ in 0..6 {
        bench.event("s/a", "");
    }
    bench.expect(&["0 narrow dead: the function answered the error -3"; 6]);
    let ledger = bench.ledger("narrow");
    assert!(ledger.dead == 6 && ledger.balances());
}

#[test]
fn payloads_that_no_function_asked_for_do_not_quarantine() {
    let mut bench = Bench::new(&[(rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE)]);
    for _ in 0..20 {
        bench.event("s/a", "rubbish");
    }
    bench.said.clear();
    bench
        .event("s/a", r#"{"t":1}"#)
        .expect(&["0 out/fragile/a {\"t\":1}"]);
}

#[test]
fn timers_fire_once_at_their_time_and_can_be_armed_again() {
    let mut bench = Bench::new(&[(rule("timer", "mqtt = [\"s/+\"]"), TIMER)]);
    bench
        .event("s/a", "")
        .at(50)
        .event("s/a", "")
        .event("s/b", "");
    bench.at(149).expect(&[]);
    bench
        .at(1_000)
        .expect(&["150 out/timer/a 1", "150 out/timer/b 1"]);
    bench
        .event("s/a", "")
        .at(2_000)
        .expect(&["1100 out/timer/a 2"]);
    assert_eq!(bench.ledger("timer").absorbed, 4);
}

#[test]
fn what_falls_due_at_a_moment_comes_before_an_event_of_that_moment() {
    let mut bench = Bench::new(&[(rule("timer", "mqtt = [\"s/+\"]"), TIMER)]);
    bench.event("s/a", "");
    bench.go(10_100);
    bench.event("s/a", "").expect(&["100 out/timer/a 1"]);
    bench.at(200).expect(&["200 out/timer/a 2"]);
}

#[test]
fn panes_fire_per_key_in_order_and_only_with_events_in_them() {
    let mut bench = Bench::new(&[(rule("panes", "mqtt = [\"s/+\"]"), PANES)]);
    bench
        .at(100)
        .event("s/b", "")
        .event("s/a", "")
        .event("s/b", "");
    bench.at(999).expect(&[]);
    bench
        .at(1_000)
        .expect(&["1000 out/panes/a 101", "1000 out/panes/b 102"]);
    bench
        .event("s/a", "")
        .at(5_000)
        .expect(&["2000 out/panes/a 201"]);
    bench
        .at(5_500)
        .event("s/b", "")
        .at(6_000)
        .expect(&["6000 out/panes/b 201"]);
    assert_eq!(
        (
            bench.ledger("panes").absorbed,
            bench.ledger("panes").emissions
        ),
        (5, 4)
    );
}

/// Fails on an empty payload, else counts in the pane and tells at once how many came before.
const TELLING_PANES: &str = r#"(module
    (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (if (i64.eqz (call $ev (i32.const 4))) (then (unreachable)))
        (drop (call $emit (i32.const 0) (f64.convert_i64_s (call $ev (i32.const 8))))) (i32.const 0))
    (func (export "on_window") (result i32)
        (drop (call $emit (i32.const 0) (f64.convert_i64_s (i64.add (i64.const 100) (call $ev (i32.const 8))))))
        (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"slots\":1}}"))"#;

#[test]
fn an_event_that_sends_something_is_folded_too() {
    let mut bench = Bench::new(&[(rule("tell", "mqtt = [\"s/+\"]"), TELLING_PANES)]);
    bench
        .event("s/a", "x")
        .event("s/a", "x")
        .expect(&["0 out/tell/a 0", "0 out/tell/a 1"]);
    bench.at(1_000).expect(&["1000 out/tell/a 102"]);
}

#[test]
fn an_event_that_fails_displaces_no_key_from_a_pane() {
    let manifest = rule("tell", "mqtt = [\"s/+\"]") + "[limits]\nkeys = 1\n";
    let mut bench = Bench::new(&[(manifest, TELLING_PANES)]);
    bench.event("s/a", "x").event("s/b", "").said.clear();
    assert_eq!(bench.ledger("tell").keys_evicted, 0);
    bench.at(1_000).expect(&["1000 out/tell/a 101"]);
}

#[test]
fn schedules_run_their_rule_without_an_event() {
    let on = "schedule = [\"*/2 * * * * *\", \"every 3s\"]";
    let mut bench = Bench::new(&[(rule("count", on), COUNTER)]);
    bench.at(6_500).expect(&[
        "2000 out/count/schedule 1",
        "3000 out/count/schedule 2",
        "4000 out/count/schedule 3",
        "6000 out/count/schedule 4",
        "6000 out/count/schedule 5",
    ]);
}

#[test]
fn a_clock_that_was_set_repeats_no_slot_and_makes_up_for_one() {
    let mut bench = Bench::new(&[(rule("count", "schedule = [\"0 * * * * *\"]"), COUNTER)]);
    // 1,700,000,000 is 20 s after a full minute.
    bench.at(40_000).expect(&["40000 out/count/schedule 1"]);
    bench.now.wall_ms -= 30_000;
    bench.step(Input::Tick);
    bench.at(70_500).expect(&[]);
    bench.now.wall_ms += 3_600_000;
    bench.step(Input::Tick);
    bench.expect(&["70500 out/count/schedule 2"]);
    bench.now.wall_ms += 86_400_000;
    bench.step(Input::Tick);
    bench.expect(&[]);
}

#[test]
fn copies_of_overlapping_subscriptions_and_retained_ones_count_once() {
    let rules = [
        (rule("both", "mqtt = [\"s/+\", \"+/a\"]"), COUNTER),
        (rule("kept", "retained = true\nmqtt = [\"s/#\"]"), COUNTER),
    ];
    let mut bench = Bench::new(&rules);
    let ids = subscriptions(&bind(&rules), &[]);
    let [one, two, three] = [ids[0].id, ids[1].id, ids[2].id];
    let copy = |id, retained| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), "", 0);
        event.subscriptions = SubscriptionIds::One(id);
        event.retained = retained;
        event
    };
    bench.step(Input::Events(vec![
        copy(one, false),
        copy(two, false),
        copy(three, false),
    ]));
    let mut said: Vec<_> = bench.said.lines().collect();
    said.sort_unstable();
    assert_eq!(said, ["0 out/both/a 1", "0 out/kept/a 1"]);
    bench.said.clear();
    bench.step(Input::Events(vec![
        copy(one, true),
        copy(two, true),
        copy(three, true),
    ]));
    bench.expect(&["0 out/kept/a 2"]);
    let mut merged = copy(0, false);
    merged.subscriptions = SubscriptionIds::Many([three, two, one].into());
    bench.step(Input::Events(vec![merged]));
    bench.expect(&["0 out/both/a 2", "0 out/kept/a 3"]);
}

#[test]
fn a_key_that_cannot_stand_in_a_topic_is_a_dead_letter_and_changes_nothing() {
    let manifest = rule("count", "mqtt = [\"s/+\"]").replace("{topic.1}", "/device");
    let mut bench = Bench::new(&[(manifest, COUNTER)]);
    for payload in [
        r#"{"device":"a/b"}"#,
        r#"{"device":"+"}"#,
        r#"{"device":3.5}"#,
        "{}",
        r#"{"device":""}"#,
    ] {
        bench.event("s/x", payload);
    }
    let dead = std::mem::take(&mut bench.said);
    assert_eq!(dead.matches("dead: key").count(), 5, "{dead}");
    bench
        .event("s/x", r#"{"device":"a"}"#)
        .event("s/x", r#"{"device":7}"#);
    bench.expect(&["0 out/count/a 1", "0 out/count/7 1"]);
}

#[test]
fn state_carries_over_to_a_new_deployment() {
    let rules = |name: &str| vec![(rule(name, "mqtt = [\"s/+\"]"), COUNTER)];
    let mut bench = Bench::new(&rules("count"));
    bench.event("s/a", "").event("s/a", "");
    bench.deploy(&rules("count"));
    bench.event("s/a", "");
    bench.deploy(&rules("other"));
    bench.event("s/a", "");
    bench.expect(&[
        "0 out/count/a 1",
        "0 out/count/a 2",
        "0 out/count/a 3",
        "0 out/other/a 1",
    ]);
}

#[test]
fn a_new_schema_is_migrated_or_refused() {
    let schema = |n: i32, handler: &str| {
        let manifest =
            format!("{{\\\"abi\\\":1,\\\"state\\\":{{\\\"schema\\\":{n},\\\"slots\\\":1}}}}");
        COUNTER
            .replace("{\\\"abi\\\": 1}", &manifest)
            .replace("(@custom", &format!("{handler} (@custom"))
    };
    let manifest = rule("count", "mqtt = [\"s/+\"]");
    let migrate = "(func (export \"migrate\") (param i32) (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 100))) (i32.const 0))";
    let mut bench = Bench::new(&[(manifest.clone(), &schema(1, ""))]);
    bench.event("s/a", "");
    let refused = bind(&[(manifest.clone(), &schema(2, ""))]);
    let deployment = Deployment {
        rules: refused,
        ..Deployment::default()
    };
    let error = bench
        .mill
        .deploy(bench.now, deployment, &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("schema 1, the function expects 2"),
        "{error}"
    );
    bench.event("s/a", "");
    bench.deploy(&[(manifest, &schema(2, migrate))]);
    bench.event("s/a", "");
    bench.expect(&["0 out/count/a 1", "0 out/count/a 2", "0 out/count/a 103"]);
}

#[test]
fn more_keys_than_the_limit_cost_the_oldest_and_are_counted() {
    let manifest = rule("count", "mqtt = [\"s/+\"]") + "[limits]\nkeys = 10\n";
    let mut bench = Bench::new(&[(manifest, COUNTER)]);
    for n in 0..1_000 {
        bench.event(&format!("s/k{n}"), "");
    }
    assert_eq!(bench.ledger("count").keys_evicted, 990);
    bench.said.clear();
    bench
        .event("s/k999", "")
        .event("s/k0", "")
        .expect(&["0 out/count/k999 2", "0 out/count/k0 1"]);
}

#[test]
fn the_same_inputs_give_the_same_state_and_outputs() {
    let run = || {
        let mut bench = Bench::new(&[
            (
                rule("count", "mqtt = [\"s/#\"]\nschedule = [\"every 1s\"]"),
                COUNTER,
            ),
            (rule("fragile", "mqtt = [\"s/+\"]"), FRAGILE),
            (rule("panes", "mqtt = [\"s/+\"]"), PANES),
            (rule("timer", "mqtt = [\"+/+\"]"), TIMER),
        ]);
        let mut seed = 42_u64;
        for n in 0..3_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let device = seed >> 59;
            bench.at(n * 7).event(
                &format!("s/d{device}"),
                &format!("{{\"t\":{}}}", (seed >> 33) % 700),
            );
        }
        (bench.mill.state_hash(), std::mem::take(&mut bench.said))
    };
    let (first, second) = (run(), run());
    assert!(first.1.lines().count() > 3_000);
    assert_eq!(first, second);
}

#[test]
fn a_topic_of_one_level_may_be_a_key_and_a_silent_function_needs_no_port() {
    let manifest = rule("count", "mqtt = [\"demo\"]").replace("key = \"{topic.1}\"\n", "");
    let silent = "(module (func (export \"on_event\") (result i32) (i32.const 1)))";
    let without_ports =
        "name = \"quiet\"\n[on]\nmqtt = [\"#\"]\n[function]\nwasm = \"quiet.wasm\"\n";
    let mut bench = Bench::new(&[(manifest, COUNTER), (without_ports.to_owned(), silent)]);
    bench.event("demo", "").expect(&["0 out/count/demo 1"]);
    assert_eq!(bench.ledger("quiet").filtered, 1);
}

#[test]
fn a_filter_that_was_held_without_an_identifier_gets_one() {
    let rules = bind(&[(rule("count", "mqtt = [\"s/+\", \"t\"]"), COUNTER)]);
    let held = |id, filter| tidemill_transport::topic::Subscription {
        id,
        filter: tidemill_transport::topic::TopicFilter::new(filter).unwrap(),
    };
    let wanted = subscriptions(&rules, &[held(0, "s/+"), held(1, "t")]);
    assert_eq!(wanted, [held(1_154_149, "s/+"), held(1, "t")]);
    // It hangs on nothing but the filter, unless that number is taken.
    assert_eq!(subscriptions(&rules, &[])[0], wanted[0]);
    let other = subscriptions(&rules, &[held(1_154_149, "x")]);
    assert_eq!(other[0], held(1_154_150, "s/+"));
}

#[test]
fn a_filter_that_comes_to_a_rule_never_takes_the_place_of_one_that_it_had() {
    let one = |filters: &str| [(rule("count", &format!("mqtt = [{filters}]")), COUNTER)];
    let before = one("\"s/+\", \"+/a\"");
    let after = one("\"+/+\", \"+/a\", \"s/#\", \"s/+\"");
    let mut bench = Bench::new(&before);
    let held = subscriptions(&bind(&before), &[]);
    let wanted = subscriptions(&bind(&after), &held);
    assert_eq!(wanted[..2], held);
    // A message of which one copy comes before the deployment, and the others after it.
    let copy = |at: usize| {
        let mut event = Event::new(Topic::new("s/a").unwrap(), "", 0);
        event.subscriptions = SubscriptionIds::One(wanted[at].id);
        event
    };
    bench.step(Input::Events(vec![copy(0)]));
    bench.expect(&["0 out/count/a 1"]);
    let deployment = Deployment {
        rules: bind(&after),
        subscriptions: wanted.clone(),
    };
    let now = bench.now;
    bench.mill.deploy(now, deployment, &mut Vec::new()).unwrap();
    bench.step(Input::Events((1..4).map(copy).collect()));
    bench.expect(&[]);
}

#[test]
fn reading_the_rules_again_does_not_put_a_period_off() {
    let rules = [(rule("count", "schedule = [\"every 10s\"]"), COUNTER)];
    let mut bench = Bench::new(&rules);
    bench.at(10_000).expect(&["10000 out/count/schedule 1"]);
    bench.at(16_000).deploy(&rules);
    bench.at(20_000).expect(&["20000 out/count/schedule 2"]);
}

#[test]
fn a_slot_run_by_a_clock_that_was_years_ahead_holds_nothing_up() {
    let rules = [(rule("count", "schedule = [\"0 * * * * *\"]"), COUNTER)];
    let mut bench = Bench::new(&rules);
    bench.at(40_000).expect(&["40000 out/count/schedule 1"]);
    bench.now.wall_ms -= 365 * 86_400_000;
    bench.step(Input::Tick);
    bench.at(100_000).expect(&["100000 out/count/schedule 2"]);
}
