//! Effect of an event on the window of its key: it is folded into panes, or the rows that its call
//! puts are kept for a later firing.

use crate::event::clock::Now;
use crate::event::ledger::Fate;
use crate::event::state::{Key, OpenPane, PANE_BYTES};
use crate::function::Handler;
use crate::function::frame::Frame;
use crate::mill::due::{DueQueue, What, at_least_0};
use crate::mill::output::Output;
use crate::mill::window::{Moment, Window, is_part_of, pane_of};
use crate::rule::manifest::WindowKind;

use super::event_time::LATE;
use super::fault::Fault;
use super::{Active, Step};

impl Active {
    /// Returns `true` if the panes of the rule's window are the same for all keys.
    pub(in crate::mill) fn is_on_grid(&self) -> bool {
        self.window.is_some_and(|window| window.kind.is_on_grid())
    }

    /// Calls the handler for an event of a rule that keeps a window.
    pub(super) fn in_window(
        &mut self,
        window: Window,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let moment = moment(window, frame, step.now);
        if window.rows {
            return self.collect(window, moment, key, frame, step);
        }
        self.open_panes(window, moment, frame, step);
        let late = self.late_panes(window, moment, frame);
        let mut panes = self.panes.iter().filter(|pane| pane.holds(moment.at));
        let fate = match (panes.next().copied(), panes.next(), late.is_empty()) {
            (None, _, true) if frame.is_late() => return Ok(LATE),
            (None, _, true) => return Ok(Fate::Filtered),
            (Some(pane), None, true) => self.fold(&pane, key, frame, step)?,
            _ => self.fold_all(moment, &late, key, frame, step)?,
        };
        self.fire_late(&late, key, frame, step);
        Ok(fate)
    }

    /// Folds the event into several panes of its key: into all of them, or with a fault into none.
    fn fold_all(
        &mut self,
        moment: Moment,
        late: &[OpenPane],
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let before = (frame.state.clone(), self.ledger.emissions, step.out.len());
        let taken = step.budget.taken();
        let mut fate = Fate::Filtered;
        let open = self.panes.len();
        for at in 0..open + late.len() {
            let pane = self.panes.get(at).or(late.get(at.saturating_sub(open)));
            let Some(pane) = pane.copied().filter(|p| p.holds(moment.at)) else {
                continue;
            };
            match self.fold(&pane, key, frame, step) {
                Ok(Fate::Emitting) => fate = Fate::Emitting,
                Ok(folded) if fate == Fate::Filtered => fate = folded,
                Ok(_) => {}
                Err(fault) => {
                    let (state, emissions, sent) = before;
                    let timer = |id| What::Timer(self.index, key.clone(), id);
                    for (id, at) in &frame.state.timers {
                        step.due.remove(at.mono_ms, timer(*id));
                    }
                    for (id, at) in &state.timers {
                        step.due.insert(at.mono_ms, timer(*id));
                    }
                    frame.state = state;
                    step.budget.give_back_to(taken);
                    self.ledger.emissions = emissions;
                    let said = step.out.split_off(sent).into_iter();
                    step.out
                        .extend(said.filter(|out| matches!(out, Output::Logs { .. })));
                    return Err(fault);
                }
            }
        }
        Ok(fate)
    }

    /// Opens the panes that a moment belongs to, as far as they are not there.
    fn open_panes(&mut self, window: Window, moment: Moment, frame: &Frame, step: &mut Step<'_>) {
        let index = self.index;
        let Self { panes, time, .. } = self;
        match time {
            None => window.open(panes, moment, i64::MIN, |pane| {
                step.due.insert(at_least_0(pane.due), What::Pane(index));
            }),
            Some(time) => {
                let gone_until = time.gone_until(0, frame.is_late());
                window.open(panes, moment, gone_until, |pane| {
                    time.look_at(pane.due, None)
                });
            }
        }
    }

    /// Sees to it that a key's pane is looked at when it is due.
    pub(super) fn look_at(&mut self, at: i64, key: &Key, due: &mut DueQueue) {
        match &mut self.time {
            Some(time) => time.look_at(at, Some(key.clone())),
            None => due.insert(at_least_0(at), What::KeyPane(self.index, key.clone())),
        }
    }

    /// A key's pane is not to be looked at then: keys that come and go leave nothing behind.
    pub(super) fn look_away(&mut self, at: i64, key: &Key, due: &mut DueQueue) {
        match &mut self.time {
            Some(time) => time.look_away(at, key),
            None => due.remove(at_least_0(at), What::KeyPane(self.index, key.clone())),
        }
    }

    /// Folds the event into one pane of its key.
    fn fold(
        &mut self,
        open: &OpenPane,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let panes = &mut frame.state.panes;
        let known = panes.iter().position(|pane| is_part_of(pane, open));
        let pane = match known.and_then(|at| panes.get_mut(at)) {
            Some(pane) => Some(std::mem::take(pane)),
            None if open.fired => frame.state.kept_at(open.start_ms),
            None => {
                self.check_room(frame)?;
                None
            }
        };
        frame.pane = Some(pane.unwrap_or_else(|| pane_of(open)));
        let fate = self.call(Handler::Event, key, frame, step);
        let mut pane = frame.pane.take().unwrap_or_default();
        pane.folded += u64::from(fate.is_ok());
        let panes = &mut frame.state.panes;
        match (known.and_then(|at| panes.get_mut(at)), &fate) {
            (Some(place), _) => *place = pane,
            (None, Ok(_)) if open.fired => {
                let name = frame.state.keep(&pane);
                self.keys.entry_changed(key, name.as_bytes());
            }
            (None, Ok(_)) => {
                let behind = panes.partition_point(|other| other.due <= pane.due);
                panes.insert(behind, pane);
            }
            // A fault leaves no trace: no pane of the key, and so no key that displaces another.
            (None, Err(_)) => {}
        }
        Ok(match fate? {
            Fate::Filtered => Fate::Absorbed,
            fate => fate,
        })
    }

    /// Refuses another pane of a key whose panes alone take more than the rule may keep.
    fn check_room(&self, frame: &Frame) -> Result<(), Fault> {
        let slots = self.window.map_or(0, |window| usize::from(window.slots));
        if frame.state.panes.len() * (PANE_BYTES + 8 * slots) <= self.state_bytes_max {
            return Ok(());
        }
        Err(Fault::Other(format!(
            "the key has no room for another pane of its window: limits.state_bytes is {}; raise it in \
             agent.toml and in the rule, or let fewer panes overlap",
            self.state_bytes_max
        )))
    }

    /// Calls the handler once, and treats the rows that it puts according to the kind of window.
    fn collect(
        &mut self,
        window: Window,
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        if matches!(window.kind, WindowKind::Session | WindowKind::State) {
            frame.pane = frame.state.panes.first().cloned();
        }
        let fate = self.call(Handler::Event, key, frame, step);
        frame.pane = None;
        let fate = fate?;
        let rows = std::mem::take(&mut frame.effects.rows);
        let effects = &frame.effects;
        let (begins, fires, cuts) = (effects.begins, effects.fires, effects.cuts);
        match window.kind {
            WindowKind::Tumbling | WindowKind::Hopping if rows.is_empty() => {}
            WindowKind::Session if rows.is_empty() => {}
            WindowKind::Tumbling | WindowKind::Hopping => {
                self.open_panes(window, moment, frame, step);
                let late = self.late_panes(window, moment, frame);
                if late.is_empty() && !self.panes.iter().any(|pane| pane.holds(moment.at)) {
                    return Ok(if frame.is_late() { LATE } else { fate });
                }
                self.put_rows(&rows, moment, key, frame);
                self.fire_late(&late, key, frame, step);
            }
            WindowKind::Session => self.extend_session(window, &rows, moment, key, frame, step),
            WindowKind::Sliding => {
                self.put_rows(&rows, moment, key, frame);
                if fires {
                    self.trigger(window, moment, key, frame, step);
                }
                self.slide(window, moment, key, frame);
            }
            WindowKind::Count => self.count_rows(window, rows, moment, key, frame, step),
            WindowKind::State if cuts => {
                self.cut_state(&rows, moment, key, frame, step);
            }
            WindowKind::State => {
                self.go_through_state(&rows, (begins, fires), moment, key, frame, step);
            }
        }
        Ok(fate)
    }
}

/// The moment of an event in the time of its window.
fn moment(window: Window, frame: &Frame, now: Now) -> Moment {
    if window.event_time {
        Moment::of_event(frame.event_ms)
    } else {
        Moment::now(now)
    }
}
