//! Tumbling windows by processing time. A pane takes its place on the Unix grid when it opens, and
//! closes by monotonic length, so that a step of the wall clock neither cuts nor stretches it.

use crate::clock::{Now, STEP_MS};

/// The pane of a rule that collects at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPane {
    /// First moment that belongs to it, wall time in milliseconds.
    pub start_ms: i64,
    /// First moment that no longer does.
    pub end_ms: i64,
    /// When it closes, in monotonic time.
    pub due_mono_ms: u64,
}

impl OpenPane {
    /// The pane of `length_ms` that the present moment falls into.
    pub fn around(now: Now, length_ms: u64) -> Self {
        let length = i64::try_from(length_ms.max(1)).unwrap_or(i64::MAX);
        let start_ms = now.wall_ms - now.wall_ms.rem_euclid(length);
        let end_ms = start_ms.saturating_add(length);
        let left = u64::try_from(end_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
        Self {
            start_ms,
            end_ms,
            due_mono_ms: now.mono_ms.saturating_add(left),
        }
    }

    /// The pane with the labels that the clock gives it now that it closes: data from before the
    /// clock was set is stamped right.
    pub fn relabelled(self, now: Now) -> Self {
        let shift = now.wall_at(self.due_mono_ms).saturating_sub(self.end_ms);
        if shift.unsigned_abs() <= STEP_MS {
            return self;
        }
        Self {
            start_ms: self.start_ms.saturating_add(shift),
            end_ms: self.end_ms.saturating_add(shift),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(mono_ms: u64, wall_ms: i64) -> Now {
        Now { mono_ms, wall_ms }
    }

    #[test]
    fn panes_lie_on_the_unix_grid() {
        let pane = OpenPane::around(now(500, 1_700_000_000_250), 1_000);
        assert_eq!(
            (pane.start_ms, pane.end_ms),
            (1_700_000_000_000, 1_700_000_001_000)
        );
        assert_eq!(pane.due_mono_ms, 1_250);
        let pane = OpenPane::around(now(0, 1_700_000_001_000), 1_000);
        assert_eq!(
            (pane.start_ms, pane.due_mono_ms),
            (1_700_000_001_000, 1_000)
        );
        assert_eq!(OpenPane::around(now(0, -1), 1_000).start_ms, -1_000);
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_labels_and_no_deadline() {
        let pane = OpenPane::around(now(0, 60_000), 10_000);
        assert_eq!(pane.relabelled(now(10_000, 70_000)), pane);
        assert_eq!(pane.relabelled(now(10_000, 70_400)), pane);
        let stepped = pane.relabelled(now(10_000, 1_700_000_070_000));
        assert_eq!(
            (stepped.start_ms, stepped.end_ms),
            (1_700_000_060_000, 1_700_000_070_000)
        );
        assert_eq!(stepped.due_mono_ms, 10_000);
    }
}
