//! Passwords, tokens and keys: carried about like any text, shown by nothing, wiped from memory when
//! nobody holds them any more, and in no core dump.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroizing;

use crate::files::{SECRET_BYTES_MAX, not_text, read_secret};

/// A text that neither a log line nor a `{:?}` shows. Clones share it; it is wiped with the last one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// The text itself, for the one who asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A file that holds a secret and nothing else. It is read again whenever the secret is needed, so
/// that a new one needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// Names the file.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it; ends of lines at its end do not count.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file or too long for a secret, may be written by others, or
    /// is not UTF-8.
    pub fn read(&self) -> io::Result<Secret> {
        let bytes = read_secret(&self.0, SECRET_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| not_text(&bytes, error))?;
        Ok(text.trim_end_matches(['\r', '\n']).into())
    }
}

/// Sees to it that the memory of this process is never written to a file when it ends badly, and that
/// other processes of its user cannot read it. To be said again after the user has changed, with which
/// the kernel forgets it.
///
/// # Errors
/// When the system does not allow it.
pub fn keep_out_of_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nobody_and_read_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = SecretFile::new(directory.path().join("password"));
        assert!(file.read().is_err());
        std::fs::write(file.path(), "hush hush\r\n").unwrap();
        let secret = file.read().unwrap();
        assert_eq!(secret.expose(), "hush hush");
        assert_eq!(format!("{:?}", Some(secret)), "Some(***)");
    }
}
