//! Invocation of one rule, for real and once, for an event that somebody at the gateway makes up.

use crate::event::Event;
use crate::event::clock::Now;
use crate::event::ledger::Ledger;
use crate::event::state::Key;
use crate::mill::router::Hit;

use super::Mill;
use super::output::{Invoked, Output};
use super::route::{Route, StopKey};

impl Mill {
    /// Runs one rule on the event, whatever the rule listens to; the event's ticket is answered.
    /// `key` takes the place of the key that the rule would find.
    pub(super) fn invoke(
        &mut self,
        now: Now,
        rule: &str,
        key: Option<Key>,
        event: Event,
        out: &mut Vec<Output>,
    ) {
        let crate::event::Origin::Local(ticket) = event.origin else {
            return;
        };
        let named = |active: &super::active::Active| *active.rule.name == *rule;
        let Some(at) = self.rules.iter().position(named) else {
            return self.answer(ticket, false, out);
        };
        let hit = Hit {
            rule: u32::try_from(at).unwrap_or(u32::MAX),
            subscription: 0,
            rank: 0,
        };
        let mut route = Route::new(&[hit], super::active::facts_of(&self.rules), &event.topic);
        if let (Some(key), Some(stop)) = (key, route.stops.first_mut()) {
            stop.key = StopKey::Known(key);
        }
        let before = self.rules.get(at).map(|active| active.ledger.clone());
        self.in_seq += 1;
        self.frame.event_ms = event.arrival_ms;
        self.frame.set_event(event);
        self.watched = Some(Vec::new());
        // A person waits for what it does: it is in its turn, also where the rule is behind.
        let worked = self.work(&route, (now, true), out);
        let outputs = self.watched.take().unwrap_or_default();
        if let (true, Some(durable)) = (worked.kept, &mut self.durable) {
            durable.batch.open(now);
        }
        let after = self.rules.get(at).map(|active| &active.ledger);
        let counts = match (after, &before) {
            (Some(after), Some(before)) => after.since(before),
            _ => Ledger::default(),
        };
        let invoked = Invoked {
            event_seq: self.in_seq,
            counts,
            outputs,
        };
        out.push(Output::Invoked {
            ticket,
            invoked: Box::new(invoked),
        });
        self.answer(ticket, true, out);
    }

    /// Notes what a call made, where somebody asked for it.
    pub(super) fn watch(&mut self, made: &[Output]) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        watched.extend(made.iter().cloned());
    }
}
