//! Segments on their way: made ahead of need, taken into use, given up, used again.

use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::disk::{self, Disk, DiskFile};
use super::error::JournalError;
use super::findings::Piece;
use super::format::encode_spare;
use super::{Journal, OpenSegment};

/// Bytes read at once of a segment that is to be used again.
const STEP: usize = 128 * 1024;

impl<D: Disk> Journal<D> {
    pub(super) fn take_segment(&mut self) -> Result<OpenSegment<D::File>, JournalError> {
        if self.spares.is_empty() {
            let made = self.make_spare();
            made.inspect_err(|error| self.has_failed |= !error.is_stall())?;
        }
        self.spares.pop().ok_or(JournalError::Full {
            bytes: self.settings.segment_bytes,
        })
    }

    fn make_spare(&mut self) -> Result<(), JournalError> {
        let (name, bytes) = (disk::name(self.next_index), self.settings.segment_bytes);
        let file = self
            .disk
            .create(&name, bytes)
            .map_err(JournalError::at("making", &name, bytes))?;
        self.next_index += 1;
        let name = name.into();
        self.spares.push(OpenSegment { name, bytes, file });
        Ok(())
    }

    /// Gives the segments up that hold nothing but records below `below_lsn`. The last one with a
    /// durable record stays in any case: it shows where the journal is.
    ///
    /// # Errors
    /// When the disk fails, now or before.
    pub fn recycle(&mut self, below_lsn: Lsn) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        while let Some(piece) = self.take_oldest(below_lsn) {
            let recycled = self.give_up(&piece);
            recycled.inspect_err(|_| self.has_failed = true)?;
        }
        Ok(())
    }

    fn take_oldest(&mut self, below_lsn: Lsn) -> Option<Piece> {
        let mut positions = self.shared.lock();
        let next = positions.pieces.get(1)?.header.first_lsn;
        let is_done = next <= below_lsn && next <= positions.durable_lsn;
        is_done.then(|| positions.pieces.pop_front()).flatten()
    }

    /// Syncs before the next one is given up, so that what is there is one chain at any moment.
    fn give_up(&mut self, piece: &Piece) -> Result<(), JournalError> {
        let name = &piece.name;
        let failed = || JournalError::failed("recycling", name);
        let file = self.disk.open(name).map_err(failed())?;
        let spare = encode_spare(self.settings.identity);
        if !is_readable(&file, piece.bytes) || file.write_at(&spare, 0).is_err() {
            // A sector is gone for good, or even a write over what is there asks for room: removing it does
            // not, and it is needed no more.
            return self.disk.remove(name).map_err(failed());
        }
        file.sync().map_err(failed())?;
        let is_like_new = piece.bytes == self.settings.segment_bytes;
        let spares_max = self.settings.spares_max.max(self.settings.reserve + 1);
        if is_like_new && self.spares.len() < spares_max {
            self.spares.push(OpenSegment {
                name: Arc::clone(name),
                bytes: piece.bytes,
                file,
            });
            return Ok(());
        }
        self.disk.remove(name).map_err(failed())
    }

    /// `true` if it is time to make a spare: the segment in use is half full, and besides those in reserve no
    /// other waits.
    pub fn wants_spare(&self) -> bool {
        let offset = self.shared.lock().offset;
        let active = self.active.as_ref();
        let is_half_full = active.is_none_or(|active| offset > active.bytes / 2);
        self.spares.len() < self.settings.reserve + usize::from(is_half_full)
    }

    /// Makes a spare if one is wanted, so that no commit has to wait for it.
    ///
    /// # Errors
    /// When it cannot be made. That is no harm yet: it is tried again when the segment is needed.
    pub fn prepare_spare(&mut self) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        if self.wants_spare() {
            self.make_spare()?;
        }
        Ok(())
    }
}

/// `true` if all of a segment can be read: if a sector is lost, a later write over a part of it
/// would fail, and its content could not be told from a record.
pub(super) fn is_readable(file: &impl DiskFile, bytes: u64) -> bool {
    let mut held = vec![0; STEP];
    let mut offset = 0;
    while offset < bytes {
        let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
        let step = held.get_mut(..left.min(STEP)).unwrap_or_default();
        if file.read_at(step, offset).is_err() {
            return false;
        }
        offset += step.len() as u64;
    }
    true
}
