//! Rules that have more to do than a step has a share for: what others see of it, what waits, and what a
//! crash in the middle leaves.

use super::durable::Gateway;
use super::*;
use crate::commit::outbox::Wanted;
use crate::mill::pace::EVENT_FUEL;
use tidemill_base::number::Lsn;

/// Most fuel of a step: two shares, and a call at the default limit behind each.
const STEP_FUEL_MAX: u64 = 5_000_000;

/// An event arms a timer of its key for 100 ms; the timer works hard and emits.
const HARD_TIMER: &str = r#"(module
    (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func $spin (local $n i32)
        (local.set $n (i32.const 150000))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "on_event") (result i32)
        (drop (call $timer (i32.const 5) (i64.const 100))) (i32.const 0))
    (func (export "on_timer") (param i32) (result i32)
        (call $spin)
        (drop (call $emit (i32.const 0) (f64.const 1))) (i32.const 0)))"#;

/// Each event is hard work, and counts.
const HARD_EVENT: &str = r#"(module
    (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
    (import "tidemill1" "reg_set" (func $set (param i32 f64)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (func $spin (local $n i32)
        (local.set $n (i32.const 150000))
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "on_event") (result i32)
        (call $spin)
        (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
        (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0)))"#;

fn message(topic: &str, payload: &str, now: Now) -> Event {
    Event::new(Topic::new(topic).unwrap(), payload.to_owned(), now.wall_ms)
}

fn fuel(mill: &Mill) -> u64 {
    mill.ledgers().map(|(_, ledger)| ledger.fuel).sum()
}

/// Turns the mill once; returns the topics of what went out, and the fuel that it took.
fn turn(bench: &mut Bench, input: Input) -> (Vec<String>, u64) {
    let (mut out, before) = (Vec::new(), fuel(&bench.mill));
    bench.mill.step(bench.now, input, &mut out);
    let topics = out.into_iter().map(|output| match output {
        Output::Emission(sent) => sent.topic.as_str().to_owned(),
        other => panic!("{other:?}"),
    });
    (topics.collect(), fuel(&bench.mill) - before)
}

#[test]
fn keys_with_hard_timers_leave_a_neighbour_its_events_and_a_step_its_bound() {
    let mut bench = Bench::new(&[
        (rule("hard", "mqtt = [\"h/+\"]"), HARD_TIMER),
        (rule("count", "mqtt = [\"s/+\"]"), COUNTER),
    ]);
    for key in 0..40 {
        bench.event(&format!("h/{key:02}"), "");
    }
    bench.go(10_100);
    let mut fired = Vec::new();
    for n in 1..=20 {
        let event = message("s/a", "", bench.now);
        let (topics, fuel) = turn(&mut bench, Input::Events(vec![event]));
        assert!(fuel <= STEP_FUEL_MAX, "{fuel}");
        let (seen, timers): (Vec<_>, Vec<_>) =
            topics.into_iter().partition(|topic| topic == "out/count/a");
        assert_eq!(seen.len(), 1, "the neighbour has its event in step {n}");
        assert!(n > 10 || !timers.is_empty(), "timers go on in step {n}");
        fired.extend(timers);
    }
    assert_eq!(fired.len(), 40);
    assert!(fired.is_sorted() && !bench.mill.is_busy());
}

#[test]
fn events_that_are_hard_work_are_taken_some_at_a_time() {
    let mut bench = Bench::new(&[(rule("hard", "mqtt = [\"h/+\"]"), HARD_EVENT)]);
    let events = (0..10).map(|_| message("h/a", "", bench.now)).collect();
    let (first, fuel) = turn(&mut bench, Input::Events(events));
    assert!(
        fuel <= STEP_FUEL_MAX && (1..10).contains(&first.len()),
        "{fuel}"
    );
    assert!(bench.mill.is_busy());
    assert_eq!(bench.mill.next_due_mono_ms(), Some(bench.now.mono_ms));
    let mut all = first.len();
    while bench.mill.is_busy() {
        all += turn(&mut bench, Input::Tick).0.len();
    }
    assert_eq!((all, bench.ledger("hard").emitting), (10, 10));
}

#[test]
fn an_event_waits_for_rules_that_it_has_no_fuel_left_for() {
    let rules: Vec<_> = (0..40)
        .map(|n| (rule(&format!("r{n:02}"), "mqtt = [\"h/+\"]"), HARD_EVENT))
        .collect();
    let mut bench = Bench::new(&rules);
    let event = message("h/a", "", bench.now);
    let (mut topics, fuel) = turn(&mut bench, Input::Events(vec![event]));
    assert!(fuel < EVENT_FUEL + STEP_FUEL_MAX, "{fuel}");
    assert!((10..40).contains(&topics.len()), "{}", topics.len());
    while bench.mill.is_busy() {
        topics.extend(turn(&mut bench, Input::Tick).0);
    }
    topics.sort();
    let expected: Vec<_> = (0..40).map(|n| format!("out/r{n:02}/a")).collect();
    assert_eq!(topics, expected);
    assert!(bench.mill.rules.iter().all(|active| active.keys.len() == 1));
}

#[test]
fn what_falls_due_comes_before_events_that_waited_and_a_window_has_those_of_its_time() {
    // 30 keys have a pane each that closes at 11,000, by hard work.
    let hard = PANES.replace(
        "(func (export \"on_window\") (result i32)",
        "(func (export \"on_window\") (result i32) (local $n i32)
            (local.set $n (i32.const 150000))
            (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    );
    let mut bench = Bench::new(&[(rule("w", "mqtt = [\"s/+\"]"), hard.leak())]);
    for key in 0..30 {
        bench.event(&format!("s/{key:02}"), "");
    }
    bench.go(11_000);
    assert_eq!(turn(&mut bench, Input::Tick).0.len(), 2);
    // Two events of the next pane come while the first one closes, and one when the next is over as well.
    for ms in [11_500, 11_999, 12_000] {
        bench.go(ms);
        let event = message("s/00", "", bench.now);
        let (topics, fuel) = turn(&mut bench, Input::Events(vec![event]));
        assert!(fuel <= STEP_FUEL_MAX && topics.len() == 2, "{topics:?}");
    }
    bench.said.clear();
    bench.step(Input::Tick);
    let ledger = bench.ledger("w");
    assert_eq!((ledger.received, ledger.emissions), (33, 31));
    // The second pane of the key: two events. The third is open, with one.
    assert!(
        bench.said.ends_with("2000 out/w/00 202\n"),
        "{}",
        bench.said
    );
    bench.said.clear();
    bench.at(3_000).expect(&["3000 out/w/00 301"]);
}

/// All rows of the lane to `local` that the journal has, in order: payloads.
fn rows(gateway: &Gateway) -> Vec<String> {
    let wanted = Wanted {
        from_lsn: Lsn::new(0),
        to_lsn: Lsn::new(u64::MAX),
        first: 0,
        last: u64::MAX,
    };
    let lane = "local/normal".parse().unwrap();
    let rows = gateway.rows_of(&lane, &wanted).into_iter();
    rows.map(|(_, row)| String::from_utf8(row.payload.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_pane_goes_on_to_close_where_a_crash_left_it_and_fires_once_for_each_key() {
    let keys = 400_u64;
    let sql = "SELECT d, count(*) AS n FROM input GROUP BY d, TUMBLINGWINDOW(ss, 1)";
    let slots = format!(
        "name = \"w\"\n[on]\nmqtt = [\"s/+\"]\n[function]\nsql = \"{sql}\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    let hopping = r#"{"kind":"hopping","length_ms":2000,"hop_ms":1000,"rows":true}"#;
    for (rule, fires) in [
        ((slots, "(module)"), 1),
        (super::windows::windowed(hopping), 2),
    ] {
        let mut gateway = Gateway::new(&[rule]);
        gateway.settle();
        let events = (0..keys).map(|n| {
            let payload = format!(r#"{{"d":"d{n:04}"}}"#);
            message(&format!("s/d{n:04}"), &payload, gateway.now)
        });
        let events = events.collect();
        gateway.step(Input::Events(events)).sync();
        let (mut crashes, mut turns) = (0, 0);
        for second in 1..=3 {
            gateway.now.mono_ms = 10_000 + second * 1_000;
            gateway.now.wall_ms = 1_700_000_000_000 + i64::try_from(second).unwrap() * 1_000;
            gateway.step_once(Input::Tick);
            while gateway.mill.is_busy() {
                turns += 1;
                if turns % 2 == 0 {
                    // What was committed is durable, what comes after is not.
                    gateway.step_once(Input::Commit);
                    gateway.sync_once();
                    gateway.step_once(Input::Tick);
                    gateway.crash_once();
                    crashes += 1;
                } else {
                    gateway.step_once(Input::Tick);
                }
            }
            gateway.step(Input::Commit).sync();
        }
        assert!(crashes >= 1, "{crashes}");
        let mut keys_sent: Vec<_> = rows(&gateway)
            .iter()
            .map(|row| {
                row[row.find("\"d0").unwrap()..]
                    .chars()
                    .take(6)
                    .collect::<String>()
            })
            .collect();
        keys_sent.sort();
        let expected = (0..keys).flat_map(|n| vec![format!("\"d{n:04}"); fires]);
        assert_eq!(keys_sent, expected.collect::<Vec<_>>());
        // Nothing is left that a build before could not read.
        let record = gateway.mill.rules[0].record();
        assert_eq!((record.closing, record.is_behind), (None, false));
        gateway.expect_balanced();
    }
}

#[test]
fn events_of_a_rule_that_is_behind_are_durable_and_worked_on_in_order_after_a_crash() {
    let mut gateway = Gateway::new(&[(rule("hard", "mqtt = [\"h/+\"]"), HARD_TIMER)]);
    gateway.settle();
    let arming = (0..20).map(|n| message(&format!("h/{n:02}"), "", gateway.now));
    gateway.step(Input::Events(arming.collect())).sync();
    gateway.now.mono_ms += 100;
    gateway.step_once(Input::Tick);
    gateway.said.clear();
    gateway.event_once(7, "h/00", "late");
    gateway.step_once(Input::Commit);
    gateway.sync_once();
    assert!(gateway.said.contains("ack [7]"), "{}", gateway.said);
    assert_eq!(gateway.mill.rules[0].behind(), 1);
    assert!(gateway.mill.rules[0].record().is_behind);
    gateway.crash_once();
    assert_eq!(gateway.mill.rules[0].behind(), 1);
    gateway.step(Input::Tick).step(Input::Commit).sync();
    assert_eq!(rows(&gateway).len(), 20, "all timers fired");
    let (_, ledger) = gateway.mill.ledgers().next().unwrap();
    assert_eq!((ledger.received, ledger.absorbed), (21, 21));
    let active = &gateway.mill.rules[0];
    assert!(active.behind() == 0 && !active.record().is_behind);
    // The event that waited has armed its timer again, as of the moment at which it came.
    let state = active
        .keys
        .state_at(active.keys.find("00").unwrap())
        .unwrap();
    assert_eq!(state.timers[&5].mono_ms, 10_200);
    gateway.expect_balanced();
}

#[test]
fn the_oldest_events_go_where_too_many_wait_and_are_counted() {
    let limits = FunctionLimits {
        state_bytes: 64 << 10,
        ..FunctionLimits::default()
    };
    let mut bench = Bench::within(limits, &[(rule("hard", "mqtt = [\"h/+\"]"), HARD_TIMER)]);
    for n in 0..20 {
        bench.event(&format!("h/{n:02}"), "");
    }
    bench.go(10_100);
    turn(&mut bench, Input::Tick);
    let payload = "x".repeat(10_000);
    let events = (0..5).map(|_| message("h/00", &payload, bench.now));
    bench
        .mill
        .step(bench.now, Input::Events(events.collect()), &mut Vec::new());
    // Three of 10 KB are less than half of the state.
    assert_eq!(bench.mill.rules[0].behind(), 3);
    assert!(
        bench.mill.is_full(),
        "it is within its fuel: nothing more may come"
    );
    bench.step(Input::Tick);
    let ledger = bench.ledger("hard");
    assert_eq!(ledger.dropped.get("behind"), Some(&2));
    assert!(ledger.received == 25 && ledger.balances() && !bench.mill.is_full());
}

#[test]
fn a_rule_without_fuel_is_behind_and_its_neighbour_is_not() {
    let limits = FunctionLimits {
        fuel_per_second: 2_000_000,
        ..FunctionLimits::default()
    };
    let mut bench = Bench::within(
        limits,
        &[
            (rule("hard", "mqtt = [\"s/+\"]"), HARD_EVENT),
            (rule("count", "mqtt = [\"s/+\"]"), COUNTER),
        ],
    );
    for n in 0..20 {
        bench.event(&format!("s/{n:02}"), "");
    }
    let counts = |bench: &Bench| {
        let of = |name| bench.ledger(name).emitting;
        (of("count"), of("hard"))
    };
    let (all, some) = counts(&bench);
    assert_eq!(all, 20, "the neighbour has them all");
    assert!(
        (2..5).contains(&some),
        "{some}: what a second brings, and one call"
    );
    assert!(!bench.mill.is_full(), "intake goes on");
    let status = |bench: &Bench| {
        let status = bench.mill.rule_statuses(bench.now).nth(1);
        status.unwrap().behind
    };
    assert_eq!(
        status(&bench),
        Some((20 - some as usize, 1_700_000_000_000))
    );
    // Each second brings two million.
    bench.at(1_000);
    let (_, after) = counts(&bench);
    assert!((some + 2..=some + 4).contains(&after), "{after}");
    // It rests meanwhile: nothing is due before it has fuel again.
    assert!(!bench.mill.is_busy() && bench.mill.next_due_mono_ms() > Some(11_000));
    bench.at(20_000);
    assert_eq!((counts(&bench), status(&bench)), ((20, 20), None));
    let topics: Vec<&str> = bench
        .said
        .lines()
        .filter(|line| line.contains("hard"))
        .collect();
    let expected: Vec<String> = (0..20).map(|n| format!("out/hard/{n:02}")).collect();
    assert!(
        topics
            .iter()
            .zip(&expected)
            .all(|(line, topic)| line.contains(topic)),
        "{topics:?}"
    );
}

#[test]
fn a_rule_that_is_deployed_again_has_no_more_fuel_than_before() {
    let limits = FunctionLimits {
        fuel_per_second: 1_000_000,
        ..FunctionLimits::default()
    };
    let rules = [(rule("hard", "mqtt = [\"s/+\"]"), HARD_EVENT)];
    let mut bench = Bench::within(limits, &rules);
    for _ in 0..10 {
        bench.event("s/a", "");
    }
    let before = bench.ledger("hard").emitting;
    bench.deploy(&rules);
    bench.step(Input::Tick);
    assert_eq!(bench.ledger("hard").emitting, before);
    bench.at(30_000);
    assert_eq!(bench.ledger("hard").emitting, 10);
    assert!(bench.said.ends_with("out/hard/a 10\n"), "{}", bench.said);
}

#[test]
fn a_call_that_fails_at_a_cost_is_the_rules_fault_whatever_its_code() {
    // It says that the payload is too big (-3), which is the event's fault, after it did much or little.
    let too_big = |spins: u32| {
        format!(
            r#"(module (func (export "on_event") (result i32) (local $n i32)
                (local.set $n (i32.const {spins}))
                (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (i32.const -3)))"#
        )
    };
    for (spins, is_quarantined) in [(1, false), (150_000, true)] {
        let rules = [(rule("big", "mqtt = [\"s/+\"]"), &*too_big(spins).leak())];
        let mut bench = Bench::new(&rules);
        for _ in 0..6 {
            bench.event("s/a", "");
        }
        assert_eq!(
            bench.said.contains("big quarantined"),
            is_quarantined,
            "{}",
            bench.said
        );
    }
}

#[test]
fn a_deployment_whose_migrations_take_too_long_is_refused_whole() {
    let version = |schema: u32, spins: u32| {
        format!(
            r#"(module
            (import "tidemill1" "reg_get" (func $get (param i32) (result f64)))
            (import "tidemill1" "reg_set" (func $set (param i32 f64)))
            (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
            (func (export "on_event") (result i32)
                (call $set (i32.const 0) (f64.add (call $get (i32.const 0)) (f64.const 1)))
                (drop (call $emit (i32.const 0) (call $get (i32.const 0)))) (i32.const 0))
            (func (export "migrate") (param i32) (result i32) (local $n i32)
                (local.set $n (i32.const {spins}))
                (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (i32.const 0))
            (@custom "tidemill.manifest" "{{\"abi\":1,\"state\":{{\"schema\":{schema}}}}}"))"#
        )
    };
    let of = |schema, spins| {
        [(
            rule("old", "mqtt = [\"s/+\"]"),
            &*version(schema, spins).leak(),
        )]
    };
    let mut bench = Bench::new(&of(1, 1));
    let keys = 300;
    for n in 0..keys {
        bench.event(&format!("s/{n:03}"), "");
    }
    bench.said.clear();
    let deploy = |bench: &mut Bench, rules: &[(String, &str)]| {
        let rules = bind(rules);
        let subscriptions = subscriptions(&rules, &[]);
        let deployment = Deployment {
            rules,
            subscriptions,
        };
        bench.mill.deploy(bench.now, deployment, &mut Vec::new())
    };
    let refused = deploy(&mut bench, &of(2, 150_000)).unwrap_err();
    assert!(
        refused.to_string().starts_with(
            "rule old: to migrate the state of all rules takes more than 200000000 units of fuel"
        ),
        "{refused}"
    );
    // The rule before runs on with its state.
    bench.event("s/007", "").expect(&["0 out/old/007 2"]);
    deploy(&mut bench, &of(2, 10)).unwrap();
    bench.event("s/007", "").expect(&["0 out/old/007 3"]);
}
