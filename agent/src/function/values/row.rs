//! Messages as rows: columns of the payload with the types that are declared, and what is known beside
//! them; and how a row is written down while a window keeps it.

mod types;

use std::sync::Arc;

use tidemill_abi::limit::NOTES_MAX;
use tidemill_abi::value::ANY_STREAM;
use tidemill_values::{
    Budget, DecodeError, FnError, Map, Names, Value, decode_within, encode, from_json, json_fuel,
    json_weight, to_json,
};

use crate::event::payload::{self, SELF};

use super::tuple::{TUPLE_BYTES, Tuple};
use super::{ROWS_MAX, STREAMS_MAX, Values, data, too_much};
use crate::event::decode::not_an_object;
use crate::function::frame::Frame;
use crate::function::guest::GuestFault;
use crate::function::price::{LOAD_FUEL, LONG_BYTES, NAME_FUEL, READ_FUEL};
use crate::rule::manifest::{Keeps, SqlSpec};

use types::{look_price, of_columns, with_types};

/// Bytes of a row beside what is in it.
const ROW_BYTES: usize = 160;
/// Bytes of a column in a copy of an object.
const COLUMN_BYTES: usize = 96;

/// One message.
#[derive(Debug, Clone)]
pub(in crate::function) struct Row {
    pub(in crate::function) stream: usize,
    pub(in crate::function) time_ms: i64,
    pub(in crate::function) topic: Arc<str>,
    pub(in crate::function) meta: Option<Arc<Map>>,
    pub(in crate::function) columns: Arc<Map>,
    /// Values computed when the event arrived, read when its window fires, by number.
    notes: Vec<Value>,
}

/// Fuel of reading the event as a row, with its user properties.
pub(in crate::function) fn read_price(frame: &Frame) -> u64 {
    let payload = match frame.value {
        // It was read before the call, and is paid.
        Some(_) => 0,
        None => json_price(&frame.event.payload),
    };
    payload + json_price(&frame.event.properties)
}

/// Fuel of reading JSON: of a long text by what is in it, which a look through it tells.
fn json_price(payload: &[u8]) -> u64 {
    let bytes = payload.len() as u64;
    if payload.len() <= LONG_BYTES {
        return bytes * READ_FUEL;
    }
    json_fuel(payload)
}

/// Checks that there is room for what JSON makes, before it is made.
fn has_room(json: &[u8], budget: &Budget) -> Result<(), GuestFault> {
    /// No byte of JSON takes more memory.
    const WEIGHT_OF_BYTE_MAX: usize = 120;
    let room = budget.bytes;
    if json.len().saturating_mul(WEIGHT_OF_BYTE_MAX) > room && json_weight(json) > room {
        return Err(data(format!(
            "its {} bytes take more than {room} bytes of memory as values; limits.value_bytes raises that",
            json.len()
        )));
    }
    Ok(())
}

fn user_properties(frame: &Frame, budget: &mut Budget) -> Result<Option<Arc<Map>>, GuestFault> {
    let json = &frame.event.properties;
    if json.is_empty() {
        return Ok(None);
    }
    budget.spend(json_price(json))?;
    has_room(json, budget)?;
    let Ok(Value::Map(map)) = from_json(json) else {
        return Ok(None);
    };
    budget.hold(map.weight())?;
    Ok(Some(map).filter(|map| !map.is_empty()))
}

impl Row {
    /// The event as a row.
    fn of_event(
        frame: &Frame,
        stream: usize,
        spec: &SqlSpec,
        budget: &mut Budget,
    ) -> Result<Self, GuestFault> {
        let payload = &frame.event.payload;
        let value = match (&frame.value, &frame.payload) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(reading)) => {
                budget.spend(json_price(payload))?;
                reading.value(payload)
            }
            (None, None) => {
                budget.spend(json_price(payload))?;
                has_room(payload, budget)?;
                payload::read_json(payload)
            }
        };
        let takes_bare = spec.names_self || frame.payload.as_ref().is_some_and(|p| p.has_self());
        let mut columns = match value.map_err(|error| data(error.to_string()))? {
            Value::Map(columns) => columns,
            bare if takes_bare => {
                let mut columns = Map::new();
                columns.insert(SELF, bare);
                Arc::new(columns)
            }
            _ => return Err(data(not_an_object(payload))),
        };
        budget.hold(columns.weight() + ROW_BYTES)?;
        if let Some(declared) = spec.streams.get(stream) {
            with_types(&mut columns, declared, budget)?;
        }
        Ok(Self {
            stream,
            time_ms: frame.event_ms,
            topic: frame.event.topic.as_str().into(),
            meta: user_properties(frame, budget)?,
            columns,
            notes: Vec::new(),
        })
    }

    /// The value of `meta(name)`.
    pub(in crate::function) fn meta(&self, name: &str) -> Value {
        if name.eq_ignore_ascii_case("topic") {
            return Value::Text(self.topic.clone());
        }
        match &self.meta {
            Some(all) if name.eq_ignore_ascii_case("user") => Value::Map(all.clone()),
            Some(all) => tidemill_values::meta(&self.topic, all, name),
            None => tidemill_values::meta(&self.topic, &Map::new(), name),
        }
    }

    /// Encodes the parts that a window keeps.
    pub(in crate::function) fn encode(
        &self,
        keeps: &Keeps,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, GuestFault> {
        let kept = keeps.streams.get(self.stream).and_then(Option::as_ref);
        let columns = match kept {
            Some(kept) => Arc::new(of_columns(&self.columns, kept, budget)?),
            None => self.columns.clone(),
        };
        let meta = self.meta.clone().filter(|_| keeps.meta);
        let meta = meta.unwrap_or_default();
        let notes: usize = self.notes.iter().map(Value::weight).sum();
        let weight = columns.weight() + meta.weight() + notes;
        budget.spend(weight as u64 / 2)?;
        self.write(columns, meta)
    }

    /// Encodes the given columns and metadata.
    fn write(&self, columns: Arc<Map>, meta: Arc<Map>) -> Result<Vec<u8>, GuestFault> {
        let mut parts = vec![
            Value::Int(i64::try_from(self.stream).unwrap_or(0)),
            Value::Int(self.time_ms),
            Value::Text(self.topic.clone()),
            Value::Map(meta),
            Value::Map(columns),
        ];
        if !self.notes.is_empty() {
            parts.push(Value::list(self.notes.clone()));
        }
        encode(&Value::list(parts))
            .map_err(|error| data(format!("the row cannot be kept: {error}")))
    }

    fn decode(bytes: &[u8], budget: &mut Budget, names: &mut Names) -> Result<Self, GuestFault> {
        let wrong = || data("a kept row is not one");
        let value = decode_within(bytes, budget, names).map_err(|error| match error {
            DecodeError::OutOfFuel => GuestFault::OutOfFuel,
            DecodeError::NoRoom => FnError::NoRoom.into(),
            _ => wrong(),
        })?;
        let Some(
            [
                Value::Int(stream),
                Value::Int(time_ms),
                Value::Text(topic),
                Value::Map(meta),
                Value::Map(columns),
                notes @ ..,
            ],
        ) = value.as_list()
        else {
            return Err(wrong());
        };
        Ok(Self {
            stream: usize::try_from(*stream)
                .ok()
                .filter(|stream| *stream < STREAMS_MAX)
                .ok_or_else(wrong)?,
            time_ms: *time_ms,
            topic: names.shared(topic),
            meta: (!meta.is_empty()).then(|| meta.clone()),
            columns: columns.clone(),
            notes: match notes {
                [] => Vec::new(),
                [Value::List(notes)] => notes.to_vec(),
                _ => return Err(wrong()),
            },
        })
    }
}

/// The event that a kept row was made of: its topic, its payload and its user properties, as far as
/// the row has them.
pub fn kept_event(row: &[u8]) -> Option<(Arc<str>, String, String)> {
    let row = decode_plainly(row)?;
    let properties = row
        .meta
        .map_or_else(String::new, |meta| to_json(&Value::Map(meta)));
    let mut columns = row.columns.iter();
    let payload = match (columns.next(), columns.next()) {
        (Some((name, bare)), None) if **name == *SELF => to_json(bare),
        _ => to_json(&Value::Map(row.columns.clone())),
    };
    Some((row.topic, payload, properties))
}

/// A kept row with its notes and its stream at the places that they have in another version of its
/// function: for each note the place that it had, for each stream the number that it has now.
pub fn moved_row(row: &[u8], notes: &[usize], streams: &[usize]) -> Option<Vec<u8>> {
    let mut row = decode_plainly(row)?;
    let note = |from: &usize| row.notes.get(*from).cloned().unwrap_or(Value::Null);
    let moved = notes.iter().map(note).collect();
    row.notes = moved;
    if !streams.is_empty() {
        row.stream = streams.get(row.stream).copied()?;
    }
    let (columns, meta) = (row.columns.clone(), row.meta.clone());
    row.write(columns, meta.unwrap_or_default()).ok()
}

/// A row for the host itself: what the state has room for is bounded.
fn decode_plainly(row: &[u8]) -> Option<Row> {
    Row::decode(row, &mut { Budget::PLENTY }, &mut Names::default()).ok()
}

impl Values {
    /// Makes the event the row at hand, as one of a stream.
    pub(in crate::function) fn read_event(
        &mut self,
        frame: &Frame,
        stream: usize,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let known = self.rows.first().is_some_and(|row| row.stream == stream);
        if self.event_read && known {
            return Ok(());
        }
        let room = budget.bytes;
        let mut row = Row::of_event(frame, stream, &self.spec, budget)?;
        self.hold(room - budget.bytes)?;
        if self.event_read
            && let Some(before) = self.rows.first_mut()
        {
            row.notes = std::mem::take(&mut before.notes);
        }
        self.rows.clear();
        self.rows.push(row);
        self.current = Tuple::single(0);
        self.set = Arc::new(vec![self.current.clone()]);
        self.event_read = true;
        Ok(())
    }

    /// The first of the statement's streams that the event belongs to.
    pub(in crate::function) fn first_stream(&self, frame: &Frame) -> usize {
        let first = frame.streams.trailing_zeros() as usize;
        if first < self.spec.streams.len() {
            first
        } else {
            0
        }
    }

    /// The event as a row.
    pub(in crate::function) fn event_row(&self) -> Option<&Row> {
        self.rows.first()
    }

    /// Notes a value with the event's row.
    pub(in crate::function) fn note(
        &mut self,
        number: i32,
        value: Value,
    ) -> Result<(), GuestFault> {
        let place = usize::try_from(number).ok();
        let place = place.filter(|place| *place < NOTES_MAX);
        let (what, index) = ("note", number);
        let place = place.ok_or(GuestFault::NoSuch { what, index })?;
        let Some(row) = self.rows.first_mut().filter(|_| self.event_read) else {
            return Ok(());
        };
        if row.notes.len() <= place {
            row.notes.resize(place + 1, Value::Null);
        }
        if let Some(slot) = row.notes.get_mut(place) {
            *slot = value;
        }
        Ok(())
    }

    /// The value noted with the current row.
    pub(in crate::function) fn noted(&self, stream: i32, number: i32) -> Value {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let row = self.at_hand(stream).next();
        let note = row.and_then(|row| row.notes.get(place));
        note.cloned().unwrap_or(Value::Null)
    }

    /// Takes over the rows of a window, once: they do not change during a call.
    pub(in crate::function) fn load<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [u8]>,
        budget: &mut Budget,
    ) -> Result<usize, GuestFault> {
        if std::mem::replace(&mut self.loaded, true) {
            return Ok(self.rows.len());
        }
        let room = budget.bytes;
        for bytes in rows {
            if self.rows.len() >= ROWS_MAX {
                return Err(too_much(format!("more than {ROWS_MAX} rows in one window")));
            }
            budget.spend(LOAD_FUEL)?;
            budget.hold(ROW_BYTES + 2 * TUPLE_BYTES)?;
            self.rows.push(Row::decode(bytes, budget, &mut self.names)?);
        }
        self.hold(room - budget.bytes)?;
        let joined = self.spec.streams.len() > 1;
        let numbered = (0..).zip(&self.rows);
        let first = numbered
            .filter(|(_, row)| !joined || row.stream == 0)
            .map(|(number, _)| Tuple::single(number));
        self.set = Arc::new(first.collect());
        Ok(self.rows.len())
    }

    /// `true` if the rows of the window are there.
    pub(in crate::function) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The rows of a stream.
    pub(super) fn rows_of(&self, stream: usize) -> Vec<u32> {
        let numbered = (0..).zip(&self.rows);
        numbered
            .filter(|(_, row)| row.stream == stream)
            .map(|(number, _)| number)
            .collect()
    }

    /// The rows at hand, that of the left-most stream first; after a right join that of the right one.
    fn at_hand(&self, stream: i32) -> impl Iterator<Item = &Row> {
        let rows = self
            .current
            .rows()
            .filter_map(|row| self.rows.get(row as usize));
        rows.filter(move |row| {
            stream == ANY_STREAM || usize::try_from(stream).is_ok_and(|stream| row.stream == stream)
        })
    }

    /// A column of the row at hand that is spelt so.
    pub(in crate::function) fn column_spelt(&self, stream: i32, name: &str) -> Option<Value> {
        let mut rows = self.at_hand(stream);
        rows.find_map(|row| row.columns.get(name)).cloned()
    }

    /// A column of the row at hand whose name may differ in case.
    pub(in crate::function) fn column_in_any_case(&self, stream: i32, name: &str) -> Value {
        let mut rows = self.at_hand(stream);
        let found = rows.find_map(|row| row.columns.get_column(name));
        found.cloned().unwrap_or(Value::Null)
    }

    /// Fuel of looking at all columns of the row at hand for one whose name may differ in case.
    pub(in crate::function) fn look_price(&self, stream: i32, name: &str) -> u64 {
        let rows = self.at_hand(stream);
        rows.map(|row| look_price(&row.columns, name)).sum()
    }

    /// Number of columns of the row at hand.
    pub(in crate::function) fn width(&self, stream: i32) -> usize {
        self.at_hand(stream).map(|row| row.columns.len()).sum()
    }

    /// Everything of the row at hand; of a column that several of its rows have, the first one's.
    pub(in crate::function) fn whole(
        &mut self,
        stream: i32,
        budget: &mut Budget,
    ) -> Result<Arc<Map>, GuestFault> {
        let mut rows = self.at_hand(stream);
        let Some(first) = rows.next() else {
            return Ok(Arc::default());
        };
        let mut all = first.columns.clone();
        let others: Vec<Arc<Map>> = rows.map(|row| row.columns.clone()).collect();
        if others.is_empty() {
            return Ok(all);
        }
        let columns = self.width(stream);
        budget.spend(columns as u64 * NAME_FUEL)?;
        self.hold(columns * COLUMN_BYTES)?;
        let whole = Arc::make_mut(&mut all);
        for (name, value) in others.iter().flat_map(|columns| columns.iter()) {
            if whole.get(name).is_none() {
                whole.insert(name.clone(), value.clone());
            }
        }
        Ok(all)
    }

    /// Number of user properties of the row at hand.
    pub(in crate::function) fn properties(&self, stream: i32) -> usize {
        let metas = self.at_hand(stream).filter_map(|row| row.meta.as_ref());
        metas.map(|meta| meta.len()).sum()
    }

    /// Metadata of the message besides its payload.
    pub(in crate::function) fn meta(&self, stream: i32, name: &str) -> Value {
        let mut metas = self.at_hand(stream).map(|row| row.meta(name));
        metas.find(|value| !value.is_null()).unwrap_or(Value::Null)
    }

    /// When the row at hand happened.
    pub(in crate::function) fn time_ms(&self) -> Option<i64> {
        self.at_hand(ANY_STREAM).map(|row| row.time_ms).max()
    }

    /// The topic of the row at hand.
    pub(in crate::function) fn topic(&self) -> Option<Arc<str>> {
        self.at_hand(ANY_STREAM).next().map(|row| row.topic.clone())
    }

    /// Metadata of the current message, as functions see it.
    pub(in crate::function) fn meta_map(&self) -> Option<Arc<Map>> {
        let row = self.at_hand(ANY_STREAM).next()?;
        row.meta.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_is_not_read_again() {
        let columns: Map = [("a", Value::Int(7))].into_iter().collect();
        let mut frame = Frame {
            payload: Some(Arc::new(payload::Payload {
                format: payload::Format::Cbor,
                ..payload::Payload::default()
            })),
            value: Some(Value::map(columns.clone())),
            ..Frame::default()
        };
        // As CBOR these bytes are none.
        frame.event.payload = vec![0xff; 3].into();
        let read =
            |frame: &Frame| Row::of_event(frame, 0, &SqlSpec::default(), &mut { Budget::PLENTY });
        assert_eq!(*read(&frame).unwrap().columns, columns);
        frame.value = None;
        assert!(read(&frame).is_err());
    }
}
