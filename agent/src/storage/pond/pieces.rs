//! Values as sled gets them: cut into pieces so short that no leaf of sled's tree grows into a file of
//! its own, and the sum over all pieces, by which a database that is not whole is found out.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3Default;

use super::entry::{Entry, MARK};
use super::error::Trouble;

/// Longest piece of a value. sled writes a leaf whole, with 17 entries and up to 3 more while two are
/// merged, and one above 131,020 bytes to a file beside its log, which it never syncs. 20 pieces, with
/// keys of some 350 bytes each, come to 90 KB.
pub(super) const PIECE_BYTES_MAX: usize = 4_096;

/// Bytes of a piece's number at the end of its key, and of the count in front of the first piece.
const NUMBER_BYTES: usize = 2;

/// The count of pieces of a database and the sum of their hashes: the same whatever their order, so
/// that it can be kept up while single pieces change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) count: u64,
    pub(super) sum: u128,
}

impl Contents {
    pub(super) fn add(&mut self, key: &[u8], piece: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, piece));
    }

    pub(super) fn remove(&mut self, key: &[u8], piece: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, piece));
    }
}

fn hash(key: &[u8], piece: &[u8]) -> u128 {
    let mut hash = Xxh3Default::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(piece);
    hash.digest128()
}

/// The key of a piece.
pub(super) fn piece_key(key: &[u8], number: u16) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

/// Cuts a value into pieces of at most `bytes_max` bytes.
pub(super) fn cut(key: &[u8], value: &[u8], bytes_max: usize) -> Result<Vec<Entry>, Trouble> {
    let count = value.len().div_ceil(bytes_max).max(1);
    let count = u16::try_from(count).map_err(|_| {
        let bytes = value.len();
        Trouble::Damaged(format!("a value of {bytes} bytes is too long to be kept"))
    })?;
    let mut pieces = Vec::with_capacity(count.into());
    let (first, rest) = value.split_at(value.len().min(bytes_max));
    let first = [&count.to_le_bytes()[..], first].concat();
    pieces.push((piece_key(key, 0), first));
    let rest = (1..).zip(rest.chunks(bytes_max));
    pieces.extend(rest.map(|(number, piece)| (piece_key(key, number), piece.to_vec())));
    Ok(pieces)
}

/// Count of pieces that a value was cut into, read from its first piece.
pub(super) fn count_in(first: &[u8]) -> Result<u16, Trouble> {
    let count = first.first_chunk().copied().map(u16::from_le_bytes);
    count.filter(|count| *count > 0).ok_or_else(not_whole)
}

/// Puts values together again from their pieces, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Joined {
    values: BTreeMap<Vec<u8>, Value>,
    pub(super) contents: Contents,
}

#[derive(Debug, Default)]
struct Value {
    count: u16,
    next: u16,
    bytes: Vec<u8>,
}

impl Joined {
    pub(super) fn push(&mut self, key: &[u8], piece: &[u8]) -> Result<(), Trouble> {
        self.contents.add(key, piece);
        let (of, number) = key
            .split_last_chunk::<NUMBER_BYTES>()
            .ok_or_else(not_whole)?;
        let number = u16::from_be_bytes(*number);
        let (count, bytes) = match number {
            0 => (
                count_in(piece)?,
                piece.get(NUMBER_BYTES..).unwrap_or_default(),
            ),
            _ => (0, piece),
        };
        let value = self.values.entry(of.to_vec()).or_default();
        if number != value.next {
            return Err(not_whole());
        }
        value.count = value.count.max(count);
        value.next = number.checked_add(1).ok_or_else(not_whole)?;
        value.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// All values, in order of their keys.
    pub(super) fn finish(self) -> Result<Vec<Entry>, Trouble> {
        let values = self.values.into_iter();
        values
            .map(|(key, value)| {
                if value.next == value.count {
                    Ok((key, value.bytes))
                } else {
                    Err(not_whole())
                }
            })
            .collect()
    }
}

fn not_whole() -> Trouble {
    Trouble::Damaged("a value is not whole".to_owned())
}

/// `true` if a key is the mark's, which is no piece of a value.
pub(super) fn is_mark(key: &[u8]) -> bool {
    key == MARK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[Entry]) -> Result<Vec<Entry>, Trouble> {
        let mut joined = Joined::default();
        let mut sorted = pieces.to_vec();
        sorted.sort();
        for (key, piece) in &sorted {
            joined.push(key, piece)?;
        }
        joined.finish()
    }

    #[test]
    fn pieces_are_stable() {
        let pieces = cut(b"k", b"abcde", 2).unwrap();
        let expected: [(&[u8], &[u8]); 3] = [
            (&[b'k', 0, 0], &[3, 0, b'a', b'b']), // count of pieces, the first one
            (&[b'k', 0, 1], b"cd"),
            (&[b'k', 0, 2], b"e"),
        ];
        let expected = expected.map(|(key, piece)| (key.to_vec(), piece.to_vec()));
        assert_eq!(pieces, expected);
        let mut contents = Contents::default();
        pieces
            .iter()
            .for_each(|(key, piece)| contents.add(key, piece));
        assert_eq!(contents.count, 3);
        assert_eq!(
            contents.sum,
            281_788_421_805_171_324_993_338_049_524_764_743_686
        );
    }

    #[test]
    fn values_of_neighbouring_keys_come_back_whole() {
        let values: [(&[u8], usize); 5] = [
            (b"a", 700),
            (b"a\0", 3),
            (b"a\0\0", 0),
            (b"a\0\x01", 9),
            (b"b", 4),
        ];
        let values = values.map(|(key, bytes)| (key.to_vec(), vec![b'v'; bytes]));
        let pieces: Vec<Entry> = values
            .iter()
            .flat_map(|(key, value)| cut(key, value, 2).unwrap())
            .collect();
        assert_eq!(joined(&pieces).unwrap(), values);
    }

    #[test]
    fn a_value_that_lacks_a_piece_is_refused() {
        let pieces = cut(b"k", b"abcdef", 2).unwrap();
        for lost in 0..pieces.len() {
            let mut left = pieces.clone();
            left.remove(lost);
            assert!(joined(&left).is_err(), "without piece {lost}");
        }
        let longest = vec![0; usize::from(u16::MAX) * 2];
        assert!(cut(b"k", &longest, 2).is_ok());
        assert!(cut(b"k", &[&longest[..], &[0]].concat(), 2).is_err());
    }

    #[test]
    fn contents_do_not_depend_on_the_order_and_follow_changes() {
        let mut one = Contents::default();
        one.add(b"x", b"1");
        one.add(b"y", b"2");
        let mut other = Contents::default();
        other.add(b"z", b"3");
        other.add(b"y", b"2");
        other.add(b"x", b"1");
        assert_ne!(one, other);
        other.remove(b"z", b"3");
        assert_eq!(one, other);
        other.remove(b"y", b"2");
        other.add(b"y", b"3");
        assert_ne!(one, other);
    }
}
