//! Results of statements over events, through `tidemill rule test`: where the language leaves room
//! for doubt, eKuiper's code decides. Each table is statements on the same events.

use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

const START: i64 = 1_541_152_480_000;

/// Runs `rule test` on a file with this text. An event is so many milliseconds after the start, its topic and
/// its payload.
pub(crate) fn rule_test(
    file: &str,
    text: &str,
    events: &[(i64, &str, &str)],
    options: &[&str],
) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let events = events.iter().map(|(after, topic, payload)| {
        let at = START + after;
        format!("{{\"at\":{at},\"topic\":\"{topic}\",\"payload\":{payload}}}\n")
    });
    std::fs::write(dir.path().join(file), text).unwrap();
    std::fs::write(dir.path().join("events.jsonl"), events.collect::<String>()).unwrap();
    Command::cargo_bin("tidemill")
        .unwrap()
        .current_dir(dir.path())
        .args(["rule", "test", file, "--events", "events.jsonl"])
        .args(options)
        .output()
        .unwrap()
}

/// The lines of a run: payloads, and with `dead` in front the reasons of dead letters.
pub(crate) fn told(output: Output, dead: &str) -> Vec<String> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        match line.get("dead_letter") {
            Some(reason) => format!("{dead}{}", reason.as_str().unwrap()),
            None => line["payload"].to_string(),
        }
    };
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(line).collect()
}

/// Results of a statement: rows that belong together as one line, a dead letter as its reason.
fn sent(sql: &str, events: &[(i64, &str, &str)]) -> Vec<String> {
    let until = (START + 60_000).to_string();
    let output = rule_test("rule.sql", sql, events, &["--array", "--until", &until]);
    if !output.status.success() {
        return vec![String::from_utf8(output.stderr).unwrap()];
    }
    told(output, "")
}

/// Events of the topic `demo`, 10 ms apart.
#[track_caller]
fn check(sql: &str, payloads: &[&str], expected: &[&str]) {
    let events = (0..).zip(payloads);
    let events: Vec<_> = events
        .map(|(number, payload)| (10 * number, "demo", *payload))
        .collect();
    assert_eq!(same_as(sql, &events), lines(expected), "{sql}");
}

fn same_as(sql: &str, events: &[(i64, &str, &str)]) -> Vec<Value> {
    sent(sql, events)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.clone().into()))
        .collect()
}

fn lines(expected: &[&str]) -> Vec<Value> {
    expected
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| (*line).into()))
        .collect()
}

/// Numbers under `a`, one event each.
fn numbers(numbers: &[i64]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| format!("{{\"a\":{number}}}"))
        .collect()
}

#[track_caller]
fn of_numbers(sql: &str, given: &[i64], expected: &[&str]) {
    let payloads = numbers(given);
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    check(sql, &payloads, expected);
}

#[test]
fn functions_that_remember_see_every_event() {
    of_numbers(
        "SELECT a, lag(a) AS l FROM demo WHERE a > 2",
        &[1, 2, 3, 4],
        &[r#"[{"a":3,"l":2}]"#, r#"[{"a":4,"l":3}]"#],
    );
    // Also one on the side of a condition that is not looked at.
    of_numbers(
        "SELECT a FROM demo WHERE a % 2 = 0 AND had_changed(true, a)",
        &[1, 2, 2, 3, 2],
        &[r#"[{"a":2}]"#, r#"[{"a":2}]"#],
    );
    // A row that is in several windows was worked out once, when it came.
    of_numbers(
        "SELECT a, lag(a) AS l FROM demo GROUP BY SLIDINGWINDOW(ss, 1)",
        &[3, 1, 4],
        &[
            r#"[{"a":3}]"#,
            r#"[{"a":3},{"a":1,"l":3}]"#,
            r#"[{"a":3},{"a":1,"l":3},{"a":4,"l":1}]"#,
        ],
    );
    of_numbers(
        "SELECT sum(lag(a, 1, 0)) AS s FROM demo GROUP BY COUNTWINDOW(3)",
        &[3, 1, 4],
        &[r#"[{"s":4}]"#],
    );
    of_numbers(
        "SELECT a FROM demo WHERE lag(a, 1, 0) < 3 GROUP BY COUNTWINDOW(3)",
        &[3, 1, 4],
        &[r#"[{"a":3},{"a":4}]"#],
    );
    // In WHERE the alias of a column is the column.
    of_numbers(
        "SELECT lag(a) AS a FROM demo WHERE lag(a) > 1",
        &[1, 2, 3],
        &[r#"[{"a":2}]"#],
    );
    // A function over the group is worked out at the firing.
    of_numbers(
        "SELECT sum(a) AS s, lag(sum(a)) AS l FROM demo GROUP BY COUNTWINDOW(2)",
        &[1, 2, 3, 4],
        &[r#"[{"s":3}]"#, r#"[{"l":3,"s":7}]"#],
    );
    // It is so for each group, also behind an AND that does not ask for it, and for those that go no further.
    let rising = "SELECT avg(a) AS m, m > 5 AS far INVISIBLE, lag(m) AS l FROM demo GROUP BY COUNTWINDOW(1) HAVING far AND NOT";
    of_numbers(
        &format!("{rising} lag(far, 1, false)"),
        &[1, 9, 8, 1, 7],
        &[r#"[{"l":1,"m":9}]"#, r#"[{"l":1,"m":7}]"#],
    );
    of_numbers(
        "SELECT lag(a, 1, 0) + 1 AS b, lag(b, 1, 0) AS c FROM demo",
        &[1, 2, 3],
        &[
            r#"[{"b":1,"c":0}]"#,
            r#"[{"b":2,"c":1}]"#,
            r#"[{"b":3,"c":2}]"#,
        ],
    );
}

#[test]
fn what_where_remembers_is_the_rules_and_not_the_groups() {
    check(
        "SELECT c, count(*) AS n FROM demo WHERE had_changed(true, a) GROUP BY c, TUMBLINGWINDOW(ss, 10)",
        &[
            r#"{"a":1,"c":"x"}"#,
            r#"{"a":1,"c":"y"}"#,
            r#"{"a":2,"c":"x"}"#,
        ],
        &[r#"[{"c":"x","n":2}]"#],
    );
}

#[test]
fn hits_are_those_before() {
    of_numbers(
        "SELECT a, last_hit_count() AS n FROM demo WHERE a > 1",
        &[1, 2, 3],
        &[r#"[{"a":2,"n":0}]"#, r#"[{"a":3,"n":1}]"#],
    );
    of_numbers(
        "SELECT last_hit_count() AS n FROM demo",
        &[1, 2],
        &[r#"[{"n":0}]"#, r#"[{"n":1}]"#],
    );
    of_numbers(
        "SELECT a FROM demo WHERE last_hit_count() < 2",
        &[1, 2, 3],
        &[r#"[{"a":1}]"#, r#"[{"a":2}]"#],
    );
    // A firing counts once, however many groups there are.
    of_numbers(
        "SELECT a FROM demo GROUP BY a, COUNTWINDOW(2) HAVING last_agg_hit_count() < 2",
        &[1, 2, 3, 4, 5, 6],
        &[r#"[{"a":1},{"a":2}]"#, r#"[{"a":3},{"a":4}]"#],
    );
}

#[test]
fn a_condition_on_a_window_lets_all_rows_pass_or_none() {
    of_numbers(
        "SELECT a FROM demo GROUP BY TUMBLINGWINDOW(ss, 10) HAVING avg(a) > 1 ORDER BY a DESC",
        &[1, 2, 3],
        &[r#"[{"a":3},{"a":2},{"a":1}]"#],
    );
    of_numbers(
        "SELECT a FROM demo GROUP BY TUMBLINGWINDOW(ss, 10) HAVING avg(a) > 9",
        &[1, 2, 3],
        &[],
    );
    of_numbers(
        "SELECT 1 AS one FROM demo GROUP BY TUMBLINGWINDOW(ss, 10) HAVING count(*) > 1",
        &[1, 2],
        &[r#"[{"one":1},{"one":1}]"#],
    );
}

#[test]
fn where_may_ask_about_the_window_as_a_whole() {
    of_numbers(
        "SELECT a FROM demo WHERE a > avg(a) GROUP BY COUNTWINDOW(3)",
        &[1, 2, 9],
        &[r#"[{"a":9}]"#],
    );
    of_numbers(
        "SELECT count(*) AS n FROM demo WHERE a = max(a) GROUP BY TUMBLINGWINDOW(ss, 10)",
        &[4, 9, 9],
        &[r#"[{"n":2}]"#],
    );
}

#[test]
fn a_sliding_window_fires_at_events_that_where_leaves_out() {
    of_numbers(
        "SELECT a FROM demo WHERE a > 2 GROUP BY SLIDINGWINDOW(ss, 1)",
        &[3, 1, 4],
        &[r#"[{"a":3}]"#, r#"[{"a":3}]"#, r#"[{"a":3},{"a":4}]"#],
    );
    // An event for which WHERE fails is a dead letter of its own, and spoils no window.
    check(
        "SELECT a FROM demo WHERE a > 2 GROUP BY SLIDINGWINDOW(ss, 1)",
        &[r#"{"a":3}"#, r#"{"a":"x"}"#, r#"{"a":4}"#],
        &[
            r#"[{"a":3}]"#,
            r#"input a (/a) is a string, not a number"#,
            r#"[{"a":3},{"a":4}]"#,
        ],
    );
}

#[test]
fn a_state_window_with_one_condition_ends_where_the_next_begins() {
    of_numbers(
        "SELECT a FROM demo GROUP BY STATEWINDOW(had_changed(true, a))",
        &[1, 1, 1, 2, 2, 3],
        &[r#"[{"a":1},{"a":1},{"a":1}]"#, r#"[{"a":2},{"a":2}]"#],
    );
    let state = "SELECT count(*) AS n, window_start() - 1541152480000 AS b, \
                 window_end() - 1541152480000 AS e FROM demo GROUP BY STATEWINDOW(a > 1)";
    of_numbers(state, &[1, 2, 1, 3, 1], &[r#"[{"b":10,"e":30,"n":2}]"#]);
}

#[test]
fn rows_are_numbered_by_parts_and_in_an_order() {
    let rows = [
        r#"{"a":3,"g":"y"}"#,
        r#"{"a":1,"g":"x"}"#,
        r#"{"a":2,"g":"y"}"#,
        r#"{"a":5,"g":"x"}"#,
    ];
    check(
        "SELECT a, row_number() OVER (PARTITION BY g ORDER BY a DESC) AS n FROM demo GROUP BY COUNTWINDOW(4)",
        &rows,
        &[r#"[{"a":5,"n":1},{"a":1,"n":2},{"a":3,"n":1},{"a":2,"n":2}]"#],
    );
    check(
        "SELECT a, row_number() OVER (ORDER BY a) AS n FROM demo GROUP BY COUNTWINDOW(4) ORDER BY g, a LIMIT 3",
        &rows,
        &[r#"[{"a":1,"n":1},{"a":5,"n":4},{"a":2,"n":2}]"#],
    );
    check(
        "SELECT g, row_number() OVER (ORDER BY g DESC) FROM demo GROUP BY g, COUNTWINDOW(4)",
        &rows,
        &[r#"[{"g":"y","row_number":1},{"g":"x","row_number":2}]"#],
    );
}

#[test]
fn a_column_that_several_items_give_is_an_alias_then_an_expression_then_a_star() {
    check(
        "SELECT a + 1 AS a, * FROM demo",
        &[r#"{"a":1,"b":2}"#],
        &[r#"[{"a":2,"b":2}]"#],
    );
    // An alias without a value leaves what is there.
    check(
        "SELECT *, c AS a FROM demo",
        &[r#"{"a":1}"#],
        &[r#"[{"a":1}]"#],
    );
    check(
        "SELECT * REPLACE (c AS a) FROM demo",
        &[r#"{"a":1,"b":2}"#],
        &[r#"[{"b":2}]"#],
    );
    check(
        "SELECT * EXCEPT (a, b) REPLACE (c + 1 AS a) FROM demo",
        &[r#"{"a":1,"b":2,"c":3}"#],
        &[r#"[{"a":4,"c":3}]"#],
    );
}

#[test]
fn unnested_rows_are_limited() {
    let list = [r#"{"l":[1,2,3]}"#];
    check(
        "SELECT unnest(l) AS x FROM demo LIMIT 2",
        &list,
        &[r#"[{"x":1}]"#, r#"[{"x":2}]"#],
    );
    check("SELECT l[] AS x FROM demo", &list, &[r#"[{"x":[1,2,3]}]"#]);
}

#[test]
fn literals_are_read_as_they_are_written() {
    check(
        r#"SELECT .5 AS a, "caf\u00e9 \x41" AS b, "\d" AS c FROM demo WHERE .5 < 1"#,
        &["{}"],
        &[r#"[{"a":0.5,"b":"café A","c":"\\d"}]"#],
    );
}

#[track_caller]
fn joined(sql: &str, expected: &[&str]) {
    let events = [
        (10, "src1", r#"{"id":1,"f":"l1"}"#),
        (20, "src1", r#"{"id":2,"f":"l2"}"#),
        (30, "src2", r#"{"id":2,"f":"r2"}"#),
        (40, "src2", r#"{"id":3,"f":"r3"}"#),
        (50, "src2", r#"{"id":1,"f":"r1"}"#),
    ];
    let sql = format!("{sql} GROUP BY TUMBLINGWINDOW(ss, 10)");
    assert_eq!(same_as(&sql, &events), lines(expected), "{sql}");
}

#[test]
fn the_side_that_a_join_keeps_gives_order_and_names() {
    joined(
        "SELECT * FROM src1 LEFT JOIN src2 ON src1.id = src2.id",
        &[r#"[{"f":"l1","id":1},{"f":"l2","id":2}]"#],
    );
    joined(
        "SELECT * FROM src1 RIGHT JOIN src2 ON src1.id = src2.id",
        &[r#"[{"f":"r2","id":2},{"f":"r3","id":3},{"f":"r1","id":1}]"#],
    );
    joined(
        "SELECT src2.f, src1.f FROM src1 FULL JOIN src2 ON src1.id = src2.id",
        &[r#"[{"f":"l1"},{"f":"l2"},{"f":"r3"}]"#],
    );
    joined(
        "SELECT src2.*, src1.f AS l FROM src1 INNER JOIN src2 ON src1.id = src2.id",
        &[r#"[{"f":"r1","id":1,"l":"l1"},{"f":"r2","id":2,"l":"l2"}]"#],
    );
    // Each stream's rows remember for themselves.
    joined(
        "SELECT src1.id AS x, lag(src1.id) AS l, lag(src2.id) AS r FROM src1 INNER JOIN src2 ON src1.id = src2.id",
        &[r#"[{"r":3,"x":1},{"l":1,"x":2}]"#],
    );
}
