//! Rules in SQL as timelines: what the host keeps for a statement, and what it lets go of.

use super::*;

/// A rule `w` with a statement, and what else stands in its file.
fn statement(sql: &str, more: &str) -> (String, &'static str) {
    let manifest = format!(
        "name = \"w\"\n[on]\nmqtt = [\"s/#\"]\n{more}\n[function]\nsql = '''{sql}'''\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    (manifest, "(module)")
}

fn bench(sql: &str, more: &str) -> Bench {
    Bench::new(&[statement(sql, more)])
}

const GROUPS: &str = "SELECT c, count(*) AS n FROM input GROUP BY c, TUMBLINGWINDOW(ss, 1)";

#[test]
fn what_has_no_key_is_a_group_that_fires_as_all_do() {
    let mut bench = bench(GROUPS, "");
    for round in 0..3 {
        bench.at(round * 1_000 + 100);
        for payload in [r#"{"c":""}"#, r#"{"d":1}"#, r#"{"c":null}"#, r#"{"c":"x"}"#] {
            bench.event("s/a", payload);
        }
        let end = (round + 1) * 1_000;
        bench.at(end);
        bench.expect(&[
            // The group shows the value that came first.
            &*format!(r#"{end} out {{"c":"","n":3}}"#),
            &*format!(r#"{end} out {{"c":"x","n":1}}"#),
        ]);
        // Nothing is left behind that could fill the state.
        assert_eq!(bench.mill.rules[0].keys.bytes(), 0);
    }
    // A rule's own state is under no key of an event.
    bench.event("s/a", r#"{"c":"\u0000"}"#);
    bench.expect(&["3000 w dead: key is the character U+0000 alone, which is no key"]);
}

#[test]
fn a_topic_with_an_empty_level_has_a_window_as_others_do() {
    let by_level = "SELECT count(*) AS n FROM input GROUP BY TUMBLINGWINDOW(ss, 1)";
    let (manifest, wat) = statement(by_level, "key = \"{topic.1}\"");
    let mut bench = Bench::new(&[(manifest, wat)]);
    for _ in 0..3 {
        bench.event("s//env", "{}").event("s/a/env", "{}");
    }
    bench
        .at(1_000)
        .expect(&[r#"1000 out {"n":3}"#, r#"1000 out {"n":3}"#]);
}

const BY_EVENT_TIME: &str = "[streams.input]\ntimestamp = \"/ts\"";

#[test]
fn what_has_no_key_is_a_group_by_event_time_too() {
    let mut bench = bench(GROUPS, BY_EVENT_TIME);
    let start = 1_700_000_000_000_i64;
    for n in 0..1_000 {
        let ts = start + n * 500;
        bench.at(u64::try_from(n).unwrap() * 500);
        bench.event("s/a", &format!(r#"{{"ts":{ts}}}"#));
    }
    bench.at(600_000);
    let fired = bench
        .said
        .lines()
        .filter(|line| line.ends_with(r#" out {"n":2}"#));
    // Of each second there are two events; the last one is still open.
    assert_eq!(fired.count(), 499, "{}", bench.said);
}

#[test]
fn the_group_of_a_value_is_the_same_however_it_is_written() {
    let mut bench = bench(GROUPS, "");
    for payload in [
        r#"{"c":0}"#,
        r#"{"c":-0.0}"#,
        r#"{"c":[1,2.0]}"#,
        r#"{"c":[1.0,2]}"#,
        r#"{"c":{"a":1,"b":2}}"#,
        r#"{"c":{"b":2,"a":1.0}}"#,
        r#"{"c":18446744073709551615}"#,
        r#"{"c":18446744073709551614}"#,
        r#"{"c":1}"#,
        r#"{"C":1}"#,
    ] {
        bench.event("s/a", payload);
    }
    let long = "k".repeat(300);
    bench.event("s/a", &format!(r#"{{"c":"{long}"}}"#));
    bench.event("s/a", &format!(r#"{{"c":"{long}"}}"#));
    bench.at(1_000);
    let mut said: Vec<_> = bench.said.lines().map(str::to_owned).collect();
    said.sort();
    let mut expected = vec![
        r#"1000 out {"c":0,"n":2}"#.to_owned(),
        r#"1000 out {"c":1,"n":2}"#.to_owned(),
        r#"1000 out {"c":18446744073709551614,"n":1}"#.to_owned(),
        r#"1000 out {"c":18446744073709551615,"n":1}"#.to_owned(),
        r#"1000 out {"c":[1,2],"n":2}"#.to_owned(),
        r#"1000 out {"c":{"a":1,"b":2},"n":2}"#.to_owned(),
        format!(r#"1000 out {{"c":"{long}","n":2}}"#),
    ];
    expected.sort();
    assert_eq!(said, expected);
}

#[test]
fn the_partition_not_seen_for_longest_makes_room() {
    let sql = "SELECT d, lag(v) OVER (PARTITION BY d) AS before FROM input";
    let limits = "[limits]\nstate_bytes = 20000\n";
    let (manifest, wat) = statement(sql, "");
    let mut bench = Bench::new(&[(manifest + limits, wat)]);
    for n in 0..3_000 {
        bench.event("s/a", &format!(r#"{{"d":"d{n}","v":{n}}}"#));
        // This one is seen again and again.
        bench.event("s/a", &format!(r#"{{"d":"kept","v":{n}}}"#));
    }
    let said = std::mem::take(&mut bench.said);
    assert!(!said.contains("dead"), "{said}");
    let kept = said.lines().filter(|line| line.contains("kept"));
    let remembered = kept.filter(|line| line.contains("before"));
    assert_eq!(remembered.count(), 2_999);
    let ledger = bench.ledger("w");
    assert_eq!((ledger.emitting, ledger.dead), (6_000, 0));
    assert!(ledger.keys_evicted > 2_500, "{ledger:?}");
    assert!(bench.mill.rules[0].keys.bytes() <= 20_000);
    // One that was seen lately is still there, one of long ago is not.
    bench
        .event("s/a", r#"{"d":"d2999","v":1}"#)
        .event("s/a", r#"{"d":"d0","v":1}"#);
    bench.expect(&[
        r#"0 out {"d":"d2999","before":2999}"#,
        r#"0 out {"d":"d0"}"#,
    ]);
}

#[test]
fn what_a_version_before_kept_of_a_partition_is_found() {
    let sql = "SELECT lag(v) OVER (PARTITION BY d) AS before FROM input";
    let mut bench = bench(sql, "");
    bench.event("s/a", r#"{"d":5,"v":1}"#);
    bench.expect(&["0 out {}"]);
    // As it was written: the partition as a list, and the value without when it was seen.
    let active = &mut bench.mill.rules[0];
    active.keys.update_all(|_, state| {
        let entries = std::mem::take(&mut state.entries);
        let Some((_, value)) = entries.into_iter().next() else {
            panic!("it is kept")
        };
        let name = [&[1, 0, 0][..], &[1, 8, 1, 3, 10]].concat();
        state.entries.insert(name.into(), value[9..].into());
    });
    bench.event("s/a", r#"{"d":5,"v":2}"#);
    bench.event("s/a", r#"{"d":5.0,"v":3}"#);
    bench.expect(&[r#"0 out {"before":1}"#, r#"0 out {"before":2}"#]);
    bench.event("s/b", r#"{"d":[5,-0.0],"v":3}"#);
    bench.event("s/b", r#"{"d":[5.0,0],"v":4}"#);
    bench.expect(&["0 out {}", r#"0 out {"before":3}"#]);
}

#[test]
fn the_key_not_seen_for_longest_makes_room_for_what_a_statement_remembers() {
    let sql = "SELECT lag(v) AS before FROM input";
    let (manifest, wat) = statement(sql, "key = \"{topic.1}\"");
    let mut bench = Bench::new(&[(manifest + "[limits]\nstate_bytes = 20000\n", wat)]);
    for n in 0..3_000 {
        bench.event(&format!("s/d{n}"), r#"{"v":1}"#);
    }
    let ledger = bench.ledger("w");
    assert_eq!(ledger.dead, 0, "{}", bench.said);
    assert!(ledger.keys_evicted > 2_500, "{ledger:?}");
    assert!(bench.mill.rules[0].keys.bytes() <= 20_000);
}

#[test]
fn an_event_that_fails_is_not_remembered() {
    let mut bench = bench("SELECT v, lag(v) AS before, 10 / v AS q FROM input", "");
    for v in [2, 0, 5] {
        bench.event("s/a", &format!(r#"{{"v":{v}}}"#));
    }
    bench.expect(&[
        r#"0 out {"v":2,"q":5}"#,
        "0 w dead: division by zero",
        r#"0 out {"v":5,"before":2,"q":2}"#,
    ]);
}

#[test]
fn a_rule_knows_when_it_was_started() {
    let mut bench = bench("SELECT rule_start() AS s FROM input", "");
    bench.event("s/a", "{}").at(90_000).event("s/a", "{}");
    bench.expect(&[
        r#"0 out {"s":1700000000000}"#,
        r#"90000 out {"s":1700000000000}"#,
    ]);
    // The clock is set: it was started that much later, or earlier.
    bench.now.wall_ms += 3_600_000;
    bench.event("s/a", "{}");
    bench.expect(&[r#"90000 out {"s":1700003600000}"#]);
}

#[test]
fn no_time_is_so_far_away_that_the_mill_stands_still() {
    // 73 divides 2^63 - 1: the end of 64 bits is on the grid.
    let sql = "SELECT count(*) AS n FROM input GROUP BY HOPPINGWINDOW(ms, 146, 73)";
    for quality in [
        crate::event::clock::Quality::None,
        crate::event::clock::Quality::Synced,
    ] {
        let mut bench = bench(sql, BY_EVENT_TIME);
        bench.now.quality = quality;
        for ts in [
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "1e300",
            "-1",
            "0",
            "253402300800000",
            "4294967296000",
            "\"9999-12-31T23:59:59.999Z\"",
            "\"+10000-01-01T00:00:00Z\"",
        ] {
            bench.event("s/a", &format!(r#"{{"ts":{ts}}}"#)).at(10_000);
            bench.at(20_000);
        }
        let ledger = bench.ledger("w");
        assert!(ledger.balances(), "{ledger:?}");
    }
}

#[test]
fn whole_numbers_are_compared_digit_by_digit() {
    for (condition, payload, holds) in [
        ("a > 9007199254740992", r#"{"a":9007199254740993}"#, true),
        ("a > 9007199254740992", r#"{"a":9007199254740992}"#, false),
        ("a = 9007199254740993", r#"{"a":9007199254740992}"#, false),
        (
            "a = b",
            r#"{"a":9007199254740993,"b":9007199254740992}"#,
            false,
        ),
        (
            "a = b",
            r#"{"a":9007199254740993,"b":9007199254740993}"#,
            true,
        ),
        (
            "a != b",
            r#"{"a":1700000000000000001,"b":1700000000000000000}"#,
            true,
        ),
        (
            "a < b",
            r#"{"a":18446744073709551614,"b":18446744073709551615}"#,
            true,
        ),
        (
            "a <= b",
            r#"{"a":9223372036854775808,"b":9223372036854775807}"#,
            false,
        ),
        (
            "a > -9223372036854775808",
            r#"{"a":-9223372036854775807}"#,
            true,
        ),
        (
            "a + 1 = 9007199254740994",
            r#"{"a":9007199254740993}"#,
            true,
        ),
        (
            "a + b > 9007199254740992",
            r#"{"a":9007199254740992,"b":1}"#,
            true,
        ),
        (
            "a * 3 = 9007199254740993",
            r#"{"a":3002399751580331}"#,
            true,
        ),
        (
            "-a < b",
            r#"{"a":9007199254740993,"b":-9007199254740992}"#,
            true,
        ),
        (
            "a < 5 AND b = 9007199254740993",
            r#"{"a":1,"b":9007199254740992}"#,
            false,
        ),
        (
            "a > 5 OR b > 9007199254740992",
            r#"{"a":1,"b":9007199254740993}"#,
            true,
        ),
        // A product beyond the largest float is nothing.
        ("a * 10.0 > 5", r#"{"a":1e308}"#, false),
        ("a * 10.0 > 5", r#"{"a":1}"#, true),
        ("a > 5", r#"{"b":1}"#, false),
        ("a > b", r#"{"b":1}"#, false),
        ("a != b", r#"{"b":1}"#, false),
    ] {
        let mut bench = bench(&format!("SELECT 1 AS x FROM input WHERE {condition}"), "");
        bench.event("s/a", payload);
        let expected: &[&str] = if holds { &[r#"0 out {"x":1}"#] } else { &[] };
        assert_eq!(
            bench.said.lines().collect::<Vec<_>>(),
            expected,
            "{condition} {payload}"
        );
    }
}

#[test]
fn of_names_that_stand_twice_the_last_one_counts_everywhere() {
    for (payload, expected) in [
        (r#"{"t":{"x":1},"t":{"x":2}}"#, Some(r#"{"x":2}"#)),
        (r#"{"t":{"x":5},"t":{"y":2}}"#, None),
        (r#"{"T":{"x":1},"t":{"x":3}}"#, Some(r#"{"x":3}"#)),
    ] {
        for sql in [
            "SELECT t->x AS x FROM input WHERE t->x > 1",
            "SELECT t->x AS x FROM input WHERE t->x > 1 GROUP BY COUNTWINDOW(1)",
        ] {
            let mut bench = bench(sql, "");
            bench.event("s/a", payload);
            let said = bench
                .said
                .lines()
                .map(|line| line.trim_start_matches("0 out "));
            assert_eq!(
                said.collect::<Vec<_>>(),
                Vec::from_iter(expected),
                "{sql} {payload}"
            );
        }
    }
    for (payload, expected) in [
        (r#"{"Temp":1,"TEMP":2}"#, Some(r#"{"temp":2}"#)),
        (r#"{"TEMP":2,"Temp":1}"#, None),
        (r#"{"TEMP":2,"Temp":1,"TEMP":3}"#, Some(r#"{"temp":3}"#)),
        (r#"{"TEMP":0,"temp":4,"Temp":1}"#, Some(r#"{"temp":4}"#)),
    ] {
        for sql in [
            "SELECT temp FROM input WHERE temp > 1",
            "SELECT temp FROM input WHERE temp > 1 GROUP BY COUNTWINDOW(1)",
            "SELECT upper(temp) AS temp FROM input WHERE temp > 1",
        ] {
            let mut bench = bench(sql, "");
            bench.event("s/a", payload);
            let said = bench
                .said
                .lines()
                .map(|line| line.trim_start_matches("0 out "));
            let said: Vec<_> = said.map(|line| line.replace('"', "")).collect();
            let expected = expected.map(|line| line.replace('"', ""));
            assert_eq!(said, Vec::from_iter(expected), "{sql} {payload}");
        }
    }
}

#[test]
fn a_strict_stream_converts_nothing_but_whole_numbers() {
    let strict = "CREATE STREAM input (t FLOAT, n BIGINT, s STRING, u BIGINT) WITH (STRICT_VALIDATION=\"true\"); ";
    let payloads = [
        (r#"{"t":1,"n":2,"s":"x","u":"never read"}"#, None),
        (r#"{"t":"70","n":2}"#, Some("t: string \"70\" is no float")),
        (r#"{"t":1,"n":2.0}"#, Some("n: float 2 is no bigint")),
        (r#"{"t":1,"s":7}"#, Some("s: bigint 7 is no string")),
    ];
    for sql in [
        "SELECT n, s FROM input WHERE t > 0",
        "SELECT count(*) AS c, max(s) AS s FROM input WHERE t > 0 AND n > 0 GROUP BY COUNTWINDOW(1)",
        "SELECT s, sum(t) AS t, count(n) AS c FROM input GROUP BY s, TUMBLINGWINDOW(ss, 1)",
    ] {
        for (payload, why) in payloads {
            let mut bench = bench(&format!("{strict}{sql}"), "");
            bench.event("s/a", payload).at(1_000);
            let dead = why.map(|why| format!("0 w dead: {why}, and the stream is strict\n"));
            match dead {
                Some(dead) => assert_eq!(bench.said, dead, "{sql} {payload}"),
                None => assert!(bench.said.contains(" out {"), "{sql}: {}", bench.said),
            }
        }
    }
}
