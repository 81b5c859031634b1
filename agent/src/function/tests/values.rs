//! Values by handles: what is wrong with data ends the event, what is wrong with the function traps, and
//! neither takes the host along.

use crate::function::GuestFault;

use super::{CallFault, Frame, Handler, emitted, frame, function};
use crate::event::Event;
use tidemill_transport::topic::Topic;

fn frame_with(payload: &[u8]) -> Box<Frame> {
    let mut frame = frame(&[]);
    frame.event = Event::new(Topic::new("demo").unwrap(), payload.to_vec(), 0);
    frame
}

/// A module with every import of values, whose handler is `body`.
fn module(values: &str, body: &str) -> String {
    let manifest = format!(r#"{{\"abi\":1,\"sql\":{{\"values\":[{values}]}}}}"#);
    format!(
        r#"(module
            (@custom "tidemill.manifest" "{manifest}")
            (import "tidemill1" "v_col" (func $col (param i32 i32) (result i32)))
            (import "tidemill1" "v_op" (func $op (param i32 i32 i32 i32) (result i32)))
            (import "tidemill1" "v_arg" (func $arg (param i32)))
            (import "tidemill1" "v_call" (func $call (param i32 i32) (result i32)))
            (import "tidemill1" "v_true" (func $true (param i32) (result i32)))
            (import "tidemill1" "v_set" (func $set (param i32 i32)))
            (import "tidemill1" "v_emit" (func $emit))
            (import "tidemill1" "v_flush" (func $flush (param i32 i32)))
            (import "tidemill1" "v_open" (func $open (param i32 i32)))
            (import "tidemill1" "v_next" (func $next (result i32)))
            (import "tidemill1" "v_load" (func $load (result i32)))
            (import "tidemill1" "v_keep" (func $keep (param i32)))
            (func (export "on_event") (result i32) {body}))"#
    )
}

fn outcome(values: &str, body: &str, payload: &str) -> Result<Vec<String>, CallFault> {
    let mut function = function(&module(values, body));
    let mut frame = frame_with(payload.as_bytes());
    function.call(Handler::Event, &mut frame)?;
    Ok(emitted(&frame))
}

#[test]
fn a_row_goes_out_as_json() {
    let body = r#"(call $set (i32.const 3) (call $op (i32.const 0)
            (call $col (i32.const -1) (i32.const 3)) (i32.const 4) (i32.const 0)))
        (call $emit) (call $flush (i32.const 0) (i32.const -1)) (i32.const 0)"#;
    let sent = outcome(r#"\"a\",1"#, body, r#"{"a": 2}"#).unwrap();
    assert_eq!(sent, [r#"{"a":3}"#]);
}

#[test]
fn data_that_does_not_fit_is_no_fault_of_the_function() {
    let sum = r#"(drop (call $op (i32.const 0) (call $col (i32.const -1) (i32.const 3)) (i32.const 4) (i32.const 0)))
        (i32.const 0)"#;
    for (payload, reason) in [
        (r#"{"a": "x"}"#, "cannot work out"),
        ("[1]", "not an object"),
        ("{", "payload is not valid JSON: EOF while"),
    ] {
        let fault = outcome(r#"\"a\",1"#, sum, payload).unwrap_err();
        let CallFault::Data { reason: found } = &fault else {
            panic!("{fault:?}")
        };
        assert!(found.contains(reason), "{payload}: {found}");
    }
}

#[test]
fn no_value_is_deeper_than_the_host_can_go() {
    // Each round wraps the value once more: a list of it, or an object with it in it.
    for wrap in [
        "(call $arg (local.get $v)) (local.set $v (call $op (i32.const 28) (i32.const 1) (i32.const 0) (i32.const 0)))",
        "(call $arg (i32.const 3)) (call $arg (local.get $v))
         (local.set $v (call $op (i32.const 39) (i32.const 2) (i32.const 0) (i32.const 0)))",
    ] {
        let body = format!(
            "(local $v i32) (local $n i32)
            (local.set $v (call $col (i32.const -1) (i32.const 3)))
            (loop $again {wrap}
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_s (local.get $n) (i32.const 9000))))
            (call $set (i32.const 3) (local.get $v)) (call $emit)
            (call $flush (i32.const 0) (i32.const -1)) (i32.const 0)"
        );
        let fault = outcome(r#"\"a\""#, &body, r#"{"a":1}"#).unwrap_err();
        let CallFault::Data { reason } = &fault else {
            panic!("{fault:?}")
        };
        assert_eq!(&**reason, "a value is nested more than 192 deep");
    }
}

#[test]
fn no_value_and_no_row_is_longer_than_what_may_be_kept_or_sent() {
    // A list of a text of 60,000 bytes a hundred times, and of that list again.
    let body = |rounds: usize| {
        format!(
            "(local $v i32) (local $n i32) (local $round i32)
        (local.set $v (call $col (i32.const -1) (i32.const 3)))
        (loop $rounds
            (local.set $n (i32.const 0))
            (loop $again (call $arg (local.get $v))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_s (local.get $n) (i32.const 50))))
            (local.set $v (call $op (i32.const 28) (i32.const 50) (i32.const 0) (i32.const 0)))
            (local.set $round (i32.add (local.get $round) (i32.const 1)))
            (br_if $rounds (i32.lt_s (local.get $round) (i32.const {rounds}))))
        (call $set (i32.const 3) (local.get $v)) (call $emit)
        (call $flush (i32.const 0) (i32.const -1)) (i32.const 0)"
        )
    };
    let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000));
    for (rounds, reason) in [
        (1, "the rows that go out have more than 65536 bytes"),
        (2, "a value has more than 4194304 bytes"),
    ] {
        let fault = outcome(r#"\"a\""#, &body(rounds), &payload).unwrap_err();
        let CallFault::Data { reason: found } = &fault else {
            panic!("{fault:?}")
        };
        assert_eq!(&**found, reason);
    }
}

#[test]
fn values_that_are_read_again_and_again_take_fuel() {
    // What is long costs more than a bare call.
    let text = "x".repeat(60_000);
    let payload = format!(r#"{{"a":"{text}"}}"#);
    let ways = [
        // sha512 of it, which is short.
        "(call $arg (local.get $a)) (drop (call $call (i32.const 405) (i32.const 1)))",
        // The value compared with itself.
        "(drop (call $op (i32.const 8) (local.get $a) (local.get $a) (i32.const -1)))",
        // The value matched with itself by `LIKE`.
        "(drop (call $op (i32.const 26) (local.get $a) (local.get $a) (i32.const -1)))",
    ];
    for way in ways {
        let body = format!(
            "(local $a i32) (local $n i32)
            (local.set $a (call $col (i32.const -1) (i32.const 3)))
            (loop $again {way}
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_s (local.get $n) (i32.const 1000))))
            (i32.const 0)"
        );
        let fault = outcome(r#"\"a\""#, &body, &payload).unwrap_err();
        assert!(
            matches!(fault, CallFault::OutOfFuel { .. }),
            "{way}: {fault:?}"
        );
    }
}

#[test]
fn what_does_not_exist_traps() {
    for body in [
        "(drop (call $true (i32.const 99)))",
        "(drop (call $true (i32.const -2)))",
        "(drop (call $true (i32.const -2147483648)))",
        "(drop (call $col (i32.const -1) (i32.const 1)))",
        "(drop (call $op (i32.const 999) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(drop (call $op (i32.const 28) (i32.const 5) (i32.const 0) (i32.const 0)))",
        "(drop (call $op (i32.const 28) (i32.const -1) (i32.const 0) (i32.const 0)))",
        "(drop (call $call (i32.const 1) (i32.const 1)))",
        "(drop (call $call (i32.const 65000) (i32.const 0)))",
        "(call $arg (i32.const 77))",
        "(call $open (i32.const 77) (i32.const 0))",
        "(call $open (i32.const 3) (i32.const 77))",
        "(drop (call $load))",
        "(call $keep (i32.const 2147483647))",
    ] {
        let fault = outcome("", &format!("{body} (i32.const 0)"), "{}").unwrap_err();
        assert!(matches!(fault, CallFault::Abi(_)), "{body}: {fault:?}");
    }
}

#[test]
fn a_join_of_a_stream_that_does_not_exist_is_empty() {
    for stream in ["99", "-1", "2147483647"] {
        let body = format!(
            "(call $open (i32.const 7) (i32.const {stream})) (drop (call $next)) (i32.const 0)"
        );
        assert!(outcome("", &body, "{}").is_ok(), "{stream}");
    }
}

#[test]
fn an_endless_maker_of_values_is_stopped() {
    for work in [
        "(drop (call $op (i32.const 0) (i32.const 3) (i32.const 3) (i32.const 0)))",
        "(call $arg (i32.const 3))",
        "(call $emit)",
        "(call $open (i32.const 0) (i32.const 0))",
    ] {
        let body = format!("(loop $l {work} (br $l)) (i32.const 0)");
        let fault = outcome("1", &body, "{}").unwrap_err();
        let stopped = matches!(
            fault,
            CallFault::OutOfFuel { .. }
                | CallFault::Data { .. }
                | CallFault::Abi(GuestFault::TooMuch { .. })
        );
        assert!(stopped, "{work}: {fault:?}");
    }
}
