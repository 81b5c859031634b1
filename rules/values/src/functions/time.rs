//! Moments, dates and the patterns that write them.

use crate::Value;
use crate::cast::int_of;

/// The moment that a value stands for: a datetime, milliseconds since 1970, or a text that is a date.
pub(crate) fn moment(value: &Value) -> Option<i64> {
    match value {
        Value::Datetime(ms) | Value::Int(ms) => Some(*ms),
        Value::Float(ms) => int_of(*ms),
        Value::Text(text) => chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|moment| moment.timestamp_millis()),
        _ => None,
    }
}

/// A moment as RFC 3339 text in UTC.
pub(crate) fn rfc3339(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(moment) => moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        // Beyond the calendar's end.
        None => ms.to_string(),
    }
}
