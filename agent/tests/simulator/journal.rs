//! The journal's thread and the one that reads rows back, around the real journal on the model disk.

use std::collections::VecDeque;

use tidemill::commit::outbox::Wanted;
use tidemill::event::emission::{LaneId, Row};
use tidemill::mill::{Input, Room};
use tidemill::storage::readback::Unread;
use tidemill_base::number::Lsn;
use tidemill_journal::{JournalError, Seen, inspect};

use crate::coverage::Sight;
use crate::gateway::Process;
use crate::plan::Moment;
use crate::run::{Happening, Sim};

/// Bytes that are lost at once.
const SECTOR: u64 = 512;

/// Most bytes of a record besides its payload.
const HEAD_BYTES_MAX: u64 = 64;

/// A gateway rests so many times as long before it tries to read again: outages are shorter here, too.
const RESTS_SHORTER: u64 = 10;

/// Records that are written before a sync, at most.
const RECORDS_MAX: usize = 64;

/// Work of the journal's thread.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    waiting: VecDeque<(u64, Vec<u8>)>,
    syncing: bool,
    stalled: bool,
    /// Asked for, and done up to.
    recycle_below: u64,
    recycled_below: u64,
    /// The last commit that the mill has heard of.
    told_lsn: u64,
    told_room: Room,
    /// When it looks again.
    again_us: u64,
}

impl Writer {
    /// Returns `true` if nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.syncing
    }

    pub(crate) fn told_lsn(&self) -> u64 {
        self.told_lsn
    }

    pub(crate) fn is_recycling(&self) -> bool {
        self.recycled_below < self.recycle_below
    }
}

impl Sim<'_> {
    /// The mill hands a commit over.
    pub(crate) fn append(&mut self, lsn: u64, bytes: Vec<u8>) {
        self.say(format_args!("commit {lsn}, {} bytes", bytes.len()));
        if let Err(what) = self.shadow.appended(lsn, &bytes) {
            return self.fail("6: commits can be read", what);
        }
        if let Some(process) = &mut self.process {
            process.writer.waiting.push_back((lsn, bytes));
        }
        self.write_soon();
    }

    fn write_soon(&mut self) {
        let us = self.random.pick(&[0, 50, 1_000]);
        if let Some(process) = &self.process
            && !process.writer.syncing
            && !process.writer.stalled
        {
            self.agenda.after(us, Happening::JournalWrites(process.id));
        }
    }

    /// The thread writes what waits.
    pub(crate) fn journal_writes(&mut self, process: u64) {
        let span = self.setup.sync_us;
        let sync_us = self.random.between(span.0, span.1);
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        let writer = &mut process.writer;
        if writer.syncing {
            return;
        }
        writer.stalled = false;
        let mut written = 0;
        let mut failed = None;
        while let Some((lsn, bytes)) = writer.waiting.front() {
            match process.journal.append(Lsn::new(*lsn), bytes) {
                Ok(()) => {
                    writer.waiting.pop_front();
                    written += 1;
                }
                Err(error) if error.is_stall() => {
                    writer.stalled = true;
                    break;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if written >= RECORDS_MAX {
                break;
            }
        }
        let (id, stalled) = (process.id, writer.stalled);
        writer.syncing = written > 0 && failed.is_none();
        if let Some(error) = failed {
            return self.journal_failed(&error);
        }
        if stalled {
            self.disk_failed = true;
            self.say(format_args!("the journal has no room"));
            self.write_later(id, 200_000);
        }
        if written > 0 {
            self.agenda.after(sync_us, Happening::JournalSyncs(id));
            self.moment(Moment::Written);
        } else {
            self.look_after_segments();
        }
    }

    /// The sync returns.
    pub(crate) fn journal_syncs(&mut self, process: u64) {
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        process.writer.syncing = false;
        let id = process.id;
        match process.journal.sync() {
            Err(error) => return self.journal_failed(&error),
            Ok(lsn) => {
                self.shadow.durable(lsn.get());
                self.say(format_args!("durable {lsn}"));
                let us = self.random.pick(&[0, 100, 3_000]);
                self.agenda
                    .after(us, Happening::MillHearsDurable(id, lsn.get()));
                self.moment(Moment::Synced);
                self.note_closing();
            }
        }
        self.look_after_segments();
        let waits = |p: &Process| !p.writer.waiting.is_empty();
        if self.process.as_ref().is_some_and(waits) {
            self.write_soon();
        }
    }

    pub(crate) fn mill_hears_durable(&mut self, process: u64, lsn: u64) {
        if let Some(process) = self.process.as_mut().filter(|p| p.id == process) {
            process.writer.told_lsn = lsn;
            self.turn_mill(Input::Durable(Lsn::new(lsn)));
        }
    }

    /// Recycling, and a spare ahead of need.
    fn look_after_segments(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let below_lsn = process.writer.recycle_below;
        if let Err(error) = process.journal.recycle(Lsn::new(below_lsn)) {
            return self.journal_failed(&error);
        }
        process.writer.recycled_below = below_lsn;
        let mut lacks_spare = false;
        if let Err(error) = process.journal.prepare_spare() {
            if !error.is_stall() {
                return self.journal_failed(&error);
            }
            lacks_spare = true;
        }
        self.tell_room(lacks_spare);
        self.check_journal_bytes();
    }

    /// The thread looks again after a while, once.
    fn write_later(&mut self, id: u64, us: u64) {
        let now_us = self.agenda.now_us;
        let Some(Process { writer, .. }) = &mut self.process else {
            return;
        };
        if writer.again_us <= now_us {
            writer.again_us = now_us + us;
            self.agenda.after(us, Happening::JournalWrites(id));
        }
    }

    /// Tells the mill how much room the disk has, as the agent does.
    fn tell_room(&mut self, lacks_spare: bool) {
        let Some(process) = &mut self.process else {
            return;
        };
        let (writer, id) = (&mut process.writer, process.id);
        let waiting: usize = writer.waiting.iter().map(|(_, bytes)| bytes.len()).sum();
        let left = process.journal.room().saturating_sub(waiting as u64);
        let reserve = process.journal.reserve_bytes();
        let room = if writer.stalled || (lacks_spare && left < reserve / 2) {
            Room::Last
        } else if lacks_spare && left < reserve {
            Room::Short
        } else {
            Room::Plenty
        };
        let wants_more = reserve > 0 && process.journal.wants_spare();
        let retry_us = match (lacks_spare, wants_more) {
            (true, _) => Some(1_000_000),
            (false, true) => Some(1_000),
            (false, false) => None,
        };
        if let Some(us) = retry_us {
            self.write_later(id, us);
        }
        let Some(Process { writer, .. }) = &mut self.process else {
            return;
        };
        if std::mem::replace(&mut writer.told_room, room) != room {
            self.say(format_args!("room: {room:?}"));
            if room != Room::Plenty {
                self.coverage.see(Sight::RoomByRecycling);
            }
            self.turn_mill(Input::Room(room));
        }
    }

    /// The mill does not need segments any more that end before this commit.
    pub(crate) fn recycle(&mut self, below_lsn: u64) {
        self.say(format_args!("recycle below {below_lsn}"));
        let Some(process) = &mut self.process else {
            return;
        };
        process.writer.recycle_below = below_lsn;
        self.moment(Moment::Recycle);
        if self.process.as_ref().is_some_and(|p| p.writer.is_idle()) {
            self.write_soon();
        }
    }

    /// The process ends with code 74; or it was dead already and has not noticed.
    fn journal_failed(&mut self, error: &JournalError) {
        self.say(format_args!("journal: {error}"));
        if let Some(power) = self.dying.take() {
            return self.crash(power);
        }
        self.disk_failed = true;
        self.crash(false);
    }

    /// The journal is bounded by what is not in both ponds yet, and by rows that wait.
    fn check_journal_bytes(&mut self) {
        let setup = &self.setup;
        let Some(process) = &self.process else {
            return;
        };
        let waiting = process.mill.outbox().map_or(0, |o| o.waiting_bytes());
        let segments = 8 * setup.segment_bytes;
        // A checkpoint waits until four times its own size was appended.
        let checkpoints = 4 * (setup.checkpoint_bytes + 4 * self.checkpoint_cost);
        // While a checkpoint is written, more is appended: of large messages, a lot.
        let large = if setup.learned.large {
            64 * setup.packet_bytes_max() as u64
        } else {
            0
        };
        let max = segments + checkpoints + setup.bounds.pinned_bytes + 16 * waiting + large;
        let bytes = process.journal.bytes();
        if bytes > max && self.pond_failures == 0 && self.unreadable.is_empty() {
            let what = format!("the journal has {bytes} bytes, {waiting} bytes of rows wait");
            self.fail("5: the journal is bounded", what);
        }
    }

    /// The mill wants rows back.
    pub(crate) fn read_back(&mut self, lane: LaneId, wanted: Wanted, relocate: bool) {
        let us = self.random.pick(&[100, 2_000, 40_000]);
        self.say(format_args!(
            "read back {lane} {wanted:?}, to move {relocate}"
        ));
        if let Some(process) = &self.process {
            let comes = Happening::RowsCome(process.id, lane, wanted, relocate);
            self.agenda.after(us, comes);
        }
    }

    /// They come.
    pub(crate) fn rows_come(
        &mut self,
        process: u64,
        lane: LaneId,
        wanted: &Wanted,
        relocate: bool,
    ) {
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        let id = process.id;
        match process.readback.rows(&lane, wanted) {
            Ok(rows) => {
                let is_other =
                    |(lsn, row): &&(Lsn, Row)| !self.shadow.stands_in(lsn.get(), &lane, row);
                if let Some((lsn, row)) = rows.iter().find(is_other) {
                    let what = format!("row {} of {lane} is not what commit {lsn} says", row.seq);
                    return self.fail("6: rows are in the journal", what);
                }
                self.say(format_args!("{} rows of {lane} come", rows.len()));
                self.turn_mill(Input::RowsRead {
                    lane,
                    rows,
                    relocate,
                });
            }
            Err(Unread { error, .. }) if self.dying.is_some() => {
                self.say(format_args!("reading: {error}"));
                let power = self.dying.take().unwrap_or(false);
                self.crash(power);
            }
            Err(Unread { error, .. }) if self.unreadable.is_empty() => {
                self.fail("6: rows are in the journal", error.to_string());
            }
            Err(Unread { rest, error }) => {
                self.say(format_args!("reading {lane}: {error}"));
                let fails = Happening::ReadFails(id, lane);
                let us = rest.as_micros() as u64 / RESTS_SHORTER;
                self.agenda.after(us, fails);
            }
        }
    }

    /// Rows could not be read now.
    pub(crate) fn read_fails(&mut self, process: u64, lane: LaneId) {
        if self.process.as_ref().is_some_and(|p| p.id == process) {
            self.turn_mill(Input::ReadFailed { lane });
        }
    }

    /// A sector becomes unreadable that only rows are needed from. What they said is kept for the books.
    pub(crate) fn lose_sector(&mut self) {
        let (Some(process), Some(done)) = (&self.process, self.ponds.both_hold()) else {
            return;
        };
        let outbox = process.mill.outbox();
        let Some(oldest) = outbox.and_then(|outbox| outbox.oldest_lsn()) else {
            return;
        };
        let mut records = Vec::new();
        let seen = inspect(&self.disk, (Lsn::new(0), Lsn::new(0)), |seen| {
            if let Seen::Record {
                segment,
                offset,
                lsn,
                payload,
                ..
            } = seen
            {
                let end = offset + payload.len() as u64 + HEAD_BYTES_MAX;
                records.push((segment.to_string(), *offset, end, lsn.get()));
            }
        });
        let may_go = |(.., lsn): &&(String, u64, u64, u64)| {
            (oldest..=Lsn::new(done)).contains(&Lsn::new(*lsn))
        };
        let some: Vec<_> = records.iter().filter(may_go).collect();
        if seen.is_err() || some.is_empty() {
            return;
        }
        let (segment, offset, end, _) = some[self.random.below(some.len() as u64) as usize];
        let at = (offset + self.random.below(end - offset)) / SECTOR * SECTOR;
        // Without its header a segment says nothing at the next start, but where it stood, by a last record
        // that is whole.
        let last = records.iter().rfind(|(of, ..)| of == segment);
        if at == 0 && last.is_none_or(|(_, from, ..)| *from < SECTOR) {
            return;
        }
        let is_hit = |(of, from, to, _): &&(String, u64, u64, u64)| {
            of == segment && (at == 0 || (*from < at + SECTOR && *to > at))
        };
        let hit: Vec<u64> = records
            .iter()
            .filter(is_hit)
            .map(|(.., lsn)| *lsn)
            .collect();
        if hit.iter().any(|lsn| *lsn > done) {
            return;
        }
        self.disk.lose_sector(segment, at);
        if let Some((segment, .., last)) = last.filter(|_| at == 0) {
            self.headerless.push((segment.clone(), *last));
        }
        self.unreadable.extend(&hit);
        for lsn in &hit {
            self.unreadable_rows.extend(self.shadow.rows_of(*lsn));
        }
        self.say(format_args!("records {hit:?} cannot be read any more"));
    }
}
