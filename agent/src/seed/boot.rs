//! Writing on the boot partition, which is mounted read-only but for these moments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::tree::sync_folder;
use super::{REPORT, TAKEN, TAKEN_OVER};

/// Begins the line of the report that changes at every boot.
const CLOCK: &str = "clock:";

/// The boot partition, open for writing as long as this lives.
#[derive(Debug)]
pub(super) struct Boot {
    path: PathBuf,
    was_read_only: bool,
}

impl Boot {
    /// Opens it for writing.
    ///
    /// # Errors
    /// When it is read-only, and the system does not change that.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let was_read_only = statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        if was_read_only {
            remount(path, "rw")?;
        }
        Ok(Self {
            path: path.to_owned(),
            was_read_only,
        })
    }

    /// Takes a seed off the partition: a copy without secrets stays, and files with secrets say that they were
    /// taken over. The seed itself goes last: until then another boot does all of it once more.
    pub(super) fn blank(
        &self,
        seed: &Path,
        blank: &str,
        secret_files: &[PathBuf],
    ) -> io::Result<()> {
        let taken = self.path.join(TAKEN);
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        let note = format!("{TAKEN_OVER}\n");
        let mut is_seed_there = true;
        match replace(&taken, blank.as_bytes()) {
            // The room of the seed is enough for it. All it says stands in the configuration by now.
            Err(error) if is_full(&error) => {
                fs::remove_file(seed)?;
                is_seed_there = false;
                replace(&taken, blank.as_bytes())?;
            }
            outcome => outcome?,
        }
        for file in secret_files {
            replace(file, note.as_bytes())?;
        }
        if is_seed_there {
            fs::remove_file(seed)?;
        }
        sync_folder(&self.path)
    }

    /// Writes the report, unless the one that is there says the same.
    pub(super) fn report(&self, text: &str) -> io::Result<()> {
        replace(&self.path.join(REPORT), text.as_bytes())?;
        sync_folder(&self.path)
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        if self.was_read_only {
            // It stays writable then, which harms nobody until the power fails.
            let _ = remount(&self.path, "ro");
        }
    }
}

/// `true` if the report that is there says the same, whatever its clock showed.
pub(super) fn is_reported(boot: &Path, text: &str) -> bool {
    let without_clock = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with(CLOCK));
        lines.map(str::to_owned).collect()
    };
    fs::read_to_string(boot.join(REPORT))
        .is_ok_and(|before| without_clock(&before) == without_clock(text))
}

/// Writes a file aside and moves it to its place.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let aside = path.with_file_name(name);
    let written = fs::write(&aside, bytes).and_then(|()| fs::File::open(&aside)?.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    fs::rename(&aside, path)
}

fn remount(path: &Path, mode: &str) -> io::Result<()> {
    let outcome = Command::new("mount")
        .args(["-o", &format!("remount,{mode}")])
        .arg(path)
        .output()?;
    if outcome.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.stderr).trim().to_owned();
    let what = format!("it is read-only, and `mount -o remount,{mode}` failed: {said}");
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, what))
}
