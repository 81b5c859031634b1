//! Every function by a table, and what the tables say of themselves.

use std::collections::BTreeSet;

use tidemill_values::{
    Budget, Cache, Context, Kind, Map, Value, by_number, call, from_json, functions, lookup,
};

/// The functions that take any value, so that none is of a wrong type.
const TAKE_ANYTHING: &[&str] = &["array_create"];

const NOW_MS: i64 = 1_714_552_200_123;

fn context<T>(run: impl FnOnce(&mut Context<'_>) -> T) -> T {
    // SplitMix64 from 1: any generator would do.
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let meta: Map = [("Device", Value::from("d1"))].into_iter().collect();
    run(&mut Context {
        now_ms: NOW_MS,
        rule: "overheat",
        rule_start_ms: 1_714_550_000_000,
        topic: "demo",
        meta: &meta,
        random: &mut random,
        cache: &mut Cache::new(),
        budget: &mut { Budget::PLENTY },
    })
}

/// JSON with datetimes and bytes.
fn typed(value: &Value) -> Value {
    match value {
        Value::List(list) => Value::list(list.iter().map(typed).collect()),
        Value::Map(map) => match (map.get("$ms"), map.get("$b64")) {
            (Some(Value::Int(ms)), _) => Value::Datetime(*ms),
            (_, Some(text @ Value::Text(_))) => context(|context| {
                let args = [text.clone(), Value::from("base64")];
                call(lookup("decode").unwrap(), context, &args).unwrap()
            }),
            _ => Value::map(
                map.iter()
                    .map(|(name, value)| (name.clone(), typed(value)))
                    .collect(),
            ),
        },
        other => other.clone(),
    }
}

fn read(json: &str) -> Value {
    typed(&from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}")))
}

struct Row {
    line: &'static str,
    name: &'static str,
    args: Vec<Value>,
    expected: Option<Value>,
}

fn rows() -> Vec<Row> {
    let lines = include_str!("functions.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (call, expected) = line.rsplit_once(" => ").unwrap();
            let (name, args) = call.split_once(' ').unwrap();
            Row {
                line,
                name,
                args: read(args).as_list().unwrap().to_vec(),
                expected: (expected != "error").then(|| read(expected)),
            }
        })
        .collect()
}

#[test]
fn functions_give_what_the_table_says() {
    let mut wrong = Vec::new();
    for row in rows() {
        let function = lookup(row.name).unwrap_or_else(|| panic!("no function {}", row.name));
        let given = context(|context| call(function, context, &row.args));
        if given.as_ref().ok() != row.expected.as_ref() {
            wrong.push(format!("{}\n    gives {given:?}", row.line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_leaves_no_function_and_no_kind_of_argument_out() {
    let rows = rows();
    let callable = |function: &&tidemill_values::Function| {
        matches!(function.kind, Kind::Scalar | Kind::Aggregate)
    };
    for function in functions().filter(callable) {
        let name = function.name;
        let of = || rows.iter().filter(|row| row.name == name);
        assert!(
            of().any(|row| row.expected.is_some()),
            "{name} never gives anything"
        );
        let has_null = |row: &Row| match function.kind {
            Kind::Aggregate => row
                .args
                .iter()
                .filter_map(Value::as_list)
                .any(|rows| rows.is_empty() || rows.iter().any(Value::is_null)),
            _ => row.args.iter().any(Value::is_null),
        };
        if function.arity.max != Some(0) {
            assert!(of().any(has_null), "{name} of NULL");
        }
        if !TAKE_ANYTHING.contains(&name) {
            assert!(
                of().any(|row| row.expected.is_none()),
                "{name} of something wrong"
            );
        }
    }
}

#[test]
fn names_and_numbers_are_unique_and_found() {
    let mut names = BTreeSet::new();
    for function in functions() {
        assert!(names.insert(function.name), "{} twice", function.name);
        assert_eq!(function.name, function.name.to_ascii_lowercase());
        let found = by_number(function.number).unwrap();
        assert_eq!(found.name, function.name, "number {}", function.number);
        assert_eq!(
            lookup(&function.name.to_uppercase()).unwrap().name,
            function.name
        );
    }
    assert!(by_number(0).is_none());
    assert!(by_number(u16::MAX).is_none());
    assert!(lookup("nothing").is_none());
}

/// Compiled modules hold these numbers: a line may be added, none changed. Checked against the list
/// that was committed.
#[test]
fn numbers_stay_what_they_were() {
    let known: Vec<(u16, &str)> = include_str!("numbers.txt")
        .lines()
        .map(|line| {
            let (number, name) = line.split_once(' ').unwrap();
            (number.parse().unwrap(), name)
        })
        .collect();
    for (number, name) in &known {
        let function = by_number(*number).unwrap_or_else(|| panic!("{number} {name} is gone"));
        assert_eq!(function.name, *name, "number {number}");
    }
    for function in functions() {
        let line = (function.number, function.name);
        assert!(
            known.contains(&line),
            "add to numbers.txt: {} {}",
            line.0,
            line.1
        );
    }
}
