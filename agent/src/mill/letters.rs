//! Room for the dead letters of one event, or of one due time: each rule has an equal part of it, and
//! what others leave goes round.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::budget::equal_part;
use super::durable::{DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX};
use super::output::DeadLetter;

/// Room of the dead letters of one event, rule by rule.
#[derive(Default)]
pub(super) struct Letters {
    /// Rules whose letters are kept.
    rules: HashMap<Arc<str>, Used>,
    /// The part of each.
    part: Used,
}

/// Letters with their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    letters: Count,
    bytes: usize,
}

/// A number of letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Count(usize);

impl Letters {
    /// Looks through the dead letters of the event with this number.
    pub(super) fn of<'a>(letters: impl Iterator<Item = &'a DeadLetter>, in_seq: u64) -> Self {
        let mut rules: BTreeMap<&Arc<str>, Used> = BTreeMap::new();
        let mut topic_bytes = 1;
        for letter in letters {
            let used = rules.entry(&letter.rule).or_default();
            used.letters.0 += 1;
            used.bytes += bytes(letter);
            topic_bytes = topic_bytes.max(letter.topic.as_str().len());
        }
        // Where not all have room for one letter, others have it with each event.
        let most = DEAD_LETTERS_MAX.min(DEAD_LETTER_BYTES_MAX / topic_bytes);
        let count = rules.len();
        let first = usize::try_from(in_seq % count.max(1) as u64).unwrap_or(0);
        let kept = rules.iter().cycle().skip(first).take(count.min(most));
        let kept: Vec<(&Arc<str>, Used)> = kept.map(|(rule, used)| (*rule, *used)).collect();
        let counts = kept.iter().map(|(_, used)| used.letters.0).collect();
        let sizes = kept.iter().map(|(_, used)| used.bytes).collect();
        Self {
            part: Used {
                letters: Count(equal_part(counts, DEAD_LETTERS_MAX)),
                bytes: equal_part(sizes, DEAD_LETTER_BYTES_MAX).min(DEAD_LETTER_BYTES_MAX),
            },
            rules: kept
                .into_iter()
                .map(|(rule, _)| (Arc::clone(rule), Used::default()))
                .collect(),
        }
    }

    /// Bytes that this one may have; `None` if it is only counted. They are asked for in the order in which
    /// the letters were made.
    pub(super) fn room_for(&mut self, letter: &DeadLetter) -> Option<usize> {
        let used = self.rules.get_mut(&letter.rule)?;
        used.letters.0 += 1;
        let room = self.part.bytes.saturating_sub(used.bytes);
        used.bytes += bytes(letter).min(room);
        (used.letters <= self.part.letters).then_some(room)
    }
}

/// Bytes that count.
fn bytes(letter: &DeadLetter) -> usize {
    letter.topic.as_str().len() + letter.payload.len() + letter.properties.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn letter(rule: &str, bytes: usize) -> DeadLetter {
        DeadLetter {
            rule: rule.into(),
            version: 1,
            topic: Topic::none(),
            payload: vec![b'x'; bytes].into(),
            properties: Default::default(),
            volatile: false,
            reason: "no".to_owned(),
            fuel: 0,
            at_ms: 0,
        }
    }

    #[test]
    fn a_rule_with_many_letters_leaves_room_for_those_of_others_whatever_their_names() {
        for (many, few) in [("aa", "nb"), ("zz", "nb")] {
            let mut all: Vec<DeadLetter> = (0..1_000).map(|_| letter(many, 9)).collect();
            all.push(letter(few, 9));
            all.sort_by_key(|letter| Arc::clone(&letter.rule));
            let mut letters = Letters::of(all.iter(), 1);
            let kept: Vec<&str> = all
                .iter()
                .filter(|letter| letters.room_for(letter).is_some())
                .map(|letter| &*letter.rule)
                .collect();
            assert_eq!(kept.len(), DEAD_LETTERS_MAX);
            assert!(kept.contains(&few));
        }
    }

    #[test]
    fn large_letters_leave_bytes_for_those_of_others() {
        let all = [letter("aa", DEAD_LETTER_BYTES_MAX), letter("nb", 1_000)];
        let mut letters = Letters::of(all.iter(), 1);
        let room: Vec<_> = all.iter().map(|all| letters.room_for(all)).collect();
        assert_eq!(room, [DEAD_LETTER_BYTES_MAX - 1_000; 2].map(Some));
        let one = [letter("aa", 2 * DEAD_LETTER_BYTES_MAX)];
        let room = Letters::of(one.iter(), 1).room_for(&one[0]);
        assert_eq!(room, Some(DEAD_LETTER_BYTES_MAX));
    }

    #[test]
    fn of_more_rules_than_have_room_others_are_kept_with_each_event() {
        let all: Vec<DeadLetter> = (0..1_000).map(|n| letter(&format!("r{n:03}"), 9)).collect();
        let mut kept = vec![0; all.len()];
        for in_seq in 0..1_000 {
            let mut letters = Letters::of(all.iter(), in_seq);
            for (letter, kept) in all.iter().zip(&mut kept) {
                *kept += usize::from(letters.room_for(letter).is_some());
            }
        }
        assert_eq!(kept, [DEAD_LETTERS_MAX; 1_000]);
    }
}
