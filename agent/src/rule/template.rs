//! Small templates: how a rule makes a key of a topic, and a topic of a key.

use crate::state::Key;
use crate::text::{shown, shown_within};
use crate::topic::{Topic, TopicFilter};

/// Longest key that may stand in a topic, in bytes.
const KEY_IN_TOPIC_BYTES_MAX: usize = 64;

/// How a rule finds out what an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySpec {
    /// The topic itself.
    Topic,
    /// Text with levels of the topic in it.
    Levels(Vec<LevelPiece>),
    /// A place in the payload.
    Pointer(String),
    /// The same for a statement's column, of which a missing value and a float are keys as well.
    Column(String),
    /// The same for every event.
    Constant(Key),
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LevelPiece {
    /// Text that stands as it is.
    Text(String),
    /// A level of the topic, counted from 0.
    Level(usize),
    /// The whole topic.
    Topic,
}

impl KeySpec {
    /// Reads `/pointer`, `{topic.1}` or a constant.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a key cannot be empty; leave it out to use the topic".to_owned());
        }
        if text.starts_with('/') {
            check_pointer(text)?;
            return Ok(Self::Pointer(text.to_owned()));
        }
        let mut pieces = Vec::new();
        for piece in split(text)? {
            pieces.push(match piece {
                Piece::Text(text) => LevelPiece::Text(text.to_owned()),
                Piece::Name("topic") => LevelPiece::Topic,
                Piece::Name(name) => match name.strip_prefix("topic.").map(str::parse) {
                    Some(Ok(level)) => LevelPiece::Level(level),
                    _ => {
                        return Err(format!(
                            "{{{name}}} is not known here; write {{topic.1}} for a level of the \
                             topic (counted from 0), or a JSON pointer such as /device"
                        ));
                    }
                },
            });
        }
        match pieces.as_slice() {
            [LevelPiece::Text(text)] => Ok(Self::Constant(text.as_str().into())),
            [LevelPiece::Topic] => Ok(Self::Topic),
            _ => Ok(Self::Levels(pieces)),
        }
    }
}

/// Makes a key of a topic; `None` when the topic has too few levels.
pub fn key_of_topic(pieces: &[LevelPiece], topic: &Topic) -> Option<Key> {
    let mut key = String::new();
    for piece in pieces {
        key.push_str(match piece {
            LevelPiece::Text(text) => text,
            LevelPiece::Level(level) => topic.level(*level)?,
            LevelPiece::Topic => topic.as_str(),
        });
    }
    Some(key.into())
}

/// A topic to publish to, with places for what is only known when something is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate(Vec<TopicPiece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum TopicPiece {
    Text(String),
    Key,
}

impl TopicTemplate {
    /// Reads a topic with `{key}`, `{rule}` and `{gateway}` in it.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str, rule: &str, gateway: &str) -> Result<Self, String> {
        let mut pieces: Vec<TopicPiece> = Vec::new();
        for piece in split(text)? {
            let text = match piece {
                Piece::Name("key") => {
                    pieces.push(TopicPiece::Key);
                    continue;
                }
                Piece::Name("rule") => rule,
                Piece::Name("gateway") => gateway,
                Piece::Name(name) => {
                    return Err(format!(
                        "{{{name}}} is not known here; a topic may hold {{key}}, {{rule}} and {{gateway}}"
                    ));
                }
                Piece::Text(text) => text,
            };
            match pieces.last_mut() {
                Some(TopicPiece::Text(before)) => before.push_str(text),
                _ => pieces.push(TopicPiece::Text(text.to_owned())),
            }
        }
        let template = Self(pieces);
        template.render("k").map_err(|why| why.to_string())?;
        Ok(template)
    }

    /// Whether the key is part of the topic.
    pub fn has_key(&self) -> bool {
        self.0.contains(&TopicPiece::Key)
    }

    /// The topics that can come out, as a filter.
    pub fn as_filter(&self) -> Option<TopicFilter> {
        let text: String = self
            .0
            .iter()
            .map(|piece| match piece {
                TopicPiece::Text(text) => text.as_str(),
                TopicPiece::Key => "\u{1}",
            })
            .collect();
        let levels: Vec<_> = text
            .split('/')
            .map(|level| if level.contains('\u{1}') { "+" } else { level })
            .collect();
        TopicFilter::new(&levels.join("/")).ok()
    }

    /// The topic for one key.
    ///
    /// # Errors
    /// When the key cannot stand in a topic, or the topic would not be one to publish to.
    pub fn render(&self, key: &str) -> Result<Topic, String> {
        let mut topic = String::with_capacity(32);
        for piece in &self.0 {
            match piece {
                TopicPiece::Text(text) => topic.push_str(text),
                TopicPiece::Key => {
                    check_key(key)?;
                    topic.push_str(key);
                }
            }
        }
        if topic.starts_with('$') || topic.starts_with("tidemill/") {
            let topic = shown(&topic);
            return Err(format!("topic \"{topic}\" is out of a rule's reach"));
        }
        Topic::new(&topic).map_err(|why| format!("topic \"{}\": {why}", shown(&topic)))
    }
}

/// Whether a key may become part of a topic: one level, nothing that MQTT reads as more than text.
fn check_key(key: &str) -> Result<(), String> {
    let why = if key.is_empty() {
        "is empty"
    } else if key.len() > KEY_IN_TOPIC_BYTES_MAX {
        "is longer than 64 bytes"
    } else if key.contains(['/', '+', '#', '$']) || key.chars().any(char::is_control) {
        "has one of / + # $ or a control character in it"
    } else {
        return Ok(());
    };
    let key = shown_within(key, KEY_IN_TOPIC_BYTES_MAX);
    Err(format!("key \"{key}\" cannot be part of a topic: it {why}"))
}

/// Whether a text is a JSON pointer to something inside a document.
///
/// # Errors
/// A sentence that says what would be right.
pub fn check_pointer(text: &str) -> Result<(), String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err(format!("{text:?} is no JSON pointer; write \"/{text}\""));
    }
    let mut rest = text;
    while let Some(at) = rest.find('~') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if !rest.starts_with(['0', '1']) {
            return Err(format!(
                "in the JSON pointer {text:?} a ~ is written ~0, a / inside a name ~1"
            ));
        }
    }
    match text.split('/').count() {
        0..=64 => Ok(()),
        _ => Err(format!(
            "the JSON pointer {text:?} is deeper than 64 levels"
        )),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn split(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("{text:?} has a {{ without its }}"))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Name(name));
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("{text:?} has a }} without its {{"));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_of_topics() {
        let topic = Topic::new("sensors/d1/env").unwrap();
        for (text, expected) in [
            ("{topic.1}", Some("d1")),
            ("{topic.1}:{topic.2}", Some("d1:env")),
            ("x-{topic.0}", Some("x-sensors")),
            ("{topic.7}", None),
        ] {
            let Ok(KeySpec::Levels(pieces)) = KeySpec::parse(text) else {
                panic!("{text}")
            };
            assert_eq!(key_of_topic(&pieces, &topic).as_deref(), expected);
        }
        assert_eq!(KeySpec::parse("{topic}"), Ok(KeySpec::Topic));
        assert_eq!(
            KeySpec::parse("/a/b"),
            Ok(KeySpec::Pointer("/a/b".to_owned()))
        );
        assert_eq!(
            KeySpec::parse("plant"),
            Ok(KeySpec::Constant("plant".into()))
        );
        for text in ["", "{device}", "{topic.x}", "{topic.1", "a}", "/a~2"] {
            assert!(KeySpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn topics_are_made_of_keys() {
        let template = TopicTemplate::parse("out/{gateway}/{key}/{rule}", "hot", "gw").unwrap();
        assert_eq!(template.render("d1").unwrap().as_str(), "out/gw/d1/hot");
        assert_eq!(template.as_filter(), TopicFilter::new("out/gw/+/hot").ok());
    }

    #[test]
    fn a_key_that_mqtt_reads_as_more_than_text_never_becomes_a_topic() {
        let template = TopicTemplate::parse("out/{key}", "r", "g").unwrap();
        let long = "k".repeat(65);
        for key in ["a/b", "+", "#", "a\0b", "$SYS", "", long.as_str(), "a\nb"] {
            assert!(template.render(key).is_err(), "{key:?}");
        }
        assert!(template.render(&long[..64]).is_ok());
        for text in ["$SYS/x", "tidemill/v1/x", "a/#", "", "a/{x}"] {
            assert!(TopicTemplate::parse(text, "r", "g").is_err(), "{text}");
        }
    }
}
