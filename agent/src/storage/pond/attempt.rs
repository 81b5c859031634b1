//! Remembers that a pond is being opened. sled can end the process over files that are damaged, so a
//! start after one that ended there does not open that pond again before it knows better.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::error::{Trouble, Which};
use super::probe;
use tidemill_base::files::{create_own, read_own};

/// Starts that may end while a pond is being opened, where no other process can look at it. More than
/// one, because somebody may have killed it.
const ATTEMPTS_MAX: u32 = 2;

/// A note beside a pond, for as long as it is being opened or read.
pub(super) struct Attempt {
    note: PathBuf,
}

impl Attempt {
    /// Makes the note. What cannot be noted is no reason not to open the pond.
    pub(super) fn begin(pond: &Path, before: u32) -> Self {
        let note = note(pond);
        let attempts = before.saturating_add(1);
        let _ = create_own(&note).and_then(|mut file| writeln!(file, "{attempts}"));
        Self { note }
    }

    /// Attempts that did not come to their end.
    pub(super) fn left(pond: &Path) -> u32 {
        let text = read_own(&note(pond)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Removes the note of a pond that is no more.
    pub(super) fn forget(pond: &Path) {
        let _ = std::fs::remove_file(note(pond));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.note);
    }
}

fn note(pond: &Path) -> PathBuf {
    pond.with_extension("opening")
}

/// Finds out, after starts that ended while a pond was being opened, whether this one may open it.
pub(super) fn check_after(attempts: u32, pond: &Path, which: Which) -> Result<(), Trouble> {
    warn!(
        "a start ended while {which} was being opened, {attempts} in a row; a process of its own looks at it first"
    );
    match probe::in_process(pond) {
        Some(Ok(())) => Ok(()),
        Some(Err(what)) => Err(Trouble::Damaged(what)),
        None if attempts < ATTEMPTS_MAX => Ok(()),
        None => Err(Trouble::Damaged(format!(
            "{attempts} starts ended while it was being opened"
        ))),
    }
}
