//! Rules, modules, events and arguments that are foul, as the commands for rules show them.

use serde_json::Value;
use tidemill_tests::{Gateway, run};

use super::foul::{self, FOUL, FoulBroker};
use super::{FORGED, TRAP, check_ran, check_text, in_toml, in_wat, loud};
use crate::support::rule;

#[test]
fn commands_show_rules_and_events_that_are_foul_as_what_they_are() {
    let gateway = Gateway::new(1, "");
    let dir = gateway.path("");
    let file = |name: &str, text: &str| std::fs::write(gateway.path(name), text).unwrap();
    let event = |topic: &str, payload: Value| {
        let event =
            serde_json::json!({ "at": 1_700_000_000_000_i64, "topic": topic, "payload": payload });
        format!("{event}\n")
    };
    let foul_name = format!("{}x", FOUL.replace('/', ""));
    let value = serde_json::json!({ "device": FOUL, FOUL: 1, "n": 1 });
    let events = event(&format!("in/{FOUL}"), value.clone()) + &event("in/x", value);
    file("events.jsonl", &events);
    file(
        "wrong.jsonl",
        &format!("{{\"at\":1,\"port\":\"{}\"}}\n", "p"),
    );
    file(
        "broken.jsonl",
        &format!("{{\"at\":1,\"topic\":\"{FORGED}\r\u{1b}\n"),
    );
    file(
        "pass.sql",
        &format!("SELECT device, n, \"{FOUL}\" AS x FROM \"in/#\""),
    );
    file(
        "silent.sql",
        "SELECT device FROM \"in/#\" WHERE missing > 1",
    );
    file(
        "broken.sql",
        &format!("SELECT \"{FOUL}\"\n{FORGED} x\u{1b}[2J\u{202e}( FROM"),
    );
    file(
        &format!("{foul_name}.sql"),
        &format!("SELECT uper(\"{FOUL}\") FROM \"in/#\""),
    );
    gateway.module("loud", &loud());
    gateway.module("trap", TRAP);
    for name in ["loud", "trap"] {
        gateway.rule(
            name,
            &rule("\"in/#\"", &format!("wasm = \"{name}.wasm\""), "out/{key}"),
        );
    }
    let foul_sql = format!("{foul_name}.sql");
    let (name, key) = (in_wat(FOUL), in_toml(FOUL));
    let handler = "(func (export \"on_event\") (result i32) (i32.const 1))";
    gateway.module(
        "exports",
        &format!("(module (func (export \"{name}\")) {handler})"),
    );
    gateway.module(
        "imports",
        &format!("(module (import \"{name}\" \"{name}\" (func)) {handler})"),
    );
    for name in ["exports", "imports"] {
        let function = format!("wasm = \"{name}.wasm\"");
        gateway.rule(name, &rule("\"in/#\"", &function, "out/x"));
    }
    let plain = "wasm = \"loud.wasm\"";
    let foul_key = format!("[\"{key}\"]\nx = 1\n");
    gateway.rule("keys", &(rule("\"in/#\"", plain, "out/x") + &foul_key));
    gateway.rule(
        "filters",
        &rule(&format!("\"in/{key}\""), plain, &format!("out/{key}")),
    );
    let all: [&[&str]; 21] = [
        &["rule", "test", "pass.sql", "--events", "events.jsonl"],
        &[
            "rule",
            "test",
            "pass.sql",
            "--events",
            "events.jsonl",
            "--array",
        ],
        &[
            "rule",
            "test",
            "pass.sql",
            "--events",
            "events.jsonl",
            "--expect",
            "wrong.jsonl",
        ],
        &["rule", "test", "silent.sql", "--events", "events.jsonl"],
        &[
            "rule",
            "test",
            "rules/loud.toml",
            "--events",
            "events.jsonl",
        ],
        &[
            "rule",
            "test",
            "rules/trap.toml",
            "--events",
            "events.jsonl",
        ],
        &["rule", "test", "pass.sql", "--events", "broken.jsonl"],
        &["rule", "test", "pass.sql", "--events", &foul_name],
        &["rule", "explain", "pass.sql"],
        &["rule", "build", "pass.sql"],
        &["rule", "build", "broken.sql"],
        &["rule", "build", &foul_sql],
        &["rule", "explain", "rules/exports.toml"],
        &["rule", "build", "rules/imports.toml"],
        &["rule", "build", "rules/keys.toml"],
        &["rule", "build", "rules/filters.toml"],
        &["rule", "next", FOUL],
        &["init", &foul_name],
        &["rule", "new", &foul_name],
        &["rule", "test", "pass.sql", FOUL],
        &["inspect", FOUL],
    ];
    for words in all {
        let ran = run(&dir, words);
        check_ran(&ran, &format!("{words:?}"));
        assert!(!ran.out.is_empty() || !ran.err.is_empty(), "{words:?}");
    }
    // The results are what was expected, whatever they are.
    let came = run(&dir, all[0]);
    file("expected.jsonl", &came.out);
    let line: Value = serde_json::from_str(came.out.lines().next().unwrap()).unwrap();
    assert_eq!(line["payload"]["device"], FOUL);
    let again = run(&dir, &[all[0], &["--expect", "expected.jsonl"]].concat());
    assert_eq!(again.code, Some(0), "{again:?}");
}

#[test]
fn a_live_sample_shows_what_is_foul_as_what_it_is_and_records_it_so() {
    let broker = FoulBroker::start();
    let gateway = Gateway::new(1, "");
    gateway.module("loud", &loud());
    gateway.rule("loud", &rule("\"in/#\"", "wasm = \"loud.wasm\"", "out/x"));
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let count = foul::EVENTS.to_string();
    let words = [
        "rule",
        "run",
        "rules/loud.toml",
        "--broker",
        &url,
        "--count",
        &count,
        "--record",
        "sample.jsonl",
    ];
    let ran = run(&gateway.path(""), &words);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    check_ran(&ran, "rule run");
    let sample = std::fs::read_to_string(gateway.path("sample.jsonl")).unwrap();
    check_text(&sample, "the recording");
    let words = [
        "rule",
        "test",
        "rules/loud.toml",
        "--events",
        "sample.jsonl",
    ];
    let again = run(&gateway.path(""), &words);
    let payloads = |out: &str| -> Vec<Value> {
        let lines = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["payload_base64"].clone()).collect()
    };
    assert_eq!(payloads(&again.out), payloads(&ran.out), "{again:?}");
}
