//! Cuts off what was begun at the end of a journal and has no end: the first records of something that
//! counts only as a whole, when the disk was full or the power failed before the rest was written.

use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::Replayed;
use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::{End, Survey};
use super::format::{HEAD_BYTES, HEADER_BYTES};
use super::search;
use super::walk::Found;

/// Records at the end of the walk that count only together with others behind them.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Number of the first one, and what that names as the record before.
    first: (Lsn, u32),
    /// Segment and place of each.
    records: Vec<(Arc<str>, u64)>,
}

impl Begun {
    /// Takes note of the next record of the walk.
    pub(super) fn note(&mut self, found: &Found<'_>, replayed: Replayed) {
        if replayed == Replayed::Whole {
            self.records.clear();
            return;
        }
        if self.records.is_empty() {
            self.first = (found.head.lsn, found.head.before);
        }
        self.records.push((Arc::clone(found.segment), found.offset));
    }

    /// Makes the journal end before them, on the medium and in `survey`.
    ///
    /// A record says that others before it were durable, so the last one goes first, and each for good
    /// before the one ahead of it: whenever this is interrupted, the next start finds a shorter group
    /// without an end. Segments that held nothing else are left to become spares.
    pub(super) fn cut<D: Disk>(
        &self,
        disk: &D,
        survey: &mut Survey,
        mark: u32,
    ) -> Result<(), JournalError> {
        let Some((name, offset)) = self.records.first() else {
            return Ok(());
        };
        let number = survey.pieces.iter().position(|piece| piece.name == *name);
        let Some((number, piece)) = number.and_then(|it| Some((it, survey.pieces.get(it)?))) else {
            return Ok(());
        };
        let (next_lsn, chain) = self.first;
        let last = if *offset == HEADER_BYTES as u64 {
            piece.header.before
        } else {
            chain
        };
        for (name, offset) in self.records.iter().rev() {
            let failed = JournalError::failed("cutting", name);
            let file = disk.open(name);
            let wiped = file.and_then(|file| {
                file.write_at(&[0; HEAD_BYTES], *offset)?;
                file.sync()
            });
            wiped.map_err(failed)?;
        }
        survey.pieces.truncate(number + 1);
        survey.end = End {
            offset: *offset,
            next_lsn,
            chain,
            last,
        };
        survey.broken = Some((Arc::clone(name), *offset));
        survey.durable_lsn = survey.durable_lsn.min(next_lsn - 1);
        survey.unproven.retain(|record| record.lsn < next_lsn);
        search::behind_end(disk, survey, mark)
    }
}
