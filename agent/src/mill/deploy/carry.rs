//! State of a rule under a new version of its function: the values that move, the windows that go
//! on, and the state that belongs to no key.

use crate::commit::record::EVENT_TIME;
use crate::commit::record::{RuleRecord, Waiting};
use crate::event::ledger::Fate;
use crate::event::state::carry::{Carry, Lost};
use crate::event::state::time::{self, FORMER_RULE_KEY, RULE_KEY};
use crate::event::state::{Key, KeyState, births};
use crate::function::moved_row;
use crate::mill::window::{is_part_of, open_windows};

use super::super::active::{Active, InClosing};
use super::Edit;

impl Active {
    /// Carries the state of all keys over from the version that a record describes. Windows go on
    /// if the new version finds in them all that it asks for; else they are given up, and counted.
    pub(super) fn carry(&mut self, record: &RuleRecord) -> Edit {
        let same_window = self.window_code() == record.window;
        let carry = Carry::new(&record.naming, &self.naming, same_window);
        let windows: u64 = (self.keys.iter())
            .filter(|(key, _)| &***key != RULE_KEY)
            .map(|(_, state)| open_windows(record.window, &record.panes, state))
            .sum();
        let goes_on = same_window && carry.keeps_windows();
        let edit = Edit::new(
            &self.rule.name,
            (&record.naming, &self.naming),
            &carry,
            (goes_on, Some(windows)),
        );
        self.restore_own(match carry {
            _ if (self.window_code() ^ record.window) & EVENT_TIME != 0 => {
                Some("the rule has another time")
            }
            Carry::Nothing(Lost::OtherStreams) => Some("the rule has other streams"),
            _ => None,
        });
        if let Some(streams) = carry.streams() {
            self.renumber_streams(streams);
        }
        self.move_parts(&carry, goes_on);
        if goes_on {
            self.panes.clone_from(&record.panes);
            let cursor = record.closing.clone();
            self.closing = cursor.map(|cursor| Box::new(InClosing::resumed(cursor)));
            self.let_go_of_former();
            self.adopt_kept();
        } else {
            self.ledger.windows_given_up += windows;
        }
        edit
    }

    /// Moves the parts of each key's state; a key of which nothing is left is no key.
    fn move_parts(&mut self, carry: &Carry, keeps_windows: bool) {
        if *carry == Carry::Same && keeps_windows {
            return;
        }
        let changed = |state: &KeyState| {
            let mut state = state.clone();
            carry.apply(&mut state, moved_row);
            if !keeps_windows {
                state.drop_window();
            }
            state
        };
        let is_own = |key: &Key| &**key == RULE_KEY;
        let stays = |(key, state): (&Key, &KeyState)| is_own(key) || changed(state) == *state;
        if self.keys.iter().all(stays) {
            return;
        }
        self.keys.update_all(|key, state| {
            if !is_own(key) {
                *state = changed(state);
            }
        });
        for key in self.keys.like(|state| *state == KeyState::default()) {
            self.keys.remove(&key);
        }
    }

    /// Events that wait, and the sources of events, tell of streams by their numbers.
    fn renumber_streams(&mut self, streams: &[usize]) {
        let bits = |before: u32| {
            let number = streams.iter().enumerate();
            let here = number.filter(|(old, _)| before & (1 << old) != 0);
            here.fold(0, |bits, (_, new)| bits | 1 << new)
        };
        let Some(mut state) = self.keys.remove(RULE_KEY) else {
            return;
        };
        let waiting = time::waiting(&state.entries)
            .map(|(at, number, record)| (time::waiting_name(at, number), record));
        let behind = time::behind(&state.entries)
            .map(|(at, number, record)| (time::behind_name(at, number), record));
        let waiting: Vec<(Box<[u8]>, Waiting)> = waiting
            .chain(behind)
            .filter_map(|(name, record)| Some((name, Waiting::decode(record).ok()?)))
            .collect();
        for (name, mut event) in waiting {
            event.streams = bits(event.streams);
            state.entries.insert(name, event.encode().into());
        }
        let sources: Vec<_> = time::sources(&state.entries).collect();
        for (name, (mark, claim, of), by_arrival) in sources {
            let (name, value) = time::source_entry(&name, (mark, claim, bits(of)), by_arrival);
            state.entries.insert(name, value);
        }
        self.keys.insert(RULE_KEY.into(), state);
    }

    /// Drops state that earlier versions kept of events without a key and never fired: panes of the
    /// rule that are closed.
    fn let_go_of_former(&mut self) {
        if !self.is_on_grid() {
            return;
        }
        let Some(mut state) = self.keys.remove(FORMER_RULE_KEY) else {
            return;
        };
        let (panes, rows) = (state.panes.len(), state.rows().count());
        state
            .panes
            .retain(|pane| self.panes.iter().any(|open| is_part_of(pane, open)));
        let closed: Vec<_> = state
            .rows()
            .filter(|(_, at)| !self.panes.iter().any(|open| open.holds(*at)))
            .map(|(name, _)| name)
            .collect();
        closed.into_iter().for_each(|name| state.remove_row(name));
        self.ledger.windows_dropped += (panes - state.panes.len()) as u64;
        self.ledger.rows_dropped += (rows - state.rows().count()) as u64;
        if state != KeyState::default() {
            self.keys.insert(FORMER_RULE_KEY.into(), state);
        }
    }

    /// Drops state that belongs to no key and is of no use to the rule any more: the time of
    /// events, where `why` tells that it has another one now, and births, where no stream of it is
    /// Sparkplug B.
    fn restore_own(&mut self, why: Option<&'static str>) {
        let has_other_time = why.is_some();
        let hears_births = self.hears_births();
        let is_kept = |name: &[u8]| {
            if births::is_birth(name) {
                hears_births
            } else {
                !has_other_time
            }
        };
        let own = self.keys.find(RULE_KEY);
        let own = own.and_then(|place| self.keys.state_at(place));
        if own.is_none_or(|state| state.entries.keys().all(|name| is_kept(name))) {
            return;
        }
        let Some(mut state) = self.keys.remove(RULE_KEY) else {
            return;
        };
        if let Some(why) = why {
            let waiting = time::waiting(&state.entries).count();
            let waiting = waiting + time::behind(&state.entries).count();
            (0..waiting).for_each(|_| self.ledger.enter(Fate::Dropped(why)));
        }
        let entries = std::mem::take(&mut state.entries).into_iter();
        state.entries = entries.filter(|(name, _)| is_kept(name)).collect();
        if state != KeyState::default() {
            self.keys.insert(RULE_KEY.into(), state);
        }
    }
}
