//! Looks at a journal without changing it: which segments form the chain, where the chain ends, and
//! whether that end is a torn tail or damage. Recovery, `inspect` and `repair` all begin here.
//!
//! A chain ends where no record follows that bears the next LSN and the checksum of the one before.
//! If a record further on says that the missing one was durable when it was written, then it is not a
//! torn tail that ended the chain.

use std::collections::VecDeque;
use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::Identity;
use super::disk::{Disk, DiskFile, index};
use super::error::JournalError;
use super::findings::{Damage, End, Piece, Segment, Survey, Terms, Unproven, in_use};
use super::format::{HEADER_BYTES, Head, decode_header};
use super::search;
use super::walk::{Found, walk_past};

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
/// When records are missing at the beginning, the disk fails, or `visit` does. Damage is reported
/// in the result, not as an error.
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
        is_spoilt: false,
        damage: None,
        lost: Vec::new(),
        unreadable: 0,
    };
    if walked.is_some() {
        let mut end_before = survey.end;
        while let Some(piece) = waiting.next_if(|piece| survey.continues_with(piece, terms)) {
            end_before = survey.end;
            survey.note_lost(piece.header.first_lsn);
            let in_next = waiting.peek().map_or(Lsn::MAX, |it| it.header.first_lsn);
            let terms = Terms { in_next, ..*terms };
            let unclear = survey.walk(disk, piece, &terms, &mut visit)?;
            // A segment that was taken into use behind that place shows that no record stands in it.
            let goes_on = |next: &Piece| survey.end.continues_in(&next.header);
            if let Some(error) = unclear
                && !waiting.peek().is_some_and(goes_on)
            {
                return Err(error);
            }
        }
        survey.forget_empty_piece(end_before);
    }
    search::behind(disk, &mut survey, terms)?;
    let next_lsn = survey.end.next_lsn;
    // A new journal may have lost its beginning in a power cut; any other begins where it should.
    if walked.is_none() && terms.from_lsn > Lsn::ZERO && survey.damage.is_none() {
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
    /// Notes the gap before a record that is present.
    fn note_lost(&mut self, first_lsn: Lsn) {
        if first_lsn > self.end.next_lsn {
            self.lost.push((self.end.next_lsn, first_lsn - 1));
        }
    }

    fn continues_with(&self, piece: &Piece, terms: &Terms) -> bool {
        let is_first = self.pieces.len() == self.walked;
        let first_lsn = piece.header.first_lsn;
        // Records in the gap hold nothing but pending rows, and cannot be read.
        let skips = first_lsn > self.end.next_lsn && first_lsn <= terms.state_lsn + 1;
        is_first || self.end.continues_in(&piece.header) || skips
    }

    /// Follows the chain through one segment. Returns the reason if its end in this segment is
    /// uncertain.
    fn walk<D: Disk>(
        &mut self,
        disk: &D,
        piece: Piece,
        terms: &Terms,
        visit: &mut impl FnMut(&Found<'_>) -> Result<(), JournalError>,
    ) -> Result<Option<JournalError>, JournalError> {
        let mut lost = Vec::new();
        let walked = walk_past(disk, &piece, terms, &mut lost, |found| {
            if found.head.lsn > terms.from_lsn {
                visit(found)?;
                self.remember_unproven(found);
            }
            Ok(())
        })?;
        self.unreadable += walked.unreadable;
        self.lost.extend(lost);
        self.end = walked.end;
        self.broken = Some((Arc::clone(&piece.name), walked.end.offset));
        self.pieces.push(piece);
        Ok(walked.unclear)
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

    /// The damage at the end of the chain, if `witness` is to be believed.
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

/// Number of the piece with the record after the last one not asked for, or into which that record
/// would have gone; the first piece if the records missing before it are not needed.
fn begin(in_use: &[Piece], terms: &Terms) -> Option<usize> {
    let is_before = |piece: &Piece| piece.header.first_lsn <= terms.from_lsn + 1;
    let behind = in_use.partition_point(is_before);
    let first = in_use.first();
    let is_enough = first.is_some_and(|piece| piece.header.first_lsn <= terms.state_lsn + 1);
    behind.checked_sub(1).or(is_enough.then_some(0))
}
