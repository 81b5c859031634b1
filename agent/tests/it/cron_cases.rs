//! Schedules against the tables that two other libraries test themselves with; where they come from
//! stands beside them in `tests/data`.

use std::path::Path;

use chrono::DateTime;
use serde_json::Value;
use tidemill::rule::schedule::Schedule;

/// Cases whose reading is another than ours, with the reason.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "cron/cron/47",
        "a clock time in the gap is due at its end here",
    ),
    (
        "cron/cron/54",
        "a clock time in the gap is due at its end here",
    ),
    (
        "cron/cron/61",
        "a clock time that is repeated is due once here",
    ),
];

/// Choices that tables name, where ours is another.
const POLICIES: &[(&str, &str)] = &[
    ("dom-and-dow:or", "day and weekday must both fit here"),
    ("step:ocps-strict", "6/2 counts from 6 on here"),
];

fn ms(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text)
        .unwrap()
        .timestamp_millis()
}

#[test]
fn schedules_are_due_when_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/cron.jsonl");
    let table = std::fs::read_to_string(path).unwrap();
    let (mut held, mut skipped) = (0, 0);
    for line in table.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str();
        let id = text("id").unwrap();
        let other =
            |list: &[(&str, &str)], name| list.iter().any(|(other, _)| Some(*other) == name);
        if other(OTHERWISE, Some(id)) || other(POLICIES, text("policy")) {
            skipped += 1;
            continue;
        }
        held += 1;
        let expression = text("expr").unwrap();
        let schedule = Schedule::new(expression, text("tz"));
        if let Some(parses) = case["parse"].as_bool() {
            assert_eq!(schedule.is_ok(), parses, "{case}");
            continue;
        }
        if let Some(same) = text("equivalent") {
            let same = Schedule::new(same, None).unwrap();
            let schedule = schedule.unwrap();
            let mut at = ms("2024-01-01T00:00:00Z");
            for _ in 0..50 {
                assert_eq!(schedule.next_after(at), same.next_after(at), "{case}");
                at = same.next_after(at).unwrap();
            }
            continue;
        }
        let from = ms(text("from").unwrap());
        if let Some(not) = text("next_not") {
            assert_ne!(schedule.unwrap().next_after(from), Some(ms(not)), "{case}");
            continue;
        }
        let expected: Vec<i64> = case["next"]
            .as_array()
            .unwrap()
            .iter()
            .map(|at| ms(at.as_str().unwrap()))
            .collect();
        if expected.is_empty() {
            assert!(schedule.is_err(), "{case}");
            continue;
        }
        let schedule = schedule.unwrap();
        let mut at = from;
        for expected in expected {
            assert_eq!(schedule.next_after(at), Some(expected), "{case}");
            at = expected;
        }
    }
    assert_eq!((held, skipped), (59, 7));
}
