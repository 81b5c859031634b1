//! The part of the loop that stands at the beginning of a connection, and between two: reports, and
//! the wait for the next attempt.

use std::pin::pin;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{End, Intake, STOP_WITHIN};
use crate::source::mqtt::reports::{Offer, Stall};
use crate::source::mqtt::{Flow, SourceReport};
use tidemill_base::heartbeat::WORK_WITHIN;
use tidemill_transport::connection::{Accepted, Connection};
use tidemill_transport::link::{Peer, Version, until};
use tidemill_transport::reconnect::Lost;
use tidemill_transport::trouble::Trouble;

/// Number of time limits that an attempt to connect may take before that is told: a silent broker
/// is given up after one.
const LONG_STEPS: u32 = 2;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    /// Connects, and reports if that takes long: it may take as long as bytes move.
    pub(super) async fn open(&mut self, peer: &Peer) -> Result<(Connection, Accepted), End> {
        let mut opening = pin!(Connection::open(peer, self.reconnect.version()));
        let long = peer.timeout * LONG_STEPS;
        let mut long_at = Some(Instant::now() + long);
        loop {
            tokio::select! {
                biased;
                _ = self.wishes.wait_for(|wishes| wishes.stop) => return Err(End::Stopped),
                opened = &mut opening => return Ok(opened?),
                () = until(long_at) => {}
            }
            long_at = None;
            self.shortfalls.connecting(long);
            if let Some(words) = self.shortfalls.connecting_in_words() {
                warn!("{words}");
            }
            self.say_shortfalls();
            // Offered again with the next, where it is not taken.
            self.reports.offer();
        }
    }

    pub(super) fn welcome(
        &mut self,
        accepted: Accepted,
        connection: &mut Connection,
    ) -> Result<(), End> {
        let Accepted {
            session_present,
            identifiers,
            session_expiry,
            ..
        } = accepted;
        let protocol = self.reconnect.version();
        self.reconnect.connected();
        self.identifiers = identifiers;
        self.kept = session_present;
        let epoch = self.epochs.connected();
        let (host, port) = (&self.settings.host, self.settings.port);
        info!(broker = %format_args!("{host}:{port}"), %protocol, session_present, "connected");
        let asked = self.settings.peer().session_expiry;
        self.shortfalls.connected(session_expiry, asked);
        if let Some(words) = self.shortfalls.session_in_words() {
            warn!("{words}");
        }
        self.reports.say(SourceReport::Connected {
            epoch,
            protocol,
            session_present,
            window: match protocol {
                Version::V5 => Some(self.settings.receive_maximum.unwrap_or(u16::MAX)),
                Version::V311 => None,
            },
        });
        self.say_shortfalls();
        if !session_present {
            self.subscriptions.lost();
            self.say_held();
        }
        self.wishes.mark_unchanged();
        if self.may_subscribe() {
            self.aim(connection)?;
        }
        if self.wishes.borrow().stop {
            self.wishes.mark_changed();
        }
        Ok(())
    }

    /// Gets rid of all reports while there is no connection to look after; `None` when nobody
    /// listens any more, or the time for stopping is up.
    pub(super) async fn deliver(&mut self) -> Option<()> {
        let mut stall = Stall::default();
        loop {
            self.turns(WORK_WITHIN);
            match self.reports.offer() {
                Offer::Taken => return Some(()),
                Offer::Gone => return None,
                Offer::Full if self.stop_is_due() => return None,
                Offer::Full => tokio::time::sleep(stall.pause()).await,
            }
        }
    }

    /// Begins the time of a stop: while reports are stuck nobody looks at the commands.
    pub(super) fn stop_is_due(&mut self) -> bool {
        if self.stop_by.is_none() && self.wishes.borrow().stop {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
        }
        self.stop_by.is_some_and(|at| Instant::now() >= at)
    }

    /// Says why the connection is gone and how long to wait before the next.
    pub(super) fn lost(&mut self, broker: &str, trouble: &Trouble) -> Duration {
        let Lost {
            reason,
            retry_in,
            told,
        } = self.reconnect.lost(trouble, false);
        if let Some(lasts) = told {
            let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
            let for_s = lasts.as_secs();
            warn!(broker, retry_in_ms, for_s, "no connection: {reason}");
        }
        self.reports
            .say(SourceReport::Disconnected { reason, retry_in });
        retry_in
    }

    /// Waits before the next attempt; returns whether to stop instead.
    pub(super) async fn stop_during(&mut self, wait: Duration) -> bool {
        let stopped = self.wishes.wait_for(|wishes| wishes.stop);
        tokio::time::timeout(wait, stopped).await.is_ok()
    }
}
