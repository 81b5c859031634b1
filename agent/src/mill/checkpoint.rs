//! The state of the mill as keys and records, for the pond to write down: only what changed since
//! the last time. The same content as one hash tells two mills apart.

use sha2::{Digest, Sha256};

use crate::clock::Now;
use crate::record::{AgentRecord, RuleRecord, encode_state};
use crate::state::{Key, KeyState};

use super::Mill;
use super::active::Active;

/// What has to be written down.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The agent's own record.
    pub agent: Vec<u8>,
    /// Events taken in so far, which the agent's record holds too.
    pub in_seq: u64,
    /// Rules with their records.
    pub rules: Vec<(String, Vec<u8>)>,
    /// Changed states: rule, key, record.
    pub states: Vec<(String, Key, Vec<u8>)>,
    /// Keys that are no more: rule, key.
    pub gone: Vec<(String, Key)>,
}

/// What a checkpoint holds of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SavedRule {
    /// The schema of its state.
    pub schema: i32,
    /// When the open pane closes, in monotonic time of this boot.
    pub pane_due_mono_ms: Option<u64>,
    /// The slot that each schedule ran last, by its expression.
    pub slots: Vec<(String, i64)>,
    /// Its keys.
    pub keys: Vec<(Key, KeyState)>,
}

impl Checkpoint {
    /// Whether something happened since `last` that has to be written down.
    pub fn differs_from(&self, last: &Self) -> bool {
        !self.states.is_empty()
            || !self.gone.is_empty()
            || self.in_seq != last.in_seq
            || self.rules != last.rules
    }
}

impl SavedRule {
    /// Places what is due in the monotonic time of another boot: what remained then remains now.
    pub fn rebase(&mut self, saved_mono_ms: u64, now_mono_ms: u64) {
        let place = |due: u64| now_mono_ms.saturating_add(due.saturating_sub(saved_mono_ms));
        self.pane_due_mono_ms = self.pane_due_mono_ms.map(place);
        for (_, state) in &mut self.keys {
            for due in state.timers.values_mut() {
                due.mono_ms = place(due.mono_ms);
            }
        }
    }
}

impl Mill {
    /// Takes the count of events over from a checkpoint.
    pub fn resume(&mut self, in_seq: u64) {
        self.in_seq = in_seq;
    }

    /// What changed since the last checkpoint. Volatile rules are left out.
    pub fn checkpoint(&mut self, now: Now, boot_id: &str) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        for active in self.rules.iter_mut().filter(|active| !active.is_volatile()) {
            let name = active.rule.name.to_string();
            checkpoint
                .rules
                .push((name.clone(), rule_record(active).encode()));
            let (changed, gone) = active.keys.take_changes();
            for (key, state) in changed {
                checkpoint
                    .states
                    .push((name.clone(), key, encode_state(state)));
            }
            checkpoint
                .gone
                .extend(gone.into_iter().map(|key| (name.clone(), key)));
        }
        let agent = AgentRecord {
            in_seq: self.in_seq,
            boot_id: boot_id.to_owned(),
            mono_ms: now.mono_ms,
            wall_ms: now.wall_ms,
        };
        checkpoint.agent = agent.encode();
        checkpoint.in_seq = self.in_seq;
        checkpoint
    }

    /// One hash over everything that a replay must bring back: counts, rules, keys and states.
    pub fn state_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.in_seq.to_le_bytes());
        let mut put = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for active in &self.rules {
            put(active.rule.name.as_bytes());
            put(&rule_record(active).encode());
            for (key, state) in active.keys.sorted() {
                put(key.as_bytes());
                put(&encode_state(state));
            }
        }
        hash.finalize().into()
    }
}

fn rule_record(active: &Active) -> RuleRecord {
    RuleRecord {
        schema: active.module.manifest.state.schema,
        pane_due_mono_ms: active.pane.as_ref().map(|pane| pane.due_mono_ms),
        slots: active.schedule_slots(),
    }
}
