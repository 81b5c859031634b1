//! The two ponds of a data directory: state up to an LSN, written in turn, so that one is complete at
//! any moment. A pond is a store of keys and values that knows no meaning. One that is not complete or
//! cannot be read is given up as long as nothing is lost with it: as long as the other one, or the
//! journal from its first record on, is there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::content::{PondCheckpoint, PondContent};
use super::error::{PondsError, Which, outside};
use super::one::{OnePond, State};
use tidemill_base::files::{explain, own};
use tidemill_base::number::Lsn;
use tidemill_journal::make_directory;

/// The file whose lock says that somebody works in the directory.
const LOCK: &str = "lock";

/// The ponds of one data directory, which is locked while this value lives.
#[derive(Debug)]
pub struct Ponds {
    dir: PathBuf,
    journal_begins: Option<Lsn>,
    ponds: [OnePond; 2],
    _lock: File,
}

impl Ponds {
    /// Opens the ponds in `dir`, which is made if it is not there. `journal_begins` is the first record
    /// of the journal beside them, `None` where there is no journal.
    ///
    /// # Errors
    /// When the directory cannot be used, another agent uses it, a pond is of another format, or state
    /// was lost. Nothing was changed then.
    pub fn open(dir: &Path, journal_begins: Option<Lsn>) -> Result<Self, PondsError> {
        let mut ponds = Self::look(dir, journal_begins)?;
        ponds.give_up()?;
        Ok(ponds)
    }

    /// Removes the database into which a checkpoint was interrupted, on a disk that has no room: it
    /// takes as much as the other one and holds nothing that anybody can read. Returns `true` if
    /// there was one. If both were interrupted, both stay for inspection.
    ///
    /// # Errors
    /// When another agent uses the directory, or it cannot be removed.
    pub fn give_up_interrupted(dir: &Path) -> Result<bool, PondsError> {
        let _lock = lock(dir)?;
        let mut ponds = Which::BOTH.map(|which| OnePond::new(dir, which));
        let is_whole = |pond: &OnePond| pond.path.exists() && !pond.is_interrupted();
        if !ponds.iter().any(is_whole) {
            return Ok(false);
        }
        let Some(pond) = ponds.iter_mut().find(|pond| pond.is_interrupted()) else {
            return Ok(false);
        };
        pond.give_up_interrupted(dir)?;
        Ok(true)
    }

    /// Puts both ponds aside, whatever is in them; returns where they are. Afterwards there is no state.
    ///
    /// # Errors
    /// When the directory cannot be used, or another agent uses it.
    pub fn abandon(dir: &Path) -> Result<Vec<PathBuf>, PondsError> {
        let _lock = lock(dir)?;
        let mut aside = Vec::new();
        for which in Which::BOTH {
            aside.extend(OnePond::new(dir, which).abandon(dir)?);
        }
        Ok(aside)
    }

    fn look(dir: &Path, journal_begins: Option<Lsn>) -> Result<Self, PondsError> {
        let lock = lock(dir)?;
        let ponds = Which::BOTH.map(|which| OnePond::new(dir, which));
        let mut ponds = Self {
            dir: dir.to_owned(),
            journal_begins,
            ponds,
            _lock: lock,
        };
        let older = dir.join("pond");
        if older.exists() && !ponds.ponds.iter().any(|pond| pond.path.exists()) {
            return Err(PondsError::Older(older));
        }
        for pond in &mut ponds.ponds {
            pond.look(dir)?;
        }
        Ok(ponds)
    }

    /// Reads the newest complete pond. Where it cannot be read, it is given up for the other one.
    ///
    /// # Errors
    /// When state was lost, or the directory cannot be used.
    pub fn newest(&mut self) -> Result<Option<PondContent>, PondsError> {
        loop {
            let complete = |pond: &&mut OnePond| pond.lsn().is_some();
            let ponds = self.ponds.iter_mut().filter(complete);
            let Some(pond) = ponds.max_by_key(|pond| pond.lsn()) else {
                return Ok(None);
            };
            if let Some(content) = pond.read(&self.dir)? {
                return Ok(Some(content));
            }
            self.give_up()?;
        }
    }

    /// The LSN up to which a database is complete; `None` where it is not.
    pub fn lsn(&self, which: Which) -> Option<Lsn> {
        self.pond(which).lsn()
    }

    /// Returns `true` if the next checkpoint of a database has to be a full one.
    pub fn needs_full(&self, which: Which) -> bool {
        self.pond(which).contents().is_none()
    }

    /// The pond to be written next: the one that is not complete, or is the older one.
    pub fn next(&self) -> Which {
        if self.lsn(Which::A) > self.lsn(Which::B) {
            Which::B
        } else {
            Which::A
        }
    }

    /// Writes a checkpoint and returns once it is on the medium. A pond that has begun to be written is
    /// not complete until then.
    ///
    /// # Errors
    /// When there is no room, the database fails, or there is nothing to which changes could be added.
    /// Unless nothing was touched, the pond has to be written whole then.
    pub fn write(&mut self, which: Which, checkpoint: &PondCheckpoint) -> Result<(), PondsError> {
        if !checkpoint.full && self.needs_full(which) {
            return Err(PondsError::NeedsFull(which));
        }
        let dir = self.dir.clone();
        let pond = self.pond_mut(which);
        pond.refuse_without_room(&dir, checkpoint)?;
        let written = pond.write(&dir, checkpoint);
        written.map_err(|trouble| pond.failed(&dir, trouble))
    }

    fn pond(&self, which: Which) -> &OnePond {
        let [a, b] = &self.ponds;
        if which == Which::A { a } else { b }
    }

    fn pond_mut(&mut self, which: Which) -> &mut OnePond {
        let [a, b] = &mut self.ponds;
        if which == Which::A { a } else { b }
    }

    /// Puts damaged ponds aside, unless state is lost with them.
    fn give_up(&mut self) -> Result<(), PondsError> {
        let troubles: Vec<String> = self.ponds.iter().filter_map(OnePond::trouble).collect();
        if !troubles.is_empty() && !self.is_whole_without() {
            return Err(PondsError::Lost {
                what: troubles.join(", "),
                journal: match self.journal_begins {
                    Some(first) => format!("the journal begins with record {first}"),
                    None => "there is no journal".to_owned(),
                },
                dir: self.dir.clone(),
            });
        }
        for pond in &mut self.ponds {
            pond.put_aside(&self.dir)?;
        }
        Ok(())
    }

    /// Returns `true` if a complete database and the journal behind it, or the journal alone, are
    /// the whole state.
    fn is_whole_without(&self) -> bool {
        let is_damaged = |pond: &OnePond| matches!(pond.state, State::Damaged(_));
        let Some(begins) = self.journal_begins else {
            // There may have been one that reached further than the pond that is left.
            return !self.ponds.iter().any(is_damaged);
        };
        let complete = self.ponds.iter().filter_map(OnePond::lsn);
        begins <= complete.max().unwrap_or(Lsn::ZERO) + 1
    }
}

/// Locks a data directory for as long as the file lives. The directory is made if it is not there.
///
/// # Errors
/// When another agent holds the lock, or the directory cannot be used.
pub fn lock(dir: &Path) -> Result<File, PondsError> {
    let failed = |error| outside(dir, error);
    make_directory(dir).map_err(failed)?;
    let path = dir.join(LOCK);
    let lock = own().write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(|error| outside(&path, explain(&path, error)))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(PondsError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Locks a data directory against agents, for those who only look; beside others who do. `None` where no
/// agent has ever been.
///
/// # Errors
/// When an agent holds the lock, or the directory cannot be used.
pub(super) fn lock_to_look(dir: &Path) -> Result<Option<File>, PondsError> {
    let path = dir.join(LOCK);
    let lock = match own().read(true).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(outside(&path, explain(&path, error))),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(PondsError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(outside(dir, error)),
    }
}
