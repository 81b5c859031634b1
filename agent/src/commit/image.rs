//! Everything that a crash must not change, as it stood after one commit: what a pond holds, plus the
//! commits after it. Plain data, built without any function; the mill goes on from it.

use std::collections::BTreeMap;

use tidemill_base::number::Lsn;

use sha2::{Digest, Sha256};

use crate::commit::event_ids::EventIds;
use crate::commit::outbox::Outbox;
use crate::commit::receipts::{Receipt, Receipts};
use crate::commit::record;
use crate::commit::record::entries::{self, Entry, Saved};
use crate::commit::record::{
    AgentRecord, Boot, Commit, EVENT_TIME, KeyChange, LaneRecord, RecordError, RuleDelta,
    RuleRecord,
};
use crate::event::clock::{Now, OFF_MAX_MS, Quality, signed};
use crate::event::ledger::Ledger;
use crate::event::state::time::{self, RULE_KEY};
use crate::event::state::{Key, KeyState, shift_rows};

/// Saved state of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SavedRule {
    /// The rule's record, without its keys.
    pub record: RuleRecord,
    /// Counts of its events by outcome.
    pub counts: Ledger,
    /// State by key.
    pub keys: BTreeMap<Key, KeyState>,
}

/// A state that is being put together.
#[derive(Debug, Default)]
struct Pieces {
    count: u16,
    pieces: BTreeMap<u16, Vec<u8>>,
}

/// Contents of a state database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The last commit included.
    pub lsn: Lsn,
    /// The earliest commit with a row that was still waiting.
    pub oldest_row_lsn: Option<Lsn>,
}

/// The state after a commit.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// The commit; 0 in a new data directory.
    pub lsn: Lsn,
    /// The agent's own record.
    pub agent: AgentRecord,
    /// Rules by name, whether they are deployed or not.
    pub rules: BTreeMap<String, SavedRule>,
    /// Messages that the broker may send again.
    pub receipts: Receipts,
    /// Events that were applied, by their own names.
    pub event_ids: EventIds,
    /// Rows waiting for destinations.
    pub outbox: Outbox,
    /// Contents of the broker's session: `host:port client-id`, then `id filter` a line.
    pub subscriptions: String,
    /// The earliest commit to read from the journal for waiting rows.
    oldest_lsn: Option<Lsn>,
    /// The last record read, including those of a commit that was not written to its end.
    read_lsn: Lsn,
    parts: record::Parts,
}

impl Image {
    /// Reads the state database written after the commit `lsn`.
    ///
    /// # Errors
    /// When an entry is of another format or damaged.
    pub fn from_entries(
        lsn: Lsn,
        saved: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, RecordError> {
        let mut image = Self {
            lsn,
            ..Self::default()
        };
        let mut receipts: Vec<Receipt> = Vec::new();
        let mut states: BTreeMap<(String, Key), Pieces> = BTreeMap::new();
        for (key, value) in saved {
            match entries::read(&key, &value)? {
                Saved::Agent(record) => image.agent = record,
                Saved::Subscriptions(text) => image.subscriptions = text,
                Saved::Receipts(some) => receipts.extend(some),
                Saved::EventIds(record) => image.event_ids.restore(record),
                Saved::Lane(id, record) => {
                    let oldest = Some(record.oldest_lsn).filter(|lsn| *lsn > Lsn::ZERO);
                    image.oldest_lsn = [image.oldest_lsn, oldest].into_iter().flatten().min();
                    image.outbox.restore_lane(id, &record);
                }
                Saved::Rule(name, record, counts) => {
                    let rule = image.rules.entry(name).or_default();
                    (rule.record, rule.counts) = (record, counts);
                }
                Saved::State(rule, key, count, piece) => {
                    let state = states.entry((rule, key)).or_default();
                    state.count = count;
                    state.pieces.insert(0, piece);
                }
                Saved::Section(..) | Saved::Skipped => {}
                Saved::Piece(rule, key, number, piece) => {
                    states
                        .entry((rule, key))
                        .or_default()
                        .pieces
                        .insert(number, piece);
                }
            }
        }
        for ((rule, key), Pieces { count, pieces }) in states {
            let bytes = pieces.range(..count).flat_map(|(_, piece)| piece);
            let state = entries::whole_state(&bytes.copied().collect::<Vec<u8>>())?;
            image.rules.entry(rule).or_default().keys.insert(key, state);
        }
        image.receipts = Receipts::restore(image.agent.generation, receipts);
        Ok(image)
    }

    /// Contents of the state database that this was read from; before any commit is applied.
    pub fn written(&self) -> Option<Written> {
        (self.lsn > Lsn::ZERO).then_some(Written {
            lsn: self.lsn,
            oldest_row_lsn: self.oldest_lsn,
        })
    }

    /// The first commit that has to be read, for what changed since or for rows that wait.
    pub fn needs_from(&self) -> Lsn {
        let next = self.lsn + 1;
        self.oldest_lsn.map_or(next, |oldest| oldest.min(next))
    }

    /// Takes up the next commit, or one that it covers already: then only rows that wait count.
    ///
    /// # Errors
    /// When the commit is of another format or damaged.
    pub fn replay(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), RecordError> {
        self.read_lsn = lsn;
        if let Some((first_lsn, commit)) = self.parts.push(lsn, bytes)? {
            self.take_up((first_lsn, lsn), commit);
        }
        Ok(())
    }

    /// `true` if the last record belongs to a commit of which more is to come.
    pub fn has_begun(&self) -> bool {
        self.parts.began().is_some()
    }

    /// The journal ends with this record: a commit that was not written to its end was cut off.
    pub fn cut(&mut self, last_lsn: Lsn) {
        self.read_lsn = self.read_lsn.min(last_lsn);
        self.parts = record::Parts::default();
    }

    /// The last record of the journal that this goes on from.
    pub fn last_lsn(&self) -> Lsn {
        self.lsn.max(self.read_lsn)
    }

    /// Like [`Image::replay`], for a commit already read: from its first and last record.
    pub fn take_up(&mut self, (first_lsn, last_lsn): (Lsn, Lsn), commit: Commit) {
        if last_lsn > self.lsn {
            self.lsn = last_lsn;
            self.apply(first_lsn, commit);
        } else {
            for delta in commit.lanes {
                self.outbox.restore_rows(delta, first_lsn);
            }
        }
    }

    /// Takes up what changed in the commit that begins in the record `lsn`.
    fn apply(&mut self, lsn: Lsn, commit: Commit) {
        if let Some(boot) = &commit.boot {
            self.rebase(boot);
            self.agent.boot_id.clone_from(&boot.id);
        }
        let agent = &mut self.agent;
        agent.in_seq = commit.in_seq;
        (agent.mono_ms, agent.wall_ms) = (commit.now.mono_ms, commit.now.wall_ms);
        (agent.quality, agent.age) = (commit.now.quality, commit.age);
        if let Some(offs) = commit.offs {
            agent.offs = offs;
        }
        agent.counts.add(&commit.counts);
        if commit.generation != agent.generation {
            self.receipts.renew(commit.generation);
        }
        agent.generation = commit.generation;
        for receipt in commit.receipts {
            self.receipts.take_up(receipt);
        }
        for voided in commit.voided {
            self.receipts.void(voided);
        }
        commit
            .event_ids
            .iter()
            .for_each(|change| self.event_ids.take_up(change));
        for section in &commit.sections {
            // What the record's checksum covers can be read.
            for rule in section.forgotten_rules().unwrap_or_default() {
                self.rules.remove(&rule);
            }
        }
        for delta in commit.rules {
            self.apply_rule(delta);
        }
        for delta in commit.lanes {
            self.outbox.apply(delta, lsn);
        }
        if let Some(text) = commit.subscriptions {
            self.subscriptions = text;
        }
    }

    fn apply_rule(&mut self, delta: RuleDelta) {
        let rule = self.rules.entry(delta.name).or_default();
        rule.counts.add(&delta.counts);
        if let Some(record) = delta.record {
            let before = std::mem::replace(&mut rule.record, record);
            if delta.same_naming {
                rule.record.naming = before.naming;
            }
        }
        for (key, change) in delta.keys {
            match change {
                KeyChange::Gone => {
                    rule.keys.remove(&key);
                }
                KeyChange::Whole(state) => {
                    rule.keys.insert(key, state);
                }
                KeyChange::Entries(state, changed) => {
                    let old = rule.keys.remove(&key).unwrap_or_default();
                    let mut state = KeyState {
                        entries: old.entries,
                        ..state
                    };
                    for (name, value) in changed {
                        match value {
                            Some(value) => state.entries.insert(name, value),
                            None => state.entries.remove(&name),
                        };
                    }
                    rule.keys.insert(key, state);
                }
            }
        }
    }

    /// The change of boot, or `None` if `id` is still the same boot. The time without power is
    /// known if the clock was synced before and after.
    pub fn boot(&self, id: &str, now: Now) -> Option<Boot> {
        if self.agent.boot_id == id {
            return None;
        }
        let before = &self.agent;
        let known = before.quality == Quality::Synced && now.quality == Quality::Synced;
        let off_ms = now.wall_ms.saturating_sub(before.wall_ms);
        Some(Boot {
            id: id.to_owned(),
            mono_ms: now.mono_ms,
            off_ms: u64::try_from(off_ms)
                .ok()
                .filter(|off_ms| known && *off_ms <= OFF_MAX_MS)
                .unwrap_or(0),
        })
    }

    /// Places what is due in the monotonic time of another boot: what remained then remains now, less
    /// the time that the power was off.
    pub fn rebase(&mut self, boot: &Boot) {
        if self.agent.boot_id == boot.id {
            return;
        }
        let then = self.agent.mono_ms.saturating_add(boot.off_ms);
        let place = |due: u64| boot.mono_ms.saturating_add(due.saturating_sub(then));
        let by = signed(boot.mono_ms).saturating_sub(signed(then));
        for rule in self.rules.values_mut() {
            let timers = rule
                .keys
                .values_mut()
                .flat_map(|state| state.timers.values_mut());
            timers.for_each(|due| due.mono_ms = place(due.mono_ms));
            if rule.record.window & EVENT_TIME != 0 {
                continue;
            }
            for pane in &mut rule.record.panes {
                pane.from = pane.from.saturating_add(by);
                pane.due = pane.due.saturating_add(by);
            }
            if let Some(closing) = &mut rule.record.closing {
                closing.pane.from = closing.pane.from.saturating_add(by);
                closing.pane.due = closing.pane.due.saturating_add(by);
            }
            for state in rule.keys.values_mut() {
                shift_panes(state, by);
            }
            if let Some(own) = rule
                .keys
                .get_mut(RULE_KEY)
                .filter(|_| rule.record.is_behind)
            {
                time::shift_behind(&mut own.entries, by);
            }
        }
    }

    /// One hash over the state of all rules: what events have made of it.
    pub fn rules_hash(&self) -> [u8; 32] {
        let rules = self.rules.iter().map(|(name, rule)| {
            let keys = rule.keys.iter().collect();
            (name.as_str(), &rule.record, &rule.counts, keys)
        });
        rules_hash(rules.collect())
    }

    /// One hash over everything that a replay must bring back.
    pub fn state_hash(&self) -> [u8; 32] {
        let rules = self.rules.iter().map(|(name, rule)| {
            let keys = rule.keys.iter().collect();
            (name.as_str(), &rule.record, &rule.counts, keys)
        });
        let receipts: Vec<Receipt> = self.receipts.iter().copied().collect();
        hash(Parts {
            agent: &self.agent,
            subscriptions: &self.subscriptions,
            receipts: &receipts,
            event_ids: &self.event_ids,
            outbox: &self.outbox,
            rules: rules.collect(),
        })
    }
}

/// Moves the times of a key's windows by `by` milliseconds of monotonic time.
pub(crate) fn shift_panes(state: &mut KeyState, by: i64) {
    for pane in &mut state.panes {
        pane.from = pane.from.saturating_add(by);
        pane.due = pane.due.map(|due| due.saturating_add(by));
    }
    shift_rows(&mut state.entries, |at| at.saturating_add(by));
}

/// Parts of the state that are hashed, wherever they are kept.
pub(crate) struct Parts<'a> {
    pub(crate) agent: &'a AgentRecord,
    pub(crate) subscriptions: &'a str,
    pub(crate) receipts: &'a [Receipt],
    pub(crate) event_ids: &'a EventIds,
    pub(crate) outbox: &'a Outbox,
    /// In the order of their names, keys in the order of theirs.
    pub(crate) rules: Vec<RuleParts<'a>>,
}

/// Name, record, counts and keys of a rule.
pub(crate) type RuleParts<'a> = (
    &'a str,
    &'a RuleRecord,
    &'a Ledger,
    Vec<(&'a Key, &'a KeyState)>,
);

pub(crate) fn hash(parts: Parts<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut put = |(key, value): Entry| put_entry(&mut hash, &key, &value);
    put(entries::agent(parts.agent));
    put(entries::subscriptions(parts.subscriptions));
    entries::receipts(parts.receipts)
        .into_iter()
        .for_each(&mut put);
    let ids = parts.event_ids.records(entries::EVENT_IDS_EACH);
    entries::event_ids(&ids).into_iter().for_each(&mut put);
    for lane in parts.outbox.lanes() {
        // The place of rows in the journal is not part of the state.
        let record = LaneRecord {
            oldest_lsn: Lsn::ZERO,
            ..lane.record()
        };
        put(entries::lane(lane.id(), &record));
    }
    put((b"rules".to_vec(), rules_hash(parts.rules).to_vec()));
    hash.finalize().into()
}

/// A hash over rules in the order of their names, keys in the order of theirs.
pub(crate) fn rules_hash(rules: Vec<RuleParts<'_>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut put = |(key, value): Entry| put_entry(&mut hash, &key, &value);
    for (name, record, counts, keys) in rules {
        // A rule at which nothing happened yet stands in no commit.
        if *record == RuleRecord::default() && *counts == Ledger::default() && keys.is_empty() {
            continue;
        }
        put(entries::rule(name, record, counts));
        for (key, state) in keys {
            entries::state(name, key, state)
                .into_iter()
                .for_each(&mut put);
        }
    }
    hash.finalize().into()
}

fn put_entry(hash: &mut Sha256, key: &[u8], value: &[u8]) {
    for bytes in [key, value] {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
}
