//! Remembers that a pond is being opened. A release ends at a panic, so one that makes sled panic would
//! end every start; after some starts that ended there the pond is taken for damaged instead.

use std::path::{Path, PathBuf};

/// Starts that may end while a pond is being opened. More than one, because somebody may have killed
/// them.
const ATTEMPTS_MAX: u32 = 3;

/// A note beside a pond, for as long as it is being opened or read.
pub(super) struct Attempt {
    note: PathBuf,
}

impl Attempt {
    /// Makes the note; `None` where earlier ones were left too often. What cannot be noted is no reason
    /// not to open the pond.
    pub(super) fn begin(pond: &Path) -> Option<Self> {
        let note = pond.with_extension("opening");
        let text = std::fs::read_to_string(&note).unwrap_or_default();
        let before: u32 = text.trim().parse().unwrap_or(0);
        if before >= ATTEMPTS_MAX {
            let _ = std::fs::remove_file(&note);
            return None;
        }
        let _ = std::fs::write(&note, format!("{}\n", before + 1));
        Some(Self { note })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.note);
    }
}
