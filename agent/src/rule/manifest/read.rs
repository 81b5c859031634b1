//! Reads a manifest's JSON and checks it. Errors name the place of a wrong value, and the right way
//! to write it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use tidemill_abi::{PORT_MAIN_NAME, VERSION, limit};

use super::names::{self, RawNames};
use super::sql::{RawSql, SqlSpec};
use super::{
    ConfigEntry, ConfigKind, ConfigValue, EmbeddedTest, Input, InputDefault, InputKind,
    ManifestError, ModuleManifest, StateSpec, WindowSpec, refuse, window::RawWindow,
};
use crate::event::value::Value;

impl ModuleManifest {
    /// Reads the content of a `tidemill.manifest` section. Fails on anything that is not known or
    /// not within its limit.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > limit::MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooBig { bytes: json.len() });
        }
        let raw: RawManifest = serde_json::from_slice(json)?;
        if raw.abi != VERSION {
            return refuse(
                "abi",
                format!("this version speaks {VERSION}, not {}", raw.abi),
            );
        }
        if raw.inputs.len() > limit::INPUTS_MAX {
            return refuse("inputs", format!("at most {}", limit::INPUTS_MAX));
        }
        if raw.outputs.len() > PORTS_MAX {
            return refuse("outputs", format!("at most {PORTS_MAX}"));
        }
        if usize::from(raw.state.slots) > limit::SLOTS_MAX {
            return refuse("state.slots", format!("at most {}", limit::SLOTS_MAX));
        }
        if let Some(key) = &raw.key {
            check_pointer("key", key)?;
        }
        let names = raw.state.names.map(names::check).transpose()?;
        let streams = names.as_ref().map_or(&[][..], |names| &names.streams);
        let sql = raw
            .sql
            .map(|sql| SqlSpec::check(sql, streams))
            .transpose()?;
        let manifest = Self {
            name: raw.name,
            inputs: checked("inputs", raw.inputs, Input::check)?,
            outputs: raw.outputs,
            config: checked("config", raw.config, ConfigEntry::check)?,
            key: raw.key,
            window: raw.window.map(WindowSpec::check).transpose()?,
            state: StateSpec {
                schema: raw.state.schema,
                slots: raw.state.slots,
                bytes: raw.state.bytes,
            },
            names: names.map(Arc::new),
            tests: raw.tests,
            sql: sql.map(Arc::new),
        };
        unique("inputs", manifest.inputs.iter().map(|input| &input.name))?;
        unique("outputs", manifest.outputs.iter())?;
        unique("config", manifest.config.iter().map(|entry| &entry.name))?;
        manifest.check_tests()?;
        Ok(manifest)
    }

    fn check_tests(&self) -> Result<(), ManifestError> {
        for (index, test) in self.tests.iter().enumerate() {
            for name in test.config.keys() {
                if !self.config.iter().any(|entry| entry.name == *name) {
                    let reason = format!("there is no entry `{name}` in `config`");
                    return refuse(format!("tests[{index}].config"), reason);
                }
            }
            for expected in &test.out {
                if !self.outputs.contains(&expected.port) {
                    let reason = format!("there is no port `{}` in `outputs`", expected.port);
                    return refuse(format!("tests[{index}].out"), reason);
                }
                if expected.pass == expected.payload.is_some() {
                    let reason = "say either `\"pass\": true` or a `payload`";
                    return refuse(format!("tests[{index}].out"), reason);
                }
            }
        }
        Ok(())
    }
}

/// A rule binds ports by one bit each.
const PORTS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    abi: u32,
    name: Option<String>,
    #[serde(default)]
    inputs: Vec<RawInput>,
    #[serde(default = "main_port")]
    outputs: Vec<String>,
    #[serde(default)]
    config: Vec<RawConfigEntry>,
    key: Option<String>,
    window: Option<RawWindow>,
    #[serde(default)]
    state: RawState,
    #[serde(default)]
    tests: Vec<EmbeddedTest>,
    sql: Option<RawSql>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawState {
    schema: i32,
    slots: u16,
    bytes: u64,
    names: Option<RawNames>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    name: Option<String>,
    pointer: String,
    #[serde(rename = "type")]
    kind: InputKind,
    default: Option<Json>,
    #[serde(default)]
    any_case: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfigEntry {
    name: String,
    #[serde(rename = "type")]
    kind: ConfigKind,
    default: Option<Json>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Input {
    fn check(raw: RawInput) -> Result<Self, ManifestError> {
        check_pointer("pointer", &raw.pointer)?;
        let last = raw.pointer.rsplit('/').next().unwrap_or_default();
        Ok(Self {
            name: raw
                .name
                .unwrap_or_else(|| last.replace("~1", "/").replace("~0", "~")),
            default: raw
                .default
                .map(|json| default_of(raw.kind, &json))
                .transpose()?,
            pointer: raw.pointer,
            kind: raw.kind,
            any_case: raw.any_case,
        })
    }
}

impl ConfigEntry {
    fn check(raw: RawConfigEntry) -> Result<Self, ManifestError> {
        let default = match (raw.kind, raw.default) {
            (_, None | Some(Json::Null)) => None,
            (kind, Some(json)) => match ConfigValue::from_json(kind, &json) {
                Some(value) => Some(value),
                None => return refuse("default", format!("{json} is no {}", kind.word())),
            },
        };
        if raw.kind != ConfigKind::F64 && (raw.min.is_some() || raw.max.is_some()) {
            return refuse("min", "only a number has `min` and `max`");
        }
        Ok(Self {
            name: raw.name,
            kind: raw.kind,
            default,
            range: (
                raw.min.unwrap_or(f64::NEG_INFINITY),
                raw.max.unwrap_or(f64::INFINITY),
            ),
        })
    }
}

/// A default of `null` says the same as none: NaN, missing, or a dead letter.
fn default_of(kind: InputKind, json: &Json) -> Result<InputDefault, ManifestError> {
    let number = match kind {
        InputKind::F64 | InputKind::Float => json.as_f64().map(Value::F64),
        InputKind::I64 => json.as_i64().map(Value::I64),
        InputKind::I32 => json
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .map(Value::I32),
        InputKind::Num | InputKind::Kind => {
            return refuse(
                "default",
                format!("an input of type {} has none", kind.name()),
            );
        }
        InputKind::Bytes => {
            return match json.as_str() {
                Some(text) => Ok(InputDefault::Bytes(text.as_bytes().into())),
                None => refuse("default", format!("{json} is no string")),
            };
        }
    };
    match number {
        Some(number) => Ok(InputDefault::Number(number)),
        None => refuse("default", format!("{json} is no {}", kind.name())),
    }
}

fn check_pointer(key: &str, pointer: &str) -> Result<(), ManifestError> {
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(());
    }
    refuse(
        key,
        format!("`{pointer}` is no JSON pointer: it starts with `/`"),
    )
}

/// Checks a list's elements, and says which one is wrong.
fn checked<Raw, T>(
    list: &str,
    raw: Vec<Raw>,
    check: impl Fn(Raw) -> Result<T, ManifestError>,
) -> Result<Vec<T>, ManifestError> {
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            check(raw).map_err(|error| match error {
                ManifestError::Value { key, reason } => ManifestError::Value {
                    key: format!("{list}[{index}].{key}"),
                    reason,
                },
                other => other,
            })
        })
        .collect()
}

fn unique<'a>(
    list: &str,
    names: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), ManifestError> {
    for (index, name) in names.clone().enumerate() {
        if name.is_empty() {
            return refuse(format!("{list}[{index}]"), "a name is empty");
        }
        if names.clone().take(index).any(|earlier| earlier == name) {
            return refuse(list, format!("`{name}` is there twice"));
        }
    }
    Ok(())
}

fn main_port() -> Vec<String> {
    vec![PORT_MAIN_NAME.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str, message: &str) {
        let error = ModuleManifest::parse(json.as_bytes()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{json}: {text}");
    }

    #[test]
    fn the_shortest_manifest_is_the_default() {
        let manifest = ModuleManifest::parse(br#"{"abi":1}"#).unwrap();
        assert_eq!(manifest, ModuleManifest::default());
        assert_eq!(manifest.outputs, ["out"]);
    }

    #[test]
    fn every_key_arrives_as_a_checked_value() {
        let manifest = ModuleManifest::parse(
            br#"{"abi": 1, "name": "overheat",
              "inputs": [{"pointer": "/a~1b", "type": "f64", "default": null},
                         {"name": "n", "pointer": "/n", "type": "i32", "default": 7},
                         {"pointer": "/s", "type": "bytes", "default": "x"}],
              "outputs": ["out", "log"], "config": [{"name": "limit", "type": "f64", "default": 50}, {"name": "unit", "type": "bytes"}],
              "key": "/device", "window": {"length_ms": 1000, "slots": 2}, "state": {"schema": 1, "slots": 4, "bytes": 9},
              "tests": [{"in": {"a/b": 61}, "config": {"limit": 3}, "out": [{"port": "out", "pass": true}, {"port": "log", "payload": 1}]}]}"#,
        )
        .unwrap();
        let defaults: Vec<_> = manifest
            .inputs
            .iter()
            .map(|i| (i.name.as_str(), i.default.clone()))
            .collect();
        assert_eq!(
            defaults,
            [
                ("a/b", None),
                ("n", Some(InputDefault::Number(Value::I32(7)))),
                ("s", Some(InputDefault::Bytes((*b"x").into()))),
            ]
        );
        assert_eq!(
            manifest.config.first().unwrap().default,
            Some(ConfigValue::F64(50.0))
        );
        assert_eq!(
            manifest
                .window
                .map(|window| (window.length_ms, window.slots)),
            Some((Some(1000), 2))
        );
        assert_eq!(
            manifest.state,
            StateSpec {
                schema: 1,
                slots: 4,
                bytes: 9
            }
        );
        assert_eq!(manifest.tests.len(), 1);
    }

    #[test]
    fn a_wrong_manifest_is_refused_by_name() {
        let many = |count: usize, what: &str| vec![what; count].join(",");
        for (json, message) in [
            ("", "EOF"),
            ("{}", "missing field `abi`"),
            (r#"{"abi":2}"#, "`abi`: this version speaks 1, not 2"),
            (r#"{"abi":1,"input":[]}"#, "unknown field `input`"),
            (
                r#"{"abi":1,"inputs":[{"pointer":"/a","type":"f32"}]}"#,
                "unknown variant `f32`",
            ),
            (
                r#"{"abi":1,"inputs":[{"pointer":"a","type":"f64"}]}"#,
                "`inputs[0].pointer`: `a` is no JSON pointer",
            ),
            (
                r#"{"abi":1,"inputs":[{"pointer":"/a","type":"i64","default":1.5}]}"#,
                "`inputs[0].default`: 1.5 is no i64",
            ),
            (
                r#"{"abi":1,"inputs":[{"pointer":"/a","type":"i32","default":3000000000}]}"#,
                "3000000000 is no i32",
            ),
            (
                r#"{"abi":1,"inputs":[{"pointer":"/a","type":"f64"},{"pointer":"/b/a","type":"f64"}]}"#,
                "`inputs`: `a` is there twice",
            ),
            (
                r#"{"abi":1,"outputs":["a","a"]}"#,
                "`outputs`: `a` is there twice",
            ),
            (
                r#"{"abi":1,"config":[{"name":"a","type":"f64","default":"b"}]}"#,
                "`config[0].default`: \"b\" is no number",
            ),
            (
                r#"{"abi":1,"key":"device"}"#,
                "`key`: `device` is no JSON pointer",
            ),
            (
                r#"{"abi":1,"window":{"kind":"sliding"}}"#,
                "`window.rows`: a sliding window keeps rows",
            ),
            (
                r#"{"abi":1,"window":{"length_ms":0}}"#,
                "`window.length_ms`: at least 1",
            ),
            (
                r#"{"abi":1,"state":{"slots":257}}"#,
                "`state.slots`: at most 256",
            ),
            (
                r#"{"abi":1,"tests":[{"in":1,"out":[{"port":"x","pass":true}]}]}"#,
                "there is no port `x`",
            ),
            (
                r#"{"abi":1,"tests":[{"in":1,"out":[{"port":"out"}]}]}"#,
                "either `\"pass\": true` or a `payload`",
            ),
            (
                r#"{"abi":1,"config":[{"name":"unit","type":"bytes","min":1}]}"#,
                "only a number has `min` and `max`",
            ),
            (
                r#"{"abi":1,"tests":[{"in":1,"config":{"x":1},"out":[]}]}"#,
                "no entry `x`",
            ),
            (
                &format!(
                    r#"{{"abi":1,"inputs":[{}]}}"#,
                    many(65, r#"{"pointer":"/a","type":"f64"}"#)
                ),
                "`inputs`: at most 64",
            ),
            (
                &format!(r#"{{"abi":1,"outputs":[{}]}}"#, many(65, r#""a""#)),
                "`outputs`: at most 64",
            ),
        ] {
            refused(json, message);
        }
    }

    #[test]
    fn a_manifest_may_have_32_kib_and_no_byte_more() {
        let mut json = br#"{"abi":1}"#.to_vec();
        json.resize(limit::MANIFEST_BYTES_MAX, b' ');
        assert!(ModuleManifest::parse(&json).is_ok());
        json.push(b' ');
        let error = ModuleManifest::parse(&json).unwrap_err();
        assert_eq!(
            error.to_string(),
            "32769 bytes are above the limit of 32768 bytes"
        );
    }
}
