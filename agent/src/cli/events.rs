//! Events as lines of JSON: `rule test` reads them, `rule run --record` writes them.

use std::borrow::Cow;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use tidemill_values::TIMES_MS;

use super::Failure;
use crate::event::Event;
use tidemill_base::text::{escape_json, is_all_printable};
use tidemill_transport::topic::Topic;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    at: i64,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(
        borrow,
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

/// A payload of `null` is a payload, unlike one that is not there.
fn given<'de, D: Deserializer<'de>>(line: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(line).map(Some)
}

/// Reads a file of events; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Vec<Event>, Failure> {
    let name = path.display().to_string();
    let wrong = |line: usize, why: String| Failure::Wrong(vec![format!("{name}:{line}: {why}")]);
    let mut text = Vec::new();
    if name == "-" {
        std::io::stdin().lock().read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|error| Failure::Wrong(vec![format!("{name}: cannot be read: {error}")]))?;
    }
    let mut events: Vec<Event> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.map_err(|_| wrong(number, "is not UTF-8".to_owned()))?;
        if line.trim().is_empty() {
            continue;
        }
        let event = parse(&line).map_err(|why| wrong(number, why))?;
        if events
            .last()
            .is_some_and(|last| last.arrival_ms > event.arrival_ms)
        {
            let why = "\"at\" is before that of the line above; events stand in the order of their arrival";
            return Err(wrong(number, why.to_owned()));
        }
        events.push(event);
    }
    Ok(events)
}

fn parse(line: &str) -> Result<Event, String> {
    let line: EventLine<'_> = serde_json::from_str(line).map_err(|error| {
        format!("{error}; expected {{\"at\": MS, \"topic\": \"…\", \"payload\": …}}")
    })?;
    if line.at < 0 {
        return Err("\"at\" is before 1970".to_owned());
    }
    if !TIMES_MS.contains(&line.at) {
        return Err("\"at\" is beyond the year 9999; it is in milliseconds".to_owned());
    }
    let payload = match (line.payload, &line.payload_base64) {
        (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("payload_base64: {error}"))?
            .into(),
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return Err("has both payload and payload_base64".to_owned()),
    };
    let topic = Topic::new(&line.topic).map_err(|error| format!("topic: {error}"))?;
    let mut event = Event::new(topic, payload, line.at);
    if let Some(meta) = line.meta {
        event.properties = Bytes::copy_from_slice(meta.get().as_bytes());
    }
    Ok(event)
}

/// The line of an event, with its line break, that came at this time. What [`read`] makes of it has the same bytes: a
/// payload of which JSON would keep the meaning only, or that a terminal would not just show, is written in base64.
pub(super) fn line(event: &Event, at: i64) -> serde_json::Result<String> {
    let as_it_is = serde_json::from_slice::<&RawValue>(&event.payload)
        .ok()
        .filter(|json| json.get().len() == event.payload.len() && is_all_printable(json.get()));
    let is_text = as_it_is.is_some() || event.payload.is_empty();
    let meta = if event.properties.is_empty() {
        None
    } else {
        Some(serde_json::from_slice(&event.properties)?)
    };
    let mut line = serde_json::to_string(&EventLine {
        at,
        topic: event.topic.as_str().into(),
        payload: as_it_is,
        payload_base64: (!is_text).then(|| BASE64_STANDARD.encode(&event.payload)),
        meta,
    })?;
    line = escape_json(&line);
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payload: &[u8], properties: &str, expected: &str) {
        let mut event = Event::new(Topic::new("a/\"b").unwrap(), payload.to_vec(), 1);
        event.properties = properties.to_owned().into();
        let line = line(&event, 7).unwrap();
        assert_eq!(
            line,
            format!("{{\"at\":7,\"topic\":\"a/\\\"b\"{expected}}}\n")
        );
        let back = parse(line.trim_end()).unwrap();
        assert_eq!((back.topic, back.arrival_ms), (event.topic, 7));
        assert_eq!(back.payload, event.payload);
        assert_eq!(back.properties, event.properties);
    }

    #[test]
    fn what_is_written_is_read_back_byte_for_byte() {
        check(b"{\"t\": 1.50}", "", r#","payload":{"t": 1.50}"#);
        check(b"null", "", r#","payload":null"#);
        check(b"", "", "");
        check(b" 1", "", r#","payload_base64":"IDE=""#);
        check(b"\"\xc2\x9b\"", "", r#","payload_base64":"IsKbIg==""#);
        check(b"[1,\n2]", "", r#","payload_base64":"WzEsCjJd""#);
        check(b"NaN", "", r#","payload_base64":"TmFO""#);
        check(b"\xff\0", "", r#","payload_base64":"/wA=""#);
        check(b"1", r#"{"eid":"x"}"#, r#","payload":1,"meta":{"eid":"x"}"#);
    }
}
