//! Reads a segment in large steps and hands out pieces of it, so that a walk over a journal neither
//! holds a segment in memory nor asks the disk for every record.

use std::io;

use super::disk::DiskFile;
use super::format::{HEAD_BYTES, RecordHead};

/// Bytes read at once.
const STEP: usize = 128 * 1024;

/// The unit that a disk reads whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A place in a segment from which is read.
pub(super) struct Window<'f, F> {
    file: &'f F,
    /// Length of the segment.
    bytes: u64,
    /// Offset of the first byte in `held`.
    start: u64,
    held: Vec<u8>,
    /// Offsets of sectors that could not be read, of those in `held`, in order.
    unread: Vec<u64>,
    /// Takes sectors that the disk cannot read for zeros.
    lenient: bool,
    unreadable: u64,
}

impl<'f, F: DiskFile> Window<'f, F> {
    pub(super) fn new(file: &'f F, lenient: bool) -> io::Result<Self> {
        Ok(Self {
            file,
            bytes: file.bytes()?,
            start: 0,
            held: Vec::new(),
            unread: Vec::new(),
            lenient,
            unreadable: 0,
        })
    }

    /// Takes sectors that the disk cannot read for zeros from now on, or fails when they are read.
    pub(super) fn set_lenient(&mut self, lenient: bool) {
        self.lenient = lenient;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sectors that were met and could not be read, asked for or not.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// `len` bytes at `offset`, or as many as there are before the segment's end.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.held.len() as u64 {
            self.held.resize(len.max(STEP).min(left), 0);
            self.start = offset;
            self.unread.clear();
            if self.file.read_at(&mut self.held, offset).is_err() {
                self.read_by_sector();
            }
        }
        if !self.lenient {
            self.refuse_unread(offset, end)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.held.get(from..from + len).unwrap_or_default())
    }

    /// Sectors of the disk: one that is lost takes nothing of its neighbours along.
    fn read_by_sector(&mut self) {
        let mut offset = self.start;
        let mut left = self.held.as_mut_slice();
        while !left.is_empty() {
            let (sector, behind) = left.split_at_mut(bytes_of_sector(offset).min(left.len()));
            if self.file.read_at(sector, offset).is_err() {
                sector.fill(0);
                self.unread.push(offset);
                self.unreadable += 1;
            }
            offset += sector.len() as u64;
            left = behind;
        }
    }

    /// Retries the sectors of this range that could not be read; returns the disk's error if one
    /// still fails.
    fn refuse_unread(&mut self, offset: u64, end: u64) -> io::Result<()> {
        let ends_before = |at: &u64| at + bytes_of_sector(*at) as u64 <= offset;
        let first = self.unread.partition_point(ends_before);
        while let Some(at) = self.unread.get(first).copied().filter(|at| *at < end) {
            let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
            let held = self.held.get_mut(from..).unwrap_or_default();
            let len = bytes_of_sector(at).min(held.len());
            let sector = held.get_mut(..len).unwrap_or_default();
            let read = self.file.read_at(sector, at);
            if read.is_err() {
                sector.fill(0);
            }
            read?;
            self.unread.remove(first);
        }
        Ok(())
    }

    /// The record at `offset` and its bytes without padding; `None` if no whole record is there.
    pub(super) fn record(
        &mut self,
        offset: u64,
        mark: u32,
    ) -> io::Result<Option<(RecordHead, &[u8])>> {
        let Some(head) = RecordHead::decode(self.get(offset, HEAD_BYTES)?, mark) else {
            return Ok(None);
        };
        if head.size() > self.bytes - offset {
            return Ok(None);
        }
        let record = self.get(offset, HEAD_BYTES + head.len as usize)?;
        Ok(head.is_whole(record).then_some((head, record)))
    }
}

/// Bytes from a place to the end of its sector.
fn bytes_of_sector(offset: u64) -> usize {
    SECTOR - usize::try_from(offset % SECTOR as u64).unwrap_or(0)
}
