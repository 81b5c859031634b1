//! Inputs, answers and effects of calls.

use super::*;
use crate::event::Event;
use crate::event::state::Pane;
use crate::event::value::Span;
use crate::rule::manifest::ConfigValue;
use tidemill_transport::topic::Topic;

/// Runs a pull handler whose body leaves an i32, and returns that number: it is emitted as a
/// number.
fn result_in(frame: &mut Box<Frame>, settings: Settings, body: &str) -> String {
    let body =
        format!("(drop (call $emit_f64 (i32.const 0) (f64.convert_i32_s {body}))) (i32.const 0)");
    let outcome = function_with(&pull(&body), settings).call(Handler::Event, frame);
    let emitted = emitted(frame).join(" ");
    frame.effects.clear();
    match outcome {
        Ok(_) => emitted,
        Err(fault) => fault.to_string(),
    }
}

fn check(frame: &mut Box<Frame>, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        assert_eq!(result_in(frame, settings(), body), *expected, "{body}");
    }
}

#[test]
fn typed_handlers_take_every_signature_and_answer_numbers() {
    let f64s = [Value::F64(40.0), Value::F64(2.5), Value::F64(0.5)];
    let sum = "(f64.add (f64.add (local.get 0) (local.get 1)) (local.get 2))";
    for (inputs, function, values, verdict, out) in [
        (
            &["f64"][..],
            "(param f64) (result i32) (f64.gt (local.get 0) (f64.const 39))".to_owned(),
            &f64s[..1],
            Verdict::Pass(0),
            "",
        ),
        (
            &["f64"],
            "(param f64) (result i32) (f64.gt (local.get 0) (f64.const 41))".to_owned(),
            &f64s[..1],
            Verdict::Done,
            "",
        ),
        (
            &["f64", "f64"],
            "(param f64 f64) (result i32) (f64.gt (local.get 0) (local.get 1))".to_owned(),
            &f64s[..2],
            Verdict::Pass(0),
            "",
        ),
        (
            &["f64", "f64", "f64"],
            format!("(param f64 f64 f64) (result f64) {sum}"),
            &f64s,
            Verdict::Done,
            "43",
        ),
        (
            &["f64"],
            "(param f64) (result f64) (f64.const nan)".to_owned(),
            &f64s[..1],
            Verdict::Done,
            "",
        ),
        (
            &["f64"],
            "(param f64) (result f64) (f64.const inf)".to_owned(),
            &f64s[..1],
            Verdict::Done,
            "",
        ),
        (
            &["i64"],
            "(param i64) (result i64) (local.get 0)".to_owned(),
            &[Value::I64(i64::MIN)],
            Verdict::Done,
            "-9223372036854775808",
        ),
        (
            &["i32", "bytes"],
            "(param i32 i32) (result i64) (i64.extend_i32_s (i32.add (local.get 0) (local.get 1)))"
                .to_owned(),
            &[Value::I32(5), Value::Bytes(None)],
            Verdict::Done,
            "4",
        ),
        (
            &["bytes"],
            "(param i32) (result i64) (i64.extend_i32_s (local.get 0))".to_owned(),
            &[Value::Bytes(Some(Span { start: 1, len: 7 }))],
            Verdict::Done,
            "7",
        ),
        (
            &["i32"],
            "(param i32) (result i32) (local.get 0)".to_owned(),
            &[Value::I32(1)],
            Verdict::Pass(0),
            "",
        ),
        (
            &[],
            "(result i32) (i32.const 1)".to_owned(),
            &[],
            Verdict::Pass(0),
            "",
        ),
    ] {
        let mut frame = frame(values);
        let mut function = self::function(&typed(
            inputs,
            &format!(r#"(func (export "f") {function})"#),
        ));
        assert_eq!(function.call(Handler::Event, &mut frame).unwrap(), verdict);
        assert_eq!(emitted(&frame).join(" "), out);
        assert!(function.fuel_used() > 0);
    }
}

#[test]
fn answers_that_mean_nothing_are_faults_and_the_instance_lives_on() {
    let wat = typed(
        &["i32"],
        r#"(global $calls (mut i32) (i32.const 0))
        (func (export "on_timer") (param i32) (result i32) (i32.const 1))
        (func (export "f") (param i32) (result i32)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (if (i32.eq (local.get 0) (i32.const 99))
            (then (return (i32.sub (i32.const -100) (global.get $calls)))))
          (local.get 0))"#,
    );
    let mut function = function(&wat);
    for (handler, answer, message) in [
        (Handler::Event, -3, "the function answered the error -3"),
        (
            Handler::Event,
            2,
            "`on_event` answered 2, which means nothing there",
        ),
        (
            Handler::Timer(1),
            1,
            "`on_timer` answered 1, which means nothing there",
        ),
        (Handler::Window, 0, "the module exports no `on_window`"),
        (Handler::Migrate(1), 0, "the module exports no `migrate`"),
        (Handler::Event, 99, "the function answered the error -103"),
    ] {
        let fault = function
            .call(handler, &mut frame(&[Value::I32(answer)]))
            .unwrap_err();
        assert_eq!(fault.to_string(), message);
    }
    function.chill();
    let fault = function
        .call(Handler::Event, &mut frame(&[Value::I32(99)]))
        .unwrap_err();
    assert_eq!(fault.to_string(), "the function answered the error -101");
    let fault = function
        .call(Handler::Event, &mut frame(&[Value::F64(1.0)]))
        .unwrap_err();
    assert!(matches!(fault, CallFault::Inputs));
}

#[test]
fn inputs_are_read_by_index_and_type() {
    let mut frame = frame(&[
        Value::F64(1.5),
        Value::I64(-7),
        Value::I32(3),
        Value::Bytes(Some(Span { start: 1, len: 3 })),
        Value::Bytes(None),
    ]);
    frame.decoded.text = b"xabc".to_vec();
    check(
        &mut frame,
        &[
            (
                "(i32.trunc_f64_s (f64.mul (call $in_f64 (i32.const 0)) (f64.const 2)))",
                "3",
            ),
            ("(i32.trunc_f64_s (call $in_f64 (i32.const 1)))", "-7"),
            ("(i32.wrap_i64 (call $in_i64 (i32.const 1)))", "-7"),
            ("(i32.wrap_i64 (call $in_i64 (i32.const 2)))", "3"),
            (
                "(call $in_bytes (i32.const 3) (i32.const 0) (i32.const 8))",
                "3",
            ),
            (
                "(call $in_bytes (i32.const 3) (i32.const 0) (i32.const 0))",
                "3",
            ),
            (
                "(call $in_bytes (i32.const 4) (i32.const 0) (i32.const 8))",
                "-1",
            ),
            (
                "(call $in_bytes (i32.const 3) (i32.const 0) (i32.const -1))",
                "-2",
            ),
            (
                "(i32.trunc_f64_s (call $in_f64 (i32.const 5)))",
                "broke the contract: there is no input 5",
            ),
            (
                "(i32.trunc_f64_s (call $in_f64 (i32.const 3)))",
                "broke the contract: input 3 is no number",
            ),
            (
                "(i32.wrap_i64 (call $in_i64 (i32.const 0)))",
                "broke the contract: input 0 is no integer",
            ),
            (
                "(i32.wrap_i64 (call $in_i64 (i32.const -1)))",
                "broke the contract: there is no input -1",
            ),
            (
                "(call $in_bytes (i32.const 0) (i32.const 0) (i32.const 8))",
                "broke the contract: input 0 is no string",
            ),
        ],
    );
}

#[test]
fn the_event_and_its_key_are_there_to_be_read() {
    let mut frame = frame(&[]);
    frame.event = Event::new(Topic::new("a/b").unwrap(), &b"payload"[..], 11);
    (frame.key, frame.event_ms, frame.in_seq, frame.flags) = ("key".into(), 12, 13, 5);
    let number = |what: u8| format!("(i32.wrap_i64 (call $ev_i64 (i32.const {what})))");
    for (what, expected) in (0..).zip(["12", "11", "13", "5", "7", "-1", "-1", "0", "0"]) {
        assert_eq!(
            result_in(&mut frame, settings(), &number(what)),
            expected,
            "{what}"
        );
    }
    frame.pane = Some(Pane {
        start_ms: 1,
        end_ms: 2,
        folded: 3,
        ..Pane::default()
    });
    for (what, expected) in (5..).zip(["1", "2", "0", "3"]) {
        assert_eq!(
            result_in(&mut frame, settings(), &number(what)),
            expected,
            "{what}"
        );
    }
    check(
        &mut frame,
        &[
            (
                &number(10),
                "broke the contract: there is no number about the event 10",
            ),
            (
                "(call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 9))",
                "7",
            ),
            (
                "(call $ev_bytes (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 9))",
                "2",
            ),
            (
                "(call $ev_bytes (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 9))",
                "0",
            ),
            (
                "(call $ev_bytes (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 9))",
                "-2",
            ),
            (
                "(call $ev_bytes (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 9))",
                "3",
            ),
            (
                "(call $ev_bytes (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 9))",
                "3",
            ),
            (
                "(call $ev_bytes (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 9))",
                "0",
            ),
            (
                "(call $ev_bytes (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 9))",
                "-2",
            ),
            (
                "(call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 65530) (i32.const 9))",
                "broke the contract: 9 bytes at 65530 are outside of its memory of 65536 bytes",
            ),
        ],
    );
}

#[test]
fn without_an_event_there_is_nothing_of_an_event_to_read() {
    let wat = |body: &str| {
        pull_with(
            &format!(
                r#"(func (export "on_timer") (param i32) (result i32)
            (drop (call $emit_f64 (i32.const 0) (f64.convert_i32_s {body}))) (i32.const 0))"#
            ),
            "(i32.const 0)",
        )
    };
    for (body, expected) in [
        ("(local.get 0)", "6"),
        (
            "(f64.ne (call $in_f64 (i32.const 0)) (call $in_f64 (i32.const 0)))",
            "1",
        ),
        (
            "(call $in_bytes (i32.const 0) (i32.const 0) (i32.const 0))",
            "-7",
        ),
        (
            "(call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
            "-7",
        ),
        (
            "(call $ev_bytes (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0))",
            "0",
        ),
    ] {
        let mut frame = frame(&[]);
        function(&wat(body))
            .call(Handler::Timer(6), &mut frame)
            .unwrap();
        assert_eq!(emitted(&frame), [expected], "{body}");
    }
    let trap = wat("(i32.wrap_i64 (call $in_i64 (i32.const 0)))");
    let fault = function(&trap)
        .call(Handler::Timer(0), &mut frame(&[]))
        .unwrap_err();
    assert_eq!(
        fault.to_string(),
        "broke the contract: `in_i64` cannot be used here"
    );
}

#[test]
fn slots_are_read_through_the_calls_own_writes_the_pane_and_the_key() {
    let mut frame = frame(&[]);
    frame.state.slots = vec![10.0, 11.0, 12.0];
    frame.pane = Some(Pane {
        slots: vec![20.0],
        ..Pane::default()
    });
    let window_slots = 2;
    let get = |slot: i32| format!("(i32.trunc_f64_s (call $reg_get (i32.const {slot})))");
    for (slot, expected) in [
        (0, "20"),
        (1, "0"),
        (2, "12"),
        (255, "0"),
        (256, "broke the contract: there is no slot 256"),
    ] {
        let settings = Settings {
            window_slots,
            ..settings()
        };
        assert_eq!(
            result_in(&mut frame, settings, &get(slot)),
            expected,
            "{slot}"
        );
    }
    let written = format!(
        "(call $reg_set (i32.const 0) (f64.const nan:0x123)) (call $reg_set (i32.const 1) (f64.const 5)) {}",
        get(1)
    );
    function(&pull(&format!("{written} drop (i32.const 0)")))
        .call(Handler::Event, &mut frame)
        .unwrap();
    assert_eq!(
        frame.effects.slots.get(0).unwrap().to_bits(),
        f64::NAN.to_bits()
    );
    assert_eq!(frame.effects.slots.iter().count(), 2);
    assert_eq!(
        frame.state.slots,
        [10.0, 11.0, 12.0],
        "state itself is left to the mill"
    );
}

#[test]
fn entries_are_written_read_and_removed_within_the_call() {
    let items = r#"(data (i32.const 0) "kvKV")"#;
    let mut frame = frame(&[]);
    frame.state.entries.insert((*b"K").into(), (*b"old").into());
    let body = "(call $st_put (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1))
        (call $st_get (i32.const 0) (i32.const 1) (i32.const 9) (i32.const 9))
        (call $st_get (i32.const 2) (i32.const 1) (i32.const 9) (i32.const 9))
        (call $st_del (i32.const 2) (i32.const 1))
        (call $st_del (i32.const 2) (i32.const 1))
        (call $st_get (i32.const 2) (i32.const 1) (i32.const 9) (i32.const 9))
        (call $st_del (i32.const 0) (i32.const 1))
        (call $st_get (i32.const 0) (i32.const 1) (i32.const 9) (i32.const 9))
        (call $st_put (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1))
        (call $st_put (i32.const 0) (i32.const 257) (i32.const 1) (i32.const 1))
        (call $st_put (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 64513))
        (call $st_put (i32.const 0) (i32.const -1) (i32.const 1) (i32.const 1))";
    // The answers lie on the stack, the last one on top.
    let tell =
        "(local.set $n) (drop (call $emit_f64 (i32.const 0) (f64.convert_i32_s (local.get $n))))"
            .repeat(12);
    let mut function = function(&pull_with(items, &format!("{body} {tell} (i32.const 0)")));
    function.call(Handler::Event, &mut frame).unwrap();
    let answers: Vec<_> = emitted(&frame).into_iter().rev().collect();
    assert_eq!(answers.join(" "), "0 1 3 0 -1 -1 0 -1 -2 -3 -3 -2");
    let writes: Vec<_> = frame.effects.entries.iter().collect();
    assert_eq!(writes, [(&Box::from(*b"K"), &None)]);
}

#[test]
fn configuration_is_read_by_index_and_type() {
    let wat = |body: &str| {
        let body = format!(
            "(drop (call $emit_f64 (i32.const 0) (f64.convert_i32_s {body}))) (i32.const 0)"
        );
        pull(&body).replace(r#"\"outputs\""#, r#"\"config\":[{\"name\":\"a\",\"type\":\"f64\"},{\"name\":\"b\",\"type\":\"bytes\"}],\"outputs\""#)
    };
    for (body, expected) in [
        ("(i32.trunc_f64_s (call $cfg_f64 (i32.const 0)))", "50"),
        (
            "(call $cfg_bytes (i32.const 1) (i32.const 0) (i32.const 9))",
            "4",
        ),
        (
            "(i32.trunc_f64_s (call $cfg_f64 (i32.const 1)))",
            "broke the contract: configuration entry 1 is no number",
        ),
        (
            "(call $cfg_bytes (i32.const 0) (i32.const 0) (i32.const 9))",
            "broke the contract: configuration entry 0 is no string",
        ),
        (
            "(call $cfg_bytes (i32.const 2) (i32.const 0) (i32.const 9))",
            "broke the contract: there is no configuration entry 2",
        ),
    ] {
        let config = Box::new([
            ConfigValue::F64(50.0),
            ConfigValue::Bytes((*b"text").into()),
        ]);
        let mut frame = frame(&[]);
        let outcome = function_with(
            &wat(body),
            Settings {
                config,
                ..settings()
            },
        )
        .call(Handler::Event, &mut frame);
        let told = outcome.map_or_else(|fault| fault.to_string(), |_| emitted(&frame).join(" "));
        assert_eq!(told, expected);
    }
}

#[test]
fn numbers_log_lines_and_aborts_come_out_as_text() {
    let items = r#"(data (i32.const 100) "\04\00\00\00o\00h\00") (data (i32.const 200) "line")"#;
    let body = "(local.set $n (call $fmt_f64 (f64.const 12.5) (i32.const 0) (i32.const 9)))
        (drop (call $emit (i32.const 0) (i32.const 0) (local.get $n)))
        (drop (call $emit_f64 (i32.const 1) (f64.const -0.5)))
        (call $log (i32.const 2) (i32.const 200) (i32.const 4)) (i32.const 0)";
    let (outcome, frame) = call(&pull_with(items, body));
    assert_eq!(outcome.unwrap(), Verdict::Done);
    assert_eq!(emitted(&frame), ["12.5", "-0.5"]);
    let ports: Vec<u8> = frame
        .effects
        .emissions
        .iter()
        .map(|emission| emission.port)
        .collect();
    assert_eq!(ports, [0, 1]);
    let lines: Vec<_> = frame
        .effects
        .logs
        .iter()
        .map(|line| (line.level, line.text.as_str()))
        .collect();
    assert_eq!(lines, [(2, "line")]);
    let (outcome, _) = call(&pull_with(
        items,
        "(call $abort (i32.const 104) (i32.const 9) (i32.const 3) (i32.const 4)) (i32.const 0)",
    ));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "broke the contract: aborted: oh at :3:4"
    );
}

#[test]
fn random_numbers_are_a_function_of_rule_event_call_and_draw() {
    let draw = "(drop (call $emit_f64 (i32.const 0) (f64.convert_i64_s (call $rand))))";
    let draws = |rule: &str, in_seq: u64, call: u32| {
        let settings = Settings {
            rule: rule.into(),
            ..settings()
        };
        let mut frame = frame(&[]);
        (frame.in_seq, frame.call) = (in_seq, call);
        function_with(&pull(&format!("{draw} {draw} (i32.const 0)")), settings)
            .call(Handler::Event, &mut frame)
            .unwrap();
        emitted(&frame)
    };
    let first = draws("a", 1, 0);
    assert_eq!(first, draws("a", 1, 0));
    let mut all = [first, draws("b", 1, 0), draws("a", 2, 0), draws("a", 1, 1)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 8);
}

#[test]
fn a_function_may_be_made_on_one_thread_and_called_on_another() {
    let mut function =
        function(r#"(module (func (export "on_event") (result i32) (i32.const 1)))"#);
    let verdict = std::thread::spawn(move || function.call(Handler::Event, &mut frame(&[])));
    assert_eq!(verdict.join().unwrap().unwrap(), Verdict::Pass(0));
}

#[test]
fn rules_that_share_an_instance_keep_their_own_terms() {
    let wat = r#"(module
        (import "tidemill1" "cfg_f64" (func $cfg (param i32) (result f64)))
        (func (export "f") (result f64) (call $cfg (i32.const 0)))
        (@custom "tidemill.manifest" "{\"abi\":1,\"config\":[{\"name\":\"a\",\"type\":\"f64\"}]}"))"#;
    let engine = engine();
    let module = engine.load(&wat::parse_str(wat).unwrap()).unwrap();
    assert!(module.stateless.is_some());
    let with = |number| Settings {
        config: Box::new([ConfigValue::F64(number)]),
        ..settings()
    };
    let mut functions = [1.0, 2.0].map(|n| Function::new(&engine, &module, with(n)).unwrap());
    for _ in 0..2 {
        for (function, expected) in functions.iter_mut().zip(["1", "2"]) {
            let mut frame = frame(&[]);
            function.call(Handler::Event, &mut frame).unwrap();
            assert_eq!(emitted(&frame), [expected]);
        }
    }
    for remembers in [
        "(memory 1)",
        "(global (mut i32) (i32.const 0))",
        "(table 1 funcref)",
    ] {
        let wat =
            format!("(module {remembers} (func (export \"on_event\") (result i32) (i32.const 0)))");
        assert!(load(&wat).unwrap().stateless.is_none(), "{remembers}");
    }
}

#[test]
fn the_input_may_be_passed_on_through_each_port_and_through_no_other() {
    let answer = |code: i32, ports: &str| {
        let wat = format!(
            r#"(module (@custom "tidemill.manifest" "{{\"abi\":1,\"outputs\":[{ports}]}}")
              (func (export "on_event") (result i32) (i32.const {code})))"#
        );
        call(&wat).0
    };
    let two = r#"\"out\",\"clear\""#;
    for (code, verdict) in [
        (0, Verdict::Done),
        (1, Verdict::Pass(0)),
        (2, Verdict::Pass(1)),
    ] {
        assert_eq!(answer(code, two).unwrap(), verdict);
    }
    for (code, ports) in [(3, two), (i32::MAX, two), (2, r#"\"out\""#), (2, "")] {
        let fault = answer(code, ports).unwrap_err();
        let is_bad = matches!(fault, CallFault::BadResult { code: said, .. } if said == code);
        assert!(is_bad, "{fault}");
    }
}
