//! `[streams.NAME]` of a rule's manifest: groups of events, and the source of their event time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use tidemill_values::FieldType;
use toml::Spanned;

use super::payload::Given;
use super::{Placed, times};
use crate::event::payload::Payload;
use crate::event::timestamp::Timestamp;
use crate::event::zone::Zone;
use tidemill_base::text::{Errors, FileError, Source, nearest};
use tidemill_transport::topic::TopicFilter;

/// Streams of a rule: functions see them as the bits of a number.
const STREAMS_MAX: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(default)]
    mqtt: Vec<Spanned<String>>,
    timestamp: Option<Spanned<String>>,
    timestamp_unit: Option<Spanned<String>>,
    timestamp_format: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    lateness: Option<Spanned<String>>,
    allowed_late: Option<Spanned<String>>,
    idle: Option<Spanned<String>>,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<String>>,
    payload: Option<Spanned<String>>,
    delimiter: Option<Spanned<String>>,
    columns: Option<Spanned<Vec<String>>>,
    list: Option<Spanned<String>>,
    empty: Option<Spanned<String>>,
}

/// Events that belong together.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The stream's name in SQL.
    pub name: String,
    /// Topic filters; empty if the stream has all events of the rule.
    pub mqtt: Vec<TopicFilter>,
    /// Source of the event time; without it, the arrival time is used.
    pub timestamp: Option<Arc<Timestamp>>,
    /// Decoding of its messages.
    pub payload: Arc<Payload>,
    /// Distance of the watermark from the highest timestamp, in milliseconds.
    pub lateness_ms: i64,
    /// Time after its first firing in which a window may fire again, in milliseconds.
    pub allowed_late_ms: i64,
    /// Silence after which a source no longer holds back the watermark, in milliseconds.
    pub idle_ms: u64,
    /// The zone declared for its times.
    pub zone: Option<&'static Zone>,
    /// Types of fields, by name.
    pub fields: BTreeMap<String, FieldType>,
}

/// An idle source that nothing is said about, in milliseconds.
pub const IDLE_MS: u64 = 60_000;

/// Checks the streams, in the order of the file. `has_filters` is `true` if `[on]` has some. What is
/// wrong is left out.
pub(super) fn check(
    source: &Source,
    tables: &BTreeMap<String, Spanned<Table>>,
    has_filters: bool,
    errors: &Errors,
) -> Vec<Stream> {
    let mut in_order: Vec<_> = tables.iter().collect();
    in_order.sort_by_key(|(_, table)| table.span().start);
    let several = in_order.len() > 1;
    if let Some((_, table)) = in_order.get(STREAMS_MAX) {
        let message = format!("streams: at most {STREAMS_MAX}");
        errors.push(source.error_at(&table.span(), message));
        in_order.truncate(STREAMS_MAX);
    }
    let mut streams = Vec::new();
    for (name, table) in in_order {
        let stream = stream(source, name, table.get_ref(), errors);
        if table.get_ref().mqtt.is_empty() && (several || !has_filters) {
            let message = format!("streams.{name}: write its filters, mqtt = [\"sensors/+/env\"]");
            errors.push(source.error_at(&table.span(), message));
        }
        streams.push(stream);
    }
    let by_arrival = tables
        .values()
        .all(|table| table.get_ref().timestamp.is_none());
    for (name, table) in tables.iter().filter(|_| by_arrival) {
        if let Some((key, span)) = waits(table.get_ref()).first() {
            let message = format!(
                "streams.{name}.{key}: needs the time of the events; write timestamp = \"/ts\""
            );
            errors.push(source.error_at(span, message));
        }
    }
    streams
}

fn stream(source: &Source, name: &str, table: &Table, errors: &Errors) -> Stream {
    let place = format!("streams.{name}");
    let given = times::Given {
        pointer: table.timestamp.as_ref().map(placed),
        unit: table.timestamp_unit.as_ref().map(placed),
        format: table.timestamp_format.as_ref().map(placed),
        zone: table.zone.as_ref().map(placed),
    };
    let fail =
        |span: &Range<usize>, message: String| source.error_at(span, format!("{place}.{message}"));
    let zone = given.zone(&fail);
    // A wrong zone is told once.
    let given = times::Given {
        zone: given.zone.filter(|_| zone.is_ok()),
        ..given
    };
    let zone = errors.take(zone).flatten();
    let timestamp = errors.take(given.check(&fail)).flatten();
    let waits = errors.take(waits(table).check(&fail));
    let (lateness_ms, allowed_late_ms, idle_ms) = waits.unwrap_or((0, 0, IDLE_MS));
    let payload = errors
        .take(payload(source, &place, table))
        .unwrap_or_default();
    if let Some(why) = times::beside(timestamp.as_ref(), &payload.format) {
        let at = table.timestamp.as_ref().map_or(0..0, Spanned::span);
        errors.push(source.error_at(&at, format!("{place}.{why}")));
    }
    Stream {
        name: name.to_owned(),
        mqtt: filters(source, &format!("{place}.mqtt"), &table.mqtt, errors),
        timestamp: timestamp.map(Arc::new),
        payload: Arc::new(payload),
        lateness_ms,
        allowed_late_ms,
        idle_ms,
        zone,
        fields: fields(source, &place, table, errors),
    }
}

fn fields(
    source: &Source,
    place: &str,
    table: &Table,
    errors: &Errors,
) -> BTreeMap<String, FieldType> {
    let each = table.fields.iter().filter_map(|(field, text)| {
        let wanted = text.get_ref();
        let known = FieldType::ALL.iter().find(|kind| kind.name() == wanted);
        if let Some(kind) = known {
            return Some((field.clone(), *kind));
        }
        let names = FieldType::ALL.map(FieldType::name);
        let near = nearest(wanted, names);
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let message = format!(
            "{place}.fields.{field}: {wanted:?} is no type, there are {}{hint}",
            names.join(", ")
        );
        errors.push(source.error_at(&text.span(), message));
        None
    });
    each.collect()
}

fn waits(table: &Table) -> times::Waits {
    times::Waits {
        lateness: table.lateness.as_ref().map(placed),
        allowed_late: table.allowed_late.as_ref().map(placed),
        idle: table.idle.as_ref().map(placed),
    }
}

fn payload(source: &Source, place: &str, table: &Table) -> Result<Payload, FileError> {
    let given = Given {
        format: table.payload.as_ref().map(placed),
        delimiter: table.delimiter.as_ref().map(placed),
        columns: table.columns.as_ref().map(placed),
        list: table.list.as_ref().map(placed),
        empty: table.empty.as_ref().map(placed),
    };
    given.check(&|span, message| source.error_at(span, format!("{place}.{message}")))
}

fn placed<T: Clone>(value: &Spanned<T>) -> Placed<T> {
    Placed {
        value: value.get_ref().clone(),
        span: value.span(),
    }
}

/// Filters on the local broker, each once; wrong ones are left out.
pub(super) fn filters(
    source: &Source,
    place: &str,
    texts: &[Spanned<String>],
    errors: &Errors,
) -> Vec<TopicFilter> {
    let mut mqtt = Vec::new();
    for text in texts {
        let filter = TopicFilter::new(text.get_ref())
            .map_err(|why| why.to_string())
            .and_then(|filter| match filter.plain() {
                own if own.starts_with('$') || own.starts_with("tidemill/") => Err(
                    "topics that begin with $ or tidemill/ are out of a rule's reach".to_owned(),
                ),
                _ => Ok(filter),
            })
            .map_err(|why| {
                source.error_at(&text.span(), format!("{place} {:?}: {why}", text.get_ref()))
            });
        if let Some(filter) = errors.take(filter).filter(|filter| !mqtt.contains(filter)) {
            mqtt.push(filter);
        }
    }
    mqtt
}
