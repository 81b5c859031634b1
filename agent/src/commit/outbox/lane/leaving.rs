//! Rows on their way out of a lane: handed out once they are durable, or cut into requests that never
//! change.

use super::{Lane, Outlet};
use crate::commit::outbox::store::{Held, row_bytes};
use crate::event::emission::Row;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

impl Lane {
    /// The rows to hand to the destination now: durable ones, as far as there is room with it.
    pub(in crate::commit::outbox) fn hand_out(&mut self, durable_lsn: Lsn) -> Vec<Row> {
        let durable = |lsn: Lsn| lsn <= durable_lsn || sabotage::is(Sabotage::SendBeforeSync);
        if self.outlet == Outlet::Requests {
            return self.hand_out_request(&durable);
        }
        let in_flight = self
            .store
            .after(0)
            .take_while(|held| held.row.seq <= self.handed);
        let (mut rows, mut bytes) = (0, 0);
        for held in in_flight {
            rows += 1;
            bytes += row_bytes(&held.row);
        }
        let mut out = Vec::new();
        for held in self.store.after(self.handed) {
            // A row that comes back after a crash, because its end was not durable, must not come
            // behind its successors: a receiver would take it for one that it has.
            let untold = self.gap.is_some_and(|gap| gap.from < held.row.seq);
            let told = self.told.filter(|(from, _)| *from < held.row.seq);
            if !durable(held.lsn)
                || untold
                || told.is_some_and(|(_, lsn)| !durable(lsn))
                || rows >= self.bounds.handed_rows
                || (bytes >= self.bounds.handed_bytes && rows > 0)
            {
                break;
            }
            rows += 1;
            bytes += row_bytes(&held.row);
            out.push(held.row.clone());
        }
        if let Some(last) = out.last() {
            self.handed = last.seq;
        }
        out
    }

    fn hand_out_request(&mut self, durable: &impl Fn(Lsn) -> bool) -> Vec<Row> {
        let Some((first, last)) = self.batch else {
            return Vec::new();
        };
        if !durable(self.batch_lsn) || self.handed >= last {
            return Vec::new();
        }
        let rows: Vec<Row> = self
            .store
            .after(first.saturating_sub(1))
            .take_while(|held| held.row.seq <= last)
            .map(|held| held.row.clone())
            .collect();
        // After a restart its last rows may still have to be read back.
        if rows.last().is_some_and(|row| row.seq == last) {
            self.handed = last;
            return rows;
        }
        Vec::new()
    }

    /// Says in the commit `lsn` which rows go out as the next request. Returns whether that is new.
    pub(in crate::commit::outbox) fn cut_request(&mut self, lsn: Lsn, durable_lsn: Lsn) -> bool {
        if self.outlet != Outlet::Requests || self.batch.is_some() {
            return false;
        }
        let Some(cut) = self.next_cut() else {
            return false;
        };
        let (rows_max, bytes_max) = (
            cut.rows_max.min(self.bounds.request_rows),
            self.request_bytes.min(self.bounds.request_bytes),
        );
        let (mut last, mut rows, mut bytes) = (None, 0, 0);
        let mut first = None;
        for Held { row, lsn } in self.store.after(cut.after) {
            if *lsn > durable_lsn
                || rows >= rows_max
                || (rows > 0 && bytes + row_bytes(row) > bytes_max)
            {
                break;
            }
            rows += 1;
            bytes += row_bytes(row);
            first.get_or_insert(row.seq);
            last = Some(row.seq);
        }
        let (Some(first), Some(last)) = (first, last) else {
            return false;
        };
        self.batch = Some((first, last));
        self.batch_lsn = lsn;
        self.handed = self.handed.min(first - 1);
        self.delta.batch = Some(self.batch);
        true
    }
}
