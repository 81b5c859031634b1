//! Refusals at install, with their messages.

use super::*;

fn refused(wat: &str, message: &str) {
    let text = match load(wat) {
        Ok(_) => panic!("was not refused: {wat}"),
        Err(error) => error.to_string(),
    };
    assert!(text.contains(message), "{wat}\n{text}\n{message}");
}

const HANDLER: &str = r#"(func (export "on_event") (result i32) (i32.const 0))"#;

#[test]
fn what_breaks_the_contract_is_refused_by_name() {
    for (items, message) in [
        (
            r#"(import "tidemill1" "in_f46" (func (param i32) (result f64)))"#,
            "unknown import `tidemill1.in_f46`; the nearest known is `tidemill1.in_f64`",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            "unknown import `wasi_snapshot_preview1.fd_write`",
        ),
        (
            r#"(import "tidemill.host" "memory_grow" (func (param i32) (result i32)))"#,
            "unknown import `tidemill.host.memory_grow`",
        ),
        (
            r#"(import "tidemill1" "in_f64" (func (param i64) (result f64)))"#,
            "`tidemill1.in_f64` has the type (i64) -> f64, expected (i32) -> f64",
        ),
        (
            r#"(import "tidemill1" "rand" (memory 1))"#,
            "`tidemill1.rand` has the type memory, expected () -> i64",
        ),
        (
            r#"(import "tidemill1" "log" (func (param i32 i32 i32)))"#,
            "imports `tidemill1.log` but exports no memory named `memory`",
        ),
        (
            r#"(import "env" "memory" (memory 1))"#,
            "unknown import `env.memory`",
        ),
        (
            r#"(func (export "on_timer") (result i32) (i32.const 0))"#,
            "`on_timer` has the type () -> i32, expected (i32) -> i32",
        ),
        (
            r#"(func (export "on_window") (param i32) (result i32) (i32.const 0))"#,
            "`on_window` has the type (i32) -> i32, expected () -> i32",
        ),
        (
            r#"(func (export "init") (result i32) (i32.const 0))"#,
            "`init` has the type () -> i32, expected ()",
        ),
        (
            r#"(global (export "migrate") i32 (i32.const 0))"#,
            "`migrate` has the type Global, expected (i32) -> i32",
        ),
        (r#"(func $s) (start $s)"#, "has a start section"),
        (r#"(memory i64 1)"#, "uses memory64"),
        (r#"(memory 1 2 shared)"#, "uses threads"),
        (r#"(memory 1) (memory 1)"#, "memories: 2, the limit is 1"),
        (
            r#"(table 1 funcref) (table 1 funcref)"#,
            "tables: 2, the limit is 1",
        ),
        (
            r#"(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))"#,
            "uses `table.grow`",
        ),
        (
            r#"(memory 1) (func (drop (memory.grow (i32.const 1))))"#,
            "grows its memory and does not export it",
        ),
        (
            r#"(func (drop (v128.const i32x4 0 0 0 0)))"#,
            "does not validate: unexpected SIMD opcode",
        ),
        (r#"(tag)"#, "exceptions proposal not enabled"),
        (
            r#"(func $f (return_call $f))"#,
            "tail calls support is not enabled",
        ),
        (r#"(func (result i32) (i64.const 1))"#, "type mismatch"),
        (
            r#"(table 1 (ref null func)) (table 1 (ref func) (ref.func 0))"#,
            "tables: 2",
        ),
        (r#"(table 1 (ref func) (ref.func 0))"#, "does not validate"),
        (r#"(type (struct))"#, "does not validate"),
        (
            r#"(global i32 (i32.add (i32.const 1) (i32.const 2)))"#,
            "does not validate",
        ),
        (
            r#"(@custom "tidemill.manifest" "{}")"#,
            "manifest: missing field `abi`",
        ),
        (r#"(@custom "tidemill.manifest" "\ff")"#, "manifest: "),
        (
            r#"(@custom "tidemill.manifest" "{\"abi\":2}")"#,
            "manifest: `abi`: this version speaks 1, not 2",
        ),
        (
            r#"(@custom "tidemill.manifest" "{\"abi\":1,\"port\":1}")"#,
            "unknown field `port`",
        ),
        (
            r#"(@custom "tidemill.manifest" "{\"abi\":1}") (@custom "tidemill.manifest" "{\"abi\":1}")"#,
            "two `tidemill.manifest` sections",
        ),
    ] {
        refused(&format!("(module {items} {HANDLER})"), message);
    }
}

#[test]
fn a_module_needs_one_handler_that_fits_its_manifest() {
    let result =
        |ty: &str| format!(r#"(func (export "f") (param f64) (result {ty}) ({ty}.const 0))"#);
    let many = ["f64"; 17];
    let takes_many = format!(
        r#"(func (export "f") (param {}) (result i32) (i32.const 0))"#,
        many.join(" ")
    );
    for (wat, message) in [
        (
            "(module)".to_owned(),
            "exports no handler; it needs one of `f`, `on_event`, `on_timer`, `on_window`",
        ),
        (
            r#"(module (func (export "migrate") (param i32) (result i32) (i32.const 0)))"#
                .to_owned(),
            "exports no handler",
        ),
        (
            format!("(module {})", result("i32")),
            "`f` needs a `tidemill.manifest` section that names its inputs",
        ),
        (
            typed(&["f64"], &format!("{HANDLER} {}", result("i32"))),
            "exports both `f` and `on_event`",
        ),
        (
            typed(&["i64", "bytes"], &result("i32")),
            "`f` takes (f64) -> i32, but the manifest's inputs are (p0: i64, p1: bytes)",
        ),
        (
            typed(&[], &result("i32")),
            "but the manifest's inputs are ()",
        ),
        (
            typed(&["f64"], &result("f32")),
            "`f` has the type (f64) -> f32, expected one result, i32, i64 or f64",
        ),
        (
            typed(&["f64"], r#"(func (export "f") (param f64))"#),
            "`f` has the type (f64), expected one result",
        ),
        (
            typed(&many, &takes_many),
            "parameters of `f`: 17, the limit is 16",
        ),
    ] {
        refused(&wat, message);
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let module = wat::parse_str(format!("(module {HANDLER})")).unwrap();
    let component = [b"\0asm".as_slice(), &[0x0d, 0, 1, 0]].concat();
    for bytes in [
        &b""[..],
        b"hello",
        b"\0asm",
        &component,
        module.get(..module.len() - 1).unwrap(),
    ] {
        match engine().load(bytes) {
            Err(LoadError::Invalid(reason)) => assert!(!reason.is_empty()),
            other => panic!("{:?}", other.err()),
        }
    }
}

#[test]
fn what_compilers_emit_by_default_is_accepted() {
    let wat = r#"(module (memory (export "memory") 1 65536) (table 1 funcref) (global (export "g") (mut i32) (i32.const 1))
        (data $d "x") (elem declare func $two)
        (func $two (result i32 i32) (i32.const 1) (i32.const 2))
        (func (export "on_event") (result i32)
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 9)) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))
            (table.set (i32.const 0) (ref.func $two))
            (drop (i32.trunc_sat_f64_s (f64.const 1e99))) (drop (i32.extend8_s (i32.const 255)))
            (call $two) (i32.sub) (i32.const 2) (i32.add)))"#;
    let (outcome, _) = call(wat);
    assert_eq!(outcome.unwrap(), Verdict::Pass(0));
}

#[test]
fn settings_that_do_not_fit_the_module_are_refused() {
    let module = load(&format!(r#"(module (memory 2) {HANDLER})"#)).unwrap();
    let refusal = |settings| {
        Function::new(&engine(), &module, settings)
            .err()
            .unwrap()
            .to_string()
    };
    let memory_pages = 1;
    assert_eq!(
        refusal(Settings {
            memory_pages,
            ..settings()
        }),
        "the module starts with 2 pages of memory, the rule allows 1"
    );
    let config = Box::new([crate::rule::manifest::ConfigValue::F64(1.0)]);
    assert!(
        refusal(Settings {
            config,
            ..settings()
        })
        .contains("1 configuration entries")
    );
}

#[test]
fn a_start_that_fails_is_a_refusal() {
    for (items, message) in [
        (
            r#"(memory 1) (data (i32.const 65536) "x")"#,
            "the module does not start: trapped: out of bounds",
        ),
        (
            r#"(table 1 funcref) (elem (i32.const 1) 0)"#,
            "the module does not start: trapped: out of bounds",
        ),
        (
            r#"(func (export "init") (unreachable))"#,
            "the module does not start: trapped: ",
        ),
        (
            r#"(func (export "_initialize") (loop (br 0)))"#,
            "the module does not start: out of fuel after 10000000 units",
        ),
        (
            r#"(import "tidemill1" "reg_set" (func $s (param i32 f64))) (func (export "init") (call $s (i32.const 0) (f64.const 1)))"#,
            "the module does not start: broke the contract: `reg_set` cannot be used here",
        ),
    ] {
        let wasm = wat::parse_str(format!("(module {items} {HANDLER})")).unwrap();
        let engine = engine();
        let module = engine.load(&wasm).unwrap();
        let error = Function::new(&engine, &module, settings()).err().unwrap();
        assert!(error.to_string().contains(message), "{items}: {error}");
    }
}
