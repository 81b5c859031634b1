//! An event that waits for the watermark to pass it.

use bytes::Bytes;

use super::codec::{FORMAT, Reader, RecordError, put_signed, put_text, put_var};
use crate::event::Event;
use tidemill_transport::topic::Topic;

/// An event that waits, with what was found out when it came.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The event.
    pub event: Event,
    /// When it happened, in milliseconds since 1970.
    pub event_ms: i64,
    /// Bits of `ev_i64(3)`.
    pub flags: u32,
    /// A bit for each stream that it belongs to.
    pub streams: u32,
    /// Number among all events.
    pub in_seq: u64,
}

impl Waiting {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_signed(&mut out, self.event_ms);
        put_signed(&mut out, self.event.arrival_ms);
        put_var(&mut out, self.flags.into());
        put_var(&mut out, self.streams.into());
        put_var(&mut out, self.in_seq);
        put_text(&mut out, self.event.topic.as_str().as_bytes());
        put_text(&mut out, &self.event.properties);
        put_text(&mut out, &self.event.payload);
        out
    }

    /// Reads what [`Waiting::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::of_format(bytes, FORMAT)?;
        let r = &mut reader;
        let (event_ms, arrival_ms) = (r.signed()?, r.signed()?);
        let small = |value: u64| u32::try_from(value).map_err(|_| RecordError::Damaged);
        let (flags, streams, in_seq) = (small(r.var()?)?, small(r.var()?)?, r.var()?);
        let topic = match r.short_text()? {
            none if none.is_empty() => Topic::none(),
            name => Topic::new(&name).map_err(|_| RecordError::Damaged)?,
        };
        let properties = Bytes::copy_from_slice(r.short_bytes()?);
        let payload = Bytes::copy_from_slice(r.short_bytes()?);
        reader.end()?;
        let mut event = Event::new(topic, payload, arrival_ms);
        event.properties = properties;
        Ok(Self {
            event,
            event_ms,
            flags,
            streams,
            in_seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_on_disk_are_stable() {
        let mut event = Event::new(Topic::new("t").unwrap(), "pay", 2);
        event.properties = "{}".into();
        let waiting = Waiting {
            event,
            event_ms: -1,
            flags: 2,
            streams: 3,
            in_seq: 200,
        };
        #[rustfmt::skip]
        let expected: &[u8] = &[
            2,                   // format
            1,                   // event time: -1, signed
            4,                   // arrival: 2, signed
            2,                   // flags
            3,                   // streams
            200, 1,              // its number
            1, b't',             // topic
            2, b'{', b'}',       // user properties
            3, b'p', b'a', b'y', // payload
        ];
        assert_eq!(waiting.encode(), expected);
        let read = Waiting::decode(expected).unwrap();
        assert_eq!(read.encode(), expected);
        for len in 0..expected.len() {
            assert!(Waiting::decode(&expected[..len]).is_err(), "{len}");
        }
    }
}
