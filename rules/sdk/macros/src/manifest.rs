//! The manifest as JSON, from what the attribute and the parameters say. Keys that would say nothing are left out.

use crate::inputs::Input;
use crate::spec::{Config, Spec};
use serde_json::{Map, Value, json};

/// The manifest of a function called `name`, compact.
pub(crate) fn json(name: &str, spec: &Spec, inputs: &[Input]) -> String {
    let name = spec.name.clone().unwrap_or_else(|| name.replace('_', "-"));
    let mut manifest = Map::new();
    manifest.insert("abi".into(), 1.into());
    manifest.insert("name".into(), name.into());
    if !inputs.is_empty() {
        manifest.insert("inputs".into(), inputs.iter().map(Input::json).collect());
    }
    if !spec.outputs.is_empty() {
        manifest.insert(
            "outputs".into(),
            spec.outputs.iter().map(ToString::to_string).collect(),
        );
    }
    if !spec.config.is_empty() {
        manifest.insert("config".into(), spec.config.iter().map(config).collect());
    }
    if let Some(key) = &spec.key {
        manifest.insert("key".into(), key.as_str().into());
    }
    if let Some(tumbling) = &spec.tumbling {
        let window = json!({"kind": "tumbling", "length_ms": tumbling.length_ms, "slots": tumbling.slots.len()});
        manifest.insert("window".into(), window);
    }
    let state = state(spec);
    if !state.is_empty() {
        manifest.insert("state".into(), state.into());
    }
    if let Some(tests) = &spec.tests {
        manifest.insert("tests".into(), tests.clone());
    }
    Value::Object(manifest).to_string()
}

fn config(entry: &Config) -> Value {
    let kind = if entry.text { "bytes" } else { "f64" };
    let mut json = json!({"name": entry.name.to_string(), "type": kind});
    if let (Some(default), Some(fields)) = (&entry.default, json.as_object_mut()) {
        fields.insert("default".into(), default.clone());
    }
    if let (Some((least, most)), Some(fields)) = (&entry.range, json.as_object_mut()) {
        fields.insert("min".into(), Value::Number(least.clone()));
        fields.insert("max".into(), Value::Number(most.clone()));
    }
    json
}

fn state(spec: &Spec) -> Map<String, Value> {
    let slots = Some(spec.all_slots().len() as u64).filter(|&slots| slots > 0);
    let entries = [
        ("schema", spec.schema),
        ("slots", slots),
        ("bytes", spec.state_bytes),
    ];
    let given = entries
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let mut state: Map<String, Value> = given.collect();
    let names = names(spec);
    if !names.is_empty() {
        state.insert("names".into(), names.into());
    }
    state
}

/// Names of the parts of the state, as people read them.
fn names(spec: &Spec) -> Map<String, Value> {
    let shown = |name: &syn::Ident| Value::from(name.to_string().replace('_', " "));
    let mut names = Map::new();
    if spec.named && !spec.all_slots().is_empty() {
        let slots = spec.all_slots().into_iter().map(shown).collect();
        names.insert("slots".into(), slots);
    }
    if !spec.timers.is_empty() {
        names.insert("timers".into(), spec.timers.iter().map(shown).collect());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;
    use syn::{ItemFn, parse_str};

    fn check(arguments: &str, function: &str, expected: &str) {
        let spec: Spec = parse_str(arguments).unwrap();
        let mut item: ItemFn = parse_str(function).unwrap();
        let inputs = inputs::take(&mut item).unwrap();
        let written = json(&item.sig.ident.to_string(), &spec, &inputs);
        let (written, expected): (Value, Value) = (
            serde_json::from_str(&written).unwrap(),
            serde_json::from_str(expected).unwrap(),
        );
        assert_eq!(written, expected);
    }

    #[test]
    fn a_filter_needs_no_arguments() {
        check(
            "",
            "fn too_hot(temperature: f64) -> bool { temperature > 50.0 }",
            r#"{"abi": 1, "name": "too-hot", "inputs": [{"pointer": "/temperature", "type": "f64"}]}"#,
        );
        check("", "fn pull() {}", r#"{"abi": 1, "name": "pull"}"#);
    }

    #[test]
    fn inputs_have_pointers_types_and_defaults() {
        check(
            "name = \"x\"",
            r#"fn f(
                #[input("/a/b", default = -1.5)] a: Option<f64>, #[input(default = 3)] n: i64,
                #[input(default = true)] on: bool, m: i32, device: tidemill_sdk::Text
            ) {}"#,
            r#"{"abi": 1, "name": "x", "inputs": [
                {"name": "a", "pointer": "/a/b", "type": "f64", "default": -1.5}, {"pointer": "/n", "type": "i64", "default": 3},
                {"pointer": "/on", "type": "i32", "default": 1}, {"pointer": "/m", "type": "i32"},
                {"pointer": "/device", "type": "bytes"}]}"#,
        );
    }

    #[test]
    fn arguments_become_keys() {
        check(
            r#"outputs(out, late), config(limit: f64 in -1.5..=9, low: f64 = -2, unit: str = "°C"), tumbling(length_ms = 1000, slots(sum, n)), slots(last),
               key = "/device", schema = 2, state_bytes = 10, tests = r"[{}]", named, timers(hold_on)"#,
            "fn f() {}",
            r#"{"abi": 1, "name": "f", "outputs": ["out", "late"],
                "config": [{"name": "limit", "type": "f64", "min": -1.5, "max": 9}, {"name": "low", "type": "f64", "default": -2}, {"name": "unit", "type": "bytes", "default": "°C"}],
                "key": "/device", "window": {"kind": "tumbling", "length_ms": 1000, "slots": 2},
                "state": {"schema": 2, "slots": 3, "bytes": 10, "names": {"slots": ["sum", "n", "last"], "timers": ["hold on"]}}, "tests": [{}]}"#,
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, expected) in [
            ("output(a)", "unknown argument `output`"),
            ("config(a: i64)", "a config entry is of type f64 or str"),
            ("config(a: str in 1..=2)", "only a number has a range"),
            ("tumbling(slots(a))", "length_ms is missing"),
            ("tests = \"{}\"", "tests are a JSON list"),
            ("tests = \"[\"", "not JSON"),
        ] {
            let message = parse_str::<Spec>(arguments)
                .err()
                .map(|err| err.to_string())
                .unwrap();
            assert!(message.contains(expected), "{message}");
        }
        for (function, expected) in [
            ("fn f(a: u8) {}", "an input is of type"),
            ("fn f((a, b): (f64, f64)) {}", "an input has a name"),
            (
                "fn f(#[input(\"a\")] a: f64) {}",
                "a JSON pointer starts with /",
            ),
        ] {
            let message = inputs::take(&mut parse_str(function).unwrap())
                .err()
                .map(|err| err.to_string())
                .unwrap();
            assert!(message.contains(expected), "{message}");
        }
    }
}
