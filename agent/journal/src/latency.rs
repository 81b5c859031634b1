//! Commit latency, from handing a record to the journal until it is durable.

use std::time::Duration;

/// Buckets of powers of two, in microseconds: the last one holds everything above half an hour.
const BUCKETS: usize = 32;

/// A histogram of commit latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latencies {
    /// Number of commits.
    pub count: u64,
    /// Sum of all latencies, in microseconds.
    pub sum_us: u64,
    /// The highest latency, in microseconds.
    pub max_us: u64,
    /// By size: bucket `n` counts those from 2^(n-1) up to 2^n microseconds.
    buckets: [u64; BUCKETS],
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            count: 0,
            sum_us: 0,
            max_us: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn enter(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
        let bits = (u64::BITS - us.leading_zeros()) as usize;
        if let Some(bucket) = self.buckets.get_mut(bits.min(BUCKETS - 1)) {
            *bucket += 1;
        }
    }

    /// The mean, in microseconds; 0 if there was none.
    pub fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.count).unwrap_or(0)
    }

    /// The 99th percentile, rounded up to a power of two, in microseconds.
    pub fn p99_us(&self) -> u64 {
        let enough = self.count - self.count / 100;
        let mut seen = 0;
        for (bits, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= enough {
                return (1u64 << bits).min(self.max_us);
            }
        }
        self.max_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_commit_in_a_hundred_is_above_p99() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.p99_us(), latencies.mean_us()), (0, 0));
        for _ in 0..99 {
            latencies.enter(Duration::from_micros(900));
        }
        latencies.enter(Duration::from_secs(1));
        assert_eq!((latencies.count, latencies.max_us), (100, 1_000_000));
        assert_eq!(latencies.p99_us(), 1_024);
        assert_eq!(latencies.mean_us(), 10_891);
        latencies.enter(Duration::from_secs(86_400));
        latencies.enter(Duration::from_secs(1));
        assert_eq!(latencies.p99_us(), 1 << 20);
    }
}
