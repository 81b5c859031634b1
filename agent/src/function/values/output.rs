//! Rows that go out: columns set one by one, put in order at the end, and written as JSON.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use tidemill_values::{Map, Value, total_order, write_json_within};

use super::{ROWS_MAX, Values, data, too_much};
use crate::function::guest::GuestFault;

/// The row in the making and those that are complete.
#[derive(Debug, Default)]
pub(super) struct Output {
    row: Map,
    keys: Keys,
    number: Option<Number>,
    done: Vec<Done>,
    /// `true` if of identical rows only the first is sent.
    distinct: bool,
}

/// A row that is complete.
#[derive(Debug)]
struct Done {
    /// The group that it was made of.
    group: Option<Arc<str>>,
    keys: Keys,
    number: Option<Number>,
    row: Map,
}

/// A row as it goes out.
#[derive(Debug)]
pub(in crate::function) struct Sent {
    /// The key, if it is that of a group.
    pub(in crate::function) key: Option<Arc<str>>,
    pub(in crate::function) json: String,
}

/// The number that a row is to have among those of its part.
#[derive(Debug)]
struct Number {
    name: Arc<str>,
    /// The part: bytes that are the same for the same values.
    part: Vec<u8>,
    keys: Keys,
}

/// Sort keys of a row.
#[derive(Debug, Default)]
struct Keys(Vec<SortKey>);

/// A sort key.
#[derive(Debug)]
struct SortKey {
    value: Value,
    descending: bool,
}

impl SortKey {
    /// A total order, whatever the values are: a moment is the number of its milliseconds. Nothing comes
    /// last, whichever way the order goes.
    fn order(&self, other: &Self) -> Ordering {
        let number = |value: &Value| match value {
            Value::Datetime(ms) => Value::Int(*ms),
            other => other.clone(),
        };
        let order = total_order(&number(&self.value), &number(&other.value));
        if self.descending && !self.value.is_null() && !other.value.is_null() {
            order.reverse()
        } else {
            order
        }
    }

    /// `true` if the values are of types that a statement compares.
    fn fits(&self, other: &Self) -> bool {
        let kind = |value: &Value| match value {
            Value::Null => None,
            Value::Int(_) | Value::Wide(_) | Value::Float(_) | Value::Datetime(_) => Some("number"),
            other => Some(other.type_name()),
        };
        let kinds = kind(&self.value).zip(kind(&other.value));
        kinds.is_none_or(|(a, b)| a == b)
    }
}

impl Keys {
    fn order(&self, other: &Self) -> Ordering {
        let mut orders = self.0.iter().zip(&other.0).map(|(a, b)| a.order(b));
        let differs = orders.find(|order| order.is_ne());
        differs.unwrap_or(Ordering::Equal)
    }

    /// An error if two adjacent rows differ in values of types that are not compared. If there are
    /// such types among the rows, they are adjacent somewhere.
    fn check(&self, next: &Self, what: &str) -> Result<(), GuestFault> {
        for (a, b) in self.0.iter().zip(&next.0) {
            if !a.fits(b) {
                let (a, b) = (a.value.shown(), b.value.shown());
                return Err(data(format!("{what}: {a} and {b} have no order")));
            }
            if a.order(b).is_ne() {
                break;
            }
        }
        Ok(())
    }
}

impl Output {
    /// Forgets the row in the making.
    pub(super) fn forget_row(&mut self) {
        self.row = Map::new();
        self.keys.0.clear();
        self.number = None;
    }

    pub(super) fn is_used(&self) -> bool {
        !self.row.is_empty() || !self.keys.0.is_empty() || !self.done.is_empty()
    }
}

impl Values {
    /// Sets a column of the row that goes out; nothing leaves it as it is.
    pub(in crate::function) fn set(&mut self, name: i32, value: i32) -> Result<(), GuestFault> {
        let (name, value) = (self.text(name)?, self.get(value)?.clone());
        if !value.is_null() || self.spec.nulls {
            self.out.row.insert(name, value);
        }
        Ok(())
    }

    /// All columns of the row at hand go out, but those of a list and those that are set already.
    pub(in crate::function) fn star(&mut self, stream: i32, except: i32) -> Result<(), GuestFault> {
        let mut all = self.whole(stream);
        if let Value::List(names) = self.get(except)? {
            let names: Vec<String> = names
                .iter()
                .filter_map(|name| name.as_text().map(str::to_ascii_lowercase))
                .collect();
            all.retain(|column| !names.contains(&column.to_ascii_lowercase()));
        }
        if self.out.row.is_empty() {
            self.out.row = all;
            return Ok(());
        }
        for (name, value) in all.iter() {
            if self.out.row.get(name).is_none() {
                self.out.row.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// All columns of an object go out; what is none goes out under the name.
    pub(in crate::function) fn merge(&mut self, value: i32, name: i32) -> Result<(), GuestFault> {
        let (value, name) = (self.get(value)?.clone(), self.text(name)?);
        match value {
            Value::Null => {}
            Value::Map(map) => {
                for (name, value) in map.iter() {
                    self.out.row.insert(name.clone(), value.clone());
                }
            }
            other => self.out.row.insert(name, other),
        }
        Ok(())
    }

    /// Adds a sort key to the row being built.
    pub(in crate::function) fn order(
        &mut self,
        value: i32,
        descending: i32,
    ) -> Result<(), GuestFault> {
        let value = self.get(value)?.clone();
        self.out.keys.0.push(SortKey {
            value,
            descending: descending != 0,
        });
        Ok(())
    }

    /// The row that goes out is complete.
    pub(in crate::function) fn emit(&mut self) -> Result<(), GuestFault> {
        if self.out.done.len() >= ROWS_MAX {
            return Err(too_much(format!("more than {ROWS_MAX} rows go out")));
        }
        if self.is_spoiled() {
            self.out.forget_row();
            return Ok(());
        }
        let row = std::mem::take(&mut self.out.row);
        let keys = std::mem::take(&mut self.out.keys);
        let number = self.out.number.take();
        let group = self.group_key();
        self.out.done.push(Done {
            group,
            keys,
            number,
            row,
        });
        Ok(())
    }

    /// The row that goes out gets a number under a name: see `NUMBER_ROWS` of the ABI.
    pub(in crate::function) fn number(
        &mut self,
        name: i32,
        parts: i32,
        order: i32,
    ) -> Result<(), GuestFault> {
        let name = self.text(name)?;
        let (count, downwards) = (order & 0xffff, order >> 16);
        let keys = self.take_args(count)?.into_iter().enumerate();
        let keys = keys.map(|(place, value)| SortKey {
            value,
            descending: downwards & (1 << place.min(31)) != 0,
        });
        let keys = Keys(keys.collect());
        let mut part = Vec::new();
        for value in self.take_args(parts)? {
            value.identity(&mut part);
        }
        self.out.number = Some(Number { name, part, keys });
        Ok(())
    }

    /// Sends only the first of identical rows.
    pub(in crate::function) fn distinct(&mut self) {
        self.out.distinct = true;
    }

    /// The number that the row in the making has, from 1.
    pub(in crate::function) fn row_number(&self) -> i64 {
        i64::try_from(self.out.done.len()).unwrap_or(i64::MAX - 1) + 1
    }

    /// The complete rows as JSON, in order. Nothing is written beyond `bytes`: more may not go out.
    pub(in crate::function) fn finish(
        &mut self,
        limit: i32,
        bytes: usize,
    ) -> Result<Vec<Sent>, GuestFault> {
        self.flushes = self.flushes.saturating_add(1);
        let mut done = std::mem::take(&mut self.out.done);
        if done.iter().any(|row| row.number.is_some()) {
            #[allow(
                clippy::disallowed_methods,
                reason = "parts and keys have a total order"
            )]
            done.sort_by(|a, b| order_in_parts(a.number.as_ref(), b.number.as_ref()));
            check_parts(&done)?;
            number_rows(&mut done);
        }
        if self.out.distinct {
            let mut seen = HashSet::new();
            done.retain(|row| seen.insert(identity(&row.row)));
        }
        if done.iter().any(|row| !row.keys.0.is_empty()) {
            #[allow(clippy::disallowed_methods, reason = "keys have a total order")]
            done.sort_by(|a, b| a.keys.order(&b.keys));
            for pair in done.windows(2) {
                if let [row, next] = pair {
                    row.keys.check(&next.keys, "ORDER BY")?;
                }
            }
        }
        if let Ok(limit) = usize::try_from(limit) {
            done.truncate(limit);
        }
        let mut free = bytes;
        let mut rows = Vec::with_capacity(done.len());
        for done in done {
            let mut text = String::new();
            let fits = write_json_within(&Value::map(done.row), free, &mut text);
            if !fits {
                return Err(data(format!(
                    "the rows that go out have more than {bytes} bytes"
                )));
            }
            free -= text.len();
            rows.push(Sent {
                key: done.group,
                json: text,
            });
        }
        Ok(rows)
    }
}

/// Bytes that are equal for identical rows.
fn identity(row: &Map) -> Vec<u8> {
    let mut bytes = Vec::new();
    Value::map(row.clone()).identity(&mut bytes);
    bytes
}

/// Orders rows with a number behind those without, part by part.
fn order_in_parts(a: Option<&Number>, b: Option<&Number>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => {
            let parts = a.part.cmp(&b.part);
            parts.then_with(|| a.keys.order(&b.keys))
        }
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Checks that the rows of each part can be ordered.
fn check_parts(done: &[Done]) -> Result<(), GuestFault> {
    for pair in done.windows(2) {
        if let [
            Done {
                number: Some(row), ..
            },
            Done {
                number: Some(next), ..
            },
        ] = pair
            && row.part == next.part
        {
            row.keys.check(&next.keys, "row_number")?;
        }
    }
    Ok(())
}

/// Numbers rows that are in order, from 1 in each part.
fn number_rows(done: &mut [Done]) {
    let (mut part, mut last) = (None, 0);
    for row in done {
        let Some(number) = row.number.take() else {
            continue;
        };
        last = if part.as_ref() == Some(&number.part) {
            last + 1
        } else {
            1
        };
        row.row.insert(number.name, Value::Int(last));
        part = Some(number.part);
    }
}
