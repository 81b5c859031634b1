//! No arguments make a function or an operator panic or give more than a result may have, and what would
//! take minutes is refused. No clock says so: a machine may be as slow as it likes.

use tidemill_values::{
    BinaryOp, Budget, Cache, Context, Function, Kind, Map, NESTING_MAX, VALUE_BYTES_MAX, Value,
    between, binary, call, cast, contains, convert, decode, encode, field, functions, index, like,
    negate, not, order, slice, step, to_json, total_order,
};

fn extremes() -> Vec<Value> {
    let map: Map = [("key", Value::from("a")), ("value", Value::Null)]
        .into_iter()
        .collect();
    let deep = (0..NESTING_MAX).fold(Value::Null, |inner, _| Value::list(vec![inner]));
    let mut values = vec![
        Value::Null,
        Value::Bool(true),
        Value::Int(0),
        Value::Int(-1),
        Value::Int(2),
        Value::Int(400_000),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Float(0.5),
        Value::Float(-0.0),
        Value::Float(1e300),
        Value::Float(f64::MAX),
        Value::Float(f64::MIN),
        Value::Float(f64::MIN_POSITIVE),
        Value::Wide(u64::MAX),
        Value::Datetime(i64::MAX),
        Value::Datetime(i64::MIN),
        Value::Datetime(8_210_266_876_799_999), // the last moment of chrono's calendar
        Value::Datetime(-8_334_601_228_800_000), // and its first
        Value::Datetime(253_402_300_799_999),   // the last of the year 9999
        Value::Datetime(-62_135_596_800_000),   // the first of the year 1
        Value::bytes(vec![0xff; 3]),
        Value::bytes(vec![0x80; 9]),
        Value::list(Vec::new()),
        Value::list(vec![
            Value::Int(1),
            Value::from("a"),
            Value::Null,
            Value::Float(f64::MAX),
        ]),
        Value::list(vec![
            Value::Float(f64::MAX),
            Value::Float(f64::MAX),
            Value::Float(f64::MIN),
        ]),
        Value::list(vec![Value::map(map.clone()), Value::map(map.clone())]),
        Value::map(Map::new()),
        Value::map(map),
        deep,
    ];
    let texts = [
        "",
        "a",
        "中国",
        "\\",
        "'",
        "%",
        "-",
        "0x",
        "$",
        "$..*",
        "$[? @ > 1]",
        "(a*)*b",
        "base64",
        "hex",
        "int16be",
        "uint64le",
        "float16be",
        "zlib",
        "gzip",
        "flate",
        "bigint",
        "datetime",
        "UTC",
        "topic",
        "abs",
        "nan",
        "-inf",
        "1e999",
        "-9223372036854775808",
        "2024-05-01T08:30:00Z",
        "-262143-01-01",
        "99999999999h",
        "yyyyMMddHHmmssSSSXXX",
        "en_US",
    ];
    values.extend(texts.map(Value::from));
    values.push(Value::from("a".repeat(300_000)));
    values.push(Value::list(vec![Value::Int(7); 50_000]));
    values
}

fn with_context<T>(run: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut cache = Cache::new();
    let meta = Map::new();
    run(&mut Context {
        now_ms: i64::MAX,
        rule: "r",
        rule_start_ms: i64::MIN,
        topic: "t",
        meta: &meta,
        random: &mut || u64::MAX,
        cache: &mut cache,
        budget: &mut { Budget::PLENTY },
    })
}

/// Arguments with each value at each place, beside a few others.
fn arguments(values: &[Value], count: usize) -> Vec<Vec<Value>> {
    let mut seed = 7_u64;
    let mut any = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        values[(seed >> 33) as usize % values.len()].clone()
    };
    let mut all = Vec::new();
    for value in values {
        for place in 0..count {
            for _ in 0..2 {
                let mut args: Vec<Value> = (0..count).map(|_| any()).collect();
                args[place] = value.clone();
                all.push(args);
            }
        }
    }
    all
}

fn counts(function: &Function) -> std::ops::RangeInclusive<usize> {
    function.arity.min.max(1)..=function.arity.max.unwrap_or(function.arity.min + 2).max(1)
}

/// A value that can be written down and comes back as it was: of a float that is no number nothing would.
fn sound(name: &str, value: &Value) {
    assert!(value.size() <= VALUE_BYTES_MAX, "{name}");
    assert!(value.depth() <= NESTING_MAX, "{name}");
    let encoded = encode(value).unwrap();
    assert_eq!(
        encode(&decode(&encoded).unwrap()).unwrap(),
        encoded,
        "{name}"
    );
    to_json(value);
}

#[test]
fn no_arguments_make_a_function_panic() {
    let values = extremes();
    for function in functions() {
        for args in counts(function).flat_map(|count| arguments(&values, count)) {
            match function.kind {
                Kind::Analytic => {
                    for state in [&Value::Null, &args[0]] {
                        if let Ok((state, value)) =
                            step(function, state, &args, true, &mut { Budget::PLENTY })
                        {
                            sound(function.name, &state);
                            sound(function.name, &value);
                        }
                    }
                }
                _ => {
                    if let Ok(value) = with_context(|context| call(function, context, &args)) {
                        sound(function.name, &value);
                    }
                }
            }
        }
    }
}

#[test]
fn no_operands_make_an_operator_panic() {
    let values = extremes();
    for a in &values {
        let _ = (negate(a), not(a), field(a, "key"));
        for kind in tidemill_values::FieldType::ALL {
            let _ = (cast(a, kind), convert(a, kind));
        }
        for b in &values {
            for op in BinaryOp::ALL {
                let _ = binary(op, a, b);
            }
            let _ = (
                index(a, b),
                contains(a, b, false),
                order(a, b),
                like(a, b, true),
            );
            assert_eq!(total_order(a, b), total_order(b, a).reverse());
            for c in values.iter().take(16) {
                let _ = (
                    slice(a, Some(b), Some(c)),
                    slice(a, None, Some(b)),
                    between(c, a, b, false),
                );
            }
        }
    }
}

#[test]
fn a_value_that_doubles_and_doubles_is_refused() {
    let concat = tidemill_values::lookup("array_create").unwrap();
    let mut value = Value::from("a");
    let refused = (0..64).find(|_| {
        let args = [value.clone(), value.clone()];
        match with_context(|context| call(concat, context, &args)) {
            Ok(next) => {
                value = next;
                false
            }
            Err(_) => true,
        }
    });
    assert!(refused.is_some_and(|times| times < 20), "{refused:?}");
}

fn called(name: &str, args: &[Value]) -> Result<Value, String> {
    let function = tidemill_values::lookup(name).unwrap();
    with_context(|context| call(function, context, args)).map_err(|error| error.to_string())
}

/// The same with so much fuel.
fn within(fuel: u64, name: &str, args: &[Value]) -> Result<Value, String> {
    let function = tidemill_values::lookup(name).unwrap();
    let called = with_context(|context| {
        context.budget.fuel = fuel;
        call(function, context, args)
    });
    called.map_err(|error| error.to_string())
}

#[test]
fn the_same_call_costs_the_same_whatever_was_called_before() {
    let function = tidemill_values::lookup("regexp_matches").unwrap();
    let args = [Value::from("abc"), Value::from("b+")];
    let costs = with_context(|context| {
        [true, true, false].map(|is_new| {
            if is_new {
                context.cache.begin();
            }
            context.budget.fuel = 1 << 40;
            call(function, context, &args).unwrap();
            (1 << 40) - context.budget.fuel
        })
    });
    assert_eq!(costs[0], costs[1]);
    assert!(costs[2] < costs[1], "{costs:?}");
}

#[test]
fn texts_that_name_a_group_again_and_again_are_refused_before_they_are_made() {
    let whole = Value::from("a".repeat(400_000));
    for by in [
        "$1".repeat(100_000),
        "${1}".repeat(100_000),
        "${1$1".repeat(80_000),
    ] {
        let args = [whole.clone(), Value::from("(a+)"), Value::from(by)];
        let refused = called("regexp_replace", &args).unwrap_err();
        assert!(refused.contains("too large"), "{refused}");
    }
    let replaced = |text: &str, by: &str| {
        let args = [
            Value::from(text),
            Value::from("(?<n>b)(c)?"),
            Value::from(by),
        ];
        called("regexp_replace", &args).unwrap()
    };
    for (by, expected) in [
        ("$1", "aba"),
        ("<$n$1>$$1$", "a<bb>$1$a"),
        ("${n}c$2", "abca"),
        ("${n$1}${", "a${a"),
        ("$é$$$1", "a$é$ba"),
        ("$nn", "aa"),
    ] {
        assert_eq!(replaced("aba", by), Value::from(expected), "{by}");
    }
}

#[test]
fn lists_and_texts_that_are_put_together_are_refused_before_they_are_made() {
    // Ten thousand times a payload's list would be gigabytes.
    let list = Value::list(vec![Value::Int(0); 500_000]);
    let args = vec![list; 10_000];
    for name in ["array_concat", "concat"] {
        let refused = called(name, &args).unwrap_err();
        assert!(refused.contains("too large"), "{name}: {refused}");
    }
}

#[test]
fn what_would_match_for_minutes_is_refused() {
    // Each match looks at all that is left, and is one character long.
    let text = Value::from("A".repeat(100_000));
    let args = [
        text.clone(),
        Value::from(".*[^A-Z]|[A-Z]"),
        Value::from("x"),
    ];
    assert_eq!(
        within(1 << 30, "regexp_replace", &args),
        Err("out of fuel".to_owned())
    );
    // A short pattern that is a long one.
    for name in ["regexp_matches", "regexp_substr"] {
        let args = [text.clone(), Value::from("(A?){500}b")];
        assert_eq!(within(1 << 30, name, &args), Err("out of fuel".to_owned()));
    }

    // Ordinary use stays far below the limits.
    let lines = Value::from("2024-05-01 08:30:00 pump 7 on\n".repeat(30));
    let args = [lines.clone(), Value::from("\\s+"), Value::from(" ")];
    assert!(within(500_000, "regexp_replace", &args).is_ok());
    let args = [lines, Value::from("^[0-9: a-z\n-]+$")];
    assert_eq!(
        within(500_000, "regexp_matches", &args),
        Ok(Value::Bool(true))
    );
}
