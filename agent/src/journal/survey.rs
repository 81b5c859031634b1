//! Looks at a journal without changing it: which segments form the chain, where the chain ends, and
//! whether that end is a torn tail or damage. Recovery, `inspect` and `repair` all begin here.
//!
//! A chain ends where no record follows that bears the next LSN and the checksum of the one before.
//! If a record further on says that the missing one was durable when it was written, then it is not a
//! torn tail that ended the chain.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::Identity;
use super::disk::{Disk, DiskFile, index};
use super::error::JournalError;
use super::format::{ALIGN, HEADER_BYTES, Head, Header, RecordHead, decode_header};
use super::salvage::next_whole;
use super::search;
use super::window::Window;

/// What to look for, and how strictly.
pub(super) struct Terms {
    /// Whose journal it has to be; `None` takes any.
    pub(super) identity: Option<Identity>,
    /// Up to where the records are not asked for; they were durable.
    pub(super) from_lsn: u64,
    /// Up to where records serve only rows that wait: those that cannot be read are gone on without.
    pub(super) state_lsn: u64,
    /// Takes what the disk cannot read for zeros.
    pub(super) lenient: bool,
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

/// A record on the walk.
pub(super) struct Found<'a> {
    pub(super) segment: &'a Arc<str>,
    pub(super) offset: u64,
    pub(super) head: RecordHead,
    /// Head and payload.
    pub(super) record: &'a [u8],
}

impl Found<'_> {
    pub(super) fn payload(&self) -> Cow<'_, [u8]> {
        self.head.payload(self.record)
    }
}

/// A record that nobody is known to have synced.
pub(super) struct Unproven {
    pub(super) lsn: u64,
    /// Number of its piece.
    pub(super) piece: usize,
    pub(super) offset: u64,
    pub(super) record: Vec<u8>,
}

/// Where the chain ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Where in the last piece.
    pub(super) offset: u64,
    /// The record that would be next.
    pub(super) next_lsn: u64,
    /// What it would name as the record before.
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
}

/// A record that was durable and is not there.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub(super) segment: Arc<str>,
    pub(super) offset: u64,
    pub(super) lsn: u64,
    pub(super) witness: String,
}

/// What was found.
pub(super) struct Survey {
    /// All segments, by name.
    pub(super) segments: Vec<Segment>,
    /// The chain, oldest first; the last one is where the next record goes.
    pub(super) pieces: Vec<Piece>,
    /// Number of the piece at which the walk began; nothing before it was read.
    pub(super) walked: usize,
    pub(super) end: End,
    /// Where the first record is missing: at the end, or at the start of a segment behind it.
    pub(super) broken: Option<(Arc<str>, u64)>,
    /// Up to where everything is known to be on the medium.
    pub(super) durable_lsn: u64,
    pub(super) unproven: VecDeque<Unproven>,
    /// In the last piece, behind the end: heads of records that a chain to come must not meet.
    pub(super) leftovers: Vec<u64>,
    pub(super) damage: Option<Damage>,
    /// Records that cannot be read and are not needed, from the first to the last.
    pub(super) lost: Vec<(u64, u64)>,
    /// Sectors that could not be read.
    pub(super) unreadable: u64,
}

impl Survey {
    /// The first record of the chain.
    pub(super) fn first_lsn(&self) -> u64 {
        self.lsn_of_piece(0)
    }

    /// The first record on the walk.
    pub(super) fn walked_lsn(&self) -> u64 {
        self.lsn_of_piece(self.walked)
    }

    /// There is no record where the state asks for one.
    pub(super) fn gap(&self) -> JournalError {
        let first = in_use(&self.segments)
            .first()
            .map_or(1, |piece| piece.header.first_lsn);
        JournalError::Gap {
            wanted: self.end.next_lsn,
            first,
        }
    }

    fn lsn_of_piece(&self, number: usize) -> u64 {
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

/// Reads all headers.
pub(super) fn segments<D: Disk>(
    disk: &D,
    identity: Option<Identity>,
) -> Result<Vec<Segment>, JournalError> {
    let mut names = disk.list().map_err(JournalError::failed("listing", "it"))?;
    names.sort_by_key(|name| index(name));
    names
        .iter()
        .map(|name| segment(disk, name, identity))
        .collect()
}

fn segment<D: Disk>(
    disk: &D,
    name: &str,
    identity: Option<Identity>,
) -> Result<Segment, JournalError> {
    let failed = || JournalError::failed("reading the header of", name);
    let file = disk.open(name).map_err(failed())?;
    let bytes = file.bytes().map_err(failed())?;
    let mut header = [0; HEADER_BYTES];
    let is_read = bytes < HEADER_BYTES as u64 || file.read_at(&mut header, 0).is_ok();
    let head = decode_header(&header).map_err(|found| JournalError::Format {
        segment: name.to_owned(),
        found,
    })?;
    // The records behind it tell whether it is needed.
    let head = if is_read { head } else { Head::Damaged };
    let segment = Segment {
        name: name.into(),
        bytes,
        head,
    };
    match (segment.identity(), identity) {
        (Some(found), Some(expected)) if found != expected => Err(JournalError::Incarnation {
            segment: name.to_owned(),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        _ => Ok(segment),
    }
}

/// Walks the chain from the record after `from_lsn` (or a little before) to its end, and looks at what
/// lies behind it.
///
/// # Errors
/// When records are missing at the beginning, the disk fails, or `visit` does. Damage is no error
/// here: it is told.
pub(super) fn survey<D: Disk>(
    disk: &D,
    terms: &Terms,
    mut visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<Survey, JournalError> {
    let segments = segments(disk, terms.identity)?;
    let mut in_use = in_use(&segments);
    let walked = begin(&in_use, terms);
    let mut waiting = in_use.split_off(walked.unwrap_or(0)).into_iter().peekable();
    let mut survey = Survey {
        segments,
        walked: in_use.len(),
        pieces: in_use,
        end: End {
            offset: HEADER_BYTES as u64,
            next_lsn: terms.from_lsn + 1,
            chain: 0,
            last: 0,
        },
        broken: None,
        durable_lsn: terms.from_lsn,
        unproven: VecDeque::new(),
        leftovers: Vec::new(),
        damage: None,
        lost: Vec::new(),
        unreadable: 0,
    };
    if walked.is_some() {
        let mut end_before = survey.end;
        while let Some(piece) = waiting.next_if(|piece| survey.continues_with(piece, terms)) {
            end_before = survey.end;
            survey.note_lost(piece.header.first_lsn);
            survey.walk(disk, piece, terms, &mut visit)?;
        }
        survey.forget_empty_piece(end_before);
    }
    search::behind(disk, &mut survey, terms)?;
    let next_lsn = survey.end.next_lsn;
    // A new journal may have lost its beginning in a power cut; any other begins where it should.
    if walked.is_none() && terms.from_lsn > 0 && survey.damage.is_none() {
        return Err(survey.gap());
    }
    let upto = terms.from_lsn.max(terms.state_lsn);
    if survey.damage.is_none() && next_lsn <= upto {
        survey.damage =
            survey.damage_at_end(format!("the state database holds everything up to {upto}"));
    }
    Ok(survey)
}

impl Survey {
    /// What is missing before a record that is there.
    fn note_lost(&mut self, first_lsn: u64) {
        if first_lsn > self.end.next_lsn {
            self.lost.push((self.end.next_lsn, first_lsn - 1));
        }
    }

    fn continues_with(&self, piece: &Piece, terms: &Terms) -> bool {
        let is_first = self.pieces.len() == self.walked;
        let Header {
            first_lsn, before, ..
        } = piece.header;
        let is_next = first_lsn == self.end.next_lsn && before == self.end.last;
        // What lies between was for rows that wait, and cannot be read.
        let skips = first_lsn > self.end.next_lsn && first_lsn <= terms.state_lsn + 1;
        is_first || is_next || skips
    }

    /// Follows the chain through one segment.
    fn walk<D: Disk>(
        &mut self,
        disk: &D,
        piece: Piece,
        terms: &Terms,
        visit: &mut impl FnMut(&Found<'_>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut lost = Vec::new();
        let (end, unreadable) = walk_past(disk, &piece, terms, &mut lost, |found| {
            if found.head.lsn > terms.from_lsn {
                visit(found)?;
                self.remember_unproven(found);
            }
            Ok(())
        })?;
        self.unreadable += unreadable;
        self.lost.extend(lost);
        self.end = end;
        self.broken = Some((Arc::clone(&piece.name), end.offset));
        self.pieces.push(piece);
        Ok(())
    }

    fn remember_unproven(&mut self, found: &Found<'_>) {
        self.durable_lsn = self.durable_lsn.max(found.head.durable_lsn);
        self.unproven.push_back(Unproven {
            lsn: found.head.lsn,
            piece: self.pieces.len(),
            offset: found.offset,
            record: found.record.to_vec(),
        });
        while let Some(first) = self.unproven.front()
            && first.lsn <= self.durable_lsn
        {
            self.unproven.pop_front();
        }
    }

    /// A last segment without a record is taken into use anew: the record that begins it did not
    /// survive, and what comes instead may fit into the segment before.
    fn forget_empty_piece(&mut self, end_before: End) {
        let is_empty = |last: &Piece| last.header.first_lsn == self.end.next_lsn;
        // One behind a hole shows up to where the state reaches.
        let goes_on = end_before.next_lsn == self.end.next_lsn;
        let is_last = self.pieces.len() > self.walked + 1;
        if is_last && goes_on && self.pieces.last().is_some_and(is_empty) {
            self.pieces.pop();
            self.end = end_before;
        }
    }

    /// What is missing at the end of the chain, if `witness` is to be believed.
    pub(super) fn damage_at_end(&self, witness: String) -> Option<Damage> {
        let (segment, offset) = self.broken.clone()?;
        Some(Damage {
            segment,
            offset,
            lsn: self.end.next_lsn,
            witness,
        })
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

/// Follows the chain through one segment to its end, and counts sectors that could not be read.
pub(super) fn walk<D: Disk>(
    disk: &D,
    piece: &Piece,
    lenient: bool,
    visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<(End, u64), JournalError> {
    let terms = Terms {
        identity: None,
        from_lsn: 0,
        state_lsn: 0,
        lenient,
    };
    walk_past(disk, piece, &terms, &mut Vec::new(), visit)
}

/// As [`walk`], leniently, and past what cannot be read of the records up to `state_lsn`.
pub(super) fn walk_over<D: Disk>(
    disk: &D,
    piece: &Piece,
    state_lsn: u64,
    visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let terms = Terms {
        identity: None,
        from_lsn: 0,
        state_lsn,
        lenient: true,
    };
    walk_past(disk, piece, &terms, &mut Vec::new(), visit).map(drop)
}

/// As [`walk`], and past records that cannot be read, if they serve only rows that wait: those go to `lost`.
fn walk_past<D: Disk>(
    disk: &D,
    piece: &Piece,
    terms: &Terms,
    lost: &mut Vec<(u64, u64)>,
    mut visit: impl FnMut(&Found<'_>) -> Result<(), JournalError>,
) -> Result<(End, u64), JournalError> {
    let Piece { name, header, .. } = piece;
    let failed = || JournalError::failed("reading", name);
    let file = disk.open(name).map_err(failed())?;
    let (mark, is_old) = (header.identity.mark, header.first_lsn <= terms.state_lsn);
    let mut window = Window::new(&file, terms.lenient || is_old).map_err(failed())?;
    let mut end = End::before_all(header);
    loop {
        let next = window.record(end.offset, mark).map_err(failed())?;
        let Some((head, record)) = next.filter(|(head, _)| end.is_followed_by(head)) else {
            if end.next_lsn > terms.state_lsn {
                break;
            }
            let bounds = (end.next_lsn + 1, terms.state_lsn + 1);
            let behind = next_whole(&mut window, end.offset + ALIGN, mark, bounds);
            let Some((offset, head)) = behind.map_err(failed())? else {
                break;
            };
            lost.push((end.next_lsn, head.lsn - 1));
            end = End::before(offset, &head);
            continue;
        };
        visit(&Found {
            segment: name,
            offset: end.offset,
            head,
            record,
        })?;
        end = end.behind(&head);
    }
    if window.unreadable() > 0 && !terms.lenient && end.next_lsn > terms.state_lsn {
        // What is needed has to be readable: a place that is not must not pass for the end.
        let mut strict = Window::new(&file, false).map_err(failed())?;
        strict.record(end.offset, mark).map_err(failed())?;
    }
    Ok((end, window.unreadable()))
}

/// Number of the piece with the record after the last one that is not asked for, or into which it would have
/// gone; the first one where what is missing before it is not needed.
fn begin(in_use: &[Piece], terms: &Terms) -> Option<usize> {
    let is_before = |piece: &Piece| piece.header.first_lsn <= terms.from_lsn + 1;
    let behind = in_use.partition_point(is_before);
    let first = in_use.first();
    let is_enough = first.is_some_and(|piece| piece.header.first_lsn <= terms.state_lsn + 1);
    behind.checked_sub(1).or(is_enough.then_some(0))
}
