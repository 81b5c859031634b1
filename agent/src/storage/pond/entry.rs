//! Entries of a state database: keys and values, and one key of its own.

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The mark's key; no other one begins like this.
pub(super) const MARK: &[u8] = &[0];

/// Version of the mark, and of the format that it stands for.
pub(super) const FORMAT: u8 = 2;
