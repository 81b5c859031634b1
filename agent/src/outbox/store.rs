//! The rows of one lane that wait: the oldest in memory, up to a bound; of the others only where in
//! the journal they stand, in chunks, so that an outage of days costs no memory.

use std::collections::VecDeque;

use super::bounds::Bounds;
use super::gap::Gap;
use crate::emission::Row;

/// What a row costs besides topic and payload.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Bytes that a row counts for.
pub fn row_bytes(row: &Row) -> usize {
    row.topic.as_str().len() + row.payload.len() + ROW_OVERHEAD_BYTES
}

/// A row in memory.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) row: Row,
    /// The commit that it stands in.
    pub(super) lsn: u64,
}

/// Rows that stand in the journal only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many of them wait.
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// The earliest commit that has one of them.
    pub(super) lsn: u64,
    /// The latest.
    pub(super) last_lsn: u64,
    /// When the youngest was made.
    pub(super) newest_ms: i64,
    /// What the gap records among them tell.
    pub(super) gap: Option<Gap>,
    /// Nothing more is added to it.
    closed: bool,
}

/// Waiting rows, in the order of their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    head: VecDeque<Held>,
    head_bytes: usize,
    chunks: VecDeque<Chunk>,
    bounds: Bounds,
}

impl Store {
    /// How much is kept in memory from now on.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Takes a row in that is younger than all others, or one that is known or was known before:
    /// then only its place in the journal is new.
    pub(super) fn insert(&mut self, row: Row, lsn: u64) {
        let last = self
            .chunks
            .back()
            .map(|chunk| chunk.last)
            .or_else(|| self.head.back().map(|held| held.row.seq));
        if last.is_some_and(|last| row.seq <= last) {
            self.insert_again(row, lsn);
        } else if self.chunks.is_empty() && !self.is_over(row_bytes(&row)) {
            self.head_bytes += row_bytes(&row);
            self.head.push_back(Held { row, lsn });
        } else {
            self.append_to_chunks(&row, lsn);
        }
    }

    fn is_over(&self, more: usize) -> bool {
        self.head.len() >= self.bounds.head_rows
            || (self.head_bytes + more > self.bounds.head_bytes && !self.head.is_empty())
    }

    fn append_to_chunks(&mut self, row: &Row, lsn: u64) {
        let bytes = row_bytes(row) as u64;
        match self.chunks.back_mut() {
            Some(chunk) if !chunk.closed && chunk.bytes + bytes <= self.bounds.chunk_bytes => {
                chunk.last = row.seq;
                chunk.count += 1;
                chunk.bytes += bytes;
                chunk.lsn = chunk.lsn.min(lsn);
                chunk.last_lsn = chunk.last_lsn.max(lsn);
                chunk.newest_ms = chunk.newest_ms.max(row.at_ms);
                chunk.gap = Gap::of(row).map(|gap| gap.and(chunk.gap)).or(chunk.gap);
            }
            _ => self.chunks.push_back(Chunk::of(row, lsn)),
        }
    }

    fn insert_again(&mut self, row: Row, lsn: u64) {
        let in_chunks = |chunk: &Chunk| chunk.first <= row.seq && row.seq <= chunk.last;
        if self.chunks.iter().any(in_chunks) {
            return;
        }
        let place = self.head.partition_point(|held| held.row.seq < row.seq);
        match self.head.get_mut(place) {
            Some(held) if held.row.seq == row.seq => held.lsn = held.lsn.max(lsn),
            _ => {
                self.head_bytes += row_bytes(&row);
                self.head.insert(place, Held { row, lsn });
                while self.head.len() > 1 && self.is_over(0) {
                    self.spill_last();
                }
            }
        }
    }

    fn spill_last(&mut self) {
        let Some(held) = self.head.pop_back() else {
            return;
        };
        self.head_bytes = self.head_bytes.saturating_sub(row_bytes(&held.row));
        let chunk = Chunk::of(&held.row, held.lsn);
        match self.chunks.front_mut() {
            Some(front) if front.bytes + chunk.bytes <= self.bounds.chunk_bytes => {
                front.first = chunk.first;
                front.count += 1;
                front.bytes += chunk.bytes;
                front.lsn = front.lsn.min(held.lsn);
                front.last_lsn = front.last_lsn.max(held.lsn);
                front.newest_ms = front.newest_ms.max(chunk.newest_ms);
                front.gap = chunk.gap.map(|gap| gap.and(front.gap)).or(front.gap);
            }
            _ => self.chunks.push_front(chunk),
        }
    }

    /// Rows that wait.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.chunks.iter().map(|chunk| chunk.count).sum::<u64>()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.head_bytes as u64 + self.chunks.iter().map(|chunk| chunk.bytes).sum::<u64>()
    }

    /// The earliest commit that has a waiting row.
    pub(super) fn oldest_lsn(&self) -> Option<u64> {
        let head = self.head.iter().map(|held| held.lsn);
        head.chain(self.chunks.iter().map(|chunk| chunk.lsn)).min()
    }

    /// The rows in memory after this number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Held> {
        let place = self.head.partition_point(|held| held.row.seq <= seq);
        self.head.range(place..)
    }

    /// The rows in memory, for a new place in the journal.
    pub(super) fn head_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.head.iter_mut()
    }

    /// The oldest chunk.
    pub(super) fn first_chunk(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// Rows of a range, as far as they stand in the journal only, wait no more. `waiting` counts
    /// those of a range that waited until now.
    pub(super) fn forget_in_chunks(
        &mut self,
        first: u64,
        last: u64,
        waiting: impl Fn(u64, u64) -> u64,
    ) {
        for chunk in &mut self.chunks {
            if chunk.first > last || chunk.last < first {
                continue;
            }
            let gone = waiting(chunk.first.max(first), chunk.last.min(last)).min(chunk.count);
            let bytes = chunk.bytes / chunk.count.max(1) * gone;
            chunk.bytes = chunk.bytes.saturating_sub(bytes);
            chunk.count -= gone;
            if first <= chunk.first {
                chunk.first = (last + 1).min(chunk.last);
            }
        }
        // One that is being read stays until its rows come.
        self.chunks.retain(|chunk| chunk.count > 0 || chunk.closed);
    }

    /// Takes the rows of a range out of memory and returns them.
    pub(super) fn remove(&mut self, first: u64, last: u64) -> Vec<Row> {
        let from = self.head.partition_point(|held| held.row.seq < first);
        let to = self.head.partition_point(|held| held.row.seq <= last);
        let removed: Vec<Row> = self
            .head
            .drain(from..to.max(from))
            .map(|held| held.row)
            .collect();
        self.head_bytes -= removed.iter().map(row_bytes).sum::<usize>();
        removed
    }

    /// Whether rows should be read back now that those in memory have become few.
    pub(super) fn wants_more(&self) -> bool {
        !self.chunks.is_empty()
            && self.head.len() <= self.bounds.head_rows / 2
            && self.head_bytes <= self.bounds.head_bytes / 2
    }

    /// The oldest chunk is being read: younger rows go to another.
    pub(super) fn close_first_chunk(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.front_mut()?;
        chunk.closed = true;
        Some(chunk.clone())
    }

    /// The rows of the oldest chunk have come; returns how many of them are missing. `waits` tells
    /// rows that are not settled.
    pub(super) fn refill(
        &mut self,
        rows: Vec<(u64, Row)>,
        waits: impl Fn(u64) -> bool,
    ) -> Option<Missing> {
        let chunk = self.chunks.pop_front()?;
        let mut came = 0;
        for (lsn, row) in rows {
            let is_new = self.head.back().is_none_or(|held| held.row.seq < row.seq);
            if (chunk.first..=chunk.last).contains(&row.seq) && is_new && waits(row.seq) {
                came += 1;
                self.head_bytes += row_bytes(&row);
                self.head.push_back(Held { row, lsn });
            }
        }
        (came < chunk.count).then_some(Missing {
            first: chunk.first,
            last: chunk.last,
            count: chunk.count - came,
        })
    }

    /// The oldest chunk was written again in this commit.
    pub(super) fn moved_first_chunk(&mut self, lsn: u64) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.lsn = lsn;
            chunk.last_lsn = lsn;
        }
    }

    /// Drops the oldest chunk.
    pub(super) fn drop_first_chunk(&mut self) -> Option<Chunk> {
        self.chunks.pop_front()
    }
}

/// Rows that the journal should have had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
}

impl Chunk {
    fn of(row: &Row, lsn: u64) -> Self {
        Self {
            first: row.seq,
            last: row.seq,
            count: 1,
            bytes: row_bytes(row) as u64,
            lsn,
            last_lsn: lsn,
            newest_ms: row.at_ms,
            gap: Gap::of(row),
            closed: false,
        }
    }
}
