//! Record of the agent as a whole: its counts, receipts and event ids.

use std::sync::Arc;

use super::codec::{
    FORMAT, Reader, RecordError, put_age, put_bytes, put_len, put_offs, put_quality, put_text,
    put_var,
};
use crate::event::clock::{Age, Off, Quality};

/// Version of the agent's record; [`FORMAT`] is that of the build before, which is read too.
const AGENT_FORMAT: u8 = 3;

/// Counts of messages by outcome, before any rule saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Messages taken in.
    pub received: u64,
    /// Messages that went to at least one rule.
    pub routed: u64,
    /// Messages that no rule wanted.
    pub unrouted: u64,
    /// Messages that had been applied before, by their receipt or their event id.
    pub repeated: u64,
    /// Copies of retained messages that all their filters have had.
    pub surplus: u64,
    /// Messages too long, or with an invalid topic.
    pub dead: u64,
    /// Messages that were not applied because their number is below the window.
    pub too_old: u64,
}

impl IntakeCounts {
    /// `true` if every message is counted in exactly one column.
    pub fn balances(&self) -> bool {
        let [received, columns @ ..] = self.columns();
        received == columns.into_iter().sum::<u64>()
    }

    /// Adds the counts of `more`.
    pub fn add(&mut self, more: &Self) {
        for (column, more) in self.columns_mut().into_iter().zip(more.columns()) {
            *column += more;
        }
    }

    fn columns(&self) -> [u64; 7] {
        [
            self.received,
            self.routed,
            self.unrouted,
            self.repeated,
            self.surplus,
            self.dead,
            self.too_old,
        ]
    }

    fn columns_mut(&mut self) -> [&mut u64; 7] {
        [
            &mut self.received,
            &mut self.routed,
            &mut self.unrouted,
            &mut self.repeated,
            &mut self.surplus,
            &mut self.dead,
            &mut self.too_old,
        ]
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for column in self.columns() {
            put_var(out, column);
        }
    }

    /// Reads what [`IntakeCounts::put`] wrote, or the build before, which had a column less.
    pub(super) fn read(reader: &mut Reader<'_>, is_old: bool) -> Result<Self, RecordError> {
        let mut counts = Self::default();
        let known = if is_old { 6 } else { 7 };
        for column in counts.columns_mut().into_iter().take(known) {
            *column = reader.var()?;
        }
        Ok(counts)
    }
}

/// Record of the agent as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentRecord {
    /// Events taken in since the data directory was made.
    pub in_seq: u64,
    /// The boot in whose monotonic time all deadlines are written.
    pub boot_id: String,
    /// Monotonic time of the last commit.
    pub mono_ms: u64,
    /// Wall time of the last commit; time never shows an earlier moment again.
    pub wall_ms: i64,
    /// Trust in that wall time.
    pub quality: Quality,
    /// Age clock at the last commit.
    pub age: Age,
    /// Times without power, in their order.
    pub offs: Vec<Off>,
    /// Counts the broker's sessions.
    pub generation: u64,
    /// Counts of messages by outcome, before any rule saw them.
    pub counts: IntakeCounts,
}

impl AgentRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![AGENT_FORMAT];
        out.extend(self.in_seq.to_le_bytes());
        put_bytes(&mut out, self.boot_id.as_bytes());
        out.extend(self.mono_ms.to_le_bytes());
        out.extend(self.wall_ms.to_le_bytes());
        put_quality(&mut out, self.quality);
        put_age(&mut out, &self.age, None);
        put_offs(&mut out, &self.offs);
        put_var(&mut out, self.generation);
        self.counts.put(&mut out);
        out
    }

    /// Reads what [`AgentRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut reader, format) = Reader::of_formats(bytes, [FORMAT, AGENT_FORMAT])?;
        let mut record = Self {
            in_seq: reader.u64()?,
            boot_id: reader.text()?,
            mono_ms: reader.u64()?,
            wall_ms: reader.i64()?,
            quality: reader.quality()?,
            ..Self::default()
        };
        let is_old = format == FORMAT;
        if !is_old {
            record.age = reader.age(None)?;
            record.offs = reader.offs()?;
        }
        record.generation = reader.var()?;
        if is_old {
            // Up to which event receipts were void: of those there is none any more.
            reader.var()?;
        }
        record.counts = IntakeCounts::read(&mut reader, is_old)?;
        reader.end()?;
        Ok(record)
    }
}

/// Some of the event ids that were applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventIdsRecord {
    /// Hashes of opaque ids, oldest first.
    pub opaque: Vec<u128>,
    /// Producers, the one not heard of for longest first.
    pub producers: Vec<ProducerRecord>,
}

/// Record of a producer that numbers its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Name of the producer.
    pub name: Arc<str>,
    /// Highest number believed, and a bit set of the 256 numbers up to it that were seen (bit 0 is
    /// the highest).
    pub mark: Option<(u64, [u64; 4])>,
    /// The last number, if it stands apart.
    pub apart: Option<u64>,
    /// The highest number that is remembered by its own name; 0 for none.
    pub apart_max: u64,
    /// The build before took its ids for numbers.
    pub is_old: bool,
}

/// Version of the record of event ids; [`FORMAT`] is that of the build before, which is read too.
const EVENT_IDS_FORMAT: u8 = 3;

/// Bits of the byte that says what is known of a producer.
const MARK: u8 = 1;
const APART: u8 = 2;
const OLD: u8 = 4;
const APART_MAX: u8 = 8;

impl EventIdsRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![EVENT_IDS_FORMAT];
        put_len(&mut out, self.opaque.len());
        for hash in &self.opaque {
            out.extend(hash.to_le_bytes());
        }
        put_len(&mut out, self.producers.len());
        for producer in &self.producers {
            producer.put(&mut out);
        }
        out
    }

    /// Reads what [`EventIdsRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut reader, format) = Reader::of_formats(bytes, [FORMAT, EVENT_IDS_FORMAT])?;
        let mut record = Self::default();
        for _ in 0..reader.count()? {
            record.opaque.push(reader.u128()?);
        }
        for _ in 0..reader.count()? {
            let producer = ProducerRecord::read(&mut reader, format == FORMAT)?;
            record.producers.push(producer);
        }
        reader.end()?;
        Ok(record)
    }
}

impl ProducerRecord {
    fn put(&self, out: &mut Vec<u8>) {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        put_text(out, self.name.as_bytes());
        let (mark, apart) = (self.mark.is_some(), self.apart.is_some());
        let apart_max = self.apart_max > 0;
        let bits = bit(mark, MARK) | bit(apart, APART) | bit(self.is_old, OLD);
        out.push(bits | bit(apart_max, APART_MAX));
        if let Some((mark, seen)) = &self.mark {
            put_var(out, *mark);
            for word in seen {
                out.extend(word.to_le_bytes());
            }
        }
        if let Some(apart) = self.apart {
            put_var(out, apart);
        }
        if apart_max {
            put_var(out, self.apart_max);
        }
    }

    fn read(reader: &mut Reader<'_>, is_old: bool) -> Result<Self, RecordError> {
        let name = reader.short_text()?;
        let bits = if is_old { MARK | OLD } else { reader.u8()? };
        if bits & !(MARK | APART | OLD | APART_MAX) != 0 {
            return Err(RecordError::Damaged);
        }
        let mut producer = Self {
            name,
            mark: None,
            apart: None,
            apart_max: 0,
            is_old: bits & OLD != 0,
        };
        if bits & MARK != 0 {
            let mark = reader.var()?;
            let seen = [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
            producer.mark = Some((mark, seen));
        }
        if bits & APART != 0 {
            producer.apart = Some(reader.var()?);
        }
        if bits & APART_MAX != 0 {
            producer.apart_max = reader.var()?;
        }
        Ok(producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::clock::Synced;

    fn agent() -> AgentRecord {
        AgentRecord {
            in_seq: 1,
            boot_id: "b".to_owned(),
            mono_ms: 2,
            wall_ms: 3,
            quality: Quality::Synced,
            age: Age::default(),
            offs: Vec::new(),
            generation: 4,
            counts: IntakeCounts {
                received: 2,
                routed: 1,
                dead: 1,
                ..IntakeCounts::default()
            },
        }
    }

    const AGENT: &[&[u8]] = &[
        &[1, 0, 0, 0, 0, 0, 0, 0], // events taken in
        &[1, 0, 0, 0, b'b'],       // boot
        &[2, 0, 0, 0, 0, 0, 0, 0], // monotonic time
        &[3, 0, 0, 0, 0, 0, 0, 0], // wall time
        &[2],                      // synced
    ];

    #[test]
    fn the_agents_bytes_on_disk_are_stable() {
        let counts: &[u8] = &[2, 1, 0, 0, 0, 1, 0];
        // Age, synced and open, wall time and age then, since when; a time without power.
        let age: &[u8] = &[0xac, 2, 1 | 2, 8, 200, 1, 250, 1, 1, 5, 6];
        let expected = [&[3][..], &AGENT.concat(), age, &[4], counts].concat();
        let record = AgentRecord {
            age: Age {
                ms: 300,
                synced: Some(Synced {
                    wall_ms: 4,
                    age_ms: 200,
                }),
                open_ms: Some(250),
            },
            offs: vec![Off {
                at_ms: 5,
                off_ms: 6,
            }],
            ..agent()
        };
        assert_eq!(record.encode(), expected);
        assert_eq!(AgentRecord::decode(&expected), Ok(record));
        // The build before said up to which event receipts were void, had no age clock and knew nothing
        // too old.
        let before = [&[2][..], &AGENT.concat(), &[4, 9], &counts[..6]].concat();
        assert_eq!(AgentRecord::decode(&before), Ok(agent()));
    }

    #[test]
    fn bytes_of_event_ids_on_disk_are_stable() {
        let producer = |name: &str, mark, apart, is_old| ProducerRecord {
            name: name.into(),
            mark,
            apart,
            apart_max: apart.unwrap_or(0),
            is_old,
        };
        let record = EventIdsRecord {
            opaque: vec![1],
            producers: vec![
                producer("p", Some((300, [1, 0, 0, 2])), None, true),
                producer("q", None, Some(5), false),
            ],
        };
        const HASH: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut seen = [0; 32];
        (seen[0], seen[24]) = (1, 2);
        let p: &[&[u8]] = &[&[1, b'p', 1 | 4, 0xac, 2], &seen];
        let expected = [
            &[3, 1][..], // format, one opaque id
            &HASH,
            &[2], // two producers
            &p.concat(),
            &[1, b'q', 2 | 8, 5, 5],
        ]
        .concat();
        assert_eq!(record.encode(), expected);
        assert_eq!(EventIdsRecord::decode(&expected), Ok(record.clone()));
        let p: &[&[u8]] = &[&[1, b'p', 0xac, 2], &seen];
        let before = [&[2, 1][..], &HASH, &[1], &p.concat()].concat();
        let read = EventIdsRecord::decode(&before).unwrap();
        assert_eq!(read.producers, record.producers[..1]);
    }
}
