//! One seed: the plan's acts and what follows from them, one after the other, until everything that
//! should come out has come out.

use std::fmt;

use tidemill::emission::{LaneId, Row};
use tidemill::journal::model::ModelDisk;
use tidemill::mill::Output;
use tidemill::outbox::Wanted;

use crate::adapter::place;
use crate::broker::Broker;
use crate::coverage::Coverage;
use crate::gateway::Process;
use crate::invariants::Shadow;
use crate::link::Link;
use crate::plan::{Act, Kind, Moment, Plan, Setup};
use crate::pond::Ponds;
use crate::receiver::{Answer, Receiver};
use crate::rules::{DESTINATIONS, HUB, Workshop};
use crate::truth::Truth;
use crate::world::{Agenda, Random, Trace};

/// After the last fault everything comes out within this time.
const DRAIN_US: u64 = 20_000_000;

/// Cursors are written down within this time.
const LAZY_US: u64 = 60_000_000;

const SOMETHING_TO_COMMIT: &str = "the mill has something to commit";

/// Looks that find nothing to do until nothing more will come: timers and windows have to close.
const QUIET_LOOKS: u32 = 10;

/// What can happen next.
pub(crate) enum Happening {
    Act(Act),
    BrokerReads(u64),
    ClientReads(u64),
    BrokerNotices(u64),
    ClientNotices(u64),
    BrokerComes,
    Connects(u64),
    Ping(u64),
    SourcePolls(u64),
    MillTurns(u64),
    MillTicks(u64, u64),
    MillHearsDurable(u64, u64),
    JournalWrites(u64),
    JournalSyncs(u64),
    RowsCome(u64, LaneId, Wanted, bool),
    PondWritten(u64),
    RoomComes,
    UpstreamConnects(u64, usize),
    UpstreamNotices(usize, u64),
    RowArrives(usize, u64, usize, Row),
    RowAnswered(usize, u64, usize, u64, Answer),
    RequestArrives(u64, u64, usize, Vec<Row>),
    RequestAnswered(u64, u64, usize, Option<Answer>),
    RequestAgain(u64, usize),
    LanesReport(u64, usize),
    ReceiverComes(usize),
    Crashes(u64, bool),
    Starts,
    Stopped(u64, u32),
    Probes,
    Looks,
    LastStart,
}

/// What does not hold.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// The whole world of one seed.
pub(crate) struct Sim<'a> {
    pub(crate) workshop: &'a Workshop,
    pub(crate) setup: Setup,
    pub(crate) random: Random,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) trace: Trace,
    pub(crate) truth: Truth,
    pub(crate) shadow: Shadow,
    pub(crate) coverage: Coverage,
    pub(crate) failure: Option<Failure>,
    pub(crate) broker: Broker,
    pub(crate) links: Vec<Link>,
    pub(crate) conns: u64,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) answered_us: Vec<u64>,
    pub(crate) requests: u64,
    pub(crate) disk: ModelDisk,
    pub(crate) ponds: Ponds,
    pub(crate) process: Option<Process>,
    pub(crate) processes: u64,
    pub(crate) outputs: Vec<Output>,
    /// The deployment that lies on disk.
    pub(crate) variant: u8,
    pub(crate) boot: u64,
    pub(crate) boot_us: u64,
    pub(crate) boot_mono_ms: u64,
    pub(crate) wall_step_ms: i64,
    pub(crate) armed: Vec<(Moment, bool, u64)>,
    /// The disk is about to stop: whether because the power fails.
    pub(crate) dying: Option<bool>,
    pub(crate) disk_failed: bool,
    pub(crate) damage_pond: bool,
    pub(crate) pond_failures: u64,
    pub(crate) checkpoint_cost: u64,
    /// The process read from the page cache what was never synced.
    pub(crate) read_from_cache: bool,
    /// The gateway was told that its session is lost and has not subscribed since.
    pub(crate) connack_lost_session: bool,
    pub(crate) healed_us: Option<u64>,
    quiet: u32,
    /// Which messages of each key the broker took after the last fault.
    probed: Vec<u8>,
    /// Somebody watches: more is told.
    pub(crate) tells: bool,
    done: bool,
}

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) failure: Option<Failure>,
    pub(crate) coverage: Coverage,
    pub(crate) lines: Vec<String>,
}

/// Runs a seed to its end.
pub(crate) fn run(workshop: &Workshop, seed: u64, echo: bool) -> Outcome {
    let mut sim = Sim::new(workshop, seed, echo);
    while !sim.done && sim.failure.is_none() {
        let Some(next) = sim.agenda.next() else {
            sim.fail("8: no stall", "nothing happens any more".to_owned());
            break;
        };
        sim.happen(next);
    }
    Outcome {
        hash: sim.trace.hash(),
        failure: sim.failure,
        coverage: sim.coverage,
        lines: sim.trace.into_lines(),
    }
}

impl<'a> Sim<'a> {
    fn new(workshop: &'a Workshop, seed: u64, echo: bool) -> Self {
        let Plan { setup, acts } = Plan::new(seed);
        let mut agenda = Agenda::new();
        agenda.at(0, Happening::Starts);
        for (at_us, act) in acts {
            agenda.at(at_us, Happening::Act(act));
        }
        let mut sim = Self {
            workshop,
            random: Random::new(seed),
            agenda,
            trace: Trace::new(echo),
            truth: Truth::default(),
            shadow: Shadow::new(setup.bounds),
            coverage: Coverage::default(),
            failure: None,
            broker: Broker::new(&setup),
            links: Vec::new(),
            conns: 0,
            receivers: DESTINATIONS.iter().map(|_| Receiver::default()).collect(),
            answered_us: vec![0; DESTINATIONS.len()],
            requests: 0,
            disk: ModelDisk::default(),
            ponds: Ponds::default(),
            process: None,
            processes: 0,
            outputs: Vec::new(),
            variant: 0,
            boot: 1,
            boot_us: 0,
            boot_mono_ms: 10_000,
            wall_step_ms: 0,
            armed: Vec::new(),
            dying: None,
            disk_failed: false,
            damage_pond: false,
            pond_failures: 0,
            checkpoint_cost: 0,
            read_from_cache: false,
            connack_lost_session: false,
            healed_us: None,
            quiet: 0,
            probed: vec![0; usize::from(setup.keys)],
            tells: echo,
            done: false,
            setup,
        };
        sim.truth.nameless = sim.setup.same_content;
        let setup = format!("{:?}", sim.setup);
        sim.say(format_args!("{setup}"));
        sim
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.say(self.agenda.now_us, what);
    }

    /// Something does not hold. The first one counts.
    pub(crate) fn fail(&mut self, invariant: &'static str, what: String) {
        self.say(format_args!("FAILED {invariant}: {what}"));
        if self.failure.is_none() {
            self.failure = Some(Failure { invariant, what });
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Act(act) => self.act(act),
            Happening::BrokerReads(conn) => self.broker_reads(conn),
            Happening::ClientReads(conn) => self.client_reads(conn),
            Happening::BrokerNotices(conn) => self.broker_gone(conn),
            Happening::ClientNotices(conn) => self.client_notices(conn),
            Happening::BrokerComes => self.broker.up = true,
            Happening::Connects(process) => self.connects(process),
            Happening::Ping(conn) => self.ping(conn),
            Happening::SourcePolls(process) => self.source_polls(process),
            Happening::MillTurns(process) => self.mill_turns(process),
            Happening::MillTicks(process, at_us) => self.mill_ticks(process, at_us),
            Happening::MillHearsDurable(process, lsn) => self.mill_hears_durable(process, lsn),
            Happening::JournalWrites(process) => self.journal_writes(process),
            Happening::JournalSyncs(process) => self.journal_syncs(process),
            Happening::RowsCome(process, lane, wanted, relocate) => {
                self.rows_come(process, lane, &wanted, relocate);
            }
            Happening::PondWritten(process) => self.pond_written(process),
            Happening::RoomComes => self.disk.set_room(None),
            Happening::UpstreamConnects(process, at) => self.upstream_connects(process, at),
            Happening::UpstreamNotices(at, conn) => self.upstream_lost(at, conn),
            Happening::RowArrives(at, conn, lane, row) => self.row_arrives(at, conn, lane, row),
            Happening::RowAnswered(at, conn, lane, seq, answer) => {
                self.row_answered(at, conn, lane, seq, answer);
            }
            Happening::RequestArrives(process, number, lane, rows) => {
                self.request_arrives(process, number, lane, rows);
            }
            Happening::RequestAnswered(process, number, lane, answer) => {
                if self.process.as_ref().is_some_and(|p| p.id == process) {
                    self.request_answered(number, lane, answer);
                }
            }
            Happening::RequestAgain(process, lane) => self.request_again(process, lane),
            Happening::LanesReport(process, at) => self.lanes_report(process, at),
            Happening::ReceiverComes(at) => self.receiver_away(at, false),
            Happening::Crashes(process, power) => {
                if self.process.as_ref().is_some_and(|p| p.id == process) {
                    self.strike(power);
                }
            }
            Happening::Starts => self.start(),
            Happening::Stopped(process, patience) => self.stopped(process, patience),
            Happening::Probes => self.probe(),
            Happening::Looks => self.look(),
            Happening::LastStart => self.last_start(),
        }
    }

    /// One more message of each key and kind, which has to pass. Where the broker has none to give
    /// them to, the sensors try again: a gateway that forgot to subscribe never gets them.
    fn probe(&mut self) {
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

    /// Whether everything is done.
    fn look(&mut self) {
        let healed_us = self.healed_us.unwrap_or(0);
        let unfinished = self.unfinished();
        if let Some(what) = unfinished {
            // What the mill writes down in its own time is nobody's loss.
            let idle = what == SOMETHING_TO_COMMIT;
            if self.agenda.now_us > healed_us + DRAIN_US + u64::from(idle) * LAZY_US {
                return self.fail("8: everything comes out within 20 s", what);
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
            // What stands now has to stand after a power cut as well.
            self.crash(true);
            self.agenda.after(400_000, Happening::LastStart);
        }
    }

    /// What is not done yet.
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
        let waits = |lane: &&tidemill::outbox::Lane| {
            let kept = &*lane.id().destination == tidemill::outbox::DEAD_LETTERS;
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

    /// Whether a lane has only rows that its endpoint refuses: they are no dead letters before it has
    /// taken another one.
    fn stands_still(&self, lane: &tidemill::outbox::Lane) -> bool {
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
        let untold = self
            .in_lanes()
            .find_map(|(name, lane)| Some((name, lane.untold()?)));
        if let Some((name, seq)) = untold {
            let what = format!("row {seq} of {name} never came, and no gap record tells it");
            return self.fail("4: gaps are told", what);
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
        if let Err(what) = self.shadow.compare(lsn, hash) {
            self.fail("6: the mill stands as its commits say", what);
        }
    }

    fn last_start(&mut self) {
        self.start();
        self.done = true;
    }
}
