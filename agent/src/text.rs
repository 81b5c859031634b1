//! Files that people write, and errors in them that name file, line and column; text from outside as
//! people are shown it.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Bytes of a topic, or of another text from outside, that a line of a log shows.
pub const SHOWN_BYTES: usize = 256;

/// A text from outside as people are shown it, see [`shown`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    start: &'a [u8],
    /// Its length, where it was cut.
    whole: Option<usize>,
}

/// The beginning of a text from outside, of [`SHOWN_BYTES`] at most, on one line: control characters
/// and what is no UTF-8 are escaped. What was cut says how long it is.
pub fn shown(text: &(impl AsRef<[u8]> + ?Sized)) -> Shown<'_> {
    shown_within(text, SHOWN_BYTES)
}

/// As [`shown`], of another length.
pub fn shown_within(text: &(impl AsRef<[u8]> + ?Sized), bytes_max: usize) -> Shown<'_> {
    let text = text.as_ref();
    if text.len() <= bytes_max {
        return Shown {
            start: text,
            whole: None,
        };
    }
    // Three bytes of a character may follow its first one.
    let begins = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80);
    let ends = bytes_max.saturating_sub(3)..=bytes_max;
    let end = ends.rev().find(begins).unwrap_or(bytes_max);
    Shown {
        start: text.get(..end).unwrap_or(text),
        whole: Some(text.len()),
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.start.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c.is_control() {
                    true => write!(f, "{}", c.escape_default())?,
                    false => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        match self.whole {
            Some(bytes) => write!(f, "… ({bytes} bytes)"),
            None => Ok(()),
        }
    }
}

/// A text file with its path, kept as long as errors may have to point into it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, both from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self {
                path: path.to_owned(),
                text,
            }),
            Err(error) => Err(FileError {
                path: path.to_owned(),
                place: None,
                message: format!("cannot be read: {error}"),
            }),
        }
    }

    /// Reads the text as TOML of a known shape.
    ///
    /// # Errors
    /// When it is no TOML, has a key that is not known, or a value of the wrong type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|error| FileError {
            path: self.path.clone(),
            place: error.span().map(|span| self.place(span.start)),
            message: plain(error.message()),
        })
    }

    /// An error about a place in the text.
    pub fn error_at(&self, span: &Range<usize>, message: impl Into<String>) -> FileError {
        FileError {
            path: self.path.clone(),
            place: Some(self.place(span.start)),
            message: message.into(),
        }
    }

    /// An error about the file as a whole.
    pub fn error(&self, message: impl Into<String>) -> FileError {
        FileError {
            path: self.path.clone(),
            place: None,
            message: message.into(),
        }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

/// serde speaks of fields, people of keys.
fn plain(message: &str) -> String {
    message
        .replace("unknown field", "unknown key")
        .replace("missing field", "missing key")
}

/// Reads a duration as people write it: `250ms`, `5s`, `2m`, `1h 30m`, `7d`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    humantime::parse_duration(text)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| format!("{text:?} is no duration; write 250ms, 5s, 2m, 1h or 7d"))
}

/// Reads a number of bytes as people write it: `8MiB`, `64KiB`, `1GiB`, `100kB`, `4096`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write 64KiB, 8MiB, 1GiB or a number of bytes");
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '_');
    let (digits, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let number: u64 = digits.replace('_', "").parse().map_err(|_| wrong())?;
    let unit = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// A number of bytes as people write it.
pub fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .into_iter()
        .find(|(shift, _)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(
            || bytes.to_string(),
            |(shift, unit)| format!("{}{unit}", bytes >> shift),
        )
}

/// The known name that is nearest to a mistyped one, if one is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Number of letters to add, drop or exchange.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_shown_on_one_short_line() {
        let check = |text: &[u8], expected: &str| {
            assert_eq!(shown_within(text, 5).to_string(), expected);
        };
        check(b"", "");
        check(b"s/env", "s/env");
        check(b"s/env1", "s/env… (6 bytes)");
        check("s/äöü".as_bytes(), "s/ä… (8 bytes)");
        check("😀😀".as_bytes(), "😀… (8 bytes)");
        check(b"a\n\0\xff", "a\\n\\u{0}\\xff");
        check(&[0x80; 9], "\\x80\\x80\\x80\\x80\\x80… (9 bytes)");
        let long = "t".repeat(65_535);
        assert!(shown(&long).to_string().len() < SHOWN_BYTES + 20);
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only parsed")]
        name: String,
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let source = Source {
            path: "x.toml".into(),
            text: text.to_owned(),
        };
        assert_eq!(source.parse::<Shape>().unwrap_err().to_string(), expected);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        check(
            "name = \"a\"\nnmae = 1\n",
            "x.toml:2:1: unknown key `nmae`, expected `name`",
        );
        check(
            "\n  name = 3\n",
            "x.toml:2:10: invalid type: integer `3`, expected a string",
        );
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(duration_ms(text), Ok(ms));
        }
        assert!(duration_ms("5").unwrap_err().contains("write 250ms"));
    }

    #[test]
    fn sizes_are_read_and_written_as_people_write_them() {
        for (text, bytes, shown) in [
            ("8MiB", 8 << 20, "8MiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("1_000", 1_000, "1000"),
            ("100kB", 100_000, "100000"),
            ("1024GiB", 1 << 40, "1TiB"),
            ("0", 0, "0"),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
            assert_eq!(size_text(bytes), shown);
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8mib", "99999999TiB"] {
            assert!(size_bytes(text).unwrap_err().contains("write 64KiB"));
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        let known = ["threshold", "deadband", "average"];
        assert_eq!(nearest("treshold", known), Some("threshold"));
        assert_eq!(nearest("avg", known), None);
    }
}
