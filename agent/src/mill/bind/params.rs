//! `[params]` of a rule, checked against the configuration that the function has. An entry in milliseconds is one that
//! a rule may give as a duration, by its name without the unit.

use crate::function::Module;
use crate::rule::manifest::{ConfigEntry, ConfigKind, ConfigValue};
use crate::rule::{Param, Placed, Rule};
use tidemill_base::text::{Errors, FileError, duration_ms};

use super::unknown;

/// The values of the function's configuration, in its order.
pub(super) fn config(rule: &Rule, module: &Module, errors: &Errors) -> Box<[ConfigValue]> {
    let entries = &module.manifest.config;
    for (name, param) in &rule.params {
        if !entries.iter().any(|entry| is_set_by(entry, name)) {
            let known = entries.iter().map(shown_name);
            let message = unknown("params", name, "parameter", known);
            errors.push(rule.source.error_at(&param.span, message));
        }
    }
    let is_there = |entry: &ConfigEntry| rule.params.keys().any(|name| is_set_by(entry, name));
    // What seems to be missing may stand where nothing was understood.
    let entries_known = entries
        .iter()
        .filter(|entry| rule.is_whole || entry.default.is_some() || is_there(entry));
    entries_known
        .filter_map(|entry| errors.take(value(rule, entries, entry)))
        .collect()
}

/// The name that people are told: of an entry in milliseconds the one without a unit.
pub(super) fn shown_name(entry: &ConfigEntry) -> &str {
    entry.duration_name().unwrap_or(&entry.name)
}

fn is_set_by(entry: &ConfigEntry, name: &str) -> bool {
    entry.name == name || entry.duration_name() == Some(name)
}

fn value(
    rule: &Rule,
    entries: &[ConfigEntry],
    entry: &ConfigEntry,
) -> Result<ConfigValue, FileError> {
    let name = &entry.name;
    // An entry of that very name comes first.
    let is_taken = |short: &str| entries.iter().any(|entry| entry.name == short);
    let short = entry.duration_name().filter(|short| !is_taken(short));
    let duration = short.and_then(|short| Some((short, rule.params.get(short)?)));
    match (rule.params.get(name), duration) {
        (None, None) => entry.default.clone().ok_or_else(|| {
            let (name, example) = match (short, entry.kind) {
                (Some(short), _) => (short, "\"5m\""),
                (None, ConfigKind::F64) => (name.as_str(), "50"),
                (None, ConfigKind::Bytes) => (name.as_str(), "\"…\""),
            };
            rule.source.error_at(&rule.function_span, format!(
                "params.{name} is missing: the function needs it; write {name} = {example} under [params]"
            ))
        }),
        (Some(_), Some((short, param))) => {
            let message = format!("params.{short}: {name} says the same; write one of the two");
            Err(rule.source.error_at(&param.span, message))
        }
        (None, Some((short, param))) => {
            let given = in_ms(short, param).and_then(|ms| within(entry, ms));
            given.map_err(|why| refusal(rule, short, param, &why))
        }
        (Some(param), None) => {
            let given = match (&param.value, entry.kind) {
                (Param::Number(number), ConfigKind::F64) => within(entry, *number),
                (Param::Text(text), ConfigKind::Bytes) => {
                    Ok(ConfigValue::Bytes(text.as_bytes().into()))
                }
                (Param::Text(_), ConfigKind::F64) => Err(match short {
                    Some(short) => format!(
                        "the function wants a number of milliseconds; write {short} = \"5m\" for a duration"
                    ),
                    None => "the function wants a number".to_owned(),
                }),
                (Param::Number(_), ConfigKind::Bytes) => Err("the function wants a text".to_owned()),
            };
            given.map_err(|why| refusal(rule, name, param, &why))
        }
    }
}

fn refusal(rule: &Rule, name: &str, param: &Placed<Param>, why: &str) -> FileError {
    rule.source
        .error_at(&param.span, format!("params.{name}: {why}"))
}

/// A duration, as the function sees it.
#[allow(
    clippy::cast_precision_loss,
    reason = "durations that floats cannot tell apart are longer than any that counts"
)]
fn in_ms(name: &str, param: &Placed<Param>) -> Result<f64, String> {
    match &param.value {
        Param::Text(text) => Ok(duration_ms(text)? as f64),
        Param::Number(number) => Err(format!(
            "it is a duration, a text with a unit; write {name} = \"{number}s\""
        )),
    }
}

/// The number, if the function takes it. No span of time is below 0.
fn within(entry: &ConfigEntry, number: f64) -> Result<ConfigValue, String> {
    let is_span = entry.duration_name().is_some();
    let (min, max) = entry.range;
    let min = if is_span { min.max(0.0) } else { min };
    if min <= number && number <= max {
        return Ok(ConfigValue::F64(number));
    }
    let shown = |number: f64| {
        if is_span {
            span_of(number)
        } else {
            number.to_string()
        }
    };
    Err(match (min.is_finite(), max.is_finite()) {
        (true, true) => format!("it is from {} to {}", shown(min), shown(max)),
        (true, false) => format!("it is {} or more", shown(min)),
        _ => format!("it is {} or less", shown(max)),
    })
}

/// A number of milliseconds in the largest unit that leaves no rest.
pub(super) fn span_of(ms: f64) -> String {
    let units = [
        ("d", 86_400_000.0),
        ("h", 3_600_000.0),
        ("m", 60_000.0),
        ("s", 1_000.0),
    ];
    // Nothing at all is 0 s.
    let unit = units
        .iter()
        .find(|(_, length)| (ms >= *length || *length == 1_000.0) && ms % length == 0.0);
    let (unit, length) = unit.copied().unwrap_or(("ms", 1.0));
    format!("{}{unit}", ms / length)
}
