//! `[window]` of a rule's manifest: lengths in place of the function's own. Whether the function keeps
//! a window of that kind is checked when the two are bound.

use serde::Deserialize;
use toml::Spanned;

use super::Placed;
use crate::rule::manifest::WindowKind;
use tidemill_base::text::{FileError, Source, duration_ms};

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

pub(super) fn check(source: &Source, table: &Spanned<Table>) -> Result<WindowTable, FileError> {
    let span = table.span();
    let table = table.get_ref();
    let duration = |name: &str, text: &Spanned<String>, min: u64| {
        let refuse = |why: String| source.error_at(&text.span(), format!("window.{name}: {why}"));
        match duration_ms(text.get_ref()) {
            Ok(value) if (min..=WINDOW_MS_MAX).contains(&value) => Ok(Placed {
                value,
                span: text.span(),
            }),
            Ok(_) => Err(refuse(format!("it lasts from {min}ms to 366 days"))),
            Err(why) => Err(refuse(why)),
        }
    };
    let some = |name, text: &Option<Spanned<String>>, min| match text {
        Some(text) => duration(name, text, min).map(Some),
        None => Ok(None),
    };
    let number = |name: &str, number: &Option<Spanned<u64>>| match number {
        Some(number) if *number.get_ref() == 0 => {
            let message = format!("window.{name}: at least 1");
            Err(source.error_at(&number.span(), message))
        }
        Some(number) => Ok(Some(Placed {
            value: *number.get_ref(),
            span: number.span(),
        })),
        None => Ok(None),
    };
    let kinds = [
        (WindowKind::Tumbling, &table.tumbling),
        (WindowKind::Hopping, &table.hopping),
        (WindowKind::Sliding, &table.sliding),
        (WindowKind::Session, &table.session),
    ];
    let mut length = None;
    for (kind, text) in kinds {
        if let Some(found) = some(kind.name(), text, WINDOW_MS_MIN)? {
            if length.is_some() {
                let message = "window: one of tumbling, hopping, sliding and session";
                return Err(source.error_at(&found.span, message));
            }
            length = Some((kind, found));
        }
    }
    let checked = WindowTable {
        length,
        hop: some("hop", &table.hop, WINDOW_MS_MIN)?,
        delay: some("delay", &table.delay, 0)?,
        gap: some("gap", &table.gap, 1)?,
        count: number("count", &table.count)?,
        every: number("every", &table.every)?,
    };
    if checked.placed().next().is_none() {
        let message = "[window] says nothing; write tumbling = \"1s\" or leave it out";
        return Err(source.error_at(&span, message));
    }
    Ok(checked)
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
