//! One seed: the plan's acts and what follows from them, one after the other, until everything that
//! should come out has come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use tidemill::commit::outbox::Wanted;
use tidemill::event::emission::{LaneId, Row};
use tidemill::mill::Output;
use tidemill_journal::model::ModelDisk;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::coverage::{Coverage, Sight};
use crate::ending::Standing;
use crate::gateway::Process;
use crate::invariants::Shadow;
use crate::link::Link;
use crate::local::Local;
use crate::plan::{Act, Keeper, Learned, Moment, Plan, Setup};
use crate::pond::Ponds;
use crate::receiver::{Answer, Receiver};
use crate::rules::{DESTINATIONS, Workshop};
use crate::sensor::Sensors;
use crate::truth::Truth;
use crate::world::{Agenda, Random, Trace};

/// An event of the simulation.
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
    OverwritingWorks,
    ReadFails(u64, LaneId),
    UpstreamConnects(u64, usize),
    UpstreamNotices(usize, u64),
    RowArrives(usize, u64, usize, Row),
    RowAnswered(usize, u64, usize, u64, Answer),
    RequestMoves(u64, u64, usize),
    RequestDeadline(u64, u64, usize),
    RequestArrives(u64, u64, usize, Vec<Row>),
    RequestAnswered(u64, u64, usize, Option<Answer>),
    RequestAgain(u64, usize),
    LanesReport(u64, usize),
    ReceiverComes(usize),
    Crashes(u64, bool),
    Starts,
    Stopped(u64, u32),
    ClockSynced(u64),
    Probes,
    Looks,
    Asks,
    LastStart,
}

/// An invariant that does not hold.
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
    /// When the world began, for spans of time.
    pub(crate) epoch: Instant,
    pub(crate) disk: ModelDisk,
    pub(crate) ponds: Ponds,
    pub(crate) process: Option<Process>,
    pub(crate) processes: u64,
    pub(crate) outputs: Vec<Output>,
    /// The deployment that lies on disk.
    pub(crate) variant: u8,
    pub(crate) boot: u64,
    pub(crate) clock: Clock,
    pub(crate) sensors: Sensors,
    pub(crate) local: Option<Local>,
    pub(crate) armed: Vec<(Moment, bool, u64)>,
    /// A step has little share, so that rules are behind and panes close over many steps.
    pub(crate) is_slow: bool,
    /// So many times.
    pub(crate) cut_when_confirmed: u32,
    /// The disk is about to stop: whether because the power fails.
    pub(crate) dying: Option<bool>,
    pub(crate) disk_failed: bool,
    /// Starts that failed since the last one that did not.
    pub(crate) failed_starts: u32,
    /// Records that cannot be read any more.
    pub(crate) unreadable: BTreeSet<u64>,
    /// The rows in them.
    pub(crate) unreadable_rows: BTreeMap<(LaneId, u64), Row>,
    /// Segments whose header cannot be read any more, with their last record.
    pub(crate) headerless: Vec<(String, u64)>,
    pub(crate) damage_pond: bool,
    pub(crate) pond_failures: u64,
    pub(crate) checkpoint_cost: u64,
    /// The process read from the page cache what was never synced.
    pub(crate) read_from_cache: bool,
    /// The gateway was told that its session is lost and has not subscribed since.
    pub(crate) connack_lost_session: bool,
    pub(crate) healed_us: Option<u64>,
    pub(crate) quiet: u32,
    /// Standing when something happened last after the last fault, and when that was.
    pub(crate) still: (Standing, u64),
    /// For each key, bits of the probes that the broker took after the last fault.
    pub(crate) probed: Vec<u8>,
    /// `true` if a person watches: more is told.
    pub(crate) tells: bool,
    pub(crate) done: bool,
}

/// Outcome of a seed.
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
            epoch: Instant::now(),
            disk: ModelDisk::default(),
            ponds: Ponds::default(),
            process: None,
            processes: 0,
            outputs: Vec::new(),
            variant: 0,
            boot: 1,
            clock: Clock::new(setup.learned.keeper),
            sensors: Sensors::default(),
            local: Local::of(seed),
            // Nothing is drawn for it, so that seeds go on to mean what they meant.
            is_slow: seed % 5 == 4,
            armed: Vec::new(),
            cut_when_confirmed: 0,
            dying: None,
            disk_failed: false,
            failed_starts: 0,
            unreadable: BTreeSet::new(),
            unreadable_rows: BTreeMap::new(),
            headerless: Vec::new(),
            damage_pond: false,
            pond_failures: 0,
            checkpoint_cost: 0,
            read_from_cache: false,
            connack_lost_session: false,
            healed_us: None,
            quiet: 0,
            still: Default::default(),
            probed: vec![0; usize::from(setup.keys)],
            tells: echo,
            done: false,
            setup,
        };
        if sim.is_slow {
            let crash = |n: u64| (Moment::Closing, n.is_multiple_of(2), 0);
            sim.armed.extend((seed..seed + 3).map(crash));
        }
        sim.shadow.by_content = sim.setup.learned.versions;
        sim.truth.nameless = sim.setup.same_content;
        sim.disk.set_room(sim.setup.room());
        let Learned {
            receive_max,
            rate,
            sensor_rate,
            ..
        } = sim.setup.learned;
        if sim.setup.out_of_order {
            sim.coverage.see(match receive_max {
                ..=8 => Sight::SmallWindow,
                _ => Sight::LargeWindow,
            });
        }
        if rate.is_some() {
            sim.coverage.see(Sight::SlowLink);
        }
        if sensor_rate.is_some() {
            sim.coverage.see(Sight::SlowSensors);
        }
        if sim.setup.learned.keeper == Keeper::Nobody {
            sim.coverage.see(Sight::NeverSynced);
        }
        if let Some(local) = &mut sim.local {
            sim.agenda.after(local.rest_us(), Happening::Asks);
        }
        let setup = format!("{:?}", sim.setup);
        sim.say(format_args!("{setup}"));
        sim
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.say(self.agenda.now_us, what);
    }

    /// Notes that an invariant does not hold. The first one counts.
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
            Happening::RoomComes => self.disk.set_room(self.setup.room()),
            Happening::OverwritingWorks => self.disk.set_full_for_overwriting(false),
            Happening::ReadFails(process, lane) => self.read_fails(process, lane),
            Happening::UpstreamConnects(process, at) => self.upstream_connects(process, at),
            Happening::UpstreamNotices(at, conn) => self.upstream_lost(at, conn),
            Happening::RowArrives(at, conn, lane, row) => self.row_arrives(at, conn, lane, row),
            Happening::RowAnswered(at, conn, lane, seq, answer) => {
                self.row_answered(at, conn, lane, seq, answer);
            }
            Happening::RequestMoves(process, number, lane) => {
                if self.process.as_ref().is_some_and(|p| p.id == process) {
                    self.request_moves(number, lane);
                }
            }
            Happening::RequestDeadline(process, number, lane) => {
                if self.process.as_ref().is_some_and(|p| p.id == process) {
                    self.request_deadline(number, lane);
                }
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
            Happening::ClockSynced(boot) => self.clock_synced(boot),
            Happening::Probes => self.probe(),
            Happening::Looks => self.look(),
            Happening::Asks => self.asks(),
            Happening::LastStart => self.last_start(),
        }
    }
}
