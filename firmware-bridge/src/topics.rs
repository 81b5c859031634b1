//! Topics of the bridge, and patterns by which each event of a port finds its own.

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Longest value that goes into a topic.
const VALUE_BYTES_MAX: usize = 64;

/// Longest topic that MQTT can carry is longer; brokers refuse such.
const PATTERN_BYTES_MAX: usize = 1_024;

/// Names that a pattern may have in braces.
const NAMES: [&str; 5] = ["bridge", "port", "device", "unit", "field.NAME"];

/// Topics of one port below `serial/BRIDGE/PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// Events that no pattern has a topic for.
    Data,
    /// State and counts, retained.
    Status,
    /// Lines that are no telemetry.
    Log,
    /// Raw lines for the device.
    Write,
    /// Commands for the device.
    Command,
    /// Answers to them.
    Answer,
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Status => "status",
            Self::Log => "log",
            Self::Write => "write",
            Self::Command => "command",
            Self::Answer => "answer",
        })
    }
}

/// The topic of a bridge's own state.
pub fn bridge_status(bridge: &str) -> String {
    format!("serial/{bridge}/status")
}

/// A topic of a port.
pub fn of_port(bridge: &str, port: &str, below: Below) -> String {
    format!("serial/{bridge}/{port}/{below}")
}

/// The topic of a unit's state.
pub fn of_unit(bridge: &str, port: &str, unit: &str) -> String {
    format!("serial/{bridge}/{port}/unit/{unit}")
}

/// Filters of what the bridge takes from the broker.
pub fn filters(bridge: &str) -> [String; 2] {
    [Below::Write, Below::Command].map(|below| of_port(bridge, "+", below))
}

/// Returns the port's name and the kind of a topic that one of [`filters`] lets through.
pub fn read<'a>(bridge: &str, topic: &'a str) -> Option<(&'a str, Below)> {
    let rest = topic.strip_prefix("serial/")?.strip_prefix(bridge)?;
    let (port, kind) = rest.strip_prefix('/')?.split_once('/')?;
    match kind {
        "write" => Some((port, Below::Write)),
        "command" => Some((port, Below::Command)),
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Device,
    Field(String),
}

/// A pattern such as `sensors/{device}/{field.id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

/// Faults of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A brace without its other one.
    #[error("a brace is open; write {{bridge}}, {{port}}, {{device}} or {{field.NAME}}")]
    Brace,
    /// A name that is none.
    #[error(
        "there is no {{{name}}}{}; write {{bridge}}, {{port}}, {{device}} or {{field.NAME}}",
        meant(.near)
    )]
    Unknown {
        /// As it is written.
        name: String,
        /// The name that it may be.
        near: Option<&'static str>,
    },
    /// The name of a unit on a port that has none.
    #[error(
        "only a port with mode = \"modbus\" has {{unit}}; write {{port}}, {{device}} or {{field.NAME}}"
    )]
    Unit,
    /// The name of a device on a port that has units.
    #[error("a port with mode = \"modbus\" has no {{device}}; write {{unit}}")]
    Device,
    /// A character that no topic may have.
    #[error("a topic that is published to has no {0:?}")]
    Character(char),
    /// One that brokers keep for themselves.
    #[error("topics with $ in front are the broker's own")]
    Dollar,
    /// Empty, or too long.
    #[error("a topic has 1 to {} bytes", PATTERN_BYTES_MAX)]
    Length,
}

fn meant(near: &Option<&'static str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean {{{near}}}?"))
}

impl Pattern {
    /// Reads a pattern; bridge and port are put in at once.
    ///
    /// # Errors
    /// When no event could be published by it.
    pub fn read(text: &str, bridge: &str, port: &str) -> Result<Self, PatternError> {
        Self::of(text, bridge, port, None)
    }

    /// Reads the pattern of a unit's events, in which `{unit}` stands for its name.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn of_unit(text: &str, bridge: &str, port: &str, unit: &str) -> Result<Self, PatternError> {
        Self::of(text, bridge, port, Some(unit))
    }

    fn of(text: &str, bridge: &str, port: &str, unit: Option<&str>) -> Result<Self, PatternError> {
        if !(1..=PATTERN_BYTES_MAX).contains(&text.len()) {
            return Err(PatternError::Length);
        }
        if text.starts_with('$') {
            return Err(PatternError::Dollar);
        }
        let mut parts = vec![Part::Text(String::new())];
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            push_text(&mut parts, before)?;
            let inner = from.strip_prefix('{').ok_or(PatternError::Brace)?;
            let (name, behind) = inner.split_once('}').ok_or(PatternError::Brace)?;
            match name {
                "bridge" => push_text(&mut parts, bridge)?,
                "port" => push_text(&mut parts, port)?,
                "device" if unit.is_some() => return Err(PatternError::Device),
                "device" => parts.push(Part::Device),
                "unit" => push_text(&mut parts, unit.ok_or(PatternError::Unit)?)?,
                name => match name
                    .strip_prefix("field.")
                    .filter(|field| !field.is_empty())
                {
                    Some(field) => parts.push(Part::Field(field.to_owned())),
                    None => {
                        let near = tidemill_base::text::nearest(name, NAMES);
                        let name = name.to_owned();
                        return Err(PatternError::Unknown { name, near });
                    }
                },
            }
            rest = behind;
        }
        push_text(&mut parts, rest)?;
        Ok(Self(parts))
    }

    /// Returns the topic of an event; `None` where the event lacks something of it, or has there what no topic
    /// should have.
    pub fn topic(&self, device: &str, payload: &[u8]) -> Option<String> {
        let needs_fields = self.0.iter().any(|part| matches!(part, Part::Field(_)));
        let fields = if needs_fields {
            serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(payload).ok()?
        } else {
            BTreeMap::new()
        };
        let mut topic = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Device => topic.push_str(Some(device).filter(|name| is_value(name))?),
                Part::Field(name) => topic.push_str(&scalar(fields.get(name.as_str())?.get())?),
            }
        }
        Some(topic)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), PatternError> {
    if let Some(foul) = text
        .chars()
        .find(|c| c.is_control() || matches!(c, '+' | '#'))
    {
        return Err(PatternError::Character(foul));
    }
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
    Ok(())
}

/// A text or a whole number of a JSON object, as it stands in a topic.
fn scalar(json: &str) -> Option<String> {
    let digits = json.strip_prefix('-').unwrap_or(json);
    let is_whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let text = if is_whole {
        json.to_owned()
    } else {
        serde_json::from_str::<String>(json).ok()?
    };
    is_value(&text).then_some(text)
}

fn is_value(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=VALUE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<Pattern, PatternError> {
        Pattern::read(text, "gw-17", "boiler")
    }

    #[test]
    fn an_event_finds_its_topic() {
        let pattern = pattern("sensors/{bridge}/{port}/{field.id}/{device}").unwrap();
        let check = |device: &str, payload: &str, expected: Option<&str>| {
            let topic = pattern.topic(device, payload.as_bytes());
            assert_eq!(topic.as_deref(), expected, "{payload}");
        };
        let expected = Some("sensors/gw-17/boiler/a-1/th");
        check("th", r#"{"id":"a-1"}"#, expected);
        check("th", r#"{"x":{"id":"no"},"\u0069d":"\u0061-1"}"#, expected);
        check("th", r#"{"id":-17}"#, Some("sensors/gw-17/boiler/-17/th"));
        for id in [
            "1.5", "1e3", "null", "true", "[1]", "\"\"", "\"a/b\"", "\"+\"", "\"#\"", "\"$x\"",
            "\"ä\"",
        ] {
            check("th", &format!("{{\"id\":{id}}}"), None);
        }
        let long = |len| format!("{{\"id\":\"{}\"}}", "x".repeat(len));
        assert!(pattern.topic("th", long(64).as_bytes()).is_some());
        assert!(pattern.topic("th", long(65).as_bytes()).is_none());
        assert!(pattern.topic("th", long(10_240).as_bytes()).is_none());
        check("th", "no json", None);
        check("th", "{}", None);
        check("", r#"{"id":"a"}"#, None);
    }

    #[test]
    fn without_fields_a_payload_is_not_looked_at() {
        let topic = pattern("a/{port}").unwrap().topic("", b"\xff");
        assert_eq!(topic.as_deref(), Some("a/boiler"));
    }

    #[test]
    fn a_unit_has_its_name_in_the_topic_and_a_device_has_none() {
        let of_unit = |text: &str| Pattern::of_unit(text, "gw", "p", "meter-a");
        let topic = of_unit("m/{unit}/{field.id}")
            .unwrap()
            .topic("", b"{\"id\":7}");
        assert_eq!(topic.as_deref(), Some("m/meter-a/7"));
        assert_eq!(of_unit("m/{device}"), Err(PatternError::Device));
        assert_eq!(pattern("m/{unit}"), Err(PatternError::Unit));
    }

    #[test]
    fn what_no_broker_takes_is_refused_with_a_way_out() {
        for (text, expected) in [
            ("a/{prot}", "there is no {prot}, did you mean {port}?"),
            ("a/{field.}", "there is no {field.}"),
            ("a/{port", "a brace is open"),
            ("a/port}", "a brace is open"),
            ("a/+", "has no '+'"),
            ("a/\n", "has no '\\n'"),
            ("$SYS/x", "broker's own"),
            ("", "1 to 1024 bytes"),
        ] {
            let error = pattern(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn topics_of_the_bridge_are_read_back() {
        assert_eq!(of_port("gw", "p", Below::Data), "serial/gw/p/data");
        assert_eq!(of_unit("gw", "p", "m"), "serial/gw/p/unit/m");
        assert_eq!(read("gw", "serial/gw/p/write"), Some(("p", Below::Write)));
        assert_eq!(
            read("gw", "serial/gw/p/command"),
            Some(("p", Below::Command))
        );
        for other in [
            "serial/gw2/p/write",
            "serial/gw/p/data",
            "serial/gw/write",
            "x",
        ] {
            assert_eq!(read("gw", other), None, "{other}");
        }
    }
}
