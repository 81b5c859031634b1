//! Rules whose time is that of their events, as timelines.

use super::windows::ROWS;
use super::*;
use crate::event::clock::Quality;

/// First event time, in milliseconds since 1970; the clock of [`Bench`] starts here too.
const T: i64 = 1_700_000_000_000;

/// A rule with event time; without a window it passes its events on.
fn timed(stream: &str, window: &str) -> (String, &'static str) {
    let manifest = format!(
        "{}[streams.input]\ntimestamp = \"/ts\"\n{stream}\n",
        rule("w", "mqtt = [\"s/+\"]")
    );
    let wat = match window {
        "" => "(module (func (export \"on_event\") (result i32) (i32.const 1)))".to_owned(),
        window => ROWS.replace("WINDOW", &window.replace('"', "\\\"")),
    };
    (manifest, Box::leak(wat.into()))
}

/// Events at `ms` of the clock that happened at `ts` past [`T`], on a topic: a row is `{"ts":…}`, and
/// short for what is said.
fn play(bench: &mut Bench, events: &[(u64, &str, i64)]) {
    for (ms, topic, ts) in events {
        bench.at(*ms).event(&format!("s/{topic}"), &payload(*ts));
    }
}

fn payload(ts: i64) -> String {
    format!("{{\"ts\":{}}}", T + ts)
}

/// Checks the outputs, with `ts` in place of each payload.
#[track_caller]
fn expect(bench: &mut Bench, lines: &[&str]) {
    bench.said = bench.said.replace("{\"ts\":1700000", "").replace('}', "");
    bench.expect(lines);
}

#[test]
fn events_come_in_the_order_in_which_they_happened() {
    let mut bench = Bench::new(&[timed("lateness = \"1s\"", "")]);
    play(
        &mut bench,
        &[(0, "a", 100_000), (10, "a", 99_500), (20, "a", 100_900)],
    );
    expect(&mut bench, &["20 out/w/a 099500"]);
    play(
        &mut bench,
        &[(30, "a", 101_000), (40, "a", 99_999), (50, "a", 101_900)],
    );
    expect(&mut bench, &["30 out/w/a 100000", "50 out/w/a 100900"]);
    let ledger = bench.ledger("w");
    assert_eq!(ledger.dropped.get("late"), Some(&1));
    assert_eq!((ledger.received, ledger.emitting), (4, 3));
}

#[test]
fn what_is_late_goes_to_its_port_and_is_counted() {
    let (manifest, wat) = timed("", "");
    let manifest = manifest + "[ports.late]\nto = \"local\"\ntopic = \"late/{key}\"\n";
    let mut bench = Bench::new(&[(manifest, wat)]);
    play(&mut bench, &[(0, "a", 100_000), (1, "a", 99_000)]);
    expect(&mut bench, &["0 out/w/a 100000", "1 late/a 099000"]);
    let ledger = bench.ledger("w");
    assert_eq!((ledger.dropped["late"], ledger.emissions), (1, 2));
}

#[test]
fn panes_close_when_the_watermark_says_and_take_late_events_in_their_place() {
    let window = r#"{"length_ms":1000,"rows":true}"#;
    let mut bench = Bench::new(&[timed("lateness = \"1s\"", window)]);
    play(
        &mut bench,
        &[
            (0, "a", 6_300),
            (1, "a", 6_100),
            (2, "a", 7_999),
            (3, "a", 5_000),
        ],
    );
    bench.at(50_000);
    expect(&mut bench, &[]);
    play(&mut bench, &[(50_000, "a", 8_000), (50_001, "a", 9_500)]);
    expect(
        &mut bench,
        &[
            "50000 out/w/a 6000-7000:006100,006300",
            "50001 out/w/a 7000-8000:007999",
        ],
    );
}

#[test]
fn hopping_sliding_and_session_windows_go_by_event_time() {
    for (window, fired) in [
        (
            r#"{"kind":"hopping","length_ms":2000,"hop_ms":1000,"rows":true}"#,
            &[
                "1 out/w/a 5000-7000:006013,006500",
                "2 out/w/a 6000-8000:006013,006500",
                "2 out/w/a 7000-9000:008442",
            ][..],
        ),
        (
            r#"{"kind":"session","length_ms":2000,"gap_ms":1000,"rows":true}"#,
            &["2 out/w/a 6013-7500:006013,006500"],
        ),
    ] {
        let mut bench = Bench::new(&[timed("lateness = \"1s\"", window)]);
        play(
            &mut bench,
            &[
                (0, "a", 6_500),
                (0, "a", 6_013),
                (1, "a", 8_442),
                (2, "a", 10_400),
            ],
        );
        expect(&mut bench, fired);
    }
    let window = r#"{"kind":"session","length_ms":2000,"gap_ms":1000,"rows":true}"#;
    let mut bench = Bench::new(&[timed("lateness = \"1s\"", window)]);
    for ts in [
        7_932, 8_442, 9_252, 10_062, 10_872, 11_682, 12_492, 13_202, 14_112, 19_202,
    ] {
        play(&mut bench, &[(1, "a", ts)]);
    }
    expect(
        &mut bench,
        &[
            "1 out/w/a 7932-10000:007932,008442,009252",
            "1 out/w/a 10000-14000:010062,010872,011682,012492,013202",
            "1 out/w/a 14000-15112:014112",
        ],
    );
}

#[test]
fn the_slowest_source_holds_the_watermark_back_until_it_is_idle() {
    let mut bench = Bench::new(&[timed("idle = \"10s\"", "")]);
    play(
        &mut bench,
        &[(0, "slow", 1_000), (1, "fast", 1_500), (2, "fast", 9_000)],
    );
    expect(&mut bench, &["0 out/w/slow 001000"]);
    play(&mut bench, &[(9_000, "fast", 9_500)]);
    bench.at(9_999);
    expect(&mut bench, &[]);
    bench.at(10_001);
    expect(
        &mut bench,
        &[
            "10000 out/w/fast 001500",
            "10000 out/w/fast 009000",
            "10000 out/w/fast 009500",
        ],
    );
    play(
        &mut bench,
        &[
            (11_000, "slow", 9_600),
            (11_000, "slow", 2_000),
            (11_001, "fast", 9_700),
        ],
    );
    expect(&mut bench, &["11001 out/w/slow 009600"]);
    assert_eq!(bench.ledger("w").dropped["late"], 1);
}

#[test]
fn a_late_event_makes_its_window_fire_again_while_it_may() {
    let window = r#"{"length_ms":1000,"rows":true}"#;
    let mut bench = Bench::new(&[timed("allowed_late = \"2s\"", window)]);
    play(
        &mut bench,
        &[
            (0, "a", 6_300),
            (1, "a", 7_500),
            (2, "a", 6_100),
            (3, "b", 6_200),
        ],
    );
    play(
        &mut bench,
        &[(4, "a", 8_999), (5, "b", 8_999), (6, "a", 6_999)],
    );
    play(
        &mut bench,
        &[(7, "a", 9_000), (8, "b", 9_000), (9, "a", 6_000)],
    );
    expect(
        &mut bench,
        &[
            "1 out/w/a 6000-7000:006300",
            "2 out/w/a 6000-7000:006100,006300",
            "3 out/w/b 6000-7000:006200",
            "5 out/w/a 7000-8000:007500",
            "6 out/w/a 6000-7000:006100,006300,006999",
            "8 out/w/a 8000-9000:008999",
            "8 out/w/b 8000-9000:008999",
        ],
    );
    assert_eq!(bench.ledger("w").dropped["late"], 1);
    let states = bench.mill.rules[0].keys.sorted();
    let rows: usize = states.iter().map(|(_, state)| state.rows().count()).sum();
    // 7,500 may still be joined by others; what happened before 7,000 is gone.
    assert_eq!(rows, 5, "{states:?}");
}

/// Counts in a slot of the pane; emits 100 x revision + count.
const REVISED: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))
    (func (export "on_window") (result i32)
        (drop (call $emit (i32.const 0) (f64.add (call $get (i32.const 0))
            (f64.mul (f64.const 100) (f64.convert_i64_s (call $ev (i32.const 7)))))))
        (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"slots\":1}}"))"#;

#[test]
fn slots_fire_again_with_a_revision() {
    let (manifest, _) = timed("allowed_late = \"2s\"", "");
    let mut bench = Bench::new(&[(manifest, REVISED)]);
    play(
        &mut bench,
        &[
            (0, "a", 6_300),
            (1, "a", 7_500),
            (2, "a", 6_100),
            (3, "a", 6_999),
        ],
    );
    play(
        &mut bench,
        &[(4, "a", 9_000), (5, "a", 6_000), (6, "a", 7_999)],
    );
    expect(
        &mut bench,
        &[
            "1 out/w/a 1",
            "2 out/w/a 102",
            "3 out/w/a 203",
            "4 out/w/a 1",
            "6 out/w/a 102",
        ],
    );
}

/// Passes on what has no flag, and emits the flags of what has.
const FLAGS: &str = r#"(module
    (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (if (i64.eqz (call $ev (i32.const 3))) (then (return (i32.const 1))))
        (drop (call $emit (i32.const 0) (f64.convert_i64_s (call $ev (i32.const 3)))))
        (i32.const 0)))"#;

/// Rows of `ts`, or of nothing where that is below 0, at `ms` of the clock on a topic.
fn play_with_gaps(gateway: &mut super::durable::Gateway, packet: u16, topic: &str, ts: i64) {
    let payload = if ts < 0 { "{}".to_owned() } else { payload(ts) };
    gateway.event(packet, false, &format!("s/{topic}"), &payload);
}

#[test]
fn a_source_without_a_good_time_goes_by_arrival_until_its_first_one_and_over_a_restart() {
    let rules = timed("lateness = \"1s\"", r#"{"length_ms":1000,"rows":true}"#);
    let mut gateway = super::durable::Gateway::new(std::slice::from_ref(&rules));
    play_with_gaps(&mut gateway, 1, "a", -1);
    gateway.after(50).sync().crash();
    // It still goes by arrival: the window of the first event closes a second and its lateness later.
    gateway.after(2_500);
    play_with_gaps(&mut gateway, 2, "a", -1);
    gateway.after(50).sync();
    let ledger = gateway.mill.ledgers().next().unwrap().1.clone();
    assert_eq!(
        (ledger.bad_times, ledger.emissions),
        (2, 1),
        "{}",
        gateway.said
    );
    assert!(ledger.balances(), "{ledger:?}");
}

/// 2106-02-07, the last second that 32 bits hold, past [`T`].
const Y2106: i64 = 4_294_967_295_000 - T;

#[test]
fn times_that_are_not_credible_are_flagged_and_move_no_watermark() {
    let (manifest, _) = timed("", "");
    let mut bench = Bench::new(&[(manifest, FLAGS)]);
    bench.at(1_000);
    let now = 1_000;
    play(
        &mut bench,
        &[(1_000, "mad", Y2106), (1_000, "old", 1_500_000_000_000 - T)],
    );
    play(
        &mut bench,
        &[(1_000, "a", now), (1_000, "b", now + 301_000)],
    );
    bench
        .event("s/c", "{}")
        .event("s/c", "no json")
        .event("s/c", r#"{"ts":"2023-11-14T22:13:21Z"}"#);
    play(
        &mut bench,
        &[(2_000, "c", 2_000), (2_000, "a", 302_000 - 1_000)],
    );
    // A source with bad times goes by arrival, and holds nobody back.
    let said = std::mem::take(&mut bench.said);
    let flagged = said.lines().filter(|line| line.ends_with(" 2")).count();
    assert_eq!(flagged, 5, "{said}");
    assert!(
        said.contains("out/w/c {\"ts\":\"2023-11-14T22:13:21Z\"}"),
        "{said}"
    );
    assert!(
        bench.ledger("w").dropped.is_empty(),
        "{:?}",
        bench.ledger("w")
    );
}

#[test]
fn a_device_at_the_year_2106_makes_nobody_late_without_a_synced_clock_either() {
    for first in ["mad", "good"] {
        let (manifest, _) = timed("", "");
        let mut bench = Bench::new(&[(manifest, FLAGS)]);
        bench.now.quality = Quality::None;
        bench.now.wall_ms = 0;
        let mut devices = [("mad", Y2106), ("good", 0)];
        if first == "good" {
            devices.reverse();
        }
        for round in 0..5 {
            for (topic, ts) in devices {
                let ts = ts + i64::try_from(round * 1_000).unwrap();
                bench
                    .at(round * 1_000)
                    .event(&format!("s/{topic}"), &payload(ts));
            }
        }
        bench.at(200_000);
        let said = std::mem::take(&mut bench.said);
        let of = |topic: &str, flags: &str| {
            let end = format!("out/w/{topic} {flags}");
            said.lines().filter(|line| line.ends_with(&end)).count()
        };
        assert_eq!(of("good", "4"), 5, "{first} first: {said}");
        // The first to speak had nothing to be held against.
        let believed = usize::from(first == "mad");
        assert_eq!(
            (of("mad", "4"), of("mad", "6")),
            (believed, 5 - believed),
            "{said}"
        );
        let ledger = bench.ledger("w");
        assert!(ledger.dropped.is_empty(), "{first} first: {ledger:?}");
    }
}

#[test]
fn each_event_says_which_streams_it_belongs_to() {
    let wat = r#"(module
        (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
        (func (export "f") (result i64) (call $ev (i32.const 9)))
        (@custom "tidemill.manifest" "{\"abi\":1}"))"#;
    let manifest = rule("w", "")
        + "[streams.right]\nmqtt = [\"b/+\"]\n[streams.left]\nmqtt = [\"a/+\", \"b/x\"]\n";
    let mut bench = Bench::new(&[(manifest, wat)]);
    bench.event("a/1", "").event("b/1", "").event("b/x", "");
    bench.expect(&["0 out/w/1 2", "0 out/w/1 1", "0 out/w/x 3"]);
}

#[test]
fn a_stream_that_was_not_heard_of_is_waited_for() {
    let (manifest, wat) = timed("", "");
    let (head, _) = manifest.split_once("[streams").unwrap();
    let both = "[streams.one]\nmqtt = [\"s/+\"]\ntimestamp = \"/ts\"\nidle = \"10s\"\n\
                [streams.two]\nmqtt = [\"t/+\"]\ntimestamp = \"/ts\"\nidle = \"10s\"\n";
    let rules = [(head.to_owned() + both, wat)];
    let mut bench = Bench::new(&rules);
    play(&mut bench, &[(0, "a", 5_000)]);
    expect(&mut bench, &[]);
    bench.at(1_000).event("t/b", &payload(4_000));
    expect(&mut bench, &["1000 out/w/b 004000"]);
    let mut bench = Bench::new(&rules);
    play(&mut bench, &[(0, "a", 5_000)]);
    bench.at(20_000);
    expect(&mut bench, &["10000 out/w/a 005000"]);
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes_on_then() {
    let (manifest, wat) = timed("lateness = \"1h\"", "");
    let manifest = manifest + "[limits]\nstate_bytes = 2_000\n";
    let mut bench = Bench::new(&[(manifest, wat)]);
    for n in 0..100 {
        play(&mut bench, &[(n, "a", i64::try_from(n).unwrap() * 10)]);
    }
    let passed = bench.said.lines().count();
    assert!((70..100).contains(&passed), "{passed}");
    assert_eq!(bench.ledger("w").emitting, passed as u64);
    assert!(bench.mill.rules[0].keys.bytes() < 4_000);
}

#[test]
fn what_waits_survives_a_crash_and_a_deployment() {
    let window = r#"{"length_ms":1000,"rows":true}"#;
    let rules = timed("lateness = \"1s\"\nallowed_late = \"1s\"", window);
    let mut gateway = super::durable::Gateway::new(std::slice::from_ref(&rules));
    for (packet, ts) in [(1, 6_300), (2, 6_100), (3, 7_500)] {
        gateway.event(packet, false, "s/a", &payload(ts));
    }
    gateway.after(50).sync().crash();
    gateway
        .event(4, false, "s/a", &payload(6_900))
        .after(50)
        .sync();
    gateway.step(Input::Flush).sync().crash();
    gateway.event(5, false, "s/a", &payload(4_000)).said.clear();
    // The watermark is at 6,500: it passes 7,000 with this.
    gateway
        .event(6, false, "s/a", &payload(8_000))
        .after(50)
        .sync();
    assert!(gateway.said.contains("6000-7000:"), "{}", gateway.said);
    let (before, hash) = (
        gateway.mill.ledgers().next().unwrap().1.clone(),
        gateway.mill.rules_hash(),
    );
    assert_eq!((before.received, before.dropped["late"]), (4, 1));
    gateway.crash();
    assert_eq!(gateway.mill.rules_hash(), hash);
    gateway.deploy(std::slice::from_ref(&rules));
    gateway
        .event(7, false, "s/a", &payload(6_800))
        .after(50)
        .sync();
    assert!(gateway.said.contains("2=6000-7000:"), "{}", gateway.said);
    // A rule that has no time of its own any more has no use for what waits.
    let (manifest, wat) = super::windows::windowed(window);
    gateway.deploy(&[(manifest, wat)]);
    let ledger = gateway.mill.ledgers().next().unwrap().1.clone();
    assert_eq!(ledger.dropped["the rule has another time"], 2);
    assert!(ledger.balances());
    gateway.after(50).sync().crash();
}

#[test]
fn the_same_events_give_the_same_state_whatever_the_batches() {
    let run = |batch: usize| {
        let window = r#"{"kind":"hopping","length_ms":3000,"hop_ms":1000,"rows":true}"#;
        let mut bench = Bench::new(&[timed("lateness = \"2s\"\nallowed_late = \"3s\"", window)]);
        let mut seed = 7_u64;
        let mut events = Vec::new();
        for n in 0..2_000_i64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = i64::try_from(seed >> 50).unwrap();
            let topic = Topic::new(&format!("s/d{}", (seed >> 40) % 5)).unwrap();
            events.push(Event::new(topic, payload(100_000 + n * 10 - late), T));
        }
        for events in events.chunks(batch) {
            bench.step(Input::Events(events.to_vec()));
        }
        let ledger = bench.ledger("w");
        assert!(
            ledger.balances() && ledger.dropped["late"] > 0,
            "{ledger:?}"
        );
        (bench.mill.state_hash(), std::mem::take(&mut bench.said))
    };
    let (one, many) = (run(1), run(100));
    assert!(one.1.lines().count() > 50);
    assert_eq!(one, many);
}

#[test]
fn a_schedule_of_a_rule_with_event_time_runs_by_the_clock() {
    let (manifest, wat) = timed("", "");
    let manifest = manifest.replace(
        "mqtt = [\"s/+\"]",
        "mqtt = [\"s/+\"]\nschedule = [\"every 1s\"]",
    );
    let mut bench = Bench::new(&[(manifest, wat)]);
    play(&mut bench, &[(0, "a", 5_000)]);
    bench.at(1_000);
    let said = std::mem::take(&mut bench.said);
    assert!(
        said.contains("1000 out/w/schedule {\"at\":1700000001000"),
        "{said}"
    );
    assert_eq!(
        (bench.ledger("w").emitting, bench.ledger("w").received),
        (2, 2)
    );
}

#[test]
fn an_event_that_too_many_rules_would_keep_is_a_dead_letter_of_others_with_each() {
    let name = |n: usize| {
        let (manifest, wat) = timed("lateness = \"1s\"", "");
        let manifest = manifest.replace("name = \"w\"", &format!("name = \"r{n}\""));
        (manifest.replace("w.wasm", &format!("r{n}.wasm")), wat)
    };
    let rules: Vec<_> = (0..6).map(name).collect();
    let mut bench = Bench::new(&rules);
    for n in 1..=6 {
        let ts = T + n;
        let large = format!("{{\"ts\":{ts},\"x\":\"{}\"}}", "x".repeat(1_000_000));
        bench.event("s/a", &large);
        let said = std::mem::take(&mut bench.said);
        assert_eq!(said.matches("dead: event too costly").count(), 2);
        // The others had no room to wait, so that they worked on it at once.
        assert_eq!(said.lines().count(), 2 + 4);
    }
    for n in 0..6 {
        assert_eq!(bench.ledger(&format!("r{n}")).dead, 2);
    }
}

/// Says the time of each event, and what is known of that.
const TELLS_TIME: &str = r#"(module
  (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
  (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
  (func (export "on_event") (result i32)
    (drop (call $emit (i32.const 0) (f64.convert_i64_s (call $ev (i32.const 0)))))
    (drop (call $emit (i32.const 0) (f64.convert_i64_s (call $ev (i32.const 3)))))
    (i32.const 0)))"#;

#[test]
fn the_time_of_one_rule_is_none_of_the_others_business() {
    let (manifest, wat) = timed("lateness = \"0s\"", "");
    let others = rule("z", "mqtt = [\"s/+\"]");
    let mut bench = Bench::new(&[(manifest, wat), (others, TELLS_TIME)]);
    let synced = Now {
        quality: Quality::Synced,
        ..bench.now
    };
    bench.now = synced;
    bench
        .event("s/a", &payload(50_000))
        .event("s/a", &payload(1_000));
    let said = std::mem::take(&mut bench.said);
    let told: Vec<_> = said.lines().filter(|line| line.contains("out/z")).collect();
    let arrival = format!("0 out/z/a {T}");
    let one = [arrival.as_str(), "0 out/z/a 0"];
    assert_eq!(told, [one, one].concat());
}
