//! The end of a seed: after the last fault a probe passes, everything comes out, and what stands then
//! stands after a power cut as well.

use tidemill::mill::Input;
use tidemill_base::number::Lsn;
use tidemill_transport::topic::TopicFilter;

use crate::adapter::place;
use crate::plan::Kind;
use crate::receiver::Answer;
use crate::rules::{DESTINATIONS, HUB};
use crate::run::{Happening, Sim};

/// After the last fault everything comes out within this time.
const DRAIN_US: u64 = 20_000_000;

/// Cursors are written down within this time.
const LAZY_US: u64 = 60_000_000;

/// Rows that cannot be read are tried a few times before they are given up, chunk by chunk.
const UNREADABLE_US: u64 = 60_000_000;

/// Time within which something happens where nothing is broken and anything is left to do.
const STILL_US: u64 = 4_500_000;

/// Commits, rows that wait, messages that the broker has.
pub(crate) type Standing = (u64, u64, usize);

const SOMETHING_TO_COMMIT: &str = "the mill has something to commit";

/// Looks that find nothing to do until nothing more will come: timers and windows have to close.
const QUIET_LOOKS: u32 = 10;

impl Sim<'_> {
    /// One more message of each key and kind, which has to pass. Where the broker has none to give
    /// them to, the sensors try again: a gateway that forgot to subscribe never gets them.
    pub(crate) fn probe(&mut self) {
        for key in 0..self.setup.keys {
            for (kind, done) in [(Kind::Reading, 1), (Kind::Alarm, 2)] {
                let place = usize::from(key);
                if self.probed[place] & done == 0 && self.publish(key, kind) {
                    self.probed[place] |= done;
                }
            }
        }
        if self.probed.iter().any(|done| *done != 3) {
            self.agenda.after(500_000, Happening::Probes);
        }
    }

    /// `true` if everything is done.
    pub(crate) fn look(&mut self) {
        let healed_us = self.healed_us.unwrap_or(0);
        self.look_at_refused();
        self.look_at_dead_letters();
        let unfinished = self.unfinished();
        if let Some(what) = unfinished {
            // Changes that the mill writes down in its own time are nobody's loss.
            let idle = what == SOMETHING_TO_COMMIT;
            let more_us =
                u64::from(idle) * LAZY_US + u64::from(!self.unreadable.is_empty()) * UNREADABLE_US;
            if self.agenda.now_us > healed_us + DRAIN_US + more_us {
                let outbox = self.process.as_ref().and_then(|p| p.mill.outbox());
                let lanes = outbox.into_iter().flat_map(|outbox| outbox.lanes());
                let waits = lanes.filter(|lane| lane.waiting() > 0).map(|lane| {
                    let (rows, bytes) = (lane.waiting(), lane.waiting_bytes());
                    let (id, oldest) = (lane.id(), lane.oldest_lsn().unwrap_or(Lsn::new(0)));
                    format!("\n{rows} rows of {id} wait, {bytes} bytes since commit {oldest}")
                });
                let what = std::iter::once(what).chain(waits).collect();
                return self.fail("8: everything comes out within 20 s", what);
            }
            if !idle && self.stands_still_for_us() > STILL_US {
                return self.fail("8: nothing stands still", what);
            }
            self.quiet = 0;
            return self.agenda.after(100_000, Happening::Looks);
        }
        self.quiet += 1;
        if self.quiet < QUIET_LOOKS {
            return self.agenda.after(100_000, Happening::Looks);
        }
        self.check_end();
        if self.failure.is_none() {
            // The present state has to stand after a power cut as well.
            self.crash(true);
            self.agenda.after(400_000, Happening::LastStart);
        }
    }

    /// Time for which nothing has happened, where that says something: a state database that could not be written
    /// is tried again after a while, and so are rows that cannot be read.
    fn stands_still_for_us(&mut self) -> u64 {
        let now_us = self.agenda.now_us;
        let Some(process) = &self.process else {
            return 0;
        };
        let lanes = process.mill.outbox().into_iter().flat_map(|o| o.lanes());
        let waiting = lanes.map(|lane| lane.waiting()).sum();
        let (lsn, _) = process.mill.lsns();
        let standing = (lsn.get(), waiting, self.broker.len());
        let may_rest = self.pond_failures > 0 || !self.unreadable.is_empty();
        if may_rest || self.still.0 != standing {
            self.still = (standing, now_us);
        }
        now_us - self.still.1
    }

    /// The first thing that is not done yet.
    fn unfinished(&self) -> Option<String> {
        let Some(process) = &self.process else {
            return Some("the gateway is down".to_owned());
        };
        if self.probed.iter().any(|done| *done != 3) {
            let held = self.broker.subscriptions().len();
            return Some(format!(
                "a probe finds no subscriber; {held} filters are held"
            ));
        }
        if !self.broker.is_empty() {
            let held = self.broker.subscriptions().len();
            return Some(format!("the broker has messages; it holds {held} filters"));
        }
        if !process.source.is_settled() || process.source.has_acks() {
            let left = process.source.left();
            return Some(format!("the source has something to say: {left}"));
        }
        if let Some(uid) = self.truth.missing().first() {
            return Some(format!("message {uid} has not come out"));
        }
        let lanes = process.mill.outbox().into_iter().flat_map(|o| o.lanes());
        let waits = |lane: &&tidemill::commit::outbox::Lane| {
            let kept = &*lane.id().destination == tidemill::commit::outbox::DEAD_LETTERS;
            lane.waiting() > 0 && !kept && !self.stands_still(lane)
        };
        if let Some(lane) = lanes.into_iter().find(waits) {
            return Some(format!("{} rows of {} wait", lane.waiting(), lane.id()));
        }
        if !process.mill.is_settled() || !process.writer.is_idle() {
            return Some(SOMETHING_TO_COMMIT.to_owned());
        }
        None
    }

    /// The owner looks at dead letters and drops them: on a small disk they take the room of what waits.
    fn look_at_dead_letters(&mut self) {
        if self.setup.room().is_none() {
            return;
        }
        let outbox = self.process.as_ref().and_then(|p| p.mill.outbox());
        let shelf = outbox.and_then(|outbox| outbox.dead_letters());
        let seqs: Vec<u64> = shelf
            .into_iter()
            .flat_map(|s| s.rows())
            .map(|r| r.seq)
            .collect();
        for seq in seqs {
            self.turn_mill(Input::DropDeadLetter(seq));
        }
    }

    /// Counts rows that an endpoint refused last: no row that it could take follows them.
    fn look_at_refused(&mut self) {
        let outbox = self.process.as_ref().and_then(|p| p.mill.outbox());
        let lanes = outbox.into_iter().flat_map(|outbox| outbox.lanes());
        let ended = lanes.filter(|lane| {
            let of_hub = &*lane.id().destination == DESTINATIONS[HUB];
            of_hub && (lane.waiting() == 0 || self.stands_still(lane))
        });
        let ended: Vec<usize> = ended.map(|lane| place(lane.id().priority)).collect();
        ended.into_iter().for_each(|lane| self.count_refused(lane));
    }

    /// `true` if a lane has only rows that its endpoint refuses: they are no dead letters before it has
    /// taken another one.
    fn stands_still(&self, lane: &tidemill::commit::outbox::Lane) -> bool {
        let id = lane.id();
        let refused = |seq| self.judge(HUB, place(id.priority), seq) == Answer::Refused;
        &*id.destination == DESTINATIONS[HUB]
            && lane.rows().count() as u64 == lane.waiting()
            && lane.rows().all(|row| refused(row.seq))
    }

    fn check_end(&mut self) {
        let names = self.setup.variant(self.variant);
        if let Err(what) = self.truth.check(&names, self.setup.keys) {
            return self.fail("1: each message counts once", what);
        }
        let told = |filter: &str, key| self.sensors.is_told(filter, key);
        let left_out = self
            .truth
            .left_out()
            .find(|(_, filter, key)| !told(filter, *key));
        if let Some((uid, ..)) = left_out {
            let what = format!("message {uid} was left out, and nobody names its sensor");
            return self.fail("7: nothing is left out in silence", what);
        }
        let untold = self
            .in_lanes()
            .find_map(|(name, lane)| Some((name, lane.untold()?)));
        if let Some((name, seq)) = untold {
            let what = format!("row {seq} of {name} never came, and no gap record tells it");
            return self.fail("4: gaps are told", what);
        }
        if let Some(filter) = self.left_over() {
            let what = format!("the session still holds {filter}, which nobody wants");
            return self.fail("9: the session holds what is wanted", what);
        }
        let Some(process) = &self.process else {
            return;
        };
        let counted = self.truth.counted("s/+");
        let ledgers = process.mill.ledgers();
        let wrong = ledgers
            .filter(|(rule, _)| ["seen", "count"].contains(&&***rule))
            .find(|(_, ledger)| ledger.received != counted);
        if let Some((rule, ledger)) = wrong {
            let what = format!("{rule} received {}, {counted} passed", ledger.received);
            return self.fail("5: ledgers balance", what);
        }
        let (lsn, _) = process.mill.lsns();
        let hash = process.mill.state_hash();
        if let Err(what) = self.shadow.compare(lsn.get(), hash) {
            self.fail("6: the mill stands as its commits say", what);
        }
    }

    /// A filter of the session that nobody wants. What an earlier process asked for, or a broker that went
    /// back brought again, nobody knows of.
    fn left_over(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        let is_wanted = |filter: &TopicFilter| {
            let mut wanted = process.source.wanted.iter();
            wanted.any(|one| one.filter == *filter)
        };
        let held = self.broker.subscriptions().into_iter();
        let mut held = held.filter(|_| self.processes == 1 && !self.broker.went_back);
        held.find(|filter| !is_wanted(filter))
            .map(|filter| filter.to_string())
    }

    pub(crate) fn last_start(&mut self) {
        self.start();
        self.done = true;
    }
}
