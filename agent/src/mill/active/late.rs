//! Panes that have fired and are kept for late events, as many as there is room for: each key has its own.

use crate::event::state::kept::{GONE_UNTIL, KeptName};
use crate::event::state::{Key, KeyState, OpenPane, Pane};
use crate::function::frame::Frame;
use crate::mill::pace::LOOK_COST;
use crate::mill::window::{Moment, Window};

use super::{Active, EventTime, Step};

/// Most panes of a key that are kept, as many as an event may belong to.
pub(in crate::mill) const KEPT_MAX: usize = 1_000;

/// Parts of the time for which panes are kept after each of which those are looked for that can go.
const LOOKS: i64 = 8;

impl Active {
    /// The closed panes that a late event belongs to and that can fire again for its key.
    pub(super) fn late_panes(
        &self,
        window: Window,
        moment: Moment,
        frame: &Frame,
    ) -> Vec<OpenPane> {
        let mut late = Vec::new();
        let Some(time) = self.time.as_ref().filter(|_| frame.is_late()) else {
            return late;
        };
        let gone_until = time.gone_until(window.allowed_late_ms, true);
        let closed_until = time.gone_until(0, true);
        let gone_until = gone_until.max(frame.state.gone_until());
        if gone_until < closed_until {
            window.open(&mut late, moment, gone_until, |_| ());
            let is_open = |pane: &OpenPane| self.panes.iter().any(|open| open.due == pane.due);
            late.retain(|pane| pane.due <= closed_until && !is_open(pane));
        }
        for pane in &mut late {
            pane.fired = true;
        }
        late
    }

    /// Closed panes that a late event joined fire again for its key.
    pub(super) fn fire_late(
        &mut self,
        late: &[OpenPane],
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        for open in late {
            self.fire_again(open, key, frame, step);
        }
    }

    /// Keeps a pane that fired. The earliest ones of the key go where there is no room.
    pub(super) fn keep_pane(&mut self, pane: &Pane, key: &Key, frame: &mut Frame) {
        let name = frame.state.keep(pane);
        self.keys.entry_changed(key, name.as_bytes());
        let late_ms = self.window.map_or(0, |window| window.allowed_late_ms);
        if let Some(time) = &mut self.time {
            time.look_for_kept(pane.end_ms.saturating_add(late_ms));
        }
        while frame.state.kept_count() > KEPT_MAX || self.has_too_much(frame) {
            let Some(first) = frame.state.kept().next() else {
                return;
            };
            self.reached.kept = true;
            self.ledger.windows_dropped += 1;
            self.drop_kept(first.end_ms, key, frame);
            frame.state.set_gone_until(first.end_ms);
            self.keys.entry_changed(key, &GONE_UNTIL);
            if self.window.is_some_and(|window| window.rows) {
                self.let_go_of_rows(key, frame);
            }
        }
    }

    /// Lets go of kept panes for the sake of rows that have no room; returns `true` if a row of that moment
    /// was kept for them alone.
    pub(super) fn drop_kept_with(&mut self, at: i64, key: &Key, frame: &mut Frame) -> bool {
        let is_needed = self.panes.iter().any(|open| open.holds(at));
        let holds = |pane: &Pane| (pane.start_ms..pane.end_ms).contains(&at);
        let begun = frame.state.kept().take_while(|pane| pane.start_ms <= at);
        let last = begun.filter(holds).last();
        let Some(last) = last.filter(|_| !is_needed) else {
            return false;
        };
        self.reached.kept = true;
        self.ledger.windows_dropped += self.drop_kept(last.end_ms, key, frame);
        frame.state.set_gone_until(last.end_ms);
        self.keys.entry_changed(key, &GONE_UNTIL);
        true
    }

    fn drop_kept(&mut self, until: i64, key: &Key, frame: &mut Frame) -> u64 {
        let names: Vec<KeptName> = frame.state.drop_kept_until(until);
        for name in &names {
            self.keys.entry_changed(key, name.as_bytes());
        }
        names.len() as u64
    }

    /// Lets go of kept panes that no event can reach any more, if it is time to look for them.
    pub(super) fn forget_kept(&mut self, until: i64, step: &mut Step<'_>) {
        let late_ms = self.window.map_or(0, |window| window.allowed_late_ms);
        let is_time = |time: &&mut Box<EventTime>| time.kept_at.is_some_and(|at| at <= until);
        let Some(time) = self.time.as_mut().filter(is_time) else {
            return;
        };
        time.kept_at = None;
        step.fuel += LOOK_COST * self.keys.len() as u64;
        let ended = until.saturating_sub(late_ms);
        let mut next: Option<i64> = None;
        let first = |state: &KeyState| state.kept().next().map(|pane| pane.end_ms);
        for key in self.keys.like(|state| first(state).is_some()) {
            let Some(place) = self.keys.find(&key) else {
                continue;
            };
            let mut state = self.keys.lend(place);
            let before = state.bytes().cast_signed();
            let names = state.drop_kept_until(ended);
            for name in &names {
                self.keys.entry_changed(&key, name.as_bytes());
            }
            for name in self.surplus_rows(&state) {
                state.remove_row(name);
                self.keys.entry_changed(&key, name.as_bytes());
            }
            next = next.into_iter().chain(first(&state)).min();
            let growth = state.bytes().cast_signed() - before;
            self.keys.put_back(place, state, growth, growth != 0);
        }
        if let (Some(end_ms), Some(time)) = (next, &mut self.time) {
            let later = until.saturating_add((late_ms / LOOKS).max(1));
            time.look_for_kept(end_ms.saturating_add(late_ms).max(later));
        }
    }

    /// Puts closed panes in their place where a version before kept them among the open ones, and lets go
    /// of all where the rule keeps none.
    pub(in crate::mill) fn adopt_kept(&mut self) {
        self.panes.retain(|pane| !pane.fired);
        let keeps = self.can_fire_again();
        let has_fired = |state: &KeyState| state.panes.iter().any(|pane| pane.fired > 0);
        let is_other = |state: &KeyState| !keeps && state.kept().next().is_some();
        let on_grid = self.is_on_grid();
        if !on_grid || self.keys.like(|s| has_fired(s) || is_other(s)).is_empty() {
            return;
        }
        let mut dropped = 0;
        self.keys.update_all(|_, state| {
            let (fired, open) = std::mem::take(&mut state.panes)
                .into_iter()
                .partition::<Vec<Pane>, _>(|pane| pane.fired > 0);
            state.panes = open;
            if !keeps {
                state.drop_kept_until(i64::MAX);
                return;
            }
            let surplus = fired.len().saturating_sub(KEPT_MAX);
            dropped += surplus as u64;
            for (number, pane) in fired.iter().enumerate() {
                if number < surplus {
                    state.set_gone_until(pane.end_ms);
                } else {
                    state.keep(pane);
                }
            }
        });
        self.reached.kept |= dropped > 0;
        self.ledger.windows_dropped += dropped;
    }
}
