//! A commit that is longer than a record of the journal may be, as several records that count
//! together or not at all. The effects of one event have to be in one commit, and its length shows
//! only once they are complete; so no commit is too long to be written.

use tidemill_base::number::Lsn;

use super::codec::{Reader, RecordError};
use super::commit::{COMMIT_FORMAT, Commit, SECTIONS_FORMAT};

/// Version of the format of a part.
const PART_FORMAT: u8 = 3;

/// Bytes before what a part holds of the commit: format, number, count.
const HEAD_BYTES: usize = 9;

/// A record of the journal, at least: so that a part holds more than its own head.
pub const RECORD_BYTES_MIN: usize = 256;

/// The records of at most `record_bytes_max` bytes that a commit is written as: one, if it fits.
pub fn cut(commit: Vec<u8>, record_bytes_max: usize) -> Vec<Vec<u8>> {
    if commit.len() <= record_bytes_max {
        return vec![commit];
    }
    let each = record_bytes_max.max(RECORD_BYTES_MIN) - HEAD_BYTES;
    let small = |n: usize| u32::try_from(n).expect("memory ends before a commit has so many parts");
    let count = small(commit.len().div_ceil(each));
    let part = |(number, bytes): (u32, &[u8])| {
        let mut record = Vec::with_capacity(HEAD_BYTES + bytes.len());
        record.push(PART_FORMAT);
        record.extend(number.to_le_bytes());
        record.extend(count.to_le_bytes());
        record.extend_from_slice(bytes);
        record
    };
    (0..).zip(commit.chunks(each)).map(part).collect()
}

/// Number of a part and the number of parts of its commit; `None` if the record is a whole commit.
pub fn part_of(record: &[u8]) -> Option<(u32, u32)> {
    let mut reader = Reader::of_format(record, PART_FORMAT).ok()?;
    Some((reader.u32().ok()?, reader.u32().ok()?))
}

/// Puts commits together again. What a crash has cut off is dropped: its end was never durable, and
/// nothing that hung on it was let go.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The record of the first part.
    first_lsn: Lsn,
    /// The record that would go on.
    next_lsn: Lsn,
    /// The next part expected, and the number of parts; no part is expected if both are 0.
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Parts {
    /// Takes the next record. Returns a commit that is whole with it, and the record in which that
    /// began.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn push(&mut self, lsn: Lsn, record: &[u8]) -> Result<Option<(Lsn, Commit)>, RecordError> {
        if record.first() != Some(&PART_FORMAT) {
            *self = Self::default();
            return Ok(Some((lsn, Commit::decode(record)?)));
        }
        let (number, count) = part_of(record).ok_or(RecordError::Damaged)?;
        if number == 0 {
            *self = Self {
                first_lsn: lsn,
                next_lsn: lsn,
                count,
                ..Self::default()
            };
        }
        if (lsn, number, count) != (self.next_lsn, self.next, self.count) || number >= count {
            // The rest of one whose beginning is gone.
            *self = Self::default();
            return Ok(None);
        }
        let bytes = record.get(HEAD_BYTES..).unwrap_or_default();
        self.bytes.extend_from_slice(bytes);
        (self.next, self.next_lsn) = (number + 1, lsn.saturating_add(1));
        if self.next < count {
            return Ok(None);
        }
        let whole = std::mem::take(self);
        Ok(Some((whole.first_lsn, Commit::decode(&whole.bytes)?)))
    }

    /// The record in which a commit began of which not all parts have come.
    pub fn began(&self) -> Option<Lsn> {
        (self.count > 0).then_some(self.first_lsn)
    }
}

/// A summary of a record, in a few words.
///
/// # Errors
/// When it is of another format or damaged.
pub fn summary(record: &[u8]) -> Result<String, RecordError> {
    if let Some((number, count)) = part_of(record) {
        return Ok(format!("part {} of {count} of a commit", number + 1));
    }
    let commit = Commit::decode(record)?;
    let rows: usize = commit.lanes.iter().map(|lane| lane.rows.len()).sum();
    let settled: usize = commit.lanes.iter().map(|lane| lane.settled.len()).sum();
    let keys: usize = commit.rules.iter().map(|rule| rule.keys.len()).sum();
    let receipts = commit.receipts.len();
    Ok(format!(
        "{receipts} receipts, {keys} keys, {rows} rows, {settled} settled"
    ))
}

const _: () = assert!(PART_FORMAT != COMMIT_FORMAT && PART_FORMAT != SECTIONS_FORMAT);

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(text: &str) -> Commit {
        Commit {
            in_seq: 7,
            subscriptions: Some(text.to_owned()),
            ..Commit::default()
        }
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        let parts = cut((0..=255).chain(0..=9).collect(), 256);
        assert_eq!(parts.len(), 2);
        #[rustfmt::skip]
        let head: &[u8] = &[
            3,          // format
            0, 0, 0, 0, // number of the part, from 0
            2, 0, 0, 0, // how many there are
            0, 1, 2,    // the commit
        ];
        assert!(parts[0].starts_with(head) && parts[0].len() == 256);
        let rest: Vec<u8> = (247..=255).chain(0..=9).collect();
        assert_eq!(parts[1], [&[3, 1, 0, 0, 0, 2, 0, 0, 0], &rest[..]].concat());
    }

    #[test]
    fn what_a_crash_cut_off_is_dropped_and_the_next_commit_counts() {
        let long = cut(commit(&"x".repeat(1_000)).encode(), 300);
        assert!(long.len() > 3);
        let mut parts = Parts::default();
        for (lsn, record) in (1..).zip(&long[..2]) {
            assert_eq!(parts.push(Lsn::new(lsn), record), Ok(None));
        }
        assert_eq!(parts.began(), Some(Lsn::new(1)));
        let next = commit("next");
        assert_eq!(
            parts.push(Lsn::new(3), &next.encode()),
            Ok(Some((Lsn::new(3), next)))
        );
        // The rest of a commit whose beginning was lost is none.
        for (lsn, record) in (4..).zip(&long[1..]) {
            assert_eq!(parts.push(Lsn::new(lsn), record), Ok(None));
        }
        assert_eq!(parts.began(), None);
        // Nor is one of which a part in the middle was lost.
        for (lsn, record) in (20..).zip(&long).filter(|(lsn, _)| *lsn != 21) {
            assert_eq!(parts.push(Lsn::new(lsn), record), Ok(None));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_commit_of_any_length_fits_into_records_of_any(
            len in 0usize..5_000,
            max in RECORD_BYTES_MIN..3_000,
            before in 0u64..3,
        ) {
            let long = commit(&"y".repeat(len));
            let bytes = long.encode();
            let records = cut(bytes.clone(), max);
            assert_eq!(records.len() == 1, bytes.len() <= max);
            let mut parts = Parts::default();
            let mut whole = None;
            for (lsn, record) in (before + 1..).zip(&records) {
                assert!(record.len() <= max);
                assert_eq!(whole, None);
                whole = parts.push(Lsn::new(lsn), record).unwrap();
            }
            assert_eq!(whole, Some((Lsn::new(before + 1), long)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, lsn: u64) {
            let mut parts = Parts::default();
            let _ = parts.push(Lsn::new(lsn.min(u64::MAX - 2)), &[&[PART_FORMAT], &bytes[..]].concat());
            let _ = (part_of(&bytes), summary(&bytes));
        }
    }
}
