//! Shows people what a journal holds, without changing it.

use std::fmt;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::format::{HEAD_BYTES, Head, RecordHead};
use super::survey::{self, End, Piece, Terms};

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// It holds records from this one on.
    InUse {
        /// LSN of its first record.
        first_lsn: u64,
    },
    /// It waits to be used.
    Spare,
    /// It was never used.
    Blank,
    /// Its header cannot be read.
    Damaged,
}

/// Something in a journal, in the order in which it is shown: all segments by name, then the records of
/// those in use by LSN, with where and why the chain of each segment ends.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A segment.
    Segment {
        /// Its file.
        name: &'a str,
        /// Its length.
        bytes: u64,
        /// What its header says.
        state: SegmentState,
    },
    /// A record.
    Record {
        /// The segment's file.
        segment: &'a str,
        /// Where in it.
        offset: u64,
        /// Its number.
        lsn: u64,
        /// Up to where everything was durable when it was written.
        durable_lsn: u64,
        /// What it holds.
        payload: &'a [u8],
    },
    /// The end of a segment's records.
    End {
        /// The segment's file.
        segment: &'a str,
        /// Where in it.
        offset: u64,
        /// The record that would come next.
        next_lsn: u64,
        /// Why it does not.
        why: Why,
    },
}

/// Why a chain of records ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The segment has no room for another record.
    SegmentEnd,
    /// Zeros follow.
    Nothing,
    /// What follows is no record.
    NoRecord,
    /// What follows was left by an earlier use of the segment.
    Leftover {
        /// Its LSN.
        lsn: u64,
    },
    /// The record is there, and its checksum says that it is not whole.
    Broken,
    /// The record is whole, and follows another one than the last.
    OtherChain,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentEnd => f.write_str("the segment is full"),
            Self::Nothing => f.write_str("nothing was written there"),
            Self::NoRecord => f.write_str("what stands there is no record"),
            Self::Leftover { lsn } => write!(f, "record {lsn} is left there from earlier"),
            Self::Broken => f.write_str("the record there is torn or damaged"),
            Self::OtherChain => f.write_str("the record there follows another one"),
        }
    }
}

/// What a start would make of a journal.
#[derive(Debug)]
pub struct Ending {
    /// The incarnation in its headers; `None` where there is none.
    pub incarnation: Option<String>,
    /// The oldest record.
    pub first_lsn: u64,
    /// The record that would come next.
    pub next_lsn: u64,
    /// The highest LSN that the journal itself says was durable.
    pub durable_lsn: u64,
    /// Sectors that the disk cannot read.
    pub unreadable: u64,
    /// `true` if records cannot be read that only rows needed.
    pub has_lost_rows: bool,
    /// Why a start would be refused.
    pub refused: Option<JournalError>,
}

/// Shows all of a journal to `visit`, and says what a start from `from_lsn` would make of it.
///
/// # Errors
/// When the disk fails, or the journal is of another format.
pub fn inspect<D: Disk>(
    disk: &D,
    from_lsn: u64,
    visit: impl FnMut(&Seen<'_>),
) -> Result<Ending, JournalError> {
    inspect_from(disk, (from_lsn, 0), visit)
}

/// As [`inspect`], where records up to the second number serve only rows that wait.
///
/// # Errors
/// When the disk fails, or the journal is of another format.
pub fn inspect_from<D: Disk>(
    disk: &D,
    (from_lsn, state_lsn): (u64, u64),
    mut visit: impl FnMut(&Seen<'_>),
) -> Result<Ending, JournalError> {
    let segments = survey::segments(disk, None)?;
    for segment in &segments {
        visit(&Seen::Segment {
            name: &segment.name,
            bytes: segment.bytes,
            state: match &segment.head {
                Head::InUse(header) => SegmentState::InUse {
                    first_lsn: header.first_lsn,
                },
                Head::Spare(_) => SegmentState::Spare,
                Head::Blank => SegmentState::Blank,
                Head::Damaged => SegmentState::Damaged,
            },
        });
    }
    let pieces = survey::in_use(&segments);
    for piece in &pieces {
        let (end, _) = survey::walk(disk, piece, true, |found| {
            visit(&Seen::Record {
                segment: found.segment,
                offset: found.offset,
                lsn: found.head.lsn,
                durable_lsn: found.head.durable_lsn,
                payload: found.payload(),
            });
            Ok(())
        })?;
        visit(&Seen::End {
            segment: &piece.name,
            offset: end.offset,
            next_lsn: end.next_lsn,
            why: why(disk, piece, &end)?,
        });
    }
    let identity = segments.iter().find_map(|segment| segment.identity());
    let terms = Terms {
        identity,
        from_lsn,
        state_lsn,
        lenient: true,
    };
    let mut ending = Ending {
        incarnation: identity.map(|identity| identity.to_string()),
        first_lsn: pieces.first().map_or(1, |piece| piece.header.first_lsn),
        next_lsn: from_lsn + 1,
        durable_lsn: 0,
        unreadable: 0,
        has_lost_rows: false,
        refused: None,
    };
    match survey::survey(disk, &terms, |_| Ok(())) {
        Ok(survey) => {
            ending.next_lsn = survey.end.next_lsn;
            ending.durable_lsn = survey.durable_lsn;
            ending.unreadable = survey.unreadable;
            ending.has_lost_rows = !survey.lost.is_empty();
            ending.refused = survey.damage.map(JournalError::from);
        }
        Err(error) => ending.refused = Some(error),
    }
    Ok(ending)
}

fn why<D: Disk>(disk: &D, piece: &Piece, end: &End) -> Result<Why, JournalError> {
    let mut head = [0; HEAD_BYTES];
    if end.offset + HEAD_BYTES as u64 > piece.bytes {
        return Ok(Why::SegmentEnd);
    }
    let file = disk.open(&piece.name);
    let file = file.map_err(JournalError::failed("reading", &piece.name))?;
    if file.read_at(&mut head, end.offset).is_err() {
        return Ok(Why::Broken);
    }
    Ok(
        match RecordHead::decode(&head, piece.header.identity.mark) {
            None if head == [0; HEAD_BYTES] => Why::Nothing,
            None => Why::NoRecord,
            Some(head) if head.lsn < end.next_lsn => Why::Leftover { lsn: head.lsn },
            Some(head) if head.before != end.chain || head.lsn > end.next_lsn => Why::OtherChain,
            Some(_) => Why::Broken,
        },
    )
}
