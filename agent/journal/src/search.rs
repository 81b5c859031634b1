//! Looks behind the end of a chain: for records that say that the missing one was durable, and for
//! leftovers that a chain to come must not meet.
//!
//! Records are found by the journal's mark. It is random and told to nobody, so that a payload can
//! neither pass for a record nor make this slow.

use std::io;
use std::sync::Arc;

use tidemill_base::number::Lsn;

use super::disk::Disk;
use super::error::JournalError;
use super::findings::{Damage, Segment, Survey, Terms};
use super::format::{ALIGN, HEAD_BYTES, HEADER_BYTES, Head, Header, RecordHead};
use super::window::Window;

/// Bytes looked at in one step.
const STEP: usize = 64 * 1024;

/// The least that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Bytes examined of a spare: enough to notice one whose header is older than its records.
const SPARE_BYTES: u64 = 64 * 1024;

/// A place with the journal's mark, where a record may begin.
struct Candidate {
    offset: u64,
    head: RecordHead,
    is_whole: bool,
}

impl Candidate {
    /// `true` if this candidate proves that record `lsn` was durable.
    fn shows(&self, lsn: Lsn) -> bool {
        let RecordHead {
            lsn: own,
            durable_lsn,
            ..
        } = self.head;
        self.is_whole && durable_lsn >= lsn && durable_lsn < own
    }

    /// Returns `true` if so many records have room between record `lsn`, at `offset` of the same segment, and this one.
    fn has_room_after(&self, (lsn, offset): (Lsn, u64)) -> bool {
        let records = self.head.lsn.since(lsn);
        records <= self.offset.saturating_sub(offset) / HEAD_BYTES as u64
    }

    /// `true` if a future chain whose next record is `lsn` might take this candidate for its
    /// continuation. A record of an earlier use has an older LSN; but if only the first part of its
    /// head survived, the LSN in it cannot be trusted.
    fn may_continue(&self, lsn: Lsn) -> bool {
        let last = self.offset + HEAD_BYTES as u64 - 1;
        self.head.lsn >= lsn || self.offset / SECTOR != last / SECTOR
    }

    /// `true` if it is the last record of a segment that is missing in the chain and not needed. One of an
    /// earlier use lies before everything that is asked for, or was cut off, and is not what the segment
    /// behind the hole names as the record before. Segments are given up oldest first, so while an older one
    /// is in use, this one has not been used again, whatever is asked for.
    fn ends_hole(&self, survey: &Survey) -> bool {
        let RecordHead { lsn, checksum, .. } = self.head;
        let is_behind = |header: &Header| {
            (header.first_lsn.checked_sub(1), header.before) == (Some(lsn), checksum)
        };
        let mut pieces = survey.pieces.iter();
        let is_asked_for = survey.lost.iter().any(|(_, last)| *last == lsn);
        self.is_whole
            && (is_asked_for || survey.first_lsn() < lsn)
            && pieces.any(|piece| is_behind(&piece.header))
    }

    fn says(&self, segment: &str) -> String {
        let Self { offset, head, .. } = self;
        let (lsn, durable_lsn) = (head.lsn, head.durable_lsn);
        format!(
            "record {lsn} at byte {offset} of {segment} says that everything up to {durable_lsn} \
             was on disk"
        )
    }
}

/// Enters damage and leftovers into `survey`.
pub(super) fn behind<D: Disk>(
    disk: &D,
    survey: &mut Survey,
    terms: &Terms,
) -> Result<(), JournalError> {
    let known = survey.segments.iter().find_map(Segment::identity);
    let Some(identity) = terms.identity.or(known) else {
        return Ok(());
    };
    let mut search = Search {
        disk,
        mark: identity.mark,
        lenient: terms.lenient,
        state_lsn: terms.state_lsn,
        unreadable: 0,
    };
    search.last_piece(survey)?;
    let mut others: Vec<Segment> = survey.others().cloned().collect();
    // A header that cannot be read explains more than the chain that ends for want of it, and a spare
    // explains nothing that others do.
    others.sort_by_key(|segment| match segment.head {
        Head::Damaged | Head::Blank => 0,
        Head::InUse(_) => 1,
        Head::Spare(_) => 2,
    });
    for segment in &others {
        if survey.damage.is_some() {
            break;
        }
        survey.damage = search.other(survey, segment)?;
    }
    survey.unreadable += search.unreadable;
    Ok(())
}

/// Enters anew into `survey` what stands in the last segment of the chain, now that it ends earlier.
pub(super) fn behind_end<D: Disk>(
    disk: &D,
    survey: &mut Survey,
    mark: u32,
) -> Result<(), JournalError> {
    let mut search = Search {
        disk,
        mark,
        lenient: true,
        state_lsn: Lsn::ZERO,
        unreadable: 0,
    };
    search.behind_end(survey).map(drop)
}

/// Places in a segment outside the chain where records from `next_lsn` on begin.
pub(super) fn cut_off<D: Disk>(
    disk: &D,
    name: &str,
    mark: u32,
    next_lsn: Lsn,
) -> Result<Vec<u64>, JournalError> {
    // What cannot be read is no record for anybody.
    let mut search = Search {
        disk,
        mark,
        lenient: true,
        state_lsn: Lsn::ZERO,
        unreadable: 0,
    };
    let found = search.candidates(name, (HEADER_BYTES as u64, u64::MAX), next_lsn)?;
    Ok(found.iter().map(|candidate| candidate.offset).collect())
}

struct Search<'d, D> {
    disk: &'d D,
    mark: u32,
    lenient: bool,
    /// Up to where records are not needed.
    state_lsn: Lsn,
    unreadable: u64,
}

impl<D: Disk> Search<'_, D> {
    fn last_piece(&mut self, survey: &mut Survey) -> Result<(), JournalError> {
        let next_lsn = survey.end.next_lsn;
        let missing = (next_lsn, survey.end.offset);
        let found = self.behind_end(survey)?;
        let mut found = found.iter().filter(|found| found.has_room_after(missing));
        let witness = found.find(|found| found.shows(next_lsn));
        if let (Some(witness), Some(last)) = (witness, survey.pieces.last()) {
            let says = witness.says(&last.name);
            survey.damage = survey.damage.take().or(survey.damage_at_end(says));
        }
        Ok(())
    }

    /// Candidates in the last segment behind the end of the chain: those that a chain to come must not meet
    /// are entered into `survey`. The segment was walked, so nobody needs what cannot be read there.
    fn behind_end(&mut self, survey: &mut Survey) -> Result<Vec<Candidate>, JournalError> {
        let Some(last) = survey.pieces.last() else {
            return Ok(Vec::new());
        };
        let before = self.unreadable;
        let found = self.leniently(|search| {
            search.candidates(&last.name, (survey.end.offset, u64::MAX), Lsn::ZERO)
        })?;
        let next_lsn = survey.end.next_lsn;
        let leftovers = found.iter().filter(|it| it.may_continue(next_lsn));
        survey.leftovers = leftovers.map(|candidate| candidate.offset).collect();
        survey.is_spoilt = self.unreadable > before;
        Ok(found)
    }

    /// Takes what cannot be read for zeros meanwhile.
    fn leniently<T>(&mut self, look: impl FnOnce(&mut Self) -> T) -> T {
        let was_lenient = std::mem::replace(&mut self.lenient, true);
        let seen = look(self);
        self.lenient = was_lenient;
        seen
    }

    /// The damage that a segment outside the chain bears witness of.
    fn other(
        &mut self,
        survey: &Survey,
        segment: &Segment,
    ) -> Result<Option<Damage>, JournalError> {
        let Segment { name, head, .. } = segment;
        let next_lsn = survey.end.next_lsn;
        let whole = (HEADER_BYTES as u64, u64::MAX);
        let at_header = |found: &Candidate, witness| Damage {
            segment: Arc::clone(name),
            offset: 0,
            lsn: next_lsn.min(found.head.lsn),
            witness,
        };
        match head {
            Head::InUse(header) => {
                // One that the chain goes on in and that has no record yet was walked.
                let is_walked = survey.end.continues_in(header);
                let found = if is_walked {
                    self.leniently(|search| search.candidates(name, whole, next_lsn))?
                } else {
                    self.candidates(name, whole, next_lsn)?
                };
                let first = (header.first_lsn, HEADER_BYTES as u64);
                let mut found = found.iter().filter(|found| found.has_room_after(first));
                let Some(witness) = found.find(|found| found.shows(next_lsn)) else {
                    return Ok(None);
                };
                let damage = survey.damage_at_end(witness.says(name));
                damage.map(Some).ok_or_else(|| survey.gap())
            }
            Head::Spare(_) => {
                let begin = (HEADER_BYTES as u64, SPARE_BYTES);
                // It was given up; what cannot be read of it bears witness of nothing.
                let first = self.leniently(|search| search.candidates(name, begin, next_lsn));
                if first?.is_empty() {
                    return Ok(None);
                }
                let found = self.candidates(name, whole, next_lsn)?;
                let witness = found.iter().find(|found| found.shows(next_lsn));
                Ok(witness.map(|found| at_header(found, found.says(name))))
            }
            Head::Blank | Head::Damaged => {
                let (was_lenient, before) = (self.lenient, self.unreadable);
                self.lenient |= self.state_lsn > Lsn::ZERO;
                let found = self.candidates(name, whole, Lsn::ZERO);
                self.lenient = was_lenient;
                let found = found?;
                let is_unclear = self.unreadable > before
                    && !self.lenient
                    && !found.iter().any(|it| it.ends_hole(survey));
                let is_needed = |it: &&Candidate| {
                    it.head.lsn >= survey.first_lsn() && it.head.lsn > self.state_lsn
                };
                let found: Vec<&Candidate> = found.iter().filter(is_needed).collect();
                let is_damaged = *head == Head::Damaged;
                // Records from before the walk, or from behind the end where a write that was cut
                // off could not leave such a header.
                let lost = found.iter().find(|found| {
                    let between = found.is_whole && found.head.lsn < survey.walked_lsn();
                    let behind = found.is_whole && found.head.lsn >= next_lsn;
                    between || (behind && is_damaged) || found.shows(next_lsn)
                });
                let damage = lost.map(|found| {
                    let (lsn, offset) = (found.head.lsn, found.offset);
                    let witness = format!("record {lsn} stands at byte {offset} of it");
                    at_header(found, witness)
                });
                if damage.is_none() && is_unclear {
                    // Nobody can tell what stood there: the newest commits, for all that is known, and
                    // what is whole is of an earlier use.
                    self.candidates(name, whole, Lsn::ZERO)?;
                }
                Ok(damage)
            }
        }
    }

    /// Candidates with at least that LSN. Within a whole record none is looked for.
    fn candidates(
        &mut self,
        name: &str,
        (from, upto): (u64, u64),
        at_least: Lsn,
    ) -> Result<Vec<Candidate>, JournalError> {
        let failed = || JournalError::failed("reading", name);
        let file = self.disk.open(name).map_err(failed())?;
        let mut window = Window::new(&file, self.lenient).map_err(failed())?;
        let upto = upto.min(window.bytes());
        let mut found = Vec::new();
        let mut offset = from;
        while let Some(at) = self.marked(&mut window, offset, upto).map_err(failed())? {
            offset = at + ALIGN;
            let Some(head) = head_at(&mut window, at, self.mark).map_err(failed())? else {
                continue;
            };
            if head.lsn < at_least {
                continue;
            }
            let is_whole = window.record(at, self.mark).map_err(failed())?.is_some();
            if is_whole {
                offset = at + head.size();
            }
            found.push(Candidate {
                offset: at,
                head,
                is_whole,
            });
        }
        self.unreadable += window.unreadable();
        Ok(found)
    }

    /// The first place from `offset` on where the mark stands.
    fn marked<F: super::disk::DiskFile>(
        &self,
        window: &mut Window<'_, F>,
        mut offset: u64,
        upto: u64,
    ) -> io::Result<Option<u64>> {
        let mark = self.mark.to_le_bytes();
        while offset < upto {
            let step = window.get(offset, STEP)?;
            let mut words = step.chunks(ALIGN as usize);
            if let Some(word) = words.position(|word| word.starts_with(&mark)) {
                let at = offset + word as u64 * ALIGN;
                return Ok(Some(at).filter(|at| *at < upto));
            }
            offset += STEP as u64;
        }
        Ok(None)
    }
}

fn head_at<F: super::disk::DiskFile>(
    window: &mut Window<'_, F>,
    offset: u64,
    mark: u32,
) -> io::Result<Option<RecordHead>> {
    let bytes = window.get(offset, HEAD_BYTES)?;
    Ok(RecordHead::decode(bytes, mark))
}
