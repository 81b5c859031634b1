//! Pushed rules, as the loop sees them: it switches, counts what the new rules do, goes back at once where
//! one is quarantined, and tells the thread `fleet`, which decides everything else.

use std::time::Duration;

use tidemill_bundle::report::{RuleState, StatusHealth};
use tidemill_bundle::{Reason, Refusal};
use tracing::{error, info, warn};

use super::control::{Asked, Question};
use super::wake::Waker;
use super::{Agent, AgentError};
use crate::config::Config;
use crate::event::clock::{Clock, Now};
use crate::fleet::rollout::{ByRule, Counts};
use crate::fleet::{Boot, FleetHandle, Note, Order};
use crate::mill::BoundRule;
use tidemill_base::heartbeat::Heartbeats;

/// Time between two words to the thread about the condition of the gateway, and between two in probation.
const LOOK_EVERY_MS: (u64, u64) = (10_000, 200);

/// The thread, and what is in probation.
#[derive(Default)]
pub(super) struct Pushed {
    handle: Option<FleetHandle>,
    probation: Option<Probation>,
    looked_mono_ms: u64,
}

/// Rules that may have to go.
struct Probation {
    back: Vec<BoundRule>,
    changed: Vec<String>,
    /// Ledgers that did not balance before.
    unbalanced: u64,
    /// A changed rule that faulted too often.
    quarantined: Option<String>,
}

impl Pushed {
    /// Starts the thread, where rules are pushed.
    pub(super) fn start(
        boot: Option<Boot>,
        config: &Config,
        clock: &Clock,
        heartbeats: &Heartbeats,
        waker: &Waker,
    ) -> Result<Self, std::io::Error> {
        let Some(boot) = boot else {
            return Ok(Self::default());
        };
        let waker = waker.clone();
        let handle = FleetHandle::start(boot, config, clock, heartbeats, move || waker.wake())?;
        Ok(Self {
            handle: Some(handle),
            ..Self::default()
        })
    }

    /// Takes note of a rule in quarantine.
    pub(super) fn is_quarantined(&mut self, rule: &str) {
        if let Some(probation) = &mut self.probation
            && probation.changed.iter().any(|changed| changed == rule)
        {
            probation.quarantined.get_or_insert_with(|| rule.to_owned());
        }
    }

    /// Has local rules read again by the thread; `false` where there is none.
    pub(super) fn reload(&mut self) -> bool {
        let handle = self.handle.as_mut();
        handle.map(|handle| handle.tell(Note::Reload)).is_some()
    }

    /// The longest rest of the loop while something is in probation.
    pub(super) fn rest(&self) -> Option<Duration> {
        let probation = self.probation.as_ref();
        probation.map(|_| Duration::from_millis(LOOK_EVERY_MS.1))
    }

    /// Ends the thread.
    pub(super) fn stop(&mut self, within: Duration) {
        if let Some(handle) = self.handle.take() {
            handle.stop(within);
        }
    }

    fn tell(&mut self, note: Note) {
        if let Some(handle) = &mut self.handle {
            handle.tell(note);
        }
    }
}

impl Agent {
    /// Hands a question about pushed rules to the thread; others come back.
    pub(super) fn ask_fleet(&mut self, asked: Asked) -> Option<Asked> {
        let Some(handle) = &mut self.pushed.handle else {
            return Some(asked);
        };
        match asked.question {
            Question::Fleet => handle.try_tell(Note::Ask(asked.answer)),
            Question::Apply { body, .. } => handle.try_tell(Note::Apply {
                body,
                answer: asked.answer,
            }),
            _ => return Some(asked),
        }
        None
    }

    /// Does what the thread has ordered.
    pub(super) fn obey_fleet(&mut self) {
        while let Some(order) = self
            .pushed
            .handle
            .as_mut()
            .and_then(FleetHandle::take_order)
        {
            match order {
                Order::Switch {
                    number,
                    rules,
                    back,
                    changed,
                } => self.switch(number, rules, (back, changed)),
                Order::Resume { back, changed } => self.begin_probation(back, changed),
                Order::Replace(Ok(rules)) => self.reload_with(Ok(rules)),
                Order::Replace(Err(refusal)) => {
                    error!("rules are not changed: {refusal}");
                    self.note_refusal(Some(refusal.to_string()));
                }
                Order::GoBack(refusal) => self.go_back(refusal),
                Order::Confirm => {
                    if self.pushed.probation.take().is_some() {
                        self.pushed.tell(Note::Confirmed);
                    }
                }
            }
        }
    }

    /// Makes pushed rules run, between two batches of events.
    fn switch(
        &mut self,
        number: u64,
        rules: Vec<BoundRule>,
        (back, changed): (Vec<BoundRule>, Vec<String>),
    ) {
        let outcome = match self.deploy(rules) {
            Ok(_) => {
                info!(deployment = number, "pushed rules run, on probation");
                self.begin_probation(back, changed);
                Ok(self.counts())
            }
            Err(error) => {
                let error = anyhow::Error::from(AgentError::from(error));
                warn!(deployment = number, "pushed rules are refused: {error:#}");
                Err(Refusal::new(Reason::Migration, format!("{error:#}")))
            }
        };
        self.pushed.tell(Note::Switched(outcome));
    }

    fn begin_probation(&mut self, back: Vec<BoundRule>, changed: Vec<String>) {
        self.pushed.probation = Some(Probation {
            back,
            changed,
            unbalanced: self.unbalanced,
            quarantined: None,
        });
    }

    /// Goes back where a changed rule faulted too often, or a ledger stopped to balance.
    pub(super) fn go_back_if_due(&mut self) {
        let Some(probation) = &mut self.pushed.probation else {
            return;
        };
        let refusal = if let Some(rule) = probation.quarantined.take() {
            let mut statuses = self.mill.rule_statuses(self.clock.now());
            let last = statuses.find(|status| **status.name == *rule);
            let last = last.and_then(|status| Some(status.last_error?.reason.to_string()));
            let text = format!(
                "rule {rule} faulted too often: {}",
                last.unwrap_or_default()
            );
            Refusal::new(Reason::Quarantined, text)
        } else if self.unbalanced > probation.unbalanced {
            Refusal::new(Reason::Unbalanced, "a ledger does not balance")
        } else {
            return;
        };
        self.go_back(refusal);
    }

    /// Makes the rules before run again.
    fn go_back(&mut self, refusal: Refusal) {
        let Some(probation) = self.pushed.probation.take() else {
            return;
        };
        warn!("pushed rules are rolled back: {refusal}");
        if let Err(error) = self.deploy(probation.back) {
            // Their schemas are the same, so there is no state that they could not take over.
            error!(
                "the rules before cannot be deployed: {:#}",
                anyhow::Error::from(error)
            );
        }
        self.pushed.tell(Note::WentBack(refusal));
    }

    /// Counts of the rules in probation.
    fn counts(&self) -> ByRule {
        let changed = self
            .pushed
            .probation
            .as_ref()
            .map(|probation| &probation.changed);
        let is_changed = |name: &str| {
            changed.is_some_and(|changed| changed.iter().any(|changed| **changed == *name))
        };
        let ledgers = self.mill.ledgers().filter(|(name, _)| is_changed(name));
        let counts = ledgers.map(|(name, ledger)| {
            let counts = Counts {
                received: ledger.received,
                dead: ledger.dead,
            };
            (name.to_string(), counts)
        });
        counts.collect()
    }

    /// Tells the thread now and then how the rules do.
    pub(super) fn tell_fleet(&mut self, now: Now) {
        if self.pushed.handle.is_none() {
            return;
        }
        let every = match self.pushed.probation {
            Some(_) => LOOK_EVERY_MS.1,
            None => LOOK_EVERY_MS.0,
        };
        if now.mono_ms < self.pushed.looked_mono_ms.saturating_add(every) {
            return;
        }
        self.pushed.looked_mono_ms = now.mono_ms;
        let unwell = self
            .mill
            .rule_statuses(now)
            .filter(|rule| rule.quarantine_ms.is_some());
        let unwell: Vec<RuleState> = unwell
            .map(|rule| RuleState {
                name: rule.name.to_string(),
                state: "quarantined".to_owned(),
            })
            .collect();
        let quarantined = unwell.len() as u64;
        let dead_letters = self.mill.outbox().and_then(|outbox| outbox.dead_letters());
        let dead_letters = dead_letters.map_or(0, |lane| lane.waiting());
        let is_full = self.storage.lacks_room().is_some();
        let health = StatusHealth {
            well: quarantined == 0 && !is_full && self.unbalanced == 0,
            disk_full: is_full,
            unbalanced: self.unbalanced,
            quarantined,
            dead_letters,
        };
        let note = Note::Looked(self.counts(), health, unwell);
        if let Some(handle) = &mut self.pushed.handle {
            handle.try_tell(note);
        }
    }
}
