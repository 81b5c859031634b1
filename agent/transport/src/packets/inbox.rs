//! Bytes as they come from a broker, in any pieces, to packets.

use bytes::{Bytes, BytesMut};

use super::answers;
use super::frame::{self, Frame};
use super::head::Head;
use super::skip::{PROPERTIES_BYTES_MAX, Skip};
use super::{Incoming, PacketError, hex_head};
use crate::malformed::Malformed;
use crate::message::Version;
use tidemill_base::sabotage::{self, Sabotage};

/// Bytes that a PUBLISH within the limit may have besides topic and payload.
const HEAD_BYTES_MAX: usize = 16 + PROPERTIES_BYTES_MAX;

/// Bytes read from a connection and not yet taken.
pub struct Inbox {
    version: Version,
    bytes: BytesMut,
    skip: Option<Skip>,
    packet_bytes_max: usize,
}

impl Inbox {
    /// An empty inbox. The payload of a message longer than `packet_bytes_max` plus the most that
    /// may precede a payload is not kept.
    pub fn new(version: Version, packet_bytes_max: usize) -> Self {
        Self {
            version,
            bytes: BytesMut::new(),
            skip: None,
            packet_bytes_max,
        }
    }

    /// Buffer that takes the bytes read from the connection.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Adds what came of the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their packet.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// `true` if none do.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The header of the next packet, if there is one.
    ///
    /// # Errors
    /// Same as [`Frame::of`].
    pub fn peek(&self) -> Result<Option<Frame>, PacketError> {
        Frame::of(&self.bytes)
    }

    /// The next packet; `None` while it is not complete.
    ///
    /// # Errors
    /// When the end of the packet is unknown, or an answer lacks a required field. The connection
    /// is then unusable.
    #[allow(
        clippy::should_implement_trait,
        reason = "more may follow after None, and after an error nothing does"
    )]
    pub fn next(&mut self) -> Result<Option<Incoming>, PacketError> {
        if let Some(skip) = &mut self.skip {
            if !skip.drop_from(&mut self.bytes) {
                return Ok(None);
            }
            return Ok(self.skip.take().map(Skip::end));
        }
        let Some(frame) = Frame::of(&self.bytes)? else {
            return Ok(None);
        };
        if frame.rest > self.packet_bytes_max.saturating_add(HEAD_BYTES_MAX) {
            if !frame.is_publish() {
                let (bytes, head) = (frame.length(), hex_head(&self.bytes));
                return Err(PacketError::Oversized { bytes, head });
            }
            self.skip = Skip::begin(self.version, &frame, &mut self.bytes);
            // Part of the payload may have arrived already.
            return match self.skip {
                Some(_) => self.next(),
                None => Ok(None),
            };
        }
        if self.bytes.len() < frame.length() {
            self.bytes.reserve(frame.length() - self.bytes.len());
            return Ok(None);
        }
        let packet = self.bytes.split_to(frame.length());
        if frame.kind() == frame::PUBLISH {
            let packet = packet.freeze();
            let incoming = message(self.version, &frame, &packet);
            if sabotage::is(Sabotage::MalformedHangsUp) && is_malformed(&incoming) {
                return Err(PacketError::unreadable("a malformed message", &packet));
            }
            return Ok(Some(incoming));
        }
        answers::read(self.version, &frame, &packet).map(Some)
    }
}

fn is_malformed(incoming: &Incoming) -> bool {
    match incoming {
        Incoming::Message(received) => received.malformed.is_some(),
        _ => true,
    }
}

fn message(version: Version, frame: &Frame, packet: &Bytes) -> Incoming {
    let head = Head::of(version, frame, packet, usize::MAX);
    let head = match head.and_then(|head| head.ok_or(Malformed::Short)) {
        Ok(head) => head,
        Err(why) => {
            let head = hex_head(packet);
            return Incoming::Unusable { why, head };
        }
    };
    let topic = packet.slice(head.topic.clone());
    let payload = packet.slice(head.payload_at..);
    Incoming::Message(head.message(frame, topic, payload))
}
