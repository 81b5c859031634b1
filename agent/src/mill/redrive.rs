//! Dead letters, worked on once more: an event by the one rule that could not digest it, a row by its
//! destination.

use crate::commit::record::Dead;
use crate::event::clock::Now;
use crate::event::emission::Row;
use crate::event::{Event, Origin};
use crate::mill::router::Hit;

use super::Mill;
use super::intake::shelf;
use super::output::Output;
use super::route::Route;

impl Mill {
    /// Works on dead letter number `seq` once more, in the same commit in which it leaves the shelf.
    /// Nothing happens where it is gone, or its rule or destination is.
    pub(super) fn redrive(&mut self, now: Now, seq: u64, out: &mut Vec<Output>) {
        let found = self
            .durable
            .as_deref()
            .and_then(shelf)
            .and_then(|lane| lane.row(seq))
            .cloned();
        let Some(row) = found else {
            return;
        };
        // Of one that was cut nobody knows what it said.
        let Some(dead) = Dead::decode(&row.payload)
            .ok()
            .filter(|dead| dead.missing == 0)
        else {
            return;
        };
        let done = match dead.lane.clone() {
            Some(_) => self.send_again(now, &row, dead),
            None => self.work_again(now, &row, dead, out),
        };
        if let (true, Some(durable)) = (done, &mut self.durable) {
            durable.outbox.take_dead_letter(seq);
            durable.batch.open(now);
        }
    }

    fn send_again(&mut self, now: Now, row: &Row, dead: Dead) -> bool {
        let Some(durable) = &mut self.durable else {
            return false;
        };
        let lsn = durable.lsn();
        let row = Row {
            payload: dead.payload,
            qos: dead.qos,
            retain: dead.retain,
            // It has been wanted since now: else it might be too old at once.
            made_ms: durable.age.ms(now),
            ..row.clone()
        };
        dead.lane
            .is_some_and(|lane| durable.outbox.push_to(&lane, row, lsn))
    }

    fn work_again(&mut self, now: Now, row: &Row, dead: Dead, out: &mut Vec<Output>) -> bool {
        let named = |active: &super::active::Active| active.rule.name == row.rule;
        let Some(rule) = self.rules.iter().position(named) else {
            return false;
        };
        // A rule at rest would make it a dead letter once more, or count it as dropped.
        if let Some(active) = self.rules.get_mut(rule)
            && active.is_quarantined(now)
        {
            return false;
        }
        let hit = Hit {
            rule: u32::try_from(rule).unwrap_or(u32::MAX),
            subscription: 0,
            rank: 0,
        };
        let route = Route::new(&[hit], super::active::facts_of(&self.rules), &row.topic);
        let mut event = Event::new(row.topic.clone(), dead.payload, row.at_ms);
        event.properties = dead.properties;
        event.origin = Origin::Gateway;
        self.in_seq += 1;
        self.frame.event_ms = row.at_ms;
        self.frame.set_event(event);
        self.frame.again = true;
        let worked = self.work(&route, (now, false), out);
        self.frame.again = false;
        self.frame.set_event(Event::none());
        if let (true, Some(durable)) = (worked.kept, &mut self.durable) {
            durable.batch.open(now);
        }
        worked.wanted
    }
}
