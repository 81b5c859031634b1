//! What a running agent answers when it is asked, between two turns of the mill.

use serde_json::{Value, json};

use super::Agent;
use super::control::{Asked, Question};
use crate::books;
use crate::mill::{self, Mill};
use crate::recorder::Recorded;

impl Agent {
    /// Answers a question between two turns.
    pub(super) fn answer(&mut self, asked: Asked) {
        let outbox = |mill: &Mill| mill.outbox().cloned().unwrap_or_default();
        let answer = match asked.question {
            Question::Ledger => books::ledger_of_mill(&self.mill),
            Question::StateHash => {
                self.turn(mill::Input::Commit);
                books::state_hash_of_mill(&self.mill)
            }
            Question::DeadLetters { only } => books::dead_letters(&outbox(&self.mill), only),
            Question::Redrive { seq } => self.take_dead_letter(seq, mill::Input::Redrive(seq)),
            Question::Drop { seq } => self.take_dead_letter(seq, mill::Input::DropDeadLetter(seq)),
            Question::Events { last } => self.recorder.last(last).map(Recorded::to_line).collect(),
            Question::Health => self.health(),
        };
        // Whoever asked may have gone.
        let _ = asked.answer.try_send(answer);
    }

    fn take_dead_letter(&mut self, seq: u64, input: mill::Input) -> Value {
        let is_there = |mill: &Mill| {
            let shelf = mill.outbox().and_then(|outbox| outbox.dead_letters());
            shelf.is_some_and(|lane| lane.row(seq).is_some())
        };
        if !is_there(&self.mill) {
            return json!({ "done": false });
        }
        self.turn(input);
        match is_there(&self.mill) {
            false => json!({ "done": true }),
            true => {
                let reason = "it was cut, or its rule or destination is not there any more";
                json!({ "done": false, "reason": reason })
            }
        }
    }

    fn health(&self) -> Value {
        let destinations: serde_json::Map<String, Value> = self
            .outputs
            .status()
            .map(|(name, status)| {
                let told = json!({
                    "connected": status.connected,
                    "trouble": status.trouble,
                    "stalled": status.stalled,
                });
                (name.to_owned(), told)
            })
            .collect();
        let stalled = self.storage.is_stalled();
        let well = self.broker.connected && !stalled && self.unbalanced == 0;
        json!({
            "well": well,
            "broker": { "connected": self.broker.connected, "trouble": self.broker.trouble },
            "destinations": destinations,
            "disk_full": stalled,
            "taking_in": !self.is_full(),
            "unbalanced": self.unbalanced,
            "commits": self.mill.lsns().0,
            "durable": self.mill.lsns().1,
            "journal_bytes": self.storage.journal_bytes(),
        })
    }
}
