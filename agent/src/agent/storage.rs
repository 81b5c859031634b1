//! The threads that do the mill's disk work: one appends to the journal and syncs it, one writes ponds,
//! one reads rows back. None of them ever waits for the loop, which they wake when they are done.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::AgentError;
use super::wake::Waker;
use crate::emission::{LaneId, Row};
use crate::heartbeat::{CHECKPOINT_WITHIN, Heartbeats, Pulse, WORK_WITHIN, join_by};
use crate::journal::{Appended, DirectoryDisk, Journal, JournalError, Reader, Writer, WriterState};
use crate::mill::{Checkpoint, Input};
use crate::outbox::Wanted;
use crate::pond::{PondCheckpoint, Ponds, Which};
use crate::record::Parts;

/// Bytes of journal that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Requests that may wait for a thread; the mill has at most one checkpoint and one read for each lane
/// under way.
const WAITING_MAX: usize = 64;

/// Time until rows are read again that could not be.
const RETRY: Duration = Duration::from_secs(1);

/// What the threads have done and the mill has not heard yet.
type Done = Arc<Mutex<Vec<Input>>>;

/// Carries out the mill's disk work.
pub(super) struct Storage {
    writer: Writer<DirectoryDisk>,
    state: Arc<WriterState>,
    durable_lsn: u64,
    /// Commits that the journal's thread had no room for.
    unsent: VecDeque<(u64, Vec<u8>)>,
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
        waker: &Waker,
    ) -> Result<Self, AgentError> {
        let done = Done::default();
        let reader = journal.reader();
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
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (pond, readback) = (heartbeats.pulse("pond"), heartbeats.pulse("readback"));
        let threads = vec![
            spawn("pond").spawn(move || write_ponds(ponds, &checkpoints, &pond, tell_pond))?,
            spawn("readback").spawn(move || read_back(reader, &reads, &readback, tell_read))?,
        ];
        Ok(Self {
            state: writer.state(),
            writer,
            durable_lsn,
            unsent: VecDeque::new(),
            ponds: pond_sender,
            reads: read_sender,
            threads,
            done,
        })
    }

    /// Hands a commit to the journal.
    pub(super) fn append(&mut self, lsn: u64, bytes: Vec<u8>) {
        self.unsent.push_back((lsn, bytes));
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Some((lsn, bytes)) = self.unsent.pop_front() {
            if let Appended::Full(bytes) = self.writer.append(lsn, bytes) {
                self.unsent.push_front((lsn, bytes));
                return;
            }
        }
    }

    /// Whether commits wait for the journal's thread. The mill takes nothing in beyond a bound.
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

    pub(super) fn recycle(&self, below_lsn: u64) {
        debug!(
            below_lsn,
            "what is older in the journal is not needed any more"
        );
        self.writer.recycle(below_lsn);
    }

    /// What has become of it since this was asked last.
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
        let mut news =
            std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        let durable_lsn = self.state.durable_lsn();
        if durable_lsn > self.durable_lsn {
            self.durable_lsn = durable_lsn;
            news.push(Input::Durable(durable_lsn));
        }
        Ok(news)
    }

    /// Whether the journal waits for room on the disk.
    pub(super) fn is_stalled(&self) -> bool {
        self.state.is_stalled()
    }

    /// Bytes of journal that are kept.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// Lets the threads finish, until a moment. What is not done by then was never relied on: the next
    /// start replays the journal from the checkpoint before, and what was not durable was not
    /// acknowledged.
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

fn write_ponds(
    mut ponds: Ponds,
    checkpoints: &Receiver<Checkpoint>,
    pulse: &Pulse,
    tell: impl Fn(Input),
) {
    while let Ok(checkpoint) = next(checkpoints, pulse, CHECKPOINT_WITHIN) {
        let Checkpoint {
            pond,
            lsn,
            full,
            puts,
            removes,
        } = checkpoint;
        let which = if pond == 0 { Which::A } else { Which::B };
        let checkpoint = PondCheckpoint {
            lsn,
            full,
            puts,
            removes,
        };
        tell(match ponds.write(which, &checkpoint) {
            Ok(()) => Input::PondWritten { pond },
            Err(error) => {
                error!("a checkpoint cannot be written, trying again soon: {error}");
                Input::PondFailed
            }
        });
    }
}

fn read_back(
    mut reader: Reader<DirectoryDisk>,
    reads: &Receiver<Read>,
    pulse: &Pulse,
    tell: impl Fn(Input),
) {
    while let Ok(read) = next(reads, pulse, WORK_WITHIN) {
        let Read {
            lane,
            wanted,
            relocate,
        } = read;
        match rows_of(&mut reader, &lane, &wanted) {
            Ok(rows) => tell(Input::RowsRead {
                lane,
                rows,
                relocate,
            }),
            Err(error) => {
                error!(%lane, "rows cannot be read back from the journal, trying again: {error}");
                std::thread::sleep(RETRY);
                tell(Input::ReadFailed { lane });
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

/// The rows of a lane that are wanted, with the commits that they stand in.
fn rows_of(
    reader: &mut Reader<DirectoryDisk>,
    lane: &LaneId,
    wanted: &Wanted,
) -> Result<Vec<(u64, Row)>, Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    let mut from_lsn = wanted.from_lsn;
    let mut parts = Parts::default();
    // A commit of several records goes by its first one.
    while from_lsn <= wanted.to_lsn || parts.began().is_some_and(|lsn| lsn <= wanted.to_lsn) {
        let records = match reader.read(from_lsn, READ_BYTES) {
            // What is missing was cut by a repair: the lane says how many rows that are.
            Err(JournalError::Gap { first, .. }) if first > from_lsn => {
                from_lsn = first;
                continue;
            }
            records => records?,
        };
        let Some((last, _)) = records.last() else {
            break;
        };
        from_lsn = last + 1;
        for (lsn, bytes) in records {
            let Some((lsn, commit)) = parts.push(lsn, &bytes)? else {
                continue;
            };
            let deltas = commit
                .lanes
                .into_iter()
                .filter(|delta| delta.lane.as_ref() == Some(lane));
            let found = deltas.flat_map(|delta| delta.rows.into_iter().chain(delta.relocated));
            let found = found.filter(|row| (wanted.first..=wanted.last).contains(&row.seq));
            rows.extend(found.map(|row| (lsn, row)));
        }
    }
    rows.sort_by_key(|(lsn, row)| (row.seq, *lsn));
    rows.dedup_by_key(|(_, row)| row.seq);
    Ok(rows)
}
