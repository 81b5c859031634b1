//! Bytes of a binary format, read from front to back. No length that they claim takes memory before the
//! bytes are known to be there, and no more than a bounded number of values is made of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_values::{Map, Value, from_json, to_json};

use super::{ROWS_MAX, Rows, Split};

/// Nesting depth of lists and objects: the same as for JSON.
pub(super) const DEPTH_MAX: usize = 127;
/// Values in one message, those inside of others with them: a list of single bytes costs many times its
/// bytes once it is a list of values.
const VALUES_MAX: usize = 1 << 18;

/// A place where bytes do not match their format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The place, counted from 0.
    pub at: usize,
    /// The fault found there.
    pub why: String,
}

impl Flaw {
    pub(super) fn new(at: usize, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { at, why }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.why, self.at)
    }
}

/// Values that may still be made of a message.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(VALUES_MAX)
    }
}

impl Budget {
    /// Takes `count` values, which begin at `at`, from the budget.
    pub(super) fn take(&mut self, at: usize, count: usize) -> Result<(), Flaw> {
        match self.0.checked_sub(count) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Flaw::new(at, format!("more than {VALUES_MAX} values"))),
        }
    }
}

/// The unread rest of a message.
#[derive(Debug)]
pub(super) struct Input<'a> {
    all: &'a [u8],
    at: usize,
    budget: Budget,
}

impl<'a> Input<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self {
            all,
            at: 0,
            budget: Budget::default(),
        }
    }

    /// The place of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Number of bytes left.
    pub(super) fn left(&self) -> usize {
        self.all.len() - self.at
    }

    /// The next bytes.
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Flaw> {
        let end = usize::try_from(count).ok();
        let end = end.and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| Some((self.all.get(self.at..end)?, end)));
        let (taken, end) = taken.ok_or_else(|| {
            let left = self.left();
            Flaw::new(self.at, format!("{count} bytes should follow, {left} do"))
        })?;
        self.at = end;
        Ok(taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Flaw> {
        let [byte] = self.bytes()?;
        Ok(byte)
    }

    /// The next byte, which stays the next one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.all.get(self.at).copied()
    }

    /// The bytes of a number of this size.
    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        match self.all.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(Flaw::new(self.all.len(), "it ends inside of a value")),
        }
    }

    /// The next `count` bytes as text.
    pub(super) fn text(&mut self, count: u64) -> Result<&'a str, Flaw> {
        let start = self.at;
        let bytes = self.take(count)?;
        std::str::from_utf8(bytes)
            .map_err(|error| Flaw::new(start + error.valid_up_to(), "a text is not UTF-8"))
    }

    /// Counts one more value, which begins at `at` and lies so deep.
    pub(super) fn value(&mut self, at: usize, depth: usize) -> Result<(), Flaw> {
        if depth > DEPTH_MAX {
            return Err(Flaw::new(at, format!("nested more than {DEPTH_MAX} deep")));
        }
        self.budget.take(at, 1)
    }

    /// A number of elements claimed by the head at `at`, each of at least `each` bytes: no more
    /// than can follow.
    pub(super) fn count(&self, at: usize, claimed: u64, each: usize) -> Result<usize, Flaw> {
        let count = usize::try_from(claimed).ok();
        count
            .filter(|count| *count <= self.left() / each)
            .ok_or_else(|| {
                let left = self.left();
                Flaw::new(
                    at,
                    format!("{claimed} elements cannot stand in {left} bytes"),
                )
            })
    }

    /// Makes sure that nothing is left.
    pub(super) fn end(&self) -> Result<(), Flaw> {
        match self.left() {
            0 => Ok(()),
            left => Err(Flaw::new(self.at, format!("{left} bytes follow the value"))),
        }
    }
}

/// A whole number without a sign; one beyond 63 bits is what JSON makes of it.
pub(super) fn whole(number: u64) -> Value {
    let wide = || from_json(number.to_string().as_bytes()).unwrap_or_default();
    i64::try_from(number).map_or_else(|_| wide(), Value::Int)
}

/// A number; null if it is NaN or infinite.
pub(super) fn float(number: f64) -> Value {
    if number.is_finite() {
        Value::Float(number)
    } else {
        Value::Null
    }
}

/// The moment `ms` milliseconds after 1970, if its year is one that a date can have.
pub(super) fn moment(at: usize, ms: Option<i64>) -> Result<Value, Flaw> {
    /// From the first moment of the year 0 to the last one of the year 9999.
    const CREDIBLE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
    ms.filter(|ms| CREDIBLE.contains(ms))
        .map(Value::Datetime)
        .ok_or_else(|| Flaw::new(at, "a time beyond the years 0 to 9999"))
}

/// A value as the name of another one; `None` for a list or an object.
pub(super) fn name(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
        other => {
            let json = to_json(other);
            let bare = json
                .strip_prefix('"')
                .and_then(|json| json.strip_suffix('"'));
            Some(bare.unwrap_or(&json).into())
        }
    }
}

/// The object of these names and values; of a name that comes twice the last one counts, in its place.
pub(super) fn object(entries: Vec<(Arc<str>, Value)>) -> Value {
    let count = entries.len();
    let map: Map = entries.iter().cloned().collect();
    if map.len() == count {
        return Value::map(map);
    }
    let last: HashMap<Arc<str>, usize> = (0..)
        .zip(&entries)
        .map(|(place, (name, _))| (name.clone(), place))
        .collect();
    let counts = |(place, (name, _)): &(usize, (Arc<str>, Value))| last.get(name) == Some(place);
    let entries = (0..).zip(entries).filter(counts).map(|(_, entry)| entry);
    Value::map(entries.collect())
}

/// The elements of a list as rows, each with its value: `more` says whether another one follows, `read`
/// reads it at a depth. `list_of_one` is how a list of one element begins.
pub(super) fn rows_of<'a>(
    payload: &'a Bytes,
    mut input: Input<'a>,
    (mut more, read): (
        impl FnMut(&mut Input<'a>) -> Result<bool, Flaw>,
        impl Fn(&mut Input<'a>, usize) -> Result<Value, Flaw>,
    ),
    list_of_one: u8,
) -> Result<Rows, Flaw> {
    let mut rows = Vec::new();
    while more(&mut input)? {
        let start = input.at();
        let value = read(&mut input, 1)?;
        let row = payload.slice(start..input.at());
        let row = match value {
            // A list that is a row would be read as rows.
            Value::List(_) => Bytes::from([&[list_of_one], &row[..]].concat()),
            _ => row,
        };
        rows.push((row, value));
        // One more than there may be is enough to tell.
        if rows.len() > ROWS_MAX {
            return Ok(Split::read(rows));
        }
    }
    input.end()?;
    Ok(Split::read(rows))
}
