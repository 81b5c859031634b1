//! A dead letter: what could not be digested or delivered, with the reason, as the payload of a row
//! of the lane of dead letters.

use bytes::Bytes;

use super::codec::{Reader, RecordError, put_text, put_var};
use crate::emission::LaneId;

/// Version of the format below.
const FORMAT: u8 = 1;

/// An event that a rule could not digest, or a row that a receiver will never take. Rule, topic and
/// time stand in the row around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Version of the rule.
    pub version: u64,
    /// What went wrong.
    pub reason: String,
    /// Fuel that the call used.
    pub fuel: u64,
    /// The lane that the row was in; `None` for an event.
    pub lane: Option<LaneId>,
    /// Quality of service of the row.
    pub qos: u8,
    /// What the event or the row said.
    pub payload: Bytes,
    /// MQTT 5 user properties of the event, as one JSON object; empty when there were none.
    pub properties: Bytes,
}

impl Dead {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_var(&mut out, self.version);
        put_text(&mut out, self.reason.as_bytes());
        put_var(&mut out, self.fuel);
        let lane = self.lane.as_ref().map(ToString::to_string);
        put_text(&mut out, lane.unwrap_or_default().as_bytes());
        out.push(self.qos);
        put_text(&mut out, &self.properties);
        put_text(&mut out, &self.payload);
        out
    }

    /// Reads what [`Dead::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::of_format(bytes, FORMAT)?;
        let version = reader.var()?;
        let reason = reader.short_text()?.to_string();
        let fuel = reader.var()?;
        let lane = match reader.short_text()? {
            none if none.is_empty() => None,
            text => Some(text.parse().map_err(|_| RecordError::Damaged)?),
        };
        let dead = Self {
            version,
            reason,
            fuel,
            lane,
            qos: reader.u8()?,
            properties: Bytes::copy_from_slice(reader.short_bytes()?),
            payload: Bytes::copy_from_slice(reader.short_bytes()?),
        };
        reader.end()?;
        Ok(dead)
    }
}
