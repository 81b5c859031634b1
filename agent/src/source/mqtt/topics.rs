//! Checked topics, remembered: devices publish to the same few topics over and over, so most
//! messages cost a look-up instead of a check and an allocation.

use std::collections::HashMap;

use tidemill_transport::topic::Topic;

/// Most topics that are remembered; beyond it all are forgotten and learnt anew.
const TOPICS_MAX: usize = 1_024;

/// Topics longer than this are not remembered, which bounds the memory.
const TOPIC_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Topics {
    known: HashMap<Box<[u8]>, Topic>,
}

impl Topics {
    /// The topic with this name; `None` when it is none: invalid UTF-8, a NUL, a wildcard.
    pub(super) fn get(&mut self, name: &[u8]) -> Option<Topic> {
        if let Some(topic) = self.known.get(name) {
            return Some(topic.clone());
        }
        let topic = Topic::new(std::str::from_utf8(name).ok()?).ok()?;
        if name.len() <= TOPIC_BYTES_MAX {
            if self.known.len() >= TOPICS_MAX {
                self.known.clear();
            }
            self.known.insert(name.into(), topic.clone());
        }
        Some(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_pass() {
        let mut topics = Topics::default();
        let cases: [(&[u8], bool); 8] = [
            (b"a/b", true),
            (b"a/b", true),
            (b"$SYS/x", true),
            ("grad/\u{b0}C".as_bytes(), true),
            (b"", false),
            (b"a/+/b", false),
            (b"a\0b", false),
            (b"a/\xff", false),
        ];
        for (name, valid) in cases {
            assert_eq!(topics.get(name).is_some(), valid, "{name:?}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut topics = Topics::default();
        for number in 0..5_000 {
            let name = format!("device/{number}");
            assert_eq!(topics.get(name.as_bytes()).unwrap().as_str(), name);
            assert!(topics.known.len() <= TOPICS_MAX);
        }
    }
}
