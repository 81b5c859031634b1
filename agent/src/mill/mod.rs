//! The mill: a deterministic state machine that works on events. It takes time as an argument and
//! opens no file and no socket, so that the same inputs give the same outputs, to the bit, on every
//! machine. Inputs enter through [`Mill::step`]; requests leave as [`Output`]s, in the order in
//! which they were made.

mod acks;
mod active;
mod answers;
mod bind;
mod budget;
mod checkpoint;
mod commit;
mod connections;
mod deploy;
mod dormant;
mod due;
mod durable;
mod forget;
mod handle;
pub mod input;
mod intake;
mod invoke;
mod keys;
mod letters;
mod no_room;
mod output;
mod pace;
mod ponds;
mod power;
mod prove;
mod redrive;
mod room;
mod rounds;
mod route;
pub mod router;
mod schedules;
mod session;
mod stall;
mod status;
mod turn;
pub mod watermark;
pub mod window;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use bind::BoundRule;
pub use deploy::{DeployError, Deployment, Edit, saved_windows};
pub use durable::Keeping;
pub use no_room::NoRoom;
pub use output::{Checkpoint, DeadLetter, Emitted, Input, Invoked, Output, PortBinding, Room};
pub use prove::prove;
pub use status::{LastError, RuleStatus};

use crate::commit::event_ids::EventIds;
use crate::commit::image::{Image, SavedRule};
use crate::commit::outbox::Outbox;
use crate::commit::record::IntakeCounts;
use crate::event::clock::Now;
use crate::event::ledger::Ledger;
use crate::event::{Event, SubscriptionIds, Version};
use crate::function::frame::Frame;
use crate::mill::router::{Router, RuleIndex};
use tidemill_base::number::Lsn;
use tidemill_transport::topic::Topic;

use active::{Active, facts_of};
use due::DueQueue;
use durable::Durable;
use pace::Meter;
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
    /// The rule that had the last turn at what is due.
    last_turn: RuleIndex,
    /// Work done in this step.
    meter: Meter,
    /// The time of this step, or of the last one.
    now_mono_ms: u64,
    /// Events handed over that no step had a share for yet.
    arrived: VecDeque<Event>,
    /// `true` from the beginning of an orderly stop on: what falls due waits for the next start.
    is_stopping: bool,
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
    /// `false` if rules may use as much fuel per second as they like.
    is_paced: bool,
    /// Earliest credible time of an event, in milliseconds since 1970.
    time_floor_ms: i64,
    /// A time without power whose length is not known yet.
    power_gap: Option<Box<PowerGap>>,
    /// Outputs of a call that somebody asked for, gathered while it is made.
    watched: Option<Vec<Output>>,
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
            last_turn: 0,
            meter: Meter::default(),
            now_mono_ms: 0,
            arrived: VecDeque::new(),
            is_stopping: false,
            nowhere: Topic::none(),
            in_seq: 0,
            unrouted: 0,
            wall_offset_ms: None,
            has_schedules: false,
            cold: false,
            is_paced: true,
            time_floor_ms: watermark::FLOOR_MS,
            power_gap: None,
            watched: None,
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

    /// Lets rules of deployments to come use as much fuel per second as they like: a recording is worked
    /// through as quickly as it can be.
    pub fn set_unpaced(&mut self) {
        self.is_paced = false;
    }

    /// Sets the fuel after which a step begins nothing more that is due, and takes no further event.
    pub fn set_share(&mut self, fuel: u64) {
        self.meter = Meter::with(fuel);
    }

    /// Lets nothing fall due any more, because the process is about to end: it waits for the next start.
    pub fn begin_stop(&mut self) {
        self.is_stopping = true;
    }

    /// Turns once: what is due by `now` happens before `input`. Both get a share of the step; what is over
    /// that has its turn in the next step, for which [`Mill::is_busy`] asks. Appends to `out`.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.meter.begin();
        self.now_mono_ms = now.mono_ms;
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
            Input::Events(events) => self.arrived.extend(events),
            Input::Tick => {}
            other => self.handle(now, other, out),
        }
        while self.meter.has_events()
            && let Some(event) = self.arrived.pop_front()
        {
            self.take_in(now, event, out);
            self.commit_if_full(now, out);
            // The events' times may have made something due.
            self.fall_due(now, out);
        }
        self.end_step(now, out);
    }

    /// Returns `true` if the last step had no share for all events that it was given.
    pub fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Returns `true` if there is work that the last step had no share for.
    pub fn is_busy(&self) -> bool {
        let next = self.due.next_mono_ms().filter(|_| !self.is_held());
        self.has_arrived() || next.is_some_and(|next| next <= self.now_mono_ms)
    }

    /// When the mill has to turn again even if nothing comes in, in monotonic time.
    pub fn next_due_mono_ms(&self) -> Option<u64> {
        let durable = self.durable.as_ref().and_then(|d| d.next_due_mono_ms());
        let due = self.due.next_mono_ms().filter(|_| !self.is_held());
        let due = if self.arrived.is_empty() {
            due
        } else {
            Some(0)
        };
        // What is overdue is due now.
        let due = due.map(|due| due.max(self.now_mono_ms));
        [due, durable].into_iter().flatten().min()
    }

    /// Returns `true` if something hangs on the wall clock, which may be set at any moment.
    pub fn has_schedules(&self) -> bool {
        self.has_schedules
    }

    /// Returns `true` if no more events should be taken in for now: the journal or a lane is full, or
    /// rules are behind.
    pub fn is_full(&self) -> bool {
        let durable = self.durable.as_ref();
        durable.is_some_and(|durable| durable.is_full()) || self.is_overloaded()
    }

    /// Returns `true` if many events wait for a rule that is within its fuel: the processor is slower than
    /// events come. One that has used its fuel up holds nobody back.
    pub fn is_overloaded(&self) -> bool {
        let mut ready = self.due.all_ready(self.now_mono_ms);
        ready.any(|rule| self.rules.get(rule as usize).is_some_and(Active::is_loaded))
    }

    /// Returns `true` if timers, windows and schedules wait like sensors do, because their results
    /// find no room: they are late then.
    fn is_held(&self) -> bool {
        self.is_stopping
            || self
                .durable
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
    pub fn lsns(&self) -> (Lsn, Lsn) {
        let durable = self.durable.as_ref();
        durable.map_or((Lsn::ZERO, Lsn::ZERO), |durable| {
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
        self.work(&route, (now, false), out)
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
