//! One lane: rows made, handed out, settled, in the order of their numbers. Changes since the last
//! commit gather in a [`LaneDelta`]; applying it to the earlier state gives the same lane.

mod leaving;
mod reading;
mod refusals;

use super::bounds::Bounds;
use super::gap::Gap;
use super::gap_rows::{self, GapRows};
use super::ranges::Ranges;
use super::shelf::Shares;
use super::store::{Store, row_bytes};
use crate::commit::record::{
    LaneCounts, LaneDelta, LaneRecord, SETTLED_BYTES_MAX, Settled, Settlement, row_bytes_max,
};
use crate::config::{OutboxLimits, WhenFull};
use crate::event::clock::Ages;
use crate::event::emission::{LaneId, Made, Row};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

use refusals::Refusals;

/// Bytes of a request before the link has shown what it carries.
const REQUEST_BYTES_FIRST: usize = 64 << 10;

/// A full lane is given room for this part of what it may hold.
const ROOM_PART: u64 = 64;

/// The way a lane's rows leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// As single messages, to a broker.
    Messages,
    /// In requests whose rows never change once they were sent.
    Requests,
    /// Nowhere: they wait until somebody takes them.
    Shelf,
    /// The destination is gone from the configuration and the owner gives its rows up.
    Discarded,
}

/// A destination's rows of one priority.
#[derive(Debug, Clone)]
pub struct Lane {
    pub(super) id: LaneId,
    pub(super) outlet: Outlet,
    pub(super) limits: OutboxLimits,
    last_seq: u64,
    settled: Ranges,
    counts: LaneCounts,
    store: Store,
    /// Rows up to this one are with the destination.
    handed: u64,
    /// The rows of the request that is out, or is to go out.
    batch: Option<(u64, u64)>,
    /// The commit that says so; the request leaves when it is durable.
    batch_lsn: Lsn,
    /// Rows of the next request: fewer after one was refused, to find the row to blame.
    request_rows: usize,
    /// Bytes of the next request, as the destination's link allows.
    request_bytes: usize,
    refusals: Refusals,
    bounds: Bounds,
    pub(super) delta: LaneDelta,
    /// Bytes of it, at most.
    delta_bytes: usize,
    /// Dropped since the last commit, for one gap record.
    gap: Option<Gap>,
    /// The first row of the last gap that was reported, and the commit with the report.
    told: Option<(u64, Lsn)>,
    /// Those that wait.
    gap_rows: GapRows,
    /// Rows that were dropped before that.
    dropped_before: u64,
    /// A chunk is being read.
    reading: bool,
}

/// Rows to read back, and the commits to read them from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The first commit to read.
    pub from_lsn: Lsn,
    /// The last.
    pub to_lsn: Lsn,
    /// The first row.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Lane {
    pub(super) fn new(id: LaneId, record: &LaneRecord) -> Self {
        let batch = if sabotage::is(Sabotage::BatchCutAnew) {
            None
        } else {
            record.batch
        };
        Self {
            outlet: Outlet::Shelf,
            limits: OutboxLimits::DESTINATION,
            last_seq: record.last_seq,
            settled: Ranges::new(record.cursor, &record.settled),
            counts: record.counts,
            store: Store::default(),
            handed: 0,
            batch,
            batch_lsn: Lsn::ZERO,
            request_rows: usize::MAX,
            request_bytes: REQUEST_BYTES_FIRST,
            refusals: Refusals::default(),
            bounds: Bounds::default(),
            delta: LaneDelta::default(),
            delta_bytes: 0,
            gap: None,
            told: None,
            gap_rows: GapRows::new(&record.gap_rows),
            dropped_before: record.counts.dropped,
            reading: false,
            id,
        }
    }

    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.store
            .set_bounds(if &*self.id.destination == super::DEAD_LETTERS {
                bounds.holding_all()
            } else {
                bounds
            });
    }

    /// The lane's name.
    pub fn id(&self) -> &LaneId {
        &self.id
    }

    /// Counts of the lane's rows by outcome.
    pub fn counts(&self) -> LaneCounts {
        self.counts
    }

    /// Rows that wait.
    pub fn waiting(&self) -> u64 {
        self.store.len()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Number of the row made last.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// All rows up to this one are settled.
    pub fn cursor(&self) -> u64 {
        self.settled.cursor()
    }

    /// `true` if every row made is either settled or waiting.
    pub fn balances(&self) -> bool {
        let LaneCounts {
            made,
            acknowledged,
            dead,
            dropped,
        } = self.counts;
        made == acknowledged + dead + dropped + self.store.len()
    }

    /// The earliest commit that has a waiting row.
    pub fn oldest_lsn(&self) -> Option<Lsn> {
        self.store.oldest_lsn()
    }

    /// Record of the lane, without its rows.
    pub fn record(&self) -> LaneRecord {
        LaneRecord {
            last_seq: self.last_seq,
            cursor: self.settled.cursor(),
            settled: self.settled.beyond().collect(),
            batch: self.batch,
            oldest_lsn: self.store.oldest_lsn().unwrap_or(Lsn::ZERO),
            counts: self.counts,
            gap_rows: self.gap_rows.to_vec(),
        }
    }

    /// `true` if the lane is so full that sensors should be held back.
    pub fn blocks(&self) -> bool {
        self.limits.when_full == WhenFull::Block && self.is_over(0)
    }

    fn is_over(&self, more: usize) -> bool {
        let rows = u64::from(more > 0);
        let OutboxLimits { bytes, count, .. } = self.limits;
        self.store.bytes() + more as u64 > bytes
            || count.is_some_and(|count| self.store.len() + rows > count)
    }

    /// `true` if less than a reserve is free: that much is freed at once, so that a lane that stays
    /// full does not fill with gap records.
    fn is_nearly_over(&self) -> bool {
        let OutboxLimits { bytes, count, .. } = self.limits;
        self.store.bytes() > bytes - bytes / ROOM_PART
            || count.is_some_and(|count| self.store.len() > count - count / ROOM_PART)
    }

    /// Makes a row in the commit `lsn`; its number is filled in. Returns whether there was room.
    pub(super) fn push(&mut self, row: Row, lsn: Lsn) -> bool {
        self.counts.made += 1;
        if self.limits.when_full == WhenFull::DropNewest && self.is_over(row_bytes(&row)) {
            self.counts.dropped += 1;
            self.delta.dropped_new += 1;
            return false;
        }
        self.enqueue(row, lsn);
        if self.limits.when_full == WhenFull::DropOldest && self.is_over(0) {
            self.make_room();
        }
        true
    }

    fn make_room(&mut self) {
        let by_shares = self.is_shelf() && !sabotage::is(Sabotage::ShelfWithoutShares);
        let mut shares = by_shares.then(|| Shares::of(self.store.after(0).map(|held| &held.row)));
        while self.is_nearly_over() {
            let dropped = match &mut shares {
                None => self.drop_oldest(),
                Some(shares) => match shares.take_next() {
                    None => false,
                    Some(seq) => {
                        self.drop_rows(seq, seq, None);
                        true
                    }
                },
            };
            if !dropped {
                return;
            }
        }
    }

    fn is_shelf(&self) -> bool {
        &*self.id.destination == super::DEAD_LETTERS
    }

    fn enqueue(&mut self, mut row: Row, lsn: Lsn) {
        self.last_seq += 1;
        row.seq = self.last_seq;
        self.delta_bytes += row_bytes_max(&row);
        self.delta.rows.push(row.clone());
        self.store_row(row, lsn);
    }

    /// Bytes of what changed since the last commit, at most.
    pub(super) fn delta_bytes(&self) -> usize {
        self.delta_bytes
    }

    /// Takes the changes since the last commit.
    pub(super) fn take_delta(&mut self) -> LaneDelta {
        self.delta_bytes = 0;
        let delta = std::mem::take(&mut self.delta);
        self.note_gap_rows(gap_rows::among(&delta.rows));
        delta
    }

    /// Gap records are in a commit, behind all that it settles.
    fn note_gap_rows(&mut self, gaps: Vec<(u64, Gap)>) {
        for (seq, gap) in gaps {
            if !self.settled.contains(seq) {
                self.gap_rows.insert(seq, gap);
            }
        }
    }

    /// Tells in the commit `lsn` what it drops, however full the lane is. Returns how many rows.
    pub(super) fn tell_gap(&mut self, gateway: &str, made: Made, lsn: Lsn) -> Option<u64> {
        let dropped = self.counts.dropped - self.dropped_before;
        self.dropped_before = self.counts.dropped;
        let gap = self.gap.take();
        self.told = gap.map(|gap| (gap.from, lsn)).or(self.told);
        if !matches!(self.outlet, Outlet::Shelf | Outlet::Discarded)
            && let Some(gap) = gap
            && let Some(row) = gap.row(&self.id, gateway, made)
        {
            self.counts.made += 1;
            self.enqueue(row, lsn);
        }
        (dropped > 0).then_some(dropped)
    }

    /// Rows up to this one are with the destination, or promised to it.
    fn kept_until(&self) -> u64 {
        self.handed.max(self.batch.map_or(0, |(_, last)| last))
    }

    /// Drops the oldest row that is not with the destination or, if it is on disk only, its chunk.
    fn drop_oldest(&mut self) -> bool {
        let first = self.store.after(self.kept_until()).next();
        if let Some(seq) = first.map(|held| held.row.seq) {
            if seq == self.last_seq && self.store.len() == 1 {
                return false; // A row that is larger than its lane goes out all the same.
            }
            self.drop_rows(seq, seq, None);
            return true;
        }
        if self.reading {
            return false;
        }
        let Some(chunk) = self.store.drop_first_chunk() else {
            return false;
        };
        self.drop_rows(chunk.first, chunk.last, chunk.gap);
        true
    }

    /// Drops rows; `told` is the gap reported by those of them that are not in memory.
    fn drop_rows(&mut self, first: u64, last: u64, told: Option<Gap>) {
        let before = self.counts.dropped;
        let removed = self.settle(first, last, Settlement::Dropped);
        let gap = Gap {
            from: first,
            to: last,
            count: self.counts.dropped - before,
        };
        let gap = removed.iter().map(Gap::of).fold(gap, Gap::and);
        self.gap = Some(gap.and(told).and(self.gap));
        // Rows are dropped out of a request only where they are lost: it cannot go out as it was.
        if self
            .batch
            .is_some_and(|(from, to)| first <= to && last >= from)
        {
            self.batch = None;
            self.delta.batch = Some(None);
        }
    }

    /// Numbers go on from here: what a sequence over all lanes would do.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }

    /// Age limit of the lane's rows in milliseconds, if rows wait and the age is limited.
    pub(super) fn age_limit_ms(&self) -> Option<u64> {
        let is_bounded = self.waiting() > 0 && self.limits.age_ms < u64::MAX;
        is_bounded.then_some(self.limits.age_ms)
    }

    /// Drops what became too old.
    pub(super) fn drop_old(&mut self, ages: Ages<'_>) {
        let limit_ms = self.limits.age_ms;
        let is_old = |made_ms: u64| ages.of(made_ms) > limit_ms;
        loop {
            let oldest = self.store.after(self.kept_until()).next();
            match oldest.map(|held| (held.row.seq, held.row.made_ms)) {
                Some((seq, made_ms)) if is_old(made_ms) => self.drop_rows(seq, seq, None),
                Some(_) => return,
                None => break,
            }
        }
        while !self.reading
            && self
                .store
                .first_chunk()
                .is_some_and(|chunk| is_old(chunk.newest_ms))
            && self.drop_oldest()
        {}
    }

    /// Rows need not wait any more; returns those that were in memory.
    pub(super) fn settle(&mut self, first: u64, last: u64, how: Settlement) -> Vec<Row> {
        let ahead = sabotage::is(Sabotage::CursorAhead) && how == Settlement::Acknowledged;
        let settled = Settled {
            first: if ahead { 1 } else { first },
            last: last.min(self.last_seq),
            how,
        };
        let (new, removed) = self.enter(settled);
        if new > 0 {
            self.note_settled(settled);
        }
        let done = |(_, end): (u64, u64)| end <= self.settled.cursor();
        if self.batch.is_some_and(done) {
            self.batch = None;
            self.delta.batch = Some(None);
        }
        removed
    }

    /// Notes settled rows; a range that continues the previous one with the same outcome is merged
    /// with it.
    fn note_settled(&mut self, settled: Settled) {
        match self.delta.settled.last_mut() {
            Some(last) if last.how == settled.how && last.last + 1 == settled.first => {
                last.last = settled.last;
            }
            _ => {
                self.delta_bytes += SETTLED_BYTES_MAX;
                self.delta.settled.push(settled);
            }
        }
    }

    /// Counts settled rows and takes them out; returns how many there were, and those in memory.
    fn enter(&mut self, settled: Settled) -> (u64, Vec<Row>) {
        let Settled { first, last, how } = settled;
        let before = &self.settled;
        self.store
            .forget_in_chunks(first, last, |first, last| before.absent(first, last));
        let new = self.settled.insert(first, last);
        let column = match how {
            Settlement::Acknowledged => &mut self.counts.acknowledged,
            Settlement::Dead => &mut self.counts.dead,
            Settlement::Dropped => &mut self.counts.dropped,
        };
        *column += new;
        let settled = &self.settled;
        self.gap_rows
            .settled(|first, last| settled.absent(first, last));
        (new, self.store.remove(first, last))
    }

    /// The destination has these rows. Returns those that are dead now, because it refused them and
    /// took these, and why.
    pub(super) fn acknowledged(&mut self, first: u64, last: u64) -> Vec<(Row, String)> {
        self.request_rows = self.request_rows.saturating_mul(2);
        self.settle(first, last, Settlement::Acknowledged);
        match self.outlet {
            Outlet::Requests => self.condemn_before(first, last),
            Outlet::Messages | Outlet::Shelf | Outlet::Discarded => Vec::new(),
        }
    }

    /// The destination will not take these rows, which were sent together, as they are. Returns those
    /// that are dead now, and why; of several the one to blame is looked for first.
    pub(super) fn refused(&mut self, first: u64, last: u64, reason: &str) -> Vec<(Row, String)> {
        let is_verdict = first == last && sabotage::is(Sabotage::RefusalIsVerdict);
        if self.outlet == Outlet::Requests && !is_verdict {
            return self.refused_request(first, last, reason);
        }
        let dead = self.settle(first, last, Settlement::Dead);
        dead.into_iter()
            .map(|row| (row, reason.to_owned()))
            .collect()
    }

    /// Sets the largest request that the link allows, in bytes.
    pub(super) fn set_request_bytes(&mut self, bytes: usize) {
        self.request_bytes = bytes;
    }

    /// The waiting rows that are in memory, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.store.after(0).map(|held| &held.row)
    }

    /// Finds a waiting row in memory.
    pub fn row(&self, seq: u64) -> Option<&Row> {
        self.store
            .after(seq.saturating_sub(1))
            .next()
            .map(|held| &held.row)
            .filter(|row| row.seq == seq)
    }

    /// Applies a commit's changes of the lane.
    pub(super) fn apply(&mut self, delta: LaneDelta, lsn: Lsn) {
        let gaps = gap_rows::among(&delta.rows);
        for row in delta.rows {
            self.counts.made += 1;
            self.last_seq = self.last_seq.max(row.seq);
            self.store_row(row, lsn);
        }
        for row in delta.relocated {
            self.restore_row(row, lsn);
        }
        for settled in delta.settled {
            self.enter(settled);
        }
        self.note_gap_rows(gaps);
        if let Some(batch) = delta.batch
            && !sabotage::is(Sabotage::BatchCutAnew)
        {
            self.batch = batch;
        }
        self.counts.made += delta.dropped_new;
        self.counts.dropped += delta.dropped_new;
        self.dropped_before = self.counts.dropped;
    }

    /// Takes up a row of a commit that the lane's record covers.
    pub(super) fn restore_row(&mut self, row: Row, lsn: Lsn) {
        if row.seq <= self.last_seq && !self.settled.contains(row.seq) {
            self.store_row(row, lsn);
        }
    }

    fn store_row(&mut self, row: Row, lsn: Lsn) {
        let settled = &self.settled;
        self.store
            .insert(row, lsn, |first, last| settled.absent(first, last));
    }
}
