//! Answers of a running agent to questions, given between two turns of the mill.

use serde_json::{Value, json};
use tidemill_base::number::Lsn;
use tokio::sync::oneshot;

use super::Agent;
use super::control::{Asked, Question};
use super::health::{Health, Part};
use super::parts::DISK;
use crate::agent::books;
use crate::agent::recorder::Recorded;
use crate::commit::event_ids::{EventIds, Refused};
use crate::destination::DestinationStatus;
use crate::event::state::Key;
use crate::mill::{self, Mill};

/// Time after which a producer is named all of whose numbers were old, in milliseconds.
const SILENCED_MS: u64 = 30_000;

/// Most silenced producers that are named.
const SILENCED_MAX: usize = 20;

/// An answer that waits until the commit that it reports is durable.
struct Promised {
    lsn: Lsn,
    answer: Value,
    to: oneshot::Sender<Value>,
}

/// Answers that wait for a commit. On a full disk that may be for long, and those who ask give up meanwhile,
/// for others to take their turn: whoever has gone makes room, so there are as many as may ask at once.
#[derive(Default)]
pub(super) struct Promises(Vec<Promised>);

impl Promises {
    fn add(&mut self, promised: Promised) {
        self.0.retain(|promised| !promised.to.is_closed());
        self.0.push(promised);
    }

    /// Sends the answers whose commits are durable now.
    fn keep(&mut self, durable_lsn: Lsn) {
        let is_over =
            |promised: &mut Promised| promised.lsn <= durable_lsn || promised.to.is_closed();
        for promised in self.0.extract_if(.., is_over) {
            // Whoever asked may have gone.
            let _ = promised.to.send(promised.answer);
        }
    }
}

impl Agent {
    /// Answers a question between two turns. Where something was changed, the answer waits until that
    /// would outlive the process.
    pub(super) fn answer(&mut self, asked: Asked) {
        let asked = match self.ask_fleet(asked) {
            Some(asked) => asked,
            None => return,
        };
        let Some(asked) = self.invoke(asked) else {
            return;
        };
        let changes = asked.question.changes();
        let outbox = |mill: &Mill| mill.outbox().cloned().unwrap_or_default();
        let answer = match asked.question {
            Question::Ledger => books::ledger_of_mill(&self.mill),
            Question::StateHash => {
                self.turn(mill::Input::Commit);
                books::state_hash_of_mill(&self.mill)
            }
            Question::DeadLetters { only } => books::dead_letters(&outbox(&self.mill), only),
            Question::Redrive { seq } => self.redrive(seq),
            Question::Drop { seq } => self.take_dead_letter(seq, mill::Input::DropDeadLetter(seq)),
            Question::EventIds => {
                let ids = self.mill.event_ids();
                ids.map_or(Value::Null, books::event_ids)
            }
            Question::ForgetProducer { producer } => {
                let knows = |ids: &EventIds| ids.producers().any(|p| *p.name == *producer);
                let known = self.mill.event_ids().is_some_and(knows);
                self.turn(mill::Input::ForgetProducer(producer.into()));
                json!({ "done": known })
            }
            Question::State { rule, key, whole } => {
                books::state_of_mill(&self.mill, &rule, key.as_deref(), whole)
            }
            Question::States => books::states_of_mill(&self.mill),
            Question::ForgetState { rule, key } => self.forget_state(&rule, key),
            Question::Records => books::records_of_mill(&self.mill),
            Question::Events { last } => self.recorder.last(last).map(Recorded::to_line).collect(),
            Question::Health => self.health(),
            Question::Rules => self.rules(),
            // Taken before.
            Question::Invoke { .. } => Value::Null,
            Question::Fleet | Question::Apply { .. } => json!({
                "error": "this agent takes no pushed rules: its agent.toml has no [fleet]",
            }),
        };
        if changes {
            self.turn(mill::Input::Commit);
        }
        let (lsn, durable_lsn) = self.mill.lsns();
        if changes && durable_lsn < lsn {
            let to = asked.answer;
            self.promised.add(Promised { lsn, answer, to });
        } else {
            // Whoever asked may have gone.
            let _ = asked.answer.send(answer);
        }
    }

    /// Sends the answers whose commits are durable now.
    pub(super) fn keep_promises(&mut self) {
        let (_, durable_lsn) = self.mill.lsns();
        self.promised.keep(durable_lsn);
    }

    fn forget_state(&mut self, rule: &str, key: Option<String>) -> Value {
        let is_deployed = |(name, deployed): (&str, bool)| name == rule && deployed;
        if !self.mill.saved_rules().any(is_deployed) {
            let error = format!("rule {rule:?} is not deployed");
            return json!({ "error": error });
        }
        let key: Option<Key> = key.map(Into::into);
        let keys = |mill: &Mill| {
            let saved = mill.saved(rule).unwrap_or_default();
            match &key {
                Some(key) => usize::from(saved.keys.contains_key(key)),
                None => saved.keys.len(),
            }
        };
        let before = keys(&self.mill);
        self.turn(mill::Input::ForgetState {
            rule: rule.into(),
            key: key.clone(),
        });
        json!({ "forgotten": before - keys(&self.mill) })
    }

    /// The condition of the gateway and of all its parts.
    pub(super) fn health(&mut self) -> Value {
        let now = self.clock.now();
        self.losses.look(&self.mill, now);
        self.note_backlog(now);
        let mut health = Health::of_threads(&self.heartbeats);
        health.broker(&self.broker);
        health.seed(&self.config.source.path);
        self.refused.tell(&mut health);
        self.tell_destinations(&mut health, now);
        self.tell_rules(&mut health, now);
        self.tell_clock(&mut health, now);
        let held_back_by = self.held_back_by();
        self.tell_backlog(&mut health, held_back_by, now);
        self.tell_disk(&mut health);
        let ledgers = Part("ledgers", "");
        if self.unbalanced > 0 {
            health.ails("a ledger does not balance");
            health.ill(
                ledgers,
                "do not balance: please report this".to_owned(),
                None,
            );
        } else {
            health.well(ledgers, "balance");
        }
        health.says("destinations", self.destinations());
        health.says("taking_in", held_back_by.is_none());
        health.says("held_back_by", held_back_by);
        health.says("unbalanced", self.unbalanced);
        if self.lost_rows > 0 {
            let why = "rows that waited cannot be read any more";
            health.ails(why);
            health.ill(Part("journal", ""), why.to_owned(), None);
        }
        health.says("lost_rows", self.lost_rows);
        let silenced = self.silenced();
        for name in silenced
            .iter()
            .filter_map(|of| of.get("producer")?.as_str())
        {
            let why = "its events are not applied, their numbers are old";
            health.ails(&format!(
                "events of producer {name} are not applied, their numbers are old"
            ));
            health.ill(Part("producer", name), why.to_owned(), None);
        }
        health.says("silenced_producers", silenced);
        health.says("unusable_messages", self.unusable.count());
        health.says("commits", self.mill.lsns().0.get());
        health.says("durable", self.mill.lsns().1.get());
        health.says("journal_bytes", self.storage.journal_bytes());
        health.date(&mut self.sinces, now.wall_ms);
        health.into_value()
    }

    /// The room on the disk, and whether checkpoints can be written.
    fn tell_disk(&self, health: &mut Health) {
        let disk_full = self.storage.lacks_room();
        if let Some(why) = disk_full {
            health.ails("the disk is full");
            health.ill(DISK, why.to_owned(), None);
        }
        let checkpoint = self.storage.checkpoint_trouble();
        if let Some(why) = &checkpoint {
            health.ails(&format!("a checkpoint cannot be written: {why}"));
            health.ill(DISK, format!("a checkpoint cannot be written: {why}"), None);
        }
        if disk_full.is_none() && checkpoint.is_none() {
            match self.lacks_two_segments() {
                Some(why) => health.ails_at(DISK, why, None),
                None => health.well(DISK, "has room"),
            }
        }
        health.says("disk_full", disk_full.is_some());
        health.says("checkpoint_trouble", checkpoint);
    }

    /// The status of each destination.
    fn destinations(&self) -> Value {
        let told = |(name, status): (&str, DestinationStatus)| {
            let told = json!({
                "connected": status.connected,
                "trouble": status.trouble,
                "stalled": status.stalled,
                "unconfirmed": status.unconfirmed,
            });
            (name.to_owned(), told)
        };
        Value::Object(self.outputs.status().map(told).collect())
    }

    /// Producers whose events are not applied, because their counters seem to have started anew. A
    /// broker that went back sends old numbers too, but not for long.
    fn silenced(&self) -> Vec<Value> {
        let now = self.clock.now().mono_ms;
        let ids = self.mill.event_ids().into_iter();
        let silenced = ids.flat_map(EventIds::producers).filter_map(|producer| {
            let refused = producer.refused.filter(Refused::is_suspicious)?;
            let lasts = now.saturating_sub(refused.since_mono_ms) >= SILENCED_MS;
            lasts.then(|| {
                json!({
                    "producer": &*producer.name,
                    "too_old": refused.too_old,
                    "repeated": refused.repeated,
                    "last": refused.last,
                    "mark": producer.mark,
                })
            })
        });
        silenced.take(SILENCED_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::parts::tell_destination;
    use super::*;
    use crate::event::clock::Now;
    use tidemill_base::heartbeat::Heartbeats;

    #[test]
    fn answers_that_nobody_waits_for_any_more_take_no_room() {
        let mut promises = Promises::default();
        let mut waiting = Vec::new();
        // On a full disk nothing becomes durable; of a hundred who ask one goes on waiting.
        for lsn in 1..=500 {
            let (to, answered) = oneshot::channel();
            let answer = json!(lsn);
            promises.add(Promised {
                lsn: Lsn::new(lsn),
                answer,
                to,
            });
            assert!(promises.0.len() <= waiting.len() + 1, "{lsn}");
            waiting.extend((lsn % 100 == 0).then_some(answered));
        }
        promises.keep(Lsn::new(0));
        assert_eq!(promises.0.len(), 5);
        promises.keep(Lsn::new(300));
        let answers = waiting.iter_mut().map(|answered| answered.try_recv().ok());
        let answers: Vec<Option<Value>> = answers.collect();
        let told = [100, 200, 300].map(|lsn| Some(json!(lsn)));
        assert_eq!(answers, [&told[..], &[None, None]].concat());
        drop(waiting);
        promises.keep(Lsn::new(300));
        assert!(promises.0.is_empty(), "all have gone");
    }

    #[test]
    fn health_ails_where_a_destination_was_away_for_longer_than_it_may() {
        let told = |alarm_after| {
            let mut health = Health::of_threads(&Heartbeats::default());
            let status = DestinationStatus {
                trouble: Some("nothing answers there".to_owned()),
                since: Some(Instant::now()),
                ..DestinationStatus::default()
            };
            tell_destination(&mut health, "cloud", &status, alarm_after, Now::default());
            health.into_value()
        };
        assert_eq!(told(Duration::from_secs(600))["well"], true);
        let answer = told(Duration::ZERO);
        assert_eq!(answer["well"], false, "{answer}");
        let says = answer["lines"][0]["says"].as_str().unwrap();
        assert!(says.starts_with("away: nothing answers there"), "{says}");
    }

    #[test]
    fn health_ails_where_a_destination_is_there_and_acknowledges_nothing() {
        let told = |connected, unheard| {
            let mut health = Health::of_threads(&Heartbeats::default());
            let status = DestinationStatus {
                connected,
                unheard,
                trouble: Some("an acknowledgement is missing".to_owned()),
                since: Some(Instant::now()),
                ..DestinationStatus::default()
            };
            let alarm_after = Duration::from_secs(60);
            tell_destination(&mut health, "cloud", &status, alarm_after, Now::default());
            health.into_value()
        };
        assert_eq!(told(false, false)["well"], true, "it is away");
        for connected in [true, false] {
            let answer = told(connected, true);
            assert_eq!(answer["well"], false, "{answer}");
            let trouble = answer["troubles"][0].as_str().unwrap();
            assert!(trouble.contains("acknowledgement is missing"), "{trouble}");
        }
    }
}
