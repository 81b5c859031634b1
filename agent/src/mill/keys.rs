//! The keys of one rule with their states: bounded in number and bytes. When there are too many,
//! one that was not seen for long goes, with its state, and is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::commit::record::KeyChange;
use crate::event::state::time::RULE_KEY;
use crate::event::state::{Key, KeyState};

/// Bytes of a key's name that do not count as state: so much of each key is bounded by their number, with
/// its place in the table, its first pane and its first timer some 512 bytes.
const NAME_BYTES_FREE: usize = 32;

/// Names of entries.
type Names = BTreeSet<Box<[u8]>>;

/// Entries to remove from a state database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// Keys with their numbers of pieces.
    pub(super) gone: BTreeMap<Key, u16>,
    /// Keys with ranges of pieces to remove, from the first number up to the second, which is not
    /// included.
    pub(super) too_many: Vec<(Key, u16, u16)>,
}

/// Keys of a rule, found by name or by place.
#[derive(Debug)]
pub(super) struct KeyTable {
    places: HashMap<Key, usize>,
    held: Vec<Held>,
    /// Place at which the search for a key to drop goes on.
    hand: usize,
    keys_max: usize,
    bytes: usize,
    /// Keys that changed since the last commit; of some only the entries named, of others all.
    changed: BTreeMap<Key, Option<Names>>,
    /// `true` if changes are recorded: a volatile rule has no commits.
    is_kept: bool,
    /// For each pond, keys that it holds and that were dropped since, with the number of their pieces.
    gone: [BTreeMap<Key, u16>; 2],
}

/// A key with its state.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) state: KeyState,
    /// Used since the hand last passed.
    seen: bool,
    /// Stands in the changes since the last commit.
    changed: bool,
    /// For each pond, whether it changed since that was written.
    dirty: [bool; 2],
    /// For each pond, how many pieces of it are there.
    stored: [u16; 2],
}

impl KeyTable {
    pub(super) fn new(keys_max: usize, is_kept: bool) -> Self {
        Self {
            is_kept,
            changed: BTreeMap::new(),
            places: HashMap::new(),
            held: Vec::new(),
            hand: 0,
            keys_max: keys_max.max(1),
            bytes: 0,
            gone: Default::default(),
        }
    }

    /// Bytes of state of all keys, not counting that which belongs to no key.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Place of a key, if it is held.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// Returns `true` if this very key, not only one of its name, is held at a place.
    pub(super) fn is_at(&self, key: &Key, place: usize) -> bool {
        self.held
            .get(place)
            .is_some_and(|held| Key::ptr_eq(&held.key, key))
    }

    /// A state, to look at.
    pub(super) fn state_at(&self, place: usize) -> Option<&KeyState> {
        self.held.get(place).map(|held| &held.state)
    }

    /// Number of keys that the table has room for.
    pub(super) fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Drops a key with its state.
    pub(super) fn remove(&mut self, key: &str) -> Option<KeyState> {
        let place = self.find(key)?;
        let old = self.held.swap_remove(place);
        if let Some(moved) = self.held.get(place) {
            self.places.insert(moved.key.clone(), place);
        }
        Some(self.forgotten(old).state)
    }

    /// Takes a state out for a call; [`KeyTable::put_back`] has to follow.
    pub(super) fn lend(&mut self, place: usize) -> KeyState {
        self.held
            .get_mut(place)
            .map(|held| std::mem::take(&mut held.state))
            .unwrap_or_default()
    }

    /// Puts a state back; `growth` is the change of its bytes by the call.
    pub(super) fn put_back(&mut self, place: usize, state: KeyState, growth: isize, changed: bool) {
        if let Some(held) = self.held.get_mut(place) {
            held.state = state;
            held.seen = true;
            self.bytes = self.bytes.saturating_add_signed(growth);
            if changed && self.is_kept {
                held.dirty = [true; 2];
                if !held.changed {
                    held.changed = true;
                    self.changed
                        .entry(held.key.clone())
                        .or_insert_with(|| Some(Names::new()));
                }
            }
        }
    }

    /// Takes in keys that the last commit holds already, as far as there is room.
    /// Returns those that have none.
    pub(super) fn restore(&mut self, keys: impl IntoIterator<Item = (Key, KeyState)>) -> Vec<Held> {
        let mut gone = Vec::new();
        for (key, state) in keys {
            gone.extend(self.insert(key.clone(), state));
            if let Some(held) = self.find(&key).and_then(|place| self.held.get_mut(place)) {
                held.changed = false;
                self.changed.remove(&key);
            }
        }
        gone
    }

    /// Entries of a key were written or removed.
    pub(super) fn entries_changed(&mut self, key: &Key, names: Names) {
        if !self.is_kept {
            return;
        }
        let all = self
            .changed
            .entry(key.clone())
            .or_insert_with(|| Some(Names::new()));
        if let Some(all) = all {
            all.extend(names);
        }
    }

    /// An entry of a key was written or removed.
    pub(super) fn entry_changed(&mut self, key: &Key, name: &[u8]) {
        if !self.is_kept {
            return;
        }
        if let Some(names) = self.changed.get_mut(key) {
            if let Some(names) = names {
                names.insert(name.into());
            }
            return;
        }
        self.changed
            .insert(key.clone(), Some(Names::from([name.into()])));
    }

    /// Number of keys held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes a new key in; returns the key that was dropped for it.
    pub(super) fn insert(&mut self, key: Key, state: KeyState) -> Option<Held> {
        self.bytes += bytes_of(&key, &state);
        let held = Held {
            key: key.clone(),
            state,
            seen: true,
            changed: true,
            dirty: [true; 2],
            stored: [0; 2],
        };
        if self.is_kept {
            self.changed.insert(key.clone(), None);
        }
        if self.has_room(&key) {
            self.places.insert(key, self.held.len());
            self.held.push(held);
            return None;
        }
        let place = self.victim();
        let old = std::mem::replace(self.held.get_mut(place)?, held);
        self.places.insert(key, place);
        Some(self.forgotten(old))
    }

    /// Returns `true` if a new key needs no other to go. State that belongs to no key has a place beside
    /// them.
    fn has_room(&self, key: &str) -> bool {
        let own = usize::from(self.places.contains_key(RULE_KEY));
        key == RULE_KEY || self.held.len() - own < self.keys_max
    }

    /// Drops a key that was not seen for long, other than the one at `keep`, while the state of
    /// all is above `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize, keep: &str) -> Option<Held> {
        if self.bytes <= bytes_max {
            return None;
        }
        let stays = [RULE_KEY, keep].map(|key| usize::from(self.places.contains_key(key)));
        if self.held.len() <= stays.iter().sum() {
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
        let bytes = bytes_of(&old.key, &old.state);
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.is_kept {
            self.changed.insert(old.key.clone(), None);
            for (gone, pieces) in self.gone.iter_mut().zip(old.stored) {
                if pieces > 0 {
                    gone.insert(old.key.clone(), pieces);
                }
            }
        }
        old
    }

    /// The next key that was not used since the hand last passed.
    fn victim(&mut self) -> usize {
        for _ in 0..=2 * self.held.len() {
            let place = self.hand % self.held.len().max(1);
            self.hand = place + 1;
            match self.held.get_mut(place) {
                // State that belongs to no key stays.
                Some(held) if &*held.key == RULE_KEY => {}
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

    /// The keys whose states are like this, in the order of their names.
    pub(super) fn like(&self, is: impl Fn(&KeyState) -> bool) -> Vec<Key> {
        let mut keys: Vec<_> = self
            .iter()
            .filter(|(key, state)| &***key != RULE_KEY && is(state))
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Returns `true` if something changed since the last commit.
    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Bytes that the changes since the last commit come to, about.
    pub(super) fn changed_keys(&self) -> usize {
        self.changed.len()
    }

    /// Takes the changes since the last commit, in the order of the keys.
    pub(super) fn take_changes(&mut self) -> Vec<(Key, KeyChange)> {
        let changed = std::mem::take(&mut self.changed);
        let change = |(key, names): (Key, Option<Names>)| {
            let Some(held) = self
                .places
                .get(&key)
                .and_then(|place| self.held.get_mut(*place))
            else {
                return (key, KeyChange::Gone);
            };
            held.changed = false;
            let change = match names {
                Some(names) if !held.state.entries.is_empty() || !names.is_empty() => {
                    let value = |name: Box<[u8]>| {
                        let value = held.state.entries.get(&name).cloned();
                        (name, value)
                    };
                    let entries = names.into_iter().map(value).collect();
                    KeyChange::Entries(held.state.without_entries(), entries)
                }
                _ => KeyChange::Whole(held.state.clone()),
            };
            (key, change)
        };
        changed.into_iter().map(change).collect()
    }

    /// Keys that a state database does not hold yet in their present state; all of them if it is
    /// written anew.
    pub(super) fn dirty(&self, pond: usize, full: bool) -> impl Iterator<Item = (&Key, &KeyState)> {
        self.held
            .iter()
            .filter(move |held| full || held.dirty.get(pond).is_some_and(|dirty| *dirty))
            .map(|held| (&held.key, &held.state))
    }

    /// Notes that a database is about to hold the keys of [`KeyTable::dirty`], each in so many
    /// pieces. Returns the entries that it has to forget.
    pub(super) fn stored(&mut self, pond: usize, pieces: &BTreeMap<Key, u16>) -> Forgotten {
        let mut too_many = Vec::new();
        for (key, new) in pieces {
            let held = self
                .places
                .get(key)
                .and_then(|place| self.held.get_mut(*place));
            let Some(held) = held else { continue };
            if let (Some(stored), Some(dirty)) =
                (held.stored.get_mut(pond), held.dirty.get_mut(pond))
            {
                if *stored > *new {
                    too_many.push((key.clone(), *new, *stored));
                }
                *stored = *new;
                *dirty = false;
            }
        }
        let mut gone = self
            .gone
            .get_mut(pond)
            .map(std::mem::take)
            .unwrap_or_default();
        // A key that came back was written anew; of its former pieces some may be too many.
        for (key, old) in &gone {
            if let Some(new) = pieces.get(key).filter(|new| *new < old) {
                too_many.push((key.clone(), *new, *old));
            }
        }
        gone.retain(|key, _| !self.places.contains_key(key));
        Forgotten { gone, too_many }
    }

    /// Changes every state, where the rule no longer keeps all of its parts.
    pub(super) fn update_all(&mut self, mut change: impl FnMut(&Key, &mut KeyState)) {
        self.bytes = 0;
        for held in &mut self.held {
            change(&held.key, &mut held.state);
            held.dirty = [true; 2];
            held.changed = true;
            if self.is_kept {
                self.changed.insert(held.key.clone(), None);
            }
            self.bytes += bytes_of(&held.key, &held.state);
        }
    }
}

/// Bytes that a key counts for, with its state. What belongs to no key has limits of its own.
fn bytes_of(key: &str, state: &KeyState) -> usize {
    if key == RULE_KEY {
        return 0;
    }
    state.bytes() + key.len().saturating_sub(NAME_BYTES_FREE)
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
        let mut table = KeyTable::new(3, true);
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
    fn changes_are_told_once_and_in_the_order_of_the_keys() {
        let mut table = KeyTable::new(2, true);
        table.restore([("a".into(), state(1)), ("b".into(), state(1))]);
        assert!(table.take_changes().is_empty());
        for n in 0..1_000 {
            table.insert(format!("{n}").into(), state(1));
        }
        let changes = table.take_changes();
        let whole: Vec<_> = changes
            .iter()
            .filter(|(_, change)| *change != KeyChange::Gone)
            .map(|(key, _)| &**key)
            .collect();
        assert_eq!((changes.len(), whole), (1_002, vec!["998", "999"]));
        assert!(table.take_changes().is_empty());
    }

    #[test]
    fn of_a_key_with_entries_only_those_that_changed_are_told() {
        let mut table = KeyTable::new(2, true);
        let entries = [(b"x", b"1"), (b"y", b"2")];
        let entries = entries.map(|(k, v)| ((*k).into(), (*v).into()));
        let old = KeyState {
            entries: entries.into(),
            ..state(1)
        };
        table.restore([("a".into(), old)]);
        let place = table.find("a").unwrap();
        let mut lent = table.lend(place);
        lent.entries.remove(&b"x"[..]);
        table.put_back(place, lent, 0, true);
        table.entries_changed(&"a".into(), [(*b"x").into()].into());
        let change = KeyChange::Entries(state(1), vec![((*b"x").into(), None)]);
        assert_eq!(table.take_changes(), [("a".into(), change)]);
    }

    #[test]
    fn each_pond_is_told_what_it_lacks_and_what_it_has_to_forget() {
        let mut table = KeyTable::new(1, true);
        table.insert("a".into(), state(1));
        let one = |key: &str| BTreeMap::from([(Key::from(key), 1)]);
        let forgotten = table.stored(0, &one("a"));
        assert!(forgotten.gone.is_empty() && forgotten.too_many.is_empty());
        assert_eq!(
            (table.dirty(0, false).count(), table.dirty(1, false).count()),
            (0, 1)
        );
        table.insert("b".into(), state(1));
        assert_eq!(table.stored(0, &one("b")).gone, one("a"));
        assert_eq!(table.stored(1, &one("b")).gone, BTreeMap::new());
    }

    #[test]
    fn a_million_keys_are_never_more_than_the_limit() {
        let mut table = KeyTable::new(100, false);
        for n in 0..1_000_000 {
            table.insert(format!("{n}").into(), state(1));
        }
        assert_eq!(
            (table.held.len(), table.places.len(), table.bytes()),
            (100, 100, 800)
        );
        assert!(table.changed.is_empty());
        assert!(table.find("999999").is_some());
    }

    #[test]
    fn long_keys_are_bounded_by_the_bytes_of_the_rule() {
        let mut table = KeyTable::new(10_000, true);
        for n in 0..100 {
            let key = format!("{n:060000}");
            table.insert(key.as_str().into(), state(4));
            while table.shrink(1 << 20, &key).is_some() {}
            assert!(table.bytes() <= 1 << 20 && table.held.len() <= 17);
        }
        let bytes = table.bytes();
        table.update_all(|_, _| {});
        assert_eq!(table.bytes(), bytes);
        while let Some(key) = table.held.first().map(|held| held.key.clone()) {
            table.remove(&key);
        }
        assert_eq!(table.bytes(), 0);
    }

    #[test]
    fn bytes_above_the_limit_cost_the_other_keys() {
        let mut table = KeyTable::new(10, true);
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
