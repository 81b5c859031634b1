//! Record of a lane without its rows, which are in the journal.

use super::codec::{Reader, RecordError, put_len, put_var};

/// Version of the format below.
const FORMAT: u8 = 1;

/// Counts of a lane's rows by outcome; together with the waiting rows they add up to `made`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Rows asked for, those included that there was no room for.
    pub made: u64,
    /// Rows that the receiver has.
    pub acknowledged: u64,
    /// Rows that the receiver will never take.
    pub dead: u64,
    /// Rows that there was no room for, or that became too old.
    pub dropped: u64,
}

/// Record of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneRecord {
    /// Number of the row made last.
    pub last_seq: u64,
    /// All rows up to this one are settled.
    pub cursor: u64,
    /// Settled rows beyond the cursor, as ranges, both ends included.
    pub settled: Vec<(u64, u64)>,
    /// Rows that go out as one request.
    pub batch: Option<(u64, u64)>,
    /// The commit in which the oldest row stands that waits; 0 where none does.
    pub oldest_lsn: u64,
    /// Counts of the lane's rows by outcome.
    pub counts: LaneCounts,
}

impl LaneRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_var(&mut out, self.last_seq);
        put_var(&mut out, self.cursor);
        put_len(&mut out, self.settled.len());
        for (first, last) in &self.settled {
            put_var(&mut out, *first);
            put_var(&mut out, *last);
        }
        let (first, last) = self.batch.unwrap_or_default();
        let LaneCounts {
            made,
            acknowledged,
            dead,
            dropped,
        } = self.counts;
        for number in [
            first,
            last,
            self.oldest_lsn,
            made,
            acknowledged,
            dead,
            dropped,
        ] {
            put_var(&mut out, number);
        }
        out
    }

    /// Reads what [`LaneRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::of_format(bytes, FORMAT)?;
        let (last_seq, cursor) = (reader.var()?, reader.var()?);
        let mut settled = Vec::new();
        for _ in 0..reader.count()? {
            settled.push((reader.var()?, reader.var()?));
        }
        let batch = Some((reader.var()?, reader.var()?)).filter(|batch| *batch != (0, 0));
        let record = Self {
            last_seq,
            cursor,
            settled,
            batch,
            oldest_lsn: reader.var()?,
            counts: LaneCounts {
                made: reader.var()?,
                acknowledged: reader.var()?,
                dead: reader.var()?,
                dropped: reader.var()?,
            },
        };
        reader.end()?;
        Ok(record)
    }
}
