//! Packet boundaries, the same in both versions of MQTT.

use super::PacketError;
use super::fields::{LENGTH_BYTES_MAX, length};

pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x60;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const UNSUBACK: u8 = 0xb0;
pub(super) const PINGRESP: u8 = 0xd0;
pub(super) const DISCONNECT: u8 = 0xe0;
pub(super) const AUTH: u8 = 0xf0;

/// A packet's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Kind and flags.
    first: u8,
    /// Bytes of the fixed header.
    pub(super) head: usize,
    /// Bytes that follow it.
    pub(super) rest: usize,
}

impl Frame {
    /// Reads the header of the packet that begins here; `None` while it is not complete.
    ///
    /// # Errors
    /// When no broker's packet begins like that: what follows cannot be found.
    pub fn of(bytes: &[u8]) -> Result<Option<Self>, PacketError> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        if !is_from_broker(*first) {
            let what = "a packet that no broker sends";
            return Err(PacketError::unreadable(what, bytes));
        }
        match length(bytes, 1) {
            Some((rest, head)) => Ok(Some(Self {
                first: *first,
                head,
                rest,
            })),
            None if bytes.len() <= LENGTH_BYTES_MAX => Ok(None),
            None => Err(PacketError::unreadable("a packet without end", bytes)),
        }
    }

    /// Bytes of the whole packet.
    pub fn length(&self) -> usize {
        self.head + self.rest
    }

    /// The kind, without flags.
    pub(super) fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// `true` if it is a message.
    pub fn is_publish(&self) -> bool {
        self.kind() == PUBLISH
    }

    pub(super) fn retained(&self) -> bool {
        self.first & 1 != 0
    }

    pub(super) fn dup(&self) -> bool {
        self.first & 8 != 0
    }

    /// The quality of service, 0 to 3.
    pub(super) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }
}

fn is_from_broker(first: u8) -> bool {
    matches!(
        first & 0xf0,
        CONNACK
            | PUBLISH
            | PUBACK
            | PUBREC
            | PUBREL
            | PUBCOMP
            | SUBACK
            | UNSUBACK
            | PINGRESP
            | DISCONNECT
            | AUTH
    )
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
    }

    #[test]
    fn what_has_no_end_is_shown() {
        let error = Frame::of(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).unwrap_err();
        let text = "a packet without end, which begins with 30 ff ff ff ff 01";
        assert_eq!(error.to_string(), text);
        for first in [0x00, 0x10, 0x82, 0xa2, 0xc0] {
            assert!(Frame::of(&[first]).is_err(), "{first:#x}");
        }
    }
}
