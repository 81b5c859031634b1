//! One sled database as a pond: keys and values, and a mark that says that it is complete, up to which
//! LSN, and with which contents. sled gives up in many ways over files that are damaged, panics among
//! them; all of them are one answer here. What it passes over without a word, such as a part that a
//! power cut took away, shows in the contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::entry::{Entry, FORMAT, MARK};
use super::error::Trouble;
use super::pieces::{Contents, Joined, PIECE_BYTES_MAX, count_in, cut, is_mark, piece_key};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};
use tidemill_journal::sync_directory;

/// Bytes of sled's cache: its default of 1 GB is more than a gateway has.
pub(super) const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// Writes in one batch: above about a thousand sled's memory grows without bound.
pub(super) const BATCH_WRITES_MAX: usize = 1_000;

/// Bytes in one batch, the last write aside; sled's memory for it stays below its cache.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The format before: values are not cut, and the mark says nothing about them. It is read only.
const FORMAT_UNCUT: u8 = 1;

/// Ending of a snapshot of sled's that it has not renamed yet.
const UNFINISHED: &str = "generating";

/// Folders within a database.
pub(super) const DEPTH_MAX: u32 = 4;

/// Error text of sled for a database that is open already.
const LOCKED: &str = "could not acquire lock";

/// Longest wait for the lock, and the time between attempts.
const LOCKED_MAX: Duration = Duration::from_secs(5);
const LOCKED_STEP: Duration = Duration::from_millis(5);

/// The last thing that is written of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The LSN up to which the pond is complete.
    pub(super) lsn: Lsn,
    /// Its contents; `None` in a pond of the format before.
    pub(super) contents: Option<Contents>,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let Contents { count, sum } = self.contents.unwrap_or_default();
        let mut bytes = vec![FORMAT];
        bytes.extend(self.lsn.get().to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Trouble> {
        let damaged = || Trouble::Damaged("its mark is of another length".to_owned());
        let (format, rest) = bytes.split_first().ok_or_else(damaged)?;
        if ![FORMAT_UNCUT, FORMAT].contains(format) {
            return Err(Trouble::Format(*format));
        }
        let (lsn, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let contents = match (*format, rest.split_first_chunk()) {
            (FORMAT_UNCUT, None) if rest.is_empty() => None,
            (FORMAT, Some((count, sum))) => Some(Contents {
                count: u64::from_le_bytes(*count),
                sum: u128::from_le_bytes(sum.try_into().map_err(|_| damaged())?),
            }),
            _ => return Err(damaged()),
        };
        Ok(Self {
            lsn: Lsn::new(u64::from_le_bytes(*lsn)),
            contents,
        })
    }
}

/// Changes that sled gets at once.
struct Batch<'a> {
    database: &'a Database,
    contents: Contents,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(database: &'a Database, contents: Contents) -> Self {
        Self {
            database,
            contents,
            changes: BTreeMap::new(),
            bytes: 0,
        }
    }

    fn change(&mut self, key: Vec<u8>, piece: Option<Vec<u8>>) -> Result<(), Trouble> {
        self.bytes += key.len() + piece.as_deref().map_or(0, <[u8]>::len);
        self.changes.insert(key, piece);
        if self.changes.len() == BATCH_WRITES_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.apply()?;
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), Trouble> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, piece) in std::mem::take(&mut self.changes) {
            let before = self.database.database.get(&key)?;
            if before.as_deref() == piece.as_deref() {
                continue;
            }
            if let Some(before) = before {
                self.contents.remove(&key, &before);
            }
            match piece {
                Some(piece) => {
                    self.contents.add(&key, &piece);
                    batch.insert(key, piece);
                }
                None => batch.remove(key),
            }
        }
        self.bytes = 0;
        self.database.database.apply_batch(batch)?;
        self.database.flush()
    }

    fn finish(mut self) -> Result<Contents, Trouble> {
        self.apply()?;
        Ok(self.contents)
    }
}

/// An open pond.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    database: sled::Db,
    file: File,
}

impl Database {
    /// Opens a pond, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        guarded(|| {
            remove_unfinished(path)?;
            let database = open_unlocked(path)?;
            Ok(Self {
                path: path.to_owned(),
                database,
                file: File::open(path.join("db"))?,
            })
        })
    }

    /// Its mark; `None` where it is not complete.
    pub(super) fn mark(&self) -> Result<Option<Mark>, Trouble> {
        let mark = guarded(|| Ok(self.database.get(MARK)?))?;
        mark.as_deref().map(Mark::decode).transpose()
    }

    /// All entries, in order of the keys, checked against the mark.
    pub(super) fn entries(&self, mark: &Mark) -> Result<Vec<Entry>, Trouble> {
        guarded(|| {
            let (mut entries, mut joined) = (Vec::new(), Joined::default());
            for entry in self.database.iter() {
                let (key, value) = entry?;
                if is_mark(&key) {
                    continue;
                }
                match mark.contents {
                    None => entries.push((key.to_vec(), value.to_vec())),
                    Some(_) => joined.push(&key, &value)?,
                }
            }
            let Some(contents) = mark.contents else {
                return Ok(entries);
            };
            if joined.contents != contents && !sabotage::is(Sabotage::PondNotDurable) {
                let (found, said) = (joined.contents.count, contents.count);
                let what = format!("it holds {found} values, not the {said} of its mark");
                return Err(Trouble::Damaged(what));
            }
            joined.finish()
        })
    }

    /// Writes and removes keys, and returns the new mark once that is durable. Meanwhile, and if it
    /// is interrupted, the database is not complete.
    pub(super) fn write(
        &self,
        before: Contents,
        lsn: Lsn,
        puts: &[Entry],
        removes: &[Vec<u8>],
    ) -> Result<Mark, Trouble> {
        guarded(|| {
            self.database.remove(MARK)?;
            self.flush()?;
            let mut batch = Batch::new(self, before);
            for (key, value) in puts {
                debug_assert!(!key.starts_with(MARK), "the mark's key");
                let was = self.pieces_of(key)?;
                let pieces = if sabotage::is(Sabotage::PondNotDurable) {
                    cut(key, value, 64 * 1024)?
                } else {
                    cut(key, value, PIECE_BYTES_MAX)?
                };
                let is = pieces.len().try_into().unwrap_or(u16::MAX);
                for (key, piece) in pieces {
                    batch.change(key, Some(piece))?;
                }
                for number in is..was {
                    batch.change(piece_key(key, number), None)?;
                }
            }
            for key in removes {
                for number in 0..self.pieces_of(key)? {
                    batch.change(piece_key(key, number), None)?;
                }
            }
            let mark = Mark {
                lsn,
                contents: Some(batch.finish()?),
            };
            // No word of the mark may reach the medium before all that it stands for has, wherever sled
            // put it: not even where the file system orders nothing by itself.
            if !sabotage::is(Sabotage::PondNotDurable) {
                self.sync()?;
            }
            self.database.insert(MARK, mark.encode())?;
            self.flush()?;
            if !sabotage::is(Sabotage::PondNotDurable) {
                self.sync()?;
            }
            Ok(mark)
        })
    }

    /// Count of pieces that the value of a key is kept in; 0 where there is no such key.
    fn pieces_of(&self, key: &[u8]) -> Result<u16, Trouble> {
        let first = self.database.get(piece_key(key, 0))?;
        first.as_deref().map_or(Ok(0), count_in)
    }

    /// Makes all its files durable, and their names.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        sync_all_below(&self.path)?;
        let parent = self.path.parent();
        Ok(parent.map_or(Ok(()), sync_directory)?)
    }

    fn flush(&self) -> Result<(), Trouble> {
        self.database.flush()?;
        // sled's own flush does not reach the medium on Linux.
        self.file.sync_data()?;
        // Without this sled keeps what it replaced, for as long as the process lives.
        for _ in 0..4 {
            crossbeam_epoch::pin().flush();
        }
        Ok(())
    }

    /// Closes the database; an error of sled at that is of no interest.
    pub(super) fn close(self) {
        let _ = guarded(|| {
            drop(self);
            Ok(())
        });
    }
}

/// Removes snapshots that sled had not finished when the process or the power failed: it takes them for
/// whole ones, and the database for damaged. Without a snapshot it reads its log from the beginning.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Opens a database that nobody else may have open: the data directory is locked. sled's threads may
/// still hold one that was closed a moment ago.
fn open_unlocked(path: &Path) -> Result<sled::Db, Trouble> {
    let begun = Instant::now();
    loop {
        let opened = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open();
        match opened {
            Ok(database) => return Ok(database),
            Err(sled::Error::Io(error)) if error.to_string().contains(LOCKED) => {
                if begun.elapsed() > LOCKED_MAX {
                    return Err(Trouble::Outside(error));
                }
                std::thread::sleep(LOCKED_STEP);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes a panic of sled's for damage. A release ends at a panic: `Attempt` is for that.
fn guarded<T>(act: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("without a word");
        Err(Trouble::Damaged(format!("the database panicked: {text}")))
    })
}

/// Makes a folder durable with everything in it. Every file is synced, because sled does not tell
/// what it has written where; for one that was not changed that costs nothing.
fn sync_all_below(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let synced = if entry.file_type()?.is_dir() {
            sync_all_below(&entry.path())
        } else {
            File::open(entry.path()).and_then(|file| file.sync_all())
        };
        match synced {
            // sled's threads remove files that were replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            synced => synced?,
        }
    }
    sync_directory(path)
}

/// Lengths of all files in a database together.
pub(super) fn bytes_below(path: &Path) -> u64 {
    sum_below(path, DEPTH_MAX)
}

fn sum_below(path: &Path, depth: u32) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let lengths = entries.map(|entry| match std::fs::symlink_metadata(entry.path()) {
        Ok(found) if found.is_dir() && depth > 0 => sum_below(&entry.path(), depth - 1),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    });
    lengths.fold(0, u64::saturating_add)
}
