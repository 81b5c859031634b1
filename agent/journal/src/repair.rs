//! Cuts a journal at its damage. Records that are whole and contiguous go into a new journal with a
//! new incarnation, so that receivers do not take future rows for rows that were cut; the old
//! segments are put aside unchanged. Each step can be interrupted, and is finished by the next
//! repair.

use std::path::{Path, PathBuf};

use tidemill_base::number::Lsn;

use super::disk::{DirectoryDisk, Disk, sync_directory};
use super::error::JournalError;
use super::findings::{Piece, Survey, Terms, in_use};
use super::survey;
use super::walk::{walk, walk_over};
use super::{FOLDER, Identity, Journal, Settings};

/// Being written.
const UNFINISHED: &str = "journal.new.unfinished";
/// Written to its end, not yet in place.
const FINISHED: &str = "journal.new";

/// Result of a repair that cut the journal.
#[derive(Debug)]
pub struct Repaired {
    /// The oldest record that was kept.
    pub first_lsn: Lsn,
    /// The record that comes next; the oldest one if none was kept.
    pub next_lsn: Lsn,
    /// Missing LSN ranges between the two, inclusive: they hold nothing but pending rows.
    pub missing: Vec<(Lsn, Lsn)>,
    /// The new incarnation.
    pub incarnation: String,
    /// Directory of the old segments.
    pub put_aside: Option<PathBuf>,
}

/// Outcome of a repair.
#[derive(Debug)]
pub enum Repair {
    /// A start continues with the journal as it is, without these LSN ranges (inclusive), which
    /// hold nothing but pending rows.
    NotNeeded(Vec<(Lsn, Lsn)>),
    /// The journal was cut.
    Done(Repaired),
}

/// Refuses a start in the middle of a repair.
pub(super) fn refuse_unfinished(data_dir: &Path) -> Result<(), JournalError> {
    if data_dir.join(FINISHED).exists() {
        Err(JournalError::RepairUnfinished(data_dir.join(FOLDER)))
    } else {
        Ok(())
    }
}

/// Repairs the journal of a data directory whose state holds everything up to `state_lsn` (0 if there is
/// no state), and of which a start asks for the records after `from_lsn`. What a start goes on with is left
/// alone. The data directory has to be locked.
///
/// Kept is the longest run of whole records that continues the state, and of what stands before it, which
/// serves rows that wait, all that is whole. Where no such run is left, the journal goes on after `state_lsn`.
///
/// # Errors
/// When the disk fails or has no room for a copy, or the journal is of another format or incarnation.
pub fn repair(
    data_dir: &Path,
    segment_bytes: u64,
    (from_lsn, state_lsn): (Lsn, Lsn),
) -> Result<Repair, JournalError> {
    if !data_dir.join(FINISHED).exists() {
        if let Some(lost) = startable(data_dir, (from_lsn, state_lsn)) {
            return Ok(Repair::NotNeeded(lost));
        }
        let Some(kept) = plan(data_dir, (from_lsn, state_lsn))? else {
            return Ok(Repair::NotNeeded(Vec::new()));
        };
        copy(data_dir, segment_bytes, &kept)?;
        step(data_dir, "renaming", |dir| {
            std::fs::rename(dir.join(UNFINISHED), dir.join(FINISHED))
        })?;
    }
    finish(data_dir).map(Repair::Done)
}

/// The records that a start goes on without; `None` if it would be refused.
fn startable(data_dir: &Path, (from_lsn, state_lsn): (Lsn, Lsn)) -> Option<Vec<(Lsn, Lsn)>> {
    let terms = Terms {
        identity: Some(Identity::read(data_dir).ok()??),
        from_lsn,
        state_lsn,
        lenient: false,
        in_next: Lsn::MAX,
    };
    let survey = survey::survey(&disk(data_dir), &terms, |_| Ok(())).ok()?;
    survey.damage.is_none().then_some(survey.lost)
}

/// The records to keep.
struct Kept {
    pieces: Vec<Piece>,
    first_lsn: Lsn,
    /// Records from here on are not kept.
    end_lsn: Lsn,
    /// Up to where records serve only rows that wait.
    state_lsn: Lsn,
}

fn disk(data_dir: &Path) -> DirectoryDisk {
    DirectoryDisk::read_only(&data_dir.join(FOLDER))
}

/// Plans the records to keep; `None` if the whole journal is in order.
fn plan(data_dir: &Path, (from_lsn, state_lsn): (Lsn, Lsn)) -> Result<Option<Kept>, JournalError> {
    let disk = disk(data_dir);
    let read = Identity::read(data_dir);
    let identity = read.as_ref().ok().copied().flatten();
    let terms = Terms {
        identity,
        from_lsn,
        state_lsn,
        lenient: true,
        in_next: Lsn::MAX,
    };
    let survey = match survey::survey(&disk, &terms, |_| Ok(())) {
        Ok(survey) => survey,
        Err(JournalError::Gap { .. }) => {
            return Ok(Some(Kept {
                pieces: Vec::new(),
                first_lsn: state_lsn + 1,
                end_lsn: state_lsn + 1,
                state_lsn,
            }));
        }
        Err(error) => return Err(error),
    };
    let older = whole_before_walk(&disk, &survey)?;
    let is_whole = survey.damage.is_none() && survey.unreadable == 0;
    if is_whole && older == 0 && (identity.is_some() || survey.segments.is_empty()) {
        return Ok(None);
    }
    let pieces = survey.pieces.get(older..).unwrap_or_default().to_vec();
    let first = pieces.first().map(|piece| piece.header.first_lsn);
    Ok(Some(Kept {
        first_lsn: first.unwrap_or(state_lsn + 1),
        end_lsn: survey.end.next_lsn,
        state_lsn,
        pieces,
    }))
}

/// Number of the first piece from which on all are whole up to where the walk began.
fn whole_before_walk<D: Disk>(disk: &D, survey: &Survey) -> Result<usize, JournalError> {
    let mut first = survey.walked;
    let mut next = survey.pieces.get(first);
    for (number, piece) in survey.pieces.iter().enumerate().take(first).rev() {
        let end = walk(disk, piece, true, |_| Ok(()))?;
        if !next.is_some_and(|next| end.continues_in(&next.header)) {
            break;
        }
        (first, next) = (number, Some(piece));
    }
    Ok(first)
}

fn copy(data_dir: &Path, segment_bytes: u64, kept: &Kept) -> Result<(), JournalError> {
    let folder = data_dir.join(UNFINISHED);
    let shown = folder.display().to_string();
    let failed = || JournalError::failed("making", &shown);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(failed())?;
    }
    let made = DirectoryDisk::new(&folder).map_err(failed())?;
    let identity = Identity::draw().map_err(JournalError::failed("reading", "/dev/urandom"))?;
    let largest = kept.pieces.iter().map(|piece| piece.bytes).max();
    let settings = Settings::usual(segment_bytes.max(largest.unwrap_or(0)), identity)?;
    let mut journal = Journal::begin(made, settings, kept.first_lsn)?;
    for (number, piece) in kept.pieces.iter().enumerate() {
        let next = kept.pieces.get(number + 1);
        let in_next = next.map_or(Lsn::MAX, |next| next.header.first_lsn);
        let upto = (kept.state_lsn, in_next);
        walk_over(&disk(data_dir), piece, upto, |found| {
            let lsn = found.head.lsn;
            if lsn >= kept.end_lsn {
                return Ok(());
            }
            journal.skip_to(lsn)?;
            journal.append(lsn, &found.payload())
        })?;
        journal.sync()?;
    }
    journal.skip_to(kept.state_lsn + 1)?;
    journal.sync().map(drop)
}

/// Puts the new journal in place.
fn finish(data_dir: &Path) -> Result<Repaired, JournalError> {
    let made = DirectoryDisk::read_only(&data_dir.join(FINISHED));
    let segments = survey::segments(&made, None)?;
    let identity = segments.iter().find_map(|segment| segment.identity());
    let identity = identity.ok_or_else(|| JournalError::RepairUnfinished(made.dir().to_owned()))?;
    let pieces = in_use(&segments);
    let first_lsn = pieces
        .first()
        .map_or(Lsn::FIRST, |piece| piece.header.first_lsn);
    let (mut next_lsn, mut missing) = (first_lsn, Vec::new());
    for piece in &pieces {
        let begins = piece.header.first_lsn;
        if begins > next_lsn {
            missing.push((next_lsn, begins - 1));
        }
        next_lsn = walk(&made, piece, false, |_| Ok(()))?.next_lsn;
    }
    let put_aside = put_aside(data_dir)?;
    identity.write(data_dir)?;
    step(data_dir, "renaming", |dir| {
        std::fs::rename(dir.join(FINISHED), dir.join(FOLDER))
    })?;
    Ok(Repaired {
        first_lsn: Lsn::new(first_lsn.get()),
        next_lsn,
        missing,
        incarnation: identity.to_string(),
        put_aside,
    })
}

fn put_aside(data_dir: &Path) -> Result<Option<PathBuf>, JournalError> {
    if !data_dir.join(FOLDER).exists() {
        return Ok(None);
    }
    let mut number = 1;
    let free = |number| data_dir.join(format!("journal.cut-{number}"));
    while free(number).exists() {
        number += 1;
    }
    let aside = free(number);
    step(data_dir, "putting aside", |dir| {
        std::fs::rename(dir.join(FOLDER), &aside)
    })?;
    Ok(Some(aside))
}

/// One change to the data directory, durable when this returns.
fn step(
    data_dir: &Path,
    doing: &'static str,
    act: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), JournalError> {
    let shown = data_dir.display().to_string();
    act(data_dir)
        .and_then(|()| sync_directory(data_dir))
        .map_err(JournalError::failed(doing, &shown))
}
