//! Schedules through the mill in the nights of daylight saving, and over a clock that is set.

use chrono::DateTime;

use super::*;
use crate::event::clock::Quality;

/// Emits the slot of its schedule, in minutes since 1970.
const SLOT: &str = r#"(module
    (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
    (func (export "f") (result i64) (i64.div_s (call $ev (i32.const 0)) (i64.const 60000)))
    (@custom "tidemill.manifest" "{\"abi\":1}"))"#;

fn ms(rfc3339: &str) -> i64 {
    DateTime::parse_from_rfc3339(rfc3339)
        .unwrap()
        .timestamp_millis()
}

/// The slots that came due in a night of eight hours, as UTC.
fn slots(zone: &str, schedule: &str, from: &str, restarts: bool) -> Vec<String> {
    let on = format!("schedule = [\"{schedule}\"]\nzone = \"{zone}\"");
    let rules = [(rule("w", &on), SLOT)];
    let mut bench = Bench::new(&[]);
    bench.now.wall_ms = ms(from);
    bench.deploy(&rules);
    for quarter in 1..=32 {
        bench.at(quarter * 900_000);
        if restarts {
            bench.deploy(&rules);
        }
    }
    let said = std::mem::take(&mut bench.said);
    said.lines()
        .map(|line| {
            let minutes: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            let slot = DateTime::from_timestamp(minutes * 60, 0).unwrap();
            slot.format("%H:%M").to_string()
        })
        .collect()
}

#[test]
fn four_nights_run_each_job_once() {
    for (zone, from, job, expected) in [
        // 02:00 to 03:00 does not exist: the job runs at 03:00, which is 01:00 UTC.
        (
            "Europe/Berlin",
            "2026-03-28T22:00:00Z",
            "0 30 2 * * *",
            &["01:00"][..],
        ),
        // It exists twice: the job runs the first time, at 00:30 UTC.
        (
            "Europe/Berlin",
            "2026-10-24T20:00:00Z",
            "0 30 2 * * *",
            &["00:30"],
        ),
        (
            "America/New_York",
            "2026-03-08T02:00:00Z",
            "0 30 2 * * *",
            &["07:00"],
        ),
        (
            "America/New_York",
            "2026-11-01T02:00:00Z",
            "0 30 1 * * *",
            &["05:30"],
        ),
    ] {
        for restarts in [false, true] {
            assert_eq!(
                slots(zone, job, from, restarts),
                expected,
                "{zone} {from} {restarts}"
            );
        }
    }
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-28T22:00:00Z"),
        ("Europe/Berlin", "2026-10-24T20:00:00Z"),
        ("America/New_York", "2026-03-08T02:00:00Z"),
        ("America/New_York", "2026-11-01T02:00:00Z"),
    ] {
        // A schedule of elapsed time notices nothing: sixteen half hours in eight hours.
        assert_eq!(
            slots(zone, "0 */30 * * * *", from, true).len(),
            16,
            "{zone} {from}"
        );
    }
}

#[test]
fn a_step_from_1970_to_today_makes_up_for_nothing_and_disturbs_no_timer() {
    let schedule = (
        rule("w", "schedule = [\"0 0 * * * *\", \"every 40s\"]"),
        SLOT,
    );
    let timer = (rule("timer", "mqtt = [\"s/+\"]"), TIMER);
    let sliding =
        windows::windowed(r#"{"kind":"hopping","length_ms":2000,"hop_ms":1000,"rows":true}"#);
    let panes = (
        sliding
            .0
            .replace("name = \"w\"", "name = \"panes\"")
            .replace("w.wasm", "panes.wasm"),
        sliding.1,
    );
    let mut bench = Bench::new(&[]);
    bench.now.wall_ms = 50_000;
    bench.now.quality = Quality::None;
    bench.deploy(&[schedule, timer, panes]);
    bench.at(30_000).event("s/a", "x");
    bench.at(30_050);
    bench.now.wall_ms = ms("2026-11-24T11:59:30Z");
    bench.now.quality = Quality::Synced;
    bench.step(Input::Tick);
    bench.at(30_100);
    let at_once = std::mem::take(&mut bench.said);
    assert_eq!(at_once, "30100 out/timer/a 1\n");
    bench.at(70_000);
    let said = std::mem::take(&mut bench.said);
    let moments: Vec<_> = said
        .lines()
        .filter(|line| line.contains("/w/schedule"))
        .collect();
    // The period goes on as it was; of the hours of 56 years none is made up for.
    assert_eq!(moments.len(), 2, "{said}");
    assert!(
        moments[0].starts_with("40000 ") && moments[1].starts_with("60050 "),
        "{said}"
    );
    // Both panes last as long as they would have.
    let panes: Vec<_> = said.lines().filter(|line| line.contains("/w/a ")).collect();
    assert_eq!(panes.len(), 2, "{said}");
    assert!(
        panes[0].starts_with("31000 ") && panes[1].starts_with("32000 "),
        "{said}"
    );
}
