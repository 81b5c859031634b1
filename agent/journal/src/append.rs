//! Writing: records into the segment in use, or into the next one, and the sync that makes them durable.

use std::sync::Arc;

use tracing::warn;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::Piece;
use super::format::{HEAD_BYTES, HEADER_BYTES, Header, encode_record, mixed, record_size};
use super::window::Window;
use super::{Journal, OpenSegment};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

/// Memory kept from one record to the next.
const SCRATCH_BYTES_MAX: usize = 256 * 1024;

impl<D: Disk> Journal<D> {
    /// Writes the next record. It is not durable before [`Journal::sync`].
    ///
    /// # Errors
    /// When there is no room for another segment (nothing has changed then), the record is too long, or
    /// the disk fails, now or before.
    ///
    /// # Panics
    /// When `lsn` is not [`Journal::next_lsn`].
    pub fn append(&mut self, lsn: Lsn, payload: &[u8]) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        let (next_lsn, durable_lsn, offset) = {
            let positions = self.shared.lock();
            (positions.next_lsn, positions.durable_lsn, positions.offset)
        };
        assert_eq!(lsn, next_lsn, "records are appended in order");
        let (bytes, max) = (payload.len(), self.record_bytes_max());
        if bytes > max {
            return Err(JournalError::TooLarge { bytes, max });
        }
        self.scratch.clear();
        let size = record_size(bytes);
        match &self.active {
            Some(active) if offset + size <= active.bytes => {}
            Some(active) if offset == HEADER_BYTES as u64 => {
                let max = usize::try_from(active.bytes).unwrap_or(usize::MAX);
                let max = max.saturating_sub(HEADER_BYTES + HEAD_BYTES);
                return Err(JournalError::TooLarge { bytes, max });
            }
            _ => return self.append_to_next(lsn, durable_lsn, payload),
        }
        let mark = self.settings.identity.mark;
        let scratch = &mut self.scratch;
        let checksum = encode_record(scratch, mark, self.chain, lsn, durable_lsn, payload);
        if let Some(active) = &self.active
            && let Err(error) = active.file.write_at(&self.scratch, offset)
        {
            let error = JournalError::at("writing", &active.name, size)(error);
            self.leave_active(error, offset)?;
            return self.append_to_next(lsn, durable_lsn, payload);
        }
        self.appended(checksum, offset + size);
        Ok(())
    }

    /// Leaves the segment in use after a write at `offset` that failed with `error`, as a write
    /// over a part of an unreadable sector does. No earlier record depends on the failed one, so
    /// the chain continues in the next segment, unless the record is there in full all the same.
    fn leave_active(&mut self, error: JournalError, offset: u64) -> Result<(), JournalError> {
        if error.is_stall() {
            return Err(error);
        }
        let mark = self.settings.identity.mark;
        let Some(active) = self.active.take() else {
            return Err(error);
        };
        // Half of it would pass for a record that cannot be read any more.
        let wiped = active.file.write_at(&[0; HEAD_BYTES], offset);
        let mut window = Window::new(&active.file, true);
        let stands = window.as_mut().ok().map(|it| it.record(offset, mark));
        let is_gone = wiped.is_ok() || matches!(stands, Some(Ok(None)));
        if !is_gone {
            self.has_failed = true;
            return Err(error);
        }
        warn!("{error}; going on in another segment");
        self.is_dirty = true;
        self.unsynced.push(active);
        Ok(())
    }

    /// Takes another segment into use. One that does not take its first record is removed, and the next one
    /// tried: all that wait to be used, and a new one.
    fn append_to_next(
        &mut self,
        lsn: Lsn,
        durable_lsn: Lsn,
        payload: &[u8],
    ) -> Result<(), JournalError> {
        for _ in 0..self.spares.len().max(1) {
            let tried = self.begin_segment(lsn, durable_lsn, payload);
            if self.has_failed || !matches!(tried, Err(JournalError::Failed { .. })) {
                return tried;
            }
        }
        let tried = self.begin_segment(lsn, durable_lsn, payload);
        tried.inspect_err(|error| self.has_failed |= !error.is_stall())
    }

    /// Takes the next segment into use: its header and its first record are one write.
    fn begin_segment(
        &mut self,
        lsn: Lsn,
        durable_lsn: Lsn,
        payload: &[u8],
    ) -> Result<(), JournalError> {
        let header = Header {
            identity: self.settings.identity,
            first_lsn: lsn,
            salt: mixed(self.settings.salt ^ lsn.get()),
            before: self.last,
        };
        let mark = self.settings.identity.mark;
        self.scratch.clear();
        self.scratch.extend(header.encode());
        let scratch = &mut self.scratch;
        let checksum = encode_record(scratch, mark, header.chain(), lsn, durable_lsn, payload);
        let segment = self.take_segment()?;
        let bytes = self.scratch.len() as u64;
        let written = segment.file.write_at(&self.scratch, 0);
        if let Err(error) = written.map_err(JournalError::at("writing", &segment.name, bytes)) {
            return Err(self.after_failed_begin(segment, error));
        }
        self.shared.lock().pieces.push_back(Piece {
            name: Arc::clone(&segment.name),
            bytes: segment.bytes,
            header,
        });
        let full = self.active.replace(segment);
        self.unsynced.extend(full.filter(|_| self.is_dirty));
        self.appended(checksum, bytes);
        Ok(())
    }

    /// Puts a segment back that found no room for its first record, and removes one that failed otherwise:
    /// what was written of it would pass for the segment that comes in its place.
    fn after_failed_begin(
        &mut self,
        segment: OpenSegment<D::File>,
        error: JournalError,
    ) -> JournalError {
        if error.is_stall() {
            self.spares.push(segment);
        } else if let Err(removed) = self.disk.remove(&segment.name) {
            self.has_failed = true;
            warn!("{} could not be removed: {removed}", segment.name);
        } else {
            warn!("{error}; it is removed");
        }
        error
    }

    /// Continues with record `lsn`, in a segment of its own, when those before it are lost.
    ///
    /// # Errors
    /// When there is no room for a segment, or the disk fails.
    pub(super) fn skip_to(&mut self, lsn: Lsn) -> Result<(), JournalError> {
        self.refuse_after_failure()?;
        if lsn <= self.next_lsn() {
            return Ok(());
        }
        let header = Header {
            identity: self.settings.identity,
            first_lsn: lsn,
            salt: mixed(self.settings.salt ^ lsn.get()),
            before: self.last,
        };
        let segment = self.take_segment()?;
        let written = segment.file.write_at(&header.encode(), 0);
        written.map_err(JournalError::failed("writing", &segment.name))?;
        self.chain = header.chain();
        let mut positions = self.shared.lock();
        positions.pieces.push_back(Piece {
            name: Arc::clone(&segment.name),
            bytes: segment.bytes,
            header,
        });
        positions.next_lsn = lsn;
        positions.offset = HEADER_BYTES as u64;
        drop(positions);
        let full = self.active.replace(segment);
        self.unsynced.extend(full.filter(|_| self.is_dirty));
        self.is_dirty = true;
        Ok(())
    }

    fn appended(&mut self, checksum: u32, offset: u64) {
        if self.scratch.capacity() > SCRATCH_BYTES_MAX {
            self.scratch = Vec::new();
        }
        self.is_dirty = true;
        (self.chain, self.last) = (checksum, checksum);
        let mut positions = self.shared.lock();
        positions.next_lsn += 1;
        positions.offset = offset;
    }

    /// Makes everything that was appended durable, and says up to which LSN that is.
    ///
    /// # Errors
    /// When the disk fails, now or before. What was not durable before may be lost then, and nothing is
    /// written any more.
    pub fn sync(&mut self) -> Result<Lsn, JournalError> {
        self.refuse_after_failure()?;
        let active = self.active.iter().filter(|_| self.is_dirty);
        for segment in self.unsynced.iter().chain(active) {
            let mut synced = segment.file.sync();
            if synced.is_err() && sabotage::is(Sabotage::SyncErrorIgnored) {
                synced = segment.file.sync();
            }
            if let Err(error) = synced {
                self.has_failed = true;
                return Err(JournalError::failed("syncing", &segment.name)(error));
            }
        }
        self.unsynced.clear();
        self.is_dirty = false;
        let mut positions = self.shared.lock();
        positions.durable_lsn = positions.next_lsn - 1;
        Ok(positions.durable_lsn)
    }
}
