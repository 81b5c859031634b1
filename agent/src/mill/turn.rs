//! What the mill does in its turn: one event through the rules of its route, and what falls due, some at
//! a time.

use bytes::Bytes;

use crate::config::limits::EFFECT_BYTES_MAX;
use crate::event::clock::{Now, signed};
use crate::event::ledger::Fate;
use crate::event::{Event, Origin};
use crate::function::frame::Frame;

use super::active::{Step, flags};
use super::due::What;
use super::output::Output;
use super::pace::{CALL_COST, DUE_COST, EVENT_FUEL, TURN_FUEL};
use super::route::Route;
use super::window::Moment;
use super::{Mill, Worked};

impl Mill {
    /// Runs the rules of a route on the event in the frame. What a schedule makes is in its turn; other
    /// events wait where their rule is behind.
    pub(super) fn work(
        &mut self,
        route: &Route,
        (now, in_turn): (Now, bool),
        out: &mut Vec<Output>,
    ) -> Worked {
        let Self {
            rules,
            frame,
            due,
            in_seq,
            cold,
            durable,
            meter,
            ..
        } = self;
        frame.now = now;
        frame.in_seq = *in_seq;
        // A rule with a time of its own changes both, for itself only.
        let (event_ms, flags) = (frame.event_ms, flags(now, false, false));
        let decoded = if route.plan.is_empty() {
            Ok(())
        } else {
            let Frame { event, decoded, .. } = &mut **frame;
            route.plan.decode(&event.payload, decoded)
        };
        let first = out.len();
        let mut step = Step {
            now,
            due,
            out,
            cold: *cold,
            effect_bytes_free: EFFECT_BYTES_MAX,
            fuel: 0,
            fuel_max: EVENT_FUEL,
            clock_mono_ms: now.mono_ms,
            in_turn,
            due_is_over: !meter.has_due(),
        };
        let mut worked = Worked {
            // A copy that is for other rules than those needs its receipt too: sent again after a
            // deployment it might be for them.
            kept: route.is_kept,
            ..Worked::default()
        };
        for (call, stop) in (0..).zip(&route.stops) {
            let Some(active) = rules.get_mut(stop.rule as usize) else {
                continue;
            };
            let event = &frame.event;
            if !event.subscriptions.answers(stop.subscription)
                || (event.retained && !active.rule.triggers.retained)
            {
                continue;
            }
            frame.call = call;
            (frame.event_ms, frame.flags) = (event_ms, flags);
            worked.wanted = true;
            step.fuel += CALL_COST;
            active.last_event_ms = Some(now.wall_ms);
            let fate = match &stop.reading {
                None => active.event(stop, decoded.as_ref().copied(), frame, &mut step),
                Some(reading) => active.each_row(stop, reading, frame, &mut step),
            };
            if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
                durable.touch(active.index);
                worked.effects |= fate != Fate::Filtered;
            }
        }
        // It holds the bytes of the message.
        frame.read = None;
        meter.events += step.fuel;
        let asked = EFFECT_BYTES_MAX - step.effect_bytes_free;
        if let Some(durable) = durable {
            durable.batch.effect_bytes += asked;
        }
        self.keep(first, now, out);
        worked
    }

    /// Lets fall due what the step has a share for. Rules take turns.
    pub(super) fn fall_due(&mut self, now: Now, out: &mut Vec<Output>) {
        while self.meter.has_due() && !self.is_stopping {
            let ready = self.due.ready(now.mono_ms, self.last_turn);
            if ready.is_empty() {
                return;
            }
            for rule in ready {
                let until = self.meter.due + TURN_FUEL;
                while self.meter.has_due()
                    && self.meter.due < until
                    && let Some((at, what)) = self.due.pop(rule, now.mono_ms)
                {
                    self.last_turn = rule;
                    self.fall_one(at, &what, now, out);
                }
            }
        }
    }

    /// Does one thing that was due at `at`.
    fn fall_one(&mut self, at: u64, what: &What, now: Now, out: &mut Vec<Output>) {
        self.frame.now = now;
        self.frame.event_ms = now.wall_ms;
        self.frame.in_seq = self.in_seq;
        self.frame.call = 0;
        self.frame.flags = flags(now, false, false);
        self.frame.streams = 0;
        if let What::Schedule(rule, number) = what {
            let before = self.meter.events;
            self.run_schedule(*rule as usize, *number, now, out);
            self.meter.due += DUE_COST + std::mem::replace(&mut self.meter.events, before) - before;
            return;
        }
        let mut event = Event::new(self.nowhere.clone(), Bytes::new(), now.wall_ms);
        event.origin = Origin::Gateway;
        self.frame.set_event(event);
        let first = out.len();
        let Self {
            rules,
            frame,
            due,
            cold,
            durable,
            meter,
            ..
        } = self;
        let mut step = Step {
            now,
            due,
            out,
            cold: *cold,
            effect_bytes_free: EFFECT_BYTES_MAX,
            fuel: match what {
                // Mostly one of many, each with an event.
                What::Release(_) | What::Event(_) => CALL_COST,
                _ => DUE_COST,
            },
            fuel_max: u64::MAX,
            clock_mono_ms: now.mono_ms,
            in_turn: true,
            due_is_over: false,
        };
        let Some(active) = rules.get_mut(what.rule() as usize) else {
            return;
        };
        // The rest of a quarantine is over, or its turn would not be here.
        active.is_quarantined(now);
        match what {
            What::Closing(_) => active.close_next(frame, &mut step),
            What::Pane(_) => active.close_panes(signed(at), &mut step),
            What::KeyPane(_, key) => {
                let moment = Moment::now(now).earlier(signed(at));
                active.close_panes_of(key, moment, frame, &mut step);
            }
            What::Release(_) => active.release(frame, &mut step),
            What::Timer(_, key, id) => active.fire_timer(key, *id, frame, &mut step),
            What::Event(_) => active.work_on_behind(frame, &mut step),
            What::Schedule(..) => {}
        }
        meter.due += step.fuel;
        let asked = EFFECT_BYTES_MAX - step.effect_bytes_free;
        if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
            durable.touch(active.index);
            durable.batch.open(now);
            durable.batch.effect_bytes += asked;
        }
        self.keep(first, now, out);
        self.commit_if_full(now, out);
    }
}
