//! Rows of lanes that stand in the journal only, on their way back into memory. A read that fails is to be
//! tried again; after several failures the rows come as far as the records with them are whole, because
//! one sector of a card may be gone for good. Knows no thread and no clock.

mod failures;

use std::time::Duration;

use crate::commit::outbox::Wanted;
use crate::commit::record::{Commit, Parts, RecordError};
use crate::event::emission::{LaneId, Row};
use tidemill_base::number::Lsn;
use tidemill_journal::{Disk, JournalError, Reader, SalvageError};

use failures::Failures;
use tracing::error;

/// Records read at once behind the last one wanted, for the rest of its commit.
const PARTS_AT_ONCE: u64 = 64;

/// Rows that cannot be read now.
#[derive(Debug)]
pub struct Unread {
    /// Time until the same rows are to be asked for again.
    pub rest: Duration,
    /// The cause.
    pub error: ReadbackError,
}

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadbackError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The bytes are no record.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Reads rows back, for all lanes.
pub struct Readback<D: Disk> {
    reader: Reader<D>,
    bytes_at_once: usize,
    failures: Failures,
}

impl<D: Disk> Readback<D> {
    /// A reader that takes so many bytes of the journal at once.
    pub fn new(reader: Reader<D>, bytes_at_once: usize) -> Self {
        Self {
            reader,
            bytes_at_once,
            failures: Failures::default(),
        }
    }

    /// The rows of a lane that are wanted, in order, with the commits that they stand in. After several
    /// failures those rows are left out whose records cannot be read.
    ///
    /// # Errors
    /// When they cannot be read now: the same rows are to be asked for again after a rest, which grows.
    pub fn rows(&mut self, lane: &LaneId, wanted: &Wanted) -> Result<Vec<(Lsn, Row)>, Unread> {
        let read = self.all_rows(lane, wanted);
        let read = read.or_else(|failed| self.rows_beside(failed, lane, wanted));
        match read {
            Ok(rows) => {
                self.failures.forget(lane, wanted);
                Ok(rows)
            }
            Err(error) => {
                let rest = self.failures.count(lane, wanted);
                Err(Unread { rest, error })
            }
        }
    }

    /// The rows after a failure to read their segment up to them: all, if the unreadable part
    /// stands elsewhere in it, or those that are left after several failures.
    fn rows_beside(
        &mut self,
        failed: ReadbackError,
        lane: &LaneId,
        wanted: &Wanted,
    ) -> Result<Vec<(Lsn, Row)>, ReadbackError> {
        // Of a segment that cannot be opened nothing is known: its rows are whole, for all that can be said.
        let found = self.rows_that_are_whole(lane, wanted)?;
        if found.is_complete {
            return Ok(found.rows);
        }
        if self.failures.are_too_many(lane, wanted) {
            error!(%lane, "rows cannot be read back from the journal: what is whole of them goes on");
            return Ok(found.rows);
        }
        Err(failed)
    }

    fn all_rows(
        &mut self,
        lane: &LaneId,
        wanted: &Wanted,
    ) -> Result<Vec<(Lsn, Row)>, ReadbackError> {
        let mut rows = Vec::new();
        let mut from_lsn = wanted.from_lsn;
        let mut parts = Parts::default();
        // A commit of several records goes by its first one.
        while from_lsn <= wanted.to_lsn || parts.began().is_some_and(|lsn| lsn <= wanted.to_lsn) {
            let records = match self.reader.read(from_lsn, self.bytes_at_once) {
                // The missing records were cut by a repair: the lane says how many rows that are.
                Err(JournalError::Gap { first, .. }) if first > from_lsn => {
                    from_lsn = first;
                    continue;
                }
                records => records?,
            };
            let Some((last, _)) = records.last() else {
                break;
            };
            from_lsn = *last + 1;
            for (lsn, bytes) in records {
                if let Some((lsn, commit)) = parts.push(lsn, &bytes)? {
                    rows.extend(found_in(commit, lsn, lane, wanted));
                }
            }
        }
        Ok(in_order(rows))
    }

    /// As [`Readback::all_rows`], as far as the records with them are whole.
    fn rows_that_are_whole(
        &mut self,
        lane: &LaneId,
        wanted: &Wanted,
    ) -> Result<Found, JournalError> {
        let (mut rows, mut parts) = (Vec::new(), Parts::default());
        let mut range = (wanted.from_lsn, wanted.to_lsn);
        // The first record that is missing, or would come next.
        let mut next = wanted.from_lsn;
        loop {
            let mut last_lsn = None;
            let read = self.reader.read_what_is_whole(range, |lsn, bytes| {
                last_lsn = Some(lsn);
                next += u64::from(lsn == next);
                if let Some((lsn, commit)) = parts.push(lsn, bytes)? {
                    rows.extend(found_in(commit, lsn, lane, wanted));
                }
                Ok::<_, RecordError>(())
            });
            match read {
                Ok(()) => {}
                Err(SalvageError::Unopened(error)) => return Err(error),
                Err(SalvageError::Visit(error)) => {
                    error!(%lane, "a record of the journal cannot be used: {error}");
                    return Ok(Found {
                        rows: in_order(rows),
                        is_complete: false,
                    });
                }
            }
            // A commit of several records goes by its first one. Where the next of them is missing, so is it.
            let is_cut = parts.began().is_some_and(|lsn| lsn <= wanted.to_lsn);
            if !is_cut || last_lsn != Some(range.1) {
                return Ok(Found {
                    rows: in_order(rows),
                    is_complete: next > wanted.to_lsn && !is_cut,
                });
            }
            range = (range.1 + 1, range.1.saturating_add(PARTS_AT_ONCE));
        }
    }
}

/// Rows of records that are whole.
struct Found {
    rows: Vec<(Lsn, Row)>,
    /// All records that were wanted are.
    is_complete: bool,
}

fn found_in(
    commit: Commit,
    lsn: Lsn,
    lane: &LaneId,
    wanted: &Wanted,
) -> impl Iterator<Item = (Lsn, Row)> {
    let deltas = commit.lanes.into_iter();
    let deltas = deltas.filter(move |delta| delta.lane.as_ref() == Some(lane));
    let found = deltas.flat_map(|delta| delta.rows.into_iter().chain(delta.relocated));
    let is_wanted = move |row: &Row| (wanted.first..=wanted.last).contains(&row.seq);
    found.filter(is_wanted).map(move |row| (lsn, row))
}

fn in_order(mut rows: Vec<(Lsn, Row)>) -> Vec<(Lsn, Row)> {
    rows.sort_by_key(|(lsn, row)| (row.seq, *lsn));
    rows.dedup_by_key(|(_, row)| row.seq);
    rows
}

#[cfg(test)]
mod tests;
