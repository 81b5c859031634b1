//! Faults of a rule: dead letters, and the quarantine of a rule that makes too many.

use std::collections::BTreeMap;

use tidemill_abi::limit;

use crate::config::limits::{QUARANTINE_DEAD_LETTERS, QUARANTINE_MS};
use crate::event::clock::Now;
use crate::event::ledger::Fate;
use crate::function::frame::Frame;
use crate::function::{CallFault, kept_event};
use crate::mill::output::{DeadLetter, Output};
use crate::mill::status::LastError;
use tidemill_base::text::shown;
use tidemill_transport::topic::Topic;

use super::{Active, Step};

/// Why an event is a dead letter that makes more than it may.
pub(super) const TOO_COSTLY: &str = "event too costly";

/// Why a call left no trace.
pub(super) enum Fault {
    /// The function's: it counts towards quarantine.
    Call(CallFault),
    /// The event's, or the rule's own wording: it does not.
    Other(String),
    /// The event makes more than it may.
    TooCostly,
    /// One that would not count towards quarantine, of a call that used much of its fuel.
    AtCost(String),
    /// Rows of the window do not fit the statement: by number, and why.
    Misfits(BTreeMap<usize, Box<str>>),
}

impl Fault {
    /// The same for a call that used much of its fuel: whatever made it fail, it is the rule that was
    /// dear.
    pub(super) fn at_cost(self) -> Self {
        match self {
            Self::Other(reason) => Self::AtCost(reason),
            Self::TooCostly => Self::AtCost(TOO_COSTLY.to_owned()),
            fault => fault,
        }
    }
}

impl Active {
    pub(in crate::mill) fn is_quarantined(&mut self, now: Now) -> bool {
        match self.quarantined_until_mono_ms {
            Some(until) if now.mono_ms < until => true,
            Some(_) => {
                self.quarantined_until_mono_ms = None;
                self.faults_mono_ms.clear();
                false
            }
            None => false,
        }
    }

    /// Makes a dead letter of an event that met the rule in quarantine. Beyond a limit the next are
    /// only counted: they tell nothing new, and would push the dead letters of others out.
    pub(super) fn refuse(&mut self, frame: &Frame, step: &mut Step<'_>) -> Fate {
        if self.refused >= QUARANTINE_DEAD_LETTERS {
            return Fate::Dropped("quarantined");
        }
        self.refused += 1;
        self.bury(Fault::Other("rule is quarantined".to_owned()), frame, step);
        Fate::Dead
    }

    /// Makes a dead letter of an event or a call that failed.
    pub(super) fn bury(&mut self, fault: Fault, frame: &Frame, step: &mut Step<'_>) {
        self.bury_at("", fault, frame, step);
    }

    fn bury_at(&mut self, place: &str, fault: Fault, frame: &Frame, step: &mut Step<'_>) {
        let (reason, fuel) = match &fault {
            Fault::Call(fault) => (with_causes(fault), self.function.fuel_used()),
            Fault::AtCost(reason) => (reason.clone(), self.function.fuel_used()),
            Fault::Other(reason) => (reason.clone(), 0),
            Fault::TooCostly => (TOO_COSTLY.to_owned(), 0),
            Fault::Misfits(rows) => (rows.values().next().map_or("", |why| why).to_owned(), 0),
        };
        let reason = format!("{place}{reason}");
        self.note(&reason, step);
        step.out.push(Output::DeadLetter(DeadLetter {
            rule: self.rule.name.clone(),
            version: self.rule.version,
            topic: frame.event.topic.clone(),
            payload: frame.event.payload.clone(),
            properties: frame.event.properties.clone(),
            volatile: self.is_volatile(),
            reason,
            fuel,
            at_ms: step.now.wall_ms,
        }));
        if matches!(fault, Fault::Call(_) | Fault::AtCost(_)) {
            self.count_fault(step);
        }
    }

    /// Remembers an error. Errors of a rule in quarantine about its events are no news.
    fn note(&mut self, reason: &str, step: &Step<'_>) {
        if self.quarantined_until_mono_ms.is_none() {
            self.last_error = Some(Box::new(LastError {
                at_ms: step.now.wall_ms,
                reason: shown(reason).to_string().into(),
            }));
        }
    }

    /// Makes a dead letter of a timer, or of the window of a key. The event that closed a window was
    /// worked on: only its topic is told.
    pub(super) fn bury_without_event(
        &mut self,
        fault: Fault,
        place: &str,
        frame: &mut Frame,
        step: &mut Step<'_>,
    ) {
        let payload = std::mem::take(&mut frame.event.payload);
        let properties = std::mem::take(&mut frame.event.properties);
        self.bury_at(place, fault, frame, step);
        (frame.event.payload, frame.event.properties) = (payload, properties);
    }

    /// Makes a dead letter of the event of which a kept row was made.
    pub(super) fn bury_row(&mut self, row: &[u8], why: &str, step: &mut Step<'_>) {
        self.ledger.faults_without_event += 1;
        self.note(why, step);
        let (topic, payload, properties) = kept_event(row).unwrap_or_default();
        step.out.push(Output::DeadLetter(DeadLetter {
            rule: self.rule.name.clone(),
            version: self.rule.version,
            topic: Topic::new(&topic).unwrap_or_else(|_| Topic::none()),
            payload: payload.into(),
            properties: properties.into(),
            volatile: self.is_volatile(),
            reason: why.to_owned(),
            fuel: 0,
            at_ms: step.now.wall_ms,
        }));
    }

    fn count_fault(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono_ms;
        let span = limit::QUARANTINE_SPAN_MS.unsigned_abs();
        self.faults_mono_ms
            .retain(|at| at.saturating_add(span) > now);
        self.faults_mono_ms.push_back(now);
        if self.faults_mono_ms.len() >= limit::QUARANTINE_FAULTS as usize {
            self.faults_mono_ms.clear();
            self.refused = 0;
            let until = now.saturating_add(QUARANTINE_MS);
            self.quarantined_until_mono_ms = Some(until);
            // What is due is not lost: it waits for the end.
            step.due.rest(self.index, until);
            let rule = self.rule.name.clone();
            step.out.push(Output::Quarantined {
                rule,
                for_ms: QUARANTINE_MS,
            });
        }
    }
}

/// An error with everything that caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
