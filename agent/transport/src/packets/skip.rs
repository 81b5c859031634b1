//! Reads past a message that is too long to be kept: of it stay topic, properties, length and
//! fingerprint, so that it can be named and acknowledged, and the session with all that is queued in
//! it is kept.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::Frame;
use super::head::Head;
use super::{Incoming, Received, hex_head};
use crate::fingerprint::Fingerprints;
use crate::message::Version;
use crate::{malformed::Malformed, message::Fingerprint};

/// Properties above that, which no sensor sends, are dropped too, and count as payload.
pub(super) const PROPERTIES_BYTES_MAX: usize = 1 << 16;

/// Description of a message whose payload was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Length of the payload in bytes.
    pub payload_bytes: usize,
    /// The message's fingerprint, the same as if the payload had been kept.
    pub fingerprint: Fingerprint,
}

/// A message that is being read past.
pub(super) struct Skip {
    of: Of,
    payload_bytes: usize,
    rest: usize,
}

enum Of {
    Message(Box<(Received, Fingerprints)>),
    /// One that cannot be acknowledged, and how it begins.
    Unusable(Malformed, String),
}

impl Skip {
    /// Begins with the packet at the beginning of `incoming`; `None` while what comes before its
    /// payload is not there.
    pub(super) fn begin(version: Version, frame: &Frame, incoming: &mut BytesMut) -> Option<Self> {
        let (of, payload_at) = match Head::of(version, frame, incoming, PROPERTIES_BYTES_MAX) {
            Ok(None) => return None,
            Ok(Some(head)) => {
                let payload_at = head.payload_at;
                // Copied, so that nothing else of the buffer is kept.
                let topic = incoming.get(head.topic.clone()).unwrap_or_default();
                let topic = Bytes::copy_from_slice(topic);
                let received = head.message(frame, topic, Bytes::new());
                let mut hash = Fingerprints::default();
                hash.begin(&received.topic, frame.length() - payload_at);
                (Of::Message(Box::new((received, hash))), payload_at)
            }
            Err(why) => (Of::Unusable(why, hex_head(incoming)), frame.head),
        };
        incoming.advance(payload_at);
        let payload_bytes = frame.length() - payload_at;
        Some(Self {
            of,
            payload_bytes,
            rest: payload_bytes,
        })
    }

    /// Drops what has come of it; returns whether that was the end.
    pub(super) fn drop_from(&mut self, incoming: &mut BytesMut) -> bool {
        let count = self.rest.min(incoming.len());
        if let Of::Message(message) = &mut self.of {
            message.1.more(incoming.get(..count).unwrap_or_default());
        }
        incoming.advance(count);
        self.rest -= count;
        self.rest == 0
    }

    /// Ends the skipped message and returns its description.
    pub(super) fn end(self) -> Incoming {
        match self.of {
            Of::Unusable(why, head) => Incoming::Unusable { why, head },
            Of::Message(message) => {
                let (mut received, mut hash) = *message;
                received.skipped = Some(Skipped {
                    payload_bytes: self.payload_bytes,
                    fingerprint: hash.end(&received.properties),
                });
                Incoming::Message(received)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::Inbox;

    const TOPIC: &[u8] = b"\0\x03a/b";

    /// A PUBLISH with packet identifier 7, as it comes byte by byte to one who keeps nothing that is
    /// longer than it may be.
    fn skip(version: Version, properties: &[u8], payload: &[u8]) -> Received {
        let mut body = [TOPIC, &[0, 7], properties, payload].concat();
        let missing = (PROPERTIES_BYTES_MAX + 100_usize).saturating_sub(body.len());
        body.resize(body.len() + missing, b'x');
        let mut bytes = vec![0x33];
        let mut rest = body.len();
        while rest > 0x7f {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes.extend(body);
        let mut inbox = Inbox::new(version, 0);
        let mut found = None;
        for byte in bytes {
            assert_eq!(found, None, "it was not complete");
            inbox.feed(&[byte]);
            found = inbox.next().unwrap();
            assert!(inbox.len() <= PROPERTIES_BYTES_MAX + 100);
        }
        match found {
            Some(Incoming::Message(received)) => received,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check(received: &Received, payload: &[u8], properties: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let properties: Vec<_> = properties.iter().map(own).collect();
        let skipped = received.skipped.unwrap();
        let fingerprint = Fingerprints::default().of(b"a/b", payload, &properties);
        let found = (skipped.payload_bytes, skipped.fingerprint);
        assert_eq!(found, (payload.len(), fingerprint));
        assert_eq!(
            (received.topic.as_ref(), received.retained),
            (&b"a/b"[..], true)
        );
        assert_eq!(received.handshake.unwrap().packet, 7);
        assert_eq!(received.properties, properties);
        assert!(received.payload.is_empty());
    }

    #[test]
    fn what_is_not_kept_is_hashed_as_if_it_were() {
        let payload = vec![b'x'; PROPERTIES_BYTES_MAX + 300];
        check(&skip(Version::V311, &[], &payload), &payload, &[]);
        check(&skip(Version::V5, &[0], &payload), &payload, &[]);
        // It expires in three seconds, and has a user property.
        let properties = [12, 2, 0, 0, 0, 3, 38, 0, 1, b'n', 0, 1, b'v'];
        let received = skip(Version::V5, &properties, &payload);
        check(&received, &payload, &[("n", "v")]);
        assert_eq!(received.malformed, None);
    }

    #[test]
    fn properties_that_nobody_would_send_are_dropped_too() {
        let name = vec![b'n'; 40_000];
        let mut properties = vec![0x86, 0xf1, 4];
        for _ in 0..2 {
            properties.extend([38, 0x9c, 0x40]);
            properties.extend(&name);
            properties.extend([0, 0]);
        }
        let rest = [&properties[..], b"payload"].concat();
        check(&skip(Version::V5, &properties, b"payload"), &rest, &[]);
    }

    #[test]
    fn what_is_malformed_is_read_past_too() {
        let payload = vec![b'x'; PROPERTIES_BYTES_MAX + 300];
        // A content type that is no text; and properties that have no end.
        for (properties, dropped) in [(&[4, 3, 0, 1, 0xff][..], 0), (&[0xff; 5], 5)] {
            let received = skip(Version::V5, properties, &payload);
            assert!(received.malformed.is_some());
            let rest = [&properties[properties.len() - dropped..], &payload].concat();
            check(&received, &rest, &[]);
        }
    }
}
