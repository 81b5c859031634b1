//! Latencies of messages, as counts in buckets that widen with the duration: bounded memory however
//! long the demo runs, and percentiles that are at most one part in sixteen too high. Pure.

use std::time::Duration;

/// Each power of two of nanoseconds is cut into this many buckets.
const PARTS: u64 = 16;

/// Counts of durations.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

/// Latency figures for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Latencies {
    pub(super) fn enter(&mut self, took: Duration) {
        let place = bucket(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if self.buckets.len() <= place {
            self.buckets.resize(place + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(took);
    }

    pub(super) fn told(&self) -> Latency {
        Latency {
            count: self.count,
            p50: self.percentile(50),
            p99: self.percentile(99),
            max: self.max,
        }
    }

    /// The upper end of the bucket below which `percent` of all durations lie.
    fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_end(place)).min(self.max);
            }
        }
        self.max
    }
}

/// Durations below [`PARTS`] have a bucket each; above, the four bits after the highest one count.
fn bucket(ns: u64) -> usize {
    let shift = (ns / PARTS).checked_ilog2().unwrap_or(0);
    let place = u64::from(shift) * PARTS + (ns >> shift);
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn upper_end(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * PARTS {
        return place;
    }
    let shift = place / PARTS - 1;
    let part = place % PARTS + PARTS;
    ((u128::from(part) + 1) << shift)
        .saturating_sub(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_a_sixteenth_above_what_is_in_it() {
        for ns in [
            0,
            1,
            15,
            16,
            17,
            31,
            32,
            33,
            63,
            64,
            1_000,
            1_023,
            1_024,
            5_000_000,
            1 << 40,
            u64::MAX,
        ] {
            let end = upper_end(bucket(ns));
            assert!(end >= ns && end - ns <= ns / PARTS, "{ns}: {end}");
        }
    }

    #[test]
    fn percentiles_are_near_and_the_maximum_is_exact() {
        let mut latencies = Latencies::default();
        for micros in 1..=1_000 {
            latencies.enter(Duration::from_micros(micros));
        }
        let told = latencies.told();
        assert_eq!((told.count, told.max), (1_000, Duration::from_millis(1)));
        assert!((500..=532).contains(&told.p50.as_micros()), "{told:?}");
        assert!((990..=1_000).contains(&told.p99.as_micros()), "{told:?}");
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Latencies::default().told(), Latency::default());
    }
}
