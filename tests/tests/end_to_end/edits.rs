//! Edits of rules in SQL: what is kept, and what is said of it, by `check`, by a reload, by `rule build` and
//! by `state`.

use std::process::Command;

use serde_json::{Value, json};
use tidemill_tests::{Gateway, run};

use crate::support::{balanced, broker, listener, payloads, sensor};

fn statement(sql: &str) -> String {
    format!(
        "[on]\nmqtt = [\"sensors/+/env\"]\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    )
}

fn values(messages: Vec<(String, String)>) -> Vec<Value> {
    let payloads = payloads(messages).into_iter();
    payloads
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

#[test]
fn a_directory_of_before_names_opens_and_a_rule_that_is_unchanged_keeps_its_state() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let rule = |gateway: &Gateway, name: &str, sql: &str, more: &str| {
        let text = statement(sql).replace("\"out\"", &format!("\"{name}\""));
        gateway.rule(name, &format!("{more}{text}"));
    };
    let by_event_time = "[streams.input]\ntimestamp = \"/ts\"\n";
    let memory = "SELECT lag(n) AS a, acc_sum(n) OVER (PARTITION BY d) AS s, lag(n) AS b, \
                  acc_count(n) AS c FROM input";
    rule(&gateway, "memory", memory, "");
    rule(
        &gateway,
        "fold",
        "SELECT d, sum(n) AS s, count(*) AS c FROM input WHERE n > 0 GROUP BY d, TUMBLINGWINDOW(ss, 10)",
        by_event_time,
    );
    rule(
        &gateway,
        "rows",
        "SELECT n, lag(n) AS l, acc_sum(n) AS s, lag(n) AS k FROM input GROUP BY TUMBLINGWINDOW(ss, 10)",
        by_event_time,
    );
    // Three events in it, of n 4, 5 and 6, each with two windows open.
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/data/before-names.tar.gz");
    let unpacked = Command::new("tar")
        .args(["xzf", archive])
        .current_dir(gateway.path("."))
        .status()
        .unwrap();
    assert!(unpacked.success());
    let check = gateway.tidemill("check");
    assert!(check.out.contains("all is well"), "{check:?}");
    gateway.start();
    let mut memories = listener(&broker, "memory");
    let mut folds = listener(&broker, "fold");
    let mut rows = listener(&broker, "rows");
    let mut sensor = sensor(&broker);
    let mut send = |s: i64, n: i64| {
        let event = json!({ "ts": 1_764_500_000_000_i64 + s * 1_000, "n": n, "d": "a" });
        sensor.publish("sensors/d/env", event.to_string().as_bytes(), 1, false);
    };
    send(4, 7);
    send(11, 1);
    assert_eq!(
        values(memories.receive_texts(2)),
        [
            json!({ "a": 6, "s": 16, "b": 6, "c": 4 }),
            json!({ "a": 7, "s": 17, "b": 7, "c": 5 })
        ]
    );
    let groups = [
        json!({ "d": "a", "s": 16, "c": 3 }),
        json!({ "d": "b", "s": 6, "c": 1 }),
    ];
    assert_eq!(values(folds.receive_texts(2)), groups);
    assert_eq!(
        values(rows.receive_texts(4)),
        [
            json!({ "n": 4, "s": 4 }),
            json!({ "n": 5, "l": 4, "s": 9, "k": 4 }),
            json!({ "n": 6, "l": 5, "s": 15, "k": 5 }),
            json!({ "n": 7, "l": 6, "s": 22, "k": 6 }),
        ]
    );
    // From now on there are names, and an edit finds its parts.
    rule(
        &gateway,
        "memory",
        "SELECT acc_count(n) AS c, lag(n) AS a FROM input",
        "",
    );
    gateway.stop();
    gateway.start();
    gateway.until_logged(
        "rule memory: acc_count(n), lag(n) keep their state; acc_sum(n) OVER (PARTITION BY d) is dropped",
    );
    send(12, 2);
    assert_eq!(
        values(memories.receive_texts(1)),
        [json!({ "c": 6, "a": 1 })]
    );
    let log = gateway.stop();
    balanced(&log, "rows");
}

#[test]
fn a_count_goes_on_through_a_hundred_edits_under_load() {
    const EVENTS: usize = 3_000;
    const EXTRAS: [&str; 4] = ["lag(n)", "acc_sum(n)", "acc_max(n)", "acc_min(n)"];
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let edited = |number: usize| {
        let extra = EXTRAS[number % EXTRAS.len()];
        let alias = number % 3;
        statement(&format!(
            "SELECT {extra} AS x{alias}, acc_count(n) AS c FROM input WHERE n >= 0"
        ))
    };
    gateway.rule("count", &edited(0));
    gateway.start();
    let mut out = listener(&broker, "out");
    let mut flooding = sensor(&broker);
    let flood = std::thread::spawn(move || {
        let event = |n: usize| {
            (
                "sensors/d/env".to_owned(),
                format!("{{\"n\":{n}}}").into_bytes(),
            )
        };
        flooding.publish_all((0..EVENTS).map(event));
    });
    for number in 1..=100 {
        gateway.rule("count", &edited(number));
        gateway.reload();
        let (old, new) = (EXTRAS[(number - 1) % 4], EXTRAS[number % 4]);
        gateway.until_logged_times(
            &format!(
                "rule count: {new} begins anew; acc_count(n) keeps its state; {old} is dropped"
            ),
            number.div_ceil(4),
        );
    }
    let counts = values(out.receive_texts(EVENTS));
    flood.join().unwrap();
    for (count, value) in (1..).zip(&counts) {
        assert_eq!(value["c"], json!(count), "{value}");
    }
    let log = gateway.stop();
    assert_eq!(balanced(&log, "count"), EVENTS as u64);
}

#[test]
fn an_edit_is_told_before_it_is_made_and_state_is_shown_by_its_names() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    let old = "SELECT acc_sum(n) OVER (PARTITION BY d) AS s FROM input";
    let new = "SELECT lag(n) AS l, acc_sum(n) OVER (PARTITION BY d) AS s FROM input";
    let edit = "rule energy: lag(n) begins anew; acc_sum(n) OVER (PARTITION BY d) keeps its state";
    let hourly = "SELECT sum(a) AS s FROM input GROUP BY d, TUMBLINGWINDOW(hh, 8000)";
    gateway.rule("energy", &statement(old));
    gateway.rule("hourly", &statement(hourly));
    gateway.start();
    let mut out = listener(&broker, "out");
    let mut sensor = sensor(&broker);
    let mut send = |n: i64, d: &str| {
        let event = json!({ "n": n, "d": d, "a": 1, "b": 2 }).to_string();
        sensor.publish("sensors/d/env", event.as_bytes(), 1, false);
    };
    for (n, d) in [(4, "x"), (5, "x"), (6, "y")] {
        send(n, d);
    }
    out.receive_texts(3);
    // Of an agent that runs.
    gateway.rule("energy", &statement(new));
    gateway.rule("hourly", &statement(&hourly.replace("sum(a)", "sum(b)")));
    let given_up = "rule hourly: sum(a) is given up, 2 open windows; sum(b) begins anew";
    let check = gateway.tidemill("check");
    assert!(
        check.out.contains(edit) && check.out.contains(given_up),
        "{check:?}"
    );
    let listed = gateway.tidemill("state list hourly --json");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let shown = gateway.tidemill("state get energy --json");
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let part = &shown["parts"][0];
    assert_eq!(part["name"], json!("acc_sum(n) OVER (PARTITION BY d)"));
    assert_eq!(part["partition"], json!(["x"]), "{shown}");
    assert_eq!(part["value"], json!([true, 9, 2]), "{shown}");
    let shown = gateway.tidemill("state get hourly x");
    assert!(shown.out.contains("\"sum(a)\":2.0"), "{shown:?}");
    // Before it starts.
    gateway.stop();
    let check = gateway.tidemill("check");
    assert!(
        check.out.contains(edit) && check.out.contains(given_up),
        "{check:?}"
    );
    let shown = gateway.tidemill("state get energy");
    assert!(
        shown.out.contains("acc_sum(n) OVER (PARTITION BY d) of "),
        "{shown:?}"
    );
    let refused = gateway.tidemill("state rm energy");
    assert!(
        refused.code == Some(1) && refused.err.contains("no agent runs on"),
        "{refused:?}"
    );
    let unknown = gateway.tidemill("state get nothing");
    let known = "nothing is kept of a rule \"nothing\", only of energy, hourly";
    assert!(
        unknown.code == Some(1) && unknown.err.contains(known),
        "{unknown:?}"
    );
    gateway.start();
    gateway.until_logged(edit);
    gateway.until_logged(given_up);
    let check = gateway.tidemill("check");
    assert!(!check.out.contains("rule energy: "), "{check:?}");
    send(7, "x");
    assert_eq!(values(out.receive_texts(1)), [json!({ "s": 16 })]);
    // Taken away, and gone after a crash as well.
    let many = gateway.tidemill("state rm energy nobody");
    assert!(
        many.code == Some(1) && many.err.contains("keeps nothing of a key"),
        "{many:?}"
    );
    let one = gateway.tidemill("state rm energy all");
    assert!(
        one.code == Some(0) && one.out.contains("all begins anew"),
        "{one:?}"
    );
    let all = gateway.tidemill("state rm hourly");
    assert!(all.out.contains("1 key begins anew"), "{all:?}");
    gateway.kill();
    gateway.start();
    send(8, "x");
    let mut sums = values(out.receive_texts(1));
    if sums == [json!({ "s": 16 })] {
        // The row of before the kill, whose acknowledgement was not written yet.
        sums = values(out.receive_texts(1));
    }
    assert_eq!(sums, [json!({ "s": 8 })]);
    let log = gateway.stop();
    balanced(&log, "energy");
    // Away from any gateway.
    let before = statement(old);
    std::fs::write(
        gateway.path("old.toml"),
        format!("name = \"energy\"\n{before}"),
    )
    .unwrap();
    let words = [
        "rule",
        "build",
        "rules/energy.toml",
        "--against",
        "old.toml",
    ];
    let built = run(&gateway.path("."), &words);
    assert!(built.out.contains(edit), "{built:?}");
}

fn silence(key: &str, params: &str) -> String {
    format!(
        "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{key}\"\n[function]\nstock = \"silence\"\n\
         [params]\n{params}\n[ports.silent]\nto = \"local\"\ntopic = \"silent/{{key}}\"\n"
    )
}

fn deadband(input: &str, band: &str) -> String {
    format!(
        "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{{topic.1}}\"\n[function]\nstock = \"deadband\"\n\
         [inputs]\nvalue = \"{input}\"\n[params]\n{band}\n\
         [ports.out]\nto = \"local\"\ntopic = \"moved\"\n"
    )
}

/// Of a function that ships: by `check` of a stopped gateway and of a running one, by a reload, and by
/// `rule build`.
#[test]
fn an_edit_of_a_stock_rule_is_told_and_no_timer_of_another_key_goes_on() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("quiet", &silence("{topic}", "for = \"1h\""));
    gateway.rule("move", &deadband("/n", "band = 5"));
    gateway.start();
    let mut moved = listener(&broker, "moved");
    let mut sensor = sensor(&broker);
    sensor.publish("sensors/a/env", br#"{"n":20,"h":22}"#, 1, false);
    moved.receive_texts(1);
    // The parts of the state are called by their names.
    let listed = gateway.tidemill("state list");
    assert!(
        listed.out.contains("quiet") && listed.out.contains("move"),
        "{listed:?}"
    );
    let listed = gateway.tidemill("state list --json");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed[1]["rule"], json!("quiet"), "{listed}");
    assert_eq!(
        (&listed[1]["keys"], &listed[1]["timers"]),
        (&json!(1), &json!(1)),
        "{listed}"
    );
    let shown = gateway.tidemill("state get quiet");
    assert!(shown.out.contains("last = 1"), "{shown:?}");
    assert!(shown.out.contains("timer silence at "), "{shown:?}");
    let shown = gateway.tidemill("state get move");
    assert!(
        shown.out.contains("passed = 1") && shown.out.contains("last = 20"),
        "{shown:?}"
    );
    // Nothing was edited, and nothing is said of it.
    let check = gateway.tidemill("check");
    assert!(
        !check.out.contains("rule quiet: ") && !check.out.contains("rule move: "),
        "{check:?}"
    );
    let params = "rule move: band was 5, is 6; passed, last, passed at keep their state";
    gateway.rule("move", &deadband("/n", "band = 6"));
    let check = gateway.tidemill("check");
    assert!(check.out.contains(params), "{check:?}");
    let key = "rule quiet: its key is another one; for was 1h, is 2h; is silent, last, timer silence begin anew";
    gateway.rule("quiet", &silence("{topic.1}", "for = \"2h\""));
    let check = gateway.tidemill("check");
    assert!(check.out.contains(key), "{check:?}");
    gateway.reload();
    gateway.until_logged(params);
    gateway.until_logged(key);
    // Of the old key nothing is left that could fall due.
    let listed = gateway.tidemill("state list quiet --json");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["keys"], json!([]), "{listed}");
    // Another input is another quantity: 22 is news, though 20 was the last of the other.
    let old = deadband("/n", "band = 6");
    let new = deadband("/h", "band = 6");
    let input = "rule move: deadband of /n is deadband of /h now, and all that was kept is dropped; passed, last, \
                 passed at begin anew";
    gateway.rule("move", &new);
    gateway.stop();
    let check = gateway.tidemill("check");
    assert!(check.out.contains(input), "{check:?}");
    gateway.start();
    gateway.until_logged(input);
    sensor.publish("sensors/a/env", br#"{"n":20,"h":22}"#, 1, false);
    assert_eq!(payloads(moved.receive_texts(1)), [r#"{"n":20,"h":22}"#]);
    gateway.stop();
    std::fs::write(gateway.path("old.toml"), format!("name = \"move\"\n{old}")).unwrap();
    let words = ["rule", "build", "rules/move.toml", "--against", "old.toml"];
    let built = run(&gateway.path("."), &words);
    assert!(built.out.contains(input), "{built:?}");
}
