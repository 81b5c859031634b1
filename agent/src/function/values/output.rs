//! Rows that go out: columns set one by one, put in order at the end, and written as JSON.

use std::cmp::Ordering;
use std::sync::Arc;

use tidemill_values::{Map, Value, order, write_json};

use super::{ROWS_MAX, Values, data};
use crate::function::guest::GuestFault;

/// The row in the making and those that are complete.
#[derive(Debug, Default)]
pub(super) struct Output {
    row: Map,
    keys: Keys,
    number: Option<Number>,
    done: Vec<Done>,
}

/// What rows are put in order by, each with whether it goes downwards.
type Keys = Vec<(Value, bool)>;

/// A row that is complete.
#[derive(Debug)]
struct Done {
    keys: Keys,
    number: Option<Number>,
    row: Map,
}

/// The number that a row is to have among those of its part.
#[derive(Debug)]
struct Number {
    name: Arc<str>,
    /// The part, as text.
    part: String,
    keys: Keys,
}

impl Output {
    pub(super) fn is_used(&self) -> bool {
        !self.row.is_empty() || !self.keys.is_empty() || !self.done.is_empty()
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

    /// What the row that goes out is put in order by, next to what was said before.
    pub(in crate::function) fn order(
        &mut self,
        value: i32,
        descending: i32,
    ) -> Result<(), GuestFault> {
        let value = self.get(value)?.clone();
        self.out.keys.push((value, descending != 0));
        Ok(())
    }

    /// The row that goes out is complete.
    pub(in crate::function) fn emit(&mut self) -> Result<(), GuestFault> {
        if self.out.done.len() >= ROWS_MAX {
            return Err(data(format!("more than {ROWS_MAX} rows go out")));
        }
        let row = std::mem::take(&mut self.out.row);
        let keys = std::mem::take(&mut self.out.keys);
        let number = self.out.number.take();
        self.out.done.push(Done { keys, number, row });
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
        let keys = keys.map(|(place, value)| (value, downwards & (1 << place.min(31)) != 0));
        let keys = keys.collect();
        let parts = self.take_args(parts)?;
        let part = parts.iter().map(|part| format!("{},", part.to_text()));
        let part = part.collect();
        self.out.number = Some(Number { name, part, keys });
        Ok(())
    }

    /// The number that the row in the making has, from 1.
    pub(in crate::function) fn row_number(&self) -> i64 {
        i64::try_from(self.out.done.len()).unwrap_or(i64::MAX - 1) + 1
    }

    /// The complete rows as JSON, in order.
    pub(in crate::function) fn finish(&mut self, limit: i32) -> Result<Vec<String>, GuestFault> {
        self.flushes = self.flushes.saturating_add(1);
        let mut done = std::mem::take(&mut self.out.done);
        let mut wrong = None;
        let mut known = |order: Result<Ordering, GuestFault>| {
            order.unwrap_or_else(|error| {
                wrong.get_or_insert(error);
                Ordering::Equal
            })
        };
        if done.iter().any(|row| row.number.is_some()) {
            done.sort_by(|a, b| match (&a.number, &b.number) {
                (Some(a), Some(b)) => {
                    let parts = a.part.cmp(&b.part);
                    parts.then_with(|| known(compare(&a.keys, &b.keys)))
                }
                _ => Ordering::Equal,
            });
            number_rows(&mut done);
        }
        if done.iter().any(|row| !row.keys.is_empty()) {
            done.sort_by(|a, b| known(compare(&a.keys, &b.keys)));
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        if let Ok(limit) = usize::try_from(limit) {
            done.truncate(limit);
        }
        let json = |row: Map| {
            let mut text = String::new();
            write_json(&Value::map(row), &mut text);
            text
        };
        Ok(done.into_iter().map(|done| json(done.row)).collect())
    }
}

/// Numbers rows that are in order, from 1 in each part.
fn number_rows(done: &mut [Done]) {
    let (mut part, mut last) = (None, 0);
    for row in done {
        let Some(number) = row.number.take() else {
            continue;
        };
        last = match part.as_ref() == Some(&number.part) {
            true => last + 1,
            false => 1,
        };
        row.row.insert(number.name, Value::Int(last));
        part = Some(number.part);
    }
}

/// Nothing comes last, whichever way the order goes.
fn compare(a: &[(Value, bool)], b: &[(Value, bool)]) -> Result<Ordering, GuestFault> {
    for ((a, descending), (b, _)) in a.iter().zip(b) {
        let found = order(a, b).map_err(|error| data(format!("ORDER BY: {error}")))?;
        let found = match *descending && !a.is_null() && !b.is_null() {
            true => found.reverse(),
            false => found,
        };
        if found != Ordering::Equal {
            return Ok(found);
        }
    }
    Ok(Ordering::Equal)
}
