//! The journal of a data directory: its files, its identity, and what of it is missing.

use std::path::{Path, PathBuf};

use tidemill_base::number::Lsn;

use super::disk::{DirectoryDisk, Disk, is_full, make_directory};
use super::error::JournalError;
use super::findings::in_use;
use super::format::Head;
use super::repair;
use super::{FOLDER, Identity, Journal, Replayed, Settings, survey};

/// Opens the journal of a data directory, see [`Journal::open`]. If there is none yet, one is
/// created, with an identity of its own. Records after `from_lsn` are asked for, those after
/// `state_lsn` needed.
///
/// # Errors
/// Like [`Journal::open`]; also when the state says that there was a journal, when the file with
/// the identity is missing, or when a repair was begun and not finished.
pub fn open_in<R: Into<Replayed>>(
    data_dir: &Path,
    segment_bytes: u64,
    (from_lsn, state_lsn): (Lsn, Lsn),
    replay: impl FnMut(Lsn, &[u8]) -> Result<R, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<Journal<DirectoryDisk>, JournalError> {
    repair::refuse_unfinished(data_dir)?;
    let folder = data_dir.join(FOLDER);
    let identity = if is_new(&folder)? {
        if from_lsn > Lsn::ZERO {
            return Err(JournalError::Gap {
                wanted: from_lsn + 1,
                first: Lsn::FIRST,
            });
        }
        begin_identity(data_dir)?
    } else {
        Identity::read(data_dir)?.ok_or_else(|| JournalError::Identity {
            path: data_dir.join("incarnation"),
            what: "is missing, though there is a journal; put it back, or run `tidemill repair`"
                .to_owned(),
        })?
    };
    let shown = folder.display().to_string();
    let disk = DirectoryDisk::new(&folder).map_err(JournalError::failed("making", &shown))?;
    let settings = Settings {
        state_lsn,
        ..Settings::usual(segment_bytes, identity)?
    };
    Journal::open(disk, settings, from_lsn, replay)
}

/// The oldest record of a data directory's journal, told by its headers alone; `None` if there is no
/// journal.
///
/// # Errors
/// When a header cannot be read, or is of another format.
pub fn begins(data_dir: &Path) -> Result<Option<Lsn>, JournalError> {
    let folder = data_dir.join(FOLDER);
    if is_new(&folder)? {
        return Ok(None);
    }
    let segments = survey::segments(&DirectoryDisk::read_only(&folder), None)?;
    let first = in_use(&segments).into_iter().next();
    Ok(first.map(|piece| piece.header.first_lsn))
}

/// Removes the segments that hold nothing, on a disk that has no room; returns whether there were any. The
/// data directory has to be locked, or nobody at work in it.
///
/// # Errors
/// When a header cannot be read, or is of another format, or a file cannot be removed.
pub fn give_up_spares(data_dir: &Path) -> Result<bool, JournalError> {
    let folder = data_dir.join(FOLDER);
    if is_new(&folder)? {
        return Ok(false);
    }
    let disk = DirectoryDisk::read_only(&folder);
    let mut had_some = false;
    for segment in survey::segments(&disk, None)? {
        if let Head::Spare(_) = segment.head {
            let failed = JournalError::failed("removing", &segment.name);
            disk.remove(&segment.name).map_err(failed)?;
            had_some = true;
        }
    }
    Ok(had_some)
}

/// `true` if no segment was ever created in `folder`, so that nothing can have been sent.
fn is_new(folder: &Path) -> Result<bool, JournalError> {
    if !folder.exists() {
        return Ok(true);
    }
    let shown = folder.display().to_string();
    let names = DirectoryDisk::read_only(folder).list();
    Ok(names
        .map_err(JournalError::failed("listing", &shown))?
        .is_empty())
}

fn begin_identity(data_dir: &Path) -> Result<Identity, JournalError> {
    let refused = |path: PathBuf| {
        move |error: std::io::Error| {
            if is_full(&error) {
                return JournalError::failed("beginning", &path.display().to_string())(error);
            }
            let what = error.to_string();
            JournalError::Identity { path, what }
        }
    };
    make_directory(data_dir).map_err(refused(data_dir.to_owned()))?;
    let identity = Identity::draw().map_err(refused("/dev/urandom".into()))?;
    identity.write(data_dir)?;
    Ok(identity)
}
