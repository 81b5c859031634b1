//! One connection of the link: subscribes, reads, publishes, one document at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::warn;

use super::{Link, PACKET_IDS};
use crate::fleet::Note;
use tidemill_transport::connection::{Accepted, Connection, Incoming, Received, Turn};
use tidemill_transport::link::{Sending, until};
use tidemill_transport::packets::Answer;
use tidemill_transport::topic::{Subscription, TopicFilter};
use tidemill_transport::trouble::Trouble;

/// Between two messages of one topic.
const EVERY: Duration = Duration::from_secs(1);

/// While the thread has no room for a note.
const FULL_REST: Duration = Duration::from_millis(50);

/// Bytes of all messages that wait for the thread; beyond that nothing is read.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Topics that are remembered for their pace.
const TOPICS_MAX: usize = 1_024;

/// The broker answers a message within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A message that waits for the broker's answer.
struct Sent {
    packet: u16,
    topic: String,
    by: Instant,
}

/// A connection that is up.
pub(super) struct Session<'a> {
    connection: Connection,
    link: &'a Link,
    notes: &'a SyncSender<Note>,
    /// The longest packet that the broker takes.
    packet_bytes: u32,
    subscribed: BTreeSet<String>,
    /// Filters by the request that asked for them.
    asked: HashMap<u16, Vec<String>>,
    /// The newest message of each topic; none of one that was too long.
    waiting: BTreeMap<String, Option<Bytes>>,
    handed_on: HashMap<String, Instant>,
    sent: Option<Sent>,
    packet: u16,
    /// The broker has answered to a subscription.
    is_up: bool,
    /// The thread knows that.
    is_told: bool,
    full_until: Option<Instant>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: Connection,
        accepted: &Accepted,
        link: &'a Link,
        notes: &'a SyncSender<Note>,
    ) -> Self {
        Self {
            connection,
            link,
            notes,
            packet_bytes: accepted.limits.packet_bytes,
            subscribed: BTreeSet::new(),
            asked: HashMap::new(),
            waiting: BTreeMap::new(),
            handed_on: HashMap::new(),
            sent: None,
            packet: 0,
            is_up: false,
            is_told: false,
            full_until: None,
        }
    }

    /// Works until the connection ends; `Ok` after a good-bye of ours.
    pub(super) async fn run(mut self) -> Result<(), Trouble> {
        loop {
            if self.link.wanted().is_stopping && self.sent.is_none() && !self.send_next()? {
                return self.say_good_bye().await;
            }
            self.subscribe()?;
            self.send_next()?;
            let mut due = self.hand_on();
            if self.is_up && !self.is_told {
                self.is_told = self.notes.try_send(Note::Connected).is_ok();
                let again = (!self.is_told).then(|| Instant::now() + FULL_REST);
                due = due.into_iter().chain(again).min();
            }
            if self
                .sent
                .as_ref()
                .is_some_and(|sent| Instant::now() >= sent.by)
            {
                return Err(Trouble::Unacknowledged);
            }
            let reads = self.waiting_bytes() < WAITING_BYTES_MAX;
            let by = self.sent.as_ref().map(|sent| sent.by);
            let due = [due, by].into_iter().flatten().min();
            tokio::select! {
                turn = self.connection.turn(reads) => match turn? {
                    Turn::Read => {
                        while let Some(incoming) = self.connection.next_incoming()? {
                            self.hear(incoming)?;
                        }
                    }
                    Turn::PingDue => self.connection.ping()?,
                },
                () = self.link.0.changed.notified() => {}
                () = until(due) => {}
            }
        }
    }

    async fn say_good_bye(mut self) -> Result<(), Trouble> {
        self.connection.disconnect()?;
        let written = async {
            while !self.connection.is_flushed() {
                self.connection.turn_or_written(true).await?;
            }
            Ok::<(), Trouble>(())
        };
        // A broker that takes nothing more publishes the will, which says the same.
        let _ = tokio::time::timeout(Duration::from_millis(200), written).await;
        Ok(())
    }

    /// Asks for filters that are new.
    fn subscribe(&mut self) -> Result<(), Trouble> {
        let filters = self.link.wanted().filters.clone();
        let new = filters
            .into_iter()
            .filter(|filter| !self.subscribed.contains(filter));
        let new: Vec<String> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        let wanted = new
            .iter()
            .filter_map(|filter| TopicFilter::new(filter).ok());
        let wanted: Vec<Subscription> = wanted
            .map(|filter| Subscription { id: 0, filter })
            .collect();
        let packet = self.connection.subscribe(&wanted, 1, false)?;
        self.subscribed.extend(new.iter().cloned());
        self.asked.insert(packet, new);
        Ok(())
    }

    /// Publishes the next document that the broker does not have; `false` where there is none, or one is
    /// on its way.
    fn send_next(&mut self) -> Result<bool, Trouble> {
        if self.sent.is_some() {
            return Ok(false);
        }
        let (topic, document) = {
            let mut wanted = self.link.wanted();
            let Some(topic) = wanted.unsent.pop_first() else {
                return Ok(false);
            };
            let document = wanted.documents.get(&topic).cloned().unwrap_or_default();
            (topic, document)
        };
        let bytes = document.len() + topic.len() + 16;
        if bytes > usize::try_from(self.packet_bytes).unwrap_or(usize::MAX) {
            warn!(topic, bytes, "the broker takes no message that long");
            return Ok(true);
        }
        self.packet = self.packet % PACKET_IDS + 1;
        let packet = PACKET_IDS + self.packet;
        let sending = Sending {
            topic: &topic,
            payload: &document,
            qos: 1,
            retain: true,
            properties: Vec::new(),
            correlation: None,
        };
        self.connection.publish(packet, sending)?;
        self.sent = Some(Sent {
            packet,
            topic,
            by: Instant::now() + ANSWER_WITHIN,
        });
        Ok(true)
    }

    fn hear(&mut self, incoming: Incoming) -> Result<(), Trouble> {
        match incoming {
            Incoming::Message(received) => self.hear_message(received),
            Incoming::Subscribed { packet, answers } => {
                let filters = self.asked.remove(&packet).unwrap_or_default();
                for (filter, answer) in filters.iter().zip(answers) {
                    if let Answer::Refused(_) = answer {
                        warn!(
                            filter,
                            "the broker refused a subscription: nothing is pushed by it"
                        );
                    }
                }
                self.is_up = true;
                Ok(())
            }
            Incoming::Acknowledged {
                packet,
                code,
                reason,
            } => {
                if let Some(sent) = self.sent.take_if(|sent| sent.packet == packet)
                    && code >= 0x80
                {
                    let reason = reason.unwrap_or_default();
                    warn!(
                        topic = sent.topic,
                        code, "the broker does not take a report: {reason}"
                    );
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hear_message(&mut self, received: Received) -> Result<(), Trouble> {
        if let Some(handshake) = &received.handshake {
            // It is retained: what is lost here comes with the next connection.
            self.connection.acknowledge(&[handshake.packet])?;
        }
        let Ok(topic) = String::from_utf8(received.topic.to_vec()) else {
            return Ok(());
        };
        // An empty one takes a retained message away, and is no instruction.
        if received.payload.is_empty() && received.skipped.is_none() {
            return Ok(());
        }
        let is_whole = received.skipped.is_none() && received.malformed.is_none();
        self.waiting
            .insert(topic, is_whole.then_some(received.payload));
        Ok(())
    }

    /// Hands on what waits, at its pace; returns when there is more to do.
    fn hand_on(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.full_until.is_some_and(|at| now < at) {
            return self.full_until;
        }
        self.full_until = None;
        if self.handed_on.len() > TOPICS_MAX {
            self.handed_on.retain(|_, at| now < *at + EVERY);
        }
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        for topic in self.waiting.keys() {
            match self
                .handed_on
                .get(topic)
                .map(|at| *at + EVERY)
                .filter(|at| now < *at)
            {
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => due.push(topic.clone()),
            }
        }
        for topic in due {
            let Some(payload) = self.waiting.remove(&topic) else {
                continue;
            };
            let note = Note::Arrived {
                topic: topic.clone(),
                payload,
            };
            match self.notes.try_send(note) {
                Ok(()) => {
                    self.handed_on.insert(topic, now);
                }
                Err(TrySendError::Full(Note::Arrived { topic, payload })) => {
                    self.waiting.insert(topic, payload);
                    self.full_until = Some(now + FULL_REST);
                    return self.full_until;
                }
                Err(_) => {}
            }
        }
        next
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.values().flatten().map(Bytes::len).sum()
    }
}
