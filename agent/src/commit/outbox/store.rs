//! The waiting rows of one lane: the oldest in memory, up to a bound; of the others only their
//! place in the journal, in chunks, so that an outage of days costs no memory.
//!
//! Every row in memory comes before every chunk, and between the first and the last row of a chunk
//! there is none that waits and does not belong to it. Both hold in whatever order a start finds the
//! rows: those that were written again stand behind younger ones.

mod chunk;

use std::collections::VecDeque;

use tidemill_base::number::Lsn;

use super::bounds::Bounds;
use super::gap::Gap;
use crate::event::emission::Row;

pub(super) use chunk::Chunk;

/// Bytes that a row counts for besides topic and payload.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Bytes that a row counts for.
pub fn row_bytes(row: &Row) -> usize {
    row.topic.as_str().len() + row.payload.len() + ROW_OVERHEAD_BYTES
}

/// A row in memory.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) row: Row,
    /// The commit with the row.
    pub(super) lsn: Lsn,
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
    /// Sets the limits of rows kept in memory.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Takes a row in. Of one that is known only its place in the journal is new. `waiting` counts
    /// the rows of a range that are not settled, whether they are known or not.
    pub(super) fn insert(&mut self, row: Row, lsn: Lsn, waiting: impl Fn(u64, u64) -> u64) {
        let place = self.head.partition_point(|held| held.row.seq < row.seq);
        if let Some(held) = self.head.get_mut(place) {
            if held.row.seq == row.seq {
                held.lsn = held.lsn.max(lsn);
                return;
            }
        } else {
            let first = self.chunks.front().map(|chunk| chunk.first);
            let is_next = first.is_none_or(|first| row.seq < first);
            if !is_next || self.is_over(row_bytes(&row)) {
                return self.insert_into_chunks(&row, lsn, &waiting);
            }
        }
        self.head_bytes += row_bytes(&row);
        self.head.insert(place, Held { row, lsn });
        while self.head.len() > self.bounds.head_rows
            || (self.head_bytes > self.bounds.head_bytes && self.head.len() > 1)
        {
            let Some(last) = self.head.pop_back() else {
                return;
            };
            self.head_bytes -= row_bytes(&last.row);
            self.insert_into_chunks(&last.row, last.lsn, &waiting);
        }
    }

    fn is_over(&self, more: usize) -> bool {
        self.head.len() >= self.bounds.head_rows
            || (self.head_bytes + more > self.bounds.head_bytes && !self.head.is_empty())
    }

    fn insert_into_chunks(&mut self, row: &Row, lsn: Lsn, waiting: &impl Fn(u64, u64) -> u64) {
        let max = self.bounds.chunk_bytes;
        let place = self.chunks.partition_point(|chunk| chunk.first <= row.seq);
        let before = place.checked_sub(1).and_then(|at| self.chunks.get_mut(at));
        if let Some(chunk) = before {
            if row.seq <= chunk.last {
                return chunk.stands_also_in(lsn);
            }
            if chunk.has_room(row, max) && waiting(chunk.last + 1, row.seq - 1) == 0 {
                return chunk.add(row, lsn);
            }
        }
        match self.chunks.get_mut(place) {
            Some(chunk)
                if chunk.has_room(row, max) && waiting(row.seq + 1, chunk.first - 1) == 0 =>
            {
                chunk.add(row, lsn);
            }
            _ => self.chunks.insert(place, Chunk::of(row, lsn)),
        }
    }

    /// Numbers of the known rows, in order: ranges in which none is missing.
    pub(super) fn known(&self) -> Vec<(u64, u64)> {
        let head = self.head.iter().map(|held| (held.row.seq, held.row.seq));
        head.chain(self.chunks.iter().map(|chunk| (chunk.first, chunk.last)))
            .collect()
    }

    /// Rows that wait.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.chunks.iter().map(|chunk| chunk.count).sum::<u64>()
    }

    /// Bytes of the waiting rows.
    pub(super) fn bytes(&self) -> u64 {
        self.head_bytes as u64 + self.chunks.iter().map(|chunk| chunk.bytes).sum::<u64>()
    }

    /// The earliest commit that has a waiting row.
    pub(super) fn oldest_lsn(&self) -> Option<Lsn> {
        let head = self.head.iter().map(|held| held.lsn);
        head.chain(self.chunks.iter().map(|chunk| chunk.lsn)).min()
    }

    /// The rows in memory after this number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Held> {
        let place = self.head.partition_point(|held| held.row.seq <= seq);
        self.head.range(place..)
    }

    /// The youngest row in memory.
    pub(super) fn last_in_memory(&self) -> Option<u64> {
        self.head.back().map(|held| held.row.seq)
    }

    /// The rows in memory, for a new place in the journal.
    pub(super) fn head_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.head.iter_mut()
    }

    /// The oldest chunk.
    pub(super) fn first_chunk(&self) -> Option<&Chunk> {
        self.chunks.front()
    }

    /// Marks rows of a range that are in the journal only as no longer waiting. `waiting` counts
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
        self.chunks
            .retain(|chunk| chunk.count > 0 || chunk.is_reading);
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

    /// `true` if rows should be read back because few are left in memory.
    pub(super) fn wants_more(&self) -> bool {
        !self.chunks.is_empty()
            && self.head.len() <= self.bounds.head_rows / 2
            && self.head_bytes <= self.bounds.head_bytes / 2
    }

    /// Begins to read a chunk, if all of it is durable: the oldest one, or the oldest with a row of
    /// a commit before `floor_lsn`. Younger rows go to other chunks.
    pub(super) fn begin_reading(
        &mut self,
        floor_lsn: Option<Lsn>,
        durable_lsn: Lsn,
    ) -> Option<Chunk> {
        let is_old = |chunk: &&mut Chunk| floor_lsn.is_none_or(|floor| chunk.lsn < floor);
        let chunk = self.chunks.iter_mut().find(is_old)?;
        if chunk.last_lsn > durable_lsn {
            return None;
        }
        (chunk.is_closed, chunk.is_reading) = (true, true);
        Some(chunk.clone())
    }

    /// The chunk that is being read.
    pub(super) fn being_read(&self) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| chunk.is_reading)
    }

    /// Gives up reading the chunk for now.
    pub(super) fn stop_reading(&mut self) {
        self.chunks
            .iter_mut()
            .for_each(|chunk| chunk.is_reading = false);
        self.chunks.retain(|chunk| chunk.count > 0);
    }

    /// Takes the rows of the oldest chunk, and returns how many of them are missing. `waits` is
    /// `true` for rows that are not settled.
    pub(super) fn refill(
        &mut self,
        rows: Vec<(Lsn, Row)>,
        waits: impl Fn(u64) -> bool,
    ) -> Option<Missing> {
        let chunk = self.chunks.pop_front_if(|chunk| chunk.is_reading)?;
        let told = Gap::of_all(rows.iter().map(|(_, row)| row));
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
            gap: chunk.gap.and_then(|gap| gap.without(told)),
        })
    }

    /// Notes that the chunk that was read was written again in this commit; `gap` is the report of
    /// its rows.
    pub(super) fn moved(&mut self, lsn: Lsn, gap: Option<Gap>) {
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.is_reading) {
            (chunk.lsn, chunk.last_lsn) = (lsn, lsn);
            chunk.gap = gap;
        }
        self.stop_reading();
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
    /// The gaps reported by the gap records among them.
    pub(super) gap: Option<Gap>,
}

#[cfg(test)]
mod tests;
