//! The threads that do the mill's disk work: one appends to the journal and syncs it, one writes ponds,
//! one reads rows back. None of them ever waits for the loop, which they wake when they are done.

mod checkpoints;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::AgentError;
use super::wake::Waker;
use crate::emission::{LaneId, Row};
use crate::heartbeat::{Heartbeats, Pulse, WORK_WITHIN, join_by};
use crate::journal::{
    Appended, DirectoryDisk, Journal, JournalError, Reader, SalvageError, Writer, WriterState,
};
use crate::mill::{Checkpoint, Input, Room};
use crate::outbox::Wanted;
use crate::pond::Ponds;
use crate::record::{Commit, Parts, RecordError};
use crate::recovery::Reserve;

use checkpoints::CheckpointState;

/// Bytes of journal that are read at once.
const READ_BYTES: usize = 1 << 20;

/// Requests that may wait for a thread; the mill has at most one checkpoint and one read for each lane
/// under way.
const WAITING_MAX: usize = 64;

/// Rows that could not be read so often never can be: one sector of a card may be gone for good.
const FAILURES_MAX: u32 = 3;

/// Reads whose failures are counted at once; beyond it all counts begin anew.
const FAILED_READS_MAX: usize = 256;

/// So many records at once are looked at behind the last one wanted, for the rest of its commit.
const PARTS_AT_ONCE: u64 = 64;

/// Time until rows are read again that could not be, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What the threads have done and the mill has not heard yet.
type Done = Arc<Mutex<Vec<Input>>>;

/// Carries out the mill's disk work.
pub(super) struct Storage {
    writer: Writer<DirectoryDisk>,
    state: Arc<WriterState>,
    durable_lsn: u64,
    /// Commits that the journal's thread had no room for.
    unsent: VecDeque<(u64, Vec<u8>)>,
    unsent_bytes: u64,
    checkpoints: Arc<CheckpointState>,
    /// What the mill was told last.
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
        let state = Arc::<CheckpointState>::default();
        let reserve = Reserve::find(data_dir);
        let keeper = checkpoints::Keeper::new(ponds, reserve, Arc::clone(&state), tell_pond);
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (pond, readback) = (heartbeats.pulse("pond"), heartbeats.pulse("readback"));
        let threads = vec![
            spawn("pond").spawn(move || keeper.run(&checkpoints, &pond))?,
            spawn("readback").spawn(move || read_back(reader, &reads, &readback, tell_read))?,
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
    pub(super) fn append(&mut self, lsn: u64, bytes: Vec<u8>) {
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

    /// What is left of the journal beyond what is on its way there.
    fn left(&self) -> u64 {
        self.state.room().saturating_sub(self.unsent_bytes)
    }

    fn room(&self) -> Room {
        let (left, reserve) = (self.left(), self.state.reserve());
        if self.state.is_stalled() || (self.state.lacks_spare() && left < reserve / 2) {
            return Room::Last;
        }
        match self.lacks_room().is_some() {
            true => Room::Short,
            false => Room::Plenty,
        }
    }

    /// `true` if what is taken in could be written without touching what is kept for the time when the disk
    /// is full.
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

fn read_back(
    mut reader: Reader<DirectoryDisk>,
    reads: &Receiver<Read>,
    pulse: &Pulse,
    tell: impl Fn(Input),
) {
    let mut failures = Failures::default();
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
        let read = if failures.are_too_many(&lane, &wanted) {
            // What stands in a segment that cannot be opened is whole, for all that can be said.
            let rows = rows_that_are_whole(&mut reader, &lane, &wanted);
            rows.inspect(|_| {
                error!(%lane, "rows cannot be read back from the journal: what is whole of them goes on");
            })
            .map_err(Into::into)
        } else {
            rows_of(&mut reader, &lane, &wanted)
        };
        match read {
            Ok(rows) => {
                failures.forget(&lane, &wanted);
                tell(Input::RowsRead {
                    lane,
                    rows,
                    relocate,
                });
            }
            Err(error) => {
                let rest = failures.count(&lane, &wanted);
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

/// How often rows could not be read, by lane and numbers: several lanes may fail in turn over one bad
/// record, and each has to come to its end.
#[derive(Debug, Default)]
struct Failures(BTreeMap<(LaneId, u64, u64), u32>);

impl Failures {
    /// `true` when these rows have failed so often that what is whole of them has to do.
    fn are_too_many(&self, lane: &LaneId, wanted: &Wanted) -> bool {
        let times = self.0.get(&Self::key(lane, wanted));
        times.is_some_and(|times| *times >= FAILURES_MAX)
    }

    /// Counts one more failure, and says after what time to try again.
    fn count(&mut self, lane: &LaneId, wanted: &Wanted) -> Duration {
        // Rows that a lane gave up meanwhile are never asked for again.
        if self.0.len() >= FAILED_READS_MAX {
            self.0.clear();
        }
        let times = self.0.entry(Self::key(lane, wanted)).or_default();
        *times = times.saturating_add(1);
        let (first, most) = RETRY;
        let longer = 1 << times.saturating_sub(FAILURES_MAX).min(8);
        (first * longer).min(most)
    }

    fn forget(&mut self, lane: &LaneId, wanted: &Wanted) {
        if !self.0.is_empty() {
            self.0.remove(&Self::key(lane, wanted));
        }
    }

    fn key(lane: &LaneId, wanted: &Wanted) -> (LaneId, u64, u64) {
        (lane.clone(), wanted.first, wanted.last)
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
            rows.extend(found_in(commit, lsn, lane, wanted));
        }
    }
    Ok(in_order(rows))
}

/// As [`rows_of`], as far as the records with them are whole.
fn rows_that_are_whole(
    reader: &mut Reader<DirectoryDisk>,
    lane: &LaneId,
    wanted: &Wanted,
) -> Result<Vec<(u64, Row)>, JournalError> {
    let (mut rows, mut parts) = (Vec::new(), Parts::default());
    let mut range = (wanted.from_lsn, wanted.to_lsn);
    loop {
        let mut last_lsn = None;
        let read = reader.read_what_is_whole(range, |lsn, bytes| {
            last_lsn = Some(lsn);
            if let Some((lsn, commit)) = parts.push(lsn, bytes)? {
                rows.extend(found_in(commit, lsn, lane, wanted));
            }
            Ok::<_, RecordError>(())
        });
        match read {
            Ok(()) => {}
            Err(SalvageError::Unopened(error)) => return Err(error),
            Err(SalvageError::Visit(error)) => {
                error!(%lane, "a record of the journal cannot be used: {error}");
                return Ok(in_order(rows));
            }
        }
        // A commit of several records goes by its first one. Where the next of them is missing, so is it.
        let is_cut = parts.began().is_some_and(|lsn| lsn <= wanted.to_lsn);
        if !is_cut || last_lsn != Some(range.1) {
            return Ok(in_order(rows));
        }
        range = (range.1 + 1, range.1.saturating_add(PARTS_AT_ONCE));
    }
}

fn found_in(
    commit: Commit,
    lsn: u64,
    lane: &LaneId,
    wanted: &Wanted,
) -> impl Iterator<Item = (u64, Row)> {
    let deltas = commit.lanes.into_iter();
    let deltas = deltas.filter(move |delta| delta.lane.as_ref() == Some(lane));
    let found = deltas.flat_map(|delta| delta.rows.into_iter().chain(delta.relocated));
    let is_wanted = move |row: &Row| (wanted.first..=wanted.last).contains(&row.seq);
    found.filter(is_wanted).map(move |row| (lsn, row))
}

fn in_order(mut rows: Vec<(u64, Row)>) -> Vec<(u64, Row)> {
    rows.sort_by_key(|(lsn, row)| (row.seq, *lsn));
    rows.dedup_by_key(|(_, row)| row.seq);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emission::Priority;

    #[test]
    fn lanes_that_fail_in_turn_over_one_record_both_come_to_an_end() {
        let lane = |name: &str| LaneId {
            destination: name.into(),
            priority: Priority::Normal,
        };
        let wanted = Wanted {
            first: 1,
            last: 9,
            from_lsn: 4,
            to_lsn: 5,
        };
        let mut failures = Failures::default();
        for _ in 0..FAILURES_MAX {
            for name in ["a", "b"] {
                assert!(!failures.are_too_many(&lane(name), &wanted), "{name}");
                assert_eq!(failures.count(&lane(name), &wanted), RETRY.0);
            }
        }
        assert!(failures.are_too_many(&lane("a"), &wanted));
        assert!(failures.are_too_many(&lane("b"), &wanted));
        failures.forget(&lane("a"), &wanted);
        assert!(!failures.are_too_many(&lane("a"), &wanted), "anew");
        failures.forget(&lane("b"), &wanted);
        assert!(failures.0.is_empty());
    }

    #[test]
    fn what_can_never_be_read_is_tried_less_and_less_often() {
        let lane: LaneId = "cloud/normal".parse().unwrap();
        let wanted = Wanted {
            first: 1,
            last: 9,
            from_lsn: 4,
            to_lsn: 5,
        };
        let mut failures = Failures::default();
        let rests = (0..12).map(|_| failures.count(&lane, &wanted).as_secs());
        let rests: Vec<u64> = rests.collect();
        assert_eq!(rests, [1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }

    #[test]
    fn rows_of_a_commit_of_any_number_of_records_are_found_beside_one_that_is_lost() {
        let temp = tempfile::tempdir().unwrap();
        let mut journal =
            crate::journal::open_in(temp.path(), 1 << 20, (0, 0), |_, _| Ok(())).unwrap();
        let lane: LaneId = "cloud/normal".parse().unwrap();
        let row = |seq: u64, bytes: usize| Row {
            seq,
            rule: "r".into(),
            topic: crate::topic::Topic::new("t").unwrap(),
            payload: vec![b'x'; bytes].into(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        };
        let commit = |rows: Vec<Row>| Commit {
            lanes: vec![crate::record::LaneDelta {
                lane: Some(lane.clone()),
                rows,
                ..Default::default()
            }],
            ..Commit::default()
        };
        journal
            .append(1, &commit(vec![row(1, 10)]).encode())
            .unwrap();
        let long = commit(vec![row(2, 400_000)]).encode();
        let parts = crate::record::cut(long, 1_000);
        assert!(parts.len() > 6 * PARTS_AT_ONCE as usize);
        for (lsn, part) in (2..).zip(&parts) {
            journal.append(lsn, part).unwrap();
        }
        journal.sync().unwrap();
        let wanted = Wanted {
            first: 1,
            last: 2,
            from_lsn: 1,
            to_lsn: 2,
        };
        let mut reader = journal.reader();
        let expected = [(1, row(1, 10)), (2, row(2, 400_000))];
        let rows = rows_that_are_whole(&mut reader, &lane, &wanted).unwrap();
        assert!(rows == expected, "{} rows", rows.len());
        // The first record is lost: the long commit is there still.
        let path = temp.path().join("journal/00000001.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(10).position(|ten| ten == [b'x'; 10]).unwrap();
        bytes[at] = b'y';
        std::fs::write(&path, bytes).unwrap();
        let rows = rows_that_are_whole(&mut reader, &lane, &wanted).unwrap();
        assert!(rows == expected[1..], "{} rows", rows.len());
    }

    #[test]
    fn rows_of_a_segment_that_cannot_be_opened_for_a_while_are_not_lost() {
        let temp = tempfile::tempdir().unwrap();
        let mut journal =
            crate::journal::open_in(temp.path(), 1 << 16, (0, 0), |_, _| Ok(())).unwrap();
        let lane: LaneId = "cloud/normal".parse().unwrap();
        let row = Row {
            seq: 1,
            rule: "r".into(),
            topic: crate::topic::Topic::new("t").unwrap(),
            payload: "x".to_owned().into(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        };
        let delta = crate::record::LaneDelta {
            lane: Some(lane.clone()),
            rows: vec![row.clone()],
            ..Default::default()
        };
        let commit = Commit {
            lanes: vec![delta],
            ..Commit::default()
        };
        journal.append(1, &commit.encode()).unwrap();
        journal.sync().unwrap();
        let wanted = Wanted {
            first: 1,
            last: 1,
            from_lsn: 1,
            to_lsn: 1,
        };
        let mut reader = journal.reader();
        let path = temp.path().join("journal/00000001.seg");
        let aside = temp.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        // A link to itself cannot be opened, also not by root, and is no file that is gone.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(rows_of(&mut reader, &lane, &wanted).is_err());
        assert!(rows_that_are_whole(&mut reader, &lane, &wanted).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        let rows = rows_that_are_whole(&mut reader, &lane, &wanted).unwrap();
        assert_eq!(rows, [(1, row)]);
    }
}
