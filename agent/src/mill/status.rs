//! How rules do, for people who ask: what happened last, how long a rule rests, how full its state is.

use std::sync::Arc;

use super::Mill;
use super::active::Active;
use crate::clock::Now;
use crate::ledger::Ledger;
use crate::limits::QUARANTINE_MS;

/// Something that went wrong at a rule.
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

impl Active {
    fn status(&self, now: Now) -> RuleStatus<'_> {
        let until = self.quarantined_until_mono_ms;
        let quarantine_ms = until.filter(|until| now.mono_ms < *until).map(|until| {
            let since = until.saturating_sub(QUARANTINE_MS);
            (now.wall_at(since), now.wall_at(until))
        });
        let schedules = &self.rule.triggers.schedules;
        RuleStatus {
            name: &self.rule.name,
            version: self.rule.version,
            quarantine_ms,
            last_event_ms: self.last_event_ms,
            last_error: self.last_error.as_deref(),
            state_bytes: self.keys.bytes(),
            state_bytes_max: self.state_bytes_max,
            keys: self.keys.len(),
            keys_max: self.keys.keys_max(),
            needs_clock: schedules.iter().any(|it| it.period_ms().is_none()),
            ledger: &self.ledger,
        }
    }

    /// Takes over what is known of the rule before it, and the rest that it takes, if it is the same. Says
    /// whether a rest ended with that rule.
    pub(super) fn succeed(&mut self, old: &Self, now: Now) -> bool {
        self.last_event_ms = old.last_event_ms;
        self.last_error.clone_from(&old.last_error);
        let rests = old.quarantined_until_mono_ms;
        let rests = rests.filter(|until| now.mono_ms < *until);
        if self.fingerprint != old.fingerprint {
            return rests.is_some();
        }
        self.quarantined_until_mono_ms = rests;
        self.refused = old.refused;
        self.faults_mono_ms.clone_from(&old.faults_mono_ms);
        false
    }
}
