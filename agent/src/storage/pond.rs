//! The state databases: sled, written by checkpoints and read at the start. Nothing but this folder
//! names sled. A checkpoint is durable once [`Ponds::write`] has returned: sled's own flush does not
//! reach the medium on Linux, so its files are synced through descriptors of our own.

mod attempt;
mod content;
mod copied;
mod database;
mod entry;
mod error;
mod one;
mod pieces;
mod ponds;
mod probe;

pub use content::{PondCheckpoint, PondContent};
pub use copied::CopiedPonds;
pub use entry::Entry;
pub use error::{PondsError, Which};
pub use one::checkpoint_room;
pub use ponds::{Ponds, lock};
pub use probe::{bound_memory, probe, probe_with};

#[cfg(test)]
mod tests;
