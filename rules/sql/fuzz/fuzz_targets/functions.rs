//! Values of a device in functions and operators: the first two bytes pick the function, the rest
//! is its arguments as JSON, one a line. No call panics, and the result keeps its limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_values::{
    BinaryOp, Budget, Cache, Context, FieldType, Function, Kind, Map, NESTING_MAX, VALUE_BYTES_MAX,
    Value, between, binary, call, cast, contains, convert, decode, encode, field, from_json,
    functions, index, like, negate, not, order, slice, step, to_json, total_order,
};

/// More arguments than any function looks at.
const ARGUMENTS_MAX: usize = 6;

fuzz_target!(|data: &[u8]| {
    let Some(([low, high], rest)) = data.split_first_chunk() else {
        return;
    };
    let mut args: Vec<Value> = Vec::new();
    for line in rest.split(|byte| *byte == b'\n').take(ARGUMENTS_MAX) {
        match from_json(line) {
            Ok(value) => {
                sound(&value);
                args.push(value);
            }
            // As text, so that patterns, paths and dates are found without quotes.
            Err(_) => args.extend(std::str::from_utf8(line).ok().map(Value::from)),
        }
    }
    let all: Vec<&Function> = functions().collect();
    let number = usize::from(*low) | usize::from(*high & 1) << 8;
    match all.get(number % (all.len() + 1)) {
        Some(function) => call_function(function, &args),
        None => operate(&args),
    }
});

/// What a call is granted by default.
fn grant() -> Budget {
    Budget {
        fuel: 1_000_000,
        bytes: 4 << 20,
    }
}

fn call_function(function: &Function, args: &[Value]) {
    if function.kind == Kind::Analytic {
        let mut state = Value::Null;
        for counts in [true, false, true] {
            if let Ok((next, value)) = step(function, &state, args, counts, &mut grant()) {
                sound(&next);
                sound(&value);
                state = next;
            }
        }
        // A state that another function wrote.
        if let Some((state, args)) = args.split_first() {
            let _ = step(function, state, args, true, &mut grant());
        }
        return;
    }
    let topic = args
        .first()
        .and_then(Value::as_text)
        .unwrap_or_default()
        .to_owned();
    let meta: Map = [("x", Value::Int(1))].into_iter().collect();
    let once = || {
        let mut seed = 1_u64;
        let mut cache = Cache::new();
        let mut context = Context {
            now_ms: 1_700_000_000_123,
            rule: "rule",
            rule_start_ms: 1_700_000_000_000,
            topic: &topic,
            meta: &meta,
            random: &mut || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed
            },
            cache: &mut cache,
            budget: &mut grant(),
        };
        call(function, &mut context, args)
    };
    let first = once();
    match &first {
        Ok(value) => sound(value),
        Err(error) => assert!(error.to_string().len() < 64 * 1024, "{}", function.name),
    }
    // A replay gives the same, an error too.
    assert_eq!(shown(&first), shown(&once()), "{}", function.name);
}

fn shown<E: std::fmt::Display>(result: &Result<Value, E>) -> String {
    match result {
        Ok(value) => to_json(value),
        Err(error) => error.to_string(),
    }
}

fn operate(args: &[Value]) {
    for a in args {
        let _ = (negate(a), not(a), field(a, "key"));
        for ty in FieldType::ALL {
            for value in [cast(a, ty), convert(a, ty)].into_iter().flatten() {
                sound(&value);
            }
        }
        for b in args {
            for op in BinaryOp::ALL {
                if let Ok(value) = binary(op, a, b) {
                    sound(&value);
                }
            }
            let _ = (
                index(a, b),
                contains(a, b, false),
                order(a, b),
                like(a, b, true),
            );
            assert_eq!(
                total_order(a, b),
                total_order(b, a).reverse(),
                "{a:?} {b:?}"
            );
            for c in args {
                let _ = (slice(a, Some(b), Some(c)), between(c, a, b, false));
            }
        }
    }
}

fn sound(value: &Value) {
    assert!(value.size() <= VALUE_BYTES_MAX);
    assert!(value.depth() <= NESTING_MAX);
    let encoded = encode(value).expect("it is within the limits");
    let decoded = decode(&encoded).expect("it was encoded");
    assert_eq!(encode(&decoded).expect("it was decoded"), encoded);
    let json = to_json(value);
    // The result goes out as JSON, also for a reader that reads it less deep than we write it.
    if value.depth() < 127 {
        assert!(from_json(json.as_bytes()).is_ok(), "{json}");
    }
    let _ = value.shown();
}
