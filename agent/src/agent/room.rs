//! A start on a disk that others have filled to the last byte. The state cannot even be opened
//! there, as opening it may write; so the agent waits for room, takes nothing in, and says so to
//! whoever asks.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::control::{self, Asked, Question};
use super::health::{Health, Part};
use super::remote::Remote;
use super::wake::Waker;
use super::{AgentError, Input, Link};
use crate::config::Config;
use crate::storage::pond::{self, PondsError};
use crate::storage::recovery::{self, Recovered};
use tidemill_base::heartbeat::{Heartbeats, Pulse, WORK_WITHIN};

/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// Time between two lines of the log about it.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The parts of an agent that turn before its loop does.
pub(super) struct Lobby<'a> {
    pub(super) config: &'a Config,
    pub(super) inbox: &'a Receiver<Input>,
    pub(super) waker: &'a Waker,
    pub(super) remote: &'a Remote,
    pub(super) heartbeats: &'a Heartbeats,
    pub(super) pulse: &'a Pulse,
    /// Interval at which systemd expects a sign of life.
    pub(super) watchdog: Option<Duration>,
}

/// The end of waiting for the data directory.
pub(super) enum Opened {
    /// The data directory; `true` if questions are answered already.
    Open(Box<Recovered>, bool),
    /// A stop was asked for.
    Stopped,
}

impl Lobby<'_> {
    /// Opens the data directory, as soon as there is room for that.
    ///
    /// # Errors
    /// When it cannot be used for any other reason.
    pub(super) fn open(&self) -> Result<Opened, AgentError> {
        let dir = &self.config.data_dir;
        let (mut said, mut is_listening): (Option<Instant>, bool) = (None, false);
        loop {
            self.pulse.works(WORK_WITHIN);
            let why = match recovery::recover(dir, self.config.segment_bytes) {
                Err(error) if error.is_full() => error.to_string(),
                recovered => {
                    let recovered = Box::new(recovered?);
                    if said.is_some() {
                        info!("there is room again: the start goes on");
                    }
                    return Ok(Opened::Open(recovered, is_listening));
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
            if !is_listening {
                is_listening = true;
                control::listen(dir, self.heartbeats, self.waker);
                // It has started, and waits; one that is not ready would be ended.
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
            }
            if !self.wait(&why)? {
                return Ok(Opened::Stopped);
            }
            drop(lock);
        }
    }

    /// Answers questions until it is time to try again. Returns whether it is, and not to stop.
    fn wait(&self, why: &str) -> Result<bool, AgentError> {
        let until = Instant::now() + RETRY;
        loop {
            if self.remote.is_stopping() {
                return Ok(false);
            }
            self.waker.rearm();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            self.pulse.rests();
            let rest = self.watchdog.map_or(left, |every| every.min(left));
            let input = self.inbox.recv_timeout(rest);
            self.pulse.works(WORK_WITHIN);
            if self.watchdog.is_some() {
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
            }
            match input {
                Ok(Input::Asked(asked)) => self.answer(asked, why),
                Ok(Input::Woken) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(AgentError::Ended("inbox")),
            }
        }
    }

    fn answer(&self, asked: Asked, why: &str) {
        let answer = match asked.question {
            Question::Health => self.health(why),
            _ => json!({ "error": format!("the agent waits for room: {why}") }),
        };
        // Whoever asked may have gone.
        let _ = asked.answer.send(answer);
    }

    fn health(&self, why: &str) -> Value {
        let mut health = Health::of_threads(self.heartbeats);
        health.ails("the disk is full");
        health.ill(Part("disk", ""), format!("full: {why}"), None);
        health.broker(&Link::default());
        health.says("disk_full", true);
        health.says("taking_in", false);
        health.says("held_back_by", format!("the disk is full: {why}"));
        health.into_value()
    }
}
