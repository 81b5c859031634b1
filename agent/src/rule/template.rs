//! Small templates: how a rule makes a key of a topic, and a topic of a key.

use crate::event::state::Key;
use tidemill_base::text::{shown, shown_within};
use tidemill_transport::topic::{Topic, TopicFilter};

/// Longest part of a topic that a payload may bring, in bytes.
const LEVEL_BYTES_MAX: usize = 64;
/// Placeholders for one level or a part of it, and for any number of levels, while a filter is
/// built.
const ONE: char = '\u{1}';
const MANY: char = '\u{2}';
/// Bytes of a topic that an event may contribute, so that rules feeding each other cannot make
/// topics grow without end.
const BROUGHT_BYTES_MAX: usize = 4_096;

/// Source of an event's key.
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

impl KeySpec {
    /// Identity of the key expression, kept with the state: under another key, the state would
    /// belong to something else.
    pub fn identity(&self) -> String {
        let piece = |piece: &LevelPiece| match piece {
            LevelPiece::Text(text) => format!("{text:?}"),
            LevelPiece::Level(level) => format!("{{topic.{level}}}"),
            LevelPiece::LevelsFrom(level) => format!("{{topic.{level}+}}"),
            LevelPiece::Topic => "{topic}".to_owned(),
        };
        match self {
            Self::Topic => "{topic}".to_owned(),
            Self::Levels(pieces) => pieces.iter().map(piece).collect(),
            Self::Pointer(pointer) => format!("payload {pointer}"),
            // Columns are found in any case.
            Self::Column(pointer) => format!("column {}", pointer.to_lowercase()),
            Self::Constant(key) => format!("always {key}"),
        }
    }
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LevelPiece {
    /// Literal text.
    Text(String),
    /// A level of the topic, counted from 0.
    Level(usize),
    /// The levels of the topic from one on, counted from 0.
    LevelsFrom(usize),
    /// The whole topic.
    Topic,
}

impl LevelPiece {
    /// The piece for a part of the topic: `topic`, `topic.1` or `topic.1+`.
    fn named(name: &str) -> Option<Self> {
        if name == "topic" {
            return Some(Self::Topic);
        }
        let level = name.strip_prefix("topic.")?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match level.strip_suffix('+') {
            Some(from) if is_number(from) => from.parse().ok().map(Self::LevelsFrom),
            None if is_number(level) => level.parse().ok().map(Self::Level),
            _ => None,
        }
    }

    /// The least number of levels that a topic has to have.
    fn levels_needed(&self) -> Option<usize> {
        match self {
            Self::Level(level) | Self::LevelsFrom(level) => Some(level.saturating_add(1)),
            Self::Topic => Some(1),
            Self::Text(_) => None,
        }
    }

    /// Appends this piece's placeholders to a filter under construction.
    fn mark(&self, filter: &mut String) {
        match self {
            Self::Text(text) => filter.push_str(text),
            Self::Level(_) => filter.push(ONE),
            Self::LevelsFrom(_) | Self::Topic => filter.push(MANY),
        }
    }

    /// Marks it as [`Self::mark`] does, with the levels that a filter of the events says.
    fn mark_within(&self, within: &TopicFilter, filter: &mut String) {
        let (from, count) = match self {
            Self::Text(text) => return filter.push_str(text),
            Self::Level(level) => (*level, 1),
            Self::LevelsFrom(level) => (*level, usize::MAX),
            Self::Topic => (0, usize::MAX),
        };
        let levels: Vec<&str> = within.levels().skip(from).take(count).collect();
        if levels.is_empty() || (count == 1 && levels == ["#"]) {
            return self.mark(filter);
        }
        let marked = levels.join("/");
        filter.extend(marked.chars().map(|part| match part {
            '+' => ONE,
            '#' => MANY,
            other => other,
        }));
    }

    /// This piece's text for `topic`; `None` if the topic has too few levels.
    fn of<'a>(&'a self, topic: &'a Topic) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Level(level) => topic.level(*level),
            Self::LevelsFrom(0) | Self::Topic => Some(topic.as_str()),
            Self::LevelsFrom(level) => {
                let mut slashes = topic.as_str().match_indices('/').map(|(at, _)| at);
                let before = slashes.nth(*level - 1)?;
                topic.as_str().get(before + 1..)
            }
        }
    }
}

impl KeySpec {
    /// The least number of levels that a topic has to have.
    pub fn levels_needed(&self) -> Option<usize> {
        let Self::Levels(pieces) = self else {
            return None;
        };
        pieces.iter().filter_map(LevelPiece::levels_needed).max()
    }

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
                Piece::Name(name) => LevelPiece::named(name).ok_or_else(|| {
                    format!(
                        "{{{name}}} is not known here; write {{topic.1}} for a level of the \
                         topic (counted from 0), {{topic.1+}} for those from it on, {{topic}}, or a \
                         JSON pointer such as /device"
                    )
                })?,
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
        key.push_str(piece.of(topic)?);
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
    /// A part of the topic of the event.
    Event(LevelPiece),
    /// A place in what is sent.
    Payload(String),
}

/// The parts of a message that its topic may be made of.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    /// The key of the call.
    pub key: &'a str,
    /// `true` if the key consists of nothing but a topic and constant text, so that it may have
    /// several levels.
    pub key_of_topic: bool,
    /// The topic of the event; empty if no event caused the call.
    pub topic: &'a Topic,
    /// Looks up a JSON pointer in the message: a text, a number or a Boolean; `None` for others.
    pub at: &'a dyn Fn(&str) -> Option<String>,
}

impl TopicTemplate {
    /// A topic in place of one that is wrong.
    pub fn stand_in() -> Self {
        Self(vec![TopicPiece::Text("x".to_owned())])
    }

    /// Reads a topic with places in it.
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
                    pieces.push(Self::place(name)?);
                    continue;
                }
                Piece::Text(text) => text,
            };
            match pieces.last_mut() {
                Some(TopicPiece::Text(before)) => before.push_str(text),
                _ => pieces.push(TopicPiece::Text(text.to_owned())),
            }
        }
        let sample = |piece: &TopicPiece| match piece {
            TopicPiece::Text(text) => text.clone(),
            TopicPiece::Key | TopicPiece::Event(_) | TopicPiece::Payload(_) => "k".to_owned(),
        };
        topic(&pieces.iter().map(sample).collect::<String>())?;
        Ok(Self(pieces))
    }

    fn place(name: &str) -> Result<TopicPiece, String> {
        if let Some(pointer) = name.strip_prefix("payload:") {
            check_pointer(pointer)?;
            return Ok(TopicPiece::Payload(pointer.to_owned()));
        }
        LevelPiece::named(name).map(TopicPiece::Event).ok_or_else(|| {
            format!(
                "{{{name}}} is not known here; a topic may hold {{key}}, {{topic}}, {{topic.1}}, \
                 {{topic.1+}}, {{payload:/pointer}}, {{rule}} and {{gateway}}"
            )
        })
    }

    /// Text in it that looks like a place whose braces were left out, and the place.
    pub fn without_braces(&self) -> Option<(&str, String)> {
        let texts = self.0.iter().filter_map(|piece| match piece {
            TopicPiece::Text(text) => Some(text),
            _ => None,
        });
        let mut levels = texts.flat_map(|text| text.split('/'));
        levels.find_map(|level| Some((level, place_without_braces(level)?)))
    }

    /// `true` if the key is part of the topic.
    pub fn has_key(&self) -> bool {
        self.0.contains(&TopicPiece::Key)
    }

    /// Number of levels that the event's topic needs at least; `None` if no part of it is used.
    pub fn levels_needed(&self) -> Option<usize> {
        let needed = self.0.iter().filter_map(|piece| match piece {
            TopicPiece::Event(part) => part.levels_needed(),
            _ => None,
        });
        needed.max()
    }

    /// The JSON pointers of what is sent, whose values are part of the topic.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            TopicPiece::Payload(pointer) => Some(pointer.as_str()),
            _ => None,
        })
    }

    /// The topics that can come out for keys of a kind, as a filter.
    pub fn as_filter(&self, key: &KeySpec) -> Option<TopicFilter> {
        self.filter_by(key, &LevelPiece::mark)
    }

    /// The topics that can come out of events whose topics match `within`, as a filter.
    pub fn as_filter_within(&self, key: &KeySpec, within: &TopicFilter) -> Option<TopicFilter> {
        self.filter_by(key, &|part, text| part.mark_within(within, text))
    }

    fn filter_by(
        &self,
        key: &KeySpec,
        mark: &dyn Fn(&LevelPiece, &mut String),
    ) -> Option<TopicFilter> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                TopicPiece::Text(fixed) => text.push_str(fixed),
                TopicPiece::Payload(_) => text.push(ONE),
                TopicPiece::Event(part) => mark(part, &mut text),
                TopicPiece::Key => match key {
                    KeySpec::Topic => mark(&LevelPiece::Topic, &mut text),
                    KeySpec::Levels(parts) => parts.iter().for_each(|part| mark(part, &mut text)),
                    KeySpec::Pointer(_) | KeySpec::Column(_) => text.push(ONE),
                    KeySpec::Constant(constant) => text.push_str(constant),
                },
            }
        }
        let mut levels = Vec::new();
        for level in text.split('/') {
            if level.contains(MANY) {
                levels.push("#");
                break;
            }
            levels.push(if level.contains(ONE) { "+" } else { level });
        }
        TopicFilter::new(&levels.join("/")).ok()
    }

    /// The topic of what is sent.
    ///
    /// # Errors
    /// When it would not be one to publish to.
    pub fn render(&self, sent: &Sent<'_>) -> Result<Topic, String> {
        let mut text = String::with_capacity(32);
        let mut fixed_bytes = 0;
        for piece in &self.0 {
            match piece {
                TopicPiece::Text(fixed) => {
                    fixed_bytes += fixed.len();
                    text.push_str(fixed);
                }
                TopicPiece::Key => {
                    if !sent.key_of_topic {
                        check_level("key", sent.key)?;
                    }
                    text.push_str(sent.key);
                }
                TopicPiece::Event(part) => text.push_str(part_of(part, sent.topic)?),
                TopicPiece::Payload(pointer) => {
                    let value = (sent.at)(pointer).ok_or_else(|| {
                        format!("{{payload:{pointer}}}: what is sent has no text, number or truth value there")
                    })?;
                    check_level(&format!("{{payload:{pointer}}}"), &value)?;
                    text.push_str(&value);
                }
            }
            if text.len() - fixed_bytes > BROUGHT_BYTES_MAX {
                return Err(format!(
                    "topic \"{}\": the event brings more than {BROUGHT_BYTES_MAX} bytes of it",
                    shown(&text)
                ));
            }
        }
        topic(&text)
    }
}

/// The place that a level of a topic was meant to be, as other programs write it or without its braces.
pub fn place_without_braces(level: &str) -> Option<String> {
    let bare = level.trim_matches(['<', '>', '%', '$', ':', '[', ']', '(', ')']);
    let is_marked = bare != level;
    let is_level = |rest: &str| {
        let number = rest.strip_suffix('+').unwrap_or(rest);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    match bare {
        "key" => Some("{key}".to_owned()),
        "topic" | "rule" | "gateway" if is_marked => Some(format!("{{{bare}}}")),
        _ if bare.strip_prefix("topic.").is_some_and(is_level) => Some(format!("{{{bare}}}")),
        _ if bare.starts_with("payload:") => Some("{payload:/name}".to_owned()),
        // The rest of "${key}".
        "" if level == "$" => Some("{key} without the $".to_owned()),
        _ => None,
    }
}

fn part_of<'a>(part: &'a LevelPiece, topic: &'a Topic) -> Result<&'a str, String> {
    if topic.as_str().is_empty() {
        return Err("no event caused this, so there is no {topic}".to_owned());
    }
    part.of(topic).ok_or_else(|| {
        let level = match part {
            LevelPiece::Level(level) | LevelPiece::LevelsFrom(level) => *level,
            LevelPiece::Text(_) | LevelPiece::Topic => 0,
        };
        format!("topic \"{}\" has no level {level}", shown(topic.as_str()))
    })
}

/// A topic that a rule may publish to.
fn topic(text: &str) -> Result<Topic, String> {
    if text.starts_with('$') || text.starts_with("tidemill/") {
        let text = shown(text);
        return Err(format!("topic \"{text}\" is out of a rule's reach"));
    }
    Topic::new(text).map_err(|why| format!("topic \"{}\": {why}", shown(text)))
}

/// Checks that a value of a payload may become part of a topic: one level, nothing with a meaning
/// in MQTT.
fn check_level(what: &str, value: &str) -> Result<(), String> {
    let why = if value.is_empty() {
        "is empty"
    } else if value.len() > LEVEL_BYTES_MAX {
        "is longer than 64 bytes"
    } else if value.contains(['/', '+', '#', '$']) || value.chars().any(char::is_control) {
        "has one of / + # $ or a control character in it"
    } else {
        return Ok(());
    };
    let value = shown_within(value, LEVEL_BYTES_MAX);
    Err(format!(
        "{what} \"{value}\" cannot be part of a topic: it {why}"
    ))
}

/// Checks that a text is a JSON pointer to something inside a document.
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
            ("{topic.1+}", Some("d1/env")),
            ("{topic.1}/{topic.0}", Some("d1/sensors")),
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

    #[track_caller]
    fn rendered(template: &str, sent: &Sent<'_>) -> Result<String, String> {
        let template = TopicTemplate::parse(template, "hot", "gw").unwrap();
        template.render(sent).map(|topic| topic.as_str().to_owned())
    }

    fn at(pointer: &str) -> Option<String> {
        match pointer {
            "/room" => Some("hall".to_owned()),
            "/path" => Some("a/b".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn topics_are_made_of_keys_topics_and_payloads() {
        let topic = Topic::new("plant/site1/x/d7").unwrap();
        let mut sent = Sent {
            key: "d1",
            key_of_topic: false,
            topic: &topic,
            at: &at,
        };
        for (template, expected) in [
            ("out/{gateway}/{key}/{rule}", "out/gw/d1/hot"),
            ("filtered/{topic}", "filtered/plant/site1/x/d7"),
            ("alerts/{topic.1}/{topic.3}", "alerts/site1/d7"),
            ("copy/{topic.1+}", "copy/site1/x/d7"),
            ("copy/{topic.0+}", "copy/plant/site1/x/d7"),
            ("x/{payload:/room}", "x/hall"),
            ("{topic}/{payload:/room}", "plant/site1/x/d7/hall"),
        ] {
            assert_eq!(
                rendered(template, &sent).as_deref(),
                Ok(expected),
                "{template}"
            );
        }
        for (template, expected) in [
            ("x/{payload:/path}", "cannot be part of a topic"),
            ("x/{payload:/none}", "what is sent has no text"),
            ("x/{topic.4}", "\"plant/site1/x/d7\" has no level 4"),
            ("x/{topic.4+}", "has no level 4"),
        ] {
            let error = rendered(template, &sent).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
        sent.key = "a/b";
        assert!(rendered("out/{key}", &sent).is_err());
        sent.key_of_topic = true;
        assert_eq!(rendered("out/{key}", &sent).as_deref(), Ok("out/a/b"));
        let none = Topic::none();
        sent.topic = &none;
        assert!(
            rendered("x/{topic}", &sent)
                .unwrap_err()
                .contains("no event caused this")
        );
    }

    #[test]
    fn topics_do_not_grow_without_end() {
        let topic = Topic::new(&("l/".repeat(2_048) + "l")).unwrap();
        let sent = Sent {
            key: "k",
            key_of_topic: false,
            topic: &topic,
            at: &at,
        };
        let error = rendered("again/{topic}", &sent).unwrap_err();
        assert!(error.ends_with("more than 4096 bytes of it"), "{error}");
    }

    #[test]
    fn what_can_come_out_is_a_filter() {
        for (template, key, expected) in [
            (
                "out/{gateway}/{payload:/room}/{rule}",
                "{topic}",
                "out/gw/+/hot",
            ),
            ("out/{topic.1}-x/y", "{topic}", "out/+/y"),
            ("out/{topic.1+}/y", "{topic}", "out/#"),
            ("out/{topic}", "{topic}", "out/#"),
            ("out/{key}", "{topic}", "out/#"),
            ("out/{key}/x", "{topic.1}/a/{topic.2}", "out/+/a/+/x"),
            ("out/{key}/x", "/device", "out/+/x"),
            ("out/{key}/x", "plant", "out/plant/x"),
            ("{topic}/out", "{topic}", "#"),
        ] {
            let template = TopicTemplate::parse(template, "hot", "gw").unwrap();
            let found = template.as_filter(&KeySpec::parse(key).unwrap());
            assert_eq!(found, TopicFilter::new(expected).ok(), "{key}");
        }
    }

    #[test]
    fn a_key_that_mqtt_reads_as_more_than_text_never_becomes_a_topic() {
        let topic = Topic::none();
        let long = "k".repeat(65);
        let sent = |key| Sent {
            key,
            key_of_topic: false,
            topic: &topic,
            at: &at,
        };
        for key in ["a/b", "+", "#", "a\0b", "$SYS", "", long.as_str(), "a\nb"] {
            assert!(rendered("out/{key}", &sent(key)).is_err(), "{key:?}");
        }
        assert!(rendered("out/{key}", &sent(&long[..64])).is_ok());
        for text in [
            "$SYS/x",
            "tidemill/v1/x",
            "a/#",
            "",
            "a/{x}",
            "a/{topic.x}",
            "a/{topic.+}",
            "a/{payload:x}",
        ] {
            assert!(TopicTemplate::parse(text, "r", "g").is_err(), "{text}");
        }
    }
}
