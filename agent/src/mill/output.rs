//! Requests of a step of the mill to the world around it, in the order in which they were made.

use std::sync::Arc;

use bytes::Bytes;

use crate::commit::outbox::{Shipment, Wanted};
use crate::event::decode::Plan;
use crate::event::emission::{LaneId, LaneReport, Row};
use crate::event::ledger::Ledger;
use crate::event::state::Key;
use crate::event::value::{Decoded, Scalar};
use crate::event::{Event, Ticket, Version};
use crate::function::effects::LogLine;
use crate::rule::{Priority, Sent, TopicTemplate};
use tidemill_base::number::Lsn;
use tidemill_transport::topic::{Subscription, Topic};

use super::no_room::NoRoom;

/// An input that makes the mill turn.
#[derive(Debug)]
pub enum Input {
    /// Events, in the order of their arrival.
    Events(Vec<Event>),
    /// Time has passed.
    Tick,
    /// The journal has everything up to this commit on stable storage.
    Durable(Lsn),
    /// The broker that sensors publish to took a connection.
    Connected {
        /// Counts connections.
        epoch: u64,
        /// Protocol version of the connection.
        protocol: Version,
        /// `true` if the broker kept the session.
        session_present: bool,
        /// Number of messages that the broker may send ahead of acknowledgements, where that is
        /// known.
        window: Option<u16>,
    },
    /// The connection ended.
    Disconnected,
    /// The broker has read acknowledgements of this connection.
    Confirmed {
        /// The connection.
        epoch: u64,
        /// Number of acknowledgements.
        acknowledged: u64,
    },
    /// Subscriptions that the broker's session holds now.
    Subscribed(Vec<Subscription>),
    /// A destination reports on rows.
    Lane(LaneReport),
    /// Rows that were asked for, with the commits that they stand in.
    RowsRead {
        /// The lane.
        lane: LaneId,
        /// The rows, in order.
        rows: Vec<(Lsn, Row)>,
        /// `true` if they were asked for to be written anew.
        relocate: bool,
    },
    /// A checkpoint is complete.
    PondWritten {
        /// The state database, 0 or 1.
        pond: usize,
    },
    /// A checkpoint could not be written; it is tried again with the next.
    PondFailed,
    /// Commit the batch.
    Commit,
    /// Commit the batch, and write a checkpoint: an orderly stop.
    Flush,
    /// Rows that were asked for could not be read: they are asked for again.
    ReadFailed {
        /// The lane.
        lane: LaneId,
    },
    /// Work on a dead letter once more, by the rule or the destination that could not.
    Redrive(u64),
    /// Forget a dead letter.
    DropDeadLetter(u64),
    /// Forget a producer of event ids: its next number begins anew.
    ForgetProducer(Arc<str>),
    /// Take the state of a key away from a rule; without a key that of all keys.
    ForgetState {
        /// The rule.
        rule: Arc<str>,
        /// The key.
        key: Option<Key>,
    },
    /// Run one rule on an event that has a ticket.
    Invoke {
        /// The rule.
        rule: Arc<str>,
        /// The key, in place of the one that the rule would find.
        key: Option<Key>,
        /// The event, whose origin is a ticket.
        event: Box<Event>,
    },
    /// Room left on the disk.
    Room(Room),
}

/// Room left on the disk. Where there is little, nothing is taken in, and work that makes room is
/// done first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    /// Enough for more.
    #[default]
    Plenty,
    /// Only the reserve is left.
    Short,
    /// Even the reserve is going: only records that settle rows are written.
    Last,
}

/// Outcome of an invocation. It is told at once; the request's own answer follows when the commit
/// with its effects is durable.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// Number of the event, counted since the data directory was made.
    pub event_seq: u64,
    /// Counts that the rule's ledger has gained: none where the event waits for the rule's watermark.
    pub counts: Ledger,
    /// Emissions, the dead letter and log lines of the call, in order.
    pub outputs: Vec<Output>,
}

/// One thing that the mill asks for, or tells.
#[derive(Debug, Clone)]
pub enum Output {
    /// Append this record to the journal, and say when it is on stable storage.
    Append {
        /// Its number.
        lsn: Lsn,
        /// The record.
        bytes: Vec<u8>,
    },
    /// Acknowledge messages, in this order.
    Acknowledge {
        /// The connection that brought them.
        epoch: u64,
        /// Their packet identifiers.
        packets: Vec<u16>,
    },
    /// Answer a request of a local source.
    Answer {
        /// The request.
        ticket: Ticket,
        /// `true` if some rule wanted its event.
        wanted: bool,
        /// The commit that holds what the call did and saw; 0 without a journal.
        lsn: Lsn,
    },
    /// Result of an invocation, which the answer of the same ticket follows.
    Invoked {
        /// The request.
        ticket: Ticket,
        /// Its outcome.
        invoked: Box<Invoked>,
    },
    /// The source may subscribe.
    Proceed {
        /// On this connection.
        epoch: u64,
    },
    /// Hand these rows to a destination.
    Ship(Shipment),
    /// Read rows of a lane back from the journal.
    ReadBack {
        /// The lane.
        lane: LaneId,
        /// Commits and rows to read.
        wanted: Wanted,
        /// To be handed back with them.
        relocate: bool,
    },
    /// Write this into a pond.
    Checkpoint(Checkpoint),
    /// Segments that end before this commit are not needed any more.
    Recycle {
        /// The first commit that is needed.
        below_lsn: Lsn,
    },
    /// The broker has lost the session, and with it the messages that were queued there.
    SessionLost,
    /// The time of an event is bad; reported once for each rule.
    BadTime {
        /// The rule.
        rule: Arc<str>,
        /// The event's topic.
        topic: Topic,
        /// Reason why its time is bad.
        reason: String,
    },
    /// State of a rule was dropped for want of room.
    NoRoom {
        /// The rule.
        rule: Arc<str>,
        /// Counts, limits and the way out.
        what: NoRoom,
    },
    /// A producer's events are not applied any more, because their numbers are old.
    Silenced {
        /// The producer.
        producer: Arc<str>,
        /// The last such number.
        n: u64,
        /// Its highest number.
        mark: u64,
    },
    /// Rows were dropped because a lane had no room, or they became too old.
    Dropped {
        /// The lane.
        lane: LaneId,
        /// Number of rows.
        count: u64,
    },
    /// Rows became dead letters, because their destination will never take them.
    Refused {
        /// The lane.
        lane: LaneId,
        /// Number of rows.
        count: u64,
        /// Reason that the destination gave.
        reason: String,
    },
    /// Rows that waited can never be read again, and are dropped.
    Lost {
        /// The lane.
        lane: LaneId,
        /// Number of rows.
        count: u64,
    },
    /// A ledger does not add up: a fault of ours.
    Unbalanced {
        /// Name of the ledger, and its counts.
        what: String,
    },
    /// Send a message of a volatile rule.
    Emission(Emitted),
    /// An event, or a call without one, that a rule could not digest.
    DeadLetter(DeadLetter),
    /// Lines that a function wrote.
    Logs {
        /// The rule.
        rule: Arc<str>,
        /// The lines.
        lines: Vec<LogLine>,
        /// Lines that were over the limit.
        dropped: u32,
    },
    /// A rule made too many faults and rests.
    Quarantined {
        /// The rule.
        rule: Arc<str>,
        /// Length of the rest, in milliseconds.
        for_ms: u64,
    },
    /// The state of a rule that went away is kept no longer.
    StateForgotten {
        /// The rule.
        rule: Arc<str>,
        /// Number of its keys.
        keys: usize,
        /// The limit.
        why: &'static str,
    },
    /// A rule that rested was replaced by another one of its name, which does not.
    QuarantineLifted {
        /// The rule.
        rule: Arc<str>,
    },
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// The port it leaves through.
    pub port: Arc<PortBinding>,
    /// Key that the message is about.
    pub key: Key,
    /// Topic to publish to.
    pub topic: Topic,
    /// The message's content.
    pub payload: Bytes,
    /// Wall time of the call, in milliseconds since 1970.
    pub at_ms: i64,
    /// Group of messages that go out together: equal for the rows of a firing, or those of an
    /// event.
    pub together: (i64, i64),
}

/// A port of a rule, bound to where it leads.
#[derive(Debug, Clone)]
pub struct PortBinding {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// Name of the port in the function's manifest.
    pub name: String,
    /// Number of the destination in the gateway's configuration.
    pub destination: usize,
    /// The topic there.
    pub topic: TopicTemplate,
    /// `true` if the key is made of nothing but topic and rule.
    pub key_of_topic: bool,
    /// JSON pointers into the payload that the topic is made of, each with its place in the plan.
    pub places: Box<[(Box<str>, u16)]>,
    /// Plan to read those pointers.
    pub plan: Plan,
    /// Priority over rows of other ports.
    pub priority: Priority,
    /// MQTT's retain flag.
    pub retain: bool,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// `true` if messages of this port live in memory only.
    pub volatile: bool,
}

impl PortBinding {
    /// The topic of an emission for `key`, for a group with a key of its own or not, caused by an
    /// event of `topic`, if any.
    ///
    /// # Errors
    /// When it would not be one to publish to.
    pub(super) fn topic_of(
        &self,
        (key, own): (&Key, Option<&Key>),
        topic: &Topic,
        payload: &[u8],
    ) -> Result<Topic, String> {
        let mut decoded = Decoded::default();
        // A payload that is no JSON has nothing to find in it.
        let is_read = !self.plan.is_empty() && self.plan.decode(payload, &mut decoded).is_ok();
        let at = |pointer: &str| {
            let mut places = self.places.iter().filter(|_| is_read);
            let (_, place) = places.find(|(known, _)| **known == *pointer)?;
            match decoded.scalars.get(usize::from(*place))? {
                Scalar::Text(span) => {
                    let text = std::str::from_utf8(decoded.bytes(*span));
                    text.ok().map(str::to_owned)
                }
                Scalar::Int(number) => Some(number.to_string()),
                Scalar::Wide(number) => Some(number.to_string()),
                Scalar::Float(number) => Some(tidemill_values::number_text(*number)),
                Scalar::Bool(yes) => Some(yes.to_string()),
                Scalar::Missing | Scalar::Null | Scalar::Other => None,
            }
        };
        self.topic.render(&Sent {
            key: own.unwrap_or(key),
            key_of_topic: self.key_of_topic && own.is_none(),
            topic,
            at: &at,
        })
    }

    /// Returns `true` if all messages that a call sends through the port have one topic.
    pub(super) fn has_one_topic(&self) -> bool {
        self.places.is_empty()
    }
}

/// Changes to write to a state database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The state database, 0 or 1.
    pub pond: usize,
    /// The commit after which things stood like this.
    pub lsn: Lsn,
    /// The pond is emptied first.
    pub full: bool,
    /// Keys with their values.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys that go.
    pub removes: Vec<Vec<u8>>,
}

/// An event that a rule could not digest.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The rule.
    pub rule: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The event's topic; empty for a timer or a window.
    pub topic: Topic,
    /// The event's payload.
    pub payload: Bytes,
    /// The event's user properties, as one JSON object; empty when there were none.
    pub properties: Bytes,
    /// `true` if the dead letter lives in the log only.
    pub volatile: bool,
    /// The fault, for people.
    pub reason: String,
    /// Fuel that the call used.
    pub fuel: u64,
    /// Wall time, in milliseconds since 1970.
    pub at_ms: i64,
}
