//! The condition of destinations, rules, clock and disk, as lines of the answer to the question for health.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Agent;
use super::health::{Health, Part};
use crate::config::LOCAL;
use crate::config::limits::QUARANTINE_MS;
use crate::destination::DestinationStatus;
use crate::event::clock::{Now, Quality};
use crate::mill::RuleStatus;
use crate::storage::recovery;
use tidemill_base::text::size_shown;

pub(super) const DISK: Part<'static> = Part("disk", "");

/// Longest absence, without trouble, of the broker that sensors publish to as a destination.
const LOCAL_ALARM_AFTER: Duration = Duration::from_secs(600);

/// Time without any intake after which rules are behind, in milliseconds.
const BEHIND_MS: u64 = 10_000;

impl Agent {
    /// Tells the condition of each destination.
    pub(super) fn tell_destinations(&self, health: &mut Health, now: Now) {
        for (name, status) in self.outputs.status() {
            let configured = self.config.destinations.get(name);
            let alarm_after = configured.map_or(LOCAL_ALARM_AFTER, |it| it.alarm_after);
            let is_well = tell_destination(health, name, &status, alarm_after, now);
            let part = Part("destination", name);
            if let Some(lost) = self.losses.of_destination(name) {
                let why = format!(
                    "{} rows found no room in its outbox and were dropped; give it more (outbox)",
                    lost.count
                );
                health.ails_at(part, why, Some(lost.since_ms));
            } else if is_well {
                health.well(part, state_of(name, &status));
            }
        }
    }

    /// Tells the condition of each rule.
    pub(super) fn tell_rules(&self, health: &mut Health, now: Now) {
        for rule in self.mill.rule_statuses(now) {
            let part = Part("rule", rule.name);
            let mut is_well = true;
            if let Some((since_ms, until_ms)) = rule.quarantine_ms {
                is_well = false;
                let last = rule.last_error.map_or("", |error| &*error.reason);
                let seconds = until_ms.saturating_sub(now.wall_ms) / 1_000;
                let why =
                    format!("in quarantine for another {seconds} s, after too many faults: {last}");
                health.ails_at(part, why, Some(since_ms));
            }
            if let Some((waiting, since_ms)) = behind(&rule, now) {
                is_well = false;
                let why = format!(
                    "behind: {waiting} events wait for it; it does more than limits.fuel_per_second grants, or \
                     than this processor can: let it see fewer events or do less, or grant it more"
                );
                health.ails_at(part, why, Some(since_ms));
            }
            if let Some(lost) = self.losses.of_rule(rule.name) {
                is_well = false;
                let why = format!(
                    "{} rows, windows or keys found no room and were dropped; `tidemill inspect ledger` says \
                     which, and more limits.state_bytes or limits.keys helps",
                    lost.count
                );
                health.ails_at(part, why, Some(lost.since_ms));
            }
            if is_well {
                health.well(part, "works");
            }
        }
    }

    /// Tells if the clock can be believed, where a rule runs by it.
    pub(super) fn tell_clock(&self, health: &mut Health, now: Now) {
        let part = Part("clock", "");
        if now.quality == Quality::Synced {
            health.well(part, "a time server keeps it");
            return;
        }
        let mut needing = self.mill.rule_statuses(now).filter(|rule| rule.needs_clock);
        match needing.next() {
            None => health.well(part, "no time server keeps it, and no rule needs it"),
            Some(rule) => {
                let name = rule.name;
                let why = format!(
                    "no time server keeps it, and rule {name} has a schedule by it: is there a network, does a \
                     time service run?"
                );
                health.ails_at(part, why, None);
            }
        }
    }

    /// Tells if rules are behind, because nothing can be taken in.
    pub(super) fn tell_backlog(&self, health: &mut Health, why: Option<&str>, now: Now) {
        let part = Part("intake", "");
        let since = self.held_back_since_mono_ms;
        let lasts = since.filter(|since| now.mono_ms >= since.saturating_add(BEHIND_MS));
        match (why, lasts) {
            (Some(why), Some(since)) => {
                let since_ms = now.wall_at(since);
                health.ails_at(part, format!("all rules are behind: {why}"), Some(since_ms));
            }
            (Some(why), None) => health.well(part, &format!("rests: {why}")),
            (None, _) => health.well(part, "takes in"),
        }
    }

    /// Takes note of how long nothing more can be taken in.
    pub(super) fn note_backlog(&mut self, now: Now) {
        self.held_back_since_mono_ms = match self.held_back_by() {
            Some(_) => self.held_back_since_mono_ms.or(Some(now.mono_ms)),
            None => None,
        };
    }

    /// Says that the disk has no room for two segments of the journal, if that is so.
    pub(super) fn lacks_two_segments(&self) -> Option<String> {
        let needed = self.config.segment_bytes.saturating_mul(2);
        let free = recovery::free_bytes(&self.config.data_dir).ok()?;
        (free < needed).then(|| {
            format!(
                "no room for two segments of the journal: needed {}, free {}; make room",
                size_shown(needed),
                size_shown(free)
            )
        })
    }

    /// The condition of each rule, for `inspect rules`.
    pub(super) fn rules(&mut self) -> Value {
        let now = self.clock.now();
        self.losses.look(&self.mill, now);
        let told = |rule: RuleStatus<'_>| {
            let lost = self.losses.of_rule(rule.name);
            let behind = behind(&rule, now);
            let state = match (rule.quarantine_ms, behind, lost) {
                (Some(_), ..) => "quarantined",
                (None, Some(_), _) => "behind",
                (None, None, Some(_)) => "drops",
                (None, None, None) => "works",
            };
            json!({
                "rule": &**rule.name,
                "version": rule.version,
                "state": state,
                "last_event": rule.last_event_ms,
                "last_error": rule.last_error.map(|error| &*error.reason),
                "last_error_at": rule.last_error.map(|error| error.at_ms),
                "quarantined_until": rule.quarantine_ms.map(|(_, until_ms)| until_ms),
                "quarantine_ms": QUARANTINE_MS,
                "waiting": rule.behind.map_or(0, |(waiting, _)| waiting),
                "state_bytes": rule.state_bytes,
                "state_bytes_max": rule.state_bytes_max,
                "keys": rule.keys,
                "keys_max": rule.keys_max,
                "dropped": rule.ledger.lost(),
            })
        };
        self.mill.rule_statuses(now).map(told).collect()
    }
}

/// Number of events that wait for a rule, and since when, where it has been behind for long.
fn behind(rule: &RuleStatus<'_>, now: Now) -> Option<(usize, i64)> {
    let is_long = |(_, since_ms): &(usize, i64)| {
        now.wall_ms.saturating_sub(*since_ms) >= i64::try_from(BEHIND_MS).unwrap_or(i64::MAX)
    };
    rule.behind.filter(is_long)
}

/// The state of a destination that is well, in words.
fn state_of(name: &str, status: &DestinationStatus) -> &'static str {
    match (status.connected, &status.trouble) {
        (true, _) => "connected",
        (false, Some(_)) => "away, not for long yet; what is for it waits",
        // Over HTTP there is no connection before there is something to send.
        (false, None) if name == LOCAL => "connects",
        (false, None) => "nothing was sent yet",
    }
}

/// Adds the faults of a destination; `true` if it has none. A destination that is away is no fault
/// for a while: its rows wait.
pub(super) fn tell_destination(
    health: &mut Health,
    name: &str,
    status: &DestinationStatus,
    alarm_after: Duration,
    now: Now,
) -> bool {
    let lasts = status
        .since
        .map_or(Duration::ZERO, |since: Instant| since.elapsed());
    let lasts_ms = i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX);
    let since_ms = Some(now.wall_ms.saturating_sub(lasts_ms));
    let part = Part("destination", name);
    let mut is_well = true;
    let mut ails = |trouble: String, says: String| {
        is_well = false;
        health.ails(&trouble);
        health.ill(part, says, since_ms);
    };
    if let Some(why) = &status.unconfirmed {
        ails(format!("destination {name}: {why}"), why.clone());
    }
    if let Some(why) = &status.stalled {
        ails(
            format!("destination {name} takes nothing: {why}"),
            format!("takes nothing: {why}"),
        );
        return false;
    }
    if let Some(why) = status.trouble.as_ref().filter(|_| status.unheard) {
        ails(
            format!("destination {name} acknowledges nothing: {why}"),
            format!("acknowledges nothing: {why}"),
        );
    } else if let Some(why) = status.trouble.as_ref().filter(|_| !status.connected)
        && lasts >= alarm_after
    {
        let minutes = alarm_after.as_secs();
        ails(
            format!("destination {name} is away for more than {minutes} s (alarm_after): {why}"),
            format!("away: {why}"),
        );
    }
    is_well
}
