//! The threads that do the mill's disk work: one appends to the journal and syncs it, one writes ponds,
//! one reads rows back. None of them ever waits for the loop, which they wake when they are done.

mod checkpoints;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::AgentError;
use super::wake::Waker;
use crate::commit::outbox::Wanted;
use crate::event::emission::LaneId;
use crate::mill::{Checkpoint, Input, Room};
use crate::storage::pond::Ponds;
use crate::storage::readback::{Readback, Unread};
use crate::storage::recovery::Reserve;
use tidemill_base::heartbeat::{Heartbeats, Pulse, WORK_WITHIN, join_by};
use tidemill_base::number::Lsn;
use tidemill_journal::{Appended, DirectoryDisk, Journal, Writer, WriterState};

use checkpoints::CheckpointState;

/// Bytes of journal that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Requests that may wait for a thread; the mill has at most one checkpoint and one read for each lane
/// under way.
const WAITING_MAX: usize = 64;

/// Work done by the threads that the mill has not heard of yet.
type Done = Arc<Mutex<Vec<Input>>>;

/// Carries out the mill's disk work.
pub(super) struct Storage {
    writer: Writer<DirectoryDisk>,
    state: Arc<WriterState>,
    durable_lsn: Lsn,
    /// Commits that the journal's thread had no room for.
    unsent: VecDeque<(Lsn, Vec<u8>)>,
    unsent_bytes: u64,
    checkpoints: Arc<CheckpointState>,
    /// Room last told to the mill.
    told_room: Room,
    ponds: SyncSender<Checkpoint>,
    reads: SyncSender<Read>,
    threads: Vec<JoinHandle<()>>,
    done: Done,
}

/// Rows to read back.
struct Read {
    lane: LaneId,
    wanted: Wanted,
    relocate: bool,
}

impl Storage {
    pub(super) fn start(
        journal: Journal<DirectoryDisk>,
        ponds: Ponds,
        heartbeats: &Heartbeats,
        data_dir: &Path,
        waker: &Waker,
    ) -> Result<Self, AgentError> {
        let done = Done::default();
        let readback = Readback::new(journal.reader(), READ_BYTES);
        let durable_lsn = journal.durable_lsn();
        let wake = waker.clone();
        let writer = Writer::start(journal, heartbeats.pulse("journal"), move || wake.wake())?;
        let (pond_sender, checkpoints) = sync_channel(WAITING_MAX);
        let (read_sender, reads) = sync_channel(WAITING_MAX);
        let tell = |done: &Done| {
            let (done, waker) = (Arc::clone(done), waker.clone());
            move |input| {
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(input);
                waker.wake();
            }
        };
        let (tell_pond, tell_read) = (tell(&done), tell(&done));
        let state = Arc::<CheckpointState>::default();
        let reserve = Reserve::find(data_dir);
        let keeper = checkpoints::Keeper::new(ponds, reserve, Arc::clone(&state), tell_pond);
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (pond, reading) = (heartbeats.pulse("pond"), heartbeats.pulse("readback"));
        let threads = vec![
            spawn("pond").spawn(move || keeper.run(&checkpoints, &pond))?,
            spawn("readback").spawn(move || read_back(readback, &reads, &reading, tell_read))?,
        ];
        Ok(Self {
            state: writer.state(),
            writer,
            durable_lsn,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            checkpoints: state,
            told_room: Room::default(),
            ponds: pond_sender,
            reads: read_sender,
            threads,
            done,
        })
    }

    /// Hands a commit to the journal.
    pub(super) fn append(&mut self, lsn: Lsn, bytes: Vec<u8>) {
        self.unsent_bytes += bytes.len() as u64;
        self.unsent.push_back((lsn, bytes));
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Some((lsn, bytes)) = self.unsent.pop_front() {
            let len = bytes.len() as u64;
            if let Appended::Full(bytes) = self.writer.append(lsn, bytes) {
                self.unsent.push_front((lsn, bytes));
                return;
            }
            self.unsent_bytes -= len;
        }
    }

    /// Returns `true` if commits wait for the journal's thread. The mill takes nothing in beyond a
    /// bound.
    pub(super) fn is_backed_up(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn checkpoint(&self, checkpoint: Checkpoint) {
        let _ = self.ponds.send(checkpoint);
    }

    pub(super) fn read_back(&self, lane: LaneId, wanted: Wanted, relocate: bool) {
        let _ = self.reads.send(Read {
            lane,
            wanted,
            relocate,
        });
    }

    pub(super) fn recycle(&self, below_lsn: Lsn) {
        debug!(
            below_lsn = below_lsn.get(),
            "what is older in the journal is not needed any more"
        );
        self.writer.recycle(below_lsn);
    }

    /// Inputs for the mill since the last call: completed work, durable commits, changed room.
    ///
    /// # Errors
    /// When the journal cannot be written any more.
    pub(super) fn news(&mut self) -> Result<Vec<Input>, AgentError> {
        if let Some(failure) = self.state.failure() {
            return Err(AgentError::Journal(failure.to_string()));
        }
        if self.state.has_ended() {
            return Err(AgentError::Ended("journal"));
        }
        self.hand_over();
        let room = self.room();
        let told = std::mem::replace(&mut self.told_room, room);
        let mut news =
            std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        let durable_lsn = self.state.durable_lsn();
        if durable_lsn > self.durable_lsn {
            self.durable_lsn = durable_lsn;
            news.push(Input::Durable(durable_lsn));
        }
        if told != room {
            news.push(Input::Room(room));
        }
        Ok(news)
    }

    /// Bytes left in the journal, less those on their way there.
    fn left(&self) -> u64 {
        self.state.room().saturating_sub(self.unsent_bytes)
    }

    fn room(&self) -> Room {
        let (left, reserve) = (self.left(), self.state.reserve());
        if self.state.is_stalled() || (self.state.lacks_spare() && left < reserve / 2) {
            return Room::Last;
        }
        if self.lacks_room().is_some() {
            Room::Short
        } else {
            Room::Plenty
        }
    }

    /// Returns `true` if an intake could be written without touching the reserve for the time when
    /// the disk is full.
    pub(super) fn may_take_in(&self) -> bool {
        self.lacks_room().is_none() && self.left() >= self.state.reserve()
    }

    /// Why the disk lets nothing more be taken in.
    pub(super) fn lacks_room(&self) -> Option<&'static str> {
        if self.state.is_stalled() {
            return Some("the disk is full: the journal waits for room");
        }
        if self.checkpoints.lacks_room() {
            return Some("the disk is full: there is no room in reserve for a checkpoint");
        }
        let is_short = self.state.lacks_spare() && self.left() < self.state.reserve();
        is_short.then_some(
            "the disk is full: what is left of the journal is kept for acknowledgements of destinations",
        )
    }

    /// Why no checkpoint can be written, where that is so.
    pub(super) fn checkpoint_trouble(&self) -> Option<String> {
        self.checkpoints.trouble()
    }

    /// Bytes of journal that are kept.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// Lets the threads finish, until a moment. Work that is not done by then was never relied on:
    /// the next start replays the journal from the checkpoint before, and events that were not
    /// durable were not acknowledged.
    pub(super) fn stop(self, deadline: Instant) {
        let Self {
            writer,
            ponds,
            reads,
            threads,
            state,
            ..
        } = self;
        drop((ponds, reads));
        match writer.stop_by(deadline) {
            Some(Ok(_)) => {}
            Some(Err(error)) => error!("the journal could not be finished: {error}"),
            None => warn!("stopped before the journal was on stable storage"),
        }
        for thread in threads {
            let name = thread.thread().name().unwrap_or("?").to_owned();
            if join_by(thread, deadline).is_none() {
                warn!(thread = name, "stopped in the midst of its work");
            }
        }
        let latencies = state.latencies();
        info!(
            commits = latencies.count,
            mean_us = latencies.mean_us(),
            p99_us = latencies.p99_us(),
            max_us = latencies.max_us,
            "journal"
        );
    }
}

fn read_back(
    mut readback: Readback<DirectoryDisk>,
    reads: &Receiver<Read>,
    pulse: &Pulse,
    tell: impl Fn(Input),
) {
    // Lanes whose rows could not be read, by when they are told: other lanes are served meanwhile.
    let mut resting: Vec<(Instant, LaneId)> = Vec::new();
    loop {
        let due = resting.iter().map(|(at, _)| *at).min();
        let read = next_by(reads, pulse, WORK_WITHIN, due);
        let now = Instant::now();
        for (_, lane) in resting.extract_if(.., |(at, _)| *at <= now) {
            tell(Input::ReadFailed { lane });
        }
        let Read {
            lane,
            wanted,
            relocate,
        } = match read {
            Ok(read) => read,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match readback.rows(&lane, &wanted) {
            Ok(rows) => tell(Input::RowsRead {
                lane,
                rows,
                relocate,
            }),
            Err(Unread { rest, error }) => {
                let seconds = rest.as_secs();
                error!(
                    %lane,
                    "rows cannot be read back from the journal, trying again in {seconds} s: {error}"
                );
                resting.push((now + rest, lane));
            }
        }
    }
}

/// Waits for the next piece of work, which is done within this time.
fn next<T>(work: &Receiver<T>, pulse: &Pulse, within: Duration) -> Result<T, RecvError> {
    pulse.rests();
    let next = work.recv()?;
    pulse.works(within);
    Ok(next)
}

/// As [`next`], until a moment at the latest, where there is one.
fn next_by<T>(
    work: &Receiver<T>,
    pulse: &Pulse,
    within: Duration,
    due: Option<Instant>,
) -> Result<T, RecvTimeoutError> {
    let Some(due) = due else {
        return next(work, pulse, within).map_err(|RecvError| RecvTimeoutError::Disconnected);
    };
    pulse.rests();
    let next = work.recv_timeout(due.saturating_duration_since(Instant::now()));
    pulse.works(within);
    next
}
