//! Windows of every kind as timelines, by processing time.

use super::*;

/// Puts each payload as a row; `on_window` emits `start-end:rows`, with the times past
/// 1,700,000,000,000 and the rows parted by commas. A payload that begins with `!` fires the window,
/// one with `(` begins it, one with `)` fires it, one with `|` ends one and begins the next, and one with `-`
/// is not put.
pub(super) const ROWS: &str = r#"(module
    (import "tidemill1" "ev_bytes" (func $bytes (param i32 i32 i32 i32) (result i32)))
    (import "tidemill1" "ev_i64" (func $ev (param i32) (result i64)))
    (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
    (import "tidemill1" "rows" (func $rows (result i32)))
    (import "tidemill1" "row_get" (func $get (param i32 i32 i32) (result i32)))
    (import "tidemill1" "win" (func $win (param i32) (result i32)))
    (import "tidemill1" "fmt_f64" (func $fmt (param f64 i32 i32) (result i32)))
    (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $to (mut i32) (i32.const 0))
    (func $time (param $what i32)
        (global.set $to (i32.add (global.get $to) (call $fmt
            (f64.convert_i64_s (i64.sub (call $ev (local.get $what)) (i64.const 1700000000000)))
            (global.get $to) (i32.const 64)))))
    (func $char (param $char i32)
        (i32.store8 (global.get $to) (local.get $char))
        (global.set $to (i32.add (global.get $to) (i32.const 1))))
    (func (export "on_event") (result i32)
        (local $len i32) (local $first i32)
        (local.set $len (call $bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64)))
        (local.set $first (i32.load8_u (i32.const 0)))
        (if (i32.eq (local.get $first) (i32.const 33)) (then (drop (call $win (i32.const 2)))))
        (if (i32.eq (local.get $first) (i32.const 40)) (then (drop (call $win (i32.const 1)))))
        (if (i32.eq (local.get $first) (i32.const 41)) (then (drop (call $win (i32.const 2)))))
        (if (i32.eq (local.get $first) (i32.const 124)) (then (drop (call $win (i32.const 3)))))
        (if (i32.ne (local.get $first) (i32.const 45))
            (then (drop (call $put (i32.const 0) (local.get $len)))))
        (i32.const 0))
    (func (export "on_window") (result i32)
        (local $i i32)
        (global.set $to (i32.const 0))
        (call $time (i32.const 5)) (call $char (i32.const 45)) (call $time (i32.const 6))
        (block $done (loop $next
            (br_if $done (i32.ge_s (local.get $i) (call $rows)))
            (call $char (select (i32.const 44) (i32.const 58) (local.get $i)))
            (global.set $to (i32.add (global.get $to)
                (call $get (local.get $i) (global.get $to) (i32.const 64))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next)))
        (drop (call $emit (i32.const 0) (i32.const 0) (global.get $to)))
        (i32.const 0))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":WINDOW}"))"#;

/// A rule `w` with a window like this, and its function.
pub(super) fn windowed(window: &str) -> (String, &'static str) {
    let wat = ROWS.replace("WINDOW", &window.replace('"', "\\\""));
    (rule("w", "mqtt = [\"s/+\"]"), Box::leak(wat.into()))
}

fn bench(window: &str) -> Bench {
    Bench::new(&[windowed(window)])
}

/// Events for key `a`: (ms, payload).
fn play(bench: &mut Bench, events: &[(u64, &str)]) {
    for (ms, payload) in events {
        bench.at(*ms).event("s/a", payload);
    }
}

/// Counts the events of each pane.
const HOPPING_SLOTS: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func (export "on_event") (result i32)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))
    (func (export "on_window") (result i32)
        (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0))
    (@custom "tidemill.manifest"
        "{\"abi\":1,\"window\":{\"kind\":\"hopping\",\"length_ms\":3000,\"hop_ms\":1000,\"slots\":1}}"))"#;

#[test]
fn an_event_is_folded_into_every_hopping_pane_that_it_belongs_to() {
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), HOPPING_SLOTS)]);
    bench.at(500).event("s/a", "").event("s/b", "");
    bench.at(1_500).event("s/a", "");
    bench.at(10_000).expect(&[
        "1000 out/w/a 1",
        "1000 out/w/b 1",
        "2000 out/w/a 2",
        "2000 out/w/b 1",
        "3000 out/w/a 2",
        "3000 out/w/b 1",
        "4000 out/w/a 1",
    ]);
    let ledger = bench.ledger("w");
    assert_eq!(
        (ledger.received, ledger.absorbed, ledger.emissions),
        (3, 3, 7)
    );
    assert!(bench.mill.rules[0].keys.sorted().is_empty() || bench.mill.rules[0].panes.is_empty());
}

#[test]
fn an_event_that_fails_in_one_of_its_panes_is_in_none() {
    // Tells each fold, and sets a timer; three bytes make it trap in the last of three panes.
    let body = r#"(drop (call $emit (i32.const 0) (f64.const 7)))
        (drop (call $timer (i32.const 1) (i64.const 5000)))
        (if (i32.and (i64.eq (call $ev (i32.const 4)) (i64.const 3))
                (i64.eq (call $ev (i32.const 5)) (i64.const 1700000001000)))
            (then unreachable))
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))
        (func (export "on_timer") (param i32) (result i32)
            (drop (call $emit (i32.const 0) (f64.const 99))) (i32.const 0))"#;
    let wat = HOPPING_SLOTS
        .replace(
            "(call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1))) (i32.const 0))",
            body,
        )
        .replace(
            "(import \"tidemill1\" \"reg_get\"",
            "(import \"tidemill1\" \"ev_i64\" (func $ev (param i32) (result i64)))\
             (import \"tidemill1\" \"timer\" (func $timer (param i32 i64) (result i32)))\
             (import \"tidemill1\" \"reg_get\"",
        );
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), Box::leak(wat.into()))]);
    bench
        .at(500)
        .event("s/a", "")
        .expect(&["500 out/w/a 7", "500 out/w/a 7", "500 out/w/a 7"]);
    bench.at(1_500).event("s/a", "bad");
    let ledger = bench.ledger("w");
    assert_eq!((ledger.dead, ledger.emissions), (1, 4));
    bench.at(10_000).expect(&[
        "1000 out/w/a 1",
        "1500 w dead: trapped: wasm `unreachable` instruction executed",
        "2000 out/w/a 1",
        "3000 out/w/a 1",
        "5500 out/w/a 99",
    ]);
}

#[test]
fn tumbling_and_hopping_rows_stand_in_each_pane_and_are_kept_once() {
    let mut bench = bench(r#"{"length_ms":1000,"rows":true}"#);
    play(
        &mut bench,
        &[(13, "a"), (822, "b"), (900, "-no"), (1_000, "c")],
    );
    bench.event("s/b", "x");
    bench.at(9_000).expect(&[
        "1000 out/w/a 0-1000:a,b",
        "2000 out/w/a 1000-2000:c",
        "2000 out/w/b 1000-2000:x",
    ]);
    assert_eq!(
        (bench.ledger("w").filtered, bench.ledger("w").absorbed),
        (1, 4)
    );
    let mut bench = self::bench(r#"{"kind":"hopping","length_ms":2000,"hop_ms":1000,"rows":true}"#);
    play(&mut bench, &[(13, "a"), (822, "b"), (1_632, "c")]);
    let rows = |bench: &Bench| -> usize {
        let states = bench.mill.rules[0].keys.sorted();
        states.iter().map(|(_, state)| state.rows().count()).sum()
    };
    assert_eq!(rows(&bench), 3);
    bench.at(9_000).expect(&[
        "1000 out/w/a -1000-1000:a,b",
        "2000 out/w/a 0-2000:a,b,c",
        "3000 out/w/a 1000-3000:c",
    ]);
    assert_eq!(rows(&bench), 0);
}

#[test]
fn a_hop_longer_than_its_window_leaves_events_out() {
    let mut bench = bench(r#"{"kind":"hopping","length_ms":300,"hop_ms":1000,"rows":true}"#);
    play(
        &mut bench,
        &[(100, "a"), (699, "b"), (700, "c"), (999, "d")],
    );
    bench.at(5_000).expect(&["1000 out/w/a 700-1000:c,d"]);
}

#[test]
fn a_sliding_window_fires_at_its_trigger_with_what_came_before() {
    let mut bench = bench(r#"{"kind":"sliding","length_ms":1000,"rows":true}"#);
    play(
        &mut bench,
        &[(0, "a"), (500, "!b"), (1_000, "!c"), (1_700, "d")],
    );
    bench.at(9_000).event("s/a", "-").event("s/a", "!");
    bench.expect(&[
        "500 out/w/a -500-500:a,!b",
        "1000 out/w/a 0-1000:a,!b,!c",
        "9000 out/w/a 8000-9000:!",
    ]);
    let ledger = bench.ledger("w");
    assert_eq!(
        (ledger.emissions, ledger.absorbed, ledger.filtered),
        (3, 5, 1)
    );
}

#[test]
fn a_delayed_sliding_window_waits_for_what_comes_after() {
    let window = r#"{"kind":"sliding","length_ms":1000,"delay_ms":500,"rows":true}"#;
    let mut bench = bench(window);
    play(
        &mut bench,
        &[
            (0, "a"),
            (1_000, "!b"),
            (1_200, "c"),
            (1_300, "!d"),
            (1_500, "e"),
        ],
    );
    bench.at(9_000).expect(&[
        "1500 out/w/a 0-1500:a,!b,c,!d",
        "1800 out/w/a 300-1800:!b,c,!d,e",
    ]);
}

#[test]
fn a_session_ends_after_a_gap_or_where_the_grid_cuts_it() {
    let mut bench = bench(r#"{"kind":"session","length_ms":2000,"gap_ms":1000,"rows":true}"#);
    play(&mut bench, &[(13, "a"), (900, "b")]);
    bench.at(1_899).expect(&[]);
    bench.at(1_900).expect(&["1900 out/w/a 13-1900:a,b"]);
    play(
        &mut bench,
        &[
            (2_100, "c"),
            (2_900, "d"),
            (3_700, "e"),
            (4_600, "f"),
            (5_500, "g"),
        ],
    );
    // The first multiple of its length that is at least a length away: 6 s for one that begins at 2.1 s.
    play(&mut bench, &[(6_300, "h")]);
    bench.at(20_000).expect(&[
        "6000 out/w/a 2100-6000:c,d,e,f,g",
        "7300 out/w/a 6000-7300:h",
    ]);
    let states = bench.mill.rules[0].keys.sorted();
    assert!(states.iter().all(|(_, state)| state.panes.is_empty()));
}

#[test]
fn a_count_window_holds_the_last_rows_and_fires_after_so_many() {
    let mut bench = bench(r#"{"kind":"count","count":3,"rows":true}"#);
    let events: Vec<_> = (0..8)
        .map(|n| (n * 100, ["a", "b", "c", "-"][(n % 4) as usize]))
        .collect();
    play(&mut bench, &events);
    bench.expect(&["200 out/w/a 0-200:a,b,c", "600 out/w/a 200-600:a,b,c"]);
    let mut bench = self::bench(r#"{"kind":"count","count":4,"every":3,"rows":true}"#);
    play(
        &mut bench,
        &[
            (1, "a"),
            (2, "b"),
            (3, "c"),
            (4, "d"),
            (5, "e"),
            (6, "f"),
            (7, "g"),
        ],
    );
    bench.expect(&["6 out/w/a 3-6:c,d,e,f"]);
}

#[test]
fn a_state_window_lasts_from_one_event_to_another() {
    let mut bench = bench(r#"{"kind":"state","rows":true}"#);
    play(
        &mut bench,
        &[
            (0, "x"),
            (100, ")"),
            (200, "("),
            (300, "y"),
            (400, ")"),
            (500, "z"),
        ],
    );
    play(&mut bench, &[(600, "("), (700, "("), (800, ")")]);
    bench.expect(&["400 out/w/a 200-400:(,y,)", "800 out/w/a 600-800:(,(,)"]);
}

#[test]
fn an_event_may_end_a_state_window_without_being_part_of_it() {
    let mut bench = bench(r#"{"kind":"state","rows":true}"#);
    play(
        &mut bench,
        &[(0, "x"), (100, "|1"), (200, "y"), (300, "|2"), (400, "|3")],
    );
    bench.expect(&["300 out/w/a 100-300:|1,y", "400 out/w/a 300-400:|2"]);
}

#[test]
fn a_window_without_room_drops_its_oldest_rows_and_counts_them() {
    let (manifest, wat) = windowed(r#"{"kind":"count","count":100,"rows":true}"#);
    // A row of one byte counts 67 bytes with name, time and what an entry costs.
    let manifest = manifest + "[limits]\nstate_bytes = 670\n";
    let mut bench = Bench::new(&[(manifest, wat)]);
    for n in 0..25 {
        bench.event("s/a", &(n % 10).to_string());
    }
    assert_eq!(bench.ledger("w").rows_dropped, 15);
    assert_eq!(bench.mill.rules[0].keys.bytes(), 670);
    assert_eq!(bench.ledger("w").keys_evicted, 0);
}

#[test]
fn a_fault_of_a_firing_is_a_dead_letter_with_the_topic_and_leaves_the_event_counted() {
    let wat = r#"(module
        (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "on_event") (result i32) (call $put (i32.const 0) (i32.const 1)))
        (func (export "on_window") (result i32) (unreachable))
        (@custom "tidemill.manifest"
            "{\"abi\":1,\"window\":{\"kind\":\"count\",\"count\":1,\"rows\":true}}"))"#;
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), wat)]);
    let event = Event::new(Topic::new("s/a").unwrap(), "payload", 0);
    let mut out = Vec::new();
    bench
        .mill
        .step(bench.now, Input::Events(vec![event]), &mut out);
    let [Output::DeadLetter(dead)] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!((dead.topic.as_str(), dead.payload.len()), ("s/a", 0));
    let ledger = bench.ledger("w");
    assert_eq!(
        (ledger.absorbed, ledger.dead, ledger.faults_without_event),
        (1, 0, 1)
    );
}

#[test]
fn what_rows_are_for_is_refused_elsewhere() {
    // Answers of row_put, win and rows in an event and in a firing, as digits below 0.
    let wat = r#"(module
        (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
        (import "tidemill1" "row_get" (func $get (param i32 i32 i32) (result i32)))
        (import "tidemill1" "rows" (func $rows (result i32)))
        (import "tidemill1" "win" (func $win (param i32) (result i32)))
        (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
        (memory (export "memory") 2)
        (func $say (param i32) (drop (call $emit (i32.const 0) (f64.convert_i32_s (local.get 0)))))
        (func (export "on_event") (result i32)
            (call $say (call $rows))
            (call $say (call $win (i32.const 4)))
            (call $say (call $win (i32.const 1)))
            (call $say (call $put (i32.const 0) (i32.const 64513)))
            (call $say (call $put (i32.const 0) (i32.const 2)))
            (i32.const 0))
        (func (export "on_window") (result i32)
            (call $say (call $put (i32.const 0) (i32.const 1)))
            (call $say (call $win (i32.const 2)))
            (call $say (call $rows))
            (call $say (call $get (i32.const 0) (i32.const 0) (i32.const 0)))
            (call $say (call $get (i32.const 1) (i32.const 0) (i32.const 0)))
            (call $say (call $get (i32.const -1) (i32.const 0) (i32.const 0)))
            (i32.const 0))
        (@custom "tidemill.manifest"
            "{\"abi\":1,\"window\":{\"kind\":\"count\",\"count\":1,\"rows\":true}}"))"#;
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), wat)]);
    bench.event("s/a", "");
    let said = std::mem::take(&mut bench.said);
    let answers: Vec<_> = said
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let expected = ["-7", "-2", "0", "-3", "0", "-7", "-7", "1", "2", "-1", "-2"];
    assert_eq!(answers, expected);
}

#[test]
fn lengths_of_the_rule_win_and_others_are_refused() {
    let (manifest, wat) =
        windowed(r#"{"kind":"session","length_ms":2000,"gap_ms":1000,"rows":true}"#);
    let shorter = format!("{manifest}[window]\nsession = \"10s\"\ngap = \"50ms\"\n");
    let mut bench = Bench::new(&[(shorter, wat)]);
    bench
        .event("s/a", "x")
        .at(1_000)
        .expect(&["50 out/w/a 0-50:x"]);
    let hopping = windowed(r#"{"kind":"hopping","length_ms":10000,"hop_ms":1000,"rows":true}"#);
    for (window, reason) in [
        ("hopping = \"10s\"\nhop = \"10ms\"", None),
        (
            "hopping = \"10001ms\"\nhop = \"10ms\"",
            Some("belong to 1001 panes at a time; at most 1000"),
        ),
        (
            "tumbling = \"1s\"",
            Some("window.tumbling: the function keeps a hopping window"),
        ),
    ] {
        let manifest = format!("{}[window]\n{window}\n", hopping.0);
        let refused = try_bind(&[(manifest, hopping.1)]).err();
        let refused = refused.map(|error| error.to_string());
        match reason {
            None => assert_eq!(refused, None),
            Some(reason) => assert!(refused.as_ref().unwrap().contains(reason), "{refused:?}"),
        }
    }
}

#[test]
fn a_million_keys_leave_the_window_bounded_and_are_counted() {
    let manifest =
        rule("w", "mqtt = [\"s/+\"]") + "[window]\ntumbling = \"1m\"\n[limits]\nkeys = 10_000\n";
    let mut bench = Bench::new(&[(manifest, PANES)]);
    let events = |from: u32| {
        let event = |n: u32| Event::new(Topic::new(&format!("s/{n}")).unwrap(), "x", 0);
        (from..from + 1_000).map(event).collect()
    };
    // A build for debugging takes 20 s for all of them.
    let thousands = if cfg!(debug_assertions) { 100 } else { 1_000 };
    for thousand in 0..thousands {
        bench.step(Input::Events(events(thousand * 1_000)));
    }
    let received = u64::from(thousands) * 1_000;
    let ledger = bench.ledger("w");
    assert_eq!((ledger.received, ledger.absorbed), (received, received));
    let active = &bench.mill.rules[0];
    let (held, bytes) = (active.keys.len(), active.keys.bytes());
    assert!(
        (9_000..=10_000).contains(&held) && bytes <= 1 << 20,
        "{held} {bytes}"
    );
    assert_eq!(ledger.keys_evicted + held as u64, received);
    bench.at(60_000);
    assert_eq!(bench.said.lines().count(), held);
}

#[test]
fn keys_that_come_and_go_leave_nothing_that_falls_due() {
    for window in [
        r#"{"kind":"session","length_ms":86400000,"gap_ms":3600000,"rows":true}"#,
        r#"{"kind":"sliding","length_ms":1000,"delay_ms":3600000,"rows":true}"#,
    ] {
        let (manifest, wat) = windowed(window);
        let mut bench = Bench::new(&[(manifest + "[limits]\nkeys = 10\n", wat)]);
        for n in 0..1_000 {
            let topic = format!("s/{}", n % 50);
            bench.at(n).event(&topic, "!x").event(&topic, "!y");
        }
        let due = bench.mill.due.len();
        assert!(due <= 20, "{window}: {due}");
    }
}

#[test]
fn more_sliding_windows_than_may_wait_cost_the_oldest_and_are_counted() {
    let mut bench = bench(r#"{"kind":"sliding","length_ms":10,"delay_ms":3600000,"rows":true}"#);
    for n in 0..300 {
        bench.at(n * 20).event("s/a", "!");
    }
    assert_eq!(bench.ledger("w").windows_dropped, 44);
    bench.at(4_000_000);
    assert_eq!(bench.said.lines().count(), 256);
}
