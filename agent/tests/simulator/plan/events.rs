//! Messages of the sensors.

use super::{Act, Kind, Setup};
use crate::world::Random;

/// Draws so many events within a span of time, alone and in bursts.
pub(super) fn draw(
    random: &mut Random,
    setup: &Setup,
    events: u64,
    span_us: u64,
    acts: &mut Vec<(u64, Act)>,
) {
    let mut left = events;
    while left > 0 {
        let at_us = random.below(span_us);
        let burst = random.pick(&[1, 1, 3, 12, 30]).min(left);
        left -= burst;
        for number in 0..burst {
            let key = random.below(u64::from(setup.keys)) as u8;
            let kind = match random.below(100) {
                0..=3 => Kind::Poison,
                4..=5 => Kind::Garbage,
                6..=15 => Kind::Alarm,
                16..=19 => Kind::Retained,
                20..=22 => Kind::KeptReading,
                23..=27 => Kind::Careless,
                28..=29 => Kind::Oversized,
                30..=32 => Kind::Unwanted,
                _ => Kind::Reading,
            };
            let apart_us = random.below(800);
            acts.push((at_us + number * apart_us, Act::Publish { key, kind }));
        }
    }
}
