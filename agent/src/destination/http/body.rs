//! Body of a request: a batch of rows as JSON, the same bytes each time, and the key that names it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::Outgoing;
use super::super::names::{Identity, Names, json};
use crate::event::emission::{Priority, Row};

#[derive(Serialize)]
struct Batch<'a> {
    gateway: &'a str,
    incarnation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    rows: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// The body for rows of a lane.
pub(super) fn rows(names: &Names, priority: Priority, rows: &[Row]) -> Bytes {
    let items = rows.iter().map(|row| Item {
        seq: Some(row.seq),
        at: Some(row.at_ms),
        ..item(row.topic.as_str(), &row.payload)
    });
    let lane = Some(names.lane(priority));
    let (first, last) = (rows.first(), rows.last());
    let (first, last) = (first.map(|row| row.seq), last.map(|row| row.seq));
    batch(&names.identity, lane, first, last, items.collect())
}

/// The body for messages that are no rows.
pub(super) fn messages(names: &Names, messages: &[Outgoing]) -> Bytes {
    let items = messages
        .iter()
        .map(|message| item(message.topic.as_str(), &message.payload));
    batch(&names.identity, None, None, None, items.collect())
}

/// Names a batch of rows: gateway, incarnation, lane, first and last number.
pub(super) fn key(names: &Names, priority: Priority, first: u64, last: u64) -> String {
    let Identity {
        gateway,
        incarnation,
    } = &names.identity;
    let lane = names.lane(priority);
    format!("{gateway}-{incarnation}-{lane}-{first}-{last}")
}

fn item<'a>(topic: &'a str, payload: &'a [u8]) -> Item<'a> {
    let value = json(payload);
    Item {
        seq: None,
        at: None,
        topic,
        payload: value,
        payload_base64: value.is_none().then(|| STANDARD.encode(payload)),
    }
}

fn batch(
    identity: &Identity,
    lane: Option<&str>,
    first: Option<u64>,
    last: Option<u64>,
    rows: Vec<Item<'_>>,
) -> Bytes {
    let batch = Batch {
        gateway: &identity.gateway,
        incarnation: &identity.incarnation,
        lane,
        first,
        last,
        rows,
    };
    let text = serde_json::to_vec(&batch).expect("texts, numbers and JSON become JSON");
    text.into()
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

    #[test]
    fn bodies_and_keys_are_stable() {
        let row = |seq, payload: &'static [u8]| Row {
            seq,
            rule: "r".into(),
            topic: Topic::new("a/b").unwrap(),
            payload: payload.into(),
            at_ms: 1_700_000_000_123,
            made_ms: 0,
            qos: 1,
            retain: false,
        };
        let batch = [row(7, b"{\"n\": 1}"), row(9, b"\xff")];
        let expected = concat!(
            r#"{"gateway":"gw","incarnation":"00ff","lane":"cloud/high","first":7,"last":9,"rows":["#,
            r#"{"seq":7,"at":1700000000123,"topic":"a/b","payload":{"n": 1}},"#,
            r#"{"seq":9,"at":1700000000123,"topic":"a/b","payload_base64":"/w=="}]}"#,
        );
        assert_eq!(rows(&names(), Priority::High, &batch), expected);
        let key = key(&names(), Priority::High, 7, 9);
        assert_eq!(key, "gw-00ff-cloud/high-7-9");
    }

    #[test]
    fn messages_that_are_no_rows_have_no_numbers() {
        let message = Outgoing {
            destination: 0,
            topic: Topic::new("t").unwrap(),
            payload: "1".into(),
            qos: 1,
            retain: false,
        };
        let expected =
            r#"{"gateway":"gw","incarnation":"00ff","rows":[{"topic":"t","payload":1}]}"#;
        assert_eq!(messages(&names(), &[message]), expected);
    }
}
