//! Counts of failed attempts to read rows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::commit::outbox::Wanted;
use crate::event::emission::LaneId;
use tidemill_base::sabotage::{self, Sabotage};

/// Rows that could not be read so often never can be.
pub(super) const FAILURES_MAX: u32 = 3;

/// Most reads whose failures are counted at once; beyond it all counts begin anew.
const FAILED_READS_MAX: usize = 256;

/// Time until rows are read again that could not be, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Failures by lane and numbers of rows: several lanes may fail in turn over one bad record, and each has
/// to come to its end.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<(LaneId, u64, u64), u32>);

impl Failures {
    /// Returns `true` when these rows have failed so often that those of them that are whole have
    /// to do.
    pub(super) fn are_too_many(&self, lane: &LaneId, wanted: &Wanted) -> bool {
        let times = self.0.get(&key(lane, wanted));
        times.is_some_and(|times| *times >= FAILURES_MAX)
            && !sabotage::is(Sabotage::UnreadableForEver)
    }

    /// Counts one more failure, and returns the time until the next attempt.
    pub(super) fn count(&mut self, lane: &LaneId, wanted: &Wanted) -> Duration {
        // Rows that a lane gave up meanwhile are never asked for again.
        if self.0.len() >= FAILED_READS_MAX {
            self.0.clear();
        }
        let times = self.0.entry(key(lane, wanted)).or_default();
        *times = times.saturating_add(1);
        let (first, most) = RETRY;
        let longer = 1 << times.saturating_sub(FAILURES_MAX).min(8);
        (first * longer).min(most)
    }

    pub(super) fn forget(&mut self, lane: &LaneId, wanted: &Wanted) {
        if !self.0.is_empty() {
            self.0.remove(&key(lane, wanted));
        }
    }
}

fn key(lane: &LaneId, wanted: &Wanted) -> (LaneId, u64, u64) {
    (lane.clone(), wanted.first, wanted.last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::emission::Priority;
    use tidemill_base::number::Lsn;

    #[test]
    fn lanes_that_fail_in_turn_over_one_record_both_come_to_an_end() {
        let lane = |name: &str| LaneId {
            destination: name.into(),
            priority: Priority::Normal,
        };
        let wanted = Wanted {
            first: 1,
            last: 9,
            from_lsn: Lsn::new(4),
            to_lsn: Lsn::new(5),
        };
        let mut failures = Failures::default();
        for _ in 0..FAILURES_MAX {
            for name in ["a", "b"] {
                assert!(!failures.are_too_many(&lane(name), &wanted), "{name}");
                assert_eq!(failures.count(&lane(name), &wanted), RETRY.0);
            }
        }
        assert!(failures.are_too_many(&lane("a"), &wanted));
        assert!(failures.are_too_many(&lane("b"), &wanted));
        failures.forget(&lane("a"), &wanted);
        assert!(!failures.are_too_many(&lane("a"), &wanted), "anew");
        failures.forget(&lane("b"), &wanted);
        assert!(failures.0.is_empty());
    }

    #[test]
    fn what_can_never_be_read_is_tried_less_and_less_often() {
        let lane: LaneId = "cloud/normal".parse().unwrap();
        let wanted = Wanted {
            first: 1,
            last: 9,
            from_lsn: Lsn::new(4),
            to_lsn: Lsn::new(5),
        };
        let mut failures = Failures::default();
        let rests = (0..12).map(|_| failures.count(&lane, &wanted).as_secs());
        let rests: Vec<u64> = rests.collect();
        assert_eq!(rests, [1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }
}
