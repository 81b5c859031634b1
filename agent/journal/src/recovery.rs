//! The writes needed before a journal that was found can be trusted.
//!
//! A record that was read back may have come from the page cache: written by a process that was killed,
//! or left there by a sync that failed. So every record above the highest durable LSN that any record
//! names is written anew, in place, and synced. In place, because a fresh segment at every start would
//! let a crash loop fill the disk.

use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::findings::{Piece, Segment, Survey};
use super::format::{HEAD_BYTES, Head, encode_spare};
use super::search;
use super::spares::is_readable;
use super::{OpenSegment, Settings};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

/// The segments that a journal continues with.
pub(super) struct Mended<F> {
    pub(super) active: Option<OpenSegment<F>>,
    pub(super) spares: Vec<OpenSegment<F>>,
}

/// Makes what `survey` found true: the chain is on the medium when this returns, and nothing else looks
/// like a part of it. A crash in here leaves what the next recovery finds the same.
pub(super) fn mend<D: Disk>(
    disk: &D,
    survey: &Survey,
    settings: &Settings,
) -> Result<Mended<D::File>, JournalError> {
    disk.settle()
        .map_err(JournalError::failed("settling", "the directory"))?;
    let mut active = None;
    for (number, piece) in survey.pieces.iter().enumerate() {
        let is_last = number + 1 == survey.pieces.len();
        if is_last || is_unproven(survey, number, piece) {
            let file = prove(disk, survey, number, piece)?;
            // If a sector behind the end cannot be read, a write over a part of it would fail.
            active = (is_last && !survey.is_spoilt).then(|| OpenSegment {
                name: Arc::clone(&piece.name),
                bytes: piece.bytes,
                file,
            });
        }
    }
    let mut spares = Vec::new();
    for segment in survey.others() {
        let is_like_new = segment.bytes == settings.segment_bytes;
        if !is_like_new || spares.len() >= settings.spares_max.max(settings.reserve) {
            let failed = JournalError::failed("removing", &segment.name);
            disk.remove(&segment.name).map_err(failed)?;
            continue;
        }
        match spare(disk, segment, settings, survey.end.next_lsn) {
            Ok(made) => spares.push(made),
            // A sector of it is gone for good.
            Err(_) => disk
                .remove(&segment.name)
                .map_err(JournalError::failed("removing", &segment.name))?,
        }
    }
    Ok(Mended { active, spares })
}

fn is_unproven(survey: &Survey, number: usize, piece: &Piece) -> bool {
    let has_records = survey.unproven.iter().any(|record| record.piece == number);
    has_records || piece.header.first_lsn > survey.durable_lsn
}

/// Writes what is not proven of one segment, and wipes what lies behind the end of the chain.
fn prove<D: Disk>(
    disk: &D,
    survey: &Survey,
    number: usize,
    piece: &Piece,
) -> Result<D::File, JournalError> {
    let failed = || JournalError::failed("rewriting", &piece.name);
    let file = disk.open(&piece.name).map_err(failed())?;
    if number + 1 == survey.pieces.len() && !survey.is_spoilt {
        for offset in &survey.leftovers {
            file.write_at(&[0; HEAD_BYTES], *offset).map_err(failed())?;
        }
    }
    if sabotage::is(Sabotage::TailNotRewritten) {
        return Ok(file);
    }
    if piece.header.first_lsn > survey.durable_lsn {
        file.write_at(&piece.header.encode(), 0).map_err(failed())?;
    }
    let records = survey.unproven.iter().filter(|it| it.piece == number);
    for unproven in records {
        file.write_at(&unproven.record, unproven.offset)
            .map_err(failed())?;
    }
    file.sync().map_err(failed())?;
    Ok(file)
}

/// Makes a spare of a segment that belongs to no chain. One that looks like a spare already may be
/// something else on the medium, and may hold records: the power can fail between its records and its header.
///
/// Records of earlier numbers may stay: the next use of the segment has another salt, and higher numbers. Those
/// that the power cut off have numbers that will be given again: behind a place of the next use that cannot be
/// read, one of them would pass for a record of that use, so they are wiped.
fn spare<D: Disk>(
    disk: &D,
    segment: &Segment,
    settings: &Settings,
    next_lsn: Lsn,
) -> Result<OpenSegment<D::File>, JournalError> {
    let failed = || JournalError::failed("recycling", &segment.name);
    let file = disk.open(&segment.name).map_err(failed())?;
    // One that was given up was looked at then.
    let is_spare = matches!(segment.head, Head::Spare(_));
    if !is_spare && !is_readable(&file, segment.bytes) {
        return Err(failed()(io::Error::other("not all of it can be read")));
    }
    for offset in search::cut_off(disk, &segment.name, settings.identity.mark, next_lsn)? {
        file.write_at(&[0; HEAD_BYTES], offset).map_err(failed())?;
    }
    file.write_at(&encode_spare(settings.identity), 0)
        .and_then(|()| file.sync())
        .map_err(failed())?;
    Ok(OpenSegment {
        name: Arc::clone(&segment.name),
        bytes: segment.bytes,
        file,
    })
}
