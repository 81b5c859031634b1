//! The way in for roots and bundles: judged, marked, kept, and handed to `rollout`.

use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_bundle::{
    Accepted, DesiredTopic, Entry as Line, Envelope, Gateway, Moment, PayloadType, Reason, Refusal,
    Root, Scope, Topics, read_tmb,
};
use tracing::{info, warn};

use super::Work;
use crate::event::clock::{Now, Quality};
use crate::fleet::depot::storage;
use crate::fleet::judge::terms_of;
use crate::fleet::rollout::{Candidate, Entry, Input};
use crate::fleet::steps::{Step, reached};

/// Bytes of messages that may be good once a root has come.
const EARLY_BYTES_MAX: usize = 8 << 20;

impl Work {
    /// Takes a file as a push is taken, line by line.
    pub(super) fn apply(&mut self, body: &[u8]) -> Value {
        let lines = match read_tmb(body) {
            Ok(lines) => lines,
            Err(error) => {
                let refusal = Refusal::new(Reason::Malformed, error.to_string());
                self.refuse("file", body, &refusal);
                return json!({ "refused": [{ "reason": refusal.reason, "text": refusal.text }] });
            }
        };
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for line in lines {
            let outcome = match line {
                Line::Root(envelope) => {
                    self.root(&envelope).map(|number| json!({ "root": number }))
                }
                Line::Bundle(envelope) => self.bundle(&envelope.encode(), None).map(|accepted| {
                    let bundle = &accepted.bundle;
                    json!({
                        "bundle": bundle.bundle, "scope": bundle.scope, "version": bundle.version,
                        "sha256": accepted.sha256, "new": accepted.is_new,
                    })
                }),
            };
            match outcome {
                Ok(told) => taken.push(told),
                Err(refusal) => {
                    refused.push(json!({ "reason": refusal.reason, "text": refusal.text }));
                }
            }
        }
        json!({ "taken": taken, "refused": refused })
    }

    /// Walks to the next root.
    fn root(&mut self, envelope: &Envelope) -> Result<u64, Refusal> {
        let reached = self.trust.root().map_or(0, |root| root.root);
        let is_old = Root::parse(&envelope.payload).is_ok_and(|root| root.root <= reached);
        if is_old {
            // Files bring all roots along, for gateways that are further behind.
            return Ok(reached);
        }
        let mut trust = self.trust.clone();
        let outcome = trust.advance(envelope).and_then(|number| {
            let written = self.depot.write_trust(&trust, Some(envelope));
            written.map_err(|error| storage(&error))?;
            Ok(number)
        });
        match outcome {
            Ok(number) => {
                info!(root = number, "a new root of trust counts");
                self.trust = trust;
                self.root = Some(envelope.clone());
                Ok(number)
            }
            Err(refusal) => {
                self.refuse("root", &envelope.encode(), &refusal);
                Err(refusal)
            }
        }
    }

    /// Judges a bundle; sets its mark, keeps it, and hands it to `rollout`.
    pub(super) fn bundle(
        &mut self,
        bytes: &[u8],
        topic: Option<&DesiredTopic>,
    ) -> Result<Accepted, Refusal> {
        reached(Step::Received);
        match self.try_bundle(bytes, topic) {
            Ok(accepted) => Ok(accepted),
            Err(refusal) => {
                let from = topic.map_or("file".to_owned(), DesiredTopic::topic);
                self.refuse(&from, bytes, &refusal);
                Err(refusal)
            }
        }
    }

    fn try_bundle(
        &mut self,
        bytes: &[u8],
        topic: Option<&DesiredTopic>,
    ) -> Result<Accepted, Refusal> {
        let fleet = self.fleet.as_ref().ok_or_else(no_fleet)?;
        let now = self.clock.now();
        let gateway = Gateway {
            id: &self.config.gateway_id,
            groups: &fleet.groups,
            agent: env!("CARGO_PKG_VERSION"),
            past: past(now),
        };
        let accepted = self.trust.judge(bytes, topic, &gateway)?;
        reached(Step::Verified);
        let terms = terms_of(&accepted.bundle, fleet);
        if accepted.is_new {
            let trust = self.trust.marked(&accepted)?;
            let written = self.depot.write_trust(&trust, self.root.as_ref());
            written.map_err(|error| storage(&error))?;
            self.trust = trust;
            reached(Step::Marked);
            info!(
                bundle = %accepted.bundle.bundle, version = accepted.bundle.version,
                scope = %accepted.bundle.scope, "a bundle was accepted"
            );
        }
        // It waits on the disk: nobody sends a file again.
        let envelope = self
            .depot
            .write_envelope(bytes)
            .map_err(|error| storage(&error))?;
        let entry = Entry {
            scope: accepted.bundle.scope.clone(),
            bundle: accepted.bundle.bundle.clone(),
            version: accepted.bundle.version,
            sha256: accepted.sha256,
            envelope,
        };
        self.advance(Input::Accepted(Candidate { entry, terms }));
        Ok(accepted)
    }

    /// A message of the fleet's broker.
    pub(super) fn arrived(&mut self, topic: &str, payload: Option<Bytes>) {
        let Some(payload) = payload else {
            let text = "a message that is longer than any envelope, or malformed, was read past";
            self.refuse(topic, &[], &Refusal::new(Reason::TooLarge, text));
            return;
        };
        if topic == Topics::status(&self.config.gateway_id) {
            self.hear_status(&payload);
        } else if Topics::root_number(topic).is_some() {
            self.root_arrived(topic, &payload);
        } else if let Some(desired) = DesiredTopic::parse(topic) {
            let outcome = self.bundle(&payload, Some(&desired));
            let early = outcome.is_err_and(|refusal| {
                matches!(
                    refusal.reason,
                    Reason::RootMissing | Reason::UnknownKey | Reason::NotAllowed
                )
            });
            let held: usize = self.early.values().map(Bytes::len).sum();
            if early && held + payload.len() <= EARLY_BYTES_MAX {
                self.early.insert(desired, payload);
            } else {
                self.early.remove(&desired);
            }
        }
    }

    fn root_arrived(&mut self, topic: &str, payload: &[u8]) {
        let envelope = match Envelope::parse(payload, PayloadType::Root) {
            Ok(envelope) => envelope,
            Err(refusal) => return self.refuse(topic, payload, &refusal),
        };
        let before = self.trust.root().map_or(0, |root| root.root);
        if self.root(&envelope).is_ok_and(|number| number > before) {
            self.listen();
            // What relied on this root may be good now.
            for (desired, payload) in std::mem::take(&mut self.early) {
                self.arrived(&desired.topic(), Some(payload));
            }
        }
    }

    /// Asks for what this gateway should run, for the next root, and for its own status.
    pub(in crate::fleet) fn listen(&self) {
        let (Some(link), Some(fleet)) = (&self.link, &self.fleet) else {
            return;
        };
        let id = &self.config.gateway_id;
        let groups = fleet
            .groups
            .iter()
            .filter_map(|group| Scope::group(group).ok());
        let scopes = groups.chain(Scope::gateway(id).ok()).chain([Scope::All]);
        let mut filters: Vec<String> = scopes.map(|scope| Topics::desired_of(&scope)).collect();
        let reached = self.trust.root().map_or(0, |root| root.root);
        filters.push(Topics::root(reached.saturating_add(1)));
        filters.push(Topics::status(id));
        link.listen(filters);
    }

    pub(in crate::fleet) fn refuse(&mut self, from: &str, bytes: &[u8], refusal: &Refusal) {
        warn!(from, "a push is refused: {refusal}");
        let at = moment(self.clock.now());
        self.refusals.add(from, bytes, refusal, at);
    }
}

/// The refusal of a gateway that takes no pushes.
pub(super) fn no_fleet() -> Refusal {
    let text = "agent.toml has no [fleet], so no push is taken";
    Refusal::new(Reason::NoRoot, text)
}

/// A moment that is past for certain, by which expiry is judged.
fn past(now: Now) -> Option<Moment> {
    match now.quality {
        Quality::Synced => moment(now),
        // The time may be anything.
        Quality::Restored | Quality::None => None,
    }
}

/// The time that the clock shows.
pub(in crate::fleet) fn moment(now: Now) -> Option<Moment> {
    Moment::from_seconds(u64::try_from(now.wall_ms / 1_000).ok()?)
}
