//! A line between two ends, one way: it paces, delays, flips, drops, is cut, and says noise.

use crate::scenario::{MS, Micros, SECOND, Scenario, covers};
use tidemill_tests::Random;

#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// Until then, a byte is on the wire.
    pub(crate) busy_until: Micros,
    /// The last arrival: what is later sent arrives no earlier.
    arrival: Micros,
}

impl Wire {
    /// Sends bytes; returns when they begin, when the last has left, when it arrives, and what arrives.
    pub(crate) fn send(
        &mut self,
        now: Micros,
        mut bytes: Vec<u8>,
        scenario: &Scenario,
        random: &mut Random,
    ) -> Sent {
        let from = self.busy_until.max(now);
        let byte_time = 10_000_000_000 / u64::from(scenario.baud); // in nanoseconds
        let to = from + bytes.len() as u64 * byte_time / 1_000;
        self.busy_until = to;
        let mut delay = 500;
        if from < scenario.end {
            delay += random.within(0..scenario.delay_ms_max * MS + 1);
            spoil(&mut bytes, from, byte_time, scenario, random);
        }
        self.arrival = self.arrival.max(to + delay);
        Sent {
            from,
            to,
            arrival: self.arrival,
            bytes,
        }
    }
}

pub(crate) struct Sent {
    pub(crate) from: Micros,
    pub(crate) to: Micros,
    pub(crate) arrival: Micros,
    pub(crate) bytes: Vec<u8>,
}

/// Bursts of noise of 50 ms come every 10 s.
fn is_burst(at: Micros) -> bool {
    at % (10 * SECOND) < 50 * MS
}

fn spoil(bytes: &mut Vec<u8>, from: Micros, byte_time: u64, s: &Scenario, r: &mut Random) {
    let mut flip = next_fault(s.flip_one_in, r);
    let mut drop = next_fault(s.drop_one_in, r);
    let has_spans = s.bursts || !s.cuts.is_empty();
    let mut index = 0;
    bytes.retain_mut(|byte| {
        let at = from + index * byte_time / 1_000;
        if flip == index {
            *byte ^= 1 << r.within(0..8);
            flip = index + 1 + next_fault(s.flip_one_in, r);
        }
        if has_spans && s.bursts && is_burst(at) {
            *byte = r.bits() as u8;
        }
        let is_dropped = drop == index || (has_spans && covers(&s.cuts, at));
        if drop == index {
            drop = index + 1 + next_fault(s.drop_one_in, r);
        }
        index += 1;
        !is_dropped
    });
}

fn next_fault(one_in: u64, random: &mut Random) -> u64 {
    match one_in {
        0 => u64::MAX / 2,
        n => random.within(0..2 * n),
    }
}
