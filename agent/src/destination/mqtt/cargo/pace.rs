//! The speed at which a broker takes messages, as seen from their acknowledgements: it decides how
//! much is put in flight at once, and how long a broker with that much to take may be silent. Pure:
//! time is an argument.

use std::time::{Duration, Instant};

/// Bytes that may be in flight before anything was measured, and never less than [`ROOM_MIN`]; a
/// single message always may.
const ROOM_FIRST: usize = 256 << 10;
const ROOM_MIN: usize = 64 << 10;
const ROOM_MAX: usize = 16 << 20;

/// A message that waits longer for its acknowledgement than `SLOW` was put on its way too early; one
/// that waits for less than `FAST` leaves room for more.
const SLOW: Duration = Duration::from_secs(5);
const FAST: Duration = Duration::from_millis(2_500);

/// Bytes in flight from which on a measurement counts: below it the time to the acknowledgement
/// tells of the distance, not of the speed.
const MEASURED_MIN: usize = 16 << 10;

/// Bytes in a second, where nothing was measured: 32 kbit/s. And the least that is reckoned with.
const SPEED_FIRST: f64 = 4_096.0;
const SPEED_MIN: f64 = 1_024.0;

/// Greatest factor of patience, after connections that were given up for silence.
const SLACK_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that wait for their acknowledgement.
    open: usize,
    /// Bytes that may wait for it.
    room: usize,
    /// Bytes in a second.
    speed: Option<f64>,
    slack: u32,
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    bytes: usize,
    left: Instant,
    /// Bytes that were on their way with it when it left, its own included.
    together: usize,
}

impl Leg {
    /// When the message was put on its way.
    pub(super) fn left(&self) -> Instant {
        self.left
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            open: 0,
            room: ROOM_FIRST,
            speed: None,
            slack: 1,
        }
    }

    /// `true` if another message may be put on its way.
    pub(super) fn has_room(&self) -> bool {
        self.open == 0 || self.open < self.room
    }

    /// Puts a message of so many bytes in flight.
    pub(super) fn left(&mut self, bytes: usize, now: Instant) -> Leg {
        self.open += bytes;
        Leg {
            bytes,
            left: now,
            together: self.open,
        }
    }

    /// Its acknowledgement came.
    pub(super) fn arrived(&mut self, leg: Leg, now: Instant) {
        self.open = self.open.saturating_sub(leg.bytes);
        self.slack = 1;
        let took = now.saturating_duration_since(leg.left);
        if leg.together >= MEASURED_MIN {
            let speed = leg.together as f64 / took.as_secs_f64().max(0.001);
            self.speed = Some(
                self.speed
                    .map_or(speed, |known| known * 0.75 + speed * 0.25),
            );
        }
        if took < FAST {
            self.room = (self.room + leg.bytes).min(ROOM_MAX);
        } else if took > SLOW {
            let fitting = leg.together as f64 * SLOW.as_secs_f64() / took.as_secs_f64();
            self.room = self.room.min(fitting as usize).max(ROOM_MIN);
        }
    }

    /// Notes that the connection is gone. `silent`: for want of any sign of life, so no measurement
    /// holds any more, or the time was too short.
    pub(super) fn lost(&mut self, silent: bool) {
        if silent && self.open > 0 {
            self.speed = None;
            self.room = ROOM_MIN;
            self.slack = (self.slack * 2).min(SLACK_MAX);
        }
        self.open = 0;
    }

    /// Additional time for which this broker may be silent, compared to one that has nothing to
    /// take: all that is in flight may have to reach it first, unseen by us in the buffers between.
    pub(super) fn patience(&self) -> Duration {
        let speed = self
            .speed
            .map_or(SPEED_FIRST, |speed| (speed / 2.0).max(SPEED_MIN));
        Duration::from_secs_f64(self.open as f64 / speed) * self.slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends messages of `bytes` for ten minutes over a link of `speed` bytes in a second behind a
    /// buffer without end; returns what was on its way at most after the first minute.
    fn most_on_the_way(pace: &mut Pace, bytes: usize, speed: usize) -> usize {
        let start = Instant::now();
        let mut now = start;
        let mut legs = std::collections::VecDeque::new();
        let mut most = 0;
        while now - start < Duration::from_secs(600) {
            while pace.has_room() {
                legs.push_back(pace.left(bytes, now));
            }
            if now - start > Duration::from_secs(60) {
                most = most.max(pace.open);
            }
            let quiet = Duration::from_secs_f64(bytes as f64 / speed as f64);
            assert!(
                quiet < Duration::from_secs(10) + pace.patience(),
                "{bytes} at {speed}"
            );
            now += quiet;
            pace.arrived(legs.pop_front().unwrap(), now);
        }
        most
    }

    #[test]
    fn a_slow_link_is_not_filled_beyond_some_seconds() {
        // 128 kbit/s with rows of 300 KB, one after the other; 64 kbit/s with rows of 200 bytes.
        assert_eq!(most_on_the_way(&mut Pace::new(), 300_000, 16_000), 300_000);
        let most = most_on_the_way(&mut Pace::new(), 200, 8_000);
        assert!((ROOM_MIN..=ROOM_MIN + 200).contains(&most), "{most}");
    }

    #[test]
    fn a_fast_link_is_filled() {
        let mut pace = Pace::new();
        assert_eq!(
            most_on_the_way(&mut pace, 100_000, 20_000_000),
            ROOM_MAX + 22_784
        );
        pace.lost(false);
        assert_eq!(pace.patience(), Duration::ZERO);
        assert!(pace.room > ROOM_FIRST, "what was learned is kept");
    }

    #[test]
    fn after_silence_the_next_attempt_is_smaller_and_more_patient() {
        let mut pace = Pace::new();
        let now = Instant::now();
        pace.left(300_000, now);
        let first = pace.patience();
        assert!(first > Duration::from_secs(60), "{first:?}");
        pace.lost(true);
        pace.left(300_000, now);
        assert_eq!(pace.patience(), first * 2);
        assert!(!pace.has_room());
        let leg = pace.left(1_000, now);
        pace.arrived(leg, now + Duration::from_secs(4));
        assert!(pace.patience() < first * 2);
    }

    #[test]
    fn few_small_messages_are_no_reason_for_patience() {
        let mut pace = Pace::new();
        pace.left(200, Instant::now());
        assert!(pace.patience() < Duration::from_millis(100));
    }
}
