//! The loop of one broker: connects and connects again, writes what may leave in bulk, hears what
//! became of it, sends again what a dead connection left open.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::super::{DestinationReport, Seat};
use super::DestinationSettings;
use super::cargo::Cargo;
use tidemill_base::heartbeat::WORK_WITHIN;
use tidemill_transport::connection::{Accepted, Connection, Incoming, Turn, refusal};
use tidemill_transport::link::{Peer, Refusal, until};
use tidemill_transport::message::Version;
use tidemill_transport::reconnect::{Lost, Reconnect};
use tidemill_transport::tls::Watch;
use tidemill_transport::trouble::Trouble;

/// Longest time for which a connection whose certificates changed waits for acknowledgements.
const RENEW_WITHIN: Duration = Duration::from_secs(5);

/// The next attempt comes at the earliest so long after one that took long itself.
const PAUSE_MIN: Duration = Duration::from_millis(200);

pub(super) struct Outlet {
    settings: DestinationSettings,
    cargo: Cargo,
    stop_seen: watch::Receiver<Option<Instant>>,
    stop_by: Option<Instant>,
    reconnect: Reconnect,
    /// Looks at the certificates of the connection.
    watch: Watch,
    /// Set once the certificates changed: nothing more is written, and the connection is made anew
    /// when everything written is settled, at the latest then.
    renew_by: Option<Instant>,
    /// The good-bye was said.
    parting: bool,
}

/// The end of a connection.
enum End {
    Stopped,
    Renewed,
    Lost(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Lost(trouble)
    }
}

/// An event that wakes the loop of a destination.
enum Happened {
    Turn(Turn),
    Stop {
        abandoned: bool,
    },
    /// There is more to send, or something is due.
    Look,
}

impl Outlet {
    pub(super) fn new(
        settings: DestinationSettings,
        seat: Seat,
        stop_seen: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            cargo: Cargo::new(&settings, seat),
            reconnect: Reconnect::new(settings.protocol, Version::V5),
            watch: Watch::new(None),
            renew_by: None,
            parting: false,
            settings,
            stop_seen,
            stop_by: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let peer = self.settings.peer();
            self.watch = Watch::new(self.settings.tls.clone());
            self.renew_by = None;
            self.parting = false;
            self.cargo.seat.turns(peer.open_within());
            let began = Instant::now();
            let end = match self.open(&peer).await {
                Ok((mut connection, accepted)) => {
                    self.welcome(&accepted);
                    let Err(end) = self.serve(&mut connection).await;
                    self.judge(&end);
                    end
                }
                Err(end) => end,
            };
            let silent = matches!(end, End::Lost(Trouble::Silent));
            self.cargo.lost(silent);
            let wait = match end {
                End::Stopped => return,
                End::Renewed => {
                    self.reconnect.renewed();
                    Duration::ZERO
                }
                End::Lost(trouble) => self.lost(&peer.address(), &trouble, began),
            };
            if self.stop_during(wait).await {
                return;
            }
        }
    }

    /// Connects, unless it is time to stop.
    async fn open(&mut self, peer: &Peer) -> Result<(Connection, Accepted), End> {
        let opened = Connection::open(peer, self.reconnect.version());
        let mut opened = std::pin::pin!(opened);
        loop {
            tokio::select! {
                biased; // Control before data.
                () = until(self.stop_by) => return Err(End::Stopped),
                changed = self.stop_seen.changed(), if self.stop_by.is_none() => {
                    self.see_stop(changed.is_err());
                    if self.cargo.queued() == 0 {
                        return Err(End::Stopped);
                    }
                }
                opened = &mut opened => return Ok(opened?),
            }
        }
    }

    /// Serves a connection to its end.
    async fn serve(
        &mut self,
        connection: &mut Connection,
    ) -> Result<std::convert::Infallible, End> {
        // Packets that came along with the answer are read already.
        self.hear(connection)?;
        loop {
            // Once a ping is due the loop turns, whatever the broker does.
            let ping = self.settings.keep_alive.saturating_add(WORK_WITHIN);
            self.cargo.seat.turns(ping);
            let looked = self.write(connection)?;
            self.cargo.tell();
            self.part_when_done(connection)?;
            match self.wait(looked, connection).await? {
                Happened::Turn(Turn::Read) => self.hear(connection)?,
                Happened::Turn(Turn::PingDue) => connection.ping()?,
                Happened::Stop { abandoned } => self.see_stop(abandoned),
                Happened::Look => {}
            }
        }
    }

    /// Puts what may leave now behind what waits to be written; says when that was.
    fn write(&mut self, connection: &mut Connection) -> Result<Instant, End> {
        let now = Instant::now();
        self.cargo.written(connection.written());
        self.cargo.unload();
        if self.renew_by.is_none() && !self.parting {
            while connection.has_room()
                && let Some(parcel) = self.cargo.next(now)
            {
                let (id, sending) = self.cargo.sending(&parcel);
                let end = connection.publish(id, sending)?;
                self.cargo.sent(id, parcel, end, now);
            }
            if self.cargo.asks() {
                connection.ping()?;
            }
        }
        connection.awaits(self.cargo.patience());
        Ok(now)
    }

    /// Waits for the broker, for messages and for the stop, and writes meanwhile.
    async fn wait(
        &mut self,
        looked: Instant,
        connection: &mut Connection,
    ) -> Result<Happened, End> {
        let shared = self.cargo.seat.shared();
        // One that could have gone on already waits for room, and so for acknowledgements.
        let wakes_at = self.cargo.wakes_at().filter(|at| *at > looked);
        let owed_until = self.cargo.owed_until();
        let writes = !connection.has_room() || self.cargo.is_unwritten() || self.parting;
        tokio::select! {
            biased; // Control before data.
            () = until(self.stop_by) => Err(End::Stopped),
            changed = self.stop_seen.changed(), if self.stop_by.is_none() => {
                let abandoned = changed.is_err();
                Ok(Happened::Stop { abandoned })
            }
            turn = connection.turn_or_written(writes) => {
                Ok(turn?.map_or(Happened::Look, Happened::Turn))
            }
            () = shared.woken.notified() => Ok(Happened::Look),
            () = until(wakes_at) => Ok(Happened::Look),
            () = until(owed_until) => {
                self.cargo.gave_up_waiting();
                Err(End::Lost(Trouble::Unacknowledged))
            }
            () = until(self.renew_by.or(self.watch.next_look())) => self.renew(),
        }
    }

    /// Takes up all that was read.
    fn hear(&mut self, connection: &mut Connection) -> Result<(), End> {
        while let Some(incoming) = connection.next_incoming()? {
            match incoming {
                Incoming::Acknowledged {
                    packet,
                    code,
                    reason,
                } => self.cargo.acknowledge(packet, refusal(code, reason)),
                Incoming::PingAnswered => {
                    if let Some(sent) = connection.answered_ping() {
                        self.cargo.answered(sent, Instant::now());
                    }
                }
                // Nobody has subscribed here.
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks whether the certificates are others than those of this connection; whether it is time
    /// to end it.
    fn renew(&mut self) -> Result<Happened, End> {
        let now = Instant::now();
        if self.renew_by.is_some() {
            return Err(End::Renewed);
        }
        if self.watch.has_changed(now) {
            let destination = &self.settings.name;
            info!(destination, "certificates changed: connecting anew");
            self.renew_by = Some(now + RENEW_WITHIN);
        }
        Ok(Happened::Look)
    }

    fn see_stop(&mut self, abandoned: bool) {
        let stop_by = *self.stop_seen.borrow_and_update();
        self.stop_by = stop_by.or_else(|| abandoned.then(Instant::now));
    }

    /// Says good-bye once nothing is left to do, and ends the connection once that was written.
    fn part_when_done(&mut self, connection: &mut Connection) -> Result<(), End> {
        let stops = self.stop_by.is_some() && self.cargo.is_done(Instant::now());
        let renews = self.renew_by.is_some() && self.cargo.is_settled();
        if !self.parting && (stops || renews) {
            self.parting = true;
            connection.disconnect()?;
        } else if self.parting && connection.is_flushed() {
            return Err(match self.stop_by {
                Some(_) => End::Stopped,
                None => End::Renewed,
            });
        }
        Ok(())
    }

    fn welcome(&mut self, accepted: &Accepted) {
        self.reconnect.connected();
        let limits = accepted.limits;
        let unconfirmed = (limits.qos == 0).then(|| {
            "this broker acknowledges nothing (QoS 0 only): what it loses is lost".to_owned()
        });
        if let Some(why) = &unconfirmed {
            warn!(destination = self.settings.name, "{why}");
        }
        let protocol = self.reconnect.version();
        let (host, port) = (&self.settings.host, self.settings.port);
        info!(
            destination = self.settings.name,
            broker = %format_args!("{host}:{port}"),
            %protocol,
            "connected"
        );
        self.cargo.connected(limits, protocol == Version::V5);
        let unheard = self.cargo.unheard();
        self.cargo.seat.shared().set_status(|status| {
            status.connected = true;
            status.trouble = unheard.map(Trouble::to_string);
            status.unheard = unheard.is_some();
            status.unconfirmed = unconfirmed;
        });
        let destination = self.cargo.seat.place;
        self.cargo.seat.desk.tell(DestinationReport::Connected {
            destination,
            protocol: Some(protocol),
        });
    }

    /// Looks whether a message is to blame for the end of a connection that stood.
    fn judge(&mut self, end: &End) {
        match end {
            End::Lost(Trouble::MessageRefused(why)) => {
                self.cargo.suspect(Refusal::Never(why.clone()));
            }
            End::Lost(Trouble::Denied(why)) => {
                self.cargo.suspect(Refusal::NotAuthorized(why.clone()));
            }
            End::Lost(trouble @ (Trouble::Closed | Trouble::Refused(_))) => {
                self.cargo.broke(&trouble.to_string());
            }
            End::Lost(trouble @ (Trouble::Silent | Trouble::Unacknowledged)) => {
                self.cargo.gave_up(trouble);
            }
            End::Lost(_) | End::Stopped | End::Renewed => {}
        }
    }

    /// Says why the connection is gone and how long to wait before the next.
    fn lost(&mut self, broker: &str, trouble: &Trouble, began: Instant) -> Duration {
        let was_connected = self.reconnect.is_connected();
        let Lost {
            reason,
            retry_in,
            told,
        } = self.reconnect.lost(trouble, false);
        let retry_in = if was_connected {
            retry_in
        } else {
            retry_in.min(PAUSE_MIN.max(retry_in.saturating_sub(began.elapsed())))
        };
        if let Some(lasts) = told {
            let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
            let for_s = lasts.as_secs();
            let destination = &self.settings.name;
            warn!(
                destination,
                broker, retry_in_ms, for_s, "no connection: {reason}"
            );
        }
        // One that gives no sign of life may be away, which is nothing to mend here.
        let unheard = self.cargo.unheard() == Some(&Trouble::Unacknowledged);
        self.cargo.seat.shared().set_status(|status| {
            status.connected = false;
            status.trouble = Some(reason.clone());
            status.unheard = unheard;
        });
        self.cargo.seat.desk.tell(DestinationReport::Disconnected {
            destination: self.cargo.seat.place,
            reason,
            retry_in,
        });
        retry_in
    }

    /// Waits before the next attempt; returns whether to stop instead, which is so when the time is
    /// up or nothing is left to send.
    async fn stop_during(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        if self.stop_by.is_none() {
            let seen = tokio::time::timeout_at(until.into(), self.stop_seen.changed()).await;
            if let Ok(changed) = seen {
                self.see_stop(changed.is_err());
            }
        }
        let Some(stop_by) = self.stop_by else {
            return false;
        };
        if self.cargo.queued() == 0 {
            return true;
        }
        tokio::time::sleep_until(until.min(stop_by).into()).await;
        Instant::now() >= stop_by
    }
}
