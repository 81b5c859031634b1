//! Parsed arguments that calls use again and again: patterns, paths and time zones, kept by their
//! text.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::FnError;
use crate::functions::{Path, Zone};

/// Entries kept of each kind: a rule has a few in its text, but may also make them from its events.
const KEPT_MAX: usize = 32;

/// Size limit of a compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Length limit of a pattern, in characters.
const PATTERN_CHARS_MAX: usize = 1_000;

/// Bytes of text times bytes of the compiled pattern that one call may come to at worst: with
/// `(A?){90}b`, 1.2 s of a server's core.
const MATCHING_MAX: u64 = 1 << 33;

/// Patterns, paths and time zones by their text. Owned by the caller, one for each rule.
#[derive(Debug, Default)]
pub struct Cache {
    patterns: BTreeMap<Box<str>, Arc<Pattern>>,
    paths: BTreeMap<Box<str>, Arc<Path>>,
    zones: BTreeMap<Box<str>, Arc<Zone>>,
}

impl Cache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular expression.
    pub(crate) fn pattern(&mut self, text: &str) -> Result<Arc<Pattern>, FnError> {
        kept(&mut self.patterns, text, || {
            if text.len() > PATTERN_CHARS_MAX {
                return Err(FnError::Failed(format!(
                    "a pattern of more than {PATTERN_CHARS_MAX} bytes"
                )));
            }
            Pattern::new(text)
        })
    }

    /// A JSON path.
    pub(crate) fn path(&mut self, text: &str) -> Result<Arc<Path>, FnError> {
        kept(&mut self.paths, text, || {
            Path::parse(text)
                .map_err(|error| FnError::Failed(format!("{text:?} is no JSON path: {error}")))
        })
    }

    /// A time zone by its name in the IANA database.
    pub(crate) fn zone(&mut self, name: &str) -> Result<Arc<Zone>, FnError> {
        kept(&mut self.zones, name, || {
            Zone::named(name)
                .ok_or_else(|| FnError::Failed(format!("no time zone is called {name:?}")))
        })
    }
}

/// A regular expression, and how large it is.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: regex_lite::Regex,
    /// Size limit in bytes.
    size: usize,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, FnError> {
        let mut size = 128;
        loop {
            match regex_lite::RegexBuilder::new(text).size_limit(size).build() {
                Ok(regex) => return Ok(Self { regex, size }),
                // The library does not report the size, so limits are tried.
                Err(_) if size < PATTERN_BYTES_MAX => size *= 2,
                Err(error) => {
                    return Err(FnError::Failed(format!("{text:?} is no pattern: {error}")));
                }
            }
        }
    }

    /// To match `text` once.
    pub(crate) fn over(&self, text: &str) -> Result<&regex_lite::Regex, FnError> {
        self.work(&mut 0, text.len())?;
        Ok(&self.regex)
    }

    /// The pattern for repeated matching of one text: before each match, `work` gets the length of
    /// the rest.
    pub(crate) fn again_and_again(&self) -> &regex_lite::Regex {
        &self.regex
    }

    /// Matching takes time in proportion to text times pattern, whatever the pattern. But a match may
    /// look at all that is left of the text, and be one character long.
    /// In `u64`: on a 32-bit gateway `usize` would saturate below the limit.
    pub(crate) fn work(&self, done: &mut u64, bytes: usize) -> Result<(), FnError> {
        *done = done.saturating_add((bytes as u64).saturating_mul(self.size as u64));
        if *done > MATCHING_MAX {
            return Err(FnError::Failed(
                "the text is too long for this pattern, or matches it too often".to_owned(),
            ));
        }
        Ok(())
    }
}

fn kept<T>(
    all: &mut BTreeMap<Box<str>, Arc<T>>,
    text: &str,
    read: impl FnOnce() -> Result<T, FnError>,
) -> Result<Arc<T>, FnError> {
    if let Some(known) = all.get(text) {
        return Ok(known.clone());
    }
    let new = Arc::new(read()?);
    if all.len() >= KEPT_MAX {
        // A caller that makes so many will not come back to them.
        all.clear();
    }
    all.insert(text.into(), new.clone());
    Ok(new)
}
