//! The values of one call: an arena that handles point into, the rows that a statement works on, and
//! the row that goes out. What the guest may ask for is checked here; the imports only pass it on.

mod join;
mod output;
mod row;
mod spoil;
mod tuple;
mod walk;

use std::sync::Arc;

use tidemill_abi::value::{ABSENT, FALSE, FIRST_CONSTANT, NULL, TRUE};
use tidemill_values::{
    Budget, Cache, ENCODED_BYTES_MAX, Map, NESTING_MAX, Names, SLOT_BYTES, Value,
};

use super::guest::GuestFault;
use super::price::NAME_FUEL;
use crate::rule::manifest::SqlSpec;

use output::Output;
pub(super) use output::Sent;
pub(super) use row::{Row, read_price};
pub use row::{kept_event, moved_row};
pub(super) use spoil::Spoil;
use tuple::Tuple;
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
    groups: std::collections::BTreeMap<GroupKey, Vec<Tuple>>,
    /// The groups by number, once iteration has begun.
    listed: Vec<(GroupKey, Arc<Vec<Tuple>>)>,
    /// The row, or the joined rows, that columns are read from.
    current: Tuple,
    group: Option<usize>,
    walks: Vec<Walk>,
    /// The lists of the walk that ended last.
    gathered: Vec<Vec<Value>>,
    /// Rows that the gathered values belong to, in the same order.
    gathered_of: Vec<u32>,
    out: Output,
    /// Patterns that were read before: they change no result and no price.
    pub(super) cache: Cache,
    /// Names of columns that the rows of a window have in common.
    names: Names,
    /// Number of times rows were sent in this call.
    flushes: u32,
    /// `true` if `rows` holds the event.
    event_read: bool,
    /// `true` if `rows` holds the window.
    loaded: bool,
    /// Bytes of memory that the call holds, and may hold.
    held: usize,
    limit: usize,
    /// `true` if anything of this was looked at since the last call.
    touched: bool,
}

/// Values and arguments that keep their place from one call to the next.
const PLACES_KEPT: usize = 256;

impl Values {
    pub(super) fn new(spec: Arc<SqlSpec>) -> Self {
        Self {
            spec,
            ..Self::default()
        }
    }

    /// Makes ready for a call that may hold so many bytes.
    #[inline]
    pub(super) fn begin(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Forgets everything that belongs to the call which has ended: whoever calls next may be another rule.
    #[inline]
    pub(super) fn end(&mut self) {
        if self.touched {
            self.forget();
        }
    }

    /// For the one import that is about to look at values.
    #[inline]
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    fn forget(&mut self) {
        let mut cache = std::mem::take(&mut self.cache);
        cache.begin();
        let (mut made, mut args) = (
            std::mem::take(&mut self.made),
            std::mem::take(&mut self.args),
        );
        made.clear();
        args.clear();
        made.shrink_to(PLACES_KEPT);
        args.shrink_to(PLACES_KEPT);
        let spec = std::mem::take(&mut self.spec);
        // What is not named here begins anew, whatever is added some day.
        *self = Self {
            spec,
            made,
            args,
            cache,
            limit: self.limit,
            ..Self::default()
        };
    }

    /// Bytes that the call may still hold.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.held)
    }

    /// Takes room for bytes.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), GuestFault> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.limit {
            let limit = self.limit;
            return Err(too_much(format!(
                "more than {limit} bytes of values in one call"
            )));
        }
        Ok(())
    }

    /// Number of times rows were sent in this call.
    pub(super) fn flushes(&self) -> u32 {
        self.flushes
    }

    /// Gives room back.
    fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
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
        self.hold(SLOT_BYTES + value.fresh())?;
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
        self.hold(SLOT_BYTES)?;
        self.args.push(value);
        Ok(())
    }

    /// Takes the last arguments.
    pub(super) fn take_args(&mut self, count: i32) -> Result<Vec<Value>, GuestFault> {
        let what = "argument";
        let start = usize::try_from(count).ok();
        let start = start.and_then(|count| self.args.len().checked_sub(count));
        match start {
            Some(start) => {
                let args = self.args.split_off(start);
                self.release(args.len() * SLOT_BYTES);
                Ok(args)
            }
            None => Err(GuestFault::NoSuch { what, index: count }),
        }
    }

    /// An object of the last arguments, name and value by turns. An object under no name lends its own
    /// names.
    pub(super) fn object(&mut self, count: i32, budget: &mut Budget) -> Result<Value, GuestFault> {
        let args = self.take_args(count)?;
        for pair in args.chunks(2) {
            let names = pair.iter().map(Value::elements).max().unwrap_or(1);
            budget.spend(names as u64 * NAME_FUEL)?;
            budget.hold(names * 2 * SLOT_BYTES)?;
        }
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

    fn roomy() -> Values {
        Values {
            limit: usize::MAX,
            touched: true,
            ..Values::default()
        }
    }

    #[test]
    fn a_call_makes_so_many_values_and_no_more() {
        let mut values = roomy();
        at_the_limit(100_000, || values.make(Value::Int(7)).map(drop));
        // Values with a fixed handle take no room.
        assert!(values.make(Value::Bool(true)).is_ok());
        values.end();
        assert!(values.make(Value::Int(7)).is_ok());
    }

    #[test]
    fn a_call_puts_so_many_arguments_and_no_more() {
        let mut values = roomy();
        at_the_limit(100_000, || values.push_arg(TRUE));
    }

    #[test]
    fn so_many_rows_go_out_and_no_more() {
        let mut values = roomy();
        at_the_limit(100_000, || values.emit());
    }

    #[test]
    fn a_call_holds_so_many_bytes_and_no_more() {
        let mut values = roomy();
        values.begin(100_000);
        // What is shared is counted once, however many handles it has.
        let long = values.make(Value::from("x".repeat(60_000))).unwrap();
        for _ in 0..100 {
            let again = values.get(long).unwrap().clone();
            assert!(values.make(again).is_ok());
        }
        let fault = values.make(Value::from("x".repeat(60_000))).unwrap_err();
        assert!(matches!(fault, GuestFault::TooMuch { .. }), "{fault:?}");
        values.end();
        assert_eq!(values.room(), 100_000);
        assert!(values.make(Value::from("x".repeat(60_000))).is_ok());
    }
}
