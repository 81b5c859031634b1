//! Inputs on their way to the state machine, and the clock that it is told the time by.

use crate::bridge;
use crate::time::{Mono, Now};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The kernel is asked this often whether a time server keeps its clock.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// An input, and the connection to the broker from which on it counts.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) connection: Option<u64>,
    pub(super) what: bridge::Input,
}

impl Input {
    pub(super) fn of(what: bridge::Input) -> Self {
        let connection = None;
        Self { connection, what }
    }
}

impl From<bridge::Input> for Input {
    fn from(what: bridge::Input) -> Self {
        Self::of(what)
    }
}

/// Monotonic time since the start, and wall time while it can be believed.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    synced: std::cell::Cell<(Option<Instant>, bool)>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            synced: std::cell::Cell::new((None, false)),
        }
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok();
        let wall_ms = wall.and_then(|wall| u64::try_from(wall.as_millis()).ok());
        Now {
            mono: super::mono(self.start.elapsed()),
            wall_ms: wall_ms.filter(|_| self.is_synced()),
        }
    }

    fn is_synced(&self) -> bool {
        let (asked, was) = self.synced.get();
        if asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return was;
        }
        let is = tidemill_ntp::is_synced();
        self.synced.set((Some(Instant::now()), is));
        is
    }

    /// Waits until a moment, or for ever.
    pub(super) async fn until(&self, at: Option<Mono>) {
        match at {
            // Rounded up, so that the moment has come when it is over.
            Some(at) => tokio::time::sleep_until(self.start + Duration::from_millis(at.0)).await,
            None => std::future::pending().await,
        }
    }
}
