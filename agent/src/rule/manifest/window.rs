//! The window that a module asks the host to keep: its kind and its lengths, checked for sense. A
//! rule's own settings are merged when the two are bound.

use serde::Deserialize;

use super::{ManifestError, refuse};

/// When a window begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// One after the other, on the grid of the Unix clock.
    Tumbling,
    /// Each `hop` one that lasts a `length`, ends on the grid.
    Hopping,
    /// The last `length` before an event that triggers.
    Sliding,
    /// From an event to the `gap` after the last one.
    Session,
    /// The last `count` rows, after every `every` rows.
    Count,
    /// From an event that begins it to one that ends it.
    State,
}

/// A unit of the calendar, which is not always as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to that of the next one.
    Month,
}

/// Length of a window on the calendar, and the distance between the ends of its panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpan {
    /// The unit.
    pub unit: CalendarUnit,
    /// Units of a pane.
    pub length: u32,
    /// Units from the end of a pane to that of the next.
    pub hop: u32,
}

/// A window as a module's manifest asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// When it begins and ends.
    pub kind: WindowKind,
    /// Length in milliseconds; without it the rule must say.
    pub length_ms: Option<u64>,
    /// Distance between the ends of hopping windows, in milliseconds.
    pub hop_ms: Option<u64>,
    /// Length and hop on the calendar; `length_ms` and `hop_ms` are then typical lengths.
    pub calendar: Option<CalendarSpan>,
    /// Delay of a sliding window's firing after its trigger, in milliseconds.
    pub delay_ms: u64,
    /// Silence that ends a session, in milliseconds.
    pub gap_ms: Option<u64>,
    /// Rows of a count window.
    pub count: Option<u64>,
    /// Rows after which a count window fires; by default as many as it holds.
    pub every: Option<u64>,
    /// Slots 0 up to this number belong to the pane, those from there on to the key.
    pub slots: u8,
    /// The host keeps rows for `on_window`, instead of panes with slots.
    pub rows: bool,
}

/// Units of the longest window on the calendar.
const CALENDAR_UNITS_MAX: u32 = 366;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWindow {
    #[serde(default = "tumbling")]
    kind: WindowKind,
    length_ms: Option<u64>,
    hop_ms: Option<u64>,
    calendar: Option<CalendarSpan>,
    delay_ms: Option<u64>,
    gap_ms: Option<u64>,
    count: Option<u64>,
    every: Option<u64>,
    #[serde(default)]
    slots: u8,
    #[serde(default)]
    rows: bool,
}

fn tumbling() -> WindowKind {
    WindowKind::Tumbling
}

impl WindowKind {
    /// Name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tumbling => "tumbling",
            Self::Hopping => "hopping",
            Self::Sliding => "sliding",
            Self::Session => "session",
            Self::Count => "count",
            Self::State => "state",
        }
    }

    /// `true` if the panes belong to the rule, the same for all keys.
    pub fn is_on_grid(self) -> bool {
        matches!(self, Self::Tumbling | Self::Hopping)
    }
}

impl WindowSpec {
    pub(super) fn check(raw: RawWindow) -> Result<Self, ManifestError> {
        use WindowKind as Kind;
        let kind = raw.kind;
        let belongs = [
            (
                "length_ms",
                raw.length_ms,
                !matches!(kind, Kind::Count | Kind::State),
            ),
            ("hop_ms", raw.hop_ms, kind == Kind::Hopping),
            ("delay_ms", raw.delay_ms, kind == Kind::Sliding),
            ("gap_ms", raw.gap_ms, kind == Kind::Session),
            ("count", raw.count, kind == Kind::Count),
            ("every", raw.every, kind == Kind::Count),
        ];
        for (key, value, has) in belongs {
            let place = format!("window.{key}");
            match value {
                Some(_) if !has => {
                    return refuse(place, format!("a {} window has none", kind.name()));
                }
                Some(0) if key == "delay_ms" => {}
                // A sliding window of length 0 holds the rows that come during its delay.
                Some(0) if key == "length_ms" && raw.delay_ms.is_some_and(|delay| delay > 0) => {}
                Some(0) => return refuse(place, "at least 1"),
                Some(more) if i64::try_from(more).is_err() => return refuse(place, "too large"),
                _ => {}
            }
        }
        if let Some(calendar) = raw.calendar {
            if !kind.is_on_grid() {
                return refuse(
                    "window.calendar",
                    format!("a {} window has none", kind.name()),
                );
            }
            let spans = 1..=CALENDAR_UNITS_MAX;
            let is_apart = kind == Kind::Hopping || calendar.hop == calendar.length;
            if !spans.contains(&calendar.length) || !spans.contains(&calendar.hop) || !is_apart {
                let reason = "length and hop are from 1 to 366, and the same where it tumbles";
                return refuse("window.calendar", reason);
            }
        }
        if !raw.rows && !kind.is_on_grid() {
            let reason = format!("a {} window keeps rows: write \"rows\": true", kind.name());
            return refuse("window.rows", reason);
        }
        if raw.rows && raw.slots > 0 {
            let reason = "a window that keeps rows has no slots of its own; leave it out";
            return refuse("window.slots", reason);
        }
        Ok(Self {
            kind,
            length_ms: raw.length_ms,
            hop_ms: raw.hop_ms,
            calendar: raw.calendar,
            delay_ms: raw.delay_ms.unwrap_or(0),
            gap_ms: raw.gap_ms,
            count: raw.count,
            every: raw.every,
            slots: raw.slots,
            rows: raw.rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<WindowSpec, String> {
        let raw: RawWindow = serde_json::from_str(json).map_err(|error| error.to_string())?;
        WindowSpec::check(raw).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_has_lengths_of_its_own() {
        for json in [
            r#"{"length_ms":1000,"slots":2}"#,
            r#"{"kind":"hopping","length_ms":10,"hop_ms":5}"#,
            r#"{"kind":"sliding","length_ms":10,"delay_ms":0,"rows":true}"#,
            r#"{"kind":"session","length_ms":10,"gap_ms":5,"rows":true}"#,
            r#"{"kind":"count","count":10,"every":5,"rows":true}"#,
            r#"{"kind":"state","rows":true}"#,
        ] {
            assert!(check(json).is_ok(), "{json}");
        }
        for (json, reason) in [
            (r#"{"kind":"jumping"}"#, "unknown variant `jumping`"),
            (r#"{"length_ms":0}"#, "`window.length_ms`: at least 1"),
            (
                r#"{"hop_ms":1}"#,
                "`window.hop_ms`: a tumbling window has none",
            ),
            (
                r#"{"kind":"count","count":3}"#,
                "`window.rows`: a count window keeps rows",
            ),
            (r#"{"kind":"state","length_ms":3,"rows":true}"#, "has none"),
            (
                r#"{"slots":1,"rows":true}"#,
                "`window.slots`: a window that",
            ),
            (r#"{"length_ms":18446744073709551615}"#, "too large"),
        ] {
            let error = check(json).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
