//! Ownership of a data directory. It holds payloads, and a mark that makes records of the journal,
//! so it is for its owner alone, and everything in it was put there by us: no link is followed, and
//! nobody but the owner works on it, not even root, whose files would lock the owner out.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{Gid, Uid};
use tracing::info;

use tidemill_base::files::kind;
use tidemill_base::secret::keep_out_of_dumps;

/// Prefixes of the names that we give to files of a data directory. Others are none of our
/// business.
const OURS: [&str; 8] = [
    "lock",
    "incarnation",
    "journal",
    "pond",
    "recorder-",
    "reserve",
    "control",
    "fleet",
];

/// Folders in folders that we make: a database in a folder that was put aside.
const DEPTH_MAX: u32 = 8;

/// Why a data directory is not worked on.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The directory belongs to somebody else.
    #[error(
        "data directory {} belongs to {owner} (mode {mode:04o}) and you are {caller}; type: {command}",
        dir.display()
    )]
    NotYours {
        /// The data directory.
        dir: PathBuf,
        /// To whom it belongs, by name where the system knows one.
        owner: String,
        /// Permissions of the directory.
        mode: u32,
        /// The user who runs the command.
        caller: String,
        /// The present command, to be run as the owner.
        command: String,
    },
    /// The directory holds something that was not put there by us, or was changed.
    #[error("{}: {what}", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// The fault, and the way out.
        what: String,
    },
    /// The directory cannot be read or changed.
    #[error("{}: {error}{}", path.display(), hindrance(path, error))]
    Refused {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// Enters a data directory to work in it: as its owner, and so that nobody else can, whatever the umask
/// was. One that is not there is fine, and will be the caller's.
///
/// # Errors
/// When it belongs to somebody else whom the caller cannot become, or something in it is a link, has a
/// second name or belongs to others.
pub fn enter(dir: &Path) -> Result<(), DataDirError> {
    rustix::process::umask(Mode::from_bits_truncate(0o077));
    let Some(found) = enter_as_owner(dir)? else {
        return Ok(());
    };
    // First the directory, so that nobody puts anything into it behind our back.
    let mut tightened = tighten(dir, &found)?;
    each(dir, found.uid(), &mut |path, found| {
        tightened += tighten(path, found)?;
        Ok(())
    })?;
    if tightened > 0 {
        info!(
            files = tightened,
            "the data directory and what is in it are for its owner alone now: {}",
            dir.display()
        );
    }
    Ok(())
}

/// Enters a data directory to look at it, as its owner. Nothing is changed.
///
/// # Errors
/// As for [`enter`].
pub fn look_into(dir: &Path) -> Result<(), DataDirError> {
    rustix::process::umask(Mode::from_bits_truncate(0o077));
    match enter_as_owner(dir)? {
        Some(found) => each(dir, found.uid(), &mut |_, _| Ok(())),
        None => Ok(()),
    }
}

/// Becomes the owner where the caller is root; `None` where there is no directory.
fn enter_as_owner(dir: &Path) -> Result<Option<Metadata>, DataDirError> {
    let found = match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => found,
        Ok(found) => {
            return Err(DataDirError::Strange {
                path: dir.to_owned(),
                what: format!(
                    "is {}, not a directory; set gateway.data_dir",
                    kind(found.file_type())
                ),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(dir, error)),
    };
    let caller = rustix::process::geteuid();
    let owner = Uid::from_raw(found.uid());
    if caller == owner {
        return Ok(Some(found));
    }
    if !caller.is_root() {
        return Err(DataDirError::NotYours {
            dir: dir.to_owned(),
            owner: name_of(found.uid()),
            mode: found.mode() & 0o7777,
            caller: name_of(caller.as_raw()),
            command: command_as(&name_of(found.uid()), std::env::args_os()),
        });
    }
    become_user(owner, Gid::from_raw(found.gid())).map_err(|error| refused(dir, error))?;
    Ok(Some(found))
}

/// Gives root's rights up for good. Threads have users of their own in Linux, so there may be one only;
/// those that it starts are the same user.
fn become_user(user: Uid, group: Gid) -> io::Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if threads.is_ok_and(|threads| threads != 1) {
        return Err(io::Error::other("this process has threads already"));
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)?;
    keep_out_of_dumps()
}

/// Goes through all that is ours in a data directory.
fn each(
    dir: &Path,
    owner: u32,
    act: &mut impl FnMut(&Path, &Metadata) -> Result<(), DataDirError>,
) -> Result<(), DataDirError> {
    for path in entries(dir)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if OURS.iter().any(|ours| name.starts_with(ours)) {
            visit(&path, owner, DEPTH_MAX, act)?;
        }
    }
    Ok(())
}

fn visit(
    path: &Path,
    owner: u32,
    depth: u32,
    act: &mut impl FnMut(&Path, &Metadata) -> Result<(), DataDirError>,
) -> Result<(), DataDirError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        // An agent that runs removes files.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, error)),
    };
    let strange = |what: String| DataDirError::Strange {
        path: path.to_owned(),
        what,
    };
    let kind = kind(found.file_type());
    if found.is_symlink() {
        let target = std::fs::read_link(path).unwrap_or_default();
        let target = target.display();
        return Err(strange(format!(
            "is a symbolic link to {target}, and no link in a data directory is followed; remove it"
        )));
    }
    if !(found.is_dir() || found.is_file() || found.file_type().is_socket()) {
        return Err(strange(format!(
            "is {kind}, which no agent puts there; remove it"
        )));
    }
    if found.uid() != owner {
        let owner = name_of(owner);
        return Err(strange(format!(
            "belongs to {} (mode {:04o}) and not to {owner}, as the data directory; type: sudo chown -h {owner} {}",
            name_of(found.uid()),
            found.mode() & 0o7777,
            path.display()
        )));
    }
    if found.is_file() && found.nlink() > 1 {
        return Err(strange(
            "has another name elsewhere (a hard link); put a copy in its place".to_owned(),
        ));
    }
    act(path, &found)?;
    if found.is_dir() && depth > 0 {
        for path in entries(path)? {
            visit(&path, owner, depth - 1, act)?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataDirError> {
    let read = std::fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| refused(dir, error)),
    }
}

/// Takes all rights of others away; returns 1 where there were any.
fn tighten(path: &Path, found: &Metadata) -> Result<usize, DataDirError> {
    if found.mode() & 0o077 == 0 {
        return Ok(0);
    }
    let mode = found.mode() & 0o700;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| refused(path, error))?;
    Ok(1)
}

fn refused(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Refused {
        path: path.to_owned(),
        error,
    }
}

/// The file that stands in the way where the system refuses one, with its owner and mode: the file itself,
/// or the folder that cannot be looked into. Empty for other errors.
pub fn hindrance(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let seen = path
        .ancestors()
        .find_map(|place| Some((place, std::fs::symlink_metadata(place).ok()?)));
    let Some((place, found)) = seen else {
        return String::new();
    };
    format!(
        " ({} belongs to {}, mode {:04o}; you are {})",
        place.display(),
        name_of(found.uid()),
        found.mode() & 0o7777,
        name_of(rustix::process::geteuid().as_raw())
    )
}

/// A user's name, or `#` and the number, which sudo takes as well.
fn name_of(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}

/// A command line as another user, for a shell.
fn command_as(user: &str, words: impl Iterator<Item = OsString>) -> String {
    let mut command = format!("sudo -u {}", quoted(user));
    for word in words {
        let _ = write!(command, " {}", quoted(&word.to_string_lossy()));
    }
    command
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A directory as a build before left it.
    fn directory() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        std::fs::create_dir_all(dir.join("pond-a/blobs")).unwrap();
        std::fs::create_dir(dir.join("journal")).unwrap();
        std::fs::create_dir(dir.join("lost+found")).unwrap();
        for file in [
            "lock",
            "incarnation",
            "journal/00000001.seg",
            "pond-a/blobs/7",
        ] {
            std::fs::write(dir.join(file), file).unwrap();
            set(&dir.join(file), 0o644);
        }
        for folder in ["", "pond-a", "pond-a/blobs", "journal", "lost+found"] {
            set(&dir.join(folder), 0o755);
        }
        temp
    }

    #[test]
    fn what_others_could_read_they_cannot_after_the_start_and_looking_changes_nothing() {
        let temp = directory();
        let dir = temp.path();
        look_into(dir).unwrap();
        assert_eq!(mode(&dir.join("lock")), 0o644);
        enter(dir).unwrap();
        for file in ["lock", "journal/00000001.seg", "pond-a/blobs/7"] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
        for folder in ["", "pond-a", "pond-a/blobs", "journal"] {
            assert_eq!(mode(&dir.join(folder)), 0o700, "{folder}");
        }
        assert_eq!(mode(&dir.join("lost+found")), 0o755, "is not ours");
        let missing = dir.join("missing");
        enter(&missing).unwrap();
        look_into(&missing).unwrap();
        assert!(!missing.exists());
    }

    #[test]
    fn a_link_in_the_place_of_any_file_is_named_and_its_target_left_alone() {
        let target = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(target.path(), "precious").unwrap();
        set(target.path(), 0o644);
        let places = [
            "lock",
            "incarnation",
            "incarnation.new",
            "control",
            "reserve",
            "recorder-a.jsonl",
            "journal/00000001.seg",
            "journal/00000002.new",
            "pond-a/blobs/7",
            "pond-a/db",
            "pond-b.writing",
            "pond-a.opening",
            "journal.new",
        ];
        for place in places {
            for is_hard in [false, true] {
                let temp = directory();
                let path = temp.path().join(place);
                let _ = std::fs::remove_file(&path);
                if is_hard {
                    // Across file systems there are none.
                    if std::fs::hard_link(target.path(), &path).is_err() {
                        continue;
                    }
                } else {
                    symlink(target.path(), &path).unwrap();
                }
                for entered in [enter(temp.path()), look_into(temp.path())] {
                    let error = entered.unwrap_err().to_string();
                    assert!(error.contains(place) && error.contains("link"), "{error}");
                }
                let text = std::fs::read_to_string(target.path()).unwrap();
                assert_eq!((&*text, mode(target.path())), ("precious", 0o644));
            }
        }
    }

    #[test]
    fn what_is_no_directory_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = enter(file.path()).unwrap_err().to_string();
        assert!(error.contains("is a file, not a directory"), "{error}");
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let words = ["tidemill", "inspect", "--config", "it's here.toml"];
        let command = command_as("#1000", words.into_iter().map(OsString::from));
        assert_eq!(
            command,
            r"sudo -u '#1000' tidemill inspect --config 'it'\''s here.toml'"
        );
        assert_eq!(name_of(0), "root");
    }
}
