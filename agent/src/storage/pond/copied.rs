//! The ponds of a data directory as they are, read from a copy: sled writes into whatever it opens, and
//! those who look at a directory change nothing in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::content::PondContent;
use super::database::{DEPTH_MAX, bytes_below};
use super::error::{PondsError, Which, outside};
use super::ponds::{Ponds, lock_to_look};
use tidemill_base::files::{create_own, explain, own};
use tidemill_base::number::Lsn;
use tidemill_journal::is_full;

/// Ponds that are looked at. No agent can start in their directory while this value lives.
#[derive(Debug)]
pub struct CopiedPonds {
    dir: PathBuf,
    ponds: Ponds,
    copy: TempDir,
    _lock: Option<File>,
}

impl CopiedPonds {
    /// Copies the ponds of a directory to where the system keeps temporary files, and opens them there.
    ///
    /// # Errors
    /// When the directory cannot be used, an agent uses it, there is no room for the copy, a pond is of
    /// another format, or state was lost.
    pub fn look(dir: &Path, journal_begins: Option<Lsn>) -> Result<Self, PondsError> {
        let lock = lock_to_look(dir)?;
        let copy = tempfile::Builder::new()
            .prefix("tidemill-look-")
            .tempdir()
            .map_err(|error| outside(&std::env::temp_dir(), error))?;
        refuse_without_room(dir, copy.path()).map_err(|error| in_words(dir, error))?;
        for which in Which::BOTH {
            copy_pond(&dir.join(which.to_string()), copy.path())
                .map_err(|error| in_words(dir, error))?;
        }
        let ponds = Ponds::open(copy.path(), journal_begins)
            .map_err(|error| of_original(error, copy.path(), dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            ponds,
            copy,
            _lock: lock,
        })
    }

    /// Reads the newest complete pond: see [`Ponds::newest`].
    ///
    /// # Errors
    /// When state was lost, or the copy cannot be read.
    pub fn newest(&mut self) -> Result<Option<PondContent>, PondsError> {
        let newest = self.ponds.newest();
        newest.map_err(|error| of_original(error, self.copy.path(), &self.dir))
    }

    /// The LSN up to which a database is complete; `None` where it is not.
    pub fn lsn(&self, which: Which) -> Option<Lsn> {
        self.ponds.lsn(which)
    }
}

/// Refuses before anything is copied: a file may say that it is longer than any disk, and where temporary files
/// lie in memory others need it.
fn refuse_without_room(dir: &Path, to: &Path) -> io::Result<()> {
    let ponds = Which::BOTH.map(|which| bytes_below(&dir.join(which.to_string())));
    let needed = ponds.into_iter().fold(0, u64::saturating_add);
    let found = rustix::fs::statvfs(to)?;
    if needed > found.f_bavail.saturating_mul(found.f_frsize) {
        Err(io::ErrorKind::StorageFull.into())
    } else {
        Ok(())
    }
}

fn copy_pond(pond: &Path, to: &Path) -> io::Result<()> {
    let Some(name) = pond.file_name() else {
        return Ok(());
    };
    let copy = to.join(name);
    if !pond.is_dir() {
        return Ok(());
    }
    copy_folder(pond, &copy, DEPTH_MAX)?;
    let writing = pond.with_extension("writing");
    if writing.exists() {
        create_own(&copy.with_extension("writing"))?;
    }
    // sled may end the process over files that are damaged. As if one had ended so already, another
    // process opens the copy first.
    std::fs::write(copy.with_extension("opening"), "1\n")
}

fn copy_folder(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        let found = std::fs::symlink_metadata(&from)?;
        if found.is_dir() && depth > 0 {
            copy_folder(&from, &to, depth - 1)?;
        } else {
            let file = own().read(true).open(&from);
            let mut file = file.map_err(|error| explain(&from, error))?;
            if file.metadata()?.is_file() {
                io::copy(&mut file, &mut create_own(&to)?)?;
            }
        }
    }
    Ok(())
}

fn in_words(dir: &Path, error: io::Error) -> PondsError {
    if is_full(&error) {
        let place = std::env::temp_dir();
        let what = format!(
            "there is no room in {} for a copy of the state databases, from which they are read; name \
             another folder with TMPDIR",
            place.display()
        );
        return PondsError::Directory(dir.to_owned(), io::Error::other(what));
    }
    outside(dir, error)
}

/// An error about the copy as one about the directory itself.
fn of_original(error: PondsError, copy: &Path, dir: &Path) -> PondsError {
    let original = |path: PathBuf| match path.strip_prefix(copy) {
        Ok(rest) if rest.as_os_str().is_empty() => dir.to_owned(),
        Ok(rest) => dir.join(rest),
        Err(_) => path,
    };
    match error {
        PondsError::Directory(path, error) => PondsError::Directory(original(path), error),
        PondsError::Format { pond, found } => PondsError::Format {
            pond: original(pond),
            found,
        },
        PondsError::Lost { what, journal, .. } => PondsError::Lost {
            what,
            journal,
            dir: dir.to_owned(),
        },
        PondsError::Full(_) => in_words(dir, io::ErrorKind::StorageFull.into()),
        other => other,
    }
}
