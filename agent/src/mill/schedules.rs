//! Schedules of rules: when a slot is due by the wall clock, which may be set at any moment.

use std::sync::Arc;

use super::Mill;
use super::due::What;
use super::output::Output;
use crate::event::clock::{Now, STEP_MS};
use crate::event::{Event, Origin};

/// A schedule that was missed for longer than this is not made up for.
const CATCH_UP_MS: i64 = 3 * 3_600_000;

impl Mill {
    /// Runs a rule for a slot of its schedule, and places the next one.
    pub(super) fn run_schedule(
        &mut self,
        rule: usize,
        number: usize,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        let Some(active) = self.rules.get_mut(rule) else {
            return;
        };
        let Some(schedule) = active.rule.triggers.schedules.get(number) else {
            return;
        };
        let Some(state) = active.schedules.get_mut(number) else {
            return;
        };
        let Some(slot_ms) = state.next_ms.take() else {
            return;
        };
        let payload = serde_json::json!({ "schedule": schedule.text(), "at": slot_ms }).to_string();
        let periodic = schedule.period_ms().is_some();
        state.last_ms = Some(if periodic { now.wall_ms } else { slot_ms });
        let route = Arc::clone(&active.alone);
        self.place_schedule(rule, number, now);
        self.in_seq += 1;
        self.frame.event_ms = slot_ms;
        let mut event = Event::new(self.nowhere.clone(), payload, now.wall_ms);
        event.origin = Origin::Gateway;
        self.frame.set_event(event);
        let worked = self.work(&route, (now, true), out);
        if let (true, Some(durable)) = (worked.kept, &mut self.durable) {
            durable.batch.open(now);
        }
        self.commit_if_full(now, out);
    }

    /// Puts the next slot of a schedule into the queue.
    pub(super) fn place_schedule(&mut self, rule: usize, number: usize, now: Now) {
        let Some(active) = self.rules.get_mut(rule) else {
            return;
        };
        let Some(schedule) = active.rule.triggers.schedules.get(number) else {
            return;
        };
        let Some(state) = active.schedules.get_mut(number) else {
            return;
        };
        if let Some(period_ms) = schedule.period_ms() {
            // It follows monotonic time; a step of the wall clock leaves it alone. What is left of a
            // period that began before the rules were read again is waited for, no more.
            let gone_ms = state
                .last_ms
                .and_then(|last| u64::try_from(now.wall_ms.saturating_sub(last)).ok());
            let left_ms = gone_ms.map_or(period_ms, |gone| period_ms.saturating_sub(gone));
            let mono_ms = now.mono_ms.saturating_add(left_ms);
            state.next_ms = Some(now.wall_at(mono_ms));
            self.due
                .insert(mono_ms, What::Schedule(active.index, number));
            return;
        }
        // Slots missed within the last three hours run once, a slot that ran never runs again.
        let recently = now.wall_ms.saturating_sub(CATCH_UP_MS);
        let after = match state.last_ms {
            // A slot far ahead was run by a clock that was wrong.
            Some(last) if last >= recently && last.saturating_sub(now.wall_ms) <= CATCH_UP_MS => {
                last
            }
            _ => now.wall_ms,
        };
        state.next_ms = match schedule.next_after(after) {
            Some(next) if next < now.wall_ms => latest_slot(schedule, next, now.wall_ms),
            next => next,
        };
        if let Some(next_ms) = state.next_ms {
            self.due
                .insert(now.mono_at(next_ms), What::Schedule(active.index, number));
        }
    }

    pub(super) fn notice_clock_step(&mut self, now: Now) {
        let offset = now
            .wall_ms
            .saturating_sub(i64::try_from(now.mono_ms).unwrap_or(i64::MAX));
        match self.wall_offset_ms {
            Some(before) if before.abs_diff(offset) <= STEP_MS => return,
            Some(_) => self.place_all_schedules(now),
            None => {}
        }
        self.wall_offset_ms = Some(offset);
    }

    /// Places every schedule that hangs on the wall clock anew.
    fn place_all_schedules(&mut self, now: Now) {
        let mut on_the_wall = Vec::new();
        for (rule, active) in self.rules.iter().enumerate() {
            for (number, schedule) in active.rule.triggers.schedules.iter().enumerate() {
                if schedule.period_ms().is_none() {
                    self.due.drop_schedule(active.index, number);
                    on_the_wall.push((rule, number));
                }
            }
        }
        for (rule, number) in on_the_wall {
            self.place_schedule(rule, number, now);
        }
    }
}

/// The latest slot from `first` on that is not after `now_ms`: of several missed ones it stands for
/// all.
fn latest_slot(schedule: &crate::rule::schedule::Schedule, first: i64, now_ms: i64) -> Option<i64> {
    let mut latest = first;
    while let Some(next) = schedule.next_after(latest).filter(|next| *next <= now_ms) {
        latest = next;
    }
    Some(latest)
}
