//! Reports of the source, in order: events gathered into batches, and everything else between them.
//! Offers reports until they are taken; the intake decides when.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Flow, SourceReport};
use crate::event::Event;

/// Bytes of payload with which a batch is handed on at the latest.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// First and longest wait until a report that was not taken is offered again.
const OFFER_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

pub(super) struct Reports<R> {
    report: R,
    /// The next to offer first.
    queue: VecDeque<SourceReport>,
    batch: Vec<Event>,
    batch_events_max: usize,
    batch_events_last: usize,
    bytes_untaken: usize,
    /// Messages dropped that nobody has to acknowledge, and why the first of them was.
    unusable: Option<(usize, String)>,
}

impl<R: FnMut(SourceReport) -> Flow> Reports<R> {
    pub(super) fn new(batch_events_max: usize, report: R) -> Self {
        Self {
            report,
            queue: VecDeque::new(),
            batch: Vec::new(),
            batch_events_max,
            batch_events_last: 0,
            bytes_untaken: 0,
            unusable: None,
        }
    }

    /// Returns `true` if all reports have been taken, apart from events still being gathered.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn event(&mut self, event: Event, bytes: usize) {
        self.bytes_untaken += bytes;
        if self.batch.is_empty() {
            self.batch.reserve(self.batch_events_last);
        }
        self.batch.push(event);
    }

    /// Counts a message that was dropped and that nobody has to acknowledge.
    pub(super) fn unusable(&mut self, reason: impl FnOnce() -> String) {
        match &mut self.unusable {
            Some((count, _)) => *count += 1,
            None => self.unusable = Some((1, reason())),
        }
    }

    /// Queues a report behind the events that came before it.
    pub(super) fn say(&mut self, report: SourceReport) {
        self.close_batch();
        self.queue.push_back(report);
    }

    pub(super) fn batch_is_full(&self) -> bool {
        self.batch.len() >= self.batch_events_max || self.bytes_untaken >= BATCH_BYTES_MAX
    }

    /// Makes a report of the batch; returns its number of events.
    pub(super) fn close_batch(&mut self) -> usize {
        if let Some((count, reason)) = self.unusable.take() {
            self.queue
                .push_back(SourceReport::Unusable { count, reason });
        }
        if self.batch.is_empty() {
            return 0;
        }
        self.batch_events_last = self.batch.len();
        let events = std::mem::take(&mut self.batch);
        self.queue.push_back(SourceReport::Events(events));
        self.batch_events_last
    }

    /// Offers the reports, in order, until one is not taken.
    pub(super) fn offer(&mut self) -> Offer {
        while let Some(report) = self.queue.pop_front() {
            match (self.report)(report) {
                Flow::Taken => {}
                Flow::Gone => return Offer::Gone,
                Flow::Full(report) => {
                    self.queue.push_front(report);
                    return Offer::Full;
                }
            }
        }
        self.bytes_untaken = 0;
        Offer::Taken
    }
}

/// Outcome of offering the reports.
pub(super) enum Offer {
    Taken,
    Full,
    Gone,
}

/// Paces a source whose reports are not taken.
pub(super) struct Stall {
    pause: Duration,
}

impl Default for Stall {
    fn default() -> Self {
        Self {
            pause: OFFER_AGAIN.0,
        }
    }
}

impl Stall {
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(OFFER_AGAIN.1);
        pause
    }
}
