//! Passwords and tokens: carried about like any text, shown by nothing.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::{SECRET_BYTES_MAX, read_input_text};

/// A text that neither a log line nor a `{:?}` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one who asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
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

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it; ends of lines at its end do not count.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file or too long for a secret, or is not UTF-8.
    pub fn read(&self) -> io::Result<Secret> {
        let text = read_input_text(&self.0, SECRET_BYTES_MAX)?;
        Ok(text.trim_end_matches(['\r', '\n']).into())
    }
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
