//! The loop of one destination: connects and connects again, writes what is queued in bulk, counts
//! what is acknowledged, sends again what a dead connection left open.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};

use super::queue;
use super::{DestinationReport, DestinationSettings, Outgoing, Shared};
use crate::source::mqtt::Version;
use crate::source::mqtt::link::{self, Line, Requests, Sending, Signal};
use crate::source::mqtt::reconnect::{Lost, Reconnect};
use crate::source::mqtt::trouble::Trouble;

/// How many messages are written with one flush at most, and wait in the library's channel where
/// it can only be written to message by message.
const BATCH_MESSAGES_MAX: usize = 256;

/// What a packet has at most beside topic and payload.
const PACKET_OVERHEAD_BYTES: usize = 16;

/// Runs all destinations to their ends.
pub(super) fn run_all(
    runtime: &tokio::runtime::Runtime,
    destinations: Vec<DestinationSettings>,
    shared: &Arc<[Shared]>,
    stop_seen: &watch::Receiver<Option<Instant>>,
    report: impl FnMut(DestinationReport) + 'static,
) {
    let report: Report = Arc::new(Mutex::new(report));
    let tasks = tokio::task::LocalSet::new();
    for (place, settings) in destinations.into_iter().enumerate() {
        let outlet = Outlet {
            place,
            reconnect: Reconnect::new(settings.protocol, Version::V311),
            packet_bytes_max: bytes(settings.packet_bytes_max),
            settings,
            shared: Arc::clone(shared),
            stop_seen: stop_seen.clone(),
            stop_by: None,
            report: Arc::clone(&report),
            asked: VecDeque::new(),
            in_flight: VecDeque::new(),
            acknowledged: 0,
        };
        tasks.spawn_local(outlet.run());
    }
    runtime.block_on(tasks);
}

type Report = Arc<Mutex<dyn FnMut(DestinationReport)>>;

struct Outlet {
    place: usize,
    settings: DestinationSettings,
    shared: Arc<[Shared]>,
    stop_seen: watch::Receiver<Option<Instant>>,
    stop_by: Option<Instant>,
    report: Report,
    reconnect: Reconnect,
    /// Handed to the library, not yet on the wire.
    asked: VecDeque<Outgoing>,
    /// On the wire, not yet acknowledged, by packet identifier.
    in_flight: VecDeque<(u16, Outgoing)>,
    acknowledged: usize,
    /// Ours, or the broker's where that is less.
    packet_bytes_max: usize,
}

/// How a connection ended.
enum End {
    Stopped,
    Lost(Trouble),
}

impl Outlet {
    async fn run(mut self) {
        loop {
            let version = self.reconnect.version();
            let peer = self.settings.peer();
            let (requests, mut line) = link::open(&peer, version, BATCH_MESSAGES_MAX + 1);
            let end = self.serve(&requests, &mut line).await;
            drop(line);
            // The session is clean, so for the broker these are new messages.
            let again = self.in_flight.drain(..).map(|(_, message)| message);
            let again: Vec<_> = again.chain(self.asked.drain(..)).collect();
            self.with_queue(|queue| queue.put_back(again.into_iter()));
            self.tell_counts();
            let wait = match end {
                End::Stopped => return,
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
                            self.acknowledge(id, refused);
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
            self.tell_counts();
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
        let all = Arc::clone(&self.shared);
        let shared = all.get(self.place).expect("each outlet has its share");
        loop {
            let stop_by = self.stop_by;
            let due = async {
                match stop_by {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let listens = self.may_write();
            tokio::select! {
                biased; // Control before data.
                () = due => return Err(End::Stopped),
                changed = self.stop_seen.changed(), if stop_by.is_none() => {
                    self.see_stop(changed.is_err());
                    if !self.reconnect.is_connected() && shared.queue().len() == 0 {
                        return Err(End::Stopped);
                    }
                    self.part_when_done(requests);
                }
                polled = &mut poll => return polled.map_err(End::Lost),
                () = shared.woken.notified(), if listens => {
                    let first = self.take(1).into_iter().next();
                    if let Some(first) = first.filter(|first| requests.publish(&sending(first))) {
                        self.asked.push_back(first);
                    }
                    self.tell_counts();
                }
            }
        }
    }

    fn see_stop(&mut self, abandoned: bool) {
        let stop_by = *self.stop_seen.borrow_and_update();
        self.stop_by = stop_by.or_else(|| abandoned.then(Instant::now));
    }

    /// Says good-bye once nothing is left to do; the library's word that it left ends the loop.
    fn part_when_done(&mut self, requests: &Requests) {
        if self.stop_by.is_some()
            && self.reconnect.is_connected()
            && self.with_queue(|q| q.len()) == 0
        {
            requests.disconnect();
        }
    }

    fn take_in(&mut self, line: &mut Line) -> Option<End> {
        let mut end = None;
        line.drain(|signal| match signal {
            Signal::Connected { .. } => self.welcome(),
            Signal::PublishSent(id) => self.sent(id),
            Signal::Acknowledged { id, refused } => self.acknowledge(id, refused),
            Signal::PublishStuck => {
                let reason = "an acknowledgement did not come in its turn".to_owned();
                end = Some(End::Lost(Trouble::Library(reason)));
            }
            Signal::DisconnectSent => end = Some(End::Stopped),
            Signal::Message(_)
            | Signal::FilterSent(_)
            | Signal::Subscribed { .. }
            | Signal::Unsubscribed(_) => {}
        });
        end
    }

    fn welcome(&mut self) {
        self.reconnect.connected();
        let protocol = self.reconnect.version();
        let (host, port) = (&self.settings.host, self.settings.port);
        info!(
            destination = self.settings.name,
            broker = %format_args!("{host}:{port}"),
            %protocol,
            "connected"
        );
        let destination = self.place;
        self.tell(DestinationReport::Connected {
            destination,
            protocol,
        });
    }

    fn sent(&mut self, id: u16) {
        let Some(message) = self.asked.pop_front() else {
            return;
        };
        if id == 0 {
            self.acknowledged += 1;
            self.with_queue(|queue| queue.settled(&message));
        } else {
            self.in_flight.push_back((id, message));
        }
    }

    fn acknowledge(&mut self, id: u16, refused: Option<String>) {
        let place = self.in_flight.iter().position(|(other, _)| *other == id);
        let Some((_, message)) = place.and_then(|place| self.in_flight.remove(place)) else {
            return;
        };
        self.with_queue(|queue| queue.settled(&message));
        match refused {
            None => self.acknowledged += 1,
            Some(reason) => self.tell_dropped(1, format!("the broker refused it: {reason}")),
        }
    }

    /// Writes what is queued, as far as the window allows.
    async fn write(&mut self, requests: &Requests, line: &mut Line) -> Result<(), End> {
        while self.may_write() {
            self.asked = self.take(BATCH_MESSAGES_MAX).into();
            if self.asked.is_empty() {
                break;
            }
            match line.bulk() {
                Some(bulk) => bulk
                    .publish_all(self.asked.iter().map(sending))
                    .await
                    .map_err(End::Lost)?,
                None => {
                    let refused = self.asked.iter().find(|m| !requests.publish(&sending(m)));
                    if refused.is_some() {
                        let reason = "the request channel is full".to_owned();
                        return Err(End::Lost(Trouble::Library(reason)));
                    }
                }
            }
            if let Some(end) = self.take_in(line) {
                return Err(end);
            }
        }
        Ok(())
    }

    /// What waits in the library's channel goes first. Beyond that nothing is held back so that
    /// more could share a flush: while we are silent the kernel delays its acknowledgements, and a
    /// broker without TCP_NODELAY then waits 40 ms with its own (measured: a fifth of the speed).
    fn may_write(&self) -> bool {
        self.reconnect.is_connected() && self.asked.is_empty() && self.room() > 0
    }

    fn room(&self) -> usize {
        usize::from(self.settings.inflight_max).saturating_sub(self.in_flight.len())
    }

    /// The next messages for the wire; those that no packet can hold are dropped.
    fn take(&mut self, max: usize) -> Vec<Outgoing> {
        let room = self.room();
        let limit = self.packet_bytes_max.saturating_sub(PACKET_OVERHEAD_BYTES);
        loop {
            let mut taken = self.with_queue(|queue| queue.take(max, room));
            let too_large: Vec<_> = taken
                .extract_if(.., |message| queue::size(message) > limit)
                .collect();
            if too_large.is_empty() {
                return taken;
            }
            self.with_queue(|queue| too_large.iter().for_each(|message| queue.settled(message)));
            let why = format!("larger than {} bytes", self.packet_bytes_max);
            self.tell_dropped(too_large.len(), why);
            if !taken.is_empty() {
                return taken;
            }
        }
    }

    fn with_queue<T>(&self, work: impl FnOnce(&mut queue::Queue) -> T) -> T {
        let shared = self
            .shared
            .get(self.place)
            .expect("each outlet has its share");
        work(&mut shared.queue())
    }

    fn tell_counts(&mut self) {
        let destination = self.place;
        let count = std::mem::take(&mut self.acknowledged);
        if count > 0 {
            self.tell(DestinationReport::Acknowledged { destination, count });
        }
        let dropped = self.with_queue(queue::Queue::take_dropped);
        if dropped > 0 {
            self.tell_dropped(dropped, "the queue was full".to_owned());
        }
    }

    fn tell_dropped(&self, count: usize, why: String) {
        let destination = self.place;
        self.tell(DestinationReport::Dropped {
            destination,
            count,
            why,
        });
    }

    fn tell(&self, report: DestinationReport) {
        let mut tell = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        tell(report);
    }

    /// Says why the connection is gone and how long to wait before the next.
    fn lost(&mut self, broker: &str, trouble: &Trouble) -> Duration {
        if let Trouble::OutgoingTooLarge { max, .. } = trouble {
            self.packet_bytes_max = self.packet_bytes_max.min(*max);
        }
        let Lost { reason, retry_in } = self.reconnect.lost(trouble, false);
        warn!(
            destination = self.settings.name,
            broker,
            retry_in_ms = retry_in.as_millis(),
            "no connection: {reason}"
        );
        self.tell(DestinationReport::Disconnected {
            destination: self.place,
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
        if self.with_queue(|queue| queue.len()) == 0 {
            return true;
        }
        tokio::time::sleep_until(until.min(stop_by).into()).await;
        Instant::now() >= stop_by
    }
}

fn sending(message: &Outgoing) -> Sending<'_> {
    Sending {
        topic: message.topic.as_str(),
        payload: &message.payload,
        qos: message.qos,
        retain: message.retain,
    }
}

fn bytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
