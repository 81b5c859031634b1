//! The values of one call: an arena that handles point into, the rows that a statement works on, and
//! the row that goes out. What the guest may ask for is checked here; the imports only pass it on.

mod output;
mod row;
mod spoil;
mod walk;

use std::sync::Arc;

use tidemill_abi::value::{ABSENT, FALSE, FIRST_CONSTANT, NULL, TRUE};
use tidemill_values::{Cache, ENCODED_BYTES_MAX, Map, NESTING_MAX, Value};

use super::guest::GuestFault;
use crate::rule::manifest::SqlSpec;

use output::Output;
pub(super) use output::Sent;
pub(super) use row::{Row, Tuple};
pub use row::{kept_event, moved_row};
pub(super) use spoil::Spoil;
use walk::Walk;

/// Values that a call may make: beyond that it is no event's work.
const VALUES_MAX: usize = 100_000;
/// Rows, or pairs of rows, that a call may hold.
const ROWS_MAX: usize = 100_000;

/// Streams of one statement; their numbers are those of bits.
pub(super) const STREAMS_MAX: usize = 32;

/// A null that can be borrowed.
static NOTHING: Value = Value::Null;
static NO: Value = Value::Bool(false);
static YES: Value = Value::Bool(true);

/// Identity of a group: a text for each expression of GROUP BY.
type GroupKey = Vec<Arc<str>>;

/// The values of one call.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) spec: Arc<SqlSpec>,
    /// Values made by the call.
    made: Vec<Value>,
    /// Arguments of the next function called.
    args: Vec<Value>,
    /// The messages being read.
    rows: Vec<Row>,
    /// The rows, or joined rows, that the statement iterates over.
    set: Arc<Vec<Tuple>>,
    /// The groups by their texts, in iteration order.
    groups: std::collections::BTreeMap<GroupKey, Arc<Vec<Tuple>>>,
    /// The groups by number, once iteration has begun.
    listed: Vec<(GroupKey, Arc<Vec<Tuple>>)>,
    /// The row, or the joined rows, that columns are read from.
    current: Tuple,
    group: Option<usize>,
    walks: Vec<Walk>,
    /// The lists of the walk that ended last.
    gathered: Vec<Vec<Value>>,
    /// Tuples that the gathered values belong to, in the same order.
    gathered_of: Vec<Tuple>,
    out: Output,
    /// Patterns that were read before: for the rule, not for the call.
    pub(super) cache: Cache,
    /// Number of times rows were sent in this call.
    flushes: u32,
    /// `true` if `rows` holds the event.
    event_read: bool,
}

impl Values {
    pub(super) fn new(spec: Arc<SqlSpec>) -> Self {
        Self {
            spec,
            ..Self::default()
        }
    }

    /// Makes ready for a call.
    #[inline]
    pub(super) fn clear(&mut self) {
        if self.made.is_empty() && self.rows.is_empty() && !self.out.is_used() && self.flushes == 0
        {
            return;
        }
        self.made.clear();
        self.args.clear();
        self.rows.clear();
        self.set = Arc::default();
        self.groups.clear();
        self.listed.clear();
        self.current = Tuple::default();
        self.group = None;
        self.walks.clear();
        self.gathered.clear();
        self.gathered_of.clear();
        self.out = Output::default();
        self.event_read = false;
        self.flushes = 0;
    }

    /// Number of times rows were sent in this call.
    pub(super) fn flushes(&self) -> u32 {
        self.flushes
    }

    /// The value of a handle.
    pub(super) fn get(&self, handle: i32) -> Result<&Value, GuestFault> {
        let value = match handle {
            NULL => Some(&NOTHING),
            FALSE => Some(&NO),
            TRUE => Some(&YES),
            _ => {
                let place = handle.checked_sub(FIRST_CONSTANT);
                let place = place.and_then(|place| usize::try_from(place).ok());
                place.and_then(|place| {
                    let constants = &self.spec.constants;
                    match place.checked_sub(constants.len()) {
                        None => constants.get(place),
                        Some(place) => self.made.get(place),
                    }
                })
            }
        };
        let what = "value";
        value.ok_or(GuestFault::NoSuch {
            what,
            index: handle,
        })
    }

    /// The value of a handle, or `None` for [`ABSENT`].
    pub(super) fn get_or_absent(&self, handle: i32) -> Result<Option<&Value>, GuestFault> {
        match handle {
            ABSENT => Ok(None),
            handle => self.get(handle).map(Some),
        }
    }

    /// The text of a handle.
    pub(super) fn text(&self, handle: i32) -> Result<Arc<str>, GuestFault> {
        match self.get(handle)? {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(GuestFault::WrongType {
                what: "value",
                index: handle,
                kind: "text",
            }),
        }
    }

    /// Makes a handle of a new value. Every value that a call works with comes through here, or out
    /// of a payload or a row with the same limits: so code that walks through a value, compares,
    /// writes or drops it, finds it no deeper than [`NESTING_MAX`].
    pub(super) fn make(&mut self, value: Value) -> Result<i32, GuestFault> {
        match value {
            Value::Null => return Ok(NULL),
            Value::Bool(false) => return Ok(FALSE),
            Value::Bool(true) => return Ok(TRUE),
            _ => {}
        }
        if value.depth() > NESTING_MAX {
            return Err(data(format!(
                "a value is nested more than {NESTING_MAX} deep"
            )));
        }
        if value.size() > ENCODED_BYTES_MAX {
            return Err(data(format!(
                "a value has more than {ENCODED_BYTES_MAX} bytes"
            )));
        }
        if self.made.len() >= VALUES_MAX {
            return Err(too_much(format!(
                "more than {VALUES_MAX} values in one call"
            )));
        }
        self.made.push(value);
        let place = self.spec.constants.len() + self.made.len() - 1;
        Ok(FIRST_CONSTANT + i32::try_from(place).unwrap_or(i32::MAX - FIRST_CONSTANT))
    }

    /// Adds an argument for what is called next.
    pub(super) fn push_arg(&mut self, handle: i32) -> Result<(), GuestFault> {
        if self.args.len() >= VALUES_MAX {
            return Err(too_much(format!(
                "more than {VALUES_MAX} arguments in one call"
            )));
        }
        let value = self.get(handle)?.clone();
        self.args.push(value);
        Ok(())
    }

    /// Takes the last arguments.
    pub(super) fn take_args(&mut self, count: i32) -> Result<Vec<Value>, GuestFault> {
        let what = "argument";
        let start = usize::try_from(count).ok();
        let start = start.and_then(|count| self.args.len().checked_sub(count));
        match start {
            Some(start) => Ok(self.args.split_off(start)),
            None => Err(GuestFault::NoSuch { what, index: count }),
        }
    }

    /// An object of the last arguments, name and value by turns. An object under no name lends its own
    /// names.
    pub(super) fn object(&mut self, count: i32) -> Result<Value, GuestFault> {
        let args = self.take_args(count)?;
        let mut map = Map::new();
        for pair in args.chunks(2) {
            match pair {
                [Value::Text(name), value] => map.insert(name.clone(), value.clone()),
                [_, Value::Map(all)] => {
                    for (name, value) in all.iter() {
                        map.insert(name.clone(), value.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(Value::map(map))
    }
}

/// A fault of the event.
pub(super) fn data(reason: impl Into<Box<str>>) -> GuestFault {
    GuestFault::Data {
        reason: reason.into(),
    }
}

/// A fault of the rule: its statement makes more of the event, or of the window, than a call may hold.
pub(super) fn too_much(reason: impl Into<Box<str>>) -> GuestFault {
    GuestFault::TooMuch {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does something as often as it may be done in a call, and once more.
    fn at_the_limit(limit: usize, mut once: impl FnMut() -> Result<(), GuestFault>) {
        for number in 0..limit {
            assert!(once().is_ok(), "{number}");
        }
        let fault = once().unwrap_err();
        assert!(matches!(fault, GuestFault::TooMuch { .. }), "{fault:?}");
    }

    #[test]
    fn a_call_makes_so_many_values_and_no_more() {
        let mut values = Values::default();
        at_the_limit(100_000, || values.make(Value::Int(7)).map(drop));
        // Values with a fixed handle take no room.
        assert!(values.make(Value::Bool(true)).is_ok());
        values.clear();
        assert!(values.make(Value::Int(7)).is_ok());
    }

    #[test]
    fn a_call_puts_so_many_arguments_and_no_more() {
        let mut values = Values::default();
        at_the_limit(100_000, || values.push_arg(TRUE));
    }

    #[test]
    fn so_many_rows_go_out_and_no_more() {
        let mut values = Values::default();
        at_the_limit(100_000, || values.emit());
    }
}
