//! Shares of the shelf of dead letters: when it is full, the cause with the largest share makes
//! room, with its oldest letters. So a destination that refuses thousands of rows does not push out
//! the events that a rule could not process, nor one rule those of another. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::store::row_bytes;
use super::{DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX};
use crate::commit::record::Dead;
use crate::event::emission::Row;

/// Bytes that a dead letter counts for besides its own, so that the number of letters has a share
/// as well.
const PLACE_BYTES: u64 = DEAD_LETTER_BYTES_MAX / DEAD_LETTERS_MAX;

/// Shares of the shelf: first by origin, each destination that refused rows being one and all
/// faults of rules together another; within an origin by the rule of the events or rows.
#[derive(Default)]
pub(super) struct Shares {
    by_origin: BTreeMap<String, Origin>,
}

#[derive(Default)]
struct Origin {
    weight: u64,
    by_rule: BTreeMap<Arc<str>, Share>,
}

#[derive(Default)]
struct Share {
    weight: u64,
    /// Number and weight, oldest first.
    letters: VecDeque<(u64, u64)>,
}

impl Shares {
    /// Looks through the shelf.
    pub(super) fn of<'a>(letters: impl Iterator<Item = &'a Row>) -> Self {
        let mut shares = Self::default();
        for letter in letters {
            let weight = row_bytes(letter) as u64 + PLACE_BYTES;
            let origin = shares.by_origin.entry(origin(letter)).or_default();
            origin.weight += weight;
            let share = origin.by_rule.entry(Arc::clone(&letter.rule)).or_default();
            share.weight += weight;
            share.letters.push_back((letter.seq, weight));
        }
        shares
    }

    /// Takes the one that makes room next.
    pub(super) fn take_next(&mut self) -> Option<u64> {
        let origin = largest(&mut self.by_origin, |origin| {
            (origin.weight, origin.oldest())
        })?;
        let share = largest(&mut origin.by_rule, |share| (share.weight, share.oldest()))?;
        let (seq, weight) = share.letters.pop_front()?;
        share.weight -= weight;
        origin.weight -= weight;
        Some(seq)
    }
}

impl Origin {
    fn oldest(&self) -> Option<u64> {
        self.by_rule.values().filter_map(Share::oldest).min()
    }
}

impl Share {
    fn oldest(&self) -> Option<u64> {
        self.letters.front().map(|(seq, _)| *seq)
    }
}

/// The one that weighs most; of equal ones that which has the oldest letter.
fn largest<K: Ord, V>(
    of: &mut BTreeMap<K, V>,
    rank: impl Fn(&V) -> (u64, Option<u64>),
) -> Option<&mut V> {
    of.values_mut()
        .filter(|value| rank(value).1.is_some())
        .max_by_key(|value| {
            let (weight, oldest) = rank(value);
            (weight, std::cmp::Reverse(oldest))
        })
}

/// The destination that refused it; empty for what a rule could not digest.
fn origin(letter: &Row) -> String {
    let refused_by = Dead::lane_of(&letter.payload).ok().flatten();
    refused_by.map_or_else(String::new, |lane| lane.destination.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::emission::{LaneId, Priority};
    use bytes::Bytes;
    use tidemill_transport::topic::Topic;

    fn letter(seq: u64, rule: &str, refused_by: Option<&str>, bytes: usize) -> Row {
        let lane = |name: &str| LaneId {
            destination: name.into(),
            priority: Priority::Normal,
        };
        let dead = Dead {
            version: 1,
            reason: "no".to_owned(),
            fuel: 7,
            lane: refused_by.map(lane),
            qos: 1,
            retain: false,
            payload: vec![b'x'; bytes].into(),
            properties: Bytes::new(),
            missing: 0,
        };
        Row {
            seq,
            rule: rule.into(),
            topic: Topic::new("t").unwrap(),
            payload: dead.encode().into(),
            at_ms: 0,
            made_ms: 0,
            qos: 0,
            retain: false,
        }
    }

    fn order(letters: &[Row]) -> Vec<u64> {
        let mut shares = Shares::of(letters.iter());
        std::iter::from_fn(|| shares.take_next()).collect()
    }

    #[test]
    fn the_cause_with_most_letters_makes_room_with_its_oldest() {
        let letters = [
            letter(1, "a", None, 9),
            letter(2, "a", Some("web"), 9),
            letter(3, "b", Some("web"), 9),
            letter(4, "b", Some("web"), 9),
            letter(5, "c", None, 9),
            letter(6, "b", Some("web"), 9),
        ];
        // Of two with one letter each the refused one, which names its lane, is larger.
        assert_eq!(order(&letters), [3, 4, 2, 1, 6, 5]);
    }

    #[test]
    fn a_few_large_letters_weigh_as_much_as_many_small_ones() {
        let mut letters: Vec<Row> = (1..=20).map(|seq| letter(seq, "a", None, 9)).collect();
        letters.push(letter(21, "b", Some("web"), 100_000));
        letters.push(letter(22, "b", Some("web"), 100_000));
        assert_eq!(order(&letters)[..3], [21, 22, 1]);
    }

    #[test]
    fn what_is_no_dead_letter_counts_as_a_rules() {
        let mut odd = letter(1, "a", Some("web"), 9);
        odd.payload = Bytes::from_static(b"\xff");
        assert_eq!(order(&[odd, letter(2, "a", None, 9)]), [1, 2]);
    }
}
