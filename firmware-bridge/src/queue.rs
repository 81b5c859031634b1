//! Lines on their way to the broker, in order: at most so many under way, those refused again before anything
//! new, and all that is not acknowledged again on a new connection.

use crate::time::Mono;
use std::collections::VecDeque;
use tidemill_lines::{Boot, LineNumber};

/// One attempt at a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

const BACKOFF_MS_MIN: u64 = 200;
const BACKOFF_MS_MAX: u64 = 10_000;

/// Bytes counted for a held line beside its content, so that short lines do not take memory for nothing.
pub(crate) const LINE_COST: usize = 64;

/// Contents of which the queue knows how much memory they take.
pub(crate) trait Weigh {
    fn bytes(&self) -> usize;
}

impl Weigh for std::sync::Arc<[u8]> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// A publish that is to go out now.
pub(crate) struct Sent<'a, T> {
    pub(crate) ticket: Ticket,
    pub(crate) boot: Boot,
    pub(crate) number: LineNumber,
    pub(crate) content: &'a T,
}

#[derive(Debug)]
struct Entry<T> {
    boot: Boot,
    number: LineNumber,
    content: T,
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

/// A queue of one port.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    /// Entries at the front that were published on this connection, or are safe.
    begun: usize,
    in_flight_max: usize,
    broker: bool,
    tickets: u64,
    refusals: u32,
    retry_at: Option<Mono>,
}

impl<T: Weigh> Queue<T> {
    pub(crate) fn new(in_flight_max: usize) -> Self {
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

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn retry_at(&self) -> Option<Mono> {
        self.retry_at.filter(|_| self.broker)
    }

    pub(crate) fn push(&mut self, boot: Boot, number: LineNumber, content: T) {
        self.bytes += content.bytes() + LINE_COST;
        self.entries.push_back(Entry {
            boot,
            number,
            content,
            progress: Progress::Waiting,
        });
    }

    /// Takes the oldest entry out if it is at the broker.
    pub(crate) fn pop_safe(&mut self) -> Option<(Boot, LineNumber)> {
        let front = self.entries.front()?;
        if front.progress != Progress::Safe {
            return None;
        }
        let front = self.entries.pop_front()?;
        self.bytes -= front.content.bytes() + LINE_COST;
        self.begun = self.begun.saturating_sub(1);
        Some((front.boot, front.number))
    }

    /// Takes the oldest line out that has not left yet, to make room; `false` if all of them are under way.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let waiting = self.entries.iter().skip(self.begun);
        let index = waiting
            .take_while(|entry| entry.progress == Progress::Safe)
            .count();
        let Some(gone) = self.entries.remove(self.begun + index) else {
            return false;
        };
        self.bytes -= gone.content.bytes() + LINE_COST;
        true
    }

    /// Lines that are held.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The connection was made or lost: what was under way is under way no more.
    pub(crate) fn broker(&mut self, is_there: bool) {
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
    pub(crate) fn acknowledged(&mut self, now: Mono, ticket: Ticket, reason: u8) {
        let is_it = |entry: &&mut Entry<T>| {
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
    pub(crate) fn publish(&mut self, now: Mono, mut out: impl FnMut(Sent<'_, T>)) {
        if !self.broker {
            return;
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for index in 0..self.begun {
                self.send(index, Progress::Refused, Progress::InFlightAgain, &mut out);
            }
        }
        let is_disturbed = |entry: &Entry<T>| {
            matches!(
                entry.progress,
                Progress::Refused | Progress::InFlightAgain(_)
            )
        };
        if self.entries.iter().take(self.begun).any(is_disturbed) {
            return;
        }
        while self.begun < self.entries.len().min(self.in_flight_max) {
            self.send(self.begun, Progress::Waiting, Progress::InFlight, &mut out);
            self.begun += 1;
        }
    }

    /// Publishes an entry if its progress is `from`.
    fn send(
        &mut self,
        index: usize,
        from: Progress,
        to: fn(Ticket) -> Progress,
        out: &mut impl FnMut(Sent<'_, T>),
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
        out(Sent {
            ticket,
            boot: entry.boot,
            number: entry.number,
            content: &entry.content,
        });
    }
}
