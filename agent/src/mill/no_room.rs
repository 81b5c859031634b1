//! State of a rule that had to go because it had no room: told now and then, with the limit and the way
//! out. The ledger counts it, so that an event costs nothing more.

use std::fmt;

use tidemill_abi::limit;

use crate::event::clock::Now;
use crate::event::ledger::Ledger;
use crate::mill::active::late::KEPT_MAX;
use crate::mill::watermark::SOURCES_MAX;

/// Interval between two reports of a rule's losses, in milliseconds.
const TELL_EVERY_MS: u64 = 600_000;

/// Limits that a rule ran into since it was deployed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Rows of one key.
    pub(super) rows: bool,
    /// Bytes of state.
    pub(super) bytes: bool,
    /// Keys.
    pub(super) keys: bool,
    /// Sources of a rule with event time.
    pub(super) sources: bool,
    /// Panes kept for late events.
    pub(super) kept: bool,
}

/// Counts of the rows, windows and keys that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gone {
    rows: u64,
    windows: u64,
    keys: u64,
}

impl Gone {
    fn of(ledger: &Ledger) -> Self {
        Self {
            rows: ledger.rows_dropped,
            windows: ledger.windows_dropped,
            keys: ledger.keys_evicted,
        }
    }
}

/// Losses of a rule that were already reported.
#[derive(Debug, Default)]
pub(super) struct Told {
    gone: Gone,
    at_mono_ms: Option<u64>,
}

impl Told {
    /// Takes the losses of an earlier run as told.
    pub(super) fn begin_with(&mut self, ledger: &Ledger) {
        self.gone = Gone::of(ledger);
    }

    /// The losses since they were last told, if it is time to tell them.
    pub(super) fn news(
        &mut self,
        ledger: &Ledger,
        reached: Reached,
        limits: Limits,
        now: Now,
    ) -> Option<NoRoom> {
        let gone = Gone::of(ledger);
        let is_due = |at: u64| now.mono_ms >= at.saturating_add(TELL_EVERY_MS);
        if gone == self.gone || !self.at_mono_ms.is_none_or(is_due) {
            return None;
        }
        let before = std::mem::replace(&mut self.gone, gone);
        self.at_mono_ms = Some(now.mono_ms);
        NoRoom::of(
            Gone {
                rows: gone.rows.saturating_sub(before.rows),
                windows: gone.windows.saturating_sub(before.windows),
                keys: gone.keys.saturating_sub(before.keys),
            },
            reached,
            limits,
        )
    }
}

/// The limits that a rule has, as far as they bound its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) state_bytes: usize,
    pub(super) keys: usize,
}

/// Losses of a rule's state, in words for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    gone: Gone,
    reached: Reached,
    limits: Limits,
}

impl NoRoom {
    fn of(gone: Gone, reached: Reached, limits: Limits) -> Option<Self> {
        (gone != Gone::default()).then_some(Self {
            gone,
            reached,
            limits,
        })
    }

    /// All losses that a ledger has, if there are any.
    pub(super) fn of_ledger(ledger: &Ledger, reached: Reached, limits: Limits) -> Option<Self> {
        Self::of(Gone::of(ledger), reached, limits)
    }

    /// The counts alone, such as `12 rows and 1 key`.
    fn counts(&self) -> String {
        let Gone {
            rows,
            windows,
            keys,
        } = self.gone;
        let named = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let parts = [
            named(rows, "row of a window", "rows of windows"),
            named(windows, "window", "windows"),
            named(
                keys,
                "key, partition or source",
                "keys, partitions or sources",
            ),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(" and ")
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} had no room", self.counts())?;
        let Limits { state_bytes, keys } = self.limits;
        if self.reached.bytes {
            write!(
                f,
                "; limits.state_bytes is {state_bytes}: raise it in agent.toml and in the rule, or keep numbers \
                 instead of rows (declare them under fields)"
            )?;
        }
        if self.reached.rows {
            let most = limit::ROWS_MAX;
            write!(
                f,
                "; a key's window holds {most} rows: make it shorter, or keep numbers instead of rows (declare \
                 them under fields)"
            )?;
        }
        if self.reached.keys {
            write!(
                f,
                "; limits.keys is {keys}: raise it in agent.toml and in the rule, or use fewer keys"
            )?;
        }
        if self.reached.sources {
            write!(
                f,
                "; a rule with event time remembers {SOURCES_MAX} topics, as far as limits.state_bytes, which is \
                 {state_bytes}, has room for them: let it listen to fewer topics"
            )?;
        }
        if self.reached.kept {
            write!(
                f,
                "; {KEPT_MAX} windows of a key wait for late events at most, as far as limits.state_bytes, which \
                 is {state_bytes}, has room for them: shorten allowed_late, or make the window longer"
            )?;
        }
        if self.gone.windows > 0 && self.reached == Reached::default() {
            let most = limit::WINDOWS_MAX;
            write!(
                f,
                "; {most} sliding windows of a key wait at most: let fewer events trigger, or shorten the delay"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            ..Now::default()
        }
    }

    #[test]
    fn losses_are_told_at_once_and_then_now_and_then() {
        let limits = Limits {
            state_bytes: 4_096,
            keys: 7,
        };
        let bytes = Reached {
            bytes: true,
            ..Reached::default()
        };
        let mut ledger = Ledger {
            rows_dropped: 9,
            ..Ledger::default()
        };
        let mut told = Told::default();
        told.begin_with(&ledger);
        let mut news = |ledger: &Ledger, reached, ms| {
            let news = told.news(ledger, reached, limits, at(ms));
            news.map(|news| news.to_string())
        };
        assert_eq!(news(&ledger, bytes, 5), None);
        ledger.rows_dropped += 1;
        let said = news(&ledger, bytes, 10).unwrap();
        let expected = "1 row of a window had no room; limits.state_bytes is 4096: raise it";
        assert!(said.starts_with(expected), "{said}");
        ledger.rows_dropped += 2;
        ledger.keys_evicted += 1;
        assert_eq!(news(&ledger, bytes, 11), None);
        let keys = Reached {
            keys: true,
            ..bytes
        };
        let said = news(&ledger, keys, 10 + TELL_EVERY_MS).unwrap();
        assert!(said.starts_with("2 rows of windows and 1 key, partition or source had no room; "));
        assert!(said.contains("limits.keys is 7: raise it"), "{said}");
    }
}
