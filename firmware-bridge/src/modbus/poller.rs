//! A bus as a state machine: one request at a time, silence before each, and a timeout after which what still comes is
//! thrown away. An answer bears no number; what tells a late one from the next is that its unit is not asked for a while.

use super::bus::Bus;
use super::gate::{Asked, Found, HELD_BYTES_MAX, scan};
use super::library::Library;
use super::turns::{self, Next};
use super::unit::{Health, Poll, Tally, Watch};
use super::{Exception, UnitId};
use crate::time::Mono;
use serde::Serialize;
use std::sync::Arc;

/// Bytes that stay where the limit is passed: more than the longest frame.
const HELD_BYTES_LEFT: usize = HELD_BYTES_MAX / 2;

/// A line that is never silent for longer than this is asked all the same.
const NOISE_MS_MAX: u64 = 1_000;

/// One thing that happens to a bus.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Only time has passed.
    Time,
    /// The line is open, or it is not any more.
    Open(bool),
    /// Bytes have come.
    Bytes(&'a [u8]),
}

/// One thing that a bus has done. Units are named by their place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These bytes are for the line.
    Asked(usize, Vec<u8>),
    /// A unit has answered.
    Answered(usize, Vec<u8>),
    /// A unit has refused.
    Refused(usize, Exception),
    /// A unit has not answered, for this reason.
    Failed(usize, String),
    /// Bytes that nobody waits for have come.
    Stray(Vec<u8>),
    /// A poll is whole: a JSON object.
    Polled(usize, Vec<u8>),
    /// A unit's state has changed.
    Changed(usize),
}

/// Counts of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Units that answered the last time.
    pub well: u64,
    /// Units that did not.
    pub failing: u64,
    /// Requests.
    pub asked: u64,
    /// Answers and refusals.
    pub answered: u64,
    /// Refusals among them.
    pub exceptions: u64,
    /// Requests without any answer.
    pub silent: u64,
    /// Requests that only wrong or damaged answers came for.
    pub damaged: u64,
    /// Answers that came after their time, and were dropped.
    pub late: u64,
    /// Answers beyond one a request.
    pub unasked: u64,
    /// Polls left out because the line had no time for them.
    pub skipped: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    /// Nothing is under way. At `free_at` the line has been silent for long enough.
    Quiet {
        free_at: Mono,
        noise_since: Option<Mono>,
    },
    Asking {
        asked: Asked,
        until: Mono,
    },
}

/// The state machine of one bus.
#[derive(Debug)]
pub struct Poller {
    bus: Arc<Bus>,
    watches: Vec<Watch>,
    library: Library,
    state: State,
    poll: Option<Poll>,
    poll_began: Mono,
    /// Bytes that came and belong to nothing yet.
    held: Vec<u8>,
    /// Bytes of answers and refusals, and all others.
    answer_bytes: u64,
    stray_bytes: u64,
    wake: Option<Mono>,
    out: Vec<Event>,
}

impl Poller {
    /// A bus whose line is not open yet.
    pub fn new(bus: Arc<Bus>) -> Self {
        Self {
            watches: bus.units.iter().map(Watch::new).collect(),
            bus,
            library: Library::default(),
            state: State::Closed,
            poll: None,
            poll_began: Mono(0),
            held: Vec::new(),
            answer_bytes: 0,
            stray_bytes: 0,
            wake: None,
            out: Vec::new(),
        }
    }

    /// Takes one thing that happened, and returns what was done, in order.
    pub fn step(&mut self, now: Mono, input: Input<'_>) -> Vec<Event> {
        match input {
            Input::Time => {}
            Input::Open(is_open) => self.open(now, is_open),
            Input::Bytes(bytes) => self.take(now, bytes),
        }
        self.advance(now);
        self.wake = self.next_wake(now);
        std::mem::take(&mut self.out)
    }

    /// The next time at which [`Input::Time`] does something.
    pub fn due(&self) -> Option<Mono> {
        self.wake
    }

    /// A unit's state, the reason for it, and its counts.
    pub fn unit(&self, unit: usize) -> Option<(Health, Option<&str>, Tally)> {
        let watch = self.watches.get(unit)?;
        Some((watch.health, watch.why.as_deref(), watch.tally))
    }

    /// Counts of all units.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for Watch { health, tally, .. } in &self.watches {
            totals.well += u64::from(*health == Health::Well);
            totals.failing += u64::from(!matches!(health, Health::Well | Health::Waiting));
            totals.asked += tally.asked;
            totals.answered += tally.answered + tally.exceptions;
            totals.exceptions += tally.exceptions;
            totals.silent += tally.silent;
            totals.damaged += tally.damaged;
            totals.late += tally.late;
            totals.unasked += tally.unasked;
            totals.skipped += tally.skipped;
        }
        totals
    }

    /// Bytes of answers, all other bytes, and bytes that belong to nothing yet.
    pub fn bytes(&self) -> (u64, u64, u64) {
        let held = u64::try_from(self.held.len()).unwrap_or(u64::MAX);
        (self.answer_bytes, self.stray_bytes, held)
    }

    fn open(&mut self, now: Mono, is_open: bool) {
        self.poll = None;
        let held = self.held.len();
        self.stray(held);
        self.state = if is_open {
            State::Quiet {
                free_at: now.after(self.bus.gap_ms),
                noise_since: None,
            }
        } else {
            State::Closed
        };
        for (index, watch) in self.watches.iter_mut().enumerate() {
            watch.open(now, is_open);
            let answers = watch.spans.iter().map(|span| {
                let content = span.area.bytes(span.count);
                self.bus.wire_ms(content + 5)
            });
            watch.turn.try_ms = self.bus.timeout_ms + answers.max().unwrap_or(0) + self.bus.gap_ms;
            self.out.push(Event::Changed(index));
        }
    }

    fn take(&mut self, now: Mono, bytes: &[u8]) {
        self.held.extend(bytes);
        if self.held.len() > HELD_BYTES_MAX {
            self.stray(self.held.len() - HELD_BYTES_LEFT);
        }
        match &mut self.state {
            State::Closed => {
                let held = self.held.len();
                self.stray(held);
            }
            State::Quiet {
                free_at,
                noise_since,
            } => {
                let since = *noise_since.get_or_insert(now);
                if now.since(since) < NOISE_MS_MAX {
                    *free_at = now.after(self.bus.gap_ms);
                }
            }
            State::Asking { asked, .. } => {
                let scan = scan(&self.held, Some(asked));
                if let Some((found, end)) = scan.answer {
                    let unit = asked.unit;
                    self.heard(&scan.others);
                    self.answer(now, unit, found, end);
                }
            }
        }
    }

    /// Ends what has waited long enough, and asks whoever comes next.
    fn advance(&mut self, now: Mono) {
        match &self.state {
            State::Asking { until, .. } if *until <= now => self.fail(now),
            State::Quiet { free_at, .. } if *free_at <= now => {
                self.settle();
                if let Some(unit) = self.next_unit(now) {
                    self.ask(now, unit);
                }
            }
            _ => {}
        }
    }

    fn next_unit(&mut self, now: Mono) -> Option<usize> {
        if let Some(poll) = &self.poll {
            return Some(poll.unit);
        }
        let Next::Ask(unit) = self.next(now) else {
            return None;
        };
        let answers = Vec::new();
        self.poll = Some(Poll { unit, answers });
        self.poll_began = now;
        Some(unit)
    }

    fn next(&self, now: Mono) -> Next {
        let turns = self.watches.iter().map(|watch| &watch.turn);
        turns::next(turns, self.bus.timeout_ms, now)
    }

    fn next_wake(&self, now: Mono) -> Option<Mono> {
        match &self.state {
            State::Closed => None,
            State::Asking { until, .. } => Some(*until),
            State::Quiet { free_at, .. } => {
                let from = now.max(*free_at);
                if self.poll.is_some() || !self.held.is_empty() {
                    return Some(from);
                }
                match self.next(from) {
                    Next::Ask(_) => Some(from),
                    Next::Wait(at) => Some(at.max(from)),
                    Next::Nobody => None,
                }
            }
        }
    }

    fn ask(&mut self, now: Mono, index: usize) {
        let done = self.poll.as_ref().map_or(0, |poll| poll.answers.len());
        let (Some(unit), Some(watch)) = (self.bus.units.get(index), self.watches.get_mut(index))
        else {
            return;
        };
        let Some(span) = watch.spans.get(done).copied() else {
            return;
        };
        let request = self.library.request(unit.id, span);
        watch.tally.asked += 1;
        self.out.push(Event::Asked(index, request.clone()));
        let asked = Asked {
            unit: unit.id,
            span,
            request,
        };
        let wait_ms = self.bus.timeout_ms + self.bus.wire_ms(asked.answer_bytes());
        self.state = State::Asking {
            asked,
            until: now.after(wait_ms),
        };
    }

    fn answer(&mut self, now: Mono, unit: UnitId, found: Found, end: usize) {
        let (Some(mut poll), State::Asking { asked, .. }) = (self.poll.take(), &self.state) else {
            return;
        };
        let span = asked.span;
        let index = poll.unit;
        let (bytes, answer) = match found {
            Found::Exception(exception) => {
                self.out.push(Event::Refused(index, exception));
                (5, Err(exception))
            }
            Found::Frame(frame) => {
                let Some(read) = self.library.answer(unit, span, &frame) else {
                    // The gate has let pass what the library does not take: it is no answer.
                    self.poll = Some(poll);
                    return;
                };
                let bytes = frame.len();
                self.out.push(Event::Answered(index, frame));
                (bytes, Ok(read))
            }
        };
        self.stray(end - bytes);
        self.held.drain(..bytes);
        self.answer_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        self.state = State::Quiet {
            free_at: now.after(self.bus.gap_ms),
            noise_since: None,
        };
        let (Some(settings), Some(watch)) =
            (self.bus.units.get(index), self.watches.get_mut(index))
        else {
            return;
        };
        watch.tally.answered += u64::from(answer.is_ok());
        watch.tally.exceptions += u64::from(answer.is_err());
        poll.answers.push(answer);
        if poll.answers.len() < watch.spans.len() {
            self.poll = Some(poll);
            return;
        }
        let before = (watch.health, watch.why.clone());
        if let Some(payload) = watch.polled(settings, &poll, self.poll_began, now) {
            self.out.push(Event::Polled(index, payload));
        }
        if before != (watch.health, watch.why.clone()) {
            self.out.push(Event::Changed(index));
        }
    }

    /// Gives a request up.
    fn fail(&mut self, now: Mono) {
        let quiet = State::Quiet {
            free_at: now.after(self.bus.gap_ms),
            noise_since: None,
        };
        let (Some(poll), State::Asking { asked, .. }) =
            (self.poll.take(), std::mem::replace(&mut self.state, quiet))
        else {
            return;
        };
        let scan = scan(&self.held, Some(&asked));
        self.heard(&scan.others);
        let held = self.held.len();
        self.stray(held);
        let Some(watch) = self.watches.get_mut(poll.unit) else {
            return;
        };
        let (health, why) = match scan.wrong {
            None => (
                Health::Silent,
                format!("no answer within {} ms", self.bus.timeout_ms),
            ),
            Some(wrong) => (Health::Damaged, wrong.to_string()),
        };
        watch.tally.silent += u64::from(health == Health::Silent);
        watch.tally.damaged += u64::from(health == Health::Damaged);
        let why = format!("{}: {why}", asked.span);
        let before = (watch.health, watch.why.clone());
        watch.failed(health, why.clone(), now, self.bus.late_ms);
        if before != (watch.health, watch.why.clone()) {
            self.out.push(Event::Changed(poll.unit));
        }
        self.out.push(Event::Failed(poll.unit, why));
    }

    /// Throws away what came while nothing was under way; a late answer is noted, because its unit lives.
    fn settle(&mut self) {
        if let State::Quiet { noise_since, .. } = &mut self.state {
            *noise_since = None;
        }
        if self.held.is_empty() {
            return;
        }
        let heard = scan(&self.held, None).others;
        self.heard(&heard);
        let held = self.held.len();
        self.stray(held);
    }

    fn heard(&mut self, units: &[UnitId]) {
        for id in units {
            let index = self.bus.units.iter().position(|unit| unit.id == *id);
            if let Some(watch) = index.and_then(|index| self.watches.get_mut(index)) {
                watch.heard();
            }
        }
    }

    /// Throws so many bytes away, from the front.
    fn stray(&mut self, bytes: usize) {
        if bytes > 0 {
            let gone: Vec<u8> = self.held.drain(..bytes).collect();
            self.stray_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
            self.out.push(Event::Stray(gone));
        }
    }
}

#[cfg(test)]
mod tests;
