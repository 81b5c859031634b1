//! Sparkplug B: a protobuf message of metrics. Data messages may refer to metrics by numbers,
//! aliases, that the birth of their node or device announced; [`resolve`] writes the names in, so
//! that from then on a message is complete. Storing aliases is left to the caller.

mod array;
mod data_type;
mod metric;
mod resolve;
mod topic;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use tidemill_values::{Map, Value};

use super::input::{Budget, Flaw, object, whole};
use super::{ROWS_MAX, Rows, Split};

pub use data_type::DataType;
pub use resolve::{Birth, Known, ResolveError, births, resolve};
pub use topic::{Kind, Place};

use metric::Metric;
use wire::{Field, Fields};

/// The column under which a row says what is known of the message beside its metrics.
const ABOUT: &str = "sparkplug";
/// Metrics in one message.
pub const METRICS_MAX: usize = ROWS_MAX;

/// Numbers of fields of a payload.
mod field {
    pub(super) const TIMESTAMP: u32 = 1;
    pub(super) const METRIC: u32 = 2;
    pub(super) const SEQ: u32 = 3;
    pub(super) const UUID: u32 = 4;
    pub(super) const BODY: u32 = 5;
}

/// A payload, as far as it is no metric.
#[derive(Debug, Default)]
struct About<'a> {
    timestamp: Option<u64>,
    seq: Option<u64>,
    uuid: Option<&'a str>,
    body: Option<&'a [u8]>,
}

impl<'a> About<'a> {
    /// Takes a field, if it is one of these.
    fn take(&mut self, field: &Field<'a>) -> Result<(), Flaw> {
        match field.number {
            field::TIMESTAMP => self.timestamp = Some(field.varint()?),
            field::SEQ => self.seq = Some(field.varint()?),
            field::UUID => self.uuid = Some(field.text()?),
            field::BODY => self.body = Some(field.bytes()?),
            _ => {}
        }
        Ok(())
    }
}

/// A message as one row: a column for each metric, and [`ABOUT`].
pub(super) fn value(payload: &[u8]) -> Result<Value, Flaw> {
    if is_state(payload) {
        return state(payload);
    }
    let mut about = About::default();
    let mut columns: Vec<(Arc<str>, Value)> = Vec::new();
    let mut historical = Vec::new();
    let mut budget = Budget::default();
    let mut fields = Fields::new(payload);
    while let Some(field) = fields.next()? {
        if field.number != field::METRIC {
            about.take(&field)?;
            continue;
        }
        room(&field, columns.len())?;
        let metric = Metric::read(&field)?;
        let name: Arc<str> = metric.named()?.into();
        if metric.historical {
            historical.push(Value::Text(name.clone()));
        }
        columns.push((name, metric.value(&mut budget)?));
    }
    let mut map = Map::new();
    let entries = [
        ("timestamp", about.timestamp.map(time)),
        ("seq", about.seq.map(whole)),
        ("uuid", about.uuid.map(Value::text)),
        ("body", about.body.map(Value::bytes)),
        (
            "historical",
            (!historical.is_empty()).then(|| Value::list(historical)),
        ),
    ];
    for (name, value) in entries {
        if let Some(value) = value {
            map.insert(name, value);
        }
    }
    columns.push((ABOUT.into(), Value::map(map)));
    Ok(object(columns))
}

/// A message of one metric as a row of its own.
pub(super) fn metric_row(payload: &[u8]) -> Result<Value, Flaw> {
    if is_state(payload) {
        return state(payload);
    }
    let mut about = About::default();
    let mut row = Map::new();
    let mut fields = Fields::new(payload);
    while let Some(field) = fields.next()? {
        if field.number != field::METRIC {
            about.take(&field)?;
            continue;
        }
        let metric = Metric::read(&field)?;
        row.insert("name", Value::text(metric.named()?));
        row.insert("value", metric.value(&mut Budget::default())?);
        if let Some(kind) = metric.data_type() {
            row.insert("type", Value::text(kind.name()));
        }
        let time_of_metric = metric.timestamp.or(about.timestamp);
        if let Some(timestamp) = time_of_metric {
            row.insert("timestamp", time(timestamp));
        }
        for (name, is) in [
            ("historical", metric.historical),
            ("transient", metric.transient),
        ] {
            if is {
                row.insert(name, Value::Bool(true));
            }
        }
    }
    if let Some(seq) = about.seq {
        row.insert("seq", whole(seq));
    }
    Ok(Value::map(row))
}

/// Each metric as a message of its own, with the message's other fields.
pub(super) fn rows(payload: &Bytes) -> Result<Rows, Flaw> {
    if is_state(payload) {
        return Ok(Rows::One);
    }
    let (mut head, mut rows) = (Vec::new(), Vec::new());
    let mut fields = Fields::new(payload);
    while let Some(field) = fields.next()? {
        if field.number == field::METRIC {
            rows.push(payload.slice(field.whole));
            if rows.len() > METRICS_MAX {
                break;
            }
        } else if field.number != field::BODY {
            head.extend_from_slice(payload.get(field.whole).unwrap_or_default());
        }
    }
    Ok(Split::rows(head.into(), rows))
}

/// A time that is none stays the number that it is.
fn time(ms: u64) -> Value {
    super::input::moment(0, i64::try_from(ms).ok()).unwrap_or_else(|_| whole(ms))
}

fn room(field: &Field<'_>, metrics: usize) -> Result<(), Flaw> {
    if metrics < METRICS_MAX {
        return Ok(());
    }
    let why = format!("more than {METRICS_MAX} metrics");
    Err(Flaw::new(field.whole.start, why))
}

/// `true` if a payload is a host application's STATE message, which is JSON: no protobuf field
/// begins like it.
fn is_state(payload: &[u8]) -> bool {
    payload.first() == Some(&b'{')
}

fn state(payload: &[u8]) -> Result<Value, Flaw> {
    tidemill_values::from_json(payload).map_err(|error| Flaw::new(0, error.to_string()))
}
