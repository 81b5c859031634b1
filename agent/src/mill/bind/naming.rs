//! The names of a rule's state: those that its function gives, with the key and the window of the rule.

use std::sync::Arc;

use super::params::{shown_name, span_of};
use crate::commit::record::EVENT_TIME;
use crate::event::hash_bytes;
use crate::event::state::layout::{FunctionUse, Layout, Naming};
use crate::function::Module;
use crate::mill::window::Window;
use crate::rule::manifest::{ConfigEntry, ConfigValue, Input};
use crate::rule::{FunctionSource, KeySpec, Rule};

/// Parameters of stock functions on which the meaning of their state hangs.
const SHAPES: [(&str, &str); 1] = [("moving-average", "count")];

/// Longest value of a parameter that is kept as it is, in bytes; of a longer one the beginning and a hash are.
const PARAM_BYTES_MAX: usize = 64;

/// Resolves how the rule's state is found again: by the names that its function gives to the parts,
/// and by its key and its window.
pub(super) fn resolve(
    rule: &Rule,
    module: &Module,
    key: &KeySpec,
    window: Option<&Window>,
    (inputs, config): (&[Input], &[ConfigValue]),
) -> Naming {
    let mut names = module.manifest.names.clone().unwrap_or_default();
    let is_all = match &*rule.streams {
        [] => true,
        [only] => only.mqtt.is_empty(),
        _ => false,
    };
    if is_all && names.whole && !names.streams.is_empty() {
        // The statement reads what triggers the rule, whatever it calls that.
        Arc::make_mut(&mut names).streams.clear();
    }
    Naming::Names(Arc::new(Layout {
        names,
        key: key.identity().into(),
        window: window.map_or_else(String::new, Window::identity).into(),
        kept: kept(module, window),
        pane_slots: window.map_or(0, |window| window.slots),
        function: function(rule, module, inputs, config),
    }))
}

/// The use that the rule makes of its function; `None` where there is nothing to be told of it.
fn function(
    rule: &Rule,
    module: &Module,
    inputs: &[Input],
    config: &[ConfigValue],
) -> Option<FunctionUse> {
    let params: Vec<_> = module
        .manifest
        .config
        .iter()
        .zip(config)
        .map(|(entry, value)| (shown_name(entry).into(), shown_value(entry, value)))
        .collect();
    let FunctionSource::Stock(name) = &rule.function else {
        let stock = "".into();
        return (!params.is_empty()).then_some(FunctionUse { stock, params });
    };
    let mut stock = name.clone();
    for (number, input) in inputs.iter().enumerate() {
        stock.push_str(if number == 0 { " of " } else { ", " });
        stock.push_str(&input.pointer);
    }
    for (_, param) in SHAPES.iter().filter(|(of, _)| of == name) {
        let shape = params.iter().find(|(name, _)| **name == **param);
        stock.extend(shape.map(|(name, value)| format!(", {name} {value}")));
    }
    let stock = stock.into();
    Some(FunctionUse { stock, params })
}

/// The value of a parameter as people write it.
fn shown_value(entry: &ConfigEntry, value: &ConfigValue) -> Box<str> {
    match value {
        ConfigValue::F64(number) if entry.duration_name().is_some() => span_of(*number).into(),
        ConfigValue::F64(number) => number.to_string().into(),
        ConfigValue::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            if bytes.len() <= PARAM_BYTES_MAX {
                return text.into();
            }
            let begin: String = text.chars().take(PARAM_BYTES_MAX / 4).collect();
            format!("{begin}… ({:032x})", hash_bytes(&[bytes])).into()
        }
    }
}

/// Places of the payload that rows of the window have.
fn kept(module: &Module, window: Option<&Window>) -> Vec<Box<str>> {
    let sql = module.manifest.sql.as_ref();
    let sql = sql.filter(|_| window.is_some_and(|window| window.rows));
    let places = sql.map_or(&[][..], |sql| &sql.keeps.places);
    places.iter().map(|place| place.as_str().into()).collect()
}

/// The byte in which a record tells the window of a rule and its kind of time.
pub(in crate::mill) fn window_code(window: Option<&Window>, by_event_time: bool) -> u8 {
    let time = if by_event_time { EVENT_TIME } else { 0 };
    window.map_or(0, Window::code) | time
}
