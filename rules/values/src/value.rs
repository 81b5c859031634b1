//! One value. Clones are cheap: anything that can be long is reference-counted.

use std::ops::Deref;
use std::sync::Arc;

use crate::Map;
use crate::cast::float_text;
use crate::json::{to_json, write_start};

/// The value of an expression.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// Null: a missing column and a JSON `null` are the same.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, written without fraction or exponent.
    Int(i64),
    /// A whole number beyond what [`Value::Int`] holds, up to 64 bits without a sign: handed on and
    /// compared with all its digits, and a float to arithmetic. [`Value::whole`] makes it.
    Wide(u64),
    /// Any other number; [`Value::float`] makes it, since NaN and infinities are no values.
    Float(f64),
    /// A moment, in milliseconds since 1970.
    Datetime(i64),
    /// Text.
    Text(Arc<str>),
    /// Bytes that need not be text.
    Bytes(Arc<[u8]>),
    /// Values in order.
    List(Arc<List>),
    /// Named values in the order in which they were first set.
    Map(Arc<Map>),
}

impl Value {
    /// A number; null if it is NaN or beyond the largest one.
    pub fn float(value: f64) -> Self {
        if value.is_finite() {
            Self::Float(value)
        } else {
            Self::Null
        }
    }

    /// A whole number without a sign.
    pub fn whole(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Wide(value), Self::Int)
    }

    /// Text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// A list.
    pub fn list(values: Vec<Value>) -> Self {
        Self::List(Arc::new(List::from(values)))
    }

    /// An object.
    pub fn map(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }

    /// `true` for null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// `true` if a condition holds: only `true` does.
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// The type's name, as messages and `CREATE STREAM` write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::Wide(_) => "bigint",
            Self::Float(_) => "float",
            Self::Datetime(_) => "datetime",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytea",
            Self::List(_) => "array",
            Self::Map(_) => "struct",
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            // Beyond 2^53 the nearest number that there is.
            Self::Int(value) => Some(*value as f64),
            Self::Wide(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The object, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// `true` if both are the same value: numbers by their amount, so that 3 and 3.0 are the same,
    /// lists and objects by their content. `==` tells 3 from 3.0.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Float(b)) | (Self::Float(b), Self::Int(a)) => {
                whole_of(*b) == Some((*a).into())
            }
            (Self::Wide(a), Self::Float(b)) | (Self::Float(b), Self::Wide(a)) => {
                whole_of(*b) == Some((*a).into())
            }
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(b))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(name, value)| b.get(name).is_some_and(|other| value.same(other)))
            }
            (a, b) => a == b,
        }
    }

    /// The value as text, as `concat` and `cast` make it: text as it is, nothing as nothing, lists and
    /// objects as JSON.
    pub fn to_text(&self) -> Arc<str> {
        match self {
            Self::Null => "".into(),
            Self::Text(text) => text.clone(),
            Self::Float(number) => float_text(*number).into(),
            Self::Datetime(ms) => crate::functions::rfc3339(*ms).into(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
            other => to_json(other).into(),
        }
    }

    /// Type and value as messages show them, cut if long: `string "abc"`.
    pub fn shown(&self) -> String {
        const LONG: usize = 40;
        if self.is_null() {
            return "null".to_owned();
        }
        let mut json = String::new();
        write_start(self, LONG, &mut json);
        match json.char_indices().nth(LONG) {
            Some((end, _)) => {
                let start = json.get(..end).unwrap_or_default();
                format!("{} {start}…", self.type_name())
            }
            None => format!("{} {json}", self.type_name()),
        }
    }

    /// About how many bytes the value has when it is written down; a part that is shared counts each
    /// time. Known without a walk through the value.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::Wide(_) | Self::Float(_) | Self::Datetime(_) => 8,
            Self::Text(text) => text.len() + 2,
            Self::Bytes(bytes) => bytes.len() + 2,
            Self::List(list) => list.size,
            Self::Map(map) => map.size(),
        }
    }

    /// Bytes of memory that the value would take if it shared no part with another, its own slot
    /// included: a measure of the work of a walk through it. The same on every machine, and known
    /// without a walk.
    pub fn weight(&self) -> usize {
        SLOT_BYTES
            + match self {
                Self::Text(text) => SHARED_BYTES + text.len(),
                Self::Bytes(bytes) => SHARED_BYTES + bytes.len(),
                Self::List(list) => list.weight,
                Self::Map(map) => map.weight(),
                _ => 0,
            }
    }

    /// Bytes of memory beside its own slot that nothing else holds: what a call that has just made the
    /// value has added. What it shares with others was counted when that was made.
    pub fn fresh(&self) -> usize {
        match self {
            Self::Text(text) if Arc::strong_count(text) == 1 => SHARED_BYTES + text.len(),
            Self::Bytes(bytes) if Arc::strong_count(bytes) == 1 => SHARED_BYTES + bytes.len(),
            Self::List(list) if Arc::strong_count(list) == 1 => {
                let inner: usize = list.iter().map(Self::fresh).sum();
                LIST_BYTES + list.values.capacity() * SLOT_BYTES + inner
            }
            Self::Map(map) if Arc::strong_count(map) == 1 => map.fresh(),
            _ => 0,
        }
    }

    /// Number of elements or names; 1 for what has none.
    pub fn elements(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            _ => 1,
        }
    }

    /// Nesting depth of lists and objects; 0 for anything else. Known without a walk through the
    /// value.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth(),
            _ => 0,
        }
    }

    /// The value's text as a group key: equal values have equal texts; of a text the text itself,
    /// of null an empty text.
    pub fn key_text(&self) -> Arc<str> {
        match self {
            Self::Float(number) => match whole_of(*number) {
                Some(whole) => whole.to_string().into(),
                None => crate::json::number_text(*number).into(),
            },
            Self::List(_) | Self::Map(_) => to_json(&self.in_order()).into(),
            // As they go out: as text, bytes that are none would be alike.
            Self::Bytes(_) => to_json(self).trim_matches('"').into(),
            other => other.to_text(),
        }
    }

    /// The same value with the names of objects in their order, and numbers that are the same alike.
    fn in_order(&self) -> Self {
        match self {
            Self::Float(number) => match whole_of(*number).map(i64::try_from) {
                Some(Ok(whole)) => Self::Int(whole),
                _ => self.clone(),
            },
            Self::List(list) => Self::list(list.iter().map(Self::in_order).collect()),
            Self::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                let entries = entries.into_iter();
                let entries = entries.map(|(name, value)| (name.clone(), value.in_order()));
                Self::map(entries.collect())
            }
            other => other.clone(),
        }
    }

    /// Bytes that are the same exactly if the values are [`Value::same`].
    pub fn identity_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.identity(&mut bytes);
        bytes
    }

    /// Appends bytes that are the same exactly if the values are [`Value::same`].
    pub fn identity(&self, out: &mut Vec<u8>) {
        let tagged = |tag: u8, bytes: &[u8], out: &mut Vec<u8>| {
            out.push(tag);
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Self::Null => out.push(0),
            Self::Bool(value) => out.extend([1, (*value).into()]),
            Self::Int(number) => tagged(2, &i128::from(*number).to_le_bytes(), out),
            Self::Wide(number) => tagged(2, &i128::from(*number).to_le_bytes(), out),
            Self::Float(number) => match whole_of(*number) {
                Some(whole) => tagged(2, &whole.to_le_bytes(), out),
                None => tagged(4, &number.to_bits().to_le_bytes(), out),
            },
            Self::Datetime(ms) => tagged(5, &ms.to_le_bytes(), out),
            Self::Text(text) => tagged(6, text.as_bytes(), out),
            Self::Bytes(bytes) => tagged(7, bytes, out),
            Self::List(list) => {
                tagged(8, &(list.len() as u64).to_le_bytes(), out);
                for value in list.iter() {
                    value.identity(out);
                }
            }
            Self::Map(map) => {
                tagged(9, &(map.len() as u64).to_le_bytes(), out);
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in entries {
                    tagged(6, name.as_bytes(), out);
                    value.identity(out);
                }
            }
        }
    }
}

/// What values have in common that are [`Value::same`]; of numbers it takes no memory beside its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A whole number.
    Whole(i128),
    /// Bytes of anything else.
    Bytes(Box<[u8]>),
}

impl Identity {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Int(number) => Self::Whole((*number).into()),
            Value::Wide(number) => Self::Whole((*number).into()),
            Value::Float(number) if whole_of(*number).is_some() => {
                Self::Whole(whole_of(*number).unwrap_or_default())
            }
            other => {
                let mut bytes = Vec::new();
                other.identity(&mut bytes);
                Self::Bytes(bytes.into())
            }
        }
    }
}

/// The whole number that a float is, as far as whole numbers go.
fn whole_of(number: f64) -> Option<i128> {
    // 2^64: from there on there is no whole number that it could be the same as.
    let is_whole = number.fract() == 0.0 && number.abs() < 18_446_744_073_709_551_616.0;
    is_whole.then_some(number as i128)
}

/// Bytes of a value's own place in a list, an object or the values of a call.
pub const SLOT_BYTES: usize = 24;
/// Bytes in front of what is shared: the counts, and what an allocator keeps.
pub(crate) const SHARED_BYTES: usize = 24;
/// Bytes of a list without its elements.
pub(crate) const LIST_BYTES: usize = SHARED_BYTES + 48;

/// Values in order, with what is known of all of them.
#[derive(Debug, Clone)]
pub struct List {
    values: Vec<Value>,
    size: usize,
    weight: usize,
    depth: usize,
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl From<Vec<Value>> for List {
    fn from(values: Vec<Value>) -> Self {
        let sizes = values.iter().map(Value::size);
        let weights = values.iter().map(Value::weight);
        let depth = values.iter().map(Value::depth).max();
        Self {
            size: sizes.fold(2, usize::saturating_add),
            weight: weights.fold(LIST_BYTES, usize::saturating_add),
            depth: depth.unwrap_or(0) + 1,
            values,
        }
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.values
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::list(values)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::map(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_json, total_order};

    #[test]
    fn the_same_values_have_the_same_identity_and_place() {
        let values = [
            "null",
            "false",
            "true",
            "0",
            "-0.0",
            "3",
            "3.0",
            "3.5",
            "\"3\"",
            "9007199254740993",
            "9007199254740992.0",
            "9223372036854775808",
            "9223372036854775808.0",
            "18446744073709551615",
            "18446744073709551616.0",
            "[]",
            "[[]]",
            "[1, 2]",
            "[1, 2.0]",
            "[\"1\", 2]",
            "{}",
            r#"{"a": 1, "b": 2}"#,
            r#"{"b": 2.0, "a": 1}"#,
            r#"{"a": 1}"#,
            r#"{"ab": 1}"#,
            "[\"ab\", \"\"]",
            "[\"a\", \"b\"]",
        ]
        .map(|json| from_json(json.as_bytes()).unwrap());
        let identity = |value: &Value| {
            let mut bytes = Vec::new();
            value.identity(&mut bytes);
            bytes
        };
        for a in &values {
            for b in &values {
                assert_eq!(a.same(b), identity(a) == identity(b), "{a:?} {b:?}");
                assert_eq!(a.same(b), total_order(a, b).is_eq(), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_same_values_have_the_same_text_as_a_key() {
        let check = |values: &[&str], expected: &str| {
            for json in values {
                let value = from_json(json.as_bytes()).unwrap();
                assert_eq!(&*value.key_text(), expected, "{json}");
            }
        };
        check(&["null", "\"\""], "");
        check(&["0", "-0", "0.0", "-0.0", "\"0\""], "0");
        check(&["5", "5.0", "\"5\""], "5");
        check(
            &["9223372036854775808", "9223372036854775808.0"],
            "9223372036854775808",
        );
        check(&["1.5"], "1.5");
        check(
            &[
                "[1, -0.0, {\"b\": 2.0, \"a\": 1}]",
                "[1.0,0,{\"a\":1,\"b\":2}]",
            ],
            "[1,0,{\"a\":1,\"b\":2}]",
        );
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Value::float(number), Value::Null);
        }
        assert_eq!(Value::whole(7), Value::Int(7));
        assert_eq!(Value::whole(u64::MAX), Value::Wide(u64::MAX));
    }

    #[test]
    fn messages_show_types_and_cut_what_is_long() {
        assert_eq!(Value::Null.shown(), "null");
        assert_eq!(Value::from("a\"b").shown(), r#"string "a\"b""#);
        assert_eq!(Value::from(2.0).shown(), "float 2");
        let long = Value::from("x".repeat(100)).shown();
        assert_eq!(long, format!("string \"{}…", "x".repeat(39)));
    }
}
