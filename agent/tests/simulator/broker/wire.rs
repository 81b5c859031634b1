//! Packets of the broker as bytes: both versions of MQTT, with the properties that other clients
//! set, and with messages that break the rules, which a broker hands on as it got them.

use tidemill::event::SubscriptionIds;

use super::{Copy, Message, ToClient};
use crate::world::Random;

/// The way in which a message breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its topic is not UTF-8: that breaks the rules of both versions.
    Topic,
    UserProperty,
    ResponseTopic,
    ContentType,
    /// A property that may be there once is there twice.
    TwoExpiries,
    /// The payload says that it is text, by a value that there is not.
    Format,
    /// A property of which nobody knows how long it is.
    Unknown,
}

const FLAWS_OF_FIVE: [Flaw; 7] = [
    Flaw::Topic,
    Flaw::UserProperty,
    Flaw::ResponseTopic,
    Flaw::ContentType,
    Flaw::TwoExpiries,
    Flaw::Format,
    Flaw::Unknown,
];

impl Flaw {
    pub(crate) fn draw(random: &mut Random, only_five: bool) -> Self {
        if only_five {
            random.pick(&FLAWS_OF_FIVE)
        } else {
            Self::Topic
        }
    }
}

/// The packet as it is on the wire.
pub(crate) fn encode(packet: &ToClient, five: bool) -> Vec<u8> {
    let empty: &[u8] = if five { &[0] } else { &[] };
    match packet {
        ToClient::Connack { session_present } => {
            framed(0x20, &[&[u8::from(*session_present), 0], empty].concat())
        }
        ToClient::Publish { packet, dup, copy } => publish(*packet, *dup, copy, five),
        ToClient::Suback { packet, filters } => {
            let answers = vec![1; *filters];
            framed(0x90, &[&packet.to_be_bytes(), empty, &answers].concat())
        }
        ToClient::Unsuback { packet, filters } => {
            let answers = vec![0; if five { *filters } else { 0 }];
            framed(0xb0, &[&packet.to_be_bytes(), empty, &answers].concat())
        }
        ToClient::Pong => vec![0xd0, 0],
    }
}

fn publish(packet: u16, dup: bool, copy: &Copy, five: bool) -> Vec<u8> {
    let message = &copy.message;
    let mut rest = Vec::with_capacity(message.payload.len() + 100);
    let topic = message.topic.as_str().as_bytes();
    match message.flaw {
        Some(Flaw::Topic) => text(&mut rest, &[topic, b"\xff"].concat()),
        _ => text(&mut rest, topic),
    }
    if message.acknowledged {
        rest.extend(packet.to_be_bytes());
    }
    if five {
        let properties = properties(message, &copy.ids);
        length(&mut rest, properties.len());
        rest.extend(properties);
    }
    rest.extend_from_slice(&message.payload);
    let bits = u8::from(dup) << 3 | u8::from(message.acknowledged) << 1 | u8::from(copy.retained);
    framed(0x30 | bits, &rest)
}

/// The properties of a message: its number decides on them and their order.
fn properties(message: &Message, ids: &SubscriptionIds) -> Vec<u8> {
    let mut out = Vec::new();
    let mut random = Random::new(message.uid as u64 ^ 0x9e0);
    let ids: &[u32] = match ids {
        SubscriptionIds::Unknown => &[],
        SubscriptionIds::One(id) => std::slice::from_ref(id),
        SubscriptionIds::Many(ids) => ids,
    };
    let ids_first = random.one_in(2);
    if ids_first {
        identifiers(&mut out, ids);
    }
    if random.one_in(3) || message.flaw == Some(Flaw::Format) {
        let format = if message.flaw == Some(Flaw::Format) {
            7
        } else {
            1
        };
        out.extend([0x01, format]);
    }
    for _ in 0..match message.flaw {
        Some(Flaw::TwoExpiries) => 2,
        _ => u8::from(random.one_in(4)),
    } {
        out.push(0x02);
        out.extend(86_400_u32.to_be_bytes());
    }
    for (number, flaw, sound) in [
        (0x03, Flaw::ContentType, &b"application/json"[..]),
        (0x08, Flaw::ResponseTopic, b"answers/here"),
    ] {
        if message.flaw == Some(flaw) {
            out.push(number);
            text(&mut out, b"caf\xe9");
        } else if random.one_in(4) {
            out.push(number);
            text(&mut out, sound);
        }
    }
    if random.one_in(4) {
        out.push(0x09);
        text(&mut out, &[0, 0xff, 1]);
    }
    if let Some(name) = &message.name_property {
        pair(&mut out, b"eid", name.as_bytes());
        if message.counts {
            pair(&mut out, b"eid-kind", b"number");
        }
    }
    if message.flaw == Some(Flaw::UserProperty) {
        pair(&mut out, b"place", b"M\xfcnchen");
    }
    if message.flaw == Some(Flaw::Unknown) {
        out.extend([0x7e, 1, 2, 3]);
    }
    if !ids_first {
        identifiers(&mut out, ids);
    }
    out
}

fn identifiers(out: &mut Vec<u8>, ids: &[u32]) {
    for id in ids {
        out.push(0x0b);
        length(out, *id as usize);
    }
}

fn pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0x26);
    text(out, name);
    text(out, value);
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A number of one to four bytes.
fn length(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let more = number >= 0x80;
        out.push((number & 0x7f) as u8 | u8::from(more) << 7);
        number >>= 7;
        if !more {
            return;
        }
    }
}

fn framed(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len() + 5);
    out.push(first);
    length(&mut out, rest.len());
    out.extend_from_slice(rest);
    out
}
