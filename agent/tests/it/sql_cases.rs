//! SQL against the tables that eKuiper tests itself with, through `tidemill rule test`; where they come
//! from stands beside them in `tests/data`. With `SQL_TABLE=1` it prints what passes by tag, as it stands
//! in docs/sql.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

/// Cases that do not pass, with the reason.
const OTHERWISE: &[(&str, &str)] = &[];

/// Result of a run, in order: rows that went out together, or the reason of a dead letter.
#[derive(Debug)]
enum Line {
    Rows(Vec<Value>),
    Dead(String),
}

#[test]
fn expressions_give_what_the_tables_say() {
    run("ekuiper-expr.jsonl", expression);
}

#[test]
fn streams_give_what_the_tables_say() {
    run("ekuiper-stream.jsonl", stream);
}

fn run(file: &str, check: fn(&Value) -> Option<Result<(), String>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut tags: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let (mut wrong, mut passed, mut failing) = (String::new(), 0, BTreeSet::new());
    let mut all = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let Some(result) = check(&case) else {
            continue;
        };
        let id = case["id"].as_str().unwrap().to_owned();
        all += 1;
        for tag in case["tags"].as_array().unwrap() {
            let (of, ok) = tags.entry(tag.as_str().unwrap().to_owned()).or_default();
            *of += 1;
            *ok += u32::from(result.is_ok());
        }
        let known = OTHERWISE.iter().any(|(known, _)| *known == id);
        match result {
            Ok(()) if known => {
                writeln!(wrong, "{id} passes and stands among those that do not").unwrap()
            }
            Ok(()) => passed += 1,
            Err(_) if known => {
                failing.insert(id);
            }
            Err(why) => writeln!(wrong, "{id}: {}\n  {why}", case["sql"]).unwrap(),
        }
    }
    if std::env::var_os("SQL_TABLE").is_some() {
        eprintln!("{file}: {passed} of {all}");
        for (tag, (of, ok)) in &tags {
            eprintln!("| `{tag}` | {ok} | {of} |");
        }
    }
    assert!(wrong.is_empty(), "{passed} of {all} pass\n{wrong}");
}

/// A case of one statement; `None` where it has no run of its own.
fn expression(case: &Value) -> Option<Result<(), String>> {
    const START: i64 = 1_541_152_480_000;
    let sql = case["run_sql"].as_str()?;
    let input = case.get("run_input").filter(|input| !input.is_null());
    let input = input.unwrap_or(&case["input"]).as_array().unwrap();
    let is_joined = input
        .iter()
        .any(|other| other["topic"] != input[0]["topic"]);
    let events = (0_i64..).zip(input).map(|(number, message)| {
        let at = START + 10 * number;
        let mut message = message.clone();
        if is_joined {
            // There the statement does not ask for it, and topics are the names of streams.
            let meta = message.get_mut("meta").and_then(Value::as_object_mut);
            meta.and_then(|meta| meta.remove("topic"));
        }
        event(at, &message)
    });
    let events: Vec<String> = events.collect();
    let nulls = case["options"]["send_nil"] == true;
    let stream = input
        .first()
        .map_or("", |message| message["topic"].as_str().unwrap());
    let declared = match input.first().and_then(topic_of) {
        Some(topic) if input.iter().all(|message| message["topic"] == stream) => {
            format!("CREATE STREAM {stream} () WITH (DATASOURCE=\"{topic}\");\n")
        }
        _ => String::new(),
    };
    let (name, rule) = if !nulls {
        ("rule.sql", format!("{declared}{sql}"))
    } else {
        let topic = &input[0]["topic"];
        let rule = format!(
            "name = \"rule\"\n[on]\nmqtt = [{topic}]\n[function]\nsql = '''{sql}'''\n\
             [ports.out]\nto = \"local\"\ntopic = \"out\"\nnulls = true\n"
        );
        ("rule.toml", rule)
    };
    let mut options = Vec::new();
    if case["mode"] != "each" {
        options.extend(["--until".to_owned(), (START + 20_000).to_string()]);
    }
    Some(test(name, &rule, &events, &options).and_then(|lines| judge_rows(case, lines)))
}

fn judge_rows(case: &Value, lines: Vec<Line>) -> Result<(), String> {
    let (mut rows, mut dead) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Rows(more) => rows.extend(more),
            Line::Dead(reason) => dead.push(reason),
        }
    }
    let expected = case
        .get("run_expected")
        .filter(|expected| !expected.is_null());
    let Some(expected) = expected.or(case.get("expected")).filter(|e| !e.is_null()) else {
        // There the whole window comes to nothing; here what does not fit does, and is a dead letter.
        return if !dead.is_empty() {
            Ok(())
        } else {
            Err(format!("no error: {rows:?} {dead:?}"))
        };
    };
    let expected: Vec<Value> = plain(expected).as_array().unwrap().clone();
    if same_rows(&rows, &expected, case) {
        Ok(())
    } else {
        Err(format!(
            "got {}, dead {dead:?}\n  not {}",
            json!(rows),
            json!(expected)
        ))
    }
}

/// A case of a whole rule over virtual time.
fn stream(case: &Value) -> Option<Result<(), String>> {
    let mut rule = String::new();
    for (name, stream) in case["streams"].as_object().unwrap() {
        let fields = stream["fields"].as_object();
        let fields = fields.into_iter().flatten();
        let fields: Vec<String> = fields
            .map(|(name, ty)| format!("`{name}` {}", ty.as_str().unwrap()))
            .collect();
        let mut events = case["events"].as_array().unwrap().iter();
        let topic = events
            .find(|event| event["topic"] == **name)
            .and_then(topic_of);
        let topic = topic.unwrap_or(name);
        write!(
            rule,
            "CREATE STREAM {name} ({}) WITH (DATASOURCE=\"{topic}\"",
            fields.join(", ")
        )
        .unwrap();
        if let Some(column) = stream["event_time"].as_str() {
            write!(rule, ", TIMESTAMP=\"{column}\"").unwrap();
        }
        if stream["strict"] == true {
            rule.push_str(", STRICT_VALIDATION=\"true\"");
        }
        rule.push_str(");\n");
    }
    rule.push_str(case["sql"].as_str().unwrap());
    let events = case["events"].as_array().unwrap().iter();
    let events: Vec<String> = events
        .map(|message| event(message["at"].as_i64().unwrap(), message))
        .collect();
    let mut options = vec![
        "--from".to_owned(),
        case["start_at"].to_string(),
        "--until".to_owned(),
        case["end_at"].to_string(),
    ];
    if let Some(late) = case["options"]["late_tolerance_ms"]
        .as_i64()
        .filter(|late| *late > 0)
    {
        options.extend(["--lateness".to_owned(), format!("{late}ms")]);
    }
    Some(test("rule.sql", &rule, &events, &options).and_then(|lines| judge_lines(case, &lines)))
}

fn judge_lines(case: &Value, lines: &[Line]) -> Result<(), String> {
    let expected = plain(&case["expected"]);
    let expected: Vec<&Value> = expected
        .as_array()
        .unwrap()
        .iter()
        // An emission without rows is none.
        .filter(|rows| !rows.as_array().unwrap().is_empty())
        .collect();
    let fits = |(line, expected): (&Line, &&Value)| {
        let expected = expected.as_array().unwrap();
        let is_error = matches!(&**expected, [row] if row.get("error").is_some() && row.as_object().unwrap().len() == 1);
        match line {
            Line::Dead(_) => is_error,
            Line::Rows(rows) => !is_error && same_rows(rows, expected, case),
        }
    };
    let all_fit = lines.len() == expected.len() && lines.iter().zip(&expected).all(fits);
    if all_fit || (is_windowed(case) && fits_in_parts(case, lines, &expected)) {
        Ok(())
    } else {
        Err(format!("got {lines:?}\n  not {}", json!(expected)))
    }
}

fn is_windowed(case: &Value) -> bool {
    let sql = case["sql"].as_str().unwrap().to_ascii_lowercase();
    sql.contains("window(")
}

/// A window that fails as a whole there fails in parts here, row by row: as many dead letters, and
/// all rows that go out there, in their order.
fn fits_in_parts(case: &Value, lines: &[Line], expected: &[&Value]) -> bool {
    let is_error = |rows: &&&Value| rows[0].get("error").is_some();
    let errors = expected.iter().filter(is_error).count();
    let dead = lines.iter().filter(|line| matches!(line, Line::Dead(_)));
    let mut sent = lines.iter().filter_map(|line| match line {
        Line::Rows(rows) => Some(rows),
        Line::Dead(_) => None,
    });
    let mut rows = expected.iter().filter(|rows| !is_error(rows));
    let all_sent = rows.all(|rows| {
        let rows = rows.as_array().unwrap();
        sent.any(|sent| same_rows(sent, rows, case))
    });
    errors > 0 && dead.count() == errors && all_sent
}

/// The topic of a message, where the tables tell it beside the name of its stream.
fn topic_of(message: &Value) -> Option<&str> {
    message["meta"]["topic"].as_str()
}

fn event(at: i64, message: &Value) -> String {
    let topic = topic_of(message).or(message["topic"].as_str());
    let mut event = json!({"at": at, "topic": topic, "payload": plain(&message["payload"])});
    if let Some(meta) = message.get("meta").filter(|meta| !meta.is_null()) {
        event["meta"] = plain(meta);
    }
    event.to_string()
}

/// Moments are milliseconds on the way in and out.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$datetime_ms") {
            Some(ms) => ms.clone(),
            None => Value::Object(
                map.iter()
                    .map(|(name, value)| (name.clone(), plain(value)))
                    .collect(),
            ),
        },
        Value::Array(values) => values.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn same_rows(rows: &[Value], expected: &[Value], case: &Value) -> bool {
    if rows.len() != expected.len() {
        return false;
    }
    if case["row_order"] != "any" {
        return rows.iter().zip(expected).all(|(a, b)| same(a, b));
    }
    let mut left: Vec<&Value> = expected.iter().collect();
    rows.iter().all(|row| {
        let place = left.iter().position(|other| same(row, other));
        place.map(|place| left.swap_remove(place)).is_some()
    })
}

/// Numbers are compared by what they amount to.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn test(
    name: &str,
    rule: &str,
    events: &[String],
    options: &[String],
) -> Result<Vec<Line>, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), rule).unwrap();
    std::fs::write(dir.path().join("events.jsonl"), events.join("\n")).unwrap();
    let output = Command::cargo_bin("tidemill")
        .unwrap()
        .current_dir(dir.path())
        .args(["rule", "test", name, "--events", "events.jsonl", "--array"])
        .args(options)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        match line.get("dead_letter") {
            Some(reason) => Line::Dead(reason.as_str().unwrap().to_owned()),
            None => Line::Rows(line["payload"].as_array().unwrap().clone()),
        }
    });
    Ok(lines.collect())
}
