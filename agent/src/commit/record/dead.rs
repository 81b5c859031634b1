//! A dead letter: what could not be digested or delivered, with the reason, as the payload of a row
//! of the lane of dead letters.

use bytes::Bytes;

use super::codec::{Reader, RecordError, put_text, put_var};
use crate::event::emission::LaneId;

/// Version of the format below.
const FORMAT: u8 = 1;

/// Added to the format if the number of missing bytes follows.
const CUT: u8 = 1;

/// Added to the format of a row that a broker was to retain.
const RETAINED: u8 = 2;

/// Bytes of payload and user properties that a dead letter keeps: the default limit of a sensor's
/// message.
const CONTENT_BYTES_MAX: usize = 1 << 20;

/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 1_024;

/// An event that a rule could not process, or a row that a receiver will never accept. Rule, topic
/// and time are in the row around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Version of the rule.
    pub version: u64,
    /// The reason.
    pub reason: String,
    /// Fuel that the call used.
    pub fuel: u64,
    /// The lane that the row was in; `None` for an event.
    pub lane: Option<LaneId>,
    /// Quality of service of the row.
    pub qos: u8,
    /// The row's broker was to retain it.
    pub retain: bool,
    /// Payload of the event or row.
    pub payload: Bytes,
    /// MQTT 5 user properties of the event, as one JSON object; empty when there were none.
    pub properties: Bytes,
    /// Bytes of payload and properties that were not kept because there were too many; 0 if nothing
    /// is missing.
    pub missing: u64,
}

impl Dead {
    /// The dead letter with as much of its content as it may keep, and at most `bytes_max`.
    /// Properties that are too long are dropped as a whole: half of a JSON object is of no use.
    pub fn within(mut self, bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(CONTENT_BYTES_MAX);
        if self.reason.len() > REASON_BYTES_MAX {
            let end = self.reason.floor_char_boundary(REASON_BYTES_MAX);
            self.reason.truncate(end);
            self.reason.push('…');
        }
        let before = self.payload.len() + self.properties.len();
        if before > bytes_max && self.properties.len() > bytes_max / 2 {
            self.properties = Bytes::new();
        }
        let left = bytes_max.saturating_sub(self.properties.len());
        self.payload.truncate(left);
        self.missing += (before - self.payload.len() - self.properties.len()) as u64;
        self
    }

    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let cut = if self.missing > 0 { CUT } else { 0 };
        let retained = if self.retain { RETAINED } else { 0 };
        let mut out = vec![FORMAT + cut + retained];
        put_var(&mut out, self.version);
        put_text(&mut out, self.reason.as_bytes());
        put_var(&mut out, self.fuel);
        let lane = self.lane.as_ref().map(ToString::to_string);
        put_text(&mut out, lane.unwrap_or_default().as_bytes());
        out.push(self.qos);
        put_text(&mut out, &self.properties);
        put_text(&mut out, &self.payload);
        if self.missing > 0 {
            put_var(&mut out, self.missing);
        }
        out
    }

    /// The lane that a row was in, without reading the rest of the record.
    ///
    /// # Errors
    /// Same as [`Dead::decode`].
    pub fn lane_of(bytes: &[u8]) -> Result<Option<LaneId>, RecordError> {
        let (mut reader, _) = reader_of(bytes)?;
        reader.var()?;
        reader.short_text()?;
        reader.var()?;
        read_lane(&mut reader)
    }

    /// Reads what [`Dead::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut reader, added) = reader_of(bytes)?;
        let version = reader.var()?;
        let reason = reader.short_text()?.to_string();
        let fuel = reader.var()?;
        let lane = read_lane(&mut reader)?;
        let dead = Self {
            version,
            reason,
            fuel,
            lane,
            qos: reader.u8()?,
            retain: added & RETAINED != 0,
            properties: Bytes::copy_from_slice(reader.short_bytes()?),
            payload: Bytes::copy_from_slice(reader.short_bytes()?),
            missing: match added & CUT {
                0 => 0,
                _ => reader.var()?,
            },
        };
        reader.end()?;
        Ok(dead)
    }
}

/// Reads the format; returns what is added to it.
fn reader_of(bytes: &[u8]) -> Result<(Reader<'_>, u8), RecordError> {
    let first = bytes.first().copied().unwrap_or_default();
    let added = first.wrapping_sub(FORMAT) & (CUT | RETAINED);
    let reader = Reader::of_format(bytes, FORMAT + added)?;
    Ok((reader, added))
}

fn read_lane(reader: &mut Reader<'_>) -> Result<Option<LaneId>, RecordError> {
    let text = reader.short_text()?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| RecordError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(payload: usize, properties: usize, reason: usize) -> Dead {
        Dead {
            version: 3,
            reason: "ä".repeat(reason),
            fuel: 4,
            lane: Some("c/high".parse().unwrap()),
            qos: 1,
            retain: false,
            payload: vec![b'p'; payload].into(),
            properties: vec![b'q'; properties].into(),
            missing: 0,
        }
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1,                                   // format
            3,                                   // version of the rule
            2, 0xc3, 0xa4,                       // reason
            4,                                   // fuel
            6, b'c', b'/', b'h', b'i', b'g', b'h', // lane
            1,                                   // QoS
            1, b'q',                             // properties
            2, b'p', b'p',                       // payload
        ];
        let mut letter = dead(2, 1, 1);
        assert_eq!(letter.encode(), expected);
        assert_eq!(Dead::decode(expected).as_ref(), Ok(&letter));
        letter.missing = 200;
        let mut cut = expected.to_vec();
        cut[0] = 2; // format
        cut.extend([200, 1]); // bytes that are missing
        assert_eq!(letter.encode(), cut);
        assert_eq!(Dead::decode(&cut).as_ref(), Ok(&letter));
        letter.retain = true;
        cut[0] = 4;
        assert_eq!(letter.encode(), cut);
        assert_eq!(Dead::decode(&cut).as_ref(), Ok(&letter));
        for format in [0, 5, 255] {
            cut[0] = format;
            assert!(matches!(
                Dead::decode(&cut),
                Err(RecordError::Format { .. })
            ));
        }
        letter.missing = 0;
        let mut retained = expected.to_vec();
        retained[0] = 3;
        assert_eq!(letter.encode(), retained);
        assert_eq!(Dead::decode(&retained), Ok(letter));
    }

    #[test]
    fn a_dead_letter_has_a_longest_and_says_what_is_missing() {
        let check = |letter: Dead, max: usize, expected: (usize, usize, u64)| {
            let kept = letter.within(max);
            assert_eq!(
                (kept.payload.len(), kept.properties.len(), kept.missing),
                expected
            );
            assert_eq!(Dead::decode(&kept.encode()), Ok(kept));
        };
        check(dead(600, 400, 1), 1_000, (600, 400, 0));
        check(dead(601, 400, 1), 1_000, (600, 400, 1));
        check(dead(400, 601, 1), 1_000, (400, 0, 601));
        check(dead(3_000, 601, 1), 1_000, (1_000, 0, 2_601));
        check(dead(9, 9, 1), 0, (0, 0, 18));
        check(
            dead(3 << 20, 9, 1),
            usize::MAX,
            ((1 << 20) - 9, 9, (2 << 20) + 9),
        );
        let long = dead(0, 0, 5_000).within(10).reason;
        assert_eq!((long.len(), long.ends_with("ä…")), (1_027, true));
    }
}
