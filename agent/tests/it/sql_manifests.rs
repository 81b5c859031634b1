//! Statements of our own through `tidemill rule test`: what the tables of others do not ask.

use assert_cmd::Command;

use super::sql_rules::{rule_test, told};

/// Results of a rule, a line each without the moment: rows as JSON, or the reason of a dead letter.
fn run(file: &str, rule: &str, events: &[(i64, &str, &str)]) -> Vec<String> {
    let output = rule_test(file, rule, events, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    told(output, "dead: ")
}

fn statement(sql: &str, events: &[(i64, &str, &str)]) -> Vec<String> {
    run("rule.sql", sql, events)
}

/// A rule that listens to `demo`, with more of a manifest in front of its port.
fn manifest(sql: &str, more: &str) -> String {
    format!(
        "name = \"x\"\n[on]\nmqtt = [\"demo\"]\n[function]\nsql = '''{sql}'''\n{more}\n[ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    )
}

#[test]
fn a_partitioned_count_window_counts_for_each_key() {
    let events = [
        (0, "demo", r#"{"d": "a", "v": 1}"#),
        (10, "demo", r#"{"d": "b", "v": 10}"#),
        (20, "demo", r#"{"d": "b", "v": 20}"#),
        (30, "demo", r#"{"d": "a", "v": 2}"#),
        (40, "demo", r#"{"v": 5}"#),
        (50, "demo", r#"{"d": null, "v": 7}"#),
    ];
    let sql = "SELECT d, collect(v) AS all FROM demo GROUP BY COUNTWINDOW(2) OVER (PARTITION BY d)";
    let expected = [
        r#"{"all":[10,20],"d":"b"}"#,
        r#"{"all":[1,2],"d":"a"}"#,
        r#"{"all":[5,7]}"#,
    ];
    assert_eq!(statement(sql, &events), expected);
}

#[test]
fn a_partitioned_state_window_begins_and_ends_for_each_key() {
    let events = [
        (0, "demo", r#"{"d": "a", "run": 1, "v": 1}"#),
        (10, "demo", r#"{"d": "b", "run": 0, "v": 2}"#),
        (20, "demo", r#"{"d": "b", "run": 1, "v": 3}"#),
        (30, "demo", r#"{"d": "a", "run": 0, "v": 4}"#),
    ];
    let sql = "SELECT d, sum(v) AS sum FROM demo \
               GROUP BY STATEWINDOW(run = 1, run = 0) OVER (PARTITION BY d)";
    assert_eq!(statement(sql, &events), [r#"{"d":"a","sum":5}"#]);
}

#[test]
fn a_partitioned_tumbling_window_folds_and_keeps_rows_alike() {
    let events = [
        (1_000, "demo", r#"{"d": "a", "v": 1}"#),
        (1_100, "demo", r#"{"d": "b", "v": 5}"#),
        (1_200, "demo", r#"{"d": "a", "v": 2}"#),
        (2_100, "demo", r#"{"d": "a", "v": 9}"#),
    ];
    let mut folded = statement(
        "SELECT d, sum(v) AS s FROM demo GROUP BY TUMBLINGWINDOW(ss, 1) OVER (PARTITION BY d)",
        &events,
    );
    folded.sort();
    assert_eq!(folded, [r#"{"d":"a","s":3}"#, r#"{"d":"b","s":5}"#]);
    let mut kept = statement(
        "SELECT d, max(v) AS m FROM demo GROUP BY TUMBLINGWINDOW(ss, 1) OVER (PARTITION BY d) ORDER BY m LIMIT 1",
        &events,
    );
    kept.sort();
    assert_eq!(kept, [r#"{"d":"a","m":2}"#, r#"{"d":"b","m":5}"#]);
}

#[test]
fn a_partitioned_sliding_window_fires_on_its_own_rows() {
    let events = [
        (0, "demo", r#"{"d": "a", "v": 1}"#),
        (10, "demo", r#"{"d": "b", "v": 3}"#),
        (20, "demo", r#"{"d": "a", "v": 7}"#),
    ];
    let sql = "SELECT d, count(*) AS n FROM demo \
               GROUP BY SLIDINGWINDOW(ss, 1) OVER (PARTITION BY d WHEN v > 5)";
    assert_eq!(statement(sql, &events), [r#"{"d":"a","n":2}"#]);
}

#[test]
fn what_cannot_partition_a_window_is_refused_with_the_way_out() {
    let refused = |sql: &str, key: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rule.toml");
        std::fs::write(
            &path,
            manifest(sql, "").replace("[function]", &format!("{key}\n[function]")),
        )
        .unwrap();
        let mut command = Command::cargo_bin("tidemill").unwrap();
        let output = command.args(["rule", "build"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{sql}");
        String::from_utf8(output.stderr).unwrap()
    };
    let window = |by: &str| {
        format!("SELECT count(*) AS n FROM demo GROUP BY COUNTWINDOW(2) OVER (PARTITION BY {by})")
    };
    let error = refused(&window("a, b"), "");
    assert!(
        error.contains("takes one column; others are written GROUP BY"),
        "{error}"
    );
    let error = refused(&window("upper(a)"), "");
    assert!(error.contains("takes a column of the payload"), "{error}");
    let error = refused(&window("a"), "key = \"{topic.0}\"");
    assert!(error.contains("leave out one of the two"), "{error}");
}

#[test]
fn declared_fields_are_converted_where_nothing_is_lost() {
    let events = [
        (1_000, "demo", r#"{"t": "70", "d": "a"}"#),
        (1_010, "demo", r#"{"t": 60, "d": 7}"#),
        (1_020, "demo", r#"{"t": "hot", "d": "a"}"#),
        (1_030, "demo", r#"{"t": true, "d": "a"}"#),
        (1_040, "demo", r#"{"T": 80.5, "d": "a"}"#),
        (1_050, "demo", r#"{"t": null, "d": "a"}"#),
        (2_500, "demo", r#"{"t": 0, "d": "a"}"#),
    ];
    let fields = "[streams.input]\nfields = { t = \"float\", d = \"string\" }";
    let dead = [
        r#"dead: t: string "hot" is no float"#,
        "dead: t: boolean true is no float",
    ];
    let filter = manifest("SELECT t, d FROM input WHERE t > 65", fields);
    let expected = [
        r#"{"d":"a","t":70}"#,
        dead[0],
        dead[1],
        r#"{"d":"a","t":80.5}"#,
    ];
    assert_eq!(run("x.toml", &filter, &events), expected);
    let passing = manifest("SELECT * FROM input", fields);
    let all = run("x.toml", &passing, &events);
    assert_eq!(all[1], r#"{"d":"7","t":60}"#);
    let folded = manifest(
        "SELECT d, avg(t) AS mean, max(t) AS max, count(t) AS n FROM input GROUP BY d, TUMBLINGWINDOW(ss, 1)",
        fields,
    );
    let mut rows = run("x.toml", &folded, &events);
    rows.sort();
    let expected = [
        dead[1],
        dead[0],
        r#"{"d":"7","max":60,"mean":60,"n":1}"#,
        r#"{"d":"a","max":80.5,"mean":75.25,"n":2}"#,
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_payload_that_is_no_object_is_a_dead_letter_whatever_the_statement_reads() {
    let events = [
        (1_000, "demo", "[{\"v\": 1}]"),
        (1_010, "demo", "42"),
        (2_500, "demo", "{}"),
    ];
    let dead = [
        "dead: payload is a list, not an object; a statement calls it self, or write list = \"rows\" under [streams.NAME]",
        "dead: payload is a number, not an object; a statement calls it self",
    ];
    for (sql, last) in [
        ("SELECT * FROM demo WHERE v > 5", None),
        ("SELECT v FROM demo WHERE v > 5", None),
        (
            "SELECT count(*) AS n FROM demo GROUP BY TUMBLINGWINDOW(ss, 1)",
            None,
        ),
        (
            "SELECT avg(v) AS n FROM demo GROUP BY TUMBLINGWINDOW(ss, 1)",
            None,
        ),
        (
            "SELECT count(*) AS n, d FROM demo GROUP BY d, TUMBLINGWINDOW(ss, 1)",
            None,
        ),
        (
            "SELECT count(*) AS n FROM demo GROUP BY COUNTWINDOW(1)",
            Some(r#"{"n":1}"#),
        ),
    ] {
        let expected: Vec<&str> = dead.into_iter().chain(last).collect();
        assert_eq!(statement(sql, &events), expected, "{sql}");
    }
}

#[test]
fn a_stream_that_the_statement_declares_brings_its_topic_along() {
    let sql = "CREATE STREAM room (t FLOAT) WITH (DATASOURCE=\"rooms/+/env\"); SELECT t FROM room WHERE t > 5";
    let rule = manifest(sql, "").replace("[on]\nmqtt = [\"demo\"]\n", "");
    let events = [
        (0, "rooms/1/env", r#"{"t": 9}"#),
        (10, "demo", r#"{"t": 8}"#),
    ];
    assert_eq!(run("x.toml", &rule, &events), [r#"{"t":9}"#]);
    // Without DATASOURCE the stream has what the rule listens to.
    let sql = sql.replace(" WITH (DATASOURCE=\"rooms/+/env\")", "");
    assert_eq!(run("x.toml", &manifest(&sql, ""), &events), [r#"{"t":8}"#]);
}
