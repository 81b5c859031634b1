//! State of a rule that belongs to none of its keys: events that wait, sources, the watermark. It
//! is kept under a key that no event can have.

use std::sync::Arc;

use crate::event::state::KeyState;
use crate::event::state::time::{self, RULE_KEY};
use crate::rule::IDLE_MS;

use super::Active;

impl Active {
    /// Restores the state of event time that an earlier process, or the rule before, left.
    pub(in crate::mill) fn restore_time(&mut self) {
        let Some(mut time) = self.time.take() else {
            return;
        };
        let own = self
            .keys
            .find(RULE_KEY)
            .and_then(|place| self.keys.state_at(place));
        if let Some(state) = own {
            for (name, source, by_arrival) in time::sources(&state.entries) {
                let idle_ms = self.rule.streams.iter().map(|stream| stream.idle_ms).max();
                let idle_ms = idle_ms.unwrap_or(IDLE_MS);
                time.watermark.restore(&name, source, by_arrival, idle_ms);
            }
            if let Some(current) = time::watermark(&state.entries) {
                time.watermark.restore_current(current);
            }
            for (_, number, record) in time::waiting(&state.entries) {
                time.number = time.number.max(number + 1);
                time.waiting += 1;
                time.waiting_bytes += record.len();
            }
        }
        let forgotten = time.watermark.fit();
        if !forgotten.is_empty() {
            let mut state = self.lend_own();
            self.forget_sources(&forgotten, &mut state);
            self.take_own_back(state);
        }
        for pane in &self.panes {
            time.look_at(pane.due, None);
        }
        let late_ms = self.window.map_or(0, |window| window.allowed_late_ms);
        let kept = self
            .keys
            .iter()
            .filter_map(|(_, state)| state.kept().next());
        if let Some(end_ms) = kept.map(|pane| pane.end_ms).min() {
            time.look_for_kept(end_ms.saturating_add(late_ms));
        }
        for (key, state) in self.keys.iter().filter(|_| !self.is_on_grid()) {
            for due in state.panes.iter().filter_map(|pane| pane.due) {
                time.look_at(due, Some(key.clone()));
            }
        }
        self.time = Some(time);
    }

    /// Lets go of sources that have no room, and counts them.
    pub(super) fn forget_sources(&mut self, forgotten: &[Arc<str>], state: &mut KeyState) {
        if forgotten.is_empty() {
            return;
        }
        self.reached.sources = true;
        self.ledger.keys_evicted += forgotten.len() as u64;
        for name in forgotten {
            self.remove_own(state, &time::source_name(name));
        }
    }

    /// The state that belongs to no key.
    pub(super) fn lend_own(&mut self) -> KeyState {
        let place = self.keys.find(RULE_KEY);
        place.map_or_else(KeyState::default, |place| self.keys.lend(place))
    }

    pub(super) fn take_own_back(&mut self, state: KeyState) {
        match self.keys.find(RULE_KEY) {
            // Nothing of the rule's own is left.
            Some(place) if state == KeyState::default() => {
                self.keys.put_back(place, state, 0, false);
                drop(self.keys.remove(RULE_KEY));
            }
            Some(place) => self.keys.put_back(place, state, 0, true),
            None if state == KeyState::default() => {}
            // It has a place of its own, so that none has to go for it.
            None => drop(self.keys.insert(RULE_KEY.into(), state)),
        }
    }

    pub(super) fn put_own(&mut self, state: &mut KeyState, (name, value): (Box<[u8]>, Box<[u8]>)) {
        if state.entries.get(&name) != Some(&value) {
            self.keys.entry_changed(&RULE_KEY.into(), &name);
            state.entries.insert(name, value);
        }
    }

    pub(super) fn remove_own(&mut self, state: &mut KeyState, name: &[u8]) {
        self.keys.entry_changed(&RULE_KEY.into(), name);
        state.entries.remove(name);
    }
}
