//! State of a rule that belongs to none of its keys: events that wait, sources, the watermark. It
//! is kept under a key that no event can have.

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
        let late_ms = self.window.map_or(0, |window| window.allowed_late_ms);
        for pane in &self.panes {
            let due = if pane.fired {
                pane.due.saturating_add(late_ms)
            } else {
                pane.due
            };
            time.look_at(due, None);
        }
        for (key, state) in self.keys.iter().filter(|_| !self.is_on_grid()) {
            for due in state.panes.iter().filter_map(|pane| pane.due) {
                time.look_at(due, Some(key.clone()));
            }
        }
        self.time = Some(time);
    }

    /// The state that belongs to no key.
    pub(super) fn lend_own(&mut self) -> KeyState {
        let place = self.keys.find(RULE_KEY);
        let state = place.map_or_else(KeyState::default, |place| self.keys.lend(place));
        self.own_bytes = state.bytes();
        state
    }

    pub(super) fn take_own_back(&mut self, state: KeyState) {
        match self.keys.find(RULE_KEY) {
            // Nothing of the rule's own is left.
            Some(place) if state == KeyState::default() => {
                self.keys
                    .put_back(place, state, -self.own_bytes.cast_signed(), false);
                drop(self.keys.remove(RULE_KEY));
            }
            Some(place) => {
                let growth = state.bytes().cast_signed() - self.own_bytes.cast_signed();
                self.keys.put_back(place, state, growth, true);
            }
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
