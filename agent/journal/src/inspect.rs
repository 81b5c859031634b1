//! Shows people what a journal holds, without changing it.

use std::fmt;

use tidemill_base::number::Lsn;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::{End, Piece, Terms, in_use};
use super::format::{ALIGN, HEAD_BYTES, Head, RecordHead};
use super::salvage::next_whole;
use super::survey;
use super::window::Window;

/// The state of a segment according to its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// In use, with records from `first_lsn` on.
    InUse {
        /// LSN of its first record.
        first_lsn: Lsn,
    },
    /// Spare, waiting to be used.
    Spare,
    /// Never used.
    Blank,
    /// Damaged header.
    Damaged,
}

/// An item of a journal, in display order: all segments by name, then the records of those in use
/// by LSN, with the end of each segment's chain and its reason. They are followed by the records
/// behind that end that are still whole, if there are any.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A segment.
    Segment {
        /// Its file.
        name: &'a str,
        /// Its length.
        bytes: u64,
        /// The state according to its header.
        state: SegmentState,
    },
    /// A record.
    Record {
        /// The segment's file.
        segment: &'a str,
        /// Offset of the record in the file.
        offset: u64,
        /// Its LSN.
        lsn: Lsn,
        /// The highest LSN known to be durable when the record was written.
        durable_lsn: Lsn,
        /// Its payload.
        payload: &'a [u8],
    },
    /// The end of a segment's records.
    End {
        /// The segment's file.
        segment: &'a str,
        /// Offset of the end in the file.
        offset: u64,
        /// The LSN that would come next.
        next_lsn: Lsn,
        /// The reason why the chain ends here.
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
    /// The bytes that follow are no record.
    NoRecord,
    /// The record that follows is left over from an earlier use of the segment.
    Leftover {
        /// Its LSN.
        lsn: Lsn,
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

/// The result a start would come to.
#[derive(Debug)]
pub struct Ending {
    /// The incarnation in its headers; `None` if there is none.
    pub incarnation: Option<String>,
    /// The oldest record.
    pub first_lsn: Lsn,
    /// The record that would come next.
    pub next_lsn: Lsn,
    /// The highest LSN that the journal itself says was durable.
    pub durable_lsn: Lsn,
    /// Sectors that the disk cannot read.
    pub unreadable: u64,
    /// `true` if records cannot be read that only rows needed.
    pub has_lost_rows: bool,
    /// Why a start would be refused.
    pub refused: Option<JournalError>,
}

/// Shows all of a journal to `visit`, and says what a start would make of it that asks for the records after
/// `from_lsn`, and needs those after `state_lsn`.
///
/// # Errors
/// When the disk fails, or the journal is of another format.
pub fn inspect<D: Disk>(
    disk: &D,
    needs: (Lsn, Lsn),
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
    let pieces = in_use(&segments);
    for piece in &pieces {
        show(disk, piece, &mut visit)?;
    }
    replay_leniently(disk, needs, |_, _| Ok(()))
}

/// Hands the records after `from_lsn` to `replay` as a start would that needs those after
/// `state_lsn`, without changing anything. If a start would be refused, the records before the
/// damage are handed over all the same.
///
/// # Errors
/// When the disk fails, the journal is of another format, or `replay` does.
pub fn replay_leniently<D: Disk>(
    disk: &D,
    (from_lsn, state_lsn): (Lsn, Lsn),
    mut replay: impl FnMut(Lsn, &[u8]) -> Result<(), JournalError>,
) -> Result<Ending, JournalError> {
    let segments = survey::segments(disk, None)?;
    let pieces = in_use(&segments);
    let identity = segments.iter().find_map(|segment| segment.identity());
    let terms = Terms {
        identity,
        from_lsn,
        state_lsn,
        lenient: true,
        in_next: Lsn::MAX,
    };
    let mut ending = Ending {
        incarnation: identity.map(|identity| identity.to_string()),
        first_lsn: pieces
            .first()
            .map_or(Lsn::FIRST, |piece| piece.header.first_lsn),
        next_lsn: from_lsn + 1,
        durable_lsn: Lsn::ZERO,
        unreadable: 0,
        has_lost_rows: false,
        refused: None,
    };
    match survey::survey(disk, &terms, |found| {
        replay(found.head.lsn, &found.payload())
    }) {
        Ok(survey) => {
            ending.next_lsn = survey.end.next_lsn;
            ending.durable_lsn = survey.durable_lsn;
            ending.unreadable = survey.unreadable;
            ending.has_lost_rows = !survey.lost.is_empty();
            ending.refused = survey.damage.map(JournalError::from);
        }
        Err(error @ JournalError::Replay { .. }) => return Err(error),
        Err(error) => ending.refused = Some(error),
    }
    Ok(ending)
}

/// Shows what is whole in a segment, run by run.
fn show<D: Disk>(
    disk: &D,
    piece: &Piece,
    visit: &mut impl FnMut(&Seen<'_>),
) -> Result<(), JournalError> {
    let segment = &*piece.name;
    let failed = || JournalError::failed("reading", segment);
    let file = disk.open(segment).map_err(failed())?;
    let mut window = Window::new(&file, true).map_err(failed())?;
    let mark = piece.header.identity.mark;
    let mut end = End::before_all(&piece.header);
    loop {
        while let Some((head, record)) = window.record(end.offset, mark).map_err(failed())?
            && end.is_followed_by(&head)
        {
            visit(&Seen::Record {
                segment,
                offset: end.offset,
                lsn: head.lsn,
                durable_lsn: head.durable_lsn,
                payload: &head.payload(record),
            });
            end = end.behind(&head);
        }
        visit(&Seen::End {
            segment,
            offset: end.offset,
            next_lsn: end.next_lsn,
            why: why(disk, piece, &end)?,
        });
        let bounds = (end.next_lsn, Lsn::MAX);
        let next = next_whole(&mut window, end.offset + ALIGN, mark, bounds);
        let Some((offset, head)) = next.map_err(failed())? else {
            return Ok(());
        };
        end = End::before(offset, &head);
    }
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
