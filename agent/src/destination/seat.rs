//! State shared by the mill's thread and that of the destinations: rows that were shipped, messages
//! that wait, the status of each destination, and its reports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::queue::Queue;
use super::reports::Reports;
use super::{DestinationReport, DestinationStatus};
use crate::event::emission::{LaneReport, Priority, Row};
use tidemill_base::heartbeat::Pulse;

/// Rows on their way from the mill to a destination.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) high: InLane,
    pub(super) normal: InLane,
}

/// Batches that came for a lane.
#[derive(Debug, Default)]
pub(super) struct InLane {
    pub(super) batches: Vec<Shipped>,
    /// Number of refusals of this lane that the mill was told.
    pub(super) refusals: u64,
}

/// A batch of a lane as it was shipped.
#[derive(Debug)]
pub(super) struct Shipped {
    pub(super) rows: Vec<Row>,
    /// Number of refusals that the mill knew of.
    pub(super) refusals: u64,
    /// Every row was refused at the last try.
    pub(super) stands_still: bool,
}

impl Inbox {
    pub(super) fn lane(&mut self, priority: Priority) -> &mut InLane {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
        }
    }
}

impl InLane {
    pub(super) fn take(&mut self) -> Self {
        Self {
            batches: std::mem::take(&mut self.batches),
            refusals: self.refusals,
        }
    }

    /// The rows, whatever batches they came in.
    pub(super) fn rows(self) -> impl Iterator<Item = Vec<Row>> {
        self.batches.into_iter().map(|batch| batch.rows)
    }
}

/// State of one destination that the two threads share.
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) inbox: Mutex<Inbox>,
    pub(super) status: Mutex<DestinationStatus>,
    pub(super) woken: Notify,
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// The batches that were shipped since the last look, first of the high lane.
    pub(super) fn take_inbox(&self) -> Inbox {
        let mut inbox = lock(&self.inbox);
        Inbox {
            high: inbox.high.take(),
            normal: inbox.normal.take(),
        }
    }

    pub(super) fn inbox_is_empty(&self) -> bool {
        let inbox = lock(&self.inbox);
        inbox.high.batches.is_empty() && inbox.normal.batches.is_empty()
    }

    pub(super) fn set_status(&self, change: impl FnOnce(&mut DestinationStatus)) {
        let mut status = lock(&self.status);
        let kind = |status: &DestinationStatus| {
            let refuses = status.stalled.is_some() || status.unheard;
            (status.connected, refuses, status.unconfirmed.is_some())
        };
        let before = kind(&status);
        change(&mut status);
        if kind(&status) != before {
            status.since = Some(Instant::now());
        }
    }
}

/// A panic elsewhere leaves what is shared whole: each change of it is one call.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reporter of all destinations.
pub(super) struct Desk {
    pub(super) report: Mutex<Box<dyn FnMut(DestinationReport) + Send>>,
    pub(super) lanes: Reports,
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
}

impl Desk {
    pub(super) fn tell(&self, report: DestinationReport) {
        lock(&self.report)(report);
    }

    pub(super) fn tell_lane(&self, report: LaneReport) {
        if self.lanes.add(report) {
            (self.wake)();
        }
    }
}

/// A destination's slot: the state that its task shares with the mill's thread.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) place: usize,
    pub(super) all: Arc<[Shared]>,
    pub(super) desk: Arc<Desk>,
    pub(super) pulse: Arc<Pulse>,
}

impl Seat {
    /// The task's loop turns, and will again within this time, whatever happens.
    pub(super) fn turns(&self, within: Duration) {
        self.pulse.turns(within);
    }

    pub(super) fn shared(&self) -> &Shared {
        self.all.get(self.place).expect("each task has its seat")
    }
}
