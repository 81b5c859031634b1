//! A gate for log lines: a device that prints without end must not fill the broker.

use crate::time::Mono;

const LINES_A_SECOND: u32 = 100;

/// Counts lines of the second that runs.
#[derive(Debug, Default)]
pub(super) struct LogGate {
    since: Mono,
    lines: u32,
}

impl LogGate {
    /// `true` if one more line may pass.
    pub(super) fn lets_through(&mut self, now: Mono) -> bool {
        if now.since(self.since) >= 1_000 {
            (self.since, self.lines) = (now, 0);
        }
        self.lines += 1;
        self.lines <= LINES_A_SECOND
    }
}
