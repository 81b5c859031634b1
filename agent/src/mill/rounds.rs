//! The rounds of the rules that an event reaches, in the order of their names. A rule that needs more of
//! the event's budget than its own part is called once more when all others have had theirs.

use crate::config::limits::EFFECT_BYTES_MAX;
use crate::event::ledger::Fate;
use crate::event::payload::PayloadError;
use crate::function::frame::Frame;

use super::Worked;
use super::active::{Active, Step};
use super::budget::{Cost, equal_part};
use super::durable::Durable;
use super::pace::CALL_COST;
use super::route::Stop;

/// Rounds in which what is left is given out: a need becomes known call by call, and each round calls
/// once more.
const ROUNDS_MAX: usize = 3;

/// The work on one event.
pub(super) struct Rounds<'a, 'b> {
    pub(super) rules: &'a mut [Active],
    pub(super) frame: &'a mut Box<Frame>,
    pub(super) durable: Option<&'a mut Durable>,
    pub(super) step: Step<'b>,
    /// Result of the reading of the payload for all rules.
    pub(super) decoded: Result<(), PayloadError>,
    /// Time and flags of the event. A rule with a time of its own changes both, for itself only.
    pub(super) moment: (i64, u32),
    pub(super) worked: Worked,
}

/// A rule whose turn comes again, and what it needs.
struct Again<'a> {
    call: u32,
    stop: &'a Stop,
    needs: Cost,
}

impl Rounds<'_, '_> {
    /// Lets each rule that the copy is for work on the event.
    pub(super) fn go_through(&mut self, stops: &[Stop]) {
        let event = &self.frame.event;
        let answers = |stop: &&Stop| event.subscriptions.answers(stop.subscription);
        let mut left = stops.iter().filter(answers).count();
        let part = EFFECT_BYTES_MAX / left.max(1);
        let is_alone = left == 1;
        let mut again: Vec<Again<'_>> = Vec::new();
        for (call, stop) in (0..).zip(stops) {
            let event = &self.frame.event;
            let Some(active) = self.rules.get(stop.rule as usize) else {
                continue;
            };
            if !event.subscriptions.answers(stop.subscription) {
                continue;
            }
            left = left.saturating_sub(1);
            if event.retained && !active.rule.triggers.retained {
                continue;
            }
            self.worked.wanted = true;
            let own = (!is_alone && active.can_come_again(stop)).then_some(Cost(part));
            let reserved = Cost(part * (left + again.len()));
            self.step.budget.begin(reserved, own);
            if !self.turn(call, stop) {
                let needs = self.step.budget.needed();
                again.push(Again { call, stop, needs });
            }
        }
        for _ in 0..ROUNDS_MAX {
            let before = again.len();
            again = self.go_round(again);
            if again.len() == before {
                break;
            }
        }
        self.go_last(again);
    }

    /// Gives equal parts of what is left to rules that need more than their own, as far as those suffice;
    /// returns the rules that may come once more.
    fn go_round<'s>(&mut self, again: Vec<Again<'s>>) -> Vec<Again<'s>> {
        let free = self.step.budget.free().0;
        let needs = again.iter().map(|again| again.needs.0).collect();
        let part = equal_part(needs, free).min(free);
        let mut next = Vec::new();
        for Again { call, stop, needs } in again {
            if needs.0 > part {
                next.push(Again { call, stop, needs });
                continue;
            }
            let reserved = Cost(free.saturating_sub(part));
            self.step.budget.begin(reserved, Some(Cost(part)));
            if !self.turn(call, stop) {
                let needs = self.step.budget.needed();
                next.push(Again { call, stop, needs });
            }
        }
        next
    }

    /// Serves rules each of which needs more than an equal part: those that need least, and of equal ones
    /// another one with each event. The event is a dead letter of the others.
    fn go_last(&mut self, again: Vec<Again<'_>>) {
        let count = again.len() as u64;
        let first = self.frame.in_seq;
        let mut order: Vec<(Cost, u64, Again<'_>)> = (0..)
            .zip(again)
            .map(|(at, again)| (again.needs, (first + at) % count, again))
            .collect();
        order.sort_by_key(|(needs, at, _)| (*needs, *at));
        for (_, _, Again { call, stop, .. }) in order {
            self.step.budget.begin(Cost(0), None);
            self.turn(call, stop);
        }
    }

    /// Calls the rule of a stop; returns `false` if it has to come again.
    fn turn(&mut self, call: u32, stop: &Stop) -> bool {
        let Self {
            rules,
            frame,
            durable,
            step,
            decoded,
            moment,
            worked,
        } = self;
        let Some(active) = rules.get_mut(stop.rule as usize) else {
            return true;
        };
        (frame.event_ms, frame.flags) = *moment;
        frame.call = call;
        step.fuel += CALL_COST;
        active.last_event_ms = Some(step.now.wall_ms);
        let fate = match &stop.reading {
            None => active.event(stop, decoded.as_ref().copied(), frame, step),
            Some(reading) => Some(active.each_row(stop, reading, frame, step)),
        };
        let Some(fate) = fate else {
            return false;
        };
        if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
            durable.touch(active.index);
            durable.batch.effect_bytes += step.budget.taken().0;
            worked.effects |= fate != Fate::Filtered;
        }
        true
    }
}
