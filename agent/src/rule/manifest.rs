//! A module's manifest: the JSON of its `tidemill.manifest` section as checked values. Finding the
//! section is left to `function`, reading it to `read`, and combining it with a rule's settings to
//! the rule.
mod names;
mod read;
mod sql;
mod window;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use tidemill_abi::{PORT_MAIN_NAME, limit};

pub use sql::{Keeps, Kept, SqlField, SqlSpec, SqlStream};
pub use window::{CalendarSpan, CalendarUnit, WindowKind, WindowSpec};

use crate::event::state::layout::Names;
use crate::event::value::Value;

/// A module's own manifest, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleManifest {
    /// The function's own name.
    pub name: Option<String>,
    /// Values to decode from the payload, in the order of a typed handler's parameters.
    pub inputs: Vec<Input>,
    /// Names of the ports; an emission refers to its port by index.
    pub outputs: Vec<String>,
    /// Entries read by `cfg_f64` and `cfg_bytes`, by index.
    pub config: Vec<ConfigEntry>,
    /// JSON pointer of the key, unless the rule has one of its own.
    pub key: Option<String>,
    /// The window that the host keeps for the function, if it wants one.
    pub window: Option<WindowSpec>,
    /// Sizes of the state that the function keeps.
    pub state: StateSpec,
    /// Names of the parts of the state, if the function declares them.
    pub names: Option<Arc<Names>>,
    /// Tests that every install runs.
    pub tests: Vec<EmbeddedTest>,
    /// Declarations of functions that work on values.
    pub sql: Option<Arc<SqlSpec>>,
}

/// One value to decode from the payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Name by which a rule rebinds the input; by default the last segment of the pointer.
    pub name: String,
    /// JSON pointer into the payload (RFC 6901).
    pub pointer: String,
    /// Type handed to the function.
    pub kind: InputKind,
    /// Used when the value is missing or null.
    pub default: Option<InputDefault>,
    /// `true` if a name in another case is accepted when the one of the pointer is missing.
    pub any_case: bool,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// A number; NaN when missing.
    F64,
    /// An integer of 64 bits.
    I64,
    /// An integer of 32 bits.
    I32,
    /// The content of a string; a typed handler is handed its length.
    Bytes,
    /// A number, or a string that holds one; NaN when missing.
    Float,
    /// A number; NaN when missing or anything else.
    Num,
    /// The kind of the value, see [`tidemill_abi::value::kind`].
    Kind,
}

/// Default of a value that the payload does not have.
#[derive(Debug, Clone, PartialEq)]
pub enum InputDefault {
    /// A number or an integer, ready to be handed over.
    Number(Value),
    /// The content of a string.
    Bytes(Box<[u8]>),
}

/// One entry of a function's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigEntry {
    /// Name by which a rule sets the entry under `[params]`.
    pub name: String,
    /// Type of the value.
    pub kind: ConfigKind,
    /// Default; without one, the rule has to give a value.
    pub default: Option<ConfigValue>,
    /// Least and greatest value of a number.
    pub range: (f64, f64),
}

impl ConfigEntry {
    /// The name that a rule may write in its place, with a duration as a text: that of an entry in milliseconds
    /// without its unit.
    pub fn duration_name(&self) -> Option<&str> {
        let name = self.name.strip_suffix("_ms")?;
        (self.kind == ConfigKind::F64 && !name.is_empty()).then_some(name)
    }
}

/// The type of a configuration entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigKind {
    /// A number, read by `cfg_f64`.
    F64,
    /// Text, read by `cfg_bytes`.
    Bytes,
}

/// The value of a configuration entry.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigValue {
    /// Read by `cfg_f64`.
    F64(f64),
    /// Read by `cfg_bytes`.
    Bytes(Box<[u8]>),
}

/// Sizes of the state that a function keeps for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSpec {
    /// The number that `migrate` is handed when it changes.
    pub schema: i32,
    /// Slots in use, those of the pane included.
    pub slots: u16,
    /// The most that entries take for one key.
    pub bytes: u64,
}

/// A test that travels with the module.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedTest {
    /// The payload.
    #[serde(rename = "in")]
    pub input: Json,
    /// Entries for this test by name, over the manifest's defaults.
    #[serde(default)]
    pub config: serde_json::Map<String, Json>,
    /// Expected emissions, in this order.
    pub out: Vec<ExpectedEmission>,
}

/// An emission that a test expects on a port.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedEmission {
    /// Name of the port.
    pub port: String,
    /// The input itself, unchanged.
    #[serde(default)]
    pub pass: bool,
    /// A message of the function's own.
    #[serde(default)]
    pub payload: Option<Json>,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than a manifest may have.
    #[error(
        "{bytes} bytes are above the limit of {} bytes",
        limit::MANIFEST_BYTES_MAX
    )]
    TooBig {
        /// Size in bytes.
        bytes: usize,
    },
    /// Not JSON, or not the structure of a manifest.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value that makes no sense.
    #[error("`{key}`: {reason}")]
    Value {
        /// The key in the manifest.
        key: String,
        /// The fault, and the right way to write it.
        reason: String,
    },
}

impl Default for ModuleManifest {
    /// The manifest of a module without one: one port, `out`, and nothing else.
    fn default() -> Self {
        Self {
            name: None,
            inputs: Vec::new(),
            outputs: vec![PORT_MAIN_NAME.to_owned()],
            config: Vec::new(),
            key: None,
            window: None,
            state: StateSpec::default(),
            names: None,
            tests: Vec::new(),
            sql: None,
        }
    }
}

impl ConfigValue {
    /// The value that JSON states for an entry; `None` if it is of another type.
    pub fn from_json(kind: ConfigKind, json: &Json) -> Option<Self> {
        match kind {
            ConfigKind::F64 => json.as_f64().map(Self::F64),
            ConfigKind::Bytes => json
                .as_str()
                .map(|text| Self::Bytes(text.as_bytes().into())),
        }
    }
}

impl ConfigKind {
    /// The type's name in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::F64 => "number",
            Self::Bytes => "string",
        }
    }
}

impl InputKind {
    /// The type's name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::Bytes => "bytes",
            Self::Float => "float",
            Self::Num => "num",
            Self::Kind => "kind",
        }
    }
}

fn refuse<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, ManifestError> {
    Err(ManifestError::Value {
        key: key.into(),
        reason: reason.into(),
    })
}
