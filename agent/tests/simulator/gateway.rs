//! One process of the gateway: the mill, driven as the agent drives it, and what its outputs cause.

use std::collections::VecDeque;

use tidemill::commit::outbox::Shipment;
use tidemill::event::Event;
use tidemill::event::emission::LaneId;
use tidemill::mill::{Checkpoint, Input, Mill, Output};
use tidemill::storage::readback::Readback;
use tidemill_journal::Journal;
use tidemill_journal::model::ModelDisk;
use tidemill_transport::topic::Subscription;

use crate::adapter::Adapter;
use crate::coverage::Sight;
use crate::invariants::tell_lanes;
use crate::journal::Writer;
use crate::plan::Moment;
use crate::rules::DESTINATIONS;
use crate::run::{Happening, Sim};
use crate::source::Source;

/// The mill's own hash is compared after one in so many commits.
const HASH_EVERY: u64 = 8;

/// The time that a step takes which leaves work for the next one, in microseconds.
const BUSY_US: u64 = 8_000;

/// Bytes of journal that are read at once.
const READ_BYTES: usize = 16 << 10;

/// A process.
pub(crate) struct Process {
    pub(crate) id: u64,
    pub(crate) mill: Mill,
    pub(crate) journal: Journal<ModelDisk>,
    pub(crate) readback: Readback<ModelDisk>,
    pub(crate) writer: Writer,
    pub(crate) pond_job: Option<Checkpoint>,
    pub(crate) source: Source,
    pub(crate) adapters: Vec<Adapter>,
    /// When the mill is to be turned because something is due.
    tick_us: Option<u64>,
    /// Events taken in since the last commit.
    pub(crate) open_events: usize,
    /// Reports of destinations since the last commit.
    pub(crate) open_reports: usize,
    /// Messages taken in on the connection of this epoch and not let go, in order.
    waiting: VecDeque<(u64, u16, u128, bool)>,
    /// An orderly stop is under way.
    pub(crate) stopping: bool,
    /// Messages are told apart by topic and payload.
    by_content: bool,
}

impl Process {
    pub(crate) fn new(
        id: u64,
        mill: Mill,
        journal: Journal<ModelDisk>,
        source: Source,
        by_content: bool,
    ) -> Self {
        Self {
            id,
            mill,
            readback: Readback::new(journal.reader(), READ_BYTES),
            journal,
            writer: Writer::default(),
            pond_job: None,
            source,
            adapters: DESTINATIONS.iter().map(|_| Adapter::default()).collect(),
            tick_us: None,
            open_events: 0,
            open_reports: 0,
            waiting: VecDeque::new(),
            stopping: false,
            by_content,
        }
    }

    /// A message is taken in whose acknowledgement has to come in its turn.
    fn note_waiting(&mut self, event: &Event) {
        let Some(delivery) = event.delivery() else {
            return;
        };
        let is_base = |held: &&Subscription| ["s/+", "a/+"].contains(&held.filter.as_str());
        let changes = event.fault.is_none() && !event.retained;
        let changes = changes
            && self.source.wanted.iter().filter(is_base).any(|base| {
                base.filter.matches(event.topic.as_str()) && event.subscriptions.answers(base.id)
            });
        let known_by = if self.by_content {
            delivery.fingerprint.content.into()
        } else {
            delivery.fingerprint.hash
        };
        let waits = (delivery.epoch, delivery.packet, known_by, changes);
        self.waiting.push_back(waits);
    }
}

impl Sim<'_> {
    /// The mill's loop gets round to the next report soon.
    pub(crate) fn turn_soon(&mut self) {
        let us = self.random.pick(&[0, 0, 300, 2_000]);
        let Some(process) = &mut self.process else {
            return;
        };
        if !std::mem::replace(&mut process.source.turn_due, true) {
            self.agenda.after(us, Happening::MillTurns(process.id));
        }
    }

    /// The loop takes one report of the source, if more can be taken in.
    pub(crate) fn mill_turns(&mut self, process: u64) {
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        process.source.turn_due = false;
        if process.stopping {
            return;
        }
        let may_take_in = process.journal.room() >= process.journal.reserve_bytes();
        let has_room = !process.mill.is_full() && !process.mill.has_arrived();
        if !has_room || !may_take_in {
            process.source.turn_due = true;
            let again = Happening::MillTurns(process.id);
            let us = if may_take_in { 2_000 } else { 20_000 };
            return self.agenda.after(us, again);
        }
        if let Some(report) = process.source.take_report() {
            let more = process.source.has_reports();
            self.turn_mill(report);
            if more {
                self.turn_soon();
            }
        }
    }

    /// Turns the mill once.
    pub(crate) fn turn_mill(&mut self, mut input: Input) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        match &mut input {
            Input::Events(events) => {
                for event in events.iter_mut() {
                    event.arrival_ms = now.wall_ms;
                    process.note_waiting(event);
                }
                process.open_events += events.len();
            }
            Input::Lane(_) => process.open_reports += 1,
            Input::Connected { .. } | Input::Disconnected => process.waiting.clear(),
            _ => {}
        }
        let took = matches!(input, Input::Events(_));
        let mut out = std::mem::take(&mut self.outputs);
        process.mill.step(now, input, &mut out);
        self.after_step(&mut out);
        self.outputs = out;
        if took {
            self.moment(Moment::Taken);
        }
    }

    /// Carries out what the mill asked for, and checks what has to hold after every step.
    pub(crate) fn after_step(&mut self, out: &mut Vec<Output>) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        process.mill.check_ledgers(out);
        if process
            .mill
            .rule_statuses(now)
            .any(|rule| rule.behind.is_some())
        {
            self.coverage.see(Sight::Behind);
        }
        let (lsn, _) = process.mill.lsns();
        let appended = out.iter().any(|o| matches!(o, Output::Append { .. }));
        if appended {
            process.open_events = 0;
            process.open_reports = 0;
            if process.mill.is_settled() && lsn.get().is_multiple_of(HASH_EVERY) {
                let told = if self.tells {
                    let ledgers: Vec<_> = process.mill.ledgers().collect();
                    let lanes = process.mill.outbox().map(tell_lanes);
                    format!("{ledgers:?}\n{}", lanes.unwrap_or_default().join("\n"))
                } else {
                    String::new()
                };
                self.shadow
                    .stands(lsn.get(), process.mill.state_hash(), told);
            }
        }
        for output in out.drain(..) {
            self.carry_out(output);
        }
        self.schedule_tick();
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append { lsn, bytes } => self.append(lsn.get(), bytes),
            Output::Acknowledge { epoch, packets } => self.acknowledge(epoch, packets),
            Output::Proceed { epoch } => self.proceed(epoch),
            Output::Answer { ticket, wanted, .. } => self.answered(ticket, wanted),
            Output::Ship(shipment) => {
                self.check_shipment(&shipment);
                self.ship(shipment);
            }
            Output::ReadBack {
                lane,
                wanted,
                relocate,
            } => self.read_back(lane, wanted, relocate),
            Output::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
            Output::Recycle { below_lsn } => self.recycle(below_lsn.get()),
            Output::Lost { lane, count } if self.unreadable_rows.is_empty() => {
                let what = format!("{count} rows of {lane} are not there");
                self.fail("6: rows are in the journal", what);
            }
            Output::Lost { lane, count } => {
                self.coverage.see(Sight::SectorLost);
                self.say(format_args!("{count} rows of {lane} cannot be read"));
            }
            Output::Unbalanced { what } => self.fail("5: ledgers balance", what),
            Output::DeadLetter(dead) => {
                self.coverage.enter(10);
                self.say(format_args!(
                    "dead letter of {:?}: {}",
                    dead.rule, dead.reason
                ));
            }
            Output::SessionLost => self.say(format_args!("the mill notes a lost session")),
            Output::Dropped { lane, count } => self.say(format_args!("{lane} dropped {count}")),
            Output::Refused { lane, count, .. } => {
                self.say(format_args!("{count} rows of {lane} are refused"));
            }
            Output::Silenced { producer, n, .. } => {
                self.sensors.silenced(&producer);
                self.say(format_args!("{producer} is silenced with {n}"));
            }
            Output::BadTime { rule, reason, .. } => {
                self.say(format_args!("bad time of {rule}: {reason}"));
            }
            Output::Quarantined { rule, .. } => self.say(format_args!("{rule} is quarantined")),
            Output::QuarantineLifted { rule } => {
                self.say(format_args!("{rule} is in quarantine no more"));
            }
            Output::StateForgotten { rule, .. } => {
                self.say(format_args!("the state of {rule} is forgotten"));
            }
            Output::NoRoom { rule, .. } => self.say(format_args!("{rule} found no room")),
            Output::Emission(_) | Output::Logs { .. } | Output::Invoked { .. } => {}
        }
    }

    fn check_shipment(&mut self, shipment: &Shipment) {
        let lane = LaneId {
            destination: DESTINATIONS[shipment.destination].into(),
            priority: shipment.priority,
        };
        let (first, last) = (shipment.rows.first(), shipment.rows.last());
        let (first, last) = (first.map_or(0, |r| r.seq), last.map_or(0, |r| r.seq));
        self.say(format_args!("ship {lane} {first}..{last}"));
        for row in &shipment.rows {
            if let Err(what) = self.shadow.leaves(&lane, row) {
                return self.fail("2: what leaves is durable", what);
            }
        }
    }

    fn acknowledge(&mut self, epoch: u64, packets: Vec<u16>) {
        self.say(format_args!("mill acknowledges {packets:?} of {epoch}"));
        for packet in &packets {
            let waits = self.process.as_mut().and_then(|p| p.waiting.pop_front());
            let Some((of, expected, hash, changes)) = waits else {
                let what = format!("{packet} is acknowledged and was not received");
                return self.fail("3: acknowledged in order, on its connection", what);
            };
            if (of, expected) != (epoch, *packet) {
                let what = format!("{packet} of {epoch}, where {expected} of {of} was the next");
                return self.fail("3: acknowledged in order, on its connection", what);
            }
            if !changes || self.truth.nameless {
                continue;
            }
            if let Err(what) = self.shadow.acknowledged(hash) {
                return self.fail("2: what is acknowledged is durable", what);
            }
        }
        self.queue_acks(epoch, packets);
    }

    fn schedule_tick(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let due = process.mill.next_due_mono_ms().unwrap_or(u64::MAX);
        // The agent's loop rests so long at most.
        let mut wait_us = due.saturating_sub(now.mono_ms).min(10_000) * 1_000;
        if process.mill.is_busy() {
            // The step that had no share for it took its time.
            wait_us = BUSY_US;
        }
        let at_us = self.agenda.now_us + wait_us;
        if process.tick_us.is_none_or(|at| at > at_us) {
            process.tick_us = Some(at_us);
            self.agenda
                .at(at_us, Happening::MillTicks(process.id, at_us));
        }
    }

    /// Turns the mill because something is due, or was.
    pub(crate) fn mill_ticks(&mut self, process: u64, at_us: u64) {
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        if process.tick_us == Some(at_us) {
            process.tick_us = None;
            self.turn_mill(Input::Tick);
        }
    }
}
