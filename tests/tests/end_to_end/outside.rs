//! Payloads of devices, and questions that users of other systems have asked, as cases in
//! `tests/data/outside`: the rule of each on its events gives what is expected.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidemill_tests::run;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/outside");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join("expect.jsonl").exists());
    cases.sort();
    cases
}

fn rule_of(case: &Path) -> &'static str {
    if case.join("rule.toml").exists() {
        "rule.toml"
    } else {
        "rule.sql"
    }
}

/// Why a case does not give what is expected.
fn fault(case: &Path) -> Option<String> {
    let command = ["rule", "test", rule_of(case), "--events", "events.jsonl"];
    let compared = run(
        case,
        &[&command[..], &["--expect", "expect.jsonl"]].concat(),
    );
    if compared.code == Some(0) {
        return None;
    }
    let about = std::fs::read_to_string(case.join("ABOUT.md")).unwrap();
    let ran = run(case, &command);
    let events = std::fs::read_to_string(case.join("events.jsonl")).unwrap();
    let dead = ran.out.lines().filter(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line.get("dead_letter").is_some()
    });
    let all = events
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    let is_allowed = about.contains("or a dead letter for each event");
    if is_allowed && dead.count() == all && ran.out.lines().count() == all {
        None
    } else {
        Some(format!("{}{}", compared.out, compared.err))
    }
}

#[test]
fn cases_from_outside_give_what_is_right() {
    let cases = cases();
    assert_eq!(cases.len(), 30);
    let mut wrong = String::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        if let Some(why) = fault(case) {
            wrong.push_str(&format!("{name}:\n{why}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
