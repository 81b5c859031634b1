//! Status of rules, for people who ask: last event and last error, time left in quarantine, fill of
//! the state.

use std::sync::Arc;

use super::Mill;
use crate::event::clock::Now;
use crate::event::ledger::Ledger;

/// The latest error of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// Wall time, in milliseconds since 1970.
    pub at_ms: i64,
    /// The reason.
    pub reason: Box<str>,
}

/// The condition of a rule.
#[derive(Debug)]
pub struct RuleStatus<'a> {
    /// Its name.
    pub name: &'a Arc<str>,
    /// Its version.
    pub version: u64,
    /// Begin and end of its rest after too many faults, in wall time.
    pub quarantine_ms: Option<(i64, i64)>,
    /// Events that wait because the rule is behind, and since when, in wall time.
    pub behind: Option<(usize, i64)>,
    /// `true` while a pane of it closes.
    pub is_closing: bool,
    /// The time of the last event since the process began, by the wall clock.
    pub last_event_ms: Option<i64>,
    /// The latest error since the process began.
    pub last_error: Option<&'a LastError>,
    /// Bytes of its state.
    pub state_bytes: usize,
    /// Bytes that its state may have.
    pub state_bytes_max: usize,
    /// Keys that it remembers.
    pub keys: usize,
    /// Keys that it may remember.
    pub keys_max: usize,
    /// `true` if it runs at times of the clock.
    pub needs_clock: bool,
    /// The counts of its events.
    pub ledger: &'a Ledger,
}

impl Mill {
    /// The condition of each rule, in the order of their names.
    pub fn rule_statuses(&self, now: Now) -> impl Iterator<Item = RuleStatus<'_>> {
        self.rules.iter().map(move |active| active.status(now))
    }
}
