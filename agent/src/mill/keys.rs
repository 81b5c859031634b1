//! The keys of one rule with their states: bounded in number and bytes. When there are too many,
//! one that was not seen for long goes, with its state, and is counted.

use std::collections::HashMap;

use crate::state::{Key, KeyState};

/// Keys of a rule, found by name or by place.
#[derive(Debug)]
pub(super) struct KeyTable {
    places: HashMap<Key, usize>,
    held: Vec<Held>,
    /// Where the search for a key to drop goes on.
    hand: usize,
    keys_max: usize,
    bytes: usize,
    /// Keys of the last checkpoint that were dropped since: so never more than it holds.
    gone: Vec<Key>,
}

/// A key with its state.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) state: KeyState,
    /// Used since the hand last passed.
    seen: bool,
    /// Changed since the last checkpoint.
    dirty: bool,
    /// A checkpoint may hold it.
    stored: bool,
}

impl KeyTable {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            places: HashMap::new(),
            held: Vec::new(),
            hand: 0,
            keys_max: keys_max.max(1),
            bytes: 0,
            gone: Vec::new(),
        }
    }

    /// Bytes of state of all keys.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where a key is held.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Whether the very same key, not only one of its name, is held at a place.
    pub(super) fn is_at(&self, key: &Key, place: usize) -> bool {
        self.held
            .get(place)
            .is_some_and(|held| Key::ptr_eq(&held.key, key))
    }

    /// Takes a state out for a call; [`KeyTable::put_back`] has to follow.
    pub(super) fn lend(&mut self, place: usize) -> KeyState {
        self.held
            .get_mut(place)
            .map(|held| std::mem::take(&mut held.state))
            .unwrap_or_default()
    }

    /// Puts a state back; `growth` is what the call changed of its bytes.
    pub(super) fn put_back(&mut self, place: usize, state: KeyState, growth: isize, changed: bool) {
        if let Some(held) = self.held.get_mut(place) {
            held.state = state;
            held.seen = true;
            held.dirty |= changed;
            self.bytes = self.bytes.saturating_add_signed(growth);
        }
    }

    /// Takes in what a checkpoint may hold already, as far as there is room.
    pub(super) fn restore(&mut self, keys: impl IntoIterator<Item = (Key, KeyState)>) {
        for (key, state) in keys {
            self.insert(key.clone(), state);
            if let Some(held) = self.find(&key).and_then(|place| self.held.get_mut(place)) {
                held.stored = true;
            }
        }
    }

    /// Takes a new key in; returns what had to go for it.
    pub(super) fn insert(&mut self, key: Key, state: KeyState) -> Option<Held> {
        self.bytes += state.bytes();
        let held = Held {
            key: key.clone(),
            state,
            seen: true,
            dirty: true,
            stored: false,
        };
        if self.held.len() < self.keys_max {
            self.places.insert(key, self.held.len());
            self.held.push(held);
            return None;
        }
        let place = self.victim();
        let old = std::mem::replace(self.held.get_mut(place)?, held);
        self.places.insert(key, place);
        Some(self.forgotten(old))
    }

    /// Drops a key that was not seen for long, other than the one at `keep`, while the state of
    /// all is above `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize, keep: &str) -> Option<Held> {
        if self.bytes <= bytes_max || self.held.len() < 2 {
            return None;
        }
        let mut place = self.victim();
        if self.held.get(place).is_some_and(|held| &*held.key == keep) {
            place = self.victim();
        }
        let old = self.held.swap_remove(place);
        if let Some(moved) = self.held.get(place) {
            self.places.insert(moved.key.clone(), place);
        }
        Some(self.forgotten(old))
    }

    fn forgotten(&mut self, old: Held) -> Held {
        self.places.remove(&old.key);
        self.bytes = self.bytes.saturating_sub(old.state.bytes());
        if old.stored {
            self.gone.push(old.key.clone());
        }
        old
    }

    /// The next key that was not used since the hand last passed.
    fn victim(&mut self) -> usize {
        for _ in 0..=self.held.len() {
            let place = self.hand % self.held.len().max(1);
            self.hand = place + 1;
            match self.held.get_mut(place) {
                Some(held) if held.seen => held.seen = false,
                _ => return place,
            }
        }
        self.hand = (self.hand % self.held.len().max(1)) + 1;
        self.hand - 1
    }

    /// All keys, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &KeyState)> {
        self.held.iter().map(|held| (&held.key, &held.state))
    }

    /// All keys in the order of their names.
    pub(super) fn sorted(&self) -> Vec<(&Key, &KeyState)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// The keys that have events in the open pane, in the order of their names.
    pub(super) fn collecting(&self) -> Vec<Key> {
        let mut keys: Vec<_> = self
            .iter()
            .filter(|(_, state)| state.pane.is_some())
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// What changed since the last time this was asked: keys with their states, and keys gone.
    pub(super) fn take_changes(&mut self) -> (Vec<(Key, &KeyState)>, Vec<Key>) {
        let places = &self.places;
        let gone = self
            .gone
            .drain(..)
            .filter(|key| !places.contains_key(key))
            .collect();
        let mut changed = Vec::new();
        for held in &mut self.held {
            if std::mem::take(&mut held.dirty) {
                held.stored = true;
                changed.push((held.key.clone(), &held.state));
            }
        }
        (changed, gone)
    }

    /// Changes every state, for a new boot or a new schema.
    pub(super) fn update_all(&mut self, mut change: impl FnMut(&mut KeyState)) {
        self.bytes = 0;
        for held in &mut self.held {
            change(&mut held.state);
            held.dirty = true;
            self.bytes += held.state.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(slots: usize) -> KeyState {
        KeyState {
            slots: vec![1.0; slots],
            ..KeyState::default()
        }
    }

    #[test]
    fn the_key_not_seen_for_longest_goes_first() {
        let mut table = KeyTable::new(3);
        for key in ["a", "b", "c"] {
            assert!(table.insert(key.into(), state(1)).is_none());
        }
        assert_eq!(&*table.insert("d".into(), state(1)).unwrap().key, "a");
        let place = table.find("b").unwrap();
        let lent = table.lend(place);
        table.put_back(place, lent, 0, false);
        assert_eq!(&*table.insert("e".into(), state(1)).unwrap().key, "c");
        assert_eq!((table.bytes(), table.sorted().len()), (24, 3));
    }

    #[test]
    fn only_keys_that_a_checkpoint_holds_are_told_to_be_gone() {
        let mut table = KeyTable::new(2);
        table.restore([("a".into(), state(1)), ("b".into(), state(1))]);
        for n in 0..1_000 {
            table.insert(format!("{n}").into(), state(1));
        }
        assert_eq!(table.gone.len(), 2);
        let (changed, gone) = table.take_changes();
        assert_eq!((changed.len(), gone), (2, vec!["a".into(), "b".into()]));
        table.insert("c".into(), state(1));
        assert_eq!(table.take_changes().1, ["998".into()]);
    }

    #[test]
    fn a_million_keys_are_never_more_than_the_limit() {
        let mut table = KeyTable::new(100);
        for n in 0..1_000_000 {
            table.insert(format!("{n}").into(), state(1));
        }
        assert_eq!(
            (table.held.len(), table.places.len(), table.bytes()),
            (100, 100, 800)
        );
        assert!(table.gone.is_empty());
        assert!(table.find("999999").is_some());
    }

    #[test]
    fn bytes_above_the_limit_cost_the_other_keys() {
        let mut table = KeyTable::new(10);
        for key in ["a", "b", "c"] {
            table.insert(key.into(), state(4));
        }
        while table.shrink(40, "a").is_some() {}
        assert_eq!(
            table
                .sorted()
                .iter()
                .map(|(k, _)| &***k)
                .collect::<Vec<_>>(),
            ["a"]
        );
        for (key, place) in &table.places {
            assert_eq!(table.held[*place].key, *key);
        }
    }
}
