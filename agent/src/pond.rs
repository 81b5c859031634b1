//! The state databases: sled, written by checkpoints and read at the start. Nothing but this folder
//! names sled. A checkpoint is durable once [`Ponds::write`] has returned: sled's own flush does not
//! reach the medium on Linux, so its files are synced through descriptors of our own.

mod attempt;
mod copied;
mod database;
mod error;
mod one;
mod pieces;
mod ponds;
mod probe;

pub use copied::CopiedPonds;
pub use database::Entry;
pub use error::{PondsError, Which};
pub use one::checkpoint_room;
pub use ponds::{PondCheckpoint, PondContent, Ponds, lock};
pub use probe::{bound_memory, probe, probe_with};

#[cfg(test)]
mod tests;
