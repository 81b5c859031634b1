//! Names that senders give their events, so that one counts once even where the broker has
//! forgotten what it delivered. `producer:n` is kept as the highest number and which of the 255 below
//! it were seen; anything else as one of the last names, by hash. Both are bounded, and the promise
//! ends at the bound.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

pub use crate::record::EventId;
use crate::record::EventIdsRecord;

/// Opaque names remembered.
pub const OPAQUE_MAX: usize = 4_096;

/// Producers remembered; beyond it the one not heard of for longest is forgotten.
pub const PRODUCERS_MAX: usize = 10_000;

/// Longest name of a producer; an id with a longer one is opaque.
const PRODUCER_BYTES_MAX: usize = 128;

/// Numbers below and with the highest that are told apart.
const WINDOW: u64 = 256;

/// Event ids that were applied.
#[derive(Debug, Clone, Default)]
pub struct EventIds {
    opaque: VecDeque<u128>,
    known: HashSet<u128>,
    producers: BTreeMap<Arc<str>, Producer>,
    /// Producers by when they were last heard of.
    heard: BTreeMap<u64, Arc<str>>,
    clock: u64,
}

#[derive(Debug, Clone)]
struct Producer {
    high: u64,
    /// Bit 0 of the first word is the highest number.
    seen: [u64; 4],
    heard: u64,
}

/// Reads an id as its sender wrote it; `hash` is for names that are no `producer:n`.
pub fn parse(text: &str, hash: impl FnOnce(&[u8]) -> u128) -> EventId {
    if let Some((producer, digits)) = text.rsplit_once(':')
        && (1..=PRODUCER_BYTES_MAX).contains(&producer.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && let Ok(n) = digits.parse()
    {
        let producer = producer.into();
        return EventId::Numbered { producer, n };
    }
    EventId::Opaque(hash(text.as_bytes()))
}

impl EventIds {
    /// Whether an event of this name was applied, or is too old to tell.
    pub fn knows(&self, id: &EventId) -> bool {
        match id {
            EventId::Opaque(hash) => self.known.contains(hash),
            EventId::Numbered { producer, n } => self
                .producers
                .get(producer)
                .is_some_and(|known| known.saw(*n)),
        }
    }

    /// An event of this name was applied.
    pub fn insert(&mut self, id: &EventId) {
        match id {
            EventId::Opaque(hash) => {
                if self.known.insert(*hash) {
                    self.opaque.push_back(*hash);
                }
                while self.opaque.len() > OPAQUE_MAX {
                    if let Some(old) = self.opaque.pop_front() {
                        self.known.remove(&old);
                    }
                }
            }
            EventId::Numbered { producer, n } => self.count(producer, *n),
        }
    }

    fn count(&mut self, name: &Arc<str>, n: u64) {
        self.clock += 1;
        let heard = self.clock;
        match self.producers.get_mut(name) {
            Some(known) => {
                self.heard.remove(&known.heard);
                known.heard = heard;
                known.see(n);
            }
            None => {
                let seen = [1, 0, 0, 0];
                let producer = Producer {
                    high: n,
                    seen,
                    heard,
                };
                self.producers.insert(Arc::clone(name), producer);
            }
        }
        self.heard.insert(heard, Arc::clone(name));
        if self.producers.len() > PRODUCERS_MAX
            && let Some((_, oldest)) = self.heard.pop_first()
        {
            self.producers.remove(&oldest);
        }
    }

    /// Everything, in pieces of at most `each` ids.
    pub fn records(&self, each: usize) -> Vec<EventIdsRecord> {
        let opaque: Vec<u128> = self.opaque.iter().copied().collect();
        let producers: Vec<_> = self
            .heard
            .values()
            .filter_map(|name| {
                let known = self.producers.get(name)?;
                Some((Arc::clone(name), known.high, known.seen))
            })
            .collect();
        let opaque = opaque.chunks(each).map(|piece| EventIdsRecord {
            opaque: piece.to_vec(),
            ..EventIdsRecord::default()
        });
        let producers = producers.chunks(each).map(|piece| EventIdsRecord {
            producers: piece.to_vec(),
            ..EventIdsRecord::default()
        });
        opaque.chain(producers).collect()
    }

    /// Takes up what [`EventIds::records`] told, in its order.
    pub fn restore(&mut self, record: EventIdsRecord) {
        for hash in record.opaque {
            self.insert(&EventId::Opaque(hash));
        }
        for (name, high, seen) in record.producers {
            self.count(&name, high);
            if let Some(known) = self.producers.get_mut(&name) {
                known.seen = seen;
            }
        }
    }
}

impl Producer {
    fn saw(&self, n: u64) -> bool {
        match self.high.checked_sub(n) {
            None => false,
            Some(below) if below >= WINDOW => true,
            Some(below) => {
                let (word, bit) = place(below);
                self.seen.get(word).is_some_and(|word| word >> bit & 1 == 1)
            }
        }
    }

    fn see(&mut self, n: u64) {
        if n > self.high {
            self.shift(n - self.high);
            self.high = n;
        }
        let below = self.high - n;
        if below < WINDOW {
            let (word, bit) = place(below);
            if let Some(word) = self.seen.get_mut(word) {
                *word |= 1 << bit;
            }
        }
    }

    fn shift(&mut self, by: u64) {
        if by >= WINDOW {
            self.seen = [0; 4];
            return;
        }
        for _ in 0..by / 64 {
            self.seen.rotate_right(1);
            if let Some(first) = self.seen.first_mut() {
                *first = 0;
            }
        }
        let bits = by % 64;
        if bits > 0 {
            let mut carried = 0;
            for word in &mut self.seen {
                let out = *word >> (64 - bits);
                *word = *word << bits | carried;
                carried = out;
            }
        }
    }
}

/// Word and bit of the number so far below the highest.
fn place(below: u64) -> (usize, u64) {
    let word = usize::try_from(below / 64).unwrap_or(usize::MAX);
    (word, below % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        parse(text, |bytes| bytes.iter().map(|b| u128::from(*b)).sum())
    }

    #[test]
    fn ids_are_numbered_where_they_look_like_it() {
        let numbered = |producer: &str, n| EventId::Numbered {
            producer: producer.into(),
            n,
        };
        assert_eq!(id("d1:7"), numbered("d1", 7));
        assert_eq!(id("a:b:7"), numbered("a:b", 7));
        for text in ["7", ":7", "d1:", "d1:x", "d1:99999999999999999999999"] {
            assert!(matches!(id(text), EventId::Opaque(_)), "{text}");
        }
    }

    #[test]
    fn numbers_are_known_once_seen_in_any_order() {
        let mut ids = EventIds::default();
        let mut model = HashSet::new();
        let mut n: u64 = 1_000;
        for step in 0..5_000_u64 {
            n = n.wrapping_add(step * step % 7).wrapping_sub(step % 3);
            let numbered = id(&format!("d:{n}"));
            let high = model.iter().max().copied().unwrap_or(0);
            let expected = model.contains(&n) || (!model.is_empty() && n + 256 <= high);
            assert_eq!(ids.knows(&numbered), expected, "{n}");
            ids.insert(&numbered);
            model.insert(n);
        }
    }

    #[test]
    fn opaque_names_are_remembered_up_to_the_bound() {
        let mut ids = EventIds::default();
        for n in 0..=OPAQUE_MAX {
            ids.insert(&EventId::Opaque(n as u128));
        }
        assert!(!ids.knows(&EventId::Opaque(0)) && ids.knows(&EventId::Opaque(1)));
        assert_eq!(
            (ids.opaque.len(), ids.known.len()),
            (OPAQUE_MAX, OPAQUE_MAX)
        );
    }

    #[test]
    fn the_producer_not_heard_of_for_longest_is_forgotten() {
        let mut ids = EventIds::default();
        for n in 0..PRODUCERS_MAX {
            ids.insert(&id(&format!("p{n}:1")));
        }
        ids.insert(&id("p0:2"));
        ids.insert(&id("new:1"));
        assert!(ids.knows(&id("p0:1")) && !ids.knows(&id("p1:1")));
        assert_eq!(
            (ids.producers.len(), ids.heard.len()),
            (PRODUCERS_MAX, PRODUCERS_MAX)
        );
    }

    #[test]
    fn what_was_written_down_is_known_again() {
        let mut ids = EventIds::default();
        for text in ["a:1", "a:3", "b:700", "x", "y"] {
            ids.insert(&id(text));
        }
        let mut again = EventIds::default();
        for record in ids.records(1) {
            let record = EventIdsRecord::decode(&record.encode()).unwrap();
            again.restore(record);
        }
        for (text, known) in [
            ("a:1", true),
            ("a:2", false),
            ("a:3", true),
            ("b:700", true),
            ("x", true),
            ("z", false),
        ] {
            assert_eq!(again.knows(&id(text)), known, "{text}");
        }
    }
}
