//! Rest of a carrier before it sends a batch again. Pure: time and random bits are arguments.

use std::time::{Duration, Instant};

use tidemill_base::backoff::Backoff;

/// Longest time for which a receiver can put us off.
pub(super) const REST_MAX: Duration = Duration::from_secs(300);

/// Longest rest after a short silence. Asking again soon costs little, and a gateway should be back
/// soon after its endpoint is.
const SILENCE_REST_MAX: Duration = Duration::from_secs(4);

/// Share of a silence's length that the rest is, since a batch that was sent in vain costs bytes: 4
/// s for the first five minutes, a minute and a half after two hours.
const SILENCE_PART: u32 = 75;

/// Share of a stall's length that the rest is, where the owner has to do something: a short
/// maintenance ends soon after it has ended, a long one costs few requests.
const STALL_PART: u32 = 8;
const STALL_REST_MIN: Duration = Duration::from_secs(5);

/// The kind of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vain {
    /// No connection came to be: nothing was sent.
    NoConnection,
    /// Bytes were sent, and nothing came back.
    NoAnswer,
    /// The endpoint asked for patience, perhaps for this time.
    Busy(Option<Duration>),
    /// The endpoint takes nothing until its owner, or ours, has done something.
    Stalled,
}

/// Remembers how long nothing was taken.
#[derive(Debug)]
pub(super) struct Rests {
    backoff: Backoff,
    silent_since: Option<Instant>,
    stalled_since: Option<Instant>,
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            backoff: Backoff::up_to(REST_MAX),
            silent_since: None,
            stalled_since: None,
        }
    }
}

impl Rests {
    /// The rest after one more failed attempt, which began at `began` and ended now.
    pub(super) fn after(
        &mut self,
        vain: Vain,
        began: Instant,
        now: Instant,
        random: u64,
    ) -> Duration {
        match vain {
            Vain::NoConnection => {
                self.silent_since.get_or_insert(began);
                self.backoff.after_failure_up_to(SILENCE_REST_MAX, random)
            }
            Vain::NoAnswer => {
                let silent = now.saturating_duration_since(*self.silent_since.get_or_insert(began));
                let max = (silent / SILENCE_PART).clamp(SILENCE_REST_MAX, REST_MAX);
                self.backoff.after_failure_up_to(max, random)
            }
            Vain::Busy(asked) => {
                self.silent_since = None;
                let rest = self.backoff.after_failure(random);
                rest.max(asked.unwrap_or_default())
            }
            Vain::Stalled => {
                self.silent_since = None;
                let since = *self.stalled_since.get_or_insert(began);
                let stalled = now.saturating_duration_since(since);
                (stalled / STALL_PART).clamp(STALL_REST_MIN, REST_MAX)
            }
        }
    }

    /// The endpoint judged a batch.
    pub(super) fn answered(&mut self) {
        self.backoff.reset();
        self.silent_since = None;
    }

    /// The endpoint took a batch.
    pub(super) fn taken(&mut self) {
        self.answered();
        self.stalled_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest rest after an attempt of 10 s, when nothing was taken for so many seconds.
    fn longest(vain: Vain, seconds: u64) -> Duration {
        let start = Instant::now();
        let mut rests = Rests::default();
        let mut longest = Duration::ZERO;
        for at in (10..=seconds.max(10)).step_by(10) {
            let now = start + Duration::from_secs(at);
            let began = now - Duration::from_secs(10);
            let random = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            longest = rests.after(vain, began, now, random);
        }
        longest
    }

    #[test]
    fn an_endpoint_that_is_away_is_asked_again_within_seconds() {
        for seconds in [10, 100, 300, 86_400] {
            assert!(longest(Vain::NoConnection, seconds) <= Duration::from_secs(4));
        }
        for seconds in [10, 100, 300] {
            assert!(longest(Vain::NoAnswer, seconds) <= Duration::from_secs(4));
        }
        for seconds in [7_200, 86_400] {
            let bound = Duration::from_secs(seconds) / 75;
            assert!(longest(Vain::NoAnswer, seconds) <= bound.min(REST_MAX));
        }
    }

    #[test]
    fn a_stall_rests_for_a_part_of_its_time() {
        for (seconds, rest_ms) in [(10, 5_000), (80, 10_000), (800, 100_000), (9_000, 300_000)] {
            let rest = longest(Vain::Stalled, seconds);
            assert_eq!(rest, Duration::from_millis(rest_ms), "{seconds}");
        }
    }

    #[test]
    fn a_verdict_ends_a_silence_and_only_what_is_taken_ends_a_stall() {
        let start = Instant::now();
        let late = start + Duration::from_secs(800);
        let mut rests = Rests::default();
        rests.after(Vain::Stalled, start, start, 0);
        rests.after(Vain::NoAnswer, start, start, 0);
        rests.answered();
        assert_eq!(rests.silent_since, None);
        let rest = rests.after(Vain::Stalled, late, late, 0);
        assert_eq!(rest, Duration::from_secs(100));
        rests.taken();
        assert_eq!(rests.after(Vain::Stalled, late, late, 0), STALL_REST_MIN);
    }

    #[test]
    fn what_the_endpoint_asks_for_is_waited_for() {
        let start = Instant::now();
        let asked = Vain::Busy(Some(Duration::from_secs(120)));
        let rest = Rests::default().after(asked, start, start, 7);
        assert_eq!(rest, Duration::from_secs(120));
    }
}
