//! The agent as a whole: one loop on one thread, which takes what the adapters bring, turns the
//! mill, and hands on what comes out. Everything that can make it act is listed in `Input`.

mod outputs;
mod remote;
mod storage;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

pub use remote::Remote;

use crate::clock::{Clock, Now, boot_id};
use crate::config::{Broker, Config};
use crate::install::{install_all, subscriptions};
use crate::mill::{self, BoundRule, DeployError, Deployment, Mill};
use crate::pond::{Pond, PondError};
use crate::source::mqtt as source;
use crate::text::FileError;
use crate::topic::Subscription;

use outputs::Outputs;
use remote::Wish;
use storage::Storage;

/// Batches that may wait for the mill. When it is full the source stops reading, which holds the
/// broker back.
const BATCHES_WAITING_MAX: usize = 16;

/// Longest rest of the loop: what hangs on the wall clock is looked at this often, because nobody
/// says when it is set.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long nothing is taken in while a broker takes less than we send.
const BACKED_UP_REST: Duration = Duration::from_millis(1);

/// How often ledgers are told to those who watch.
const LEDGERS_EVERY_MS: u64 = 100;

/// Before this moment (2026-01-01) no wall clock is believed.
const EARLIEST_WALL_MS: i64 = 1_767_225_600_000;

/// Everything that can make the agent act, besides time and a [`Wish`].
#[derive(Debug)]
enum Input {
    /// The source has something to say.
    Source(source::SourceReport),
    /// The source has ended.
    SourceEnded,
    /// Somebody changed a [`Wish`].
    Woken,
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
    /// The state database cannot be used.
    #[error("state cannot be kept")]
    Storage(#[from] PondError),
    /// A thread could not be started.
    #[error("a thread cannot be started")]
    Thread(#[from] std::io::Error),
    /// A thread ended that should not.
    #[error("the {0} has ended by itself")]
    Ended(&'static str),
}

/// Reads the rules, opens the state and runs until told to stop. `control` is handed what can stop
/// the agent and make it read its rules again.
///
/// # Errors
/// When it cannot start, or cannot keep state any more.
pub fn run(config: Config, control: impl FnOnce(Remote)) -> Result<(), AgentError> {
    let rules = install_all(&config).map_err(AgentError::Rules)?;
    let mut agent = Agent::start(config, rules, control)?;
    let outcome = agent.work();
    agent.stop(outcome)
}

struct Agent {
    config: Config,
    mill: Mill,
    clock: Clock,
    inbox: Receiver<Input>,
    remote: Remote,
    source: source::SourceHandle,
    outputs: Outputs,
    storage: Storage,
    held: Vec<Subscription>,
    /// What the source was asked for last.
    wanted: Vec<Subscription>,
    /// How often systemd wants to hear from us.
    watchdog: Option<Duration>,
    fed_watchdog_mono_ms: u64,
    told_ledgers_mono_ms: u64,
}

impl Agent {
    fn start(
        config: Config,
        rules: Vec<BoundRule>,
        control: impl FnOnce(Remote),
    ) -> Result<Self, AgentError> {
        let pond = Arc::new(Pond::open(&config.data_dir)?);
        let mut saved = pond.read()?;
        let agent_record = saved.agent.take().unwrap_or_default();
        let clock = Clock::new(agent_record.wall_ms.max(EARLIEST_WALL_MS));
        let now = clock.now();
        let boot_id = boot_id();
        if agent_record.boot_id != boot_id {
            saved
                .rules
                .values_mut()
                .for_each(|rule| rule.rebase(agent_record.mono_ms, now.mono_ms));
        }
        let (sender, inbox) = sync_channel(BATCHES_WAITING_MAX);
        let remote = Remote::new(sender.clone());
        let session = session_name(&config);
        let held = pond.subscriptions(&session)?;
        let wanted = subscriptions(&rules, &held);
        let mut mill = Mill::new();
        mill.resume(agent_record.in_seq);
        info!(rules = rules.len(), gateway = config.gateway_id, "deployed");
        let deployment = Deployment {
            rules,
            subscriptions: wanted.clone(),
            saved: saved.rules,
        };
        mill.deploy(now, deployment)?;
        control(remote.clone());
        let outputs = Outputs::start(&config)?;
        let source = start_source(&config, &clock, held.clone(), wanted.clone(), sender)?;
        let storage = Storage::start(pond, session, boot_id)?;
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
        let mut interval_us = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut interval_us)
            .then(|| Duration::from_micros(interval_us / 2));
        Ok(Self {
            config,
            mill,
            clock,
            inbox,
            remote,
            source,
            outputs,
            storage,
            held,
            wanted,
            watchdog,
            fed_watchdog_mono_ms: 0,
            told_ledgers_mono_ms: 0,
        })
    }

    /// Works until somebody wishes the end.
    fn work(&mut self) -> Result<(), AgentError> {
        loop {
            match self.remote.take_wish() {
                Some(Wish::Stop) => return Ok(()),
                Some(Wish::Reload) => self.reload(),
                None => {}
            }
            match self.next(self.rest()) {
                Ok(Input::Source(report)) => self.hear(report)?,
                Ok(Input::SourceEnded) => return Err(AgentError::Ended("source")),
                Ok(Input::Woken) => {}
                Err(RecvTimeoutError::Timeout) => self.turn(mill::Input::Tick),
                Err(RecvTimeoutError::Disconnected) => return Err(AgentError::Ended("inbox")),
            }
            let now = self.clock.now();
            self.feed_watchdog(now);
            self.storage.keep(&mut self.mill, now)?;
            self.tell_ledgers(now);
        }
    }

    /// Tells systemd that the loop turns, twice as often as it wants to hear it.
    fn feed_watchdog(&mut self, now: Now) {
        let Some(every) = self.watchdog else { return };
        if u128::from(now.mono_ms - self.fed_watchdog_mono_ms) >= every.as_millis() {
            self.fed_watchdog_mono_ms = now.mono_ms;
            let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Lets those who watch see the ledgers, a few times a second.
    fn tell_ledgers(&mut self, now: Now) {
        if !self.remote.is_watched() || now.mono_ms < self.told_ledgers_mono_ms + LEDGERS_EVERY_MS {
            return;
        }
        self.told_ledgers_mono_ms = now.mono_ms;
        let all = self
            .mill
            .ledgers()
            .map(|(rule, ledger)| (Arc::clone(rule), ledger.clone()));
        self.remote.tell_ledgers(all.collect());
    }

    /// The next input, or that time is up. While a broker takes less than we send nothing more is taken in:
    /// that holds the source back, and through it the broker that sensors publish to.
    fn next(&self, at_most: Duration) -> Result<Input, RecvTimeoutError> {
        if self.outputs.are_backed_up() {
            std::thread::sleep(BACKED_UP_REST);
            return Err(RecvTimeoutError::Timeout);
        }
        self.inbox.recv_timeout(at_most)
    }

    /// How long the loop may wait for an input.
    fn rest(&self) -> Duration {
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
        [due, self.watchdog, Some(longest)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(longest)
    }

    fn hear(&mut self, report: source::SourceReport) -> Result<(), AgentError> {
        use source::SourceReport as Report;
        match report {
            Report::Events(events) => self.turn(mill::Input::Events(events)),
            Report::Subscribed { held } => {
                self.storage.remember_subscriptions(&held)?;
                self.held = held;
            }
            Report::Connected {
                session_present, ..
            } => {
                if !session_present && !self.held.is_empty() {
                    warn!(
                        "the broker has lost this gateway's session: what it queued while we were away is gone"
                    );
                }
            }
            Report::Refused { filter, reason } => {
                error!(%filter, "the broker refused a subscription, its rules get nothing: {reason}");
            }
            Report::Disconnected { .. } => {}
            Report::Oversized { topic, bytes } => {
                let topic = topic.as_ref().map_or("?", |topic| topic.as_str());
                warn!(
                    topic,
                    bytes, "dropped a packet larger than broker.packet_bytes_max"
                );
            }
            Report::InvalidTopics { count } => warn!(count, "dropped messages with invalid topics"),
        }
        Ok(())
    }

    /// Turns the mill once and hands on what comes out.
    fn turn(&mut self, input: mill::Input) {
        let now = self.clock.now();
        self.mill.step(now, input, self.outputs.buffer());
        self.outputs.hand_on(now);
    }

    /// Reads the rules again. Wrong ones leave the old deployment running.
    fn reload(&mut self) {
        match self.try_reload() {
            Ok(count) => info!(rules = count, "deployed anew"),
            Err(AgentError::Rules(errors)) => {
                for error in errors {
                    error!("rules are not changed: {error}");
                }
            }
            Err(error) => error!("rules are not changed: {:#}", anyhow::Error::from(error)),
        }
    }

    fn try_reload(&mut self) -> Result<usize, AgentError> {
        let rules = install_all(&self.config).map_err(AgentError::Rules)?;
        let count = rules.len();
        let now = self.clock.now();
        // What the pond says of rules that come back must be what they last knew.
        self.storage.write_now(&mut self.mill, now)?;
        let saved = self.storage.saved_rules()?;
        // A filter on its way to the broker keeps its number too: copies that bear it may be
        // waiting already, and would answer no rule under another.
        let known = [self.wanted.as_slice(), &self.held].concat();
        let wanted = subscriptions(&rules, &known);
        let subscriptions = wanted.clone();
        self.mill.deploy(
            now,
            Deployment {
                rules,
                subscriptions,
                saved,
            },
        )?;
        self.source
            .command(source::SourceCommand::Subscriptions(wanted.clone()));
        self.wanted = wanted;
        Ok(count)
    }

    /// Takes no more events, finishes those that are here, sends what waits, writes the state.
    fn stop(mut self, outcome: Result<(), AgentError>) -> Result<(), AgentError> {
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
        let deadline = Instant::now() + self.remote.grace();
        info!("stopping");
        self.source.command(source::SourceCommand::Stop);
        while outcome.is_ok() && Instant::now() < deadline {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(Input::Source(report)) => self.hear(report)?,
                Ok(Input::SourceEnded) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Input::Woken) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.outputs
            .stop(deadline.saturating_duration_since(Instant::now()));
        let now = self.clock.now();
        self.told_ledgers_mono_ms = 0;
        self.tell_ledgers(now);
        self.storage.stop(&mut self.mill, now)?;
        for (rule, ledger) in self
            .mill
            .ledgers()
            .filter(|(_, ledger)| ledger.received > 0)
        {
            let dropped: u64 = ledger.dropped.values().sum();
            info!(
                rule = %rule, received = ledger.received, filtered = ledger.filtered,
                absorbed = ledger.absorbed, emitting = ledger.emitting, dead = ledger.dead,
                dropped, emissions = ledger.emissions, "ledger"
            );
        }
        outcome
    }
}

/// What the broker knows this gateway's session by.
fn session_name(config: &Config) -> String {
    format!(
        "{}:{} {}",
        config.broker.host, config.broker.port, config.gateway_id
    )
}

fn start_source(
    config: &Config,
    clock: &Clock,
    held: Vec<Subscription>,
    wanted: Vec<Subscription>,
    sender: SyncSender<Input>,
) -> Result<source::SourceHandle, std::io::Error> {
    let Broker { host, port, .. } = &config.broker;
    let mut settings = source::SourceSettings::new(host, *port, &config.gateway_id, clock.clone());
    settings.username.clone_from(&config.broker.username);
    settings.password.clone_from(&config.broker.password);
    settings.protocol = config.broker.protocol;
    settings.qos = config.broker.qos;
    settings.packet_bytes_max = config.broker.packet_bytes_max;
    settings.coalesce = config.broker.coalesce;
    let end = SayEnd(sender);
    source::spawn(settings, held, wanted, move |report| {
        let SayEnd(sender) = &end;
        match sender.try_send(Input::Source(report)) {
            Ok(()) => source::Flow::Taken,
            Err(TrySendError::Full(Input::Source(report))) => source::Flow::Full(report),
            Err(_) => source::Flow::Gone,
        }
    })
}

/// Tells the loop that the thread which held this has ended.
struct SayEnd(SyncSender<Input>);

impl Drop for SayEnd {
    fn drop(&mut self) {
        let _ = self.0.send(Input::SourceEnded);
    }
}
