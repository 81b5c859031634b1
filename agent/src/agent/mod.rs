//! The agent as a whole: one loop on one thread, which takes the inputs of the adapters, turns the
//! mill, and hands on its outputs. Everything that can make it act is listed in `Input`, and in the
//! sources that `Agent::look_around` polls.

mod answers;
pub mod books;
pub mod control;
mod health;
mod held;
mod installing;
mod invoke;
mod letters;
mod losses;
mod outputs;
mod parts;
mod pushed;
pub mod recorder;
mod refused;
mod reload;
mod remote;
mod room;
pub mod seeded;
mod start;
mod stop;
mod storage;
mod tell;
mod unusable;
mod wake;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use tracing::{error, info, warn};

pub use remote::Remote;
pub use start::{check_destinations, room_warning};

use crate::agent::recorder::Recorder;
use crate::commit::outbox::Outbox;
use crate::config::Config;
use crate::event::Event;
use crate::event::clock::{Clock, Now, Quality};
use crate::event::emission::LaneId;
use crate::fleet::BootError;
use crate::mill::{self, DeployError, Mill, Output};
use crate::source::mqtt as source;
use crate::storage::recovery::RecoveryError;
use tidemill_base::heartbeat::{Heartbeats, Pulse, WORK_WITHIN};
use tidemill_base::text::FileError;
use tidemill_journal::JournalError;
use tidemill_transport::topic::Subscription;

use answers::Promises;
use control::Asked;
use health::Sinces;
use installing::Installing;
use invoke::Invocations;
use losses::Losses;
use outputs::Outputs;
use pushed::Pushed;
use refused::Refused;
use remote::Wish;
use room::Lobby;
use storage::Storage;
use unusable::Unusable;
use wake::Waker;

/// Reports of the source that may wait for the mill. When it is full the source stops reading, which
/// holds the broker back.
const REPORTS_WAITING_MAX: usize = 16;

/// Other inputs that may wait.
const INBOX_MAX: usize = 16;

/// Longest rest of the loop: things that hang on the wall clock are checked this often, because
/// nobody tells when the clock is set.
const REST_MAX: Duration = Duration::from_secs(1);

/// Longest rest of the loop while something is full that nobody tells to be free again: at first,
/// and when that has lasted for a while.
const BACKED_UP_REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(64));

/// Events that the mill is given at once, and bytes after which no further one is added.
const TAKEN_MAX: usize = 256;
const TAKEN_BYTES: usize = 256 * 1024;

/// Interval at which ledgers are told to those who watch.
const LEDGERS_EVERY: Duration = Duration::from_millis(100);

/// A message to the loop; things that are polled instead stand in [`Agent::look_around`].
#[derive(Debug)]
enum Input {
    /// Wakes the loop, which looks around.
    Woken,
    /// A question.
    Asked(Asked),
}

/// Why the agent cannot run, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Rules are wrong.
    #[error("the rules cannot be deployed")]
    Rules(Vec<FileError>),
    /// Their state cannot be carried over.
    #[error("the rules cannot be deployed")]
    Deploy(#[from] DeployError),
    /// The data directory cannot be gone on with.
    #[error("the data directory cannot be used")]
    Recovery(#[from] RecoveryError),
    /// Rows wait for destinations that are gone from the configuration.
    #[error(
        "{rows} emissions wait for destination {name:?}, which is not in the configuration any more: \
         put [destinations.{name}] back, or give them up with discard = [\"{name}\"] under [outbox]; \
         they become dead letters then"
    )]
    Homeless {
        /// The destination.
        name: String,
        /// Number of rows.
        rows: u64,
    },
    /// Pushed rules cannot be kept, or none can run.
    #[error("pushed rules cannot be used")]
    Fleet(#[from] BootError),
    /// The journal cannot be written any more.
    #[error("the journal failed: {0}")]
    Journal(String),
    /// A thread could not be started.
    #[error("a thread cannot be started")]
    Thread(#[from] std::io::Error),
    /// A thread ended that should not.
    #[error("the {0} has ended by itself")]
    Ended(&'static str),
}

impl From<JournalError> for AgentError {
    fn from(error: JournalError) -> Self {
        Self::Recovery(error.into())
    }
}

/// Reads the rules, opens the state and runs until told to stop. `control` is given a handle that
/// can stop the agent and make it read its rules again.
///
/// # Errors
/// When it cannot start, or cannot keep state any more.
pub fn run(config: Config, control: impl FnOnce(Remote)) -> Result<(), AgentError> {
    let lobby = Lobby::new();
    control(lobby.remote.clone());
    let Some(mut agent) = held::start(lobby, config)? else {
        return Ok(());
    };
    let outcome = agent.work();
    agent.stop(outcome)
}

struct Agent {
    config: Config,
    mill: Mill,
    clock: Clock,
    inbox: Receiver<Input>,
    reports: Receiver<source::SourceReport>,
    /// Events that the source has handed over, and the mill was not given yet.
    taken: VecDeque<Event>,
    waker: Waker,
    remote: Remote,
    source: source::SourceHandle,
    outputs: Outputs,
    storage: Storage,
    recorder: Recorder,
    /// Requests of the mill that were not carried out yet.
    asked: Vec<Output>,
    held: Vec<Subscription>,
    /// Subscriptions that the source was last asked for.
    wanted: Vec<Subscription>,
    broker: Link,
    heartbeats: Heartbeats,
    pulse: Pulse,
    backed_up_rest: Duration,
    /// Threads that were last said not to turn.
    said_stuck: Vec<String>,
    /// Interval at which systemd expects a sign of life.
    watchdog: Option<Duration>,
    fed_watchdog_mono_ms: u64,
    told_ledgers_mono_ms: u64,
    checked_mono_ms: u64,
    said_stalled_mono_ms: Option<u64>,
    said_floors_lowered: u64,
    said_quality: Option<Quality>,
    unbalanced: u64,
    /// Rows that waited and can never be read again.
    lost_rows: u64,
    unusable: Unusable,
    /// Rows that found no room, and when.
    losses: Losses,
    sinces: Sinces,
    /// The last reload, where it was refused.
    refused: Refused,
    /// The moment from which on nothing could be taken in, in monotonic time.
    held_back_since_mono_ms: Option<u64>,
    /// Fingerprints of the rules that are deployed.
    fingerprints: BTreeMap<Arc<str>, u128>,
    /// Answers that wait for the disk; as many as questions may be asked at once.
    promised: Promises,
    invocations: Invocations,
    /// Rules that are pushed, where they are.
    pushed: Pushed,
    /// Rules that are read again.
    installing: Installing,
}

/// Status of the connection to the broker that sensors publish to.
#[derive(Debug, Default)]
struct Link {
    connected: bool,
    trouble: Option<String>,
    /// Requests that the broker does not fulfil, in words.
    falls_short: Vec<String>,
}

impl Agent {
    /// Works until a stop is asked for.
    fn work(&mut self) -> Result<(), AgentError> {
        loop {
            self.pulse.works(WORK_WITHIN);
            match self.remote.take_wish() {
                Some(Wish::Stop) => return Ok(()),
                Some(Wish::Reload) => self.reload(),
                None => {}
            }
            self.obey_fleet();
            self.waker.rearm();
            self.take_installed();
            if self.look_around()? {
                self.look_into_inbox()?;
            } else {
                self.wait()?;
            }
            let now = self.clock.now();
            self.feed_watchdog(now);
            self.tell_ledgers(now);
            self.check_ledgers(now);
            self.say_when_stalled(now);
            self.tell_fleet(now);
        }
    }

    /// Takes up the results of work handed out, then one report of the source, if more can be taken
    /// in. Returns `true` if there was anything.
    fn look_around(&mut self) -> Result<bool, AgentError> {
        let mut busy = false;
        for news in self.storage.news()? {
            self.turn(news);
            busy = true;
        }
        self.keep_promises();
        for report in self.outputs.take_lane_reports() {
            self.turn(mill::Input::Lane(report));
            busy = true;
        }
        if self.is_full() {
            return Ok(busy);
        }
        if self.mill.has_arrived() {
            // Of the events that it was given some are left.
            self.turn(mill::Input::Tick);
            return Ok(true);
        }
        if self.take_in_some() {
            return Ok(true);
        }
        match self.reports.try_recv() {
            Ok(report) => self.hear(report),
            Err(TryRecvError::Empty) => return Ok(busy),
            Err(TryRecvError::Disconnected) => return Err(AgentError::Ended("source")),
        }
        Ok(true)
    }

    /// Returns `true` if nothing more can be taken in. That holds the source back, and through it
    /// the broker that sensors publish to.
    fn is_full(&self) -> bool {
        self.mill.is_full()
            || self.outputs.are_backed_up()
            || self.storage.is_backed_up()
            || !self.storage.may_take_in()
    }

    /// Why nothing more can be taken in, where that is so.
    fn held_back_by(&self) -> Option<&'static str> {
        let blocks = || self.mill.outbox().is_some_and(Outbox::blocks);
        self.storage.lacks_room().or_else(|| {
            if blocks() {
                Some("an outbox with when_full = \"block\" is full")
            } else if self.mill.is_overloaded() {
                Some("events come faster than rules work on them")
            } else if self.outputs.are_backed_up() {
                Some("a destination takes less of volatile messages than is sent")
            } else {
                let is_full = self.is_full();
                is_full.then_some("commits are on their way to the disk")
            }
        })
    }

    /// Answers one question, if there is one: those who ask are not kept waiting by a flood.
    fn look_into_inbox(&mut self) -> Result<(), AgentError> {
        match self.inbox.try_recv() {
            Ok(Input::Asked(asked)) => self.answer(asked),
            Ok(Input::Woken) | Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(AgentError::Ended("inbox")),
        }
        Ok(())
    }

    /// Waits until something happens, or is due.
    fn wait(&mut self) -> Result<(), AgentError> {
        let rest = self.rest();
        self.pulse.rests();
        let input = self.inbox.recv_timeout(rest);
        self.pulse.works(WORK_WITHIN);
        self.backed_up_rest = match &input {
            Ok(_) => BACKED_UP_REST.0,
            Err(_) => (self.backed_up_rest * 2).min(BACKED_UP_REST.1),
        };
        match input {
            Ok(Input::Woken) => {}
            Ok(Input::Asked(asked)) => self.answer(asked),
            Err(RecvTimeoutError::Timeout) => self.turn(mill::Input::Tick),
            Err(RecvTimeoutError::Disconnected) => return Err(AgentError::Ended("inbox")),
        }
        Ok(())
    }

    /// Longest time to wait for an input.
    fn rest(&self) -> Duration {
        let is_backed_up = self.outputs.are_backed_up() || self.storage.is_backed_up();
        let backed_up = is_backed_up.then_some(self.backed_up_rest);
        let now = self.clock.now().mono_ms;
        let due = self
            .mill
            .next_due_mono_ms()
            .map(|due| Duration::from_millis(due.saturating_sub(now)));
        let longest = if self.mill.has_schedules() {
            REST_MAX
        } else {
            Duration::from_secs(10)
        };
        let watched = self.remote.is_watched().then_some(LEDGERS_EVERY);
        [
            due,
            self.watchdog,
            backed_up,
            watched,
            self.pushed.rest(),
            Some(longest),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(longest)
    }

    /// Tells systemd that all threads turn, twice as often as it wants to hear it.
    fn feed_watchdog(&mut self, now: Now) {
        let Some(every) = self.watchdog else { return };
        if u128::from(now.mono_ms - self.fed_watchdog_mono_ms) >= every.as_millis() {
            self.fed_watchdog_mono_ms = now.mono_ms;
            if !self.all_threads_turn() {
                return;
            }
            let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Lets those who watch see the ledgers, a few times a second.
    fn tell_ledgers(&mut self, now: Now) {
        let since_ms = u128::from(now.mono_ms.saturating_sub(self.told_ledgers_mono_ms));
        if !self.remote.is_watched() || since_ms < LEDGERS_EVERY.as_millis() {
            return;
        }
        self.told_ledgers_mono_ms = now.mono_ms;
        let all = self
            .mill
            .ledgers()
            .map(|(rule, ledger)| (Arc::clone(rule), ledger.clone()));
        self.remote.tell_ledgers(all.collect());
    }

    fn hear(&mut self, report: source::SourceReport) {
        use source::SourceReport as Report;
        match report {
            Report::Events(events) => {
                for event in events.iter().filter(|event| event.fault.is_none()) {
                    self.recorder.record(event);
                }
                if self.taken.is_empty() {
                    self.taken = events.into();
                } else {
                    self.taken.extend(events);
                }
                self.take_in_some();
            }
            Report::Subscribed { held } => {
                self.held.clone_from(&held);
                self.turn(mill::Input::Subscribed(held));
            }
            Report::Connected {
                epoch,
                protocol,
                session_present,
                window,
            } => {
                self.broker.connected = true;
                self.broker.trouble = None;
                let before = self.mill.version_of(&start::session_name(&self.config));
                if session_present && before.is_some_and(|before| before != protocol) {
                    info!(
                        %protocol,
                        "the session goes on in another version than before: messages on their way \
                         are known by topic and payload alone"
                    );
                }
                self.turn(mill::Input::Connected {
                    epoch,
                    protocol,
                    session_present,
                    window,
                });
            }
            Report::Confirmed(confirmed) => self.turn(mill::Input::Confirmed {
                epoch: confirmed.epoch,
                acknowledged: confirmed.acknowledged,
            }),
            Report::Refused { filter, reason } => {
                error!(%filter, "the broker refused a subscription, its rules get nothing: {reason}");
            }
            Report::FallsShort(all) => self.broker.falls_short = all,
            Report::Disconnected { reason, .. } => {
                self.broker.connected = false;
                self.broker.trouble = Some(reason);
                self.turn(mill::Input::Disconnected);
            }
            Report::Unusable { count, reason } => {
                self.unusable.add(self.clock.now(), count, &reason);
            }
        }
    }

    /// Turns the mill on some of the events that the source has handed over: not more than their
    /// effects find room for. Returns `true` if there were any.
    fn take_in_some(&mut self) -> bool {
        let mut bytes = 0;
        let mut fits = |event: &Event| {
            let before = bytes;
            bytes += event.payload.len() + event.properties.len() + event.topic.as_str().len();
            before < TAKEN_BYTES
        };
        let count = self
            .taken
            .iter()
            .take(TAKEN_MAX)
            .take_while(|event| fits(event))
            .count();
        if count == 0 {
            return false;
        }
        let events = if count == self.taken.len() {
            std::mem::take(&mut self.taken).into()
        } else {
            self.taken.drain(..count).collect()
        };
        self.turn(mill::Input::Events(events));
        true
    }

    /// Turns the mill once and carries out its requests.
    fn turn(&mut self, input: mill::Input) {
        let now = self.clock.now();
        self.mill.step(now, input, &mut self.asked);
        self.carry_out(now);
        // Before anything else comes in, so that one batch is all that a bad version costs.
        self.go_back_if_due();
    }

    /// Rows that waited are gone for good; the lane's gap record and its ledger say so too.
    fn lose(&mut self, lane: &LaneId, count: u64) {
        self.lost_rows += count;
        error!(%lane, count, "rows that waited cannot be read any more and are dropped: is the disk failing?");
    }

    /// Carries out the mill's requests, in order.
    fn carry_out(&mut self, now: Now) {
        let mut asked = std::mem::take(&mut self.asked);
        for output in asked.drain(..) {
            match output {
                Output::Append { lsn, bytes } => self.storage.append(lsn, bytes),
                Output::Acknowledge { epoch, packets } => self.source.acknowledge(epoch, packets),
                Output::Proceed { epoch } => self.source.proceed(epoch),
                Output::ReadBack {
                    lane,
                    wanted,
                    relocate,
                } => self.storage.read_back(lane, wanted, relocate),
                Output::Checkpoint(checkpoint) => self.storage.checkpoint(checkpoint),
                Output::Recycle { below_lsn } => self.storage.recycle(below_lsn),
                Output::SessionLost => warn!(
                    "the broker has lost this gateway's session: what it queued while we were away is gone"
                ),
                Output::Lost { lane, count } => self.lose(&lane, count),
                Output::Invoked { ticket, invoked } => self.invocations.invoked(ticket, &invoked),
                Output::Answer {
                    ticket,
                    wanted,
                    lsn,
                } => self.invocations.answer(ticket, wanted, lsn),
                Output::Unbalanced { what } => {
                    self.unbalanced += 1;
                    error!("a ledger does not balance, please report this: {what}");
                }
                other => {
                    if let Output::Quarantined { rule, .. } = &other {
                        self.pushed.is_quarantined(rule);
                    }
                    self.outputs.carry_out(other, now);
                }
            }
        }
        self.asked = asked;
        self.outputs.flush();
    }
}
