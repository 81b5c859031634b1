//! One of the two state databases: its state, and how it is written, read and given up.

use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::attempt::{Attempt, check_after};
use super::content::{PondCheckpoint, PondContent};
use super::database::{Database, Mark};
use super::error::{PondsError, Trouble, Which, outside};
use super::pieces::Contents;
use tidemill_base::files::create_own;
use tidemill_base::number::Lsn;
use tidemill_journal::sync_directory;

/// Room needed besides the written bytes: sled writes in steps of half a MiB, and a failed one may
/// leave a database that it does not open any more.
const ROOM_BYTES: u64 = 4 * 1024 * 1024;

/// Room that a checkpoint of so many bytes needs: a new database was seen to take 2.7 times as
/// much.
pub fn checkpoint_room(checkpoint_bytes: u64) -> u64 {
    ROOM_BYTES.saturating_add(checkpoint_bytes.saturating_mul(3))
}

/// State of a database, as far as it is known.
#[derive(Debug)]
pub(super) enum State {
    /// There is no database, or it has to go.
    Empty,
    /// The content is unknown: a checkpoint was interrupted, in this life or in another one.
    Incomplete,
    /// The database holds everything up to the LSN of its mark.
    Complete(Mark),
    /// The database cannot be used.
    Damaged(String),
}

/// One of the two ponds.
#[derive(Debug)]
pub(super) struct OnePond {
    pub(super) which: Which,
    pub(super) path: PathBuf,
    pub(super) state: State,
    database: Option<Database>,
}

impl OnePond {
    pub(super) fn new(dir: &Path, which: Which) -> Self {
        Self {
            which,
            path: dir.join(which.to_string()),
            state: State::Empty,
            database: None,
        }
    }

    fn mark(&self) -> Option<Mark> {
        match self.state {
            State::Complete(mark) => Some(mark),
            _ => None,
        }
    }

    pub(super) fn lsn(&self) -> Option<Lsn> {
        self.mark().map(|mark| mark.lsn)
    }

    /// Its contents, where changes can be added to them.
    pub(super) fn contents(&self) -> Option<Contents> {
        self.mark()?.contents
    }

    /// The note that stands beside it while it is being written.
    fn writing(&self) -> PathBuf {
        self.path.with_extension("writing")
    }

    /// Path to which the database is moved while it is being removed.
    fn removed(&self) -> PathBuf {
        self.path.with_extension("removed")
    }

    /// `true` if a checkpoint into it was interrupted: nobody can read it.
    pub(super) fn is_interrupted(&self) -> bool {
        self.path.exists() && self.writing().exists()
    }

    /// Removes the rest of an interrupted checkpoint.
    pub(super) fn give_up_interrupted(&mut self, dir: &Path) -> Result<(), PondsError> {
        if let Err(trouble) = self.empty(dir) {
            return Err(self.failed(dir, trouble));
        }
        let removed = std::fs::remove_file(self.writing()).and_then(|()| sync_directory(dir));
        removed.map_err(|error| outside(dir, error))
    }

    pub(super) fn trouble(&self) -> Option<String> {
        match &self.state {
            State::Incomplete => Some(format!("{} is not complete", self.which)),
            State::Damaged(what) => Some(format!("{} is damaged ({what})", self.which)),
            _ => None,
        }
    }

    fn open(&mut self) -> Result<&Database, Trouble> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::open(&self.path)?,
        };
        Ok(self.database.insert(database))
    }

    /// Finds out the state, and makes it durable: changes that a killed agent has left in memory
    /// may be gone after the next power cut, and so may be those that sled makes when it opens a
    /// database.
    pub(super) fn look(&mut self, dir: &Path) -> Result<(), PondsError> {
        remove(&self.removed()).map_err(|error| outside(dir, error))?;
        if !self.path.exists() {
            return Ok(());
        }
        if self.writing().exists() {
            // sled is not let near it: what it finds there may end the process.
            self.state = State::Incomplete;
            return Ok(());
        }
        // sled writes when it opens, and damages what it cannot write to its end.
        refuse_without(dir, ROOM_BYTES / 2)?;
        let mark = self.attempt(|pond| {
            let database = pond.open()?;
            let mark = database.mark()?;
            if mark.is_some() {
                database.sync()?;
            }
            Ok(mark)
        });
        self.state = match mark {
            Ok(Some(mark)) => State::Complete(mark),
            Ok(None) => State::Incomplete,
            Err(trouble) => State::Damaged(self.damage(dir, trouble)?),
        };
        Ok(())
    }

    /// The content; `None` if the database turns out to be damaged.
    pub(super) fn read(&mut self, dir: &Path) -> Result<Option<PondContent>, PondsError> {
        let Some(mark) = self.mark() else {
            return Ok(None);
        };
        match self.attempt(|pond| pond.open()?.entries(&mark)) {
            Ok(entries) => Ok(Some(PondContent {
                which: self.which,
                lsn: mark.lsn,
                entries,
            })),
            Err(trouble) => {
                self.state = State::Damaged(self.damage(dir, trouble)?);
                Ok(None)
            }
        }
    }

    fn attempt<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let before = Attempt::left(&self.path);
        if before > 0 {
            check_after(before, &self.path, self.which)?;
        }
        let _attempt = Attempt::begin(&self.path, before);
        act(self)
    }

    /// The damage; other trouble is an error.
    fn damage(&mut self, dir: &Path, trouble: Trouble) -> Result<String, PondsError> {
        match trouble {
            Trouble::Damaged(what) => Ok(what),
            Trouble::Format(found) => Err(PondsError::Format {
                pond: self.path.clone(),
                found,
            }),
            Trouble::Outside(error) => Err(outside(dir, error)),
        }
    }

    /// Moves a damaged pond away; returns where to. The last one that was is kept for those who want to
    /// look at it.
    pub(super) fn put_aside(&mut self, dir: &Path) -> Result<Option<PathBuf>, PondsError> {
        let State::Damaged(what) = &self.state else {
            return Ok(None);
        };
        if let Some(database) = self.database.take() {
            database.close();
        }
        let aside = next_aside(dir, self.which)
            .and_then(|aside| std::fs::rename(&self.path, &aside).map(|()| aside))
            .and_then(|aside| sync_directory(dir).map(|()| aside))
            .map_err(|error| outside(dir, error))?;
        warn!(
            "{} is damaged and was moved to {}: {what}",
            self.which,
            aside.display()
        );
        Attempt::forget(&self.path);
        let _ = std::fs::remove_file(self.writing());
        self.state = State::Empty;
        Ok(Some(aside))
    }

    /// Moves it away, whatever is in it.
    pub(super) fn abandon(&mut self, dir: &Path) -> Result<Option<PathBuf>, PondsError> {
        if !self.path.exists() {
            return Ok(None);
        }
        self.state = State::Damaged("the state cannot be read without the other one".to_owned());
        self.put_aside(dir)
    }

    /// Refuses before anything is touched, because a pond is not complete while it is written.
    pub(super) fn refuse_without_room(
        &self,
        dir: &Path,
        checkpoint: &PondCheckpoint,
    ) -> Result<(), PondsError> {
        let puts = checkpoint.puts.iter();
        let bytes: usize = puts.map(|(key, value)| key.len() + value.len()).sum();
        let given_back = if checkpoint.full { size(&self.path) } else { 0 };
        refuse_without(
            dir,
            checkpoint_room(bytes as u64).saturating_sub(given_back),
        )
    }

    pub(super) fn write(&mut self, dir: &Path, checkpoint: &PondCheckpoint) -> Result<(), Trouble> {
        let before = self.contents().filter(|_| !checkpoint.full);
        if matches!(self.state, State::Incomplete) {
            info!("{} was not complete and is written anew", self.which);
        }
        self.state = State::Incomplete;
        create_own(&self.writing())?.sync_all()?;
        sync_directory(dir)?;
        if checkpoint.full {
            self.empty(dir)?;
        }
        let PondCheckpoint {
            lsn, puts, removes, ..
        } = checkpoint;
        let before = before.unwrap_or_default();
        let mark = self.open()?.write(before, *lsn, puts, removes)?;
        std::fs::remove_file(self.writing())?;
        sync_directory(dir)?;
        self.state = State::Complete(mark);
        Ok(())
    }

    /// Makes a new database, which is quicker than one from which everything was removed, and free
    /// of the faults of the old one. The old one goes at once, by its name: one of which a power
    /// cut has taken a part could pass for whole.
    fn empty(&mut self, dir: &Path) -> Result<(), Trouble> {
        if let Some(database) = self.database.take() {
            database.close();
        }
        let removed = self.removed();
        remove(&removed)?;
        if self.path.exists() {
            std::fs::rename(&self.path, &removed)?;
            sync_directory(dir)?;
            remove(&removed)?;
        }
        Ok(())
    }

    /// A database that failed once refuses everything: the next try opens it again.
    pub(super) fn failed(&mut self, dir: &Path, trouble: Trouble) -> PondsError {
        if let Some(database) = self.database.take() {
            database.close();
        }
        let what = match trouble {
            Trouble::Outside(error) => return outside(dir, error),
            Trouble::Damaged(what) => what,
            Trouble::Format(found) => format!("format {found}"),
        };
        // It may have been damaged by what failed. The other one is complete, so it is not needed.
        self.state = State::Incomplete;
        let pond = self.which;
        PondsError::Write { pond, what }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// The path for a damaged database; an earlier one is removed.
fn next_aside(dir: &Path, which: Which) -> io::Result<PathBuf> {
    let prefix = format!("{which}.damaged-");
    let mut last = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
            last = last.max(number);
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(dir.join(format!("{prefix}{}", last + 1)))
}

/// Refuses where there is less room, for those who are not root.
fn refuse_without(dir: &Path, bytes: u64) -> Result<(), PondsError> {
    let found = rustix::fs::statvfs(dir).map_err(|error| outside(dir, error.into()))?;
    if found.f_bavail.saturating_mul(found.f_frsize) < bytes {
        Err(PondsError::Full(dir.to_owned()))
    } else {
        Ok(())
    }
}

/// Bytes of the files of a pond.
fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok().map(|found| found.len()));
    sizes.sum()
}
