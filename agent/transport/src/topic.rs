//! MQTT topics and topic filters as checked values: the rules of the names and the relations between
//! two filters, and many filters at once in a tree.

mod tree;

use std::fmt;
use std::sync::Arc;

pub use tree::FilterTree;

/// MQTT's own bound on a topic, in bytes.
const TOPIC_BYTES_MAX: usize = 65_535;

/// Levels of a filter: more than any broker takes (mosquitto: 200), and few enough to go down into.
const LEVELS_MAX: usize = 1_000;

/// Why a text is no topic or no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// MQTT has no empty topics.
    #[error("a topic cannot be empty")]
    Empty,
    /// Longer than MQTT can say.
    #[error("a topic has at most {TOPIC_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// U+0000 is not allowed.
    #[error("a topic cannot contain a NUL character")]
    Nul,
    /// `+` or `#` in a topic to publish to.
    #[error("a topic to publish to cannot contain the wildcard {0:?}")]
    Wildcard(char),
    /// `a+/b`.
    #[error("the wildcard + must fill a whole level, as in sensors/+/env")]
    PlusInLevel,
    /// Deeper than any broker goes.
    #[error("a topic filter has at most {LEVELS_MAX} levels, this one has {0}")]
    TooDeep(usize),
    /// `$share/group` without a filter, or a group that is none.
    #[error("a shared subscription is written $share/GROUP/FILTER, the group without / + #")]
    Share,
    /// `a/#/b` or `a#`.
    #[error("the wildcard # must be the last level, alone, as in sensors/#")]
    HashNotLast,
}

/// A topic that a message was or can be published to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks a name to publish to.
    ///
    /// # Errors
    /// When it is empty, too long, or has a NUL or a wildcard in it.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        check_text(name)?;
        match name.chars().find(|c| matches!(c, '+' | '#')) {
            Some(wildcard) => Err(TopicError::Wildcard(wildcard)),
            None => Ok(Self(name.into())),
        }
    }

    /// The topic of what was not published: a schedule's event, a timer, the close of a window.
    pub fn none() -> Self {
        Self("".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The level with this number, counted from 0.
    pub fn level(&self, number: usize) -> Option<&str> {
        self.0.split('/').nth(number)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prefix of a shared subscription.
const SHARE: &str = "$share/";

/// A topic filter, as in SUBSCRIBE. One that is shared, `$share/group/filter`, matches what its filter does:
/// of each message only one client of the group gets a copy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks a filter.
    ///
    /// # Errors
    /// When it is empty, too long or too deep, has a NUL in it, or a wildcard where none may stand.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let whole = text;
        let text = match text.strip_prefix(SHARE) {
            None => text,
            Some(shared) => match shared.split_once('/') {
                Some((group, filter)) if !group.is_empty() && !group.contains(['+', '#']) => {
                    check_text(filter).map_err(|_| TopicError::Share)?;
                    filter
                }
                _ => return Err(TopicError::Share),
            },
        };
        let depth = text.split('/').count();
        if depth > LEVELS_MAX {
            return Err(TopicError::TooDeep(depth));
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicError::HashNotLast);
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::PlusInLevel);
            }
        }
        Ok(Self(whole.into()))
    }

    /// `true` if only one client of a group gets a copy of each message.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARE)
    }

    /// The filter to match topics against, without the group of a shared subscription.
    pub fn plain(&self) -> &str {
        let shared = self.0.strip_prefix(SHARE);
        let filter = shared.and_then(|shared| shared.split_once('/'));
        filter.map_or(&*self.0, |(_, filter)| filter)
    }

    /// The text of the filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Levels, wildcards included.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.plain().split('/')
    }

    /// `true` if a message on `topic` reaches this filter. Wildcards at the start do not match
    /// topics that begin with `$`.
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && !self.plain().starts_with('$') {
            return false;
        }
        let mut names = topic.split('/');
        for level in self.levels() {
            match (level, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(name)) if literal == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// `true` if this filter matches every topic that `other` matches.
    pub fn covers(&self, other: &Self) -> bool {
        if other.plain().starts_with('$') != self.plain().starts_with('$') {
            return false;
        }
        let mut theirs = other.levels();
        for ours in self.levels() {
            match (ours, theirs.next()) {
                ("#", _) => return true,
                (_, Some("#")) => return false,
                ("+", Some(_)) => {}
                (literal, Some(name)) if literal == name => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// `true` if some topic is matched by both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        if other.plain().starts_with('$') != self.plain().starts_with('$') {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic filter with the number under which it is subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The MQTT 5 subscription identifier, from 1; the same for a filter as long as it is wanted.
    pub id: u32,
    /// The topic filter.
    pub filter: TopicFilter,
}

/// A shared filter and another one that matches some of the same topics: the broker sends a copy
/// for each, which cannot be told apart if copies do not name their subscriptions.
pub fn twice_sent<'a>(filters: &[&'a TopicFilter]) -> Option<(&'a TopicFilter, &'a TopicFilter)> {
    let shared = filters.iter().filter(|filter| filter.is_shared());
    shared
        .filter_map(|shared| {
            let mut others = filters.iter().filter(|other| *other != shared);
            Some((*shared, *others.find(|other| other.overlaps(shared))?))
        })
        .next()
}

fn check_text(text: &str) -> Result<(), TopicError> {
    match text {
        "" => Err(TopicError::Empty),
        _ if text.len() > TOPIC_BYTES_MAX => Err(TopicError::TooLong(text.len())),
        _ if text.contains('\0') => Err(TopicError::Nul),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn wildcards_match_whole_levels() {
        for (text, topic, matches) in [
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("+", "a/b", false),
            ("+/+", "/a", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b", "a/b/", false),
        ] {
            assert_eq!(filter(text).matches(topic), matches, "{text} {topic}");
        }
    }

    #[test]
    fn names_that_mqtt_does_not_allow_are_refused() {
        for text in ["", "a/#/b", "a#", "a+/b", "a\0b"] {
            assert!(TopicFilter::new(text).is_err(), "{text:?}");
        }
        assert!(TopicFilter::new(&"/".repeat(999)).is_ok());
        assert!(TopicFilter::new(&"/".repeat(1_000)).is_err());
        for text in ["", "a/+", "#", "a\0"] {
            assert!(Topic::new(text).is_err(), "{text:?}");
        }
        assert!(Topic::new(&"t".repeat(65_536)).is_err());
        assert!(Topic::new(&"t".repeat(65_535)).is_ok());
    }

    #[test]
    fn a_shared_filter_matches_what_its_filter_does() {
        let shared = filter("$share/pool/a/+/c");
        assert!(
            shared.is_shared() && shared.matches("a/b/c") && !shared.matches("$share/pool/a/b/c")
        );
        assert_eq!(
            (shared.plain(), shared.as_str()),
            ("a/+/c", "$share/pool/a/+/c")
        );
        assert_eq!(shared.levels().count(), 3);
        assert!(filter("$share/pool//a").matches("/a"));
        for text in [
            "$share/",
            "$share/pool",
            "$share/pool/",
            "$share//a",
            "$share/p+/a",
            "$share/p/a#",
        ] {
            assert!(TopicFilter::new(text).is_err(), "{text}");
        }
        let (plain, other) = (filter("a/#"), filter("b/#"));
        let twice = twice_sent(&[&other, &plain, &shared]);
        assert_eq!(twice, Some((&shared, &plain)));
        assert_eq!(twice_sent(&[&other, &shared, &shared]), None);
        let group = filter("$share/other/a/b/c");
        assert!(twice_sent(&[&group, &shared]).is_some());
    }

    #[test]
    fn covering_and_overlapping_are_told_apart() {
        for (a, b, covers, overlaps) in [
            ("a/+/c", "a/b/c", true, true),
            ("a/b/c", "a/+/c", false, true),
            ("a/+/c", "a/b/+", false, true),
            ("a/#", "a", true, true),
            ("a/#", "a/+/c", true, true),
            ("#", "$SYS/x", false, false),
            ("+/b", "a/c", false, false),
            ("a/+", "a/#", false, true),
            ("a/b", "a/b/c", false, false),
        ] {
            assert_eq!(filter(a).covers(&filter(b)), covers, "{a} covers {b}");
            assert_eq!(filter(a).overlaps(&filter(b)), overlaps, "{a} overlaps {b}");
            assert_eq!(filter(b).overlaps(&filter(a)), overlaps, "{b} overlaps {a}");
        }
    }
}
