//! The documents that this gateway publishes: its status, and a report on each bundle, signed by its own key.

use std::collections::BTreeMap;

use tidemill_bundle::report::{
    Active, Attempt, AttemptState, Covered, Presence, Reported, RuleState, Status, sign_reported,
    sign_status,
};
use tidemill_bundle::{BundleName, Refusal, Topics, sha256};

use super::{Work, moment};
use crate::event::clock::{Now, Quality};
use crate::fleet::rollout::{Entry, Progress};

/// Bytes of what a report says of a refusal.
const TEXT_BYTES: usize = 300;

/// Rules that a report names.
const RULES_MAX: usize = 20;

/// A status is told this often at most when something changed, and at least so often.
const STATUS_EVERY_MS: (u64, u64) = (10_000, 900_000);

/// The last documents that were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Connections since the start.
    pub(super) connections: u64,
    seq: u64,
    status: Option<Status>,
    status_ms: Option<u64>,
    reported: BTreeMap<BundleName, Reported>,
}

impl Work {
    /// Tells what has changed.
    pub(super) fn speak(&mut self) {
        if self.link.is_none() || self.told.connections == 0 {
            return;
        }
        let now = self.clock.now();
        self.speak_of_bundles();
        let mut status = self.status(Presence::Online, now);
        let is_same = |told: &Status| {
            // Time alone is no news.
            status.at = told.at;
            status == *told
        };
        let told_ms = self.told.status_ms;
        let since = told_ms.map(|at| now.mono_ms.saturating_sub(at));
        let is_news = !self.told.status.as_ref().is_some_and(is_same);
        let is_due = since.is_none_or(|since| {
            since >= STATUS_EVERY_MS.1 || (is_news && since >= STATUS_EVERY_MS.0)
        });
        if is_due {
            self.tell_status(now);
        }
    }

    /// When the next word is due even if nothing happens, in monotonic time.
    pub(super) fn next_word_ms(&self) -> Option<u64> {
        let at = self.told.status_ms.filter(|_| self.link.is_some())?;
        Some(at.saturating_add(STATUS_EVERY_MS.0))
    }

    /// A new connection: everything is told anew.
    pub(super) fn connected(&mut self) {
        self.told.connections += 1;
        self.told.reported.clear();
        let now = self.clock.now();
        self.tell_status(now);
        self.speak_of_bundles();
    }

    /// The last word of the next connection.
    pub(super) fn set_will(&mut self) {
        let now = self.clock.now();
        let mut status = self.status(Presence::Offline, now);
        status.session = [self.state.start, self.told.connections + 1];
        if let Some(link) = &self.link {
            link.set_will(sign_status(&status, &self.device));
        }
    }

    /// The broker's copy of our status: an old will may have come late.
    pub(super) fn hear_status(&mut self, payload: &[u8]) {
        let ours = self
            .told
            .status
            .as_ref()
            .map(|status| sign_status(status, &self.device));
        if let (Some(link), Some(ours)) = (&self.link, ours)
            && ours != payload
        {
            link.repeat(&Topics::status(&self.config.gateway_id));
        }
    }

    /// An orderly end.
    pub(super) fn say_offline(&mut self) {
        let now = self.clock.now();
        let status = self.status(Presence::Offline, now);
        if let Some(link) = &self.link {
            let topic = Topics::status(&self.config.gateway_id);
            link.publish(topic, sign_status(&status, &self.device));
            link.stop();
        }
    }

    fn tell_status(&mut self, now: Now) {
        let status = self.status(Presence::Online, now);
        if let Some(link) = &self.link {
            let topic = Topics::status(&self.config.gateway_id);
            link.publish(topic, sign_status(&status, &self.device));
        }
        self.told.status = Some(status);
        self.told.status_ms = Some(now.mono_ms);
        self.set_will();
    }

    fn status(&self, state: Presence, now: Now) -> Status {
        let groups = self.fleet.as_ref().map(|fleet| fleet.groups.clone());
        Status {
            gateway: self.config.gateway_id.clone(),
            state,
            session: [self.state.start, self.told.connections],
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            groups: groups.unwrap_or_default(),
            root: self.trust.root().map_or(0, |root| root.root),
            key: self.device.public(),
            config: sha256(self.config.source.text.as_bytes()),
            clock: match now.quality {
                Quality::Synced => "synced",
                Quality::Restored => "restored",
                Quality::None => "none",
            }
            .to_owned(),
            at: moment(now),
            held: None,
            local: "active".to_owned(),
            trust: if self.is_rebuilt { "rebuilt" } else { "ok" }.to_owned(),
            health: self.health.clone(),
            refused: self.refusals.last.iter().cloned().collect(),
            unsigned: self.refusals.unsigned.clone(),
            replays: self.refusals.replays,
        }
    }

    fn speak_of_bundles(&mut self) {
        let mut names: Vec<BundleName> = self
            .rollout
            .progress()
            .map(|(entry, _)| entry.bundle.clone())
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let mut reported = self.reported(&name);
            if let Some(told) = self.told.reported.get(&name) {
                reported.seq = told.seq;
                if reported == *told {
                    continue;
                }
            }
            self.told.seq += 1;
            reported.seq = self.told.seq;
            if let Some(link) = &self.link {
                let topic = Topics::reported(&self.config.gateway_id, &name);
                link.publish(topic, sign_reported(&reported, &self.device));
            }
            self.told.reported.insert(name, reported);
        }
    }

    fn reported(&self, name: &BundleName) -> Reported {
        let of_it = |entry: &Entry| entry.bundle == *name;
        let active = self.in_force.iter().find(|of| of_it(&of.entry));
        let running = self
            .state
            .pending
            .as_ref()
            .map_or(self.rollout.active().number, |pending| pending.deployment);
        let attempt = self.rollout.latest(name);
        let is_proven = matches!(attempt, Some((_, Progress::Active(true))));
        let covered =
            self.rollout.active().entries.iter().filter(|entry| {
                of_it(entry) && active.is_none_or(|of| of.entry.scope != entry.scope)
            });
        let rules = active.map(|of| of.rules.clone()).unwrap_or_default();
        let shadowed = self.shadowed.iter().filter(|name| rules.contains(name));
        let unwell = self.unwell.iter().filter(|rule| rules.contains(&rule.name));
        let unwell: Vec<&RuleState> = unwell.collect();
        Reported {
            gateway: self.config.gateway_id.clone(),
            bundle: name.clone(),
            session: [self.state.start, self.told.connections],
            seq: 0,
            active: active.map(|of| Active {
                scope: of.entry.scope.clone(),
                version: of.entry.version,
                sha256: of.entry.sha256,
                deployment: running,
                proven: is_proven,
                signer: if of.is_signed { "ok" } else { "removed" }.to_owned(),
            }),
            attempt: attempt.map(|(entry, progress)| told_attempt(entry, progress)),
            covered: covered
                .map(|entry| Covered {
                    scope: entry.scope.clone(),
                    version: entry.version,
                })
                .collect(),
            shadowed: shadowed.cloned().collect(),
            more: unwell.len().saturating_sub(RULES_MAX) as u64,
            rules: unwell.into_iter().take(RULES_MAX).cloned().collect(),
        }
    }
}

fn told_attempt(entry: &Entry, progress: &Progress) -> Attempt {
    let (state, refusal): (AttemptState, Option<&Refusal>) = match progress {
        Progress::Waiting => (AttemptState::Waiting, None),
        Progress::Preparing => (AttemptState::Preparing, None),
        Progress::Probation => (AttemptState::Probation, None),
        Progress::Active(_) => (AttemptState::Active, None),
        Progress::Refused(refusal) => (AttemptState::Refused, Some(refusal)),
        Progress::RolledBack(refusal) => (AttemptState::RolledBack, Some(refusal)),
    };
    Attempt {
        scope: entry.scope.clone(),
        version: entry.version,
        sha256: entry.sha256,
        state,
        reason: refusal.map(|refusal| refusal.reason),
        text: refusal.map_or(String::new(), |refusal| {
            refusal.text.chars().take(TEXT_BYTES).collect()
        }),
    }
}
