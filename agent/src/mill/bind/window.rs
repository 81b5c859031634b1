//! A rule's window: the one that its function asks for, with the lengths that the rule gives
//! instead.

use crate::function::Module;
use crate::mill::window::{Calendar, Window};
use crate::rule::manifest::{WindowKind, WindowSpec};
use crate::rule::{Placed, Rule};
use tidemill_base::text::FileError;

/// The window that the host keeps for a rule.
pub(super) fn resolve(rule: &Rule, module: &Module) -> Result<Option<Window>, FileError> {
    let mut said = rule.window.placed();
    let on_grid = |spec: &WindowSpec| spec.kind.is_on_grid();
    if allowed_late(rule) > 0 && !module.manifest.window.as_ref().is_some_and(on_grid) {
        let message =
            "streams: allowed_late is for tumbling and hopping windows, which can fire again";
        return Err(rule.source.error_at(&rule.function_span, message));
    }
    check_zones(rule, module.manifest.window.as_ref())?;
    let Some(spec) = &module.manifest.window else {
        return match said.next() {
            None => Ok(None),
            Some((_, _, given)) => Err(rule.source.error_at(
                &given.span,
                "window: the function keeps no window; its manifest would have to say so",
            )),
        };
    };
    if let Some((name, _, given)) = said.find(|(_, kind, _)| *kind != spec.kind) {
        let message = format!(
            "window.{name}: the function keeps a {} window, which has none",
            spec.kind.name()
        );
        return Err(rule.source.error_at(&given.span, message));
    }
    if !module.handlers.window {
        let message = "function: it keeps a window and exports no on_window";
        return Err(rule.source.error_at(&rule.function_span, message));
    }
    lengths(rule, spec).map(Some)
}

fn lengths(rule: &Rule, spec: &WindowSpec) -> Result<Window, FileError> {
    let table = &rule.window;
    let given =
        |placed: Option<&Placed<u64>>, own: Option<u64>| placed.map(|given| given.value).or(own);
    let needed = |value: Option<u64>, has: bool, key: &str, example: &str| match value {
        None if has => {
            let message = format!(
                "the function keeps a window without a {key} of its own; write [window] {example}"
            );
            Err(rule.source.error_at(&rule.function_span, message))
        }
        value => Ok(value.unwrap_or(1)),
    };
    let kind = spec.kind;
    let has_length = !matches!(kind, WindowKind::Count | WindowKind::State);
    let example = format!("{} = \"1s\"", kind.name());
    let length = given(
        table.length.as_ref().map(|(_, placed)| placed),
        spec.length_ms,
    );
    let length_ms = needed(length, has_length, "length", &example)?;
    let hop_ms = match kind {
        WindowKind::Hopping => {
            let hop = given(table.hop.as_ref(), spec.hop_ms);
            needed(hop, true, "hop", "hop = \"1s\"")?
        }
        _ => length_ms,
    };
    let gap = given(table.gap.as_ref(), spec.gap_ms);
    let gap_ms = needed(gap, kind == WindowKind::Session, "gap", "gap = \"1s\"")?;
    let count = given(table.count.as_ref(), spec.count);
    let count = needed(count, kind == WindowKind::Count, "count", "count = 10")?;
    let every = given(table.every.as_ref(), spec.every).unwrap_or(count);
    let delay_ms = table.delay.as_ref().map_or(spec.delay_ms, |d| d.value);
    let calendar = calendar(rule, spec)?;
    let panes = match calendar {
        Some(calendar) => calendar
            .span
            .length
            .div_ceil(calendar.span.hop.max(1))
            .into(),
        None => length_ms.div_ceil(hop_ms.max(1)),
    };
    if panes > PANES_MAX {
        let message = format!(
            "window: each event would belong to {panes} panes at a time; at most {PANES_MAX} are kept"
        );
        return Err(rule.source.error_at(&rule.function_span, message));
    }
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Ok(Window {
        kind,
        length_ms: signed(length_ms),
        hop_ms: signed(hop_ms),
        calendar,
        delay_ms: signed(delay_ms),
        gap_ms: signed(gap_ms),
        count,
        every,
        slots: spec.slots,
        rows: spec.rows,
        event_time: rule.is_by_event_time(),
        allowed_late_ms: allowed_late(rule),
    })
}

/// The calendar of a window, if it goes by one: a length that the rule says instead is one in milliseconds.
fn calendar(rule: &Rule, spec: &WindowSpec) -> Result<Option<Calendar>, FileError> {
    let table = &rule.window;
    let Some(span) = spec.calendar else {
        return Ok(None);
    };
    if table.length.is_some() || table.hop.is_some() {
        let message = "window: the function's window goes by the calendar; leave lengths out";
        return Err(rule.source.error_at(&rule.function_span, message));
    }
    let mut zones = rule.streams.iter().filter_map(|stream| stream.zone);
    let zone = zones.next();
    match zones.find(|other| Some(*other) != zone) {
        Some(other) => {
            let message = format!(
                "streams: a window of days has one zone, not {} and {}",
                zone.map_or("UTC", |zone| zone.name()),
                other.name()
            );
            Err(rule.source.error_at(&rule.function_span, message))
        }
        None => Ok(Some(Calendar { span, zone })),
    }
}

/// Refuses a zone that nothing in the rule asks for.
fn check_zones(rule: &Rule, window: Option<&WindowSpec>) -> Result<(), FileError> {
    let is_by_calendar = window.is_some_and(|spec| spec.calendar.is_some());
    let mut streams = rule.streams.iter();
    let idle = streams.find(|stream| stream.zone.is_some() && stream.timestamp.is_none());
    match idle.filter(|_| !is_by_calendar) {
        None => Ok(()),
        Some(stream) => {
            let message = format!(
                "streams.{}.zone: there is nothing to use it for; it is for timestamps, timestamp = \"/ts\", and \
                 for windows of days, weeks and months, TUMBLINGWINDOW(dd, 1)",
                stream.name
            );
            Err(rule.source.error_at(&rule.function_span, message))
        }
    }
}

/// The longest allowed lateness of the rule's streams, in milliseconds: a window may fire again for
/// that long.
fn allowed_late(rule: &Rule) -> i64 {
    let allowed = rule.streams.iter().map(|stream| stream.allowed_late_ms);
    allowed.max().unwrap_or(0)
}

/// Panes that are open at a time: each event may be folded into every one of them.
const PANES_MAX: u64 = 1_000;
