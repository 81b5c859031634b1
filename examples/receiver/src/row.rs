//! A row as a gateway names it: by user properties (MQTT 5), by a JSON envelope (MQTT 3.1.1 with
//! `envelope = true`), or in a batch (HTTP). All three become the same `Row`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One message of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub lane: Lane,
    /// Its number in the lane, from 1, rising by one.
    pub seq: i64,
    pub topic: String,
    pub payload: Vec<u8>,
}

/// What numbers are counted in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    pub gateway: String,
    /// A gateway that gets a new data directory counts from 1 again, under a new incarnation.
    pub incarnation: String,
    /// Destination and priority, such as `cloud/high`.
    pub name: String,
}

/// A message that bears no row's name, or a broken one. It cannot be told from its copies.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("it has neither the user properties tm-gw, tm-inc, tm-lane, tm-seq nor an envelope")]
    Nameless,
    #[error("its number {0:?} is none")]
    Seq(String),
    #[error("it is no batch of rows: {0}")]
    Batch(#[from] serde_json::Error),
    #[error("its payload is no Base64: {0}")]
    Base64(#[from] base64::DecodeError),
}

#[derive(Deserialize)]
struct Envelope {
    gw: String,
    inc: String,
    lane: String,
    seq: i64,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
struct Base64Payload {
    base64: String,
}

#[derive(Deserialize)]
struct Batch {
    gateway: String,
    incarnation: String,
    lane: String,
    rows: Vec<BatchRow>,
}

#[derive(Deserialize)]
struct BatchRow {
    seq: i64,
    topic: String,
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
}

/// Reads an MQTT message.
pub fn from_message(
    topic: String,
    payload: &[u8],
    properties: &[(String, String)],
) -> Result<Row, RowError> {
    let property = |name| {
        let found = properties.iter().find(|property| property.0 == name);
        found.map(|property| property.1.clone())
    };
    let names = (
        property("tm-gw"),
        property("tm-inc"),
        property("tm-lane"),
        property("tm-seq"),
    );
    let (Some(gateway), Some(incarnation), Some(name), Some(seq)) = names else {
        return from_envelope(topic, payload);
    };
    Ok(Row {
        lane: Lane {
            gateway,
            incarnation,
            name,
        },
        seq: seq.parse().map_err(|_| RowError::Seq(seq))?,
        topic,
        payload: payload.to_vec(),
    })
}

fn from_envelope(topic: String, payload: &[u8]) -> Result<Row, RowError> {
    let envelope: Envelope = serde_json::from_slice(payload).map_err(|_| RowError::Nameless)?;
    // What is no JSON comes as an object with this one key.
    let payload = match serde_json::from_str::<Base64Payload>(envelope.payload.get()) {
        Ok(coded) => BASE64_STANDARD.decode(coded.base64)?,
        Err(_) => envelope.payload.get().as_bytes().to_vec(),
    };
    Ok(Row {
        lane: Lane {
            gateway: envelope.gw,
            incarnation: envelope.inc,
            name: envelope.lane,
        },
        seq: envelope.seq,
        topic,
        payload,
    })
}

/// Reads the body of a POST.
pub fn from_batch(body: &[u8]) -> Result<Vec<Row>, RowError> {
    let batch: Batch = serde_json::from_slice(body)?;
    let lane = Lane {
        gateway: batch.gateway,
        incarnation: batch.incarnation,
        name: batch.lane,
    };
    let row = |row: BatchRow| {
        let payload = match (row.payload, row.payload_base64) {
            (_, Some(coded)) => BASE64_STANDARD.decode(coded)?,
            (Some(json), None) => json.get().as_bytes().to_vec(),
            (None, None) => Vec::new(),
        };
        Ok(Row {
            lane: lane.clone(),
            seq: row.seq,
            topic: row.topic,
            payload,
        })
    };
    batch.rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane {
            gateway: "gw".to_owned(),
            incarnation: "00ff".to_owned(),
            name: "cloud/normal".to_owned(),
        }
    }

    #[test]
    fn a_row_is_the_same_whichever_way_it_came() {
        let properties = [
            ("tm-gw", "gw"),
            ("tm-inc", "00ff"),
            ("tm-lane", "cloud/normal"),
            ("tm-seq", "7"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = Row {
            lane: lane(),
            seq: 7,
            topic: "t".to_owned(),
            payload: b"{\"a\": 1}".to_vec(),
        };
        let row = from_message("t".to_owned(), b"{\"a\": 1}", &properties).unwrap();
        assert_eq!(row, expected);
        let envelope =
            br#"{"gw":"gw","inc":"00ff","lane":"cloud/normal","seq":7,"payload":{"a": 1}}"#;
        let row = from_message("t".to_owned(), envelope, &[]).unwrap();
        assert_eq!(row, expected);
        let batch =
            br#"{"gateway":"gw","incarnation":"00ff","lane":"cloud/normal","first":7,"last":7,
            "rows":[{"seq":7,"at":1700000000000,"topic":"t","payload":{"a": 1}}]}"#;
        assert_eq!(from_batch(batch).unwrap(), [expected]);
    }

    #[test]
    fn what_is_no_json_comes_as_base64() {
        let envelope = br#"{"gw":"gw","inc":"00ff","lane":"cloud/normal","seq":7,
            "payload":{"base64":"/wA="}}"#;
        let row = from_message("t".to_owned(), envelope, &[]).unwrap();
        assert_eq!(row.payload, [0xff, 0]);
        let batch = br#"{"gateway":"gw","incarnation":"00ff","lane":"cloud/normal",
            "rows":[{"seq":7,"topic":"t","payload_base64":"/wA="}]}"#;
        assert_eq!(from_batch(batch).unwrap()[0].payload, [0xff, 0]);
    }

    #[test]
    fn a_message_without_a_name_is_no_row() {
        for payload in [&b""[..], b"21.5", b"{\"gw\":\"gw\"}"] {
            let error = from_message("t".to_owned(), payload, &[]).unwrap_err();
            assert!(matches!(error, RowError::Nameless), "{error}");
        }
        assert!(from_batch(b"{}").is_err());
    }
}
