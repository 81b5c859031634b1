//! An event: a fact received, never changed afterwards. Its origin is unknown here beyond the
//! questions a function or the router may ask.

pub mod clock;
pub mod decode;
pub mod emission;
pub mod ledger;
pub mod payload;
pub mod state;
pub mod timestamp;
pub mod value;
pub mod zone;

use bytes::Bytes;

pub use tidemill_transport::malformed::{Malformed, Property};
pub use tidemill_transport::message::{Fingerprint, SubscriptionIds, Version, lower_half};

use tidemill_transport::topic::Topic;

/// A fact received: topic, payload, time.
#[derive(Debug, Clone)]
pub struct Event {
    /// The topic of the message; empty for a schedule or a timer.
    pub topic: Topic,
    /// The payload as it came, at most `broker.packet_bytes_max` bytes.
    pub payload: Bytes,
    /// Wall time of arrival, milliseconds since 1970.
    pub arrival_ms: i64,
    /// A message that the broker retained from before the subscription.
    pub retained: bool,
    /// Subscriptions that this copy answers; empty when the protocol does not tell.
    pub subscriptions: SubscriptionIds,
    /// MQTT 5 user properties as one JSON object, empty when there are none.
    pub properties: Bytes,
    /// Origin of the event, and with it who is told of its outcome.
    pub origin: Origin,
    /// The reason why the event is not processed, although it was received and has to be
    /// acknowledged.
    pub fault: Option<EventFault>,
    /// The text of an invalid or too long topic, printable; `topic` is then empty.
    pub bad_topic: Option<Box<str>>,
}

/// Origin of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A message of the broker's session; with its delivery where it has to be acknowledged, which is
    /// at QoS 1 only.
    Mqtt(Option<Delivery>),
    /// A request of a local source, which waits for its answer.
    Local(Ticket),
    /// The gateway itself: a timer, the close of a window, a schedule.
    Gateway,
}

/// Number of a request of a local source. The source that hands the request in gives it, and no other
/// one of the process has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// Delivery details of a message that its broker wants acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The connection that brought it, counted from 1 since the process began.
    pub epoch: u64,
    /// Packet identifier in that connection.
    pub packet: u16,
    /// The broker may have sent it before.
    pub dup: bool,
    /// Hashes of the content, because packet identifiers are reused.
    pub fingerprint: Fingerprint,
}

/// Why a message is no event for any rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFault {
    /// Longer than allowed; the payload was not kept.
    TooLarge {
        /// Length in bytes.
        bytes: usize,
    },
    /// Invalid topic: invalid UTF-8, a NUL, a wildcard.
    InvalidTopic,
    /// Topic longer than allowed; only its beginning was kept.
    TopicTooLong {
        /// Length in bytes.
        bytes: usize,
    },
    /// A violation of MQTT.
    Malformed(Malformed),
    /// A copy of a retained message that all its filters have had.
    Surplus,
}

impl EventFault {
    /// The reason of its dead letter; `None` if nothing is lost with the event.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Surplus => None,
            Self::TooLarge { bytes } => Some(format!(
                "{bytes} bytes are more than broker.packet_bytes_max"
            )),
            Self::InvalidTopic => Some("its topic is not valid".to_owned()),
            Self::TopicTooLong { bytes } => Some(format!(
                "its topic of {bytes} bytes is longer than broker.topic_bytes_max"
            )),
            Self::Malformed(why) => Some(format!("malformed: {why}")),
        }
    }

    /// The reason with the text of an invalid or too long topic.
    pub fn reason_with(&self, bad_topic: Option<&str>) -> Option<String> {
        let reason = self.reason()?;
        Some(match (self, bad_topic) {
            (Self::InvalidTopic | Self::TopicTooLong { .. }, Some(bad)) => {
                format!("{reason}: \"{bad}\"")
            }
            // One without a topic has nothing to show, and says why.
            (Self::Malformed(_), Some(bad)) if !bad.is_empty() => {
                format!("{reason}; its topic is not valid: \"{bad}\"")
            }
            _ => reason,
        })
    }
}

impl Event {
    /// An event with topic, payload and time, and nothing special about it.
    pub fn new(topic: Topic, payload: impl Into<Bytes>, arrival_ms: i64) -> Self {
        Self {
            topic,
            payload: payload.into(),
            arrival_ms,
            retained: false,
            subscriptions: SubscriptionIds::default(),
            properties: Bytes::new(),
            origin: Origin::Mqtt(None),
            fault: None,
            bad_topic: None,
        }
    }

    /// The event seen by a handler that no event caused: a timer, or the close of a window.
    pub fn none() -> Self {
        Self {
            origin: Origin::Gateway,
            ..Self::new(Topic::none(), Bytes::new(), 0)
        }
    }

    /// The message's delivery, where it has to be acknowledged.
    pub fn delivery(&self) -> Option<Delivery> {
        match self.origin {
            Origin::Mqtt(delivery) => delivery,
            Origin::Local(_) | Origin::Gateway => None,
        }
    }
}

/// A hash of several byte strings, the same on every machine and in every version: it is written
/// down.
pub fn hash_bytes(parts: &[&[u8]]) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.digest128()
}
