//! Common part of the targets: options made from a byte, and checks that hold for anything that
//! comes out of the compiler.

mod grammar;

use std::collections::BTreeMap;

use tidemill_abi::{MANIFEST_SECTION, limit};
use tidemill_sql::{Compiled, Options, SqlError, Stream, compile};
use tidemill_values::{FieldType, Value};
use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

pub use grammar::{CLAUSES, Writer};

/// Most locals, as in the agent, which refuses a module with more.
const LOCALS_MAX: u32 = 1_000;

/// Compiles a statement: it ends in a module that the agent takes, or in an error with a place.
pub fn check(sql: &str, options: &Options) {
    match compile(sql, options) {
        Ok(compiled) => check_module(sql, &compiled),
        Err(error) => check_error(sql, &error),
    }
}

fn check_error(sql: &str, error: &SqlError) {
    assert!(sql.get(error.span.clone()).is_some(), "{sql:?}: {error:?}");
    assert!(!error.message.is_empty(), "{sql:?}");
    let (line, column) = error.place(sql);
    assert!(line >= 1 && column >= 1, "{sql:?}: {error:?}");
    let excerpt = error.excerpt(sql);
    let lines: Vec<&str> = excerpt.split('\n').collect();
    let [_, shown, carets] = *lines else {
        panic!("{sql:?}: {excerpt:?}");
    };
    // The caret stands under a character of the line, or right behind the line.
    let at = carets.chars().take_while(|c| *c != '^').count();
    assert!(at < carets.chars().count(), "{sql:?}: {excerpt}");
    assert!(at <= shown.chars().count(), "{sql:?}: {excerpt}");
}

fn check_module(sql: &str, compiled: &Compiled) {
    // Features that the agent leaves switched on, without SIMD, for which its interpreter is not
    // built.
    let features = WasmFeatures::WASM2 & !WasmFeatures::SIMD;
    if let Err(error) = Validator::new_with_features(features).validate_all(&compiled.wasm) {
        panic!("{sql:?}: {error}");
    }
    for payload in Parser::new(0).parse_all(&compiled.wasm) {
        match payload.expect("it is valid") {
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                check_manifest(sql, section.data());
            }
            Payload::CodeSectionEntry(body) => {
                let locals = body.get_locals_reader().expect("it is valid");
                let locals: u32 = locals.into_iter().map(|l| l.expect("it is valid").0).sum();
                assert!(locals <= LOCALS_MAX, "{sql:?}: {locals} locals");
                let (mut depth, mut deepest) = (0_u32, 0);
                for operator in body.get_operators_reader().expect("it is valid") {
                    match operator.expect("it is valid") {
                        Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                            depth += 1;
                        }
                        Operator::End => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    deepest = deepest.max(depth);
                }
                assert!(deepest <= limit::BLOCK_DEPTH_MAX, "{sql:?}: {deepest} deep");
            }
            _ => {}
        }
    }
}

fn check_manifest(sql: &str, json: &[u8]) {
    assert!(
        json.len() <= limit::MANIFEST_BYTES_MAX,
        "{sql:?}: a manifest of {} bytes",
        json.len()
    );
    let manifest: serde_json::Value = match serde_json::from_slice(json) {
        Ok(manifest) => manifest,
        Err(error) => panic!("{sql:?}: {error}"),
    };
    let inputs = manifest["inputs"].as_array().map_or(0, Vec::len);
    assert!(inputs <= limit::INPUTS_MAX, "{sql:?}: {inputs} inputs");
}

/// Options by the bits of a byte; those that only fit some statements only with these.
pub fn options(bits: u8, sql: &str) -> Options {
    let has = |bit: u8| bits & (1 << bit) != 0;
    let mut options = Options {
        nulls: has(0),
        keyed: has(1),
        event_time: has(2),
        ..Options::default()
    };
    if has(3) {
        options.name = "rule".to_owned();
    }
    if has(4) {
        let all = [
            ("limit", Value::Int(50)),
            ("x", Value::Float(0.5)),
            ("name", Value::from("d1")),
            ("flag", Value::Bool(true)),
        ];
        let used = all
            .into_iter()
            .filter(|(name, _)| sql.contains(&format!(":{name}")));
        options.params = used
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>();
    }
    if has(5) {
        let stream = |name: &str, fields: &[(&str, FieldType)]| Stream {
            name: name.to_owned(),
            source: name.to_owned(),
            declared: true,
            filters: vec![format!("{name}/#")],
            fields: fields
                .iter()
                .map(|(name, ty)| ((*name).to_owned(), *ty))
                .collect(),
            timestamp: has(7).then(|| "/ts".to_owned()),
            ..Stream::default()
        };
        let float = FieldType::Float;
        options.streams = vec![
            stream(
                "input",
                &[
                    ("a", float),
                    ("b", FieldType::Bigint),
                    ("device", FieldType::String),
                ],
            ),
            stream(
                "demo",
                &[
                    ("size", FieldType::Bigint),
                    ("color", FieldType::String),
                    ("a", float),
                ],
            ),
            stream(
                "demo1",
                &[
                    ("temp", float),
                    ("hum", FieldType::Bigint),
                    ("b", FieldType::Array),
                ],
            ),
            stream(
                "src1",
                &[("a", FieldType::Struct), ("ok", FieldType::Boolean)],
            ),
        ];
    }
    options
}
