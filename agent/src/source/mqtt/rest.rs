//! Rest of the socket after a batch. On a quiet line there is none: nothing would share the
//! wake-up. Above some hundred events a second a rest gathers several, which spares their cost.
//! Pure: the time comes in as an argument, and nothing is looked at while nothing arrives.

use std::time::{Duration, Instant};

pub use crate::config::Coalesce;

/// Events a second from which on the socket rests, and below which it does so no more: between the
/// two nothing changes, so that a rate near either does not make it change with every batch.
const RESTS_ABOVE: f64 = 400.0;
const RESTS_UNTIL: f64 = 250.0;

/// Events a second from which on it rests for as long as it ever does.
const FULL_REST_ABOVE: f64 = 800.0;

/// Highest rate that is counted, so that a flood is forgotten as soon as it is over.
const RATE_MAX: f64 = 1_200.0;

/// The shortest and the longest rest.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// The rate is one of about the last second.
const MEMORY: Duration = Duration::from_secs(1);

/// Decides on rests.
#[derive(Debug)]
pub(super) struct Rest {
    coalesce: Coalesce,
    /// Events a second, as of the last arrival.
    rate: f64,
    arrived: Option<Instant>,
    rests: bool,
}

impl Rest {
    pub(super) fn new(coalesce: Coalesce) -> Self {
        Self {
            coalesce,
            rate: 0.0,
            arrived: None,
            rests: false,
        }
    }

    /// Takes the number of events that arrived together; returns the rest to take now.
    pub(super) fn after(&mut self, events: usize, now: Instant) -> Duration {
        if let Coalesce::Fixed(rest) = self.coalesce {
            return rest;
        }
        let passed = self.arrived.map_or(MEMORY * 100, |at| now - at);
        self.arrived = Some(now);
        // Past arrivals fade with time; at a steady rate the sum is that rate.
        let fades = passed.as_secs_f64() / MEMORY.as_secs_f64();
        let events = u32::try_from(events).map_or(RATE_MAX, f64::from);
        self.rate = (self.rate * (-fades).exp() + events / MEMORY.as_secs_f64()).min(RATE_MAX);
        let bound = if self.rests { RESTS_UNTIL } else { RESTS_ABOVE };
        self.rests = self.rate >= bound;
        if !self.rests {
            return Duration::ZERO;
        }
        let share = (self.rate - RESTS_UNTIL) / (FULL_REST_ABOVE - RESTS_UNTIL);
        let (shortest, longest) = REST;
        shortest + (longest - shortest).mul_f64(share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rests after each of the batches that come at a steady rate, with the moment of the last one.
    fn steady(
        rest: &mut Rest,
        from: Instant,
        batches: u32,
        events: usize,
        every_us: u64,
    ) -> (Instant, Vec<u128>) {
        let mut at = from;
        let mut rests = Vec::new();
        for _ in 0..batches {
            at += Duration::from_micros(every_us);
            rests.push(rest.after(events, at).as_micros());
        }
        (at, rests)
    }

    fn auto() -> (Rest, Instant) {
        (Rest::new(Coalesce::Auto), Instant::now())
    }

    #[test]
    fn a_fixed_rest_is_kept() {
        for given in [Duration::ZERO, Duration::from_millis(7)] {
            let mut rest = Rest::new(Coalesce::Fixed(given));
            let (_, rests) = steady(&mut rest, Instant::now(), 100, 1, 1);
            assert!(rests.iter().all(|rest| *rest == given.as_micros()));
        }
    }

    #[test]
    fn a_quiet_line_does_not_rest() {
        for (events, every_us) in [(1, 10_000), (1, 1_000_000), (1, 5_000), (50, 1_000_000)] {
            let (mut rest, now) = auto();
            let (_, rests) = steady(&mut rest, now, 1_000, events, every_us);
            assert!(rests.iter().all(|rest| *rest == 0), "{events} {every_us}");
        }
    }

    #[test]
    fn a_busy_line_and_a_flood_rest_as_long_as_ever() {
        for (events, every_us) in [(1, 1_000), (5, 5_000), (1_000, 5_000), (usize::MAX, 100)] {
            let (mut rest, now) = auto();
            let (_, rests) = steady(&mut rest, now, 5_000, events, every_us);
            assert_eq!(rests.last(), Some(&5_000), "{events} {every_us}");
        }
        // In between the rest is in between.
        let (mut rest, now) = auto();
        let (_, rests) = steady(&mut rest, now, 5_000, 1, 1_900);
        let last = *rests.last().unwrap();
        assert!((1_000..5_000).contains(&last), "{last}");
    }

    #[test]
    fn a_rate_between_the_bounds_changes_nothing() {
        let (mut rest, now) = auto();
        let between_us = 1_000_000 / 320;
        let (at, rests) = steady(&mut rest, now, 2_000, 1, between_us);
        assert!(rests.iter().all(|rest| *rest == 0), "it came from below");
        let (at, _) = steady(&mut rest, at, 2_000, 1, 1_000);
        let (_, rests) = steady(&mut rest, at, 2_000, 1, between_us);
        assert!(rests.iter().all(|rest| *rest > 0), "it came from above");
    }

    #[test]
    fn a_flood_is_forgotten_within_two_seconds() {
        let (mut rest, now) = auto();
        let (at, _) = steady(&mut rest, now, 10_000, 1_000, 100);
        let (_, rests) = steady(&mut rest, at, 300, 1, 10_000);
        assert!(rests.iter().skip(220).all(|rest| *rest == 0), "{rests:?}");
        let mut silent = Rest::new(Coalesce::Auto);
        let (at, _) = steady(&mut silent, now, 10_000, 1_000, 100);
        assert_eq!(
            silent.after(1, at + Duration::from_secs(3_600)),
            Duration::ZERO
        );
    }

    #[test]
    fn a_line_that_gets_busy_rests_soon() {
        let (mut rest, now) = auto();
        let (_, rests) = steady(&mut rest, now, 3_000, 1, 1_000);
        let first = rests.iter().position(|rest| *rest > 0);
        assert!(first.is_some_and(|batch| batch < 600), "{first:?}");
    }
}
