//! Dead letters that are worked on once more, or dropped, and what became of each.

use serde_json::{Value, json};

use super::Agent;
use crate::commit::outbox::Lane;
use crate::commit::record::Dead;
use crate::mill::{self, Mill};

fn shelf(mill: &Mill) -> Option<&Lane> {
    mill.outbox().and_then(|outbox| outbox.dead_letters())
}

impl Agent {
    /// Drops a dead letter, or works on it once more; tells if that was done.
    pub(super) fn take_dead_letter(&mut self, seq: u64, input: mill::Input) -> Value {
        let is_there = |mill: &Mill| shelf(mill).is_some_and(|lane| lane.row(seq).is_some());
        if !is_there(&self.mill) {
            return json!({ "done": false });
        }
        self.turn(input);
        if !is_there(&self.mill) {
            json!({ "done": true })
        } else {
            json!({ "done": false, "reason": self.why_dead(seq) })
        }
    }

    /// Works on a dead letter once more, and tells what became of it: a row waits for its destination
    /// again, an event was worked on by its rule, or is another dead letter now.
    pub(super) fn redrive(&mut self, seq: u64) -> Value {
        let row = shelf(&self.mill).and_then(|lane| lane.row(seq)).cloned();
        let last = shelf(&self.mill).map_or(0, Lane::last_seq);
        let answer = self.take_dead_letter(seq, mill::Input::Redrive(seq));
        let is_done = answer.get("done").and_then(Value::as_bool);
        let (Some(row), Some(true)) = (row, is_done) else {
            return answer;
        };
        let lane = Dead::decode(&row.payload).ok().and_then(|dead| dead.lane);
        if let Some(lane) = lane {
            return json!({ "done": true, "lane": lane.to_string() });
        }
        // Until then dead letters have no number.
        self.turn(mill::Input::Commit);
        let newer = shelf(&self.mill).into_iter().flat_map(Lane::rows);
        let newer = newer.filter(|newer| newer.seq > last);
        let mut again = newer.filter(|newer| newer.rule == row.rule && newer.topic == row.topic);
        let Some(again) = again.next() else {
            return answer;
        };
        let reason = Dead::decode(&again.payload).map(|dead| dead.reason);
        let reason = reason.unwrap_or_else(|error| error.to_string());
        json!({ "done": true, "again": { "letter": again.seq, "reason": reason } })
    }

    fn is_at_rest(&self, rule: &str) -> bool {
        let mut statuses = self.mill.rule_statuses(self.clock.now());
        statuses.any(|status| **status.name == *rule && status.quarantine_ms.is_some())
    }

    /// Why a dead letter is not worked on once more.
    fn why_dead(&self, seq: u64) -> String {
        let outbox = self.mill.outbox();
        let row = outbox.and_then(|outbox| outbox.dead_letters()?.row(seq));
        let Some((row, dead)) = row.and_then(|row| Some((row, Dead::decode(&row.payload).ok()?)))
        else {
            return "it cannot be read".to_owned();
        };
        match (dead.missing, dead.lane) {
            (1.., _) => format!(
                "{} bytes of it were not kept, and nobody works on a part",
                dead.missing
            ),
            (0, Some(lane)) => format!(
                "it was for the destination {:?}, which is not configured any more or has no room; a row goes where it \
                 was made for and nowhere else: name that destination again, or drop it",
                &*lane.destination
            ),
            (0, None) if self.is_at_rest(&row.rule) => format!(
                "rule {:?} is in quarantine and works on nothing: `tidemill inspect rules` says until when",
                &*row.rule
            ),
            (0, None) => format!(
                "rule {:?}, which could not digest it, is not deployed any more: deploy it again, or drop it",
                &*row.rule
            ),
        }
    }
}
