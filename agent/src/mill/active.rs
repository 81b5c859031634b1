//! One rule at work: its function, its keys and its counts. Here a call is made and what it asked
//! for is carried out whole, or dropped whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidemill_abi::{export, limit};

use crate::clock::Now;
use crate::decode::DecodeError;
use crate::effects::apply_to_state;
use crate::frame::Frame;
use crate::function::{CallFault, Function, Handler, Module, Verdict};
use crate::input::{absent_or_wrong, present};
use crate::ledger::{Fate, Ledger};
use crate::limits::QUARANTINE_MS;
use crate::manifest::Input;
use crate::record::RuleRecord;
use crate::router::RuleIndex;
use crate::rule::{Durability, KeySpec, Rule, Triggers};
use crate::state::{Due, Key, KeyState, Pane};
use crate::value::{Scalar, Value};
use crate::window::OpenPane;

use super::bind::{BoundRule, Windowing};
use super::due::{DueQueue, What};
use super::keys::{Held, KeyTable};
use super::output::{DeadLetter, Emitted, Output, PortBinding};
use super::route::{Route, Stop, StopKey};

/// A rule that is deployed. What every event touches stands first and together: with a thousand
/// rules each piece of memory that a call needs comes from far away.
pub(super) struct Active {
    pub(super) function: Function,
    pub(super) keys: KeyTable,
    pub(super) ledger: Ledger,
    pub(super) state_bytes_max: usize,
    quarantined_until_mono_ms: Option<u64>,
    log_second: u64,
    log_lines_free: u32,
    pub(super) index: RuleIndex,
    pub(super) window: Option<Windowing>,
    pub(super) rule: Head,
    pub(super) module: Arc<Module>,
    pub(super) ports: Box<[Option<Arc<PortBinding>>]>,
    pub(super) inputs: Box<[Input]>,
    pub(super) key: KeySpec,
    /// The pane that is open; which keys have events in it stands in their states.
    pub(super) pane: Option<OpenPane>,
    pub(super) schedules: Vec<ScheduleState>,
    /// The way of events that a schedule makes.
    pub(super) alone: Arc<Route>,
    faults_mono_ms: VecDeque<u64>,
    /// What the last commit holds.
    pub(super) committed: Box<Committed>,
}

/// What the last commit holds of a rule besides its keys.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) counts: Ledger,
    pub(super) record: RuleRecord,
}

/// What is left of a manifest once rule and function are bound: a thousand rules are to fit into
/// the processor's cache.
pub(super) struct Head {
    pub(super) name: Arc<str>,
    pub(super) version: u64,
    pub(super) durability: Durability,
    pub(super) triggers: Triggers,
    pub(super) keys_max: usize,
}

impl From<Rule> for Head {
    fn from(rule: Rule) -> Self {
        Self {
            name: rule.name,
            version: rule.version,
            durability: rule.durability,
            triggers: rule.triggers,
            keys_max: rule.limits.keys,
        }
    }
}

/// Where one of a rule's schedules stands, in wall time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScheduleState {
    pub(super) last_ms: Option<i64>,
    pub(super) next_ms: Option<i64>,
}

/// What a call counts for besides what it asks for.
const CALL_BYTES: usize = 64;

/// Why a call left no trace.
enum Fault {
    /// The function's: it counts towards quarantine.
    Call(CallFault),
    /// The event's, or the rule's own wording: it does not.
    Other(String),
}

/// What the calls of a step share.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) due: &'a mut DueQueue,
    pub(super) out: &'a mut Vec<Output>,
    pub(super) cold: bool,
    /// Bytes that all rules together may still ask for because of one event.
    pub(super) effect_bytes_free: usize,
}

impl Active {
    pub(super) fn new(index: RuleIndex, bound: BoundRule) -> Self {
        let BoundRule {
            rule,
            module,
            function,
            ports,
            inputs,
            key,
            window,
            ..
        } = bound;
        let is_kept = rule.durability == Durability::ExactlyOnce;
        let keys = KeyTable::new(rule.limits.keys, is_kept);
        let state_bytes_max = rule.limits.state_bytes;
        let schedules = vec![ScheduleState::default(); rule.triggers.schedules.len()];
        Self {
            index,
            rule: rule.into(),
            module,
            function,
            ports,
            inputs,
            key,
            window,
            pane: None,
            schedules,
            alone: Arc::default(),
            keys,
            ledger: Ledger::default(),
            state_bytes_max,
            faults_mono_ms: VecDeque::new(),
            quarantined_until_mono_ms: None,
            log_second: 0,
            log_lines_free: 0,
            committed: Box::default(),
        }
    }

    /// Whether state and emissions live in memory only.
    pub(super) fn is_volatile(&self) -> bool {
        self.rule.durability == Durability::Volatile
    }

    /// Works on the event in `frame`, and says what became of it.
    pub(super) fn event(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &DecodeError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Fate {
        let fate = match self.try_event(stop, decoded, frame, step) {
            Ok(fate) => fate,
            Err(fault) => {
                self.bury(fault, frame, step);
                Fate::Dead
            }
        };
        self.ledger.enter(fate);
        fate
    }

    fn try_event(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &DecodeError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        if self.is_quarantined(step.now) {
            return Err(Fault::Other("rule is quarantined".to_owned()));
        }
        if !stop.inputs.is_empty() || matches!(stop.key, StopKey::Payload(_)) {
            decoded.map_err(|error| Fault::Other(error.to_string()))?;
        }
        let key = self.key_of(&stop.key, frame)?;
        frame.inputs.clear();
        for (number, wanted) in stop.inputs.iter().enumerate() {
            let scalar = frame
                .decoded
                .scalars
                .get(usize::from(wanted.place))
                .copied();
            let scalar = scalar.unwrap_or(Scalar::Missing);
            let value = match present(wanted.kind, scalar) {
                Some(value) => value,
                None => self.absent_or_wrong(number, scalar, frame)?,
            };
            frame.inputs.push(value);
        }
        let guess = stop.held_at.load(Ordering::Relaxed);
        let place = match self.keys.is_at(&key, guess) {
            true => Some(guess),
            false => self.keys.find(&key),
        };
        stop.held_at
            .store(place.unwrap_or(usize::MAX), Ordering::Relaxed);
        let opened = self.lend(&key, place, frame);
        let result = if self.window.is_some() {
            self.fold(&key, frame, step)
        } else {
            self.call(Handler::Event, &key, frame, step)
        };
        // A fold changed the count of its pane, whatever else it asked for.
        let changed = self.window.is_some();
        self.take_back(&key, place, opened, changed, frame, step);
        result
    }

    fn absent_or_wrong(
        &self,
        number: usize,
        scalar: Scalar,
        frame: &mut Frame,
    ) -> Result<Value, Fault> {
        let input = self
            .inputs
            .get(number)
            .expect("a route has the inputs of its rule");
        absent_or_wrong(input, scalar, &mut frame.decoded)
            .map_err(|error| Fault::Other(error.to_string()))
    }

    fn key_of(&self, key: &StopKey, frame: &Frame) -> Result<Key, Fault> {
        match key {
            StopKey::Known(key) => Ok(key.clone()),
            StopKey::None => Err(Fault::Other(
                "topic has too few levels for the rule's key".to_owned(),
            )),
            StopKey::Payload(place) => match frame.decoded.scalars.get(usize::from(*place)) {
                Some(Scalar::Text(span)) => {
                    let text = std::str::from_utf8(frame.decoded.bytes(*span)).unwrap_or_default();
                    match text.len() {
                        0 => Err(Fault::Other("key is empty".to_owned())),
                        1..=crate::limits::KEY_BYTES_MAX => Ok(text.into()),
                        len => Err(Fault::Other(format!("key of {len} bytes is too long"))),
                    }
                }
                Some(Scalar::Int(number)) => Ok(number.to_string().into()),
                Some(Scalar::Bool(yes)) => Ok(yes.to_string().into()),
                Some(Scalar::Missing | Scalar::Null) | None => {
                    Err(Fault::Other("key is missing".to_owned()))
                }
                Some(Scalar::Float(_) | Scalar::Other) => Err(Fault::Other(
                    "key is neither a string nor a whole number".to_owned(),
                )),
            },
        }
    }

    /// Puts the state of a key, which is held at `place`, into the frame; tells its bytes.
    fn lend(&mut self, key: &Key, place: Option<usize>, frame: &mut Frame) -> usize {
        frame.state = place.map_or_else(KeyState::default, |place| self.keys.lend(place));
        frame.key = key.clone();
        frame.state.bytes()
    }

    /// Takes the state of a key back; a key that has none is not held.
    fn take_back(
        &mut self,
        key: &Key,
        place: Option<usize>,
        bytes_before: usize,
        changed: bool,
        frame: &mut Frame,
        step: &mut Step<'_>,
    ) {
        let changed = changed || !frame.effects.is_empty();
        let state = std::mem::take(&mut frame.state);
        let gone = match place {
            Some(place) => {
                let growth = state.bytes().cast_signed() - bytes_before.cast_signed();
                self.keys.put_back(place, state, growth, changed);
                None
            }
            None if state == KeyState::default() => None,
            None => self.keys.insert(key.clone(), state),
        };
        if let Some(gone) = gone {
            self.forget(gone, step.due);
        }
        while let Some(gone) = self.keys.shrink(self.state_bytes_max, key) {
            self.forget(gone, step.due);
        }
    }

    fn forget(&mut self, gone: Held, due: &mut DueQueue) {
        self.ledger.keys_evicted += 1;
        for (id, at) in gone.state.timers {
            due.remove(at.mono_ms, What::Timer(self.index, gone.key.clone(), id));
        }
    }

    /// Folds an event into the open pane, which it opens if need be.
    fn fold(
        &mut self,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let Some(window) = self.window else {
            return Ok(Fate::Filtered);
        };
        let index = self.index;
        let open = *self.pane.get_or_insert_with(|| {
            let open = OpenPane::around(step.now, window.length_ms);
            step.due.insert(open.due_mono_ms, What::Pane(index));
            open
        });
        let first = frame.state.pane.is_none();
        frame.state.pane.get_or_insert_with(|| Pane {
            start_ms: open.start_ms,
            end_ms: open.end_ms,
            ..Pane::default()
        });
        let fate = self.call(Handler::Event, key, frame, step);
        match (&fate, &mut frame.state.pane) {
            (Ok(_), Some(pane)) => pane.folded += 1,
            // A fault leaves no trace: no pane of the key, and so no key that displaces another.
            (Err(_), pane) if first => *pane = None,
            _ => {}
        }
        Ok(match fate? {
            Fate::Filtered => Fate::Absorbed,
            fate => fate,
        })
    }

    /// Closes the open pane: calls `on_window` for each of its keys, in the order of their names.
    pub(super) fn close_pane(&mut self, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let Some(open) = self.pane.take() else {
            return;
        };
        let labels = open.relabelled(step.now);
        for key in self.keys.collecting() {
            let Some(place) = self.keys.find(&key) else {
                continue;
            };
            let bytes = self.lend(&key, Some(place), frame);
            let folded = frame.state.pane.as_mut().map_or(0, |pane| {
                (pane.start_ms, pane.end_ms) = (labels.start_ms, labels.end_ms);
                pane.folded
            });
            if folded > 0 {
                self.without_event(Handler::Window, &key, frame, step);
            }
            frame.state.pane = None;
            self.take_back(&key, Some(place), bytes, true, frame, step);
        }
    }

    /// Calls `on_timer` for a timer that fell due.
    pub(super) fn fire_timer(
        &mut self,
        key: &Key,
        id: u32,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let place = self.keys.find(key);
        let bytes = self.lend(key, place, frame);
        if frame.state.timers.remove(&id).is_some() {
            self.without_event(Handler::Timer(id), key, frame, step);
        }
        self.take_back(key, place, bytes, true, frame, step);
    }

    fn without_event(
        &mut self,
        handler: Handler,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        frame.inputs.clear();
        if let Err(fault) = self.call(handler, key, frame, step) {
            self.ledger.faults_without_event += 1;
            self.bury(fault, frame, step);
        }
    }

    /// Calls the function on what is in the frame, and carries out what it asks for, or nothing.
    fn call(
        &mut self,
        handler: Handler,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        frame.effects.clear();
        frame.state_bytes_free = self.state_bytes_max.saturating_sub(self.keys.bytes());
        frame.log_lines_free = self.log_allowance(step.now);
        if step.cold {
            self.function.chill();
        }
        let result = self.function.call(handler, frame);
        self.ledger.fuel += self.function.fuel_used();
        self.pass_on_logs(frame, step);
        let done = match result {
            Ok(verdict) => self
                .check_verdict(handler, verdict)
                .and_then(|()| self.afford(frame, step))
                .and_then(|()| self.emit(verdict, key, frame, step)),
            Err(CallFault::Data { reason }) => Err(Fault::Other(reason.into())),
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
                Err(fault)
            }
        }
    }

    /// Takes what a call asks for from what one event may cost.
    fn afford(&self, frame: &Frame, step: &mut Step<'_>) -> Result<(), Fault> {
        if self.is_volatile() || frame.effects.is_empty() {
            return Ok(());
        }
        let entries = frame.effects.entries.iter();
        let entries: usize = entries
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
            .sum();
        let slots =
            frame.state.slots.len() + frame.state.pane.as_ref().map_or(0, |p| p.slots.len());
        let cost = frame.effects.emitted_bytes + entries + 8 * slots + CALL_BYTES;
        match step.effect_bytes_free.checked_sub(cost) {
            Some(left) => {
                step.effect_bytes_free = left;
                Ok(())
            }
            None => Err(Fault::Other("event too costly".to_owned())),
        }
    }

    fn check_verdict(&self, handler: Handler, verdict: Verdict) -> Result<(), Fault> {
        let passes = verdict == Verdict::Pass;
        let may_pass = handler == Handler::Event && self.window.is_none();
        if passes && (!may_pass || self.ports.is_empty()) {
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
        verdict: Verdict,
        key: &Key,
        frame: &Frame,
        step: &mut Step<'_>,
    ) -> Result<u64, Fault> {
        let first = step.out.len();
        let passed = (verdict == Verdict::Pass).then(|| (0, frame.event.payload.clone()));
        let asked = frame
            .effects
            .emissions
            .iter()
            .map(|e| (e.port, e.payload.clone()));
        for (number, payload) in asked.chain(passed) {
            let Some(port) = self.ports.get(usize::from(number)).and_then(Option::as_ref) else {
                continue;
            };
            match port.topic.render(key) {
                Ok(topic) => step.out.push(Output::Emission(Emitted {
                    port: Arc::clone(port),
                    key: key.clone(),
                    topic,
                    payload,
                    at_ms: step.now.wall_ms,
                })),
                Err(why) => {
                    step.out.truncate(first);
                    return Err(Fault::Other(why));
                }
            }
        }
        Ok((step.out.len() - first) as u64)
    }

    /// Carries out what a call asked for besides emissions.
    fn carry_out(&mut self, key: &Key, frame: &mut Frame, now: Now, due: &mut DueQueue) {
        let Frame { effects, state, .. } = frame;
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
        apply_to_state(effects, state, self.window.map_or(0, |window| window.slots));
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

    fn is_quarantined(&mut self, now: Now) -> bool {
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
    fn bury(&mut self, fault: Fault, frame: &Frame, step: &mut Step<'_>) {
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
