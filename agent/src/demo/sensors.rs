//! Measurements of the simulated sensors of a plant floor: a pure map from sensor and time to a
//! payload, the same for every run. Publishing is `plant`'s business.

use std::f64::consts::TAU;

/// Number of sensors.
pub(super) const SENSORS: u64 = 50;

/// Interval at which each of them publishes, in milliseconds.
pub(super) const EVERY_MS: u64 = 250;

/// A day of the plant, in time-lapse.
const DAY_MS: f64 = 60_000.0;

/// Every so often the faults move on to other sensors.
const SHIFT_MS: u64 = 20_000;

/// Degrees by which a machine that runs hot is warmer than usual. The warmest usual reading is
/// below 31.
const HEAT: f64 = 42.0;

/// When a message was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Wall time, milliseconds since 1970.
    pub(super) ts_ms: i64,
    /// Nanoseconds since the demo started, for the measurement of latency.
    pub(super) ns: u64,
}

/// The fault of a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Its machine runs hot.
    Hot,
    /// The sensor repeats one reading.
    Stuck,
    /// The sensor is silent.
    Silent,
    /// The sensor now and then sends a payload that is no reading.
    Rubbish,
}

/// The sensor's name, which is a level of its topic.
pub(super) fn name(sensor: u64) -> String {
    format!("d{sensor:03}")
}

/// The payload that `sensor` sends `at_ms` after the start; nothing while it is silent.
pub(super) fn payload(sensor: u64, at_ms: u64, stamp: Stamp) -> Option<String> {
    let shift = at_ms / SHIFT_MS;
    let within_ms = at_ms % SHIFT_MS;
    let (measured_at_ms, heat) = match fault(sensor, shift) {
        Fault::Hot => (at_ms, heat(within_ms)),
        Fault::Stuck if (3_000..15_000).contains(&within_ms) => (at_ms - within_ms + 3_000, 0.0),
        Fault::Silent if (5_000..15_000).contains(&within_ms) => return None,
        Fault::Rubbish => match random(sensor, at_ms / EVERY_MS, 9) % 10 {
            0 => return Some(format!("{{\"device\":\"{}\",\"temp", name(sensor))),
            1 => return Some(reading(sensor, "\"n/a\"", at_ms, stamp)),
            _ => (at_ms, 0.0),
        },
        _ => (at_ms, 0.0),
    };
    let temperature = temperature(sensor, measured_at_ms) + heat;
    let temperature = format!("{temperature:.2}");
    Some(reading(sensor, &temperature, measured_at_ms, stamp))
}

fn reading(sensor: u64, temperature: &str, at_ms: u64, stamp: Stamp) -> String {
    format!(
        "{{\"device\":\"{}\",\"temperature\":{temperature},\"humidity\":{:.1},\"battery\":{:.2},\"ts\":{},\"ns\":{}}}",
        name(sensor),
        humidity(sensor, at_ms),
        battery(sensor, at_ms),
        stamp.ts_ms,
        stamp.ns,
    )
}

/// Four sensors at a time have a fault, one of each kind.
fn fault(sensor: u64, shift: u64) -> Fault {
    let first = random(SENSORS, shift, 8) % SENSORS;
    match (sensor + SENSORS - first) % SENSORS {
        0 => Fault::Hot,
        13 => Fault::Stuck,
        26 => Fault::Silent,
        39 => Fault::Rubbish,
        _ => Fault::None,
    }
}

/// A hot machine warms up within two seconds, stays hot and cools down slowly.
fn heat(within_ms: u64) -> f64 {
    let seconds = within_ms as f64 / 1_000.0;
    let up = ((seconds - 0.5) / 1.5).clamp(0.0, 1.0);
    let down = ((13.0 - seconds) / 5.0).clamp(0.0, 1.0);
    HEAT * up.min(down)
}

fn temperature(sensor: u64, at_ms: u64) -> f64 {
    let offset = 2.0 * spread(sensor, 0, 1);
    let slowly = at_ms as f64 / (7.0 * DAY_MS) + spread(sensor, 0, 2);
    let drift = (TAU * slowly).sin();
    22.0 + 5.0 * day(sensor, at_ms) + offset + drift + 0.3 * noise(sensor, at_ms, 3)
}

/// Warm air is drier in relative terms.
fn humidity(sensor: u64, at_ms: u64) -> f64 {
    55.0 - 12.0 * day(sensor, at_ms) + 4.0 * spread(sensor, 0, 4) + 0.4 * noise(sensor, at_ms, 5)
}

/// A cell that lasts a fortnight of the plant and is then changed.
fn battery(sensor: u64, at_ms: u64) -> f64 {
    let age = at_ms as f64 / (14.0 * DAY_MS) + (1.0 + spread(sensor, 0, 6)) / 2.0;
    4.1 - 0.6 * age.fract() + 0.005 * noise(sensor, at_ms, 7)
}

/// The daily curve, from -1 at night to 1 in the afternoon; the demo starts in the morning. The sun
/// reaches some windows earlier than others.
fn day(sensor: u64, at_ms: u64) -> f64 {
    let days = at_ms as f64 / DAY_MS + 0.1 * spread(sensor, 0, 10);
    (TAU * days).sin()
}

/// Mostly near 0, always between -1 and 1: the mean of three draws.
fn noise(sensor: u64, at_ms: u64, what: u64) -> f64 {
    let tick = at_ms / EVERY_MS;
    (0..3)
        .map(|draw| spread(sensor, tick * 3 + draw, what))
        .sum::<f64>()
        / 3.0
}

/// A fixed number between -1 and 1 for each set of arguments.
fn spread(sensor: u64, tick: u64, what: u64) -> f64 {
    let bits_53 = random(sensor, tick, what) >> 11;
    bits_53 as f64 / (1_u64 << 52) as f64 - 1.0
}

/// The finaliser of splitmix64 over all three arguments: well mixed, and it needs no state.
fn random(sensor: u64, tick: u64, what: u64) -> u64 {
    let mut x = (tick << 16 | sensor << 8 | what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { ts_ms: 7, ns: 9 };

    fn with(wanted: Fault, shift: u64) -> u64 {
        (0..SENSORS)
            .find(|sensor| fault(*sensor, shift) == wanted)
            .unwrap()
    }

    fn field(sensor: u64, at_ms: u64, field: &str) -> f64 {
        let text = payload(sensor, at_ms, STAMP).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value[field].as_f64().unwrap()
    }

    #[test]
    fn a_reading_is_the_same_in_every_run() {
        let sound = with(Fault::None, 0);
        let text = payload(sound, 1_000, STAMP).unwrap();
        assert_eq!(text, payload(sound, 1_000, STAMP).unwrap());
        assert!(text.starts_with(&format!("{{\"device\":\"{}\"", name(sound))));
        assert!(text.ends_with("\"ts\":7,\"ns\":9}"));
    }

    #[test]
    fn sound_sensors_stay_within_what_a_plant_floor_knows() {
        for sensor in (0..SENSORS).filter(|sensor| fault(*sensor, 0) == Fault::None) {
            for at_ms in (0..SHIFT_MS).step_by(1_000) {
                assert!((13.0..31.0).contains(&field(sensor, at_ms, "temperature")));
                assert!((35.0..75.0).contains(&field(sensor, at_ms, "humidity")));
                assert!((3.4..4.2).contains(&field(sensor, at_ms, "battery")));
            }
        }
    }

    #[test]
    fn afternoons_are_warmer_and_drier_than_nights() {
        for sensor in 0..SENSORS {
            assert!(temperature(sensor, 15_000) > temperature(sensor, 45_000) + 5.0);
            assert!(humidity(sensor, 15_000) < humidity(sensor, 45_000) - 15.0);
        }
    }

    #[test]
    fn every_shift_has_one_sensor_with_each_fault() {
        for shift in 0..100 {
            let faults = (0..SENSORS).map(|sensor| fault(sensor, shift));
            for kind in [Fault::Hot, Fault::Stuck, Fault::Silent, Fault::Rubbish] {
                assert_eq!(faults.clone().filter(|fault| *fault == kind).count(), 1);
            }
        }
        assert_ne!(with(Fault::Hot, 0), with(Fault::Hot, 1));
    }

    #[test]
    fn a_hot_machine_passes_the_limit_and_cools_down_again() {
        for shift in 0..20 {
            let (hot, start) = (with(Fault::Hot, shift), shift * SHIFT_MS);
            for (after_ms, beyond) in [(0, false), (2_500, true), (7_500, true), (14_000, false)] {
                let temperature = field(hot, start + after_ms, "temperature");
                assert_eq!(temperature > 50.0, beyond, "{temperature} at {after_ms}");
            }
        }
    }

    #[test]
    fn a_stuck_sensor_repeats_itself_and_a_silent_one_says_nothing() {
        let stuck = with(Fault::Stuck, 0);
        let readings = [3_000, 8_000, 14_750].map(|at_ms| payload(stuck, at_ms, STAMP));
        assert_eq!(readings[0], readings[1]);
        assert_eq!(readings[0], readings[2]);
        assert_ne!(readings[0], payload(stuck, 15_000, STAMP));
        let silent = with(Fault::Silent, 0);
        assert!(payload(silent, 4_750, STAMP).is_some());
        assert!(payload(silent, 5_000, STAMP).is_none());
        assert!(payload(silent, 15_000, STAMP).is_some());
    }

    #[test]
    fn rubbish_is_broken_json_or_a_word_for_a_number() {
        let sensor = with(Fault::Rubbish, 0);
        let (mut broken, mut words) = (0, 0);
        for at_ms in (0..SHIFT_MS).step_by(250) {
            let text = payload(sensor, at_ms, STAMP).unwrap();
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) => words += u32::from(value["temperature"].is_string()),
                Err(_) => broken += 1,
            }
        }
        assert!((1..30).contains(&broken), "{broken}");
        assert!((1..30).contains(&words), "{words}");
    }
}
