//! Rows that are in the journal only: the facts about them that are known without reading them.

use tidemill_base::number::Lsn;

use super::super::gap::Gap;
use super::row_bytes;
use crate::event::emission::Row;

/// Rows that follow on one another, settled ones aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commit::outbox) struct Chunk {
    pub(in crate::commit::outbox) first: u64,
    pub(in crate::commit::outbox) last: u64,
    /// Number of waiting rows.
    pub(in crate::commit::outbox) count: u64,
    pub(in crate::commit::outbox) bytes: u64,
    /// The earliest commit with one of the rows.
    pub(in crate::commit::outbox) lsn: Lsn,
    /// The latest commit with one of the rows.
    pub(in crate::commit::outbox) last_lsn: Lsn,
    /// When the youngest was made, by the age clock.
    pub(in crate::commit::outbox) newest_ms: u64,
    /// Gaps reported by gap records among the rows.
    pub(in crate::commit::outbox) gap: Option<Gap>,
    /// No more rows are added.
    pub(super) is_closed: bool,
    /// The rows are being read.
    pub(super) is_reading: bool,
}

impl Chunk {
    pub(super) fn of(row: &Row, lsn: Lsn) -> Self {
        Self {
            first: row.seq,
            last: row.seq,
            count: 1,
            bytes: row_bytes(row) as u64,
            lsn,
            last_lsn: lsn,
            newest_ms: row.made_ms,
            gap: Gap::of(row),
            is_closed: false,
            is_reading: false,
        }
    }

    pub(super) fn has_room(&self, row: &Row, bytes_max: u64) -> bool {
        !self.is_closed && self.bytes + row_bytes(row) as u64 <= bytes_max
    }

    /// Adds the row before the first or after the last.
    pub(super) fn add(&mut self, row: &Row, lsn: Lsn) {
        self.first = self.first.min(row.seq);
        self.last = self.last.max(row.seq);
        self.count += 1;
        self.bytes += row_bytes(row) as u64;
        self.newest_ms = self.newest_ms.max(row.made_ms);
        self.gap = Gap::of(row).map(|gap| gap.and(self.gap)).or(self.gap);
        self.stands_also_in(lsn);
    }

    /// Some of its rows are found in this commit.
    pub(super) fn stands_also_in(&mut self, lsn: Lsn) {
        self.lsn = self.lsn.min(lsn);
        self.last_lsn = self.last_lsn.max(lsn);
    }
}
