//! Rows of a lane that are in the journal only, on their way back into memory, or to a younger
//! place in the journal.

use std::collections::BTreeSet;

use super::{Lane, Wanted};
use crate::commit::outbox::gap::Gap;
use crate::commit::outbox::store::row_bytes;
use crate::commit::record::row_bytes_max;
use crate::event::emission::Row;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

impl Lane {
    /// The rows that have to be read back next.
    pub(in crate::commit::outbox) fn wants(&mut self, durable_lsn: Lsn) -> Option<Wanted> {
        let asked = self.store.wants_more() || self.lacks_request() || self.lacks_next_to_try();
        if self.reading || !asked {
            return None;
        }
        self.begin_reading(None, durable_lsn)
    }

    /// `true` if a request that was out when the process ended is not entirely in memory.
    fn lacks_request(&self) -> bool {
        let last = self.store.last_in_memory().unwrap_or(0);
        self.batch
            .is_some_and(|(_, end)| self.handed < end && last < end)
    }

    /// `true` if all rows in memory were refused, and one behind them is to be tried.
    fn lacks_next_to_try(&self) -> bool {
        let last = self.store.last_in_memory();
        let refused = self.refusals.last_suspect();
        self.batch.is_none() && refused.is_some() && last <= refused
    }

    fn begin_reading(&mut self, floor_lsn: Option<Lsn>, durable_lsn: Lsn) -> Option<Wanted> {
        let chunk = self.store.begin_reading(floor_lsn, durable_lsn)?;
        self.reading = true;
        Some(Wanted {
            from_lsn: chunk.lsn,
            to_lsn: chunk.last_lsn,
            first: chunk.first,
            last: chunk.last,
        })
    }

    /// Rows that were asked for could not be read.
    pub(in crate::commit::outbox) fn read_failed(&mut self) {
        self.reading = false;
        self.store.stop_reading();
    }

    /// Rows that were asked for have come. Returns how many of them the journal does not have any
    /// more, which never happens unless it was damaged.
    pub(in crate::commit::outbox) fn rows_read(&mut self, rows: Vec<(Lsn, Row)>) -> u64 {
        self.reading = false;
        let settled = &self.settled;
        let Some(missing) = self.store.refill(rows, |seq| !settled.contains(seq)) else {
            return 0;
        };
        let held = self.store.after(missing.first - 1);
        let there = held.map(|held| held.row.seq).collect();
        self.drop_all_but(&there, (missing.first, missing.last), missing.gap)
    }

    /// Drops the rows of a range that neither are settled nor were read; `told` is the gap reported
    /// by gap records among them. Returns their number.
    fn drop_all_but(
        &mut self,
        there: &BTreeSet<u64>,
        (first, last): (u64, u64),
        told: Option<Gap>,
    ) -> u64 {
        let before = self.counts.dropped;
        for seq in first..=last {
            if !there.contains(&seq) && !self.settled.contains(seq) {
                self.drop_rows(seq, seq, None);
            }
        }
        let dropped = self.counts.dropped - before;
        if let Some(told) = told.filter(|_| dropped > 0) {
            self.gap = Some(told.and(self.gap));
        }
        dropped
    }

    /// Drops the rows that should wait and are not known. Returns how many.
    pub(in crate::commit::outbox) fn drop_missing(&mut self) -> u64 {
        let before = self.counts.dropped;
        let mut next = self.settled.cursor() + 1;
        let end = (self.last_seq + 1, self.last_seq + 1);
        for (first, last) in self.store.known().into_iter().chain([end]) {
            if first > next && self.settled.absent(next, first - 1) > 0 {
                // Of gap records that cannot be read it is known what they told.
                let told = self.gap_rows.told_in(next, first - 1);
                self.drop_rows(next, first - 1, told);
            }
            next = next.max(last + 1);
        }
        self.counts.dropped - before
    }

    /// Writes the oldest rows again in the commit `lsn`, because they alone keep old segments from
    /// being used anew: those in memory from commits before `floor_lsn`. Returns their bytes.
    pub(in crate::commit::outbox) fn relocate(
        &mut self,
        floor_lsn: Lsn,
        lsn: Lsn,
        bytes_max: usize,
    ) -> usize {
        let mut bytes = 0;
        for held in self.store.head_mut() {
            if held.lsn >= floor_lsn {
                continue;
            }
            if bytes >= bytes_max {
                break;
            }
            bytes += row_bytes(&held.row);
            held.lsn = lsn;
            self.delta_bytes += row_bytes_max(&held.row);
            self.delta.relocated.push(held.row.clone());
        }
        bytes
    }

    /// Like [`Lane::relocate`], for rows that have to be read first.
    pub(in crate::commit::outbox) fn wants_to_relocate(
        &mut self,
        floor_lsn: Lsn,
        durable_lsn: Lsn,
    ) -> Option<Wanted> {
        if self.reading {
            return None;
        }
        self.begin_reading(Some(floor_lsn), durable_lsn)
    }

    /// Takes the rows to relocate. Those that were not read are dropped while the commit that can
    /// report them is still at hand: once their segment is reused, nothing shows that they ever
    /// were. Returns their number.
    pub(in crate::commit::outbox) fn relocate_read(
        &mut self,
        rows: Vec<(Lsn, Row)>,
        lsn: Lsn,
    ) -> u64 {
        self.reading = false;
        let settled = &self.settled;
        let told = Gap::of_all(rows.iter().map(|(_, row)| row));
        let rows = rows.into_iter().map(|(_, row)| row);
        let mut there = BTreeSet::new();
        for row in rows.filter(|row| !settled.contains(row.seq)) {
            there.insert(row.seq);
            self.delta_bytes += row_bytes_max(&row);
            self.delta.relocated.push(row);
        }
        let asked = self.store.being_read();
        let asked = asked.filter(|_| !sabotage::is(Sabotage::MovedUncounted));
        let asked = asked.map(|chunk| (chunk.first, chunk.last, chunk.gap));
        let missing = asked.map_or(0, |(first, last, gap)| {
            let lost = gap.and_then(|gap| gap.without(told));
            self.drop_all_but(&there, (first, last), lost)
        });
        self.store.moved(lsn, told);
        missing
    }
}
