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
