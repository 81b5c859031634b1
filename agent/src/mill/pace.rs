//! Shares of time. A step does a bounded amount of work and then turns the loop, so that a stop, the
//! watchdog, acknowledgements and other rules have their turn; a rule uses so much fuel per second and no
//! more. Fuel is the measure, because the mill has no clock.

/// Fuel after which a step begins nothing more that is due, and after which it takes no further event.
/// A million units are 0.34 ms on x86-64, and a Pi Zero is 10 to 30 times slower. Both shares and a call
/// at the default `limits.fuel` behind each are 5,000,000 units: 1.7 ms here, 17 to 51 ms there.
const SHARE_FUEL: u64 = 1_500_000;

/// Fuel after which the next rule has its turn at what is due.
pub(super) const TURN_FUEL: u64 = 500_000;

/// Fuel of one event over all its rules; for those beyond it the event waits.
pub(super) const EVENT_FUEL: u64 = 16_000_000;

/// The cost in fuel of a thing that falls due, besides that of its call: state is taken out, written
/// down and put back.
pub(super) const DUE_COST: u64 = 10_000;

/// The cost in fuel of a call for an event, besides that of the function.
pub(super) const CALL_COST: u64 = 300;

/// The cost in fuel of looking at a key: if it has a part in a pane.
pub(super) const LOOK_COST: u64 = 200;

/// Work done in a step so far.
#[derive(Debug)]
pub(super) struct Meter {
    /// Fuel after which nothing more of a kind begins.
    share: u64,
    /// Fuel spent on what fell due.
    pub(super) due: u64,
    /// Fuel spent on events.
    pub(super) events: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self::with(SHARE_FUEL)
    }
}

impl Meter {
    /// A meter for steps whose shares are these.
    pub(super) fn with(share: u64) -> Self {
        Self {
            share,
            due: 0,
            events: 0,
        }
    }

    /// Begins a step.
    pub(super) fn begin(&mut self) {
        *self = Self::with(self.share);
    }

    /// Returns `true` if the step may begin more that is due.
    pub(super) fn has_due(&self) -> bool {
        self.due < self.share
    }

    /// Returns `true` if the step may take another event.
    pub(super) fn has_events(&self) -> bool {
        self.events < self.share
    }
}

/// The fuel of a rule per second: a token bucket that holds what a second brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    per_second: u64,
    /// Fuel left, in thousandths; below 0 what the last call took too much.
    left: i64,
    filled_mono_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u64, now_mono_ms: u64) -> Self {
        let mut bucket = Self {
            per_second,
            left: 0,
            filled_mono_ms: now_mono_ms,
        };
        bucket.left = bucket.size();
        bucket
    }

    /// The fuel that the rule before has left, where its share is the same: a new deployment brings none.
    pub(super) fn succeed(&mut self, old: Self) {
        if old.per_second == self.per_second {
            *self = old;
        }
    }

    fn size(&self) -> i64 {
        i64::try_from(self.per_second.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    /// Takes fuel out. Returns until when the rule has to rest, where nothing is left.
    #[inline]
    pub(super) fn spend(&mut self, fuel: u64, now_mono_ms: u64) -> Option<u64> {
        let fuel = i64::try_from(fuel.saturating_mul(1_000)).unwrap_or(i64::MAX);
        if self.left <= fuel {
            self.fill(now_mono_ms);
        }
        self.left = self.left.saturating_sub(fuel);
        if self.left > 0 {
            return None;
        }
        let missing = self.left.unsigned_abs() + 1;
        Some(now_mono_ms.saturating_add(missing.div_ceil(self.per_second.max(1))))
    }

    /// Fills up what time has brought.
    fn fill(&mut self, now_mono_ms: u64) {
        let since = now_mono_ms.saturating_sub(self.filled_mono_ms);
        let more = i64::try_from(self.per_second.saturating_mul(since)).unwrap_or(i64::MAX);
        self.filled_mono_ms = self.filled_mono_ms.max(now_mono_ms);
        self.left = self.left.saturating_add(more).min(self.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lends_one_call_and_fills_with_time() {
        let mut bucket = Bucket::new(1_000, 0);
        assert_eq!(bucket.spend(999, 0), None);
        assert_eq!(
            bucket.spend(500, 0),
            Some(500),
            "499 too much: half a second"
        );
        assert_eq!(bucket.spend(0, 499), Some(500));
        assert_eq!(bucket.spend(0, 500), None);
        assert_eq!(bucket.spend(2, 500), Some(502));
        // An hour later it holds a second's fuel, no more.
        assert_eq!(bucket.spend(999, 3_600_000), None);
        assert_eq!(bucket.spend(1, 3_600_000), Some(3_600_001));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut bucket = Bucket::new(u64::MAX, 0);
        assert_eq!(bucket.spend(1_000_000_000, u64::MAX), None);
        assert!(Bucket::new(1, 0).spend(u64::MAX, 0).is_some());
    }
}
