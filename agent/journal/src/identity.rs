//! Identity of a data directory: the incarnation, which receivers see, and the journal's mark,
//! which nobody sees. Both are drawn when the directory is new, and stand in a small file beside
//! the journal and in the header of every segment, so that a journal never continues in a directory
//! where it does not belong.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::disk::{is_full, sync_directory};
use super::error::JournalError;
use tidemill_base::files::{create_own, read_own};

/// The file's name.
const FILE: &str = "incarnation";

/// The identity of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Told to receivers with every row: sequence numbers of one incarnation never mean two things.
    pub incarnation: [u8; 16],
    /// Precedes every record. A secret: somebody who knew it could send a payload that looks like a
    /// record.
    pub mark: u32,
}

/// The incarnation as receivers see it: 32 hexadecimal digits.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.incarnation
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Identity {
    /// Draws a new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn draw() -> io::Result<Self> {
        let random: [u8; 20] = random()?;
        let (incarnation, mark) = random.split_at(16);
        let mut identity = Self {
            incarnation: [0; 16],
            mark: 0,
        };
        identity.incarnation.copy_from_slice(incarnation);
        for byte in mark {
            identity.mark = identity.mark << 8 | u32::from(*byte);
        }
        // Zeros are what an empty segment is made of.
        identity.mark |= 1;
        Ok(identity)
    }

    /// Reads what [`Identity::write`] wrote into `data_dir`; `None` if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = data_dir.join(FILE);
        let refused = |what: String| JournalError::Identity {
            path: path.clone(),
            what,
        };
        let text = match read_own(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error.to_string())),
        };
        let identity = Self::parse(&text);
        identity
            .map(Some)
            .ok_or_else(|| refused("not two lines of 32 and 8 hexadecimal digits".to_owned()))
    }

    /// Writes it into `data_dir`: aside, synced and renamed, so that there is always a whole one.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&self, data_dir: &Path) -> Result<(), JournalError> {
        let (path, aside) = (data_dir.join(FILE), data_dir.join("incarnation.new"));
        let written = create_own(&aside)
            .and_then(|mut file| {
                write!(file, "{self}\n{:08x}\n", self.mark)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&aside, &path))
            .and_then(|()| sync_directory(data_dir));
        written.map_err(|error| {
            if is_full(&error) {
                return JournalError::failed("writing", &path.display().to_string())(error);
            }
            let what = error.to_string();
            JournalError::Identity { path, what }
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (first, second) = (lines.next()?, lines.next()?);
        let digits = |text: &str, len| {
            text.len() == len && text.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if !digits(first, 32) || !digits(second, 8) || lines.next().is_some() {
            return None;
        }
        Some(Self {
            incarnation: u128::from_str_radix(first, 16).ok()?.to_be_bytes(),
            mark: u32::from_str_radix(second, 16).ok()?,
        })
    }
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_anything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), None);
        let identity = Identity {
            incarnation: *b"0123456789abcdef",
            mark: 0x0a0b_0c0d,
        };
        identity.write(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("incarnation")).unwrap();
        assert_eq!(text, "30313233343536373839616263646566\n0a0b0c0d\n");
        assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity));
        for damaged in ["", "00\n00\n", &text[1..], &format!("{text}x")] {
            std::fs::write(dir.path().join("incarnation"), damaged).unwrap();
            let error = Identity::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("hexadecimal"), "{error}");
        }
    }

    #[test]
    fn two_draws_differ() {
        let (one, two) = (Identity::draw().unwrap(), Identity::draw().unwrap());
        assert_ne!(one.incarnation, two.incarnation);
        assert!(one.mark != 0 && two.mark != 0);
    }
}
