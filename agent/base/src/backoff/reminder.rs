//! Lines of the log about something that lasts: one when it begins, then at growing intervals.

use std::time::{Duration, Instant};

/// Time until the second line; it doubles from line to line.
const FIRST: Duration = Duration::from_secs(60);

/// Longest time between two lines.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Reasons of one trouble that are reported as soon as they come up.
const REASONS_MAX: usize = 4;

/// Decides when a trouble is reported.
#[derive(Debug, Default)]
pub struct Reminder {
    /// Start of the trouble, and the time of the next report.
    lasts: Option<(Instant, Instant)>,
    pause: Duration,
    reasons: Vec<String>,
}

impl Reminder {
    /// Returns how long the trouble has lasted if it should be reported now. A new reason is
    /// reported at once.
    pub fn due(&mut self, reason: &str, now: Instant) -> Option<Duration> {
        let is_new =
            self.reasons.len() < REASONS_MAX && !self.reasons.iter().any(|told| told == reason);
        if is_new {
            self.reasons.push(reason.to_owned());
        }
        let Some((began, next)) = self.lasts else {
            self.pause = FIRST;
            self.lasts = Some((now, now + FIRST));
            return Some(Duration::ZERO);
        };
        if now >= next {
            self.pause = (self.pause * 2).min(LONGEST);
            self.lasts = Some((began, now + self.pause));
        } else if !is_new {
            return None;
        }
        Some(now.saturating_duration_since(began))
    }

    /// Ends the trouble; the next one is reported at once.
    pub fn over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_at_growing_intervals() {
        let (mut reminder, start) = (Reminder::default(), Instant::now());
        let mut told = Vec::new();
        for second in 0..5 * 3_600 {
            let at = Duration::from_secs(second);
            if let Some(lasts) = reminder.due("away", start + at) {
                assert_eq!(lasts, at);
                told.push(second);
            }
        }
        let first = [0, 60, 180, 420, 900, 1_860, 3_780, 7_380];
        assert_eq!(told[..8], first);
        assert_eq!(told[8..], [10_980, 14_580]);
        reminder.over();
        assert_eq!(reminder.due("away", start), Some(Duration::ZERO));
    }

    #[test]
    fn another_reason_is_told_at_once_and_only_once() {
        let (mut reminder, now) = (Reminder::default(), Instant::now());
        assert!(reminder.due("nothing answers", now).is_some());
        assert!(reminder.due("wrong password", now).is_some());
        for _ in 0..3 {
            assert!(reminder.due("nothing answers", now).is_none());
            assert!(reminder.due("wrong password", now).is_none());
        }
        let others = (0..100).filter(|n| reminder.due(&n.to_string(), now).is_some());
        assert_eq!(others.count(), REASONS_MAX - 2);
    }
}
