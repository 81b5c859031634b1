//! Plain lines on their way to the broker. The wire lost what it lost, but each line that came has a name.

use super::FreshBoot;
use crate::queue::{LINE_COST, Queue, Weigh};
use tidemill_lines::{Boot, LineNumber};

/// An event of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

impl Weigh for Event {
    fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

pub(super) struct PlainLines {
    pub(super) queue: Queue<Event>,
    /// The first part of the lines' names, given anew when numbers run out.
    run: Boot,
    number: LineNumber,
    fresh_run: FreshBoot,
    room_bytes: usize,
}

impl PlainLines {
    pub(super) fn new(
        run: Boot,
        fresh_run: FreshBoot,
        room_bytes: usize,
        in_flight_max: usize,
    ) -> Self {
        Self {
            queue: Queue::new(in_flight_max),
            run,
            number: LineNumber(0),
            fresh_run,
            room_bytes,
        }
    }

    /// Takes an event, and drops the oldest ones where there is no room; returns how many.
    pub(super) fn push(&mut self, event: Event, held_elsewhere: usize) -> u64 {
        match self.number.0.checked_add(1) {
            Some(number) => self.number = LineNumber(number),
            None => {
                self.run = (self.fresh_run)();
                self.number = LineNumber(1);
            }
        }
        let bytes = event.bytes() + LINE_COST;
        let mut dropped = 0;
        while self.queue.bytes() + bytes + held_elsewhere > self.room_bytes {
            if !self.queue.drop_oldest() {
                return dropped + 1; // All that is held is under way: this one goes.
            }
            dropped += 1;
        }
        self.queue.push(self.run, self.number, event);
        dropped
    }
}
