//! An object: named values in the order in which they were first set. Most have a few names and are
//! searched from the front; beyond that an index is kept, so that a payload with a hundred thousand
//! names does not take hours.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Value;
use crate::value::{SHARED_BYTES, SLOT_BYTES};

/// From this many names on there is an index: below it, comparing is faster than hashing.
const INDEX_FROM: usize = 16;

/// Bytes of an object without its names.
pub(crate) const MAP_BYTES: usize = SHARED_BYTES + 112;
/// Bytes of a name's place in the index.
const INDEX_BYTES: usize = 48;

/// Bytes of a name and its value beside what the value takes itself.
pub(crate) fn entry_weight(name: &str) -> usize {
    SHARED_BYTES + 16 + name.len()
}

/// Named values. Two are equal if the same names have equal values, in whatever order.
#[derive(Debug, Clone, Default)]
pub struct Map {
    entries: Vec<(Arc<str>, Value)>,
    /// Places in `entries`; empty while there are few. Its own order reaches nobody.
    index: HashMap<Arc<str>, usize>,
    size: usize,
    weight: usize,
    /// Depth of the deepest value that was ever in the map.
    inner_depth: usize,
}

impl Map {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// `true` if the object is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let place = self.place(name)?;
        self.entries.get(place).map(|(_, value)| value)
    }

    /// The value of a name, or else of the last name that differs from it only in the case of ASCII
    /// letters, as columns are found: of duplicate names the last one counts.
    pub fn get_column(&self, name: &str) -> Option<&Value> {
        self.get(name).or_else(|| {
            self.entries
                .iter()
                .rfind(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    }

    /// Sets a name's value; a new name comes last.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Value) {
        self.set(name.into(), value);
    }

    /// Sets a name's value; returns its place.
    pub(crate) fn set(&mut self, name: Arc<str>, value: Value) -> usize {
        self.size = self.size.saturating_add(value.size());
        self.weight = self.weight.saturating_add(value.weight());
        self.inner_depth = self.inner_depth.max(value.depth());
        let known = self.place(&name);
        let place = known.unwrap_or(self.entries.len());
        match self.entries.get_mut(place) {
            Some((_, old)) => {
                self.size = self.size.saturating_sub(old.size());
                self.weight = self.weight.saturating_sub(old.weight());
                *old = value;
            }
            None => {
                self.size = self.size.saturating_add(name.len() + 2);
                self.weight = self.weight.saturating_add(entry_weight(&name));
                if !self.index.is_empty() {
                    self.index.insert(name.clone(), place);
                }
                self.entries.push((name, value));
                if self.entries.len() == INDEX_FROM {
                    self.rebuild();
                }
            }
        }
        place
    }

    /// Changes a name's value where it is.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let place = self.place(name);
        let Some((_, value)) = place.and_then(|place| self.entries.get_mut(place)) else {
            return;
        };
        let (size, weight) = (value.size(), value.weight());
        change(value);
        self.inner_depth = self.inner_depth.max(value.depth());
        self.size = self.size.saturating_sub(size).saturating_add(value.size());
        self.weight = self.weight.saturating_sub(weight);
        self.weight = self.weight.saturating_add(value.weight());
    }

    /// Puts the names in the order of the ranks of their places.
    pub(crate) fn arrange(&mut self, ranks: &[usize]) {
        let entries = std::mem::take(&mut self.entries);
        let mut ranked: Vec<_> = ranks.iter().copied().zip(entries).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        self.entries = ranked.into_iter().map(|(_, entry)| entry).collect();
        self.rebuild();
    }

    /// Takes a name out; the others keep their order.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let place = self.place(name)?;
        let (_, value) = self.entries.remove(place);
        self.rebuild();
        Some(value)
    }

    /// Keeps the names of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.entries.retain(|(name, _)| keep(name));
        self.rebuild();
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Value)> + DoubleEndedIterator {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// Approximate size in bytes when written out.
    pub fn size(&self) -> usize {
        self.size + 2
    }

    /// Bytes of memory that it would take if it shared no part with another: see [`Value::weight`].
    pub fn weight(&self) -> usize {
        self.weight
            .saturating_add(MAP_BYTES + self.index.len() * INDEX_BYTES)
    }

    /// Bytes of memory that nothing else holds: see [`Value::fresh`].
    pub fn fresh(&self) -> usize {
        let mut bytes = MAP_BYTES + self.index.capacity() * INDEX_BYTES;
        // A name that is in the index as well is held twice by this object alone.
        let own = 1 + usize::from(!self.index.is_empty());
        for (name, value) in &self.entries {
            if Arc::strong_count(name) <= own {
                bytes += SHARED_BYTES + name.len();
            }
            bytes += value.fresh();
        }
        bytes + self.entries.capacity() * (16 + SLOT_BYTES)
    }

    /// Nesting depth, this object included.
    pub fn depth(&self) -> usize {
        self.inner_depth + 1
    }

    fn place(&self, name: &str) -> Option<usize> {
        if self.index.is_empty() {
            self.entries.iter().position(|(key, _)| **key == *name)
        } else {
            self.index.get(name).copied()
        }
    }

    /// After places moved or names went.
    fn rebuild(&mut self) {
        self.size = self
            .iter()
            .map(|(name, value)| name.len() + 2 + value.size())
            .fold(0, usize::saturating_add);
        self.weight = self
            .iter()
            .map(|(name, value)| entry_weight(name) + value.weight())
            .fold(0, usize::saturating_add);
        self.index.clear();
        if self.entries.len() >= INDEX_FROM {
            let places = self.entries.iter().enumerate();
            self.index
                .extend(places.map(|(place, (name, _))| (name.clone(), place)));
        }
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<N: Into<Arc<str>>> Extend<(N, Value)> for Map {
    fn extend<I: IntoIterator<Item = (N, Value)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: usize) -> Map {
        (0..names)
            .map(|name| (name.to_string(), Value::Int(name as i64)))
            .collect()
    }

    #[test]
    fn order_lasts_with_and_without_an_index() {
        for len in [3, 15, 16, 17, 1_000] {
            let mut map = map(len);
            map.insert("1", Value::Null);
            assert_eq!(map.remove("0"), Some(Value::Int(0)));
            assert_eq!(map.remove("0"), None);
            map.insert("0", Value::Int(7));
            assert_eq!(map.len(), len);
            let names: Vec<&str> = map.iter().map(|(name, _)| &**name).collect();
            assert_eq!((names[0], names[len - 1]), ("1", "0"));
            assert_eq!(map.get("1"), Some(&Value::Null));
            assert_eq!(map.get("2"), Some(&Value::Int(2)));
            assert_eq!(map.get("0"), Some(&Value::Int(7)));
            assert_eq!(map.get("x"), None);
            map.retain(|name| name.len() == 1 && name != "2");
            assert_eq!(map.get("2"), None);
            assert_eq!(map.get("0"), Some(&Value::Int(7)));
        }
    }

    #[test]
    fn size_and_depth_follow_what_is_in_it() {
        let mut map = map(20);
        map.insert("list", Value::list(vec![Value::list(Vec::new())]));
        let anew: Map = map
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        assert_eq!((map.size(), map.depth()), (anew.size(), 3));
        assert_eq!(map.weight(), anew.weight());
        map.insert("list", Value::from("x"));
        map.remove("3");
        let anew: Map = map
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        assert_eq!(map.size(), anew.size());
        assert_eq!(map.weight(), anew.weight());
        map.change("4", |value| *value = Value::from("longer"));
        let anew: Map = map
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        assert_eq!((map.size(), map.weight()), (anew.size(), anew.weight()));
    }

    #[test]
    fn columns_are_found_in_any_case() {
        let map: Map = [("temp", Value::Int(1)), ("Temp", Value::Int(2))]
            .into_iter()
            .collect();
        assert_eq!(map.get_column("temp"), Some(&Value::Int(1)));
        assert_eq!(map.get_column("TEMP"), Some(&Value::Int(2)));
        assert_eq!(map.get_column("hum"), None);
    }
}
