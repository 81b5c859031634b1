//! Ids that senders give their events, so that an event counts once even if the broker has
//! forgotten what it delivered. For a producer that numbers its events the mark is kept, which is
//! the highest number believed, and the 255 numbers below it that were seen; any other id is
//! opaque, and kept as one of the last, by hash. Both are bounded, and the promise ends at the
//! bound.
//!
//! A number may be wrong. One that is far above the mark, or the first of its producer, is an opaque
//! name until the next number is near it. One below the window is never applied: a broker that went
//! back sends such numbers, and so does a counter that starts anew. Only people can tell these two
//! apart, so the producer is named to them.

mod producer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

pub use crate::commit::record::{EventId, EventIdChange};
use crate::commit::record::{EventIdsRecord, ProducerRecord};
use crate::event::{hash_bytes, lower_half};
pub use producer::Refused;
use producer::{Counted, Place, Producer};

/// Default number of opaque ids remembered.
pub const OPAQUE_DEFAULT: usize = 4_096;

/// Most opaque names that can be remembered.
pub const OPAQUE_MAX: usize = 65_536;

/// Producers remembered; beyond it the one not heard of for longest is forgotten.
pub const PRODUCERS_MAX: usize = 10_000;

/// Longest name of a producer; an id with a longer one is opaque.
const PRODUCER_BYTES_MAX: usize = 128;

/// Event ids that were applied.
#[derive(Debug, Clone)]
pub struct EventIds {
    opaque_max: usize,
    /// Hashes with the order in which they came; one that came again has its later place.
    opaque: VecDeque<(u64, u128)>,
    known: HashMap<u128, u64>,
    producers: BTreeMap<Arc<str>, Producer>,
    /// Producers by when they were last heard of.
    heard: BTreeMap<u64, Arc<str>>,
    clock: u64,
}

impl Default for EventIds {
    /// Remembers as many as any configuration may ask for: what is replayed is cut to size later.
    fn default() -> Self {
        Self {
            opaque_max: OPAQUE_MAX,
            opaque: VecDeque::new(),
            known: HashMap::new(),
            producers: BTreeMap::new(),
            heard: BTreeMap::new(),
            clock: 0,
        }
    }
}

/// Status of an event according to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not seen before: to be applied.
    New,
    /// Applied before.
    Repeated,
    /// A number too old to tell.
    TooOld,
}

/// A producer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStatus {
    /// Name of the producer.
    pub name: Arc<str>,
    /// Highest number believed.
    pub mark: Option<u64>,
    /// A number far from it that waits for another one near it.
    pub apart: Option<u64>,
    /// Numbers that were not applied since one was.
    pub refused: Option<Refused>,
}

/// Splits `producer:n`.
fn numbered(text: &str) -> Option<(&str, u64)> {
    let (producer, digits) = text.rsplit_once(':')?;
    let fits = (1..=PRODUCER_BYTES_MAX).contains(&producer.len());
    let counts = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((producer, digits.parse().ok().filter(|_| fits && counts)?))
}

/// `true` if a text has the form `producer:n`.
pub fn may_be_number(text: &str) -> bool {
    numbered(text).is_some()
}

fn opaque_hash(text: &str) -> u128 {
    hash_bytes(&[text.as_bytes()])
}

/// Hash under which a number is remembered that stands apart: its upper half is that of its
/// producer, so that all of a producer's numbers can be forgotten together.
fn apart_hash(producer: &str, n: u64) -> u128 {
    let own = opaque_hash(&format!("{producer}:{n}"));
    u128::from(owner(producer)) << 64 | u128::from(lower_half(own))
}

fn owner(producer: &str) -> u64 {
    lower_half(opaque_hash(producer))
}

impl EventIds {
    /// Sets the number of opaque ids remembered.
    pub fn set_opaque_max(&mut self, opaque_max: usize) {
        self.opaque_max = opaque_max.clamp(1, OPAQUE_MAX);
        self.forget_oldest();
    }

    /// Reads an id as its sender wrote it. `producer:n` is a number if its sender or the
    /// configuration says so, or if an earlier version took it for one; otherwise it is opaque.
    pub fn read(&self, text: &str, is_number: bool) -> EventId {
        if let Some((producer, n)) = numbered(text) {
            let is_old = || self.producers.get(producer).is_some_and(|p| p.is_old);
            if is_number || is_old() {
                let producer = producer.into();
                return EventId::Numbered { producer, n };
            }
        }
        EventId::Opaque(opaque_hash(text))
    }

    /// Looks up the status of an event.
    pub fn standing(&self, id: &EventId) -> Standing {
        let known = |hash: u128| {
            if self.known.contains_key(&hash) {
                Standing::Repeated
            } else {
                Standing::New
            }
        };
        let (name, n) = match id {
            EventId::Opaque(hash) => return known(*hash),
            EventId::Numbered { producer, n } => (producer, *n),
        };
        // It may have come as an opaque name, or by an earlier version.
        let by_name = || match known(apart_hash(name, n)) {
            Standing::New => known(opaque_hash(&format!("{name}:{n}"))),
            standing => standing,
        };
        let Some(producer) = self.producers.get(name) else {
            return by_name();
        };
        match producer.place(n) {
            Place::Next if n > producer.apart_max => Standing::New,
            Place::Next | Place::Apart => by_name(),
            Place::Seen => Standing::Repeated,
            Place::TooOld => Standing::TooOld,
        }
    }

    /// Takes up a change, as it is written down.
    pub fn take_up(&mut self, change: &EventIdChange) {
        match change {
            EventIdChange::Applied(id) => self.insert(id),
            EventIdChange::AppliedBefore(EventId::Numbered { producer, n }) => {
                let known = self.hear(producer);
                known.is_old = true;
                known.see(*n);
            }
            EventIdChange::AppliedBefore(id) => self.insert(id),
            EventIdChange::Forgotten(producer) => drop(self.forget(producer)),
        }
    }

    /// An event of this name was applied.
    pub fn insert(&mut self, id: &EventId) {
        match id {
            EventId::Opaque(hash) => self.insert_opaque(*hash),
            EventId::Numbered { producer, n } => {
                match self.hear(producer).count(*n) {
                    Counted::Seen => {}
                    // Known by its name, it would be known still when the producer is forgotten.
                    Counted::Both(apart) => {
                        self.known.remove(&apart_hash(producer, apart));
                        let old = opaque_hash(&format!("{producer}:{apart}"));
                        self.known.remove(&old);
                    }
                    Counted::Apart => self.insert_opaque(apart_hash(producer, *n)),
                }
            }
        }
    }

    fn insert_opaque(&mut self, hash: u128) {
        self.clock += 1;
        self.known.insert(hash, self.clock);
        self.opaque.push_back((self.clock, hash));
        self.forget_oldest();
        if self.opaque.len() > 2 * self.opaque_max {
            // Places of names that came again or are forgotten.
            let known = &self.known;
            self.opaque.retain(|(at, hash)| known.get(hash) == Some(at));
        }
    }

    fn forget_oldest(&mut self) {
        while self.known.len() > self.opaque_max {
            let Some((at, old)) = self.opaque.pop_front() else {
                return;
            };
            if self.known.get(&old) == Some(&at) {
                self.known.remove(&old);
            }
        }
    }

    /// A producer was heard of, for the first time maybe.
    fn hear(&mut self, name: &Arc<str>) -> &mut Producer {
        self.clock += 1;
        let heard = self.clock;
        let known = self.producers.entry(Arc::clone(name)).or_default();
        let before = std::mem::replace(&mut known.heard, heard);
        self.heard.remove(&before);
        self.heard.insert(heard, Arc::clone(name));
        if self.producers.len() > PRODUCERS_MAX
            && let Some((_, oldest)) = self.heard.pop_first()
        {
            self.producers.remove(&oldest);
        }
        self.producers.entry(Arc::clone(name)).or_default()
    }

    /// An event of this name was not applied. Returns the mark of its producer when that begins to look
    /// as if it counted anew.
    pub fn refuse(&mut self, id: &EventId, is_too_old: bool, mono_ms: u64) -> Option<u64> {
        let EventId::Numbered { producer, n } = id else {
            return None;
        };
        let known = self.producers.get_mut(producer)?;
        let suspicious = known.refuse(*n, is_too_old, mono_ms);
        known.mark.filter(|_| suspicious)
    }

    /// Forgets a producer, which begins anew with its next number. Returns whether it was known.
    pub fn forget(&mut self, producer: &str) -> bool {
        let known = self.producers.remove(producer);
        if let Some(known) = &known {
            self.heard.remove(&known.heard);
            let owner = owner(producer);
            self.known.retain(|name, _| (*name >> 64) as u64 != owner);
            // By an earlier version the last one was remembered by its name alone.
            let apart = known.apart.map(|n| opaque_hash(&format!("{producer}:{n}")));
            apart.and_then(|name| self.known.remove(&name));
        }
        known.is_some()
    }

    /// Number of opaque ids remembered.
    pub fn opaque_len(&self) -> usize {
        self.known.len()
    }

    /// The producers, in the order of their names.
    pub fn producers(&self) -> impl Iterator<Item = ProducerStatus> {
        self.producers.iter().map(|(name, known)| ProducerStatus {
            name: Arc::clone(name),
            mark: known.mark,
            apart: known.apart,
            refused: known.refused,
        })
    }

    /// Everything, in pieces of at most `each` ids.
    pub fn records(&self, each: usize) -> Vec<EventIdsRecord> {
        let latest = |(at, hash): &(u64, u128)| self.known.get(hash) == Some(at);
        let opaque = self.opaque.iter().filter(|entry| latest(entry));
        let opaque: Vec<u128> = opaque.map(|(_, hash)| *hash).collect();
        let producers = self.heard.values();
        let producers: Vec<ProducerRecord> = producers
            .filter_map(|name| Some(self.producers.get(name)?.record(name)))
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

    /// Restores the result of [`EventIds::records`], in its order.
    pub fn restore(&mut self, record: EventIdsRecord) {
        for hash in record.opaque {
            self.insert_opaque(hash);
        }
        for producer in record.producers {
            self.hear(&producer.name).restore(&producer);
        }
    }
}

#[cfg(test)]
mod tests;
