//! Parts that the targets share: choices made of bytes, messages written as MQTT has them, and what has to
//! hold for whatever is read.

pub mod mill;
pub mod payload;

use tidemill::event::SubscriptionIds;
use tidemill::source::mqtt::Version;
use tidemill_transport::packets::{Inbox, Incoming, PacketError, Received};

/// Above that a message's properties are not kept where its payload is not.
const PROPERTIES_BYTES_MAX: usize = 1 << 16;

/// Choices, each made of the next byte; 0 where there is none.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Choices out of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Any number.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    /// Any number of two bytes.
    pub fn two_bytes(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A few bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken.to_vec()
    }

    /// A text as MQTT allows it.
    pub fn text(&mut self) -> String {
        let bytes = self.bytes();
        String::from_utf8_lossy(&bytes).replace('\0', "0")
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// A version of MQTT.
    pub fn version(&mut self) -> Version {
        self.one_of(&[Version::V5, Version::V311])
    }

    /// Longest message.
    pub fn limit(&mut self) -> usize {
        self.one_of(&[0, 1, 100, 1_000, 1 << 20])
    }

    /// `true` if there is nothing to choose by any more.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// A well-formed PUBLISH.
#[derive(Debug)]
pub struct Message {
    /// MQTT version of the packet.
    pub version: Version,
    /// Longest message that its reader takes.
    pub packet_bytes_max: usize,
    dup: bool,
    qos: u8,
    retain: bool,
    topic: Vec<u8>,
    packet: u16,
    properties: Vec<Property>,
    payload: Vec<u8>,
}

#[derive(Debug)]
enum Property {
    Format(u8),
    Expiry(u32),
    ContentType(String),
    ResponseTopic(String),
    Correlation(Vec<u8>),
    Subscription(u32),
    User(String, String),
}

impl Property {
    /// The next one, unless it may be there once and is.
    fn choose(choices: &mut Choices<'_>, seen: &mut u8) -> Option<Self> {
        let kind = choices.byte() % 7;
        let may_repeat = kind >= 5;
        if !may_repeat && *seen & 1 << kind != 0 {
            return None;
        }
        *seen |= 1 << kind;
        Some(match kind {
            0 => Self::Format(choices.byte() % 2),
            1 => Self::Expiry(u32::from(choices.two_bytes()) << 16),
            2 => Self::ContentType(choices.text()),
            3 => Self::ResponseTopic(choices.text().replace(['+', '#'], "/")),
            4 => Self::Correlation(choices.bytes()),
            5 => Self::User(choices.text(), choices.text()),
            _ => {
                let id = u32::from(choices.two_bytes()) << choices.one_of(&[0, 4, 8, 12]);
                Self::Subscription(id.clamp(1, 268_435_455))
            }
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Format(format) => out.extend([1, *format]),
            Self::Expiry(seconds) => {
                out.push(2);
                out.extend(seconds.to_be_bytes());
            }
            Self::ContentType(text) => {
                out.push(3);
                string(out, text.as_bytes());
            }
            Self::ResponseTopic(text) => {
                out.push(8);
                string(out, text.as_bytes());
            }
            Self::Correlation(bytes) => {
                out.push(9);
                string(out, bytes);
            }
            Self::Subscription(id) => {
                out.push(11);
                length(out, *id as usize);
            }
            Self::User(name, value) => {
                out.push(38);
                string(out, name.as_bytes());
                string(out, value.as_bytes());
            }
        }
    }
}

impl Message {
    /// One out of these choices; the payload is what is left.
    pub fn choose(choices: &mut Choices<'_>) -> Self {
        let version = choices.version();
        let packet_bytes_max = choices.limit();
        let flags = choices.byte();
        let qos = choices.one_of(&[0, 1, 2]);
        let topic = choices.bytes();
        let packet = choices.two_bytes().max(1);
        let mut seen = 0;
        let count = match version {
            Version::V5 => choices.byte() % 24,
            Version::V311 => 0,
        };
        let properties = (0..count)
            .filter_map(|_| Property::choose(choices, &mut seen))
            .collect();
        // Now and then longer than anybody keeps it.
        let long = choices.one_of(&[0, 0, 0, 0, 1, 3]) << 16;
        let mut payload = choices.rest.to_vec();
        payload.resize(payload.len() + long, b'x');
        Self {
            version,
            packet_bytes_max,
            dup: flags & 1 != 0,
            qos,
            retain: flags & 16 != 0,
            topic,
            packet,
            properties,
            payload,
        }
    }

    fn section(&self) -> Vec<u8> {
        let mut section = Vec::new();
        for property in &self.properties {
            property.encode(&mut section);
        }
        section
    }

    /// The packet as it stands on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        string(&mut body, &self.topic);
        if self.qos > 0 {
            body.extend(self.packet.to_be_bytes());
        }
        if self.version == Version::V5 {
            let section = self.section();
            length(&mut body, section.len());
            body.extend(section);
        }
        body.extend(&self.payload);
        let first = 0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain);
        framed(first, &body)
    }

    /// Compares a message as it was read with what was written.
    pub fn check(&self, received: &Received) {
        assert_eq!(received.malformed, None, "{self:?}");
        assert_eq!(&received.topic[..], self.topic);
        assert_eq!(received.retained, self.retain);
        let handshake = received.handshake;
        let expected = (self.qos > 0).then_some((self.packet, self.dup, self.qos == 2));
        let found = handshake.map(|h| (h.packet, h.dup, h.exactly_once));
        assert_eq!(found, expected);
        let mut payload_bytes = self.payload.len();
        let section_bytes = self.section().len();
        let is_kept = received.skipped.is_none() || section_bytes <= PROPERTIES_BYTES_MAX;
        if is_kept {
            let named = |property: &Property| match property {
                Property::User(name, value) => Some((name.clone(), value.clone())),
                _ => None,
            };
            let properties: Vec<_> = self.properties.iter().filter_map(named).collect();
            assert_eq!(received.properties, properties);
            let id = |property: &Property| match property {
                Property::Subscription(id) => Some(*id),
                _ => None,
            };
            let ids: Vec<u32> = self.properties.iter().filter_map(id).collect();
            let expected = match &*ids {
                [] => SubscriptionIds::Unknown,
                [one] => SubscriptionIds::One(*one),
                _ => SubscriptionIds::Many(ids.into()),
            };
            assert_eq!(received.subscriptions, expected);
        } else {
            payload_bytes += section_bytes + 3;
        }
        match &received.skipped {
            None => assert_eq!(&received.payload[..], self.payload),
            Some(skipped) => assert_eq!(skipped.payload_bytes, payload_bytes),
        }
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = u16::try_from(bytes.len()).expect("a string is short");
    out.extend(count.to_be_bytes());
    out.extend(bytes);
}

fn length(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A packet.
pub fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    length(&mut packet, body.len());
    packet.extend(body);
    packet
}

/// All that is there, or what was there before an error, and that.
pub fn drain(inbox: &mut Inbox) -> Result<Vec<Incoming>, (Vec<Incoming>, PacketError)> {
    let mut all = Vec::new();
    loop {
        let before = inbox.len();
        match inbox.next() {
            Ok(Some(incoming)) => {
                let skipped =
                    matches!(&incoming, Incoming::Message(received) if received.skipped.is_some());
                let dropped = matches!(incoming, Incoming::Unusable { .. });
                assert!(
                    inbox.len() < before || skipped || dropped,
                    "nothing was taken"
                );
                all.push(incoming);
            }
            Ok(None) => return Ok(all),
            Err(error) => return Err((all, error)),
        }
    }
}

/// Bounds that hold for all that is read of so many bytes.
pub fn check_incoming(incoming: &Incoming, bytes: usize) {
    match incoming {
        Incoming::Message(received) => {
            let texts: usize = received
                .properties
                .iter()
                .map(|p| p.0.len() + p.1.len())
                .sum();
            assert!(received.topic.len() + received.payload.len() + texts <= bytes);
            assert!(
                received
                    .handshake
                    .is_none_or(|handshake| handshake.packet > 0)
            );
            if let SubscriptionIds::Many(ids) = &received.subscriptions {
                assert!(ids.len() >= 2 && 2 * ids.len() <= bytes && !ids.contains(&0));
            }
            if received.malformed.is_some() {
                assert!(received.properties.is_empty());
                assert_eq!(received.subscriptions, SubscriptionIds::Unknown);
            }
        }
        Incoming::Unusable { why, head } => {
            assert!(!why.to_string().is_empty() && head.len() < 60);
        }
        Incoming::Connack(connack) => {
            let reason = connack.given.reason.as_deref().unwrap_or_default();
            assert!(reason.chars().count() <= 200);
        }
        _ => {}
    }
}

/// Checks that two ways of reading agree; the part shown of a packet depends on how much of it had
/// come.
pub fn check_same(one: &Incoming, other: &Incoming) {
    match (one, other) {
        (Incoming::Unusable { why, .. }, Incoming::Unusable { why: as_well, .. }) => {
            assert_eq!(why, as_well);
        }
        _ => assert_eq!(one, other),
    }
}
