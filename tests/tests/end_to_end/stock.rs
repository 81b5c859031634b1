//! Stock functions at the ends of what their parameters allow, in the agent and under its limits.

use tidemill_tests::{Ran, run};

/// Runs a stock function on payloads that come a millisecond apart.
fn run_stock(function: &str, payloads: impl Iterator<Item = i64>) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "rule.toml",
        &format!(
            "name = \"rule\"\n[on]\nmqtt = [\"s/#\"]\n[function]\n{function}\n[inputs]\nvalue = \"\"\n\
             [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
        ),
    );
    let events: String = payloads
        .zip(1000..)
        .map(|(payload, at)| format!("{{\"at\":{at},\"topic\":\"s/d1\",\"payload\":{payload}}}\n"))
        .collect();
    write("events.jsonl", &events);
    let command = ["rule", "test", "rule.toml", "--events", "events.jsonl"];
    run(folder.path(), &command)
}

#[test]
fn the_longest_moving_average_stays_within_the_fuel_of_a_call() {
    // Twice round and some more: the end of a round reads all values.
    let count = 2_500;
    let longest = "stock = \"moving-average\"\n[params]\ncount = 1000";
    let ran = run_stock(longest, 0..count);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let summary = format!("{count} events, {count} emissions, 0 dead letters\n");
    assert_eq!(ran.err, summary);
    for (line, index) in ran.out.lines().zip(0_i64..) {
        // The mean of whole numbers in a row is that of the first and the last.
        let mean = (index + (index - 999).max(0)) as f64 / 2.0;
        let payload = format!("\"payload\":{mean}}}");
        assert!(line.ends_with(&payload), "event {index}: {line}");
    }
    // A tenth of that fuel is not enough for the end of a round, and enough for all before it.
    let rationed = format!("{longest}\n[limits]\nfuel = 100_000");
    let ran = run_stock(&rationed, 0..1_000);
    let dead: Vec<&str> = ran
        .out
        .lines()
        .filter(|l| l.contains("dead_letter"))
        .collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].starts_with("{\"at\":1999,"), "{dead:?}");
    assert!(dead[0].contains("fuel"), "{dead:?}");
}

#[test]
fn what_is_divided_by_nothing_is_not_sent() {
    let by_nothing = "stock = \"convert\"\n[params]\ndivisor = 0";
    let ran = run_stock(by_nothing, [5, 0, -5].into_iter());
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    let summary = "3 events, 0 emissions, 0 dead letters\nnothing came out: ";
    assert!(ran.err.starts_with(summary), "{ran:?}");
    let ran = run_stock(&by_nothing.replace('0', "4"), [6].into_iter());
    assert!(ran.out.contains("\"payload\":1.5"), "{ran:?}");
}

/// Runs a rule on lines of events, and gives what comes out.
fn out_of(rule: &str, events: &str, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rule.toml"), rule).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
    let command = ["rule", "test", "rule.toml", "--events", "events.jsonl"];
    let ran = run(folder.path(), &[&command[..], options].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}

const HOT: &str = "name = \"hot\"\non = { mqtt = [\"s/+\"], key = \"{topic.1}\" }\n\
     function = { stock = \"threshold\" }\ninputs = { value = \"/t\" }\n\
     [ports]\nout = { to = \"local\", topic = \"a/{key}\" }\nclear = { to = \"local\", topic = \"c/{key}\" }\n\
     [params]\nlimit = 50\n";

const READINGS: &str = r#"{"at":1000,"topic":"s/d1","payload":{"t":51}}
{"at":2000,"topic":"s/d1","payload":{"t":"hot"}}
{"at":3000,"topic":"s/d1","payload":{"t":52}}
{"at":61000,"topic":"s/d1","payload":{"t":53}}
{"at":62000,"topic":"s/d1","payload":"out of order"}
{"at":63000,"topic":"s/d1","payload":{"t":49}}
"#;

#[test]
fn a_wait_of_nothing_is_none_and_text_ends_no_wait() {
    let at_once = out_of(HOT, READINGS, &[]);
    let said = format!("{HOT}for = \"0s\"\nclear_for = \"0s\"\n");
    assert_eq!(out_of(&said, READINGS, &[]), at_once);
    assert_eq!(at_once.matches("\"port\":\"out\"").count(), 3, "{at_once}");
    // The same from an instance that remembers nothing between two calls.
    for options in [&[][..], &["--cold"]] {
        let waits = format!("{HOT}for = \"1m\"\nrepeat = false\n");
        let sent = out_of(&waits, READINGS, options);
        let sent: Vec<&str> = sent.lines().filter(|line| line.contains("port")).collect();
        assert_eq!(
            sent,
            [
                r#"{"at":61000,"port":"out","key":"d1","payload":{"t":52}}"#,
                r#"{"at":63000,"port":"clear","key":"d1","payload":{"t":49}}"#
            ]
        );
    }
}

#[test]
fn silence_is_told_to_the_millisecond_and_needs_no_port_besides() {
    let rule = |function: &str| {
        format!(
            "name = \"quiet\"\non = {{ mqtt = [\"s/+\"], key = \"{{topic.1}}\" }}\n[function]\n{function}\n\
             [ports]\nsilent = {{ to = \"local\", topic = \"q/{{key}}\" }}\n"
        )
    };
    let silence = rule("stock = \"silence\"\n[params]\nfor = \"10m\"");
    let told = "{\"key\":\"d1\",\"silent\":true,\"last\":63000,\"for_ms\":600000}";
    let reports = rule(
        "stock = \"report-by-exception\"\n[inputs]\nvalue = \"/t\"\n[params]\nband = 9\nmax_silence = \"10m\"",
    );
    for (rule, told) in [(silence, told), (reports, "49")] {
        let until = |ms: &str| out_of(&rule, READINGS, &["--until", ms]);
        assert!(!until("662999").contains("port"), "{rule}");
        let expected =
            format!("{{\"at\":663000,\"port\":\"silent\",\"key\":\"d1\",\"payload\":{told}}}\n");
        assert!(until("663000").ends_with(&expected), "{}", until("663000"));
    }
}

/// Runs a rule on events as they stand.
fn run_rule(text: &str, events: &[(u64, &str, String)]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "rule.toml",
        &format!("name = \"rule\"\n[on]\nmqtt = [\"s/#\"]\n{text}"),
    );
    let lines = events.iter().map(|(at, topic, payload)| {
        format!("{{\"at\":{at},\"topic\":\"{topic}\",\"payload\":{payload}}}\n")
    });
    write("events.jsonl", &lines.collect::<String>());
    let command = [
        "rule",
        "test",
        "rule.toml",
        "--events",
        "events.jsonl",
        "--until",
        "9000",
    ];
    run(folder.path(), &command)
}

#[test]
fn an_alarm_after_a_wait_is_of_the_latest_event_however_long_that_is() {
    let rule = "key = \"{topic.1}\"\n[function]\nstock = \"threshold\"\n[params]\nlimit = 50\nrepeat = false\nfor = \"1s\"\nclear_for = \"1s\"\n\
                [ports.out]\nto = \"local\"\ntopic = \"hot/{key}\"\n[ports.clear]\nto = \"local\"\ntopic = \"well/{key}\"\n";
    let long = |value: f64| format!("{{\"value\":{value},\"pad\":\"{}\"}}", "x".repeat(5_000));
    let short = |value: f64| format!("{{\"value\":{value}}}");
    let ran = run_rule(
        rule,
        &[
            (1_000, "s/d1", short(60.5)),
            (1_500, "s/d1", long(61.5)),
            (3_000, "s/d1", long(40.0)),
            (3_500, "s/d1", short(39.0)),
        ],
    );
    let expected = "{\"at\":2000,\"port\":\"out\",\"key\":\"d1\",\"payload\":{\"key\":\"d1\",\"value\":61.5}}\n\
                    {\"at\":4000,\"port\":\"clear\",\"key\":\"d1\",\"payload\":{\"value\":39}}\n";
    assert_eq!(ran.out, expected);
    assert!(
        ran.err
            .starts_with("4 events, 2 emissions, 0 dead letters\n"),
        "{ran:?}"
    );
}
