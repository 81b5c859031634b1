//! The process that has a tty: by its lock, else by its open files, as far as they may be looked at.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fmt, io};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (PID {})", self.name, self.pid)
    }
}

/// Returns a process other than this one that has a tty locked or open. Of processes of other users only locks are
/// seen by those who are not root.
pub fn holder(proc: &Path, tty: &Path) -> Option<Holder> {
    let found = fs::metadata(tty).ok()?;
    let locks = fs::read_to_string(proc.join("locks")).unwrap_or_default();
    let pid = locker(&locks, &found).or_else(|| opener(proc, &found).ok().flatten())?;
    Some(Holder {
        pid,
        name: name(proc, pid),
    })
}

/// The name of a process.
pub(crate) fn name(proc: &Path, pid: u32) -> String {
    let name = fs::read_to_string(proc.join(pid.to_string()).join("comm"));
    let name = name.unwrap_or_default();
    match name.trim() {
        "" => "a process".to_owned(),
        name => name.to_owned(),
    }
}

/// The process that holds a lock of a file: lines such as `1: FLOCK ADVISORY WRITE 812 00:1c:5 0 EOF`.
fn locker(locks: &str, file: &Metadata) -> Option<u32> {
    let device = file.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let pid = words.next()?.parse().ok()?;
        (words.next()? == wanted && pid != std::process::id()).then_some(pid)
    })
}

/// The process that has a device open.
fn opener(proc: &Path, device: &Metadata) -> io::Result<Option<u32>> {
    for entry in fs::read_dir(proc)?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
        let has_it = files.flatten().any(|file| {
            let opened = fs::metadata(file.path());
            opened
                .is_ok_and(|opened| opened.rdev() == device.rdev() && opened.ino() == device.ino())
        });
        if has_it && pid != std::process::id() {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_found_among_others() {
        let file = fs::metadata("/dev/null").unwrap();
        let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
        let wanted = format!("{major:02x}:{minor:02x}:{}", file.ino());
        let locks = format!(
            "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 {wanted} 0 EOF\n"
        );
        assert_eq!(locker(&locks, &file), Some(812));
        assert_eq!(
            locker("1: FLOCK  ADVISORY  WRITE 812 00:00:0 0 EOF", &file),
            None
        );
    }

    #[test]
    fn who_has_a_file_open_is_found_but_not_ourselves() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(file.reopen().unwrap())
            .spawn()
            .unwrap();
        let found = opener(Path::new("/proc"), &file.as_file().metadata().unwrap());
        let name = name(Path::new("/proc"), child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap(), Some(child.id()));
        assert!(["sleep", "coreutils"].contains(&&*name), "{name}");
    }
}
