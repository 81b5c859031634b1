//! Record of a lane without its rows, which are in the journal.

use tidemill_base::number::Lsn;

use super::codec::{Reader, RecordError, put_len, put_var};

/// Version of the format below, for a lane in which no gap record waits: builds before read no other.
const FORMAT: u8 = 1;

/// The same with gap records behind it.
const GAPS_FORMAT: u8 = 2;

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
    /// The commit with the oldest waiting row; 0 if no row waits.
    pub oldest_lsn: Lsn,
    /// Counts of the lane's rows by outcome.
    pub counts: LaneCounts,
    /// Gap records that wait, in the order of their numbers.
    pub gap_rows: Vec<GapRow>,
}

/// A gap record that waits, or several, and what they tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRow {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The first row that is told to be missing.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Number of missing rows between them.
    pub count: u64,
}

impl LaneRecord {
    /// Writes the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![match self.gap_rows.as_slice() {
            [] => FORMAT,
            _ => GAPS_FORMAT,
        }];
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
            self.oldest_lsn.get(),
            made,
            acknowledged,
            dead,
            dropped,
        ] {
            put_var(&mut out, number);
        }
        if !self.gap_rows.is_empty() {
            put_len(&mut out, self.gap_rows.len());
        }
        for row in &self.gap_rows {
            for number in [row.first, row.last, row.from, row.to, row.count] {
                put_var(&mut out, number);
            }
        }
        out
    }

    /// Reads what [`LaneRecord::encode`] wrote.
    ///
    /// # Errors
    /// When the record is of another format or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (mut reader, format) = Reader::of_formats(bytes, [FORMAT, GAPS_FORMAT])?;
        let (last_seq, cursor) = (reader.var()?, reader.var()?);
        let mut settled = Vec::new();
        for _ in 0..reader.count()? {
            settled.push((reader.var()?, reader.var()?));
        }
        let batch = Some((reader.var()?, reader.var()?)).filter(|batch| *batch != (0, 0));
        let mut record = Self {
            last_seq,
            cursor,
            settled,
            batch,
            oldest_lsn: Lsn::new(reader.var()?),
            counts: LaneCounts {
                made: reader.var()?,
                acknowledged: reader.var()?,
                dead: reader.var()?,
                dropped: reader.var()?,
            },
            gap_rows: Vec::new(),
        };
        let gap_rows = if format == GAPS_FORMAT {
            reader.count()?
        } else {
            0
        };
        for _ in 0..gap_rows {
            record.gap_rows.push(GapRow {
                first: reader.var()?,
                last: reader.var()?,
                from: reader.var()?,
                to: reader.var()?,
                count: reader.var()?,
            });
        }
        reader.end()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_records_are_behind_what_builds_before_read() {
        let mut record = LaneRecord {
            last_seq: 9,
            cursor: 3,
            settled: vec![(5, 6)],
            batch: None,
            oldest_lsn: Lsn::new(2),
            counts: LaneCounts {
                made: 9,
                dropped: 5,
                ..LaneCounts::default()
            },
            gap_rows: Vec::new(),
        };
        let plain = record.encode();
        assert_eq!(plain, [1, 9, 3, 1, 5, 6, 0, 0, 2, 9, 0, 0, 5]);
        assert_eq!(LaneRecord::decode(&plain), Ok(record.clone()));
        record.gap_rows.push(GapRow {
            first: 7,
            last: 8,
            from: 1,
            to: 6,
            count: 5,
        });
        let bytes = record.encode();
        let behind = [1, 7, 8, 1, 6, 5];
        assert_eq!(bytes, [&[2][..], &plain[1..], &behind[..]].concat());
        assert_eq!(LaneRecord::decode(&bytes), Ok(record));
        for cut in 0..bytes.len() {
            assert!(LaneRecord::decode(&bytes[..cut]).is_err());
        }
    }
}
