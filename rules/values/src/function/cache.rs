//! Parsed arguments that calls use again and again: patterns, paths and time zones, kept by their
//! text.

mod tame;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::functions::{Path, Zone};
use crate::{Budget, FnError};

/// Entries kept of each kind: a rule has a few in its text, but may also make them from its events.
const KEPT_MAX: usize = 32;

/// Size limit of a compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Length limit of a pattern, in characters.
const PATTERN_CHARS_MAX: usize = 1_000;

/// Bytes of all compiled patterns that are kept.
const PATTERNS_BYTES_MAX: usize = 1 << 20;

/// Fuel of a byte of a compiled pattern while it is compiled, which is tried with limits that double.
const COMPILE_FUEL: u64 = 8;
/// Fuel of reading a character of a pattern, which each try does.
const READ_FUEL: u64 = 60;
/// Fuel of reading a byte of a JSON path.
const PATH_FUEL: u64 = 40;
/// Fuel of reading a time zone.
const ZONE_FUEL: u64 = 30_000;
/// Fuel of a state of a pattern at a character of a text.
const STATE_FUEL: u64 = 8;
/// Bytes of a compiled pattern for each of its states.
const STATE_BYTES: usize = 32;

/// Patterns, paths and time zones by their text. Owned by the caller, one for each rule.
#[derive(Debug, Default)]
pub struct Cache {
    patterns: Kept<Pattern>,
    paths: Kept<Path>,
    zones: Kept<Zone>,
}

/// Things of one kind. Each is paid for when a call first asks for it, whether an earlier call has
/// left it here or not: so the same call costs the same after a restart.
#[derive(Debug)]
struct Kept<T> {
    all: BTreeMap<Box<str>, Entry<T>>,
    /// The number of the call.
    now: u64,
    /// Bytes of all, as far as they are counted.
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    what: Arc<T>,
    price: u64,
    bytes: usize,
    /// The call that has paid for it last.
    paid: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            now: 0,
            bytes: 0,
        }
    }
}

impl<T> Kept<T> {
    fn get(&mut self, text: &str, budget: &mut Budget) -> Option<Result<Arc<T>, FnError>> {
        let entry = self.all.get_mut(text)?;
        if entry.paid != self.now {
            if let Err(error) = budget.spend(entry.price) {
                return Some(Err(error));
            }
            entry.paid = self.now;
        }
        Some(Ok(entry.what.clone()))
    }

    fn keep(&mut self, text: &str, what: Arc<T>, price: u64, bytes: usize) {
        if self.all.len() >= KEPT_MAX || self.bytes + bytes > PATTERNS_BYTES_MAX {
            let now = self.now;
            // What this call has paid for stays, unless that alone is too much.
            self.all.retain(|_, entry| entry.paid == now);
            let mine = self.all.values().map(|entry| entry.bytes).sum::<usize>();
            if self.all.len() >= KEPT_MAX || mine + bytes > PATTERNS_BYTES_MAX {
                self.all.clear();
            }
            self.bytes = self.all.values().map(|entry| entry.bytes).sum();
        }
        self.bytes += bytes;
        let paid = self.now;
        let entry = Entry {
            what,
            price,
            bytes,
            paid,
        };
        self.all.insert(text.into(), entry);
    }
}

impl Cache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins another call, which pays for what it uses.
    pub fn begin(&mut self) {
        self.patterns.now += 1;
        self.paths.now += 1;
        self.zones.now += 1;
    }

    /// A regular expression.
    pub(crate) fn pattern(
        &mut self,
        text: &str,
        budget: &mut Budget,
    ) -> Result<Arc<Pattern>, FnError> {
        if let Some(known) = self.patterns.get(text, budget) {
            return known;
        }
        if text.len() > PATTERN_CHARS_MAX {
            return Err(FnError::Failed(format!(
                "a pattern of more than {PATTERN_CHARS_MAX} bytes"
            )));
        }
        let before = budget.fuel;
        let new = Arc::new(Pattern::new(text, budget)?);
        let price = before.saturating_sub(budget.fuel);
        self.patterns.keep(text, new.clone(), price, new.size * 2);
        Ok(new)
    }

    /// A JSON path.
    pub(crate) fn path(&mut self, text: &str, budget: &mut Budget) -> Result<Arc<Path>, FnError> {
        if let Some(known) = self.paths.get(text, budget) {
            return known;
        }
        let price = text.len() as u64 * PATH_FUEL;
        budget.spend(price)?;
        let new = Path::parse(text)
            .map_err(|error| FnError::Failed(format!("{text:?} is no JSON path: {error}")))?;
        let new = Arc::new(new);
        self.paths.keep(text, new.clone(), price, text.len());
        Ok(new)
    }

    /// A time zone by its name in the IANA database.
    pub(crate) fn zone(&mut self, name: &str, budget: &mut Budget) -> Result<Arc<Zone>, FnError> {
        if let Some(known) = self.zones.get(name, budget) {
            return known;
        }
        budget.spend(ZONE_FUEL)?;
        let new = Zone::named(name)
            .ok_or_else(|| FnError::Failed(format!("no time zone is called {name:?}")))?;
        let new = Arc::new(new);
        self.zones.keep(name, new.clone(), ZONE_FUEL, 0);
        Ok(new)
    }
}

/// A regular expression, and how large it is.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: regex_lite::Regex,
    /// Size limit in bytes.
    size: usize,
    /// `true` if no match looks far beyond its end.
    is_tame: bool,
}

impl Pattern {
    fn new(text: &str, budget: &mut Budget) -> Result<Self, FnError> {
        let mut size = 128;
        let wrong = |error| FnError::Failed(format!("{text:?} is no pattern: {error}"));
        loop {
            budget.spend(size as u64 * COMPILE_FUEL + text.len() as u64 * READ_FUEL)?;
            match regex_lite::RegexBuilder::new(text).size_limit(size).build() {
                Ok(regex) => {
                    let is_tame = tame::is_tame(text);
                    return Ok(Self {
                        regex,
                        size,
                        is_tame,
                    });
                }
                // The library does not report the size, so limits are tried.
                Err(_) if size < PATTERN_BYTES_MAX => size *= 2,
                Err(error) => return Err(wrong(error)),
            }
        }
    }

    /// To match `text` once.
    pub(crate) fn over(
        &self,
        text: &str,
        budget: &mut Budget,
    ) -> Result<&regex_lite::Regex, FnError> {
        budget.spend(self.price(text.len(), 0))?;
        Ok(&self.regex)
    }

    /// The pattern for repeated matching of one text: before each match, [`Pattern::next`] is paid.
    pub(crate) fn again_and_again(&self) -> &regex_lite::Regex {
        &self.regex
    }

    /// Fuel of a walk over so many bytes that keeps as many groups: each of the pattern's states may
    /// be looked at for each character, and copy the groups' ends. That is the library's own bound.
    pub(crate) fn price(&self, bytes: usize, groups: usize) -> u64 {
        let states = (self.size / STATE_BYTES) as u64;
        // The end of the text is looked at as well.
        let places = bytes as u64 + 1;
        places
            .saturating_mul(states)
            .saturating_mul(STATE_FUEL + groups as u64)
    }

    /// Pays for the match behind another one, where `rest` bytes of the text are left. A match may look at
    /// all of them and be one character long; if the pattern is known to be no such, the walk through the text was paid at first.
    pub(crate) fn next(
        &self,
        rest: usize,
        groups: usize,
        budget: &mut Budget,
    ) -> Result<(), FnError> {
        let looked_at = if self.is_tame {
            (self.size / STATE_BYTES).min(rest)
        } else {
            rest
        };
        budget.spend(self.price(looked_at, groups))
    }

    /// Takes room for what matching keeps of each state.
    pub(crate) fn hold(&self, groups: usize, budget: &mut Budget) -> Result<(), FnError> {
        let states = self.size / STATE_BYTES;
        budget.hold(states.saturating_mul(2 * (groups + 1) * 16))
    }
}
