//! The thread that owns the journal. It writes everything that waits, syncs once for all of it, and
//! publishes the highest durable LSN. It never waits for the agent: records come over a bounded
//! channel, and its state is in [`WriterState`], with a wake-up for the reader.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::disk::Disk;
use super::error::JournalError;
use super::latency::Latencies;
use super::{Journal, Reader};
use tidemill_base::heartbeat::{Pulse, WORK_WITHIN, join_by};
use tidemill_base::number::Lsn;

/// Records that may wait for the thread; beyond that, [`Writer::append`] gives them back.
const RECORDS_MAX: usize = 64;

/// Bytes that may wait for the thread; beyond that as well.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Interval between attempts to write when the disk is full.
const RETRY: Duration = Duration::from_millis(200);

/// Interval between attempts to create a spare segment after a failure.
const SPARE_RETRY: Duration = Duration::from_secs(1);

/// Interval between log lines about a full disk.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Outcome of handing a record to the thread.
#[derive(Debug, PartialEq, Eq)]
pub enum Appended {
    /// Accepted; waits to be written.
    Taken,
    /// Refused, because too much is waiting; to be handed over again later.
    Full(Vec<u8>),
    /// The thread has ended: see [`WriterState::failure`].
    Ended,
}

/// The state published by the thread.
#[derive(Debug, Default)]
pub struct WriterState {
    durable_lsn: AtomicU64,
    first_lsn: AtomicU64,
    bytes: AtomicU64,
    bytes_waiting: AtomicU64,
    recycle_below: AtomicU64,
    room: AtomicU64,
    reserve: AtomicU64,
    lacks_spare: AtomicBool,
    is_stalled: AtomicBool,
    is_stopping: AtomicBool,
    has_ended: AtomicBool,
    failure: OnceLock<Arc<JournalError>>,
    latencies: Mutex<Latencies>,
}

impl WriterState {
    /// The highest durable LSN.
    pub fn durable_lsn(&self) -> Lsn {
        Lsn::new(self.durable_lsn.load(Ordering::Acquire))
    }

    /// The oldest record.
    pub fn first_lsn(&self) -> Lsn {
        Lsn::new(self.first_lsn.load(Ordering::Acquire))
    }

    /// Bytes from the beginning of the journal to its end.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Bytes that can be written without asking the disk for more room, less those that wait to be.
    pub fn room(&self) -> u64 {
        let waiting = self.bytes_waiting.load(Ordering::Acquire);
        self.room.load(Ordering::Acquire).saturating_sub(waiting)
    }

    /// Part of that room reserved for the records that make room again.
    pub fn reserve(&self) -> u64 {
        self.reserve.load(Ordering::Acquire)
    }

    /// `true` if the disk has no room for a segment that should be there before it is needed.
    pub fn lacks_spare(&self) -> bool {
        self.lacks_spare.load(Ordering::Acquire)
    }

    /// `true` if records wait because the disk is full.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Acquire)
    }

    /// `true` if the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Why the thread has ended, if it was not asked to. Nothing more becomes durable: the process has
    /// to end.
    pub fn failure(&self) -> Option<Arc<JournalError>> {
        self.failure.get().cloned()
    }

    /// Latencies of records from hand-over to durable.
    pub fn latencies(&self) -> Latencies {
        *self.lock_latencies()
    }

    fn lock_latencies(&self) -> MutexGuard<'_, Latencies> {
        // One that panicked while counting has spoilt a count at most.
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

enum Command {
    Append {
        lsn: Lsn,
        bytes: Vec<u8>,
        since: Instant,
    },
    /// Look at what is asked for in the state.
    Look,
}

/// The thread that owns the journal, as the agent sees it.
pub struct Writer<D: Disk> {
    commands: SyncSender<Command>,
    state: Arc<WriterState>,
    reader: Reader<D>,
    thread: JoinHandle<()>,
}

impl<D> Writer<D>
where
    D: Disk + Send + 'static,
    D::File: Send,
{
    /// Starts the thread, which `pulse` is the heartbeat of. `wake` is called, there, whenever the state
    /// says something new; it must not wait for anything.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        journal: Journal<D>,
        pulse: Pulse,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (commands, receiver) = sync_channel(RECORDS_MAX);
        let state = Arc::new(WriterState::default());
        let reader = journal.reader();
        let thread = WriterThread {
            journal,
            receiver,
            state: Arc::clone(&state),
            pending: VecDeque::new(),
            written: Vec::new(),
            said: None,
            spare_failed: None,
            pulse,
            said_spare: None,
            wake: Arc::new(wake),
        };
        thread.publish();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            commands,
            state,
            reader,
            thread,
        })
    }

    /// Hands the next record over. Never waits.
    pub fn append(&self, lsn: Lsn, bytes: Vec<u8>) -> Appended {
        let len = bytes.len() as u64;
        let waiting = self.state.bytes_waiting.load(Ordering::Acquire);
        // One record is taken in any case, however long.
        if waiting > 0 && waiting + len > BYTES_MAX {
            return Appended::Full(bytes);
        }
        self.state.bytes_waiting.fetch_add(len, Ordering::AcqRel);
        let since = Instant::now();
        let command = Command::Append { lsn, bytes, since };
        let refused = match self.commands.try_send(command) {
            Ok(()) => return Appended::Taken,
            Err(TrySendError::Full(Command::Append { bytes, .. })) => Appended::Full(bytes),
            Err(_) => Appended::Ended,
        };
        self.state.bytes_waiting.fetch_sub(len, Ordering::AcqRel);
        refused
    }

    /// Asks for segments with records below `below_lsn` only to be given up.
    pub fn recycle(&self, below_lsn: Lsn) {
        self.state
            .recycle_below
            .fetch_max(below_lsn.get(), Ordering::AcqRel);
        // If the queue is full, the thread is awake and looks by itself.
        let _ = self.commands.try_send(Command::Look);
        self.thread.thread().unpark();
    }

    /// The state published by the thread.
    pub fn state(&self) -> Arc<WriterState> {
        Arc::clone(&self.state)
    }

    /// Reads records back.
    pub fn reader(&self) -> Reader<D> {
        self.reader.clone()
    }

    /// Waits until everything handed over is durable, and ends the thread. On a full disk it does
    /// not wait for room: records that were not durable then are lost, and nobody was told that
    /// they were durable.
    ///
    /// # Errors
    /// When the journal failed.
    pub fn stop(self) -> Result<Lsn, Arc<JournalError>> {
        let state = self.state();
        if let Err(panic) = self.end().join() {
            std::panic::resume_unwind(panic);
        }
        state.failure().map_or(Ok(state.durable_lsn()), Err)
    }

    /// Like [`Writer::stop`], but with a deadline: `None` if the disk has not accepted everything
    /// by then.
    pub fn stop_by(self, deadline: Instant) -> Option<Result<Lsn, Arc<JournalError>>> {
        let state = self.state();
        if let Err(panic) = join_by(self.end(), deadline)? {
            std::panic::resume_unwind(panic);
        }
        Some(state.failure().map_or(Ok(state.durable_lsn()), Err))
    }

    /// Lets the thread end.
    fn end(self) -> JoinHandle<()> {
        let Self {
            commands,
            state,
            thread,
            ..
        } = self;
        state.is_stopping.store(true, Ordering::Release);
        drop(commands);
        thread.thread().unpark();
        thread
    }
}

struct WriterThread<D: Disk> {
    journal: Journal<D>,
    receiver: Receiver<Command>,
    state: Arc<WriterState>,
    /// Taken from the channel, not appended.
    pending: VecDeque<(Lsn, Vec<u8>, Instant)>,
    /// Appended, not synced: since when they wait.
    written: Vec<Instant>,
    /// Time of the last log line about a full disk.
    said: Option<Instant>,
    /// Times of the last failure to create a spare segment, and of the last log line about it.
    spare_failed: Option<Instant>,
    said_spare: Option<Instant>,
    pulse: Pulse,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// Says that the thread has ended, even if it panicked.
struct SayEnd {
    state: Arc<WriterState>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for SayEnd {
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::Release);
        (self.wake)();
    }
}

impl<D: Disk> WriterThread<D> {
    fn run(self) {
        let _end = SayEnd {
            state: Arc::clone(&self.state),
            wake: Arc::clone(&self.wake),
        };
        // Closes the channel before the end is told.
        let mut thread = self;
        if let Err(failure) = thread.work() {
            // Nobody else sets it.
            let _ = thread.state.failure.set(Arc::new(failure));
        }
    }

    fn work(&mut self) -> Result<(), JournalError> {
        while self.take() {
            let appended = self.append_all();
            // Records that found room are made durable, whatever came after them.
            let committed = self.commit();
            let is_full = match appended {
                Ok(()) => false,
                Err(error) if error.is_stall() => true,
                Err(error) => return Err(error),
            };
            committed?;
            self.recycle()?;
            self.stall(is_full);
            if !is_full {
                self.prepare_spare();
            } else if self.state.is_stopping.load(Ordering::Acquire) {
                warn!("{} records found no room", self.pending.len());
                return Ok(());
            } else {
                std::thread::park_timeout(RETRY);
            }
        }
        Ok(())
    }

    /// Waits for something to do, and takes everything that waits. `false` when nothing will come any
    /// more. While there is no room nothing is taken: the channel fills, and its sender notices.
    fn take(&mut self) -> bool {
        if !self.pending.is_empty() {
            self.pulse.works(WORK_WITHIN);
            return true;
        }
        self.pulse.rests();
        let first = match self.spare_is_due() {
            None => self
                .receiver
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(after) => self.receiver.recv_timeout(after),
        };
        let first = match first {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                self.pulse.works(WORK_WITHIN);
                return true;
            }
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        self.pulse.works(WORK_WITHIN);
        let waiting = std::iter::once(first).chain(self.receiver.try_iter());
        // A sender that is quick must not keep the sync waiting for ever.
        for command in waiting.take(RECORDS_MAX) {
            if let Command::Append { lsn, bytes, since } = command {
                self.pending.push_back((lsn, bytes, since));
            }
        }
        true
    }

    fn append_all(&mut self) -> Result<(), JournalError> {
        while let Some((lsn, bytes, since)) = self.pending.front() {
            self.journal.append(*lsn, bytes)?;
            self.written.push(*since);
            let len = bytes.len() as u64;
            self.state
                .room
                .store(self.journal.room(), Ordering::Release);
            self.state.bytes_waiting.fetch_sub(len, Ordering::AcqRel);
            self.pending.pop_front();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JournalError> {
        if self.written.is_empty() {
            return Ok(());
        }
        self.journal.sync()?;
        let mut latencies = self.state.lock_latencies();
        for since in self.written.drain(..) {
            latencies.enter(since.elapsed());
        }
        drop(latencies);
        self.publish();
        (self.wake)();
        Ok(())
    }

    fn recycle(&mut self) -> Result<(), JournalError> {
        let below_lsn = self.state.recycle_below.load(Ordering::Acquire);
        // Records that are not durable yet were not given up: they are examined after every commit.
        let before = self.journal.first_lsn();
        self.journal.recycle(Lsn::new(below_lsn))?;
        self.publish();
        if self.journal.first_lsn() != before {
            // There is more room than there was.
            (self.wake)();
        }
        Ok(())
    }

    fn publish(&self) {
        let state = &self.state;
        let order = Ordering::Release;
        state.first_lsn.store(self.journal.first_lsn().get(), order);
        state.bytes.store(self.journal.bytes(), order);
        state.room.store(self.journal.room(), order);
        state.reserve.store(self.journal.reserve_bytes(), order);
        if !self.journal.wants_spare() {
            state.lacks_spare.store(false, order);
        }
        state
            .durable_lsn
            .store(self.journal.durable_lsn().get(), order);
    }

    fn stall(&mut self, is_full: bool) {
        let was_full = self.state.is_stalled.swap(is_full, Ordering::AcqRel);
        if is_full && self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            warn!("the disk is full: nothing is taken in until the journal has room again");
        }
        if was_full && !is_full {
            self.said = None;
            info!("the journal has room again");
        }
        if was_full != is_full {
            (self.wake)();
        }
    }

    /// Time until a segment is to be made ahead, if one is wanted.
    fn spare_is_due(&self) -> Option<Duration> {
        let since = self.spare_failed.map(|at| at.elapsed());
        let after = since.map_or(Duration::ZERO, |since| SPARE_RETRY.saturating_sub(since));
        self.journal.wants_spare().then_some(after)
    }

    fn prepare_spare(&mut self) {
        if self.spare_is_due() != Some(Duration::ZERO) {
            return;
        }
        let made = self.journal.prepare_spare();
        self.spare_failed = made.is_err().then(Instant::now);
        if let Err(error) = &made
            && self.said_spare.is_none_or(|at| at.elapsed() >= SAY_EVERY)
        {
            self.said_spare = Some(Instant::now());
            warn!("no segment could be made ahead, trying again: {error}");
        }
        let lacks = made.is_err();
        let lacked = self.state.lacks_spare.swap(lacks, Ordering::AcqRel);
        self.publish();
        if lacks != lacked || !lacks {
            (self.wake)();
        }
    }
}
