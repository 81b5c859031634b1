//! Schedule of checkpoints, and the part of the journal that may be recycled after them. Two state
//! databases are written in turn, each with everything up to one commit; the journal is kept from
//! the older one's commit on.

use crate::commit::image::Written;
use crate::event::clock::Now;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

use super::output::Checkpoint;

/// Longest time between checkpoints while something happens.
const INTERVAL_MS: u64 = 600_000;

/// A checkpoint that failed is tried again after this time.
const RETRY_MS: u64 = 5_000;

/// Time between checkpoints while the disk has no room: only they make room again.
const SHORT_INTERVAL_MS: u64 = 1_000;

/// Most bytes of journal between two checkpoints, however much a checkpoint costs.
const BYTES_MAX: u64 = 64 << 20;

/// A checkpoint may cost this part of the journal that it makes room for.
const COST_DIVISOR: u64 = 4;

/// State of the two databases and of the checkpoints into them.
#[derive(Debug)]
pub(super) struct Checkpoints {
    bytes_min: u64,
    /// Bytes appended since the last checkpoint began; before the first one, all there are.
    appended: u64,
    /// Bytes that the last checkpoint wrote.
    last_cost: u64,
    began_mono_ms: u64,
    retry_mono_ms: Option<u64>,
    changed: bool,
    wanted: bool,
    /// The pond that is written next.
    next: usize,
    /// `None`: nothing that is known.
    written: [Option<Written>; 2],
    /// Ponds that are written whole the next time.
    whole: [bool; 2],
    running: Option<Running>,
    /// Bytes of journal appended in all, and how many there were after some commits.
    total: u64,
    marks: Vec<(Lsn, u64)>,
    /// `true` if rows pin segments of the journal that hold little else.
    relocating: bool,
    /// `true` if the disk has no room.
    short: bool,
    /// `true` for the second of two checkpoints, which follows at once while the disk has no room.
    is_second: bool,
    /// For each pond, how many numbered entries of each kind it has.
    numbered: [(u32, u32); 2],
}

/// Commits whose place in the journal is remembered; beyond it every other one is.
const MARKS_MAX: usize = 256;

impl Written {
    /// The first commit that is needed beside another pond with everything up to `lsn`, whose oldest waiting
    /// row is that of commit `oldest_row_lsn`.
    fn needed_with(self, lsn: Lsn, oldest_row_lsn: Option<Lsn>) -> Lsn {
        let rows = [self.oldest_row_lsn, oldest_row_lsn];
        let ponds = self.lsn.min(lsn) + 1;
        rows.into_iter().flatten().fold(ponds, Lsn::min)
    }
}

#[derive(Debug)]
struct Running {
    written: Written,
    /// The checkpoint, until its commit is durable.
    waits: Option<Checkpoint>,
}

impl Checkpoints {
    /// `from_lsn` and `bytes` tell where the journal begins and how much of it there is.
    pub(super) fn new(bytes_min: u64, from_lsn: Lsn, last_lsn: Lsn, bytes: u64, now: Now) -> Self {
        Self {
            relocating: false,
            short: false,
            is_second: false,
            numbered: [(0, 0); 2],
            bytes_min,
            // Bytes left by earlier processes count: a process that never lives long would
            // otherwise never make room.
            appended: bytes,
            last_cost: 0,
            began_mono_ms: now.mono_ms,
            retry_mono_ms: None,
            changed: false,
            wanted: false,
            next: 0,
            written: [None; 2],
            whole: [true; 2],
            running: None,
            total: bytes,
            marks: vec![(from_lsn, 0), (last_lsn, bytes)],
        }
    }

    /// The first checkpoint goes to this pond: the older one, or the one that was damaged. What is
    /// known of the other one, if it was written.
    pub(super) fn begin_with(&mut self, pond: usize, newest: Option<Written>) {
        self.next = pond;
        if let Some(written) = self.written.get_mut(1 - pond) {
            *written = newest;
        }
    }

    pub(super) fn appended(&mut self, bytes: usize) {
        self.appended += bytes as u64;
        self.total += bytes as u64;
        self.changed = true;
    }

    /// Notes that rules came and went: nobody knows any more what a database holds of them.
    pub(super) fn deployed(&mut self) {
        self.whole = [true; 2];
    }

    /// `true` if the disk has no room.
    pub(super) fn set_short(&mut self, short: bool) {
        // Rows may be worth writing again that were not while there was room.
        self.relocating |= short && !self.short;
        self.short = short;
    }

    fn interval_ms(&self) -> u64 {
        if self.short {
            SHORT_INTERVAL_MS
        } else {
            INTERVAL_MS
        }
    }

    /// Asks for a checkpoint now.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Returns `true` if no checkpoint is running or wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && !self.wanted
    }

    pub(super) fn next_due_mono_ms(&self) -> Option<u64> {
        let due = self
            .retry_mono_ms
            .unwrap_or(self.began_mono_ms + self.interval_ms());
        (self.changed && self.running.is_none()).then_some(due)
    }

    /// Returns `true` if a checkpoint is to be made now.
    pub(super) fn is_due(&self, now: Now) -> bool {
        if self.running.is_some() || self.retry_mono_ms.is_some_and(|at| at > now.mono_ms) {
            return false;
        }
        let bytes = self
            .last_cost
            .saturating_mul(COST_DIVISOR)
            .clamp(self.bytes_min, BYTES_MAX.max(self.bytes_min));
        self.wanted
            || self.changed
                && (self.appended >= bytes
                    || now.mono_ms >= self.began_mono_ms + self.interval_ms())
    }

    /// An empty checkpoint for the pond whose turn it is.
    pub(super) fn begin(&self, lsn: Lsn) -> Checkpoint {
        Checkpoint {
            pond: self.next,
            lsn,
            full: self.whole.get(self.next).is_none_or(|whole| *whole),
            ..Checkpoint::default()
        }
    }

    /// Sets the numbers of entries of receipts and event ids that a database is about to have;
    /// returns those that it had.
    pub(super) fn numbered(&mut self, pond: usize, counts: (u32, u32)) -> (u32, u32) {
        let numbered = self.numbered.get_mut(pond);
        numbered.map_or((0, 0), |numbered| std::mem::replace(numbered, counts))
    }

    /// Returns `true` if rows may have to be written again.
    pub(super) fn is_relocating(&self) -> bool {
        self.relocating
    }

    /// Hands over the filled checkpoint, which waits for its commit.
    pub(super) fn filled(&mut self, checkpoint: Checkpoint, oldest_row_lsn: Option<Lsn>, now: Now) {
        let cost = |(key, value): &(Vec<u8>, Vec<u8>)| (key.len() + value.len()) as u64;
        self.last_cost = checkpoint.puts.iter().map(cost).sum();
        let written = Written {
            lsn: checkpoint.lsn,
            oldest_row_lsn,
        };
        self.marks.push((checkpoint.lsn, self.total));
        if let Some(whole) = self.whole.get_mut(checkpoint.pond) {
            *whole = false;
        }
        self.running = Some(Running {
            written,
            waits: Some(checkpoint),
        });
        self.appended = 0;
        self.began_mono_ms = now.mono_ms;
        self.retry_mono_ms = None;
        (self.wanted, self.changed) = (false, false);
    }

    /// The checkpoint, once its commit is durable.
    pub(super) fn take(&mut self, durable_lsn: Lsn) -> Option<Checkpoint> {
        let running = self.running.as_mut()?;
        let may =
            running.written.lsn <= durable_lsn || sabotage::is(Sabotage::CheckpointAheadOfDurable);
        if may { running.waits.take() } else { None }
    }

    /// Notes that the checkpoint could not be written: its database has to be written anew.
    pub(super) fn failed(&mut self, now: Now) {
        if self.running.take().is_some() {
            if let (Some(written), Some(whole)) = (
                self.written.get_mut(self.next),
                self.whole.get_mut(self.next),
            ) {
                (*written, *whole) = (None, true);
            }
            (self.wanted, self.changed) = (true, true);
            self.retry_mono_ms = Some(now.mono_ms + RETRY_MS);
        }
    }

    /// Notes that the checkpoint is complete. `oldest_row_lsn` is the earliest commit with a row
    /// that waits at present. Returns the first commit that is still needed, once both databases
    /// are written.
    pub(super) fn complete(&mut self, pond: usize, oldest_row_lsn: Option<Lsn>) -> Option<Lsn> {
        let running = self.running.take()?;
        *self.written.get_mut(pond)? = Some(running.written);
        self.next = 1 - pond;
        // Room is made by the second of two: the journal is kept for the older one.
        self.is_second = self.short && !self.is_second;
        self.wanted |= self.is_second;
        let [Some(a), Some(b)] = self.written else {
            return None;
        };
        self.relocating = true;
        // Cursors of the checkpoint are durable; those of now may not be.
        let below = if sabotage::is(Sabotage::RecyclingOnVolatileCursor) {
            Written {
                oldest_row_lsn,
                ..running.written
            }
            .needed_with(a.lsn.min(b.lsn), None)
        } else {
            a.needed_with(b.lsn, b.oldest_row_lsn)
        };
        // Where rows that the older pond knows of do not wait any more, or it is far behind, the next
        // checkpoint makes room, also if nothing happens until then: without room nothing does.
        let next = running.written;
        self.changed |= self.short && next.needed_with(next.lsn, oldest_row_lsn) > below;
        Some(below)
    }

    /// The commit before which rows should be written again, because they alone pin much more of
    /// the journal than their own size: more than `pinned_max` bytes.
    pub(super) fn relocate_before(
        &mut self,
        oldest_row: Option<Lsn>,
        pinned_max: u64,
    ) -> Option<Lsn> {
        let [Some(a), Some(b)] = self.written else {
            return None;
        };
        if !self.relocating {
            return None;
        }
        let floor = a.lsn.min(b.lsn) + 1;
        let needed = oldest_row.unwrap_or(floor).min(floor);
        let place = |lsn: Lsn| {
            let before = self.marks.iter().rev().find(|(mark, _)| *mark <= lsn);
            before.map_or(0, |(_, at)| *at)
        };
        let pinned = place(floor - 1).saturating_sub(place(needed));
        self.relocating = needed < floor && pinned > pinned_max;
        let first = self
            .marks
            .iter()
            .rposition(|(mark, _)| *mark <= needed)
            .unwrap_or(0);
        self.marks.drain(..first);
        if self.marks.len() > MARKS_MAX {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.relocating.then_some(floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 0,
            ..Now::default()
        }
    }

    fn write(checkpoints: &mut Checkpoints, lsn: Lsn, oldest_row: Option<Lsn>) -> Option<Lsn> {
        checkpoints.want();
        assert!(checkpoints.is_due(now(0)));
        let checkpoint = checkpoints.begin(lsn);
        let pond = checkpoint.pond;
        checkpoints.filled(checkpoint, oldest_row, now(0));
        assert!(checkpoints.take(lsn - 1).is_none());
        assert!(checkpoints.take(lsn).is_some());
        checkpoints.complete(pond, oldest_row)
    }

    #[test]
    fn the_journal_is_kept_from_the_older_pond_and_the_oldest_row_on() {
        let mut checkpoints = Checkpoints::new(1_000, Lsn::new(0), Lsn::new(0), 0, now(0));
        assert_eq!(write(&mut checkpoints, Lsn::new(10), None), None);
        assert_eq!(
            write(&mut checkpoints, Lsn::new(20), None),
            Some(Lsn::new(11))
        );
        assert_eq!(
            write(&mut checkpoints, Lsn::new(30), Some(Lsn::new(5))),
            Some(Lsn::new(5))
        );
        assert_eq!(
            write(&mut checkpoints, Lsn::new(40), None),
            Some(Lsn::new(5))
        );
        assert_eq!(
            write(&mut checkpoints, Lsn::new(50), None),
            Some(Lsn::new(41))
        );
    }

    #[test]
    fn after_a_start_one_checkpoint_makes_room() {
        let mut checkpoints = Checkpoints::new(1_000, Lsn::new(0), Lsn::new(0), 0, now(0));
        let newest = Written {
            lsn: Lsn::new(7),
            oldest_row_lsn: Some(Lsn::new(3)),
        };
        checkpoints.begin_with(1, Some(newest));
        assert_eq!(
            write(&mut checkpoints, Lsn::new(10), None),
            Some(Lsn::new(3))
        );
        assert_eq!(
            write(&mut checkpoints, Lsn::new(20), None),
            Some(Lsn::new(11))
        );
    }

    #[test]
    fn each_pond_is_written_whole_first_and_after_a_failure() {
        let mut checkpoints = Checkpoints::new(1_000, Lsn::new(0), Lsn::new(0), 0, now(0));
        assert!(checkpoints.begin(Lsn::new(1)).full);
        write(&mut checkpoints, Lsn::new(1), None);
        assert!(checkpoints.begin(Lsn::new(2)).full);
        write(&mut checkpoints, Lsn::new(2), None);
        assert!(!checkpoints.begin(Lsn::new(3)).full);
        checkpoints.filled(checkpoints.begin(Lsn::new(3)), None, now(0));
        checkpoints.failed(now(0));
        assert!(checkpoints.begin(Lsn::new(4)).full && !checkpoints.is_due(now(4_999)));
        assert!(checkpoints.is_due(now(5_000)));
    }

    #[test]
    fn on_a_full_disk_checkpoints_go_on_until_they_make_no_more_room() {
        // The first one of all, or the first after a failure: the journal is kept for the other pond.
        let mut checkpoints = Checkpoints::new(1_000, Lsn::new(0), Lsn::new(0), 0, now(0));
        checkpoints.set_short(true);
        assert_eq!(write(&mut checkpoints, Lsn::new(10), None), None);
        assert!(checkpoints.is_due(now(0)));
        assert_eq!(
            write(&mut checkpoints, Lsn::new(10), None),
            Some(Lsn::new(11))
        );
        assert!(!checkpoints.is_due(now(600_000)));
        // Rows that were delivered after a checkpoint that knows of them.
        checkpoints.want();
        let checkpoint = checkpoints.begin(Lsn::new(20));
        checkpoints.filled(checkpoint, Some(Lsn::new(5)), now(0));
        assert!(checkpoints.take(Lsn::new(20)).is_some());
        assert_eq!(checkpoints.complete(0, None), Some(Lsn::new(5)));
        assert!(checkpoints.is_due(now(0)));
        assert_eq!(
            write(&mut checkpoints, Lsn::new(20), None),
            Some(Lsn::new(5))
        );
        assert!(!checkpoints.is_due(now(999)) && checkpoints.is_due(now(1_000)));
        assert_eq!(checkpoints.next_due_mono_ms(), Some(1_000));
        assert_eq!(
            write(&mut checkpoints, Lsn::new(20), None),
            Some(Lsn::new(21))
        );
    }

    #[test]
    fn small_rows_do_not_keep_much_journal() {
        let mut checkpoints = Checkpoints::new(1_000, Lsn::new(0), Lsn::new(0), 0, now(0));
        for lsn in 1..=10 {
            checkpoints.appended(5 << 20);
            write(&mut checkpoints, Lsn::new(lsn), Some(Lsn::new(1)));
        }
        assert_eq!(
            checkpoints.relocate_before(Some(Lsn::new(1)), 16 << 20),
            Some(Lsn::new(10))
        );
        assert_eq!(
            checkpoints.relocate_before(Some(Lsn::new(10)), 16 << 20),
            None
        );
    }
}
