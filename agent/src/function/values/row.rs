//! Messages as rows: columns of the payload with the types that are declared, and what is known beside
//! them; and how a row is written down while a window keeps it.

use std::sync::Arc;

use tidemill_abi::limit::NOTES_MAX;
use tidemill_abi::value::ANY_STREAM;
use tidemill_values::{FieldType, Map, Value, convert, decode, encode, from_json, to_json};

use crate::event::payload::{self, SELF};

use super::{ROWS_MAX, STREAMS_MAX, Values, data, too_much};
use crate::event::decode::not_an_object;
use crate::function::frame::Frame;
use crate::function::guest::GuestFault;
use crate::rule::manifest::{Keeps, Kept, SqlStream};

/// One message.
#[derive(Debug, Clone)]
pub(in crate::function) struct Row {
    pub(in crate::function) stream: usize,
    pub(in crate::function) time_ms: i64,
    pub(in crate::function) topic: Arc<str>,
    pub(in crate::function) meta: Map,
    pub(in crate::function) columns: Map,
    /// Values computed when the event arrived, read when its window fires, by number.
    notes: Vec<Value>,
}

/// Rows that belong together. If several have a column, the first one's counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::function) struct Tuple(Vec<u32>);

impl Tuple {
    /// A single row.
    pub(super) fn single(row: u32) -> Self {
        Self(vec![row])
    }

    /// The same and one row more, behind the others.
    pub(super) fn and(&self, row: u32) -> Self {
        Self(self.0.iter().copied().chain([row]).collect())
    }

    /// The same and one row more, in front of the others.
    pub(super) fn behind(&self, row: u32) -> Self {
        Self([row].into_iter().chain(self.0.iter().copied()).collect())
    }

    /// The number of the row, if it is one alone.
    pub(super) fn only(&self) -> Option<usize> {
        match &*self.0 {
            [row] => usize::try_from(*row).ok(),
            _ => None,
        }
    }

    fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl Row {
    /// The event as a row.
    fn of_event(
        frame: &Frame,
        stream: usize,
        declared: Option<&SqlStream>,
        names_self: bool,
    ) -> Result<Self, GuestFault> {
        let payload = &frame.event.payload;
        let value = match (&frame.value, &frame.payload) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(reading)) => reading.value(payload),
            (None, None) => payload::read_json(payload),
        };
        let takes_bare = names_self || frame.payload.as_ref().is_some_and(|p| p.has_self());
        let mut columns = match value.map_err(|error| data(error.to_string()))? {
            Value::Map(columns) => Arc::unwrap_or_clone(columns),
            bare if takes_bare => {
                let mut columns = Map::new();
                columns.insert(SELF, bare);
                columns
            }
            _ => return Err(data(not_an_object(payload))),
        };
        if let Some(declared) = declared {
            with_types(&mut columns, declared)?;
        }
        let meta = if frame.event.properties.is_empty() {
            Map::new()
        } else {
            match from_json(&frame.event.properties) {
                Ok(Value::Map(map)) => Arc::unwrap_or_clone(map),
                _ => Map::new(),
            }
        };
        Ok(Self {
            stream,
            time_ms: frame.event_ms,
            topic: frame.event.topic.as_str().into(),
            meta,
            columns,
            notes: Vec::new(),
        })
    }

    /// The value of `meta(name)`.
    pub(in crate::function) fn meta(&self, name: &str) -> Value {
        tidemill_values::meta(&self.topic, &self.meta, name)
    }

    /// Encodes the parts that a window keeps.
    pub(in crate::function) fn encode(&self, keeps: &Keeps) -> Result<Vec<u8>, GuestFault> {
        let kept = keeps.streams.get(self.stream).and_then(Option::as_ref);
        let columns = match kept {
            Some(kept) => of_columns(&self.columns, kept),
            None => self.columns.clone(),
        };
        let meta = if keeps.meta {
            self.meta.clone()
        } else {
            Map::new()
        };
        self.write(&columns, &meta)
    }

    /// Encodes the given columns and metadata.
    fn write(&self, columns: &Map, meta: &Map) -> Result<Vec<u8>, GuestFault> {
        let mut parts = vec![
            Value::Int(i64::try_from(self.stream).unwrap_or(0)),
            Value::Int(self.time_ms),
            Value::Text(self.topic.clone()),
            Value::map(meta.clone()),
            Value::map(columns.clone()),
        ];
        if !self.notes.is_empty() {
            parts.push(Value::list(self.notes.clone()));
        }
        encode(&Value::list(parts))
            .map_err(|error| data(format!("the row cannot be kept: {error}")))
    }

    fn decode(bytes: &[u8]) -> Result<Self, GuestFault> {
        let wrong = || data("a kept row is not one");
        let value = decode(bytes).map_err(|_| wrong())?;
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
            topic: topic.clone(),
            meta: (**meta).clone(),
            columns: (**columns).clone(),
            notes: match notes {
                [] => Vec::new(),
                [Value::List(notes)] => notes.to_vec(),
                _ => return Err(wrong()),
            },
        })
    }
}

/// The columns that are kept: of names that differ in case only the one that a statement finds.
fn of_columns(columns: &Map, kept: &Kept) -> Map {
    let mut rest = Map::new();
    for (name, inner) in &kept.0 {
        let Some((found, value)) = found(columns, name) else {
            continue;
        };
        let value = match (inner, value) {
            // Two names for one column: what each of them wants is in the whole.
            (Some(_), whole) if rest.get(found).is_some() => whole.clone(),
            (Some(inner), Value::Map(map)) => Value::map(of_columns(map, inner)),
            // There is nothing inside of what is no object.
            (Some(_), _) => continue,
            (None, whole) => whole.clone(),
        };
        rest.insert(found.clone(), value);
    }
    rest
}

/// The event that a kept row was made of: its topic, its payload and its user properties, as far as
/// the row has them.
pub fn kept_event(row: &[u8]) -> Option<(Arc<str>, String, String)> {
    let row = Row::decode(row).ok()?;
    let properties = if row.meta.is_empty() {
        String::new()
    } else {
        to_json(&Value::map(row.meta))
    };
    let mut columns = row.columns.iter();
    let payload = match (columns.next(), columns.next()) {
        (Some((name, bare)), None) if **name == *SELF => to_json(bare),
        _ => to_json(&Value::map(row.columns.clone())),
    };
    Some((row.topic, payload, properties))
}

/// A kept row with its notes and its stream at the places that they have in another version of its
/// function: for each note the place that it had, for each stream the number that it has now.
pub fn moved_row(row: &[u8], notes: &[usize], streams: &[usize]) -> Option<Vec<u8>> {
    let mut row = Row::decode(row).ok()?;
    let note = |from: &usize| row.notes.get(*from).cloned().unwrap_or(Value::Null);
    let moved = notes.iter().map(note).collect();
    row.notes = moved;
    if !streams.is_empty() {
        row.stream = streams.get(row.stream).copied()?;
    }
    row.write(&row.columns, &row.meta).ok()
}

/// Converts columns to their declared types, if nothing is lost. A declared name with points in it that is
/// no column leads into objects.
fn with_types(columns: &mut Map, declared: &SqlStream) -> Result<(), GuestFault> {
    for field in &declared.fields {
        let name = &field.name;
        let change = |value: &Value| {
            if declared.strict && !is_of(value, field.ty) {
                let (value, wanted) = (value.shown(), field.ty.name());
                return Err(data(format!(
                    "{name}: {value} is no {wanted}, and the stream is strict"
                )));
            }
            convert(value, field.ty).map_err(|error| data(format!("{name}: {error}")))
        };
        if !convert_at(columns, std::slice::from_ref(name), &change)? && field.path.len() > 1 {
            convert_at(columns, &field.path, &change)?;
        }
    }
    Ok(())
}

/// `true` if a value has the type without conversion. Datetimes and bytes have no form of their own
/// in JSON.
fn is_of(value: &Value, ty: FieldType) -> bool {
    match ty {
        FieldType::Bigint => matches!(value, Value::Int(_) | Value::Wide(_)),
        FieldType::Float => matches!(value, Value::Int(_) | Value::Wide(_) | Value::Float(_)),
        FieldType::String => matches!(value, Value::Text(_)),
        FieldType::Boolean => matches!(value, Value::Bool(_)),
        FieldType::Array => matches!(value, Value::List(_)),
        FieldType::Struct => matches!(value, Value::Map(_)),
        FieldType::Datetime | FieldType::Bytea => true,
    }
}

/// Converts the value that the names lead to; says whether there is a column of the first one.
fn convert_at(
    columns: &mut Map,
    names: &[Arc<str>],
    change: &dyn Fn(&Value) -> Result<Value, GuestFault>,
) -> Result<bool, GuestFault> {
    let Some((name, rest)) = names.split_first() else {
        return Ok(false);
    };
    let Some((found, value)) = found(columns, name) else {
        return Ok(false);
    };
    let converted = match (rest, value) {
        (_, Value::Null) => return Ok(true),
        ([], value) => change(value)?,
        (rest, Value::Map(inner)) => {
            let mut inner = Map::clone(inner);
            convert_at(&mut inner, rest, change)?;
            Value::map(inner)
        }
        _ => return Ok(true),
    };
    let found = found.clone();
    columns.insert(found, converted);
    Ok(true)
}

/// The column of a name: the one that is called so, else the last that differs in case only.
fn found<'a>(columns: &'a Map, name: &str) -> Option<(&'a Arc<str>, &'a Value)> {
    let mut all = columns.iter();
    all.find(|(column, _)| ***column == *name).or_else(|| {
        let mut all = columns.iter();
        all.rfind(|(column, _)| column.eq_ignore_ascii_case(name))
    })
}

impl Values {
    /// Makes the event the row at hand, as one of a stream.
    pub(in crate::function) fn read_event(
        &mut self,
        frame: &Frame,
        stream: usize,
    ) -> Result<(), GuestFault> {
        let known = self.rows.first().is_some_and(|row| row.stream == stream);
        if self.event_read && known {
            return Ok(());
        }
        let spec = Arc::clone(&self.spec);
        let mut row = Row::of_event(frame, stream, spec.streams.get(stream), spec.names_self)?;
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

    /// Takes over the rows of a window.
    pub(in crate::function) fn load<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<usize, GuestFault> {
        for bytes in rows {
            if self.rows.len() >= ROWS_MAX {
                return Err(too_much(format!("more than {ROWS_MAX} rows in one window")));
            }
            self.rows.push(Row::decode(bytes)?);
        }
        let joined = self.spec.streams.len() > 1;
        let numbered = (0..).zip(&self.rows);
        let first = numbered
            .filter(|(_, row)| !joined || row.stream == 0)
            .map(|(number, _)| Tuple::single(number));
        self.set = Arc::new(first.collect());
        Ok(self.rows.len())
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

    /// A column of the row at hand.
    pub(in crate::function) fn column(&self, stream: i32, name: &str) -> Value {
        let exact = self.at_hand(stream).find_map(|row| row.columns.get(name));
        let found = exact.or_else(|| {
            self.at_hand(stream)
                .find_map(|row| row.columns.get_column(name))
        });
        found.cloned().unwrap_or(Value::Null)
    }

    /// Everything of the row at hand; of a column that several of its rows have, the first one's.
    pub(in crate::function) fn whole(&self, stream: i32) -> Map {
        let mut rows = self.at_hand(stream);
        let Some(first) = rows.next() else {
            return Map::new();
        };
        let mut all = first.columns.clone();
        for row in rows {
            for (name, value) in row.columns.iter() {
                if all.get(name).is_none() {
                    all.insert(name.clone(), value.clone());
                }
            }
        }
        all
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
    pub(in crate::function) fn meta_map(&self) -> Map {
        self.at_hand(ANY_STREAM)
            .next()
            .map_or_else(Map::new, |row| row.meta.clone())
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
        let row = Row::of_event(&frame, 0, None, false).unwrap();
        assert_eq!(row.columns, columns);
        frame.value = None;
        assert!(Row::of_event(&frame, 0, None, false).is_err());
    }
}
