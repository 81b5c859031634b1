//! One call of a rule's function: made, judged, and its effects carried out whole, or dropped
//! whole.

use std::sync::Arc;

use tidemill_abi::{Code, export, limit};

use crate::event::clock::Now;
use crate::event::ledger::Fate;
use crate::event::state::{Due, Key};
use crate::function::effects::{Spoiled, apply_to_state};
use crate::function::frame::Frame;
use crate::function::{CallFault, Handler, Verdict};
use crate::mill::due::{DueQueue, What};
use crate::mill::output::{Emitted, Output};
use tidemill_transport::topic::Topic;

use super::fault::Fault;
use super::{Active, Step};

/// Fixed cost of a call in bytes, on top of the effects that it asks for.
pub(super) const CALL_BYTES: usize = 64;

impl Active {
    /// Calls the function on the content of the frame, and carries out all its effects, or none.
    pub(super) fn call(
        &mut self,
        handler: Handler,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        self.calls += 1;
        frame.effects.clear();
        frame.state_bytes_free = self.state_bytes_max.saturating_sub(self.keys.bytes());
        frame.evictable_bytes = self.evictable_bytes();
        frame.rule_start_ms = self.start_ms(step.now);
        frame.log_lines_free = self.log_allowance(step.now);
        if step.cold {
            self.function.chill();
        }
        let result = self.function.call(handler, frame);
        let fuel = self.function.fuel_used();
        self.ledger.fuel += fuel;
        step.fuel += fuel;
        let rest = self
            .bucket
            .as_mut()
            .and_then(|it| it.spend(fuel, step.clock_mono_ms));
        if let Some(until) = rest {
            step.due.rest(self.index, until);
        }
        self.pass_on_logs(frame, step);
        let judged = matches!(&result, Ok(_) | Err(CallFault::Data { .. }));
        if judged && handler == Handler::Window && !frame.effects.misfits.is_empty() {
            let misfits = std::mem::take(&mut frame.effects.misfits);
            frame.effects.clear();
            return Err(Fault::Misfits(misfits));
        }
        let taken = step.budget.taken();
        let done = match result {
            Ok(verdict) => self
                .check_verdict(handler, verdict)
                .and_then(|()| self.afford(handler, frame, step))
                .and_then(|()| self.emit((handler, verdict), key, frame, step)),
            Err(CallFault::Data { reason }) => Err(Fault::Other(reason.into())),
            // A payload or a key was longer than the function has room for: whoever publishes one must not
            // put a rule at rest that serves others.
            Err(fault @ CallFault::Rule { code }) if code == Code::TooBig.value() => {
                Err(Fault::Other(fault.to_string()))
            }
            Err(fault) => Err(Fault::Call(fault)),
        };
        match done {
            Ok(sent) => {
                let silent = frame.effects.is_empty();
                if !silent {
                    self.carry_out(key, frame, step.now, step.due);
                }
                self.ledger.emissions += sent;
                Ok(match (sent, silent) {
                    (1.., _) => Fate::Emitting,
                    (0, true) => Fate::Filtered,
                    (0, false) => Fate::Absorbed,
                })
            }
            Err(fault) => {
                frame.effects.clear();
                step.budget.give_back_to(taken);
                let comes_again = handler != Handler::Window && step.budget.comes_again();
                Err(self.weighed(fault, fuel, comes_again))
            }
        }
    }

    /// The fault of a call that used so much fuel. An event that costs too much and comes again is none yet.
    fn weighed(&self, fault: Fault, fuel: u64, comes_again: bool) -> Fault {
        if fuel < self.costly_fuel || comes_again && matches!(fault, Fault::TooCostly) {
            return fault;
        }
        fault.at_cost()
    }

    /// Takes the cost of a call's effects from the budget of the event, their topics aside.
    fn afford(&self, handler: Handler, frame: &Frame, step: &mut Step<'_>) -> Result<(), Fault> {
        if frame.effects.is_empty() {
            return Ok(());
        }
        let entries = frame.effects.entries.iter();
        let entries: usize = entries
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
            .sum();
        let slots = frame.state.slots.len() + frame.pane.as_ref().map_or(0, |p| p.slots.len());
        let bytes = frame.effects.emitted_bytes + frame.effects.row_bytes;
        let cost = bytes + entries + 8 * slots + CALL_BYTES;
        take(handler, cost, step)
    }

    fn check_verdict(&self, handler: Handler, verdict: Verdict) -> Result<(), Fault> {
        let Verdict::Pass(_) = verdict else {
            return Ok(());
        };
        let may_pass = handler == Handler::Event && self.window.is_none();
        if !may_pass || self.ports.is_empty() {
            let handler = match handler {
                Handler::Event => "f or on_event",
                Handler::Timer(_) => export::ON_TIMER,
                Handler::Window => export::ON_WINDOW,
                Handler::Migrate(_) => export::MIGRATE,
            };
            return Err(Fault::Call(CallFault::BadResult { handler, code: 1 }));
        }
        Ok(())
    }

    /// Hands the emissions of a call on, all or none; returns how many there were.
    fn emit(
        &self,
        (handler, verdict): (Handler, Verdict),
        key: &Key,
        frame: &mut Frame,
        step: &mut Step<'_>,
    ) -> Result<u64, Fault> {
        let first = step.out.len();
        let mut last: Option<(u8, Option<Key>, Topic)> = None;
        let mut spoiled = Vec::new();
        let passed = match verdict {
            Verdict::Pass(port) => Some((port, frame.kept_payload(), 0, None)),
            Verdict::Done => None,
        };
        let asked = frame
            .effects
            .emissions
            .iter()
            .map(|e| (e.port, e.payload.clone(), e.group, e.key.clone()));
        let pane = frame.pane.as_ref().filter(|_| self.is_on_grid());
        for (number, payload, group, own) in asked.chain(passed) {
            let Some(port) = self.ports.get(usize::from(number)).and_then(Option::as_ref) else {
                continue;
            };
            // The key of a call is one, and so is mostly the topic of a port: it may be long.
            let topic = match &last {
                Some((before, of, topic))
                    if *before == number && *of == own && port.has_one_topic() =>
                {
                    Ok(topic.clone())
                }
                _ => port.topic_of((key, own.as_ref()), &frame.event.topic, &payload),
            };
            match topic {
                Ok(topic) => {
                    if let Err(fault) = take(handler, topic.as_str().len(), step) {
                        step.out.truncate(first);
                        return Err(fault);
                    }
                    last = Some((number, own.clone(), topic.clone()));
                    step.out.push(Output::Emission(Emitted {
                        port: Arc::clone(port),
                        key: own.unwrap_or_else(|| key.clone()),
                        topic,
                        payload,
                        at_ms: step.now.wall_ms,
                        // Keys of one pane fire in calls of their own.
                        together: match pane {
                            Some(pane) => (pane.start_ms, pane.end_ms),
                            None => (-1 - self.calls, group.into()),
                        },
                    }));
                }
                // Each group has a topic of its own, and fails alone.
                Err(why) if own.is_some() => spoiled.push(Spoiled {
                    key: own,
                    reason: why.into(),
                }),
                Err(why) => {
                    step.out.truncate(first);
                    return Err(Fault::Other(why));
                }
            }
        }
        frame.effects.spoiled.append(&mut spoiled);
        Ok((step.out.len() - first) as u64)
    }

    /// Carries out the effects of a call besides emissions.
    fn carry_out(&mut self, key: &Key, frame: &mut Frame, now: Now, due: &mut DueQueue) {
        let Frame {
            effects,
            state,
            pane,
            ..
        } = frame;
        self.ledger.keys_evicted += effects.partitions_dropped;
        self.reached.bytes |= effects.partitions_dropped > 0;
        if !effects.entries.is_empty() {
            let names = effects.entries.keys().cloned().collect();
            self.keys.entries_changed(key, names);
        }
        for (id, delay_ms) in &effects.timers {
            if let Some(old) = state.timers.remove(id) {
                due.remove(old.mono_ms, What::Timer(self.index, key.clone(), *id));
            }
            if let Some(delay_ms) = delay_ms {
                // A timer that is due at once and arms itself would never let go of the mill.
                let mono_ms = now.mono_ms.saturating_add((*delay_ms).max(1));
                state.timers.insert(*id, Due { mono_ms });
                due.insert(mono_ms, What::Timer(self.index, key.clone(), *id));
            }
        }
        let slots = self.window.map_or(0, |window| window.slots);
        apply_to_state(effects, state, pane, slots);
    }

    fn log_allowance(&mut self, now: Now) -> u32 {
        let second = now.mono_ms / 1_000;
        if self.log_second != second {
            self.log_second = second;
            self.log_lines_free = limit::LOG_LINES_PER_SECOND;
        }
        self.log_lines_free
    }

    fn pass_on_logs(&mut self, frame: &mut Frame, step: &mut Step<'_>) {
        let effects = &mut frame.effects;
        if effects.logs.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut effects.logs);
        let used = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        self.log_lines_free = self.log_lines_free.saturating_sub(used);
        let (rule, dropped) = (self.rule.name.clone(), effects.logs_dropped);
        step.out.push(Output::Logs {
            rule,
            lines,
            dropped,
        });
    }
}

/// Takes bytes of a call from the budget of the event.
fn take(handler: Handler, bytes: usize, step: &mut Step<'_>) -> Result<(), Fault> {
    let is_granted = if handler == Handler::Window {
        step.budget.take_for_window(bytes)
    } else {
        step.budget.take(bytes)
    };
    if is_granted {
        Ok(())
    } else {
        Err(Fault::TooCostly)
    }
}

/// Takes the cost of writing down an event that waits from its budget.
pub(super) fn affords_waiting(frame: &Frame, step: &mut Step<'_>) -> bool {
    let event = &frame.event;
    let cost = event.payload.len() + event.properties.len() + event.topic.as_str().len();
    step.budget.take(cost + CALL_BYTES)
}
