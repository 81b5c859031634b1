//! Reserve for checkpoints: a file that is given up when the disk is full, because only a
//! checkpoint makes room again in the files that are ours.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::storage::pond::checkpoint_room;
use tidemill_base::files::own;
use tidemill_journal::sync_directory;

/// The file.
const NAME: &str = "reserve";

/// Bytes kept in addition to the room that a checkpoint asks for.
const MORE_BYTES: u64 = 2 << 20;

/// However large checkpoints are, no more is kept from others.
const BYTES_MAX: u64 = 64 << 20;

const STEP: usize = 64 * 1024;

/// Room for the next checkpoint.
pub(crate) struct Reserve {
    path: PathBuf,
    /// Bytes kept; 0 if the file is not there.
    bytes: u64,
}

impl Reserve {
    /// Finds the reserve of an earlier process.
    pub(crate) fn find(dir: &Path) -> Self {
        let path = dir.join(NAME);
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
        Self { path, bytes }
    }

    /// `true` if it is there.
    pub(crate) fn is_kept(&self) -> bool {
        self.bytes > 0
    }

    /// Reserves room for a checkpoint of so many bytes, if not enough is kept.
    ///
    /// # Errors
    /// When there is no room.
    pub(crate) fn keep_for(&mut self, checkpoint_bytes: u64) -> io::Result<()> {
        let wanted = checkpoint_room(checkpoint_bytes)
            .saturating_add(MORE_BYTES)
            .min(BYTES_MAX);
        if self.bytes >= wanted {
            return Ok(());
        }
        let kept = self.allocate(wanted);
        if kept.is_err() && self.bytes == 0 {
            // Half of it would only be in the way.
            let _ = std::fs::remove_file(&self.path);
        }
        self.bytes = match &kept {
            Ok(()) => wanted,
            Err(_) => self.bytes,
        };
        kept
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        let file = own()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&file, bytes)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }

    /// Gives it up; returns whether there was anything to give.
    pub(crate) fn give_up(&mut self) -> bool {
        let had = std::mem::take(&mut self.bytes) > 0;
        let gone = std::fs::remove_file(&self.path);
        let is_durable = self.path.parent().map(sync_directory);
        had && gone.is_ok() && is_durable.is_none_or(|synced| synced.is_ok())
    }
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = [0; STEP];
    let mut offset = 0;
    while offset < bytes {
        let left = usize::try_from(bytes - offset).unwrap_or(STEP);
        let piece = zeros.get(..left).unwrap_or(&zeros);
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// Bytes that whoever is not root may still write beside `dir`, and those of what we keep there already.
pub(crate) fn room_for(dir: &Path) -> io::Result<u64> {
    Ok(free_bytes(dir)?.saturating_add(bytes_of(dir)))
}

/// Bytes that are free on the disk of a directory.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn bytes_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_grows_with_checkpoints_and_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::find(temp.path());
        assert!(!reserve.is_kept() && !reserve.give_up());
        reserve.keep_for(0).unwrap();
        let len = || std::fs::metadata(temp.path().join(NAME)).unwrap().len();
        assert_eq!(len(), 6 << 20);
        reserve.keep_for(1 << 20).unwrap();
        assert_eq!(len(), 9 << 20);
        reserve.keep_for(0).unwrap();
        assert_eq!(len(), 9 << 20);
        let mut found = Reserve::find(temp.path());
        assert!(found.is_kept() && found.give_up() && !found.is_kept());
        assert!(!temp.path().join(NAME).exists());
    }
}
