//! Events as lines of JSON: what `rule test` reads.

use std::borrow::Cow;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Failure;
use crate::event::Event;
use crate::topic::Topic;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    at: i64,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "given")]
    payload: Option<&'a RawValue>,
    payload_base64: Option<String>,
    #[serde(borrow)]
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
