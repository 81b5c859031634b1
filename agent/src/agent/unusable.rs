//! Messages that the source dropped because nobody can use them and nobody has to acknowledge them:
//! counted for `health`, and told to the log at a rate that a card can bear.

use tracing::warn;

use crate::event::clock::Now;

/// A line in the log comes at most this often, however many messages are dropped.
const TELL_EVERY_MS: u64 = 10_000;

/// Count of messages dropped since the process began.
#[derive(Debug, Default)]
pub(super) struct Unusable {
    count: u64,
    told: u64,
    told_mono_ms: Option<u64>,
}

impl Unusable {
    /// Counts messages, and logs them unless that was done a moment ago.
    pub(super) fn add(&mut self, now: Now, count: usize, reason: &str) {
        self.count += count as u64;
        if let Some(count) = self.due(now.mono_ms) {
            warn!(count, "dropped messages that are of no use: {reason}");
        }
    }

    /// Number of messages dropped.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Number of dropped messages to report now, if it is time to.
    fn due(&mut self, mono_ms: u64) -> Option<u64> {
        let is_due = |told: u64| mono_ms >= told.saturating_add(TELL_EVERY_MS);
        if !self.told_mono_ms.is_none_or(is_due) {
            return None;
        }
        self.told_mono_ms = Some(mono_ms);
        let untold = self.count - self.told;
        self.told = self.count;
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_them_is_told_now_and_then_and_none_is_left_out() {
        let mut unusable = Unusable::default();
        let mut told = Vec::new();
        for ms in 0..25_000 {
            unusable.count += 2;
            told.extend(unusable.due(ms));
        }
        assert_eq!(told, [2, 20_000, 20_000]);
        assert_eq!(unusable.count(), 50_000);
    }
}
