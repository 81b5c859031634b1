//! One unit of a bus: what it is asked, and how it fares.

use super::plan::{Span, plan};
use super::turns::Turn;
use super::{Exception, Field, Read, UnitId};
use crate::time::Mono;
use crate::topics::Pattern;
use serde::Serialize;

/// A unit that goes on being silent is asked after so many polls at the rarest.
const RAREST: u64 = 60;

/// A unit's settings.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its number on the line.
    pub id: UnitId,
    /// Its name in topics.
    pub name: String,
    /// Milliseconds from poll to poll.
    pub every_ms: u64,
    /// Its values, in the order of the event.
    pub fields: Vec<Field>,
    /// Topics of its events.
    pub topic: Pattern,
}

/// States of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has not been asked since its port was opened.
    #[default]
    Waiting,
    /// It answered the last poll.
    Well,
    /// It refused some or all of the last poll.
    Exception,
    /// It answered, and not what it was asked.
    Damaged,
    /// It did not answer.
    Silent,
}

/// Counts of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Requests.
    pub asked: u64,
    /// Answers that were what was asked for.
    pub answered: u64,
    /// Events made of them.
    pub events: u64,
    /// Refusals.
    pub exceptions: u64,
    /// Requests without any answer.
    pub silent: u64,
    /// Requests that only wrong or damaged answers came for.
    pub damaged: u64,
    /// Answers that came after their time, and were dropped.
    pub late: u64,
    /// Answers beyond one a request: a sign that `late` is too short.
    pub unasked: u64,
    /// Polls left out because the line had no time for them.
    pub skipped: u64,
}

/// A poll that is under way.
#[derive(Debug, Default)]
pub(super) struct Poll {
    pub(super) unit: usize,
    pub(super) answers: Vec<Result<Read, Exception>>,
}

/// A unit as it is watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// Requests of a poll.
    pub(super) spans: Vec<Span>,
    /// For each field, the request that reads it, and its place in the answer.
    places: Vec<Option<(usize, usize)>>,
    pub(super) turn: Turn,
    pub(super) health: Health,
    pub(super) why: Option<String>,
    pub(super) tally: Tally,
    /// Tries in a row that failed.
    failures: u32,
    /// Until then, what the unit says is late.
    rests_until: Mono,
}

impl Watch {
    pub(super) fn new(unit: &Unit) -> Self {
        let spans = plan(&unit.fields);
        let place = |field: &Field| {
            let skips = spans.iter().map(|span| span.skip(field)).enumerate();
            skips
                .filter_map(|(index, skip)| Some((index, skip?)))
                .next()
        };
        Self {
            places: unit.fields.iter().map(place).collect(),
            spans,
            turn: Turn::new(unit.every_ms),
            health: Health::Waiting,
            why: None,
            tally: Tally::default(),
            failures: 0,
            rests_until: Mono(0),
        }
    }

    /// Begins anew on a line that was just opened, or closed.
    pub(super) fn open(&mut self, now: Mono, is_open: bool) {
        self.turn = Turn {
            due: now,
            ..Turn::new(self.turn.every_ms)
        };
        (self.health, self.failures) = (Health::Waiting, 0);
        self.why = (!is_open).then(|| "its port is not open".to_owned());
        self.rests_until = now;
    }

    /// Ends a poll that was answered, begun at `began`; returns the event, if there is anything in it.
    pub(super) fn polled(
        &mut self,
        unit: &Unit,
        poll: &Poll,
        began: Mono,
        now: Mono,
    ) -> Option<Vec<u8>> {
        let refused = poll.answers.iter().zip(&self.spans);
        let mut refused = refused.filter_map(|(answer, span)| Some((answer.as_ref().err()?, span)));
        let why = refused
            .next()
            .map(|(exception, span)| format!("{span}: {exception}"));
        self.health = match why {
            Some(_) => Health::Exception,
            None => Health::Well,
        };
        self.why = why;
        self.failures = 0;
        self.tally.skipped += self.turn.answered(began, now);
        let payload = self.payload(unit, poll);
        self.tally.events += u64::from(payload.is_some());
        payload
    }

    /// Ends a try that had no good answer.
    pub(super) fn failed(&mut self, health: Health, why: String, now: Mono, late_ms: u64) {
        let times = 1_u64 << self.failures.min(6);
        self.failures += 1;
        (self.health, self.why) = (health, Some(why));
        self.rests_until = now.after(late_ms);
        let pause = self.turn.every_ms.saturating_mul(times.min(RAREST));
        self.turn.failed(now.after(pause).max(self.rests_until));
    }

    /// Takes note of an answer that nobody waits for. A unit that is only slow need not be asked more and more rarely.
    pub(super) fn heard(&mut self) {
        if self.failures == 0 {
            self.tally.unasked += 1;
            return;
        }
        self.tally.late += 1;
        self.failures = 1;
        self.turn.due = self.turn.due.min(self.rests_until);
    }

    /// A JSON object of what was read. What the unit refused is left out.
    fn payload(&self, unit: &Unit, poll: &Poll) -> Option<Vec<u8>> {
        let mut out = String::new();
        for (field, place) in unit.fields.iter().zip(&self.places) {
            let (span, skip) = (*place)?;
            let Some(Ok(read)) = poll.answers.get(span) else {
                continue;
            };
            out.push(if out.is_empty() { '{' } else { ',' });
            // Texts always can be written.
            out.push_str(&serde_json::to_string(&field.name).unwrap_or_default());
            out.push(':');
            out.push_str(&field.json(read, skip)?);
        }
        (!out.is_empty()).then(|| {
            out.push('}');
            out.into_bytes()
        })
    }
}
