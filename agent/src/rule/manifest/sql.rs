//! A module's declarations about values that are no numbers: its constants, and the types of
//! fields.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemill_values::{FieldType, Value, from_json};

use super::ManifestError;
use crate::event::state::carry::NOTHING;

/// Declarations of functions that work on values, as the host needs them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SqlSpec {
    /// The constants, by handle.
    pub constants: Vec<Value>,
    /// The streams that are read, in the order of their numbers; empty if none is declared.
    pub streams: Vec<SqlStream>,
    /// `true` if a missing value goes out as `null`.
    pub nulls: bool,
    /// `true` if a statement has a name for a payload that is no object.
    pub names_self: bool,
    /// `true` if rows sent by a group have the group's text as their key.
    pub group_keys: bool,
    /// `true` if a row, a pair of rows or a group can fail by itself when a window fires.
    pub apart: bool,
    /// The parts of its rows that a window keeps.
    pub keeps: Keeps,
}

/// The parts of its rows that a window keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Keeps {
    /// Columns of the rows of each stream; `None`, or no entry, for all.
    pub streams: Vec<Option<Kept>>,
    /// `true` if user properties are kept.
    pub meta: bool,
    /// The kept places as text, to check whether a row has one; empty if rows are kept whole.
    pub places: Vec<String>,
}

/// Names of an object that are kept, each with what is kept inside of it; `None` for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept(pub Vec<(Arc<str>, Option<Kept>)>);

impl Default for Keeps {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            meta: true,
            places: Vec::new(),
        }
    }
}

impl Kept {
    fn add(&mut self, names: &[String]) {
        let Some((first, rest)) = names.split_first() else {
            return;
        };
        let known = self.0.iter().position(|(name, _)| **name == **first);
        let place = known.unwrap_or_else(|| {
            let inner = (!rest.is_empty()).then(Self::default);
            self.0.push((first.as_str().into(), inner));
            self.0.len() - 1
        });
        if let Some((_, kept)) = self.0.get_mut(place) {
            match (&mut *kept, rest.is_empty()) {
                (_, true) => *kept = None,
                (Some(inner), false) => inner.add(rest),
                (None, false) => {}
            }
        }
    }
}

impl Keeps {
    fn of(streams: &[Option<Vec<String>>], meta: bool, names: &[Option<Box<str>>]) -> Self {
        let (mut kept, mut places) = (Vec::new(), Vec::new());
        for (number, stream) in streams.iter().enumerate() {
            // One stream may have any name.
            let name = match names.get(number) {
                Some(Some(name)) if streams.len() > 1 => &**name,
                _ => "",
            };
            let Some(pointers) = stream else {
                places.push(format!("{name}{EVERYTHING}"));
                kept.push(None);
                continue;
            };
            let mut columns = Kept::default();
            for pointer in pointers {
                places.push(format!("{name}{pointer}"));
                let names = pointer.split('/').skip(1);
                let names = names.map(|name| name.replace("~1", "/").replace("~0", "~"));
                columns.add(&names.collect::<Vec<String>>());
            }
            kept.push(Some(columns));
        }
        if meta {
            places.push("meta".to_owned());
        }
        let is_whole = meta && kept.iter().all(Option::is_none);
        if is_whole {
            places.clear();
        } else if places.is_empty() {
            places.push(NOTHING.to_owned());
        }
        Self {
            streams: kept,
            meta,
            places,
        }
    }
}

/// Stands for all places of a stream.
const EVERYTHING: &str = "/";

/// Declaration of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlStream {
    /// Name of the stream.
    pub name: String,
    /// Types of fields.
    pub fields: Vec<SqlField>,
    /// `true` if a value of another type is an error even if it could be converted.
    pub strict: bool,
}

/// A declared field.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlField {
    /// Name of the field; points in it may lead into objects.
    pub name: Arc<str>,
    /// The names between the points.
    pub path: Vec<Arc<str>>,
    /// Type of the field.
    pub ty: FieldType,
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
    #[serde(default)]
    keeps: Vec<Option<Vec<String>>>,
    #[serde(default = "yes")]
    keeps_meta: bool,
}

fn yes() -> bool {
    true
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
    pub(super) fn check(raw: RawSql, names: &[Option<Box<str>>]) -> Result<Self, ManifestError> {
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
                    Some(ty) => fields.push(SqlField {
                        path: name.split('.').map(Arc::from).collect(),
                        name: name.into(),
                        ty,
                    }),
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
            keeps: Keeps::of(&raw.keeps, raw.keeps_meta, names),
        })
    }
}
