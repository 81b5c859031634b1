//! Reports of receivers on rows, gathered until the mill takes them: an adapter never waits for it.
//! Consecutive rows are one report, so there are never more reports than rows in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::emission::{LaneReport, Priority};

#[derive(Default)]
pub(super) struct Reports {
    gathered: Mutex<Vec<LaneReport>>,
}

impl Reports {
    /// Adds a report. Says whether it is the first since they were taken, so that somebody has to be
    /// woken.
    pub(super) fn add(&self, report: LaneReport) -> bool {
        let mut gathered = self.gathered();
        let first = gathered.is_empty();
        let before = gathered
            .iter_mut()
            .rfind(|before| same_lane(before, &report));
        if !before.is_some_and(|before| merge(before, &report)) {
            gathered.push(report);
        }
        first
    }

    /// All reports since the last call, those of a lane in the order they came.
    pub(super) fn take(&self) -> Vec<LaneReport> {
        std::mem::take(&mut *self.gathered())
    }

    fn gathered(&self) -> MutexGuard<'_, Vec<LaneReport>> {
        // A panic elsewhere leaves the list whole: each change of it is one call.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lane(report: &LaneReport) -> (usize, Priority) {
    match report {
        LaneReport::Acknowledged {
            destination,
            priority,
            ..
        }
        | LaneReport::Refused {
            destination,
            priority,
            ..
        }
        | LaneReport::RequestBytes {
            destination,
            priority,
            ..
        } => (*destination, *priority),
    }
}

fn same_lane(one: &LaneReport, other: &LaneReport) -> bool {
    lane(one) == lane(other)
}

fn merge(before: &mut LaneReport, report: &LaneReport) -> bool {
    match (before, report) {
        (
            LaneReport::Acknowledged { last: end, .. },
            LaneReport::Acknowledged { first, last, .. },
        ) if *end + 1 == *first => {
            *end = *last;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(priority: Priority, first: u64, last: u64) -> LaneReport {
        LaneReport::Acknowledged {
            destination: 0,
            priority,
            first,
            last,
        }
    }

    #[test]
    fn rows_that_follow_on_are_one_report_of_their_lane() {
        let reports = Reports::default();
        let refused = LaneReport::Refused {
            destination: 0,
            priority: Priority::High,
            first: 3,
            last: 3,
            reason: "no".to_owned(),
        };
        assert!(reports.add(taken(Priority::High, 1, 1)));
        assert!(!reports.add(taken(Priority::Normal, 2, 2)));
        assert!(!reports.add(taken(Priority::High, 2, 2)));
        assert!(!reports.add(refused.clone()));
        assert!(!reports.add(taken(Priority::High, 4, 4)));
        assert!(!reports.add(taken(Priority::High, 6, 6)));
        let expected = [
            taken(Priority::High, 1, 2),
            taken(Priority::Normal, 2, 2),
            refused,
            taken(Priority::High, 4, 4),
            taken(Priority::High, 6, 6),
        ];
        assert_eq!(reports.take(), expected);
        assert!(reports.add(taken(Priority::High, 7, 7)));
    }
}
