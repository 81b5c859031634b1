//! The name that a row bears for ever (gateway, incarnation, lane, sequence number), as each
//! protocol carries it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::emission::{LaneId, Priority, Row};

/// The sender of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The gateway's id.
    pub gateway: String,
    /// The incarnation of its data directory, 32 hexadecimal digits.
    pub incarnation: String,
}

/// Names the rows of one destination.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) identity: Identity,
    high: String,
    normal: String,
}

impl Names {
    pub(super) fn new(identity: Identity, destination: &str) -> Self {
        let lane = |priority| {
            let destination = destination.into();
            LaneId {
                destination,
                priority,
            }
            .to_string()
        };
        Self {
            identity,
            high: lane(Priority::High),
            normal: lane(Priority::Normal),
        }
    }

    /// The lane's name.
    pub(super) fn lane(&self, priority: Priority) -> &str {
        match priority {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
        }
    }

    /// The name as MQTT 5 user properties.
    pub(super) fn properties(&self, priority: Priority, seq: u64) -> Vec<(String, String)> {
        let pairs = [
            ("tm-gw", self.identity.gateway.clone()),
            ("tm-inc", self.identity.incarnation.clone()),
            ("tm-lane", self.lane(priority).to_owned()),
            ("tm-seq", seq.to_string()),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Bytes that the properties take in a packet.
    pub(super) fn properties_bytes(&self, priority: Priority, seq: u64) -> usize {
        let Identity {
            gateway,
            incarnation,
        } = &self.identity;
        let keys = "tm-gw".len() + "tm-inc".len() + "tm-lane".len() + "tm-seq".len();
        let digits = seq.checked_ilog10().unwrap_or(0) as usize + 1;
        let values = gateway.len() + incarnation.len() + self.lane(priority).len() + digits;
        4 * 5 + keys + values
    }

    /// Name and payload in one JSON object.
    pub(super) fn envelope(&self, priority: Priority, row: &Row) -> Bytes {
        let envelope = Envelope {
            gw: &self.identity.gateway,
            inc: &self.identity.incarnation,
            lane: self.lane(priority),
            seq: row.seq,
            payload: match json(&row.payload).filter(|value| !is_base64_object(value)) {
                Some(value) => Payload::Json(value),
                None => Payload::Other {
                    base64: STANDARD.encode(&row.payload),
                },
            },
        };
        let text = serde_json::to_vec(&envelope).expect("texts, numbers and JSON become JSON");
        text.into()
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    gw: &'a str,
    inc: &'a str,
    lane: &'a str,
    seq: u64,
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(&'a RawValue),
    Other { base64: String },
}

/// The payload as the JSON value that it is, if it is one.
pub(super) fn json(payload: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(payload).ok()
}

/// A payload that looks like one of ours which is no JSON: it is wrapped, so that
/// `{"base64": …}` in an envelope has one meaning.
fn is_base64_object(value: &RawValue) -> bool {
    let object: Option<std::collections::BTreeMap<String, &RawValue>> =
        serde_json::from_str(value.get()).ok();
    object.is_some_and(|object| object.len() == 1 && object.contains_key("base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn names() -> Names {
        let identity = Identity {
            gateway: "gw".to_owned(),
            incarnation: "00ff".to_owned(),
        };
        Names::new(identity, "cloud")
    }

    #[track_caller]
    fn check(payload: &'static [u8], expected: &str) {
        let row = Row {
            seq: 7,
            rule: "r".into(),
            topic: Topic::new("t").unwrap(),
            payload: payload.into(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        };
        let start = r#"{"gw":"gw","inc":"00ff","lane":"cloud/normal","seq":7,"payload":"#;
        let envelope = names().envelope(Priority::Normal, &row);
        assert_eq!(envelope, format!("{start}{expected}}}"));
    }

    #[test]
    fn an_envelope_holds_json_as_it_is_and_all_else_as_base64() {
        check(b"{\"a\": [1.50]}", "{\"a\": [1.50]}");
        check(b"21.5", "21.5");
        check(b"21.5 C", "{\"base64\":\"MjEuNSBD\"}");
        check(b"", "{\"base64\":\"\"}");
        check(b"\xff", "{\"base64\":\"/w==\"}");
        check(b"{\"base64\":1}", "{\"base64\":\"eyJiYXNlNjQiOjF9\"}");
    }

    #[test]
    fn properties_name_gateway_incarnation_lane_and_number() {
        let properties = names().properties(Priority::High, 12);
        let shown: Vec<_> = properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let expected = ["tm-gw=gw", "tm-inc=00ff", "tm-lane=cloud/high", "tm-seq=12"];
        assert_eq!(shown, expected);
        for seq in [1, 9, 10, 12_345, u64::MAX] {
            let properties = names().properties(Priority::High, seq);
            let sizes = properties.iter().map(|(k, v)| 5 + k.len() + v.len());
            let bytes = names().properties_bytes(Priority::High, seq);
            assert_eq!(bytes, sizes.sum::<usize>());
        }
    }
}
