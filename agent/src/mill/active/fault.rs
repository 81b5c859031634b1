//! What a rule could not digest: dead letters, and the rest that a rule takes which makes too many.

use tidemill_abi::limit;

use crate::clock::Now;
use crate::frame::Frame;
use crate::function::CallFault;
use crate::limits::QUARANTINE_MS;
use crate::mill::output::{DeadLetter, Output};

use super::{Active, Step};

/// Why a call left no trace.
pub(super) enum Fault {
    /// The function's: it counts towards quarantine.
    Call(CallFault),
    /// The event's, or the rule's own wording: it does not.
    Other(String),
}

impl Active {
    pub(super) fn is_quarantined(&mut self, now: Now) -> bool {
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

    /// Makes a dead letter of what could not be digested.
    pub(super) fn bury(&mut self, fault: Fault, frame: &Frame, step: &mut Step<'_>) {
        let (reason, fuel) = match &fault {
            Fault::Call(fault) => (with_causes(fault), self.function.fuel_used()),
            Fault::Other(reason) => (reason.clone(), 0),
        };
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
        if matches!(fault, Fault::Call(_)) {
            self.count_fault(step);
        }
    }

    fn count_fault(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono_ms;
        let span = limit::QUARANTINE_SPAN_MS.unsigned_abs();
        self.faults_mono_ms
            .retain(|at| at.saturating_add(span) > now);
        self.faults_mono_ms.push_back(now);
        if self.faults_mono_ms.len() >= limit::QUARANTINE_FAULTS as usize {
            self.faults_mono_ms.clear();
            self.quarantined_until_mono_ms = Some(now.saturating_add(QUARANTINE_MS));
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
