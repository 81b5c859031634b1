//! What the plan lets happen.

use std::rc::Rc;

use bytes::Bytes;
use tidemill::event::hash_bytes;
use tidemill::mill::Input;
use tidemill::topic::Topic;

use crate::broker::{Lost, Message};
use crate::crash::held;
use crate::plan::{Act, Kind, Names};
use crate::run::{Happening, Sim};

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
            Act::Stop => self.stop(),
            Act::StepClock { ms } => self.wall_step_ms += ms,
            Act::Redrive => self.redrive(),
            Act::Heal => self.heal(),
        }
    }

    /// A sensor publishes. Returns whether the broker has it for the rules that are checked.
    pub(crate) fn publish(&mut self, key: u8, kind: Kind) -> bool {
        if !self.broker.up {
            return false;
        }
        let message = Rc::new(self.message(key, kind));
        let uid = message.uid;
        let mut out = Vec::new();
        let accepted = self.broker.publish(&message, &mut out);
        self.say(format_args!(
            "message {uid} on {}, accepted {accepted}",
            message.topic
        ));
        if accepted && message.base.is_some() {
            self.truth.accepted(uid);
        }
        if message.topic.as_str().starts_with("r/") {
            self.truth.kept_live(uid);
        }
        if let Some(conn) = self.broker.conn {
            self.send_to_client(conn, out);
        }
        accepted && message.base.is_some()
    }

    fn message(&mut self, key: u8, kind: Kind) -> Message {
        let level = match kind {
            Kind::Alarm => "a",
            Kind::Retained => "r",
            Kind::Careless => "z",
            Kind::Unwanted => "n",
            _ => "s",
        };
        let base = match kind {
            Kind::Alarm => Some("a/+"),
            Kind::Reading | Kind::Poison | Kind::Garbage | Kind::KeptReading => Some("s/+"),
            _ => None,
        };
        let v = self.random.below(10);
        let odd = v % 2 == 1 && kind != Kind::Garbage;
        let uid = self.truth.published(key, base, odd);
        // Nearly all have a name, where names are used.
        let named = self.setup.has_names() && !uid.is_multiple_of(16);
        let named = named && !(self.setup.names == Names::Pointer && kind == Kind::Garbage);
        let number = match self.setup.same_content {
            true => String::new(),
            false => format!("\"u\":{uid},"),
        };
        let name = match named && self.setup.names == Names::Pointer {
            true => format!(",\"id\":\"{}\"", own_name(level, key, uid)),
            false => String::new(),
        };
        let t = if kind == Kind::Poison { -1 } else { 20 };
        let end = if kind == Kind::Garbage { "" } else { "}" };
        let payload = format!("{{{number}\"v\":{v},\"t\":{t}{name}{end}");
        let properties = match named && self.setup.names == Names::Property {
            true => format!("{{\"eid\":\"{}\"}}", own_name(level, key, uid)),
            false => String::new(),
        };
        let topic = format!("{level}/k{key}");
        Message {
            uid,
            hash: hash_bytes(&[topic.as_bytes(), payload.as_bytes(), properties.as_bytes()]),
            content: hash_bytes(&[topic.as_bytes(), payload.as_bytes()]) as u64,
            topic: Topic::new(&topic).unwrap(),
            payload: Bytes::from(payload),
            properties: Bytes::from(properties),
            acknowledged: kind != Kind::Careless,
            oversized: kind == Kind::Oversized,
            kept: matches!(kind, Kind::Retained | Kind::KeptReading),
            named,
            base,
        }
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
            if let Err(what) = self.shadow.compare(lsn, hash) {
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
        if self.dying.take().is_some() {
            // Whatever was to die has not: it does now.
            self.crash(false);
            self.disk.kill(0);
        }
        self.broker.up = true;
        self.disk.set_room(None);
        // Slow hardware is a fault, too.
        (self.setup.sync_us, self.setup.upstream_us) = ((500, 3_000), (300, 2_000));
        (self.setup.wire_us, self.setup.broker_us) = ((300, 2_000), (0, 500));
        for destination in 0..self.receivers.len() {
            self.receivers[destination].away = false;
        }
        self.agenda.after(0, Happening::Starts);
        self.agenda.after(1_000_000, Happening::Probes);
        self.agenda.after(1_100_000, Happening::Looks);
    }
}

/// A message's own name: numbered by its key, or a word.
fn own_name(level: &str, key: u8, uid: usize) -> String {
    match key % 2 {
        0 => format!("{level}{key}:{uid}"),
        _ => format!("x{uid}"),
    }
}
