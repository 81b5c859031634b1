//! State that an owner looks at, or takes away from a rule that runs.

use crate::commit::image::SavedRule;
use crate::event::clock::Now;
use crate::event::state::Key;
use crate::event::state::time::RULE_KEY;
use crate::mill::window::open_windows;

use super::Mill;
use super::active::Active;
use super::due::DueQueue;

impl Mill {
    /// The state kept of a rule, deployed or waiting to be deployed again.
    pub fn saved(&self, rule: &str) -> Option<SavedRule> {
        let active = self.rules.iter().find(|active| &*active.rule.name == rule);
        match active {
            Some(active) => Some(active.save()),
            None => self.dormant.get(rule).cloned(),
        }
    }

    /// Names of the rules of which something is kept, and whether they are deployed.
    pub fn saved_rules(&self) -> impl Iterator<Item = (&str, bool)> {
        let active = self.rules.iter().map(|active| (&*active.rule.name, true));
        let dormant = self.dormant.keys().map(|name| (name.as_str(), false));
        active.chain(dormant)
    }

    /// Takes the state of one key away from a rule, or that of all keys.
    pub(super) fn forget_state(&mut self, now: Now, rule: &str, key: Option<&str>) {
        let Self {
            rules,
            due,
            durable,
            ..
        } = self;
        let mut rules = rules.iter_mut();
        let Some(active) = rules.find(|active| &*active.rule.name == rule) else {
            return;
        };
        active.forget_keys(key, due);
        if let (Some(durable), false) = (durable, active.is_volatile()) {
            durable.touch(active.index);
            durable.batch.open(now);
        }
    }
}

impl Active {
    /// Lets go of a key, or of all, with all that falls due for them. Windows that were open are counted
    /// as given up.
    fn forget_keys(&mut self, only: Option<&str>, due: &mut DueQueue) {
        let keys: Vec<Key> = match only {
            Some(RULE_KEY) => Vec::new(),
            Some(key) => vec![key.into()],
            None => self.keys.like(|_| true),
        };
        for key in keys {
            let Some(state) = self.keys.remove(&key) else {
                continue;
            };
            let windows = open_windows(self.window_code(), &self.panes, &state);
            self.ledger.windows_given_up += windows;
            self.cancel_due(&key, &state, due);
        }
    }
}
