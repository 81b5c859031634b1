//! The same statement, worked out in each of the ways that the compiler has: the same rows under the
//! same keys, and the same dead letters, through the mill that a gateway runs.

#[allow(
    dead_code,
    unreachable_pub,
    reason = "it makes other statements for the fuzzers"
)]
#[path = "../../../rules/sql/fuzz/src/grammar.rs"]
mod grammar;

use std::sync::Arc;

use grammar::{CLAUSES, Writer};
use tidemill::config::limits::FunctionLimits;
use tidemill::event::Event;
use tidemill::event::clock::Now;
use tidemill::install::Installer;
use tidemill::mill::{BoundRule, Deployment, Input, Mill, Output};
use tidemill::rule::{FunctionSource, Gateway, Rule, Statement};
use tidemill_base::text::Source;
use tidemill_sql::{Options, Plan, compile};
use tidemill_transport::topic::Topic;

const SEED: u64 = 0x7469_6465_6d69_6c6c;
const START: i64 = 1_700_000_000_000;

/// Results of a statement.
#[derive(Debug, PartialEq)]
struct Came {
    /// Time, topic, key and payload of each row.
    rows: Vec<(i64, String, String, String)>,
    /// Time, topic, payload and reason of each dead letter, in order of these.
    dead: Vec<(i64, String, String, String)>,
}

/// One round of SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn pick<'a>(state: &mut u64, from: &[&'a str]) -> &'a str {
    from[random(state) as usize % from.len()]
}

fn bound(sql: &str, plan: Plan, limits: &FunctionLimits) -> BoundRule {
    let text = format!(
        "name = \"plan\"\n[on]\nmqtt = [\"demo\"]\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out/{{key}}\"\n"
    );
    let source = Source {
        path: "plan.toml".into(),
        text,
    };
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits,
    };
    let mut rule = Rule::parse(source, &gateway).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let options = Options {
        plan,
        name: "plan".to_owned(),
        ..Options::default()
    };
    let compiled = compile(sql, &options).unwrap();
    rule.function = FunctionSource::Sql(Arc::new(Statement {
        sql: sql.to_owned(),
        wasm: compiled.wasm,
        plan: compiled.plan,
    }));
    Installer::new(limits).install(rule, &["local"]).unwrap()
}

/// The way in which the window is kept, as `rule explain` says it.
fn explained(bound: &BoundRule) -> String {
    let FunctionSource::Sql(statement) = &bound.rule().function else {
        panic!("a rule in SQL")
    };
    let kept = statement.plan.iter().find(|(name, _)| *name == "keeps");
    let described = bound.describe();
    let key = described.iter().find(|(name, _)| *name == "key").unwrap();
    format!("{}; key {}", kept.unwrap().1, key.1)
}

fn now(at: i64) -> Now {
    Now {
        mono_ms: at.unsigned_abs(),
        wall_ms: at,
        ..Now::default()
    }
}

fn run(bound: BoundRule, events: &[(i64, String)]) -> Came {
    let mut mill = Mill::new();
    let deployment = Deployment {
        rules: vec![bound],
        subscriptions: Vec::new(),
    };
    let mut outputs = Vec::new();
    mill.deploy(now(START), deployment, &mut outputs).unwrap();
    for (after, payload) in events {
        let at = START + after;
        advance(&mut mill, at, &mut outputs);
        let event = Event::new(Topic::new("demo").unwrap(), payload.clone(), at);
        mill.step(now(at), Input::Events(vec![event]), &mut outputs);
    }
    advance(&mut mill, START + 60_000, &mut outputs);
    let mut came = Came {
        rows: Vec::new(),
        dead: Vec::new(),
    };
    for output in outputs {
        match output {
            Output::Emission(sent) => came.rows.push((
                sent.at_ms - START,
                sent.topic.as_str().to_owned(),
                sent.key.to_string(),
                String::from_utf8_lossy(&sent.payload).into_owned(),
            )),
            Output::DeadLetter(dead) => came.dead.push((
                dead.at_ms - START,
                dead.topic.as_str().to_owned(),
                String::from_utf8_lossy(&dead.payload).into_owned(),
                dead.reason,
            )),
            _ => {}
        }
    }
    came.dead.sort();
    came
}

fn advance(mill: &mut Mill, until: i64, outputs: &mut Vec<Output>) {
    while let Some(due) = mill.next_due_mono_ms()
        && due <= until.unsigned_abs()
    {
        mill.step(now(due.cast_signed()), Input::Tick, outputs);
    }
}

/// Events of 12 s whose keys and values are of all types.
fn mixed(state: &mut u64) -> Vec<(i64, String)> {
    const KEYS: [&str; 13] = [
        r#""k":"a","#,
        r#""k":"a","#,
        r#""k":"b","#,
        r#""k":"b","#,
        r#""k":5,"#,
        r#""k":"5","#,
        r#""k":5.0,"#,
        r#""k":null,"#,
        r#""k":"","#,
        "",
        r#""k":true,"#,
        r#""k":[1],"#,
        r#""K":"a","#,
    ];
    const VALUES: [&str; 18] = [
        "1",
        "2",
        "3",
        "7",
        "-4",
        "2.5",
        "0.1",
        "1e300",
        "9007199254740993",
        "9223372036854775807",
        "-9007199254740991",
        "\"err\"",
        "\"12\"",
        "true",
        "[1,2]",
        "{\"a\":1}",
        "null",
        "-0.0",
    ];
    const OTHERS: [&str; 6] = ["5", "12", "30.5", "80", "null", "\"w\""];
    let count = 30 + random(state) as usize % 30;
    let long = format!("\"k\":\"{}\",", "x".repeat(300));
    let mut events = Vec::new();
    for number in 0..count {
        let key = match random(state) % 30 {
            0 => &long,
            _ => pick(state, &KEYS),
        };
        // Mostly numbers, so that windows hold more than dead letters.
        let value = match random(state) % 3 {
            0 => pick(state, &VALUES),
            _ => pick(state, &VALUES[..7]),
        };
        let other = match random(state) % 12 {
            0 => pick(state, &OTHERS),
            _ => pick(state, &OTHERS[..4]),
        };
        let after = 12_000 * number as i64 / count as i64;
        let payload = format!("{{{key}\"v\":{value},\"w\":{other},\"o\":{{\"n\":{number}}}}}");
        events.push((after, payload));
    }
    events
}

/// Number of aggregates.
fn aggregates() -> usize {
    let all = tidemill_values::functions();
    all.filter(|function| function.kind == tidemill_values::Kind::Aggregate)
        .count()
}

/// A statement for an aggregate and a clause, from bytes that are drawn.
fn statement(state: &mut u64, number: usize, clause: &str) -> String {
    let bytes: Vec<u8> = (0..24).map(|_| random(state) as u8).collect();
    Writer::window_of(&bytes, number, clause)
}

/// The same statement with an item that fails at the firing of some groups: those of texts.
fn faulty(sql: &str) -> String {
    const FAULT: &str = "CASE WHEN count(*) > 2 THEN sum(w) - k ELSE 0 END AS fault";
    match sql.strip_prefix("SELECT DISTINCT ") {
        Some(rest) => format!("SELECT DISTINCT {FAULT}, {rest}"),
        None => sql.replacen("SELECT ", &format!("SELECT {FAULT}, "), 1),
    }
}

#[test]
fn a_fault_at_the_firing_is_the_same_groups_with_and_without_an_order() {
    let mut state = SEED;
    let limits = FunctionLimits::default();
    let mut faults = 0;
    for (sql, keeps) in [
        (
            "SELECT k, sum(v) - k AS x FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5)",
            "slots",
        ),
        (
            "SELECT k, count(*) AS x FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5) HAVING k < \"b\"",
            "slots",
        ),
        (
            "SELECT k, max(v) - k AS x FROM demo GROUP BY k, HOPPINGWINDOW(ss, 10, 5)",
            "slots",
        ),
        (
            "SELECT k, max(v) AS x FROM demo WHERE w > 10 GROUP BY k, TUMBLINGWINDOW(ss, 5) HAVING max(w) > k",
            "rows, those",
        ),
        (
            "SELECT k, o->n AS n, v - 1 AS x FROM demo GROUP BY TUMBLINGWINDOW(ss, 5)",
            "rows, all",
        ),
        (
            "SELECT o->n AS n, v FROM demo GROUP BY HOPPINGWINDOW(ss, 10, 5) FILTER (WHERE w > 1)",
            "rows, all",
        ),
        (
            "SELECT count(*) AS n, w FROM demo GROUP BY w + 1, TUMBLINGWINDOW(ss, 5)",
            "rows, all",
        ),
    ] {
        for _ in 0..10 {
            let events = mixed(&mut state);
            let plan = explained(&bound(sql, Plan::Auto, &limits));
            assert!(plan.starts_with(keeps), "{sql}: {plan}");
            let run = |sql: &str, plan| run(bound(sql, plan, &limits), &events);
            let plain = run(sql, Plan::Auto);
            assert_eq!(plain, run(sql, Plan::Together), "{sql}");
            faults += plain.dead.len();
            let sorted = |mut came: Came| {
                came.rows.sort();
                came
            };
            let plain = sorted(plain);
            let by = if sql.contains("GROUP BY k") {
                "count(*)"
            } else {
                "window_start()"
            };
            let distinct = sql.replacen("SELECT", "SELECT DISTINCT", 1);
            for other in [
                format!("{sql} LIMIT 1000"),
                format!("{sql} ORDER BY {by}"),
                format!("{sql} ORDER BY {by} DESC LIMIT 1000"),
                distinct,
            ] {
                assert_eq!(sorted(run(&other, Plan::Auto)), plain, "{other}");
            }
        }
    }
    assert!(faults > 200, "{faults}");
}

#[test]
fn declared_fields_are_looked_at_or_not_whichever_plan_is_taken() {
    let limits = FunctionLimits::default();
    let declared = "CREATE STREAM demo (k STRING, v FLOAT, w BIGINT, o STRUCT, t DATETIME) WITH (DATASOURCE=\"demo\"); ";
    let bad = [
        r#"{"k":"a","v":1,"w":2,"o":{},"t":1700000000000}"#,
        r#"{"k":["a"],"v":1,"w":2}"#,
        r#"{"k":"a","v":"x","w":2}"#,
        r#"{"k":"a","v":"2.5","w":2}"#,
        r#"{"k":"a","v":1,"w":2.5}"#,
        r#"{"k":"a","v":1,"w":"7"}"#,
        r#"{"k":"a","v":1,"w":18446744073709551615}"#,
        r#"{"k":"a","v":1,"w":2,"o":5}"#,
        r#"{"k":"a","v":1,"w":2,"t":"soon"}"#,
        r#"{"k":true,"v":-0.0,"w":0}"#,
        r#"{"K":7,"V":1,"W":"z"}"#,
    ];
    let events: Vec<_> = (0..)
        .zip(bad)
        .map(|(n, payload)| (n * 100, payload.to_owned()))
        .collect();
    for (sql, dead) in [
        (
            "SELECT k, sum(v) AS s FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5)",
            2,
        ),
        (
            "SELECT k, max(v) AS s, count(*) AS n FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5)",
            2,
        ),
        (
            "SELECT k, sum(v) AS s FROM demo WHERE w > 0 GROUP BY k, TUMBLINGWINDOW(ss, 5)",
            5,
        ),
        (
            "SELECT count(*) AS n FROM demo GROUP BY TUMBLINGWINDOW(ss, 5)",
            0,
        ),
        (
            "SELECT count(o) AS n FROM demo WHERE t > 5 GROUP BY TUMBLINGWINDOW(ss, 5)",
            2,
        ),
        (
            "SELECT sum(v) AS w FROM demo GROUP BY TUMBLINGWINDOW(ss, 5)",
            1,
        ),
        (
            "SELECT stddev(v) AS s FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5)",
            2,
        ),
    ] {
        let sql = format!("{declared}{sql}");
        let came = run(bound(&sql, Plan::Auto, &limits), &events);
        let other = run(bound(&sql, Plan::Together, &limits), &events);
        assert_eq!(came, other, "{sql}");
        assert_eq!(came.dead.len(), dead, "{sql} {:#?}", came.dead);
    }
}

#[test]
fn a_group_shows_the_value_that_came_first_whichever_plan_is_taken() {
    let limits = FunctionLimits::default();
    for (keys, groups) in [
        (&["-0.0", "0"][..], 1),
        (&["0", "-0.0"], 1),
        (&["0.0", "-0.0"], 1),
        (&["\"-0\"", "-0.0"], 2),
        (&["5", "\"5\""], 1),
        (&["\"5\"", "5.0"], 1),
        (&["null", "\"\""], 1),
        (&["2.5", "\"2.5\""], 1),
        (&["true", "\"true\""], 1),
    ] {
        let event = |(n, key): (i64, &&str)| (n * 100, format!(r#"{{"k":{key},"v":1}}"#));
        let events: Vec<_> = (0..).zip(keys).map(event).collect();
        for of in ["sum(v)", "max(v)"] {
            let sql = format!("SELECT k, {of} AS s FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 5)");
            let came = run(bound(&sql, Plan::Auto, &limits), &events);
            let other = run(bound(&sql, Plan::Together, &limits), &events);
            assert_eq!(came, other, "{sql} {keys:?}");
            // An empty key cannot stand in a topic.
            let came = came.rows.len() + came.dead.len();
            assert_eq!(came, groups, "{sql} {keys:?}");
        }
    }
}

#[test]
fn a_statement_gives_the_same_whichever_plan_is_taken() {
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let limits = FunctionLimits {
        fuel: 100_000_000,
        emission_bytes: 1 << 20,
        state_bytes: 16 << 20,
        ..FunctionLimits::default()
    };
    let rounds = 500_usize.div_ceil(aggregates() * CLAUSES.len());
    let (mut statements, mut slots, mut apart, mut rows, mut dead) = (0, 0, 0, 0, 0);
    for number in 0..rounds * aggregates() {
        for clause in CLAUSES {
            let mut sql = statement(&mut state, number, clause);
            if number % 2 == 1 {
                sql = faulty(&sql);
            }
            let events = mixed(&mut state);
            let auto = bound(&sql, Plan::Auto, &limits);
            let together = bound(&sql, Plan::Together, &limits);
            let (taken, other) = (explained(&auto), explained(&together));
            assert_eq!(other, "rows, all together; key always all", "{sql}");
            slots += u32::from(taken == "slots: numbers are kept, no rows; key /k of the payload");
            apart +=
                u32::from(taken == "rows, those of each key for themselves; key /k of the payload");
            let needs_all =
                matches!(clause, "ORDER BY" | "LIMIT" | "OVER") || sql.contains("DISTINCT");
            assert_eq!(taken == other, needs_all, "{sql}: {taken}");
            let (came, other) = (run(auto, &events), run(together, &events));
            assert_eq!(came, other, "{sql}\n{taken}\n{events:#?}");
            rows += came.rows.len();
            dead += came.dead.len();
            statements += 1;
        }
    }
    println!(
        "{statements} statements, {slots} in slots, {apart} by key, {rows} rows, {dead} dead letters"
    );
    assert!(statements >= 500 && slots > 10 && apart > 100);
    assert!(rows > 3_000 && dead > 4_000);
}

#[test]
fn order_and_limit_pick_from_the_rows_of_the_other_plans() {
    let mut state = SEED;
    let limits = FunctionLimits::default();
    for (plain, more) in [
        (
            "SELECT k, sum(v) AS x FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 10)",
            "ORDER BY count(*)",
        ),
        (
            "SELECT k, max(v) AS x FROM demo GROUP BY k, TUMBLINGWINDOW(ss, 10)",
            "ORDER BY count(*) DESC",
        ),
        (
            "SELECT k, avg(w) AS x FROM demo GROUP BY k, HOPPINGWINDOW(ss, 10, 5)",
            "LIMIT 100",
        ),
    ] {
        for _ in 0..10 {
            let events = mixed(&mut state);
            let run = |sql: &str| run(bound(sql, Plan::Auto, &limits), &events);
            let mut ordered = run(&format!("{plain} {more}"));
            let mut plain = run(plain);
            plain.rows.sort();
            ordered.rows.sort();
            assert_eq!(plain, ordered, "{more}");
        }
    }
}

#[test]
fn five_thousand_groups_give_the_same_whichever_plan_is_taken() {
    println!("seed {SEED:#x}");
    let mut state = SEED;
    let limits = FunctionLimits {
        fuel: 10_000_000_000,
        emission_bytes: 4 << 20,
        value_bytes: 64 << 20,
        state_bytes: 256 << 20,
        keys: 20_000,
        ..FunctionLimits::default()
    };
    for number in 0..20 {
        let clause = CLAUSES[number % 4];
        let sql = statement(&mut state, number, clause);
        let sql = sql.replace("HOPPINGWINDOW(ss, 10, 5)", "TUMBLINGWINDOW(ss, 10)");
        let sql = sql.replace("TUMBLINGWINDOW(ss, 5)", "TUMBLINGWINDOW(ss, 10)");
        let events: Vec<(i64, String)> = (0..5_500)
            .map(|event: i64| {
                let value = match random(&mut state) % 200 {
                    0 => "\"err\"",
                    _ => pick(&mut state, &["1", "2.5", "9007199254740993", "-7"]),
                };
                let key = event % 5_000;
                let payload = format!(
                    "{{\"k\":\"d{key}\",\"v\":{value},\"w\":{},\"o\":{{}}}}",
                    event % 100
                );
                (event, payload)
            })
            .collect();
        let came = run(bound(&sql, Plan::Auto, &limits), &events);
        let other = run(bound(&sql, Plan::Together, &limits), &events);
        assert_eq!(came.rows.len(), other.rows.len(), "{sql}");
        assert!(came == other, "{sql}");
        let all = came.rows.len() + came.dead.len();
        assert!(all >= 500, "{sql}: {all}");
    }
}

#[test]
fn extremes_of_numbers_and_places_in_objects_fold_and_give_the_same() {
    let mut state = SEED;
    let limits = FunctionLimits {
        fuel: 100_000_000,
        ..FunctionLimits::default()
    };
    let folded = "slots: numbers are kept, no rows; key /k of the payload";
    let declared = "CREATE STREAM demo (FIELDS) WITH (DATASOURCE=\"demo\"); ";
    for (fields, items) in [
        ("", "max(v) - min(v) AS spread"),
        (
            "",
            "avg(v) AS mean, min(v) AS low, max(v) AS high, count(v) AS n",
        ),
        ("", "-min(v) AS low, max(v) * 2 AS high, count(*) AS n"),
        ("", "max(o.n) - min(o->n) AS used, sum(o.n) AS total"),
        (
            "v BIGINT",
            "sum(v) AS total, min(v) AS low, max(v) AS high, count(v) AS n",
        ),
        ("v FLOAT", "max(v) - min(v) AS spread, avg(v) AS mean"),
        (
            "`o.n` FLOAT",
            "max(o.n) - min(o.n) AS used, count(o.n) AS n",
        ),
        (
            "`o.n` BIGINT",
            "max(o.n) - min(o.n) AS used, avg(o.n) AS mean",
        ),
        ("`O.N` BIGINT", "max(O.N) - min(O.N) AS used, count(*) AS n"),
    ] {
        let mut rows = 0;
        for window in ["TUMBLINGWINDOW(ss, 10)", "HOPPINGWINDOW(ss, 10, 5)"] {
            let sql = format!("SELECT k, {items} FROM demo GROUP BY k, {window}");
            let sql = match fields {
                "" => sql,
                fields => declared.replace("FIELDS", fields) + &sql,
            };
            for _ in 0..20 {
                let events = mixed(&mut state);
                let auto = bound(&sql, Plan::Auto, &limits);
                assert_eq!(explained(&auto), folded, "{sql}");
                let came = run(auto, &events);
                let other = run(bound(&sql, Plan::Together, &limits), &events);
                assert_eq!(came, other, "{sql}\n{events:#?}");
                rows += came.rows.len();
            }
        }
        assert!(rows > 100, "{items}: {rows}");
    }
}
