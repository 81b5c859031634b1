//! Each limit, at the limit and one beyond it.

use super::*;

const HANDLER: &str = r#"(func (export "on_event") (result i32) (i32.const 0))"#;

fn loads_up_to(limit: usize, module: impl Fn(usize) -> String, message: &str) {
    load(&module(limit)).map(drop).unwrap();
    let error = load(&module(limit + 1)).map(drop).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn the_structure_of_a_module_is_bounded() {
    loads_up_to(
        16,
        |n| format!("(module (memory {n}) {HANDLER})"),
        "pages of memory: 17, the limit is 16",
    );
    loads_up_to(
        1_000,
        |n| format!("(module (table {n} funcref) {HANDLER})"),
        "table elements: 1001, the limit is 1000",
    );
    let types = |n| {
        (1..n)
            .map(|i| format!("(type (func (result {})))", "i32 ".repeat(i % 20)))
            .collect::<String>()
    };
    loads_up_to(
        1_000,
        |n| {
            format!(
                "(module (type $h (func (result i32))) {} (func (export \"on_event\") (type $h) (i32.const 0)))",
                types(n)
            )
        },
        "types: 1001, the limit is 1000",
    );
    loads_up_to(
        1_000,
        |n| format!("(module (func (local {})) {HANDLER})", "i32 ".repeat(n)),
        "locals: 1001, the limit is 1000",
    );
    loads_up_to(
        1_000,
        |n| {
            format!(
                "(module (func {} {}) {HANDLER})",
                "block ".repeat(n),
                "end ".repeat(n)
            )
        },
        "nested blocks: 1001, the limit is 1000",
    );
    let params = |n| {
        typed(
            &vec!["f64"; n],
            &format!(
                r#"(func (export "f") (param {}) (result i32) (i32.const 0))"#,
                "f64 ".repeat(n)
            ),
        )
    };
    loads_up_to(16, params, "parameters of `f`: 17, the limit is 16");
}

#[test]
fn a_module_may_have_256_kib_and_no_byte_more() {
    let module = |size: usize| {
        let mut wasm = wat::parse_str(format!("(module {HANDLER})")).unwrap();
        // A custom section, its length in three bytes and its name empty, fills up.
        let body = size - wasm.len() - 4;
        wasm.extend([
            0,
            body as u8 | 0x80,
            (body >> 7) as u8 | 0x80,
            (body >> 14) as u8,
            0,
        ]);
        wasm.resize(size, 0);
        wasm
    };
    engine().load(&module(256 * 1024)).map(drop).unwrap();
    let error = engine()
        .load(&module(256 * 1024 + 1))
        .map(drop)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the module has 262145 bytes, the limit is 262144"
    );
}

#[test]
fn calls_nest_256_deep() {
    let wat = r#"(module (@custom "tidemill.manifest" "{\"abi\":1,\"inputs\":[{\"pointer\":\"/n\",\"type\":\"i32\"}]}")
        (func $down (export "f") (param i32) (result i32)
          (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0)) (else (call $down (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let mut function = function(wat);
    let mut down = |calls| function.call(Handler::Event, &mut frame(&[Value::I32(calls - 1)]));
    assert_eq!(down(256).unwrap(), Verdict::Done);
    assert_eq!(
        down(257).unwrap_err().to_string(),
        "trapped: call stack exhausted"
    );
    assert_eq!(down(256).unwrap(), Verdict::Done);
}

#[test]
fn fuel_is_set_anew_for_each_call_and_counted() {
    let wat = pull(
        "(loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100)))) (i32.const 0)",
    );
    let mut measured = function(&wat);
    measured.call(Handler::Event, &mut frame(&[])).unwrap();
    let fuel = measured.fuel_used();
    assert!((300..1_000).contains(&fuel), "{fuel}");
    let mut enough = function_with(&wat, Settings { fuel, ..settings() });
    for _ in 0..3 {
        enough.call(Handler::Event, &mut frame(&[])).unwrap();
        assert_eq!(enough.fuel_used(), fuel);
    }
    let fuel = fuel - 1;
    let mut short = function_with(&wat, Settings { fuel, ..settings() });
    let fault = short.call(Handler::Event, &mut frame(&[])).unwrap_err();
    assert_eq!(fault.to_string(), format!("out of fuel after {fuel} units"));
    assert_eq!(short.fuel_used(), fuel);
}

#[test]
fn memory_grows_to_its_limit_and_answers_minus_one_beyond() {
    let grow = |pages: i32| {
        format!(
            "(drop (call $emit_f64 (i32.const 0) (f64.convert_i32_s (memory.grow (i32.const {pages})))))"
        )
    };
    let wat = pull(&format!(
        "{}{}{}{}{}(i32.store (i32.const 1048572) (i32.const 1)) (i32.const 0)",
        grow(0),
        grow(14),
        grow(1),
        grow(1),
        grow(-1)
    ));
    let mut frame = frame(&[]);
    function(&wat).call(Handler::Event, &mut frame).unwrap();
    assert_eq!(emitted(&frame), ["1", "1", "15", "-1", "-1"]);
    frame.effects.clear();
    let memory_pages = 15;
    let fault = function_with(
        &wat,
        Settings {
            memory_pages,
            ..settings()
        },
    )
    .call(Handler::Event, &mut frame)
    .unwrap_err();
    assert_eq!(emitted(&frame), ["1", "1", "-1", "-1", "-1"]);
    assert!(matches!(fault, CallFault::Trap { .. }));
}

/// The answers of an import called `times` times, as the guest saw the last one and the first other.
fn answers(frame: &mut Box<Frame>, settings: Settings, call: &str, times: usize) -> Vec<f64> {
    let body = format!(
        "(loop $l (call $reg_set (local.get $i) (f64.convert_i32_s {call}))
           (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {times})))) (i32.const 0)"
    );
    function_with(&pull(&body), settings)
        .call(Handler::Event, frame)
        .unwrap();
    frame.effects.slots.iter().map(|(_, value)| value).collect()
}

#[test]
fn emissions_are_bounded_in_number_size_and_ports() {
    let emit = |port: i32, len: i32| {
        format!("(call $emit (i32.const {port}) (i32.const 0) (i32.const {len}))")
    };
    let unbound = 0b01;
    for (call, settings, expected) in [
        (
            emit(1, 1),
            settings(),
            [vec![0.0; 16], vec![-5.0; 2]].concat(),
        ),
        (
            emit(0, 16 * 1024),
            settings(),
            vec![0.0, 0.0, 0.0, 0.0, -5.0],
        ),
        (emit(0, 65_536), settings(), vec![0.0, -5.0]),
        (
            emit(0, 60_000),
            Settings {
                emission_bytes: 59_999,
                ..settings()
            },
            vec![-3.0],
        ),
        (
            emit(0, 60_000),
            Settings {
                emission_bytes: 60_000,
                ..settings()
            },
            vec![0.0, -5.0],
        ),
        (
            emit(0, 0),
            Settings {
                emissions: 1,
                ..settings()
            },
            vec![0.0, -5.0],
        ),
        (emit(2, 1), settings(), vec![-2.0]),
        (emit(-1, 1), settings(), vec![-2.0]),
        (emit(300, 1), settings(), vec![-2.0]),
        (
            emit(1, 1),
            Settings {
                bound_ports: unbound,
                ..settings()
            },
            vec![-4.0],
        ),
        (emit(0, -1), settings(), vec![-2.0]),
        (
            "(call $emit_f64 (i32.const 0) (f64.const nan))".to_owned(),
            settings(),
            vec![-2.0],
        ),
        (
            "(call $emit_f64 (i32.const 2) (f64.const 1))".to_owned(),
            settings(),
            vec![-2.0],
        ),
        (
            "(call $emit_f64 (i32.const 0) (f64.const 1))".to_owned(),
            Settings {
                emissions: 2,
                ..settings()
            },
            vec![0.0, 0.0, -5.0],
        ),
    ] {
        assert_eq!(
            answers(&mut frame(&[]), settings, &call, expected.len()),
            expected,
            "{call}"
        );
    }
}

#[test]
fn a_number_for_an_unbound_port_goes_nowhere() {
    let wat = typed(
        &["f64"],
        r#"(func (export "f") (param f64) (result f64) (local.get 0))"#,
    );
    let mut frame = frame(&[Value::F64(1.0)]);
    let mut function = function_with(
        &wat,
        Settings {
            bound_ports: 0,
            ..settings()
        },
    );
    assert_eq!(
        function.call(Handler::Event, &mut frame).unwrap(),
        Verdict::Done
    );
    assert!(frame.effects.is_empty());
}

#[test]
fn state_grows_as_far_as_the_rule_has_room() {
    // One byte of key, the number of the call, 9 of value and 48 for the entry itself.
    let put = "(block (result i32) (i32.store8 (i32.const 0) (local.get $i))
        (call $st_put (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 9)))";
    let mut room = frame(&[]);
    room.state_bytes_free = 3 * 58;
    assert_eq!(
        answers(&mut room, settings(), put, 5),
        [0.0, 0.0, 0.0, -5.0, -5.0]
    );
    let mut room = frame(&[]);
    room.state_bytes_free = 3 * 58 - 1;
    assert_eq!(answers(&mut room, settings(), put, 3), [0.0, 0.0, -5.0]);
    // An existing entry may be overwritten by one no longer, even without any room.
    let mut full = frame(&[]);
    full.state_bytes_free = 0;
    full.state.entries.insert((*b"\0").into(), [0; 9].into());
    assert_eq!(answers(&mut full, settings(), put, 2), [0.0, -5.0]);
}

#[test]
fn keys_and_values_of_entries_are_bounded() {
    for (key, value, expected) in [
        (256, 1, 0.0),
        (257, 1, -3.0),
        (1, 64_512, 0.0),
        (1, 64_513, -3.0),
    ] {
        let put = format!(
            "(call $st_put (i32.const 0) (i32.const {key}) (i32.const 1) (i32.const {value}))"
        );
        assert_eq!(
            answers(&mut frame(&[]), settings(), &put, 1),
            [expected],
            "{key} {value}"
        );
    }
}

#[test]
fn a_key_has_32_timers_with_bounded_delays() {
    let armed = answers(
        &mut frame(&[]),
        settings(),
        "(call $timer (local.get $i) (i64.const 5))",
        34,
    );
    assert_eq!(armed, [vec![0.0; 32], vec![-5.0; 2]].concat());
    let ten_years: i64 = 10 * 365 * 24 * 60 * 60 * 1000;
    for (id, delay, expected, timers) in [
        (3, ten_years, 0.0, vec![(3, Some(315_360_000_000))]),
        (3, ten_years + 1, -2.0, vec![]),
        (3, 0, 0.0, vec![(3, Some(0))]),
        (3, -1, 0.0, vec![]),
        (-1, 1, 0.0, vec![(u32::MAX, Some(1))]),
    ] {
        let mut frame = frame(&[]);
        let call = format!("(call $timer (i32.const {id}) (i64.const {delay}))");
        assert_eq!(
            answers(&mut frame, settings(), &call, 2),
            [expected; 2],
            "{id} {delay}"
        );
        assert_eq!(frame.effects.timers, timers, "asking twice is asking once");
    }
}

#[test]
fn log_lines_are_cut_and_counted() {
    let log = |len: i32| {
        format!(
            "(block (result i32) (call $log (i32.const 0) (i32.const 0) (i32.const {len})) (i32.const 0))"
        )
    };
    let mut frame = frame(&[]);
    answers(&mut frame, settings(), &log(256), 10);
    assert_eq!(
        (frame.effects.logs.len(), frame.effects.logs_dropped),
        (10, 0)
    );
    assert!(frame.effects.logs.iter().all(|line| line.text.len() == 256));
    frame.effects.clear();
    answers(&mut frame, settings(), &log(257), 12);
    assert_eq!(
        (frame.effects.logs.len(), frame.effects.logs_dropped),
        (10, 2)
    );
    assert!(frame.effects.logs.iter().all(|line| line.text.len() == 256));
    let broken = "(block (result i32) (memory.fill (i32.const 0) (i32.const 255) (i32.const 300))
        (call $log (i32.const 9) (i32.const 0) (i32.const 300)) (i32.const 0))";
    frame.effects.clear();
    answers(&mut frame, settings(), broken, 1);
    assert!(frame.effects.logs.iter().all(|line| line.text.len() <= 256));
}
