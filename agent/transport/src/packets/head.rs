//! The part of a PUBLISH before its payload: topic, packet identifier, and the properties of MQTT
//! 5.

use std::ops::Range;

use bytes::Bytes;

use super::fields::{Fields, LENGTH_BYTES_MAX, length};
use super::frame::Frame;
use super::properties::{self, Given};
use super::{Handshake, Received};
use crate::malformed::Malformed;
use crate::message::Version;

/// The beginning of a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) topic: Range<usize>,
    pub(super) handshake: Option<Handshake>,
    pub(super) given: Given,
    /// Why it is of no use.
    pub(super) malformed: Option<Malformed>,
    pub(super) payload_at: usize,
}

impl Head {
    /// Reads the part before the payload; `None` while it is not complete. Properties longer than
    /// `properties_max` are taken for a part of the payload.
    ///
    /// # Errors
    /// When it is unknown how to acknowledge the message.
    pub(super) fn of(
        version: Version,
        frame: &Frame,
        bytes: &[u8],
        properties_max: usize,
    ) -> Result<Option<Self>, Malformed> {
        let bytes = bytes.get(..frame.length()).unwrap_or(bytes);
        let Some((topic, handshake, end)) = beginning(frame, bytes)? else {
            return Ok(None);
        };
        let mut head = Self {
            topic,
            handshake,
            given: Given::default(),
            malformed: None,
            payload_at: end,
        };
        if version == Version::V311 {
            return Ok(Some(head));
        }
        let Some((count, start)) = length(bytes, end) else {
            if bytes.len() < frame.length().min(end + LENGTH_BYTES_MAX) {
                return Ok(None);
            }
            head.malformed = Some(Malformed::PropertiesLength);
            return Ok(Some(head));
        };
        if count == 0 {
            head.payload_at = start;
        } else if start + count > frame.length() {
            head.payload_at = start;
            head.malformed = Some(Malformed::PropertiesBeyond);
        } else if count <= properties_max {
            let Some(section) = bytes.get(start..start + count) else {
                return Ok(None);
            };
            head.payload_at = start + count;
            match properties::of_publish(section) {
                Ok(given) => {
                    head.payload_at -= given.unread;
                    head.given = given;
                }
                Err(why) => head.malformed = Some(why),
            }
        }
        Ok(Some(head))
    }

    /// The message, with this topic and payload.
    pub(super) fn message(self, frame: &Frame, topic: Bytes, payload: Bytes) -> Received {
        Received {
            topic,
            payload,
            retained: frame.retained(),
            subscriptions: self.given.subscriptions,
            properties: self.given.properties,
            response_topic: self.given.response_topic,
            correlation: self.given.correlation,
            handshake: self.handshake,
            skipped: None,
            malformed: self.malformed,
        }
    }
}

/// Topic, packet identifier, and the end of both.
type Beginning = (Range<usize>, Option<Handshake>, usize);

fn beginning(frame: &Frame, bytes: &[u8]) -> Result<Option<Beginning>, Malformed> {
    if frame.qos() == 3 {
        return Err(Malformed::Qos3);
    }
    let is_whole = bytes.len() >= frame.length();
    let mut fields = Fields::new(bytes.get(frame.head..).unwrap_or_default());
    let identified = frame.qos() > 0;
    let (Some(topic), packet) = (fields.bytes(), identified.then(|| fields.two_bytes())) else {
        return incomplete(is_whole);
    };
    let start = frame.head + 2;
    let topic = start..start + topic.len();
    let end = bytes.len() - fields.rest().len();
    Ok(match packet {
        None => Some((topic, None, end)),
        Some(None) => return incomplete(is_whole),
        Some(Some(0)) => return Err(Malformed::NoPacketIdentifier),
        Some(Some(packet)) => {
            let handshake = Handshake {
                packet,
                dup: frame.dup(),
                exactly_once: frame.qos() == 2,
            };
            Some((topic, Some(handshake), end))
        }
    })
}

fn incomplete<T>(is_whole: bool) -> Result<Option<T>, Malformed> {
    if is_whole {
        Err(Malformed::Short)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Malformed::{NoPacketIdentifier, PropertiesBeyond, PropertiesLength, Qos3, Short};
    use Version::{V5, V311};

    #[track_caller]
    fn read(version: Version, packet: &[u8]) -> Result<Head, Malformed> {
        let frame = Frame::of(packet).unwrap().unwrap();
        assert_eq!(frame.length(), packet.len());
        let head = Head::of(version, &frame, packet, usize::MAX);
        // Piece by piece the same, as soon as it is there.
        let early = (0..packet.len()).find_map(|end| {
            let head = Head::of(version, &frame, &packet[..end], usize::MAX);
            head.transpose()
        });
        let head = head.map(|head| head.expect("all of it is there"));
        if let Some(early) = early {
            assert_eq!(early, head);
        }
        head
    }

    #[test]
    fn topic_and_identifier_are_found_as_soon_as_they_are_there() {
        let packet = [0x3a, 9, 0, 3, b'a', b'/', b'b', 1, 2, b'x', b'y'];
        let head = read(V311, &packet).unwrap();
        assert_eq!((head.topic, head.payload_at), (4..7, 9));
        let handshake = Handshake {
            packet: 0x102,
            dup: true,
            exactly_once: false,
        };
        assert_eq!(head.handshake, Some(handshake));
    }

    #[test]
    fn a_message_that_cannot_be_acknowledged_is_told_apart() {
        let cases: [(&[u8], Malformed); 7] = [
            (&[0x30, 0], Short),
            (&[0x30, 1, 0], Short),
            (&[0x30, 3, 0, 9, b'a'], Short),
            (&[0x32, 4, 0, 1, b'a', 7], Short),
            (&[0x32, 5, 0, 1, b'a', 0, 0], NoPacketIdentifier),
            (&[0x34, 5, 0, 1, b'a', 0, 0], NoPacketIdentifier),
            (&[0x36, 5, 0, 1, b'a', 0, 7], Qos3),
        ];
        for version in [V5, V311] {
            for (packet, why) in cases {
                assert_eq!(read(version, packet), Err(why), "{packet:?}");
            }
        }
    }

    #[test]
    fn properties_that_do_not_end_leave_a_message_to_acknowledge() {
        let cases: [(&[u8], Malformed, usize); 5] = [
            (&[0x32, 5, 0, 1, b'a', 0, 7], PropertiesLength, 7),
            (&[0x32, 6, 0, 1, b'a', 0, 7, 0x80], PropertiesLength, 7),
            (&[0x32, 6, 0, 1, b'a', 0, 7, 9], PropertiesBeyond, 8),
            (
                &[0x32, 9, 0, 1, b'a', 0, 7, 0xff, 0xff, 0xff, 0x7f],
                PropertiesBeyond,
                11,
            ),
            (
                &[0x32, 10, 0, 1, b'a', 0, 7, 0xff, 0xff, 0xff, 0xff, 1],
                PropertiesLength,
                7,
            ),
        ];
        for (packet, why, payload_at) in cases {
            let head = read(V5, packet).unwrap();
            assert_eq!(head.malformed, Some(why), "{packet:?}");
            assert_eq!(head.payload_at, payload_at, "{packet:?}");
            assert_eq!(head.handshake.unwrap().packet, 7);
        }
    }
}
