//! The source's loop: connects and connects again, drains the socket, hands batches on, writes
//! acknowledgements, follows the commands of the agent. The order of work on one connection stands
//! in [`Intake::round`].

mod between;
mod filters;
mod messages;
mod renewal;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::awaited::Awaited;
use super::epochs::{Confirmation, Epochs};
use super::reports::{Offer, Reports, Stall};
use super::rest::Rest;
use super::shortfalls::Shortfalls;
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use super::waiting::Waiting;
use super::{Flow, SourceReport, SourceSettings, Wishes};
use tidemill_base::heartbeat::{Pulse, WORK_WITHIN};
use tidemill_transport::connection::{Connection, Incoming, Turn};
use tidemill_transport::fingerprint::Fingerprints;
use tidemill_transport::link::{Peer, Version, once, until};
use tidemill_transport::reconnect::Reconnect;
use tidemill_transport::tls::Watch;
use tidemill_transport::trouble::Trouble;

/// A batch this large of QoS 1 messages may be all that the broker sends before it wants
/// acknowledgements (mosquitto's default is 20): resting after it would cap the throughput.
const WINDOW_MIN: usize = 10;

/// Most acknowledgements written before the next check whether the broker has to be asked for an answer.
const ACKNOWLEDGEMENTS_AT_ONCE: usize = 4_096;

/// Most packets taken from the connection at once.
const HEARD_AT_ONCE: usize = 16;

/// Time without a pause after which the loop lets the runtime look at its timers and at the socket.
const YIELD_EVERY: Duration = Duration::from_millis(20);

/// Most reads of the socket before the loop looks at everything else: they may bring no event at
/// all.
const READS_AT_ONCE: usize = 256;

/// Longest time for the good-bye.
const STOP_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Intake<R> {
    settings: SourceSettings,
    wishes: watch::Receiver<Wishes>,
    waiting: Arc<Waiting>,
    epochs: Epochs,
    /// Packets of the living connection, not yet looked at.
    heard: VecDeque<Incoming>,
    fingerprints: Fingerprints,
    subscriptions: Subscriptions,
    awaited: Awaited,
    shortfalls: Shortfalls,
    reconnect: Reconnect,
    topics: Topics,
    reports: Reports<R>,
    arrival_ms: i64,
    /// `true` if copies on this connection name their subscriptions.
    identifiers: bool,
    /// `true` if the broker kept the session.
    kept: bool,
    stop_by: Option<Instant>,
    /// Looks at the certificates of the connection.
    watch: Watch,
    /// Set once the certificates changed: the connection is made anew, at the latest then.
    renew_by: Option<Instant>,
    /// `true` once the good-bye is said: the broker will send again whatever it still sends.
    leaving: bool,
    /// When the runtime last looked at its timers, at the earliest.
    yielded: Instant,
    pulse: Arc<Pulse>,
    rest: Rest,
}

/// The end of a connection.
enum End {
    Stopped,
    /// The certificates changed.
    Renewed,
    Lost(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Lost(trouble)
    }
}

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    pub(super) fn new(
        settings: SourceSettings,
        held: Vec<super::Subscription>,
        (wishes, waiting): (watch::Receiver<Wishes>, Arc<Waiting>),
        pulse: Arc<Pulse>,
        report: R,
    ) -> Self {
        Self {
            wishes,
            waiting,
            epochs: Epochs::default(),
            heard: VecDeque::new(),
            fingerprints: Fingerprints::default(),
            reports: Reports::new(settings.batch_events_max, report),
            subscriptions: Subscriptions::new(held),
            awaited: Awaited::new(settings.timeout),
            shortfalls: Shortfalls::default(),
            reconnect: Reconnect::new(settings.protocol, Version::V5),
            topics: Topics::default(),
            arrival_ms: 0,
            identifiers: false,
            kept: false,
            stop_by: None,
            watch: Watch::new(None),
            renew_by: None,
            leaving: false,
            yielded: Instant::now(),
            pulse,
            rest: Rest::new(settings.coalesce),
            settings,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let peer = self.settings.peer();
            self.turns(peer.open_within());
            self.watch = Watch::new(self.settings.tls.clone());
            let end = self.connect(&peer).await;
            self.epochs.lost(&mut self.heard);
            self.subscriptions.interrupted();
            self.awaited.forget();
            self.shortfalls.disconnected();
            self.reports.close_batch();
            let end = match end {
                End::Lost(_) if self.renew_by.is_some() && self.stop_by.is_none() => End::Renewed,
                end => end,
            };
            let wait = match end {
                End::Renewed => self.renewed(),
                // The broker has read all our acknowledgements and hung up, as it should.
                End::Lost(_) if self.leaving => Duration::ZERO,
                End::Stopped => Duration::ZERO,
                End::Lost(ref trouble) => self.lost(&peer.address(), trouble),
            };
            self.say_shortfalls();
            let ends = self.leaving || matches!(end, End::Stopped);
            if self.deliver().await.is_none() || ends || self.stop_during(wait).await {
                return;
            }
        }
    }

    /// One connection, from the attempt to its end.
    async fn connect(&mut self, peer: &Peer) -> End {
        let (mut connection, accepted) = match self.open(peer).await {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        let mut begun = self.welcome(accepted, &mut connection);
        if begun.is_ok() {
            // Packets that came along with the answer are read already.
            begun = self.hear(&mut connection);
        }
        if let Err(end) = begun {
            return end;
        }
        loop {
            if let Err(end) = self.round(&mut connection).await {
                return end;
            }
        }
    }

    /// Reads all there is, hands it on, rests, and waits for more.
    async fn round(&mut self, connection: &mut Connection) -> Result<(), End> {
        let drained = self.drain(connection).await?;
        let gathered = self.reports.close_batch();
        self.hand_on(connection).await?;
        let held_back = self.settings.qos > 0 && gathered >= WINDOW_MIN;
        let rests = gathered > 0 && !held_back && drained && self.stop_by.is_none();
        if gathered > 0 {
            let rest = self.rest.after(gathered, Instant::now());
            if rests && !rest.is_zero() {
                // The whole thread rests: nothing else lives here, and nothing may wake it.
                std::thread::sleep(rest);
            }
        }
        self.yield_now_and_then().await;
        self.miss_answers(connection)?;
        self.wait(connection).await
    }

    /// The loop will turn again within this time, whatever happens.
    pub(super) fn turns(&self, within: Duration) {
        self.pulse.turns(within);
    }

    /// Yields to the runtime now and then. Nothing makes this task pause while the socket always
    /// has something to read, and a runtime whose task does not pause never looks at its timers: no
    /// ping would leave, and no stop be in time.
    async fn yield_now_and_then(&mut self) {
        if self.yielded.elapsed() >= YIELD_EVERY {
            tokio::task::yield_now().await;
            self.yielded = Instant::now();
        }
    }

    /// Reads until there is nothing more, or the batch is full; returns whether there was nothing.
    async fn drain(&mut self, connection: &mut Connection) -> Result<bool, End> {
        for _ in 0..READS_AT_ONCE {
            if !self.reports.is_empty() || self.reports.batch_is_full() {
                return Ok(false);
            }
            let turn = once(pin!(connection.turn(true))).await;
            match turn {
                None => return Ok(true),
                Some(Ok(turn)) => self.take_turn(turn, connection)?,
                Some(Err(trouble)) => return Err(trouble.into()),
            }
        }
        Ok(false)
    }

    /// Offers reports until they are taken. Meanwhile nothing is read, which holds the broker back,
    /// but acknowledgements and pings leave.
    async fn hand_on(&mut self, connection: &mut Connection) -> Result<(), End> {
        let mut stall = Stall::default();
        loop {
            self.turns(WORK_WITHIN);
            match self.reports.offer() {
                Offer::Taken => return Ok(()),
                Offer::Gone => return Err(End::Stopped),
                Offer::Full if self.stop_is_due() => return Err(End::Stopped),
                Offer::Full => connection.excuse_silence(),
            }
            self.awaited.excuse(Instant::now());
            self.acknowledge(connection)?;
            tokio::select! {
                biased;
                () = self.waiting.filled() => {}
                turn = connection.turn(false) => self.take_turn(turn?, connection)?,
                () = tokio::time::sleep(stall.pause()) => {}
            }
        }
    }

    /// Waits until something was read.
    async fn wait(&mut self, connection: &mut Connection) -> Result<(), End> {
        loop {
            // Once a ping is due the loop turns, whatever the broker does.
            self.turns(self.settings.keep_alive.saturating_add(WORK_WITHIN));
            self.acknowledge(connection)?;
            let stop_by = self.stop_by;
            let renewal = self.renew_by.or(self.watch.next_look());
            let ask_at = self.ask_at();
            let awaited = self.answers_due(connection);
            tokio::select! {
                biased; // Control before data, so that a flood of events cannot starve it.
                () = until(stop_by) => return Err(End::Stopped),
                () = until(renewal) => self.renew(connection)?,
                () = until(ask_at) => self.ping_if_due(connection)?,
                // Only after another look at what came.
                () = until(awaited.map(|(at, _)| at)) => return Ok(()),
                () = self.waiting.filled() => {}
                changed = self.wishes.changed(), if stop_by.is_none() => {
                    self.obey(changed.is_err(), connection)?;
                }
                turn = connection.turn(true) => {
                    let turn = turn?;
                    self.take_turn(turn, connection)?;
                    if turn == Turn::Read {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes acknowledgements, and in good time the question whether they were read. Those for a
    /// connection that is gone go nowhere.
    fn acknowledge(&mut self, connection: &mut Connection) -> Result<(), End> {
        let (epoch, packets) = self.waiting.take();
        if packets.is_empty() || !self.epochs.may_acknowledge(epoch) {
            return Ok(());
        }
        for some in packets.chunks(ACKNOWLEDGEMENTS_AT_ONCE) {
            connection.acknowledge(some)?;
            self.epochs.acknowledged(some.len() as u64);
            self.ping_if_due(connection)?;
        }
        Ok(())
    }

    /// Asks the broker for an answer, where that is due.
    fn ping_if_due(&mut self, connection: &mut Connection) -> Result<(), End> {
        if self.epochs.ask(self.settings.clock.now().mono_ms) {
            connection.ping()?;
            self.epochs.ping_sent();
        }
        Ok(())
    }

    /// When it is to be asked, if nothing comes before.
    fn ask_at(&self) -> Option<Instant> {
        let at = self.epochs.ask_at_mono_ms()?;
        let wait_ms = at.saturating_sub(self.settings.clock.now().mono_ms);
        Some(Instant::now() + Duration::from_millis(wait_ms))
    }

    /// Takes up the latest commands.
    fn obey(&mut self, abandoned: bool, connection: &mut Connection) -> Result<(), End> {
        let stop = abandoned || self.wishes.borrow_and_update().stop;
        if stop {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
            // Closed now, with messages unread, the socket would be reset, and acknowledgements
            // that the broker has not read would be lost: so the broker has to hang up.
            self.leaving = true;
            return Ok(connection.disconnect()?);
        }
        if self.may_subscribe() {
            self.aim(connection)?;
        }
        Ok(())
    }

    fn take_turn(&mut self, turn: Turn, connection: &mut Connection) -> Result<(), End> {
        match turn {
            Turn::Read => self.hear(connection),
            Turn::PingDue => {
                connection.ping()?;
                self.epochs.ping_sent();
                Ok(())
            }
        }
    }

    /// Takes up all that was read.
    fn hear(&mut self, connection: &mut Connection) -> Result<(), End> {
        self.arrival_ms = self.settings.clock.now().wall_ms;
        loop {
            while self.heard.len() < HEARD_AT_ONCE {
                match connection.next_incoming()? {
                    Some(incoming) => self.heard.push_back(incoming),
                    None => break,
                }
            }
            if self.heard.is_empty() {
                return Ok(());
            }
            while let Some(incoming) = self.heard.pop_front() {
                self.take_in(incoming, connection)?;
            }
        }
    }

    fn take_in(&mut self, incoming: Incoming, connection: &mut Connection) -> Result<(), End> {
        match incoming {
            // It comes again with the next connection; taken now, it would count twice.
            Incoming::Message(_) if self.leaving => {}
            Incoming::Message(received) => self.take(received),
            Incoming::Unusable { why, head } => self.drop_unusable(why, &head),
            Incoming::Subscribed { packet, answers } => {
                return self.filter_answered(packet, &answers, connection);
            }
            Incoming::Unsubscribed { packet, answers } => {
                return self.filter_answered(packet, &answers, connection);
            }
            Incoming::PingAnswered => {
                let confirmation = self.epochs.ping_answered();
                self.confirmed(confirmation);
            }
            // The connection's own business.
            Incoming::Connack(_)
            | Incoming::Acknowledged { .. }
            | Incoming::Released(_)
            | Incoming::Disconnect(_)
            | Incoming::Other => {}
        }
        Ok(())
    }

    fn confirmed(&mut self, confirmation: Option<Confirmation>) {
        if let Some(confirmation) = confirmation {
            self.reports.say(SourceReport::Confirmed(confirmation));
        }
    }
}
