//! Faults that show only when a window fires: a row, a pair of rows or a group fails, and what else is in
//! the window goes out.

use super::*;

fn statement(sql: &str) -> (String, &'static str) {
    let manifest = format!(
        "name = \"w\"\n[streams.a]\nmqtt = [\"s/a\"]\n[streams.b]\nmqtt = [\"s/b\"]\n[function]\n\
         sql = '''{sql}'''\n[ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    (manifest, "(module)")
}

/// Checks the output of a statement over the events of one second, each a stream and a payload.
#[track_caller]
fn check(sql: &str, events: &[(&str, &str)], expected: &[&str]) {
    let mut bench = Bench::new(&[statement(sql)]);
    for (stream, payload) in events {
        bench.event(&format!("s/{stream}"), payload);
    }
    bench.at(1_000);
    let said = std::mem::take(&mut bench.said);
    let said: Vec<_> = said
        .lines()
        .map(|line| {
            line.trim_start_matches("1000 ")
                .replace("1700000000000", "0")
        })
        .map(|line| line.replace("1700000001000", "1"))
        .collect();
    assert_eq!(said, expected, "{sql}");
    let ledger = bench.ledger("w");
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!(
        ledger.faults_without_event,
        said.iter().filter(|line| line.contains("dead")).count() as u64
    );
}

const ROWS: [(&str, &str); 4] = [
    ("a", r#"{"k":"x","v":3}"#),
    ("a", r#"{"k":"x","v":"err"}"#),
    ("a", r#"{"k":"y","v":1}"#),
    ("a", r#"{"k":"y","v":true}"#),
];

#[test]
fn a_row_that_fails_is_a_dead_letter_and_the_others_go_out() {
    let dead = [
        r#"w dead: cannot work out string "err" - bigint 1"#,
        "w dead: cannot work out boolean true - bigint 1",
    ];
    let rows = |rows: [&'static str; 2]| [dead[0], dead[1], rows[0], rows[1]];
    let (three, one) = (r#"out {"k":"x","d":2}"#, r#"out {"k":"y","d":0}"#);
    let sql = "SELECT k, v - 1 AS d FROM a GROUP BY TUMBLINGWINDOW(ss, 1)";
    check(sql, &ROWS, &rows([three, one]));
    check(&format!("{sql} ORDER BY v"), &ROWS, &rows([one, three]));
    check(
        &format!("{sql} ORDER BY k DESC LIMIT 5"),
        &ROWS,
        &rows([one, three]),
    );
    let distinct = sql.replace("SELECT", "SELECT DISTINCT");
    check(&distinct, &ROWS, &rows([three, one]));
    // The limit counts rows that go out.
    check(&format!("{sql} LIMIT 1"), &ROWS, &[dead[0], dead[1], three]);
    // A row that cannot be put into a group is in none.
    let grouped = "SELECT count(*) AS n FROM a GROUP BY v - 1, TUMBLINGWINDOW(ss, 1)";
    let counts = [dead[0], dead[1], r#"out {"n":1}"#, r#"out {"n":1}"#];
    check(grouped, &ROWS, &counts);
}

#[test]
fn a_group_that_fails_is_a_dead_letter_and_the_others_go_out() {
    let events = [
        ("a", r#"{"k":"x","v":3}"#),
        ("a", r#"{"k":"7","v":5}"#),
        ("a", r#"{"k":7,"v":1}"#),
        ("a", r#"{"k":9,"v":1}"#),
    ];
    let dead = [
        r#"w dead: window of 7 from 0 to 1: cannot work out bigint 6 - string "7""#,
        r#"w dead: window of x from 0 to 1: cannot work out bigint 3 - string "x""#,
    ];
    let row = r#"out {"k":9,"d":-8}"#;
    let sql = "SELECT k, sum(v) - k AS d FROM a GROUP BY k, TUMBLINGWINDOW(ss, 1)";
    // Each group by itself, or all together: then what goes out comes before what failed.
    check(sql, &events, &[dead[0], row, dead[1]]);
    for more in [" ORDER BY d", " LIMIT 5"] {
        check(&format!("{sql}{more}"), &events, &[row, dead[0], dead[1]]);
    }
    let distinct = sql.replace("SELECT", "SELECT DISTINCT");
    check(&distinct, &events, &[row, dead[0], dead[1]]);
}

#[test]
fn values_without_an_order_are_the_whole_windows() {
    let sql = "SELECT k FROM a GROUP BY TUMBLINGWINDOW(ss, 1) ORDER BY v";
    let dead =
        r#"w dead: window of all from 0 to 1: ORDER BY: boolean true and bigint 1 have no order"#;
    check(sql, &ROWS, &[dead]);
}

#[test]
fn what_looks_back_over_groups_fails_with_its_window() {
    let events = [("a", r#"{"k":"x","v":3}"#), ("a", r#"{"k":9,"v":1}"#)];
    let sql =
        "SELECT k, lag(sum(v)) AS l, sum(v) - k AS d FROM a GROUP BY k, TUMBLINGWINDOW(ss, 1)";
    let dead = r#"w dead: window of all from 0 to 1: cannot work out bigint 3 - string "x""#;
    check(sql, &events, &[dead]);
    // Values that rows noted when they came stay theirs.
    let sql = "SELECT lag(v) AS l, v - 1 AS d FROM a GROUP BY TUMBLINGWINDOW(ss, 1)";
    check(
        sql,
        &ROWS,
        &[
            r#"w dead: cannot work out string "err" - bigint 1"#,
            "w dead: cannot work out boolean true - bigint 1",
            r#"out {"d":2}"#,
            r#"out {"l":"err","d":0}"#,
        ],
    );
}

const PAIRS: [(&str, &str); 4] = [
    ("a", r#"{"v":1}"#),
    ("a", r#"{"v":"t"}"#),
    ("b", r#"{"w":2}"#),
    ("b", r#"{"w":5}"#),
];

#[test]
fn a_pair_of_rows_that_fails_is_left_out_and_told_once_for_all() {
    let dead = "w dead: window of all from 0 to 1: 2 pairs of rows, the first: cannot work out string \"t\" + bigint 2";
    let on = "ON a.v + b.w > 3 GROUP BY TUMBLINGWINDOW(ss, 1)";
    let joined = format!("SELECT v, w FROM a INNER JOIN b {on}");
    check(&joined, &PAIRS, &[r#"out {"v":1,"w":5}"#, dead]);
    // A row without a partner goes out by itself, as far as the join says so.
    let left = joined.replace("INNER", "LEFT");
    let rows = [r#"out {"v":1,"w":5}"#, r#"out {"v":"t"}"#, dead];
    check(&left, &PAIRS, &rows);
    let negated = joined.replace("a.v + b.w > 3", "NOT (a.v + b.w <= 3)");
    check(&negated, &PAIRS, &[r#"out {"v":1,"w":5}"#, dead]);
    let filtered =
        "SELECT v, w FROM a CROSS JOIN b WHERE a.v + b.w > 3 GROUP BY TUMBLINGWINDOW(ss, 1)";
    check(filtered, &PAIRS, &[r#"out {"v":1,"w":5}"#, dead]);
    let sent = "SELECT w, a.v + b.w AS s FROM a CROSS JOIN b GROUP BY TUMBLINGWINDOW(ss, 1) ORDER BY w DESC";
    let rows = [r#"out {"w":5,"s":6}"#, r#"out {"w":2,"s":3}"#, dead];
    check(sent, &PAIRS, &rows);
    let one = dead.replace("2 pairs of rows, the first", "a pair of rows");
    let grouped =
        "SELECT count(*) AS n FROM a CROSS JOIN b GROUP BY a.v + b.w, TUMBLINGWINDOW(ss, 1)";
    check(grouped, &PAIRS[..3], &[r#"out {"n":1}"#, &one]);
}

#[test]
fn a_pair_that_fails_inside_of_a_group_is_the_groups() {
    let sql = "SELECT w, sum(a.v + b.w) AS s FROM a CROSS JOIN b GROUP BY v, TUMBLINGWINDOW(ss, 1) ORDER BY w";
    let dead = "w dead: window of t from 0 to 1: cannot work out string \"t\" + bigint 2";
    check(sql, &PAIRS, &[r#"out {"w":2,"s":9}"#, dead]);
    // A row without a partner fails by itself.
    let sql = "SELECT v - 1 AS d, w FROM a LEFT JOIN b ON a.v = b.v GROUP BY TUMBLINGWINDOW(ss, 1)";
    let dead = "w dead: cannot work out string \"t\" - bigint 1";
    check(sql, &PAIRS[..2], &[dead, r#"out {"d":0}"#]);
}
