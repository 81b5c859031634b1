//! Births of Sparkplug B: what is kept of them, where it lasts, and what goes.

use super::durable::Gateway;
use super::*;
use crate::event::payload::sparkplug::births;
use crate::event::state::births::told as told_of;
use crate::event::state::entry_bytes;

/// A rule that reads Sparkplug B and sends each metric.
fn plant(more: &str, sql: &str) -> (String, &'static str) {
    let rule = format!(
        "name = \"plant\"\n[streams.plant]\nmqtt = [\"spBv1.0/#\"]\npayload = \"sparkplug\"\n{more}\
         [function]\nsql = \"{sql}\"\n[ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    (rule, "(module)")
}

const ALL: &str = "SELECT * EXCEPT (sparkplug) FROM plant";

const NODE: &str = "spBv1.0/G/NBIRTH/N";
const BIRTH: &str = "spBv1.0/G/DBIRTH/N/D";
const DATA: &str = "spBv1.0/G/DDATA/N/D";

/// A message of metrics, each with name, alias and a truth value. Its bytes are text, as tests send it.
fn message(metrics: &[(&str, Option<u8>, bool)]) -> String {
    let mut all = Vec::new();
    for (name, alias, value) in metrics {
        let mut metric = Vec::new();
        if !name.is_empty() {
            metric.extend([0x0a, u8::try_from(name.len()).unwrap()]);
            metric.extend(name.as_bytes());
        }
        metric.extend(alias.iter().flat_map(|alias| [0x10, *alias]));
        metric.extend([0x70, u8::from(*value)]);
        all.extend([0x12, u8::try_from(metric.len()).unwrap()]);
        all.extend(metric);
    }
    String::from_utf8(all).unwrap()
}

fn unknown(alias: u8, why: &str) -> String {
    format!(
        "alias {alias} of G/N/D is not known: {why}. Ask for a birth by Device Control/Rebirth or Node Control/Rebirth"
    )
}

const NOT_TOLD: &str = "the DBIRTH of G/N/D did not tell of it";
const NOT_HEARD: &str = "no DBIRTH of G/N/D was heard; the rule has to subscribe to them";

#[test]
fn data_is_read_by_the_birth_that_was_heard_last() {
    let mut bench = Bench::new(&[plant("", ALL)]);
    let data = message(&[("", Some(7), true)]);
    bench.event(DATA, &data);
    bench.event(BIRTH, &message(&[("run", Some(7), false)]));
    bench.event(DATA, &data);
    bench.event(BIRTH, &message(&[("open", Some(7), false)]));
    bench
        .event(DATA, &data)
        .event(DATA, &message(&[("", Some(8), true)]));
    // Another device's births say nothing of this one, and a death takes nothing back.
    bench.event(
        "spBv1.0/G/DBIRTH/N/E",
        &message(&[("other", Some(7), true)]),
    );
    bench.event("spBv1.0/G/DDEATH/N/D", &message(&[("bye", None, true)]));
    bench.event(DATA, &data);
    // A node that is born again has to hear of its devices again.
    bench.event(NODE, &message(&[("bdSeq", None, true)]));
    bench.event(DATA, &data);
    let dead = |why: &str| format!("0 plant dead: {why}");
    bench.expect(&[
        &dead(&unknown(7, NOT_HEARD)),
        r#"0 out {"run":false}"#,
        r#"0 out {"run":true}"#,
        r#"0 out {"open":false}"#,
        r#"0 out {"open":true}"#,
        &dead(&unknown(8, NOT_TOLD)),
        r#"0 out {"other":true}"#,
        r#"0 out {"bye":true}"#,
        r#"0 out {"open":true}"#,
        r#"0 out {"bdSeq":true}"#,
        &dead(&unknown(7, NOT_HEARD)),
    ]);
}

#[test]
fn a_birth_lasts_from_its_commit_on() {
    // The statement fails on the birth: what was heard is kept all the same.
    let mut gateway = Gateway::new(&[plant("", "SELECT run FROM plant WHERE run = 5")]);
    gateway.sync();
    gateway.event(1, false, BIRTH, &message(&[("run", Some(7), true)]));
    gateway.after(50).crash();
    gateway.said.clear();
    let data = message(&[("", Some(7), true)]);
    gateway.event(2, false, DATA, &data).after(50).sync();
    assert!(gateway.said.contains(NOT_HEARD), "{}", gateway.said);
    gateway.said.clear();
    // Sent again, because its commit was lost.
    gateway.event(1, true, BIRTH, &message(&[("run", Some(7), true)]));
    gateway.after(50).sync().crash();
    gateway.said.clear();
    gateway.event(3, false, DATA, &data).after(50).sync();
    assert!(!gateway.said.contains("alias"), "{}", gateway.said);
}

#[test]
fn what_waits_is_read_by_the_birth_of_its_time() {
    let time = "timestamp = \"/sparkplug/timestamp\"\n";
    let mut bench = Bench::new(&[plant(time, ALL)]);
    let at = |ms: u64, metrics: &str| {
        // Field 1, a varint of seven bytes at most.
        let mut all = vec![0x08];
        let mut number = 1_700_000_000_000 + ms;
        while number >= 0x80 {
            all.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        all.push(u8::try_from(number).unwrap());
        all.extend(metrics.as_bytes());
        all
    };
    let data = message(&[("", Some(7), true)]);
    for (topic, ms, metrics) in [
        (BIRTH, 1, message(&[("run", Some(7), false)])),
        (DATA, 3, data.clone()),
        (BIRTH, 2, message(&[("open", Some(7), false)])),
        (DATA, 4, data),
    ] {
        let event = Event::new(
            Topic::new(topic).unwrap(),
            at(ms, &metrics),
            bench.now.wall_ms,
        );
        bench.step(Input::Events(vec![event]));
    }
    bench.at(200_000);
    let said = std::mem::take(&mut bench.said);
    let sent = said.lines().filter_map(|line| line.split_once("out "));
    let sent: Vec<_> = sent.map(|(_, payload)| payload).collect();
    let expected = [
        r#"{"run":false}"#,
        r#"{"open":false}"#,
        r#"{"run":true}"#,
        r#"{"open":true}"#,
    ];
    assert_eq!(sent, expected, "{said}");
}

#[test]
fn births_take_half_of_the_state_and_the_oldest_goes_first() {
    let more = "[limits]\nstate_bytes = 8192\n";
    let mut bench = Bench::new(&[plant("", ALL)].map(|(rule, wat)| (rule + more, wat)));
    let name = "x".repeat(90);
    let birth = message(&[(&name, Some(1), true), (&name, Some(2), true)]);
    let data = message(&[("", Some(1), true)]);
    for device in 0..12 {
        bench.event(&format!("spBv1.0/G/DBIRTH/N/{device}"), &birth);
    }
    bench.said.clear();
    bench.event("spBv1.0/G/DDATA/N/11", &data);
    assert!(bench.said.contains("out {"), "{}", bench.said);
    bench.said.clear();
    bench.event("spBv1.0/G/DDATA/N/0", &data);
    assert!(
        bench.said.contains("no DBIRTH of G/N/0 was heard"),
        "{}",
        bench.said
    );
    let evicted = bench.ledger("plant").keys_evicted;
    assert!((1..11).contains(&evicted), "{evicted}");
    // One that is too large by itself takes the place of none, and its own is forgotten.
    bench.said.clear();
    let names: Vec<String> = (0..60).map(|n| format!("{name}{n}")).collect();
    let many: Vec<_> = (1..)
        .zip(&names)
        .map(|(n, name)| (name.as_str(), Some(n), true))
        .collect();
    bench.event("spBv1.0/G/DBIRTH/N/11", &message(&many));
    assert!(
        bench
            .said
            .contains("half of limits.state_bytes is 4096: raise it"),
        "{}",
        bench.said
    );
    bench.said.clear();
    bench
        .event("spBv1.0/G/DDATA/N/11", &data)
        .event("spBv1.0/G/DDATA/N/10", &data);
    assert!(
        bench.said.contains("no DBIRTH of G/N/11 was heard"),
        "{}",
        bench.said
    );
    assert!(bench.said.contains("out {"), "{}", bench.said);
}

#[test]
fn births_at_half_of_the_state_stay_whatever_keys_take() {
    let names: Vec<String> = (0..10).map(|n| format!("{}{n}", "x".repeat(90))).collect();
    let metrics: Vec<_> = (1..)
        .zip(&names)
        .map(|(n, name)| (name.as_str(), Some(n), true))
        .collect();
    let birth = message(&metrics);
    let told = births(birth.as_bytes()).unwrap();
    let told = told_of("G/N/D", 0, &told);
    let bytes: usize = told
        .iter()
        .map(|(name, value)| entry_bytes(name, value))
        .sum();
    let sql = "SELECT run, lag(run) AS before FROM plant WHERE run IS NOT NULL";
    let keyed = "[on]\nkey = \"{topic.4}\"\n";
    for (state_bytes, fits) in [(2 * bytes, true), (2 * bytes - 1, false)] {
        let limits = format!("[limits]\nstate_bytes = {state_bytes}\n");
        let mut bench = Bench::new(&[plant(keyed, sql)].map(|(rule, wat)| (rule + &limits, wat)));
        bench.event(BIRTH, &birth);
        assert_eq!(bench.said.contains("raise it"), !fits, "{}", bench.said);
        if !fits {
            continue;
        }
        for device in 0..200 {
            let topic = format!("spBv1.0/G/DDATA/N/{device}");
            bench.event(&topic, &message(&[("run", None, true)]));
            assert!(bench.mill.rules[0].keys.bytes() <= state_bytes);
        }
        assert_eq!(bench.said.matches("out {").count(), 200, "{}", bench.said);
        assert!(bench.ledger("plant").keys_evicted > 50);
        bench.said.clear();
        // The metrics of the birth are still there.
        bench.event(DATA, &message(&[("", Some(7), true)]));
        bench.event(DATA, &message(&[("", Some(11), true)]));
        let dead = format!("0 plant dead: {}", unknown(11, NOT_TOLD));
        bench.expect(&[&dead]);
    }
}

/// Dead letters so far, and the number of the last.
fn dead_letters(gateway: &Gateway) -> (u64, u64) {
    let shelf = gateway.mill.outbox().unwrap().dead_letters();
    shelf.map_or((0, 0), |shelf| (shelf.counts().made, shelf.last_seq()))
}

#[test]
fn a_birth_that_is_worked_on_once_more_takes_the_place_of_no_later_one() {
    let mut gateway = Gateway::new(&[plant("", "SELECT run FROM plant WHERE run = 5")]);
    gateway.settle();
    gateway.event(1, false, BIRTH, &message(&[("run", Some(7), true)]));
    gateway.after(50).settle();
    let (made, seq) = dead_letters(&gateway);
    assert_eq!(made, 1, "a truth value is no number");
    gateway.event(2, false, BIRTH, &message(&[("open", Some(7), true)]));
    gateway.after(50).settle();
    gateway.step(Input::Redrive(seq)).after(50).settle();
    assert_eq!(dead_letters(&gateway).0, 2, "it fails once more");
    let data = message(&[("", Some(7), true)]);
    gateway.event(3, false, DATA, &data).after(50).settle();
    assert_eq!(dead_letters(&gateway).0, 2, "it is open, and not run");
    // Nor is it another one after a restart.
    gateway.crash().settle();
    gateway.event(4, false, DATA, &data).after(50).settle();
    assert_eq!(dead_letters(&gateway).0, 2);
}

#[test]
fn data_that_came_before_its_birth_can_be_worked_on_after_it() {
    let mut gateway = Gateway::new(&[plant("", ALL)]);
    gateway.settle();
    let data = message(&[("", Some(7), true)]);
    gateway.event(1, false, DATA, &data).after(50).settle();
    let (made, seq) = dead_letters(&gateway);
    assert_eq!(made, 1, "{}", gateway.said);
    // Without a birth it is as it was.
    gateway.step(Input::Redrive(seq)).after(50).settle();
    let (made, seq) = dead_letters(&gateway);
    assert_eq!(made, 2);
    gateway.event(2, false, BIRTH, &message(&[("run", Some(7), false)]));
    gateway.after(50).settle().said.clear();
    gateway.step(Input::Redrive(seq)).after(50).settle();
    assert_eq!(dead_letters(&gateway).0, 2);
    assert!(
        gateway.said.contains(r#"={"run":true}"#),
        "{}",
        gateway.said
    );
}

#[test]
fn a_rule_that_reads_something_else_from_now_on_forgets_births() {
    let mut bench = Bench::new(&[plant("", ALL)]);
    bench.event(BIRTH, &message(&[("run", Some(7), false)]));
    bench.deploy(&[plant("timestamp = \"/sparkplug/timestamp\"\n", ALL)]);
    bench.deploy(&[plant("", ALL)]);
    bench.said.clear();
    bench.event(DATA, &message(&[("", Some(7), true)]));
    bench.expect(&[r#"0 out {"run":true}"#]);
    let (rule, wat) = plant("", ALL);
    bench.deploy(&[(rule.replace("\"sparkplug\"\n", "\"bytes\"\n"), wat)]);
    bench.deploy(&[plant("", ALL)]);
    bench.event(DATA, &message(&[("", Some(7), true)]));
    bench.expect(&[&format!("0 plant dead: {}", unknown(7, NOT_HEARD))]);
}
