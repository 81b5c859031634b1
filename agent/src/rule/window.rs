//! `[window]` of a rule's manifest: lengths in place of the function's own. Whether the function keeps
//! a window of that kind is checked when the two are bound.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::Placed;
use crate::rule::manifest::WindowKind;
use tidemill_base::text::{Errors, Source, duration_ms};

/// Shortest window: below it the firing costs more than the events.
const WINDOW_MS_MIN: u64 = 10;
/// Longest window, a year.
const WINDOW_MS_MAX: u64 = 366 * 86_400_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    tumbling: Option<Spanned<String>>,
    hopping: Option<Spanned<String>>,
    sliding: Option<Spanned<String>>,
    session: Option<Spanned<String>>,
    hop: Option<Spanned<String>>,
    delay: Option<Spanned<String>>,
    gap: Option<Spanned<String>>,
    count: Option<Spanned<u64>>,
    every: Option<Spanned<u64>>,
}

/// Window settings of a rule, for its function.
#[derive(Debug, Clone, Default)]
pub struct WindowTable {
    /// The kind that it names, and its length in milliseconds.
    pub length: Option<(WindowKind, Placed<u64>)>,
    /// Distance between the ends of hopping windows, in milliseconds.
    pub hop: Option<Placed<u64>>,
    /// Delay of a sliding window's firing after its trigger, in milliseconds.
    pub delay: Option<Placed<u64>>,
    /// Silence that ends a session, in milliseconds.
    pub gap: Option<Placed<u64>>,
    /// Rows of a count window.
    pub count: Option<Placed<u64>>,
    /// Rows after which a count window fires.
    pub every: Option<Placed<u64>>,
}

/// Checks the table; what is wrong is left out.
pub(super) fn check(source: &Source, table: &Spanned<Table>, errors: &Errors) -> WindowTable {
    let (span, table) = (table.span(), table.get_ref());
    let refuse = |span: &Range<usize>, why: String| {
        errors.push(source.error_at(span, format!("window{why}")));
    };
    let duration = |name: &str, text: &Option<Spanned<String>>, min: u64| {
        let text = text.as_ref()?;
        let span = text.span();
        match duration_ms(text.get_ref()) {
            Ok(value) if (min..=WINDOW_MS_MAX).contains(&value) => {
                return Some(Placed { value, span });
            }
            Ok(_) => refuse(&span, format!(".{name}: it lasts from {min}ms to 366 days")),
            Err(why) => refuse(&span, format!(".{name}: {why}")),
        }
        None
    };
    let number = |name: &str, number: &Option<Spanned<u64>>| {
        let number = number.as_ref()?;
        let (value, span) = (*number.get_ref(), number.span());
        if value == 0 {
            refuse(&span, format!(".{name}: at least 1"));
            return None;
        }
        Some(Placed { value, span })
    };
    let kinds = [
        (WindowKind::Tumbling, &table.tumbling),
        (WindowKind::Hopping, &table.hopping),
        (WindowKind::Sliding, &table.sliding),
        (WindowKind::Session, &table.session),
    ];
    let mut length = None;
    for (kind, text) in kinds {
        if let Some(found) = duration(kind.name(), text, WINDOW_MS_MIN) {
            if length.is_some() {
                refuse(
                    &found.span,
                    ": one of tumbling, hopping, sliding and session".to_owned(),
                );
            }
            length = length.or(Some((kind, found)));
        }
    }
    let checked = WindowTable {
        length,
        hop: duration("hop", &table.hop, WINDOW_MS_MIN),
        delay: duration("delay", &table.delay, 0),
        gap: duration("gap", &table.gap, 1),
        count: number("count", &table.count),
        every: number("every", &table.every),
    };
    if table.says_nothing() {
        let message = "[window] says nothing; write tumbling = \"1s\" or leave it out";
        errors.push(source.error_at(&span, message));
    }
    checked
}

impl Table {
    fn says_nothing(&self) -> bool {
        let texts = [
            &self.tumbling,
            &self.hopping,
            &self.sliding,
            &self.session,
            &self.hop,
            &self.delay,
            &self.gap,
        ];
        texts.iter().all(|text| text.is_none()) && self.count.is_none() && self.every.is_none()
    }
}

impl WindowTable {
    /// All that is said, with names and the kinds of window that have such a thing.
    pub fn placed(&self) -> impl Iterator<Item = (&'static str, WindowKind, &Placed<u64>)> {
        let length = self.length.as_ref();
        let others = [
            ("hop", WindowKind::Hopping, &self.hop),
            ("delay", WindowKind::Sliding, &self.delay),
            ("gap", WindowKind::Session, &self.gap),
            ("count", WindowKind::Count, &self.count),
            ("every", WindowKind::Count, &self.every),
        ];
        let others = others
            .into_iter()
            .filter_map(|(name, kind, placed)| Some((name, kind, placed.as_ref()?)));
        length
            .map(|(kind, placed)| (kind.name(), *kind, placed))
            .into_iter()
            .chain(others)
    }
}
