//! Files that people write, and errors in them that name file, line and column; text from outside as
//! people are shown it.

mod errors;
mod printable;
pub mod shape;
mod size;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use errors::{Errors, FileErrors};
pub use printable::escape_lines;
pub use printable::{Escaping, Printable, escape_json, is_all_printable, is_printable, printable};
pub use shape::changed_keys;
pub use size::{Size, size_bytes, size_shown, size_text};

use crate::files::{TEXT_BYTES_MAX, read_input};

/// Bytes of a topic, or of another text from outside, that a line of a log shows.
pub const SHOWN_BYTES: usize = 256;

/// A text from outside as people are shown it, see [`shown`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    start: &'a [u8],
    /// Full length in bytes, if the text was cut.
    whole: Option<usize>,
}

/// The beginning of a text from outside, of [`SHOWN_BYTES`] at most, on one line: unprintable
/// characters and invalid UTF-8 are escaped. A text that was cut ends with its full length.
pub fn shown(text: &(impl AsRef<[u8]> + ?Sized)) -> Shown<'_> {
    shown_within(text, SHOWN_BYTES)
}

/// Like [`shown`], with another limit.
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
            write!(f, "{}", printable(chunk.valid()))?;
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
    /// The path it was read from.
    pub path: PathBuf,
    /// The content of the file.
    pub text: String,
}

/// A fault of a file, with its place. With `{:#}` it is one line, without the lines of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, both from 1, if they are known.
    pub place: Option<(usize, usize)>,
    /// The problem, and the right way to write it.
    pub message: String,
    /// The lines of the file that it is about, if they are shown.
    pub excerpt: Option<String>,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(self.path.display()))?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", printable(&self.message))?;
        match &self.excerpt {
            Some(excerpt) if !f.alternate() => write!(f, "\n{}", escape_lines(excerpt)),
            _ => Ok(()),
        }
    }
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, too long, or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let fail = |place, message| FileError {
            path: path.to_owned(),
            place,
            message,
            excerpt: None,
        };
        let bytes = read_input(path, TEXT_BYTES_MAX)
            .map_err(|error| fail(None, format!("cannot be read: {error}")))?;
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            let message = "this is text in UTF-16; save it as UTF-8".to_owned();
            return Err(fail(Some((1, 1)), message));
        }
        match String::from_utf8(bytes) {
            // Editors of another system put a mark in front.
            Ok(text) => Ok(Self {
                path: path.to_owned(),
                text: text
                    .strip_prefix('\u{feff}')
                    .map(str::to_owned)
                    .unwrap_or(text),
            }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let good = error.as_bytes().get(..valid).unwrap_or_default();
                let source = Self {
                    path: path.to_owned(),
                    text: String::from_utf8_lossy(good).into_owned(),
                };
                let message = "a character that is no UTF-8; save the file as UTF-8".to_owned();
                Err(fail(Some(source.place(valid)), message))
            }
        }
    }

    /// An error about a place in the text.
    pub fn error_at(&self, span: &Range<usize>, message: impl Into<String>) -> FileError {
        FileError {
            path: self.path.clone(),
            place: Some(self.place(span.start)),
            message: message.into(),
            excerpt: None,
        }
    }

    /// An error about a place in the text, with lines to show.
    pub fn error_showing(
        &self,
        span: &Range<usize>,
        message: impl Into<String>,
        excerpt: String,
    ) -> FileError {
        FileError {
            excerpt: Some(excerpt),
            ..self.error_at(span, message)
        }
    }

    /// An error about the file as a whole.
    pub fn error(&self, message: impl Into<String>) -> FileError {
        FileError {
            path: self.path.clone(),
            place: None,
            message: message.into(),
            excerpt: None,
        }
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

/// Reads a duration as people write it: `250ms`, `5s`, `2m`, `1h 30m`, `7d`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    humantime::parse_duration(text)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| match text.trim().parse::<u64>() {
            Ok(seconds) => format!("{text:?} is no duration without a unit; write \"{seconds}s\""),
            Err(_) => {
                format!(
                    "{text:?} is no duration; write \"250ms\", \"5s\", \"2m\", \"1h\" or \"7d\""
                )
            }
        })
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

/// Number of letters to add, drop, exchange or swap with the next.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut former = None;
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at =
                |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&row, j) + usize::from(x != *y))
                .min(at(&next, j) + 1)
                .min(at(&row, j + 1) + 1);
            let is_swapped = j
                .checked_sub(1)
                .is_some_and(|last| b.get(last) == Some(&x) && former == Some(*y));
            if is_swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        former = Some(x);
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
        assert!(duration_ms("5").unwrap_err().contains("write \"5s\""));
    }

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        let known = ["threshold", "deadband", "average"];
        assert_eq!(nearest("treshold", known), Some("threshold"));
        assert_eq!(nearest("avg", known), None);
        assert_eq!(nearest("ulr", ["url", "qos"]), Some("url"));
        assert_eq!(nearest("deadbnad", known), Some("deadband"));
    }
}
