//! The packets that a broker sends, of both versions of MQTT, read without a socket: bytes go into an
//! [`Inbox`] in any pieces, what they say comes out. Nothing here trusts a length, a text or an order.
//! A message that breaks the rules is still a message wherever its end can be found, so that it can be
//! named and acknowledged: a broker sends again, for ever, what its client hangs up on.
//!
//! Public for the fuzz targets and for the simulator's brokers, which have to speak what is read here.

mod answers;
mod fields;
mod frame;
mod head;
mod inbox;
mod properties;
mod skip;

use bytes::Bytes;

pub(super) use answers::reason_name;
pub use answers::{Answer, Connack, ConnackGiven, Disconnect};
pub use frame::Frame;
pub use inbox::Inbox;
pub use skip::Skipped;

use crate::{malformed::Malformed, message::SubscriptionIds};

/// A message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The topic as received; it may be invalid.
    pub topic: Bytes,
    /// The payload as received; of a malformed message everything behind the readable part.
    pub payload: Bytes,
    /// A copy that the broker kept from before the subscription.
    pub retained: bool,
    /// Subscriptions that this copy answers.
    pub subscriptions: SubscriptionIds,
    /// MQTT 5 user properties, in their order; none of a malformed message.
    pub properties: Vec<(String, String)>,
    /// MQTT 5: the topic for an answer.
    pub response_topic: Option<String>,
    /// MQTT 5: data that the answer has to bear.
    pub correlation: Option<Bytes>,
    /// The handshake that acknowledges the message; `None` at QoS 0.
    pub handshake: Option<Handshake>,
    /// Description of a payload that was too long to be kept.
    pub skipped: Option<Skipped>,
    /// The reason why the message is malformed.
    pub malformed: Option<Malformed>,
}

/// Delivery details of a message that its broker wants acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The packet identifier, never 0.
    pub packet: u16,
    /// The broker may have sent it before.
    pub dup: bool,
    /// The message came at QoS 2, which takes one step more.
    pub exactly_once: bool,
}

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The broker's answer to CONNECT.
    Connack(Connack),
    /// A message.
    Message(Received),
    /// A message was dropped that cannot be acknowledged even if it wants to be.
    Unusable {
        /// Why.
        why: Malformed,
        /// The first bytes of the message, in hex.
        head: String,
    },
    /// The broker answered a SUBSCRIBE, with one answer for each filter.
    Subscribed {
        /// The SUBSCRIBE's packet identifier.
        packet: u16,
        /// In the order of its filters.
        answers: Vec<Answer>,
    },
    /// The broker answered an UNSUBSCRIBE, in MQTT 5 with one answer for each filter.
    Unsubscribed {
        /// The UNSUBSCRIBE's packet identifier.
        packet: u16,
        /// In the order of its filters.
        answers: Vec<Answer>,
    },
    /// The broker answered a PUBLISH at QoS 1.
    Acknowledged {
        /// The PUBLISH's packet identifier.
        packet: u16,
        /// MQTT 5's reason code; 0 over 3.1.1.
        code: u8,
        /// The broker's reason string.
        reason: Option<String>,
    },
    /// The broker asks for the last step of an exchange at QoS 2.
    Released(u16),
    /// The broker answered a ping.
    PingAnswered,
    /// The broker is about to hang up.
    Disconnect(Disconnect),
    /// Something that a client of ours has no use for.
    Other,
}

/// A packet that is not MQTT as a broker speaks it: the start of the next packet is unknown, or an
/// answer lacks a required field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Bytes that make no sense.
    #[error("{what}, which begins with {head}")]
    Unreadable {
        /// In words.
        what: &'static str,
        /// The first bytes of the packet in hexadecimal digits.
        head: String,
    },
    /// An answer above all limits; messages are read past instead.
    #[error("a packet of {bytes} bytes came, more than allowed, which begins with {head}")]
    Oversized {
        /// Length in bytes.
        bytes: usize,
        /// The first bytes of the packet in hexadecimal digits.
        head: String,
    },
}

impl PacketError {
    fn unreadable(what: &'static str, packet: &[u8]) -> Self {
        let head = hex_head(packet);
        Self::Unreadable { what, head }
    }
}

/// Number of bytes of a packet shown to people.
const HEAD_SHOWN: usize = 16;

/// The first bytes of a packet in hex, for log lines.
fn hex_head(packet: &[u8]) -> String {
    let shown = packet.iter().take(HEAD_SHOWN);
    let digits: Vec<String> = shown.map(|byte| format!("{byte:02x}")).collect();
    let more = if packet.len() > HEAD_SHOWN {
        " …"
    } else {
        ""
    };
    digits.join(" ") + more
}
