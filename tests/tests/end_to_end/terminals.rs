//! Bytes from outside that a terminal would obey and a log would take for lines of its own: in topics,
//! keys, payloads, properties, the words of brokers and HTTP endpoints, function logs, names of files and
//! arguments. Whatever shows them shows what they are.

mod foul;
mod rules;

use std::process::Command;

use serde_json::Value;
use tidemill_tests::{COUNTER, Gateway, Ran, run, tidemill, wait_until};

use self::foul::{FOUL, FoulBroker, FoulEndpoint};
use crate::support::{PASS, rule};

/// The beginning of a line that somebody from outside would like to see in a log.
const FORGED: &str = "FORGED";

/// Checks that a text is nothing but visible characters and ends of lines, and that no line is forged.
#[track_caller]
fn check_text(text: &str, from: &str) {
    let foul = |c: char| {
        c != '\n'
            && (c.is_control() || "\u{202e}\u{2066}\u{2028}\u{2029}\u{200b}\u{feff}".contains(c))
    };
    let found = text.lines().find(|line| line.contains(foul));
    assert_eq!(found, None, "{from}");
    let forged = text.lines().find(|line| line.starts_with(FORGED));
    assert_eq!(forged, None, "{from}:\n{text}");
}

#[track_caller]
fn check_ran(ran: &Ran, from: &str) {
    check_text(&ran.out, &format!("{from}, standard output"));
    check_text(&ran.err, &format!("{from}, standard error"));
}

/// The text as bytes of a data segment in a module.
fn in_wat(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect()
}

/// The text as characters in TOML.
fn in_toml(text: &str) -> String {
    let escaped = text.chars().map(|c| format!("\\U{:08x}", u32::from(c)));
    escaped.collect()
}

/// Says something foul at each event, and passes it on.
fn loud() -> String {
    let said = format!("said: {FOUL}");
    let (data, length) = (in_wat(&said), said.len());
    format!(
        r#"(module (import "tidemill1" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 1) (data (i32.const 0) "{data}")
      (func (export "on_event") (result i32)
        (call $log (i32.const 1) (i32.const 0) (i32.const {length})) (i32.const 1)))"#
    )
}

const TRAP: &str = r#"(module (func (export "on_event") (result i32) unreachable))"#;

/// A gateway whose broker, devices, functions and destinations are all foul.
fn foul_gateway(broker: &FoulBroker, endpoint: &FoulEndpoint) -> Gateway {
    let lines = format!(
        "[recorder]\ndisk = \"1 MiB\"\n[destinations.cloud]\nurl = \"http://127.0.0.1:{}/\"\n",
        endpoint.port()
    );
    let gateway = Gateway::new(broker.port(), &lines);
    for (name, module, topic) in [
        ("loud", &*loud(), "out/fixed"),
        ("keyed", PASS, "out/{key}"),
        ("count", COUNTER, "out/fixed"),
        ("trap", TRAP, "out/fixed"),
        ("up", PASS, "out/fixed"),
    ] {
        gateway.module(name, module);
        let text = rule("\"in/#\"", &format!("wasm = \"{name}.wasm\""), topic);
        let to = if name == "up" { "cloud" } else { "local" };
        gateway.rule(name, &text.replace("\"local\"", &format!("{to:?}")));
    }
    gateway
}

/// Every command that looks at a gateway; `state get` has a key besides.
const LOOKING: [&str; 14] = [
    "inspect health",
    "inspect rules",
    "inspect events",
    "inspect ledger",
    "inspect outbox",
    "inspect journal",
    "inspect pond",
    "inspect state-hash",
    "dead-letters list",
    "event-ids list",
    "state list count",
    "state list loud",
    "check",
    "check --offline",
];

/// Calls all of them, as text and as JSON, and checks what they show.
#[track_caller]
fn check_commands(gateway: &Gateway, when: &str) {
    for command in LOOKING {
        check_ran(&gateway.tidemill(command), &format!("{command} {when}"));
        if command.starts_with("check") {
            continue;
        }
        let json = gateway.tidemill(&format!("{command} --json"));
        check_ran(&json, &format!("{command} --json {when}"));
        if json.code == Some(0) && command != "inspect events" {
            let _: Value = serde_json::from_str(&json.out).unwrap();
        }
    }
    let words = ["state", "get", "count", FOUL, "--config", "agent.toml"];
    let got = run(&gateway.path(""), &words);
    check_ran(&got, &format!("state get {when}"));
    let letters = gateway.tidemill("dead-letters list --json");
    let letters: Vec<Value> = serde_json::from_str(&letters.out).unwrap();
    assert!(letters.len() >= 4, "{letters:#?}");
    for letter in &letters {
        let seq = &letter["seq"];
        for form in ["", " --json"] {
            let shown = gateway.tidemill(&format!("dead-letters show {seq}{form}"));
            assert_eq!(shown.code, Some(0), "{shown:?}");
            check_ran(&shown, &format!("dead-letters show{form} {when}"));
        }
    }
    let all = serde_json::to_string(&letters).unwrap();
    for word in ["topic says", "puback says", "payload says"] {
        assert!(all.contains(word), "no {word} in {all}");
    }
    // Whoever wants the bytes is given them.
    let of_trap = |letter: &&Value| letter["rule"] == "trap" && letter["lane"].is_null();
    let letter = letters.iter().find(of_trap).unwrap();
    let raw = Command::new(tidemill())
        .args(["dead-letters", "show", &letter["seq"].to_string(), "--raw"])
        .args(["--config", "agent.toml"])
        .current_dir(gateway.path(""))
        .output()
        .unwrap();
    assert_eq!(raw.stdout, foul::payload().as_bytes(), "{raw:?}");
}

/// Checks a log: its text, and that each line was begun by the agent.
fn check_log(log: &[String], is_json: bool) {
    check_text(&log.join("\n"), "the log");
    for line in log {
        if is_json {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
            assert!(
                line["level"].is_string() && line["message"].is_string(),
                "{line}"
            );
            let pause = line.get("retry_in_ms");
            assert!(pause.is_none_or(Value::is_u64), "{line}");
        } else {
            let (date, rest) = line.split_at(4);
            assert!(
                date.starts_with("20") && rest.starts_with('-'),
                "no date: {line}"
            );
        }
    }
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("said: "), foul::EVENTS, "{}", log.join("\n"));
    for word in ["body says", "puback says", "name says"] {
        assert!(count(word) > 0, "nothing of {word:?}:\n{}", log.join("\n"));
    }
}

fn check_gateway(format: &str) {
    let (broker, endpoint) = (FoulBroker::start(), FoulEndpoint::start());
    let mut gateway = foul_gateway(&broker, &endpoint);
    gateway.argument("--log-format");
    gateway.argument(format);
    gateway.variable("TIDEMILL_LOG", "debug");
    gateway.run();
    gateway.until_logged_times("said: ", foul::EVENTS);
    gateway.until_logged("trapped");
    gateway.until_logged("body says");
    let letters = || gateway.tidemill("dead-letters list --json").out;
    wait_until(
        || letters().contains("puback says"),
        || format!("dead letters are missing: {}", letters()),
    );
    check_commands(&gateway, "beside a running agent");
    // A file may be called anything, and hold anything.
    let name = format!("rules/name says {}.toml", FOUL.replace('/', ""));
    std::fs::write(gateway.path(&name), format!("name = \"{FORGED}\n")).unwrap();
    gateway.signal("HUP");
    gateway.until_logged("rules are not changed");
    check_ran(&gateway.tidemill("check"), "check of a foul file");
    std::fs::remove_file(gateway.path(&name)).unwrap();
    broker.hang_up();
    gateway.until_logged("does not let this client in");
    check_commands(&gateway, "without a connection");
    let log = gateway.stop();
    check_log(&log, format == "json");
    check_commands(&gateway, "after a stop");
}

#[test]
fn nothing_from_outside_forges_a_line_of_a_log_in_text() {
    check_gateway("text");
}

#[test]
fn nothing_from_outside_forges_a_line_of_a_log_in_json() {
    check_gateway("json");
}

#[test]
fn an_agent_that_does_not_start_says_why_in_the_format_of_its_log() {
    let mut gateway = Gateway::new(1, "");
    gateway.argument("--log-format");
    gateway.argument("json");
    gateway.rule("r", &format!("no such key\n# {FOUL}\n"));
    let check = |gateway: &Gateway| {
        let (code, log) = gateway.run_another();
        assert_eq!(code, Some(2), "{log}");
        check_text(&log, "run");
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "ERROR", "{line}");
        }
        assert!(!log.is_empty());
    };
    check(&gateway);
    gateway.reconfigure("id = \"gw\"", &format!("id = \"{}\"", in_toml(FOUL)));
    check(&gateway);
}
