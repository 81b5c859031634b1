//! What a module says about values that are no numbers: its constants, and the types of fields.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemill_values::{FieldType, Value, from_json};

use super::ManifestError;

/// What the host has to know for functions that work on values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SqlSpec {
    /// The constants, by handle.
    pub constants: Vec<Value>,
    /// The streams that are read, in the order of their numbers; none where nothing is declared.
    pub streams: Vec<SqlStream>,
    /// Whether a missing value goes out as `null`.
    pub nulls: bool,
    /// Whether it has a name for a payload that is no object.
    pub names_self: bool,
    /// Whether what a group sends has the group's text as its key.
    pub group_keys: bool,
    /// Whether a row, a pair of rows or a group of a window that fires fails alone.
    pub apart: bool,
}

/// What is declared of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlStream {
    /// Its name.
    pub name: String,
    /// Types of fields.
    pub fields: Vec<(Arc<str>, FieldType)>,
    /// Whether a value of another type is an error even where it could be converted.
    pub strict: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSql {
    #[serde(default)]
    values: Vec<Box<RawValue>>,
    #[serde(default)]
    streams: Vec<RawStream>,
    #[serde(default)]
    nulls: bool,
    #[serde(default, rename = "self")]
    names_self: bool,
    #[serde(default)]
    group_keys: bool,
    #[serde(default)]
    apart: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStream {
    name: String,
    #[serde(default)]
    fields: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    strict: bool,
}

impl SqlSpec {
    pub(super) fn check(raw: RawSql) -> Result<Self, ManifestError> {
        let wrong = |key: String, reason: String| ManifestError::Value { key, reason };
        let mut constants = Vec::new();
        for (number, json) in raw.values.iter().enumerate() {
            let value = from_json(json.get().as_bytes());
            constants.push(
                value.map_err(|error| wrong(format!("sql.values[{number}]"), error.to_string()))?,
            );
        }
        let mut streams = Vec::new();
        for stream in raw.streams {
            let mut fields = Vec::new();
            for (name, ty) in stream.fields {
                match FieldType::named(&ty) {
                    Some(ty) => fields.push((name.as_str().into(), ty)),
                    None => {
                        let all: Vec<&str> = FieldType::ALL.iter().map(|ty| ty.name()).collect();
                        let reason = format!("{ty:?} is no type; there are {}", all.join(", "));
                        return Err(wrong(format!("sql.streams.{}.{name}", stream.name), reason));
                    }
                }
            }
            streams.push(SqlStream {
                name: stream.name,
                fields,
                strict: stream.strict,
            });
        }
        Ok(Self {
            constants,
            streams,
            nulls: raw.nulls,
            names_self: raw.names_self,
            group_keys: raw.group_keys,
            apart: raw.apart,
        })
    }
}
