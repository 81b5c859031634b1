//! The mill: a deterministic state machine that works on events. It takes time as an argument and
//! opens no file and no socket, so that the same inputs give the same outputs, to the bit, on every
//! machine. What comes in enters through [`Mill::step`]; what has to be done about it leaves in
//! [`Output`]s, in the order in which it happened.

mod active;
mod bind;
mod checkpoint;
mod deploy;
mod due;
mod keys;
mod output;
mod prove;
mod route;

use std::sync::Arc;

use bytes::Bytes;

pub use bind::BoundRule;
pub use checkpoint::{Checkpoint, SavedRule};
pub use deploy::{DeployError, Deployment};
pub use output::{DeadLetter, Emitted, Output, PortBinding};
pub use prove::prove;

use crate::clock::{Now, STEP_MS};
use crate::event::Event;
use crate::frame::Frame;
use crate::ledger::Ledger;
use crate::router::Router;
use crate::topic::Topic;

use active::{Active, Step};
use due::{DueQueue, What};
use route::Route;

/// A schedule that was missed for longer than this is not made up for.
const CATCH_UP_MS: i64 = 3 * 3_600_000;

/// What makes the mill turn.
#[derive(Debug)]
pub enum Input {
    /// Events, in the order of their arrival.
    Events(Vec<Event>),
    /// Nothing but time.
    Tick,
}

/// The state machine.
pub struct Mill {
    rules: Vec<Active>,
    router: Router<Route>,
    frame: Box<Frame>,
    due: DueQueue,
    nowhere: Topic,
    /// Events taken in since the data directory was made.
    in_seq: u64,
    /// Events that no rule wanted.
    unrouted: u64,
    /// Wall minus monotonic time, to notice when the wall clock was set.
    wall_offset_ms: Option<i64>,
    /// Whether any rule has a schedule.
    has_schedules: bool,
    /// Whether every call starts on a fresh instance.
    cold: bool,
}

impl Default for Mill {
    fn default() -> Self {
        Self::new()
    }
}

impl Mill {
    /// A mill without rules.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            router: Router::new([]),
            frame: Box::default(),
            due: DueQueue::default(),
            nowhere: Topic::none(),
            in_seq: 0,
            unrouted: 0,
            wall_offset_ms: None,
            has_schedules: false,
            cold: false,
        }
    }

    /// Makes every call start on a fresh instance, so that a function which keeps state in its
    /// memory is found out.
    pub fn set_cold(&mut self, cold: bool) {
        self.cold = cold;
    }

    /// Turns once: what is due by `now` happens before what `input` brings. Appends to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.notice_clock_step(now);
        self.fall_due(now, out);
        match input {
            Input::Events(events) => {
                for event in events {
                    self.take_in(now, event, out);
                }
            }
            Input::Tick => {}
        }
    }

    /// When the mill has to turn again even if nothing comes in, in monotonic time.
    pub fn next_due_mono_ms(&self) -> Option<u64> {
        self.due.next_mono_ms()
    }

    /// Whether something hangs on the wall clock, which may be set at any moment.
    pub fn has_schedules(&self) -> bool {
        self.has_schedules
    }

    /// Names of the rules with what became of their events.
    pub fn ledgers(&self) -> impl Iterator<Item = (&Arc<str>, &Ledger)> {
        self.rules
            .iter()
            .map(|active| (&active.rule.name, &active.ledger))
    }

    /// Events that no rule wanted.
    pub fn unrouted(&self) -> u64 {
        self.unrouted
    }

    fn take_in(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        self.in_seq += 1;
        if event.topic.as_str().starts_with("tidemill/") {
            self.unrouted += 1;
            return;
        }
        let Self { router, rules, .. } = self;
        let route = router.route(event.topic.as_str(), |hits| {
            Route::new(hits, rules, &event.topic)
        });
        self.frame.event_ms = event.arrival_ms;
        self.frame.event = event;
        self.work(&route, now, out);
    }

    /// Runs the rules of a route on the event in the frame.
    fn work(&mut self, route: &Route, now: Now, out: &mut Vec<Output>) {
        let Self {
            rules,
            frame,
            due,
            in_seq,
            cold,
            ..
        } = self;
        frame.now = now;
        frame.in_seq = *in_seq;
        let decoded = if route.plan.is_empty() {
            Ok(())
        } else {
            let Frame { event, decoded, .. } = &mut **frame;
            route.plan.decode(&event.payload, decoded)
        };
        let mut step = Step {
            now,
            due,
            out,
            cold: *cold,
        };
        let mut wanted = false;
        for (call, stop) in (0..).zip(&route.stops) {
            let Some(active) = rules.get_mut(stop.rule as usize) else {
                continue;
            };
            let event = &frame.event;
            if !event.subscriptions.answers(stop.subscription)
                || (event.retained && !active.rule.triggers.retained)
            {
                continue;
            }
            frame.call = call;
            wanted = true;
            active.event(stop, decoded.as_ref().copied(), frame, &mut step);
        }
        if !wanted {
            self.unrouted += 1;
        }
    }

    fn fall_due(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(what) = self.due.pop(now.mono_ms) {
            self.frame.now = now;
            self.frame.event_ms = now.wall_ms;
            self.frame.in_seq = self.in_seq;
            self.frame.call = 0;
            if let What::Schedule(rule, number) = what {
                self.run_schedule(rule as usize, number, now, out);
                continue;
            }
            self.frame.event = Event::new(self.nowhere.clone(), Bytes::new(), now.wall_ms);
            let Self {
                rules,
                frame,
                due,
                cold,
                ..
            } = self;
            let mut step = Step {
                now,
                due,
                out,
                cold: *cold,
            };
            match what {
                What::Pane(rule) => {
                    if let Some(active) = rules.get_mut(rule as usize) {
                        active.close_pane(frame, &mut step);
                    }
                }
                What::Timer(rule, key, id) => {
                    if let Some(active) = rules.get_mut(rule as usize) {
                        active.fire_timer(&key, id, frame, &mut step);
                    }
                }
                What::Schedule(..) => {}
            }
        }
    }

    /// Runs a rule for a slot of its schedule, and places the next one.
    fn run_schedule(&mut self, rule: usize, number: usize, now: Now, out: &mut Vec<Output>) {
        let Some(active) = self.rules.get_mut(rule) else {
            return;
        };
        let Some(schedule) = active.rule.triggers.schedules.get(number) else {
            return;
        };
        let Some(state) = active.schedules.get_mut(number) else {
            return;
        };
        let Some(slot_ms) = state.next_ms.take() else {
            return;
        };
        let payload = serde_json::json!({ "schedule": schedule.text(), "at": slot_ms }).to_string();
        let periodic = schedule.period_ms().is_some();
        state.last_ms = Some(if periodic { now.wall_ms } else { slot_ms });
        let route = Arc::clone(&active.alone);
        self.place_schedule(rule, number, now);
        self.in_seq += 1;
        self.frame.event_ms = slot_ms;
        self.frame.event = Event::new(self.nowhere.clone(), payload, now.wall_ms);
        self.work(&route, now, out);
    }

    /// Puts the next slot of a schedule into the queue.
    fn place_schedule(&mut self, rule: usize, number: usize, now: Now) {
        let Some(active) = self.rules.get_mut(rule) else {
            return;
        };
        let Some(schedule) = active.rule.triggers.schedules.get(number) else {
            return;
        };
        let Some(state) = active.schedules.get_mut(number) else {
            return;
        };
        if let Some(period_ms) = schedule.period_ms() {
            // It follows monotonic time; a step of the wall clock leaves it alone. What is left of a
            // period that began before the rules were read again is waited for, no more.
            let gone_ms = state
                .last_ms
                .and_then(|last| u64::try_from(now.wall_ms - last).ok());
            let left_ms = gone_ms.map_or(period_ms, |gone| period_ms.saturating_sub(gone));
            let mono_ms = now.mono_ms.saturating_add(left_ms);
            state.next_ms = Some(now.wall_at(mono_ms));
            self.due
                .insert(mono_ms, What::Schedule(active.index, number));
            return;
        }
        // Slots missed within the last three hours run once, a slot that ran never runs again.
        let recently = now.wall_ms.saturating_sub(CATCH_UP_MS);
        let after = match state.last_ms {
            // A slot far ahead was run by a clock that was wrong.
            Some(last) if last >= recently && last - now.wall_ms <= CATCH_UP_MS => last,
            _ => now.wall_ms,
        };
        state.next_ms = match schedule.next_after(after) {
            Some(next) if next < now.wall_ms => latest_slot(schedule, next, now.wall_ms),
            next => next,
        };
        if let Some(next_ms) = state.next_ms {
            self.due
                .insert(now.mono_at(next_ms), What::Schedule(active.index, number));
        }
    }

    fn notice_clock_step(&mut self, now: Now) {
        let offset = now
            .wall_ms
            .saturating_sub(i64::try_from(now.mono_ms).unwrap_or(i64::MAX));
        match self.wall_offset_ms {
            Some(before) if before.abs_diff(offset) <= STEP_MS => return,
            Some(_) => self.place_all_schedules(now),
            None => {}
        }
        self.wall_offset_ms = Some(offset);
    }

    /// Places every schedule that hangs on the wall clock anew.
    fn place_all_schedules(&mut self, now: Now) {
        let mut on_the_wall = Vec::new();
        for (rule, active) in self.rules.iter().enumerate() {
            for (number, schedule) in active.rule.triggers.schedules.iter().enumerate() {
                if schedule.period_ms().is_none() {
                    self.due.drop_schedule(active.index, number);
                    on_the_wall.push((rule, number));
                }
            }
        }
        for (rule, number) in on_the_wall {
            self.place_schedule(rule, number, now);
        }
    }
}

/// The latest slot from `first` on that is not after `now_ms`: of several missed ones it stands for
/// all.
fn latest_slot(schedule: &crate::schedule::Schedule, first: i64, now_ms: i64) -> Option<i64> {
    let mut latest = first;
    while let Some(next) = schedule.next_after(latest).filter(|next| *next <= now_ms) {
        latest = next;
    }
    Some(latest)
}

#[cfg(test)]
mod tests;
