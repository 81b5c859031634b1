//! Acts of the plan.

use tidemill::mill::Input;

use crate::broker::Lost;
use crate::coverage::Sight;
use crate::crash::held;
use crate::plan::{Act, Miscount};
use crate::rules::HUB;
use crate::run::{Happening, Sim};

/// A line that breaks right behind an answer is a bad one: the next connections break there as well.
const BREAKS_IN_A_ROW: u32 = 3;

impl Sim<'_> {
    pub(crate) fn act(&mut self, act: Act) {
        if !matches!(act, Act::Publish { .. }) {
            self.say(format_args!("{act:?}"));
        }
        match act {
            Act::Publish { key, kind } => {
                self.publish(key, kind);
            }
            Act::Crash { power } => self.strike(power),
            Act::CrashAt {
                moment,
                power,
                after_us,
            } => self.armed.push((moment, power, after_us)),
            Act::DieAfter { operations, power } => {
                self.dying = Some(power);
                self.disk.die_after(operations);
            }
            Act::Cut { client_first } => self.cut(client_first),
            Act::CutWhenConfirmed => self.cut_when_confirmed = BREAKS_IN_A_ROW,
            Act::BrokerAway { ms } => {
                self.broker.up = false;
                self.drop_all_links();
                self.agenda.after(ms * 1_000, Happening::BrokerComes);
            }
            Act::Snapshot => self.broker.take_snapshot(),
            Act::Rewind => self.rewind(),
            Act::LoseSession => {
                let lost = self.broker.lose_session();
                self.note_lost(&lost);
                self.drop_all_links();
            }
            Act::FailSync => {
                let seed = self.random.next();
                self.disk.fail_next_sync(seed);
            }
            Act::FailWrite { writes } => self.disk.fail_write_after(writes),
            Act::NoRoom { ms } => {
                self.disk.set_room(Some(0));
                self.agenda.after(ms * 1_000, Happening::RoomComes);
            }
            Act::NoOverwriting { ms } => {
                self.coverage.see(Sight::NoOverwriting);
                self.disk.set_full_for_overwriting(true);
                self.agenda.after(ms * 1_000, Happening::OverwritingWorks);
            }
            Act::LoseSector => self.lose_sector(),
            Act::PondFails => {
                self.ponds.fails = true;
                self.pond_failures += 1;
            }
            Act::DamagePond => self.damage_pond = true,
            Act::Redeploy { variant } => self.redeploy(variant),
            Act::ReceiverAway { destination, ms } => {
                self.receiver_away(destination, true);
                let back = Happening::ReceiverComes(destination);
                self.agenda.after(ms * 1_000, back);
            }
            Act::ReceiverCut { destination } => self.receiver_cut(destination),
            Act::ReceiverStalls { destination, ms } => {
                self.coverage.see(Sight::Stalls);
                self.receivers[destination].stalls_until_us = self.agenda.now_us + ms * 1_000;
            }
            Act::EndpointRefuses { ms } => {
                self.coverage.see(Sight::RefusesAll);
                self.receivers[HUB].refuses_until_us = self.agenda.now_us + ms * 1_000;
            }
            Act::Stop => self.stop(),
            Act::StepClock { ms } => self.step_clock(ms),
            Act::Sleep { ms } => self.sleep(ms),
            Act::Off { ms } => self.power_off(ms),
            Act::Miscounts { key, how } => self.miscounts(key, how),
            Act::Forget { key } => self.forget_producer(key),
            Act::Repeats { key } => self.publish_again(key),
            Act::Twin { key } => self.publish_first_twin(key),
            Act::TwinAgain { key } => self.publish_second_twin(key),
            Act::Redrive => self.redrive(),
            Act::Heal => self.heal(),
        }
    }

    /// A sensor counts wrongly from now on, or once.
    fn miscounts(&mut self, key: u8, how: Miscount) {
        self.coverage.see(match how {
            Miscount::Wild => Sight::Wild,
            Miscount::Ahead => Sight::Ahead,
            Miscount::Anew => Sight::Anew,
        });
        self.sensors.miscount(key, how, self.truth.messages());
    }

    fn rewind(&mut self) {
        let Some(lost) = self.broker.rewind(self.setup.rewind_forgets_dup) else {
            return;
        };
        self.coverage.enter(8);
        self.note_lost(&lost);
        self.drop_all_links();
    }

    fn note_lost(&mut self, lost: &Lost) {
        lost.gone.iter().for_each(|uid| self.truth.lost(*uid));
        lost.again.iter().for_each(|uid| self.truth.again(*uid));
        let back = lost.back.iter();
        back.for_each(|uid| self.truth.out_of_order(*uid));
        let (gone, again) = (lost.gone.len(), lost.again.len());
        self.say(format_args!("broker lost {gone}, sends {again} again"));
    }

    /// The broker reads a CONNECT: which session there is.
    pub(crate) fn note_session_present(&mut self) {
        if std::mem::take(&mut self.broker.reused) {
            self.coverage.enter(5);
        }
    }

    fn redeploy(&mut self, variant: u8) {
        self.variant = variant;
        let names = self.setup.variant(variant);
        let now = self.now();
        let Some(process) = &mut self.process else {
            return;
        };
        // As the agent does it: a filter on its way to the broker keeps its number.
        let known = [process.source.wanted.clone(), held(&process.mill)].concat();
        let deployment = self.workshop.deployment(&names, &known);
        process.source.wanted.clone_from(&deployment.subscriptions);
        let mut out = std::mem::take(&mut self.outputs);
        process
            .mill
            .deploy(now, deployment, &mut out)
            .unwrap_or_else(|error| panic!("{error}"));
        self.after_step(&mut out);
        self.outputs = out;
        self.coverage.enter(13);
        self.aim();
    }

    /// An orderly stop: nothing more is taken in, all is committed and written into a pond.
    fn stop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.stopping = true;
        let id = process.id;
        self.turn_mill(Input::Flush);
        self.agenda.after(10_000, Happening::Stopped(id, 400));
    }

    pub(crate) fn stopped(&mut self, process: u64, patience: u32) {
        let Some(process) = self.process.as_ref().filter(|p| p.id == process) else {
            return;
        };
        if !process.mill.is_flushed() && patience > 0 {
            let again = Happening::Stopped(process.id, patience - 1);
            return self.agenda.after(10_000, again);
        }
        if process.mill.is_flushed() {
            let (lsn, _) = process.mill.lsns();
            let hash = process.mill.state_hash();
            if let Err(what) = self.shadow.compare(lsn.get(), hash) {
                return self.fail("6: the mill stands as its commits say", what);
            }
        }
        self.crash(false);
    }

    fn redrive(&mut self) {
        let shelf = self
            .process
            .as_ref()
            .and_then(|process| process.mill.outbox())
            .and_then(|outbox| outbox.dead_letters());
        // Only what rules could not digest: a row would count once more.
        let events = shelf.into_iter().flat_map(|shelf| shelf.rows());
        let seq = events
            .filter(|row| &*row.rule == "fragile")
            .map(|row| row.seq)
            .next();
        if let Some(seq) = seq {
            self.turn_mill(Input::Redrive(seq));
        }
    }

    /// From now on everything works.
    fn heal(&mut self) {
        self.healed_us = Some(self.agenda.now_us);
        self.armed.clear();
        self.cut_when_confirmed = 0;
        if self.dying.take().is_some() {
            // Whatever was to die has not: it does now.
            self.crash(false);
            self.disk.kill(0);
        }
        (self.broker.up, self.broker.is_steady) = (true, true);
        self.disk.set_room(self.setup.room());
        self.disk.set_full_for_overwriting(false);
        // Slow hardware is a fault, too.
        (self.setup.sync_us, self.setup.upstream_us) = ((500, 3_000), (300, 2_000));
        (self.setup.wire_us, self.setup.broker_us) = ((300, 2_000), (0, 500));
        self.setup.learned.sensor_rate = None;
        let is_slow = self.setup.learned.rate.take().is_some();
        for destination in 0..self.receivers.len() {
            self.receivers[destination].mends();
            if is_slow && destination != HUB {
                // Bytes on a slow way do not come any more.
                self.receiver_cut(destination);
            }
        }
        if is_slow {
            self.lose_requests();
        }
        self.agenda.after(0, Happening::Starts);
        self.agenda.after(1_000_000, Happening::Probes);
        self.agenda.after(1_100_000, Happening::Looks);
    }
}
