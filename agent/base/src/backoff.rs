//! Delays between attempts: exponential, with full jitter, bounded. Pure: the random bits come in as
//! an argument, waiting is left to the caller.

mod reminder;

use std::time::Duration;

pub use reminder::Reminder;

/// No attempt follows another sooner than this.
pub const DELAY_MIN: Duration = Duration::from_millis(200);

/// No attempt waits longer than this: a gateway should be back within 15 s of its broker, although the
/// attempt before may have to wait 10 s until it takes the broker for dead.
pub const DELAY_MAX: Duration = Duration::from_secs(4);

/// Counts failures in a row and says how long to wait after each.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    delay_max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(DELAY_MAX)
    }
}

impl Backoff {
    /// With a longest delay of one's own.
    pub const fn up_to(delay_max: Duration) -> Self {
        let failures = 0;
        Self {
            failures,
            delay_max,
        }
    }

    /// The delay after one more failure: anywhere between [`DELAY_MIN`] and a bound that doubles
    /// with each failure, so that many gateways do not come back to a broker at the same moment.
    pub fn after_failure(&mut self, random: u64) -> Duration {
        self.after_failure_up_to(self.delay_max, random)
    }

    /// Like [`Backoff::after_failure`], with another maximum delay for this call.
    pub fn after_failure_up_to(&mut self, delay_max: Duration, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let bound = DELAY_MIN.saturating_mul(doubled).min(delay_max);
        let spread = millis(bound.saturating_sub(DELAY_MIN));
        DELAY_MIN + Duration::from_millis(random % (spread + 1))
    }

    /// Begins anew after a connection that held.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_maximum() {
        let mut backoff = Backoff::default();
        for bound_ms in [400, 800, 1_600, 3_200, 4_000, 4_000] {
            let mut twin = backoff.clone();
            assert_eq!(twin.after_failure(0), DELAY_MIN);
            let highest = backoff.after_failure(bound_ms - 200);
            assert_eq!(highest, Duration::from_millis(bound_ms));
        }
    }

    #[test]
    fn a_longest_delay_of_ones_own_is_reached() {
        let mut backoff = Backoff::up_to(Duration::from_secs(300));
        for _ in 0..20 {
            backoff.after_failure(0);
        }
        let longest = backoff.after_failure(299_800);
        assert_eq!(longest, Duration::from_secs(300));
    }

    #[test]
    fn any_bits_and_any_count_stay_within_the_bounds() {
        let mut backoff = Backoff::default();
        for round in 0..10_000_u64 {
            let delay = backoff.after_failure(round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!((DELAY_MIN..=DELAY_MAX).contains(&delay), "{delay:?}");
        }
    }

    #[test]
    fn reset_begins_with_a_short_delay_again() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            backoff.after_failure(0);
        }
        backoff.reset();
        assert!(backoff.after_failure(u64::MAX) <= DELAY_MIN * 2);
    }
}
