//! Lines on their way to the broker, in order: at most so many under way, those refused again before anything
//! new, and all that is not acknowledged again on a new connection.

use super::types::{Limits, Mono, Output};
use std::collections::VecDeque;
use std::sync::Arc;
use tidemill_lines::{Boot, LineNumber};

/// One attempt at a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

const BACKOFF_MS_MIN: u64 = 200;
const BACKOFF_MS_MAX: u64 = 10_000;

#[derive(Debug)]
struct Entry {
    boot: Boot,
    number: LineNumber,
    text: Arc<[u8]>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    InFlight(Ticket),
    Refused,
    /// In flight after a refusal: nothing new goes out beside it.
    InFlightAgain(Ticket),
    Safe,
}

/// The queue of one port.
#[derive(Debug)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries at the front that were published on this connection, or are safe.
    begun: usize,
    in_flight_max: usize,
    broker: bool,
    tickets: u64,
    refusals: u32,
    retry_at: Option<Mono>,
}

impl Queue {
    pub(super) fn new(in_flight_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            begun: 0,
            in_flight_max,
            broker: false,
            tickets: 0,
            refusals: 0,
            retry_at: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.retry_at.filter(|_| self.broker)
    }

    pub(super) fn push(&mut self, boot: Boot, number: LineNumber, text: Arc<[u8]>) {
        self.bytes += text.len() + Limits::LINE_COST;
        self.entries.push_back(Entry {
            boot,
            number,
            text,
            progress: Progress::Waiting,
        });
    }

    /// Takes the oldest entry out if it is at the broker.
    pub(super) fn pop_safe(&mut self) -> Option<(Boot, LineNumber)> {
        let front = self.entries.front()?;
        if front.progress != Progress::Safe {
            return None;
        }
        let front = self.entries.pop_front()?;
        self.bytes -= front.text.len() + Limits::LINE_COST;
        self.begun = self.begun.saturating_sub(1);
        Some((front.boot, front.number))
    }

    /// The connection was made or lost: what was under way is under way no more.
    pub(super) fn broker(&mut self, is_there: bool) {
        self.broker = is_there;
        self.begun = 0;
        self.retry_at = None;
        self.refusals = 0;
        for entry in &mut self.entries {
            if entry.progress == Progress::Waiting {
                break; // Behind the first that never left, none has.
            }
            if entry.progress != Progress::Safe {
                entry.progress = Progress::Waiting;
            }
        }
    }

    /// Notes the answer to a publish; one of an earlier attempt says nothing.
    pub(super) fn acknowledged(&mut self, now: Mono, ticket: Ticket, reason: u8) {
        let is_it = |entry: &&mut Entry| {
            let (first, again) = (Progress::InFlight(ticket), Progress::InFlightAgain(ticket));
            entry.progress == first || entry.progress == again
        };
        let Some(entry) = self.entries.iter_mut().take(self.begun).find(is_it) else {
            return;
        };
        if reason >= 0x80 {
            entry.progress = Progress::Refused;
            if self.retry_at.is_none() {
                let wait = BACKOFF_MS_MIN << self.refusals.min(6);
                self.retry_at = Some(now.after(wait.min(BACKOFF_MS_MAX)));
                self.refusals += 1;
            }
            return;
        }
        if entry.progress == Progress::InFlightAgain(ticket) {
            self.refusals = 0;
        }
        entry.progress = Progress::Safe;
    }

    /// Publishes all that may go out now.
    pub(super) fn publish(&mut self, now: Mono, out: &mut Vec<Output>) {
        if !self.broker {
            return;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for index in 0..self.begun {
                self.send(index, Progress::Refused, Progress::InFlightAgain, out);
            }
        }
        let is_disturbed = |entry: &Entry| {
            matches!(
                entry.progress,
                Progress::Refused | Progress::InFlightAgain(_)
            )
        };
        if self.entries.iter().take(self.begun).any(is_disturbed) {
            return;
        }
        while self.begun < self.entries.len().min(self.in_flight_max) {
            self.send(self.begun, Progress::Waiting, Progress::InFlight, out);
            self.begun += 1;
        }
    }

    /// Publishes an entry if its progress is `from`.
    fn send(
        &mut self,
        index: usize,
        from: Progress,
        to: fn(Ticket) -> Progress,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self
            .entries
            .get_mut(index)
            .filter(|entry| entry.progress == from)
        else {
            return;
        };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        entry.progress = to(ticket);
        out.push(Output::Publish {
            ticket,
            boot: entry.boot,
            number: entry.number,
            text: entry.text.clone(),
        });
    }
}
