//! The key of an event: from its topic, from its payload, or the group that a statement makes of a
//! column.

use tidemill_values::Value;

use crate::config::limits::KEY_BYTES_MAX;
use crate::event::payload::{self, SELF};
use crate::event::state::Key;
use crate::event::state::time::RULE_KEY;
use crate::event::value::Scalar;
use crate::function::frame::Frame;
use crate::mill::route::StopKey;
use crate::rule::KeySpec;

use super::Active;
use super::fault::Fault;

/// Why an event has no key that would have the one under which a rule keeps its own.
const THE_RULES_OWN: &str = "key is the character U+0000 alone, which is no key";

/// Longest key of a group, in bytes: no topic is longer.
const TOPIC_BYTES_MAX: usize = 65_535;

impl Active {
    pub(super) fn key_of(&self, key: &StopKey, frame: &Frame) -> Result<Key, Fault> {
        match key {
            StopKey::Known(key) => Ok(key.clone()),
            StopKey::None => Err(Fault::Other(
                "topic has too few levels for the rule's key".to_owned(),
            )),
            StopKey::TooLong(bytes) => Err(Fault::Other(format!(
                "topic makes a key of {bytes} bytes, and a key has at most {KEY_BYTES_MAX}; take levels of it, \
                 as key = \"{{topic.1}}\" does"
            ))),
            StopKey::Column(place) => self.key_of_column(*place, frame),
            StopKey::Payload(place) => match frame.decoded.scalars.get(usize::from(*place)) {
                Some(Scalar::Text(span)) => {
                    let text = std::str::from_utf8(frame.decoded.bytes(*span))
                        .map_err(|_| Fault::Other("key is not UTF-8".to_owned()))?;
                    match text.len() {
                        0 => Err(Fault::Other("key is empty".to_owned())),
                        _ if text == RULE_KEY => Err(Fault::Other(THE_RULES_OWN.to_owned())),
                        1..=KEY_BYTES_MAX => Ok(text.into()),
                        len => Err(Fault::Other(format!(
                            "key of {len} bytes is longer than {KEY_BYTES_MAX}"
                        ))),
                    }
                }
                Some(Scalar::Int(number)) => Ok(number.to_string().into()),
                Some(Scalar::Wide(number)) => Ok(number.to_string().into()),
                Some(Scalar::Bool(yes)) => Ok(yes.to_string().into()),
                Some(Scalar::Missing | Scalar::Null) | None => {
                    Err(Fault::Other("key is missing".to_owned()))
                }
                Some(Scalar::Float(_) | Scalar::Other) => Err(Fault::Other(
                    "key is neither a string nor a whole number".to_owned(),
                )),
            },
        }
    }

    /// The key of a group: whatever stands in the column, a missing value included. Equal values
    /// are one group, the same one that a statement makes which keeps rows.
    fn key_of_column(&self, place: u16, frame: &Frame) -> Result<Key, Fault> {
        let scalar = frame.decoded.scalars.get(usize::from(place)).copied();
        let value = match scalar.unwrap_or(Scalar::Missing) {
            // Bytes and moments are no scalars of their own.
            _ if frame.value.is_some() => self.column(frame)?,
            Scalar::Missing | Scalar::Null => Value::Null,
            Scalar::Bool(yes) => Value::Bool(yes),
            Scalar::Int(number) => Value::Int(number),
            Scalar::Wide(number) => Value::Wide(number),
            Scalar::Float(number) => Value::float(number),
            Scalar::Text(span) => {
                let text = std::str::from_utf8(frame.decoded.bytes(span)).unwrap_or_default();
                Value::text(text)
            }
            Scalar::Other => self.column(frame)?,
        };
        let key = value.key_text();
        match key.len() {
            _ if *key == *RULE_KEY => Err(Fault::Other(THE_RULES_OWN.to_owned())),
            0..=TOPIC_BYTES_MAX => Ok(key),
            len => Err(Fault::Other(format!("key of {len} bytes is too long"))),
        }
    }

    /// The value of the column that the statement groups by.
    fn column(&self, frame: &Frame) -> Result<Value, Fault> {
        let payload = match &frame.value {
            Some(value) => Ok(value.clone()),
            None => payload::read_json(&frame.event.payload),
        };
        let payload = payload.map_err(|error| Fault::Other(error.to_string()))?;
        let KeySpec::Column(pointer) = &self.key else {
            return Err(Fault::Other("the rule's key is no column".to_owned()));
        };
        let column = pointer.strip_prefix('/').unwrap_or(pointer);
        let column = column.replace("~1", "/").replace("~0", "~");
        Ok(match payload {
            Value::Map(map) => map.get_column(&column).cloned().unwrap_or_default(),
            bare if column.eq_ignore_ascii_case(SELF) => bare,
            _ => Value::Null,
        })
    }
}
