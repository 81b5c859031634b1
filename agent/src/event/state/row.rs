//! Rows of a window: entries of the key that the host writes, so that they are journalled, kept and
//! limited as entries are. A name is `ff 'r'` and a number; a value is the row's time and its bytes.

use std::ops::Bound;

use super::entries::HOST_PREFIX;
use super::{Entries, KeyState};

const PREFIX: [u8; 2] = [HOST_PREFIX, b'r'];
const AFTER: [u8; 2] = [HOST_PREFIX, b'r' + 1];

/// The name of a row among the entries of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowName([u8; 10]);

impl RowName {
    /// Bytes of a row's time in front of the row, in the value of its entry.
    pub(super) const TIME_BYTES: usize = 8;

    /// `true` if an entry is a row.
    pub(super) fn is_one(name: &[u8]) -> bool {
        Self::number_in(name).is_some()
    }

    fn new(number: u64) -> Self {
        let mut name = [0; 10];
        let (prefix, rest) = name.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(&PREFIX);
        rest.copy_from_slice(&number.to_be_bytes());
        Self(name)
    }

    /// Number among the rows of its key, which rises.
    pub fn number(&self) -> u64 {
        let number = self.0.last_chunk().copied();
        number.map_or(0, u64::from_be_bytes)
    }

    fn number_in(name: &[u8]) -> Option<u64> {
        let number = name.strip_prefix(&PREFIX[..])?;
        number.try_into().ok().map(u64::from_be_bytes)
    }

    /// Name of the entry.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyState {
    /// The rows in the order in which they were put, with their times.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = (RowName, i64)> + '_ {
        range(&self.entries).filter_map(|(name, value)| {
            Some((RowName::new(RowName::number_in(name)?), time_of(value)?))
        })
    }

    /// The bytes of a row.
    pub fn row(&self, name: RowName) -> Option<&[u8]> {
        self.entries
            .get(name.as_bytes())?
            .get(RowName::TIME_BYTES..)
    }

    /// Adds a row behind all others; returns its name.
    pub fn put_row(&mut self, at: i64, bytes: &[u8]) -> RowName {
        let last = range(&self.entries).next_back();
        let last = last.and_then(|(name, _)| RowName::number_in(name));
        let name = RowName::new(last.map_or(0, |last| last.wrapping_add(1)));
        let value = [&at.to_le_bytes(), bytes].concat();
        self.entries.insert(name.as_bytes().into(), value.into());
        name
    }

    /// Removes a row.
    pub fn remove_row(&mut self, name: RowName) {
        self.entries.remove(name.as_bytes());
    }
}

/// Moves the times of all rows: those of monotonic time, when another boot begins.
pub fn shift_rows(entries: &mut Entries, place: impl Fn(i64) -> i64) {
    entries.update(&PREFIX, |value| {
        if let (Some(at), Some(time)) = (time_of(value), value.get_mut(..RowName::TIME_BYTES)) {
            time.copy_from_slice(&place(at).to_le_bytes());
        }
    });
}

fn range(entries: &Entries) -> impl DoubleEndedIterator<Item = (&Box<[u8]>, &Box<[u8]>)> + '_ {
    entries.range::<[u8], _>((Bound::Included(&PREFIX[..]), Bound::Excluded(&AFTER[..])))
}

fn time_of(value: &[u8]) -> Option<i64> {
    let time = value.get(..RowName::TIME_BYTES)?;
    time.try_into().ok().map(i64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_in_which_they_were_put() {
        let mut state = KeyState::default();
        state
            .entries
            .insert((*b"\xffs").into(), (*b"not a row").into());
        state
            .entries
            .insert((*b"mine").into(), (*b"neither").into());
        for (at, row) in [(5, "a"), (-3, "b"), (7, "")] {
            state.put_row(at, row.as_bytes());
        }
        let rows = |state: &KeyState| -> Vec<_> {
            let row = |(name, at)| (at, state.row(name).unwrap().to_vec());
            state.rows().map(row).collect()
        };
        let expected = [(5, b"a".to_vec()), (-3, b"b".to_vec()), (7, vec![])];
        assert_eq!(rows(&state), expected);
        let first = state.rows().next().unwrap().0;
        state.remove_row(first);
        shift_rows(&mut state.entries, |at| at + 100);
        assert_eq!(rows(&state), [(97, b"b".to_vec()), (107, vec![])]);
    }
}
