//! Byte entries by name, which know how many bytes they are.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::ops::{Bound, Deref};

/// Names that begin with this byte are the host's: a function can neither read nor write them.
pub const HOST_PREFIX: u8 = 0xff;

/// Bytes that an entry counts for besides its own: otherwise many tiny entries would cost the host
/// far more than they count for.
const ENTRY_OVERHEAD_BYTES: usize = 48;

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Bytes that an entry counts for.
pub fn entry_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

/// Entries by name, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entries {
    map: Map,
    bytes: usize,
}

impl Entries {
    /// Bytes that they count for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes an entry.
    pub fn insert(&mut self, name: Box<[u8]>, value: Box<[u8]>) {
        self.bytes += entry_bytes(&name, &value);
        let name_bytes = name.len();
        if let Some(old) = self.map.insert(name, value) {
            self.bytes -= name_bytes + old.len() + ENTRY_OVERHEAD_BYTES;
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &[u8]) {
        if let Some(old) = self.map.remove(name) {
            self.bytes -= entry_bytes(name, &old);
        }
    }

    /// Changes the values of the entries whose names begin with `prefix`, not their lengths.
    pub(super) fn update(&mut self, prefix: &[u8], mut change: impl FnMut(&mut [u8])) {
        let all = self
            .map
            .range_mut::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        for (_, value) in all.take_while(|(name, _)| name.starts_with(prefix)) {
            change(value);
        }
    }
}

impl Deref for Entries {
    type Target = Map;

    fn deref(&self) -> &Map {
        &self.map
    }
}

impl FromIterator<(Box<[u8]>, Box<[u8]>)> for Entries {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, Box<[u8]>)>>(entries: I) -> Self {
        let mut all = Self::default();
        for (name, value) in entries {
            all.insert(name, value);
        }
        all
    }
}

impl<const N: usize> From<[(Box<[u8]>, Box<[u8]>); N]> for Entries {
    fn from(entries: [(Box<[u8]>, Box<[u8]>); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl IntoIterator for Entries {
    type Item = (Box<[u8]>, Box<[u8]>);
    type IntoIter = IntoIter<Box<[u8]>, Box<[u8]>>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_every_change() {
        let mut entries = Entries::default();
        let put = |entries: &mut Entries, name: &[u8], value: &[u8]| {
            entries.insert(name.into(), value.into());
        };
        put(&mut entries, b"a", b"123");
        assert_eq!(entries.bytes(), 52);
        put(&mut entries, b"a", b"1");
        assert_eq!(entries.bytes(), 50);
        entries.remove(b"b");
        assert_eq!(entries.bytes(), 50);
        entries.remove(b"a");
        assert_eq!((entries.bytes(), entries.len()), (0, 0));
    }
}
