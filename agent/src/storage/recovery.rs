//! Recovery of the last commit's state from the data directory: the newest complete database, and
//! the journal from there on.

mod reserve;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tracing::{error, warn};

use crate::commit::image::{Image, Written};
use crate::commit::record::{self, RecordError};
use crate::event::emission::LaneId;
use crate::storage::pond::{self, CopiedPonds, PondContent, Ponds, PondsError, Which};
use tidemill_base::number::Lsn;
use tidemill_journal::{
    DirectoryDisk, Journal, JournalError, Repair, Repaired, Replayed, Seen, SegmentState,
};

pub(crate) use reserve::{Reserve, free_bytes, room_for};

/// Name of the journal's folder in the data directory.
pub const JOURNAL: &str = "journal";

/// Why a data directory cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Another agent works in it.
    #[error("{0} is used by another agent; stop that one, or set gateway.data_dir")]
    Locked(PathBuf),
    /// No agent has worked in the directory.
    #[error("no agent has worked in {0} yet: there is nothing to look at")]
    Empty(PathBuf),
    /// The state databases cannot be used.
    #[error(transparent)]
    Pond(PondsError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The content of a state database cannot be read.
    #[error("state database {pond}: {error}; move {dir} away to start without state")]
    Record {
        /// The database.
        pond: Which,
        /// The fault.
        error: RecordError,
        /// The data directory.
        dir: PathBuf,
    },
}

impl RecoveryError {
    /// Returns `true` if the error ends by itself when somebody makes room. At a start nothing
    /// hangs on data that was not written, so even a place that asks for no room elsewhere may be
    /// tried again.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Pond(error) => error.is_stall(),
            Self::Journal(JournalError::Failed { error, .. }) => tidemill_journal::is_full(error),
            Self::Journal(error) => error.is_stall(),
            Self::Locked(_) | Self::Empty(_) | Self::Record { .. } => false,
        }
    }
}

impl From<PondsError> for RecoveryError {
    fn from(error: PondsError) -> Self {
        match error {
            PondsError::Locked(dir) => Self::Locked(dir),
            other => Self::Pond(other),
        }
    }
}

/// The state that an agent goes on from.
pub struct Recovered {
    /// State as of the last commit.
    pub image: Image,
    /// The journal, ready for the next commit.
    pub journal: Journal<DirectoryDisk>,
    /// The ponds, which hold the lock.
    pub ponds: Ponds,
    /// The pond to write first.
    pub first_pond: usize,
    /// Rows that waited and stood in records that cannot be read any more, by lane.
    pub lost: Vec<(LaneId, u64)>,
    /// State of the other database, if it was written.
    pub newest_pond: Option<Written>,
}

/// Opens a data directory, which is made if it is not there. Everything in the image is proven to be
/// on stable storage when this returns.
///
/// # Errors
/// When another agent uses it, or when it is damaged beyond what a crash does.
pub fn recover(dir: &Path, segment_bytes: u64) -> Result<Recovered, RecoveryError> {
    let mut ponds = open_for_good(dir)?;
    let mut image = image_of(dir, ponds.newest()?)?;
    let newest_pond = image.written();
    let needs = (image.needs_from() - 1, image.lsn);
    let journal = tidemill_journal::open_in(dir, segment_bytes, needs, |lsn, bytes| {
        image.replay(lsn, bytes)?;
        Ok(if image.has_begun() {
            Replayed::Begun
        } else {
            Replayed::Whole
        })
    })?;
    image.cut(journal.next_lsn() - 1);
    for (first, last) in journal.lost() {
        error!(
            "records {first} to {last} of the journal cannot be read; the state is whole without them"
        );
    }
    let lost = if journal.lost().is_empty() {
        Vec::new()
    } else {
        image.outbox.drop_missing()
    };
    Ok(Recovered {
        lost,
        image,
        journal,
        first_pond: ponds.next() as usize,
        newest_pond,
        ponds,
    })
}

/// Opens the databases of an agent that starts. On a disk without room for that, the reserve is
/// given up: without a start nothing makes room again.
fn open_for_good(dir: &Path) -> Result<Ponds, RecoveryError> {
    let begins = tidemill_journal::begins(dir)?;
    let opened = Ponds::open(dir, begins);
    if !matches!(opened, Err(PondsError::Full(_))) {
        return Ok(opened?);
    }
    if Reserve::find(dir).give_up() {
        warn!("the disk is full: room that was kept for a checkpoint is given up");
        let opened = Ponds::open(dir, begins);
        if !matches!(opened, Err(PondsError::Full(_))) {
            return Ok(opened?);
        }
    }
    // An agent that was killed in a checkpoint may have put both into it already.
    if tidemill_journal::give_up_spares(dir)? {
        warn!("the disk is full: segments that were kept for use are given up");
    }
    if Ponds::give_up_interrupted(dir)? {
        warn!("the disk is full: what an interrupted checkpoint left is given up");
    }
    Ok(Ponds::open(dir, begins)?)
}

fn image_of(dir: &Path, newest: Option<PondContent>) -> Result<Image, RecoveryError> {
    let Some(newest) = newest else {
        return Ok(Image::default());
    };
    let read = Image::from_entries(newest.lsn, newest.entries);
    read.map_err(|error| RecoveryError::Record {
        pond: newest.which,
        error,
        dir: dir.to_owned(),
    })
}

/// Reads a data directory in which no agent works, and changes nothing in it.
///
/// # Errors
/// As for [`recover`].
pub fn look(dir: &Path) -> Result<Image, RecoveryError> {
    let mut ponds = copied(dir)?;
    let mut image = image_of(dir, ponds.newest()?)?;
    replay(dir, &mut image)?;
    Ok(image)
}

/// Takes up the journal without changing it.
fn replay(dir: &Path, image: &mut Image) -> Result<(), RecoveryError> {
    let disk = DirectoryDisk::read_only(&dir.join(JOURNAL));
    let needs = (image.needs_from() - 1, image.lsn);
    let ending = tidemill_journal::replay_leniently(&disk, needs, |lsn, payload| {
        let replayed = image.replay(lsn, payload);
        replayed.map_err(|error| JournalError::Replay {
            lsn,
            error: error.into(),
        })
    })?;
    match ending.refused {
        Some(error) => Err(error.into()),
        None => {
            if ending.has_lost_rows {
                image.outbox.drop_missing();
            }
            Ok(())
        }
    }
}

/// Segments and records of the journal, for people who debug; works beside a running agent.
///
/// # Errors
/// When it cannot be read.
pub fn inspect_journal(dir: &Path) -> Result<Value, RecoveryError> {
    let disk = DirectoryDisk::read_only(&dir.join(JOURNAL));
    let (mut segments, mut records) = (Vec::new(), Vec::new());
    // An agent that runs has its state databases for itself, and a journal that it goes on with.
    let state = copied(dir).and_then(|mut ponds| image_of(dir, ponds.newest()?));
    let needs = match state {
        Ok(image) => Some((image.needs_from() - 1, image.lsn)),
        Err(RecoveryError::Locked(_)) => None,
        Err(error @ RecoveryError::Empty(_)) => return Err(error),
        Err(_) => Some((Lsn::ZERO, Lsn::ZERO)),
    };
    let ending = tidemill_journal::inspect(&disk, needs.unwrap_or_default(), |seen| match seen {
        Seen::Segment { name, bytes, state } => segments.push(json!({
            "segment": name,
            "bytes": bytes,
            "state": match state {
                SegmentState::InUse { first_lsn } => format!("in use from {first_lsn}"),
                SegmentState::Spare => "spare".to_owned(),
                SegmentState::Blank => "never used".to_owned(),
                SegmentState::Damaged => "damaged".to_owned(),
            },
        })),
        Seen::Record {
            segment,
            offset,
            lsn,
            durable_lsn,
            payload,
        } => records.push(json!({
            "lsn": lsn.get(),
            "durable": durable_lsn.get(),
            "segment": segment,
            "offset": offset,
            "bytes": payload.len(),
            "holds": record::summary(payload).unwrap_or_else(|error| error.to_string()),
        })),
        Seen::End {
            segment,
            offset,
            next_lsn,
            why,
        } => records.push(json!({
            "lsn": next_lsn.get(),
            "durable": null,
            "segment": segment,
            "offset": offset,
            "bytes": null,
            "holds": format!("ends: {why}"),
        })),
    })?;
    Ok(json!({
        "incarnation": ending.incarnation,
        "first": ending.first_lsn.get(),
        "next": ending.next_lsn.get(),
        "durable": ending.durable_lsn.get(),
        "refused": ending.refused.filter(|_| needs.is_some()).map(|error| error.to_string()),
        "segments": segments,
        "records": records,
    }))
}

/// Result of a repair.
#[derive(Debug, Default)]
pub struct Mended {
    /// Changes to the journal; `None` if a start goes on with it as it is.
    pub journal: Option<Repaired>,
    /// Records that such a start goes on without, from the first to the last: they serve only rows that wait.
    pub lost: Vec<(Lsn, Lsn)>,
    /// Paths of the state databases that were put aside, if no state could be read.
    pub ponds: Vec<PathBuf>,
}

/// Mends a damaged journal. If no state can be read, the state databases are put aside, and with
/// them the journal, which does not reach back to the beginning.
///
/// # Errors
/// When another agent uses the directory, or it cannot be mended.
pub fn repair(dir: &Path, segment_bytes: u64) -> Result<Mended, RecoveryError> {
    let mut mended = Mended::default();
    let state = open_existing(dir).and_then(|mut ponds| image_of(dir, ponds.newest()?));
    let needs = match state {
        Ok(image) => (image.needs_from() - 1, image.lsn),
        Err(RecoveryError::Pond(PondsError::Lost { .. })) => {
            mended.ponds = Ponds::abandon(dir)?;
            (Lsn::ZERO, Lsn::ZERO)
        }
        Err(error) => return Err(error),
    };
    let _lock = pond::lock(dir)?;
    match tidemill_journal::repair(dir, segment_bytes, needs)? {
        Repair::NotNeeded(lost) => mended.lost = lost,
        Repair::Done(repaired) => mended.journal = Some(repaired),
    }
    Ok(mended)
}

/// The content of the state databases, for people who debug.
///
/// # Errors
/// When another agent uses the directory.
pub fn inspect_ponds(dir: &Path) -> Result<Value, RecoveryError> {
    let mut ponds = copied(dir)?;
    let newest = ponds.newest()?;
    let shown = |which| {
        let content = newest.as_ref().filter(|content| content.which == which);
        let bytes = |content: &pond::PondContent| {
            let entries = content.entries.iter();
            entries
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>()
        };
        json!({
            "pond": which.to_string(),
            "complete_up_to": ponds.lsn(which).map(Lsn::get),
            "newest": content.is_some(),
            "entries": content.map(|content| content.entries.len()),
            "bytes": content.map(bytes),
        })
    };
    Ok(Value::Array(Which::BOTH.map(shown).to_vec()))
}

/// Opens the ponds of a directory that is there.
fn open_existing(dir: &Path) -> Result<Ponds, RecoveryError> {
    is_there(dir)?;
    Ok(Ponds::open(dir, tidemill_journal::begins(dir)?)?)
}

/// Looks at the ponds of a directory that is there.
fn copied(dir: &Path) -> Result<CopiedPonds, RecoveryError> {
    is_there(dir)?;
    Ok(CopiedPonds::look(dir, tidemill_journal::begins(dir)?)?)
}

fn is_there(dir: &Path) -> Result<(), RecoveryError> {
    if let Err(error) = std::fs::metadata(dir) {
        return Err(PondsError::Directory(dir.to_owned(), error).into());
    }
    let ponds = Which::BOTH.map(|which| which.to_string());
    let mut made = ponds.iter().map(String::as_str).chain([JOURNAL, "pond"]);
    if made.any(|name| dir.join(name).exists()) {
        Ok(())
    } else {
        Err(RecoveryError::Empty(dir.to_owned()))
    }
}
