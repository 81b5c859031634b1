//! A start that cannot go on yet: the parts of an agent that turn before its loop does, and say why to whoever
//! asks. On a disk that others have filled to the last byte the state cannot even be opened, as opening it
//! may write; so the agent waits for room and takes nothing in.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::control::{self, Asked, Question};
use super::health::{Health, Part};
use super::remote::{Remote, Wish};
use super::wake::Waker;
use super::{AgentError, INBOX_MAX, Input, Link, REST_MAX};
use crate::config::Config;
use crate::storage::pond::{self, PondsError};
use crate::storage::recovery::{self, Recovered};
use tidemill_base::heartbeat::{Heartbeats, Pulse, WORK_WITHIN};

/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// Time between two lines of the log about it.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The parts of an agent that turn before its loop does.
pub(super) struct Lobby {
    pub(super) inbox: Receiver<Input>,
    pub(super) waker: Waker,
    pub(super) remote: Remote,
    pub(super) heartbeats: Heartbeats,
    pub(super) pulse: Pulse,
    /// Interval at which systemd expects a sign of life.
    pub(super) watchdog: Option<Duration>,
    /// The configuration, once questions are answered.
    config: Option<PathBuf>,
}

/// The reason why a start does not go on, and an answer to who asks.
pub(super) trait Hindrance {
    /// One line for questions that only a started agent answers.
    fn refusal(&self) -> String;
    /// Adds to the answer to the question for health.
    fn tell(&self, health: &mut Health);
}

/// The reason why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The time is up.
    Elapsed,
    /// Somebody wished that rules are read again.
    Reload,
    /// Somebody wished the end.
    Stop,
}

impl Lobby {
    pub(super) fn new() -> Self {
        let (sender, inbox) = sync_channel(INBOX_MAX);
        let waker = Waker::new(sender);
        let heartbeats = Heartbeats::default();
        let mut interval_us = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut interval_us)
            .then(|| Duration::from_micros(interval_us / 2));
        Self {
            inbox,
            remote: Remote::new(waker.clone()),
            waker,
            pulse: heartbeats.pulse("agent"),
            heartbeats,
            watchdog,
            config: None,
        }
    }

    /// Answers questions from now on. For the holder of the data directory's lock: what another agent
    /// listens at would be taken away.
    pub(super) fn listen(&mut self, config: &Config) {
        if self.config.replace(config.source.path.clone()).is_none() {
            control::listen(&config.data_dir, &self.heartbeats, &self.waker);
        }
    }

    /// Tells systemd that the process has started: one that waits and is not ready would be ended.
    pub(super) fn is_ready() {
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    }

    /// Opens the data directory, as soon as there is room for that; `None` where somebody wished the end.
    ///
    /// # Errors
    /// When it cannot be used for any other reason.
    pub(super) fn open(&mut self, config: &Config) -> Result<Option<Recovered>, AgentError> {
        let dir = &config.data_dir;
        let mut said: Option<Instant> = None;
        loop {
            self.pulse.works(WORK_WITHIN);
            let why = match recovery::recover(dir, config.segment_bytes) {
                Err(error) if error.is_full() => error.to_string(),
                recovered => {
                    let recovered = recovered?;
                    if said.is_some() {
                        info!("there is room again: the start goes on");
                    }
                    return Ok(Some(recovered));
                }
            };
            if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                said = Some(Instant::now());
                warn!("the disk is full, nothing is taken in until there is room: {why}");
            }
            // Questions go to whoever has the lock. Where even that asks for room, nobody else has it.
            let lock = match pond::lock(dir) {
                Err(error @ PondsError::Locked(_)) => {
                    return Err(recovery::RecoveryError::from(error).into());
                }
                lock => lock.ok(),
            };
            self.listen(config);
            Self::is_ready();
            if self.wait(Some(RETRY), &DiskFull(&why))? == Ended::Stop {
                return Ok(None);
            }
            drop(lock);
        }
    }

    /// Answers questions until the time is up, or somebody wishes something. Where there is no time the wish to
    /// reload ends it too; elsewhere that waits for the loop.
    ///
    /// # Errors
    /// When nobody can ask any more.
    pub(super) fn wait(
        &self,
        within: Option<Duration>,
        hindrance: &dyn Hindrance,
    ) -> Result<Ended, AgentError> {
        let until = within.map(|within| Instant::now() + within);
        loop {
            if self.remote.is_stopping() {
                return Ok(Ended::Stop);
            }
            self.waker.rearm();
            let left = match until {
                Some(until) => until.saturating_duration_since(Instant::now()),
                None if self.remote.take_wish() == Some(Wish::Reload) => return Ok(Ended::Reload),
                None => REST_MAX,
            };
            if left.is_zero() {
                return Ok(Ended::Elapsed);
            }
            self.pulse.rests();
            let rest = self.watchdog.map_or(left, |every| every.min(left));
            let input = self.inbox.recv_timeout(rest);
            self.pulse.works(WORK_WITHIN);
            if self.watchdog.is_some() {
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
            }
            match input {
                Ok(Input::Asked(asked)) => self.answer(asked, hindrance),
                Ok(Input::Woken) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(AgentError::Ended("inbox")),
            }
        }
    }

    fn answer(&self, asked: Asked, hindrance: &dyn Hindrance) {
        let answer = match asked.question {
            Question::Health => self.health(hindrance),
            _ => json!({ "error": hindrance.refusal() }),
        };
        // Whoever asked may have gone.
        let _ = asked.answer.send(answer);
    }

    fn health(&self, hindrance: &dyn Hindrance) -> Value {
        let mut health = Health::of_threads(&self.heartbeats);
        hindrance.tell(&mut health);
        if let Some(config) = &self.config {
            health.seed(config);
        }
        health.broker(&Link::default());
        health.says("taking_in", false);
        health.into_value()
    }
}

/// A disk without room for a start.
struct DiskFull<'a>(&'a str);

impl Hindrance for DiskFull<'_> {
    fn refusal(&self) -> String {
        format!("the agent waits for room: {}", self.0)
    }

    fn tell(&self, health: &mut Health) {
        health.ails("the disk is full");
        health.ill(Part("disk", ""), format!("full: {}", self.0), None);
        health.says("disk_full", true);
        health.says("held_back_by", format!("the disk is full: {}", self.0));
    }
}
