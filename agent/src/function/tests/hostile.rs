//! Guests that mean harm: each is refused or stopped, and the next call works.

use wasm_encoder::{
    CodeSection, DataSection, ExportKind, ExportSection, Function as Body, FunctionSection,
    Instruction as I, MemorySection, MemoryType, Section, TypeSection, ValType,
};

use super::*;

/// Enough for thousands of rounds of any harm, and no more than the test needs.
const HARM_FUEL: u64 = 100_000;

/// A pull handler that does harm when input 0 is below zero, and nothing otherwise.
fn harmful(items: &str, harm: &str) -> Function {
    let body = format!(
        "(if (f64.lt (call $in_f64 (i32.const 0)) (f64.const 0)) (then {harm})) (i32.const 0)"
    );
    let settings = Settings {
        fuel: HARM_FUEL,
        ..settings()
    };
    function_with(&pull_with(items, &body), settings)
}

fn stopped(items: &str, harm: &str, message: &str) {
    let mut function = harmful(items, harm);
    for _ in 0..2 {
        let fault = function
            .call(Handler::Event, &mut frame(&[Value::F64(-1.0)]))
            .unwrap_err();
        assert!(fault.to_string().contains(message), "{harm}: {fault}");
        let verdict = function.call(Handler::Event, &mut frame(&[Value::F64(1.0)]));
        assert_eq!(verdict.unwrap(), Verdict::Done, "{harm}");
    }
}

#[test]
fn what_never_ends_runs_out_of_fuel() {
    let big = r#"(data $d "0123456789") (table $t 900 funcref) (elem $e func $r) (func $r (call $r)) (type $v (func))"#;
    for harm in [
        "",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 65535))",
        "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))",
        "(table.fill (i32.const 0) (ref.null func) (i32.const 900))",
        "(table.copy (i32.const 0) (i32.const 1) (i32.const 899))",
        "(table.init $e (i32.const 0) (i32.const 0) (i32.const 0))",
        "(data.drop $d)",
        "(elem.drop $e)",
        "(table.set (i32.const 0) (ref.func $r))",
        "(drop (table.get (i32.const 0)))",
        "(drop (memory.grow (i32.const 0)))",
        "(drop (memory.grow (local.get $i)))",
        "(drop (memory.grow (i32.const 1)))",
        "(drop (memory.grow (i32.const -1)))",
        "(drop (memory.size)) (drop (table.size))",
        "(drop (call $emit_f64 (i32.const 0) (f64.const 1)))",
        "(drop (call $emit (i32.const 0) (i32.const 0) (i32.const 65536)))",
        "(call $log (i32.const 0) (i32.const 0) (i32.const 65536))",
        "(drop (call $timer (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i64.const 1)))",
        "(drop (call $rand))",
        "(drop (call $fmt_f64 (f64.const 1e300) (i32.const 0) (i32.const 99)))",
        "(drop (call $ev_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65536)))",
        "(i32.store (i32.const 0) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
         (drop (call $st_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))",
        "(i32.store (i32.const 0) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
         (drop (call $st_del (i32.const 0) (i32.const 4)))",
    ] {
        stopped(
            big,
            &format!("(loop $l {harm} (br $l))"),
            "out of fuel after 100000 units",
        );
    }
}

#[test]
fn floods_leave_no_more_than_the_limits_allow() {
    let mut function = harmful("", "(loop $l (call $log (i32.const 0) (i32.const 0) (i32.const 1000)) (drop (call $emit_f64 (i32.const 0) (f64.const 1)))
        (drop (call $timer (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i64.const 1))) (br $l))");
    let mut frame = frame(&[Value::F64(-1.0)]);
    function.call(Handler::Event, &mut frame).unwrap_err();
    let effects = &frame.effects;
    assert_eq!(
        (
            effects.logs.len(),
            effects.emissions.len(),
            effects.timers.len()
        ),
        (10, 16, 32)
    );
    assert!(effects.logs_dropped > 50);
}

#[test]
fn what_goes_too_deep_or_too_far_traps() {
    let items = r#"(table 10 funcref) (elem (i32.const 0) $r $w) (type $v (func)) (data $d "x")
        (func $r (call $r)) (func $w (param i32)) (func $wide (local i64 i64 i64) (call $wide))"#;
    for (harm, message) in [
        ("(call $r)", "call stack exhausted"),
        (
            "(call_indirect (type $v) (i32.const 0))",
            "call stack exhausted",
        ),
        ("(call $wide)", "call stack exhausted"),
        ("(unreachable)", "unreachable"),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "divide by zero",
        ),
        (
            "(drop (i32.load (i32.const 65533)))",
            "out of bounds memory access",
        ),
        (
            "(i64.store offset=4294967295 (i32.const -1) (i64.const 0))",
            "out of bounds memory access",
        ),
        (
            "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536))",
            "out of bounds memory access",
        ),
        (
            "(memory.init $d (i32.const 0) (i32.const 0) (i32.const -1))",
            "out of bounds memory access",
        ),
        (
            "(call_indirect (type $v) (i32.const 1))",
            "indirect call type mismatch",
        ),
        (
            "(call_indirect (type $v) (i32.const 2))",
            "uninitialized element",
        ),
        (
            "(call_indirect (type $v) (i32.const 10))",
            "undefined element",
        ),
        (
            "(drop (call $reg_get (i32.const -1)))",
            "there is no slot -1",
        ),
        (
            "(call $reg_set (i32.const 256) (f64.const 0))",
            "there is no slot 256",
        ),
        (
            "(call $abort (i32.const -1) (i32.const 3) (i32.const 0) (i32.const 0))",
            "aborted: no message at unknown:0:0",
        ),
    ] {
        stopped(items, harm, message);
    }
}

#[test]
fn a_wild_pointer_traps_at_every_import() {
    for call in [
        "in_bytes (i32.const 1) PTR LEN",
        "ev_bytes (i32.const 0) (i32.const 0) PTR LEN",
        "st_get PTR LEN (i32.const 0) (i32.const 0)",
        "st_get (i32.const 0) (i32.const 1) PTR LEN",
        "st_put PTR LEN (i32.const 0) (i32.const 0)",
        "st_put (i32.const 0) (i32.const 1) PTR LEN",
        "st_del PTR LEN",
        "emit (i32.const 0) PTR LEN",
        "fmt_f64 (f64.const 1) PTR LEN",
        "cfg_bytes (i32.const 0) PTR LEN",
        "log (i32.const 0) PTR LEN",
    ] {
        for (ptr, len) in [
            (65_536, 1),
            (65_535, 2),
            (0, 65_537),
            (-1, 1),
            (-1, i32::MAX),
            (i32::MAX, i32::MAX),
        ] {
            let call = call
                .replace("PTR", &format!("(i32.const {ptr})"))
                .replace("LEN", &format!("(i32.const {len})"));
            let call = format!("(call ${call})");
            let drop = if call.starts_with("(call $log") {
                call
            } else {
                format!("(drop {call})")
            };
            let config = r#"\"config\":[{\"name\":\"c\",\"type\":\"bytes\"}],\"outputs\""#;
            let wat = pull(&format!("{drop} (i32.const 0)")).replace(r#"\"outputs\""#, config);
            let config = Box::new([crate::rule::manifest::ConfigValue::Bytes((*b"text").into())]);
            let mut function = function_with(
                &wat,
                Settings {
                    config,
                    ..settings()
                },
            );
            let mut frame = frame(&[Value::F64(0.0), Value::Bytes(Some(Default::default()))]);
            frame
                .state
                .entries
                .insert((*b"\0").into(), (*b"value").into());
            let fault = function
                .call(Handler::Event, &mut frame)
                .unwrap_err()
                .to_string();
            assert!(
                fault.contains("are outside of its memory of 65536 bytes"),
                "{drop}: {fault}"
            );
        }
    }
}

#[test]
fn after_a_fault_everything_is_fresh() {
    let mut function = function(
        r#"(module (global $g (mut i32) (i32.const 0))
        (func (export "init") (global.set $g (i32.const 7)))
        (func (export "on_event") (result i32)
          (if (i32.eq (global.get $g) (i32.const 8)) (then (unreachable)))
          (global.set $g (i32.const 8)) (i32.const 1)))"#,
    );
    let mut call = || {
        function
            .call(Handler::Event, &mut frame(&[]))
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(call(), Ok(Verdict::Pass(0)));
    assert!(call().unwrap_err().starts_with("trapped"));
    assert_eq!(call(), Ok(Verdict::Pass(0)));
}

/// No section.
const NONE: Option<&DataSection> = None;

/// A module of one pull handler, with bodies beside it that nobody calls.
fn bomb(bodies: &[Body], early: Option<&impl Section>, late: Option<&impl Section>) -> Vec<u8> {
    let (mut types, mut functions, mut exports, mut code) = (
        TypeSection::new(),
        FunctionSection::new(),
        ExportSection::new(),
        CodeSection::new(),
    );
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    exports.export("on_event", ExportKind::Func, 0);
    let mut handler = Body::new([]);
    handler.instruction(&I::I32Const(0)).instruction(&I::End);
    functions.function(0);
    code.function(&handler);
    for body in bodies {
        functions.function(1);
        code.function(body);
    }
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&functions);
    if let Some(section) = early {
        module.section(section);
    }
    module.section(&exports).section(&code);
    if let Some(section) = late {
        module.section(section);
    }
    module.finish()
}

fn body(locals: u32, instructions: impl IntoIterator<Item = I<'static>>) -> Body {
    let mut body = Body::new([(locals, ValType::I64)]);
    for instruction in instructions {
        body.instruction(&instruction);
    }
    body.instruction(&I::End);
    body
}

#[test]
fn bombs_are_refused() {
    let nested = |n| {
        let blocks = std::iter::repeat_n(I::Block(wasm_encoder::BlockType::Empty), n);
        body(0, blocks.chain(std::iter::repeat_n(I::End, n)))
    };
    let table = |targets: usize| {
        body(
            0,
            [
                I::Block(wasm_encoder::BlockType::Empty),
                I::I32Const(0),
                I::BrTable(vec![0; targets].into(), 1),
                I::End,
            ],
        )
    };
    let memory = |minimum| {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        memories
    };
    let tables = |minimum| {
        let mut tables = wasm_encoder::TableSection::new();
        tables.table(wasm_encoder::TableType {
            element_type: wasm_encoder::RefType::FUNCREF,
            table64: false,
            minimum,
            maximum: None,
            shared: false,
        });
        tables
    };
    for (name, wasm, message) in [
        (
            "blocks",
            bomb(&[nested(80_000)], NONE, NONE),
            "nested blocks: 80000, the limit is 1000",
        ),
        (
            "more blocks",
            bomb(&[nested(100_000)], NONE, NONE),
            "the limit is 262144",
        ),
        (
            "br_table",
            bomb(&[table(300_000)], NONE, NONE),
            "the limit is 262144",
        ),
        (
            "locals",
            bomb(&[body(50_000, [])], NONE, NONE),
            "locals: 50000, the limit is 1000",
        ),
        (
            "more locals than a number holds",
            bomb(&[body(u32::MAX, [])], NONE, NONE),
            "locals: 4294967295",
        ),
        (
            "a function for every few bytes",
            bomb(&vec![body(1_000, []); 40_000], NONE, NONE),
            "limit",
        ),
        (
            "a memory of 4 GiB",
            bomb(&[], Some(&memory(65_536)), NONE),
            "pages of memory: 65536, the limit is 16",
        ),
        (
            "a table of 10 million",
            bomb(&[], Some(&tables(10_000_000)), NONE),
            "table elements: 10000000, the limit is 1000",
        ),
    ] {
        let error = engine().load(&wasm).map(drop).unwrap_err().to_string();
        assert!(error.contains(message), "{name}: {error}");
    }
    // A data segment that says it has 1 GB, in a module that has not.
    let mut wasm = bomb(&[], Some(&memory(1)), NONE);
    wasm.extend([11, 9, 1, 1, 0x80, 0x80, 0x80, 0x80, 4, 0, 0]);
    let error = engine().load(&wasm).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("the module does not validate"), "{error}");
}

#[test]
fn what_is_large_but_within_the_limits_is_compiled() {
    let wide = body(
        1,
        [
            I::Block(wasm_encoder::BlockType::Empty),
            I::LocalGet(0),
            I::I32WrapI64,
            I::BrTable((0..65_000).map(|n| n % 2).collect::<Vec<_>>().into(), 1),
            I::End,
        ],
    );
    engine()
        .load(&bomb(&[wide.clone(), wide.clone(), wide], NONE, NONE))
        .map(drop)
        .unwrap();
    let locals = body(
        1_000,
        std::iter::repeat_n([I::LocalGet(0), I::LocalSet(999)], 9).flatten(),
    );
    engine()
        .load(&bomb(&vec![locals; 5_000], NONE, NONE))
        .map(drop)
        .unwrap();
    let mut data = DataSection::new();
    for _ in 0..1_000 {
        data.passive([0; 100]);
    }
    engine()
        .load(&bomb(&[], NONE, Some(&data)))
        .map(drop)
        .unwrap();
}

/// Set in the process that runs the loop below on its own.
const CHILD: &str = "TIDEMILL_GROW_CHILD";

#[test]
fn a_loop_of_memory_grow_ends_in_a_fault_and_not_in_an_abort() {
    // A stack that overflows ends the whole process, so the loop runs in one of its own.
    if std::env::var_os(CHILD).is_some() {
        let small_stack = std::thread::Builder::new().stack_size(256 * 1024);
        let looped = small_stack.spawn(|| {
            for grow in [
                "(memory.grow (local.get $i))",
                "(memory.grow (i32.const 1))",
            ] {
                let mut settings = settings();
                settings.fuel = 10_000_000;
                let mut function = function_with(
                    &pull(&format!("(loop $l (drop {grow}) (br $l)) (i32.const 0)")),
                    settings,
                );
                let fault = function.call(Handler::Event, &mut frame(&[])).unwrap_err();
                assert!(matches!(fault, CallFault::OutOfFuel { .. }), "{fault}");
            }
        });
        looped.unwrap().join().unwrap();
        return;
    }
    let name =
        "function::tests::hostile::a_loop_of_memory_grow_ends_in_a_fault_and_not_in_an_abort";
    let child = tidemill_tests::itself()
        .args(["--exact", name])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = [child.stdout, child.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(child.status.success(), "{}\n{said}", child.status);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn no_memory_grow_is_left_in_what_runs() {
    let items = r#"(table 4 funcref) (elem (i32.const 0) $late $log) (global $g funcref (ref.func $late))
        (func $late (param i32) (result i32) (memory.grow (local.get 0))) (export "late" (func $late))"#;
    let wasm =
        wat::parse_str(pull_with(items, "(call $late (memory.grow (i32.const 2)))")).unwrap();
    let imported = super::super::scan::scan(&wasm, &FunctionLimits::default())
        .unwrap()
        .imported;
    let rewritten = super::super::grow::through_host(&wasm, imported).unwrap();
    let mut operators = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&rewritten) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
            operators.extend(
                body.get_operators_reader()
                    .unwrap()
                    .into_iter()
                    .map(Result::unwrap),
            );
        }
    }
    assert!(
        !operators
            .iter()
            .any(|op| matches!(op, wasmparser::Operator::MemoryGrow { .. }))
    );
    let host_calls = operators.iter().filter(|op| matches!(op, wasmparser::Operator::Call { function_index } if *function_index == imported));
    assert_eq!(host_calls.count(), 2);
    // And it still means the same: 1 page and 2 make 3, and the answer of the second call is 3.
    let (outcome, _) = call(&pull_with(
        items,
        "(i32.sub (call $late (memory.grow (i32.const 2))) (i32.const 2))",
    ));
    assert_eq!(outcome.unwrap(), Verdict::Pass(0));
}

#[test]
fn a_module_without_imports_grows_as_well() {
    let wat = r#"(module (memory (export "memory") 1)
        (func (export "on_event") (result i32) (memory.grow (i32.const 3))))"#;
    assert_eq!(call(wat).0.unwrap(), Verdict::Pass(0));
}
