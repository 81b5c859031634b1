//! Packets in which a broker answers: CONNACK, SUBACK and others. What a client needs of them is read;
//! a text that is none, or a property that nobody knows, takes nothing from that, because the broker
//! would send the same again to the next connection.

use super::fields::Fields;
use super::frame::{self, Frame};
use super::{Incoming, PacketError};
use crate::message::Version;

/// MQTT 5's properties of answers, by their numbers.
mod property {
    pub(super) const SESSION_EXPIRY: u8 = 17;
    pub(super) const SERVER_KEEP_ALIVE: u8 = 19;
    pub(super) const REASON: u8 = 31;
    pub(super) const RECEIVE_MAXIMUM: u8 = 33;
    pub(super) const QOS_MAXIMUM: u8 = 36;
    pub(super) const RETAIN_AVAILABLE: u8 = 37;
    pub(super) const PACKET_BYTES_MAXIMUM: u8 = 39;
    pub(super) const IDENTIFIERS_AVAILABLE: u8 = 41;
}

/// From here on a reason code is a refusal.
const REFUSED: u8 = 0x80;

/// The broker's answer to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// `true` if it kept the session.
    pub session_present: bool,
    /// 0 if the broker accepted the connection. A broker of 3.1.1 may answer with codes below 0x80
    /// even if MQTT 5 was asked for.
    pub code: u8,
    /// The properties of the CONNACK.
    pub given: ConnackGiven,
    /// The packet has no room for properties, as in MQTT 3.1.1.
    pub is_short: bool,
}

/// Properties of an MQTT 5 CONNACK; `None` for those left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnackGiven {
    /// Seconds that the broker keeps the session, if they differ from those asked for.
    pub session_expiry: Option<u32>,
    /// Seconds between packets from the client.
    pub server_keep_alive: Option<u16>,
    /// QoS 1 messages that it takes ahead of its acknowledgements.
    pub receive_maximum: Option<u16>,
    /// The highest quality of service that it takes.
    pub qos_maximum: Option<u8>,
    /// `true` if it keeps messages for later subscribers.
    pub retain_available: Option<bool>,
    /// The longest packet that it takes.
    pub packet_bytes_maximum: Option<u32>,
    /// `true` if copies can name their subscriptions.
    pub identifiers_available: Option<bool>,
    /// Why it refuses, in its words.
    pub reason: Option<String>,
}

/// The broker's answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Taken, at this quality of service.
    Granted(u8),
    /// Not taken, for this reason code.
    Refused(u8),
}

/// An MQTT 5 DISCONNECT from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason code.
    pub code: u8,
    /// The broker's reason string.
    pub reason: Option<String>,
}

/// Reads a packet that is no message.
pub(super) fn read(
    version: Version,
    frame: &Frame,
    packet: &[u8],
) -> Result<Incoming, PacketError> {
    let body = packet.get(frame.head..).unwrap_or_default();
    let short = || PacketError::unreadable("an answer cut short", packet);
    let mut fields = Fields::new(body);
    Ok(match frame.kind() {
        frame::CONNACK => Incoming::Connack(connack(version, &mut fields).ok_or_else(short)?),
        frame::SUBACK => {
            let packet = fields.two_bytes().ok_or_else(short)?;
            let answers = answers(version, &mut fields);
            Incoming::Subscribed { packet, answers }
        }
        frame::UNSUBACK => {
            let packet = fields.two_bytes().ok_or_else(short)?;
            let answers = match version {
                Version::V5 => parted(&mut fields),
                Version::V311 => Vec::new(),
            };
            Incoming::Unsubscribed { packet, answers }
        }
        frame::PUBACK => {
            let packet = fields.two_bytes().ok_or_else(short)?;
            let (code, reason) = code_and_reason(version, &mut fields);
            Incoming::Acknowledged {
                packet,
                code,
                reason,
            }
        }
        frame::PUBREL => Incoming::Released(fields.two_bytes().ok_or_else(short)?),
        frame::PINGRESP => Incoming::PingAnswered,
        frame::DISCONNECT if version == Version::V5 => {
            let (code, reason) = code_and_reason(version, &mut fields);
            Incoming::Disconnect(Disconnect { code, reason })
        }
        _ => Incoming::Other,
    })
}

fn connack(version: Version, fields: &mut Fields<'_>) -> Option<Connack> {
    let flags = fields.byte()?;
    let code = fields.byte()?;
    let is_short = fields.rest().is_empty();
    Some(Connack {
        session_present: flags & 1 != 0,
        code,
        is_short,
        given: match version {
            Version::V5 => given(properties(fields)),
            Version::V311 => ConnackGiven::default(),
        },
    })
}

fn given(section: &[u8]) -> ConnackGiven {
    let mut given = ConnackGiven::default();
    each(section, |number, value| match (number, value) {
        (property::SESSION_EXPIRY, Value::Four(seconds)) => given.session_expiry = Some(seconds),
        (property::SERVER_KEEP_ALIVE, Value::Two(seconds)) => {
            given.server_keep_alive = Some(seconds);
        }
        // None at all would be a broker that never takes a message.
        (property::RECEIVE_MAXIMUM, Value::Two(1..)) => given.receive_maximum = value.two(),
        (property::QOS_MAXIMUM, Value::One(qos)) => given.qos_maximum = Some(qos),
        (property::RETAIN_AVAILABLE, Value::One(flag)) => given.retain_available = Some(flag != 0),
        (property::PACKET_BYTES_MAXIMUM, Value::Four(bytes @ 1..)) => {
            given.packet_bytes_maximum = Some(bytes);
        }
        (property::IDENTIFIERS_AVAILABLE, Value::One(flag)) => {
            given.identifiers_available = Some(flag != 0);
        }
        (property::REASON, Value::Bytes(text)) => given.reason = words(text),
        _ => {}
    });
    given
}

fn answers(version: Version, fields: &mut Fields<'_>) -> Vec<Answer> {
    if version == Version::V5 {
        properties(fields);
    }
    let answer = |code: &u8| match *code {
        code @ 0..=2 => Answer::Granted(code),
        code => Answer::Refused(code),
    };
    fields.rest().iter().map(answer).collect()
}

/// Answers of an MQTT 5 UNSUBACK; a filter that the broker did not hold counts as removed.
fn parted(fields: &mut Fields<'_>) -> Vec<Answer> {
    properties(fields);
    let answer = |code: &u8| match *code {
        code @ REFUSED.. => Answer::Refused(code),
        _ => Answer::Granted(0),
    };
    fields.rest().iter().map(answer).collect()
}

/// Reason code and reason string, alone or behind a packet identifier; both may be omitted on
/// success.
fn code_and_reason(version: Version, fields: &mut Fields<'_>) -> (u8, Option<String>) {
    if version == Version::V311 {
        return (0, None);
    }
    let code = fields.byte().unwrap_or(0);
    let mut reason = None;
    each(properties(fields), |number, value| {
        if let (property::REASON, Value::Bytes(text)) = (number, value) {
            reason = words(text);
        }
    });
    (code, reason)
}

/// The section of properties that begins here: what there is of it.
fn properties<'a>(fields: &mut Fields<'a>) -> &'a [u8] {
    let count = fields.length().unwrap_or(0);
    let all = fields.rest();
    fields.take(count.min(all.len())).unwrap_or_default()
}

/// The value of a property, by its form.
#[derive(Clone, Copy)]
enum Value<'a> {
    One(u8),
    Two(u16),
    Four(u32),
    Length,
    Bytes(&'a [u8]),
    Pair,
}

impl Value<'_> {
    fn two(self) -> Option<u16> {
        match self {
            Self::Two(number) => Some(number),
            _ => None,
        }
    }
}

/// Calls `take` for each property, up to one that is cut short or that MQTT 5 does not know.
fn each<'a>(section: &'a [u8], mut take: impl FnMut(u8, Value<'a>)) {
    let mut fields = Fields::new(section);
    while let Some((number, value)) = property(&mut fields) {
        take(number, value);
    }
}

fn property<'a>(fields: &mut Fields<'a>) -> Option<(u8, Value<'a>)> {
    let number = fields.byte()?;
    let value = match number {
        1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Value::One(fields.byte()?),
        19 | 33 | 34 | 35 => Value::Two(fields.two_bytes()?),
        2 | 17 | 24 | 39 => Value::Four(fields.four_bytes()?),
        11 => fields.length().map(|_| Value::Length)?,
        3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => Value::Bytes(fields.bytes()?),
        38 => {
            fields.bytes()?;
            fields.bytes()?;
            Value::Pair
        }
        _ => return None,
    };
    Some((number, value))
}

/// Characters of a broker's text that are passed on.
const WORDS_MAX: usize = 200;

/// Text from the broker for log lines, on one line whatever bytes it contains.
fn words(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let shown = text.chars().take(WORDS_MAX);
    let text: String = shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Some(text).filter(|text| !text.trim().is_empty())
}

impl Answer {
    /// Why a filter was not taken, in words.
    pub fn refusal(self, version: Version) -> Option<String> {
        let code = match self {
            Self::Granted(_) => return None,
            Self::Refused(code) => code,
        };
        Some(match (version, code) {
            (Version::V311, REFUSED) => "the broker refused it (may this user read it?)".to_owned(),
            (Version::V5, _) => match reason_name(code) {
                Some("not authorized") => "not authorized (may this user read it?)".to_owned(),
                Some(name) => name.to_owned(),
                None => format!("reason code {code:#04x}"),
            },
            (Version::V311, _) => format!("return code {code:#04x}"),
        })
    }
}

/// The name that MQTT 5 gives a reason code for a refusal.
pub(crate) fn reason_name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::Inbox;
    use Version::{V5, V311};

    #[track_caller]
    fn read(version: Version, packet: &[u8]) -> Incoming {
        let mut inbox = Inbox::new(version, 1_000);
        inbox.feed(packet);
        let incoming = inbox.next().unwrap().unwrap();
        assert!(inbox.is_empty());
        incoming
    }

    #[track_caller]
    fn connack(version: Version, packet: &[u8]) -> Connack {
        match read(version, packet) {
            Incoming::Connack(connack) => connack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_broker_says_what_it_can() {
        let packet = [
            &[0x20, 45, 1, 0, 42, 17, 0, 0, 0, 9, 33, 0, 20, 36, 1, 37, 0][..],
            &[39, 0, 1, 0, 0, 18, 0, 1, b'c', 34, 0, 0, 41, 0, 19, 0, 60],
            &[38, 0, 1, 0xff, 0, 1, 0xff, 31, 0, 2, 0xff, b'x'],
            &[42],
        ]
        .concat();
        let mut packet = packet;
        packet.pop();
        packet[1] = (packet.len() - 2) as u8;
        packet[4] = (packet.len() - 5) as u8;
        let found = connack(V5, &packet);
        let given = ConnackGiven {
            session_expiry: Some(9),
            server_keep_alive: Some(60),
            receive_maximum: Some(20),
            qos_maximum: Some(1),
            retain_available: Some(false),
            packet_bytes_maximum: Some(65_536),
            identifiers_available: Some(false),
            reason: Some("\u{fffd}x".to_owned()),
        };
        assert!(found.session_present && found.code == 0);
        assert_eq!(found.given, given);
    }

    #[test]
    fn what_is_wrong_in_an_answer_takes_nothing_from_the_rest() {
        // Without properties, with ones that do not end, with an unknown one behind a known one.
        for packet in [
            &[0x20, 2, 1, 0][..],
            &[0x20, 3, 1, 0, 9],
            &[0x20, 4, 1, 0, 0x80, 0x80],
            &[0x20, 6, 1, 0, 3, 99, 1, 1],
        ] {
            let found = connack(V5, packet);
            assert!(found.session_present && found.code == 0, "{packet:?}");
            assert_eq!(found.given, ConnackGiven::default());
        }
        assert!(connack(V5, &[0x20, 2, 1, 0]).is_short);
        assert!(!connack(V5, &[0x20, 3, 1, 0, 0]).is_short);
        assert_eq!(connack(V311, &[0x20, 2, 0, 5]).code, 5);
        let reason = [0x90, 9, 0, 7, 4, 31, 0, 1, 0xff, 1, 0x87];
        let answers = vec![Answer::Granted(1), Answer::Refused(0x87)];
        let packet = 7;
        let expected = Incoming::Subscribed { packet, answers };
        assert_eq!(read(V5, &reason), expected);
    }

    #[test]
    fn each_filter_has_its_answer() {
        let answers = vec![
            Answer::Granted(0),
            Answer::Granted(2),
            Answer::Refused(0x80),
        ];
        let packet = 0x102;
        let expected = Incoming::Subscribed { packet, answers };
        assert_eq!(read(V311, &[0x90, 5, 1, 2, 0, 2, 0x80]), expected);
        assert_eq!(read(V5, &[0x90, 6, 1, 2, 0, 0, 2, 0x80]), expected);
        let none = Incoming::Subscribed {
            packet: 7,
            answers: Vec::new(),
        };
        assert_eq!(read(V5, &[0x90, 3, 0, 7, 9]), none);
        for code in [3, 0x80, 0x87, 0xff] {
            for version in [V5, V311] {
                assert!(Answer::Refused(code).refusal(version).is_some());
            }
        }
    }

    #[test]
    fn short_forms_are_read() {
        let acknowledged = |code, reason: Option<&str>| Incoming::Acknowledged {
            packet: 7,
            code,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(read(V5, &[0x40, 2, 0, 7]), acknowledged(0, None));
        assert_eq!(read(V5, &[0x40, 3, 0, 7, 0x10]), acknowledged(0x10, None));
        let said = [0x40, 10, 0, 7, 0x97, 6, 31, 0, 3, b'n', b'o', b'\n'];
        assert_eq!(read(V5, &said), acknowledged(0x97, Some("no ")));
        assert_eq!(read(V311, &[0x40, 2, 0, 7]), acknowledged(0, None));
        let hangs_up = |code| {
            let reason = None;
            Incoming::Disconnect(Disconnect { code, reason })
        };
        assert_eq!(read(V5, &[0xe0, 0]), hangs_up(0));
        assert_eq!(read(V5, &[0xe0, 1, 0x8b]), hangs_up(0x8b));
        assert_eq!(read(V5, &[0xe0, 5, 0x8b, 9, 31, 0, 9]), hangs_up(0x8b));
        let parted = |answers: &[Answer]| Incoming::Unsubscribed {
            packet: 7,
            answers: answers.to_vec(),
        };
        let (gone, kept) = (Answer::Granted(0), Answer::Refused(0x87));
        assert_eq!(read(V5, &[0xb0, 2, 0, 7]), parted(&[]));
        let answers = [0xb0, 6, 0, 7, 0, 0, 17, 0x87];
        assert_eq!(read(V5, &answers), parted(&[gone, gone, kept]));
        assert_eq!(read(V311, &[0xb0, 2, 0, 7]), parted(&[]));
        assert_eq!(read(V5, &[0x62, 2, 0, 7]), Incoming::Released(7));
        assert_eq!(read(V311, &[0xd0, 0]), Incoming::PingAnswered);
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        for packet in [&[0x20, 1, 0][..], &[0x90, 1, 0], &[0xb0, 0], &[0x40, 1, 7]] {
            let mut inbox = Inbox::new(V5, 1_000);
            inbox.feed(packet);
            assert!(inbox.next().is_err(), "{packet:?}");
        }
    }
}
