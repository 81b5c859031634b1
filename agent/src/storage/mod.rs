//! The data directory: state databases, and recovery from them and the journal to the state of the
//! last commit.

pub mod data_dir;
pub mod pond;
pub mod readback;
pub mod recovery;
