//! Why a message breaks the rules of MQTT, in words for its dead letter.

use std::fmt;

/// A rule of MQTT that a PUBLISH breaks, though its end could be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The packet ends within its topic or its packet identifier.
    #[error("it ends before its topic or its packet identifier does")]
    Short,
    /// QoS 1 or 2 with packet identifier 0, which no acknowledgement can name.
    #[error("it wants to be acknowledged and has packet identifier 0")]
    NoPacketIdentifier,
    /// Both bits of the quality of service are set.
    #[error("there is no quality of service 3")]
    Qos3,
    /// More than four bytes, or none.
    #[error("the length of its properties cannot be read")]
    PropertiesLength,
    /// The length of the properties is greater than the rest of the packet.
    #[error("its properties are longer than itself")]
    PropertiesBeyond,
    /// A property that MQTT does not know, or not in a PUBLISH.
    #[error("it has a property {0:#04x}, which messages have not")]
    Unknown(u8),
    /// A property ends after the properties do.
    #[error("its {0} is cut short")]
    Cut(Property),
    /// A text that is none.
    #[error("its {0} is not UTF-8")]
    NotUtf8(Property),
    /// A text with U+0000 in it.
    #[error("its {0} contains a NUL")]
    Nul(Property),
    /// A property that may be there once.
    #[error("it has more than one {0}")]
    Repeated(Property),
    /// A value that MQTT does not allow.
    #[error("its {0} has a value that is not allowed")]
    Value(Property),
    /// The packet refers to an earlier topic by an alias, which this client did not offer.
    #[error("it uses a topic alias, and none was offered")]
    TopicAlias,
}

/// A property of a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Property {
    /// `true` if the payload says that it is text.
    PayloadFormat = 0x01,
    /// Seconds until the message is of no use.
    Expiry = 0x02,
    /// A MIME type.
    ContentType = 0x03,
    /// Topic for an answer.
    ResponseTopic = 0x08,
    /// Correlation data of the answer.
    CorrelationData = 0x09,
    /// Subscriptions that a copy is for.
    SubscriptionIdentifier = 0x0b,
    /// A number in place of the topic.
    TopicAlias = 0x23,
    /// A name and a value.
    User = 0x26,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PayloadFormat => "payload format indicator",
            Self::Expiry => "message expiry interval",
            Self::ContentType => "content type",
            Self::ResponseTopic => "response topic",
            Self::CorrelationData => "correlation data",
            Self::SubscriptionIdentifier => "subscription identifier",
            Self::TopicAlias => "topic alias",
            Self::User => "user property",
        })
    }
}
