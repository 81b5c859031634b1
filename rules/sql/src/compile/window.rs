//! Description of a window for the host, as the manifest has it.

use serde_json::{Map, Value as Json, json};

use crate::ast::{CalendarUnit, Window, WindowKind};

pub(super) fn kind_name(kind: &WindowKind) -> &'static str {
    match kind {
        WindowKind::Tumbling { .. } => "tumbling",
        WindowKind::Hopping { .. } => "hopping",
        WindowKind::Sliding { .. } => "sliding",
        WindowKind::Session { .. } => "session",
        WindowKind::Count { .. } => "count",
        WindowKind::State { .. } => "state",
    }
}

/// The part of a manifest that tells the host which window to keep.
pub(super) fn window_json(window: &Window) -> Map<String, Json> {
    let mut json = Map::new();
    json.insert("kind".to_owned(), kind_name(&window.kind).into());
    let mut put = |name: &str, value: u64| json.insert(name.to_owned(), value.into());
    match &window.kind {
        WindowKind::Tumbling { length, calendar } => {
            put("length_ms", *length);
            put_calendar(&mut json, *calendar, *length, *length);
        }
        WindowKind::Hopping {
            length,
            hop,
            calendar,
        } => {
            put("length_ms", *length);
            put("hop_ms", *hop);
            put_calendar(&mut json, *calendar, *length, *hop);
        }
        WindowKind::Sliding { length, delay } => {
            put("length_ms", *length);
            if *delay > 0 {
                put("delay_ms", *delay);
            }
        }
        WindowKind::Session { length, gap } => {
            put("length_ms", *length);
            put("gap_ms", *gap);
        }
        WindowKind::Count { count, every } => {
            put("count", *count);
            put("every", *every);
        }
        WindowKind::State { .. } => {}
    }
    json
}

/// Lengths in units of the calendar.
fn put_calendar(json: &mut Map<String, Json>, unit: Option<CalendarUnit>, length: u64, hop: u64) {
    if let Some(unit) = unit {
        let span = json!({
            "unit": unit.name(),
            "length": length / unit.ms(),
            "hop": hop / unit.ms(),
        });
        json.insert("calendar".to_owned(), span);
    }
}
