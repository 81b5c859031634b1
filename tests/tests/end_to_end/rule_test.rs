//! `tidemill rule test`: the exact lines that come out of a rule and a file of events.

use tempfile::TempDir;
use tidemill_tests::{Ran, run, run_with_input};

use crate::support::{COUNTER, PASS};

const AVERAGE: &str =
    "[function]\nstock = \"average\"\n[inputs]\nvalue = \"\"\n[window]\ntumbling = \"1s\"\n";
const DEBOUNCE: &str =
    "[function]\nstock = \"debounce\"\n[inputs]\nvalue = \"\"\n[params]\nhold_ms = 500\n";
const THRESHOLD: &str =
    "[function]\nstock = \"threshold\"\n[inputs]\nvalue = \"/t\"\n[params]\nlimit = 50\n";

/// A folder with `rule.toml` around a function, and modules beside it.
struct Bench(TempDir);

impl Bench {
    fn new(function: &str) -> Self {
        Self::with_key(function, "{topic.1}")
    }

    fn with_key(function: &str, key: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.write(
            "rule.toml",
            &format!(
                "name = \"rule\"\n[on]\nmqtt = [\"s/#\"]\nkey = \"{key}\"\n{function}\
                 [ports.out]\nto = \"cloud\"\ntopic = \"out/{{key}}\"\n"
            ),
        );
        bench
    }

    /// Around a module in text format.
    fn module(wat: &str) -> Self {
        let bench = Self::new("[function]\nwasm = \"module.wasm\"\n");
        std::fs::write(
            bench.0.path().join("module.wasm"),
            wat::parse_str(wat).unwrap(),
        )
        .unwrap();
        bench
    }

    /// Checks that nothing comes out of the events, and that the reason is told.
    #[track_caller]
    fn silent(&self, events: &str, why: &str) {
        let ran = self.run(&lines(events), &[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.out, "", "{ran:?}");
        assert!(
            ran.err.contains(&format!("nothing came out: {why}")),
            "{ran:?}"
        );
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, events: &str, arguments: &[&str]) -> Ran {
        self.write("events.jsonl", events);
        let command = ["rule", "test", "rule.toml", "--events", "events.jsonl"];
        run(self.0.path(), &[&command[..], arguments].concat())
    }

    /// Each line of `events` is `at topic payload`, the payload as JSON; lines as they come out.
    #[track_caller]
    fn check(&self, events: &str, arguments: &[&str], expected: &[&str]) {
        let ran = self.run(&lines(events), arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let out: Vec<_> = ran.out.lines().collect();
        assert_eq!(out, expected, "{arguments:?} {}", ran.err);
    }

    #[track_caller]
    fn refused(&self, events: &str, expected: &str) {
        let ran = self.run(events, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(expected), "no {expected:?} in {}", ran.err);
    }
}

fn lines(events: &str) -> String {
    let line = |event: &str| {
        let mut parts = event.trim().splitn(3, ' ');
        let mut next = || parts.next().unwrap();
        format!(
            "{{\"at\":{},\"topic\":\"{}\",\"payload\":{}}}\n",
            next(),
            next(),
            next()
        )
    };
    events
        .lines()
        .map(str::trim)
        .filter(|e| !e.is_empty())
        .map(line)
        .collect()
}

#[test]
fn a_rule_that_stays_silent_is_explained() {
    let typo = Bench::new(&THRESHOLD.replace("\"/t\"", "\"/temprature\""));
    let event = r#"1 s/a {"temperature": 61, "humidity": 40}"#;
    let events = [event; 6].join("\n");
    typo.silent(
        &events,
        "payload.temprature was in none of 6 events; they have: humidity, temperature",
    );
    let nested = Bench::new(&THRESHOLD.replace("\"/t\"", "\"/env/t\""));
    nested.silent(
        r#"1 s/a {"env": {"temp": 61}}"#,
        "payload.env.t was in none of 1 events; they have: env.temp",
    );
    Bench::new(THRESHOLD).silent(
        r#"1 other/a {"t": 61}"#,
        "no event came on a topic that the rule listens to: it listens to s/#, they came on other/a",
    );
    Bench::new(THRESHOLD).silent(
        r#"1 s/a {"t": 20}"#,
        "the function let none of 1 events through: no condition was met",
    );
    let sql = Bench::new("[function]\nsql = \"SELECT tmp FROM x WHERE tmp > 50\"\n");
    sql.silent(
        r#"1 s/a {"temp": 61}"#,
        "payload.tmp was in none of 1 events; they have: temp",
    );
    Bench::new(AVERAGE).silent(
        "1 s/a 21",
        "of 1 events the function let go 0 and kept state of 1",
    );
}

#[test]
fn what_a_rule_passes_on_comes_out_in_order_with_time_port_and_key() {
    Bench::new(THRESHOLD).check(
        "1000 s/d1 {\"t\":51}
         1001 s/d2 {\"t\":49}
         1002 s/d2 {\"t\": 60.0 , \"u\":[1]}
         1002 x/d2 {\"t\":99}
         1003 s/d1 {}",
        &[],
        &[
            r#"{"at":1000,"port":"out","key":"d1","payload":{"t":51}}"#,
            r#"{"at":1002,"port":"out","key":"d2","payload":{"t": 60.0 , "u":[1]}}"#,
        ],
    );
}

#[test]
fn a_summary_stands_on_standard_error_and_nothing_comes_out_is_no_failure() {
    let bench = Bench::new(THRESHOLD);
    let ran = bench.run(&lines("1 s/d1 {\"t\":1}\n2 x/y 1"), &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
    assert_eq!(
        ran.err,
        "2 events, 0 emissions, 0 dead letters, 1 events that no trigger matched\n\
         nothing came out: the function let none of 1 events through: no condition was met\n"
    );
    let ran = bench.run("", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""));
}

#[test]
fn results_are_compared_with_what_is_expected_as_json() {
    let bench = Bench::new(THRESHOLD);
    let events =
        lines("1 s/d1 {\"t\":51}\n2 s/d1 {\"t\":52}\n3 s/d1 {\"t\":\"53\"}\n4 s/d1 {\"t\":54}");
    let compare = |expected: &str| {
        bench.write("expected.jsonl", expected);
        bench.run(&events, &["--expect", "expected.jsonl"])
    };
    let came = bench.run(&events, &[]).out;
    for expected in [
        came.clone(),
        came.replace("\"t\":51", "\"t\" : 51.0")
            .replace('\n', "\n\n"),
    ] {
        let ran = compare(&expected);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
        assert!(ran.err.starts_with("4 events, 3 emissions"), "{ran:?}");
    }

    let (first, rest) = came.split_once('\n').unwrap();
    let (second, rest) = rest.split_once('\n').unwrap();
    let changed = second.replace("{\"t\":52}", "{\"t\":52.5,\"u\":[1]}");
    let ran = compare(&format!("{first}\n{changed}\n{rest}"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let expected = format!(
        "expected.jsonl:2: differs\n  expected  {changed}\n  got       {second}\n  \
         /payload/t: 52 instead of 52.5\n  /payload/u: [1] is missing\n"
    );
    assert_eq!(ran.out, expected);
    assert!(
        ran.err
            .ends_with("error: 1 difference to what is expected\n"),
        "{ran:?}"
    );

    // A line too few and a line too many do not upset those between.
    let ran = compare(&format!("{second}\n{rest}{{\"at\":5}}"));
    let expected = format!(
        "expected.jsonl: before its first line came\n  got       {first}\n\
         expected.jsonl:4: did not come\n  expected  {{\"at\":5}}\n"
    );
    assert_eq!((ran.code, ran.out), (Some(1), expected));
    let ran = compare("");
    assert_eq!((ran.code, ran.out.lines().count()), (Some(1), 8), "{ran:?}");
    for (text, reason) in [
        ("{}\n{", "expected.jsonl:2: EOF"),
        ("1 2", "expected.jsonl:1: trailing"),
    ] {
        let ran = compare(text);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(reason), "{ran:?}");
    }
    let ran = bench.run(&events, &["--expect", "gone.jsonl"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("gone.jsonl: cannot be read"), "{ran:?}");
}

#[test]
fn dead_letters_stand_between_results_with_their_reason() {
    Bench::new(THRESHOLD).check(
        "1 s/d1 {\"t\":51}
         2 s/d1 {\"t\":\"51\"}
         3 s/d1 {\"t\":52}
         4 s {\"t\":53}",
        &[],
        &[
            r#"{"at":1,"port":"out","key":"d1","payload":{"t":51}}"#,
            r#"{"at":2,"dead_letter":"input value (/t) is a string, not a number","topic":"s/d1"}"#,
            r#"{"at":3,"port":"out","key":"d1","payload":{"t":52}}"#,
            r#"{"at":4,"dead_letter":"topic has too few levels for the rule's key","topic":"s"}"#,
        ],
    );
}

#[test]
fn windows_close_when_the_virtual_clock_passes_their_end() {
    let events = "1000 s/d1 1
         1999 s/d1 3
         1999 s/d2 7
         2000 s/d1 10
         2100 s/d1 20";
    let first = [
        r#"{"at":2000,"port":"out","key":"d1","payload":{"key":"d1","average":2,"min":1,"max":3,"count":2,"start":1000,"end":2000}}"#,
        r#"{"at":2000,"port":"out","key":"d2","payload":{"key":"d2","average":7,"min":7,"max":7,"count":1,"start":1000,"end":2000}}"#,
    ];
    let second = r#"{"at":3000,"port":"out","key":"d1","payload":{"key":"d1","average":15,"min":10,"max":20,"count":2,"start":2000,"end":3000}}"#;
    let bench = Bench::new(AVERAGE);
    bench.check(events, &[], &first);
    bench.check(events, &["--until", "2999"], &first);
    // A pane that falls due exactly then still fires.
    bench.check(events, &["--until", "3000"], &[first[0], first[1], second]);
    bench.check(events, &["--until", "9999"], &[first[0], first[1], second]);
    bench.check(events, &["--from", "2000", "--until", "3000"], &[second]);
    bench.check(events, &["--until", "1999"], &[]);
}

#[test]
fn timers_fire_under_the_virtual_clock() {
    let events = "1000 s/d1 0
         1100 s/d1 1
         1200 s/d1 0
         3000 s/d1 1";
    let first = r#"{"at":1700,"port":"out","key":"d1","payload":0}"#;
    let second = r#"{"at":3500,"port":"out","key":"d1","payload":1}"#;
    let bench = Bench::new(DEBOUNCE);
    bench.check(events, &[], &[first]);
    bench.check(events, &["--until", "3499"], &[first]);
    bench.check(events, &["--until", "3500"], &[first, second]);
}

#[test]
fn schedules_run_under_the_virtual_clock() {
    let bench = Bench::with_key(
        "schedule = [\"*/2 * * * * *\"]\n[function]\nwasm = \"module.wasm\"\n",
        "all",
    );
    std::fs::write(
        bench.0.path().join("module.wasm"),
        wat::parse_str(PASS).unwrap(),
    )
    .unwrap();
    let at = |ms: i64| {
        format!(
            "{{\"at\":{ms},\"port\":\"out\",\"key\":\"all\",\"payload\":{{\"at\":{ms},\"schedule\":\"*/2 * * * * *\"}}}}"
        )
    };
    let slots = [1_700_000_002_000, 1_700_000_004_000].map(at);
    let until = ["--from", "1700000000000", "--until", "1700000004000"];
    bench.check("", &until, &[&slots[0], &slots[1]]);
}

#[test]
fn bytes_that_are_not_json_go_in_and_out_in_base64() {
    let bench = Bench::module(PASS);
    for (payload, expected) in [
        ("\"payload_base64\":\"/wA=\"", "\"payload_base64\":\"/wA=\""),
        (
            "\"payload_base64\":\"eyJhIjoxfQ==\"",
            "\"payload\":{\"a\":1}",
        ),
        ("\"payload_base64\":\"\"", "\"payload_base64\":\"\""),
        ("\"payload\":\"text\"", "\"payload\":\"text\""),
        ("\"payload\":null", "\"payload\":null"),
        ("\"payload\":1e2", "\"payload\":1e2"),
    ] {
        let ran = bench.run(&format!("{{\"at\":5,\"topic\":\"s/d1\",{payload}}}"), &[]);
        let line = format!("{{\"at\":5,\"port\":\"out\",\"key\":\"d1\",{expected}}}\n");
        assert_eq!((ran.code, ran.out), (Some(0), line), "{payload}");
    }
}

#[test]
fn meta_is_what_a_function_reads_as_user_properties() {
    let source = r#"(module
      (import "tidemill1" "ev_bytes" (func $ev_bytes (param i32 i32 i32 i32) (result i32)))
      (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "on_event") (result i32)
        (drop (call $emit (i32.const 0) (i32.const 0)
          (call $ev_bytes (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1000))))
        (i32.const 0)))"#;
    let events = "{\"at\":5,\"topic\":\"s/d1\",\"payload\":1,\"meta\":{\"unit\":\"K\"}}";
    let ran = Bench::module(source).run(events, &[]);
    let expected = "{\"at\":5,\"port\":\"out\",\"key\":\"d1\",\"payload\":{\"unit\":\"K\"}}\n";
    assert_eq!(ran.out, expected, "{ran:?}");
}

#[test]
fn cold_finds_a_function_that_remembers_in_its_memory() {
    let forgetful = r#"(module
      (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
      (global $n (mut f64) (f64.const 0))
      (func (export "on_event") (result i32)
        (global.set $n (f64.add (global.get $n) (f64.const 1)))
        (drop (call $emit (i32.const 0) (global.get $n)))
        (i32.const 0)))"#;
    let events = "1 s/d1 0\n2 s/d1 0";
    let out =
        |at: u8, n: u8| format!("{{\"at\":{at},\"port\":\"out\",\"key\":\"d1\",\"payload\":{n}}}");
    let (one, two, again) = (out(1, 1), out(2, 2), out(2, 1));
    Bench::module(forgetful).check(events, &[], &[&one, &two]);
    Bench::module(forgetful).check(events, &["--cold"], &[&one, &again]);
    for arguments in [&[][..], &["--cold"]] {
        Bench::module(COUNTER).check(events, arguments, &[&one, &two]);
    }
}

#[test]
fn a_function_that_traps_makes_dead_letters_and_is_quarantined() {
    let trap = r#"(module (func (export "on_event") (result i32) unreachable))"#;
    let ran = Bench::module(trap).run(&lines(&"1 s/d1 0\n".repeat(7)), &[]);
    assert_eq!(ran.code, Some(0));
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 7);
    assert!(
        lines[4].contains("\"dead_letter\":\"trapped: "),
        "{}",
        lines[4]
    );
    assert_eq!(
        lines[5],
        r#"{"at":1,"dead_letter":"rule is quarantined","topic":"s/d1"}"#
    );
    assert!(ran.err.contains("the rule rests for 300 s"), "{}", ran.err);
}

#[test]
fn a_fault_of_a_window_is_a_dead_letter_without_a_topic() {
    let source = r#"(module
      (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"slots\":1}}")
      (func (export "on_event") (result i32) (i32.const 0))
      (func (export "on_window") (result i32) (i32.const -9)))"#;
    let ran = Bench::module(source).run(&lines("1500 s/d1 0\n2500 s/d1 0"), &[]);
    assert!(
        ran.out.starts_with("{\"at\":2000,\"dead_letter\":\""),
        "{ran:?}"
    );
    assert_eq!(ran.out.lines().count(), 1);
}

#[test]
fn events_may_come_from_standard_input() {
    let bench = Bench::new(THRESHOLD);
    let command = ["rule", "test", "rule.toml", "--events", "-"];
    let ran = run_with_input(bench.0.path(), &command, &lines("7 s/d1 {\"t\":51}"));
    let expected = "{\"at\":7,\"port\":\"out\",\"key\":\"d1\",\"payload\":{\"t\":51}}\n";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected));
    let ran = run_with_input(bench.0.path(), &command, "{");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("-:1: "), "{}", ran.err);
}

#[test]
fn wrong_events_are_refused_with_file_and_line() {
    let bench = Bench::new(THRESHOLD);
    let good = "{\"at\":5,\"topic\":\"s/d1\",\"payload\":1}\n\n";
    for (line, expected) in [
        ("no JSON", "events.jsonl:3: expected"),
        (
            "{\"topic\":\"s/d1\",\"payload\":1}",
            "events.jsonl:3: missing field `at`",
        ),
        (
            "{\"at\":5,\"payload\":1}",
            "events.jsonl:3: missing field `topic`",
        ),
        (
            "{\"at\":\"5\",\"topic\":\"s\"}",
            "events.jsonl:3: invalid type",
        ),
        (
            "{\"at\":5,\"topic\":\"s/+\",\"payload\":1}",
            "events.jsonl:3: topic: a topic to publish to cannot contain the wildcard '+'",
        ),
        (
            "{\"at\":5,\"topic\":\"\",\"payload\":1}",
            "events.jsonl:3: topic: a topic cannot be empty",
        ),
        (
            "{\"at\":4,\"topic\":\"s/d1\",\"payload\":1}",
            "events.jsonl:3: \"at\" is before that of the line above",
        ),
        (
            "{\"at\":-4,\"topic\":\"s/d1\",\"payload\":1}",
            "events.jsonl:3: \"at\" is before 1970",
        ),
        (
            "{\"at\":5,\"topic\":\"s\",\"payload\":1,\"payload_base64\":\"\"}",
            "events.jsonl:3: has both payload and payload_base64",
        ),
        (
            "{\"at\":5,\"topic\":\"s\",\"payload_base64\":\"=\"}",
            "events.jsonl:3: payload_base64: ",
        ),
        (
            "{\"at\":5,\"topic\":\"s\",\"paylaod\":1}",
            "events.jsonl:3: unknown field `paylaod`",
        ),
    ] {
        bench.refused(&format!("{good}{line}\n"), expected);
    }
    let ran = run(
        bench.0.path(),
        &["rule", "test", "rule.toml", "--events", "gone.jsonl"],
    );
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("gone.jsonl: cannot be read: No such file"),
        "{}",
        ran.err
    );
}

#[test]
fn wrong_rules_and_modules_are_refused_with_file_and_line() {
    for (function, expected) in [
        (
            "[function]\nstock = \"treshold\"\n",
            "rule.toml:5:1: stock function treshold: there is none",
        ),
        (
            "[function]\nwasm = \"gone.wasm\"\n",
            "rule.toml:5:1: gone.wasm: cannot be read",
        ),
        (
            "[function]\nwasm = \"rule.toml\"\n",
            "rule.toml:5:1: rule.toml: ",
        ),
        (
            "[function]\nstock = \"threshold\"\n[parmas]\n",
            "rule.toml:7:2: unknown key `parmas`",
        ),
        ("[function]\nstock = \"threshold\"\n", "rule.toml:"),
        (
            "[function]\nsql = \"SELECT 1\"\n",
            "rule.toml:6:16: expected FROM, but the statement ends here",
        ),
    ] {
        Bench::new(function).refused("", expected);
    }
    let bench = Bench::new(THRESHOLD);
    for (rule, expected) in [
        ("gone.toml", "gone.toml: cannot be read: No such file"),
        ("rule.sql", "rule.sql: cannot be read: No such file"),
    ] {
        let ran = run(bench.0.path(), &["rule", "test", rule, "--events", "-"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

/// Puts payloads as rows, and emits how many a window has.
const COUNTED: &str = r#"(module
    (import "tidemill1" "row_put" (func $put (param i32 i32) (result i32)))
    (import "tidemill1" "rows" (func $rows (result i32)))
    (import "tidemill1" "emit_f64" (func $emit (param i32 f64) (result i32)))
    (memory (export "memory") 1)
    (func (export "on_event") (result i32) (call $put (i32.const 0) (i32.const 1)))
    (func (export "on_window") (result i32)
        (call $emit (i32.const 0) (f64.convert_i32_s (call $rows))))
    (@custom "tidemill.manifest" "{\"abi\":1,\"window\":{\"length_ms\":1000,\"rows\":true}}"))"#;

#[test]
fn event_time_orders_events_and_the_option_says_how_late_they_may_be() {
    let bench = Bench::module(COUNTED);
    let streams =
        "[streams.input]\ntimestamp = \"/ts\"\n[ports.late]\nto = \"cloud\"\ntopic = \"late\"\n";
    let text = std::fs::read_to_string(bench.0.path().join("rule.toml")).unwrap();
    bench.write("rule.toml", &format!("{text}{streams}"));
    // A recording of 2018, which arrives 100 s after it happened.
    let at = |ms: i64| 1_541_152_586_000 + ms;
    let event = |ms: i64, ts: i64| format!("{} s/a {{\"ts\":{}}}\n", at(ms), at(ts - 100_000));
    let events: String = [(0, 0), (100, 700), (200, 300), (300, 1_100), (2_000, 2_600)]
        .into_iter()
        .map(|(ms, ts)| event(ms, ts))
        .collect();
    let out = |ms: i64, count: i64| {
        format!(
            r#"{{"at":{},"port":"out","key":"a","payload":{count}}}"#,
            at(ms)
        )
    };
    let late = format!(
        r#"{{"at":{},"port":"late","key":"a","payload":{{"ts":{}}}}}"#,
        at(200),
        at(300 - 100_000)
    );
    bench.check(&events, &[], &[&late, &out(300, 2), &out(2_000, 1)]);
    bench.check(&events, &["--lateness", "1s"], &[&out(2_000, 3)]);
    let until = at(1_999).to_string();
    bench.check(&events, &["--lateness", "500ms", "--until", &until], &[]);
}

/// Messages of 20 plugs, each 300 s for a day, of 900 bytes, of which two columns are of use.
fn plugs() -> String {
    let mut events = String::new();
    for slot in 0..288_u64 {
        for plug in 0..20_u64 {
            let at = 1_700_006_400_000 + slot * 300_000 + plug;
            let total = 100.0 + plug as f64 + 2.491 * slot as f64 / 287.0;
            let head = format!(
                "{{\"Time\":\"2023-11-15T00:00:00\",\"ENERGY\":{{\"Total\":{total:.3},\"Power\":12}},\"rest\":\""
            );
            let rest = "x".repeat(898 - head.len());
            events += &format!(
                "{{\"at\":{at},\"topic\":\"s/plug{plug}\",\"payload\":{head}{rest}\"}}}}\n"
            );
        }
    }
    events
}

#[test]
fn a_day_of_twenty_plugs_is_whole_or_says_how_many_rows_had_no_room() {
    let events = plugs();
    let energy = "SELECT round(max(ENERGY.Total) - min(ENERGY.Total), 3) AS kwh FROM input \
                  GROUP BY TUMBLINGWINDOW(dd, 1)";
    let rule = |sql: &str, more: &str| {
        let sql = format!("[function]\nsql = '''{sql}'''\n");
        Bench::new(&format!("{sql}{more}"))
    };
    // In slots, in slots of what is declared, and in rows of which two columns are kept.
    let declared = "[streams.input]\nfields = { \"ENERGY.Total\" = \"float\" }\n";
    let in_rows = energy.replace("AS kwh", "AS kwh, median(ENERGY.Power) AS power");
    for (sql, more) in [(energy, ""), (energy, declared), (&*in_rows, "")] {
        let ran = rule(sql, more).run(&events, &["--until", "1700092800000"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let right = ran
            .out
            .lines()
            .filter(|line| line.contains("\"kwh\":2.491"));
        assert_eq!(
            (right.count(), ran.out.lines().count()),
            (20, 20),
            "{ran:?}"
        );
        assert!(!ran.err.contains("had no room"), "{}", ran.err);
    }
    // Whole rows are more than fits: that is said, with the way out.
    let whole = energy.replace("AS kwh", "AS kwh, last_value(*, true) AS last");
    let ran = rule(&whole, "").run(&events, &["--until", "1700092800000"]);
    let expected = "rows of windows had no room; limits.state_bytes is 1048576: raise it";
    assert!(
        ran.err.contains("\nwarning: ") && ran.err.contains(expected),
        "{}",
        ran.err
    );
}

#[test]
fn windows_of_days_weeks_and_months_follow_the_clocks_of_a_zone() {
    let of = |unit: &str, zone: &str, from: i64, hours: i64| {
        let sql = format!("SELECT count(*) AS n FROM input GROUP BY TUMBLINGWINDOW({unit}, 1)");
        let zone = format!("[streams.input]\nzone = \"{zone}\"\n");
        let bench = Bench::new(&format!("[function]\nsql = '''{sql}'''\n{zone}"));
        // An event each half hour, beginning with a midnight.
        let events: String = (0..hours * 2)
            .map(|n| {
                format!(
                    "{{\"at\":{},\"topic\":\"s/a\",\"payload\":{{}}}}\n",
                    from + n * 1_800_000
                )
            })
            .collect();
        let until = (from + hours * 3_600_000).to_string();
        let ran = bench.run(&events, &["--until", &until]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let count = |line: &str| -> u64 {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["payload"]["n"].as_u64().unwrap()
        };
        ran.out.lines().map(count).collect::<Vec<_>>()
    };
    // 28 March and 24 October 2026 in Berlin, and the days after them.
    assert_eq!(
        of("dd", "Europe/Berlin", 1_774_652_400_000, 71),
        [48, 46, 48]
    );
    assert_eq!(
        of("dd", "Europe/Berlin", 1_792_792_800_000, 73),
        [48, 50, 48]
    );
    assert_eq!(
        of("dd", "Asia/Kolkata", 1_774_636_200_000, 72),
        [48, 48, 48]
    );
    // 4 April and 3 October 2026 on Lord Howe Island, where clocks are set by half an hour.
    assert_eq!(
        of("dd", "Australia/Lord_Howe", 1_775_221_200_000, 73),
        [48, 49, 48]
    );
    assert_eq!(
        of("dd", "Australia/Lord_Howe", 1_790_947_800_000, 72),
        [48, 47, 48]
    );
    // From Monday, 23 March, and from 1 March.
    assert_eq!(of("wk", "Europe/Berlin", 1_774_220_400_000, 168), [334]);
    assert_eq!(of("mo", "Europe/Berlin", 1_772_319_600_000, 744), [1_486]);
}

#[test]
fn a_zone_that_does_not_exist_or_is_of_no_use_is_refused() {
    let with = |window: &str, zone: &str| {
        let sql = format!("SELECT count(*) AS n FROM input GROUP BY TUMBLINGWINDOW({window})");
        let zone = format!("[streams.input]\nzone = \"{zone}\"\n");
        Bench::new(&format!("[function]\nsql = '''{sql}'''\n{zone}"))
    };
    with("dd, 1", "Europe/Berlni").refused("", "did you mean Europe/Berlin?");
    with("hh, 1", "Europe/Berlin")
        .refused("", "streams.input.zone: there is nothing to use it for");
    with("mm, 1", "Europe/Berlin").refused("", "expected a unit: mo, wk, dd");
}

#[test]
fn rule_build_says_how_many_rows_or_keys_fit() {
    let fits = |sql: &str| {
        let bench = Bench::new(&format!("[function]\nsql = '''{sql}'''\n"));
        let ran = run(bench.0.path(), &["rule", "build", "rule.toml"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let line = ran.out.lines().find(|line| line.starts_with("fits"));
        line.unwrap().split_once(' ').unwrap().1.trim().to_owned()
    };
    let rows = fits("SELECT median(load) AS m FROM input GROUP BY TUMBLINGWINDOW(mi, 1)");
    let expected = "about 8065 rows, of some 130 bytes each (the columns that are used); at most 16384 of a key";
    assert_eq!(rows, expected);
    let keys = fits("SELECT max(load) - min(load) AS d FROM input GROUP BY TUMBLINGWINDOW(mi, 1)");
    assert_eq!(keys, "10000 keys of 48 bytes and what entries they have");
}
