//! The rate at which a lane's requests are taken, and the size of the next one and the trusted
//! speed of the link that follow from it. Pure.

use std::time::Duration;

/// The size of requests stays between these, whatever is measured.
const REQUEST_BYTES_MIN: usize = 16 << 10;
const REQUEST_BYTES_MAX: usize = 256 << 10;

/// Bytes of a request before anything was measured.
pub(super) const REQUEST_BYTES_FIRST: usize = 64 << 10;

/// Bytes in a second that a link is trusted to carry before it has shown more: 16 kbit/s.
const SLOWEST: u64 = 2_048;
/// Bytes in a second that it is trusted to carry at the least, after many silences.
const SLOWEST_OF_ALL: u64 = 128;

/// A link may become this many times slower than it was without being taken for a silent one.
const SLOWER_TIMES: u64 = 4;

/// Factor up to which a measured rate says something of larger bodies: a link may carry a small one
/// at once and a large one never.
const LARGER_TIMES: u64 = 4;

/// Number of silences, some six minutes, after which a link that was fast may have become slow:
/// then every other attempt is waited for twice as long as the one before.
const SILENCES_MAX: u32 = 24;

/// Measurements of the link.
#[derive(Debug)]
pub struct Pace {
    /// Bytes in a second, body and answer together.
    rate: Option<u64>,
    /// Bytes of the body that showed it.
    shown_by: u64,
    silences: u32,
    /// Limit of the endpoint itself in bytes, learnt from its refusals of larger requests.
    bytes_max: usize,
    /// Time that a request should take at most.
    aim: Duration,
    told: usize,
}

impl Pace {
    /// Requests are to take no longer than `aim`.
    pub fn new(aim: Duration) -> Self {
        Self {
            rate: None,
            shown_by: 0,
            silences: 0,
            bytes_max: REQUEST_BYTES_MAX,
            aim,
            told: REQUEST_BYTES_FIRST,
        }
    }

    /// Notes that a request of so many bytes was answered.
    pub fn answered(&mut self, bytes: usize, took: Duration) {
        self.silences = 0;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = (bytes as u64).saturating_mul(1_000) / millis;
        // A small request shows how long an answer takes, not how much the link carries.
        let is_full = bytes >= self.request_bytes() / 2 || took > self.aim / 2;
        if is_full || rate > self.rate.unwrap_or(SLOWEST * SLOWER_TIMES) {
            self.rate = Some(rate);
            self.shown_by = bytes as u64;
        }
    }

    /// A request got no answer.
    pub fn silent(&mut self) {
        self.silences = self.silences.saturating_add(1);
        if self.silences == 1 {
            self.rate = self.rate.map(|rate| rate / 2);
        }
    }

    /// Notes that a request of so many bytes, with several rows, was too large.
    pub(super) fn too_large(&mut self, bytes: usize) {
        self.bytes_max = (bytes / 2).clamp(REQUEST_BYTES_MIN, self.bytes_max);
    }

    /// The size of the next request.
    pub fn request_bytes(&self) -> usize {
        let bytes = match self.rate {
            None => REQUEST_BYTES_FIRST,
            Some(rate) => {
                let aim = u64::try_from(self.aim.as_millis()).unwrap_or(u64::MAX);
                let bytes = rate.saturating_mul(aim) / 1_000;
                let shown = self.shown_by.saturating_mul(LARGER_TIMES);
                let bytes = bytes.min(shown.max(REQUEST_BYTES_FIRST as u64));
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }
        };
        bytes.clamp(REQUEST_BYTES_MIN, self.bytes_max)
    }

    /// The size of requests, where it differs enough from the one last reported.
    pub fn take_news(&mut self) -> Option<usize> {
        let bytes = self.request_bytes();
        let differs = bytes.abs_diff(self.told) > self.told / 4;
        differs.then(|| {
            self.told = bytes;
            bytes
        })
    }

    /// Bytes in a second that the link is trusted to carry of a body of this size.
    pub fn trusted(&self, body: usize) -> u64 {
        let Some(rate) = self.rate else {
            return SLOWEST;
        };
        let trusted = (rate / SLOWER_TIMES).max(SLOWEST_OF_ALL);
        let is_shown = body as u64 <= self.shown_by.saturating_mul(LARGER_TIMES);
        let is_small = body <= REQUEST_BYTES_MIN;
        match self.silences.checked_sub(SILENCES_MAX) {
            Some(more) if more % 2 == 0 => {
                let doubt = (more / 2).min(63);
                trusted.min(SLOWEST >> doubt).max(SLOWEST_OF_ALL)
            }
            _ if (is_shown && self.silences == 0) || is_small => trusted,
            _ => trusted.min(SLOWEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_slow_link_gets_requests_that_it_carries_in_time() {
        let mut pace = Pace::new(seconds(10));
        assert_eq!((pace.request_bytes(), pace.take_news()), (64 << 10, None));
        pace.answered(64 << 10, seconds(8));
        assert_eq!(pace.request_bytes(), 81_920);
        pace.answered(80_000, seconds(40));
        assert_eq!(pace.request_bytes(), 20_000);
        assert_eq!(pace.take_news(), Some(20_000));
        pace.answered(20_000, seconds(100));
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MIN);
    }

    #[test]
    fn a_fast_link_gets_large_requests_soon_and_small_ones_say_nothing() {
        let mut pace = Pace::new(seconds(10));
        pace.answered(2_000, Duration::from_millis(100));
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_FIRST);
        pace.answered(64 << 10, seconds(1));
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MAX);
        pace.answered(100, seconds(2));
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MAX);
    }

    #[test]
    fn an_endpoint_that_needs_its_time_gets_large_requests_where_that_is_configured() {
        let mut pace = Pace::new(seconds(120));
        for _ in 0..6 {
            pace.answered(pace.request_bytes(), seconds(60));
        }
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MAX);
    }

    #[test]
    fn what_was_too_large_is_not_tried_again() {
        let mut pace = Pace::new(seconds(10));
        pace.answered(64 << 10, Duration::from_millis(1));
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MAX);
        pace.too_large(200_000);
        assert_eq!(pace.request_bytes(), 100_000);
        pace.too_large(10);
        assert_eq!(pace.request_bytes(), REQUEST_BYTES_MIN);
    }

    #[test]
    fn a_link_is_trusted_to_be_slow_until_it_has_shown_more() {
        let mut pace = Pace::new(seconds(10));
        assert_eq!(pace.trusted(100), SLOWEST);
        pace.answered(1_000, Duration::from_millis(1));
        assert_eq!(
            (pace.trusted(4_000), pace.trusted(300_000)),
            (250_000, SLOWEST)
        );
        pace.answered(256 << 10, seconds(1));
        assert_eq!(
            (pace.trusted(300_000), pace.trusted(2_000_000)),
            (64 << 10, SLOWEST)
        );
    }

    #[test]
    fn a_link_that_fell_silent_may_have_become_slow() {
        let mut pace = Pace::new(seconds(10));
        pace.answered(256 << 10, seconds(1));
        pace.silent();
        assert_eq!(
            (pace.trusted(100), pace.trusted(64 << 10)),
            (32 << 10, SLOWEST)
        );
        (1..SILENCES_MAX).for_each(|_| pace.silent());
        assert_eq!(pace.trusted(100), SLOWEST);
        pace.silent();
        assert_eq!(pace.trusted(100), 32 << 10);
        (0..101).for_each(|_| pace.silent());
        assert_eq!(pace.trusted(100), SLOWEST_OF_ALL);
        let mut slow = Pace::new(seconds(10));
        slow.answered(100, seconds(2));
        assert_eq!(
            (slow.trusted(100), slow.request_bytes()),
            (SLOWEST, REQUEST_BYTES_FIRST)
        );
        slow.answered(100, seconds(9));
        assert_eq!(
            (slow.trusted(100), slow.request_bytes()),
            (SLOWEST_OF_ALL, REQUEST_BYTES_MIN)
        );
    }
}
