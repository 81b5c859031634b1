//! Windows that fire: `on_window` is called once per key that has something in them, in the order of
//! the keys' names.

use std::collections::BTreeMap;

use crate::event::state::{Key, KeyState, OpenPane, Pane, RowName};
use crate::function::Handler;
use crate::function::frame::Frame;
use crate::mill::window::{Moment, Window, is_part_of, pane_of, relabelled};
use crate::rule::manifest::WindowKind;
use tidemill_base::sabotage::{self, Sabotage};
use tidemill_base::text::shown;

use super::fault::Fault;
use super::{Active, Step};

/// Sets the calls of a firing apart from that of the event that caused it, for `rand`.
const FIRING: u32 = 1 << 31;

/// Most times a firing begins anew because rows did not fit.
const ATTEMPTS_MAX: u32 = 16;

impl Active {
    /// Lets go of the rows that no pane needs.
    pub(super) fn let_go_of_rows(&mut self, key: &Key, frame: &mut Frame) {
        for name in self.surplus_rows(&frame.state) {
            self.remove_row(name, key, frame);
        }
    }

    /// The rows of a key that neither an open pane needs nor one that is kept for late events.
    pub(super) fn surplus_rows(&self, state: &KeyState) -> Vec<RowName> {
        let open = self.panes.iter().map(|pane| pane.from).min();
        let kept = state.kept().next().map(|pane| pane.from);
        let needed = [open, kept].into_iter().flatten().min();
        let is_surplus = |at: i64| needed.is_none_or(|from| at < from);
        let rows = state.rows().filter(|(_, at)| is_surplus(*at));
        rows.map(|(name, _)| name).collect()
    }

    /// A pane of which an event came late fires again for its key.
    pub(super) fn fire_again(
        &mut self,
        open: &OpenPane,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let labels = (open.start_ms, open.end_ms);
        if self.window.is_some_and(|window| window.rows) {
            self.close_rows(open, labels, key, frame, step)
        } else {
            self.close_slots(open, labels, key, frame, step)
        }
    }

    /// Fires a pane with slots for the key in the frame.
    pub(super) fn close_slots(
        &mut self,
        open: &OpenPane,
        (start_ms, end_ms): (i64, i64),
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let Some(pane) = take_part(open, frame) else {
            return;
        };
        if pane.folded == 0 {
            return;
        }
        let own = (pane.start_ms, pane.end_ms);
        let labelled = Pane {
            start_ms,
            end_ms,
            ..pane
        };
        let mut pane = self.fire(labelled, |_| false, key, frame, step);
        (pane.start_ms, pane.end_ms) = own;
        pane.fired += 1;
        if self.can_fire_again() {
            self.keep_pane(&pane, key, frame);
        } else if sabotage::is(Sabotage::PaneFiredTwice) {
            // As if it had not fired: one that had is taken for a kept one at the next start.
            pane.fired -= 1;
            frame.state.panes.push(pane);
        }
    }

    /// Fires a pane with rows for the key in the frame, and drops rows that no pane needs.
    pub(super) fn close_rows(
        &mut self,
        open: &OpenPane,
        (start_ms, end_ms): (i64, i64),
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let pane = Pane {
            start_ms,
            end_ms,
            ..take_part(open, frame).unwrap_or_else(|| pane_of(open))
        };
        let mut pane = self.fire(pane, |at| open.holds(at), key, frame, step);
        if self.can_fire_again() {
            pane.fired += 1;
            self.keep_pane(&pane, key, frame);
        }
        self.let_go_of_rows(key, frame);
    }

    pub(in crate::mill) fn can_fire_again(&self) -> bool {
        self.window
            .is_some_and(|window| window.event_time && window.allowed_late_ms > 0)
    }

    /// Closes the panes of a key that are due.
    pub(in crate::mill) fn close_panes_of(
        &mut self,
        key: &Key,
        moment: Moment,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let (Some(window), Some(place)) = (self.window, self.keys.find(key)) else {
            return;
        };
        self.lend(key, Some(place), frame);
        self.close_due(window, moment, key, frame, step);
        self.take_back(key, Some(place), true, frame, step);
    }

    /// Fires the due windows of the key in the frame.
    pub(super) fn close_due(
        &mut self,
        window: Window,
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let is_due = |pane: &Pane| pane.due.is_some_and(|due| due <= moment.at);
        while let Some(at) = frame.state.panes.iter().position(is_due) {
            let mut pane = frame.state.panes.remove(at);
            let due = pane.due.unwrap_or(moment.at);
            if !window.event_time {
                let labels = relabelled(pane.start_ms, pane.end_ms, due, step.now);
                (pane.start_ms, pane.end_ms) = labels;
            }
            if window.kind == WindowKind::Session {
                self.close_session(window, pane, due, key, frame, step);
            } else {
                let from = pane.from;
                self.fire(pane, |at| (from..due).contains(&at), key, frame, step);
                self.slide(window, moment, key, frame);
            }
        }
        if let Some(next) = frame.state.panes.iter().filter_map(|pane| pane.due).min() {
            self.look_at(next, key, step.due);
        }
    }

    /// Closes a session that is over, or as long as it may become: then the next one begins where
    /// it ended, if rows go on to come.
    fn close_session(
        &mut self,
        window: Window,
        pane: Pane,
        due: i64,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        if pane.folded == 0 {
            return;
        }
        let end_ms = pane.end_ms;
        let last = frame.state.rows().next_back().map_or(due, |(_, at)| at);
        self.fire(pane, |_| true, key, frame, step);
        self.remove_rows(key, frame, |_| true);
        let quiet = last.saturating_add(window.gap_ms);
        if quiet > due {
            frame.state.panes.push(Pane {
                start_ms: end_ms,
                due: Some(quiet),
                ..Pane::default()
            });
        }
    }

    /// Calls `on_window` for the key whose state is in the frame, with the rows at the moments of
    /// which that is true; returns the pane.
    pub(super) fn fire(
        &mut self,
        pane: Pane,
        holds: impl Fn(i64) -> bool,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Pane {
        let before = (frame.event_ms, frame.call);
        (frame.event_ms, frame.call) = (pane.end_ms, frame.call | FIRING);
        let mut rows: Vec<(RowName, i64)> =
            frame.state.rows().filter(|(_, at)| holds(*at)).collect();
        if self.time.is_some() {
            rows.sort_by_key(|(_, at)| *at);
        }
        frame.rows.clear();
        frame.rows.extend(rows.into_iter().map(|(name, _)| name));
        let mut pane = pane;
        if self.window.is_some_and(|window| window.rows) {
            pane.folded = frame.rows.len() as u64;
        }
        frame.pane = Some(pane);
        self.call_window(key, frame, step);
        frame.rows.clear();
        (frame.event_ms, frame.call) = before;
        frame.pane.take().unwrap_or_default()
    }

    /// Calls `on_window`, again without the rows that do not fit, each of which is a dead letter.
    fn call_window(&mut self, key: &Key, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        for attempt in 0.. {
            let place = |key: &str, frame: &Frame| {
                let pane = frame.pane.as_ref().map(|pane| (pane.start_ms, pane.end_ms));
                let (start_ms, end_ms) = pane.unwrap_or_default();
                format!("window of {} from {start_ms} to {end_ms}: ", shown(key))
            };
            match self.call(Handler::Window, key, frame, step) {
                Ok(_) => {
                    for spoiled in std::mem::take(&mut frame.effects.spoiled) {
                        self.ledger.faults_without_event += 1;
                        let place = place(spoiled.key.as_ref().unwrap_or(key), frame);
                        let fault = Fault::Other(spoiled.reason.into());
                        self.bury_without_event(fault, &place, frame, step);
                    }
                    if let Some((pairs, first)) = frame.effects.pairs.take() {
                        self.ledger.faults_without_event += 1;
                        let reason = match pairs {
                            1 => format!("a pair of rows: {first}"),
                            _ => format!("{pairs} pairs of rows, the first: {first}"),
                        };
                        let place = place(key, frame);
                        self.bury_without_event(Fault::Other(reason), &place, frame, step);
                    }
                    return;
                }
                Err(Fault::Misfits(misfits)) if attempt < ATTEMPTS_MAX => {
                    if !self.take_out(&misfits, key, frame, step) {
                        return;
                    }
                }
                Err(fault) => {
                    self.ledger.faults_without_event += 1;
                    let place = place(key, frame);
                    self.bury_without_event(fault, &place, frame, step);
                    return;
                }
            }
        }
    }

    /// Takes rows out of the window that fires; says whether others are left.
    fn take_out(
        &mut self,
        misfits: &BTreeMap<usize, Box<str>>,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> bool {
        for (number, why) in misfits {
            let Some(name) = frame.rows.get(*number).copied() else {
                continue;
            };
            let row = frame.state.row(name).unwrap_or_default().to_vec();
            self.bury_row(&row, why, step);
            self.remove_row(name, key, frame);
        }
        let rows = std::mem::take(&mut frame.rows).into_iter().enumerate();
        let rows = rows.filter(|(number, _)| !misfits.contains_key(number));
        frame.rows = rows.map(|(_, name)| name).collect();
        let left = frame.rows.len() as u64;
        if let Some(pane) = &mut frame.pane {
            pane.folded = left;
        }
        left > 0
    }
}

/// Takes the key's part of a pane out of the state in the frame; a kept one stays until it is kept anew.
fn take_part(open: &OpenPane, frame: &mut Frame) -> Option<Pane> {
    if open.fired {
        return frame.state.kept_at(open.start_ms);
    }
    let panes = &mut frame.state.panes;
    let at = panes.iter().position(|pane| is_part_of(pane, open))?;
    Some(panes.remove(at))
}
