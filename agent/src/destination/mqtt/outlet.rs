//! The loop of one broker: connects and connects again, writes what is loaded in bulk, hears what
//! became of it, sends again what a dead connection left open.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::super::{DestinationReport, Seat};
use super::DestinationSettings;
use super::cargo::Cargo;
use crate::source::mqtt::Version;
use crate::source::mqtt::link::{self, Line, Requests, Signal, until};
use crate::source::mqtt::reconnect::{Lost, Reconnect};
use crate::source::mqtt::trouble::Trouble;
use crate::tls::Watch;

/// How many messages are written with one flush at most, and wait in the library's channel where
/// it can only be written to message by message.
const BATCH_MESSAGES_MAX: usize = 256;

/// How long a connection whose certificates changed waits for acknowledgements at most.
const RENEW_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Outlet {
    settings: DestinationSettings,
    cargo: Cargo,
    stop_seen: watch::Receiver<Option<Instant>>,
    stop_by: Option<Instant>,
    reconnect: Reconnect,
    /// Looks at the certificates of the connection.
    watch: Watch,
    /// They changed: nothing more is written, and the connection is made anew when what was written
    /// is settled, at the latest then.
    renew_by: Option<Instant>,
}

/// How a connection ended.
enum End {
    Stopped,
    Renewed,
    Lost(Trouble),
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
            settings,
            stop_seen,
            stop_by: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let version = self.reconnect.version();
            let peer = self.settings.peer();
            self.watch = Watch::new(self.settings.tls.clone());
            self.renew_by = None;
            let (requests, mut line) = link::open(&peer, version, BATCH_MESSAGES_MAX + 1);
            let end = self.serve(&requests, &mut line).await;
            drop(line);
            match &end {
                End::Lost(Trouble::MessageRefused(why)) => self.cargo.suspect(why),
                End::Lost(Trouble::Closed) => self.cargo.broke(),
                End::Lost(_) | End::Stopped | End::Renewed => {}
            }
            self.cargo.lost();
            let wait = match end {
                End::Stopped => return,
                End::Renewed => {
                    self.reconnect.renewed();
                    Duration::ZERO
                }
                End::Lost(trouble) => self.lost(&peer.address(), &trouble),
            };
            if self.stop_during(wait).await {
                return;
            }
        }
    }

    async fn serve(&mut self, requests: &Requests, line: &mut Line) -> End {
        loop {
            let step = {
                let poll = pin!(line.poll());
                self.step(poll, requests).await
            };
            match step {
                Ok(()) => {}
                Err(End::Lost(trouble)) => {
                    // What was written last may not have left: only acknowledgements count.
                    line.drain(|signal| {
                        if let Signal::Acknowledged { id, refused } = signal {
                            self.cargo.acknowledge(id, refused);
                        }
                    });
                    return End::Lost(trouble);
                }
                Err(end) => return end,
            }
            if let Some(end) = self.take_in(line) {
                return end;
            }
            if let Err(end) = self.write(requests, line).await {
                return end;
            }
            self.cargo.tell();
            self.part_when_done(requests);
        }
    }

    /// Waits for the library, for messages and for the stop. `poll` is never dropped half-way: the
    /// first message of a batch goes through the library's channel, which makes it return.
    async fn step(
        &mut self,
        mut poll: Pin<&mut impl Future<Output = Result<(), Trouble>>>,
        requests: &Requests,
    ) -> Result<(), End> {
        let seat = self.cargo.seat.clone();
        loop {
            let listens = self.may_write();
            let wakes_at = self.cargo.wakes_at().filter(|_| listens);
            tokio::select! {
                biased; // Control before data.
                () = until(self.stop_by) => return Err(End::Stopped),
                changed = self.stop_seen.changed(), if self.stop_by.is_none() => {
                    self.see_stop(changed.is_err());
                    if !self.reconnect.is_connected() && self.cargo.queued() == 0 {
                        return Err(End::Stopped);
                    }
                    self.part_when_done(requests);
                }
                polled = &mut poll => return polled.map_err(End::Lost),
                () = seat.shared().woken.notified(), if listens => {
                    self.cargo.unload();
                    self.ask(requests, 1);
                }
                () = until(wakes_at) => {
                    self.ask(requests, 1);
                }
                () = until(self.renew_by.or(self.watch.next_look())) => {
                    if self.renew() {
                        return Err(End::Renewed);
                    }
                    self.part_when_done(requests);
                }
            }
        }
    }

    /// Asks the library to send the next messages, at most `max`; says whether it had room.
    fn ask(&mut self, requests: &Requests, max: usize) -> bool {
        self.cargo.load(max, Instant::now());
        let asked = self.cargo.loaded().all(|sending| requests.publish(sending));
        self.cargo.tell();
        asked
    }

    /// Looks whether the certificates are others than those of this connection; whether it is time
    /// to end it.
    fn renew(&mut self) -> bool {
        let now = Instant::now();
        if self.renew_by.is_some() {
            return true;
        }
        if self.watch.has_changed(now) && self.reconnect.is_connected() {
            let destination = &self.settings.name;
            info!(destination, "certificates changed: connecting anew");
            self.renew_by = Some(now + RENEW_WITHIN);
        }
        false
    }

    fn see_stop(&mut self, abandoned: bool) {
        let stop_by = *self.stop_seen.borrow_and_update();
        self.stop_by = stop_by.or_else(|| abandoned.then(Instant::now));
    }

    /// Says good-bye once nothing is left to do; the library's word that it left ends the loop.
    fn part_when_done(&mut self, requests: &Requests) {
        let stops = self.stop_by.is_some() && self.cargo.is_done(Instant::now());
        let renews = self.renew_by.is_some() && self.cargo.is_settled();
        if self.reconnect.is_connected() && (stops || renews) {
            requests.disconnect();
        }
    }

    fn take_in(&mut self, line: &mut Line) -> Option<End> {
        let mut end = None;
        let mut came = false;
        line.drain(|signal| match signal {
            Signal::Connected => came = true,
            Signal::PublishSent(id) => self.cargo.sent(id),
            Signal::Acknowledged { id, refused } => self.cargo.acknowledge(id, refused),
            Signal::PublishStuck => {
                let reason = "an acknowledgement did not come in its turn".to_owned();
                end = Some(End::Lost(Trouble::Library(reason)));
            }
            Signal::DisconnectSent if self.stop_by.is_none() => end = Some(End::Renewed),
            Signal::DisconnectSent => end = Some(End::Stopped),
        });
        if came {
            self.welcome(line);
        }
        end
    }

    fn welcome(&mut self, line: &Line) {
        self.reconnect.connected();
        let limits = line.limits();
        if limits.qos == 0 {
            warn!(
                destination = self.settings.name,
                "this broker acknowledges nothing (QoS 0 only): what it loses is lost"
            );
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
        self.cargo.seat.shared().set_status(|status| {
            status.connected = true;
            status.trouble = None;
        });
        let destination = self.cargo.seat.place;
        self.cargo.seat.desk.tell(DestinationReport::Connected {
            destination,
            protocol: Some(protocol),
        });
    }

    /// Writes what waits, as far as the window allows.
    async fn write(&mut self, requests: &Requests, line: &mut Line) -> Result<(), End> {
        self.cargo.unload();
        while self.may_write() {
            match line.bulk() {
                Some(bulk) => {
                    self.cargo.load(BATCH_MESSAGES_MAX, Instant::now());
                    if !self.cargo.is_loaded() {
                        break;
                    }
                    let written = bulk.publish_all(self.cargo.loaded()).await;
                    written.map_err(End::Lost)?;
                }
                None => {
                    if !self.ask(requests, BATCH_MESSAGES_MAX) {
                        let reason = "the request channel is full".to_owned();
                        return Err(End::Lost(Trouble::Library(reason)));
                    }
                    if !self.cargo.is_loaded() {
                        break;
                    }
                }
            }
            if let Some(end) = self.take_in(line) {
                return Err(end);
            }
        }
        Ok(())
    }

    fn may_write(&self) -> bool {
        self.reconnect.is_connected() && self.renew_by.is_none() && self.cargo.may_write()
    }

    /// Says why the connection is gone and how long to wait before the next.
    fn lost(&mut self, broker: &str, trouble: &Trouble) -> Duration {
        let Lost { reason, retry_in } = self.reconnect.lost(trouble, false);
        warn!(
            destination = self.settings.name,
            broker,
            retry_in_ms = retry_in.as_millis(),
            "no connection: {reason}"
        );
        self.cargo.seat.shared().set_status(|status| {
            status.connected = false;
            status.trouble = Some(reason.clone());
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
