//! The mill: a deterministic state machine that works on events. It takes time as an argument and
//! opens no file and no socket, so that the same inputs give the same outputs, to the bit, on every
//! machine. Inputs enter through [`Mill::step`]; requests leave as [`Output`]s, in the order in
//! which they were made.

mod acks;
mod active;
mod answers;
mod bind;
mod checkpoint;
mod commit;
mod deploy;
mod due;
mod durable;
mod forget;
pub mod input;
mod intake;
mod keys;
mod no_room;
mod output;
mod ponds;
mod power;
mod prove;
mod redrive;
mod room;
mod route;
pub mod router;
mod schedules;
mod session;
mod stall;
mod status;
pub mod watermark;
pub mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub use bind::BoundRule;
pub use deploy::{DeployError, Deployment, Edit, saved_windows};
pub use durable::Keeping;
pub use no_room::NoRoom;
pub use output::{Checkpoint, DeadLetter, Emitted, Input, Output, PortBinding, Room};
pub use prove::prove;
pub use status::{LastError, RuleStatus};

use crate::commit::event_ids::EventIds;
use crate::commit::image::{Image, SavedRule};
use crate::commit::outbox::Outbox;
use crate::commit::record::IntakeCounts;
use crate::config::limits::EFFECT_BYTES_MAX;
use crate::event::clock::{Now, signed};
use crate::event::ledger::{Fate, Ledger};
use crate::event::{Event, Origin, SubscriptionIds, Version};
use crate::function::frame::Frame;
use crate::mill::router::Router;
use crate::mill::window::Moment;
use tidemill_transport::topic::Topic;

use active::{Active, Step, facts_of, flags};
use due::{DueQueue, What};
use durable::Durable;
use power::PowerGap;
use route::Route;

/// The state machine.
pub struct Mill {
    rules: Vec<Active>,
    /// State kept of rules that are not active.
    dormant: BTreeMap<String, SavedRule>,
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
    /// `true` if any rule has a schedule.
    has_schedules: bool,
    /// `true` if every call starts on a fresh instance.
    cold: bool,
    /// Earliest credible time of an event, in milliseconds since 1970.
    time_floor_ms: i64,
    /// A time without power whose length is not known yet.
    power_gap: Option<Box<PowerGap>>,
    /// Durability of effects; without it they are told at once, as `rule test` wants it.
    durable: Option<Box<Durable>>,
}

impl Default for Mill {
    fn default() -> Self {
        Self::new()
    }
}

impl Mill {
    /// A mill without rules that keeps nothing.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            dormant: BTreeMap::new(),
            router: Router::new([]),
            frame: Box::default(),
            due: DueQueue::default(),
            nowhere: Topic::none(),
            in_seq: 0,
            unrouted: 0,
            wall_offset_ms: None,
            has_schedules: false,
            cold: false,
            time_floor_ms: watermark::FLOOR_MS,
            power_gap: None,
            durable: None,
        }
    }

    /// A mill that keeps a journal and goes on from where an earlier one stood. The image's outbox
    /// knows the destinations already.
    pub fn keeping(mut image: Image, keeping: Keeping, now: Now) -> Self {
        let boot = image.boot(&keeping.boot_id, now);
        let mut power_gap = None;
        if let Some(boot) = &boot {
            image.rebase(boot);
            power_gap = PowerGap::of(&image, now).map(Box::new);
        }
        let mut mill = Self {
            power_gap,
            in_seq: image.agent.in_seq,
            dormant: std::mem::take(&mut image.rules),
            ..Self::new()
        };
        mill.durable = Some(Box::new(Durable::new(keeping, image, boot, now)));
        mill
    }

    /// Makes every call start on a fresh instance, so that a function which keeps state in its
    /// memory is found out.
    pub fn set_cold(&mut self, cold: bool) {
        self.cold = cold;
    }

    /// Says from when on the times of events are credible, for recordings from before 2020; holds for
    /// deployments to come.
    pub fn set_time_floor(&mut self, floor_ms: i64) {
        self.time_floor_ms = floor_ms;
    }

    /// Turns once: everything due by `now` happens before `input`. Appends to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.notice_clock_step(now);
        if let Some(durable) = &mut self.durable
            && durable.age.advance(now)
        {
            durable.batch.open_lazily(now);
        }
        self.close_power_gap(now);
        if !self.is_held() {
            self.fall_due(now, out);
        }
        match input {
            Input::Events(events) => {
                for event in events {
                    self.take_in(now, event, out);
                    self.commit_if_full(now, out);
                    // The events' times may have made something due.
                    self.fall_due(now, out);
                }
            }
            Input::Tick => {}
            other => self.hear(now, other, out),
        }
        self.end_step(now, out);
    }

    /// When the mill has to turn again even if nothing comes in, in monotonic time.
    pub fn next_due_mono_ms(&self) -> Option<u64> {
        let durable = self.durable.as_ref().and_then(|d| d.next_due_mono_ms());
        let due = self.due.next_mono_ms().filter(|_| !self.is_held());
        [due, durable].into_iter().flatten().min()
    }

    /// Returns `true` if something hangs on the wall clock, which may be set at any moment.
    pub fn has_schedules(&self) -> bool {
        self.has_schedules
    }

    /// Returns `true` if no more events should be taken in for now: the journal or a lane is full.
    pub fn is_full(&self) -> bool {
        self.durable
            .as_ref()
            .is_some_and(|durable| durable.is_full())
    }

    /// Returns `true` if timers, windows and schedules wait like sensors do, because their results
    /// find no room: they are late then.
    fn is_held(&self) -> bool {
        self.durable
            .as_ref()
            .is_some_and(|durable| durable.is_held())
    }

    /// Returns `true` if everything that was asked for by [`Input::Flush`] is on stable storage.
    pub fn is_flushed(&self) -> bool {
        self.durable.as_ref().is_none_or(|durable| {
            !durable.batch.is_open()
                && durable.durable_lsn + 1 == durable.next_lsn
                && durable.checkpoints.is_idle()
        })
    }

    /// Returns `true` if nothing happened since the last commit that another one would hold.
    pub fn is_settled(&self) -> bool {
        let settled = |durable: &Durable| !durable.batch.is_open() && !durable.outbox.is_changed();
        self.durable.as_deref().is_none_or(settled)
    }

    /// The last commit, and the last that is on stable storage.
    pub fn lsns(&self) -> (u64, u64) {
        let durable = self.durable.as_ref();
        durable.map_or((0, 0), |durable| {
            (durable.next_lsn - 1, durable.durable_lsn)
        })
    }

    /// Names of the rules with the ledgers of their events.
    pub fn ledgers(&self) -> impl Iterator<Item = (&Arc<str>, &Ledger)> {
        self.rules
            .iter()
            .map(|active| (&active.rule.name, &active.ledger))
    }

    /// Events that no rule wanted.
    pub fn unrouted(&self) -> u64 {
        self.unrouted
    }

    /// State of the rules that had to go because it had no room.
    pub fn losses(&self) -> impl Iterator<Item = NoRoom> {
        self.rules.iter().filter_map(Active::all_losses)
    }

    /// Counts of messages by their fate before any rule saw them.
    pub fn intake_counts(&self) -> IntakeCounts {
        let mut counts = IntakeCounts::default();
        if let Some(durable) = &self.durable {
            counts = durable.record.counts;
            counts.add(&durable.batch.counts);
        }
        counts
    }

    /// The names of events that were applied.
    pub fn event_ids(&self) -> Option<&EventIds> {
        self.durable.as_ref().map(|durable| &durable.event_ids)
    }

    /// Rows that wait for destinations.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.durable.as_ref().map(|durable| &durable.outbox)
    }

    /// Subscriptions that the session of this name is known to hold: numbers and filters.
    pub fn subscriptions_of(&self, session: &str) -> Vec<(u32, String)> {
        let durable = self.durable.iter();
        durable
            .flat_map(|durable| durable.session.subscriptions_of(session))
            .map(|(id, filter)| (id, filter.to_owned()))
            .collect()
    }

    /// The version of MQTT in which the session of this name was spoken last.
    pub fn version_of(&self, session: &str) -> Option<Version> {
        self.durable.as_ref()?.session.version_of(session)
    }

    /// Runs an event through the rules of its topic; returns its fate over all of them.
    fn route(
        &mut self,
        now: Now,
        mut event: Event,
        is_named: bool,
        out: &mut Vec<Output>,
    ) -> Worked {
        let Self { router, rules, .. } = self;
        let route = router.route(event.topic.as_str(), |hits| {
            let route = Route::new(hits, facts_of(rules), &event.topic);
            let bytes = route.bytes();
            (route, bytes)
        });
        if is_named && route.is_kept {
            // The copies for other subscriptions bear the same name, and will be told by it. Where all
            // rules are volatile the name is not kept, and each copy is for its own rules.
            event.subscriptions = SubscriptionIds::Unknown;
        }
        self.frame.event_ms = event.arrival_ms;
        self.frame.set_event(event);
        self.work(&route, now, out)
    }

    /// Runs the rules of a route on the event in the frame.
    fn work(&mut self, route: &Route, now: Now, out: &mut Vec<Output>) -> Worked {
        let Self {
            rules,
            frame,
            due,
            in_seq,
            cold,
            durable,
            ..
        } = self;
        frame.now = now;
        frame.in_seq = *in_seq;
        // A rule with a time of its own changes both, for itself only.
        let (event_ms, flags) = (frame.event_ms, flags(now, false, false));
        let decoded = if route.plan.is_empty() {
            Ok(())
        } else {
            let Frame { event, decoded, .. } = &mut **frame;
            route.plan.decode(&event.payload, decoded)
        };
        let first = out.len();
        let mut step = Step {
            now,
            due,
            out,
            cold: *cold,
            effect_bytes_free: EFFECT_BYTES_MAX,
        };
        let mut worked = Worked {
            // A copy that is for other rules than those needs its receipt too: sent again after a
            // deployment it might be for them.
            kept: route.is_kept,
            ..Worked::default()
        };
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
            (frame.event_ms, frame.flags) = (event_ms, flags);
            worked.wanted = true;
            active.last_event_ms = Some(now.wall_ms);
            let fate = match &stop.reading {
                None => active.event(stop, decoded.as_ref().copied(), frame, &mut step),
                Some(reading) => active.each_row(stop, reading, frame, &mut step),
            };
            if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
                durable.touch(active.index);
                worked.effects |= fate != Fate::Filtered;
            }
        }
        // It holds the bytes of the message.
        frame.read = None;
        let asked = EFFECT_BYTES_MAX - step.effect_bytes_free;
        if let Some(durable) = durable {
            durable.batch.effect_bytes += asked;
        }
        self.keep(first, now, out);
        worked
    }

    fn fall_due(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(what) = self.due.pop(now.mono_ms) {
            self.frame.now = now;
            self.frame.event_ms = now.wall_ms;
            self.frame.in_seq = self.in_seq;
            self.frame.call = 0;
            self.frame.flags = flags(now, false, false);
            self.frame.streams = 0;
            if let What::Schedule(rule, number) = what {
                self.run_schedule(rule as usize, number, now, out);
                continue;
            }
            let mut event = Event::new(self.nowhere.clone(), Bytes::new(), now.wall_ms);
            event.origin = Origin::Gateway;
            self.frame.set_event(event);
            let first = out.len();
            let Self {
                rules,
                frame,
                due,
                cold,
                durable,
                ..
            } = self;
            let mut step = Step {
                now,
                due,
                out,
                cold: *cold,
                effect_bytes_free: EFFECT_BYTES_MAX,
            };
            let (What::Pane(rule)
            | What::KeyPane(rule, _)
            | What::Release(rule)
            | What::Timer(rule, ..)
            | What::Schedule(rule, _)) = &what;
            let Some(active) = rules.get_mut(*rule as usize) else {
                continue;
            };
            if active.put_off(&what, &mut step) {
                continue;
            }
            match &what {
                What::Pane(_) => active.close_panes(signed(now.mono_ms), frame, &mut step),
                What::KeyPane(_, key) => {
                    active.close_panes_of(key, Moment::now(now), frame, &mut step);
                }
                What::Release(_) => active.release(frame, &mut step),
                What::Timer(_, key, id) => active.fire_timer(key, *id, frame, &mut step),
                What::Schedule(..) => {}
            }
            let asked = EFFECT_BYTES_MAX - step.effect_bytes_free;
            if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
                durable.touch(active.index);
                durable.batch.open(now);
                durable.batch.effect_bytes += asked;
            }
            self.keep(first, now, out);
            self.commit_if_full(now, out);
        }
    }
}

/// Result of an event over all of its rules.
#[derive(Debug, Clone, Copy, Default)]
struct Worked {
    /// Some rule wanted it.
    wanted: bool,
    /// Some rule that is not volatile listens to its topic.
    kept: bool,
    /// One of those did more than filter it.
    effects: bool,
}

#[cfg(test)]
mod tests;
