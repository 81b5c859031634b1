//! The batches of one lane in their order. A batch that was refused comes back in pieces: until it
//! has, nothing behind it leaves. Pure.

use std::collections::BTreeMap;

use super::super::Shipped;
use crate::event::emission::Row;

#[derive(Debug, Default)]
pub(super) struct Batches {
    /// By the number of their first row.
    waiting: BTreeMap<u64, Waiting>,
    rows: usize,
    /// The last row of a batch that was refused and has not come back whole.
    refused: Option<u64>,
    /// Number of batches refused.
    refusals: u64,
}

/// A batch that is not settled.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) rows: Vec<Row>,
    /// Every row was refused at the last try.
    pub(super) stands_still: bool,
}

impl Batches {
    /// A batch that the mill shipped.
    pub(super) fn push(&mut self, batch: Shipped) {
        let Shipped {
            rows,
            refusals: known,
            stands_still,
        } = batch;
        let Some(first) = rows.first().map(|row| row.seq) else {
            return;
        };
        // The mill knows of the refusal, and goes on behind it: it has dealt with it.
        let behind = self.refused.is_some_and(|refused| first > refused);
        if behind && known >= self.refusals {
            self.refused = None;
        }
        self.rows += rows.len();
        let batch = Waiting { rows, stands_still };
        if let Some(before) = self.waiting.insert(first, batch) {
            self.rows -= before.rows.len();
        }
    }

    /// The next batch that may leave. It stays until it is settled.
    pub(super) fn peek(&self) -> Option<&Waiting> {
        let (first, batch) = self.waiting.first_key_value()?;
        let held = self.refused.is_some_and(|refused| *first > refused);
        (!held).then_some(batch)
    }

    /// The batch that begins with this row was taken.
    pub(super) fn taken(&mut self, first: u64) -> Option<u64> {
        let last = self.remove(first)?;
        if self.refused.is_some_and(|refused| last >= refused) {
            self.refused = None;
        }
        Some(last)
    }

    /// The batch that begins with this row will not be taken as it is.
    pub(super) fn refused(&mut self, first: u64) -> Option<u64> {
        let last = self.remove(first)?;
        self.refusals += 1;
        if first < last {
            let refused = self.refused.unwrap_or(last);
            self.refused = Some(refused.max(last));
        } else if self.refused.is_some_and(|refused| last >= refused) {
            self.refused = None;
        }
        Some(last)
    }

    fn remove(&mut self, first: u64) -> Option<u64> {
        let batch = self.waiting.remove(&first)?;
        self.rows -= batch.rows.len();
        batch.rows.last().map(|row| row.seq)
    }

    /// Rows that are not settled.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn batch(numbers: std::ops::RangeInclusive<u64>, refusals: u64) -> Shipped {
        let row = |seq| Row {
            seq,
            rule: "r".into(),
            topic: Topic::new("t").unwrap(),
            payload: bytes::Bytes::new(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        };
        Shipped {
            rows: numbers.map(row).collect(),
            refusals,
            stands_still: false,
        }
    }

    fn next(batches: &Batches) -> Option<(u64, u64)> {
        let batch = &batches.peek()?.rows;
        Some((batch.first()?.seq, batch.last()?.seq))
    }

    #[test]
    fn what_is_behind_a_refused_batch_waits_for_its_pieces() {
        let mut batches = Batches::default();
        batches.push(batch(1..=4, 0));
        batches.push(batch(5..=6, 0));
        assert_eq!(batches.refused(1), Some(4));
        // Shipped before the mill heard of it.
        batches.push(batch(7..=7, 0));
        assert_eq!((next(&batches), batches.rows()), (None, 3));
        batches.push(batch(1..=2, 1));
        assert_eq!(batches.taken(1), Some(2));
        assert_eq!(next(&batches), None);
        batches.push(batch(3..=4, 1));
        assert_eq!(batches.refused(3), Some(4));
        batches.push(batch(3..=3, 2));
        assert_eq!(batches.refused(3), Some(3));
        assert_eq!(next(&batches), None);
        batches.push(batch(4..=4, 3));
        assert_eq!(batches.taken(4), Some(4));
        assert_eq!(next(&batches), Some((5, 6)));
    }

    #[test]
    fn a_later_batch_shows_that_the_refused_one_was_dealt_with() {
        let mut batches = Batches::default();
        batches.push(batch(1..=4, 0));
        batches.refused(1);
        batches.push(batch(5..=6, 1));
        assert_eq!(next(&batches), Some((5, 6)));
    }

    #[test]
    fn a_batch_that_comes_before_one_on_its_way_is_not_taken_for_it() {
        let mut batches = Batches::default();
        batches.push(batch(5..=6, 0));
        batches.push(batch(1..=1, 0));
        assert_eq!(batches.taken(5), Some(6));
        assert_eq!(next(&batches), Some((1, 1)));
    }
}
