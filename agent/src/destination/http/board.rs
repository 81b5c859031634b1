//! Status of one HTTP destination, noted by its loops. Changes go to the log, with reminders at
//! growing intervals; anybody may ask for the status at any time.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::names::Names;
use super::super::{DestinationReport, Seat};
use tidemill_base::backoff::Reminder;

/// One for each lane, one for the queue.
pub(super) const CARRIERS: usize = 3;

pub(super) struct Board {
    pub(super) seat: Seat,
    pub(super) names: Names,
    name: String,
    address: String,
    notes: RefCell<Notes>,
}

#[derive(Default)]
struct Notes {
    carriers: [Note; CARRIERS],
    connected: Option<bool>,
}

#[derive(Default)]
struct Note {
    rows: usize,
    trouble: Option<String>,
    stalled: Option<String>,
    reminder: Reminder,
}

impl Board {
    pub(super) fn new(seat: Seat, names: Names, name: String, address: String) -> Self {
        Self {
            seat,
            names,
            name,
            address,
            notes: RefCell::default(),
        }
    }

    /// A carrier's rows that are not settled.
    pub(super) fn rows(&self, carrier: usize, rows: usize) {
        self.note(carrier, None, |note| note.rows = rows);
    }

    /// A carrier's batch was refused: an answer, but no sign that anything is taken.
    pub(super) fn judged(&self, carrier: usize, why: &str) {
        self.note(carrier, None, |note| note.trouble = Some(why.to_owned()));
    }

    /// A carrier's batch was taken.
    pub(super) fn fine(&self, carrier: usize) {
        let before = self.note(carrier, Some(true), |note| {
            note.stalled = None;
            note.trouble = None;
            note.reminder.over();
        });
        if before != Some(true) {
            let (destination, address) = (&self.name, &self.address);
            info!(destination, address, protocol = "HTTP", "connected");
            let destination = self.seat.place;
            self.seat.desk.tell(DestinationReport::Connected {
                destination,
                protocol: None,
            });
        }
    }

    /// Notes that a carrier tries again after a rest; `stalled`: in vain, unless somebody does
    /// something.
    pub(super) fn waits(&self, carrier: usize, why: String, rest: Duration, stalled: bool) {
        let mut told = None;
        self.note(carrier, Some(false), |note| {
            told = note.reminder.due(&why, Instant::now());
            note.stalled = stalled.then(|| why.clone());
            note.trouble = Some(why.clone());
        });
        if let Some(lasts) = told {
            let (destination, address) = (&self.name, &self.address);
            let retry_in_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
            let for_s = lasts.as_secs();
            warn!(
                destination,
                address, retry_in_ms, for_s, "not delivered: {why}"
            );
        }
        self.seat.desk.tell(DestinationReport::Disconnected {
            destination: self.seat.place,
            reason: why,
            retry_in: rest,
        });
    }

    /// Changes a note and reports the change. Returns `true` if there was a connection before.
    fn note(
        &self,
        carrier: usize,
        connected: Option<bool>,
        change: impl FnOnce(&mut Note),
    ) -> Option<bool> {
        let mut notes = self.notes.borrow_mut();
        if let Some(note) = notes.carriers.get_mut(carrier) {
            change(note);
        }
        let before = notes.connected;
        notes.connected = connected.or(before);
        let mut all = notes.carriers.iter();
        self.seat.shared().set_status(|status| {
            status.connected = notes.connected == Some(true);
            status.rows = all.clone().map(|note| note.rows).sum();
            status.trouble = all.clone().find_map(|note| note.trouble.clone());
            status.stalled = all.find_map(|note| note.stalled.clone());
        });
        before
    }

    /// Messages of the queue were taken.
    pub(super) fn acknowledged(&self, count: usize) {
        let destination = self.seat.place;
        let report = DestinationReport::Acknowledged { destination, count };
        self.seat.desk.tell(report);
    }

    /// Messages of the queue will never be taken.
    pub(super) fn refused(&self, count: usize, why: String) {
        self.seat.desk.tell(DestinationReport::Dropped {
            destination: self.seat.place,
            count,
            why,
        });
    }

    /// Messages found no room in the queue.
    pub(super) fn dropped(&self, count: usize) {
        if count > 0 {
            self.refused(count, "the queue was full".to_owned());
        }
    }
}
