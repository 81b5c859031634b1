//! Changes of the rules: since the last commit, for the journal, and since a state database was
//! last written, for that. One hash over all state tells two mills apart.

use std::collections::BTreeMap;

use crate::commit::image::{Parts, RuleParts, hash, rules_hash};
use crate::commit::record::{AgentRecord, Receipt, RuleDelta, RuleRecord, entries};
use crate::event::ledger::Ledger;
use crate::event::state::Key;

use super::Mill;
use super::active::Active;
use super::keys::Forgotten;
use super::output::Checkpoint;

impl Active {
    /// The part of the rule's state that is kept besides its keys.
    pub(super) fn record(&self) -> RuleRecord {
        RuleRecord {
            schema: self.module.manifest.state.schema,
            window: self.window_code(),
            panes: self.panes.clone(),
            slots: self.schedule_slots(),
            naming: self.naming.clone(),
            closing: self.cursor(),
            is_behind: self.behind() > 0,
        }
    }

    /// Takes the changes since the last commit, for the commit that is going to hold them.
    pub(super) fn take_delta(&mut self) -> Option<RuleDelta> {
        if self.is_volatile() {
            return None;
        }
        let record = self.record();
        let mut delta = RuleDelta {
            name: self.rule.name.to_string(),
            counts: self.ledger.since(&self.committed.counts),
            record: (record != self.committed.record).then(|| record.clone()),
            same_naming: record.naming == self.committed.record.naming,
            keys: self.keys.take_changes(),
        };
        if delta.counts == Ledger::default() && delta.record.is_none() && delta.keys.is_empty() {
            return None;
        }
        self.committed.counts.add(&delta.counts);
        self.committed.record = record;
        // Of what was never dropped nothing is to be said.
        delta.counts.dropped.retain(|_, count| *count > 0);
        Some(delta)
    }

    /// Adds to a checkpoint the changes that its database does not hold yet.
    fn put_into(&mut self, checkpoint: &mut Checkpoint) {
        let Checkpoint {
            pond,
            full,
            puts,
            removes,
            ..
        } = checkpoint;
        let name = &*self.rule.name;
        puts.push(entries::rule(name, &self.record(), &self.ledger));
        let mut pieces: BTreeMap<Key, u16> = BTreeMap::new();
        for (key, state) in self.keys.dirty(*pond, *full) {
            let state = entries::state(name, key, state);
            pieces.insert(key.clone(), u16::try_from(state.len()).unwrap_or(u16::MAX));
            puts.extend(state);
        }
        let Forgotten { gone, too_many } = self.keys.stored(*pond, &pieces);
        for (key, count) in gone {
            removes.extend((0..count).map(|piece| entries::state_key(name, &key, piece)));
        }
        for (key, from, to) in too_many {
            removes.extend((from..to).map(|piece| entries::state_key(name, &key, piece)));
        }
    }
}

impl Mill {
    /// Adds the rules to a checkpoint.
    pub(super) fn put_rules_into(&mut self, checkpoint: &mut Checkpoint) {
        for active in self.rules.iter_mut().filter(|active| !active.is_volatile()) {
            active.put_into(checkpoint);
        }
        if !checkpoint.full {
            return;
        }
        for (name, rule) in &self.dormant {
            let puts = &mut checkpoint.puts;
            puts.push(entries::rule(name, &rule.record, &rule.counts));
            for (key, state) in &rule.keys {
                puts.extend(entries::state(name, key, state));
            }
        }
    }

    /// One hash over everything that a replay must bring back: counts, rules, keys and states, and
    /// in a mill that keeps a journal receipts and lanes as well.
    pub fn state_hash(&self) -> [u8; 32] {
        self.with_rules(|rules| self.hash_with(rules))
    }

    /// One hash over the state of all rules.
    pub fn rules_hash(&self) -> [u8; 32] {
        self.with_rules(rules_hash)
    }

    fn with_rules<T>(&self, hash: impl FnOnce(Vec<RuleParts<'_>>) -> T) -> T {
        let actives = self.rules.iter().filter(|active| !active.is_volatile());
        let records: Vec<(&Active, RuleRecord)> =
            actives.map(|active| (active, active.record())).collect();
        let mut rules: Vec<RuleParts<'_>> = records
            .iter()
            .map(|(active, record)| {
                let keys = active.keys.sorted();
                (&*active.rule.name, record, &active.ledger, keys)
            })
            .collect();
        rules.extend(self.dormant.iter().map(|(name, rule)| {
            let keys = rule.keys.iter().collect();
            (name.as_str(), &rule.record, &rule.counts, keys)
        }));
        rules.sort_by_key(|(name, ..)| *name);
        hash(rules)
    }

    fn hash_with(&self, rules: Vec<RuleParts<'_>>) -> [u8; 32] {
        let Some(durable) = &self.durable else {
            return hash(Parts {
                agent: &AgentRecord {
                    in_seq: self.in_seq,
                    ..AgentRecord::default()
                },
                subscriptions: "",
                receipts: &[],
                event_ids: &Default::default(),
                outbox: &Default::default(),
                rules,
            });
        };
        let receipts: Vec<Receipt> = durable.session.receipts.iter().copied().collect();
        hash(Parts {
            agent: &durable.record,
            subscriptions: &durable.session.subscriptions,
            receipts: &receipts,
            event_ids: &durable.event_ids,
            outbox: &durable.outbox,
            rules,
        })
    }
}
