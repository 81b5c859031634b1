//! What calls read from their arguments again and again: patterns, paths and time zones, kept by
//! their text.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::FnError;
use crate::functions::{Path, Zone};

/// How many of a kind are kept: a rule has a few in its text, but may also make them from its events.
const KEPT_MAX: usize = 32;

/// How large a pattern may become when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// How long a pattern may be.
const PATTERN_CHARS_MAX: usize = 1_000;

/// Patterns, paths and time zones by their text. Owned by whoever calls, one for each rule.
#[derive(Debug, Default)]
pub struct Cache {
    patterns: BTreeMap<Box<str>, Arc<regex_lite::Regex>>,
    paths: BTreeMap<Box<str>, Arc<Path>>,
    zones: BTreeMap<Box<str>, Arc<Zone>>,
}

impl Cache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular expression. Matching takes time in proportion to text times pattern, whatever the
    /// pattern.
    pub(crate) fn pattern(&mut self, text: &str) -> Result<Arc<regex_lite::Regex>, FnError> {
        kept(&mut self.patterns, text, || {
            if text.len() > PATTERN_CHARS_MAX {
                return Err(FnError::Failed(format!(
                    "a pattern of more than {PATTERN_CHARS_MAX} bytes"
                )));
            }
            regex_lite::RegexBuilder::new(text)
                .size_limit(PATTERN_BYTES_MAX)
                .build()
                .map_err(|error| FnError::Failed(format!("{text:?} is no pattern: {error}")))
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
        // Whoever makes so many will not come back to them.
        all.clear();
    }
    all.insert(text.into(), new.clone());
    Ok(new)
}
