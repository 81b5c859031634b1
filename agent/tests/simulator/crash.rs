//! The end of a process, and the next one's start from what it left.

use tidemill::commit::image::{Image, Written};
use tidemill::config::EventIdSource;
use tidemill::mill::{Keeping, Mill};
use tidemill_base::number::Lsn;
use tidemill_journal::model::ModelDisk;
use tidemill_journal::{
    Identity, Journal, JournalError, Replayed, Seen, SegmentState, Settings, inspect,
};
use tidemill_transport::topic::{Subscription, TopicFilter};

use crate::coverage::Sight;
use crate::gateway::Process;
use crate::local::Local;
use crate::plan::{Moment, Names};
use crate::rules::{DESTINATIONS, HUB, destinations};
use crate::run::{Happening, Sim};
use crate::source::Source;

/// A start may fail so often in a row: the longest fault of the disk is over then.
const FAILED_STARTS_MAX: u32 = 2_000;

/// Fuel of each share of a step on a gateway that is slow: one event, or one thing that is due.
const SLOW_SHARE: u64 = 1;

/// Name of the gateway's session with the broker.
const SESSION: &str = "broker:1883 gw";

const IDENTITY: Identity = Identity {
    incarnation: *b"0123456789abcdef",
    mark: 0x5eed_0001,
};

/// The state that a process goes on from.
struct Recovered {
    image: Image,
    journal: Journal<ModelDisk>,
    first_pond: usize,
    newest_pond: Option<Written>,
}

impl Sim<'_> {
    /// Reaches a moment of the crash points: an armed crash that waits for it strikes.
    pub(crate) fn moment(&mut self, moment: Moment) {
        let now_us = self.agenda.now_us;
        let waits = |armed: &(Moment, bool, u64)| armed.0 == moment;
        if let Some(place) = self.armed.iter().position(waits)
            && let Some(process) = &self.process
        {
            let (_, power, after_us) = self.armed.remove(place);
            let crash = Happening::Crashes(process.id, power);
            self.agenda.at(now_us + after_us, crash);
        }
    }

    /// A crash that waits for it strikes while a pane closes whose cursor is durable.
    pub(crate) fn note_closing(&mut self) {
        let now = self.now();
        let Some(process) = &self.process else {
            return;
        };
        if process.mill.rule_statuses(now).any(|rule| rule.is_closing) {
            self.moment(Moment::Closing);
        }
    }

    /// Notes the crash points that the end of the process meets.
    fn note_crash(&mut self, power: bool) {
        let Some(process) = &self.process else {
            return;
        };
        let mut met = Vec::new();
        if process.open_events > 0 {
            met.push(1);
        }
        let journal = &process.journal;
        if power && journal.next_lsn() - 1 > journal.durable_lsn() {
            met.push(2);
        }
        if journal.durable_lsn() > Lsn::new(process.writer.told_lsn()) || process.source.has_acks()
        {
            met.push(3);
        }
        if process.open_reports > 0 || process.adapters.iter().any(|a| a.has_news()) {
            met.push(6);
        }
        if process.pond_job.is_some() || process.writer.is_recycling() {
            met.push(7);
        }
        let (mut closing, mut behind) = (false, false);
        for rule in process.mill.rule_statuses(self.now()) {
            closing |= rule.is_closing;
            behind |= rule.behind.is_some();
        }
        if closing {
            met.push(14);
        }
        if behind {
            self.coverage.see(Sight::BehindAtCrash);
        }
        if self.connack_lost_session {
            met.push(9);
        }
        if power && self.read_from_cache {
            met.push(12);
        }
        met.into_iter()
            .for_each(|number| self.coverage.enter(number));
    }

    /// The process is killed, or the power fails, at a moment that was drawn.
    pub(crate) fn strike(&mut self, power: bool) {
        // If the session is new and nobody took note, a message that is sent in it and never read
        // cannot be told from one that was read in the old session, if identifier and content are
        // the same: it is lost (docs/delivery.md). With messages that differ the same crash loses
        // nothing.
        if !(self.connack_lost_session && self.setup.same_content) {
            self.crash(power);
        }
    }

    /// The process ends without a farewell.
    pub(crate) fn crash(&mut self, power: bool) {
        self.note_crash(power);
        let Some(process) = self.process.take() else {
            return;
        };
        self.say(format_args!("CRASH, power {power}"));
        self.local.iter_mut().for_each(Local::forget);
        self.forget_confirmations();
        let conn = process.source.conn;
        self.read_from_cache = !power && {
            let journal = &process.journal;
            journal.next_lsn() - 1 > journal.durable_lsn() || self.disk_failed
        };
        drop(process);
        self.dying = None;
        let seed = self.random.next();
        if power {
            self.disk.crash(seed);
            self.boot += 1;
            let mono_ms = self.random.between(1_000, 90_000);
            self.boots(mono_ms);
            if std::mem::take(&mut self.damage_pond) && self.ponds.damage() {
                self.say(format_args!("the newest pond is damaged"));
            }
        } else {
            self.disk.kill(seed);
        }
        if let Some(conn) = conn {
            self.client_gone(conn);
        }
        let us = self.random.pick(&[1_000, 20_000, 200_000]);
        self.agenda.after(us, Happening::Starts);
    }

    /// A process starts.
    pub(crate) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        match self.recover() {
            Ok(recovered) => self.run_on(recovered),
            Err(error) => self.start_failed(&error),
        }
    }

    fn start_failed(&mut self, error: &JournalError) {
        self.say(format_args!("no start: {error}"));
        let is_ours = matches!(
            error,
            JournalError::Failed { .. } | JournalError::FailedBefore | JournalError::Full { .. }
        );
        self.failed_starts += 1;
        if self.waits_for_repair(&error.to_string()) {
            self.say(format_args!(
                "the seed ends here: somebody has to repair it"
            ));
            self.done = true;
            return;
        }
        if !is_ours || self.failed_starts > FAILED_STARTS_MAX {
            return self.fail("6: the gateway starts", error.to_string());
        }
        // It died while it started, or the disk failed.
        let seed = self.random.next();
        match self.dying.take() {
            Some(true) => self.disk.crash(seed),
            _ => self.disk.kill(seed),
        }
        let us = self.random.pick(&[1_000, 20_000]);
        self.agenda.after(us, Happening::Starts);
    }

    /// `true` if a start is refused because of a segment without a header that nothing older is in use
    /// beside: it may have been used again, for the newest commits, and nobody can tell.
    fn waits_for_repair(&self, error: &str) -> bool {
        let mut oldest = u64::MAX;
        let seen = inspect(&self.disk, (Lsn::new(0), Lsn::new(0)), |seen| {
            if let Seen::Segment {
                state: SegmentState::InUse { first_lsn },
                ..
            } = seen
            {
                oldest = oldest.min((*first_lsn).get());
            }
        });
        let mut headerless = self.headerless.iter();
        seen.is_ok() && headerless.any(|(name, last)| error.contains(name) && *last < oldest)
    }

    fn recover(&mut self) -> Result<Recovered, JournalError> {
        let (mut image, first_pond) = match self.ponds.newest() {
            None => (Image::default(), 0),
            Some((pond, lsn, entries)) => {
                let image = Image::from_entries(Lsn::new(lsn), entries.clone());
                let image = image.unwrap_or_else(|error| panic!("pond {pond}: {error}"));
                (image, 1 - pond)
            }
        };
        image.outbox.set_bounds(self.setup.bounds);
        let settings = Settings {
            segment_bytes: self.setup.segment_bytes,
            spares_max: 2,
            state_lsn: image.lsn,
            reserve: self.setup.reserve(),
            identity: IDENTITY,
            salt: self.random.next(),
        };
        let newest_pond = image.written();
        let from = image.needs_from() - 1;
        let journal = Journal::open(self.disk.clone(), settings, from, |lsn, bytes| {
            image.replay(lsn, bytes)?;
            Ok(if image.has_begun() {
                Replayed::Begun
            } else {
                Replayed::Whole
            })
        })?;
        image.cut(journal.next_lsn() - 1);
        Ok(Recovered {
            image,
            journal,
            first_pond,
            newest_pond,
        })
    }

    fn run_on(&mut self, recovered: Recovered) {
        let Recovered {
            mut image,
            journal,
            first_pond,
            newest_pond,
        } = recovered;
        self.say(format_args!("START at commit {}", image.lsn));
        self.failed_starts = 0;
        if let Err(what) = self.shadow.recovered(&image) {
            return self.fail("6: what was durable comes back", what);
        }
        let mut lost = journal
            .lost()
            .iter()
            .flat_map(|(first, last)| first.get()..=last.get());
        if let Some(lsn) = lost.find(|lsn| !self.unreadable.contains(lsn)) {
            let what = format!("record {lsn} can be read, and is gone on without");
            return self.fail("6: rows are in the journal", what);
        }
        if !journal.lost().is_empty() {
            let rows = image.outbox.drop_missing();
            if !rows.is_empty() && self.unreadable_rows.is_empty() {
                let what = format!("rows of {rows:?} are not there");
                return self.fail("6: rows are in the journal", what);
            }
            self.coverage.see(Sight::SectorLost);
        }
        if std::mem::take(&mut self.disk_failed) {
            self.coverage.enter(11);
        }
        let dests = destinations(self.setup.block, self.setup.newest);
        let homeless = image.outbox.set_destinations("gw", dests, &[]);
        assert!(homeless.is_empty());
        let (fresh, hash, lsn) = (image.lsn == Lsn::new(0), image.state_hash(), image.lsn);
        let keeping = Keeping {
            first_pond,
            newest_pond,
            ..self.keeping(&journal)
        };
        let now = self.now();
        let rebased = image.agent.boot_id != keeping.boot_id;
        let mut mill = Mill::keeping(image, keeping, now);
        if self.is_slow {
            mill.set_share(SLOW_SHARE);
        }
        let held = held(&mill);
        let names = self.setup.variant(self.variant);
        let deployment = self.workshop.deployment(&names, &held);
        let wanted = deployment.subscriptions.clone();
        let mut out = std::mem::take(&mut self.outputs);
        mill.deploy(now, deployment, &mut out)
            .unwrap_or_else(|error| panic!("{error}"));
        let unchanged = mill.lsns().0 == lsn && mill.is_settled();
        if !fresh && !rebased && unchanged && mill.state_hash() != hash {
            let what = format!("what runs is not what was recovered at commit {lsn}");
            return self.fail("6: what was durable comes back", what);
        }
        self.processes += 1;
        let id = self.processes;
        let source = Source::new(held, wanted);
        let by_content = self.setup.learned.versions;
        self.process = Some(Process::new(id, mill, journal, source, by_content));
        self.after_step(&mut out);
        self.outputs = out;
        if self.setup.reserve() > 0 {
            self.agenda.after(0, Happening::JournalWrites(id));
        }
        self.connects(id);
        for destination in 0..DESTINATIONS.len() {
            if destination != HUB {
                self.upstream_connects(id, destination);
            }
        }
        if self.read_from_cache {
            self.moment(Moment::Restarted);
        }
    }

    fn keeping(&self, journal: &Journal<ModelDisk>) -> Keeping {
        let setup = &self.setup;
        Keeping {
            session: SESSION.into(),
            commit_interval_ms: setup.commit_interval_ms,
            commit_events: setup.commit_events,
            event_id: match setup.names {
                Names::Nowhere => EventIdSource::None,
                Names::Property => EventIdSource::UserProperty("eid".into()),
                Names::Pointer => EventIdSource::Pointer("/id".into()),
            },
            event_id_numbers: true,
            event_ids_remembered: 4_096,
            checkpoint_bytes: setup.checkpoint_bytes,
            boot_id: format!("boot {}", self.boot),
            journal: (journal.first_lsn(), journal.bytes()),
            first_pond: 0,
            newest_pond: None,
            record_bytes_max: journal.record_bytes_max(),
        }
    }
}

/// Subscriptions that the broker's session is known to hold.
pub(crate) fn held(mill: &Mill) -> Vec<Subscription> {
    let known = mill.subscriptions_of(SESSION).into_iter();
    known
        .filter_map(|(id, filter)| {
            Some(Subscription {
                id,
                filter: TopicFilter::new(&filter).ok()?,
            })
        })
        .collect()
}
