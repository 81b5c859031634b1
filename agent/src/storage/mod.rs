//! The data directory: state databases, and from them and the journal back to what stood after the last
//! commit.

pub mod data_dir;
pub mod pond;
pub mod readback;
pub mod recovery;
