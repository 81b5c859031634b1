//! What the mill does in its turn: one event through the rules of its route, and what falls due, some at
//! a time.

use bytes::Bytes;

use crate::event::clock::{Now, signed};
use crate::event::{Event, Origin};
use crate::function::frame::Frame;

use super::active::{Step, flags};
use super::budget::Budget;
use super::due::What;
use super::output::Output;
use super::pace::{CALL_COST, DUE_COST, EVENT_FUEL, TURN_FUEL};
use super::rounds::Rounds;
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
        let decoded = if route.plan.is_empty() {
            Ok(())
        } else {
            let Frame { event, decoded, .. } = &mut **frame;
            route.plan.decode(&event.payload, decoded)
        };
        let first = out.len();
        let mut rounds = Rounds {
            rules,
            moment: (frame.event_ms, flags(now, false, false)),
            frame,
            durable: durable.as_deref_mut(),
            step: Step {
                now,
                due,
                out,
                cold: *cold,
                budget: Budget::alone(),
                fuel: 0,
                fuel_max: EVENT_FUEL,
                clock_mono_ms: now.mono_ms,
                in_turn,
                due_is_over: !meter.has_due(),
            },
            decoded,
            worked: Worked {
                // A copy that is for other rules than those needs its receipt too: sent again after a
                // deployment it might be for them.
                kept: route.is_kept,
                ..Worked::default()
            },
        };
        rounds.go_through(&route.stops);
        let worked = rounds.worked;
        meter.events += rounds.step.fuel;
        // It holds the bytes of the message.
        frame.read = None;
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
            budget: Budget::alone(),
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
        let asked = step.budget.taken().0;
        if let (Some(durable), false) = (durable.as_deref_mut(), active.is_volatile()) {
            durable.touch(active.index);
            durable.batch.open(now);
            durable.batch.effect_bytes += asked;
        }
        self.keep(first, now, out);
        self.commit_if_full(now, out);
    }
}
