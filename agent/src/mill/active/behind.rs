//! Events of a rule that is behind: something fell due before them and did not have its turn yet, a pane
//! closes, or the rule has used its fuel per second up. Each waits among the rule's state, which is
//! journalled for a rule that is exactly-once, and is worked on in its turn as of the moment at which it
//! came.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::commit::record::Waiting;
use crate::event::clock::{Now, signed};
use crate::event::ledger::Fate;
use crate::event::state::KeyState;
use crate::event::state::time;
use crate::function::frame::Frame;
use crate::mill::due::{DueQueue, What, at_least_0};
use crate::mill::route::Route;
use crate::mill::router::{Hit, TOPIC_BYTES_MAX};
use tidemill_transport::topic::Topic;

use super::call::affords_waiting;
use super::fault::Fault;
use super::{Active, Step};

/// Most events of a rule that wait: beyond it, and beyond half of the state that the rule may keep,
/// the oldest does not wait any longer. Of a rule that is behind it is dropped.
pub(super) const WAITING_MAX: usize = 16_384;

/// Why an event of a rule that is behind is not worked on.
pub(super) const BEHIND: &str = "behind";

/// Events that wait because the rule is behind, in the order of their arrival.
#[derive(Debug, Default)]
pub(in crate::mill) struct Backlog {
    events: VecDeque<Waits>,
    bytes: usize,
    /// Counts them, so that those of one moment keep their order.
    number: u64,
    /// The way of the events of one topic, as far as this rule is concerned.
    route: Option<(Topic, Arc<Route>)>,
}

/// The place of an event that waits, and the length of its record.
#[derive(Debug, Clone, Copy)]
struct Waits {
    at: i64,
    number: u64,
    bytes: usize,
}

impl Active {
    /// Number of events that wait because the rule is behind.
    pub(in crate::mill) fn behind(&self) -> usize {
        let backlog = self.backlog.as_ref();
        backlog.map_or(0, |backlog| backlog.events.len())
    }

    /// Returns `true` if so many events wait that no more should come, as long as the rule is within its
    /// fuel: a quarter of those that may.
    pub(in crate::mill) fn is_loaded(&self) -> bool {
        let behind = self
            .backlog
            .as_ref()
            .map(|all| (all.events.len(), all.bytes));
        let waiting = self
            .time
            .as_ref()
            .map(|time| (time.waiting, time.waiting_bytes));
        behind.or(waiting).is_some_and(|(count, bytes)| {
            count >= WAITING_MAX / 4 || bytes >= self.state_bytes_max / 8
        })
    }

    /// Returns `true` if an event that comes now has to wait.
    pub(super) fn is_behind(&self, step: &Step<'_>) -> bool {
        !step.in_turn
            && (step.fuel >= step.fuel_max || step.due.is_behind(self.index, step.now.mono_ms))
    }

    /// Returns `true` if nothing that has waited for the watermark can be worked on now.
    pub(super) fn is_held_up(&self, step: &Step<'_>) -> bool {
        let has_turn = !step.due_is_over || !step.due.is_behind(self.index, step.now.mono_ms);
        !step.in_turn
            && (self.closing.is_some()
                || step.fuel >= step.fuel_max
                || step.due.rests(self.index, step.now.mono_ms)
                || !has_turn)
    }

    /// Keeps the event in the frame until the rule gets to it. Without room the oldest goes.
    pub(super) fn put_behind(&mut self, frame: &mut Frame, step: &mut Step<'_>) -> Option<Fate> {
        if !affords_waiting(frame, step) {
            if step.budget.comes_again() {
                return None;
            }
            self.bury(Fault::TooCostly, frame, step);
            self.ledger.enter(Fate::Dead);
            return Some(Fate::Dead);
        }
        let waiting = Waiting {
            event: frame.event.clone(),
            event_ms: frame.event_ms,
            flags: frame.flags,
            streams: frame.streams,
            in_seq: frame.in_seq,
        };
        let record = waiting.encode();
        let mut backlog = self.backlog.take().unwrap_or_default();
        let waits = Waits {
            at: signed(step.now.mono_ms),
            number: backlog.number,
            bytes: record.len(),
        };
        let mut state = self.lend_own();
        let name = time::behind_name(waits.at, waits.number);
        self.put_own(&mut state, (name, record.into()));
        backlog.number += 1;
        backlog.bytes += waits.bytes;
        backlog.events.push_back(waits);
        self.behind_since_mono_ms.get_or_insert(step.now.mono_ms);
        while backlog.events.len() > WAITING_MAX || backlog.bytes > self.state_bytes_max / 2 {
            if self.take_first(&mut backlog, &mut state, step).is_none() {
                break;
            }
            self.ledger.enter(Fate::Dropped(BEHIND));
        }
        self.take_own_back(state);
        self.backlog = Some(backlog);
        self.queue_behind(step);
        Some(Fate::Absorbed)
    }

    /// Takes the event that has waited for longest out of the state.
    fn take_first(
        &mut self,
        backlog: &mut Backlog,
        state: &mut KeyState,
        step: &mut Step<'_>,
    ) -> Option<(Waits, Box<[u8]>)> {
        let first = backlog.events.pop_front()?;
        backlog.bytes = backlog.bytes.saturating_sub(first.bytes);
        step.due
            .remove(at_least_0(first.at), What::Event(self.index));
        let name = time::behind_name(first.at, first.number);
        let record = state.entries.get(&name).cloned().unwrap_or_default();
        self.remove_own(state, &name);
        Some((first, record))
    }

    /// Enqueues the event that has waited for longest, or notes that none is left.
    fn queue_behind(&mut self, step: &mut Step<'_>) {
        let first = self.first_behind();
        match first {
            Some(at) => step.due.insert(at_least_0(at), What::Event(self.index)),
            None => {
                self.backlog = None;
                self.behind_since_mono_ms = None;
            }
        }
    }

    /// Lets the rule rest for as long as it has to: in quarantine, or without fuel.
    pub(in crate::mill) fn enqueue_rest(&mut self, now: Now, due: &mut DueQueue) {
        let without_fuel = self.bucket.as_mut().and_then(|it| it.spend(0, now.mono_ms));
        for until in self
            .quarantined_until_mono_ms
            .into_iter()
            .chain(without_fuel)
        {
            due.rest(self.index, until);
        }
    }

    /// The moment of the event that has waited for longest.
    pub(in crate::mill) fn first_behind(&self) -> Option<i64> {
        let first = self.backlog.as_ref()?.events.front()?;
        Some(first.at)
    }

    /// Works on the event that has waited for longest, as of the moment at which it came.
    pub(in crate::mill) fn work_on_behind(&mut self, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let Some(mut backlog) = self.backlog.take() else {
            return;
        };
        let mut state = self.lend_own();
        let first = self.take_first(&mut backlog, &mut state, step);
        self.take_own_back(state);
        self.backlog = Some(backlog);
        if let Some((waits, record)) = first
            && let Ok(waiting) = Waiting::decode(&record)
        {
            let now = step.now;
            step.now = Now {
                mono_ms: at_least_0(waits.at),
                wall_ms: waiting.event.arrival_ms,
                ..now
            };
            frame.now = step.now;
            let route = self.route_behind(&waiting.event.topic);
            self.work_on_waiting((waiting, waits.number), &route, frame, step);
            step.now = now;
        }
        self.queue_behind(step);
    }

    /// The way of a topic's events, as far as this rule is concerned. Events without a topic are those of
    /// its schedules.
    fn route_behind(&mut self, topic: &Topic) -> Arc<Route> {
        if topic.as_str().is_empty() {
            return Arc::clone(&self.alone);
        }
        let known = self.backlog.as_ref().and_then(|all| all.route.as_ref());
        if let Some((_, route)) = known.filter(|(known, _)| known.as_str() == topic.as_str()) {
            return Arc::clone(route);
        }
        let route = Arc::new(self.route_of_its_own(topic));
        // A long topic would stay in memory until another one comes, once for each rule.
        let is_short = topic.as_str().len() <= TOPIC_BYTES_MAX;
        if let Some(backlog) = self.backlog.as_mut().filter(|_| is_short) {
            backlog.route = Some((topic.clone(), Arc::clone(&route)));
        }
        route
    }

    /// The way of a topic's events that leads to this rule alone.
    pub(super) fn route_of_its_own(&self, topic: &Topic) -> Route {
        let hit = Hit {
            rule: 0,
            subscription: 0,
            rank: 0,
        };
        Route::new(&[hit], |_| Some(self.facts()), topic)
    }

    /// Finds the events again that an earlier process, or the rule before, had no turn for.
    pub(in crate::mill) fn restore_behind(&mut self, now: Now) {
        let own = self.keys.find(time::RULE_KEY);
        let own = own.and_then(|place| self.keys.state_at(place));
        let Some(own) = own else {
            return;
        };
        let mut backlog = Backlog::default();
        for (at, number, record) in time::behind(&own.entries) {
            backlog.number = backlog.number.max(number + 1);
            backlog.bytes += record.len();
            backlog.events.push_back(Waits {
                at,
                number,
                bytes: record.len(),
            });
        }
        if !backlog.events.is_empty() {
            self.backlog = Some(Box::new(backlog));
            self.behind_since_mono_ms.get_or_insert(now.mono_ms);
        }
    }
}
