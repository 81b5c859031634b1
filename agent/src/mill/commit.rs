//! The end of a step in a mill that keeps a journal: commits the batch when it is time, releases
//! acknowledgements and rows that waited for a commit, hands rows out, makes checkpoints.

use crate::commit::record::{Commit, Dead, Receipt, Section, entries};
use crate::event::clock::Now;
use crate::event::emission::Made;
use tidemill_base::sabotage::{self, Sabotage};

use super::Mill;
use super::durable::Due;
use super::letters::Letters;
use super::output::{DeadLetter, Emitted, Output};

impl Mill {
    /// Makes rows of the emissions of durable rules since output number `first`, and dead letters
    /// of events that failed.
    pub(super) fn keep(&mut self, first: usize, now: Now, out: &mut Vec<Output>) {
        if let Some(made) = out.get(first..) {
            self.watch(made);
        }
        if self.durable.is_none() || out.len() == first {
            return;
        }
        let kept = |output: &mut Output| match output {
            Output::Emission(sent) => !sent.port.volatile,
            Output::DeadLetter(dead) => !dead.volatile,
            _ => false,
        };
        let taken: Vec<Output> = out.extract_if(first.., kept).collect();
        let dead = taken.iter().filter_map(|output| match output {
            Output::DeadLetter(dead) => Some(dead),
            _ => None,
        });
        let mut letters = Letters::of(dead, self.in_seq);
        for output in taken {
            match output {
                Output::Emission(sent) => self.keep_row(sent, now),
                Output::DeadLetter(dead) => {
                    let room = letters.room_for(&dead);
                    self.keep_dead_letter(&dead, room, now);
                    out.push(Output::DeadLetter(dead));
                }
                other => out.push(other),
            }
        }
    }

    fn keep_row(&mut self, sent: Emitted, now: Now) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let lsn = durable.lsn();
        let priority = sent.port.priority;
        durable.batch.urgent |= priority == crate::event::emission::Priority::High;
        durable.batch.open(now);
        let row = crate::event::emission::Row {
            seq: 0,
            rule: sent.port.rule.clone(),
            topic: sent.topic,
            payload: sent.payload,
            at_ms: sent.at_ms,
            made_ms: durable.age.ms(now),
            qos: sent.port.qos,
            retain: sent.port.retain,
        };
        durable
            .outbox
            .push(sent.port.destination, priority, row, lsn);
    }

    /// Keeps a dead letter as far as it has room; `None` if it is only counted.
    pub(super) fn keep_dead_letter(&mut self, dead: &DeadLetter, room: Option<usize>, now: Now) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let batch = &mut durable.batch;
        batch.open(now);
        batch.dead_letters += 1;
        let topic_bytes = dead.topic.as_str().len();
        let Some(free) = room.filter(|room| *room >= topic_bytes) else {
            return;
        };
        let kept = Dead {
            version: dead.version,
            reason: dead.reason.clone(),
            fuel: dead.fuel,
            lane: None,
            qos: 0,
            retain: false,
            payload: dead.payload.clone(),
            properties: dead.properties.clone(),
            missing: 0,
        };
        let kept = kept.within(free - topic_bytes);
        batch.dead_letter_bytes += topic_bytes + kept.payload.len() + kept.properties.len();
        let lsn = durable.lsn();
        durable.outbox.bury(
            dead.rule.clone(),
            dead.topic.clone(),
            dead.at_ms,
            &kept,
            lsn,
        );
    }

    /// Ends the work on an event, and commits if the batch is full with it.
    pub(super) fn commit_if_full(&mut self, now: Now, out: &mut Vec<Output>) {
        let full = |durable: &super::durable::Durable| durable.is_due(now) == Some(Due::Full);
        if self.durable.as_deref().is_some_and(full) {
            self.commit(now, out);
        }
    }

    /// Ends a step.
    pub(super) fn end_step(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        if durable
            .age_check_mono_ms()
            .is_some_and(|at| at <= now.mono_ms)
        {
            durable.age_checked_mono_ms = Some(now.mono_ms);
            durable.outbox.drop_old(durable.age.ages(now));
        }
        let (lsn, durable_lsn) = (durable.lsn(), durable.durable_lsn);
        if durable.outbox.cut_requests(lsn, durable_lsn) {
            durable.batch.urgent = true;
        }
        durable.open_for_rows(now);
        if durable.answers.wait_for(lsn) {
            // Once for all requests of a step: each with a commit of its own would be a record each.
            durable.batch.open(now);
            durable.batch.urgent = true;
        }
        match durable.is_due(now) {
            Some(Due::TimeIsUp) => {
                let interval = durable.keeping.commit_interval_ms;
                let open = durable.batch.receipts.len();
                durable.session.stall.timed_out(now.mono_ms, open, interval);
                self.commit(now, out);
            }
            Some(Due::Full) => self.commit(now, out),
            None => {}
        }
        self.make_checkpoint(now, out);
        self.let_go(now, out);
        while self.commit_what_moved(now, out) {
            self.let_go(now, out);
        }
    }

    /// Commits rows that were given up or written anew, some at a time: there may be many. Returns
    /// `true` if there may be more.
    fn commit_what_moved(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let Some(durable) = &mut self.durable else {
            return false;
        };
        durable.open_for_rows(now);
        let is_full = durable.is_due(now) == Some(Due::Full);
        if is_full {
            self.commit(now, out);
        }
        is_full
    }

    /// Commits the changes since the last commit, if there are any.
    pub(super) fn commit(&mut self, now: Now, out: &mut Vec<Output>) {
        let in_seq = self.in_seq;
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        if !durable.batch.is_open() && !durable.outbox.is_changed() {
            return;
        }
        let lsn = durable.lsn();
        let made = Made {
            at_ms: now.wall_ms,
            made_ms: durable.age.ms(now),
        };
        for (lane, count) in durable.outbox.record_gaps(made, lsn) {
            out.push(Output::Dropped { lane, count });
        }
        let mut batch = std::mem::take(&mut durable.batch);
        batch.touched.sort_unstable();
        let rules = &mut self.rules;
        let deltas = batch
            .touched
            .iter()
            .filter_map(|rule| rules.get_mut(*rule as usize)?.take_delta());
        let mut deltas: Vec<_> = deltas.collect();
        deltas.append(&mut batch.went);
        let boot = durable.boot.take();
        let commit = Commit {
            in_seq,
            now,
            age: durable.age.age(),
            offs: durable.age.take_offs(),
            boot,
            generation: durable.session.receipts.generation(),
            counts: batch.counts,
            receipts: batch.receipts,
            voided: batch.voided,
            event_ids: batch.event_ids,
            rules: deltas,
            lanes: durable.outbox.take_deltas(),
            subscriptions: batch.subscriptions,
            sections: Section::forgotten(&batch.forgotten).into_iter().collect(),
        };
        durable.remember(&commit);
        if sabotage::is(Sabotage::HalfBatch) && !commit.receipts.is_empty() {
            self.commit_by_halves(commit, out);
            return;
        }
        durable.append(&commit, out);
    }

    /// Splits a batch in two, as a test does to show that it has to be one record.
    fn commit_by_halves(&mut self, commit: Commit, out: &mut Vec<Output>) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let receipts = Commit {
            rules: Vec::new(),
            lanes: Vec::new(),
            ..commit.clone()
        };
        durable.append(&receipts, out);
        let effects = Commit {
            receipts: Vec::new(),
            voided: Vec::new(),
            event_ids: Vec::new(),
            counts: Default::default(),
            boot: None,
            ..commit
        };
        durable.append(&effects, out);
    }

    /// Commits the changes of a deployment, rule by rule: states that were migrated may be large.
    pub(super) fn commit_deployment(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.durable.is_none() {
            return;
        }
        for at in 0..self.rules.len() {
            let changed = self.rules.get(at).is_some_and(|active| {
                !active.is_volatile()
                    && (active.keys.is_changed() || active.record() != active.committed.record)
            });
            let (Some(durable), Some(active), true) =
                (&mut self.durable, self.rules.get(at), changed)
            else {
                continue;
            };
            let large = active.keys.changed_keys() > 64;
            durable.touch(active.index);
            durable.batch.open(now);
            if large {
                self.commit(now, out);
            }
        }
        self.commit(now, out);
    }

    fn make_checkpoint(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = |durable: &super::durable::Durable| durable.checkpoints.is_due(now);
        if self.durable.as_deref().is_some_and(due) {
            self.forget_old_dormant(now, out);
            // So that nothing of the state is newer than its commit.
            self.commit(now, out);
            self.fill_checkpoint(now);
        }
        let Some(durable) = &mut self.durable else {
            return;
        };
        if let Some(checkpoint) = durable.checkpoints.take(durable.durable_lsn) {
            out.push(Output::Checkpoint(checkpoint));
        }
    }

    fn fill_checkpoint(&mut self, now: Now) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let mut checkpoint = durable.checkpoints.begin(durable.next_lsn - 1);
        durable.put_into(&mut checkpoint);
        let oldest_row = durable.outbox.oldest_lsn();
        self.put_rules_into(&mut checkpoint);
        if let Some(durable) = &mut self.durable {
            durable.checkpoints.filled(checkpoint, oldest_row, now);
        }
    }

    /// Releases everything that waited for the commits that are durable by now.
    fn let_go(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let durable_lsn = durable.durable_lsn;
        durable.session.release(now, durable_lsn, out);
        durable.answers.release(durable_lsn, out);
        let lsn = durable.lsn();
        let has_patience = durable.has_patience();
        for shipment in durable.outbox.hand_out(durable_lsn, lsn, has_patience) {
            out.push(Output::Ship(shipment));
        }
        for (lane, wanted) in durable.outbox.wants(durable_lsn) {
            out.push(Output::ReadBack {
                lane,
                wanted,
                relocate: false,
            });
        }
        let is_relocating = durable.checkpoints.is_relocating();
        let oldest = durable.outbox.oldest_lsn_if(is_relocating);
        if let Some(pinned_max) = durable.pinned_bytes_max()
            && let Some(floor) = durable.checkpoints.relocate_before(oldest, pinned_max)
            && has_patience
            && let Some((lane, wanted)) = durable.outbox.relocate(floor, lsn, durable_lsn)
        {
            out.push(Output::ReadBack {
                lane,
                wanted,
                relocate: true,
            });
        }
    }

    /// Tells of state that had to go because it had no room, where it is time to.
    pub fn tell_losses(&mut self, now: Now, out: &mut Vec<Output>) {
        for active in &mut self.rules {
            out.extend(active.losses(now));
        }
    }

    /// Checks that everything that was counted is somewhere.
    pub fn check_ledgers(&self, out: &mut Vec<Output>) {
        for active in self.rules.iter().filter(|active| !active.ledger.balances()) {
            let what = format!("rule {}: {:?}", active.rule.name, active.ledger);
            out.push(Output::Unbalanced { what });
        }
        let Some(durable) = &self.durable else {
            return;
        };
        for lane in durable.outbox.lanes().filter(|lane| !lane.balances()) {
            let (counts, waiting) = (lane.counts(), lane.waiting());
            let what = format!("lane {}: {counts:?}, {waiting} waiting", lane.id());
            out.push(Output::Unbalanced { what });
        }
        let mut counts = durable.record.counts;
        counts.add(&durable.batch.counts);
        if !counts.balances() {
            let what = format!("intake: {counts:?}");
            out.push(Output::Unbalanced { what });
        }
    }
}

impl super::durable::Durable {
    /// Remembers the state that this commit holds as that of the last commit.
    fn remember(&mut self, commit: &Commit) {
        let record = &mut self.record;
        record.in_seq = commit.in_seq;
        (record.mono_ms, record.wall_ms) = (commit.now.mono_ms, commit.now.wall_ms);
        (record.quality, record.age) = (commit.now.quality, commit.age);
        if let Some(offs) = &commit.offs {
            record.offs.clone_from(offs);
        }
        if let Some(boot) = &commit.boot {
            record.boot_id.clone_from(&boot.id);
        }
        record.generation = commit.generation;
        record.counts.add(&commit.counts);
        if let Some(text) = &commit.subscriptions {
            self.session.subscriptions.clone_from(text);
        }
    }

    /// Adds everything besides the rules to a checkpoint.
    fn put_into(&mut self, checkpoint: &mut super::output::Checkpoint) {
        let pond = checkpoint.pond;
        let puts = &mut checkpoint.puts;
        puts.push(entries::agent(&self.record));
        puts.push(entries::subscriptions(&self.session.subscriptions));
        let receipts: Vec<Receipt> = self.session.receipts.iter().copied().collect();
        let receipts = entries::receipts(&receipts);
        let ids = entries::event_ids(&self.event_ids.records(entries::EVENT_IDS_EACH));
        let count =
            |entries: &Vec<entries::Entry>| u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let counts = (count(&receipts), count(&ids));
        let before = self.checkpoints.numbered(pond, counts);
        puts.extend(receipts);
        puts.extend(ids);
        let removes = &mut checkpoint.removes;
        removes.extend((counts.0..before.0).map(entries::receipts_key));
        removes.extend((counts.1..before.1).map(entries::event_ids_key));
        for lane in self.outbox.lanes() {
            puts.push(entries::lane(lane.id(), &lane.record()));
        }
    }
}
