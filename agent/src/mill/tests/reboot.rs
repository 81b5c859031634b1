//! Power that fails in the middle of a window, and clocks that come back right, wrong or late.

use super::durable::Gateway;
use super::*;
use crate::event::clock::Quality;
use crate::rule::Priority;

/// The clock that a board wakes with: monotonic time begins anew, and wall time is what it is.
fn wake(gateway: &mut Gateway, off_ms: i64, quality: Quality) {
    let wall_ms = match quality {
        Quality::Synced => gateway.now.wall_ms + off_ms,
        _ => gateway.now.wall_ms,
    };
    gateway.now = Now {
        mono_ms: 500,
        wall_ms,
        quality,
    };
    gateway.boot = "another boot";
    gateway.crash();
}

/// A time server sets the clock right, so many milliseconds after the board woke.
fn sync_clock(gateway: &mut Gateway, off_ms: i64) {
    gateway.now.wall_ms += off_ms;
    gateway.now.quality = Quality::Synced;
    gateway.after(0);
}

/// Time between waking and the first emission, in steps of 100 ms.
fn told_after(gateway: &mut Gateway) -> u64 {
    gateway.said.clear();
    let start = gateway.now.mono_ms;
    while gateway.now.mono_ms < start + 60_000 {
        gateway.after(100).sync();
        if gateway.said.contains("ship") {
            return gateway.now.mono_ms - start;
        }
    }
    u64::MAX
}

/// A timer of ten seconds, and windows that end ten seconds after the first event at 0.
fn rules() -> Vec<(String, &'static str)> {
    let window = |window| windows::windowed(window);
    let timer = TIMER.replace("100)", "10000)");
    vec![
        window(r#"{"length_ms":10000,"rows":true}"#),
        window(r#"{"kind":"session","length_ms":100000,"gap_ms":10000,"rows":true}"#),
        window(r#"{"kind":"sliding","length_ms":9000,"delay_ms":10000,"rows":true}"#),
        (rule("w", "mqtt = [\"s/+\"]"), Box::leak(timer.into())),
    ]
}

#[test]
fn what_remained_when_the_power_failed_remains_less_the_time_it_was_off() {
    use Quality::{None as Nothing, Restored, Synced};
    for rule in rules() {
        for (before, after, off_ms, expected) in [
            (Synced, Synced, 4_000, 3_000),
            (Synced, Synced, 3_600_000, 100),
            (Synced, Synced, 7_168 * DAY, 7_000),
            (Synced, Nothing, 4_000, 7_000),
            (Restored, Synced, 4_000, 7_000),
            (Synced, Restored, 4_000, 7_000),
        ] {
            let mut gateway = Gateway::new(std::slice::from_ref(&rule));
            gateway.now.quality = before;
            gateway.event(1, false, "s/a", "!x").after(3_000).sync();
            wake(&mut gateway, off_ms, after);
            let told = told_after(&mut gateway);
            let near = expected..expected + 200;
            let resumed = gateway.resumed.contains("ship");
            assert!(
                near.contains(&told) || (resumed && expected == 100),
                "{rule:?} {before:?} {after:?}: {told}"
            );
            // A restart finds what was placed anew.
            gateway.crash();
        }
    }
}

#[test]
fn a_clock_that_is_set_after_the_start_brings_it_nearer_then() {
    for rule in rules() {
        let mut gateway = Gateway::new(std::slice::from_ref(&rule));
        gateway.event(1, false, "s/a", "!x").after(3_000).sync();
        wake(&mut gateway, 0, Quality::None);
        gateway
            .after(1_000)
            .event(2, false, "s/other", "!x")
            .after(1_000)
            .sync();
        gateway.said.clear();
        // 2 s of the 7 that remained are over, and the power was off for 4 s.
        sync_clock(&mut gateway, 4_000);
        let told = told_after(&mut gateway);
        assert!((1_000..1_200).contains(&told), "{rule:?}: {told}");
        // Timers armed since are as far away as they were.
        if rule.1.contains("on_timer") {
            let told = told_after(&mut gateway);
            assert!((7_800..8_200).contains(&told), "{told}");
        }
        gateway.crash();
    }
}

#[test]
fn a_board_that_wakes_in_1970_labels_its_window_by_the_clock_that_was_set() {
    let rule = windows::windowed(r#"{"length_ms":10000,"rows":true}"#);
    let mut bench = Bench::new(&[rule]);
    bench.now = Now {
        mono_ms: 10_000,
        wall_ms: 3_000,
        quality: Quality::None,
    };
    bench.event("s/a", "x");
    bench.at(2_000);
    bench.now.wall_ms = 1_700_000_005_000;
    bench.now.quality = Quality::Synced;
    bench.event("s/a", "y");
    bench.at(60_000);
    // It opened 3 s into a pane of ten, and so closes 7 s later, 5 s of them by the right clock.
    bench.expect(&["7000 out/w/a 0-10000:x,y"]);
    bench
        .event("s/a", "z")
        .at(80_000)
        .expect(&["67000 out/w/a 60000-70000:z"]);
}

const DAY: i64 = 24 * 3_600_000;

/// Rows that wait, and rows that were dropped, of the local broker's lane.
fn lane(gateway: &Gateway) -> (u64, u64) {
    let lane = gateway.mill.outbox().unwrap().lanes().next().unwrap();
    (lane.waiting(), lane.counts().dropped)
}

/// A gateway with 600 rows that nobody takes: more than a destination is handed.
fn with_rows(quality: Quality) -> Gateway {
    let rule = rule("count", "mqtt = [\"s/+\"]");
    let mut gateway = Gateway::with(&[(rule, COUNTER)], quality);
    for n in 0..600 {
        gateway.event(n + 1, false, "s/a", "x");
    }
    gateway.after(50).sync();
    assert_eq!(lane(&gateway), (600, 0));
    gateway
}

#[test]
fn a_clock_that_is_set_drops_no_row() {
    for quality in [Quality::None, Quality::Restored, Quality::Synced] {
        let mut gateway = with_rows(quality);
        // Eight days, a rollover of GPS, the end of 32 bits, the end of 64, and back.
        let steps = [8 * DAY, 7_168 * DAY, 4_294_967_295_000, i64::MAX, 0, -DAY];
        for wall_ms in steps.map(|by: i64| by.saturating_add(1_700_000_000_000)) {
            gateway.now.wall_ms = wall_ms;
            gateway.after(20_000).sync();
            gateway.crash().after(20_000).sync();
            assert_eq!(lane(&gateway), (600, 0), "{quality:?} {wall_ms}");
        }
        wake(&mut gateway, 60_000, quality);
        gateway.after(20_000).sync();
        assert_eq!(lane(&gateway), (600, 0), "{quality:?}");
    }
}

#[test]
fn rows_that_waited_too_long_go_though_nobody_knows_the_time() {
    let mut gateway = with_rows(Quality::None);
    gateway.after(7 * DAY.unsigned_abs() - 1_000).sync();
    assert_eq!(lane(&gateway).1, 0);
    gateway.after(60_000).sync();
    assert_eq!(
        lane(&gateway).1,
        600 - 256,
        "the others are with the destination"
    );
    gateway.crash();
    assert_eq!(lane(&gateway).1, 600, "now none is");
}

#[test]
fn time_without_power_counts_between_two_times_that_are_known() {
    use Quality::{None as Nothing, Restored, Synced};
    for (before, after, off_ms, dropped) in [
        (Synced, Synced, 8 * DAY, 600),
        (Synced, Synced, 6 * DAY, 0),
        (Synced, Synced, 7_168 * DAY, 0),
        (Restored, Synced, 8 * DAY, 0),
        (Nothing, Synced, 8 * DAY, 0),
    ] {
        let mut gateway = with_rows(before);
        wake(&mut gateway, off_ms, after);
        gateway.after(5_000).sync();
        assert_eq!(lane(&gateway).1, dropped, "{before:?} {after:?} {off_ms}");
        if dropped > 0 {
            let gap = r#"{"gap":{"lane":"local/normal","from":1,"to":600,"count":600}}"#;
            assert!(gateway.said.contains(gap), "{}", gateway.said);
        }
    }
    // The clock is set only after the start, and after another one.
    let mut gateway = with_rows(Synced);
    wake(&mut gateway, 0, Nothing);
    gateway.event(1, false, "s/b", "x").after(20_000).sync();
    gateway.crash();
    sync_clock(&mut gateway, 8 * DAY);
    gateway.after(20_000).sync();
    // Rows that are with the destination stay there, and so does the row of this boot.
    assert_eq!(lane(&gateway).1, 600 - 256);
}

#[test]
fn a_dead_letter_that_is_sent_again_is_not_too_old_at_once() {
    let mut gateway = with_rows(Quality::None);
    let refused = crate::event::emission::LaneReport::Refused {
        destination: 0,
        priority: Priority::Normal,
        first: 1,
        last: 600,
        reason: "no".into(),
    };
    gateway.step(Input::Lane(refused)).after(50).sync();
    gateway.after(8 * DAY.unsigned_abs()).sync();
    gateway.step(Input::Redrive(600)).after(20_000).sync();
    gateway.after(20_000).sync();
    assert_eq!(lane(&gateway).1, 0);
}
