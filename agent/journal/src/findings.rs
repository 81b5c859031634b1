//! Findings about a journal: its segments, the chain of records through them, and its end.

use std::collections::VecDeque;
use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::Identity;
use super::error::JournalError;
use super::format::{HEADER_BYTES, Head, Header, RecordHead};

/// Criteria of a survey, and its strictness.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Identity the journal must have; `None` accepts any.
    pub(super) identity: Option<Identity>,
    /// The last LSN the caller does not ask for; records up to it were durable.
    pub(super) from_lsn: Lsn,
    /// The last LSN that holds nothing but pending rows; unreadable records up to it are skipped.
    pub(super) state_lsn: Lsn,
    /// Takes sectors that the disk cannot read for zeros.
    pub(super) lenient: bool,
    /// First record of the segment behind the one that is walked; the highest number if there is none.
    pub(super) in_next: Lsn,
}

/// A segment as it was found.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) head: Head,
}

impl Segment {
    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.head {
            Head::InUse(header) => Some(header.identity),
            Head::Spare(identity) => Some(*identity),
            Head::Blank | Head::Damaged => None,
        }
    }
}

/// A segment of the chain.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) name: Arc<str>,
    pub(super) bytes: u64,
    pub(super) header: Header,
}

/// A record that nobody is known to have synced.
pub(super) struct Unproven {
    pub(super) lsn: Lsn,
    /// Number of its piece.
    pub(super) piece: usize,
    pub(super) offset: u64,
    pub(super) record: Vec<u8>,
}

/// A record that was durable and is not there.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub(super) segment: Arc<str>,
    pub(super) offset: u64,
    pub(super) lsn: Lsn,
    pub(super) witness: String,
}

/// The findings of a survey.
pub(super) struct Survey {
    /// All segments, by name.
    pub(super) segments: Vec<Segment>,
    /// The chain, oldest first; the last one takes the next record.
    pub(super) pieces: Vec<Piece>,
    /// Number of the piece at which the walk began; nothing before it was read.
    pub(super) walked: usize,
    pub(super) end: End,
    /// Position of the first missing record: at the end, or at the start of a segment behind it.
    pub(super) broken: Option<(Arc<str>, u64)>,
    /// The highest LSN known to be on the medium.
    pub(super) durable_lsn: Lsn,
    pub(super) unproven: VecDeque<Unproven>,
    /// In the last piece, behind the end: heads of records that a chain to come must not meet.
    pub(super) leftovers: Vec<u64>,
    /// In the last piece, behind the end, there are sectors that cannot be read: nothing more is written there.
    pub(super) is_spoilt: bool,
    pub(super) damage: Option<Damage>,
    /// Records that cannot be read and are not needed, from the first to the last.
    pub(super) lost: Vec<(Lsn, Lsn)>,
    /// Sectors that could not be read.
    pub(super) unreadable: u64,
}

impl Survey {
    /// The first record of the chain.
    pub(super) fn first_lsn(&self) -> Lsn {
        self.lsn_of_piece(0)
    }

    /// The first record on the walk.
    pub(super) fn walked_lsn(&self) -> Lsn {
        self.lsn_of_piece(self.walked)
    }

    /// The error for a missing record that the state asks for.
    pub(super) fn gap(&self) -> JournalError {
        let first = in_use(&self.segments)
            .first()
            .map_or(Lsn::FIRST, |piece| piece.header.first_lsn);
        JournalError::Gap {
            wanted: self.end.next_lsn,
            first,
        }
    }

    fn lsn_of_piece(&self, number: usize) -> Lsn {
        let piece = self.pieces.get(number);
        piece.map_or(self.end.next_lsn, |piece| piece.header.first_lsn)
    }

    /// Segments that are not part of the chain.
    pub(super) fn others(&self) -> impl Iterator<Item = &Segment> {
        let in_chain = |name: &str| self.pieces.iter().any(|piece| &*piece.name == name);
        let segments = self.segments.iter();
        segments.filter(move |segment| !in_chain(&segment.name))
    }
}

impl From<Damage> for JournalError {
    fn from(damage: Damage) -> Self {
        Self::Corrupt {
            segment: damage.segment.to_string(),
            offset: damage.offset,
            lsn: damage.lsn,
            witness: damage.witness,
        }
    }
}

/// The end of the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The offset in the last piece.
    pub(super) offset: u64,
    /// The record that would be next.
    pub(super) next_lsn: Lsn,
    /// The checksum that it would name as that of the record before.
    pub(super) chain: u32,
    /// Checksum of the last record.
    pub(super) last: u32,
}

impl End {
    /// Before the first record of a segment.
    pub(super) fn before_all(header: &Header) -> Self {
        Self {
            offset: HEADER_BYTES as u64,
            next_lsn: header.first_lsn,
            chain: header.chain(),
            last: header.before,
        }
    }

    /// Right before a record, whatever stands before that.
    pub(super) fn before(offset: u64, head: &RecordHead) -> Self {
        Self {
            offset,
            next_lsn: head.lsn,
            chain: head.before,
            last: head.before,
        }
    }

    /// Right behind the record that stands here.
    pub(super) fn behind(&self, head: &RecordHead) -> Self {
        Self {
            offset: self.offset + head.size(),
            next_lsn: head.lsn.saturating_add(1),
            chain: head.checksum,
            last: head.checksum,
        }
    }

    pub(super) fn is_followed_by(&self, head: &RecordHead) -> bool {
        (head.lsn, head.before) == (self.next_lsn, self.chain) && head.durable_lsn < head.lsn
    }

    /// `true` if a segment with this header was taken into use when the chain stood here.
    pub(super) fn continues_in(&self, header: &Header) -> bool {
        (header.first_lsn, header.before) == (self.next_lsn, self.last)
    }
}

/// The segments in use, by their first LSN.
pub(super) fn in_use(segments: &[Segment]) -> Vec<Piece> {
    let piece = |segment: &Segment| match segment.head {
        Head::InUse(header) => Some(Piece {
            name: Arc::clone(&segment.name),
            bytes: segment.bytes,
            header,
        }),
        _ => None,
    };
    let mut pieces: Vec<Piece> = segments.iter().filter_map(piece).collect();
    pieces.sort_by_key(|piece| piece.header.first_lsn);
    pieces
}
