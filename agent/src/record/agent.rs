//! What is kept of the agent as a whole: its counts, receipts and event ids.

use std::sync::Arc;

use super::codec::{
    FORMAT, Reader, RecordError, put_bytes, put_len, put_quality, put_text, put_var,
};
use crate::clock::Quality;

/// Version of the agent's record; [`FORMAT`] is that of the build before, which is read too.
const AGENT_FORMAT: u8 = 3;

/// What became of messages before any rule saw them.
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
}

impl IntakeCounts {
    /// Whether every message stands in one column.
    pub fn balances(&self) -> bool {
        self.received == self.routed + self.unrouted + self.repeated + self.surplus + self.dead
    }

    /// Counts what `more` tells.
    pub fn add(&mut self, more: &Self) {
        for (column, more) in self.columns_mut().into_iter().zip(more.columns()) {
            *column += more;
        }
    }

    fn columns(&self) -> [u64; 6] {
        [
            self.received,
            self.routed,
            self.unrouted,
            self.repeated,
            self.surplus,
            self.dead,
        ]
    }

    fn columns_mut(&mut self) -> [&mut u64; 6] {
        [
            &mut self.received,
            &mut self.routed,
            &mut self.unrouted,
            &mut self.repeated,
            &mut self.surplus,
            &mut self.dead,
        ]
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for column in self.columns() {
            put_var(out, column);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let mut counts = Self::default();
        for column in counts.columns_mut() {
            *column = reader.var()?;
        }
        Ok(counts)
    }
}

/// What is kept of the agent as a whole.
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
    /// How far that could be believed.
    pub quality: Quality,
    /// Counts the broker's sessions.
    pub generation: u64,
    /// What became of messages before any rule saw them.
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
            generation: reader.var()?,
            counts: IntakeCounts::default(),
        };
        if format == FORMAT {
            // Up to which event receipts were void: of those there is none any more.
            reader.var()?;
        }
        record.counts = IntakeCounts::read(&mut reader)?;
        reader.end()?;
        Ok(record)
    }
}

/// Some of the event ids that were applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventIdsRecord {
    /// Hashes of opaque ids, oldest first.
    pub opaque: Vec<u128>,
    /// Producers, the one not heard of for longest first: name, highest number, and which of the 256
    /// numbers below and with it were seen (bit 0 is the highest).
    pub producers: Vec<(Arc<str>, u64, [u64; 4])>,
}

impl EventIdsRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_len(&mut out, self.opaque.len());
        for hash in &self.opaque {
            out.extend(hash.to_le_bytes());
        }
        put_len(&mut out, self.producers.len());
        for (name, high, seen) in &self.producers {
            put_text(&mut out, name.as_bytes());
            put_var(&mut out, *high);
            for word in seen {
                out.extend(word.to_le_bytes());
            }
        }
        out
    }

    /// Reads what [`EventIdsRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::of_format(bytes, FORMAT)?;
        let mut record = Self::default();
        for _ in 0..reader.count()? {
            record.opaque.push(reader.u128()?);
        }
        for _ in 0..reader.count()? {
            let (name, high) = (reader.short_text()?, reader.var()?);
            let seen = [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
            record.producers.push((name, high, seen));
        }
        reader.end()?;
        Ok(record)
    }
}
