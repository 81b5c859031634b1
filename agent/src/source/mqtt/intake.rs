//! The source's loop: connects and connects again, drains the socket, hands batches on, follows the
//! wishes of the agent. The order of things on one connection stands in [`Intake::serve`].

mod filters;

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::link::{self, Line, Received, Requests, Signal, Version, once};
use super::reconnect::{Lost, Reconnect};
use super::reports::{Offer, Reports, Stall};
use super::subscriptions::Subscriptions;
use super::topics::Topics;
use super::trouble::Trouble;
use super::{Flow, OVERSIZED_BYTES_MAX, PACKET_IDS, SourceReport, SourceSettings, Wishes};
use crate::event::Event;

/// What may be read beyond a batch while nobody takes it, for the sake of pings and their answers.
/// Beyond it the connection is left to the broker's patience.
const STALL_BYTES_MAX: usize = 4 << 20;

/// A batch this large of QoS 1 messages may be all that the broker sends before it wants
/// acknowledgements (mosquitto's default is 20): resting after it would cap the throughput.
const WINDOW_MIN: usize = 10;

/// How long saying good-bye may take.
const STOP_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Intake<R> {
    settings: SourceSettings,
    wishes: watch::Receiver<Wishes>,
    subscriptions: Subscriptions,
    reconnect: Reconnect,
    topics: Topics,
    reports: Reports<R>,
    arrival_ms: i64,
    /// The limit of the next connection: raised for one only, after a packet above the usual one.
    incoming_bytes_max: u32,
    /// The session has to go, because it holds a packet that cannot be read.
    discard: bool,
    /// Whether copies on this connection name their subscriptions.
    identifiers: bool,
    stop_by: Option<Instant>,
    /// The DISCONNECT is out: what the broker still sends is acknowledged in vain.
    leaving: bool,
}

/// How a connection ended.
enum End {
    Stopped,
    Again,
    Lost(Trouble),
}

/// What came first while waiting.
enum Step {
    Polled(Result<(), Trouble>),
    Stop,
}

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    pub(super) fn new(
        settings: SourceSettings,
        held: Vec<super::Subscription>,
        wishes: watch::Receiver<Wishes>,
        report: R,
    ) -> Self {
        Self {
            wishes,
            reports: Reports::new(settings.batch_events_max, report),
            subscriptions: Subscriptions::new(held),
            reconnect: Reconnect::new(settings.protocol, Version::V5),
            topics: Topics::default(),
            arrival_ms: 0,
            incoming_bytes_max: settings.packet_bytes_max,
            discard: false,
            identifiers: false,
            stop_by: None,
            leaving: false,
            settings,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let version = self.reconnect.version();
            let peer = self.settings.peer(self.incoming_bytes_max, self.discard);
            let (requests, mut line) = link::open(&peer, version, PACKET_IDS.into());
            let end = self.serve(&requests, &mut line).await;
            drop(line);
            self.subscriptions.interrupted();
            let wait = match end {
                End::Stopped => return,
                End::Again => Duration::ZERO,
                End::Lost(trouble) => self.lost(&peer.address(), &trouble),
            };
            if self.deliver().await.is_none() || self.stop_during(wait).await {
                return;
            }
        }
    }

    /// One connection, from the attempt to its end: polls the library to the end of what it has,
    /// gathers events, hands them on, rests, polls again.
    async fn serve(&mut self, requests: &Requests, line: &mut Line) -> End {
        loop {
            let step = {
                let poll = pin!(line.poll());
                self.step(poll, requests).await
            };
            let mut end = match step {
                Step::Polled(Ok(())) => None,
                // The broker has read all our acknowledgements and hung up, as it should.
                Step::Polled(Err(_)) if self.leaving => Some(End::Stopped),
                Step::Polled(Err(trouble)) => Some(End::Lost(trouble)),
                Step::Stop => Some(End::Stopped),
            };
            // What came before an error was acknowledged by the library: it counts. (Once we
            // acknowledge ourselves, it has to be left to the broker to send again.)
            self.arrival_ms = self.settings.clock.now().wall_ms;
            line.drain(|signal| {
                if let Some(other) = self.signal(signal, requests) {
                    end = Some(other);
                }
            });
            if !self.reports.is_empty() {
                line.excuse_ping();
            }
            if let Some(end) = end {
                self.reports.close_batch();
                return match self.deliver().await {
                    Some(()) => end,
                    None => End::Stopped,
                };
            }
        }
    }

    /// Waits for the library. `poll` is never dropped half-way but at the end of the connection:
    /// what is decided meanwhile goes through `requests`.
    async fn step(
        &mut self,
        mut poll: Pin<&mut impl Future<Output = Result<(), Trouble>>>,
        requests: &Requests,
    ) -> Step {
        let mut drained = false;
        if self.reports.is_empty() && !self.reports.batch_is_full() {
            match once(poll.as_mut()).await {
                Some(polled) => return Step::Polled(polled),
                None => drained = true,
            }
        }
        let gathered = self.reports.close_batch();
        let held_back = self.settings.qos > 0 && gathered >= WINDOW_MIN;
        let rests = gathered > 0 && !held_back && drained && self.stop_by.is_none();
        let mut stalled = Stall::default();
        loop {
            match self.reports.offer() {
                Offer::Taken => break,
                Offer::Gone => return Step::Stop,
                Offer::Full if self.stop_is_due() => return Step::Stop,
                Offer::Full => tokio::time::sleep(stalled.pause()).await,
            }
            let looks = stalled.has_to_poll() && self.reports.bytes_untaken() < STALL_BYTES_MAX;
            if looks && let Some(polled) = once(poll.as_mut()).await {
                return Step::Polled(polled);
            }
        }
        if rests && !self.settings.coalesce.is_zero() {
            // The whole thread rests: nothing else lives here, and nothing may wake it.
            std::thread::sleep(self.settings.coalesce);
        }
        self.wait(poll, requests).await
    }

    async fn wait(
        &mut self,
        mut poll: Pin<&mut impl Future<Output = Result<(), Trouble>>>,
        requests: &Requests,
    ) -> Step {
        loop {
            let stop_by = self.stop_by;
            let due = async {
                match stop_by {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // Control before data, so that a flood of events cannot starve it.
                () = due => return Step::Stop,
                changed = self.wishes.changed(), if stop_by.is_none() => {
                    if self.obey(changed.is_err(), requests) {
                        return Step::Stop;
                    }
                }
                polled = &mut poll => return Step::Polled(polled),
            }
        }
    }

    /// Takes up the latest wishes; returns whether to end at once.
    fn obey(&mut self, abandoned: bool, requests: &Requests) -> bool {
        let stop = abandoned || self.wishes.borrow_and_update().stop;
        if stop {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
            return !self.reconnect.is_connected() || !requests.disconnect();
        }
        self.aim(requests);
        false
    }

    fn signal(&mut self, signal: Signal, requests: &Requests) -> Option<End> {
        match signal {
            // It comes again with the next connection; taken now, it would count twice.
            Signal::Message(_) if self.leaving => {}
            Signal::Message(received) => self.take(received),
            Signal::Connected {
                session_present,
                identifiers,
            } => return self.welcome(session_present, identifiers, requests),
            Signal::FilterSent(packet) => self.subscriptions.sent(packet),
            Signal::Subscribed { id, refused } => self.acknowledged(id, refused, requests),
            Signal::Unsubscribed(id) => self.acknowledged(id, None, requests),
            // Closed now, with messages unread, the socket would be reset, and acknowledgements
            // that the broker has not read would be lost: so the broker has to hang up.
            Signal::DisconnectSent => self.leaving = true,
            Signal::PublishSent(_) | Signal::PublishStuck | Signal::Acknowledged { .. } => {}
        }
        None
    }

    fn take(&mut self, received: Received) {
        let name = received.topic.as_bytes();
        let bytes = name.len() + received.payload.len() + received.properties.len();
        let Some(topic) = self.topics.get(name) else {
            self.reports.invalid_topic();
            return;
        };
        if u32::try_from(bytes).map_or(true, |bytes| bytes > self.settings.packet_bytes_max) {
            warn!(%topic, bytes, "dropped a message above broker.packet_bytes_max");
            let topic = Some(topic);
            self.reports.say(SourceReport::Oversized { topic, bytes });
            return;
        }
        let Some(subscriptions) = self.answers(&topic, received.retained, received.subscriptions)
        else {
            return;
        };
        let event = Event {
            topic,
            payload: received.payload,
            arrival_ms: self.arrival_ms,
            retained: received.retained,
            subscriptions,
            properties: received.properties,
            delivery: None,
            fault: None,
        };
        self.reports.event(event, bytes);
    }

    fn welcome(
        &mut self,
        session_present: bool,
        identifiers: bool,
        requests: &Requests,
    ) -> Option<End> {
        let protocol = self.reconnect.version();
        if std::mem::take(&mut self.discard) && protocol == Version::V311 {
            // What 3.1.1 begins clean also ends clean: connect again for a session that is kept.
            self.subscriptions.lost();
            return Some(End::Again);
        }
        // The lifted limit was for this connection only.
        self.incoming_bytes_max = self.settings.packet_bytes_max;
        self.reconnect.connected();
        self.identifiers = identifiers;
        let (host, port) = (&self.settings.host, self.settings.port);
        info!(broker = %format_args!("{host}:{port}"), %protocol, session_present, "connected");
        self.reports.say(SourceReport::Connected {
            protocol,
            session_present,
        });
        if !session_present {
            self.subscriptions.lost();
            self.say_held();
        }
        self.wishes.mark_unchanged();
        self.aim(requests);
        if self.wishes.borrow().stop {
            self.wishes.mark_changed();
        }
        None
    }

    /// Gets rid of all reports while there is no connection to look after; `None` when nobody
    /// listens any more, or the time for stopping is up.
    async fn deliver(&mut self) -> Option<()> {
        let mut stalled = Stall::default();
        loop {
            match self.reports.offer() {
                Offer::Taken => return Some(()),
                Offer::Gone => return None,
                Offer::Full if self.stop_is_due() => return None,
                Offer::Full => tokio::time::sleep(stalled.pause()).await,
            }
        }
    }

    /// While reports are stuck nobody looks at the wishes, so a stop begins to count here.
    fn stop_is_due(&mut self) -> bool {
        if self.stop_by.is_none() && self.wishes.borrow().stop {
            self.stop_by = Some(Instant::now() + STOP_WITHIN);
        }
        self.stop_by.is_some_and(|at| Instant::now() >= at)
    }

    /// Says why the connection is gone and how long to wait before the next.
    fn lost(&mut self, broker: &str, trouble: &Trouble) -> Duration {
        let at_once = match trouble {
            Trouble::Oversized { bytes } => self.lift_limit(*bytes),
            _ => false,
        };
        let Lost { reason, retry_in } = self.reconnect.lost(trouble, at_once);
        warn!(
            broker,
            retry_in_ms = retry_in.as_millis(),
            "no connection: {reason}"
        );
        self.reports
            .say(SourceReport::Disconnected { reason, retry_in });
        retry_in
    }

    /// A kept session would send the same packet again and again. Returns whether the next
    /// connection can read it, so that it can be dropped; else the session is given up.
    fn lift_limit(&mut self, bytes: usize) -> bool {
        let lifted = u32::try_from(bytes)
            .ok()
            .and_then(u32::checked_next_power_of_two)
            .filter(|lifted| (self.incoming_bytes_max + 1..=OVERSIZED_BYTES_MAX).contains(lifted));
        if let Some(lifted) = lifted {
            self.incoming_bytes_max = lifted;
            return true;
        }
        warn!(
            bytes,
            "a packet is too large even to be dropped: giving up the session and all that the \
             broker queued in it"
        );
        self.discard = true;
        self.reports
            .say(SourceReport::Oversized { topic: None, bytes });
        false
    }

    /// Waits before the next attempt; returns whether to stop instead.
    async fn stop_during(&mut self, wait: Duration) -> bool {
        let stopped = self.wishes.wait_for(|wishes| wishes.stop);
        tokio::time::timeout(wait, stopped).await.is_ok()
    }
}
