//! No call needs more fuel than its module's bound says.

use std::collections::BTreeMap;

use tidemill_sql::{Options, compile};
use tidemill_values::Value as SqlValue;

use super::*;
use crate::event::Event;
use crate::function::FuelBound;
use tidemill_transport::topic::Topic;

const EMISSION_BYTES: usize = 64 * 1024;

fn bound(wat: &str) -> Option<FuelBound> {
    FuelBound::of(&wat::parse_str(wat).unwrap(), EMISSION_BYTES)
}

#[test]
fn a_bound_is_the_dearest_way_through_the_code() {
    let f = |body: &str| {
        typed(
            &["f64"],
            &format!("(func (export \"f\") (param f64) (result i32) {body})"),
        )
    };
    // Each instruction and each branch is one; the two branches are not both taken.
    let plain = "(f64.gt (local.get 0) (f64.const 39))";
    assert_eq!(bound(&f(plain)).unwrap().on(1_000), 5);
    let branch =
        format!("(if (result i32) {plain} (then (i32.const 1)) (else (i32.popcnt (i32.const 7))))");
    assert_eq!(bound(&f(&branch)).unwrap().on(0), 1 + 3 + 1 + 4 + 1);
    for (body, why) in [
        (
            "(loop (br_if 0 (f64.gt (local.get 0) (f64.const 1)))) (i32.const 0)",
            "a loop",
        ),
        ("(call 0 (local.get 0))", "a call of itself"),
    ] {
        assert_eq!(bound(&f(body)), None, "{why}");
    }
    assert_eq!(
        bound(&pull(
            "(call $log (i32.const 1) (i32.const 0) (i32.const 9)) (i32.const 0)"
        )),
        None
    );
}

#[test]
fn what_reads_the_payload_is_bounded_by_its_length() {
    let wasm = sql("SELECT device, temperature FROM input WHERE temperature > 50");
    let bound = FuelBound::of(&wasm, EMISSION_BYTES).unwrap();
    // 90 to read it at worst, and 4 for each of two columns that may not be there.
    assert_eq!(bound.on(1_600) - bound.on(0), 98 * 1_600);
    let text = bound.to_string();
    assert!(
        text.ends_with(" and 98 for each byte of the payload"),
        "{text}"
    );
    // What is remembered may be as long as an entry.
    let lag = sql("SELECT lag(temperature) AS before FROM input");
    assert_eq!(FuelBound::of(&lag, EMISSION_BYTES), None);
}

fn sql(statement: &str) -> Vec<u8> {
    let options = Options {
        params: BTreeMap::from([("limit".to_owned(), SqlValue::Int(50))])
            .into_iter()
            .filter(|(name, _)| statement.contains(&format!(":{name}")))
            .collect(),
        ..Options::default()
    };
    compile(statement, &options).unwrap().wasm
}

#[test]
fn no_call_of_a_statement_needs_more_than_its_bound() {
    let statements = [
        "SELECT * FROM input WHERE temperature > 50",
        "SELECT * FROM input WHERE temperature > :limit AND (temperature < 99 AND temperature != 70)",
        "SELECT device, temperature, a AS b, meta(topic) AS topic FROM input WHERE temperature > 50",
        "SELECT *, device AS d, 5 AS five FROM input",
        "SELECT avg(temperature) AS mean, device FROM input GROUP BY device, TUMBLINGWINDOW(ss, 1)",
        "SELECT collect(temperature) AS all FROM input WHERE device != 'x' GROUP BY COUNTWINDOW(3)",
    ];
    let long = format!(r#"{{"device":"{}","temperature":70}}"#, "x".repeat(3_000));
    let payloads = [
        r#"{"device":"d1","temperature":61.5,"humidity":2,"a":{"b":[1,2]},"list":[5]}"#,
        r#"{"temperature":1}"#,
        r#"{"device":7,"temperature":"hot","humidity":9}"#,
        "{}",
        "[]",
        &long,
    ];
    let mut tightest = f64::INFINITY;
    for statement in statements {
        let wasm = sql(statement);
        let bound = FuelBound::of(&wasm, EMISSION_BYTES).unwrap();
        let engine = engine();
        let module = engine.load(&wasm).unwrap();
        let windowed = module.manifest.window.is_some();
        let settings = Settings {
            windowed,
            rows: statement.contains("COUNTWINDOW"),
            window_slots: module
                .manifest
                .window
                .as_ref()
                .map_or(0, |window| window.slots),
            ..settings()
        };
        let mut function = Function::new(&engine, &module, settings).unwrap();
        for payload in payloads {
            let number = |name: &str| match serde_json::from_str::<serde_json::Value>(payload) {
                Ok(json) => json.get(name).and_then(serde_json::Value::as_f64),
                Err(_) => None,
            };
            let inputs = module.manifest.inputs.iter().map(|input| match input.kind {
                crate::rule::manifest::InputKind::Kind => Value::I32(1),
                _ => Value::F64(number(&input.name).unwrap_or(f64::NAN)),
            });
            let mut frame = frame(&inputs.collect::<Vec<_>>());
            frame.event = Event::new(Topic::new("t/d1").unwrap(), payload.as_bytes().to_vec(), 0);
            let _ = function.call(Handler::Event, &mut frame);
            let (used, most) = (function.fuel_used(), bound.on(payload.len()));
            assert!(used <= most, "{statement} on {payload}: {used} of {most}");
            tightest = tightest.min(most as f64 / used as f64);
        }
    }
    assert!(
        tightest < 1.5,
        "a bound that is never near says little: {tightest}"
    );
}
