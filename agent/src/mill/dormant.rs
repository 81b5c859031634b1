//! State of rules that went away, kept for the case that they come back: so many bytes of it, and so long.

use crate::commit::image::SavedRule;
use crate::commit::record::RuleDelta;
use crate::event::clock::Now;

use super::Mill;
use super::output::Output;

/// Bytes of state of rules that went away; beyond them that of the rule that went first is forgotten.
const BYTES_MAX: usize = 16 << 20;

/// Time for which the state of a rule that went away is kept, in milliseconds: 30 days.
const AGE_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// Bytes that a key takes besides its name and its state.
const KEY_BYTES: usize = 256;

impl Mill {
    /// Notes when rules went away, and forgets the state of those for which there is no room.
    pub(super) fn bound_dormant(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let age_ms = durable.age.ms(now);
        for (name, rule) in &mut self.dormant {
            if rule.record.gone_ms().is_none() {
                rule.record.set_gone_ms(age_ms);
                durable.batch.went.push(RuleDelta {
                    name: name.clone(),
                    record: Some(rule.record.clone()),
                    ..RuleDelta::default()
                });
                durable.batch.open(now);
            }
        }
        let mut oldest: Vec<(u64, String, usize)> = self
            .dormant
            .iter()
            .map(|(name, rule)| {
                let gone_ms = rule.record.gone_ms().unwrap_or(0);
                (gone_ms, name.clone(), bytes_of(rule))
            })
            .collect();
        oldest.sort_unstable();
        let mut bytes: usize = oldest.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, name, freed) in oldest {
            if bytes <= BYTES_MAX {
                break;
            }
            bytes -= freed;
            self.forget_dormant(now, &name, "16 MiB are kept of rules that went away", out);
        }
    }

    /// Forgets the state of rules that went away long ago.
    pub(super) fn forget_old_dormant(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(durable) = &self.durable else {
            return;
        };
        let age_ms = durable.age.ms(now);
        let is_old = |rule: &SavedRule| {
            let gone_ms = rule.record.gone_ms();
            gone_ms.is_some_and(|gone_ms| age_ms.saturating_sub(gone_ms) > AGE_MS_MAX)
        };
        let old = self.dormant.iter().filter(|(_, rule)| is_old(rule));
        let old: Vec<String> = old.map(|(name, _)| name.clone()).collect();
        for name in old {
            self.forget_dormant(now, &name, "it is kept for 30 days", out);
        }
    }

    fn forget_dormant(&mut self, now: Now, name: &str, why: &'static str, out: &mut Vec<Output>) {
        let (Some(durable), Some(rule)) = (&mut self.durable, self.dormant.remove(name)) else {
            return;
        };
        // In a commit what is forgotten comes first.
        durable.batch.went.retain(|went| went.name != name);
        durable.batch.forgotten.push(name.to_owned());
        durable.batch.open(now);
        // Databases are written anew without it.
        durable.checkpoints.deployed();
        out.push(Output::StateForgotten {
            rule: name.into(),
            keys: rule.keys.len(),
            why,
        });
    }
}

fn bytes_of(rule: &SavedRule) -> usize {
    let keys = rule.keys.iter();
    let keys = keys.map(|(key, state)| key.len() + state.bytes() + KEY_BYTES);
    rule.record.encode().len() + keys.sum::<usize>()
}
