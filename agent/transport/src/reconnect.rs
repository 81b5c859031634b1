//! State kept from one connection to the next: the version that worked and the number of failures,
//! which decide how long to wait and what to tell the operator.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::link::Version;
use super::negotiation::{Negotiation, Protocol};
use super::trouble::Trouble;
use tidemill_base::backoff::{Backoff, DELAY_MAX, Reminder};

/// This many connections in a row that ended soon look like two clients with one id. Over 3.1.1 the
/// broker cannot say so, and not every broker does over 5.
const SHORT_CONNECTIONS_MAX: u32 = 3;

/// The memory of earlier connections.
#[derive(Debug)]
pub struct Reconnect {
    negotiation: Negotiation,
    backoff: Backoff,
    connected_since: Option<Instant>,
    short_connections: u32,
    reminder: Reminder,
}

/// The end of a connection, or of an attempt.
#[derive(Debug)]
pub struct Lost {
    /// Why, in words a person can act on.
    pub reason: String,
    /// Time until the next attempt.
    pub retry_in: Duration,
    /// The time without a connection, if the log should report it now.
    pub told: Option<Duration>,
}

impl Reconnect {
    /// `preferred` is tried first if the configuration leaves the version open.
    pub fn new(protocol: Protocol, preferred: Version) -> Self {
        Self {
            negotiation: Negotiation::new(protocol, preferred),
            backoff: Backoff::default(),
            connected_since: None,
            short_connections: 0,
            reminder: Reminder::default(),
        }
    }

    /// The version to connect with, or that the broker took.
    pub fn version(&self) -> Version {
        self.negotiation.version()
    }

    /// `true` from [`Self::connected`] to [`Self::lost`].
    pub fn is_connected(&self) -> bool {
        self.connected_since.is_some()
    }

    /// The broker took the connection.
    pub fn connected(&mut self) {
        self.negotiation.accepted();
        self.connected_since = Some(Instant::now());
        self.reminder.over();
    }

    /// The connection was ended by us, to be made again at once.
    pub fn renewed(&mut self) {
        self.connected_since = None;
        self.negotiation.ended();
    }

    /// The connection ended, or never came to be. `at_once`: its owner knows a remedy.
    pub fn lost(&mut self, trouble: &Trouble, at_once: bool) -> Lost {
        let mut at_once = at_once;
        let mut reason = trouble.to_string();
        let connected_since = self.connected_since.take();
        if connected_since.is_some() {
            self.negotiation.ended();
        }
        match connected_since {
            None => at_once |= self.negotiation.failed(trouble),
            // It lasted only because the answer was waited for.
            Some(_) if *trouble == Trouble::Unsubscribed => {}
            Some(since) if since.elapsed() >= DELAY_MAX => {
                self.backoff.reset();
                self.short_connections = 0;
            }
            Some(_) => self.short_connections += 1,
        }
        if *trouble == Trouble::Closed && self.short_connections >= SHORT_CONNECTIONS_MAX {
            reason.push_str("; if this goes on, another client may be using the same client id");
        }
        if self.negotiation.may_be_version() {
            reason.push_str(
                "; a broker that knows MQTT 3.1.1 only may do that without a word: \
                 put protocol = \"3.1.1\" if this is one",
            );
        }
        let retry_in = if at_once {
            Duration::ZERO
        } else {
            self.backoff.after_failure(RandomState::new().hash_one(()))
        };
        let told = self.reminder.due(&reason, Instant::now());
        Lost {
            reason,
            retry_in,
            told,
        }
    }
}
