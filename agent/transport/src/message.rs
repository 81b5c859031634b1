//! Messages as MQTT knows them: version, subscriptions, and a fingerprint by which one is known again.

use std::fmt;

/// Identity of a message beyond its packet identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Hash of topic, payload and user properties, and of the subscriptions that a copy names.
    pub hash: u128,
    /// Hash of topic and payload alone: all that is left of a message that is sent again over
    /// another version of MQTT.
    pub content: u64,
}

/// The lower 64 bits of a hash.
pub fn lower_half(hash: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A version of MQTT, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

impl Version {
    /// Number of the version, as the configuration and files have it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        }
    }

    /// The version of this number.
    pub fn of_number(number: &str) -> Option<Self> {
        let all = [Self::V5, Self::V311];
        all.into_iter().find(|version| version.number() == number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MQTT {}", self.number())
    }
}

/// MQTT 5 subscription identifiers of one received copy. Most copies carry exactly one, which is
/// kept without an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SubscriptionIds {
    /// Unknown, because the protocol does not tell (3.1.1), or the source is not MQTT.
    #[default]
    Unknown,
    /// The usual case.
    One(u32),
    /// A broker that merges overlapping subscriptions into one copy names all of them.
    Many(Box<[u32]>),
}

impl SubscriptionIds {
    /// `true` if a rule with subscription `id` has to run for this copy.
    pub fn answers(&self, id: u32) -> bool {
        match self {
            Self::Unknown => true,
            Self::One(one) => *one == id,
            Self::Many(many) => many.contains(&id),
        }
    }
}
