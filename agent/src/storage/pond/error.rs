//! Why ponds cannot be used, and which one it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::entry::FORMAT;
use tidemill_journal::is_full;

/// Why the ponds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PondsError {
    /// Another agent works in the data directory.
    #[error("{0} is used by another agent; stop that one, or set gateway.data_dir")]
    Locked(PathBuf),
    /// The file system is full: a stall. Nothing was changed where it is said before writing.
    #[error("no room in {0}")]
    Full(PathBuf),
    /// The directory cannot be made, read or written.
    #[error("data directory {0}: {1}")]
    Directory(PathBuf, #[source] io::Error),
    /// Written by another version of Tidemill.
    #[error("{pond} has format {found}, this version reads format {FORMAT}")]
    Format {
        /// The pond.
        pond: PathBuf,
        /// Its format.
        found: u8,
    },
    /// State of a version that had no journal.
    #[error(
        "{0} was written by a version without a journal, which this one does not read; move it away \
         to start without state"
    )]
    Older(PathBuf),
    /// No pond can be used, and the journal does not reach back to the beginning.
    #[error(
        "no state can be read: {what}; and {journal}. Put a copy of {dir} back, or let `tidemill \
         repair` put aside what is there, to start without state"
    )]
    Lost {
        /// The fault of the databases.
        what: String,
        /// The beginning of the journal, in words.
        journal: String,
        /// The data directory.
        dir: PathBuf,
    },
    /// A pond could not be written.
    #[error("{pond} cannot be written: {what}")]
    Write {
        /// The database.
        pond: Which,
        /// The fault.
        what: String,
    },
    /// A pond holds nothing to which changes could be added.
    #[error("{0} has to be written whole")]
    NeedsFull(Which),
}

impl PondsError {
    /// Returns `true` if the error ends by itself when somebody makes room.
    pub fn is_stall(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

/// Why a pond cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database holds nothing that can be trusted.
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
        if is_refused || is_full(&error) {
            Self::Outside(error)
        } else {
            Self::Damaged(error.to_string())
        }
    }
}

/// One of the two ponds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// `pond-a`.
    A,
    /// `pond-b`.
    B,
}

impl Which {
    /// Both databases.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The name of its folder.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "pond-a",
            Self::B => "pond-b",
        })
    }
}

/// Maps an error that the files are not to blame for.
pub(super) fn outside(dir: &Path, error: io::Error) -> PondsError {
    if is_full(&error) {
        PondsError::Full(dir.to_owned())
    } else {
        PondsError::Directory(dir.to_owned(), error)
    }
}
