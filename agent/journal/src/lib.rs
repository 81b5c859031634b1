//! The journal: a log of records, in order, on disk. A record is durable once [`Journal::sync`] has
//! returned its LSN, and survives any crash. The journal does not interpret its records.
//!
//! The log is kept in segments of fixed size, filled with zeros when they are made and reused in
//! place, so that a commit changes no metadata of the file system. Each record bears the checksum
//! of the one before it: leftovers of an earlier use of the file never pass for a continuation.
//! `docs/formats.md` describes every byte, `docs/decisions/0005-journal.md` gives the reasons.

#![forbid(unsafe_code)]

mod append;
mod cut;
mod disk;
mod error;
mod findings;
mod format;
mod identity;
mod inspect;
mod latency;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod open;
mod reader;
mod recovery;
mod repair;
mod salvage;
mod search;
mod spares;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod window;
mod writer;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use disk::{DirectoryDisk, Disk, DiskFile, is_full};
pub use disk::{make_directory, sync_directory};
pub use error::JournalError;
pub use format::FORMAT;
pub use identity::Identity;
pub use inspect::{Ending, Seen, SegmentState, Why, inspect, replay_leniently};
pub use latency::Latencies;
pub use open::{begins, give_up_spares, open_in};
pub use reader::Reader;
pub use repair::{Repair, Repaired, repair};
pub use salvage::SalvageError;
pub use writer::{Appended, Writer, WriterState};

use findings::{Piece, Survey};
use format::{HEAD_BYTES, HEADER_BYTES, Header};
use identity::random;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

/// Default size of a segment in bytes: at least twice what the effects of one event may take.
pub const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Default number of segments kept for use; more are removed.
pub const SPARES_MAX: usize = 4;

/// The folder of the segments in a data directory.
const FOLDER: &str = "journal";

/// Bytes that the segments in reserve have together, at least: what is under way when the disk turns out to
/// be full, and the settled rows of a backlog that drains.
const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Default number of segments in reserve.
pub fn reserve_of(segment_bytes: u64) -> usize {
    usize::try_from(RESERVE_BYTES.div_ceil(segment_bytes.max(1))).unwrap_or(1)
}

/// Settings of a journal.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of a new segment, below 1 GiB. Older ones keep their length.
    pub segment_bytes: u64,
    /// Segments kept for use; more are removed.
    pub spares_max: usize,
    /// Spare segments made ahead of need, for the records that have to be written when there is no
    /// room for more: those that make room again.
    pub reserve: usize,
    /// Identity of the journal; one of another identity is refused.
    pub identity: Identity,
    /// A random number, another one at every start.
    pub salt: u64,
    /// The state holds everything up to this record: earlier ones hold nothing but pending rows,
    /// and the journal continues without those of them that cannot be read.
    pub state_lsn: Lsn,
}

impl Settings {
    /// The settings of an agent's journal, with a salt of its own.
    pub(crate) fn usual(segment_bytes: u64, identity: Identity) -> Result<Self, JournalError> {
        let salt = random().map_err(JournalError::failed("reading", "/dev/urandom"))?;
        Ok(Self {
            segment_bytes,
            spares_max: SPARES_MAX,
            reserve: reserve_of(segment_bytes),
            identity,
            salt: u64::from_le_bytes(salt),
            state_lsn: Lsn::ZERO,
        })
    }
}

/// The place of a replayed record in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// Complete by itself.
    Whole,
    /// Part of a batch; counts only together with the records behind it.
    Begun,
}

impl From<()> for Replayed {
    fn from((): ()) -> Self {
        Self::Whole
    }
}

/// Positions of the records; shared with [`Reader`]s.
#[derive(Debug, Default)]
struct Positions {
    /// The chain, oldest first.
    pieces: VecDeque<Piece>,
    /// The record that comes next.
    next_lsn: Lsn,
    /// The highest LSN on the medium.
    durable_lsn: Lsn,
    /// Offset of the next record in the last piece.
    offset: u64,
}

impl Positions {
    fn first_lsn(&self) -> Lsn {
        let first = self.pieces.front();
        first.map_or(self.next_lsn, |piece| piece.header.first_lsn)
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<Positions>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Positions> {
        // Each change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment and its open file.
struct OpenSegment<F> {
    name: Arc<str>,
    bytes: u64,
    file: F,
}

/// The journal of one data directory; there must be one only.
pub struct Journal<D: Disk> {
    disk: D,
    settings: Settings,
    shared: Arc<Shared>,
    /// The segment that takes the next record; `None` until the first record of a new journal.
    active: Option<OpenSegment<D::File>>,
    /// `true` if the active segment has unsynced writes.
    is_dirty: bool,
    /// Full segments with unsynced writes, oldest first.
    unsynced: Vec<OpenSegment<D::File>>,
    spares: Vec<OpenSegment<D::File>>,
    /// Checksum chain value that the next record names as its predecessor.
    chain: u32,
    /// Checksum of the last record.
    last: u32,
    /// Number for the name of the next segment.
    next_index: u32,
    /// The record being written; kept for its memory.
    scratch: Vec<u8>,
    /// Once the disk has failed nothing is written any more.
    has_failed: bool,
    /// Records that could not be read, from the first to the last.
    lost: Vec<(Lsn, Lsn)>,
}

impl<D: Disk> Journal<D> {
    /// Opens a journal, and hands all records after `from_lsn` to `replay`, in order, which says whether a
    /// record is the end of what it belongs to. Records at the end of the journal that are not are cut off:
    /// nobody has relied on them, and on a full disk they would take the room that is to be made again.
    /// Returns once all others are proven to be on the medium, and whatever a crash left behind them is no
    /// danger any more.
    ///
    /// # Errors
    /// When a record is missing that was durable, when the journal begins behind or ends before
    /// `from_lsn`, is of another format or identity, when the disk fails, or `replay` does. Nothing
    /// was changed then, unless it was the disk that failed.
    pub fn open<R: Into<Replayed>>(
        disk: D,
        settings: Settings,
        from_lsn: Lsn,
        mut replay: impl FnMut(Lsn, &[u8]) -> Result<R, Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<Self, JournalError> {
        let settings = if sabotage::is(Sabotage::NothingInReserve) {
            Settings {
                reserve: 0,
                ..settings
            }
        } else {
            settings
        };
        let terms = findings::Terms {
            identity: Some(settings.identity),
            from_lsn,
            state_lsn: settings.state_lsn,
            lenient: false,
            in_next: Lsn::MAX,
        };
        let mut begun = cut::Begun::default();
        let mut survey = survey::survey(&disk, &terms, |found| {
            let lsn = found.head.lsn;
            let replayed = replay(lsn, &found.payload());
            let replayed = replayed.map_err(|error| JournalError::Replay { lsn, error })?;
            begun.note(found, replayed.into());
            Ok(())
        })?;
        if let Some(damage) = survey.damage.take() {
            return Err(damage.into());
        }
        begun.cut(&disk, &mut survey, settings.identity.mark)?;
        let mended = recovery::mend(&disk, &survey, &settings)?;
        Ok(Self::assemble(disk, settings, survey, mended))
    }

    /// Begins a journal whose first record has the given LSN, in an empty place.
    fn begin(disk: D, settings: Settings, first_lsn: Lsn) -> Result<Self, JournalError> {
        let header = Header {
            identity: settings.identity,
            first_lsn,
            salt: settings.salt,
            before: 0,
        };
        let name = disk::name(1);
        let file = disk
            .create(&name, settings.segment_bytes)
            .map_err(JournalError::at("making", &name, settings.segment_bytes))?;
        file.write_at(&header.encode(), 0)
            .and_then(|()| file.sync())
            .map_err(JournalError::failed("writing", &name))?;
        Self::open(disk, settings, first_lsn - 1, |_, _| Ok(Replayed::Whole))
    }

    fn assemble(
        disk: D,
        settings: Settings,
        survey: Survey,
        mended: recovery::Mended<D::File>,
    ) -> Self {
        let numbers = survey.segments.iter().map(|it| disk::index(&it.name));
        let next_index = numbers.max().flatten().unwrap_or(0) + 1;
        let positions = Positions {
            pieces: survey.pieces.into(),
            next_lsn: survey.end.next_lsn,
            durable_lsn: survey.end.next_lsn - 1,
            offset: survey.end.offset,
        };
        Self {
            disk,
            settings,
            shared: Arc::new(Shared(Mutex::new(positions))),
            active: mended.active,
            is_dirty: false,
            unsynced: Vec::new(),
            spares: mended.spares,
            chain: survey.end.chain,
            last: survey.end.last,
            next_index,
            scratch: Vec::new(),
            has_failed: false,
            lost: survey.lost,
        }
    }

    /// Identity of the journal.
    pub fn identity(&self) -> Identity {
        self.settings.identity
    }

    /// Records that could not be read and that nothing but rows needed, from the first to the last.
    pub fn lost(&self) -> &[(Lsn, Lsn)] {
        &self.lost
    }

    /// The oldest record there is; [`Journal::next_lsn`] if there is none.
    pub fn first_lsn(&self) -> Lsn {
        self.shared.lock().first_lsn()
    }

    /// The LSN that [`Journal::append`] takes next.
    pub fn next_lsn(&self) -> Lsn {
        self.shared.lock().next_lsn
    }

    /// The highest LSN on the medium.
    pub fn durable_lsn(&self) -> Lsn {
        self.shared.lock().durable_lsn
    }

    /// Bytes from the beginning of the journal to its end.
    pub fn bytes(&self) -> u64 {
        let positions = self.shared.lock();
        let Some(full) = positions.pieces.len().checked_sub(1) else {
            return 0;
        };
        let pieces = positions.pieces.iter().take(full);
        pieces.map(|piece| piece.bytes).sum::<u64>() + positions.offset
    }

    /// Bytes that can be written without asking the disk for another segment.
    pub fn room(&self) -> u64 {
        let offset = self.shared.lock().offset;
        let active = self.active.as_ref();
        let active = active.map_or(0, |active| active.bytes.saturating_sub(offset));
        active + self.spares.iter().map(|spare| spare.bytes).sum::<u64>()
    }

    /// Bytes of the segments in reserve.
    pub fn reserve_bytes(&self) -> u64 {
        self.settings
            .segment_bytes
            .saturating_mul(self.settings.reserve as u64)
    }

    /// The longest payload of a record: what fits into a new segment, and into one of another length that
    /// is in use and has none yet.
    pub fn record_bytes_max(&self) -> usize {
        let is_empty = self.shared.lock().offset == HEADER_BYTES as u64;
        let active = self.active.as_ref().filter(|_| is_empty);
        let bytes = active.map_or(u64::MAX, |active| active.bytes);
        let bytes = usize::try_from(bytes.min(self.settings.segment_bytes)).unwrap_or(usize::MAX);
        bytes.saturating_sub(HEADER_BYTES + HEAD_BYTES) / 8 * 8
    }

    /// Reads records back, also while others are appended.
    pub fn reader(&self) -> Reader<D> {
        let mark = self.settings.identity.mark;
        Reader::new(self.disk.clone(), Arc::clone(&self.shared), mark)
    }

    /// Reads records back, see [`Reader::read`].
    ///
    /// # Errors
    /// When they are no longer there, or not readable.
    pub fn read(
        &self,
        from_lsn: Lsn,
        max_bytes: usize,
    ) -> Result<Vec<(Lsn, Vec<u8>)>, JournalError> {
        self.reader().read(from_lsn, max_bytes)
    }

    fn refuse_after_failure(&self) -> Result<(), JournalError> {
        if self.has_failed {
            Err(JournalError::FailedBefore)
        } else {
            Ok(())
        }
    }
}
