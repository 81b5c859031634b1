//! The tables of a rule's file as they were written, before anything is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Param, Placed, limits, port, streams, window};
use tidemill_base::text::{Errors, Source};

/// A rule's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Spanned<String>,
    #[serde(default = "one")]
    pub(super) version: u64,
    #[serde(default)]
    pub(super) description: String,
    pub(super) durability: Option<Spanned<String>>,
    pub(super) on: Option<Spanned<On>>,
    pub(super) function: Option<Spanned<Function>>,
    #[serde(default)]
    pub(super) streams: BTreeMap<String, Spanned<streams::Table>>,
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) params: BTreeMap<String, Spanned<toml::Value>>,
    pub(super) window: Option<Spanned<window::Table>>,
    #[serde(default)]
    pub(super) ports: BTreeMap<String, Spanned<port::Table>>,
    #[serde(default)]
    pub(super) limits: limits::Limits,
}

/// The table `[on]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct On {
    #[serde(default)]
    pub(super) mqtt: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) schedule: Vec<Spanned<String>>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) retained: bool,
    /// The rule may have no other trigger than `tidemill invoke`, which runs any rule.
    #[serde(default)]
    pub(super) invoke: bool,
}

/// The table `[function]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    pub(super) sql: Option<Spanned<String>>,
    pub(super) wasm: Option<PathBuf>,
    pub(super) stock: Option<String>,
}

fn one() -> u64 {
    1
}

impl Function {
    /// `true` if it is a statement, and nothing else.
    pub(super) fn is_sql(&self) -> bool {
        self.sql.is_some() && self.wasm.is_none() && self.stock.is_none()
    }
}

/// The parameters; one that is wrong is there with a number that says nothing.
#[allow(
    clippy::cast_precision_loss,
    reason = "a parameter is a float by contract"
)]
pub(super) fn params(
    source: &Source,
    params: &BTreeMap<String, Spanned<toml::Value>>,
    errors: &Errors,
) -> BTreeMap<String, Placed<Param>> {
    let each = params.iter().map(|(name, param)| {
        let value = match param.get_ref() {
            toml::Value::Integer(number) => Param::Number(*number as f64),
            toml::Value::Float(number) if number.is_finite() => Param::Number(*number),
            toml::Value::Boolean(yes) => Param::Number(f64::from(u8::from(*yes))),
            toml::Value::String(text) => Param::Text(text.clone()),
            _ => {
                let message =
                    format!("params.{name}: a parameter is a finite number, true, false or a text");
                errors.push(source.error_at(&param.span(), message));
                Param::Number(0.0)
            }
        };
        let span = param.span();
        (name.clone(), Placed { value, span })
    });
    each.collect()
}
