//! Content of a state database, as it is written and as it is read.

use tidemill_base::number::Lsn;

use super::entry::Entry;
use super::error::Which;

/// Changes to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PondCheckpoint {
    /// LSN up to which the state holds everything; it is durable.
    pub lsn: Lsn,
    /// `true` if `puts` is all there is; else it is the changes since the database was written.
    pub full: bool,
    /// Keys, each once, with their values. No key begins with a zero byte.
    pub puts: Vec<Entry>,
    /// Keys that are no more, none of `puts` among them.
    pub removes: Vec<Vec<u8>>,
}

/// Content of a state database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PondContent {
    /// The database.
    pub which: Which,
    /// LSN up to which the state holds everything.
    pub lsn: Lsn,
    /// Keys with their values, in order of the keys.
    pub entries: Vec<Entry>,
}
