//! Times of events in every way in which devices send them: windows come, or it is said what is wrong.

use serde_json::{Value, json};
use tidemill_tests::{Ran, run};

/// When the first event of a recording arrives; one comes each 5 s.
const START: i64 = 1_700_000_000_000;

/// Counts events by the minute, of a recording whose times are made of their arrivals.
fn count(settings: &str, time: impl Fn(i64) -> Value) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let rule = format!(
        "name = \"count\"\n[function]\nsql = \"SELECT count(*) AS n, window_end() AS until FROM env \
         GROUP BY TUMBLINGWINDOW(mi, 1)\"\n[streams.env]\nmqtt = [\"env\"]\ntimestamp = \"/ts\"\n{settings}\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    std::fs::write(folder.path().join("rule.toml"), rule).unwrap();
    let event = |n: i64| {
        let at = START + 5_000 * n;
        let mut payload = json!({"v": n});
        if let time @ (Value::String(_) | Value::Number(_)) = time(at) {
            payload["ts"] = time;
        }
        json!({"at": at, "topic": "env", "payload": payload}).to_string() + "\n"
    };
    let events: String = (0..40).map(event).collect();
    std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
    run(
        folder.path(),
        &["rule", "test", "rule.toml", "--events", "events.jsonl"],
    )
}

/// The results if events happened when they arrived.
fn windows() -> String {
    let window = |(at, n): (i64, i64)| {
        format!(
            "{{\"at\":{at},\"port\":\"out\",\"key\":\"all\",\"payload\":{{\"n\":{n},\"until\":{at}}}}}\n"
        )
    };
    [
        (START + 40_000, 8),
        (START + 100_000, 12),
        (START + 160_000, 12),
    ]
    .map(window)
    .concat()
}

fn iso(at: i64, form: &str) -> String {
    let moment = chrono::DateTime::from_timestamp_millis(at).unwrap();
    moment.format(form).to_string()
}

#[test]
fn times_of_every_unit_and_format_are_understood_where_the_rule_says_so() {
    type Time = fn(i64) -> Value;
    let kinds: [(&str, Time); 11] = [
        ("", |at| at.into()),
        ("", |at| at.to_string().into()),
        ("", |at| iso(at, "%Y-%m-%dT%H:%M:%SZ").into()),
        ("timestamp_unit = \"s\"\n", |at| (at / 1_000).into()),
        ("timestamp_unit = \"s\"\n", |at| {
            json!((at as f64 + 0.5) / 1_000.0)
        }),
        ("timestamp_unit = \"us\"\n", |at| (at * 1_000).into()),
        ("timestamp_unit = \"ns\"\n", |at| (at * 1_000_000).into()),
        ("timestamp_unit = \"auto\"\n", |at| {
            (at * 1_000_000).to_string().into()
        }),
        ("zone = \"UTC\"\n", |at| iso(at, "%Y-%m-%dT%H:%M:%S").into()),
        ("zone = \"Europe/Berlin\"\n", |at| {
            iso(at + 3_600_000, "%Y-%m-%d %H:%M:%S").into()
        }),
        ("timestamp_format = \"dd.MM.YYYY HH:mm:ss\"\n", |at| {
            iso(at, "%d.%m.%Y %H:%M:%S").into()
        }),
    ];
    for (number, (settings, time)) in kinds.into_iter().enumerate() {
        let ran = count(settings, time);
        assert_eq!(ran.out, windows(), "{number}: {settings}{}", ran.err);
        assert!(!ran.err.contains("bad time"), "{number}: {}", ran.err);
    }
}

#[test]
fn times_that_are_not_understood_are_said_once_and_windows_go_by_arrival() {
    type Time = fn(i64) -> Value;
    let kinds: [(Time, &str); 9] = [
        (
            |at| (at / 1_000).into(),
            "in another unit it may be right: timestamp_unit = \"s\"",
        ),
        (|at| (at * 1_000_000).into(), "beyond the year 9999"),
        (
            |at| iso(at, "%Y-%m-%dT%H:%M:%S").into(),
            "without an offset from UTC; write zone",
        ),
        (
            |at| iso(at, "%d.%m.%Y").into(),
            "not written as ISO 8601 has it; write timestamp_format",
        ),
        (|_| Value::Null, "/ts is missing"),
        (|at| (-at).into(), "too long ago"),
        (
            |at| (at - START).into(),
            "which is 1970-01-01T00:00:00Z, too long ago",
        ),
        (
            |at| (at + 2_600_000_000_000).into(),
            "too far ahead of the clock",
        ),
        (|_| i64::MAX.into(), "beyond the year 9999"),
    ];
    for (number, (time, expected)) in kinds.into_iter().enumerate() {
        let ran = count("", time);
        assert_eq!(ran.out, windows(), "{number}: {}", ran.err);
        let said = ran.err.matches("bad time, env: /ts is ").count();
        assert!(
            ran.err.contains(expected) && said == 1,
            "{number}: {}",
            ran.err
        );
        assert!(
            ran.err.contains(", 40 events with a bad time"),
            "{number}: {}",
            ran.err
        );
    }
}

#[test]
fn a_bad_time_of_a_source_that_had_good_ones_moves_no_watermark() {
    // One in five events has its time in seconds; by arrival they would close windows too early.
    let ran = count("", |at| match at % 25_000 {
        20_000 => (at / 1_000).into(),
        _ => (at - 30_000).into(),
    });
    let untils: Vec<i64> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["payload"]["until"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert_eq!(
        untils,
        [-20_000, 40_000, 100_000, 160_000].map(|at| START + at),
        "{ran:?}"
    );
    assert!(
        ran.err.contains(", 8 events with a bad time"),
        "{}",
        ran.err
    );
}

#[test]
fn settings_of_times_that_do_nothing_are_refused() {
    for (settings, expected) in [
        (
            "timestamp_unit = \"h\"\n",
            "timestamp_unit \"h\": there are s, ms, us, ns, auto",
        ),
        (
            "zone = \"Berlin\"\n",
            "zone \"Berlin\": it is no name of the time zone database",
        ),
        ("timestamp_format = \"HH:mm\"\n", "tells no day"),
    ] {
        let ran = count(settings, Value::from);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.err.contains(expected) && ran.err.contains("rule.toml:7:"),
            "{ran:?}"
        );
    }
}
