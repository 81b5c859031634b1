//! Limits of what may be under way to stable storage, and of what may still be written where the
//! disk is full.

use crate::event::clock::Now;
use tidemill_base::sabotage::{self, Sabotage};

use super::durable::Durable;
use super::output::Room;

/// Bytes of commits under way from which on work that can wait (rows that are given up, or written
/// anew) does wait.
const PATIENT_BYTES_MAX: usize = 1 << 20;

/// Most commits, and bytes of commits, that may be under way to stable storage; then nothing is
/// taken in.
const UNSYNCED_MAX: usize = 1_024;
const UNSYNCED_BYTES_MAX: usize = 16 << 20;

/// Changes of counts and cursors only are committed after this time, if nothing else is before.
const LAZY_MS: u64 = 5_000;

/// The same while the disk is full.
const LAZY_FULL_MS: u64 = 1_000;

impl Durable {
    /// Longest time that cursors wait for a commit, in milliseconds: as long as they do, the rows
    /// that they have passed take room.
    pub(super) fn lazy_ms(&self) -> u64 {
        if self.room == Room::Plenty || sabotage::is(Sabotage::MovedLazily) {
            LAZY_MS
        } else {
            LAZY_FULL_MS
        }
    }

    /// Returns `true` if more work that can as well wait may be committed, so that however much of
    /// it there is, little is in memory. Without room it goes one commit at a time, so that the
    /// room left is seen in between.
    pub(super) fn has_patience(&self) -> bool {
        match self.room {
            Room::Short if !sabotage::is(Sabotage::MovedLazily) => self.unsynced_bytes == 0,
            Room::Plenty | Room::Short => self.unsynced_bytes < PATIENT_BYTES_MAX,
            Room::Last => false,
        }
    }

    /// Lanes changed: that can wait for another commit, but not where rows were written anew. They neither
    /// leave nor are read before they are durable in their new place, and nothing else may happen for long.
    pub(super) fn open_for_rows(&mut self, now: Now) {
        if self.outbox.has_moved() && !sabotage::is(Sabotage::MovedLazily) {
            self.batch.open(now);
        } else if self.outbox.is_changed() {
            self.batch.open_lazily(now);
        }
    }

    /// Returns `true` if rows were written anew that keep the disk full at their old place. Nothing
    /// is taken in until there is room, so nothing else would hurry their commit.
    pub(super) fn hurries_what_moved(&self) -> bool {
        self.room == Room::Short && self.outbox.has_moved() && !sabotage::is(Sabotage::MovedLazily)
    }

    /// Returns `true` if nothing more should be taken in: the journal lags behind, or a lane that
    /// blocks is full.
    pub(super) fn is_full(&self) -> bool {
        self.is_held() || self.outbox.blocks()
    }

    /// `true` if nothing should be made that needs room: the journal lags behind, or the disk is full.
    pub(super) fn is_held(&self) -> bool {
        self.unsynced_bytes > UNSYNCED_BYTES_MAX
            || self.unsynced.len() > UNSYNCED_MAX
            || self.room != Room::Plenty
    }

    /// Most bytes of the journal that waiting rows may pin before they are written again; `None`
    /// where there is no room for that.
    pub(super) fn pinned_bytes_max(&self) -> Option<u64> {
        let waiting = self.outbox.waiting_bytes();
        let usual = self.outbox.bounds().pinned_bytes + 4 * waiting;
        match self.room {
            Room::Plenty => Some(usual),
            Room::Short => Some(usual.min(self.keeping.checkpoint_bytes / 2 + 2 * waiting)),
            Room::Last => None,
        }
    }
}
