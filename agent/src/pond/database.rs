//! One sled database as a pond: keys and values, and a mark that says that it is complete and up to
//! which LSN. sled gives up in many ways over files that are damaged, panics among them; all of them
//! are one answer here.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::journal::{is_full, sync_directory};

/// Bytes of sled's cache: its default of 1 GB is more than a gateway has.
pub(super) const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// Writes in one batch: above about a thousand sled's memory grows without bound.
pub(super) const BATCH_WRITES_MAX: usize = 1_000;

/// Version of the mark, and of what it says about everything else.
pub(super) const FORMAT: u8 = 1;

/// The mark's key; no other one begins like this.
const MARK: &[u8] = &[0];

/// Longest value: sled puts much longer ones into files that it never syncs.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What sled says where a database is open already.
const LOCKED: &str = "could not acquire lock";

/// How long that is waited for, and how often it is tried again.
const LOCKED_MAX: Duration = Duration::from_secs(5);
const LOCKED_STEP: Duration = Duration::from_millis(5);

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Why a pond cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It holds nothing that can be trusted.
    Damaged(String),
    /// Written by another version of Tidemill.
    Format(u8),
    /// Its files are not to blame: no room, no permission.
    Outside(io::Error),
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let is_refused = matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem);
        match is_refused || is_full(&error) {
            true => Self::Outside(error),
            false => Self::Damaged(error.to_string()),
        }
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
            let database = open_unlocked(path)?;
            Ok(Self {
                path: path.to_owned(),
                database,
                file: File::open(path.join("db"))?,
            })
        })
    }

    /// The LSN up to which it is complete; `None` where it is not.
    pub(super) fn mark(&self) -> Result<Option<u64>, Trouble> {
        let mark = guarded(|| Ok(self.database.get(MARK)?))?;
        match mark.as_deref() {
            None => Ok(None),
            Some([FORMAT, lsn @ ..]) => match lsn.try_into() {
                Ok(lsn) => Ok(Some(u64::from_le_bytes(lsn))),
                Err(_) => Err(Trouble::Damaged("its mark is too short".to_owned())),
            },
            Some(mark) => Err(Trouble::Format(mark.first().copied().unwrap_or(0))),
        }
    }

    /// Everything it holds, in order of the keys.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, Trouble> {
        guarded(|| {
            let mut entries = Vec::new();
            for entry in self.database.iter() {
                let (key, value) = entry?;
                if key != MARK {
                    entries.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok(entries)
        })
    }

    /// Writes and removes keys, and returns once that is durable. While it does so, and if it is
    /// interrupted, the pond is not complete.
    pub(super) fn write(
        &self,
        lsn: u64,
        puts: &[Entry],
        removes: &[Vec<u8>],
    ) -> Result<(), Trouble> {
        guarded(|| {
            self.database.remove(MARK)?;
            self.flush()?;
            let puts = puts.iter().map(|(key, value)| (key, Some(value)));
            let changes: Vec<_> = puts.chain(removes.iter().map(|key| (key, None))).collect();
            for chunk in changes.chunks(BATCH_WRITES_MAX) {
                let mut batch = sled::Batch::default();
                for (key, value) in chunk {
                    debug_assert!(!key.starts_with(MARK), "the mark's key");
                    debug_assert!(value.is_none_or(|value| value.len() < VALUE_BYTES_MAX));
                    match value {
                        Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                        None => batch.remove(key.as_slice()),
                    }
                }
                self.database.apply_batch(batch)?;
                self.flush()?;
            }
            // sled does not sync what it made when the database was new.
            sync_files(&self.path)?;
            let mark = [&[FORMAT], lsn.to_le_bytes().as_slice()].concat();
            self.database.insert(MARK, mark)?;
            self.flush()
        })
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

    /// Closes it; what sled has to say about that is of no interest.
    pub(super) fn close(self) {
        let _ = guarded(|| {
            drop(self);
            Ok(())
        });
    }
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

/// Makes all files of a pond durable, and their names.
fn sync_files(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(path)?;
    path.parent().map_or(Ok(()), sync_directory)
}
