//! One JSON value, or a list of rows.

use std::error::Error as _;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidemill_values::{JsonError, Value, from_json};

use super::{PayloadError, ROWS_MAX, Rows, Split, text};

/// The JSON value that a payload is.
///
/// # Errors
/// When it is none.
pub fn read(payload: &[u8]) -> Result<Value, PayloadError> {
    from_json(text::read(payload)?.as_bytes()).map_err(|error| not_json(&error))
}

fn not_json(error: &JsonError) -> PayloadError {
    let reason = error.source().map(ToString::to_string);
    PayloadError::NotJson(reason.unwrap_or_else(|| error.to_string()))
}

/// The elements of a list, which are rows; whatever else a message holds is one row.
pub(super) fn rows(payload: &Bytes) -> Result<Rows, PayloadError> {
    let text = text::read(payload)?;
    if !text.trim_start().starts_with('[') {
        return Ok(Rows::One);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let elements = json.deserialize_seq(Elements);
    let elements = elements
        .and_then(|elements| json.end().map(|()| elements))
        .map_err(|error| PayloadError::NotJson(error.to_string()))?;
    let rows = elements.iter().map(|element| {
        let row = payload.slice_ref(element.get().as_bytes());
        // A list that is a row would be read as rows.
        if row.starts_with(b"[") {
            Bytes::from([b"[", &row[..], b"]"].concat())
        } else {
            row
        }
    });
    let rows: Vec<Bytes> = rows.collect();
    Ok(Split::rows(Bytes::new(), rows))
}

/// Reads the elements of a list as they are written, and one more than there may be.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= ROWS_MAX {
            match list.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(elements),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}
