//! An active rule: its function, its keys and its counts. Here an event is made ready for its call;
//! making the call and closing windows are left to the modules below.

mod behind;
mod births;
mod call;
mod closing;
mod event_time;
mod fault;
mod firing;
mod key;
pub(super) mod late;
mod message;
mod own;
mod rows;
mod status;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::commit::record::RuleRecord;
use crate::event::clock::{Now, STEP_MS};
use crate::event::decode::{is_object, not_an_object};
use crate::event::ledger::{Fate, Ledger};
use crate::event::payload::{Format, PayloadError};
use crate::event::state::layout::Naming;
use crate::event::state::{Key, KeyState, OpenPane};
use crate::event::value::{Scalar, Value};
use crate::function::frame::Frame;
use crate::function::{Function, Handler, Module};
use crate::mill::input::{absent_or_wrong, present};
use crate::mill::router::RuleIndex;
use crate::mill::window::Window;
use crate::rule::manifest::Input;
use crate::rule::{Durability, FunctionSource, KeySpec, Rule, Stream, Triggers};

use super::bind::BoundRule;
use super::budget::Budget;
use super::due::{DueQueue, What};
use super::keys::{Held, KeyTable};
use super::no_room::{Limits, NoRoom, Reached, Told};
use super::output::{Output, PortBinding};
use super::pace::Bucket;
use super::route::{Facts, Route, Stop, StopKey};
use super::status::LastError;

use behind::Backlog;
pub(super) use closing::InClosing;
pub(super) use event_time::{EventTime, flags};
use fault::Fault;

/// A rule that is deployed. What every event touches stands first and together: with a thousand
/// rules each piece of memory that a call needs comes from far away.
pub(super) struct Active {
    pub(super) function: Function,
    pub(super) keys: KeyTable,
    pub(super) ledger: Ledger,
    /// Calls since the deployment, to tell apart the emissions of each.
    calls: i64,
    /// When it was deployed.
    started: Now,
    pub(super) state_bytes_max: usize,
    pub(super) quarantined_until_mono_ms: Option<u64>,
    /// Dead letters that this quarantine has made of events.
    pub(super) refused: u32,
    /// The time of the last event, by the wall clock.
    pub(super) last_event_ms: Option<i64>,
    log_second: u64,
    log_lines_free: u32,
    pub(super) index: RuleIndex,
    pub(super) window: Option<Window>,
    /// Names by which the rule's state is found again after an edit.
    pub(super) naming: Naming,
    pub(super) rule: Head,
    pub(super) module: Arc<Module>,
    pub(super) ports: Box<[Option<Arc<PortBinding>>]>,
    pub(super) inputs: Box<[Input]>,
    pub(super) key: KeySpec,
    /// `true` for a statement, to which payloads are rows.
    pub(super) reads_rows: bool,
    /// `true` if the statement has a name for a payload that is no object.
    pub(super) names_self: bool,
    /// The panes that are open for all keys; which keys have events in them stands in their states.
    pub(super) panes: Vec<OpenPane>,
    /// Bytes of the state that is lent, as they stood before.
    lent_bytes: usize,
    /// The time of its events, where they have one.
    pub(super) time: Option<Box<EventTime>>,
    pub(super) schedules: Vec<ScheduleState>,
    /// The pane that closes.
    pub(super) closing: Option<Box<InClosing>>,
    /// Events that wait because the rule is behind, and since when.
    backlog: Option<Box<Backlog>>,
    pub(super) behind_since_mono_ms: Option<u64>,
    /// The fuel that it may use; `None` where as much as it likes.
    bucket: Option<Bucket>,
    /// Fuel from which on a call that fails is the rule's fault, whatever its reason.
    costly_fuel: u64,
    /// The way of events that a schedule makes.
    pub(super) alone: Arc<Route>,
    pub(super) faults_mono_ms: VecDeque<u64>,
    /// The latest error.
    pub(super) last_error: Option<Box<LastError>>,
    /// Tells rule and function from others.
    pub(super) fingerprint: u128,
    /// Limits of its state that it ran into.
    pub(super) reached: Reached,
    /// Most keys of the rule, not counting the one for state that belongs to no key.
    keys_limit: usize,
    /// Losses already reported for this rule.
    pub(super) told: Told,
    /// The rule's counts and record as of the last commit.
    pub(super) committed: Box<Committed>,
}

/// The part of a rule's state, besides its keys, that the last commit holds.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) counts: Ledger,
    pub(super) record: RuleRecord,
}

/// The part of a manifest that is needed once rule and function are bound, kept small so that a
/// thousand rules fit into the processor's cache.
pub(super) struct Head {
    pub(super) name: Arc<str>,
    pub(super) version: u64,
    pub(super) durability: Durability,
    pub(super) triggers: Triggers,
    pub(super) streams: Vec<Stream>,
}

impl From<Rule> for Head {
    fn from(rule: Rule) -> Self {
        Self {
            name: rule.name,
            version: rule.version,
            durability: rule.durability,
            triggers: rule.triggers,
            streams: rule.streams,
        }
    }
}

/// Last and next firing of one of a rule's schedules, in wall time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScheduleState {
    pub(super) last_ms: Option<i64>,
    pub(super) next_ms: Option<i64>,
}

/// Context shared by the calls of a step.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) due: &'a mut DueQueue,
    pub(super) out: &'a mut Vec<Output>,
    pub(super) cold: bool,
    /// Bytes that the effects of the event may have.
    pub(super) budget: Budget,
    /// Fuel spent in this event, or on this thing that fell due.
    pub(super) fuel: u64,
    /// Fuel from which on the event waits for the rules that are left.
    pub(super) fuel_max: u64,
    /// The present moment; [`Step::now`] is earlier for an event that has waited.
    pub(super) clock_mono_ms: u64,
    /// `true` for what comes in its rule's turn; other events wait where the rule is behind.
    pub(super) in_turn: bool,
    /// `true` if nothing more falls due in this turn of the mill.
    pub(super) due_is_over: bool,
}

impl Active {
    pub(super) fn new(index: RuleIndex, bound: BoundRule, floor_ms: i64, now: Now) -> Self {
        let BoundRule {
            rule,
            module,
            function,
            ports,
            inputs,
            key,
            window,
            naming,
            late,
            fingerprint,
            ..
        } = bound;
        let time = rule.is_by_event_time().then(|| {
            let streams = rule.streams.len();
            let sources_bytes_max = rule.limits.state_bytes;
            Box::new(EventTime::new(
                (streams, late),
                (floor_ms, sources_bytes_max),
                now,
            ))
        });
        let is_kept = rule.durability == Durability::ExactlyOnce;
        let keys_limit = rule.limits.keys;
        let keys = KeyTable::new(keys_limit, is_kept);
        let costly_fuel = rule.limits.fuel / 2;
        let state_bytes_max = rule.limits.state_bytes;
        let reads_rows = matches!(rule.function, FunctionSource::Sql(_));
        let names_self = module
            .manifest
            .sql
            .as_ref()
            .is_some_and(|sql| sql.names_self);
        let schedules = vec![ScheduleState::default(); rule.triggers.schedules.len()];
        Self {
            index,
            rule: rule.into(),
            module,
            function,
            ports,
            inputs,
            key,
            reads_rows,
            names_self,
            window,
            naming,
            panes: Vec::new(),
            lent_bytes: 0,
            time,
            closing: None,
            backlog: None,
            behind_since_mono_ms: None,
            bucket: None,
            costly_fuel,
            schedules,
            alone: Arc::default(),
            keys,
            ledger: Ledger::default(),
            calls: 0,
            started: now,
            state_bytes_max,
            faults_mono_ms: VecDeque::new(),
            reached: Reached::default(),
            keys_limit,
            told: Told::default(),
            quarantined_until_mono_ms: None,
            refused: 0,
            last_event_ms: None,
            last_error: None,
            fingerprint,
            log_second: 0,
            log_lines_free: 0,
            committed: Box::default(),
        }
    }

    /// Returns `true` if the rule keeps the metrics that nodes and devices announce at their
    /// births.
    pub(super) fn hears_births(&self) -> bool {
        hears_births(&self.rule.streams)
    }

    /// When the rule was deployed, by the clock as it stood then, or once it was set.
    fn start_ms(&mut self, now: Now) -> i64 {
        let wall_ms = now.wall_at(self.started.mono_ms);
        if wall_ms.abs_diff(self.started.wall_ms) > STEP_MS {
            self.started.wall_ms = wall_ms;
        }
        self.started.wall_ms
    }

    /// Bytes of state that other keys than the one that is lent could make room with.
    fn evictable_bytes(&self) -> usize {
        self.keys.bytes().saturating_sub(self.lent_bytes)
    }

    /// Returns `true` if state and emissions live in memory only.
    pub(super) fn is_volatile(&self) -> bool {
        self.rule.durability == Durability::Volatile
    }

    /// The facts that decide about its part of a route.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            streams: &self.rule.streams,
            key: &self.key,
            inputs: &self.inputs,
            is_volatile: self.is_volatile(),
            reads_rows: self.reads_rows,
            names_self: self.names_self,
        }
    }

    /// Returns `true` if an event that costs too much at this stop leaves no trace, so that the rule can work
    /// on it once more.
    pub(super) fn can_come_again(&self, stop: &Stop) -> bool {
        stop.reading.is_none()
    }

    /// Works on the event in `frame`, and returns its fate; `None` if it costs too much and comes again.
    pub(super) fn event(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Option<Fate> {
        if self.is_quarantined(step.now) {
            let fate = self.refuse(frame, step);
            self.ledger.enter(fate);
            return Some(fate);
        }
        // An event made by a schedule has no time but that of the clock.
        if self.time.is_some() && !frame.event.topic.as_str().is_empty() {
            return self.arrive(stop, decoded, frame, step);
        }
        frame.streams = stop.streams;
        if self.is_behind(step) {
            // It is counted once it is worked on.
            return self.put_behind(frame, step);
        }
        let fate = match self.try_event(stop, decoded, frame, step) {
            Ok(fate) => fate,
            Err(Fault::TooCostly) if step.budget.comes_again() => return None,
            Err(fault) => {
                self.bury(fault, frame, step);
                Fate::Dead
            }
        };
        self.ledger.enter(fate);
        Some(fate)
    }

    /// Works on the event in `frame`; a fault makes a dead letter of it.
    fn work_or_bury(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Fate {
        self.try_event(stop, decoded, frame, step)
            .unwrap_or_else(|fault| {
                self.bury(fault, frame, step);
                Fate::Dead
            })
    }

    fn try_event(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let reads_key = matches!(stop.key, StopKey::Payload(_) | StopKey::Column(_));
        let looks = !stop.inputs.is_empty() || reads_key;
        if (looks || stop.takes_rows) && stop.reading.is_none() && frame.event.payload.is_empty() {
            // A broker says so when a topic is cleared.
            return Ok(Fate::Filtered);
        }
        if looks || stop.reading.is_some() {
            decoded.map_err(|error| Fault::Other(error.to_string()))?;
        }
        if looks && stop.takes_rows && !stop.takes_bare && !is_row(stop, frame) {
            return Err(Fault::Other(not_an_object(&frame.event.payload)));
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
        let place = if self.keys.is_at(&key, guess) {
            Some(guess)
        } else {
            self.keys.find(&key)
        };
        stop.held_at
            .store(place.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.lend(&key, place, frame);
        let result = match self.window {
            Some(window) => self.in_window(window, &key, frame, step),
            None => self.call(Handler::Event, &key, frame, step),
        };
        // A fold changed the count of its pane, whatever else it asked for.
        let changed = self.window.is_some() && !matches!(result, Ok(Fate::Filtered));
        self.take_back(&key, place, changed, frame, step);
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

    /// Puts the state of a key, which is held at `place`, into the frame.
    fn lend(&mut self, key: &Key, place: Option<usize>, frame: &mut Frame) {
        frame.state = place.map_or_else(KeyState::default, |place| self.keys.lend(place));
        frame.key = key.clone();
        self.lent_bytes = frame.state.bytes();
    }

    /// Takes the state of a key back; a key that has none is not held.
    fn take_back(
        &mut self,
        key: &Key,
        place: Option<usize>,
        changed: bool,
        frame: &mut Frame,
        step: &mut Step<'_>,
    ) {
        let changed = changed || !frame.effects.is_empty();
        let state = std::mem::take(&mut frame.state);
        let gone = match place {
            Some(place) => {
                let growth = state.bytes().cast_signed() - self.lent_bytes.cast_signed();
                self.keys.put_back(place, state, growth, changed);
                None
            }
            None if state == KeyState::default() => None,
            None => self.keys.insert(key.clone(), state),
        };
        if let Some(gone) = gone {
            self.reached.keys = true;
            self.forget(gone, step.due);
        }
        while let Some(gone) = self.keys.shrink(self.state_bytes_max, key) {
            self.reached.bytes = true;
            self.forget(gone, step.due);
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            state_bytes: self.state_bytes_max,
            keys: self.keys_limit,
        }
    }

    /// Losses since the last report, if it is time to report them.
    pub(super) fn losses(&mut self, now: Now) -> Option<Output> {
        let limits = self.limits();
        let what = self.told.news(&self.ledger, self.reached, limits, now)?;
        let rule = self.rule.name.clone();
        Some(Output::NoRoom { rule, what })
    }

    /// All that had no room so far.
    pub(super) fn all_losses(&self) -> Option<NoRoom> {
        NoRoom::of_ledger(&self.ledger, self.reached, self.limits())
    }

    pub(super) fn forget(&mut self, gone: Held, due: &mut DueQueue) {
        self.ledger.keys_evicted += 1;
        self.ledger.rows_dropped += gone.state.rows().count() as u64;
        self.cancel_due(&gone.key, &gone.state, due);
    }

    /// Sees to it that nothing falls due any more for a key that is gone.
    pub(super) fn cancel_due(&mut self, key: &Key, state: &KeyState, due: &mut DueQueue) {
        if !self.is_on_grid() {
            for at in state.panes.iter().filter_map(|pane| pane.due) {
                self.look_away(at, key, due);
            }
        }
        for (id, at) in &state.timers {
            due.remove(at.mono_ms, What::Timer(self.index, key.clone(), *id));
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
        self.lend(key, place, frame);
        if frame.state.timers.remove(&id).is_some() {
            self.without_event(Handler::Timer(id), key, frame, step);
        }
        self.take_back(key, place, true, frame, step);
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
            self.bury_without_event(fault, "", frame, step);
        }
    }
}

fn hears_births(streams: &[Stream]) -> bool {
    let mut formats = streams.iter().map(|stream| &stream.payload.format);
    formats.any(|format| *format == Format::Sparkplug)
}

/// Returns `true` if the payload is an object, or is made one by its format.
fn is_row(stop: &Stop, frame: &Frame) -> bool {
    let is_json = |format: &Format| *format == Format::Json;
    let reading = stop.reading.as_ref();
    let is_json = reading.is_none_or(|reading| is_json(&reading.payload.format));
    !is_json || frame.event.payload.is_empty() || is_object(&frame.event.payload)
}

/// The facts of each of a deployment's rules, by its place.
pub(super) fn facts_of<'a>(rules: &'a [Active]) -> impl Fn(RuleIndex) -> Option<Facts<'a>> {
    |rule| rules.get(rule as usize).map(Active::facts)
}
