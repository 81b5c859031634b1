//! Reads past a message that is too long to be kept: of it stay topic, properties, length and
//! fingerprint, so that it can be named and acknowledged, and the session with all that is queued in
//! it is kept.

use bytes::{Buf, BytesMut};

use super::frame::{Frame, Head, LENGTH_BYTES_MAX, complete, length};
use super::{Incoming, Received, decode};
use crate::event::Fingerprint;
use crate::source::mqtt::fingerprint::Fingerprints;
use crate::source::mqtt::link::Version;
use crate::source::mqtt::trouble::Trouble;

/// Properties above that, which no sensor sends, are dropped too, and count as payload.
pub(super) const PROPERTIES_BYTES_MAX: usize = 1 << 16;

/// The length of properties that are none.
const NO_PROPERTIES: &[u8] = &[0];

/// What is known of a payload that was not kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::source::mqtt) struct Skipped {
    pub(in crate::source::mqtt) payload_bytes: usize,
    /// The message's, as if the payload had been kept.
    pub(in crate::source::mqtt) fingerprint: Fingerprint,
}

pub(super) struct Skip {
    received: Received,
    payload_bytes: usize,
    rest: usize,
    hash: Box<Fingerprints>,
}

impl Skip {
    /// Begins with the packet at the beginning of `incoming`; `None` while what comes before its
    /// payload is not there.
    pub(super) fn begin(
        version: Version,
        frame: &Frame,
        incoming: &mut BytesMut,
    ) -> Result<Option<Self>, Trouble> {
        let Some(head) = Head::of(incoming, frame)? else {
            return Ok(None);
        };
        let (end, properties) = match version {
            Version::V311 => (head.end, &[][..]),
            Version::V5 => match length(incoming, head.end) {
                Some((bytes, _)) if bytes > PROPERTIES_BYTES_MAX => (head.end, NO_PROPERTIES),
                Some((bytes, start)) => (start + bytes, &[][..]),
                None => return complete(head.end + LENGTH_BYTES_MAX, frame),
            },
        };
        if end > frame.length() || incoming.len() < end {
            return complete(end, frame);
        }
        // Read as a message without payload. Copied, so that nothing else of the buffer is kept.
        let mut cut = BytesMut::new();
        frame.write_cut(end + properties.len(), &mut cut);
        cut.extend_from_slice(incoming.get(frame.head..end).unwrap_or_default());
        cut.extend_from_slice(properties);
        incoming.advance(end);
        let cut_frame = Frame::of(&cut)?.unwrap_or(*frame);
        let Some(Incoming::Message(received)) = decode(version, &cut_frame, cut)? else {
            return Err(Trouble::NoMqtt("a message that is none".to_owned()));
        };
        let rest = frame.length() - end;
        let mut hash = Box::<Fingerprints>::default();
        hash.begin(&received.topic, rest);
        Ok(Some(Self {
            received,
            payload_bytes: rest,
            rest,
            hash,
        }))
    }

    /// Drops what has come of it; returns whether that was the end.
    pub(super) fn drop_from(&mut self, incoming: &mut BytesMut) -> bool {
        let count = self.rest.min(incoming.len());
        self.hash.more(incoming.get(..count).unwrap_or_default());
        incoming.advance(count);
        self.rest -= count;
        self.rest == 0
    }

    pub(super) fn end(mut self) -> Received {
        self.received.skipped = Some(Skipped {
            payload_bytes: self.payload_bytes,
            fingerprint: self.hash.end(&self.received.properties),
        });
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &[u8] = b"\0\x03a/b";

    /// A PUBLISH with packet identifier 7, as it comes byte by byte; then what was kept of it.
    fn skip(version: Version, properties: &[u8], payload: &[u8]) -> Received {
        let body = [TOPIC, &[0, 7], properties, payload].concat();
        let frame = Frame::of(&[0x33, 0xff, 0xff, 0x7f]).unwrap().unwrap();
        let mut bytes = BytesMut::new();
        frame.write_cut(frame.head + body.len(), &mut bytes);
        bytes.extend_from_slice(&body);
        let frame = Frame::of(&bytes).unwrap().unwrap();
        assert_eq!(frame.length(), bytes.len());

        let mut incoming = BytesMut::new();
        let mut skip = None;
        for byte in bytes {
            incoming.extend_from_slice(&[byte]);
            if skip.is_none() {
                skip = Skip::begin(version, &frame, &mut incoming).unwrap();
            }
            if let Some(true) = skip.as_mut().map(|skip| skip.drop_from(&mut incoming)) {
                assert!(incoming.is_empty());
            }
        }
        skip.unwrap().end()
    }

    #[track_caller]
    fn check(received: &Received, payload: &[u8], properties: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let properties: Vec<_> = properties.iter().map(own).collect();
        let skipped = received.skipped.unwrap();
        let fingerprint = Fingerprints::default().of(b"a/b", payload, &properties);
        assert_eq!(
            (skipped.payload_bytes, skipped.fingerprint),
            (payload.len(), fingerprint)
        );
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
        let payload = [b'x'; 300];
        check(&skip(Version::V311, &[], &payload), &payload, &[]);
        check(&skip(Version::V5, &[0], &payload), &payload, &[]);
        // It expires in three seconds, and has a user property.
        let properties = [12, 2, 0, 0, 0, 3, 38, 0, 1, b'n', 0, 1, b'v'];
        let received = skip(Version::V5, &properties, &payload);
        check(&received, &payload, &[("n", "v")]);
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
    fn properties_longer_than_their_message_are_an_error() {
        let frame = Frame::of(&[0x32, 9]).unwrap().unwrap();
        let mut incoming = BytesMut::from(&b"\x32\x09\0\x03a/b\0\x07\x7f"[..]);
        assert!(Skip::begin(Version::V5, &frame, &mut incoming).is_err());
    }
}
