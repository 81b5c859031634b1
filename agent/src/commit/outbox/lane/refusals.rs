//! Rows of a lane of requests that were refused, and the conclusions. If an endpoint refuses every
//! row, the endpoint is at fault, not the rows: a row is dead only once it was refused alone and
//! the endpoint accepted another one since. Until then the lane stands still and loses nothing.
//!
//! All of it is forgotten at a restart: then rows go out again from the cursor. A row that waits before
//! one that was taken has been refused, whoever remembers it: requests are cut in order.

use super::Lane;
use crate::commit::outbox::store::row_bytes;
use crate::commit::record::Settlement;
use crate::event::emission::Row;

/// Number of rows tried alone, one after the other, before the lane pauses; doubled after every
/// eight rounds. Few, because an endpoint that is repaired between two of them makes the first look
/// bad.
const ROUND_ROWS_MIN: usize = 4;
const ROUND_ROWS_MAX: usize = 64;

/// Refusals since a row was last accepted.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals {
    /// Rows that were refused alone, oldest first, each with the reason.
    suspects: Vec<(u64, String)>,
    /// The last row of those refused together; 0 if there are none.
    until: u64,
    /// The endpoint took a row since, so what is refused alone is to blame.
    witnessed: bool,
    /// The first suspect goes once more before a further row is tried: the endpoint may have been
    /// mended meanwhile, and a row behind it would overtake it.
    ask_again: bool,
    /// Number of times that all rows tried were refused.
    rounds: u32,
    /// The request that is cut next, or was cut, begins a round.
    stands_still: bool,
}

/// Rows that a request is cut from.
pub(super) struct Cut {
    /// The row before the first one.
    pub(super) after: u64,
    pub(super) rows_max: usize,
}

impl Refusals {
    fn suspect(&mut self, seq: u64, reason: &str) {
        self.ask_again = false;
        // After a restart the first one is that of the request which was out, and others may stand before it.
        let place = self.suspects.partition_point(|(known, _)| *known < seq);
        match self.suspects.get_mut(place) {
            Some((known, why)) if *known == seq => reason.clone_into(why),
            _ => {
                self.suspects.insert(place, (seq, reason.to_owned()));
                self.ask_again = self.suspects.len() > 1;
            }
        }
    }

    fn settled_up_to(&mut self, seq: u64) {
        if seq >= self.until {
            (self.until, self.witnessed) = (0, false);
        }
    }

    fn round_rows(&self) -> usize {
        (ROUND_ROWS_MIN << (self.rounds / 8).min(8)).min(ROUND_ROWS_MAX)
    }

    /// The youngest row that was refused alone.
    pub(super) fn last_suspect(&self) -> Option<u64> {
        self.suspects.last().map(|(seq, _)| *seq)
    }
}

impl Lane {
    /// `true` if the request in hand is to go out after a rest, because every row was refused.
    pub(in crate::commit::outbox) fn take_stands_still(&mut self) -> bool {
        std::mem::take(&mut self.refusals.stands_still)
    }

    /// The destination refused this request. Returns the rows that are dead now, and why.
    pub(super) fn refused_request(
        &mut self,
        first: u64,
        last: u64,
        reason: &str,
    ) -> Vec<(Row, String)> {
        let waiting = self.store.after(first.saturating_sub(1));
        let sent: Vec<u64> = waiting
            .map(|held| held.row.seq)
            .take_while(|seq| *seq <= last)
            .collect();
        self.batch = None;
        self.delta.batch = Some(None);
        let &[seq] = sent.as_slice() else {
            if !sent.is_empty() {
                self.refusals.until = self.refusals.until.max(last);
                self.request_rows = sent.len() / 2;
            }
            return Vec::new();
        };
        self.refusals.until = self.refusals.until.max(seq);
        if !self.refusals.witnessed {
            self.refusals.suspect(seq, reason);
            return Vec::new();
        }
        self.refusals.suspects.retain(|(known, _)| *known != seq);
        self.refusals.ask_again = false;
        self.refusals.settled_up_to(seq);
        let dead = self.settle(seq, seq, Settlement::Dead);
        dead.into_iter()
            .map(|row| (row, reason.to_owned()))
            .collect()
    }

    /// The destination took rows from `first` to `last`: what was refused before them is dead. Returns
    /// that, and why.
    pub(super) fn condemn_before(&mut self, first: u64, last: u64) -> Vec<(Row, String)> {
        let refusals = &mut self.refusals;
        let suspects = std::mem::take(&mut refusals.suspects);
        (refusals.ask_again, refusals.stands_still, refusals.rounds) = (false, false, 0);
        refusals.witnessed = refusals.until > 0;
        refusals.settled_up_to(last);
        let before = self.store.after(0);
        let before: Vec<u64> = before
            .map(|held| held.row.seq)
            .take_while(|seq| *seq < first)
            .collect();
        let mut dead = Vec::new();
        for seq in before {
            let reason = suspects.iter().find(|(known, _)| *known == seq);
            let reason = reason.map_or("refused before a restart", |(_, reason)| reason);
            let rows = self.settle(seq, seq, Settlement::Dead);
            dead.extend(rows.into_iter().map(|row| (row, reason.to_owned())));
        }
        dead
    }

    /// The endpoint took a row of another lane: what it refuses alone from now on is to blame.
    pub(in crate::commit::outbox) fn witness(&mut self) {
        self.refusals.witnessed = self.refusals.until > 0;
    }

    /// The rows to try next; `None` if they have to be read first.
    pub(super) fn next_cut(&mut self) -> Option<Cut> {
        let cursor = self.settled.cursor();
        let refusals = &self.refusals;
        let Some(last) = refusals.last_suspect() else {
            return Some(Cut {
                after: cursor,
                rows_max: self.request_rows,
            });
        };
        let alone = |after| Some(Cut { after, rows_max: 1 });
        if refusals.ask_again {
            return alone(cursor);
        }
        let (mut rows, mut bytes) = (0, 0);
        let suspects = self.store.after(cursor);
        for held in suspects.take_while(|held| held.row.seq <= last) {
            rows += 1;
            bytes += row_bytes(&held.row);
        }
        let full = rows >= refusals.round_rows() || (rows > 1 && bytes >= self.bounds.handed_bytes);
        if !full && self.store.last_in_memory() > Some(last) {
            return alone(last);
        }
        if !full && self.store.first_chunk().is_some() {
            return None;
        }
        self.refusals.suspects.clear();
        self.refusals.rounds += 1;
        self.refusals.stands_still = true;
        self.request_rows = 1;
        alone(cursor)
    }
}
