//! Where a packet begins and ends, and what stands at the beginning of a PUBLISH; the same in both
//! versions of MQTT. Knows no socket.

use bytes::{BufMut, Bytes, BytesMut};

use super::Handshake;
use crate::source::mqtt::trouble::Trouble;

/// The length of a packet takes at most so many bytes.
pub(super) const LENGTH_BYTES_MAX: usize = 4;

const PUBLISH: u8 = 0x30;

/// A packet's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Kind and flags.
    first: u8,
    /// Bytes of the fixed header.
    pub(super) head: usize,
    /// Bytes that follow it.
    pub(super) rest: usize,
}

impl Frame {
    /// Reads the header of the packet that begins here; `None` while it is not complete.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<Self>, Trouble> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        match length(bytes, 1) {
            Some((rest, head)) => Ok(Some(Self {
                first: *first,
                head,
                rest,
            })),
            None if bytes.len() <= LENGTH_BYTES_MAX => Ok(None),
            None => Err(Trouble::NoMqtt("a packet without end".to_owned())),
        }
    }

    /// Bytes of the whole packet.
    pub(super) fn length(&self) -> usize {
        self.head + self.rest
    }

    /// The fixed header of a packet of this kind that is cut after so many bytes.
    pub(super) fn write_cut(&self, end: usize, out: &mut BytesMut) {
        let mut rest = end.saturating_sub(self.head);
        out.put_u8(self.first);
        loop {
            let more = if rest > 0x7f { 0x80 } else { 0 };
            out.put_u8(u8::try_from(rest & 0x7f).unwrap_or_default() | more);
            rest >>= 7;
            if more == 0 {
                break;
            }
        }
    }

    pub(super) fn is_publish(&self) -> bool {
        self.first & 0xf0 == PUBLISH
    }

    pub(super) fn retained(&self) -> bool {
        self.first & 1 != 0
    }

    fn dup(&self) -> bool {
        self.first & 8 != 0
    }

    fn has_packet_identifier(&self) -> bool {
        self.first & 6 != 0
    }
}

/// Topic and packet identifier of a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) topic: std::ops::Range<usize>,
    pub(super) handshake: Option<Handshake>,
    /// Where properties and payload begin.
    pub(super) end: usize,
}

impl Head {
    /// Reads what follows the fixed header; `None` while it is not complete.
    pub(super) fn of(bytes: &[u8], frame: &Frame) -> Result<Option<Self>, Trouble> {
        let Some(topic_bytes) = number(bytes, frame.head) else {
            return complete(frame.head + 2, frame);
        };
        let start = frame.head + 2;
        let mut end = start + usize::from(topic_bytes);
        let topic = start..end;
        let mut handshake = None;
        if frame.has_packet_identifier() {
            handshake = number(bytes, end).map(|packet| Handshake {
                packet,
                dup: frame.dup(),
            });
            end += 2;
        }
        if end > frame.length() || bytes.len() < end {
            return complete(end, frame);
        }
        match handshake {
            Some(Handshake { packet: 0, .. }) => Err(Trouble::NoMqtt("packet 0".to_owned())),
            _ => Ok(Some(Self {
                topic,
                handshake,
                end,
            })),
        }
    }
}

/// Nothing yet, unless the packet is too short ever to hold that much.
pub(super) fn complete<T>(bytes: usize, frame: &Frame) -> Result<Option<T>, Trouble> {
    match bytes <= frame.length() {
        true => Ok(None),
        false => Err(Trouble::NoMqtt("a message cut short".to_owned())),
    }
}

fn number(bytes: &[u8], place: usize) -> Option<u16> {
    let bytes = bytes.get(place..place + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// A length of one to four bytes at this place, and where it ends.
pub(super) fn length(bytes: &[u8], place: usize) -> Option<(usize, usize)> {
    let bytes = bytes.get(place..)?;
    let mut length = 0;
    for (index, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, place + index + 1));
        }
    }
    None
}

/// This part of a packet, which shares its memory.
pub(super) fn part(packet: &Bytes, range: std::ops::Range<usize>) -> Bytes {
    match range.end <= packet.len() && range.start <= range.end {
        true => packet.slice(range),
        false => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Option<(usize, usize)>) {
        let frame = Frame::of(bytes).unwrap();
        assert_eq!(frame.map(|frame| (frame.head, frame.rest)), expected);
    }

    #[test]
    fn a_length_has_one_to_four_bytes() {
        check(&[], None);
        check(&[0xd0], None);
        check(&[0xd0, 0], Some((2, 0)));
        check(&[0x30, 0x7f], Some((2, 127)));
        check(&[0x30, 0x80], None);
        check(&[0x30, 0x80, 1, 9], Some((3, 128)));
        check(&[0x30, 0xff, 0xff, 0xff], None);
        check(&[0x30, 0xff, 0xff, 0xff, 0x7f], Some((5, 268_435_455)));
        assert!(Frame::of(&[0x30, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn a_cut_packet_has_a_header_of_its_own() {
        let frame = Frame::of(&[0x3b, 0xff, 0xff, 0x7f]).unwrap().unwrap();
        for (end, expected) in [
            (4, &[0x3b, 0][..]),
            (131, &[0x3b, 127]),
            (132, &[0x3b, 0x80, 1]),
        ] {
            let mut out = BytesMut::new();
            frame.write_cut(end, &mut out);
            assert_eq!(out, expected, "{end}");
        }
    }

    #[test]
    fn topic_and_identifier_are_found_as_soon_as_they_are_there() {
        let packet = [0x3a, 9, 0, 3, b'a', b'/', b'b', 1, 2, b'x', b'y'];
        let frame = Frame::of(&packet).unwrap().unwrap();
        assert!(frame.is_publish() && !frame.retained());
        for end in 0..9 {
            let head = Head::of(&packet[..end], &frame).unwrap();
            assert_eq!(head, None, "{end} bytes");
        }
        let head = Head::of(&packet[..9], &frame).unwrap().unwrap();
        assert_eq!((head.topic, head.end), (4..7, 9));
        let handshake = head.handshake.unwrap();
        assert_eq!((handshake.packet, handshake.dup), (0x102, true));
    }

    #[test]
    fn a_message_shorter_than_its_topic_is_none() {
        for packet in [
            &[0x30_u8, 1, 0][..],
            &[0x30, 3, 0, 9, b'a'],
            &[0x32, 4, 0, 1, b'a', 7],
            &[0x32, 5, 0, 1, b'a', 0, 0],
        ] {
            let frame = Frame::of(packet).unwrap().unwrap();
            assert!(Head::of(packet, &frame).is_err(), "{packet:?}");
        }
    }
}
