//! Durability of the mill's effects: the batch that gathers, the commits that are not yet on stable
//! storage, and what has to wait for them: acknowledgements and emissions.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::commit::event_ids::EventIds;
use crate::commit::image::{Image, Written};
use crate::commit::outbox::Outbox;
use crate::commit::receipts::{Receipt, Voided};
use crate::commit::record::{
    self, AgentRecord, Boot, Commit, EventIdChange, IntakeCounts, RuleDelta,
};
use crate::config::EventIdSource;
use crate::event::clock::{AgeClock, Now};
use crate::event::decode::Plan;
use crate::mill::router::RuleIndex;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

use super::answers::Answers;
use super::output::{Output, Room};
use super::ponds::Checkpoints;
use super::session::Session;

/// Bytes of receipts, names, rows and settled ranges with which a batch is committed at the latest.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// Bytes of effects with which a batch is committed at the latest. Of state that is written again
/// and again only the last value stands in the commit, so this is more.
const BATCH_EFFECT_BYTES_MAX: usize = 1 << 20;

/// Most dead letters of one event, or of one due time: further ones are counted and logged, no
/// more. A batch with so many is committed.
pub(super) const DEAD_LETTERS_MAX: usize = 256;

/// Most bytes of them: beyond it they are kept without their content. A batch with so many is
/// committed.
pub(super) const DEAD_LETTER_BYTES_MAX: usize = 1 << 20;

/// Settings of the mill's journal, and its state at the start.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Name of this gateway's session with the broker: `host:port client-id`.
    pub session: String,
    /// Longest time that an event's effects wait for their commit, in milliseconds.
    pub commit_interval_ms: u64,
    /// Most events of one commit.
    pub commit_events: usize,
    /// Source of an event's own name.
    pub event_id: EventIdSource,
    /// `true` if `producer:n` is a number without its sender's saying so.
    pub event_id_numbers: bool,
    /// Number of names that are remembered, of those that are no numbers.
    pub event_ids_remembered: usize,
    /// Bytes of journal between two checkpoints, at least.
    pub checkpoint_bytes: u64,
    /// The boot that monotonic times belong to.
    pub boot_id: String,
    /// First commit of the journal, and its size in bytes.
    pub journal: (Lsn, u64),
    /// The pond to write first: the older one, or one that was damaged.
    pub first_pond: usize,
    /// State of the other database, if it was written.
    pub newest_pond: Option<Written>,
    /// The longest record that the journal takes; a commit that is longer is several.
    pub record_bytes_max: usize,
}

/// State that is kept besides the rules.
pub(super) struct Durable {
    pub(super) keeping: Keeping,
    /// The agent's record as of the last commit.
    pub(super) record: AgentRecord,
    /// The session with the broker that sensors publish to.
    pub(super) session: Session,
    pub(super) answers: Answers,
    pub(super) event_ids: EventIds,
    pub(super) outbox: Outbox,
    /// The present boot; told with the next commit when the last one was of another.
    pub(super) boot: Option<Boot>,
    pub(super) next_lsn: Lsn,
    pub(super) durable_lsn: Lsn,
    pub(super) unsynced: VecDeque<(Lsn, usize)>,
    /// Commits of several records that are not whole on stable storage: their first and last.
    in_parts: VecDeque<(Lsn, Lsn)>,
    pub(super) unsynced_bytes: usize,
    pub(super) batch: Batch,
    pub(super) checkpoints: Checkpoints,
    /// Plan to read the event's own name from the payload.
    pub(super) event_id_plan: Option<Plan>,
    /// Clock by which the age of rows is measured.
    pub(super) age: AgeClock,
    /// When rows were looked at last that may be too old.
    pub(super) age_checked_mono_ms: Option<u64>,
    /// Room on the disk.
    pub(super) room: Room,
}

/// Changes since the last commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) counts: IntakeCounts,
    pub(super) receipts: Vec<Receipt>,
    pub(super) event_ids: Vec<EventIdChange>,
    /// Receipts that are void from now on.
    pub(super) voided: Vec<Voided>,
    pub(super) subscriptions: Option<String>,
    /// Rules that went away, with the time at which they did.
    pub(super) went: Vec<RuleDelta>,
    /// Rules whose state is forgotten, because they went away.
    pub(super) forgotten: Vec<String>,
    /// Rules that were called since the last commit.
    pub(super) touched: Vec<RuleIndex>,
    pub(super) events: usize,
    /// Bytes of receipts and names.
    pub(super) bytes: usize,
    /// Bytes of effects that the batch's calls asked for.
    pub(super) effect_bytes: usize,
    /// Dead letters made, and bytes of those that are kept.
    pub(super) dead_letters: usize,
    pub(super) dead_letter_bytes: usize,
    /// When something happened first that should not wait longer than the interval.
    opened: Option<u64>,
    /// When something happened first at all.
    lazy: Option<u64>,
    /// `true` if somebody waits for the commit.
    pub(super) urgent: bool,
}

impl Batch {
    /// Notes a change that should be durable soon.
    pub(super) fn open(&mut self, now: Now) {
        self.opened.get_or_insert(now.mono_ms);
        self.lazy.get_or_insert(now.mono_ms);
    }

    /// Notes a change that can wait for the next commit.
    pub(super) fn open_lazily(&mut self, now: Now) {
        self.lazy.get_or_insert(now.mono_ms);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lazy.is_some() || self.urgent
    }
}

/// Why a batch is to be committed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Full,
    TimeIsUp,
}

impl Durable {
    pub(super) fn new(keeping: Keeping, mut image: Image, boot: Option<Boot>, now: Now) -> Self {
        image.event_ids.set_opaque_max(keeping.event_ids_remembered);
        let event_id_plan = match &keeping.event_id {
            EventIdSource::Pointer(pointer) => {
                let mut plan = Plan::default();
                plan.add(pointer);
                Some(plan)
            }
            EventIdSource::UserProperty(_) | EventIdSource::None => None,
        };
        let AgentRecord { age, mono_ms, .. } = image.agent;
        let mono_ms = boot.is_none().then_some(mono_ms);
        let age = AgeClock::resume(age, image.agent.offs.clone(), mono_ms, now);
        let mut batch = Batch::default();
        if boot.is_some() {
            batch.open_lazily(now);
        }
        let (from_lsn, bytes) = keeping.journal;
        let last_lsn = image.last_lsn();
        let mut checkpoints =
            Checkpoints::new(keeping.checkpoint_bytes, from_lsn, last_lsn, bytes, now);
        checkpoints.begin_with(keeping.first_pond, keeping.newest_pond);
        Self {
            checkpoints,
            record: image.agent,
            session: Session::resume(image.receipts, image.subscriptions),
            answers: Answers::default(),
            event_ids: image.event_ids,
            outbox: image.outbox,
            boot,
            next_lsn: last_lsn + 1,
            durable_lsn: last_lsn,
            unsynced: VecDeque::new(),
            in_parts: VecDeque::new(),
            unsynced_bytes: 0,
            batch,
            event_id_plan,
            age,
            age_checked_mono_ms: None,
            room: Room::Plenty,
            keeping,
        }
    }

    /// Receipts are void; that is told with the next commit.
    pub(super) fn voids(&mut self, now: Now, voided: Option<Voided>) {
        let Some(voided) = voided else { return };
        let told = &mut self.batch.voided;
        if voided.first == 0 {
            // It holds all that was void from the start before.
            told.retain(|before| before.first != 0);
        }
        told.push(voided);
        self.batch.open_lazily(now);
    }

    /// Tells if and why the batch is to be committed now.
    pub(super) fn is_due(&self, now: Now) -> Option<Due> {
        let batch = &self.batch;
        let full = batch.urgent
            || batch.events >= self.keeping.commit_events
            || batch.bytes + self.outbox.delta_bytes() >= BATCH_BYTES_MAX
            || batch.effect_bytes >= BATCH_EFFECT_BYTES_MAX
            || batch.dead_letters >= DEAD_LETTERS_MAX
            || batch.dead_letter_bytes >= DEAD_LETTER_BYTES_MAX
            || self.hurries_what_moved()
            || self.session.stall.is_near(batch.receipts.len()) && !batch.receipts.is_empty();
        if full {
            return Some(Due::Full);
        }
        self.commit_mono_ms()
            .is_some_and(|at| at <= now.mono_ms)
            .then_some(Due::TimeIsUp)
    }

    /// When the batch is committed at the latest.
    fn commit_mono_ms(&self) -> Option<u64> {
        let soon = self
            .batch
            .opened
            .map(|at| at.saturating_add(self.keeping.commit_interval_ms));
        let lazy_ms = self.lazy_ms();
        let lazily = self.batch.lazy.map(|at| at.saturating_add(lazy_ms));
        [soon, lazily].into_iter().flatten().min()
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn next_due_mono_ms(&self) -> Option<u64> {
        let checkpoint = self.checkpoints.next_due_mono_ms();
        [self.commit_mono_ms(), checkpoint, self.age_check_mono_ms()]
            .into_iter()
            .flatten()
            .min()
    }

    /// When rows that wait are looked at next, of which some may be too old.
    pub(super) fn age_check_mono_ms(&self) -> Option<u64> {
        let every_ms = self.outbox.age_check_ms()?;
        let checked = self.age_checked_mono_ms;
        Some(checked.map_or(0, |at| at.saturating_add(every_ms)))
    }

    /// Hands a commit to the journal, in as many records as it takes. Its number is that of the first.
    pub(super) fn append(&mut self, commit: &Commit, out: &mut Vec<Output>) {
        let first = self.next_lsn;
        let bytes = commit.encode();
        let records = if sabotage::is(Sabotage::CommitNotCut) {
            vec![bytes]
        } else {
            record::cut(bytes, self.keeping.record_bytes_max)
        };
        for bytes in records {
            let lsn = self.next_lsn;
            self.next_lsn += 1;
            self.unsynced.push_back((lsn, bytes.len()));
            self.unsynced_bytes += bytes.len();
            self.checkpoints.appended(bytes.len());
            out.push(Output::Append { lsn, bytes });
        }
        let last = self.next_lsn - 1;
        if last > first {
            self.in_parts.push_back((first, last));
        }
    }

    /// Notes that the journal has everything up to this record on stable storage. A commit of
    /// several records is there with its last one.
    pub(super) fn durable(&mut self, lsn: Lsn) {
        while let Some((at, bytes)) = self.unsynced.front() {
            if *at > lsn {
                break;
            }
            self.unsynced_bytes -= bytes;
            self.unsynced.pop_front();
        }
        while self
            .in_parts
            .pop_front_if(|(_, last)| *last <= lsn)
            .is_some()
        {}
        let whole = match self.in_parts.front() {
            Some((first, _)) => lsn.min(*first - 1),
            None => lsn,
        };
        self.durable_lsn = self.durable_lsn.max(whole);
    }

    /// Notes that a rule is called.
    pub(super) fn touch(&mut self, rule: RuleIndex) {
        // Most events are those of one rule, or of the same few.
        if self.batch.touched.last() != Some(&rule) && !self.batch.touched.contains(&rule) {
            self.batch.touched.push(rule);
        }
    }

    /// The next number of a commit.
    pub(super) fn lsn(&self) -> Lsn {
        self.next_lsn
    }
}

/// Names that rules of the gateway itself go by, where it has to say something.
pub(super) fn nobody() -> Arc<str> {
    "".into()
}
