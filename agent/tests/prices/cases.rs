//! Every import that does more than look at a number, and every function of SQL, with arguments that are as bad as can be: shared by
//! the benchmark of prices and by the tests that count bytes.

use std::sync::Arc;

use tidemill::config::limits::FunctionLimits;
use tidemill::event::Event;
use tidemill::event::value::Value as Input;
use tidemill::function::frame::Frame;
use tidemill::function::{CallFault, Engine, Function, Handler, Settings};
use tidemill_transport::topic::Topic;
use tidemill_values::{Function as SqlFunction, Kind, functions};

/// A module that does one thing as often as its fuel allows, and what it is called with.
pub(crate) struct Case {
    /// Name of the case: the function and its arguments.
    pub(crate) name: String,
    /// The module.
    pub(crate) wat: Arc<str>,
    /// The payload of the event.
    pub(crate) payload: Arc<str>,
}

/// Imports of values by short names, and constants: `a` to `c` are 3 to 5, then a few texts and numbers.
fn module(body: &str) -> Arc<str> {
    let values = r#"\"a\",\"b\",\"c\",\"x\",0,1,[],[\"a\",\"b\"]"#;
    format!(
        r#"(module
        (@custom "tidemill.manifest" "{{\"abi\":1,\"sql\":{{\"values\":[{values}]}}}}")
        (import "tidemill1" "in_f64" (func $in_f64 (param i32) (result f64)))
        (import "tidemill1" "ev_i64" (func $ev_i64 (param i32) (result i64)))
        (import "tidemill1" "ev_bytes" (func $ev_bytes (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "reg_get" (func $reg_get (param i32) (result f64)))
        (import "tidemill1" "reg_set" (func $reg_set (param i32 f64)))
        (import "tidemill1" "st_get" (func $st_get (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "st_put" (func $st_put (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "st_del" (func $st_del (param i32 i32) (result i32)))
        (import "tidemill1" "emit" (func $emit (param i32 i32 i32) (result i32)))
        (import "tidemill1" "emit_f64" (func $emit_f64 (param i32 f64) (result i32)))
        (import "tidemill1" "fmt_f64" (func $fmt_f64 (param f64 i32 i32) (result i32)))
        (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
        (import "tidemill1" "log" (func $log (param i32 i32 i32)))
        (import "tidemill1" "rand" (func $rand (result i64)))
        (import "tidemill1" "v_col" (func $col (param i32 i32) (result i32)))
        (import "tidemill1" "v_row" (func $row (param i32) (result i32)))
        (import "tidemill1" "v_meta" (func $meta (param i32 i32) (result i32)))
        (import "tidemill1" "v_op" (func $op (param i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "v_arg" (func $arg (param i32)))
        (import "tidemill1" "v_call" (func $call (param i32 i32) (result i32)))
        (import "tidemill1" "v_step" (func $step (param i32 i32 i32 i32 i32) (result i32)))
        (import "tidemill1" "v_true" (func $true (param i32) (result i32)))
        (import "tidemill1" "v_f64" (func $f64 (param f64) (result i32)))
        (import "tidemill1" "v_set" (func $set (param i32 i32)))
        (import "tidemill1" "v_star" (func $star (param i32 i32)))
        (import "tidemill1" "v_merge" (func $merge (param i32 i32)))
        (import "tidemill1" "v_order" (func $order (param i32 i32)))
        (import "tidemill1" "v_emit" (func $send))
        (import "tidemill1" "v_flush" (func $flush (param i32 i32)))
        (import "tidemill1" "v_open" (func $open (param i32 i32)))
        (import "tidemill1" "v_next" (func $next (result i32)))
        (import "tidemill1" "v_hit" (func $hit))
        (import "tidemill1" "v_group" (func $group (param i32)))
        (import "tidemill1" "v_gather" (func $gather (param i32)))
        (import "tidemill1" "v_fold" (func $fold (param i32 i32) (result i32)))
        (import "tidemill1" "v_hits" (func $hits (param i32)))
        (import "tidemill1" "v_fits" (func $fits (param i32 i32)))
        (import "tidemill1" "v_total" (func $total (param i32 i32 i32)))
        (memory (export "memory") 2)
        (func (export "on_event") (result i32) (local $a i32) (local $b i32) (local $c i32) (local $i i32) (local $v i32)
          {body} (i32.const 0)))"#
    )
    .into()
}

/// Reads the columns a, b and c, and goes round.
fn looped(once: &str) -> Arc<str> {
    module(&format!(
        "(local.set $a (call $col (i32.const -1) (i32.const 3)))
         (local.set $b (call $col (i32.const -1) (i32.const 4)))
         (local.set $c (call $col (i32.const -1) (i32.const 5)))
         (loop $l {once} (br $l))"
    ))
}

/// Bytes, about, of what is long.
const LONG: usize = 30_000;

fn repeated(part: &str, bytes: usize) -> String {
    part.repeat(bytes / part.len())
}

fn list(element: &str, bytes: usize) -> String {
    let elements = vec![element; bytes / (element.len() + 1)];
    format!("[{}]", elements.join(","))
}

fn numbered(bytes: usize, each: impl Fn(usize) -> String) -> String {
    let mut all = String::new();
    let mut number = 0;
    while all.len() < bytes {
        if number > 0 {
            all.push(',');
        }
        all += &each(number);
        number += 1;
    }
    all
}

/// JSON values that are bad in one way or the other, of about so many bytes.
fn bad(bytes: usize) -> Vec<(&'static str, String)> {
    let names = numbered(bytes, |n| format!("\"{n:x}\":{n}"));
    let pairs = numbered(bytes, |n| format!("{{\"key\":\"k{n}\",\"value\":{n}}}"));
    let lists = numbered(bytes, |n| format!("[\"k{n}\",{n}]"));
    let texts = numbered(bytes, |n| format!("\"k{n}\""));
    let alike = numbered(bytes, |n| format!("\"{}{n:06}\"", "p".repeat(200)));
    let floats = numbered(bytes, |n| format!("{}.123456789012345e-{}", n % 9, n % 300));
    let wholes = numbered(bytes, |n| {
        format!("{}", n.wrapping_mul(2_654_435_761) % 100_000)
    });
    vec![
        ("letters", format!("\"{}\"", "a".repeat(bytes))),
        ("wide letters", format!("\"{}\"", repeated("é中", bytes))),
        ("controls", format!("\"{}\"", repeated("\\u0001", bytes))),
        ("blanks", format!("\"{}\"", " ".repeat(bytes))),
        ("json", format!("\"{}\"", list("[]", bytes))),
        ("json objects", format!("\"{}\"", list("{}", bytes))),
        ("numbers", list("0", bytes)),
        ("wholes", format!("[{wholes}]")),
        ("floats", format!("[{floats}]")),
        ("nulls", list("null", bytes)),
        ("truths", list("true", bytes)),
        ("empty lists", list("[]", bytes)),
        ("empty objects", list("{}", bytes)),
        ("texts", format!("[{texts}]")),
        ("texts that begin alike", format!("[{alike}]")),
        ("objects", format!("[{pairs}]")),
        ("pairs", format!("[{lists}]")),
        ("object", format!("{{{names}}}")),
        ("nested", format!("{}0{}", "[".repeat(100), "]".repeat(100))),
    ]
}

/// Small values that settings and other arguments are.
const SMALL: &[&str] = &[
    "0",
    "1",
    "3",
    "-1",
    "1100",
    "43000",
    "1000000",
    "1e308",
    "5e-324",
    "123456789.987654321",
    "true",
    "\"a\"",
    "\"\"",
    "\"%a%\"",
    "\"topic\"",
    "\"abs\"",
    "\"lower\"",
    "\"to_json\"",
    "\"base64\"",
    "\"hex\"",
    "\"zlib\"",
    "\"gzip\"",
    "\"string\"",
    "\"bytea\"",
    "\"$..*\"",
    "\"$[?@ > 1]\"",
    "\"$.*\"",
    "\"(a|b)*c\"",
    "\"(a?){100}b\"",
    "\".*[^a]|a\"",
    "\"[a ]\"",
    "\"2024-05-01T08:30:00+02:00\"",
    "\"1h30m\"",
    "\"Europe/Berlin\"",
    "\"MMMM EEEE SSSSSSSSS\"",
    "\"en_US\"",
    "\"uint32be\"",
    "[\"a\",\"b\"]",
    "{\"a\":1}",
    "null",
];

fn payload(values: &[&str]) -> Arc<str> {
    let columns = ["a", "b", "c"].iter().zip(values);
    let columns: Vec<String> = columns
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", columns.join(",")).into()
}

/// Arguments of a call: each bad value first, and others beside it; and nothing but small ones.
fn arguments(count: usize, bytes: usize, thorough: bool) -> Vec<(String, Arc<str>)> {
    let bad = bad(bytes);
    let mut all = Vec::new();
    let mut add = |name: String, values: &[&str]| all.push((name, payload(values)));
    match count {
        0 => add(String::new(), &[]),
        1 => {
            bad.iter()
                .for_each(|(name, value)| add((*name).to_owned(), &[value]));
            SMALL
                .iter()
                .for_each(|value| add((*value).to_owned(), &[value]));
        }
        _ => {
            for (name, value) in &bad {
                for other in SMALL {
                    let third = if other.contains('(') || other.contains('[') {
                        "\"xyz\""
                    } else {
                        *other
                    };
                    add(format!("{name}, {other}"), &[value, other, third]);
                    if thorough || name.starts_with('t') {
                        add(format!("{other}, {name}"), &[other, value, "1"]);
                    }
                }
                add(format!("{name} twice"), &[value, value, "1"]);
            }
            for first in SMALL.iter().filter(|_| thorough) {
                for second in SMALL {
                    add(format!("{first}, {second}"), &[first, second, "2"]);
                }
            }
        }
    }
    all
}

fn called(function: &SqlFunction, count: usize) -> String {
    let args = ["$a", "$b", "$c"].iter().take(count);
    let args: String = args
        .map(|arg| format!("(call $arg (local.get {arg}))"))
        .collect();
    let number = function.number;
    match function.kind {
        Kind::Analytic => format!(
            "{args} (drop (call $step (i32.const {number}) (i32.const 0) (i32.const {count}) (i32.const 0) (i32.const 1)))"
        ),
        _ => format!("{args} (drop (call $call (i32.const {number}) (i32.const {count})))"),
    }
}

fn of_functions(thorough: bool, cases: &mut Vec<Case>) {
    let called_here = |function: &&SqlFunction| {
        matches!(
            function.kind,
            Kind::Scalar | Kind::Aggregate | Kind::Analytic
        )
    };
    for function in functions().filter(called_here) {
        let most = function.arity.max.unwrap_or(3).min(3);
        let fewest = if thorough { function.arity.min } else { most };
        for count in fewest.min(most)..=most {
            let wat = looped(&called(function, count));
            for bytes in [LONG, LONG / 30].iter().take(if thorough { 2 } else { 1 }) {
                for (with, payload) in arguments(count, *bytes, thorough) {
                    let name = format!("{}({with}) of {bytes}", function.name);
                    let wat = Arc::clone(&wat);
                    cases.push(Case { name, wat, payload });
                }
            }
        }
    }
}

/// Operators of two or three values by their numbers.
const OPERATORS: &[i32] = &[
    0, 1, 2, 3, 4, 5, 8, 10, 14, 16, 17, 18, 19, 20, 21, 22, 24, 26, 27,
];

fn of_operators(thorough: bool, cases: &mut Vec<Case>) {
    for op in OPERATORS {
        let wat = looped(&format!(
            "(drop (call $op (i32.const {op}) (local.get $a) (local.get $b) (local.get $c)))"
        ));
        for (with, payload) in arguments(3, LONG, thorough) {
            let wat = Arc::clone(&wat);
            let name = format!("operator {op} of {with}");
            cases.push(Case { name, wat, payload });
        }
    }
    for (name, text, pattern) in [
        (
            "many parts",
            "a".repeat(LONG),
            format!("{}b", repeated("%a", LONG)),
        ),
        (
            "a long part",
            "a".repeat(LONG),
            format!("%{}b", "a".repeat(LONG / 2)),
        ),
        (
            "a long part with any",
            "a".repeat(LONG),
            format!("%_{}b%", "a".repeat(LONG / 2)),
        ),
        (
            "a word with any",
            "a".repeat(LONG),
            format!("%_{}b%", "a".repeat(60)),
        ),
        (
            "any and wide letters",
            repeated("é中", LONG),
            format!("%é_{}x%", "中é".repeat(30)),
        ),
        (
            "a hundred parts",
            "ab".repeat(LONG / 2),
            repeated("%a_b%_", 600),
        ),
    ] {
        let wat =
            looped("(drop (call $op (i32.const 26) (local.get $a) (local.get $b) (i32.const 0)))");
        let payload = payload(&[&format!("\"{text}\""), &format!("\"{pattern}\"")]);
        cases.push(Case {
            name: format!("LIKE with {name}"),
            wat,
            payload,
        });
    }
}

/// Body of a loop with `$i` counting, by the name of the import.
const IMPORTS: &[(&str, &str)] = &[
    ("ev_i64", "(drop (call $ev_i64 (i32.const 0)))"),
    ("reg_get", "(drop (call $reg_get (i32.const 7)))"),
    ("reg_set", "(call $reg_set (i32.const 255) (f64.const 7))"),
    ("rand", "(drop (call $rand))"),
    ("ev_bytes", "(drop (call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 131072)))"),
    ("ev_bytes, short", "(drop (call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8)))"),
    ("fmt_f64", "(drop (call $fmt_f64 (f64.const -1.2345678901234567e-300) (i32.const 0) (i32.const 99)))"),
    ("emit_f64", "(drop (call $emit_f64 (i32.const 0) (f64.const -1.2345678901234567e-300)))"),
    ("emit", "(drop (call $emit (i32.const 0) (i32.const 0) (i32.const 65536)))"),
    ("emit, short", "(drop (call $emit (i32.const 0) (i32.const 0) (i32.const 1)))"),
    ("log", "(call $log (i32.const 1) (i32.const 0) (i32.const 256))"),
    ("timer, set and cancelled",
     "(drop (call $timer (local.get $i) (i64.const 5))) (drop (call $timer (local.get $i) (i64.const -1)))"),
    ("timer, set", "(drop (call $timer (local.get $i) (i64.const 5)))"),
    ("st_put", "(i32.store (i32.const 0) (local.get $i)) (drop (call $st_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))"),
    ("st_put, long names",
     "(i32.store (i32.const 252) (local.get $i)) (drop (call $st_put (i32.const 0) (i32.const 256) (i32.const 0) (i32.const 1)))"),
    ("st_put, long", "(drop (call $st_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 64512)))"),
    ("st_get, long", "(drop (call $st_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 64512)))
        (loop $m (drop (call $st_get (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 65536))) (br $m))"),
    ("st_del", "(drop (call $st_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4))) (drop (call $st_del (i32.const 0) (i32.const 4)))"),
    ("memory.grow", "(drop (memory.grow (i32.const 1)))"),
    ("v_row", "(drop (call $row (i32.const -1)))"),
    ("v_col", "(drop (call $col (i32.const -1) (i32.const 3)))"),
    ("v_col, absent", "(drop (call $col (i32.const -1) (i32.const 6)))"),
    ("v_meta", "(drop (call $meta (i32.const -1) (i32.const 6)))"),
    ("v_arg", "(call $arg (local.get $a))"),
    ("v_f64", "(drop (call $f64 (f64.const 1.5)))"),
    ("v_op LIST", "(call $arg (local.get $a)) (call $arg (local.get $a)) (drop (call $op (i32.const 28) (i32.const 2) (i32.const 0) (i32.const 0)))"),
    ("v_op OBJECT", "(call $arg (i32.const 3)) (call $arg (local.get $a)) (drop (call $op (i32.const 39) (i32.const 2) (i32.const 0) (i32.const 0)))"),
    ("v_op OBJECT of an object", "(call $arg (i32.const 0)) (call $arg (call $row (i32.const -1))) (drop (call $op (i32.const 39) (i32.const 2) (i32.const 0) (i32.const 0)))"),
    ("v_op NOTE", "(drop (call $op (i32.const 42) (local.get $a) (i32.const 255) (i32.const 0)))"),
    ("v_op LEAST", "(drop (call $op (i32.const 46) (i32.const 8) (i32.const 0) (i32.const 1)))"),
    ("v_op KEY", "(drop (call $op (i32.const 40) (i32.const 3) (i32.const 0) (i32.const 0)))"),
    ("v_op ELEMENT", "(drop (call $op (i32.const 35) (i32.const 0) (i32.const 0) (i32.const 0)))"),
    ("v_op HIT_COUNT", "(drop (call $op (i32.const 33) (i32.const 0) (i32.const 0) (i32.const 0)))"),
    ("v_op NUMBER_ROWS", "(call $arg (local.get $a)) (call $arg (local.get $a)) (drop (call $op (i32.const 44) (i32.const 6) (i32.const 1) (i32.const 1)))"),
    ("v_hits", "(call $hits (i32.const 0))"),
    ("v_fits", "(call $fits (i32.const 902) (i32.const 8))"),
    ("v_total", "(call $total (i32.const 8) (i32.const 0) (i32.const 1))"),
    ("v_set", "(call $set (i32.const 3) (local.get $a))"),
    ("v_star", "(call $star (i32.const -1) (i32.const 0))"),
    ("v_star but for some", "(call $star (i32.const -1) (i32.const 10)) (call $send)"),
    ("v_star and v_emit", "(call $star (i32.const -1) (i32.const 0)) (call $send)"),
    ("v_star, v_set and v_emit", "(call $star (i32.const -1) (i32.const 0)) (call $set (i32.const 3) (i32.const 7)) (call $send)"),
    ("v_merge", "(call $merge (call $row (i32.const -1)) (i32.const 3))"),
    ("v_order", "(call $order (local.get $a) (i32.const 0)) (call $send)"),
    ("v_emit", "(call $send)"),
    ("v_flush", "(call $star (i32.const -1) (i32.const 0)) (call $send) (call $flush (i32.const 0) (i32.const -1))"),
    ("v_flush, limited", "(call $star (i32.const -1) (i32.const 0)) (call $send) (call $flush (i32.const 0) (i32.const 0))"),
    ("v_flush, ordered", "(local.set $i (i32.const 200)) (loop $m (call $order (local.get $a) (i32.const 0)) (call $send)
        (br_if $m (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (call $flush (i32.const 0) (i32.const 0))"),
    ("v_flush, distinct", "(local.set $i (i32.const 20)) (loop $m (call $star (i32.const -1) (i32.const 0)) (call $send)
        (br_if $m (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (drop (call $op (i32.const 45) (i32.const 0) (i32.const 0) (i32.const 0)))
        (call $flush (i32.const 0) (i32.const 0))"),
    ("v_open LIST", "(call $open (i32.const 3) (local.get $a)) (loop $m (br_if $m (call $next)))"),
    ("v_open ROWS", "(call $open (i32.const 0) (i32.const 0)) (loop $m (br_if $m (call $next)))"),
    ("v_open FULL", "(call $open (i32.const 7) (i32.const 0)) (loop $m (call $hit) (br_if $m (call $next)))"),
    ("v_group", "(call $arg (local.get $a)) (call $group (i32.const 1))"),
    ("v_group, many", "(call $arg (call $f64 (f64.convert_i32_s (local.get $i)))) (call $group (i32.const 1))"),
    ("v_gather", "(call $open (i32.const 0) (i32.const 0)) (loop $m (call $arg (local.get $a)) (call $gather (i32.const 1)) (br $m))"),
    ("v_fold of nothing", "(drop (call $fold (i32.const 901) (i32.const 100000)))"),
    ("v_fold min", "(call $open (i32.const 0) (i32.const 0)) (drop (call $next)) (local.set $i (i32.const 1000))
        (loop $m (call $arg (local.get $a)) (call $gather (i32.const 1)) (br_if $m (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (drop (call $next)) (drop (call $fold (i32.const 904) (i32.const 1)))"),
    ("v_step lag", "(call $arg (local.get $a)) (drop (call $step (i32.const 1001) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))"),
    ("v_step lag of many", "(call $arg (local.get $i)) (call $arg (call $f64 (f64.const 1000))) (drop (call $step (i32.const 1001) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 1)))"),
    ("v_step by partitions", "(call $arg (i32.const 8)) (call $arg (call $f64 (f64.convert_i32_s (local.get $i))))
        (drop (call $step (i32.const 1002) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1)))"),
    ("v_step by long partitions", "(call $arg (i32.const 8)) (call $arg (local.get $a))
        (drop (call $step (i32.const 1002) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1)))"),
    ("slices", "(drop (call $op (i32.const 21) (local.get $a) (i32.const -1) (i32.const -1)))"),
    ("deeper and deeper", "(call $arg (local.get $a)) (local.set $a (call $op (i32.const 28) (i32.const 1) (i32.const 0) (i32.const 0)))"),
    ("wider and wider", "(call $arg (local.get $a)) (call $arg (local.get $a)) (local.set $a (call $op (i32.const 28) (i32.const 2) (i32.const 0) (i32.const 0)))"),
];

fn of_imports(cases: &mut Vec<Case>) {
    let count = "(local.set $i (i32.add (local.get $i) (i32.const 1)))";
    for (import, once) in IMPORTS {
        let wat = looped(&format!("{count} {once}"));
        for (with, value) in bad(LONG) {
            let payload = payload(&[&value]);
            let name = format!("{import} with {with}");
            cases.push(Case {
                name,
                wat: Arc::clone(&wat),
                payload,
            });
        }
        // As columns, and nothing else.
        let names = numbered(LONG, |n| format!("\"{n:04}\":{n}"));
        let payload = format!("{{\"a\":1,{names}}}").into();
        cases.push(Case {
            name: format!("{import} among many columns"),
            wat,
            payload,
        });
    }
}

/// All cases; without `thorough` one size of each.
pub(crate) fn cases(thorough: bool) -> Vec<Case> {
    let mut all = Vec::new();
    of_imports(&mut all);
    of_operators(thorough, &mut all);
    of_functions(thorough, &mut all);
    all
}

/// A function under test.
pub(crate) struct Bench {
    engine: Engine,
    loaded: Option<(Arc<str>, Function)>,
    frame: Box<Frame>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// Fuel of a call: the default.
pub(crate) const FUEL: u64 = 1_000_000;

fn settings() -> Settings {
    Settings {
        rule: "prices".into(),
        config: Box::default(),
        fuel: FUEL,
        memory_pages: 16,
        emissions: 16,
        emission_bytes: 64 * 1024,
        value_bytes: FunctionLimits::default().value_bytes,
        bound_ports: 1,
        window_slots: 0,
        windowed: false,
        rows: false,
    }
}

impl Bench {
    /// One with the default limits.
    pub(crate) fn new() -> Self {
        let mut frame = Box::<Frame>::default();
        frame.state_bytes_free = FunctionLimits::default().state_bytes;
        frame.log_lines_free = 10;
        frame.inputs = vec![Input::F64(1.0)];
        Self {
            engine: Engine::new(&FunctionLimits::default()),
            loaded: None,
            frame,
        }
    }

    /// Makes ready for a case.
    ///
    /// # Panics
    /// If its module is none.
    pub(crate) fn load(&mut self, case: &Case) {
        if self
            .loaded
            .as_ref()
            .is_none_or(|(wat, _)| !Arc::ptr_eq(wat, &case.wat))
        {
            let wasm =
                wat::parse_str(&*case.wat).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let module = self
                .engine
                .load(&wasm)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let function = Function::new(&self.engine, &module, settings());
            let function = function.unwrap_or_else(|error| panic!("{}: {error}", case.name));
            self.loaded = Some((Arc::clone(&case.wat), function));
        }
        let topic = Topic::new("prices").expect("it is a topic");
        let payload = case.payload.as_bytes().to_vec();
        self.frame.set_event(Event::new(topic, payload, 0));
    }

    /// Calls it once; answers how it ended and the fuel that it took.
    ///
    /// # Panics
    /// If no case was loaded.
    pub(crate) fn call(&mut self) -> (Result<(), CallFault>, u64) {
        self.frame.effects.clear();
        let (_, function) = self.loaded.as_mut().expect("a case was loaded");
        let outcome = function.call(Handler::Event, &mut self.frame).map(drop);
        (outcome, function.fuel_used())
    }
}
