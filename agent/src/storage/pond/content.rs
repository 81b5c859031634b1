//! Content of a state database, as it is written and as it is read.

use super::entry::Entry;
use super::error::Which;

/// Changes to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PondCheckpoint {
    /// The state is that of everything up to this LSN, which is durable.
    pub lsn: u64,
    /// `puts` is all there is; else it is what changed since the pond was written.
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
    /// The state is that of everything up to this LSN.
    pub lsn: u64,
    /// Keys with their values, in order of the keys.
    pub entries: Vec<Entry>,
}
