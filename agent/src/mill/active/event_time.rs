//! Rules whose time is that of their events: each event waits until the watermark passes it, and is then
//! worked on in the order in which they happened, whether there is a window or not. What falls due at
//! a moment of event time comes before an event of that moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidemill_abi::flag;

use crate::commit::record::Waiting;
use crate::event::clock::{Now, Quality};
use crate::event::ledger::Fate;
use crate::event::payload::PayloadError;
use crate::event::state::time::{self, RULE_KEY};
use crate::event::state::{Key, KeyState};
use crate::event::timestamp::Unreadable;
use crate::event::value::Scalar;
use crate::function::frame::Frame;
use crate::mill::due::What;
use crate::mill::output::{Emitted, Output, PortBinding};
use crate::mill::route::{Route, Stop};
use crate::mill::router::TOPIC_BYTES_MAX;
use crate::mill::watermark::{Arrival, Watermark};
use crate::mill::window::{Moment, Window};
use crate::rule::manifest::WindowKind;
use tidemill_transport::topic::Topic;

use super::behind::{BEHIND, WAITING_MAX};
use super::call::affords_waiting;
use super::fault::Fault;
use super::{Active, Step};

/// Fate of an event that no window can take any more.
pub(super) const LATE: Fate = Fate::Dropped("late");

/// Numbers of calls of one event.
const CALLS: u64 = 1 << 31;

/// The time of a rule's events.
pub(in crate::mill) struct EventTime {
    pub(super) watermark: Watermark,
    /// Due times in event time, each of the rule or of a key.
    due: BTreeSet<(i64, Option<Key>)>,
    /// Counts events that wait, so that those of one moment keep their order.
    pub(super) number: u64,
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
    /// The way of the events of one topic, as far as this rule is concerned.
    route: Option<(Topic, Arc<Route>)>,
    /// Port for events that come too late.
    late: Option<Arc<PortBinding>>,
    /// When a source is looked at that may be idle then.
    idle_at: Option<u64>,
    /// When panes kept for late events are looked at next, in event time.
    pub(super) kept_at: Option<i64>,
    /// `true` once a bad event time was reported: once is enough.
    told_bad: bool,
}

impl EventTime {
    pub(in crate::mill) fn new(
        (streams, late): (usize, Option<Arc<PortBinding>>),
        (floor_ms, sources_bytes_max): (i64, usize),
        now: Now,
    ) -> Self {
        let all = (0..streams).fold(0, |bits, stream| bits | 1 << stream);
        Self {
            watermark: Watermark::new(all, floor_ms, sources_bytes_max, now),
            due: BTreeSet::new(),
            number: 0,
            waiting: 0,
            waiting_bytes: 0,
            route: None,
            late,
            idle_at: None,
            kept_at: None,
            told_bad: false,
        }
    }

    /// Returns `true` if an event waits or something is due.
    pub(in crate::mill) fn holds_something(&self) -> bool {
        self.waiting > 0 || !self.due.is_empty()
    }

    /// Panes due at or before this time can no longer take the event.
    pub(super) fn gone_until(&self, allowed_late_ms: i64, is_late: bool) -> i64 {
        let current = self.watermark.current().filter(|_| is_late);
        current.map_or(i64::MIN, |current| current.saturating_sub(allowed_late_ms))
    }

    /// Removes a due time of the key.
    pub(super) fn look_away(&mut self, due: i64, key: &Key) {
        self.due.remove(&(due, Some(key.clone())));
    }

    /// Sees to it that kept panes are looked at, at this time or before.
    pub(super) fn look_for_kept(&mut self, at: i64) {
        if self.kept_at.is_none() {
            self.kept_at = Some(at);
            self.look_at(at, None);
        }
    }

    /// Adds a due time in event time, of the rule or of a key.
    pub(super) fn look_at(&mut self, due: i64, whose: Option<Key>) {
        self.due.insert((due, whose));
    }
}

/// The next thing to work on.
enum Next {
    Due(i64, Option<Key>),
    Event(i64, u64),
}

impl Active {
    /// Takes an event in that has a time of its own; it is worked on once the watermark passes it.
    pub(super) fn arrive(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Option<Fate> {
        let (taken, affords) = (step.budget.taken(), affords_waiting(frame, step));
        if !affords && step.budget.comes_again() {
            return None;
        }
        step.budget.comes_no_more();
        let mut time = self.time.take()?;
        let before = time.watermark.current();
        let timestamp = timestamp(stop, decoded.is_ok(), frame);
        let (judged, forgotten) = time.watermark.arrive(
            Arrival {
                source: &stop.source,
                streams: stop.streams,
                timestamp: timestamp.as_ref().ok().copied(),
                tells: stop.timestamp.is_some(),
                arrival_ms: frame.event.arrival_ms,
                lateness_ms: stop.lateness_ms,
                idle_ms: stop.idle_ms,
            },
            step.now,
        );
        (frame.event_ms, frame.streams) = (judged.event_ms, stop.streams);
        frame.flags = flags(step.now, judged.is_bad, judged.is_late);
        if judged.is_bad && stop.timestamp.is_some() {
            self.ledger.bad_times += 1;
            if !std::mem::replace(&mut time.told_bad, true) {
                let floor_ms = time.watermark.floor_ms();
                step.out.push(Output::BadTime {
                    rule: self.rule.name.clone(),
                    topic: frame.event.topic.clone(),
                    reason: why_bad(stop, &timestamp, floor_ms, frame),
                });
            }
        }
        let mut state = self.lend_own();
        self.forget_sources(&forgotten, &mut state);
        self.note_source(&time, &stop.source, &mut state);
        let is_late = judged.is_late && !self.is_held_up(step);
        let can_wait = !is_late && affords;
        if can_wait {
            self.wait(&mut time, &mut state, frame, step);
        } else {
            step.budget.give_back_to(taken);
        }
        time.watermark.advance(step.now);
        self.tell_watermark(&time, &mut state, before);
        self.take_own_back(state);
        self.time = Some(time);
        // An event that waits is counted once it is worked on.
        let mut fate = Fate::Absorbed;
        if is_late {
            fate = self.too_late(stop, decoded, frame, step);
            self.ledger.enter(fate);
        } else if !can_wait {
            fate = Fate::Dead;
            self.bury(Fault::TooCostly, frame, step);
            self.ledger.enter(fate);
        }
        if let Some(mut time) = self.time.take() {
            self.schedule(&mut time, step);
            self.time = Some(time);
        }
        Some(fate)
    }

    /// Writes down what is known of a source.
    fn note_source(&mut self, time: &EventTime, name: &str, state: &mut KeyState) {
        if let Some(source) = time.watermark.source(name) {
            let known = (source.mark, source.claim, source.streams);
            let entry = time::source_entry(name, known, source.by_arrival);
            self.put_own(state, entry);
        }
    }

    /// Keeps an event until the watermark passes it.
    fn wait(&mut self, time: &mut EventTime, state: &mut KeyState, frame: &Frame, step: &Step<'_>) {
        let waiting = Waiting {
            event: frame.event.clone(),
            event_ms: frame.event_ms,
            flags: frame.flags,
            streams: frame.streams,
            in_seq: frame.in_seq,
        };
        let name = time::waiting_name(frame.event_ms, time.number);
        let record = waiting.encode();
        time.number += 1;
        time.waiting += 1;
        time.waiting_bytes += record.len();
        self.put_own(state, (name, record.into()));
        let too_many = time.waiting > WAITING_MAX;
        if too_many || time.waiting_bytes > self.state_bytes_max / 2 {
            let oldest = time::waiting(&state.entries).next();
            let oldest = oldest.map(|(event_ms, number, record)| (event_ms, number, record.len()));
            let Some((event_ms, number, bytes)) = oldest else {
                return;
            };
            if self.is_held_up(step) {
                self.remove_own(state, &time::waiting_name(event_ms, number));
                time.waiting -= 1;
                time.waiting_bytes = time.waiting_bytes.saturating_sub(bytes);
                self.ledger.enter(Fate::Dropped(BEHIND));
            } else {
                time.watermark.force(event_ms);
            }
        }
    }

    /// An event that the watermark has passed: its window may fire again, or it goes to the port for
    /// late ones, and is counted.
    fn too_late(
        &mut self,
        stop: &Stop,
        decoded: Result<(), &PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Fate {
        let holds = |window: Window| {
            let time = self.time.as_ref();
            let gone_until = time.map(|time| time.gone_until(window.allowed_late_ms, true));
            window.allowed_late_ms > 0 && Some(window.last_end(frame.event_ms)) > gone_until
        };
        if self.window.is_some_and(holds) {
            let fate = self.work_or_bury(stop, decoded, frame, step);
            if fate != LATE {
                return fate;
            }
        }
        let late = self.time.as_ref().and_then(|time| time.late.clone());
        if let Some(port) = late {
            let key = self.key_of(&stop.key, frame).unwrap_or_else(|_| "".into());
            // A key that cannot be told, or cannot stand in a topic, costs the copy, not the count.
            let event = &frame.event;
            if let Ok(topic) = port.topic_of((&key, None), &event.topic, &event.payload) {
                self.ledger.emissions += 1;
                step.out.push(Output::Emission(Emitted {
                    port,
                    key,
                    topic,
                    payload: frame.kept_payload(),
                    at_ms: step.now.wall_ms,
                    together: (i64::MIN, 0),
                }));
            }
        }
        LATE
    }

    /// Works on the next thing that the watermark has passed.
    pub(in crate::mill) fn release(&mut self, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let Some(mut time) = self.time.take() else {
            return;
        };
        let before = time.watermark.current();
        if time.watermark.advance(step.now) {
            let mut state = self.lend_own();
            self.tell_watermark(&time, &mut state, before);
            self.take_own_back(state);
        }
        let next = self.next(&time);
        if let Some(Next::Due(due, whose)) = &next {
            time.due.remove(&(*due, whose.clone()));
        }
        self.time = Some(time);
        match next {
            None => {}
            Some(Next::Due(due, None)) => self.close_panes(due, step),
            Some(Next::Due(due, Some(key))) => {
                self.close_panes_of(&key, Moment::of_event(due), frame, step);
            }
            Some(Next::Event(event_ms, number)) => self.work_on(event_ms, number, frame, step),
        }
        if let Some(mut time) = self.time.take() {
            self.schedule(&mut time, step);
            self.time = Some(time);
        }
    }

    /// The next thing that the watermark has passed.
    fn next(&self, time: &EventTime) -> Option<Next> {
        let current = time.watermark.current()?;
        // A sliding window fires once everything of the moment of its trigger is there.
        let at_once = |window: Window| window.kind == WindowKind::Sliding && window.delay_ms == 0;
        let reach = current.saturating_add(i64::from(self.window.is_some_and(at_once)));
        let due = time.due.first().filter(|(due, _)| *due <= reach);
        let own = self
            .keys
            .find(RULE_KEY)
            .and_then(|place| self.keys.state_at(place));
        let event = own.and_then(|state| time::waiting(&state.entries).next());
        let event = event.filter(|(event_ms, ..)| *event_ms <= current);
        match (due, event) {
            (Some((due, whose)), event) if event.is_none_or(|(at, ..)| *due <= at) => {
                Some(Next::Due(*due, whose.clone()))
            }
            (_, Some((event_ms, number, _))) => Some(Next::Event(event_ms, number)),
            _ => None,
        }
    }

    /// Works on an event that has waited.
    fn work_on(&mut self, event_ms: i64, number: u64, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let name = time::waiting_name(event_ms, number);
        let mut state = self.lend_own();
        let record = state.entries.get(&name).cloned().unwrap_or_default();
        self.remove_own(&mut state, &name);
        self.take_own_back(state);
        if let Some(time) = &mut self.time {
            time.waiting = time.waiting.saturating_sub(1);
            time.waiting_bytes = time.waiting_bytes.saturating_sub(record.len());
        }
        let Ok(waiting) = Waiting::decode(&record) else {
            return;
        };
        let route = self.route_of(&waiting.event.topic);
        self.work_on_waiting((waiting, number), &route, frame, step);
    }

    /// Works on an event that has waited: for the watermark, or because the rule was behind.
    pub(super) fn work_on_waiting(
        &mut self,
        (waiting, number): (Waiting, u64),
        route: &Route,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        frame.event_ms = waiting.event_ms;
        (frame.flags, frame.streams) = (waiting.flags, waiting.streams);
        frame.in_seq = waiting.in_seq;
        frame.set_event(waiting.event);
        let Some(stop) = route.stops.first() else {
            return;
        };
        let reading = stop.reading.as_ref();
        frame.payload = reading.map(|reading| Arc::clone(&reading.payload));
        if reading.is_some() {
            // The rows of a message draw random numbers of their own.
            frame.call = u32::try_from(number % CALLS).unwrap_or_default();
        }
        let decoded = match reading {
            Some(reading) => {
                let value = reading.payload.value(&frame.event.payload);
                reading.look_at(value, frame)
            }
            None if route.plan.is_empty() => Ok(()),
            None => {
                let Frame { event, decoded, .. } = &mut **frame;
                route.plan.decode(&event.payload, decoded)
            }
        };
        let decoded = decoded.as_ref().copied();
        let fate = if self.time.is_some() && frame.is_late() {
            // It came late while the rule was behind.
            self.too_late(stop, decoded, frame, step)
        } else {
            self.work_or_bury(stop, decoded, frame, step)
        };
        (frame.payload, frame.value) = (None, None);
        self.ledger.enter(fate);
    }

    /// The way of a topic's events, as far as this rule is concerned.
    fn route_of(&mut self, topic: &Topic) -> Arc<Route> {
        let known = self.time.as_ref().and_then(|time| time.route.as_ref());
        if let Some((_, route)) = known.filter(|(known, _)| known.as_str() == topic.as_str()) {
            return Arc::clone(route);
        }
        let route = Arc::new(self.route_of_its_own(topic));
        // A long topic would stay in memory until another one comes, once for each rule.
        let is_short = topic.as_str().len() <= TOPIC_BYTES_MAX;
        if let Some(time) = self.time.as_mut().filter(|_| is_short) {
            time.route = Some((topic.clone(), Arc::clone(&route)));
        }
        route
    }

    /// Enqueues the rule if the watermark has passed something, and its sources for the time at
    /// which one may become idle.
    fn schedule(&self, time: &mut EventTime, step: &mut Step<'_>) {
        if self.next(time).is_some() {
            step.due.insert(step.now.mono_ms, What::Release(self.index));
            return;
        }
        let idle_at = time.watermark.next_idle_mono_ms();
        if let Some(at) = idle_at.filter(|at| *at > step.now.mono_ms && time.idle_at != idle_at) {
            if let Some(old) = time.idle_at.replace(at) {
                step.due.remove(old, What::Release(self.index));
            }
            step.due.insert(at, What::Release(self.index));
        }
    }

    fn tell_watermark(&mut self, time: &EventTime, state: &mut KeyState, before: Option<i64>) {
        if let Some(current) = time.watermark.current().filter(|now| Some(*now) != before) {
            self.put_own(state, time::watermark_entry(current));
        }
    }
}

/// The moment at which an event says it happened.
fn timestamp(stop: &Stop, is_read: bool, frame: &Frame) -> Result<i64, Option<Unreadable>> {
    let (place, timestamp) = stop.timestamp.as_ref().filter(|_| is_read).ok_or(None)?;
    let scalar = frame.decoded.scalars.get(usize::from(*place)).copied();
    timestamp
        .read(scalar.unwrap_or(Scalar::Missing), &frame.decoded)
        .map_err(Some)
}

/// The reason why the time of an event is bad.
fn why_bad(
    stop: &Stop,
    read: &Result<i64, Option<Unreadable>>,
    floor_ms: i64,
    frame: &Frame,
) -> String {
    let Some((place, timestamp)) = &stop.timestamp else {
        return "its stream has no timestamp".to_owned();
    };
    let pointer = &timestamp.pointer;
    match read {
        Err(None) => format!("{pointer} cannot be found: the payload cannot be read"),
        Err(Some(why)) => format!("{pointer} {why}"),
        Ok(ms) => {
            let scalar = frame.decoded.scalars.get(usize::from(*place)).copied();
            let scalar = scalar.unwrap_or(Scalar::Missing);
            let why = timestamp.not_credible(scalar, &frame.decoded, *ms, floor_ms);
            format!("{pointer} {why}")
        }
    }
}

/// The flags that tell a function about the time of an event.
pub(in crate::mill) fn flags(now: Now, is_bad: bool, is_late: bool) -> u32 {
    let bit = |is: bool, flag: i64| {
        if is {
            u32::try_from(flag).unwrap_or(0)
        } else {
            0
        }
    };
    bit(is_late, flag::LATE)
        | bit(is_bad, flag::BAD_TIME)
        | bit(now.quality != Quality::Synced, flag::UNSYNCED_CLOCK)
}
