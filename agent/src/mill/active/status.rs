//! The condition of a rule, and the part of it that passes on to a new deployment.

use crate::config::limits::QUARANTINE_MS;
use crate::event::clock::Now;
use crate::mill::pace::Bucket;
use crate::mill::status::RuleStatus;

use super::Active;

impl Active {
    /// Grants the rule fuel per second, from a full bucket on.
    pub(in crate::mill) fn pace(&mut self, fuel_per_second: u64, now: Now) {
        self.bucket = Some(Bucket::new(fuel_per_second, now.mono_ms));
    }

    pub(in crate::mill) fn status(&self, now: Now) -> RuleStatus<'_> {
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
            behind: self
                .behind_since_mono_ms
                .map(|since| (self.behind(), now.wall_at(since))),
            is_closing: self.closing.is_some(),
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

    /// Takes over the status of the rule before it, and its quarantine, if it is the same. Returns
    /// `true` if a quarantine ended with that rule.
    pub(in crate::mill) fn succeed(&mut self, old: &Self, now: Now) -> bool {
        self.last_event_ms = old.last_event_ms;
        self.behind_since_mono_ms = self.behind_since_mono_ms.and(old.behind_since_mono_ms);
        if let (Some(bucket), Some(old)) = (&mut self.bucket, old.bucket) {
            bucket.succeed(old);
        }
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
