//! Rows that go out: columns set one by one, put in order at the end, and written as JSON.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use tidemill_values::{Budget, Map, Value, total_order, write_json_within};

use super::{ROWS_MAX, Values, data, too_much};
use crate::function::guest::GuestFault;
use crate::function::price::{NAME_FUEL, SEND_FUEL, STEP_FUEL, WRITE_FUEL};

/// The row in the making and those that are complete.
#[derive(Debug, Default)]
pub(super) struct Output {
    row: Columns,
    keys: Keys,
    number: Option<Box<Number>>,
    done: Vec<Done>,
    /// `true` if of identical rows only the first is sent.
    distinct: bool,
}

/// Bytes of a row that is complete beside its columns.
const DONE_BYTES: usize = 192;
/// Bytes of a column of a row that goes out, or of a key that it is put in order by.
const COLUMN_BYTES: usize = 96;

/// Columns of a row that goes out: those of the row at hand, which it shares with that, and behind them its own.
#[derive(Debug, Default)]
struct Columns {
    shared: Option<Arc<Map>>,
    own: Map,
}

impl Columns {
    fn has(&self, name: &str) -> bool {
        let shared = self.shared.as_ref();
        self.own.get(name).is_some() || shared.is_some_and(|shared| shared.get(name).is_some())
    }

    fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |shared| shared.len())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn weight(&self) -> usize {
        self.own.weight() + self.shared.as_ref().map_or(0, |shared| shared.weight())
    }

    /// The row as one object: a column that is set again has the place that it had.
    fn into_map(self) -> Arc<Map> {
        match self.shared {
            None => Arc::new(self.own),
            Some(shared) if self.own.is_empty() => shared,
            Some(mut shared) => {
                let all = Arc::make_mut(&mut shared);
                for (name, value) in self.own.iter() {
                    all.insert(name.clone(), value.clone());
                }
                shared
            }
        }
    }
}

/// A row that is complete.
#[derive(Debug)]
struct Done {
    /// The group that it was made of.
    group: Option<Arc<str>>,
    keys: Keys,
    number: Option<Box<Number>>,
    row: Columns,
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
    fn weight(&self) -> usize {
        self.0.iter().map(|key| key.value.weight()).sum()
    }

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
        self.row = Columns::default();
        self.keys.0.clear();
        self.number = None;
    }
}

impl Values {
    /// Sets a column of the row that goes out; nothing leaves it as it is.
    pub(in crate::function) fn set(&mut self, name: i32, value: i32) -> Result<(), GuestFault> {
        let (name, value) = (self.text(name)?, self.get(value)?.clone());
        if !value.is_null() || self.spec.nulls {
            self.out.row.own.insert(name, value);
            self.hold(COLUMN_BYTES)?;
        }
        Ok(())
    }

    /// All columns of the row at hand go out, but those of a list and those that are set already.
    pub(in crate::function) fn star(
        &mut self,
        stream: i32,
        except: i32,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let all = self.whole(stream, budget)?;
        let except: HashSet<String> = match self.get(except)? {
            Value::List(names) => {
                budget.spend(names.len() as u64 * NAME_FUEL)?;
                let names = names.iter().filter_map(Value::as_text);
                names.map(str::to_ascii_lowercase).collect()
            }
            _ => HashSet::new(),
        };
        if except.is_empty() && self.out.row.is_empty() {
            self.out.row.shared = Some(all);
            return Ok(());
        }
        budget.spend(all.len() as u64 * NAME_FUEL)?;
        self.hold(all.len() * COLUMN_BYTES)?;
        for (name, value) in all.iter() {
            if !self.out.row.has(name) && !except.contains(&name.to_ascii_lowercase()) {
                self.out.row.own.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// All columns of an object go out; what is none goes out under the name.
    pub(in crate::function) fn merge(
        &mut self,
        value: i32,
        name: i32,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let (value, name) = (self.get(value)?.clone(), self.text(name)?);
        match value {
            Value::Null => {}
            Value::Map(map) => {
                budget.spend(map.len() as u64 * NAME_FUEL)?;
                self.hold(map.len() * COLUMN_BYTES)?;
                for (name, value) in map.iter() {
                    self.out.row.own.insert(name.clone(), value.clone());
                }
            }
            other => {
                self.hold(COLUMN_BYTES)?;
                self.out.row.own.insert(name, other);
            }
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
        self.hold(COLUMN_BYTES)
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
        self.hold(DONE_BYTES)
    }

    /// The row that goes out gets a number under a name: see `NUMBER_ROWS` of the ABI.
    pub(in crate::function) fn number(
        &mut self,
        name: i32,
        parts: i32,
        order: i32,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let name = self.text(name)?;
        let (count, downwards) = (order & 0xffff, order >> 16);
        let keys = self.take_args(count)?;
        let keys_count = keys.len();
        let keys = keys.into_iter().enumerate();
        let keys = keys.map(|(place, value)| SortKey {
            value,
            descending: downwards & (1 << place.min(31)) != 0,
        });
        let keys = Keys(keys.collect());
        let parts = self.take_args(parts)?;
        let weight: usize = parts.iter().map(Value::weight).sum();
        budget.spend(weight as u64)?;
        self.hold(weight + keys_count * COLUMN_BYTES + DONE_BYTES)?;
        let mut part = Vec::new();
        for value in parts {
            value.identity(&mut part);
        }
        self.out.number = Some(Box::new(Number { name, part, keys }));
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
        budget: &mut Budget,
    ) -> Result<Vec<Sent>, GuestFault> {
        self.flushes = self.flushes.saturating_add(1);
        let mut done = std::mem::take(&mut self.out.done);
        if done.iter().any(|row| row.number.is_some()) {
            let numbers = done.iter().filter_map(|row| row.number.as_deref());
            let weight = |number: &Number| number.part.len() + number.keys.weight();
            sorting(done.len(), numbers.map(weight).sum(), budget)?;
            #[allow(
                clippy::disallowed_methods,
                reason = "parts and keys have a total order"
            )]
            done.sort_by(|a, b| order_in_parts(a.number.as_deref(), b.number.as_deref()));
            check_parts(&done)?;
            number_rows(&mut done);
        }
        if self.out.distinct {
            done = without_repeats(done, budget)?;
        }
        if done.iter().any(|row| !row.keys.0.is_empty()) {
            let weight = done.iter().map(|row| row.keys.weight()).sum();
            sorting(done.len(), weight, budget)?;
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
            let columns = done.row.len() as u64;
            budget.spend(SEND_FUEL + columns * NAME_FUEL)?;
            let row = Value::Map(done.row.into_map());
            // No more is written than may go out, whatever the row is.
            budget.spend(row.weight().min(free) as u64 * WRITE_FUEL)?;
            let mut text = String::new();
            let fits = write_json_within(&row, free, &mut text);
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

/// The rows without those that equal an earlier one.
fn without_repeats(done: Vec<Done>, budget: &mut Budget) -> Result<Vec<Done>, GuestFault> {
    let weight: usize = done.iter().map(|row| row.row.weight()).sum();
    budget.spend(weight as u64 * 3 + done.len() as u64 * SEND_FUEL)?;
    budget.hold(weight * 2)?;
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(done.len());
    for row in done {
        let columns = row.row.into_map();
        if seen.insert(Value::Map(columns.clone()).identity_bytes()) {
            let shared = Some(columns);
            let own = Map::new();
            kept.push(Done {
                row: Columns { shared, own },
                ..row
            });
        }
    }
    Ok(kept)
}

/// Pays for putting so many rows in order, by keys of so many bytes in all.
fn sorting(rows: usize, weight: usize, budget: &mut Budget) -> Result<(), GuestFault> {
    let rounds = u64::from(rows.max(1).ilog2()) + 1;
    budget.spend(rounds * (rows as u64 * STEP_FUEL + weight as u64 / 4))?;
    // A sort moves rows through room of its own.
    budget.hold(rows * DONE_BYTES / 2)?;
    Ok(())
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
        let Some(number) = row.number.take().map(|number| *number) else {
            continue;
        };
        last = if part.as_ref() == Some(&number.part) {
            last + 1
        } else {
            1
        };
        row.row.own.insert(number.name, Value::Int(last));
        part = Some(number.part);
    }
}
